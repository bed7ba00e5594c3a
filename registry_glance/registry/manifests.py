"""Manifests and indexes: read once from the bytes that came, never written again.

Source: OCI image-spec 1.1, "Image Manifest" and "Image Index"; Docker's "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import DigestInvalid, ManifestInvalid, ManifestTooLarge

MAX_MANIFEST_SIZE: Final = 4 * 1024 * 1024
"""Bytes; what the specification asks a registry to take at least."""

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_SCHEMA_1: Final = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
# RFC 6838, section 4.2: so a media type is always short, ASCII, and fit for a header and a property.
_RESTRICTED_NAME: Final = r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE: Final = re.compile(f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}")
_MAX_SIZE: Final = 2**63 - 1
"""Of content, in bytes; the specification's sizes are int64."""
_IMAGE_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
_IMAGE_CONFIG_TYPES: Final = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """For which machine a manifest of an index is; the names are Go's (``linux``, ``amd64``)."""

    os: str = ""
    architecture: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to content: what it is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform = field(default_factory=Platform)

    @property
    def distributable(self) -> bool:
        """Whether the registry must hold the content; a foreign layer is fetched from elsewhere."""
        # image-spec "Non-Distributable Layers", and Docker's "foreign" layers of Windows images.
        return ".nondistributable." not in self.media_type and ".foreign." not in self.media_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A parsed manifest, of any media type.

    Attributes:
        body: The bytes as they came; the digest is of these.
        media_type: The Content-Type with which it is served.
        config: The descriptor of the configuration, in an image manifest.
        layers: Layer descriptors, base first.
        manifests: The children of an index.
        subject: What this manifest refers to, as a referrer; it need not exist.
        artifact_type: As listed by the referrers API; empty if there is none.
        annotations: Text by text.
    """

    body: bytes
    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The blobs that must be here for the manifest to be complete, each once, config first."""
        descriptors = (*([self.config] if self.config else []), *self.layers)
        return tuple(dict.fromkeys(d.digest for d in descriptors if d.distributable))

    @property
    def children(self) -> tuple[Digest, ...]:
        """The manifests that must be in the same repository, each once."""
        return tuple(dict.fromkeys(d.digest for d in self.manifests))

    @property
    def index(self) -> bool:
        """Whether this is an index (a manifest list), of one or more platforms."""
        return self.media_type in _INDEX_TYPES

    @property
    def image_config(self) -> Descriptor | None:
        """The configuration, if it is one that a container is started from."""
        if self.config is not None and self.config.media_type in _IMAGE_CONFIG_TYPES:
            return self.config
        return None

    @property
    def content_size(self) -> int:
        """Bytes of configuration and layers together, as the manifest states them."""
        return sum(d.size for d in (*([self.config] if self.config else []), *self.layers))


def parse_manifest(body: bytes, content_type: str) -> Manifest:
    """Read a manifest.

    Args:
        body: The bytes of the request.
        content_type: The request's Content-Type; parameters are ignored, and it may be empty.

    Raises:
        ManifestInvalid: It is no manifest, or it contradicts ``content_type``.
        ManifestTooLarge: It is longer than ``MAX_MANIFEST_SIZE``.
    """
    if len(body) > MAX_MANIFEST_SIZE:
        raise ManifestTooLarge(f"more than {MAX_MANIFEST_SIZE} bytes")
    document = _read_object(body)
    media_type = _settle_media_type(document, content_type)
    if media_type in _DOCKER_SCHEMA_1:
        raise ManifestInvalid("Docker manifests of schema 1 are not supported")
    known = media_type in _IMAGE_TYPES | _INDEX_TYPES
    version = document.get("schemaVersion")
    if (known or version is not None) and (version != 2 or isinstance(version, bool)):
        raise ManifestInvalid(f"schemaVersion is {_short(version)}, expected 2")
    config = _descriptor(document, "config")
    if media_type in _IMAGE_TYPES and (config is None or "layers" not in document):
        raise ManifestInvalid("an image manifest has a config and layers")
    if media_type in _INDEX_TYPES and "manifests" not in document:
        raise ManifestInvalid("an index has manifests")
    # GHSA-77vh-xpmg-72qh: what some clients read as an image and some as an index is neither.
    if media_type in _IMAGE_TYPES and "manifests" in document:
        raise ManifestInvalid("an image manifest has no manifests")
    if media_type in _INDEX_TYPES and document.keys() & {"config", "layers"}:
        raise ManifestInvalid("an index has neither config nor layers")
    artifact_type = _text(document, "artifactType")
    if not artifact_type and config is not None:
        # distribution-spec, "Listing Referrers": the config's media type stands in.
        artifact_type = config.media_type
    return Manifest(
        body=body,
        media_type=media_type,
        config=config,
        layers=tuple(_descriptors(document, "layers")),
        manifests=tuple(_descriptors(document, "manifests")),
        subject=_descriptor(document, "subject"),
        artifact_type=artifact_type,
        annotations=_annotations(document),
    )


def is_media_type(text: str) -> bool:
    """Whether a text can be served as a Content-Type."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            # Decoded here: left to itself, json also reads UTF-16 and surrogates.
            body.decode("utf-8"),
            object_pairs_hook=_object_of_unique_keys,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as exc:
        raise ManifestInvalid("not JSON, or nested too deeply") from exc
    if not isinstance(document, dict):
        raise ManifestInvalid("not a JSON object")
    return document


def _object_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ManifestInvalid("a key stands twice in one object")
    return document


def _refuse_constant(text: str) -> NoReturn:
    raise ManifestInvalid(f"{text} is not JSON")


def _settle_media_type(document: Mapping[str, Any], content_type: str) -> str:
    sent = content_type.partition(";")[0].strip()
    inside = _text(document, "mediaType")
    if sent and inside and sent.lower() != inside.lower():
        raise ManifestInvalid(f"Content-Type is {_short(sent)}, mediaType is {_short(inside)}")
    if media_type := inside or sent:
        if not is_media_type(media_type):
            raise ManifestInvalid(f"{_short(media_type)} is no media type")
        return media_type
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _descriptors(document: Mapping[str, Any], key: str) -> Iterator[Descriptor]:
    items = document.get(key)
    if items is None:
        return
    if not isinstance(items, list):
        raise ManifestInvalid(f"{key} is no list")
    for item in items:
        yield _read_descriptor(item, key)


def _descriptor(document: Mapping[str, Any], key: str) -> Descriptor | None:
    item = document.get(key)
    return None if item is None else _read_descriptor(item, key)


def _read_descriptor(item: object, key: str) -> Descriptor:
    if not isinstance(item, dict):
        raise ManifestInvalid(f"{key}: a descriptor is an object")
    size = item.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
        raise ManifestInvalid(f"{key}: size is {_short(size)}")
    try:
        digest = Digest.parse(_text(item, "digest"))
    except DigestInvalid as exc:
        raise ManifestInvalid(f"{key}: {exc.detail}") from exc
    platform = item.get("platform")
    if not isinstance(platform, dict):
        platform = {}
    return Descriptor(
        media_type=_text(item, "mediaType"),
        digest=digest,
        size=size,
        platform=Platform(os=_text(platform, "os"), architecture=_text(platform, "architecture")),
    )


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    annotations = document.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise ManifestInvalid("annotations are text by text")
    return annotations


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise ManifestInvalid(f"{key} is {_short(value)}, expected text")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
