"""What running processes use, read from /proc: their memory, sampled in the background, and their CPU time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SAMPLE_EVERY_S = 0.05
_MIB = 1024 * 1024


@dataclass(slots=True)
class Memory:
    """The resident memory of one process in bytes: at first, and at the most."""

    command: str
    first: int
    most: int

    def __str__(self) -> str:
        """Say it in MiB."""
        grown = (self.most - self.first) / _MIB
        return f"{self.first / _MIB:8.1f} MiB {self.most / _MIB:8.1f} MiB {grown:+8.1f} MiB  {self.command}"


class MemoryWatch:
    """Samples the resident memory of some processes and all their descendants while the block runs.

    Args:
        roots: Process ids, each with a name for people.
    """

    def __init__(self, roots: dict[int, str]) -> None:
        self._roots = roots
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.memory: dict[int, Memory] = {}

    def __enter__(self) -> Self:
        """Take the first sample, and go on in the background."""
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the last sample."""
        self._stopped.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stopped.wait(_SAMPLE_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        for root, name in self._roots.items():
            for pid in family(root):
                resident = _resident(pid)
                seen = self.memory.setdefault(pid, Memory(f"{name} (pid {pid})", resident, resident))
                seen.most = max(seen.most, resident)


def family(root: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def cpu_seconds(root: int) -> float:
    """Return the user and system time of a process and all its living descendants."""
    ticks = 0
    for pid in family(root):
        fields = _stat(pid)
        ticks += sum(int(field) for field in fields[11:13]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command, which may contain spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
