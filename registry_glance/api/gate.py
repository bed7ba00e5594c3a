"""Keeps requests that carry data below the threads of a process, so that small ones always find a thread.

A slow client holds the thread that reads its body, or that sends it a blob, for as long as it is slow.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from flask import Response

from registry_glance.registry.errors import Unavailable


class DataGate:
    """A number of requests that may carry data at once. Safe to use from several threads.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._places = threading.Semaphore(places)

    @contextlib.contextmanager
    def passage(self) -> Iterator[None]:
        """Hold a place while the block reads a body.

        Raises:
            Unavailable: All are taken; waiting would take a thread too.
        """
        self._enter()
        try:
            yield
        finally:
            self._places.release()

    def until_sent(self, respond: Callable[[], Response]) -> Response:
        """Return a response that holds a place until it was sent, or its client has gone.

        Raises:
            Unavailable: As for ``passage``.
        """
        self._enter()
        try:
            response = respond()
        except BaseException:
            self._places.release()
            raise
        response.call_on_close(self._places.release)
        return response

    def _enter(self) -> None:
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many uploads and downloads at once")
