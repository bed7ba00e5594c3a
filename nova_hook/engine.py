"""What the driver needs of a container engine: Protocols, the values that cross them, and their errors."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from nova_hook.images import EngineReference


class EngineError(Exception):
    """The engine didn't do what it was asked; the message says why, in the engine's words where it has some."""


class EngineUnreachable(EngineError):
    """The engine doesn't answer: nothing is known about its containers, not even that they are gone."""


class EngineRefused(EngineError):
    """The engine understood and refused: a command that isn't there, a limit that the machine can't hold."""


class ContainerUnknown(EngineError):
    """No container has that name."""


class ContainerNameTaken(EngineError):
    """Another container has that name."""


class ContainerStateConflict(EngineError):
    """A container in its present state can't do that, for example pause while it doesn't run."""


class PullFailed(EngineError):
    """The engine couldn't get an image: the registry doesn't have it, refuses, or doesn't answer."""


class EngineImageUnfit(EngineError):
    """What was pulled can't run here, for example for want of this host's architecture."""


class State(enum.Enum):
    """What a container is doing, in the engine's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Credential:
    """What the engine shows the registry, for one pull; it keeps nothing of it."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to create, with the image's own entrypoint, command, user and working directory.

    Every container gets an init as PID 1, no restart policy, no network but loopback, ``no-new-privileges`` and no
    capability beyond those named here. What is not here can't be asked for: no mounts, devices or host namespaces.

    Attributes:
        name: Of the container.
        image: What it runs; the engine must have it.
        hostname: Inside it.
        labels: They replace the image's labels of the same names.
        memory_bytes: Hard limit; there is no swap beyond it.
        cpus: Of time, as a quota; the shares follow from it.
        pids: Processes and threads that it may have.
        capabilities: Linux capabilities without ``CAP_``.
        log_size_bytes: Of one log file.
        log_files: That are kept.
        runtime: OCI runtime by the engine's name for it; ``None`` for its default.
    """

    name: str
    image: EngineReference
    hostname: str
    labels: Mapping[str, str]
    memory_bytes: int
    cpus: int
    pids: int
    capabilities: tuple[str, ...]
    log_size_bytes: int
    log_files: int
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as a list shows it.

    Attributes:
        id: The engine's.
        name: Without a leading slash.
        labels: All of them, the image's too.
        state: At the time of the list.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a container has used since its last start, and how that start ended.

    Attributes:
        exit_code: Of its last run; 0 while it hasn't ended.
        out_of_memory: The kernel killed it, or part of it, for want of memory.
        cpu_time_ns: Of all its processes; 0 while it doesn't run, as the rest.
        memory_bytes: Now in use.
        memory_limit_bytes: It can't have more.
        read_bytes: From block devices.
        written_bytes: To block devices.
    """

    exit_code: int
    out_of_memory: bool
    cpu_time_ns: int = 0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The engine and its machine.

    Attributes:
        version: For example ``20.10.24``.
        architecture: As ``uname -m`` prints it.
        cpus: That it can use.
        memory_bytes: Of the machine.
        data_root: The folder with images and containers.
        runtimes: Names that ``ContainerSpec.runtime`` may take.
    """

    version: str
    architecture: str
    cpus: int
    memory_bytes: int
    data_root: str
    runtimes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ContainerDied:
    """The command of a container ended, for whatever reason."""

    name: str
    labels: Mapping[str, str]


class Containers(Protocol):
    """The engine's containers, by name. All of it may be called from several threads.

    Raises:
        EngineUnreachable: By every method; whether the call took effect isn't known then.
        ContainerUnknown: By those that take a name, except where said.
    """

    def create(self, spec: ContainerSpec) -> None:
        """Create a container and don't start it.

        Raises:
            ContainerNameTaken: There is one of that name; it is left alone.
            EngineRefused: The engine doesn't have the image, or can't hold a limit.
        """

    def start(self, name: str) -> None:
        """Have the command run; success means that it was started, or was running already.

        Raises:
            EngineRefused: It can't be started, for example for want of its program.
        """

    def stop(self, name: str, *, timeout_s: int) -> None:
        """Have nothing run: TERM, and KILL after the timeout; 0 kills at once. A paused container dies too."""

    def pause(self, name: str) -> None:
        """Freeze the processes; success means that they are frozen.

        Raises:
            ContainerStateConflict: Nothing runs.
        """

    def unpause(self, name: str) -> None:
        """Let frozen processes go on; success means that they do, or that they weren't frozen.

        Raises:
            ContainerStateConflict: Nothing runs.
        """

    def remove(self, name: str) -> None:
        """Have no container of that name, nor its anonymous volumes; running or not, there or not."""

    def find(self, name: str) -> Container:
        """Return one container, without waiting for anything that goes on with it."""

    def list_all(self) -> list[Container]:
        """Return all containers, running or not."""

    def usage(self, name: str) -> Usage:
        """Return what a container uses."""

    def logs(self, name: str, *, max_bytes: int) -> bytes:
        """Return the end of what the command wrote to its standard output and error, over all its runs."""


class Engine(Protocol):
    """A container engine on this machine. All of it may be called from several threads.

    Raises:
        EngineUnreachable: By every method.
    """

    containers: Containers

    def info(self) -> EngineInfo:
        """Return what the engine says about itself and the machine."""

    def pull(self, image: EngineReference, credential: Credential | None) -> None:
        """Have an image, exactly that digest.

        What is here already may be taken without asking the registry again (Docker 20.10): success doesn't say that the
        registry would have given it for this credential.

        Raises:
            PullFailed: The registry doesn't have it for this credential, or can't be reached.
            EngineImageUnfit: It has nothing for this platform.
        """

    def deaths(self) -> AbstractContextManager[Iterator[ContainerDied]]:
        """Subscribe to the ends of commands; when the engine goes away, the iterator raises ``EngineUnreachable``.

        What happens after the context was entered is not missed. Leaving it, from any thread, ends the iterator.
        """
