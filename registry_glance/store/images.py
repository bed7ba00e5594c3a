"""What the store asks of Glance: the ImageService Protocol, its values and its errors.

The real implementation is ``registry_glance.glance``; the tests have one in memory. Both pass
``tests/contract/test_image_service.py``.

Source: Image service API v2, https://docs.openstack.org/api-ref/image/v2/.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol


class ImageStatus(enum.StrEnum):
    """The statuses that matter here; Glance has more, and they are kept as plain text."""

    QUEUED = "queued"
    SAVING = "saving"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceImage:
    """One Glance image as Glance described it at one moment.

    Attributes:
        id: UUID text, as it was created.
        name: Free text; ``None`` for the nameless.
        status: One of ``ImageStatus``, or another of Glance's.
        size: Bytes of data; ``None`` until there is data.
        owner: Project id; ``None`` in a Glance without Keystone that names no project.
        visibility: ``private``, ``shared``, ``community`` or ``public``.
        hidden: Left out of every listing that does not ask for hidden images.
        container_format: ``docker`` for every record of ours.
        hash_algorithm: Of Glance's multihash, for example ``sha256``; ``None`` until active.
        hash_value: The multihash in lower-case hex; ``None`` until active.
        created_at: ISO 8601, UTC, whole seconds.
        updated_at: As ``created_at``.
        properties: Custom properties, all of them text.
    """

    id: str
    name: str | None = None
    status: str = ImageStatus.QUEUED
    size: int | None = None
    owner: str | None = None
    visibility: str = "shared"
    hidden: bool = False
    container_format: str | None = "docker"
    hash_algorithm: str | None = None
    hash_value: str | None = None
    created_at: str = "1970-01-01T00:00:00Z"
    updated_at: str = "1970-01-01T00:00:00Z"
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the image has all of its data."""
        return self.status == ImageStatus.ACTIVE


class _Keep(enum.Enum):
    KEEP = enum.auto()


KEEP: Final = _Keep.KEEP
"""Says of an attribute in ``ImageService.update`` that it stays as it is."""


class ByteStream(Protocol):
    """Bytes that arrive from Glance; whoever asked for it closes it."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield non-empty byte strings until the end of what was asked for."""

    def close(self) -> None:
        """Free the connection; safe to call twice and in the middle of the stream."""


class GlanceError(Exception):
    """Glance did not do what it was asked; each subclass can be acted on in its own way."""


class ImageNotFound(GlanceError):
    """There is no such image, or this credential may not know of it (404, 410)."""


class ImageConflict(GlanceError):
    """The id is taken, or the image is not in a state that allows the call (409)."""


class NotAuthenticated(GlanceError):
    """Glance does not know the credential (401)."""


class NotPermitted(GlanceError):
    """The credential is known, but may not do this (403)."""


class QuotaExceeded(GlanceError):
    """A quota of the project or of the store is used up (413)."""


class RequestRejected(GlanceError):
    """Glance finds the request wrong (any other 4xx)."""


class GlanceUnavailable(GlanceError):
    """Glance did not answer, answered 5xx, or broke off; what was asked may or may not be done."""


class ImageService(Protocol):
    """Glance, as one caller sees it. Safe to use from several threads at once."""

    def create(
        self,
        image_id: str,
        *,
        name: str | None = None,
        hidden: bool = True,
        visibility: str | None = None,
        properties: Mapping[str, str],
    ) -> GlanceImage:
        """Create a queued image (container format ``docker``, disk format ``raw``) under a chosen id.

        Of several callers that choose one id exactly one succeeds, in all projects together; an id that
        was ever used stays taken. A call that was cut off is settled by looking: when this returns,
        the image is there with these properties.

        Raises:
            ImageConflict: The id is taken; it need not be visible to this caller.
        """

    def get(self, image_id: str) -> GlanceImage:
        """Return one image, hidden or not.

        Raises:
            ImageNotFound: There is none that this caller may see.
        """

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
        """Yield the images that fit every filter given, in any status, page by page; without ``ids`` newest first.

        Only images of container format ``docker`` are listed. Glance's database may compare without
        case and trailing spaces, and images of others (public, shared) are in the list: callers compare
        again, exactly, the owner included.

        Args:
            hidden: Hidden images only, or visible images only; one call never yields both.
            name: The exact name.
            ids: Only these ids; an empty collection yields nothing and asks nothing.
            hash_value: The multihash in hex; an indexed column.
            owner: A project id.
            properties: Each custom property must have this value; a scan of the project in Glance.
        """

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
        """Change an image in one PATCH, all or nothing, and return it as Glance then has it.

        Never for an image that is not active: the PATCH writes back the whole row and may undo the end of
        an upload. Repeating it is harmless. Properties to be removed that are not there are no error.

        Raises:
            ImageNotFound: There is none that this caller may change.
            NotPermitted: It is readable, but another's.
        """

    def delete(self, image_id: str) -> None:
        """Delete an image in any status; an upload in progress ends with an error.

        Raises:
            ImageNotFound: There is none (any more).
            NotPermitted: It is readable, but another's.
        """

    def put_data(self, image_id: str, data: Iterable[bytes], *, size: int | None = None) -> None:
        """Stream the data of a queued image; it is active afterwards.

        Of several callers at most one succeeds. When this raises, nothing has become visible, unless it raises
        ``GlanceUnavailable``: then look. An error that ``data`` raises breaks the upload off and comes out unchanged;
        Glance puts the image back to queued a moment later, and until then it may be in conflict with the next
        upload. Never repeated by itself: ``data`` can be read once.

        Args:
            image_id: A queued image.
            data: Byte strings of any length, read once, never held whole.
            size: How many bytes will come, when that is known.

        Raises:
            ImageConflict: The image has data, or somebody else is uploading.
            ImageNotFound: The image went away, also in the middle.
            QuotaExceeded: It does not fit.
            NotPermitted: The image is readable, but another's.
            RequestRejected: ``data`` is not as long as ``size`` said.
        """

    def get_data(self, image_id: str, *, start: int = 0, stop: int | None = None) -> ByteStream:
        """Open the data of an active image for reading; errors come now, not while iterating.

        A connection that breaks while iterating raises ``GlanceUnavailable`` from the iterator.

        Args:
            image_id: An active image with at least one byte of data.
            start: First byte, counted from 0.
            stop: First byte not wanted; ``None`` means to the end.

        Raises:
            ImageNotFound: There is no such image, or it has no data.
            RequestRejected: ``start`` is beyond the end.
        """
