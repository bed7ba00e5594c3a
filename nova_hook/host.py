"""The machine below the containers: its processors, memory, disk and uptime, as Nova and Placement want them."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nova_hook.engine import EngineInfo

_GIB: Final = 1024**3
_MIB: Final = 1024**2

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the host has, and what of it is in use by anything.

    Attributes:
        vcpus: Processors that the engine can use.
        memory_mb: Of the machine.
        memory_used_mb: What is not available to new programs.
        disk_gb: Of the file system that holds images and containers.
        disk_used_gb: Of it.
        disk_free_gb: What an ordinary program can still write.
    """

    vcpus: int
    memory_mb: int
    memory_used_mb: int
    disk_gb: int
    disk_used_gb: int
    disk_free_gb: int


def capacity(engine: EngineInfo, *, proc: Path = _PROC) -> Capacity:
    """Measure the host.

    Args:
        engine: Whose data root is on this machine.
        proc: The kernel's view of memory.
    """
    disk = shutil.disk_usage(_existing(Path(engine.data_root)))
    available = _available_memory(proc)
    return Capacity(
        vcpus=engine.cpus,
        memory_mb=engine.memory_bytes // _MIB,
        memory_used_mb=max(0, engine.memory_bytes - available) // _MIB,
        disk_gb=disk.total // _GIB,
        disk_used_gb=disk.used // _GIB,
        disk_free_gb=disk.free // _GIB,
    )


def version_number(version: str) -> int:
    """Return a version as Nova's one number: ``20.10.24`` is 20010024, as its other drivers count.

    What follows the third number, or isn't one, doesn't count.
    """
    number = 0
    parts = re.split(r"[-+~]", version, maxsplit=1)[0].split(".")
    for part in [*parts, "0", "0"][:3]:
        number = number * 1000 + (int(part) if part.isdecimal() else 0)
    return number


def uptime(*, proc: Path = _PROC) -> str:
    """Return what ``uptime`` prints, without the number of users."""
    seconds = int(float((proc / "uptime").read_text().split()[0]))
    days, seconds = divmod(seconds, 86400)
    hours, minutes = divmod(seconds // 60, 60)
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    up = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    return f" {time.strftime('%H:%M:%S')} up {up}{hours:2d}:{minutes:02d},  load average: {loads}"


def _available_memory(proc: Path) -> int:
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise ValueError(f"{proc / 'meminfo'} has no MemAvailable")


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that can be looked at: it is on the same disk as a rule."""
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    return folder
