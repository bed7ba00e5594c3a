"""The check with which the suite ends: no process and no mount of it is left."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

GRACE_S = 5.0
PROC = Path("/proc")


def assert_nothing_left_behind(folder: Path) -> None:
    """Check that no process was started for this folder or in it, and that nothing is mounted below it."""
    deadline = time.monotonic() + GRACE_S
    while (found := processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == [], "processes were left behind"
    assert mounts(folder) == [], "mounts were left behind"


def processes(folder: Path) -> list[str]:
    """Return the commands of the processes that name the folder in their arguments or stand in it."""
    commands = []
    for process in PROC.glob("[0-9]*"):
        # A process may end while it is looked at; others' working directories can't be read without root.
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command or _stands_in(process, folder):
                commands.append(command)
    return commands


def mounts(folder: Path) -> list[str]:
    """Return the mount points below the folder."""
    points = [line.split()[4] for line in (PROC / "self" / "mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def _stands_in(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return (process / "cwd").readlink().is_relative_to(folder)
    return False
