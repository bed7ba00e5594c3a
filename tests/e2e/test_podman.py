"""podman builds, pushes and pulls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require, require_root

MEDIA_TYPES = {
    "oci": "application/vnd.oci.image.manifest.v1+json",
    "v2s2": "application/vnd.docker.distribution.manifest.v2+json",
}

CONTAINERFILE = """\
FROM scratch
COPY file /file
CMD ["/file"]
"""


class Podman:
    """podman with a storage of its own."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def __call__(self, *arguments: str | Path) -> str:
        return self._workshop.run("podman", *arguments)

    def digest(self, reference: str) -> str:
        return self("image", "inspect", "--format", "{{.Digest}}", reference).strip()


@pytest.fixture
def podman(workshop: Workshop) -> Iterator[Podman]:
    require("podman", "runc")
    require_root()
    client = Podman(workshop)
    yield client
    left = json.loads(client("ps", "--all", "--format", "json"))
    client("rmi", "--all", "--force")
    assert left == []


@pytest.fixture
def built(podman: Podman, registry: RegistryApi, repository: str, tmp_path: Path) -> str:
    """The reference of an image that podman built and the registry has not."""
    (tmp_path / "file").write_bytes(os.urandom(50_000))
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    reference = registry.reference(repository)
    podman("build", "--isolation", "chroot", "--tag", reference, tmp_path)
    return reference


def test_a_pushed_image_comes_back_with_the_same_digest(
    registry: RegistryApi, podman: Podman, repository: str, built: str, tmp_path: Path
) -> None:
    podman("push", "--tls-verify=false", "--digestfile", tmp_path / "digest", built)
    pushed = (tmp_path / "digest").read_text()
    podman("rmi", "--all", "--force")

    podman("pull", "--tls-verify=false", built)

    assert registry.digest(repository, "v1") == pushed
    assert podman.digest(built) == pushed
    registry.assert_complete(repository, "v1")


def test_an_image_is_pulled_by_its_digest(
    registry: RegistryApi, podman: Podman, repository: str, built: str
) -> None:
    podman("push", "--tls-verify=false", built)
    digest = registry.digest(repository, "v1")
    podman("rmi", "--all", "--force")

    podman("pull", "--tls-verify=false", f"{registry.address}/{repository}@{digest}")

    assert podman.digest(f"{registry.address}/{repository}@{digest}") == digest


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_both_manifest_formats_keep_their_media_type(
    registry: RegistryApi, podman: Podman, repository: str, built: str, form: str
) -> None:
    podman("push", "--tls-verify=false", "--format", form, built)

    assert registry.manifest(repository, "v1").media_type == MEDIA_TYPES[form]
    registry.assert_complete(repository, "v1")


def test_a_manifest_list_brings_its_images_along(
    registry: RegistryApi, podman: Podman, repository: str, built: str
) -> None:
    there = registry.reference(repository, "multi")
    podman("manifest", "create", "multi")
    podman("manifest", "add", "multi", f"containers-storage:{built}")

    podman("manifest", "push", "--all", "--tls-verify=false", "multi", f"docker://{there}")

    assert len(registry.manifest(repository, "multi").children) == 1
    registry.assert_complete(repository, "multi")
