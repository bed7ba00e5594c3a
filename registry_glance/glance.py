"""Glance over keystoneauth1: the one module that knows the Image service's wire.

Source: Image service API v2, https://docs.openstack.org/api-ref/image/v2/.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import requests
import urllib3
from keystoneauth1 import adapter
from keystoneauth1 import exceptions as ksa_exceptions

from registry_glance.store.images import (
    KEEP,
    GlanceImage,
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
    RequestRejected,
    _Keep,
)

LOG = logging.getLogger(__name__)

IDS_PER_REQUEST: Final = 50
"""How many ids one ``id=in:`` filter names; the URL stays below 4 KiB."""

_READ_BYTES: Final = 1024 * 1024
_ATTEMPTS: Final = 3
_PAUSES_S: Final = (0.1, 0.5)
_PATCH_TYPE: Final = "application/openstack-images-v2.1-json-patch"
_ATTRIBUTES: Final = frozenset(
    {
        "checksum",
        "container_format",
        "created_at",
        "direct_url",
        "disk_format",
        "file",
        "id",
        "locations",
        "min_disk",
        "min_ram",
        "name",
        "os_hash_algo",
        "os_hash_value",
        "os_hidden",
        "owner",
        "protected",
        "schema",
        "self",
        "size",
        "status",
        "stores",
        "tags",
        "updated_at",
        "virtual_size",
        "visibility",
    }
)

Result = TypeVar("Result")


class GlanceImages:
    """The ``ImageService`` of a real Glance, for one credential. Safe to use from several threads.

    Calls that may be repeated are, a few times, when Glance does not answer or answers 5xx.

    Args:
        client: An adapter of the image service whose session pools connections.
        timeout_s: How long Glance may stay silent in one call; for data, between two pieces of it.
        page_size: Images asked for in one page of a listing; Glance caps it at 1000.
    """

    def __init__(self, client: adapter.Adapter, *, timeout_s: float, page_size: int = 200) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._page_size = page_size
        self._version: str | None = None

    def project_id(self) -> str | None:
        """Return the project of the credential; ``None`` for a Glance without Keystone.

        Raises:
            NotAuthenticated: Keystone refuses the credential.
            GlanceUnavailable: Keystone did not answer.
        """
        with _told_apart("project of the credential"):
            return self._client.get_project_id()

    def create(
        self,
        image_id: str,
        *,
        name: str | None = None,
        hidden: bool = True,
        visibility: str | None = None,
        properties: Mapping[str, str],
    ) -> GlanceImage:
        """See ``ImageService.create``."""
        document: dict[str, Any] = {
            **properties,
            "id": image_id,
            "container_format": "docker",
            "disk_format": "raw",
            "os_hidden": hidden,
        }
        if name is not None:
            document["name"] = name
        if visibility is not None:
            document["visibility"] = visibility
        unsettled = False

        def attempt() -> GlanceImage:
            nonlocal unsettled
            try:
                return _parse(self._call("POST", "/images", json=document), _read_image)
            except GlanceUnavailable:
                unsettled = True
                raise
            except ImageConflict:
                if not unsettled:
                    raise
            # An earlier attempt may have been ours that was cut off: look whether it was.
            try:
                image = self._get_once(image_id)
            except ImageNotFound as exc:
                raise ImageConflict(f"image {image_id} is another project's") from exc
            if (image.name, dict(image.properties)) != (name, dict(properties)):
                raise ImageConflict(f"image {image_id} was created by somebody else")
            return image

        return self._repeat(attempt)

    def get(self, image_id: str) -> GlanceImage:
        """See ``ImageService.get``."""
        return self._repeat(lambda: self._get_once(image_id))

    def list(
        self,
        *,
        hidden: bool,
        name: str | None = None,
        ids: Collection[str] | None = None,
        hash_value: str | None = None,
        owner: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Iterator[GlanceImage]:
        """See ``ImageService.list``."""
        query: dict[str, str] = {
            **(properties or {}),
            "container_format": "docker",
            "os_hidden": "true" if hidden else "false",
            "limit": str(self._page_size),
        }
        if name is not None:
            # Without the operator a name with a colon would be read as one.
            query["name"] = f"eq:{name}"
        if hash_value is not None:
            query["os_hash_value"] = hash_value
        if owner is not None:
            query["owner"] = owner
        if ids is None:
            yield from self._pages(query)
            return
        wanted = list(ids)
        for first in range(0, len(wanted), IDS_PER_REQUEST):
            some = wanted[first : first + IDS_PER_REQUEST]
            yield from self._pages({**query, "id": f"in:{','.join(some)}"})

    def update(
        self,
        image_id: str,
        *,
        name: str | _Keep | None = KEEP,
        hidden: bool | None = None,
        visibility: str | None = None,
        set_properties: Mapping[str, str] | None = None,
        remove_properties: Collection[str] = (),
    ) -> GlanceImage:
        """See ``ImageService.update``."""
        changes: list[dict[str, Any]] = []
        if name is not KEEP:
            changes.append({"op": "replace", "path": "/name", "value": name})
        if hidden is not None:
            changes.append({"op": "replace", "path": "/os_hidden", "value": hidden})
        if visibility is not None:
            changes.append({"op": "replace", "path": "/visibility", "value": visibility})
        for key, value in (set_properties or {}).items():
            changes.append({"op": "add", "path": _pointer(key), "value": value})
        # Removing what is not there is an error of Glance's; adding it first makes it harmless.
        for key in remove_properties:
            changes.append({"op": "add", "path": _pointer(key), "value": ""})
            changes.append({"op": "remove", "path": _pointer(key)})

        def attempt() -> GlanceImage:
            response = self._call(
                "PATCH",
                f"/images/{image_id}",
                data=json.dumps(changes),
                headers={"Content-Type": _PATCH_TYPE},
            )
            return _parse(response, _read_image)

        return self._repeat(attempt)

    def delete(self, image_id: str) -> None:
        """See ``ImageService.delete``."""
        unsettled = False

        def attempt() -> None:
            nonlocal unsettled
            try:
                self._call("DELETE", f"/images/{image_id}")
            except GlanceUnavailable:
                unsettled = True
                raise
            except ImageNotFound:
                if not unsettled:
                    raise
            except RequestRejected:
                # Glance 33 answers 400 to the second of two simultaneous deletions.
                self._get_once(image_id)
                raise

        self._repeat(attempt)

    def put_data(self, image_id: str, data: Iterable[bytes], *, size: int | None = None) -> None:
        """See ``ImageService.put_data``."""
        source = _Source(data, size)
        body: object = source if size is None else _SizedSource(source, size)
        if size == 0:
            # requests would send nothing without looking, and the data's own error would go unseen.
            body = b"".join(source)
        try:
            self._call(
                "PUT",
                f"/images/{image_id}/file",
                data=body,
                headers={"Content-Type": "application/octet-stream"},
            )
        except Exception as exc:
            # requests wraps some errors of the body; what the body raised is what matters.
            if source.error is not None:
                raise source.error from None
            if isinstance(exc, _Gone):
                # Glance answers so also to the loser of a race: then the image is there.
                self.get(image_id)
                raise ImageConflict(f"image {image_id} is being written by another request") from exc
            raise

    def get_data(self, image_id: str, *, start: int = 0, stop: int | None = None) -> DataStream:
        """See ``ImageService.get_data``."""
        headers = {"Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"

        def attempt() -> requests.Response:
            response = self._call("GET", f"/images/{image_id}/file", headers=headers, stream=True)
            if response.status_code == 204:
                # Glance's answer for an image without data.
                response.close()
                raise ImageNotFound(f"image {image_id} has no data")
            if "Range" in headers and response.status_code != 206:
                response.close()
                raise GlanceUnavailable(f"Glance ignored the range of image {image_id}")
            return response

        try:
            return DataStream(self._repeat(attempt), image_id)
        except GlanceUnavailable:
            # Glance answers 500 to a range of an image without data.
            if "Range" in headers and not self.get(image_id).active:
                raise ImageNotFound(f"image {image_id} has no data") from None
            raise

    def _get_once(self, image_id: str) -> GlanceImage:
        return _parse(self._call("GET", f"/images/{image_id}"), _read_image)

    def _pages(self, query: Mapping[str, str]) -> Iterator[GlanceImage]:
        images, more = self._repeat(functools.partial(self._page, query, None))
        while True:
            yield from images
            if not images or not more:
                return
            images, more = self._page_after(query, images)

    def _page_after(
        self, query: Mapping[str, str], images: Sequence[GlanceImage]
    ) -> tuple[Sequence[GlanceImage], bool]:
        """Return the next page; Glance refuses a marker that was deleted meanwhile, so an earlier one is named then."""
        for image in reversed(images):
            with contextlib.suppress(RequestRejected):
                return self._repeat(functools.partial(self._page, query, image.id))
        raise GlanceUnavailable("every image of a page was deleted while the list was read")

    def _page(self, query: Mapping[str, str], marker: str | None) -> tuple[Sequence[GlanceImage], bool]:
        """Return the images after a marker, and whether there are more."""
        params = dict(query) if marker is None else {**query, "marker": marker}
        return _parse(self._call("GET", "/images", params=params), _read_page)

    def _call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Make one call and turn every failure into one of the ``GlanceError`` classes."""
        with _told_apart(f"{method} {path}"):
            response: requests.Response = self._client.request(
                self._versioned(path), method, raise_exc=False, timeout=self._timeout_s, **arguments
            )
        if response.status_code < 400:
            return response
        reason = f"{method} {path}: {response.status_code} {_reason(response)}"
        response.close()
        raise _error_class(response.status_code)(reason)

    def _versioned(self, path: str) -> str:
        if self._version is None:
            # A catalog may name the service's root or its version 2.
            endpoint = self._client.get_endpoint() or ""
            self._version = "" if endpoint.rstrip("/").endswith("/v2") else "/v2"
        return self._version + path

    def _repeat(self, attempt: Callable[[], Result]) -> Result:
        """Make a call that may be repeated, again while Glance is unavailable; a silent Glance gets one chance."""
        deadline = time.monotonic() + self._timeout_s
        for number in range(1, _ATTEMPTS):
            try:
                return attempt()
            except GlanceUnavailable as exc:
                LOG.warning("attempt %d of %d failed: %s", number, _ATTEMPTS, exc)
                if time.monotonic() + _PAUSES_S[number - 1] >= deadline:
                    raise
                time.sleep(_PAUSES_S[number - 1])
        return attempt()


class DataStream:
    """The data of an image as it arrives; closes its connection, or gives it back when read to the end."""

    def __init__(self, response: requests.Response, image_id: str) -> None:
        self._response = response
        self._image_id = image_id

    def __iter__(self) -> Iterator[bytes]:
        """Yield byte strings of up to 1 MiB.

        Raises:
            GlanceUnavailable: The connection broke before the end.
        """
        try:
            # Raw, because requests would undo a Content-Encoding and reads in small pieces.
            yield from self._response.raw.stream(_READ_BYTES, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise GlanceUnavailable(f"data of image {self._image_id} broke off: {exc}") from exc
        finally:
            self.close()

    def close(self) -> None:
        """Free the connection; safe to call twice."""
        self._response.close()


class _Source:
    """A request body that can be sent once, is as long as it said, and remembers the error that it raised.

    Args:
        content: The data.
        size: Of it, in bytes, if that was said: Glance would take what is beyond for the next request.
    """

    def __init__(self, content: Iterable[bytes], size: int | None) -> None:
        self._content = content
        self._size = size
        self._begun = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces()
        except Exception as exc:
            self.error = exc
            raise

    def _pieces(self) -> Iterator[bytes]:
        if self._begun:
            # keystoneauth repeats a request after a 401; half a body must never become an image.
            raise GlanceUnavailable("the data can't be sent a second time")
        self._begun = True
        sent = 0
        for piece in self._content:
            sent += len(piece)
            if self._size is not None and sent > self._size:
                raise RequestRejected(f"more data than the {self._size} bytes that were announced")
            # An empty piece would end a chunked body.
            if piece:
                yield piece
        if self._size is not None and sent < self._size:
            raise RequestRejected(f"{sent} bytes of data, {self._size} were announced")


class _SizedSource:
    """A request body of known length; requests then sends a Content-Length."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._source)


@contextlib.contextmanager
def _told_apart(what: str) -> Iterator[None]:
    """Turn the errors of the wire, and of authentication on the way, into ``GlanceError`` classes."""
    try:
        yield
    except (ksa_exceptions.Unauthorized, ksa_exceptions.AuthorizationFailure) as exc:
        raise NotAuthenticated(f"{what}: Keystone refuses the credential") from exc
    except (
        ksa_exceptions.ClientException,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as exc:
        raise GlanceUnavailable(f"{what}: {type(exc).__name__}: {exc}") from exc


class _Gone(ImageNotFound):
    """Glance says 410."""


def _parse(response: requests.Response, read: Callable[[Any], Result]) -> Result:
    """Read the JSON of an answer; what is none of Glance's (a proxy's page) counts as no answer."""
    try:
        return read(response.json())
    except (ValueError, KeyError, TypeError) as exc:
        raise GlanceUnavailable(f"{response.url.partition('?')[0]} answered what Glance does not") from exc


def _read_page(document: Mapping[str, Any]) -> tuple[Sequence[GlanceImage], bool]:
    return [_read_image(image) for image in document["images"]], "next" in document


def _read_image(document: Mapping[str, Any]) -> GlanceImage:
    return GlanceImage(
        id=document["id"],
        name=document.get("name"),
        status=document["status"],
        size=document.get("size"),
        owner=document.get("owner"),
        visibility=document.get("visibility", "shared"),
        hidden=bool(document.get("os_hidden")),
        container_format=document.get("container_format"),
        hash_algorithm=document.get("os_hash_algo"),
        hash_value=document.get("os_hash_value"),
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        properties={
            key: value for key, value in document.items() if key not in _ATTRIBUTES and isinstance(value, str)
        },
    )


def _pointer(key: str) -> str:
    # RFC 6901.
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _reason(response: requests.Response) -> str:
    """The first words of an error body, without markup; never a header, so never a token."""
    try:
        text = response.content[:2048].decode(errors="replace")
    except (requests.RequestException, OSError):
        return ""
    return " ".join(part for part in text.replace("<", " <").split() if part[0] != "<")[:200]


def _error_class(status: int) -> type[Exception]:
    if status >= 500 or status in (408, 429):
        return GlanceUnavailable
    return {
        401: NotAuthenticated,
        403: NotPermitted,
        404: ImageNotFound,
        409: ImageConflict,
        410: _Gone,
        413: QuotaExceeded,
    }.get(status, RequestRejected)
