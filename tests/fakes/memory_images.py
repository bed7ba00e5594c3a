"""The view that one caller has of a ``MemoryGlance``: an ``ImageService`` in memory."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from registry_glance.store.images import (
    KEEP,
    GlanceImage,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
    NotPermitted,
    QuotaExceeded,
    RequestRejected,
    _Keep,
)
from tests.fakes.moments import GlanceWorkerKilled, Moment, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tests.fakes.memory_glance import MemoryGlance

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VISIBILITIES: Final = frozenset({"private", "shared", "community", "public"})


class MemoryImages:
    """The ``ImageService`` of one caller of a ``MemoryGlance``."""

    def __init__(self, cloud: MemoryGlance, *, project: str | None, caller: str, admin: bool) -> None:
        self._cloud = cloud
        self._project = project
        self._caller = caller
        self._admin = admin

    @property
    def page_size(self) -> int:
        """Images per page of a listing."""
        return self._cloud.page_size

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
        self._reach("create", Step.BEFORE, image_id)
        if not _UUID.fullmatch(image_id):
            raise RequestRejected(f"image id {image_id!r}: not a UUID")
        row = GlanceImage(
            id=image_id,
            name=name,
            owner=self._project,
            visibility=visibility or "shared",
            hidden=hidden,
            properties=dict(properties),
        )
        self._check_row(row)
        with self._cloud.lock:
            self._cloud.check_images(self._project)
            row = self._cloud.insert(row)
        self._reach("create", Step.AFTER, image_id)
        return row

    def get(self, image_id: str) -> GlanceImage:
        """See ``ImageService.get``."""
        self._reach("get", Step.BEFORE, image_id)
        with self._cloud.lock:
            row = self._readable(image_id)
        self._reach("get", Step.AFTER, image_id)
        return row

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
        """See ``ImageService.list``; each page is a picture of its own moment."""
        if ids is not None and not ids:
            return

        def fits(row: GlanceImage) -> bool:
            same = self._cloud.same
            wanted = properties or {}
            return (
                row.hidden == hidden
                and row.container_format == "docker"
                and (name is None or same(row.name, name, name=True))
                and (ids is None or row.id in ids)
                and hash_value in (None, row.hash_value)
                and owner in (None, row.owner)
                and all(same(row.properties.get(key), value) for key, value in wanted.items())
            )

        def position(row: GlanceImage) -> tuple[str, str]:
            return (row.created_at, row.id)

        last: tuple[str, str] | None = None
        while True:
            self._reach("list", Step.BEFORE, None)
            with self._cloud.lock:
                found = [
                    row
                    for row in self._cloud.rows.values()
                    if self._may_list(row) and fits(row) and (last is None or position(row) < last)
                ]
            page = sorted(found, key=position, reverse=True)[: self.page_size]
            self._reach("list", Step.AFTER, None)
            yield from page
            if len(page) < self.page_size:
                return
            last = position(page[-1])

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
        """See ``ImageService.update``; between reading and writing the row others may come."""
        self._reach("update", Step.BEFORE, image_id)
        with self._cloud.lock:
            row = self._writable(image_id)
        self._reach("update", Step.MIDDLE, image_id)
        kept = {key: value for key, value in row.properties.items() if key not in remove_properties}
        row = replace(
            row,
            name=row.name if isinstance(name, _Keep) else name,
            hidden=row.hidden if hidden is None else hidden,
            visibility=visibility or row.visibility,
            properties={**kept, **(set_properties or {})},
        )
        self._check_row(row)
        with self._cloud.lock:
            row = self._cloud.write(row)
        self._reach("update", Step.AFTER, image_id)
        return row

    def delete(self, image_id: str) -> None:
        """See ``ImageService.delete``."""
        self._reach("delete", Step.BEFORE, image_id)
        with self._cloud.lock:
            self._writable(image_id)
        self._reach("delete", Step.MIDDLE, image_id)
        with self._cloud.lock:
            self._cloud.destroy(image_id)
        self._reach("delete", Step.AFTER, image_id)

    def put_data(self, image_id: str, data: Iterable[bytes], *, size: int | None = None) -> None:
        """See ``ImageService.put_data``; the whole row is written at both ends of the upload."""
        cloud = self._cloud
        self._reach("put_data", Step.BEFORE, image_id)
        with cloud.lock:
            row = self._writable(image_id)
            if row.status != ImageStatus.QUEUED:
                raise ImageConflict(f"image {image_id}: is {row.status}")
            cloud.check_bytes(row.owner, size or 0)
            row = cloud.write(replace(row, status=ImageStatus.SAVING))
        received = bytearray()
        try:
            self._reach("put_data", Step.MIDDLE, image_id)
            for chunk in data:
                received += chunk
                self._reach("put_data", Step.MIDDLE, image_id)
            _check_length(image_id, len(received), size)
        except GlanceWorkerKilled:
            raise
        except BaseException:
            self._requeue(row)
            raise
        with cloud.lock:
            # A stream of unknown length that exceeds the quota leaves the image saving.
            cloud.check_bytes(row.owner, len(received))
            now = cloud.rows.get(image_id)
            if now is None:
                raise ImageNotFound(f"image {image_id}: deleted during the upload")
            if now.status != ImageStatus.SAVING:
                raise ImageConflict(f"image {image_id}: became {now.status} during the upload")
            cloud.fill(row, bytes(received))
        self._reach("put_data", Step.AFTER, image_id)

    def get_data(self, image_id: str, *, start: int = 0, stop: int | None = None) -> MemoryByteStream:
        """See ``ImageService.get_data``; the bytes stay readable after a DELETE."""
        self._reach("get_data", Step.BEFORE, image_id)
        with self._cloud.lock:
            row = self._readable(image_id)
            if not row.active or not row.size:
                raise ImageNotFound(f"image {image_id}: has no data")
            if start >= row.size or (stop is not None and stop <= start):
                raise RequestRejected(f"image {image_id}: no bytes {start} to {stop} of {row.size}")
            content = self._cloud.contents[image_id][start:stop]
        self._reach("get_data", Step.AFTER, image_id)
        return MemoryByteStream(self._cloud, content, lambda: self._reach("get_data", Step.MIDDLE, image_id))

    def _reach(self, call: str, step: Step, image_id: str | None) -> None:
        self._cloud.moments.reach(Moment(call, step, image_id, self._caller))

    def _readable(self, image_id: str) -> GlanceImage:
        row = self._cloud.rows.get(image_id)
        if row is None or not (
            self._owns(row)
            or row.visibility in ("public", "community")
            or (row.visibility == "shared" and self._project in self._cloud.members.get(row.id, {}))
        ):
            raise ImageNotFound(f"image {image_id}: not found")
        return row

    def _writable(self, image_id: str) -> GlanceImage:
        row = self._readable(image_id)
        if not self._owns(row):
            raise NotPermitted(f"image {image_id}: belongs to another project")
        return row

    def _may_list(self, row: GlanceImage) -> bool:
        accepted = self._cloud.members.get(row.id, {}).get(self._project or "", False)
        return self._owns(row) or row.visibility == "public" or (row.visibility == "shared" and accepted)

    def _owns(self, row: GlanceImage) -> bool:
        return self._admin or row.owner == self._project

    def _requeue(self, row: GlanceImage) -> None:
        # Glance does not look which status the row has by now.
        with self._cloud.lock, contextlib.suppress(ImageNotFound):
            self._cloud.write(replace(row, status=ImageStatus.QUEUED))

    def _check_row(self, row: GlanceImage) -> None:
        texts = [row.name or "", *row.properties, *row.properties.values()]
        if any(ord(character) > 0xFFFF for text in texts for character in text):
            raise RequestRejected(f"image {row.id}: characters beyond the basic multilingual plane")
        if any(len(text) > 255 for text in (row.name or "", *row.properties)):
            raise RequestRejected(f"image {row.id}: a name is longer than 255 characters")
        if row.visibility not in _VISIBILITIES:
            raise RequestRejected(f"image {row.id}: visibility {row.visibility!r}")
        if row.visibility == "public" and not self._admin:
            raise NotPermitted(f"image {row.id}: only an administrator publishes")
        if len(row.properties) > 128:
            raise QuotaExceeded(f"image {row.id}: {len(row.properties)} properties, at most 128")


def _check_length(image_id: str, received: int, size: int | None) -> None:
    if size is not None and received != size:
        raise RequestRejected(f"image {image_id}: {received} bytes came, not {size}")


class MemoryByteStream:
    """The ``ByteStream`` of one download; counted as open until it is closed."""

    def __init__(self, cloud: MemoryGlance, content: bytes, reach_middle: Callable[[], None]) -> None:
        self._cloud = cloud
        self._content = content
        self._reach_middle = reach_middle
        self._open = True
        with cloud.lock:
            cloud.open_streams += 1

    def __iter__(self) -> Iterator[bytes]:
        """See ``ByteStream``."""
        for position in range(0, len(self._content), self._cloud.chunk_size):
            self._reach_middle()
            if not self._open:
                return
            yield self._content[position : position + self._cloud.chunk_size]

    def close(self) -> None:
        """See ``ByteStream``."""
        with self._cloud.lock:
            self._cloud.open_streams -= self._open
            self._open = False
