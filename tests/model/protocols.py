"""The protocols of ``docs/consistency.md`` as processes of the model; each ``yield`` lets others run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from tests.model.glance import ANSWERED, Condemnation, ModelGlance, Record, Steps

ROUNDS = 6
"""How often the loops of put_tag and delete_tag look again before they give up with a 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Which protocol is played.

    Attributes:
        checks_before_commit: References are checked between the intent and its data; the naive
            variant looks after the commit, and only whether they exist.
        decides_fates: The fate of each condemnation is decided by create-with-id; the naive
            variant just looks once more and takes the flag off.
        grace: How many steps a blob is condemned before it goes.
    """

    checks_before_commit: bool = True
    decides_fates: bool = True
    grace: int = 25


def fate_id(blob: Record, condemnation: Condemnation) -> str:
    """Return the id under which the fate of one condemnation is decided."""
    return f"fate-{blob.id}-{condemnation.round}"


def blobs_with(glance: ModelGlance, digest: str) -> list[Record]:
    """Return the blobs with a digest: those that are not condemned and the oldest first."""
    found = glance.find(lambda r: r.kind == "blob" and r.active and r.digest == digest)
    return sorted(found, key=lambda r: (r.condemned is not None, r.created_at, r.id))


def active_holders(glance: ModelGlance, name: str) -> list[Record]:
    """``act(hold())``: the tag records under one name that have their data, losers first."""
    found = glance.find(lambda r: r.name == name and r.active)
    return sorted(found, key=lambda r: (r.order, r.id))


def usable(glance: ModelGlance, digest: str) -> Steps[bool]:
    """``usable``: find a blob, and save it from the collector if it is condemned."""
    candidates = blobs_with(glance, digest)
    yield ANSWERED
    for blob in candidates:
        if blob.condemned is None:
            return True
        fate = Record(id=fate_id(blob, blob.condemned), kind="fate", created_at=0, fate="keep")
        created = glance.create(fate)
        yield ANSWERED
        if created:
            return True
        decided = glance.get(fate.id)
        yield ANSWERED
        if decided is not None and decided.fate == "keep":
            return True
    return False


def upload(glance: ModelGlance, digest: str) -> Steps[None]:
    """Push one blob."""
    blob = Record(id=glance.new_id("blob"), kind="blob", created_at=0, digest=digest)
    glance.create(blob)
    yield ANSWERED
    yield ANSWERED
    yield ANSWERED
    glance.put_data(blob.id)
    yield ANSWERED


def put_tag(
    glance: ModelGlance,
    variant: Variant,
    name: str,
    references: Collection[str],
    clock: Callable[[], int],
) -> Steps[Record | None]:
    """``put_tag``, the upload of what is missing included; ``None`` when it is refused."""
    for digest in references:
        if not (yield from usable(glance, digest)):
            yield from upload(glance, digest)
    holders = glance.find(lambda r: r.name == name)
    yield ANSWERED
    record = Record(
        id=glance.new_id("manifest"),
        kind="manifest",
        created_at=0,
        name=name,
        order=max([clock(), *(1 + holder.order for holder in holders)]),
        references=frozenset(references),
    )
    glance.create(record)
    yield ANSWERED
    if variant.checks_before_commit and not (yield from all_usable(glance, references)):
        yield from glance.delete(record.id)
        return None
    glance.put_data(record.id)
    yield ANSWERED
    if not variant.checks_before_commit and not (yield from all_exist(glance, references)):
        yield from glance.delete(record.id)
        return None
    for _ in range(ROUNDS):
        holders = active_holders(glance, name)
        yield ANSWERED
        if len(holders) < 2:
            return record
        for loser in holders[:-1]:
            yield from glance.patch(loser.id, demoted)
    return None


def all_usable(glance: ModelGlance, references: Collection[str]) -> Steps[bool]:
    """``usable_all``: what put_tag asks between the intent and the commit."""
    for digest in references:
        if not (yield from usable(glance, digest)):
            return False
    return True


def all_exist(glance: ModelGlance, references: Collection[str]) -> Steps[bool]:
    """Look whether blobs are there; that is all that the naive variant asks."""
    for digest in references:
        found = blobs_with(glance, digest)
        yield ANSWERED
        if not found:
            return False
    return True


def demoted(record: Record) -> Record:
    """``demote``: a tag record that becomes a plain manifest record."""
    return replace(record, name=None)


def delete_tag(glance: ModelGlance, name: str) -> Steps[bool]:
    """``delete_tag``, the current record last; false when it gives up."""
    for _ in range(ROUNDS + 2):
        holders = active_holders(glance, name)
        yield ANSWERED
        if not holders:
            return True
        for holder in holders:
            yield from glance.patch(holder.id, demoted)
    return False


def referenced(glance: ModelGlance) -> Steps[frozenset[str]]:
    """``references``: visible manifests, hidden ones, and the visible again, which may have moved."""
    found: list[Record] = []
    for visible in (True, False, True):
        manifests = glance.find(lambda r: r.kind == "manifest")
        found += [record for record in manifests if (record.name is not None) == visible]
        yield ANSWERED
    return frozenset().union(*(record.references for record in found))


def collect(glance: ModelGlance, variant: Variant) -> Steps[int]:
    """``collect``: condemn, spare and delete blobs; returns how many it deleted."""
    blobs = glance.find(lambda r: r.kind == "blob" and r.active)
    yield ANSWERED
    references = yield from referenced(glance)
    due: list[Record] = []
    for blob in blobs:
        condemned = blob.condemned
        if glance.now - blob.created_at < variant.grace:
            continue
        if blob.digest in references:
            if condemned is not None and (yield from _spare(glance, variant, blob, condemned)):
                due.append(blob)
        elif condemned is None:
            yield from glance.patch(blob.id, partial(_condemn, now=glance.now))
        elif glance.now - condemned.since >= variant.grace:
            due.append(blob)
    return (yield from _execute(glance, variant, due))


def _condemn(record: Record, now: int) -> Record:
    """Write the flag, unless another collector has."""
    if record.condemned is not None:
        return record
    return replace(record, condemned=Condemnation(record.round + 1, now))


def _spare(glance: ModelGlance, variant: Variant, blob: Record, condemned: Condemnation) -> Steps[bool]:
    """Take the flag from a blob that is referenced again; true if it is to be deleted all the same."""

    def pardon(record: Record) -> Record:
        if record.condemned != condemned:
            return record
        return replace(record, condemned=None, round=condemned.round)

    if variant.decides_fates and (yield from _decide(glance, blob, condemned, "keep")) != "keep":
        return True
    yield from glance.patch(blob.id, pardon)
    return False


def _decide(glance: ModelGlance, blob: Record, condemned: Condemnation, wish: str) -> Steps[str | None]:
    """Decide a fate, once for all, and return what it is."""
    fate = Record(id=fate_id(blob, condemned), kind="fate", created_at=0, fate=wish)
    glance.create(fate)
    yield ANSWERED
    decided = glance.get(fate.id)
    yield ANSWERED
    return decided.fate if decided else None


def _execute(glance: ModelGlance, variant: Variant, due: list[Record]) -> Steps[int]:
    """Delete what is due, unless its flag changed, it is referenced, or its fate was decided otherwise."""
    if not due:
        return 0
    still_due: list[tuple[Record, Condemnation]] = []
    for blob in due:
        again = glance.get(blob.id)
        yield ANSWERED
        if again is not None and again.condemned is not None and again.condemned == blob.condemned:
            still_due.append((again, again.condemned))
    # After the flags were read again: whoever references a blob later has seen its flag.
    references = yield from referenced(glance)
    deleted = 0
    for blob, condemned in still_due:
        if variant.decides_fates:
            fate = glance.get(fate_id(blob, condemned))
            yield ANSWERED
            if blob.digest in references and not (fate is not None and fate.fate == "delete"):
                continue
            if (yield from _decide(glance, blob, condemned, "delete")) != "delete":
                continue
        elif blob.digest in references:
            continue
        yield from glance.delete(blob.id)
        deleted += 1
        if variant.decides_fates:
            yield from glance.delete(fate_id(blob, condemned))
    return deleted
