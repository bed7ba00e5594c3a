"""An ``Engine`` in memory. It passes the contract suite that the Docker Engine passes."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nova_hook import engine
from nova_hook.engine import (
    Container,
    ContainerDied,
    ContainerNameTaken,
    ContainerSpec,
    ContainerStateConflict,
    ContainerUnknown,
    Credential,
    EngineImageUnfit,
    EngineInfo,
    EngineRefused,
    EngineUnreachable,
    PullFailed,
    State,
    Usage,
)
from nova_hook.images import EngineReference

REGISTRY = "registry.test:5042"
MEMORY_BYTES = 8 * 1024**3


class Program(enum.Enum):
    """What the command of a test image does; its value is the name of the repository."""

    SLEEPS = "sleeps"
    IGNORES_TERM = "ignores-term"
    GREETS = "greets"
    FAILS = "fails"
    IS_MISSING = "is-missing"
    IS_FOREIGN = "is-foreign"

    @property
    def ends_by_itself(self) -> bool:
        return self in (Program.GREETS, Program.FAILS)


GREETING = b"hello from the container\n"
FAILURE = 3


def memory_reference(
    program: Program, manifest: bytes | None = None, *, registry: str = REGISTRY
) -> EngineReference:
    """Return what the memory engine's registry has for a program, unless told under which manifest."""
    digest = f"sha256:{hashlib.sha256(manifest or program.value.encode()).hexdigest()}"
    return EngineReference(registry=registry, repository=program.value, tag="v1", digest=digest)


@dataclass
class MemoryContainer:
    spec: ContainerSpec
    program: Program
    id: str
    state: State = State.CREATED
    exit_code: int = 0
    out_of_memory: bool = False
    log: bytes = b""


@dataclass
class MemoryEngine:
    """Containers as a dictionary, deaths as queues.

    Attributes:
        reachable: False makes every call fail as a dead engine does.
        registry: ``host:port`` of the registry it knows.
        manifests: Of each program's image; one of no meaning unless given.
        pulled: Every image that was pulled, with the credential that was shown.
        memory_containers: By name.
        data_root: That it claims.
    """

    registry: str = REGISTRY
    manifests: Mapping[Program, bytes] = field(default_factory=dict)

    reachable: bool = True
    pulled: list[tuple[EngineReference, Credential | None]] = field(default_factory=list)
    memory_containers: dict[str, MemoryContainer] = field(default_factory=dict)
    data_root: str = "/"

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.subscribers: list[queue.Queue[ContainerDied | None]] = []
        self.containers: engine.Containers = MemoryContainers(self)
        self._programs = {
            memory_reference(program, self.manifests.get(program), registry=self.registry).by_digest: program
            for program in Program
        }
        self._here: set[str] = set()

    def check(self) -> None:
        if not self.reachable:
            raise EngineUnreachable("the engine in memory does not answer")

    def go_away(self) -> None:
        """End as a killed engine does: its containers run on, its events end."""
        with self.lock:
            self.reachable = False
            for subscriber in self.subscribers:
                subscriber.put(None)

    def end(self, name: str, exit_code: int = 0, *, out_of_memory: bool = False) -> None:
        """Have a running command end, and tell who listens."""
        with self.lock:
            container = self.memory_containers[name]
            container.state, container.exit_code = State.EXITED, exit_code
            container.out_of_memory = out_of_memory
            for subscriber in self.subscribers:
                subscriber.put(ContainerDied(name, container.spec.labels))

    def come_back(self) -> None:
        self.reachable = True

    def info(self) -> EngineInfo:
        self.check()
        return EngineInfo(
            version="20.10.24",
            architecture="x86_64",
            cpus=2,
            memory_bytes=MEMORY_BYTES,
            data_root=self.data_root,
            runtimes=frozenset({"runc"}),
        )

    def pull(self, image: EngineReference, credential: Credential | None) -> None:
        self.check()
        program = self._programs.get(image.by_digest)
        if program is None:
            raise PullFailed(f"{image}: manifest unknown")
        if program is Program.IS_FOREIGN:
            raise EngineImageUnfit(f"{image} is for linux/arm64")
        self.pulled.append((image, credential))
        self._here.add(image.by_digest)

    def program(self, image: EngineReference) -> Program:
        """Return what an image that was pulled runs."""
        if image.by_digest not in self._here:
            raise EngineRefused(f"No such image: {image}")
        return self._programs[image.by_digest]

    @contextlib.contextmanager
    def deaths(self) -> Iterator[Iterator[ContainerDied]]:
        self.check()
        subscriber: queue.Queue[ContainerDied | None] = queue.Queue()
        with self.lock:
            self.subscribers.append(subscriber)
        left = threading.Event()

        def read() -> Iterator[ContainerDied]:
            while (death := subscriber.get()) is not None:
                yield death
            if not left.is_set():
                raise EngineUnreachable("the engine in memory ended its events")

        try:
            yield read()
        finally:
            left.set()
            subscriber.put(None)
            with self.lock:
                self.subscribers.remove(subscriber)


class MemoryContainers:
    """See ``engine.Containers``."""

    def __init__(self, memory: MemoryEngine) -> None:
        self._engine = memory

    @contextlib.contextmanager
    def _one(self, name: str) -> Iterator[MemoryContainer]:
        with self._engine.lock:
            self._engine.check()
            if name not in self._engine.memory_containers:
                raise ContainerUnknown(f"no container {name}")
            yield self._engine.memory_containers[name]

    def create(self, spec: ContainerSpec) -> None:
        with self._engine.lock:
            self._engine.check()
            if spec.name in self._engine.memory_containers:
                raise ContainerNameTaken(f"{spec.name} is in use")
            identity = hashlib.sha256(spec.name.encode()).hexdigest()
            container = MemoryContainer(spec, self._engine.program(spec.image), identity)
            self._engine.memory_containers[spec.name] = container

    def start(self, name: str) -> None:
        with self._one(name) as container:
            if container.program is Program.IS_MISSING:
                raise EngineRefused("/nothing: no such file or directory")
            if container.state in (State.RUNNING, State.PAUSED):
                return
            container.state, container.exit_code = State.RUNNING, 0
            if container.program is Program.GREETS:
                container.log += GREETING
            if container.program.ends_by_itself:
                self._end(container, FAILURE if container.program is Program.FAILS else 0)

    def stop(self, name: str, *, timeout_s: int) -> None:  # noqa: ARG002 - nothing takes time in memory
        with self._one(name) as container:
            if container.state in (State.RUNNING, State.PAUSED):
                self._end(container, 137 if container.program is Program.IGNORES_TERM else 143)

    def pause(self, name: str) -> None:
        self._freeze(name, State.PAUSED)

    def unpause(self, name: str) -> None:
        self._freeze(name, State.RUNNING)

    def _freeze(self, name: str, wanted: State) -> None:
        with self._one(name) as container:
            if container.state not in (State.RUNNING, State.PAUSED):
                raise ContainerStateConflict(f"{name} is {container.state.value}")
            container.state = wanted

    def remove(self, name: str) -> None:
        with contextlib.suppress(ContainerUnknown), self._one(name) as container:
            if container.state in (State.RUNNING, State.PAUSED):
                self._end(container, 137)
            del self._engine.memory_containers[name]

    def find(self, name: str) -> Container:
        with self._one(name) as container:
            return _listed(container)

    def list_all(self) -> list[Container]:
        with self._engine.lock:
            self._engine.check()
            return [_listed(container) for container in self._engine.memory_containers.values()]

    def usage(self, name: str) -> Usage:
        with self._one(name) as container:
            ended = Usage(exit_code=container.exit_code, out_of_memory=container.out_of_memory)
            if container.state not in (State.RUNNING, State.PAUSED):
                return ended
            return Usage(
                exit_code=0,
                out_of_memory=False,
                cpu_time_ns=1,
                memory_bytes=1,
                memory_limit_bytes=container.spec.memory_bytes,
            )

    def logs(self, name: str, *, max_bytes: int) -> bytes:
        with self._one(name) as container:
            return container.log[-max_bytes:]

    def _end(self, container: MemoryContainer, exit_code: int) -> None:
        self._engine.end(container.spec.name, exit_code)


def _listed(container: MemoryContainer) -> Container:
    return Container(
        id=container.id,
        name=container.spec.name,
        labels=container.spec.labels,
        state=container.state,
    )
