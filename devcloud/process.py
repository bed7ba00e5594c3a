"""One supervised child process: start it, wait until it answers, stop all that it started."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import devcloud
from devcloud import tether
from devcloud.errors import DevcloudError

LOG_ROTATE_SIZE = 16 * 1024 * 1024
LOG_TAIL_SIZE = 8192
LAST_LINES = 20
POLL_INTERVAL_S = 0.05

_EXCEPTION_LINE = re.compile(r"^\W*(?!.*\bTraceback\b).*\b\w*(Error|Exception)\b")


class Process:
    """A child in a session of its own, writing to a log file.

    Ctrl-C in the terminal does not reach it: its owner decides in which order things stop. If its
    owner is killed, it gets SIGTERM (on Linux, and only when started from the main thread, because
    the kernel ties the signal to the thread).
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group's."""
        if self._child is None:
            raise DevcloudError(f"{self.name} is not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child is there and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self, *, inherit: Iterable[int] = ()) -> None:
        """Start the child; the file descriptors in ``inherit`` keep their numbers there."""
        if self.running:
            raise DevcloudError(f"{self.name} is already started, with pid {self.pid}")
        command = self._command
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            program = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
            command = [*program, *command]
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            if self.log.exists() and self.log.stat().st_size > LOG_ROTATE_SIZE:
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            with self.log.open("ab") as output:
                self._log_start = output.tell()
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd=self.log.parent,
                    pass_fds=tuple(inherit),
                    start_new_session=True,
                )
        except OSError as exc:
            raise DevcloudError(f"{self.name} cannot be started: {exc}") from exc

    def wait_until_answering(self, url: str, *, timeout_s: float) -> None:
        """Wait until ``GET url`` answers 200.

        Raises:
            DevcloudError: The child has ended, or the time is over; then it may still be running.
        """
        deadline = time.monotonic() + timeout_s
        while not answers(url, timeout_s=1.0):
            if not self.running:
                raise DevcloudError(f"{self.name} ended while starting: {self.last_words()}")
            if time.monotonic() > deadline:
                raise DevcloudError(
                    f"{self.name} does not answer at {url} after {timeout_s:.0f} s: {self.last_words()}"
                )
            time.sleep(POLL_INTERVAL_S)

    def run(self, *, timeout_s: float) -> None:
        """Start the child and wait until it has done its work and ended.

        Raises:
            DevcloudError: It failed, or it took too long and was stopped.
        """
        self.start()
        try:
            if self._child is not None and self._child.wait(timeout_s):
                raise DevcloudError(f"{self.name} failed: {self.last_words()}")
        except subprocess.TimeoutExpired as exc:
            raise DevcloudError(f"{self.name} is not done after {timeout_s:.0f} s") from exc
        finally:
            self.stop()

    def stop(self, *, timeout_s: float = 15.0) -> None:
        """End the child and its process group: SIGTERM, then SIGKILL. Idempotent.

        Args:
            timeout_s: How long the child may take to end by itself.
        """
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout_s)
        # Workers that outlived their leader keep the group's number from being anybody else's.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self._child = None

    def last_words(self) -> str:
        """How the child ended, and the line of its output that most likely says why."""
        status = self._child.poll() if self._child else None
        if status is not None and status < 0:
            return f"killed by {signal.Signals(-status).name} (log: {self.log})"
        how = "still running" if status is None else f"status {status}"
        return f"{how}, {self._last_line()} (log: {self.log})"

    def _last_line(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - LOG_TAIL_SIZE))
                text = log.read().decode(errors="replace")
        except OSError:
            text = ""
        lines = [line.strip() for line in text.splitlines() if line.strip()][-LAST_LINES:]
        exceptions = [line for line in lines if _EXCEPTION_LINE.search(line)]
        return (exceptions or lines or ["it wrote nothing"])[-1][:300]


def answers(url: str, *, timeout_s: float) -> bool:
    """Whether ``GET url`` answers 200 in time; never through a proxy."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def child_environment(**settings: str) -> dict[str, str]:
    """This process's environment for a service, without what would secretly reconfigure it.

    The variables of an openrc file and gunicorn's are left out. Those with which oslo.config
    overrides a single option (``OS_<GROUP>__<OPTION>``) stay: nobody sets them by accident.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GUNICORN_") and ("__" in name or not name.startswith("OS_"))
    }
    # The services import this project, which need not be installed.
    path = [str(Path(devcloud.__file__).parent.parent), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", **settings}
