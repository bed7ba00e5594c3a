"""The Glance of the model: just what the protocols build on, and what bites them.

Creating an id is atomic. A PATCH reads a whole record in one step and writes it back in a later one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

Result = TypeVar("Result")


class Pause(enum.Enum):
    """Where a process of the model stands while others run."""

    ANSWERED = "between two requests"
    IN_FLIGHT = "Glance has read a record and will write or remove it"


ANSWERED: Final = Pause.ANSWERED
IN_FLIGHT: Final = Pause.IN_FLIGHT

Steps = Generator[Pause, None, Result]
"""A process of the model: wherever it yields any other process may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One image, as far as the protocols look at it."""

    id: str
    kind: str
    created_at: int
    active: bool = False
    name: str | None = None
    digest: str | None = None
    order: int = 0
    references: frozenset[str] = field(default_factory=frozenset)
    condemned: Condemnation | None = None
    round: int = 0
    fate: str | None = None
    note: float = 0.0


@dataclass(frozen=True, slots=True)
class Condemnation:
    """What the collector writes on a blob: its how-manieth condemnation this is, and since when."""

    round: int
    since: int


class ModelGlance:
    """Records by id; an id that was ever used stays taken."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.now = 0
        self._used_ids: set[str] = set()
        self._count = 0

    def new_id(self, prefix: str) -> str:
        """Return an id that nobody has used."""
        self._count += 1
        return f"{prefix}{self._count}"

    def create(self, record: Record) -> bool:
        """Create a record; false if its id is taken."""
        if record.id in self._used_ids:
            return False
        self._used_ids.add(record.id)
        self.records[record.id] = replace(record, created_at=self.now)
        return True

    def get(self, record_id: str) -> Record | None:
        """Return a record; ``None`` if it is gone."""
        return self.records.get(record_id)

    def find(self, fits: Callable[[Record], bool]) -> list[Record]:
        """Return the records that fit, oldest first."""
        return [record for record in self.records.values() if fits(record)]

    def put_data(self, record_id: str) -> None:
        """Make a record active, if it still is there."""
        if record_id in self.records:
            self.records[record_id] = replace(self.records[record_id], active=True)

    def patch(self, record_id: str, change: Callable[[Record], Record]) -> Steps[None]:
        """Read a record, let others in, and write all of it back."""
        read = self.get(record_id)
        yield IN_FLIGHT
        if read is not None and record_id in self.records:
            self.records[record_id] = change(read)
        yield ANSWERED

    def delete(self, record_id: str) -> Steps[None]:
        """Look for a record, let others in, and remove it."""
        yield IN_FLIGHT
        self.records.pop(record_id, None)
        yield ANSWERED
