"""Counts the requests that an ``ImageService`` sends to Glance."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from registry_glance.store.images import KEEP, ByteStream, GlanceImage, ImageService, _Keep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


class CountingImages:
    """An ``ImageService`` that passes everything on and counts the calls by their names.

    Each page of a listing counts, as far as the wrapped service tells its ``page_size``.

    Attributes:
        calls: How often each method was called since the last ``reset``.
    """

    def __init__(self, images: ImageService) -> None:
        self._images = images
        self._lock = threading.Lock()
        self._page_size: int | None = getattr(images, "page_size", None)
        self.calls: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All calls together."""
        return self.calls.total()

    def reset(self) -> Counter[str]:
        """Start again at zero and return what was counted so far."""
        with self._lock:
            counted, self.calls = self.calls, Counter()
        return counted

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
        self._count("create")
        return self._images.create(
            image_id, name=name, hidden=hidden, visibility=visibility, properties=properties
        )

    def get(self, image_id: str) -> GlanceImage:
        """See ``ImageService.get``."""
        self._count("get")
        return self._images.get(image_id)

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
        if ids is not None and not ids:
            return
        self._count("list")
        listing = self._images.list(
            hidden=hidden,
            name=name,
            ids=ids,
            hash_value=hash_value,
            owner=owner,
            properties=properties,
        )
        for number, image in enumerate(listing, start=1):
            yield image
            if self._page_size is not None and number % self._page_size == 0:
                self._count("list")

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
        self._count("update")
        return self._images.update(
            image_id,
            name=name,
            hidden=hidden,
            visibility=visibility,
            set_properties=set_properties,
            remove_properties=remove_properties,
        )

    def delete(self, image_id: str) -> None:
        """See ``ImageService.delete``."""
        self._count("delete")
        self._images.delete(image_id)

    def put_data(self, image_id: str, data: Iterable[bytes], *, size: int | None = None) -> None:
        """See ``ImageService.put_data``."""
        self._count("put_data")
        self._images.put_data(image_id, data, size=size)

    def get_data(self, image_id: str, *, start: int = 0, stop: int | None = None) -> ByteStream:
        """See ``ImageService.get_data``."""
        self._count("get_data")
        return self._images.get_data(image_id, start=start, stop=stop)

    def _count(self, call: str) -> None:
        with self._lock:
            self.calls[call] += 1
