"""The command line clients under test: where they are, the environment they run in, and how they are run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = PROJECT / ".tools" / "bin"

TIMEOUT_S = 180

_STORAGE_CONF = """\
[storage]
driver = "vfs"
graphroot = "{home}/storage"
runroot = "{home}/run/storage"
"""

_CONTAINERS_CONF = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
static_dir = "{home}/libpod"
tmp_dir = "{home}/run/libpod"
volume_path = "{home}/volumes"
[network]
network_config_dir = "{home}/networks"
"""

_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


def find(program: str) -> str | None:
    """Return the path of a program: ours if tests/prepare made one, else the machine's.

    ``E2E_DOCKERD`` and the like name another one, to try what is not packaged yet.
    """
    if chosen := os.environ.get(f"E2E_{program.upper()}"):
        return shutil.which(chosen)
    return shutil.which(program, path=TOOLS) or shutil.which(program)


def require(*programs: str) -> None:
    """Skip what asks for it unless all programs are there; with E2E_STRICT set, fail instead."""
    missing = [program for program in programs if find(program) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}: tests/prepare installs it as root on Debian or Ubuntu"
    if os.environ.get("E2E_STRICT"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_root() -> None:
    """Skip what asks for it unless the tests run as root; with E2E_STRICT set, fail instead."""
    if os.geteuid() == 0:
        return
    reason = "needs root: it starts an engine of its own"
    if os.environ.get("E2E_STRICT"):
        pytest.fail(reason)
    pytest.skip(reason)


class Workshop:
    """A home directory and an environment in which clients touch nothing of the user's.

    Credentials, registries, storage and sockets of every client are below ``home``; nothing is read from the
    configuration of the machine.

    Args:
        home: An empty directory with a short path: engines put sockets there.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        containers = home / ".config" / "containers"
        for folder in (containers, home / "run", home / "tmp", home / "docker"):
            folder.mkdir(parents=True)
        (containers / "policy.json").write_text(_POLICY)
        (containers / "registries.conf").write_text("")
        (containers / "storage.conf").write_text(_STORAGE_CONF.format(home=home))
        (containers / "containers.conf").write_text(_CONTAINERS_CONF.format(home=home))
        (home / "auth.json").write_text("{}")
        (home / "docker" / "config.json").write_text("{}")
        self.environment = {
            "PATH": f"{TOOLS}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(home / "tmp"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "NO_PROXY": "*",
            "DOCKER_CONFIG": str(home / "docker"),
            "DOCKER_BUILDKIT": "0",
            "REGCTL_CONFIG": str(home / "regctl.json"),
            "REGISTRY_AUTH_FILE": str(home / "auth.json"),
            "CONTAINERS_CONF": str(containers / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(containers / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(containers / "storage.conf"),
        }

    def run(
        self, program: str, *arguments: str | Path, cwd: Path | None = None, stdin: str | None = None
    ) -> str:
        """Run a program to its end and return what it wrote to standard output.

        Raises:
            AssertionError: It failed; the message holds both of its streams.
        """
        result = self.attempt(program, *arguments, cwd=cwd, stdin=stdin)
        command = " ".join([program, *map(str, arguments)])
        assert result.returncode == 0, (
            f"{command}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
        return result.stdout

    def attempt(
        self, program: str, *arguments: str | Path, cwd: Path | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, whatever that is."""
        return subprocess.run(
            [self.path(program), *map(str, arguments)],
            env=self.environment,
            cwd=cwd or self.home,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def start(
        self, program: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program and return at once; whoever starts it waits for it."""
        return subprocess.Popen(
            [self.path(program), *map(str, arguments)],
            env={**self.environment, **(environment or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def path(self, program: str) -> str:
        """Return the path of a program that ``require`` has seen."""
        path = find(program)
        assert path, f"{program} is not installed"
        return path
