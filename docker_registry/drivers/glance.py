"""docker-registry's storage driver contract on Glance, as ``fetch("glance")`` finds it.

``docker_registry.core.driver.fetch`` looks in its own namespace package only, so the module lies there, and neither
``docker_registry`` nor ``docker_registry/drivers`` may get an ``__init__.py``. Nothing in this project imports it, and
docker-registry-core is no dependency: ``docs/decisions/0005-docker-registry-driver-contract.md``.

- ``images/<id>/layer`` is a nameless, hidden image; its data is the layer.
- ``repositories/<namespace>/<name>/tag_<tag>`` is the name of that image, ``namespace/name:tag``, under which it is
  visible; ``library/`` is left out. The content, ``<id>``, is written nowhere else.
- Anything else is a nameless, hidden image; its data is the content.

Each image carries its path. A Glance image's data can't be changed: overwriting a path makes a new image, then deletes
the old one. Of two with one path, as a crash may leave them, the higher ``docker_path_order`` counts; of two with one
name, the registry's rule says which (``layout.effective_order``).
"""  # noqa: INP001 - a namespace package has no __init__.py

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import time
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from docker_registry.core import driver, exceptions  # type: ignore[import-not-found]

from registry_glance.glance import GlanceImages
from registry_glance.settings import new_config, read_settings
from registry_glance.store import images, layout
from registry_glance.wsgi import load_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from registry_glance.store.images import GlanceImage, ImageService

FILE: Final = "file"
"""This driver's kind of record; the registry and its collector leave it alone."""

PATH: Final = "docker_path"
PATH_ORDER: Final = "docker_path_order"

_ATTEMPTS: Final = 3
_LAYER_PATH: Final = re.compile(r"images/([^/]+)/layer")
_TAG_PATH: Final = re.compile(r"repositories/([^/:]+)/([^/:]+)/tag_([^/]+)")


class Storage(driver.Base):  # type: ignore[misc]  # docker-registry-core has no types
    """docker-registry's storage. Safe to use from several threads.

    Args:
        path: Part of the contract; without a meaning here, as Glance has no directories.
        config: Part of the contract; without a meaning here, as ``open_glance`` says which Glance.
    """

    supports_bytes_range = True

    def __init__(self, path: str | None = None, config: Any = None) -> None:
        super().__init__(path, config)
        self._images, self._ownership = open_glance()

    def exists(self, path: str) -> bool:
        """Tell whether there is content at a path; directories are not stored, and don't exist."""
        with _translated(path):
            name = glance_name(path)
            return bool(self._holders(name) if name else self._files(path))

    def get_size(self, path: str) -> int:
        """Return the size of the content in bytes."""
        with _translated(path):
            if name := glance_name(path):
                return len(self._tagged(name))
            return self._newest(path).size or 0

    def get_content(self, path: str) -> bytes:
        """Return the content, all at once."""
        return b"".join(self.stream_read(path))

    def put_content(self, path: str, content: bytes | str) -> str:
        """Store content and return the path; at a tag's path, name the image whose id it is.

        Raises:
            FileNotFoundError: A tag is to name an image that has no layer; nothing has changed.
        """
        data = content.encode() if isinstance(content, str) else content
        with _translated(path):
            if name := glance_name(path):
                self._put_tag(name, data.decode().strip())
            else:
                self._put_file(path, [data], size=len(data))
        return path

    def stream_read(self, path: str, bytes_range: tuple[int, int] | None = None) -> Iterator[bytes]:
        """Return the content piece by piece; what can be wrong is raised now, not while iterating.

        Args:
            path: Where it is.
            bytes_range: First and last byte, counted from 0, both included.
        """
        first, last = bytes_range or (0, None)
        with _translated(path):
            if name := glance_name(path):
                return iter([self._tagged(name)[first : None if last is None else last + 1]])
            for _ in range(_ATTEMPTS):
                image = self._newest(path)
                size = image.size or 0
                stop = size if last is None else min(last + 1, size)
                if first >= stop:
                    return iter(())
                # Not found: it was overwritten after we looked it up.
                with contextlib.suppress(images.ImageNotFound):
                    return _read(path, self._images.get_data(image.id, start=first, stop=stop))
        raise _missing(path)

    def stream_write(self, path: str, fp: IO[bytes]) -> None:
        """Store what a file has to give; if reading it fails, nothing has changed."""
        pieces = iter(functools.partial(fp.read, self.buffer_size), b"")
        if glance_name(path):
            self.put_content(path, b"".join(pieces))
            return
        with _translated(path):
            self._put_file(path, pieces)

    def list_directory(self, path: str | None = None) -> Iterator[str]:
        """Return the full paths of what lies directly in a directory, sorted; scans all records."""
        with _translated(path or "/"):
            prefix, beneath = self._beneath(path or "")
        names = {stored.removeprefix(prefix).partition("/")[0] for stored in beneath}
        return iter(sorted(prefix + name for name in names))

    def remove(self, path: str) -> None:
        """Remove a file, a tag (its image becomes nameless), or all that lies in a directory."""
        with _translated(path):
            if not self._remove(path):
                for stored in self._beneath(path)[1]:
                    self._remove(stored)

    # Files

    def _list(self, *, hidden: bool, name: str | None = None, path: str | None = None) -> list[GlanceImage]:
        wanted = {layout.RECORD: FILE} | ({} if path is None else {PATH: path})
        owner = self._ownership.project
        return [
            image
            for image in self._images.list(hidden=hidden, name=name, owner=owner, properties=wanted)
            # Compared again: Glance may do it without case and trailing spaces.
            if self._ownership.owns(image)
            and PATH in image.properties
            and image.properties.items() >= wanted.items()
            and name in {None, image.name}
        ]

    def _records(self, path: str | None = None) -> list[GlanceImage]:
        """Return the records of one path, or of all, newest first and in any status."""
        found: dict[str, GlanceImage] = {}
        # Visible twice: an image that gets its name between the first two lists is in neither.
        for hidden in (False, True, False):
            found |= {image.id: image for image in self._list(hidden=hidden, path=path)}
        return sorted(found.values(), key=_order, reverse=True)

    def _files(self, path: str) -> list[GlanceImage]:
        return [image for image in self._records(path.strip("/")) if image.active]

    def _newest(self, path: str) -> GlanceImage:
        for image in self._files(path):
            return image
        raise _missing(path)

    def _beneath(self, directory: str) -> tuple[str, list[str]]:
        """Return a directory's prefix and the paths of all files and tags in it, at any depth."""
        prefix = f"{directory.strip('/')}/".lstrip("/")
        found = [image for image in self._records() if image.active]
        paths = {image.properties[PATH] for image in found}
        paths |= {_tag_path(name) for image in found if (name := _tag_name(image))}
        if beneath := sorted(path for path in paths if path.startswith(prefix)):
            return prefix, beneath
        raise _missing(directory or "/")

    def _put_file(self, path: str, data: Iterable[bytes], *, size: int | None = None) -> None:
        path = path.strip("/")
        order = _later(_order(image)[0] for image in self._records(path))
        properties = {layout.RECORD: FILE, PATH: path, PATH_ORDER: str(order)}
        self._create(data, properties, size=size)
        files = self._files(path)
        for image in reversed(files[1:]):
            if name := _tag_name(image):
                if _same_data(image, files[0]):
                    continue
                self._put_tag(name, _image_id(image))
            self._delete(image)

    def _create(
        self,
        data: Iterable[bytes],
        properties: dict[str, str],
        *,
        size: int | None = None,
        name: str | None = None,
    ) -> GlanceImage:
        """Make an image, visible if it has a name; it stays only with all of its data."""
        written = 0

        def counted() -> Iterator[bytes]:
            nonlocal written
            for piece in data:
                written += len(piece)
                yield piece

        hidden = name is None and self._ownership.hide
        image_id = layout.new_id()
        created = self._images.create(image_id, name=name, hidden=hidden, properties=properties)
        with contextlib.ExitStack() as undo:
            undo.callback(self._delete, created)
            self._images.put_data(image_id, counted(), size=size)
            # A 204 to the upload proves nothing.
            image = self._images.get(image_id)
            if not image.active or image.size != written:
                raise images.GlanceUnavailable(
                    f"image {image_id} is {image.status} with {image.size} bytes of {written}"
                )
            undo.pop_all()
        return image

    def _delete(self, image: GlanceImage) -> None:
        with contextlib.suppress(images.ImageNotFound):
            try:
                self._images.delete(image.id)
            except images.RequestRejected:
                # Of two deletions at once Glance 33 may answer one with 400: see whether the image is gone.
                self._images.get(image.id)
                raise

    def _remove(self, path: str) -> bool:
        """Remove a file or a tag; older images first, so that none of them shows in between."""
        if name := glance_name(path):
            found = self._holders(name)
            for image in reversed(found):
                self._take_name(image)
        else:
            found = self._records(path.strip("/"))
            for image in reversed(found):
                self._delete(image)
        return any(image.active for image in found)

    # Tags

    def _holders(self, name: str) -> list[GlanceImage]:
        """Return the layers of that name, the one that holds it first; only a crash leaves more."""
        found = [image for image in self._list(hidden=False, name=name) if image.active]
        layers = [image for image in found if _tag_name(image)]
        return sorted(layers, key=layout.effective_order, reverse=True)

    def _tagged(self, name: str) -> bytes:
        for image in self._holders(name):
            return _image_id(image).encode()
        raise _missing(_tag_path(name))

    def _put_tag(self, name: str, image_id: str) -> None:
        """Give an image a name, and take it from whoever had it."""
        newest, holders = self._newest(f"{self.images}/{image_id}/layer"), self._holders(name)
        same = [i for i in self._files(newest.properties[PATH]) if _same_data(i, newest)]
        usable = [i for i in same if _tag_name(i) == name]
        usable += [i for i in same if i.hidden or not i.name]
        repository, _, tag = name.partition(":")
        order = _later(layout.effective_order(image)[0] for image in holders)
        properties = {layout.REPOSITORY: repository, layout.TAG: tag, layout.ORDER: str(order)}
        for target in usable[:1]:
            self._images.update(target.id, name=name, hidden=False, set_properties=properties)
            # Unless somebody gave the same nameless image another name meanwhile: the last one has it.
            if self._images.get(target.id).name == name:
                break
        else:
            target = self._copy(newest, name, properties)
        for image in reversed(holders):
            if image.id != target.id:
                self._take_name(image)

    def _copy(self, image: GlanceImage, name: str, properties: dict[str, str]) -> GlanceImage:
        """Make another image of a layer: a Glance image has one name, and an image many tags."""
        with contextlib.ExitStack() as stack:
            data: Iterable[bytes] = []
            if image.size:
                data = stack.enter_context(contextlib.closing(self._images.get_data(image.id)))
            return self._create(data, {**image.properties, **properties}, size=image.size, name=name)

    def _take_name(self, image: GlanceImage) -> None:
        with contextlib.suppress(images.ImageNotFound):
            self._images.update(
                image.id, name=None, hidden=self._ownership.hide, remove_properties=[layout.TAG]
            )


def open_glance() -> tuple[ImageService, layout.Ownership]:
    """Return the Glance that the environment names, as for the registry, and whose images count there."""
    conf = new_config()
    conf(args=[], default_config_files=[], project="registry-glance")
    settings = read_settings(conf)
    client = load_client(conf, settings)
    ownership = layout.Ownership(project=client.get_project_id(), hide=settings.store.hide)
    return GlanceImages(client, timeout_s=settings.glance_timeout_s), ownership


def glance_name(path: str) -> str | None:
    """Return the Glance name that a tag's path stands for, ``None`` for any other path."""
    if not (match := _TAG_PATH.fullmatch(path.strip("/"))):
        return None
    namespace, repository, tag = match.groups()
    return f"{repository}:{tag}" if namespace == "library" else f"{namespace}/{repository}:{tag}"


def _tag_path(name: str) -> str:
    repository, _, tag = name.partition(":")
    return f"repositories/{repository if '/' in repository else f'library/{repository}'}/tag_{tag}"


def _tag_name(image: GlanceImage) -> str | None:
    """Return the name of a visible layer if it is a tag's, whoever gave it that name."""
    if image.hidden or not image.name or not _LAYER_PATH.fullmatch(image.properties[PATH]):
        return None
    return image.name if glance_name(_tag_path(image.name)) == image.name else None


def _image_id(image: GlanceImage) -> str:
    return image.properties[PATH].split("/")[1]


def _same_data(one: GlanceImage, other: GlanceImage) -> bool:
    return (one.size, one.hash_value) == (other.size, other.hash_value)


def _order(image: GlanceImage) -> tuple[int, str]:
    text = image.properties.get(PATH_ORDER, "")
    return int(text) if text.isdecimal() else 0, image.id


def _later(orders: Iterable[int]) -> int:
    """Return an order after all of these: the time in microseconds, if the clocks agree."""
    return max([time.time_ns() // 1000, *(order + 1 for order in orders)])


def _missing(path: str) -> Exception:
    error: Exception = exceptions.FileNotFoundError(f"{path} is not there")
    return error


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn Glance's errors into the contract's."""
    try:
        yield
    except images.ImageNotFound as exc:
        raise _missing(path) from exc
    except images.GlanceUnavailable as exc:
        raise exceptions.UnreachableError(f"{path}: {exc}") from exc
    except images.GlanceError as exc:
        raise exceptions.BrokenError(f"{path}: {exc}") from exc


def _read(path: str, stream: images.ByteStream) -> Iterator[bytes]:
    with _translated(path), contextlib.closing(stream):
        yield from stream


def _portable(helper: Callable[..., str]) -> Callable[..., str]:
    """Return a path helper that escapes its arguments with what Python 3 has."""

    @functools.wraps(helper)
    def path_helper(self: Storage, *args: object, **kwargs: object) -> str:
        escaped = {key: _segment(value) for key, value in kwargs.items()}
        return helper(self, *map(_segment, args), **escaped)

    return path_helper


def _segment(value: object) -> str:
    text = str(value)
    return quote_plus({".": "%2E", "..": "%2E%2E"}.get(text, text))


# The contract's path helpers are right, but their decorator needs urllib and dict of Python 2.
for _name, _helper in inspect.getmembers(driver.Base, inspect.isfunction):
    if hasattr(_helper, "__wrapped__"):
        setattr(Storage, _name, _portable(inspect.unwrap(_helper)))
