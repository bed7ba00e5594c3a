"""Upload sessions in Glance: chunks stream straight into images, and no replica remembers anything.

A first chunk that does not say where it starts lies in the session's own image: the whole of a layer, as Docker and
podman send it, which then becomes the blob without being copied. A chunk that says where it starts, or comes later,
is a part: an image whose id follows from the session's and the part's number, so that two workers can't both write it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator

from registry_glance.registry.content import Counted, peek, verified, verify
from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import (
    BlobUploadUnknown,
    DigestInvalid,
    RangeInvalid,
    Unavailable,
)
from registry_glance.registry.names import RepositoryName
from registry_glance.registry.ports import Blob
from registry_glance.registry.uploads import Chunk, UploadPosition, UploadSession
from registry_glance.store.blobs import GlanceBlobs
from registry_glance.store.finder import Finder, digest_key
from registry_glance.store.images import ImageConflict, ImageNotFound, ImageService
from registry_glance.store.layout import (
    Ownership,
    Record,
    blob_properties,
    composed_id,
    is_complete_blob,
    is_record,
    native_digest,
    new_id,
    session_properties,
)
from registry_glance.store.streams import StreamLimit
from registry_glance.store.translation import registry_errors
from registry_glance.store.upload_records import UploadRecords, position_after

_NOTHING = UploadPosition()


class GlanceUploads:
    """The ``UploadStore`` over Glance.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        records: The images of sessions.
        blobs: Where a finished upload is found again.
        finder: Keeps the markers for digests of another algorithm than Glance's.
        limit: Shared by all data streams of this process.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        records: UploadRecords,
        blobs: GlanceBlobs,
        finder: Finder,
        limit: StreamLimit,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._records = records
        self._blobs = blobs
        self._finder = finder
        self._limit = limit

    @registry_errors()
    def begin(self, repository: RepositoryName) -> UploadSession:
        """See ``UploadStore.begin``."""
        image = self._images.create(
            new_id(), hidden=self._ownership.hide, properties=session_properties(repository)
        )
        return UploadSession(id=image.id, repository=repository)

    @registry_errors()
    def resume(
        self, repository: RepositoryName, session_id: str, position: UploadPosition | None
    ) -> UploadSession:
        """See ``UploadStore.resume``."""
        image = self._records.session_image(repository, session_id)
        if is_record(image, Record.BLOB):
            return UploadSession(id=session_id, repository=repository, finished=True)
        stale = position is not None and not self._records.confirms(image, position)
        if position is None or stale:
            position = self._records.find_position(image)
        alone = image.active and position.parts == 0
        return UploadSession(
            id=session_id,
            repository=repository,
            position=position,
            content=native_digest(image) if alone else None,
            stale=stale,
        )

    @registry_errors()
    def append(self, session: UploadSession, chunk: Chunk) -> UploadSession:
        """See ``UploadStore.append``."""
        if chunk.start not in (None, session.position.offset):
            # The client may have come with an old Location: what counts is where the session truly stands.
            session = self.resume(session.repository, session.id, None)
        offset, parts = session.position.offset, session.position.parts
        if session.finished or chunk.start not in (None, offset):
            raise RangeInvalid(f"upload {session.id}: chunk starts at {chunk.start}, expected {offset}")
        if session.stale and chunk.start is None:
            # Perhaps the repetition of a chunk whose answer was lost.
            raise RangeInvalid(f"upload {session.id} stands at {offset}, not where its Location says")
        content = peek(chunk.content)
        if content is None:
            return session
        pieces = Counted(content)
        if chunk.start is None and _empty(session):
            self._put(session.id, pieces, chunk.size)
        else:
            parts += 1
            self._put(self._records.open_part(session, parts), pieces, chunk.size)
        return UploadSession(
            id=session.id,
            repository=session.repository,
            position=UploadPosition(parts=parts, offset=offset + pieces.size),
        )

    @registry_errors()
    def finish(self, session: UploadSession, digest: Digest, chunk: Chunk | None) -> Blob:
        """See ``UploadStore.finish``."""
        if session.finished:
            return self._finished(session, digest)
        try:
            if _empty(session):
                return self._store_whole(session, digest, chunk or Chunk(content=(), size=0))
            if chunk is not None and session.content != digest:
                session = self.append(session, chunk)
            # Else the end of this upload was broken off after its data was stored, and is now repeated.
            if session.position.parts:
                return self._compose(session, digest)
            return self._adopt(session, digest)
        except DigestInvalid:
            current = self._moved_on(session)
            if current is None:
                self._records.drop(session)
                raise
        # The client came with an old Location, so what was looked at was not all of the content.
        if chunk is not None:
            raise RangeInvalid(f"upload {session.id} stands at {current.position.offset}")
        return self.finish(current, digest, None)

    @registry_errors()
    def cancel(self, session: UploadSession) -> None:
        """See ``UploadStore.cancel``."""
        self._records.drop(session)

    def _moved_on(self, session: UploadSession) -> UploadSession | None:
        """Return a session as it truly stands, if that is not where it was taken to stand."""
        with contextlib.suppress(BlobUploadUnknown):
            current = self.resume(session.repository, session.id, None)
            if current.position != session.position:
                return current
        return None

    def _put(self, image_id: str, pieces: Iterable[bytes], size: int | None) -> None:
        with self._limit.hold():
            try:
                self._images.put_data(image_id, pieces, size=size)
            except ImageConflict as exc:
                raise RangeInvalid(f"upload image {image_id} was written by another request") from exc
            except ImageNotFound as exc:
                raise BlobUploadUnknown(f"upload image {image_id} went away") from exc

    def _store_whole(self, session: UploadSession, digest: Digest, chunk: Chunk) -> Blob:
        """Store all of a blob from one request, checked before Glance makes it active."""
        if chunk.start not in (None, 0):
            raise RangeInvalid(f"upload {session.id}: chunk starts at {chunk.start}, expected 0")
        with self._limit.hold():
            try:
                self._images.put_data(session.id, verified(chunk.content, digest), size=chunk.size)
            except ImageConflict:
                return self._finished_by_another(session.id, digest)
            except ImageNotFound as exc:
                raise BlobUploadUnknown(session.id) from exc
        return self._seal(session.id, digest, self._native_digest_of_stored(session.id))

    def _adopt(self, session: UploadSession, digest: Digest) -> Blob:
        """Make a session's only chunk the blob, where it lies."""
        if session.content is None or session.content.algorithm != digest.algorithm:
            # The client told its algorithm only now, after the data had gone by.
            with self._limit.hold():
                verify(self._data(session.id), digest)
        elif session.content != digest:
            raise DigestInvalid(f"{digest}, but the content is {session.content}")
        return self._seal(session.id, digest, session.content)

    def _compose(self, session: UploadSession, digest: Digest) -> Blob:
        """Stream all parts into one image. Takes time in proportion to the blob's size."""
        image = self._records.session_image(session.repository, session.id)
        if is_record(image, Record.BLOB):
            return self._finished(session, digest)
        if image.active and image.size == session.position.offset:
            # The parts were composed already, and the answer was lost before this was known to be the blob.
            blob = self._finished_by_another(image.id, digest)
            self._records.delete_parts(session.id)
            return blob
        parts = self._records.parts(image)
        if position_after(image, parts) != session.position:
            raise RangeInvalid(f"upload {session.id} has moved on")
        sources = [*([image.id] if image.active else []), *(part.id for part in parts)]
        content = itertools.chain.from_iterable(self._data(source) for source in sources)
        # Where the first chunk took the session's own image, the blob gets one of its own.
        target = self._open_composed(session) if image.active else session.id
        try:
            with self._limit.hold(2):
                self._images.put_data(target, verified(content, digest), size=session.position.offset)
            blob = self._seal(target, digest, self._native_digest_of_stored(target))
        except ImageConflict:
            blob = self._finished_by_another(target, digest)
        for leftover in sources:
            self._records.delete_if_there(leftover)
        return blob

    def _open_composed(self, session: UploadSession) -> str:
        """Create the image that the parts are composed into, or take over one that was left without data."""
        image_id = composed_id(session.id)
        with contextlib.suppress(ImageConflict):
            self._images.create(
                image_id,
                hidden=self._ownership.hide,
                properties=session_properties(session.repository),
            )
        return image_id

    def _native_digest_of_stored(self, image_id: str) -> Digest | None:
        """Return what Glance computed of data that was just stored; that Glance took it proves nothing yet."""
        image = self._images.get(image_id)
        if not image.active:
            raise Unavailable(f"upload image {image_id} is {image.status} after its data was stored")
        return native_digest(image)

    def _seal(self, image_id: str, digest: Digest, native: Digest | None) -> Blob:
        """Make an image with verified content the blob: the one PATCH of an upload, on an active image only.

        Args:
            image_id: The image; active.
            digest: What its content was proved to be.
            native: What Glance computed of it.
        """
        if native is None or native.algorithm != digest.algorithm:
            self._finder.mark(digest_key(digest), image_id)
        image = self._images.update(image_id, set_properties=blob_properties(digest))
        if not is_complete_blob(image, digest):
            raise Unavailable(f"image {image_id} did not become blob {digest}")
        return self._blobs.remember(digest, image)

    def _finished(self, session: UploadSession, digest: Digest) -> Blob:
        """Answer a repeated end of an upload, whose first answer was lost."""
        image = self._records.session_image(session.repository, session.id)
        if not is_complete_blob(image, digest):
            raise BlobUploadUnknown(session.id)
        return self._blobs.remember(digest, image)

    def _finished_by_another(self, image_id: str, digest: Digest) -> Blob:
        """Answer an end of an upload that met another one, or the leftovers of one, on the same image."""
        image = self._records.settled(image_id)
        if image is None or not self._ownership.owns(image):
            raise BlobUploadUnknown(f"upload image {image_id} went away")
        if is_complete_blob(image, digest):
            return self._blobs.remember(digest, image)
        if image.active and is_record(image, Record.SESSION):
            verify(self._data(image.id) if image.size else (), digest)
            return self._seal(image.id, digest, native_digest(image))
        raise Unavailable(f"upload image {image_id} is being written by another request")

    def _data(self, image_id: str) -> Iterator[bytes]:
        with contextlib.closing(self._images.get_data(image_id)) as stream:
            yield from stream


def _empty(session: UploadSession) -> bool:
    """Whether nothing was stored yet; an active image of no bytes is something."""
    return session.position == _NOTHING and session.content is None
