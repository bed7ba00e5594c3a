"""Images made from nothing, as OCI layouts: what the clients push when no base image can be pulled."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

LAYER_SIZE = 64 * 1024


@dataclass(frozen=True)
class Layout:
    """An OCI layout directory with one tagged manifest or index.

    Attributes:
        path: The directory.
        digest: Of the tagged manifest or index.
        tag: Its ``org.opencontainers.image.ref.name``.
        layers: Digests of the layers of all its images, in order.
    """

    path: Path
    digest: str
    tag: str
    layers: tuple[str, ...]


def random_layer() -> bytes:
    """Return a layer that no registry has seen: a tar with one file of random bytes, gzipped."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo(f"data/{os.urandom(4).hex()}")
        info.size = LAYER_SIZE
        tar.addfile(info, io.BytesIO(os.urandom(LAYER_SIZE)))
    return gzip.compress(archive.getvalue(), mtime=0)


def write_image(path: Path, *, layers: int = 2, tag: str = "v1", architecture: str = "amd64") -> Layout:
    """Write a layout that holds one image for Linux with so many new layers."""
    blobs = _Blobs(path)
    image, digests = blobs.add_image([random_layer() for _ in range(layers)], architecture)
    blobs.tag(image, tag)
    return Layout(path, image["digest"], tag, tuple(digests))


def write_index(path: Path, *, architectures: Sequence[str] = ("amd64", "arm64"), tag: str = "v1") -> Layout:
    """Write a layout that holds an index with one image for each architecture; they share a layer."""
    blobs = _Blobs(path)
    shared = random_layer()
    layers: list[str] = []
    manifests = []
    for architecture in architectures:
        image, digests = blobs.add_image([shared, random_layer()], architecture)
        manifests.append({**image, "platform": {"os": "linux", "architecture": architecture}})
        layers += digests
    index = blobs.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    blobs.tag(index, tag)
    return Layout(path, index["digest"], tag, tuple(layers))


class _Blobs:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path / "blobs" / "sha256"
        self._folder.mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, data: bytes, media_type: str) -> dict[str, Any]:
        hex_digest = hashlib.sha256(data).hexdigest()
        (self._folder / hex_digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{hex_digest}", "size": len(data)}

    def add_json(self, content: dict[str, Any], media_type: str) -> dict[str, Any]:
        return self.add(json.dumps(content).encode(), media_type)

    def add_image(self, layers: Sequence[bytes], architecture: str) -> tuple[dict[str, Any], list[str]]:
        diff_ids = [f"sha256:{hashlib.sha256(gzip.decompress(layer)).hexdigest()}" for layer in layers]
        config = self.add_json(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": ["/none"], "Labels": {"made-by": "tests"}},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            },
            CONFIG,
        )
        descriptors = [self.add(layer, LAYER) for layer in layers]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
        image = self.add_json({**manifest, "layers": descriptors}, MANIFEST)
        return image, [descriptor["digest"] for descriptor in descriptors]

    def tag(self, descriptor: dict[str, Any], tag: str) -> None:
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        (self._path / "index.json").write_text(json.dumps(index))
