"""Blobs over HTTP: pull, existence, deletion (end-2, end-10)."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from registry_glance.api import wire
from registry_glance.api.gate import DataGate
from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import RangeInvalid
from registry_glance.registry.names import RepositoryName
from registry_glance.registry.ports import Blob, BlobStore, Registry

_FOREVER = "max-age=31536000, immutable"


def routes(open_registry: Callable[[], Registry], gate: DataGate) -> Blueprint:
    """Return the routes of blobs.

    Args:
        open_registry: Gives the registry as the caller of the current request sees it.
        gate: Where downloads wait for nobody.
    """
    blueprint = Blueprint("blobs", __name__)

    @blueprint.get("/v2/<repository:name>/blobs/<digest>")
    def pull_blob(name: str, digest: str) -> Response:
        RepositoryName(name)
        blobs = open_registry().blobs
        wanted = Digest.parse(digest)
        # A client that finds a blob with HEAD will not upload it: so it must be one that stays.
        blob = blobs.claim(wanted) if request.method == "HEAD" else blobs.find(wanted)
        if request.if_none_match.contains_weak(str(blob.digest)):
            return _respond(blob, 304, None)
        if request.method == "HEAD":
            return _respond(blob, 200, None)
        wanted_range = request.headers.get("Range")
        # RFC 9110, section 13.1.5: compared strongly; no date is ever sent, so none matches.
        if request.headers.get("If-Range") not in (None, f'"{blob.digest}"'):
            wanted_range = None
        try:
            part = wire.parse_range(wanted_range, blob.size)
        except RangeInvalid as error:
            response = wire.error_response(error)
            response.headers["Content-Range"] = f"bytes */{blob.size}"
            return response
        return gate.until_sent(lambda: _send(blobs, blob, part))

    @blueprint.delete("/v2/<repository:name>/blobs/<digest>")
    def delete_blob(name: str, digest: str) -> Response:
        RepositoryName(name)
        open_registry().blobs.delete(Digest.parse(digest))
        return Response(status=202)

    return blueprint


def _send(blobs: BlobStore, blob: Blob, part: tuple[int, int] | None) -> Response:
    """Answer with a blob, or with a part of it from one byte up to but not including another."""
    start, stop = part or (0, blob.size)
    response = _respond(blob, 206 if part else 200, blobs.read(blob, start=start, stop=stop))
    response.content_length = stop - start
    if part:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
    return response


def _respond(blob: Blob, status: int, content: object) -> Response:
    response = Response(
        content,  # type: ignore[arg-type]  # any iterable of bytes; the stubs know only iterators
        status=status,
        mimetype="application/octet-stream",
    )
    response.content_length = blob.size
    response.headers["Docker-Content-Digest"] = str(blob.digest)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = _FOREVER
    response.set_etag(str(blob.digest))
    return response
