"""The application over a Glance in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.fakes.memory_glance import MemoryGlance
from tests.unit.api.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A Glance as ``make run`` configures it: sha256, the nameless hidden."""
    yield from _serve("sha256", hide=True)


@pytest.fixture(
    params=[("sha256", True), ("sha512", True), ("sha256", False), ("sha512", False)],
    ids=["sha256-hidden", "sha512-hidden", "sha256-shown", "sha512-shown"],
)
def every_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One after the other: every hash algorithm of Glance, with the nameless hidden and shown."""
    algorithm, hide = request.param
    yield from _serve(algorithm, hide=hide)


@pytest.fixture
def client(world: World) -> FlaskClient:
    return world.client


def _serve(algorithm: str, *, hide: bool) -> Iterator[World]:
    world = World(MemoryGlance(hash_algorithm=algorithm, page_size=3), hide=hide)
    yield world
    assert world.glance.open_streams == 0
    assert world.glance.moments.pending() == []
