"""A Docker Engine and a containerd of the tests' own, beside whatever runs on the machine."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from devcloud.process import Process
from tests.e2e.tools import Workshop

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30

# The plugins of Kubernetes and of other file systems would only slow the start down.
_CONTAINERD_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.internal.v1.opt"]
[grpc]
address = "{folder}/sock"
[ttrpc]
address = "{folder}/ttrpc"
"""


class Containerd:
    """One containerd with a socket and a store of its own.

    Args:
        workshop: Whose environment it and ``ctr`` run in.
        name: Of its folder below the workshop's home.
    """

    def __init__(self, workshop: Workshop, name: str = "containerd") -> None:
        self._workshop = workshop
        self._folder = workshop.home / name
        self.socket = self._folder / "sock"
        self._process = Process(
            name,
            [workshop.path("containerd"), "--config", str(self._folder / "config.toml")],
            log=self._folder / "log",
            environment=workshop.environment,
        )

    def ctr(self, *arguments: str | Path) -> str:
        """Run ``ctr`` against it and return its output."""
        return self._workshop.run("ctr", "-a", self.socket, "-n", "e2e", *arguments)

    def __enter__(self) -> Self:
        self._folder.mkdir()
        (self._folder / "config.toml").write_text(_CONTAINERD_CONFIG.format(folder=self._folder))
        self._process.start()
        _wait_for(self._process, self._workshop, "ctr", "-a", self.socket, "version")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.stop(timeout_s=STOP_TIMEOUT_S)


class DockerEngine:
    """One dockerd over a containerd of its own: no bridge, no firewall rules, no file outside its folder.

    Args:
        workshop: Whose environment it and its ``docker`` run in.
        registry: ``host:port`` that it may talk to without TLS.
        name: Of its folder below the workshop's home.
    """

    def __init__(self, workshop: Workshop, registry: str, name: str = "dockerd") -> None:
        self._workshop = workshop
        self._folder = workshop.home / name
        self._containerd = Containerd(workshop, f"{name}-containerd")
        self.host = f"unix://{self._folder}/sock"
        self._process = Process(
            name,
            [
                workshop.path("dockerd"),
                *("--config-file", str(self._folder / "daemon.json")),
                *("--host", self.host, "--containerd", str(self._containerd.socket)),
                *("--data-root", str(self._folder / "data")),
                *("--exec-root", str(self._folder / "exec")),
                *("--pidfile", str(self._folder / "pid")),
                *("--bridge=none", "--iptables=false", "--ip6tables=false"),
                *("--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"),
                *("--insecure-registry", registry, "--shutdown-timeout", "5"),
            ],
            log=self._folder / "log",
            environment=workshop.environment,
        )

    def docker(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run ``docker`` against it and return its output."""
        return self._workshop.run("docker", "-H", self.host, *arguments, stdin=stdin)

    def start_docker(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start ``docker`` against it; whoever starts it waits for it."""
        return self._workshop.start("docker", "-H", self.host, *arguments)

    def build(self, reference: str, dockerfile: str, context: Path) -> None:
        """Build an image from a Dockerfile's text and a folder."""
        (context / "Dockerfile").write_text(dockerfile)
        self.docker("build", "--tag", reference, context)

    def repository_digest(self, reference: str) -> str:
        """Return the manifest digest under which the engine pulled or pushed an image."""
        digests = self.docker(
            "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', reference
        ).split()
        repository = reference.rpartition("@")[0] or reference.rpartition(":")[0]
        matching = [entry.rpartition("@")[2] for entry in digests if entry.startswith(repository + "@")]
        assert len(matching) == 1, f"{reference}: {digests}"
        return matching[0]

    def layers(self, reference: str) -> list[str]:
        """Return the digests of an image's unpacked layers."""
        form = '{{join .RootFS.Layers "\\n"}}'
        return self.docker("image", "inspect", "--format", form, reference).split()

    def stop(self) -> None:
        """End the daemon as its service manager would; its containers end with it."""
        self._process.stop(timeout_s=STOP_TIMEOUT_S)

    def start(self) -> None:
        """Start the daemon, also again after a stop, and wait until it answers."""
        self._process.start()
        _wait_for(self._process, self._workshop, "docker", "-H", self.host, "version")

    def __enter__(self) -> Self:
        self._containerd.__enter__()
        try:
            self._folder.mkdir()
            configuration = _configuration(self._workshop, self._folder)
            (self._folder / "daemon.json").write_text(json.dumps(configuration))
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = ""
        if kind is None and self._process.running:
            left = self.docker("ps", "--all", "--format", "{{.Names}} {{.Status}}")
        self._process.stop(timeout_s=STOP_TIMEOUT_S)
        self._containerd.__exit__(None, None, None)
        # The engine keeps the namespace of its host network mounted when it ends.
        for netns in sorted((self._folder / "exec" / "netns").glob("*")):
            subprocess.run(["umount", str(netns)], check=False, capture_output=True)
        assert not left, f"containers were left behind: {left}"


def _configuration(workshop: Workshop, folder: Path) -> dict[str, str]:
    """Return what has to be in an engine's configuration file."""
    version = re.search(r"version (\d+)\.", workshop.run("dockerd", "--version"))
    # Up to 20.10 the engine writes a key to /etc/docker unless it is told where else.
    if version and int(version[1]) < 23:
        return {"deprecated-key-path": str(folder / "key.json")}
    return {}


def _wait_for(process: Process, workshop: Workshop, program: str, *arguments: str | Path) -> None:
    """Wait until a command succeeds, which is when the server that it talks to is ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while workshop.attempt(program, *arguments).returncode:
        assert process.running, f"{process.name} ended: {process.last_words()}"
        assert time.monotonic() < deadline, f"{process.name}: {process.last_words()}"
        time.sleep(0.1)
