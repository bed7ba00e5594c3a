"""The directory in which a cloud keeps its files, and who is using it now.

``up`` holds a lock on one file for as long as it runs. The kernel releases it however ``up`` ends,
so a lock that is held says that the process id in the file is right, and no process id is believed
without one.
"""

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from devcloud.errors import DevcloudError

PATIENCE_S = 0.5


@dataclass(frozen=True)
class Running:
    """A service that ``up`` has started: its address, what answers 200, its process, its log."""

    name: str
    url: str
    probe: str
    pid: int
    log: str


class DataDirectory:
    """Everything that services keep; each has a folder of its own, and logs are in ``log``."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock = self.path / "up.lock"
        self._state = self.path / "up.json"

    def folder(self, service: str) -> Path:
        """Where a service keeps its files."""
        return self.path / service

    def log(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.path / "log" / f"{service}.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory: nobody else can at the same time.

        Raises:
            DevcloudError: Somebody holds it, or it is no directory that can be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            reason = "is not a directory" if self.path.is_file() else exc.strerror
            raise DevcloudError(f"DATA {self.path}: {reason}") from exc
        with os.fdopen(descriptor, "r+") as lock:
            self._take(lock)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            try:
                yield
            finally:
                self._state.unlink(missing_ok=True)
                lock.truncate(0)

    def _take(self, lock: TextIO) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                # A `status` that is just looking holds it for a moment.
                if time.monotonic() > deadline:
                    pid = self.holder() or "unknown"
                    raise DevcloudError(f"DATA {self.path} is up already, with pid {pid}") from exc
                time.sleep(0.1)
            else:
                return

    def holder(self) -> int | None:
        """Who holds the directory, by process id; None when nobody does."""
        try:
            with self._lock.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = lock.read().strip()
                    return int(text) if text.isdecimal() else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise DevcloudError(f"DATA {self.path}: {exc.strerror}") from exc
        return None

    def write_running(self, services: list[Running]) -> None:
        """Say what is up, for ``status`` and ``env`` in other terminals."""
        unfinished = self._state.with_suffix(".unfinished")
        unfinished.write_text(json.dumps([asdict(service) for service in services]))
        unfinished.replace(self._state)

    def running(self) -> list[Running]:
        """What the holder has said to be up; nothing when nobody holds the directory."""
        if self.holder() is None:
            return []
        return self.last_running()

    def last_running(self) -> list[Running]:
        """What was said last; of use to its holder, who learns that the last one was killed."""
        try:
            return [Running(**service) for service in json.loads(self._state.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def end_holder(self, *, timeout_s: float) -> bool:
        """Ask the holder to end and wait until it has; False when there is none.

        Raises:
            DevcloudError: It is another user's, or it has not ended in time.
        """
        pid = self.holder()
        if pid is None:
            return False
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # The process behind the descriptor is the holder if that is who still holds the lock.
            if self.holder() != pid:
                return False
            signal.pidfd_send_signal(process, signal.SIGTERM)
            ended, _, _ = select.select([process], [], [], timeout_s)
        except PermissionError as exc:
            raise DevcloudError(f"pid {pid} belongs to another user") from exc
        finally:
            os.close(process)
        if not ended:
            raise DevcloudError(f"pid {pid} has not ended after {timeout_s:.0f} s")
        return True
