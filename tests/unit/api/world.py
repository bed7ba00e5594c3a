"""A registry over a Glance in memory, and what a client does with it in order to get somewhere."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, request

from registry_glance.api.app import create_app
from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import OCI_INDEX, OCI_MANIFEST
from registry_glance.store.assembly import CallerMemory, SharedState, StoreOptions, open_registry

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from registry_glance.registry.ports import Registry
    from tests.fakes.memory_glance import MemoryGlance

REPOSITORY: Final = "library/hipache"
CHUNK_MIN_LENGTH: Final = 4096
LAYER: Final = b"a layer of an image"
CONFIG: Final = b'{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]}}'
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
NOWHERE: Final = Digest.of(b"never pushed")
_OPEN_REGISTRY: Final = "tests.open_registry"
_MANY: Final = 1_000_000


class World:
    """One replica of the registry, its Glance, and a client.

    Args:
        glance: Where everything lies.
        hide: Whether what has no name is hidden.
        freshness_s: How long a tag that was read counts without being looked up.
        data_requests: Requests that may carry data at once; by default as good as any number.
    """

    def __init__(
        self,
        glance: MemoryGlance,
        *,
        hide: bool = True,
        freshness_s: float = 0.0,
        data_requests: int | None = None,
    ) -> None:
        self.glance = glance
        options = StoreOptions(hide=hide, freshness_s=freshness_s, stream_wait_s=0.05, max_streams=2)
        shared, memory = SharedState(options), CallerMemory()

        def registry() -> Registry:
            return open_registry(
                glance.service("p1"), project="p1", options=options, shared=shared, memory=memory
            )

        app = _shared_application() if data_requests is None else _new_application(data_requests)
        self.client: FlaskClient = app.test_client()
        self.client.environ_base[_OPEN_REGISTRY] = registry  # type: ignore[assignment]  # WSGI takes any

    def push_blob(
        self, content: bytes = LAYER, *, algorithm: str = "sha256", repository: str = REPOSITORY
    ) -> Digest:
        """Push a blob in one request."""
        digest = Digest.of(content, algorithm)
        response = self.client.post(f"/v2/{repository}/blobs/uploads/?digest={digest}", data=content)
        assert response.status_code == 201
        return digest

    def begin_upload(self, repository: str = REPOSITORY) -> str:
        """Begin an upload session and return its Location."""
        response = self.client.post(f"/v2/{repository}/blobs/uploads/")
        assert response.status_code == 202
        return response.headers["Location"]

    def push_manifest(
        self, document: dict[str, Any], reference: str | None = None, *, repository: str = REPOSITORY
    ) -> Digest:
        """Push a manifest, by its digest if no other reference is given."""
        body = json.dumps(document).encode()
        digest = Digest.of(body)
        response = self.put_manifest(body, reference or str(digest), repository=repository)
        assert response.status_code == 201, response.json
        return digest

    def put_manifest(self, body: bytes, reference: str, *, repository: str = REPOSITORY) -> TestResponse:
        """Send a manifest without a Content-Type, so that its own mediaType counts."""
        return self.client.put(f"/v2/{repository}/manifests/{reference}", data=body)

    def push_image(
        self, reference: str | None = "latest", *, repository: str = REPOSITORY, **fields: Any
    ) -> Digest:
        """Push a small image with its blobs."""
        self.push_blob(CONFIG, repository=repository)
        self.push_blob(LAYER, repository=repository)
        return self.push_manifest(image(**fields), reference, repository=repository)

    def state(self) -> list[Any]:
        """Return all that lies in Glance, to be compared."""
        return sorted(self.glance.images(), key=lambda glance_image: glance_image.id)


def _new_application(data_requests: int) -> Flask:
    """Return an application whose requests say which world they are for."""

    def registry_of_this_world() -> Registry:
        registry: Registry = request.environ[_OPEN_REGISTRY]()
        return registry

    return create_app(
        registry_of_this_world,
        chunk_min_length=CHUNK_MIN_LENGTH,
        data_requests=data_requests,
        manifest_pushes=data_requests,
    )


@functools.cache
def _shared_application() -> Flask:
    """Return the one application of all worlds: making the routes takes longer than most tests."""
    return _new_application(_MANY)


def image(**fields: Any) -> dict[str, Any]:
    """Return the manifest of a small image."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, CONFIG_TYPE),
        "layers": [descriptor(LAYER, LAYER_TYPE)],
        **fields,
    }


def index(*digests: Digest, **fields: Any) -> dict[str, Any]:
    """Return an index of manifests that were pushed."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 1} for digest in digests],
        **fields,
    }


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    """Return a descriptor of some content."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def json_of(response: TestResponse) -> Any:
    """Return a JSON body."""
    assert response.content_type.partition(";")[0].endswith("json")
    return response.json


def assert_error(response: TestResponse, status: int, code: str) -> None:
    """Check status and body of an error. Source: OCI distribution-spec 1.1, "Error Codes"."""
    assert response.content_type == "application/json"
    body = json_of(response)
    assert (response.status_code, body["errors"][0]["code"]) == (status, code)
    assert list(body) == ["errors"]
    for error in body["errors"]:
        assert list(error) == ["code", "message", "detail"]
        assert error["message"]
    assert response.headers["Docker-Distribution-API-Version"] == "registry/2.0"
