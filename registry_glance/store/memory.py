"""What a replica remembers: bounded, thread-safe, and never the truth."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """A mapping that forgets what was not asked for the longest. Safe to use from several threads.

    Args:
        capacity: How much it holds, in the unit of ``weigh``.
        weigh: What a value counts; 1 for each by default.
    """

    def __init__(self, capacity: int, weigh: Callable[[Value], int] = lambda _: 1) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._weight = 0
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """Return the value, or ``None`` if it was forgotten or never known."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Key, value: Value) -> None:
        """Remember a value; one that is heavier than the capacity is not kept."""
        with self._lock:
            self._drop(key)
            if self._weigh(value) > self._capacity:
                return
            self._values[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._capacity:
                self._drop(next(iter(self._values)))

    def forget(self, key: Key) -> None:
        """Drop a value, if it is there."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._values:
            self._weight -= self._weigh(self._values.pop(key))
