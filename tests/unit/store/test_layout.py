"""How records lie in Glance: what an image counts as, whatever somebody else wrote on it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import Descriptor, Manifest
from registry_glance.registry.names import RepositoryName, Tag
from registry_glance.store import layout
from registry_glance.store.images import GlanceImage
from registry_glance.store.layout import Ownership, Record

REPOSITORY = RepositoryName("library/hipache")
LATEST = Tag("latest")
CONTENT = b"content"
SHA256, SHA512 = Digest.of(CONTENT), Digest.of(CONTENT, "sha512")
OTHER = Digest.of(b"something else")


def glance_image(**fields: Any) -> GlanceImage:
    return GlanceImage(**{"id": "00000000-0000-4000-8000-000000000001", "status": "active", **fields})


def tag_image(**fields: Any) -> GlanceImage:
    properties = {
        layout.RECORD: Record.TAG,
        layout.REPOSITORY: str(REPOSITORY),
        layout.TAG: "latest",
        layout.ORDER: "5",
        **fields.pop("properties", {}),
    }
    return glance_image(**{"name": f"{REPOSITORY}:latest", "properties": properties, **fields})


def hashed(algorithm: str | None, value: str | None, **properties: str) -> GlanceImage:
    return glance_image(hash_algorithm=algorithm, hash_value=value, properties=properties)


def manifest(**fields: Any) -> Manifest:
    return Manifest(**{"body": b"{}", "media_type": "application/vnd.example", **fields})


def descriptor(digest: Digest) -> Descriptor:
    return Descriptor(media_type="application/vnd.example", digest=digest, size=1)


# Who holds a name


def test_effective_order_is_the_one_that_the_record_was_made_with() -> None:
    assert layout.effective_order(tag_image()) == (5, tag_image().id)


def test_effective_order_of_a_name_given_by_hand_is_the_time_of_that_hand() -> None:
    renamed = tag_image(name="renamed:latest", updated_at="1970-01-01T00:00:02Z")

    # Glance tells whole seconds: the hand may have come at the end of it.
    assert layout.effective_order(renamed)[0] == 2_999_999


def test_effective_order_of_a_foreign_image_is_the_time_of_its_last_change() -> None:
    foreign = glance_image(name=f"{REPOSITORY}:latest", updated_at="2026-01-01T00:00:00Z")

    assert layout.effective_order(foreign)[0] == 1_767_225_600_999_999


def test_effective_order_never_ties() -> None:
    one, two = (tag_image(id=str(uuid.UUID(int=n))) for n in (1, 2))

    assert layout.effective_order(one) < layout.effective_order(two)


@pytest.mark.parametrize("order", ["", "-1", "1.5", "abc", " 5", "\u0665", "²", "9" * 100_000, "0x5", "+5"])
def test_an_order_that_is_none_counts_nothing(order: str) -> None:
    assert layout.order_of(tag_image(properties={layout.ORDER: order})) == 0


@pytest.mark.parametrize("microseconds", [0, 1, 1_767_225_600_000_000, 10**17 - 1])
def test_an_order_is_read_as_it_was_written(microseconds: int) -> None:
    assert layout.order_of(tag_image(properties={layout.ORDER: str(microseconds)})) == microseconds


# What an image is


@pytest.mark.parametrize("record", list(Record))
def test_a_record_is_one_of_its_kind_only(record: Record) -> None:
    image = glance_image(properties={layout.RECORD: str(record)})

    assert [kind for kind in Record if layout.is_record(image, kind)] == [record]


@pytest.mark.parametrize(
    "image",
    [
        glance_image(properties={}),
        glance_image(properties={layout.RECORD: "TAG"}),
        glance_image(properties={layout.RECORD: "tag "}),
        glance_image(properties={layout.RECORD: "tag"}, container_format="bare"),
        glance_image(properties={layout.RECORD: "tag"}, container_format=None),
    ],
)
def test_an_image_without_our_mark_is_no_record(image: GlanceImage) -> None:
    assert not layout.is_record(image, *Record)


@pytest.mark.parametrize(
    ("image", "same"),
    [
        pytest.param(hashed("sha256", SHA256.hex), True, id="its hash"),
        pytest.param(
            hashed("sha256", OTHER.hex, docker_digest=str(SHA256)), False, id="hash against property"
        ),
        pytest.param(hashed("sha256", None, docker_digest=str(SHA256)), False, id="not hashed yet"),
        pytest.param(hashed("sha512", SHA512.hex, docker_digest=str(SHA256)), True, id="another algorithm"),
        pytest.param(hashed("sha512", SHA512.hex, docker_digest=str(OTHER)), False, id="other content"),
        pytest.param(hashed("sha512", SHA512.hex), False, id="nothing said"),
        pytest.param(hashed("sha512", SHA512.hex, docker_digest="nonsense"), False, id="nonsense said"),
        pytest.param(hashed("sha512", SHA256.hex), False, id="hash of another algorithm"),
        pytest.param(hashed(None, None, docker_digest=str(SHA256)), True, id="no hash at all"),
        pytest.param(
            hashed("md5", "0" * 32, docker_digest=str(SHA256)), True, id="an algorithm of no digest"
        ),
    ],
)
def test_glances_hash_decides_where_it_can_tell(image: GlanceImage, same: bool) -> None:  # noqa: FBT001
    assert layout.claims_digest(image, SHA256) is same


def test_native_digest_is_what_glance_computed() -> None:
    assert layout.native_digest(hashed("sha512", SHA512.hex)) == SHA512
    assert layout.native_digest(hashed("md5", "0" * 32)) is None
    assert layout.native_digest(hashed(None, None)) is None


@pytest.mark.parametrize("text", ["", "nonsense", "sha256:short", f"SHA256:{'a' * 64}", "\n"])
def test_claimed_digest_that_is_none_is_none(text: str) -> None:
    assert layout.claimed_digest(hashed(None, None, docker_digest=text)) is None


def test_a_blob_is_complete_when_it_is_active_and_hashed() -> None:
    properties = layout.blob_properties(SHA256)
    complete = glance_image(hash_algorithm="sha256", hash_value=SHA256.hex, properties=properties)

    assert layout.is_complete_blob(complete, SHA256)
    assert not layout.is_complete_blob(complete, OTHER)
    assert not layout.is_complete_blob(glance_image(properties=properties, status="queued"), SHA256)
    assert not layout.is_complete_blob(
        glance_image(hash_algorithm="sha256", hash_value=SHA256.hex, properties={}), SHA256
    )


# Which repository


@pytest.mark.parametrize(
    ("image", "belongs"),
    [
        pytest.param(tag_image(), True, id="tag"),
        pytest.param(tag_image(name=None, hidden=True), True, id="demoted"),
        pytest.param(tag_image(name="renamed:x"), False, id="renamed away"),
        pytest.param(tag_image(properties={layout.REPOSITORY: "other"}), True, id="renamed to here"),
        pytest.param(
            tag_image(properties={layout.REPOSITORY: "other"}, name=str(REPOSITORY)), True, id="no tag"
        ),
        pytest.param(
            tag_image(properties={layout.REPOSITORY: "other"}, hidden=True), False, id="hidden under the name"
        ),
        pytest.param(tag_image(properties={layout.REPOSITORY: "other"}, name="other:x"), False, id="another"),
        pytest.param(tag_image(properties={layout.REPOSITORY: "other"}, name=None), False, id="nameless"),
        pytest.param(
            tag_image(properties={layout.REPOSITORY: "Library/Hipache"}, name=None), False, id="case"
        ),
    ],
)
def test_a_manifest_is_in_a_repository_by_property_or_by_name(image: GlanceImage, belongs: bool) -> None:  # noqa: FBT001
    assert layout.in_repository(image, REPOSITORY) is belongs


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(tag_image(), (REPOSITORY, LATEST), id="tag"),
        pytest.param(tag_image(name="a:b"), (RepositoryName("a"), Tag("b")), id="renamed"),
        pytest.param(tag_image(name="a"), (RepositoryName("a"), LATEST), id="without tag"),
        pytest.param(
            tag_image(properties={layout.RECORD: Record.MANIFEST}),
            (REPOSITORY, LATEST),
            id="named again by hand",
        ),
        pytest.param(tag_image(name=None), None, id="nameless"),
        pytest.param(tag_image(name="Not A Name"), None, id="no name of ours"),
        pytest.param(tag_image(hidden=True), None, id="hidden"),
        pytest.param(tag_image(status="queued"), None, id="intent"),
        pytest.param(tag_image(status="deactivated"), None, id="deactivated"),
        pytest.param(tag_image(container_format="bare"), None, id="a virtual machine's"),
        pytest.param(tag_image(properties={layout.RECORD: Record.BLOB}), None, id="a blob with a name"),
    ],
)
def test_tag_is_what_is_visible_active_and_a_manifest(image: GlanceImage, expected: object) -> None:
    assert layout.tag_of(image) == expected


@pytest.mark.parametrize(
    "name", ["library/hipache:LATEST", "library/hipache:latest ", "library/hipache", None]
)
def test_a_tag_is_held_under_exactly_its_name(name: str | None) -> None:
    """MariaDB lists names that differ in case and trailing spaces."""
    assert layout.holds_tag(tag_image(), REPOSITORY, LATEST)
    assert not layout.holds_tag(tag_image(name=name), REPOSITORY, LATEST)


def test_only_the_owners_images_count() -> None:
    mine, theirs = glance_image(owner="p1"), glance_image(owner="p2", visibility="public")

    assert [Ownership(project="p1").owns(image) for image in (mine, theirs)] == [True, False]
    assert all(Ownership(project=None).owns(image) for image in (mine, theirs))


# Ids


def test_parts_have_ids_that_follow_from_the_session() -> None:
    session = layout.new_id()
    ids = [layout.part_id(session, number) for number in range(1, 100)]

    assert ids == [layout.part_id(session, number) for number in range(1, 100)]
    assert len({session, *ids, layout.fate_id(session, "1"), layout.fate_id(session, "2")}) == 102


def test_ids_are_uuids_as_glance_wants_them() -> None:
    session = layout.new_id()

    for image_id in (session, layout.part_id(session, 1), layout.fate_id(session, "1")):
        assert str(uuid.UUID(image_id)) == image_id


# Properties


def test_references_are_read_as_they_were_written() -> None:
    stored = layout.manifest_properties(
        Record.TAG,
        REPOSITORY,
        manifest(layers=(descriptor(SHA256), descriptor(SHA512)), manifests=(descriptor(OTHER),)),
        SHA256,
    )

    assert layout.references_of(stored) == frozenset({SHA256, SHA512, OTHER})


def test_no_references_are_known_to_be_none() -> None:
    stored = layout.manifest_properties(Record.TAG, REPOSITORY, manifest(), SHA256)

    assert layout.references_of(stored) == frozenset()


def test_references_that_do_not_fit_are_left_to_the_data() -> None:
    layers = tuple(descriptor(Digest.of(str(number).encode())) for number in range(1000))
    stored = layout.manifest_properties(Record.TAG, REPOSITORY, manifest(layers=layers), SHA256)

    assert layout.REFERENCES not in stored
    assert layout.references_of(stored) is None


@pytest.mark.parametrize("text", ["nonsense", f"{SHA256},nonsense", f"{SHA256} {OTHER}", ",,x"])
def test_references_that_somebody_broke_are_left_to_the_data(text: str) -> None:
    assert layout.references_of({layout.REFERENCES: text}) is None


def test_subject_is_read_as_it_was_written() -> None:
    stored = layout.manifest_properties(Record.TAG, REPOSITORY, manifest(subject=descriptor(OTHER)), SHA256)

    assert layout.subject_of(glance_image(properties=stored)) == OTHER


@pytest.mark.parametrize("properties", [{}, {layout.SUBJECT: ""}, {layout.SUBJECT: "nonsense"}])
def test_no_subject_is_none(properties: dict[str, str]) -> None:
    assert layout.subject_of(glance_image(properties=properties)) is None


@pytest.mark.parametrize("artifact_type", ["é", "🐳", "a\nb", "a\0b", "x" * 256, ""])
def test_what_does_not_fit_a_property_is_left_out(artifact_type: str) -> None:
    stored = layout.manifest_properties(Record.TAG, REPOSITORY, manifest(artifact_type=artifact_type), SHA256)

    assert layout.ARTIFACT_TYPE not in stored
    assert stored[layout.DIGEST] == str(SHA256)


@pytest.mark.parametrize(
    ("timestamp", "microseconds"),
    [("1970-01-01T00:00:00Z", 0), ("2026-02-28T23:59:59Z", 1_772_323_199_000_000)],
)
def test_times_of_glance_are_utc(timestamp: str, microseconds: int) -> None:
    assert layout.epoch_us(timestamp) == microseconds
