"""Plays random interleavings of several replicas, collectors, kills and foreign PATCHes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.model.glance import ANSWERED, IN_FLIGHT, ModelGlance, Record, Steps
from tests.model.protocols import (
    Variant,
    active_holders,
    blobs_with,
    collect,
    delete_tag,
    put_tag,
)

STEPS = 800
PROCESSES = 7
NAMES = "ab"
DIGESTS = "123456789"
CLOCK_SKEWS = (0, 3, -3)
LONGEST_CALL = 10
"""After how many steps a PATCH or DELETE is written at the latest; the grace is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """An operation that a client was told had succeeded.

    Attributes:
        name: The tag.
        record: What a put made; ``None`` for a deletion.
        began: The step of its first request.
        ended: The step of its answer.
    """

    name: str
    record: Record | None
    began: int
    ended: int


@dataclass(slots=True)
class Simulation:
    """One run, reproducible by its seed."""

    seed: int
    variant: Variant
    kills: float = 0.0
    foreign_patches: bool = False
    collected: int = 0
    acknowledged: list[Acknowledged] = field(default_factory=list)
    _glance: ModelGlance = field(default_factory=ModelGlance)
    _deleted_by_clients: set[str] = field(default_factory=set)
    _in_flight: dict[Steps[None], int] = field(default_factory=dict)
    _killed: set[Steps[None]] = field(default_factory=set)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def run(self) -> list[str]:
        """Play to the end and return the violations, in words."""
        glance, rng = self._glance, self._random
        processes: list[Steps[None]] = []
        while processes or glance.now < STEPS:
            glance.now += 1
            if glance.now < STEPS and len(processes) < PROCESSES and rng.random() < 0.25:
                processes.append(self._new_process())
            if processes:
                self._step(processes)
        return [*self._lost(), *self._stale_tags()]

    def _step(self, processes: list[Steps[None]]) -> None:
        """Let one process go on, and kill it with some luck."""
        now, rng = self._glance.now, self._random
        late = (p for p in processes if self._in_flight.get(p, now) < now - LONGEST_CALL)
        chosen = next(late, None) or rng.choice(processes)
        self._in_flight.pop(chosen, None)
        try:
            if next(chosen) == IN_FLIGHT:
                self._in_flight[chosen] = now
        except StopIteration:
            processes.remove(chosen)
            return
        if rng.random() < self.kills:
            self._killed.add(chosen)
        # What a killed replica has asked Glance for is done all the same.
        if chosen in self._killed and chosen not in self._in_flight:
            processes.remove(chosen)
            chosen.close()

    def _new_process(self) -> Steps[None]:
        rng = self._random
        name, luck = rng.choice(NAMES), rng.random()
        if luck < 0.25:
            return self._put(name, rng.sample(DIGESTS, 2), skew=rng.choice(CLOCK_SKEWS))
        if luck < 0.45:
            return self._delete(name)
        if luck < 0.70:
            return self._delete_manifest()
        if luck < 0.93 or not self.foreign_patches:
            return self._collect()
        return self._annotate()

    def _put(self, name: str, references: list[str], *, skew: int) -> Steps[None]:
        began = self._glance.now
        record = yield from put_tag(
            self._glance, self.variant, name, references, lambda: self._glance.now + skew
        )
        if record is not None:
            self._acknowledge(name, record, began)

    def _delete(self, name: str) -> Steps[None]:
        began = self._glance.now
        if (yield from delete_tag(self._glance, name)):
            self._acknowledge(name, None, began)

    def _acknowledge(self, name: str, record: Record | None, began: int) -> None:
        ended = self._glance.now
        self.acknowledged.append(Acknowledged(name=name, record=record, began=began, ended=ended))

    def _delete_manifest(self) -> Steps[None]:
        """A client deletes a manifest that no tag names."""
        untagged = self._glance.find(lambda r: r.kind == "manifest" and r.active and r.name is None)
        yield ANSWERED
        if untagged:
            record = self._random.choice(untagged)
            self._deleted_by_clients.add(record.id)
            yield from self._glance.delete(record.id)

    def _collect(self) -> Steps[None]:
        collected = yield from collect(self._glance, self.variant)
        self.collected += collected

    def _annotate(self) -> Steps[None]:
        """Somebody sets a property on some active image with `openstack image set`."""
        active = self._glance.find(lambda r: r.active)
        yield ANSWERED
        if active:
            record, note = self._random.choice(active), self._random.random()
            yield from self._glance.patch(record.id, lambda r: replace(r, note=note))

    def _lost(self) -> list[str]:
        """Return the acknowledged manifests and the blobs they reference that are gone."""
        lost = []
        for operation in self.acknowledged:
            record = operation.record
            if record is None or record.id in self._deleted_by_clients:
                continue
            if self._glance.get(record.id) is None:
                lost.append(f"seed {self.seed}: manifest {record.id} is lost: {operation}")
            lost += [
                f"seed {self.seed}: blob {digest} is lost: {operation}"
                for digest in sorted(record.references)
                if not blobs_with(self._glance, digest)
            ]
        return lost

    def _stale_tags(self) -> list[str]:
        """Return the tags that show what a later acknowledged operation has replaced."""
        stale = []
        for name in NAMES:
            operations = [o for o in self.acknowledged if o.name == name]
            holders = active_holders(self._glance, name)
            current = holders[-1].id if holders else None
            for operation in operations:
                shown = operation.record is not None and operation.record.id == current
                if shown and any(later.began > operation.ended for later in operations):
                    stale.append(f"seed {self.seed}: tag {name} shows {operation}")
            if current is None and operations and all(o.record for o in operations):
                stale.append(f"seed {self.seed}: tag {name} vanished")
        return stale
