"""Fixtures of the tests with real clients: a registry over a fresh Glance, and engines of the tests' own.

``E2E_REGISTRY=host:port`` points the clients at any other registry, to compare; what looks into Glance skips then.
``E2E_DOCKERD=/path`` (or any other program's name) tries another one than the machine's.
``E2E_STRICT=1`` turns a skip for want of a client into a failure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.glance import Glance, prepare_database
from devcloud.registry import Registry
from tests.e2e.engines import Containerd, DockerEngine
from tests.e2e.glance_view import GlanceView
from tests.e2e.leftovers import assert_nothing_left_behind
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, require, require_root


@pytest.fixture(scope="session")
def e2e_folder() -> Iterator[Path]:
    """A folder with a short path for everything that the suite starts; in the end it is empty of life."""
    # Not pytest's: sockets and overlays below it must not outgrow what a path may be long.
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    yield folder
    assert_nothing_left_behind(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def workshop(e2e_folder: Path) -> Workshop:
    return Workshop(e2e_folder / "h")


@pytest.fixture(scope="session")
def glance_database(e2e_folder: Path) -> Path:
    """An empty Glance database, to copy: making one takes seconds."""
    path = e2e_folder / "template.sqlite"
    prepare_database(path)
    return path


@pytest.fixture(scope="session")
def embedded_glance(e2e_folder: Path, glance_database: Path) -> Iterator[Glance]:
    if "E2E_REGISTRY" in os.environ:
        pytest.skip("looks into Glance, and E2E_REGISTRY is another registry")
    with Glance(e2e_folder / "glance", template=glance_database) as glance:
        yield glance


@pytest.fixture(scope="module")
def module_glance(
    e2e_folder: Path, glance_database: Path, request: pytest.FixtureRequest
) -> Iterator[Glance]:
    """A Glance for one module, whose tests leave uploads unfinished on purpose."""
    if "E2E_REGISTRY" in os.environ:
        pytest.skip("starts registries of its own, and E2E_REGISTRY is another one")
    folder = e2e_folder / f"glance-{request.path.stem}"
    with Glance(folder, template=glance_database) as glance:
        yield glance


@pytest.fixture(scope="session")
def glance_view(embedded_glance: Glance) -> GlanceView:
    return GlanceView(embedded_glance.url)


@pytest.fixture(scope="session")
def registry(e2e_folder: Path, request: pytest.FixtureRequest) -> Iterator[RegistryApi]:
    """The registry that the clients talk to; in the end everything in it can be deleted, down to an empty Glance."""
    if "E2E_REGISTRY" in os.environ:
        yield RegistryApi(os.environ["E2E_REGISTRY"])
        return
    glance: Glance = request.getfixturevalue("embedded_glance")
    with Registry(e2e_folder / "registry", glance_url=glance.url) as server:
        api = RegistryApi(server.authority)
        yield api
        leaked = GlanceView(glance.url).empty(api)
    assert leaked == [], "Glance holds images that no digest of the registry leads to"


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository name that nothing else uses, with the client's name in it."""
    client = request.path.stem.removeprefix("test_").replace("_", "-")
    return f"{client}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def docker_engine(workshop: Workshop, registry: RegistryApi) -> Iterator[DockerEngine]:
    require("docker", "dockerd", "containerd", "ctr", "runc")
    require_root()
    with DockerEngine(workshop, registry.address) as engine:
        yield engine


@pytest.fixture(scope="session")
def second_docker_engine(workshop: Workshop, registry: RegistryApi) -> Iterator[DockerEngine]:
    """An engine that has built nothing, so that all it knows came from the registry."""
    require("docker", "dockerd", "containerd", "ctr", "runc")
    require_root()
    with DockerEngine(workshop, registry.address, "dockerd2") as engine:
        yield engine


@pytest.fixture(scope="session")
def containerd(workshop: Workshop) -> Iterator[Containerd]:
    require("containerd", "ctr")
    require_root()
    with Containerd(workshop) as daemon:
        yield daemon
