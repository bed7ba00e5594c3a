"""Keeps the open data streams to Glance below its threads, so that small calls always get through.

Eight composers on a Glance of eight threads (each with a PUT open, waiting for a GET) once stood still for
ever; so a composition takes both of its streams at once, or none.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from registry_glance.registry.errors import Unavailable


class StreamLimit:
    """A number of streams that may be open at once. Safe to use from several threads.

    Args:
        streams: How many, in this process; 2 or more.
        wait_s: How long a request waits for its turn before it is told to come again.
    """

    def __init__(self, streams: int, wait_s: float) -> None:
        if streams < 2:
            raise ValueError("a composition needs 2 streams at once")
        self._free = streams
        self._wait_s = wait_s
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, streams: int = 1) -> Iterator[None]:
        """Hold one stream, or several taken in one step, while the block runs.

        Raises:
            Unavailable: It did not become this caller's turn in time.
        """
        self.acquire(streams)
        try:
            yield
        finally:
            self.release(streams)

    def acquire(self, streams: int = 1) -> None:
        """Take streams; ``release`` gives them back.

        Raises:
            Unavailable: As for ``hold``.
        """
        ticket = object()
        with self._changed:
            # First come, first served: otherwise single streams would keep a composition from ever getting its two.
            self._line.append(ticket)
            try:
                if not self._changed.wait_for(lambda: self._is_turn_of(ticket, streams), self._wait_s):
                    raise Unavailable("too many uploads and downloads at once")
                self._free -= streams
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def release(self, streams: int = 1) -> None:
        """Give streams back."""
        with self._changed:
            self._free += streams
            self._changed.notify_all()

    def _is_turn_of(self, ticket: object, streams: int) -> bool:
        return self._line[0] is ticket and self._free >= streams
