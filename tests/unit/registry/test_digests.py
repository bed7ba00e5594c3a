"""Digests, and what computes them."""

from __future__ import annotations

import hashlib

import pytest

from registry_glance.registry.digests import ALGORITHMS, Digest, Digester
from registry_glance.registry.errors import DigestInvalid

CONTENT = b"what is stored"
LENGTHS = {"sha256": 64, "sha512": 128}


@pytest.mark.parametrize(("algorithm", "characters"), LENGTHS.items())
def test_digest_is_printed_as_it_was_read(algorithm: str, characters: int) -> None:
    text = f"{algorithm}:{'0123456789abcdef' * (characters // 16)}"

    assert str(Digest.parse(text)) == text


def test_these_are_all_algorithms() -> None:
    assert frozenset(LENGTHS) == ALGORITHMS


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        ":" + "a" * 64,
        "a" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "a" * 128,
        "sha512:" + "a" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "a" * 63 + "\n",
        "sha256:" + "a" * 64 + "\n",
        "sha256::" + "a" * 64,
        "sha256: " + "a" * 64,
        "sha256:" + "\u0661" * 64,
        "SHA256:" + "a" * 64,
        "md5:" + "a" * 32,
        "sha1:" + "a" * 40,
        "sha384:" + "a" * 96,
        "blake3:" + "a" * 64,
        "sha256+b64:" + "a" * 64,
        "tarsum.v1+sha256:" + "a" * 64,
        "x" * 100_000,
        "sha256:" + "x" * 100_000,
        "\ud800:\ud800",
    ],
)
def test_digest_refuses_everything_else_in_a_short_message(text: str) -> None:
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse(text)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_digest_of_content_is_its_hash(algorithm: str) -> None:
    assert Digest.of(CONTENT, algorithm) == Digest(algorithm, hashlib.new(algorithm, CONTENT).hexdigest())


def test_digest_is_sha256_unless_told_otherwise() -> None:
    assert Digest.of(CONTENT).algorithm == Digester().digest.algorithm == "sha256"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_digester_computes_the_same_in_pieces_as_in_one(algorithm: str) -> None:
    digester = Digester(algorithm)

    for position in range(0, len(CONTENT), 3):
        digester.update(CONTENT[position : position + 3])

    assert (digester.digest, digester.size) == (Digest.of(CONTENT, algorithm), len(CONTENT))


def test_digester_can_be_asked_in_between() -> None:
    digester = Digester()

    digester.update(b"a")
    before = digester.digest
    digester.update(b"b")

    assert (before, digester.digest) == (Digest.of(b"a"), Digest.of(b"ab"))


def test_digester_of_nothing_is_the_digest_of_no_bytes() -> None:
    assert (Digester().digest, Digester().size) == (Digest.of(b""), 0)
