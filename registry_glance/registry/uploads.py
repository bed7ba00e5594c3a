"""Upload sessions: where one stands, and what a chunk says of itself.

Source: OCI distribution-spec 1.1, "Pushing a blob in chunks" (end-4, end-5, end-6, end-13).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import RangeInvalid
from registry_glance.registry.names import RepositoryName

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPosition:
    """How far a session has come.

    Attributes:
        parts: How many chunks were stored as parts of their own; a first chunk of unknown place
            lies in the session itself and is not counted.
        offset: Bytes stored, and so the place at which the next chunk starts.
    """

    parts: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """A session as it stood when it was read.

    Attributes:
        id: UUID text; the id of its Glance image.
        repository: Where it was begun.
        position: How far it has come.
        content: The digest of all that is stored so far, where the store knows it without reading.
        finished: Its content is a blob already; only repeating the end of the upload makes sense.
        stale: The client said that it stands elsewhere.
    """

    id: str
    repository: RepositoryName
    position: UploadPosition = UploadPosition()
    content: Digest | None = None
    finished: bool = False
    stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The body of a PATCH or a final PUT.

    Attributes:
        content: Byte strings of any length, read once, never held whole. Raises ``SizeInvalid`` when the body
            breaks off or is not as long as it said.
        start: Where the client says that it starts; ``None`` if it does not say.
        size: Bytes to come, as far as the client says.
    """

    content: Iterable[bytes]
    start: int | None = None
    size: int | None = None


def parse_content_range(text: str, content_length: int | None) -> tuple[int, int]:
    """Read a chunk's ``Content-Range`` (``start-end``, end inclusive) and return its start and its size in bytes.

    Args:
        text: The header; ``bytes`` and a total are tolerated.
        content_length: Must agree, where it is given.

    Raises:
        RangeInvalid: It is malformed, backwards, or disagrees with the length.
    """
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise RangeInvalid(f"malformed Content-Range {text[:80]!r}")
    start, end = int(match[1]), int(match[2])
    if end < start:
        # Some clients announce an empty last chunk as "N-N-1".
        if content_length == 0 and end == start - 1:
            return start, 0
        raise RangeInvalid(f"Content-Range {text[:80]!r} ends before it starts")
    if content_length not in (None, end - start + 1):
        raise RangeInvalid(f"Content-Range {text[:80]!r} disagrees with Content-Length {content_length}")
    return start, end - start + 1
