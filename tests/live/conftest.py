"""Fixtures of the suites that misbehave: real Glances, real registries, and nothing of them left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from devcloud.glance import Glance, prepare_database
from devcloud.registry import Registry
from tests.e2e.leftovers import assert_nothing_left_behind
from tests.live.bench import MAX_STREAMS, REPOSITORY, THREADS, Bench
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import Pusher
from tests.live.wire import request

StartGlance = Callable[..., Glance]
StartRegistry = Callable[..., Registry]


@pytest.fixture(scope="session")
def live_folder() -> Iterator[Path]:
    """A folder for everything that the suites start; in the end no process has to do with it."""
    folder = Path(tempfile.mkdtemp(prefix="live-"))
    yield folder
    assert_nothing_left_behind(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def glance_database(live_folder: Path) -> Path:
    """An empty Glance database, to copy: making one takes seconds."""
    path = live_folder / "template.sqlite"
    prepare_database(path)
    return path


@pytest.fixture(scope="module")
def start_glance(live_folder: Path, glance_database: Path) -> Iterator[StartGlance]:
    """Start Glances for one module; each ends with it."""
    with ExitStack() as running:

        def start(**options: object) -> Glance:
            folder = live_folder / f"glance-{uuid.uuid4().hex[:8]}"
            return running.enter_context(Glance(folder, template=glance_database, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="module")
def start_registry(live_folder: Path) -> Iterator[StartRegistry]:
    """Start registries for one module, of one process each unless told otherwise; each ends with it.

    The options are those of ``[registry]``, and ``timeout_per_call`` of ``[glance]``.
    """
    with ExitStack() as running:

        def start(glance_url: str, *, timeout_per_call: float = 60.0, **options: object) -> Registry:
            folder = live_folder / f"registry-{uuid.uuid4().hex[:8]}"
            settings: Mapping[str, Mapping[str, str]] = {
                "registry": {"workers": "1", **{key: str(value) for key, value in options.items()}},
                "glance": {"timeout_per_call": str(timeout_per_call)},
            }
            return running.enter_context(Registry(folder, glance_url, settings=settings))

        yield start


@pytest.fixture(scope="module")
def glance(start_glance: StartGlance) -> Glance:
    return start_glance()


@pytest.fixture(scope="module")
def records(glance: Glance) -> GlanceRecords:
    return GlanceRecords(glance.url)


@pytest.fixture(scope="module")
def registry(start_registry: StartRegistry, glance: Glance) -> Registry:
    return start_registry(glance.url)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository name that nothing else uses."""
    suite = request.path.stem.removeprefix("test_").replace("_", "-")
    return f"{suite}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def bench(start_registry: StartRegistry, records: GlanceRecords) -> Bench:
    """A registry with one image in it, for bad input."""
    registry = start_registry(records.url, threads=THREADS, max_streams=MAX_STREAMS, stream_wait=2)
    image = Pusher(registry.authority, REPOSITORY).image("v1", layers=[os.urandom(1000)])
    return Bench(registry, records, image)


@pytest.fixture
def unchanged(bench: Bench) -> Iterator[None]:
    """Whatever the test does, in the end Glance holds what it held, and the registry answers."""
    before = bench.records.all()
    yield
    assert bench.records.settled() == before
    bench.assert_serves()


@pytest.fixture
def gone(bench: Bench) -> Iterator[None]:
    """As ``unchanged``, for tests with a session: all that it stored is gone in the end."""
    before = bench.records.all()
    yield
    assert bench.records.settled() == before


@pytest.fixture
def session(bench: Bench) -> Iterator[str]:
    """The path of an upload session that is begun for one test, and ended after it if the test did not end it."""
    location = bench.pusher.begin()
    yield location
    request(bench.address, "DELETE", location)
