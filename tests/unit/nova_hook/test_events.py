from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from nova_hook.engine import ContainerSpec, State
from nova_hook.events import StopWatcher
from nova_hook.instances import LABEL_UUID, container_name
from tests.fakes.memory_engine import MemoryEngine, Program, memory_reference

INTERVAL_S = 0.01
PATIENCE_S = 5.0
A_WHILE_S = 20 * INTERVAL_S
UUID = "b6a4e1c2-4f0e-4d6e-8d3a-0d9c3f6f7a11"
NAME = container_name(UUID)


@dataclass
class Nova:
    """What Nova is doing, and what it was told."""

    busy: bool = False
    told: list[str] = field(default_factory=list)


@pytest.fixture
def nova() -> Nova:
    return Nova()


@pytest.fixture
def engine() -> MemoryEngine:
    memory = MemoryEngine()
    spec = ContainerSpec(
        name=NAME,
        image=memory_reference(Program.SLEEPS),
        hostname="h",
        labels={LABEL_UUID: UUID},
        memory_bytes=1,
        cpus=1,
        pids=1,
        capabilities=(),
        log_size_bytes=1,
        log_files=1,
    )
    memory.pull(spec.image, None)
    memory.containers.create(spec)
    memory.containers.create(replace(spec, name="somebody-elses"))
    for name in (NAME, "somebody-elses"):
        memory.containers.start(name)
    return memory


@pytest.fixture(autouse=True)
def watcher(engine: MemoryEngine, nova: Nova) -> Iterator[StopWatcher]:
    watching = StopWatcher(
        engine, report=nova.told.append, busy=lambda _: nova.busy, settle_s=INTERVAL_S, interval_s=INTERVAL_S
    )
    watching.start()
    wait_until(lambda: bool(engine.subscribers))
    yield watching
    watching.stop()
    assert engine.subscribers == []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(INTERVAL_S)


def test_a_command_that_ends_by_itself_is_reported_once(engine: MemoryEngine, nova: Nova) -> None:
    engine.containers.stop("somebody-elses", timeout_s=0)
    engine.end(NAME)

    wait_until(lambda: bool(nova.told))
    time.sleep(A_WHILE_S)
    assert nova.told == [UUID]


def test_an_end_is_not_reported_while_nova_is_busy_with_the_instance(
    engine: MemoryEngine, nova: Nova
) -> None:
    nova.busy = True
    engine.end(NAME)
    time.sleep(A_WHILE_S)
    assert nova.told == []

    nova.busy = False

    wait_until(lambda: nova.told == [UUID])


def test_an_end_is_not_reported_when_it_runs_again(engine: MemoryEngine, nova: Nova) -> None:
    nova.busy = True
    engine.end(NAME)
    engine.containers.start(NAME)

    nova.busy = False
    time.sleep(A_WHILE_S)

    assert nova.told == []


def test_an_end_is_not_reported_when_the_instance_is_gone(engine: MemoryEngine, nova: Nova) -> None:
    engine.containers.remove(NAME)
    time.sleep(A_WHILE_S)

    assert nova.told == []


def test_the_ends_that_an_engine_tells_before_it_goes_away_are_not_reported(
    engine: MemoryEngine, nova: Nova
) -> None:
    nova.busy = True
    engine.end(NAME)
    engine.go_away()
    nova.busy = False
    time.sleep(A_WHILE_S)

    assert nova.told == []


def test_what_ended_while_the_engine_was_away_is_reported_when_it_is_back(
    engine: MemoryEngine, nova: Nova
) -> None:
    engine.go_away()
    wait_until(lambda: engine.subscribers == [])
    engine.memory_containers[NAME].state = State.EXITED
    time.sleep(A_WHILE_S)
    assert nova.told == []

    engine.come_back()

    wait_until(lambda: nova.told == [UUID])


def test_nothing_is_reported_when_an_engine_comes_back_with_all_running(
    engine: MemoryEngine, nova: Nova
) -> None:
    engine.go_away()
    wait_until(lambda: engine.subscribers == [])

    engine.come_back()
    wait_until(lambda: bool(engine.subscribers))
    time.sleep(A_WHILE_S)

    assert nova.told == []
