"""crane, of go-containerregistry, pushes, pulls, copies, lists, deletes and validates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.images import write_image, write_index
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require

Crane = Callable[..., str]


@pytest.fixture
def crane(workshop: Workshop) -> Crane:
    require("crane")
    return lambda *arguments: workshop.run("crane", "--insecure", *arguments)


def layout_digests(path: Path) -> list[str]:
    """Return the digests that a layout's index names."""
    index = json.loads((path / "index.json").read_text())
    return [manifest["digest"] for manifest in index["manifests"]]


def test_a_layout_comes_back_with_the_same_digest(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image", layers=4)
    there = registry.reference(repository)

    crane("push", image.path, there)
    crane("pull", "--format", "oci", there, tmp_path / "back")

    assert crane("digest", there).strip() == image.digest
    assert layout_digests(tmp_path / "back") == [image.digest]
    registry.assert_complete(repository, "v1")


def test_validate_finds_nothing_wrong(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    there = registry.reference(repository)
    crane("push", write_image(tmp_path / "image").path, there)

    assert crane("validate", "--remote", there).startswith("PASS")


def test_a_copy_to_another_repository_has_the_same_digest(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    index = write_index(tmp_path / "index")
    crane("push", "--index", index.path, registry.reference(repository))
    pushed = registry.digest(repository, "v1")

    crane("copy", registry.reference(repository), registry.reference(f"{repository}-copy", "v2"))

    assert registry.digest(f"{repository}-copy", "v2") == pushed
    registry.assert_complete(f"{repository}-copy", "v2")


def test_ls_names_the_tags_and_catalog_the_repository(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    for tag in ("b", "a", "C"):
        crane("push", image.path, registry.reference(repository, tag))

    assert crane("ls", f"{registry.address}/{repository}").split() == ["C", "a", "b"]
    assert repository in crane("catalog", registry.address).split()


def test_tag_adds_a_name_to_the_same_manifest(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    crane("push", image.path, registry.reference(repository))

    crane("tag", registry.reference(repository), "stable")

    assert registry.digest(repository, "stable") == image.digest


def test_index_append_joins_images_of_two_repositories(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    images = {
        registry.reference(name): write_image(tmp_path / name.rpartition("/")[2]).digest
        for name in (repository, f"{repository}-other")
    }
    for there in images:
        crane("push", tmp_path / there.rpartition("/")[2].removesuffix(":v1"), there)

    options = [option for there in images for option in ("--manifest", there)]
    crane("index", "append", *options, "--tag", registry.reference(repository, "both"))

    assert registry.manifest(repository, "both").children == list(images.values())
    registry.assert_complete(repository, "both")


def test_delete_by_digest_removes_the_image(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    crane("push", image.path, registry.reference(repository))

    crane("delete", f"{registry.address}/{repository}@{image.digest}")

    assert not registry.has_manifest(repository, image.digest)
    assert not registry.has_manifest(repository, "v1")


def test_append_puts_a_new_layer_on_an_image_in_the_registry(
    registry: RegistryApi, crane: Crane, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    crane("push", image.path, registry.reference(repository))
    extra = write_image(tmp_path / "extra", layers=1)
    layer = extra.path / "blobs" / extra.layers[0].replace(":", "/")

    base, new = registry.reference(repository), registry.reference(repository, "more")
    crane("append", "--base", base, "--new_layer", layer, "--new_tag", new)

    assert registry.manifest(repository, "more").layers[:2] == list(image.layers)
    assert len(registry.manifest(repository, "more").layers) == 3
    registry.assert_complete(repository, "more")
