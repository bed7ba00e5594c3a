"""Blobs in Glance: found by digest, claimed against the collector, streamed out, deleted.

The protocol's names (``usable``, ``fate``, ``condemned``) are those of ``docs/consistency.md``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterator
from typing import Final

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import BlobUnknown, Unavailable, Unsupported
from registry_glance.registry.ports import Blob, ByteStream
from registry_glance.store.finder import Finder, digest_key
from registry_glance.store.images import (
    GlanceImage,
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    ImageService,
)
from registry_glance.store.layout import (
    CONDEMNED,
    FATE,
    RECORD,
    ROUND,
    Ownership,
    Record,
    fate_id,
    is_complete_blob,
    is_record,
)
from registry_glance.store.memory import Remembered
from registry_glance.store.references import References
from registry_glance.store.streams import StreamLimit
from registry_glance.store.translation import registry_errors

LOG = logging.getLogger(__name__)

MOST_MISSING: Final = 10
"""How many missing references of a manifest are looked for."""
_REOPENINGS: Final = 3


class GlanceBlobs:
    """The ``BlobStore`` over Glance.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        finder: Looks up by digest.
        limit: Shared by all data streams of this process.
        known: Image ids by digest, of this caller; checked again at each use.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        finder: Finder,
        limit: StreamLimit,
        known: Remembered[Digest, str],
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._finder = finder
        self._limit = limit
        self._known = known
        self._references = References(images, ownership)

    @registry_errors()
    def find(self, digest: Digest) -> Blob:
        """See ``BlobStore.find``."""
        image = self._remembered(digest)
        if image is None:
            image = next(iter(self._copies(digest)), None)
        if image is None:
            raise BlobUnknown(str(digest))
        return self.remember(digest, image)

    @registry_errors()
    def claim(self, digest: Digest) -> Blob:
        """See ``BlobStore.claim``."""
        image = self._remembered(digest)
        if image is not None and CONDEMNED not in image.properties:
            return self.remember(digest, image)
        for copy in self._copies(digest):
            if CONDEMNED not in copy.properties or self._settle_fate(copy, "keep") == "keep":
                return self.remember(digest, copy)
        self._known.forget(digest)
        raise BlobUnknown(str(digest))

    @registry_errors()
    def missing(self, digests: Collection[Digest]) -> list[Digest]:
        """Claim several blobs in as few requests as can be, and return those that can't be claimed.

        ``usable`` of the protocol, for all references of a manifest. It stops when ``MOST_MISSING`` are known to be
        missing, since each look-up costs and a manifest can name thousands.
        """
        ids = {self._known.get(digest): digest for digest in digests}
        ids.pop(None, None)
        here = set()
        for image in self._images.list(
            hidden=self._ownership.hide, ids=[key for key in ids if key is not None]
        ):
            digest = ids.get(image.id)
            if digest is None or CONDEMNED in image.properties:
                continue
            if is_complete_blob(image, digest) and self._ownership.owns(image):
                here.add(digest)
        missing: list[Digest] = []
        for digest in digests:
            if digest not in here and len(missing) < MOST_MISSING:
                try:
                    self.claim(digest)
                except BlobUnknown:
                    missing.append(digest)
        return missing

    @registry_errors()
    def read(self, blob: Blob, *, start: int = 0, stop: int | None = None) -> ByteStream:
        """See ``BlobStore.read``."""
        stop = blob.size if stop is None else stop
        if start >= stop:
            return _NoBytes()
        return _BlobStream(self._images, self._limit, blob, start, stop)

    @registry_errors()
    def read_whole(self, blob: Blob) -> bytes:
        """Return a blob that is known to be small, as a manifest is: without waiting for a data stream's turn."""
        if not blob.size:
            return b""
        with contextlib.closing(self._images.get_data(blob.image_id)) as stream:
            return b"".join(stream)

    @registry_errors()
    def delete(self, digest: Digest) -> None:
        """See ``BlobStore.delete``.

        Each copy is condemned first, so that a push which counts on it and this deletion can't both win.
        """
        copies = self._copies(digest, every=True)
        if not copies:
            raise BlobUnknown(str(digest))
        if self._references.contain(digest):
            raise Unsupported(f"{digest} is referenced by a manifest")
        self._known.forget(digest)
        for copy in copies:
            self._condemn_and_delete(copy, digest)

    def remember(self, digest: Digest, image: GlanceImage) -> Blob:
        """Return an image as the blob that it was found to be, and find it faster the next time."""
        self._finder.learn(image)
        self._known.put(digest, image.id)
        return Blob(digest=digest, size=image.size or 0, image_id=image.id)

    def _remembered(self, digest: Digest) -> GlanceImage | None:
        image_id = self._known.get(digest)
        if image_id is None:
            return None
        try:
            image = self._images.get(image_id)
        except ImageNotFound:
            image = None
        if image and is_complete_blob(image, digest) and self._ownership.owns(image):
            return image
        self._known.forget(digest)
        return None

    def _copies(self, digest: Digest, *, every: bool = False) -> list[GlanceImage]:
        """Return the copies of a blob, those that are not condemned and oldest first.

        Args:
            digest: Of the blob.
            every: All copies; otherwise those of the first look-up that finds one.
        """
        copies: dict[str, GlanceImage] = {}
        for group in self._finder.groups(digest):
            copies |= {image.id: image for image in group if is_complete_blob(image, digest)}
            if copies and not every:
                break
        return sorted(
            copies.values(),
            key=lambda image: (CONDEMNED in image.properties, image.created_at, image.id),
        )

    def _settle_fate(self, copy: GlanceImage, wish: str) -> str:
        """Decide once, between all that care, what becomes of a condemned copy; return what was decided.

        The fate is an image with an id that follows from the copy and the round: whoever creates it first decides.
        An id that another project holds decides for the other side, so that at worst something is kept too long.
        """
        round_number = copy.properties[CONDEMNED].partition("@")[0]
        fate = fate_id(copy.id, round_number)
        try:
            self._images.create(
                fate, hidden=self._ownership.hide, properties={RECORD: Record.FATE, FATE: wish}
            )
        except ImageConflict:
            try:
                decided = self._images.get(fate)
            except ImageNotFound:
                return "unknown"
            if self._ownership.owns(decided) and is_record(decided, Record.FATE):
                return decided.properties.get(FATE, "unknown")
            return "unknown"
        return wish

    def _condemn_and_delete(self, copy: GlanceImage, digest: Digest) -> None:
        """Delete one copy by the collector's protocol, without its grace: the user asked for it now."""
        if CONDEMNED not in copy.properties:
            rounds = copy.properties.get(ROUND, "")
            round_number = 1 + (int(rounds) if rounds.isascii() and rounds.isdigit() else 0)
            flag = f"{round_number}@{time.time_ns() // 1000}"
            copy = self._images.update(copy.id, set_properties={CONDEMNED: flag})
        # After the flag is visible: a push that did not see it made its references visible before.
        if self._references.contain(digest):
            raise Unsupported(f"{digest} is referenced by a manifest")
        if self._settle_fate(copy, "delete") != "delete":
            raise Unsupported(f"{digest} is being referenced by a manifest")
        for image_id in (copy.id, fate_id(copy.id, copy.properties[CONDEMNED].partition("@")[0])):
            try:
                self._images.delete(image_id)
            except ImageNotFound:
                continue
        if copy.hash_algorithm != digest.algorithm:
            self._finder.unmark(digest_key(digest), copy.id)


class _BlobStream:
    """The bytes of a blob on their way out; goes on where a broken connection to Glance left off."""

    def __init__(self, images: ImageService, limit: StreamLimit, blob: Blob, start: int, stop: int) -> None:
        self._images = images
        self._limit = limit
        self._blob = blob
        self._position = start
        self._stop = stop
        self._holding = True
        limit.acquire()
        try:
            self._stream = self._open()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        reopenings = 0
        try:
            while self._position < self._stop:
                try:
                    for piece in self._stream:
                        self._position += len(piece)
                        yield piece
                    if self._position < self._stop:
                        raise GlanceUnavailable(f"image {self._blob.image_id} ended early")
                except GlanceUnavailable as exc:
                    reopenings += 1
                    if reopenings > _REOPENINGS:
                        raise Unavailable("Glance broke off") from exc
                    LOG.warning("reading on at byte %d: %s", self._position, exc)
                    self._stream.close()
                    self._stream = self._open()
        finally:
            self.close()

    def close(self) -> None:
        if self._holding:
            self._holding = False
            self._limit.release()
            if hasattr(self, "_stream"):
                self._stream.close()

    def _open(self) -> ByteStream:
        whole = self._position == 0 and self._stop == self._blob.size
        if whole:
            return self._images.get_data(self._blob.image_id)
        return self._images.get_data(self._blob.image_id, start=self._position, stop=self._stop)


class _NoBytes:
    """The stream of an empty blob, which Glance would not open."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Nothing is held."""
