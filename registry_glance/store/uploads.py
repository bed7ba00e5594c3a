"""Upload sessions in Glance: chunks stream straight into images, and no replica remembers anything.

A first chunk that does not say where it starts lies in the session's own image: the whole of a layer, as Docker and
podman send it, which then becomes the blob without being copied. A chunk that says where it starts, or comes later,
is a part: an image whose id follows from the session's and the part's number, so that two workers can't both write it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Iterator

from registry_glance.registry.digests import Digest, Digester
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
from registry_glance.store.images import (
    GlanceImage,
    ImageConflict,
    ImageNotFound,
    ImageService,
    ImageStatus,
)
from registry_glance.store.layout import (
    UPLOAD,
    UPLOAD_OFFSET,
    UPLOAD_SESSION,
    Ownership,
    Record,
    blob_properties,
    epoch_us,
    is_complete_blob,
    is_record,
    native_digest,
    new_id,
    part_id,
    part_properties,
    session_properties,
)
from registry_glance.store.streams import StreamLimit
from registry_glance.store.translation import registry_errors

_PARTS_PER_LOOK = 50
_SETTLING_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class GlanceUploads:
    """The ``UploadStore`` over Glance.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        blobs: Where a finished upload is found again.
        finder: Keeps the markers for digests of another algorithm than Glance's.
        limit: Shared by all data streams of this process.
        expiry_s: The age at which a session is over.
        clock: Returns the seconds since the epoch.
        sleep: Waits for that many seconds.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        blobs: GlanceBlobs,
        finder: Finder,
        limit: StreamLimit,
        *,
        expiry_s: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._blobs = blobs
        self._finder = finder
        self._limit = limit
        self._expiry_s = expiry_s
        self._clock = clock
        self._sleep = sleep

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
        image = self._session_image(repository, session_id)
        if is_record(image, Record.BLOB):
            return UploadSession(id=image.id, repository=repository, finished=True)
        if position is None or not self._confirmed(image, position):
            position = self._find_position(image)
        alone = image.active and position.parts == 0
        return UploadSession(
            id=image.id,
            repository=repository,
            position=position,
            content=native_digest(image) if alone else None,
        )

    @registry_errors()
    def append(self, session: UploadSession, chunk: Chunk) -> UploadSession:
        """See ``UploadStore.append``."""
        offset = session.position.offset
        if chunk.start not in (None, offset):
            raise RangeInvalid(f"upload {session.id}: chunk starts at {chunk.start}, expected {offset}")
        content = _peek(chunk.content)
        if content is None:
            return session
        counter = Digester()
        pieces = _counted(content, counter)
        parts = session.position.parts
        if chunk.start is None and parts == 0 and offset == 0 and session.content is None:
            self._put(session.id, pieces, chunk.size)
        else:
            parts += 1
            self._put(self._open_part(session, parts), pieces, chunk.size)
        return UploadSession(
            id=session.id,
            repository=session.repository,
            position=UploadPosition(parts=parts, offset=offset + counter.size),
            content=counter.digest if parts == 0 else None,
        )

    @registry_errors()
    def finish(self, session: UploadSession, digest: Digest, chunk: Chunk | None) -> Blob:
        """See ``UploadStore.finish``."""
        if session.finished:
            return self._finished(session, digest)
        try:
            if chunk is not None and session.position == UploadPosition() and session.content is None:
                return self._store_whole(session, digest, chunk)
            if chunk is not None:
                session = self.append(session, chunk)
            if session.position.parts:
                return self._compose(session, digest)
            if session.content is None:
                return self._store_whole(session, digest, Chunk(content=(), size=0))
            return self._adopt(session, digest)
        except DigestInvalid:
            self._drop(session)
            raise

    @registry_errors()
    def cancel(self, session: UploadSession) -> None:
        """See ``UploadStore.cancel``."""
        self._drop(session)

    # Where a session stands

    def _session_image(self, repository: RepositoryName, session_id: str) -> GlanceImage:
        """Return a session's image once no upload to it is in the middle of ending.

        Raises:
            BlobUploadUnknown: It is no session of this repository, or it is over.
        """
        unknown = BlobUploadUnknown(session_id[:64])
        if not _is_uuid(session_id):
            raise unknown
        for pause_s in (*_SETTLING_PAUSES_S, None):
            try:
                image = self._images.get(session_id)
            except ImageNotFound as exc:
                raise unknown from exc
            if (
                not self._ownership.owns(image)
                or image.properties.get(UPLOAD) != str(repository)
                or not is_record(image, Record.SESSION, Record.BLOB)
                or self._expired(image)
            ):
                raise unknown
            if image.status != ImageStatus.SAVING:
                return image
            # A chunk that was just broken off still counts as being saved for a moment.
            if pause_s is not None:
                self._sleep(pause_s)
        # Another chunk is on its way, or a worker of Glance was killed in the middle of one. Neither can
        # go on here: an image that is stuck in this state can't be written again.
        raise unknown

    def _expired(self, image: GlanceImage) -> bool:
        return self._clock() - epoch_us(image.created_at) / 1_000_000 > self._expiry_s

    def _confirmed(self, image: GlanceImage, position: UploadPosition) -> bool:
        """Whether a session stands where the client's Location says, in at most one request."""
        if position.parts == 0:
            return position.offset == _stored(image) and (image.active or position.offset == 0)
        try:
            part = self._images.get(part_id(image.id, position.parts))
        except ImageNotFound:
            return False
        return self._is_part(part, image.id) and part.active and _end(part) == position.offset

    def _find_position(self, image: GlanceImage) -> UploadPosition:
        parts = self._parts(image)
        return UploadPosition(parts=len(parts), offset=_end(parts[-1]) if parts else _stored(image))

    def _parts(self, session_image: GlanceImage) -> list[GlanceImage]:
        """Return the parts of a session that are complete and join up, in order."""
        parts: list[GlanceImage] = []
        end = _stored(session_image)
        for first in itertools.count(1, _PARTS_PER_LOOK):
            ids = [part_id(session_image.id, n) for n in range(first, first + _PARTS_PER_LOOK)]
            found = {image.id: image for image in self._images.list(hidden=self._ownership.hide, ids=ids)}
            for part in map(found.get, ids):
                if part is None or not part.active or not self._is_part(part, session_image.id):
                    return parts
                if part.properties.get(UPLOAD_OFFSET) != str(end):
                    return parts
                end = _end(part)
                parts.append(part)
        raise AssertionError("itertools.count ends")

    def _is_part(self, image: GlanceImage, session_id: str) -> bool:
        return (
            self._ownership.owns(image)
            and is_record(image, Record.PART)
            and image.properties.get(UPLOAD_SESSION) == session_id
        )

    # Storing

    def _open_part(self, session: UploadSession, number: int) -> str:
        """Create the part with this number, or take over one that was left without data."""
        image_id = part_id(session.id, number)
        properties = part_properties(session.id, session.position.offset)
        try:
            self._images.create(image_id, hidden=self._ownership.hide, properties=properties)
        except ImageConflict as exc:
            part = self._settled(image_id)
            if part is None or part.status != ImageStatus.QUEUED or dict(part.properties) != properties:
                raise RangeInvalid(f"upload {session.id} has moved on") from exc
        return image_id

    def _settled(self, image_id: str) -> GlanceImage | None:
        """Return an image once it is not being saved any more, waiting a moment; ``None`` if there is none."""
        for pause_s in (*_SETTLING_PAUSES_S, 0):
            try:
                image = self._images.get(image_id)
            except ImageNotFound:
                return None
            if image.status != ImageStatus.SAVING:
                break
            self._sleep(pause_s)
        return image

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
                self._images.put_data(session.id, _verified(chunk.content, digest), size=chunk.size)
            except ImageConflict:
                return self._finished_by_another(session, digest)
            except ImageNotFound as exc:
                raise BlobUploadUnknown(session.id) from exc
        return self._seal(session.id, digest, self._native_digest_of_stored(session.id))

    def _adopt(self, session: UploadSession, digest: Digest) -> Blob:
        """Make a session's only chunk the blob, where it lies."""
        if session.content is None or session.content.algorithm != digest.algorithm:
            # The client told its algorithm only now, after the data had gone by.
            with self._limit.hold():
                _exhaust(_verified(self._data(session.id), digest))
        elif session.content != digest:
            raise DigestInvalid(f"{digest}, but the content is {session.content}")
        return self._seal(session.id, digest, session.content)

    def _compose(self, session: UploadSession, digest: Digest) -> Blob:
        """Stream all parts into one image. As long as the blob is large."""
        image = self._session_image(session.repository, session.id)
        if is_record(image, Record.BLOB):
            return self._finished(session, digest)
        parts = self._parts(image)
        if UploadPosition(parts=len(parts), offset=_end(parts[-1]) if parts else 0) != session.position:
            raise RangeInvalid(f"upload {session.id} has moved on")
        sources = [*([image.id] if image.active else []), *(part.id for part in parts)]
        content = itertools.chain.from_iterable(self._data(source) for source in sources)
        target = session.id
        if image.active:
            # The session's image is taken by the first chunk: the blob gets one of its own.
            target = self._images.create(
                new_id(), hidden=self._ownership.hide, properties=blob_properties(digest)
            ).id
        with self._limit.hold(2):
            try:
                self._images.put_data(target, _verified(content, digest), size=session.position.offset)
            except ImageConflict:
                return self._finished_by_another(session, digest)
            except DigestInvalid:
                if target != session.id:
                    self._delete_if_there(target)
                raise
        blob = self._seal(target, digest, self._native_digest_of_stored(target))
        if target != session.id:
            self._delete_if_there(session.id)
        for part in parts:
            self._delete_if_there(part.id)
        return blob

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
        image = self._images.get(session.id)
        if not is_complete_blob(image, digest):
            raise BlobUploadUnknown(session.id)
        return self._blobs.remember(digest, image)

    def _finished_by_another(self, session: UploadSession, digest: Digest) -> Blob:
        """Answer an end of an upload that met another one on the same session."""
        image = self._settled(session.id)
        if image is None:
            raise BlobUploadUnknown(session.id)
        if is_complete_blob(image, digest):
            return self._blobs.remember(digest, image)
        if image.active and native_digest(image) == digest:
            return self._seal(image.id, digest, digest)
        raise Unavailable(f"upload {session.id} is being finished by another request")

    def _data(self, image_id: str) -> Iterator[bytes]:
        with contextlib.closing(self._images.get_data(image_id)) as stream:
            yield from stream

    # Ending

    def _drop(self, session: UploadSession) -> None:
        """Delete what a session stored; what a crash leaves behind here is the collector's."""
        try:
            image = self._images.get(session.id)
        except ImageNotFound:
            return
        if not is_record(image, Record.SESSION):
            return
        self._delete_if_there(image.id)
        number = 1
        while self._delete_if_there(part_id(session.id, number)):
            number += 1

    def _delete_if_there(self, image_id: str) -> bool:
        try:
            self._images.delete(image_id)
        except ImageNotFound:
            return False
        return True


def _stored(session_image: GlanceImage) -> int:
    return (session_image.size or 0) if session_image.active else 0


def _end(part: GlanceImage) -> int:
    """Return the offset just after a part."""
    start = part.properties.get(UPLOAD_OFFSET, "")
    return (int(start) if start.isascii() and start.isdigit() else 0) + (part.size or 0)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _peek(content: Iterable[bytes]) -> Iterator[bytes] | None:
    """Return the content if there is any; ``None`` if there is none."""
    pieces = iter(content)
    for piece in pieces:
        if piece:
            return itertools.chain([piece], pieces)
    return None


def _counted(pieces: Iterable[bytes], digester: Digester) -> Iterator[bytes]:
    for piece in pieces:
        digester.update(piece)
        yield piece


def _verified(pieces: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    """Pass content on, holding back its last piece until all of it has proved to be what the digest says.

    Raises:
        DigestInvalid: It is not; whoever reads has not had the end, so nothing becomes visible.
    """
    digester = Digester(digest.algorithm)
    held: bytes | None = None
    for piece in pieces:
        digester.update(piece)
        if held is not None:
            yield held
        held = piece
    if digester.digest != digest:
        raise DigestInvalid(f"{digest}, but the content is {digester.digest}")
    if held is not None:
        yield held


def _exhaust(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass
