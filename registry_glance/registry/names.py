"""Repository names, tags and references: values that can't be invalid."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import NameInvalid, TagInvalid

# OCI distribution-spec 1.1, "Pulling manifests".
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

MAX_GLANCE_NAME_CHARACTERS = 255
"""Glance's limit on an image's name, and so ours on ``repository:tag``."""


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """The name of a repository, for example ``library/hipache``.

    Raises:
        NameInvalid: ``text`` breaks the grammar, or leaves no room for a tag of one character.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_GLANCE_NAME_CHARACTERS - len(":t"):
            raise NameInvalid(f"{self.text[:64]}… has {len(self.text)} characters")
        if not _NAME.fullmatch(self.text):
            raise NameInvalid(repr(self.text))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A tag, for example ``latest``.

    Raises:
        TagInvalid: ``text`` breaks the grammar.
    """

    text: str

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.text):
            raise TagInvalid(repr(self.text[:130]))

    def __str__(self) -> str:
        return self.text


Reference = Tag | Digest
"""What names a manifest within a repository."""


def parse_reference(text: str) -> Reference:
    """Read the last part of a manifest's URL: a digest if it has a colon, else a tag.

    Raises:
        DigestInvalid: It has a colon and is no digest.
        TagInvalid: It has no colon and is no tag.
    """
    return Digest.parse(text) if ":" in text else Tag(text)


def glance_name(repository: RepositoryName, tag: Tag) -> str:
    """Return the name under which Glance's users see a tag: ``repository:tag``.

    Raises:
        NameInvalid: The two together are longer than a Glance image's name can be.
    """
    name = f"{repository}:{tag}"
    if len(name) > MAX_GLANCE_NAME_CHARACTERS:
        raise NameInvalid(f"{repository}:{tag} is longer than {MAX_GLANCE_NAME_CHARACTERS} characters")
    return name


def parse_glance_name(name: str | None) -> tuple[RepositoryName, Tag] | None:
    """Read a Glance image's name as ``repository:tag``; ``None`` if it isn't one.

    A name without a tag means ``latest``, as everywhere with Docker.
    """
    if not name:
        return None
    repository, colon, tag = name.partition(":")
    try:
        return RepositoryName(repository), Tag(tag if colon else "latest")
    except (NameInvalid, TagInvalid):
        return None
