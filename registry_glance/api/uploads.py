"""Upload sessions over HTTP: begin, mount, append, finish, status, cancel (end-4, end-5, end-6, end-11, end-13)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from registry_glance.api import wire
from registry_glance.api.gate import DataGate
from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    RangeInvalid,
    RegistryError,
)
from registry_glance.registry.names import RepositoryName
from registry_glance.registry.ports import Blob, Registry, UploadStore
from registry_glance.registry.uploads import UploadPosition, UploadSession


def routes(open_registry: Callable[[], Registry], gate: DataGate, chunk_min_length: int) -> Blueprint:
    """Return the routes of upload sessions.

    Args:
        open_registry: Gives the registry as the caller of the current request sees it.
        gate: Where uploads wait for nobody.
        chunk_min_length: Bytes that clients are asked to put into one chunk at least.
    """
    blueprint = Blueprint("uploads", __name__)
    session_url = "/v2/<repository:name>/blobs/uploads/<session_id>"

    @blueprint.post("/v2/<repository:name>/blobs/uploads/")
    @blueprint.post("/v2/<repository:name>/blobs/uploads")
    def begin(name: str) -> Response:
        repository = RepositoryName(name)
        registry = open_registry()
        mount, digest = request.args.get("mount"), request.args.get("digest")
        if mount is not None:
            if source := request.args.get("from"):
                RepositoryName(source)
            try:
                # Blobs belong to the project: whichever repository has it, or none, it is here already.
                return _created(repository, registry.blobs.claim(Digest.parse(mount)))
            except BlobUnknown:
                digest = None
        if digest is not None:
            with gate.passage():
                return _created(repository, _upload_whole(registry.uploads, repository, Digest.parse(digest)))
        response = _accepted(registry.uploads.begin(repository), 202)
        response.headers["OCI-Chunk-Min-Length"] = str(chunk_min_length)
        return response

    @blueprint.get(session_url)
    def status(name: str, session_id: str) -> Response:
        session = _open(open_registry().uploads.resume(RepositoryName(name), session_id, None))
        return _accepted(session, 204)

    @blueprint.patch(session_url)
    def append(name: str, session_id: str) -> Response:
        uploads = open_registry().uploads
        repository = RepositoryName(name)
        session = _open(uploads.resume(repository, session_id, _position()))
        try:
            with gate.passage():
                return _accepted(uploads.append(session, wire.request_chunk(request)), 202)
        except RangeInvalid as error:
            return _out_of_order(error, uploads.resume(repository, session_id, None))

    @blueprint.put(session_url)
    def finish(name: str, session_id: str) -> Response:
        uploads = open_registry().uploads
        repository = RepositoryName(name)
        text = request.args.get("digest")
        if not text:
            raise DigestInvalid("the last request of an upload names the digest")
        digest = Digest.parse(text)
        session = uploads.resume(repository, session_id, _position())
        try:
            chunk = wire.request_chunk(request) if wire.has_body(request) else None
            with gate.passage():
                return _created(repository, uploads.finish(session, digest, chunk))
        except RangeInvalid as error:
            return _out_of_order(error, uploads.resume(repository, session_id, None))

    @blueprint.delete(session_url)
    def cancel(name: str, session_id: str) -> Response:
        uploads = open_registry().uploads
        uploads.cancel(_open(uploads.resume(RepositoryName(name), session_id, None)))
        return Response(status=204)

    return blueprint


def _upload_whole(uploads: UploadStore, repository: RepositoryName, digest: Digest) -> Blob:
    """Store a blob from a single POST; nobody is told of the session, so it ends here in any case."""
    chunk = wire.request_chunk(request)
    session = uploads.begin(repository)
    try:
        return uploads.finish(session, digest, chunk)
    except RegistryError:
        with contextlib.suppress(RegistryError):
            uploads.cancel(session)
        raise


def _open(session: UploadSession) -> UploadSession:
    if session.finished:
        raise BlobUploadUnknown(session.id)
    return session


def _position() -> UploadPosition | None:
    """Return where the client's Location says that the session stands; the store verifies it."""
    parts, offset = request.args.get("part", ""), request.args.get("offset", "")
    if all(text.isascii() and text.isdigit() and len(text) <= 18 for text in (parts, offset)):
        return UploadPosition(parts=int(parts), offset=int(offset))
    return None


def _accepted(session: UploadSession, status: int) -> Response:
    """Answer with where the session stands; part and offset travel in the Location, so no replica remembers it."""
    response = Response(status=status)
    _describe(response, session)
    return response


def _out_of_order(error: RangeInvalid, session: UploadSession) -> Response:
    # end-5: an out-of-order chunk gets 416; the client may ask where to go on, or read it here.
    response = wire.error_response(error)
    _describe(response, _open(session))
    return response


def _describe(response: Response, session: UploadSession) -> None:
    position = session.position
    query = urlencode({"part": position.parts, "offset": position.offset})
    response.headers["Location"] = f"/v2/{session.repository}/blobs/uploads/{session.id}?{query}"
    # Inclusive; before the first byte "0-0", as Docker's registry says it.
    response.headers["Range"] = f"0-{max(0, position.offset - 1)}"
    response.headers["Docker-Upload-UUID"] = session.id


def _created(repository: RepositoryName, blob: Blob) -> Response:
    response = Response(status=201)
    response.headers["Location"] = f"/v2/{repository}/blobs/{blob.digest}"
    response.headers["Docker-Content-Digest"] = str(blob.digest)
    return response
