"""containerd pushes and pulls with its own client, ctr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.engines import Containerd
from tests.e2e.images import write_image, write_index
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop

Ctr = Callable[..., str]


@pytest.fixture
def ctr(containerd: Containerd) -> Iterator[Ctr]:
    yield containerd.ctr
    remove_images(containerd.ctr)
    assert containerd.ctr("images", "ls", "--quiet") == ""


def remove_images(ctr: Ctr) -> None:
    """Remove every image and wait until its content is gone."""
    if names := ctr("images", "ls", "--quiet").split():
        ctr("images", "rm", "--sync", *names)


def import_layout(workshop: Workshop, ctr: Ctr, layout: Path, reference: str) -> None:
    """Load an OCI layout into containerd under a reference."""
    archive = layout.with_suffix(".tar")
    workshop.run("tar", "-C", layout, "-cf", archive, ".")
    repository, _, _ = reference.rpartition(":")
    ctr("images", "import", "--all-platforms", "--base-name", repository, archive)


def digest(ctr: Ctr, reference: str) -> str:
    """Return the digest that containerd has for a reference."""
    line = ctr("images", "ls", f"name=={reference}").splitlines()[1]
    return line.split()[2]


def test_a_pushed_image_comes_back_with_the_same_digest(
    registry: RegistryApi, workshop: Workshop, ctr: Ctr, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image", layers=3)
    reference = registry.reference(repository)
    import_layout(workshop, ctr, image.path, reference)

    ctr("images", "push", "--plain-http", reference)
    remove_images(ctr)
    ctr("images", "pull", "--plain-http", reference)

    assert registry.digest(repository, "v1") == image.digest
    assert digest(ctr, reference) == image.digest
    registry.assert_complete(repository, "v1")


def test_an_index_is_pushed_and_pulled_with_all_its_platforms(
    registry: RegistryApi, workshop: Workshop, ctr: Ctr, repository: str, tmp_path: Path
) -> None:
    index = write_index(tmp_path / "index")
    reference = registry.reference(repository)
    import_layout(workshop, ctr, index.path, reference)

    ctr("images", "push", "--plain-http", reference)
    remove_images(ctr)
    ctr("images", "pull", "--plain-http", "--all-platforms", reference)

    assert registry.digest(repository, "v1") == index.digest
    assert digest(ctr, reference) == index.digest
    assert "linux/amd64" in ctr("images", "ls", f"name=={reference}")
    assert "linux/arm64" in ctr("images", "ls", f"name=={reference}")
    registry.assert_complete(repository, "v1")


def test_a_push_of_what_is_there_succeeds(
    registry: RegistryApi, workshop: Workshop, ctr: Ctr, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    reference = registry.reference(repository)
    import_layout(workshop, ctr, image.path, reference)
    ctr("images", "push", "--plain-http", reference)

    ctr("images", "push", "--plain-http", reference)

    assert registry.digest(repository, "v1") == image.digest
    assert registry.tags(repository) == ["v1"]
