"""A polite client of the registry, for what a test needs to be there before it misbehaves."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.live.wire import Answer, attempt, request, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"

_serial = itertools.count()


@dataclass(frozen=True)
class Image:
    """An image as it was pushed.

    Attributes:
        body: The manifest's bytes.
        config: The configuration's bytes.
        layers: Each layer's bytes.
    """

    body: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return sha256(self.body)


class Pusher:
    """Pushes to one repository, and fails at once where the registry does not take it.

    Args:
        address: ``host:port`` of the registry.
        repository: The repository's name.
    """

    def __init__(self, address: str, repository: str) -> None:
        self.address = address
        self.repository = repository

    @property
    def base(self) -> str:
        """The path below which the repository lies."""
        return f"/v2/{self.repository}"

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Make one request for a path below the repository."""
        return request(self.address, method, f"{self.base}{path}", headers, body)

    def attempt(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
    ) -> Answer | None:
        """Make one request; ``None`` when the answer broke off in the middle."""
        return attempt(self.address, method, f"{self.base}{path}", headers, body)

    def blob(self, content: bytes) -> str:
        """Push a blob in one request and return its digest."""
        digest = sha256(content)
        answer = self.request("POST", f"/blobs/uploads/?digest={digest}", body=content)
        assert answer.status == 201, answer
        return digest

    def begin(self) -> str:
        """Begin an upload session and return the path of its Location."""
        answer = self.request("POST", "/blobs/uploads/", body=b"")
        assert answer.status == 202, answer
        return str(answer.headers["Location"])

    def append(self, location: str, content: bytes, start: int | None = None) -> str:
        """Add a chunk, with a Content-Range if ``start`` is given, and return the new Location."""
        headers = {} if start is None else {"Content-Range": f"{start}-{start + len(content) - 1}"}
        answer = request(self.address, "PATCH", location, headers, content)
        assert answer.status == 202, answer
        return str(answer.headers["Location"])

    def image(
        self,
        *tags: str,
        layers: Sequence[bytes] = (),
        config: bytes | None = None,
        subject: str | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Image:
        """Push an image that no registry has seen: layers, config, and the manifest under each tag."""
        contents = tuple(layers) or (os.urandom(256),)
        configuration = config or json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        for content in (*contents, configuration):
            self.blob(content)
        body = manifest(contents, configuration, subject=subject, annotations=annotations)
        for reference in tags or (sha256(body),):
            self.manifest(reference, body)
        return Image(body, configuration, contents)

    def manifest(self, reference: str, body: bytes, media_type: str = MANIFEST) -> None:
        """Push a manifest."""
        answer = self.request("PUT", f"/manifests/{reference}", {"Content-Type": media_type}, body)
        assert answer.status == 201, answer

    def digest_of(self, reference: str) -> str:
        """Return the digest of the manifest that a reference leads to."""
        answer = self.request("GET", f"/manifests/{reference}", {"Accept": f"{MANIFEST}, {INDEX}"})
        assert answer.status == 200, answer
        assert answer.headers["Docker-Content-Digest"] == sha256(answer.body)
        return sha256(answer.body)

    def tags(self) -> list[str]:
        """Return the repository's tags."""
        answer = self.request("GET", "/tags/list")
        assert answer.status in {200, 404}, answer
        return list(answer.document["tags"]) if answer.status == 200 else []


def manifest(
    layers: Sequence[bytes],
    config: bytes,
    *,
    subject: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Return an image manifest that is different each time."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(LAYER, layer) for layer in layers],
        "annotations": {"serial": f"{os.getpid()}.{next(_serial)}", **(annotations or {})},
    }
    if subject is not None:
        document["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": 1}
        document["artifactType"] = "application/vnd.example.note"
    return json.dumps(document).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content)}
