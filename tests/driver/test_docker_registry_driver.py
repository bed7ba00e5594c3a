"""The driver in an environment of its own, beside docker-registry-core as it was released in 2014."""

import ast
import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcloud.glance import Glance

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SOURCES = ("docker_registry", "registry_glance", "nova_hook", "nova_virt", "devcloud")


@dataclass(frozen=True)
class Counts:
    """What a suite's report counts."""

    passed: int
    failed: int
    skipped: int


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with this project, docker-registry-core and what runs the suites."""
    environment = tmp_path_factory.mktemp("driver") / "venv"
    run([sys.executable, "-m", "venv", str(environment)])
    interpreter = environment / "bin" / "python"
    # A build leaves files beside its sources, so it gets a copy.
    source = environment.with_name("source")
    source.mkdir()
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, str(source), "pytest"])
    run([*pip, "--no-deps", "--requirement", str(HERE / "requirements.txt")])
    return interpreter


@pytest.fixture
def glance(tmp_path: Path) -> Iterator[Glance]:
    with Glance(tmp_path / "glance") as started:
        yield started


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    completed = subprocess.run(
        command,
        env={**clean_environment(), **environment},
        # Not the project's root: python -m would import from there what is to come from the installation.
        cwd=HERE / "suites",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout}"
    return completed


def visible_images(glance: Glance) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{glance.url}/v2/images") as response:  # noqa: S310 - our own Glance
        images: list[dict[str, str]] = json.load(response)["images"]
    return images


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead Python, pytest or OpenStack's clients elsewhere."""
    foreign = ("PYTHON", "PYTEST", "OS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def read_report(report: Path) -> Counts:
    (suite,) = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - our own child wrote it
    numbers = suite.attrib
    failed = int(numbers["errors"]) + int(numbers["failures"])
    # nose writes "skip", pytest "skipped".
    skipped = int(numbers.get("skip") or numbers.get("skipped") or 0)
    return Counts(passed=int(numbers["tests"]) - failed - skipped, failed=failed, skipped=skipped)


def test_docker_registry_core_passes_its_own_suite_on_glance(
    python: Path, glance: Glance, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"

    run(
        [
            *(str(python), "-m", "nose", "--verbose", "--with-xunit", f"--xunit-file={report}"),
            str(HERE / "suites" / "core_suite.py"),
        ],
        OS_GLANCE_URL=glance.url,
    )

    # All of docker_registry.testing 2.0.3: 28 in Driver, 3 in Query.
    assert read_report(report) == Counts(passed=31, failed=0, skipped=0)
    assert visible_images(glance) == []


def test_paths_and_tags_become_images_and_names(python: Path, glance: Glance, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"

    run(
        [
            *(str(python), "-m", "pytest", f"--junit-xml={report}", "--noconftest"),
            *("-c", os.devnull, "--rootdir", str(HERE / "suites"), "-p", "no:cacheprovider"),
            str(HERE / "suites" / "glance_suite.py"),
        ],
        OS_GLANCE_URL=glance.url,
    )

    counts = read_report(report)
    assert counts.passed >= 55
    assert (counts.failed, counts.skipped) == (0, 0)


def test_the_environment_has_none_of_the_pinned_dependencies(python: Path) -> None:
    listed = run([str(python), "-m", "pip", "list", "--format=freeze"]).stdout.splitlines()

    names = {line.partition("==")[0].lower() for line in listed}

    assert "docker-registry-core" in names
    assert names.isdisjoint({"boto", "redis", "simplejson"})


def test_the_project_neither_imports_nor_requires_docker_registry() -> None:
    importers = {
        path
        for package in ("registry_glance", "nova_hook", "devcloud")
        for path in (ROOT / package).rglob("*.py")
        if any(name.split(".")[0] == "docker_registry" for name in imported_modules(path))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *itertools.chain.from_iterable(project["optional-dependencies"].values()),
    ]

    assert importers == set()
    assert not [text for text in requirements if text.startswith("docker-registry")]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_namespace_package_stays_one() -> None:
    assert list((ROOT / "docker_registry").rglob("__init__.py")) == []
