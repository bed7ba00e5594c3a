from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from nova_hook import images
from nova_hook.images import EngineReference, GlanceImage, ImageUnacceptable, check_bootable, resolve

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
REGISTRY = "glance.example:5042"

MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": {"mediaType": OCI_CONFIG, "digest": "sha256:" + "a" * 64, "size": 2},
    "layers": [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + "b" * 64, "size": 3}
    ],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [{"mediaType": OCI_MANIFEST, "digest": "sha256:" + "a" * 64, "size": 2}],
}
IMAGE = GlanceImage(
    id="42", name="hipache:v1", status="active", container_format="docker", size=0, properties={}
)


@dataclass
class Glance:
    """One image."""

    image: GlanceImage = IMAGE
    content: bytes = json.dumps(MANIFEST).encode()
    pieces: list[bytes] = field(default_factory=list)

    def show(self, image_id: str) -> GlanceImage:
        return replace(self.image, id=image_id, size=self.image.size or len(self.content))

    def data(self, image_id: str) -> Iterator[bytes]:
        assert image_id == "42"
        return iter(self.pieces or [self.content[:10], self.content[10:]])


def test_the_digest_is_the_hash_of_the_data_whatever_a_property_claims() -> None:
    forged = {"docker_digest": "sha256:" + "0" * 64, "docker_repository": "other/name", "docker_tag": "v2"}
    glance = Glance(replace(IMAGE, properties=forged))

    reference = resolve(glance, "42", registry=REGISTRY)

    digest = hashlib.sha256(glance.content).hexdigest()
    assert str(reference) == f"glance.example:5042/hipache:v1@sha256:{digest}"
    assert reference.by_digest == f"glance.example:5042/hipache@sha256:{digest}"


@pytest.mark.parametrize(
    ("name", "properties", "expected"),
    [
        ("a/b:1.0", {}, "a/b:1.0"),
        ("hipache", {}, "hipache:latest"),
        ("", {"docker_repository": "a/b", "docker_tag": "v2"}, "a/b:v2"),
        ("", {"docker_repository": "a/b"}, "a/b:latest"),
        ("My snapshot!", {"docker_repository": "a/b", "docker_tag": "no tag"}, "a/b:latest"),
    ],
    ids=["name", "no-tag", "demoted", "by-digest", "renamed"],
)
def test_a_reference_has_the_name_of_the_tag_or_else_of_where_it_was_pushed(
    name: str, properties: dict[str, str], expected: str
) -> None:
    glance = Glance(replace(IMAGE, name=name, properties=properties))

    reference = resolve(glance, "42", registry=REGISTRY)

    assert f"{reference.repository}:{reference.tag}" == expected


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (replace(IMAGE, container_format="bare"), "container_format is bare"),
        (replace(IMAGE, container_format=""), "container_format is not set"),
        (replace(IMAGE, status="queued"), "it is queued"),
        (replace(IMAGE, size=8 * 2**20), "8388608 bytes are no manifest"),
        (replace(IMAGE, name="A B"), "names a repository"),
        (replace(IMAGE, name="A", properties={"docker_repository": "../x"}), "names a repository"),
    ],
    ids=["bare", "no-format", "queued", "too-large", "no-name", "forged-repository"],
)
def test_a_glance_image_that_is_no_container_image_is_refused_in_words(
    image: GlanceImage, reason: str
) -> None:
    with pytest.raises(ImageUnacceptable, match=reason):
        resolve(Glance(image), "42", registry=REGISTRY)


def test_no_more_than_a_manifest_is_ever_read() -> None:
    glance = Glance(pieces=[b" " * (images.MAX_MANIFEST_BYTES // 2)] * 3)

    with pytest.raises(ImageUnacceptable, match="more data"):
        resolve(glance, "42", registry=REGISTRY)


@pytest.mark.parametrize(
    "content",
    [
        MANIFEST,
        {key: value for key, value in MANIFEST.items() if key != "mediaType"},
        INDEX,
        {key: value for key, value in INDEX.items() if key != "mediaType"},
    ],
    ids=["manifest", "manifest-without-type", "index", "index-without-type"],
)
def test_manifests_and_indexes_of_container_images_boot(content: dict[str, Any]) -> None:
    check_bootable(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no schemaVersion 2"),
        (b'{"schemaVersion": 1}', "no schemaVersion 2"),
        (b'{"schemaVersion": 2}', "no config"),
        (json.dumps({**MANIFEST, "layers": []}).encode(), "no layers"),
        (json.dumps({**MANIFEST, "mediaType": "text/plain"}).encode(), "text/plain"),
        (json.dumps({**INDEX, "manifests": []}).encode(), "names no manifests"),
        (
            json.dumps(
                {**MANIFEST, "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}
            ).encode(),
            "artifact .*helm",
        ),
    ],
    ids=["gzip", "deep", "list", "schema-1", "empty", "no-layers", "other-type", "empty-index", "chart"],
)
def test_data_that_is_no_container_image_is_refused_in_words(content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnacceptable, match=reason):
        check_bootable(content)


@pytest.mark.parametrize(
    "part",
    [
        {"repository": "../a"},
        {"repository": "A"},
        {"tag": "-x"},
        {"tag": "a@b"},
        {"digest": "sha512:" + "0" * 128},
    ],
    ids=lambda part: next(iter(part.values()))[:12],
)
def test_a_reference_cannot_be_invalid(part: dict[str, str]) -> None:
    valid = {"registry": REGISTRY, "repository": "a", "tag": "b", "digest": "sha256:" + "0" * 64}

    with pytest.raises(ValueError, match="not part"):
        EngineReference(**{**valid, **part})
