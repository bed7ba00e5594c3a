"""HTTP as the registry speaks it: error bodies, request bodies, ranges and pages. Nothing here knows Glance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from flask import Request, Response, jsonify
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from registry_glance.registry import errors
from registry_glance.registry.errors import (
    ManifestTooLarge,
    PaginationNumberInvalid,
    RangeInvalid,
    RegistryError,
    SizeInvalid,
)
from registry_glance.registry.uploads import Chunk, parse_content_range

READ_BYTES: Final = 1024 * 1024
RETRY_AFTER_S: Final = 5
_MAX_PAGE: Final = 10_000

STATUSES: Final[dict[type[RegistryError], int]] = {
    errors.RegistryError: 500,
    errors.BlobUnknown: 404,
    errors.BlobUploadInvalid: 400,
    errors.BlobUploadUnknown: 404,
    errors.Denied: 403,
    errors.DigestInvalid: 400,
    errors.ManifestBlobUnknown: 400,
    errors.ManifestInvalid: 400,
    errors.ManifestTooLarge: 413,
    errors.ManifestUnknown: 404,
    errors.NameInvalid: 400,
    errors.NameUnknown: 404,
    errors.PaginationNumberInvalid: 400,
    errors.RangeInvalid: 416,
    errors.SizeInvalid: 400,
    errors.TagInvalid: 400,
    errors.TooManyRequests: 429,
    errors.Unauthorized: 401,
    errors.Unavailable: 503,
    errors.Unsupported: 405,
}
"""The HTTP status of each error: the specification's, and those of Docker's registry where it is silent."""

_RANGE = re.compile(r"bytes=([0-9]{0,20})-([0-9]{0,20})")


def error_response(error: RegistryError, status: int | None = None) -> Response:
    """Return the specification's error body.

    Args:
        error: What happened.
        status: Another status than the table's, where HTTP itself decides it.
    """
    response = jsonify(errors=[{"code": error.code, "message": error.message, "detail": error.detail}])
    response.status_code = STATUSES[type(error)] if status is None else status
    if response.status_code in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def has_body(request: Request) -> bool:
    """Whether a request has a body, of known or unknown length."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def request_chunk(request: Request) -> Chunk:
    """Return the body of an upload request, unread.

    Raises:
        RangeInvalid: Its Content-Range is malformed or disagrees with its length.
    """
    start, size = None, request.content_length
    content_range = request.headers.get("Content-Range")
    if content_range is not None:
        start, size = parse_content_range(content_range, size)
    return Chunk(content=_body(request, size), start=start, size=size)


def read_manifest(request: Request, limit: int) -> bytes:
    """Return the body of a manifest push.

    Raises:
        ManifestTooLarge: It has more than ``limit`` bytes; not more than that was read.
        SizeInvalid: It broke off.
    """
    body = bytearray()
    for piece in _body(request, request.content_length):
        body += piece
        if len(body) > limit:
            raise ManifestTooLarge(f"more than {limit} bytes")
    return bytes(body)


def _body(request: Request, size: int | None) -> Iterator[bytes]:
    """Yield a request's body.

    Args:
        request: The request.
        size: Bytes that its headers announce.

    Raises:
        SizeInvalid: It is shorter or longer than announced, or ended before its last chunk.
    """
    received = 0
    # gunicorn: ParseException for a broken chunked body, OSError (NoMoreData) for a closed connection.
    try:
        while piece := request.stream.read(READ_BYTES):
            received += len(piece)
            if size is not None and received > size:
                break
            yield piece
    except (ParseException, ClientDisconnected, OSError) as exc:
        raise SizeInvalid(f"the body broke off after {received} bytes") from exc
    if size is not None and received != size:
        raise SizeInvalid(f"the body has {received} bytes, its headers say {size}")


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Read a request's ``Range``.

    Args:
        text: The header.
        size: Of the content, in bytes.

    Returns:
        The first byte and the first byte not wanted; ``None`` for all of the content: no header, another unit
        than bytes, or several ranges, which a server may ignore.

    Raises:
        RangeInvalid: It is malformed or can't be satisfied.

    Source: RFC 9110, section 14; the conformance suite wants 416 for ``500-0``.
    """
    if text is None or not text.startswith("bytes=") or "," in text:
        return None
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        raise RangeInvalid(f"malformed Range {text[:80]!r}")
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    if start >= stop:
        raise RangeInvalid(f"Range {text[:80]!r} of {size} bytes")
    return start, stop


def page(request: Request, items: Sequence[str]) -> tuple[list[str], str | None]:
    """Return one page of a sorted list as the query's ``n`` and ``last`` ask for it, and the next page's query.

    Raises:
        PaginationNumberInvalid: ``n`` is no number from 0 on.

    Source: OCI distribution-spec 1.1, "Listing Tags".
    """
    last = request.args.get("last")
    rest = [item for item in items if last is None or item > last]
    text = request.args.get("n")
    if text is None:
        return rest, None
    if not (text.isascii() and text.isdigit()):
        raise PaginationNumberInvalid(repr(text[:32]))
    digits = text.lstrip("0")
    n = _MAX_PAGE if len(digits) > len(str(_MAX_PAGE)) else min(int(digits or "0"), _MAX_PAGE)
    shown = rest[:n]
    if n == 0 or len(shown) == len(rest):
        return shown, None
    return shown, urlencode({"last": shown[-1], "n": n})
