"""skopeo copies between archives, layouts and repositories, and asks and deletes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.images import INDEX, write_image, write_index
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require

Skopeo = Callable[..., str]


@pytest.fixture
def skopeo(workshop: Workshop) -> Skopeo:
    require("skopeo")
    return lambda *arguments: workshop.run("skopeo", *arguments)


def test_a_layout_comes_back_with_the_same_digest(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    there = f"docker://{registry.reference(repository)}"

    skopeo("copy", "--dest-tls-verify=false", f"oci:{image.path}:v1", there)
    skopeo("copy", "--src-tls-verify=false", there, f"oci:{tmp_path}/back:v1")

    assert registry.digest(repository, "v1") == image.digest
    back = json.loads((tmp_path / "back" / "index.json").read_text())
    assert back["manifests"][0]["digest"] == image.digest
    registry.assert_complete(repository, "v1")


def test_a_docker_archive_comes_back_with_the_same_layers(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    archive, back = tmp_path / "image.tar", tmp_path / "back.tar"
    skopeo("copy", f"oci:{image.path}:v1", f"docker-archive:{archive}:any:v1")
    there = f"docker://{registry.reference(repository)}"

    skopeo("copy", "--dest-tls-verify=false", f"docker-archive:{archive}", there)
    skopeo("copy", "--src-tls-verify=false", there, f"docker-archive:{back}:any:v1")

    layers = [
        json.loads(skopeo("inspect", "--config", f"docker-archive:{path}"))["rootfs"]
        for path in (archive, back)
    ]
    assert layers[0] == layers[1]
    registry.assert_complete(repository, "v1")


def test_an_index_comes_back_with_all_its_images(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    index = write_index(tmp_path / "index")
    there = f"docker://{registry.reference(repository)}"

    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{index.path}:v1", there)
    skopeo("copy", "--all", "--src-tls-verify=false", there, f"oci:{tmp_path}/back:v1")

    manifest = registry.manifest(repository, "v1")
    assert (manifest.digest, manifest.media_type) == (index.digest, INDEX)
    back = json.loads((tmp_path / "back" / "index.json").read_text())
    assert back["manifests"][0]["digest"] == index.digest
    registry.assert_complete(repository, "v1")


def test_a_copy_between_two_repositories_has_the_same_digest(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    source = f"docker://{registry.reference(repository)}"
    target = f"docker://{registry.reference(f'{repository}-copy', 'v2')}"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{image.path}:v1", source)

    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)

    assert registry.digest(f"{repository}-copy", "v2") == image.digest
    registry.assert_complete(f"{repository}-copy", "v2")


def test_list_tags_names_every_tag(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    for tag in ("v2", "v10", "latest"):
        there = f"docker://{registry.reference(repository, tag)}"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{image.path}:v1", there)

    listing = json.loads(
        skopeo("list-tags", "--tls-verify=false", f"docker://{registry.address}/{repository}")
    )

    assert listing["Tags"] == ["latest", "v10", "v2"]


def test_inspect_tells_digest_layers_and_labels(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image", layers=3)
    there = f"docker://{registry.reference(repository)}"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{image.path}:v1", there)

    inspected = json.loads(skopeo("inspect", "--tls-verify=false", there))

    assert inspected["Digest"] == image.digest
    assert tuple(inspected["Layers"]) == image.layers
    assert inspected["RepoTags"] == ["v1"]
    assert inspected["Labels"] == {"made-by": "tests"}


def test_delete_removes_the_image_and_its_tags(
    registry: RegistryApi, skopeo: Skopeo, repository: str, tmp_path: Path
) -> None:
    image = write_image(tmp_path / "image")
    for tag in ("v1", "also"):
        there = f"docker://{registry.reference(repository, tag)}"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{image.path}:v1", there)

    skopeo("delete", "--tls-verify=false", f"docker://{registry.reference(repository)}")

    assert not registry.has_manifest(repository, "v1")
    assert not registry.has_manifest(repository, image.digest)
    assert registry.tags(repository) == []
