"""How records lie in Glance: the properties, what each kind of record carries, and what counts as which.

This module is the storage layout; ``docs/storage.md`` is the same as a table.
"""

from __future__ import annotations

import calendar
import enum
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry_glance.registry.digests import ALGORITHMS, Digest
from registry_glance.registry.errors import DigestInvalid
from registry_glance.registry.manifests import Manifest
from registry_glance.registry.names import RepositoryName, Tag, parse_glance_name
from registry_glance.store.images import GlanceImage

RECORD: Final = "docker_record"
"""Our mark, on every record: a ``Record``. The collector touches nothing without it."""

REPOSITORY: Final = "docker_repository"
TAG: Final = "docker_tag"
DIGEST: Final = "docker_digest"
MEDIA_TYPE: Final = "docker_media_type"
ORDER: Final = "docker_order"
REFERENCES: Final = "docker_references"
SUBJECT: Final = "docker_subject"
ARTIFACT_TYPE: Final = "docker_artifact_type"
UPLOAD: Final = "docker_upload"
UPLOAD_SESSION: Final = "docker_upload_session"
UPLOAD_OFFSET: Final = "docker_upload_offset"
CONDEMNED: Final = "docker_condemned"
ROUND: Final = "docker_round"
FATE: Final = "docker_fate"
INDEX_KEY: Final = "docker_index_key"
INDEX_TARGET: Final = "docker_index_target"

MAX_PROPERTY_BYTES: Final = 65_535
"""What a property value holds in Glance's database; longer ones are an internal error of Glance."""

_CLOCK_SKEW_US: Final = 24 * 3600 * 1_000_000


class Record(enum.StrEnum):
    """The kinds of record."""

    TAG = "tag"
    MANIFEST = "manifest"
    BLOB = "blob"
    SESSION = "session"
    PART = "part"
    FATE = "fate"
    INDEX = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Whose records count.

    Attributes:
        project: The caller's project id; ``None`` where Glance has no Keystone, and everything is one project's.
        hide: Whether what has no name is hidden from plain listings of images.
    """

    project: str | None = None
    hide: bool = True

    def owns(self, image: GlanceImage) -> bool:
        """Whether an image is of this project; a name or a property never says so."""
        return self.project is None or image.owner == self.project


def new_id() -> str:
    """Return an id that nobody can guess, and so nobody can take first."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Whether a text is an id as ``new_id`` makes them."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def part_id(session_id: str, number: int) -> str:
    """Return the id of a session's part, counted from 1; two workers that write it meet in the 409."""
    return str(uuid.uuid5(uuid.UUID(session_id), str(number)))


def composed_id(session_id: str) -> str:
    """Return the id of the blob that a session's parts become where its own image holds the first chunk."""
    return str(uuid.uuid5(uuid.UUID(session_id), "composed"))


def fate_id(image_id: str, round_number: str) -> str:
    """Return the id under which the fate of a condemned blob is decided, once for each round."""
    return str(uuid.uuid5(uuid.UUID(image_id), f"fate:{round_number}"))


def blob_properties(digest: Digest) -> dict[str, str]:
    """Return the properties of a blob that is complete."""
    return {RECORD: Record.BLOB, DIGEST: str(digest)}


def session_properties(repository: RepositoryName) -> dict[str, str]:
    """Return the properties of an upload session."""
    return {RECORD: Record.SESSION, UPLOAD: str(repository)}


def part_properties(session_id: str, offset: int) -> dict[str, str]:
    """Return the properties of an upload part that starts at ``offset`` of the session's content."""
    return {RECORD: Record.PART, UPLOAD_SESSION: session_id, UPLOAD_OFFSET: str(offset)}


def is_record(image: GlanceImage, *records: Record) -> bool:
    """Whether an image is one of our records, of one of these kinds."""
    return image.container_format == "docker" and image.properties.get(RECORD) in records


def is_manifest(image: GlanceImage) -> bool:
    """Whether an image holds a manifest, tagged or not."""
    return is_record(image, Record.TAG, Record.MANIFEST)


def native_digest(image: GlanceImage) -> Digest | None:
    """Return what Glance itself computed of the data; ``None`` if it is no digest of ours."""
    if image.hash_algorithm not in ALGORITHMS or image.hash_value is None:
        return None
    return Digest(image.hash_algorithm, image.hash_value)


def claimed_digest(image: GlanceImage) -> Digest | None:
    """Return the digest that a property states. A tenant can write it: it proves nothing by itself."""
    try:
        return Digest.parse(image.properties.get(DIGEST, ""))
    except DigestInvalid:
        return None


def claims_digest(image: GlanceImage, digest: Digest) -> bool:
    """Whether an image holds this content: by Glance's hash where that can tell; else a property only claims it."""
    if image.hash_algorithm == digest.algorithm:
        return image.hash_value == digest.hex
    return claimed_digest(image) == digest


def is_complete_blob(image: GlanceImage, digest: Digest) -> bool:
    """Whether an image is a blob with this digest that can be read."""
    return is_record(image, Record.BLOB) and image.active and claims_digest(image, digest)


def holds_tag(image: GlanceImage, repository: RepositoryName, tag: Tag) -> bool:
    """Whether an image is visible under exactly this name and holds a manifest, in any status."""
    return not image.hidden and image.name == f"{repository}:{tag}" and is_manifest(image)


def in_repository(image: GlanceImage, repository: RepositoryName) -> bool:
    """Whether a manifest belongs to a repository: what is visible by its name, the rest by the property."""
    named = None if image.hidden else parse_glance_name(image.name)
    if named is not None:
        return named[0] == repository
    return image.properties.get(REPOSITORY) == str(repository)


def tag_of(image: GlanceImage) -> tuple[RepositoryName, Tag] | None:
    """Return the repository and tag under which an image is visible; ``None`` if it is no tag."""
    if image.hidden or not image.active or not is_manifest(image):
        return None
    return parse_glance_name(image.name)


def order_of(image: GlanceImage) -> int:
    """Return the order that a tag record was created with, in microseconds; 0 if there is none."""
    text = image.properties.get(ORDER, "")
    # The 18 digits bound what a tenant can write into the property.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def effective_order(image: GlanceImage) -> tuple[int, str]:
    """Return what decides between two holders of one name; the greater one holds it.

    ``eff`` of the protocol: a record that was given its name by hand counts from the time of that hand, and so does
    one with an order that no clock can have given it.
    """
    by_hand = epoch_us(image.updated_at) + 999_999
    own_name = f"{image.properties.get(REPOSITORY)}:{image.properties.get(TAG)}"
    order = order_of(image)
    if own_name == image.name and order <= by_hand + _CLOCK_SKEW_US:
        return order, image.id
    return by_hand, image.id


def epoch_us(timestamp: str) -> int:
    """Return Glance's ISO 8601 time (UTC, whole seconds) as microseconds since the epoch."""
    return calendar.timegm(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")) * 1_000_000


def manifest_properties(
    record: Record, repository: RepositoryName, manifest: Manifest, digest: Digest
) -> dict[str, str]:
    """Return the properties that every record of a manifest carries.

    What does not fit a property is left out, and read from the data instead.
    """
    properties = {
        RECORD: record,
        REPOSITORY: str(repository),
        DIGEST: str(digest),
        MEDIA_TYPE: manifest.media_type,
        SUBJECT: "" if manifest.subject is None else str(manifest.subject.digest),
        ARTIFACT_TYPE: manifest.artifact_type,
    }
    fitting = {key: value for key, value in properties.items() if value and _fits(value, 255)}
    references = ",".join(str(digest) for digest in (*manifest.blobs, *manifest.children))
    if _fits(references, MAX_PROPERTY_BYTES):
        fitting[REFERENCES] = references
    return fitting


def _fits(value: str, limit: int) -> bool:
    # Glance answers 400 to characters of four bytes, and nothing here needs any beyond ASCII.
    return value.isascii() and value.isprintable() and len(value) <= limit


def subject_of(image: GlanceImage) -> Digest | None:
    """Return the subject of a manifest; ``None`` if it has none."""
    try:
        return Digest.parse(image.properties.get(SUBJECT, ""))
    except DigestInvalid:
        return None


def references_of(properties: Mapping[str, str]) -> frozenset[Digest] | None:
    """Return what a manifest's record says it references; ``None`` if only its data can tell."""
    text = properties.get(REFERENCES)
    if text is None:
        return None
    try:
        return frozenset(Digest.parse(part) for part in text.split(",") if part)
    except DigestInvalid:
        return None
