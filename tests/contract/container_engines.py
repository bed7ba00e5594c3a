"""The engines that the contract suite runs against: one in memory, and a Docker Engine of the tests' own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from devcloud.glance import Glance
from devcloud.registry import Registry
from nova_hook.docker_engine import DockerEngine
from nova_hook.engine import Engine
from nova_hook.images import EngineReference
from tests.e2e import engines
from tests.e2e.images import write_image
from tests.e2e.leftovers import assert_nothing_left_behind
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, find, require, require_root
from tests.fakes.memory_engine import FAILURE, GREETING, MemoryEngine, Program, memory_reference

TIMEOUT_S = 30

_COMMANDS = {
    Program.SLEEPS: '["/bin/busybox", "sleep", "1000"]',
    Program.IGNORES_TERM: '["/bin/busybox", "sh", "-c", "trap \'\' TERM; while :; do /bin/busybox sleep 1; done"]',
    Program.GREETS: f'["/bin/busybox", "echo", "{GREETING.decode().strip()}"]',
    Program.FAILS: f'["/bin/busybox", "sh", "-c", "exit {FAILURE}"]',
    Program.IS_MISSING: '["/nothing"]',
}


class EngineWorld(Protocol):
    """An engine, and a registry with an image of each program."""

    engine: Engine

    def reference(self, program: Program) -> EngineReference:
        """Return what the registry has for a program."""

    def unreachable(self) -> Engine:
        """Return an engine of the same kind that doesn't answer."""


class MemoryWorld:
    """A ``MemoryEngine``."""

    def __init__(self) -> None:
        self.engine: Engine = MemoryEngine()

    def reference(self, program: Program) -> EngineReference:
        """See ``EngineWorld.reference``."""
        return memory_reference(program)

    def unreachable(self) -> Engine:
        """See ``EngineWorld.unreachable``."""
        return MemoryEngine(reachable=False)


class DockerWorld:
    """A dockerd that pulls from a registry over a real Glance.

    Attributes:
        daemon: The dockerd, with its own ``docker`` command.
        glance: Where the images are.
        registry: ``host:port``.
    """

    def __init__(self, daemon: engines.DockerEngine, glance: Glance, registry: str) -> None:
        self.daemon = daemon
        self.glance = glance
        self.registry = registry
        self._docker_engine = DockerEngine(daemon.host, timeout_s=TIMEOUT_S)
        self.engine: Engine = self._docker_engine

    def close(self) -> None:
        """Close the engine's connections."""
        self._docker_engine.close()

    def reference(self, program: Program) -> EngineReference:
        """See ``EngineWorld.reference``."""
        digest = RegistryApi(self.registry).digest(program.value, "v1")
        return EngineReference(registry=self.registry, repository=program.value, tag="v1", digest=digest)

    def unreachable(self) -> Engine:
        """See ``EngineWorld.unreachable``."""
        return DockerEngine(f"{self.daemon.host}.absent", timeout_s=TIMEOUT_S)


@contextlib.contextmanager
def docker_world() -> Iterator[DockerWorld]:
    """Start Glance, a registry and a dockerd, and push all programs; in the end nothing of it is left."""
    require("docker", "dockerd", "containerd", "ctr", "runc", "busybox", "skopeo")
    require_root()
    # Short, as sockets below it can't have long paths.
    folder = Path(tempfile.mkdtemp(prefix="eng-", dir="/tmp"))
    workshop = Workshop(folder / "h")
    with (
        Glance(folder / "glance") as glance,
        Registry(folder / "registry", glance_url=glance.url) as registry,
        engines.DockerEngine(workshop, registry.authority) as daemon,
    ):
        _push_programs(workshop, daemon, registry.authority, folder)
        with contextlib.closing(DockerWorld(daemon, glance, registry.authority)) as world:
            yield world
    assert_nothing_left_behind(folder)
    shutil.rmtree(folder)


def _push_programs(workshop: Workshop, daemon: engines.DockerEngine, registry: str, folder: Path) -> None:
    context = folder / "context"
    context.mkdir()
    shutil.copy(find("busybox") or "", context / "busybox")
    for program, command in _COMMANDS.items():
        reference = f"{registry}/{program.value}:v1"
        daemon.build(reference, f"FROM scratch\nCOPY busybox /bin/busybox\nCMD {command}\n", context)
        daemon.docker("push", reference)
        # Gone from the engine, so that the tests pull it.
        daemon.docker("rmi", reference)
    layout = write_image(folder / "foreign", architecture="arm64")
    target = f"docker://{registry}/{Program.IS_FOREIGN.value}:v1"
    workshop.run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout.path}:{layout.tag}", target)
