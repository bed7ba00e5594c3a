"""oras stores artifacts that are not images, and what refers to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require

Oras = Callable[..., str]

SBOM = "application/vnd.example.sbom.v1"
SIGNATURE = "application/vnd.example.signature.v1"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@pytest.fixture
def oras(workshop: Workshop, tmp_path: Path) -> Oras:
    """Run oras in the test's folder: it wants relative paths."""
    require("oras")
    return lambda *arguments: workshop.run("oras", *arguments, cwd=tmp_path)


@pytest.fixture
def artifact(registry: RegistryApi, oras: Oras, repository: str, tmp_path: Path) -> str:
    """The digest of an artifact of two files, pushed as ``v1``."""
    for name in ("model.bin", "card.md"):
        (tmp_path / name).write_bytes(os.urandom(30_000))
    there = registry.reference(repository)
    pushed = oras(
        *("push", "--plain-http", "--format", "json", "--artifact-type", "application/vnd.model"),
        *(there, "model.bin:application/octet-stream", "card.md:text/markdown"),
    )
    return str(json.loads(pushed)["digest"])


def discover(oras: Oras, reference: str, *options: str) -> list[dict[str, Any]]:
    """Return the referrers that oras finds."""
    found = json.loads(oras("discover", "--plain-http", "--format", "json", *options, reference))
    return list(found.get("referrers") or found.get("manifests") or [])


def test_an_artifact_comes_back_file_by_file(
    registry: RegistryApi, oras: Oras, repository: str, artifact: str, tmp_path: Path
) -> None:
    oras("pull", "--plain-http", "--output", "back", registry.reference(repository))

    assert registry.digest(repository, "v1") == artifact
    assert registry.manifest(repository, "v1").content["artifactType"] == "application/vnd.model"
    for name in ("model.bin", "card.md"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_helm_chart_keeps_its_media_types(
    registry: RegistryApi, oras: Oras, repository: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"name": "chart", "version": "1.0.0"}')
    (tmp_path / "chart.tgz").write_bytes(os.urandom(10_000))
    there = registry.reference(repository, "1.0.0")

    config, chart = f"config.json:{HELM_CONFIG}", f"chart.tgz:{HELM_CHART}"
    oras("push", "--plain-http", "--config", config, there, chart)
    oras("pull", "--plain-http", "--output", "back", there)

    manifest = registry.manifest(repository, "1.0.0").content
    assert manifest["config"]["mediaType"] == HELM_CONFIG
    assert [layer["mediaType"] for layer in manifest["layers"]] == [HELM_CHART]
    chart_back = (tmp_path / "back" / "chart.tgz").read_bytes()
    assert chart_back == (tmp_path / "chart.tgz").read_bytes()
    registry.assert_complete(repository, "1.0.0")


def test_what_is_attached_is_discovered(
    registry: RegistryApi, oras: Oras, repository: str, artifact: str, tmp_path: Path
) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    there = registry.reference(repository)

    for artifact_type in (SBOM, SIGNATURE):
        options = ("--artifact-type", artifact_type, "--annotation", "by=tests")
        oras("attach", "--plain-http", *options, there, "sbom.json:application/json")

    found = discover(oras, there)
    assert sorted(referrer["artifactType"] for referrer in found) == [SBOM, SIGNATURE]
    assert all(referrer["annotations"]["by"] == "tests" for referrer in found)
    for referrer in found:
        content = registry.manifest(repository, referrer["digest"]).content
        assert content["subject"]["digest"] == artifact


def test_discover_filters_by_artifact_type(
    registry: RegistryApi, oras: Oras, repository: str, artifact: str, tmp_path: Path
) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    there = f"{registry.address}/{repository}@{artifact}"
    for artifact_type in (SBOM, SIGNATURE):
        file = "sbom.json:application/json"
        oras("attach", "--plain-http", "--artifact-type", artifact_type, there, file)

    found = discover(oras, there, "--artifact-type", SIGNATURE)

    assert [referrer["artifactType"] for referrer in found] == [SIGNATURE]


def test_a_recursive_copy_takes_the_referrers_along(
    registry: RegistryApi, oras: Oras, repository: str, artifact: str, tmp_path: Path
) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    there, copy = registry.reference(repository), registry.reference(f"{repository}-copy")
    file = "sbom.json:application/json"
    oras("attach", "--plain-http", "--artifact-type", SBOM, there, file)

    oras("copy", "--recursive", "--from-plain-http", "--to-plain-http", there, copy)

    assert registry.digest(f"{repository}-copy", "v1") == artifact
    copied = [referrer["digest"] for referrer in discover(oras, copy)]
    assert copied == [referrer["digest"] for referrer in discover(oras, there)]


def test_a_deleted_referrer_is_discovered_no_more(
    registry: RegistryApi, oras: Oras, repository: str, artifact: str, tmp_path: Path
) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    there = f"{registry.address}/{repository}@{artifact}"
    oras("attach", "--plain-http", "--artifact-type", SBOM, there, "sbom.json:application/json")
    [referrer] = discover(oras, there)

    referrer_there = f"{registry.address}/{repository}@{referrer['digest']}"
    oras("manifest", "delete", "--plain-http", "--force", referrer_there)

    assert discover(oras, there) == []
