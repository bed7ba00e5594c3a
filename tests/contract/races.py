"""Several calls that start at the same moment, each in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def race(*calls: Callable[[], Result]) -> list[Result | Exception]:
    """Start all calls at once and return what each returned or raised, in the order given."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result | Exception:
        start.wait(timeout=30)
        try:
            return call()
        except Exception as exc:  # noqa: BLE001 - what a loser gets is the result
            return exc

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
