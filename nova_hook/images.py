"""From a Glance image to what an engine pulls: a digest of the image's own data, never what a property claims."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""What every registry must accept at least, and the most that is read here (OCI distribution-spec 1.1, end-7)."""

MANIFESTS: Final = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
INDEXES: Final = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
CONFIGS: Final = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)

# OCI distribution-spec 1.1, "Pulling manifests".
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class ImageUnacceptable(Exception):
    """No container can be started from a Glance image; the message is for the user who asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceImage:
    """What Glance says about an image.

    Attributes:
        id: Its UUID.
        name: Empty if it has none.
        status: ``active`` if it has data.
        container_format: ``docker`` for all that the registry stores.
        size: Bytes of its data.
        properties: Text that its owner can write. Where it was pushed is taken from here, what it is never.
    """

    id: str
    name: str
    status: str
    container_format: str
    size: int
    properties: Mapping[str, str]


class ImageService(Protocol):
    """Glance, as one user may read it.

    Raises:
        ImageUnacceptable: The image is not there for this user.
    """

    def show(self, image_id: str) -> GlanceImage:
        """Return what Glance says about an image."""

    def data(self, image_id: str) -> Iterator[bytes]:
        """Return the image's data, piece by piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReference:
    """What an engine pulls and creates from: ``host:5042/name:tag@sha256:…``.

    The digest alone decides which content it is. The tag is for people: ``docker ps`` shows it, and goes on to when it
    has moved (Docker 20.10).

    Raises:
        ValueError: A part breaks its grammar.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    def __post_init__(self) -> None:
        for text, grammar in ((self.repository, _REPOSITORY), (self.tag, _TAG), (self.digest, _DIGEST)):
            if not grammar.fullmatch(text):
                raise ValueError(f"not part of an image's reference: {text[:140]!r}")

    @property
    def name(self) -> str:
        """The repository with its registry, ``host:5042/name``."""
        return f"{self.registry}/{self.repository}"

    @property
    def by_digest(self) -> str:
        """What is pulled, ``host:5042/name@sha256:…``."""
        return f"{self.name}@{self.digest}"

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}@{self.digest}"


def resolve(images: ImageService, image_id: str, *, registry: str) -> EngineReference:
    """Find out what a Glance image boots.

    Args:
        images: Glance with the token of the user who asks, so that nobody boots what Glance doesn't let them read.
        image_id: The Glance image.
        registry: ``host:port`` under which the engine reaches the registry.

    Raises:
        ImageUnacceptable: It is no container image.
    """
    image = images.show(image_id)
    if image.container_format != "docker":
        raise ImageUnacceptable(
            f"its container_format is {image.container_format or 'not set'}, and containers boot from docker"
        )
    if image.status != "active":
        raise ImageUnacceptable(f"it is {image.status} and has no data yet")
    if image.size > MAX_MANIFEST_BYTES:
        raise ImageUnacceptable(
            f"its {image.size} bytes are no manifest of a container image; push it to {registry}"
        )
    data = b"".join(_bounded(images.data(image_id)))
    check_bootable(data)
    repository, tag = _pushed_as(image)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return EngineReference(registry=registry, repository=repository, tag=tag, digest=digest)


def check_bootable(data: bytes) -> None:
    """Make sure that data is the manifest or the index of a container image.

    Raises:
        ImageUnacceptable: It is anything else; the message says what, as far as that can be seen.
    """
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        raise ImageUnacceptable("its data is no manifest of a container image: not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("schemaVersion") != 2:
        raise ImageUnacceptable("its data is no manifest of a container image: no schemaVersion 2")
    media_type = manifest.get("mediaType")
    if media_type is not None and media_type not in MANIFESTS | INDEXES:
        raise ImageUnacceptable(f"its data is a {_shown(media_type)}, no manifest of a container image")
    if media_type in INDEXES or (media_type is None and "manifests" in manifest):
        if not _is_list_of_objects(manifest.get("manifests")):
            raise ImageUnacceptable("its index names no manifests")
        return
    config = manifest.get("config")
    if not isinstance(config, dict) or not _is_list_of_objects(manifest.get("layers")):
        raise ImageUnacceptable("its data is no manifest of a container image: no config, or no layers")
    if config.get("mediaType") not in CONFIGS:
        raise ImageUnacceptable(
            f"it is an artifact ({_shown(config.get('mediaType'))}), not a container image"
        )


def _pushed_as(image: GlanceImage) -> tuple[str, str]:
    """Return repository and tag: of the name, or where it was pushed if the name is gone or none of a repository."""
    repository, _, tag = image.name.partition(":")
    if _REPOSITORY.fullmatch(repository) and _TAG.fullmatch(tag or "latest"):
        return repository, tag or "latest"
    repository = image.properties.get("docker_repository", "")
    tag = image.properties.get("docker_tag", "")
    if not _REPOSITORY.fullmatch(repository):
        raise ImageUnacceptable(
            f"neither its name {image.name[:80]!r} nor docker_repository names a repository"
        )
    return repository, tag if _TAG.fullmatch(tag) else "latest"


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_MANIFEST_BYTES:
            raise ImageUnacceptable("Glance sent more data than it says the image has")
        yield piece


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _shown(value: object) -> str:
    return repr(value)[:120]
