"""The Glance images of an upload session: its own, and one for each part; and where the session stands by them."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

from registry_glance.registry.errors import BlobUploadUnknown, RangeInvalid
from registry_glance.registry.names import RepositoryName
from registry_glance.registry.uploads import UploadPosition, UploadSession
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
    composed_id,
    epoch_us,
    is_id,
    is_record,
    part_id,
    part_properties,
)

_PARTS_PER_LOOK: Final = 50
_SETTLING_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""How long an image may take to leave ``saving`` after its upload was broken off."""


class UploadRecords:
    """Reads and opens the images of upload sessions.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        expiry_s: The age at which a session is over.
        clock: Returns the seconds since the epoch.
        sleep: Waits for that many seconds.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        *,
        expiry_s: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._expiry_s = expiry_s
        self._clock = clock
        self._sleep = sleep

    def session_image(self, repository: RepositoryName, session_id: str) -> GlanceImage:
        """Return a session's own image, or the blob that the session became.

        Raises:
            BlobUploadUnknown: It is no session of this repository, or it is over.
        """
        unknown = BlobUploadUnknown(session_id[:64])
        if not is_id(session_id):
            raise unknown
        image = self.settled(session_id) or self._composed(session_id)
        if (
            image is None
            or not self._ownership.owns(image)
            or image.properties.get(UPLOAD) != str(repository)
            or not is_record(image, Record.SESSION, Record.BLOB)
            or self._clock() - epoch_us(image.created_at) / 1_000_000 > self._expiry_s
            # Another chunk is on its way, or a worker of Glance was killed in the middle of one. Neither can
            # go on here: an image that is stuck in this state can't be written again.
            or image.status == ImageStatus.SAVING
        ):
            raise unknown
        return image

    def settled(self, image_id: str) -> GlanceImage | None:
        """Return an image, after waiting a moment if it is being saved; ``None`` if there is none.

        A chunk that was just broken off still counts as being saved until Glance has noticed.
        """
        for pause_s in (*_SETTLING_PAUSES_S, None):
            try:
                image = self._images.get(image_id)
            except ImageNotFound:
                return None
            if image.status != ImageStatus.SAVING or pause_s is None:
                break
            self._sleep(pause_s)
        return image

    def confirms(self, image: GlanceImage, position: UploadPosition) -> bool:
        """Whether a session stands where the client's Location says, in at most one request."""
        if position.parts == 0:
            return position.offset == _stored(image)
        try:
            part = self._images.get(part_id(image.id, position.parts))
        except ImageNotFound:
            return False
        return self._is_complete_part(part, image.id) and _end(part) == position.offset

    def find_position(self, image: GlanceImage) -> UploadPosition:
        """Find out where a session stands; one request for every 50 parts."""
        return position_after(image, self.parts(image))

    def parts(self, session_image: GlanceImage) -> list[GlanceImage]:
        """Return the parts of a session that are complete and join up, in order."""
        parts: list[GlanceImage] = []
        end = _stored(session_image)
        for first in itertools.count(1, _PARTS_PER_LOOK):
            ids = [part_id(session_image.id, n) for n in range(first, first + _PARTS_PER_LOOK)]
            listed = self._images.list(hidden=self._ownership.hide, ids=ids)
            found = {image.id: image for image in listed}
            for part in map(found.get, ids):
                if part is None or not self._is_complete_part(part, session_image.id):
                    return parts
                if part.properties.get(UPLOAD_OFFSET) != str(end):
                    return parts
                end = _end(part)
                parts.append(part)
        raise AssertionError("itertools.count ends")

    def open_part(self, session: UploadSession, number: int) -> str:
        """Create the part with this number, or take over one that was left without data; return its id.

        Raises:
            RangeInvalid: Somebody else stored it: the session has moved on.
        """
        image_id = part_id(session.id, number)
        properties = part_properties(session.id, session.position.offset)
        try:
            self._images.create(image_id, hidden=self._ownership.hide, properties=properties)
        except ImageConflict as exc:
            part = self.settled(image_id)
            if (
                part is None
                or part.status != ImageStatus.QUEUED
                or dict(part.properties) != properties
                or not self._ownership.owns(part)
            ):
                raise RangeInvalid(f"upload {session.id} has moved on") from exc
        return image_id

    def drop(self, session: UploadSession) -> None:
        """Delete what a session stored; what a crash leaves behind here is the collector's."""
        for image_id in (session.id, composed_id(session.id)):
            with contextlib.suppress(ImageNotFound):
                # Not if it has become a blob meanwhile: others may count on that.
                if is_record(self._images.get(image_id), Record.SESSION):
                    self._images.delete(image_id)
        self.delete_parts(session.id)

    def delete_parts(self, session_id: str) -> None:
        """Delete the parts of a session, complete or not."""
        numbers = itertools.count(1)
        while self.delete_if_there(part_id(session_id, next(numbers))):
            continue

    def delete_if_there(self, image_id: str) -> bool:
        """Delete an image; return whether it was there."""
        with contextlib.suppress(ImageNotFound):
            self._images.delete(image_id)
            return True
        return False

    def _composed(self, session_id: str) -> GlanceImage | None:
        """Return the blob that a session's parts became in an image of its own; ``None`` if they did not."""
        image = self.settled(composed_id(session_id))
        return image if image is not None and is_record(image, Record.BLOB) else None

    def _is_complete_part(self, image: GlanceImage, session_id: str) -> bool:
        return (
            image.active
            and self._ownership.owns(image)
            and is_record(image, Record.PART)
            and image.properties.get(UPLOAD_SESSION) == session_id
        )


def position_after(session_image: GlanceImage, parts: Sequence[GlanceImage]) -> UploadPosition:
    """Return where a session stands that has these parts."""
    offset = _end(parts[-1]) if parts else _stored(session_image)
    return UploadPosition(parts=len(parts), offset=offset)


def _stored(session_image: GlanceImage) -> int:
    return (session_image.size or 0) if session_image.active else 0


def _end(part: GlanceImage) -> int:
    """Return the offset just after a part."""
    start = part.properties.get(UPLOAD_OFFSET, "")
    return (int(start) if start.isascii() and start.isdigit() else 0) + (part.size or 0)
