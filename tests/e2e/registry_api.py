"""The registry as the tests look at it, over plain HTTP and past every client, to compare digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as the registry served it.

    Attributes:
        digest: Computed from the bytes that came.
        media_type: The response's Content-Type.
        content: The parsed bytes.
    """

    digest: str
    media_type: str
    content: dict[str, Any]

    @property
    def children(self) -> list[str]:
        """Digests of the manifests of an index."""
        return [descriptor["digest"] for descriptor in self.content.get("manifests", [])]

    @property
    def blobs(self) -> list[str]:
        """Digests of the config and the layers of an image."""
        config = [self.content["config"]] if "config" in self.content else []
        return [blob["digest"] for blob in [*config, *self.content.get("layers", [])]]

    @property
    def layers(self) -> list[str]:
        """Digests of the layers of an image."""
        return [layer["digest"] for layer in self.content.get("layers", [])]


class RegistryApi:
    """A registry at one address, asked directly.

    Args:
        address: ``host:port``, plain HTTP.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def reference(self, repository: str, tag: str = "v1") -> str:
        """Return what a client calls a tag in this registry."""
        return f"{self.address}/{repository}:{tag}"

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Return a manifest; it must exist, and its digest must be the one that the registry says."""
        status, headers, body = self._request("GET", f"/v2/{repository}/manifests/{reference}")
        assert status == 200, f"GET manifest {repository}:{reference}: {status} {body[:300]!r}"
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        assert headers["Docker-Content-Digest"] == digest
        return Manifest(digest, headers["Content-Type"], json.loads(body))

    def digest(self, repository: str, reference: str) -> str:
        """Return the digest of a manifest, computed from its bytes."""
        return self.manifest(repository, reference).digest

    def has_manifest(self, repository: str, reference: str) -> bool:
        """Whether a tag or a digest answers."""
        status, _, _ = self._request("HEAD", f"/v2/{repository}/manifests/{reference}")
        assert status in {200, 404}, status
        return status == 200

    def assert_complete(self, repository: str, reference: str) -> None:
        """Check that everything a manifest refers to is there and is what its digest says."""
        manifest = self.manifest(repository, reference)
        for digest in manifest.blobs:
            assert self.blob_digest(repository, digest) == digest
        for digest in manifest.children:
            self.assert_complete(repository, digest)

    def blob_digest(self, repository: str, digest: str) -> str:
        """Return the digest of the bytes that a blob has."""
        status, _, body = self._request("GET", f"/v2/{repository}/blobs/{digest}")
        assert status == 200, f"GET blob {repository}@{digest}: {status} {body[:300]!r}"
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def chunk_min_length(self, repository: str) -> int:
        """Return the size that the registry wants chunks to have at least; 0 if it does not say."""
        status, headers, _ = self._request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, status
        status, _, _ = self._request(
            "DELETE", urlsplit(headers["Location"])._replace(scheme="", netloc="").geturl()
        )
        assert status == 204, status
        return int(headers.get("OCI-Chunk-Min-Length", 0))

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository; none if it does not exist."""
        status, _, body = self._request("GET", f"/v2/{repository}/tags/list")
        assert status in {200, 404}, status
        return list(json.loads(body)["tags"] or []) if status == 200 else []

    def delete(self, path: str) -> int:
        """Send DELETE for a path below ``/v2/`` and return the status."""
        status, _, _ = self._request("DELETE", f"/v2/{path}")
        return status

    def _request(self, method: str, path: str) -> tuple[int, HTTPMessage, bytes]:
        connection = HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, headers={"Accept": _ACCEPT})
            response: HTTPResponse = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()
