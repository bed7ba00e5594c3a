"""Fixtures of the contract suites: one Glance after the other, each empty after every test."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest

from devcloud.glance import Glance
from tests.contract.clouds import Cloud, MemoryCloud, RealCloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_glance.store.images import ImageService

LEFTOVERS_TIMEOUT_S = 10.0


@pytest.fixture(scope="session")
def glance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    with Glance(tmp_path_factory.mktemp("glance")) as server:
        yield server


@pytest.fixture(params=["memory-sha256", "memory-sha512", "glance-sha256"])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    kind, hash_algorithm = request.param.split("-")
    chosen: Cloud
    if kind == "memory":
        chosen = MemoryCloud(hash_algorithm)
    else:
        server: Glance = request.getfixturevalue("glance")
        chosen = RealCloud(server.url, server.data, hash_algorithm)
    yield chosen
    # The end of a broken-off upload reaches Glance a moment later than its sender.
    deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
    while (left := chosen.leftovers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    _empty(chosen)
    chosen.close()
    assert left == []


@pytest.fixture
def images(cloud: Cloud) -> ImageService:
    return cloud.service()


@pytest.fixture
def new_id(images: ImageService) -> Iterator[Callable[[], str]]:
    """A source of fresh ids; what the test leaves under them must be deletable, and is deleted."""
    given: list[str] = []

    def draw() -> str:
        given.append(str(uuid.uuid4()))
        return given[-1]

    yield draw
    present = {image.id for hidden in (True, False) for image in images.list(hidden=hidden)}
    for image_id in given:
        if image_id in present:
            images.delete(image_id)


def _empty(cloud: Cloud) -> None:
    """Spare the next test from what this one left."""
    admin = cloud.service("operator", admin=True)
    for hidden in (True, False):
        for image in list(admin.list(hidden=hidden)):
            admin.delete(image.id)
