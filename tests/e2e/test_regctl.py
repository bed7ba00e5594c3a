"""regctl, of regclient, uploads in small chunks, copies, tags, and asks for referrers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.images import write_image, write_index
from tests.e2e.registry_api import RegistryApi
from tests.e2e.round_robin import RoundRobin
from tests.e2e.tools import Workshop, require

Regctl = Callable[..., str]

CHUNK_SIZE = 64 * 1024


@pytest.fixture
def regctl(workshop: Workshop, registry: RegistryApi) -> Regctl:
    """Run regctl with a configuration that makes it upload every larger blob in chunks of 64 KiB."""
    require("regctl")
    configure(workshop, registry.address)
    return lambda *arguments: workshop.run("regctl", *arguments)


def configure(workshop: Workshop, address: str) -> None:
    """Make regctl talk plain HTTP to an address, in small chunks."""
    settings = {"tls": "disabled", "blobChunk": CHUNK_SIZE, "blobMax": CHUNK_SIZE}
    configuration = {"version": 1, "hosts": {address: settings}}
    Path(workshop.environment["REGCTL_CONFIG"]).write_text(json.dumps(configuration))


def test_a_blob_uploaded_in_chunks_is_whole(
    registry: RegistryApi, workshop: Workshop, repository: str
) -> None:
    require("regctl")
    # regctl makes its chunks as large as the registry asks for.
    chunk_size = max(CHUNK_SIZE, registry.chunk_min_length(repository))
    content = os.urandom(2 * chunk_size + 8).hex()
    digest = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"

    with RoundRobin([registry.address]) as proxy:
        configure(workshop, proxy.address)
        there = f"{proxy.address}/{repository}"
        put = workshop.run("regctl", "blob", "put", "--digest", digest, there, stdin=content)

    assert digest in put
    assert registry.blob_digest(repository, digest) == digest
    chunks = [request for request in proxy.requests if request.method == "PATCH"]
    assert [chunk.content_range for chunk in chunks] == [
        *(f"{start}-{start + chunk_size - 1}" for start in range(0, 4 * chunk_size, chunk_size)),
        f"{4 * chunk_size}-{4 * chunk_size + 15}",
    ]


def test_an_image_comes_back_with_the_same_digest(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    there = registry.reference(repository)

    regctl("image", "copy", f"ocidir://{image.path}:v1", there)
    regctl("image", "copy", there, f"ocidir://{tmp_path}/back:v1")

    assert registry.digest(repository, "v1") == image.digest
    assert regctl("image", "digest", f"ocidir://{tmp_path}/back:v1").strip() == image.digest
    registry.assert_complete(repository, "v1")


def test_tag_delete_removes_one_tag_and_leaves_the_other(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    for tag in ("v1", "keep"):
        regctl("image", "copy", f"ocidir://{image.path}:v1", registry.reference(repository, tag))

    regctl("tag", "delete", registry.reference(repository))

    assert regctl("tag", "ls", f"{registry.address}/{repository}").split() == ["keep"]
    assert registry.digest(repository, "keep") == image.digest
    registry.assert_complete(repository, "keep")


def test_tags_are_listed_page_by_page(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    tags = ["a", "b", "c", "d", "e"]
    for tag in tags:
        regctl("image", "copy", f"ocidir://{image.path}:v1", registry.reference(repository, tag))

    pages = [
        regctl("tag", "ls", "--limit", "2", *last, f"{registry.address}/{repository}").split()
        for last in ([], ["--last", "b"], ["--last", "d"])
    ]

    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_an_artifact_with_a_subject_is_listed_as_its_referrer(
    registry: RegistryApi, regctl: Regctl, workshop: Workshop, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    there = registry.reference(repository)
    regctl("image", "copy", f"ocidir://{image.path}:v1", there)

    workshop.run(
        *("regctl", "artifact", "put", "--artifact-type", "application/vnd.example.report.v1"),
        *("--subject", there),
        stdin="a report",
    )

    listed = json.loads(regctl("artifact", "list", "--format", "{{json .}}", there))
    [referrer] = listed["descriptors"]
    assert referrer["artifactType"] == "application/vnd.example.report.v1"
    content = registry.manifest(repository, referrer["digest"]).content
    assert content["subject"]["digest"] == image.digest
    assert regctl("artifact", "get", "--subject", there) == "a report"


def test_a_copy_to_another_repository_takes_an_index_whole(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    index = write_index(tmp_path / "index")
    there, copy = registry.reference(repository), registry.reference(f"{repository}-copy", "v2")
    regctl("image", "copy", f"ocidir://{index.path}:v1", there)

    regctl("image", "copy", there, copy)

    assert registry.digest(repository, "v1") == index.digest
    assert registry.digest(f"{repository}-copy", "v2") == index.digest
    registry.assert_complete(f"{repository}-copy", "v2")


def test_an_index_is_created_from_two_images(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    images = {tag: write_image(tmp_path / tag, tag=tag) for tag in ("amd64", "arm64")}
    for tag, image in images.items():
        regctl("image", "copy", f"ocidir://{image.path}:{tag}", registry.reference(repository, tag))

    options = [part for tag in images for part in ("--ref", registry.reference(repository, tag))]
    regctl("index", "create", *options, registry.reference(repository, "both"))

    children = registry.manifest(repository, "both").children
    assert children == [image.digest for image in images.values()]
    registry.assert_complete(repository, "both")


def test_a_sha512_digest_is_kept(
    registry: RegistryApi, regctl: Regctl, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    local = f"ocidir://{tmp_path}/sha512:v1"
    regctl("image", "copy", f"ocidir://{image.path}:v1", local)
    regctl("image", "mod", local, "--replace", "--digest-algo", "sha512")
    by_digest = f"{registry.address}/{repository}@{regctl('image', 'digest', local).strip()}"

    regctl("image", "copy", local, by_digest)

    assert "@sha512:" in by_digest
    manifest = json.loads(regctl("manifest", "get", "--format", "raw-body", by_digest))
    assert manifest["config"]["digest"].startswith("sha512:")
