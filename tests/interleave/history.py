"""What clients did and were told, and whether all of it can be true."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_glance.registry.digests import Digest
    from registry_glance.registry.names import Tag


@dataclass(slots=True, kw_only=True)
class Operation:
    """One request and its answer.

    Attributes:
        kind: ``put``, ``get``, ``delete`` (of a tag), ``delete-manifest``, ``upload``, ``delete-blob``.
        tag: Which tag it is about, if any.
        digest: What was put, deleted, uploaded, or was the answer of a ``get``; ``None``: not found.
        blobs: What a ``put`` references.
        invoked: The step of the request.
        ended: The step of the answer, or of the death of the replica.
        acknowledged: Whether the client was told that it had succeeded.
        outcome: The answer in words.
    """

    kind: str
    tag: Tag | None = None
    digest: Digest | None = None
    blobs: tuple[Digest, ...] = ()
    invoked: int
    ended: int = 0
    acknowledged: bool = False
    outcome: str = ""


@dataclass(slots=True)
class History:
    """All operations of a run."""

    operations: list[Operation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, operation: Operation) -> Operation:
        """Note a request; its answer is written into it."""
        with self._lock:
            self.operations.append(operation)
        return operation

    def of(self, *kinds: str, tag: Tag | None = None) -> list[Operation]:
        """Return the operations of these kinds (on a tag), in the order of their requests."""
        return [o for o in self.operations if o.kind in kinds and tag in (None, o.tag)]

    def contradictions(self) -> list[str]:
        """Return the answers about tags that no order of the operations explains."""
        found = []
        for tag in sorted({o.tag for o in self.operations if o.tag is not None}):
            for get in self.of("get", tag=tag):
                if get.acknowledged:
                    found += self._stale(tag, get) if get.digest else self._vanished(tag, get)
        return found

    def _stale(self, tag: Tag, get: Operation) -> list[str]:
        """A tag must not show what was replaced or deleted before it was asked for."""
        puts = [p for p in self.of("put", tag=tag) if p.digest == get.digest]
        if any(put.invoked < get.ended and not self._replaced(put, get.invoked) for put in puts):
            return []
        return [f"stale: {tag} shows {get}"]

    def _replaced(self, put: Operation, before: int) -> bool:
        """Whether a put had surely been overwritten or deleted by some step."""
        return any(
            later.acknowledged and later.invoked > put.ended and later.ended < before
            for later in self.operations
            if (later.kind == "put" and later.tag == put.tag and later.digest != put.digest)
            or (later.kind == "delete" and later.tag == put.tag)
            or (later.kind == "delete-manifest" and later.digest == put.digest)
        )

    def _vanished(self, tag: Tag, get: Operation) -> list[str]:
        """A tag must not be missing if nobody can have deleted it since it was put."""
        return [
            f"vanished: {tag} of {put} is missing in {get}"
            for put in self.of("put", tag=tag)
            if put.acknowledged
            and put.ended < get.invoked
            and not any(
                deletion.ended > put.invoked and deletion.invoked < get.ended
                for deletion in self._deletions(tag)
            )
        ]

    def _deletions(self, tag: Tag) -> list[Operation]:
        deletions = self.of("delete", tag=tag)
        for deletion in self.of("delete-manifest"):
            puts = [p for p in self.of("put", tag=tag) if p.digest == deletion.digest]
            if any(not self._replaced(put, deletion.invoked) for put in puts):
                deletions.append(deletion)
        return deletions
