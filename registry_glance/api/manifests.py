"""Manifests over HTTP: pull, push, deletion, and the lists of tags, repositories and referrers."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request

from registry_glance.api import wire
from registry_glance.api.gate import DataGate
from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import DigestInvalid
from registry_glance.registry.manifests import MAX_MANIFEST_SIZE, OCI_INDEX, parse_manifest
from registry_glance.registry.names import RepositoryName, Tag, parse_reference
from registry_glance.registry.ports import Registry


def routes(open_registry: Callable[[], Registry], gate: DataGate) -> Blueprint:
    """Return the routes of manifests and of lists.

    Args:
        open_registry: Gives the registry as the caller of the current request sees it.
        gate: Where pushes wait for nobody.
    """
    blueprint = Blueprint("manifests", __name__)
    manifest_url = "/v2/<repository:name>/manifests/<reference>"

    @blueprint.get(manifest_url)
    def pull_manifest(name: str, reference: str) -> Response:  # end-3
        manifest = open_registry().manifests.get(RepositoryName(name), parse_reference(reference))
        response = Response(manifest.body)
        # Exactly as pushed: a charset would make it another type for some clients.
        response.headers["Content-Type"] = manifest.media_type
        response.headers["Docker-Content-Digest"] = str(manifest.digest)
        response.set_etag(str(manifest.digest))
        response.make_conditional(request.environ)
        return response

    @blueprint.put(manifest_url)
    def push_manifest(name: str, reference: str) -> Response:  # end-7
        repository = RepositoryName(name)
        where = parse_reference(reference)
        with gate.passage():
            body = wire.read_manifest(request, MAX_MANIFEST_SIZE)
        manifest = parse_manifest(body, request.headers.get("Content-Type", ""))
        if isinstance(where, Tag):
            digest, tags = Digest.of(body), [where]
        else:
            digest = where
            # The specification's main branch: a push by digest may name the tags that it is to get.
            tags = [Tag(text) for text in dict.fromkeys(request.args.getlist("tag"))]
            if Digest.of(body, digest.algorithm) != digest:
                raise DigestInvalid(f"{digest}, but the content is {Digest.of(body, digest.algorithm)}")
        open_registry().manifests.put(repository, manifest, digest, tags)
        response = Response(status=201)
        response.headers["Location"] = f"/v2/{repository}/manifests/{digest}"
        response.headers["Docker-Content-Digest"] = str(digest)
        if manifest.subject is not None:
            response.headers["OCI-Subject"] = str(manifest.subject.digest)
        if not isinstance(where, Tag):
            for tag in tags:
                response.headers.add("OCI-Tag", str(tag))
        return response

    @blueprint.delete(manifest_url)
    def delete_manifest(name: str, reference: str) -> Response:  # end-9
        open_registry().manifests.delete(RepositoryName(name), parse_reference(reference))
        return Response(status=202)

    @blueprint.get("/v2/<repository:name>/tags/list")
    def list_tags(name: str) -> Response:  # end-8
        repository = RepositoryName(name)
        tags = [str(tag) for tag in open_registry().manifests.tags(repository)]
        shown, following = wire.page(request, tags)
        response = jsonify(name=str(repository), tags=shown)
        if following is not None:
            response.headers["Link"] = f'</v2/{repository}/tags/list?{following}>; rel="next"'
        return response

    @blueprint.get("/v2/<repository:name>/referrers/<digest>")
    def list_referrers(name: str, digest: str) -> Response:  # end-12
        repository, subject = RepositoryName(name), Digest.parse(digest)
        referrers = open_registry().manifests.referrers(repository, subject)
        wanted = request.args.get("artifactType")
        descriptors = [
            {
                "mediaType": referrer.media_type,
                "digest": str(referrer.digest),
                "size": referrer.size,
                **({"artifactType": referrer.artifact_type} if referrer.artifact_type else {}),
                **({"annotations": referrer.annotations} if referrer.annotations else {}),
            }
            for referrer in referrers
            if not wanted or referrer.artifact_type == wanted
        ]
        response = jsonify(schemaVersion=2, mediaType=OCI_INDEX, manifests=descriptors)
        response.headers["Content-Type"] = OCI_INDEX
        if wanted:
            response.headers["OCI-Filters-Applied"] = "artifactType"
        return response

    @blueprint.get("/v2/_catalog")
    def list_repositories() -> Response:
        repositories = [str(name) for name in open_registry().manifests.repositories()]
        shown, following = wire.page(request, repositories)
        response = jsonify(repositories=shown)
        if following is not None:
            response.headers["Link"] = f'</v2/_catalog?{following}>; rel="next"'
        return response

    return blueprint
