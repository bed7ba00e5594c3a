"""What the driver relies on in an engine; the one in memory and the real one keep it alike."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from nova_hook.engine import (
    ContainerDied,
    ContainerNameTaken,
    ContainerSpec,
    ContainerStateConflict,
    ContainerUnknown,
    Credential,
    Engine,
    EngineImageUnfit,
    EngineRefused,
    EngineUnreachable,
    PullFailed,
    State,
    Usage,
)
from tests.contract.container_engines import DockerWorld, EngineWorld, MemoryWorld, docker_world
from tests.fakes.memory_engine import FAILURE, GREETING, Program

DEADLINE_S = 20.0
MEMORY_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerWorld]:
    with docker_world() as world:
        yield world


@pytest.fixture(params=["memory", "docker"])
def world(request: pytest.FixtureRequest) -> Iterator[EngineWorld]:
    chosen: EngineWorld = MemoryWorld() if request.param == "memory" else request.getfixturevalue("docker")
    yield chosen
    left = chosen.engine.containers.list_all()
    for container in left:
        chosen.engine.containers.remove(container.name)
    assert [container for container in left if not container.name.startswith("test-")] == []


@pytest.fixture
def engine(world: EngineWorld) -> Engine:
    return world.engine


@pytest.fixture
def created(world: EngineWorld) -> Callable[[Program], str]:
    """Pulls a program's image and creates a container of it."""

    def create(program: Program) -> str:
        spec = spec_of(world, program)
        world.engine.pull(spec.image, None)
        world.engine.containers.create(spec)
        return spec.name

    return create


def spec_of(world: EngineWorld, program: Program) -> ContainerSpec:
    return ContainerSpec(
        name=f"test-{uuid.uuid4()}",
        image=world.reference(program),
        hostname="test",
        labels={"org.openstack.nova.uuid": "42"},
        memory_bytes=MEMORY_BYTES,
        cpus=1,
        pids=100,
        capabilities=("CHOWN",),
        log_size_bytes=1024 * 1024,
        log_files=2,
    )


def wait_for(engine: Engine, name: str, state: State) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (now := engine.containers.find(name).state) is not state:
        assert time.monotonic() < deadline, f"{name} is {now}"
        time.sleep(0.05)


def test_info_tells_what_the_machine_has(engine: Engine) -> None:
    info = engine.info()

    assert info.cpus >= 1
    assert info.memory_bytes > MEMORY_BYTES
    assert info.version.partition(".")[0].isdecimal()
    assert "runc" in info.runtimes


def test_pull_may_be_repeated_and_shows_a_credential_that_nobody_asked_for(world: EngineWorld) -> None:
    reference = world.reference(Program.SLEEPS)

    world.engine.pull(reference, None)
    world.engine.pull(reference, Credential("token", "t" * 4000))


def test_pull_refuses_a_digest_that_the_registry_does_not_have(world: EngineWorld) -> None:
    unknown = replace(world.reference(Program.SLEEPS), digest="sha256:" + "0" * 64)

    with pytest.raises(PullFailed, match=r"manifest unknown|not found"):
        world.engine.pull(unknown, None)


def test_pull_refuses_an_image_of_another_architecture(world: EngineWorld) -> None:
    with pytest.raises(EngineImageUnfit, match="arm64"):
        world.engine.pull(world.reference(Program.IS_FOREIGN), None)


def test_create_needs_the_image_here(world: EngineWorld) -> None:
    spec = spec_of(world, Program.SLEEPS)
    absent = replace(spec, image=replace(spec.image, repository="absent", digest="sha256:" + "1" * 64))

    with pytest.raises(EngineRefused):
        world.engine.containers.create(absent)

    with pytest.raises(ContainerUnknown):
        world.engine.containers.find(spec.name)


def test_create_leaves_the_holder_of_a_taken_name_alone(
    world: EngineWorld, created: Callable[[Program], str]
) -> None:
    name = created(Program.SLEEPS)
    before = world.engine.containers.find(name)

    with pytest.raises(ContainerNameTaken):
        world.engine.containers.create(replace(spec_of(world, Program.SLEEPS), name=name))

    assert world.engine.containers.find(name) == before


def test_a_container_has_its_name_and_labels_and_does_not_run_before_its_start(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    name = created(Program.SLEEPS)

    container = engine.containers.find(name)

    assert (container.name, container.state) == (name, State.CREATED)
    assert container.labels["org.openstack.nova.uuid"] == "42"
    assert [entry for entry in engine.containers.list_all() if entry.name == name] == [container]


def test_start_stop_and_start_again_may_each_be_repeated(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    name = created(Program.SLEEPS)

    for _ in range(2):
        engine.containers.start(name)
        engine.containers.start(name)
        wait_for(engine, name, State.RUNNING)
        engine.containers.stop(name, timeout_s=10)
        engine.containers.stop(name, timeout_s=10)
        wait_for(engine, name, State.EXITED)


def test_stop_kills_what_ignores_term(engine: Engine, created: Callable[[Program], str]) -> None:
    name = created(Program.IGNORES_TERM)
    engine.containers.start(name)

    engine.containers.stop(name, timeout_s=1)

    assert engine.containers.find(name).state is State.EXITED


def test_pause_and_unpause_may_be_repeated(engine: Engine, created: Callable[[Program], str]) -> None:
    name = created(Program.SLEEPS)
    engine.containers.start(name)

    engine.containers.pause(name)
    engine.containers.pause(name)
    paused = engine.containers.find(name).state
    engine.containers.unpause(name)
    engine.containers.unpause(name)

    assert (paused, engine.containers.find(name).state) == (State.PAUSED, State.RUNNING)


@pytest.mark.parametrize("timeout_s", [0, 5])
def test_a_paused_container_can_be_stopped(
    engine: Engine, created: Callable[[Program], str], timeout_s: int
) -> None:
    name = created(Program.SLEEPS)
    engine.containers.start(name)
    engine.containers.pause(name)

    engine.containers.stop(name, timeout_s=timeout_s)

    assert engine.containers.find(name).state is State.EXITED


def test_what_does_not_run_cannot_be_paused(engine: Engine, created: Callable[[Program], str]) -> None:
    name = created(Program.SLEEPS)

    for verb in (engine.containers.pause, engine.containers.unpause):
        with pytest.raises(ContainerStateConflict):
            verb(name)


def test_start_tells_that_the_program_is_missing(engine: Engine, created: Callable[[Program], str]) -> None:
    name = created(Program.IS_MISSING)

    with pytest.raises(EngineRefused, match="/nothing"):
        engine.containers.start(name)


def test_remove_may_be_repeated_and_takes_running_and_paused_ones(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    running, paused = created(Program.SLEEPS), created(Program.SLEEPS)
    engine.containers.start(running)
    engine.containers.start(paused)
    engine.containers.pause(paused)

    for name in (running, paused):
        engine.containers.remove(name)
        engine.containers.remove(name)

    assert engine.containers.list_all() == []


@pytest.mark.parametrize("verb", ["start", "pause", "unpause", "find", "usage"])
def test_verbs_tell_that_a_container_is_unknown(engine: Engine, verb: str) -> None:
    with pytest.raises(ContainerUnknown):
        getattr(engine.containers, verb)("absent")


def test_stop_and_logs_tell_that_a_container_is_unknown(engine: Engine) -> None:
    with pytest.raises(ContainerUnknown):
        engine.containers.stop("absent", timeout_s=0)
    with pytest.raises(ContainerUnknown):
        engine.containers.logs("absent", max_bytes=10)


def test_logs_are_the_end_of_all_runs(engine: Engine, created: Callable[[Program], str]) -> None:
    name = created(Program.GREETS)
    assert engine.containers.logs(name, max_bytes=1000) == b""
    for _ in range(2):
        engine.containers.start(name)
        wait_for(engine, name, State.EXITED)

    assert engine.containers.logs(name, max_bytes=1000) == GREETING * 2
    assert engine.containers.logs(name, max_bytes=7) == GREETING[-7:]


def test_usage_of_a_running_container_has_its_limit(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    name = created(Program.SLEEPS)
    engine.containers.start(name)

    usage = engine.containers.usage(name)

    assert usage.memory_limit_bytes == MEMORY_BYTES
    assert 0 < usage.memory_bytes < MEMORY_BYTES
    assert usage.cpu_time_ns > 0


def test_usage_of_an_ended_container_has_its_exit_code(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    name = created(Program.FAILS)
    engine.containers.start(name)
    wait_for(engine, name, State.EXITED)

    assert engine.containers.usage(name) == Usage(exit_code=FAILURE, out_of_memory=False)


def test_deaths_tell_the_end_of_a_command_and_leaving_ends_them(
    engine: Engine, created: Callable[[Program], str]
) -> None:
    name = created(Program.GREETS)
    seen: list[ContainerDied] = []
    told = threading.Event()

    def read(deaths: Iterator[ContainerDied]) -> None:
        for death in deaths:
            seen.append(death)
            if death.name == name:
                told.set()

    with engine.deaths() as deaths:
        reader = threading.Thread(target=read, args=(deaths,))
        reader.start()
        engine.containers.start(name)
        heard = told.wait(DEADLINE_S)
    reader.join(DEADLINE_S)

    assert heard
    assert not reader.is_alive()
    assert next(d for d in seen if d.name == name).labels["org.openstack.nova.uuid"] == "42"


def test_an_engine_that_does_not_answer_is_unreachable_and_its_containers_are_not_unknown(
    world: EngineWorld,
) -> None:
    engine = world.unreachable()
    spec = spec_of(world, Program.SLEEPS)
    calls: list[Callable[[], object]] = [
        engine.info,
        engine.containers.list_all,
        lambda: engine.pull(spec.image, None),
        lambda: engine.containers.create(spec),
        lambda: engine.containers.find("absent"),
        lambda: engine.containers.start("absent"),
        lambda: engine.containers.stop("absent", timeout_s=0),
        lambda: engine.containers.remove("absent"),
        lambda: engine.containers.logs("absent", max_bytes=1),
        lambda: engine.containers.usage("absent"),
        lambda: engine.deaths().__enter__(),
    ]

    for call in calls:
        with pytest.raises(EngineUnreachable):
            call()
