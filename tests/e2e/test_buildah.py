"""buildah builds, pushes and pulls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require, require_root

Buildah = Callable[..., str]

CONTAINERFILE = """\
FROM scratch
COPY one /one
COPY two /two
LABEL made-by=buildah
"""


@pytest.fixture
def buildah(workshop: Workshop) -> Iterator[Buildah]:
    require("buildah")
    require_root()
    yield lambda *arguments: workshop.run("buildah", *arguments)
    left = json.loads(workshop.run("buildah", "containers", "--json")) or []
    workshop.run("buildah", "rmi", "--all", "--force")
    assert left == []


@pytest.fixture
def built(buildah: Buildah, registry: RegistryApi, repository: str, tmp_path: Path) -> str:
    """The reference of an image that buildah built and the registry has not."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(os.urandom(50_000))
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    reference = registry.reference(repository)
    buildah("bud", "--layers", "--tag", reference, tmp_path)
    return reference


def test_a_built_image_comes_back_with_the_digest_it_was_pushed_with(
    registry: RegistryApi, buildah: Buildah, repository: str, built: str, tmp_path: Path
) -> None:
    buildah("push", "--tls-verify=false", "--digestfile", tmp_path / "digest", built)
    pushed = (tmp_path / "digest").read_text()
    buildah("rmi", "--all", "--force")

    buildah("pull", "--tls-verify=false", built)

    pulled = buildah("images", "--digests", "--format", "{{.Digest}}").split()
    assert registry.digest(repository, "v1") == pushed
    assert pulled == [pushed]
    registry.assert_complete(repository, "v1")


def test_an_image_from_the_registry_is_the_base_of_another(
    registry: RegistryApi, buildah: Buildah, repository: str, built: str, tmp_path: Path
) -> None:
    buildah("push", "--tls-verify=false", built)
    buildah("rmi", "--all", "--force")
    child = registry.reference(f"{repository}-child")
    (tmp_path / "three").write_bytes(os.urandom(50_000))
    (tmp_path / "Containerfile").write_text(f"FROM {built}\nCOPY three /three\n")

    buildah("bud", "--layers", "--tls-verify=false", "--tag", child, tmp_path)
    buildah("push", "--tls-verify=false", child)

    base = registry.manifest(repository, "v1").layers
    assert registry.manifest(f"{repository}-child", "v1").layers[: len(base)] == base
    registry.assert_complete(f"{repository}-child", "v1")
