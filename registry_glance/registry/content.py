"""Content as it streams by: looked into, counted, and proved to be what its digest says. Never held whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from registry_glance.registry.digests import Digest, Digester
from registry_glance.registry.errors import DigestInvalid


def peek(content: Iterable[bytes]) -> Iterator[bytes] | None:
    """Return content from which the first piece was already asked for; ``None`` if there is none at all."""
    pieces = iter(content)
    for piece in pieces:
        if piece:
            return itertools.chain([piece], pieces)
    return None


class Counted:
    """Passes content on, and counts its bytes; without a hash, since Glance computes one anyway.

    Args:
        content: Read once.
    """

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content, piece by piece."""
        for piece in self._content:
            self.size += len(piece)
            yield piece


def verified(content: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    """Pass content on, holding back its last piece until all of it has proved to be what the digest says.

    Raises:
        DigestInvalid: It is not; whoever reads has not had the end, so nothing becomes visible.
    """
    digester = Digester(digest.algorithm)
    held: bytes | None = None
    for piece in content:
        digester.update(piece)
        if held is not None:
            yield held
        held = piece
    if digester.digest != digest:
        raise DigestInvalid(f"{digest}, but the content is {digester.digest}")
    if held is not None:
        yield held


def verify(content: Iterable[bytes], digest: Digest) -> None:
    """Read content to its end.

    Raises:
        DigestInvalid: It is not what the digest says.
    """
    for _ in verified(content, digest):
        pass
