"""Digests: values that can't be invalid, and what computes them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from registry_glance.registry.errors import DigestInvalid

# OCI image-spec, "Registered Algorithms"; Glance's multihash has the same names.
_HEX_CHARACTERS: Final = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")

CANONICAL_ALGORITHM: Final = "sha256"
ALGORITHMS: Final = frozenset(_HEX_CHARACTERS)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest of an algorithm that the registry can compute.

    Raises:
        DigestInvalid: The algorithm is another, or the hex is not lower-case hex of its length.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        characters = _HEX_CHARACTERS.get(self.algorithm)
        if characters is None:
            raise DigestInvalid(f"unsupported digest algorithm {self.algorithm[:32]!r}")
        if len(self.hex) != characters or not _HEX.fullmatch(self.hex):
            raise DigestInvalid(f"not a {self.algorithm} digest: {self.hex[:140]!r}")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``.

        Raises:
            DigestInvalid: It is anything else.
        """
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = CANONICAL_ALGORITHM) -> Digest:
        """Compute the digest of content that is in memory."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Digester:
    """Computes a digest, and counts bytes, as content streams by. Not for several threads."""

    def __init__(self, algorithm: str = CANONICAL_ALGORITHM) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self.size = 0

    def update(self, content: bytes) -> None:
        """Take the next bytes in."""
        self._hash.update(content)
        self.size += len(content)

    @property
    def digest(self) -> Digest:
        """The digest of all bytes taken in so far."""
        return Digest(self._algorithm, self._hash.hexdigest())
