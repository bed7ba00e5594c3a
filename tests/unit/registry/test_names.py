"""Repository names, tags and references, as they come from a URL or from a Glance image's name."""

from __future__ import annotations

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import DigestInvalid, NameInvalid, TagInvalid
from registry_glance.registry.names import (
    RepositoryName,
    Tag,
    glance_name,
    parse_glance_name,
    parse_reference,
)

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "0",
        "hipache",
        "library/hipache",
        "a/b/c/d/e",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a---b",
        "1.2-3_4__5",
        "a" * 253,
    ],
)
def test_repository_name_takes_what_the_grammar_allows(text: str) -> None:
    assert str(RepositoryName(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "../a",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "_a",
        "a_",
        "-a",
        "a-",
        "a._b",
        "A",
        "library/Hipache",
        "a b",
        "a:b",
        "a@b",
        "a%2fb",
        "a\\b",
        "a\n",
        "a\r\nX-Evil: 1",
        "a\0",
        "ä",
        "\u0661",
        "\ud800",
        "a" * 254,
        "a" * 300,
    ],
)
def test_repository_name_refuses_everything_else(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName(text)


@pytest.mark.parametrize("text", ["latest", "1", "_", "v1.2-3", "A", "a..b", "t" * 128])
def test_tag_takes_what_the_grammar_allows(text: str) -> None:
    assert str(Tag(text)) == text


@pytest.mark.parametrize(
    "text", ["", ".", ".a", "-a", "a:b", "a/b", "a b", "a\n", "a\r\nb", "ä", "a+b", "\ud800", "t" * 129]
)
def test_tag_refuses_everything_else(text: str) -> None:
    with pytest.raises(TagInvalid):
        Tag(text)


def test_a_long_repository_name_is_refused_in_a_short_message() -> None:
    with pytest.raises(NameInvalid) as caught:
        RepositoryName("a" * 100_000)

    assert len(str(caught.value)) < 200


def test_reference_with_a_colon_is_a_digest() -> None:
    assert parse_reference(DIGEST) == Digest.parse(DIGEST)


def test_reference_without_a_colon_is_a_tag() -> None:
    assert parse_reference("latest") == Tag("latest")


@pytest.mark.parametrize(
    ("text", "error"),
    [("sha256:short", DigestInvalid), ("a:b", DigestInvalid), ("-a", TagInvalid), ("", TagInvalid)],
)
def test_reference_refuses_what_is_neither(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_reference(text)


def test_glance_name_is_read_back_as_what_it_was_made_of() -> None:
    repository, tag = RepositoryName("library/hipache"), Tag("0.1")

    assert glance_name(repository, tag) == "library/hipache:0.1"
    assert parse_glance_name(glance_name(repository, tag)) == (repository, tag)


def test_glance_name_takes_255_characters_and_no_more() -> None:
    repository = RepositoryName("a" * 250)

    assert len(glance_name(repository, Tag("t" * 4))) == 255
    with pytest.raises(NameInvalid):
        glance_name(repository, Tag("t" * 5))


def test_every_repository_name_leaves_room_for_a_tag() -> None:
    assert len(glance_name(RepositoryName("a" * 253), Tag("t"))) == 255


def test_glance_name_without_a_tag_means_latest() -> None:
    assert parse_glance_name("hipache") == (RepositoryName("hipache"), Tag("latest"))


@pytest.mark.parametrize(
    "name", [None, "", ":", "a:", ":a", "a:b:c", "Ubuntu 24.04", "a@sha256:b", "a:-b", "host:5042/a:b", "ä:b"]
)
def test_glance_name_that_is_no_tag_is_none(name: str | None) -> None:
    assert parse_glance_name(name) is None
