"""Records are found by digest in a constant number of Glance requests, whatever Glance hashes with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.names import RepositoryName
from registry_glance.store.finder import Finder, HashAlgorithms, digest_key, referrers_key
from registry_glance.store.images import GlanceImage, ImageService
from registry_glance.store.layout import INDEX_TARGET, RECORD, Ownership, Record, blob_properties, new_id
from tests.fakes.counting import CountingImages
from tests.fakes.memory_glance import MemoryGlance

CONTENT = b"the content of a blob"
SHA256, SHA512 = Digest.of(CONTENT), Digest.of(CONTENT, "sha512")
DIGESTS = {"sha256": SHA256, "sha512": SHA512}
KEY = digest_key(SHA512)


@pytest.fixture(params=["sha256", "sha512"])
def glance(request: pytest.FixtureRequest) -> Iterator[MemoryGlance]:
    glance = MemoryGlance(hash_algorithm=request.param, page_size=5, ignore_case=True)
    yield glance
    assert glance.open_streams == 0


def finder(images: ImageService, *, hide: bool = True, algorithms: HashAlgorithms | None = None) -> Finder:
    return Finder(images, Ownership(project="p1", hide=hide), algorithms or HashAlgorithms())


def store(glance: MemoryGlance, digest: Digest, **fields: Any) -> GlanceImage:
    """Put in a blob as one of this project's replicas left it."""
    image = GlanceImage(
        **{"id": new_id(), "owner": "p1", "hidden": True, "properties": blob_properties(digest), **fields}
    )
    return glance.insert(image, CONTENT)


def found(finder: Finder, digest: Digest) -> list[str]:
    return list(dict.fromkeys(image.id for group in finder.groups(digest) for image in group))


@pytest.mark.parametrize("hidden", [True, False])
def test_glances_own_hash_is_the_index(glance: MemoryGlance, hidden: bool) -> None:  # noqa: FBT001
    digest = DIGESTS[glance.hash_algorithm]
    blob = store(glance, digest, hidden=hidden)

    assert found(finder(glance.service("p1")), digest) == [blob.id]


@pytest.mark.parametrize("hide", [True, False])
def test_another_digest_is_found_by_its_marker(glance: MemoryGlance, hide: bool) -> None:  # noqa: FBT001
    (digest,) = (digest for name, digest in DIGESTS.items() if name != glance.hash_algorithm)
    blob = store(glance, digest)
    writer = finder(glance.service("p1"), hide=hide)

    writer.mark(digest_key(digest), blob.id)

    # Another replica, that knows nothing yet, finds it too.
    assert found(finder(glance.service("p1")), digest) == [blob.id]
    markers = [image for image in glance.images() if image.properties[RECORD] == Record.INDEX]
    assert [(marker.hidden, marker.name) for marker in markers] == [(hide, None)]


def test_without_a_marker_another_digest_is_not_found(glance: MemoryGlance) -> None:
    (digest,) = (digest for name, digest in DIGESTS.items() if name != glance.hash_algorithm)
    store(glance, digest)

    assert found(finder(glance.service("p1")), digest) == []


def test_glances_own_hash_costs_one_request(glance: MemoryGlance) -> None:
    digest = DIGESTS[glance.hash_algorithm]
    for _ in range(3):
        store(glance, digest)
    images = CountingImages(glance.service("p1"))

    next(finder(images).groups(digest))

    assert images.calls == {"list": 1}


def test_a_miss_costs_no_more_when_there_is_more_in_glance(glance: MemoryGlance) -> None:
    algorithms = HashAlgorithms()
    costs = []
    for number in range(40):
        row = GlanceImage(id=new_id(), owner="p1", hidden=True, properties=blob_properties(SHA256))
        algorithms.learn(glance.insert(row, str(number).encode()))
        images = CountingImages(glance.service("p1"))
        found(finder(images, algorithms=algorithms), SHA512)
        costs.append(images.total)

    assert len(set(costs)) == 1
    assert costs[0] <= 4


def test_once_the_algorithm_is_known_its_own_digests_need_no_markers(glance: MemoryGlance) -> None:
    algorithms = HashAlgorithms()
    look_up = finder(glance.service("p1"), algorithms=algorithms)
    digest = DIGESTS[glance.hash_algorithm]
    assert look_up.foreign(digest)

    look_up.learn(store(glance, digest))

    assert not look_up.foreign(digest)
    assert all(look_up.foreign(other) for other in DIGESTS.values() if other != digest)


def test_after_glances_algorithm_was_changed_both_are_found(glance: MemoryGlance) -> None:
    algorithms = HashAlgorithms(["sha256", "sha512"])
    old = store(glance, SHA256)
    finder(glance.service("p1"), algorithms=algorithms).mark(digest_key(SHA256), old.id)
    finder(glance.service("p1"), algorithms=algorithms).mark(digest_key(SHA512), old.id)

    glance.hash_algorithm = "sha256" if glance.hash_algorithm == "sha512" else "sha512"
    new = store(glance, SHA256)

    assert set(found(finder(glance.service("p1"), algorithms=algorithms), SHA256)) >= {old.id}
    assert new.id in found(
        finder(glance.service("p1"), algorithms=algorithms), DIGESTS[glance.hash_algorithm]
    )


def test_named_algorithms_count_instead_of_learned_ones() -> None:
    algorithms = HashAlgorithms(["sha512"])

    algorithms.learn(GlanceImage(id="a", hash_algorithm="sha256"))

    assert algorithms.known() == {"sha512"}


def test_an_algorithm_that_cannot_be_computed_here_is_not_learned() -> None:
    algorithms = HashAlgorithms()

    for name in ("", None, "rot13", "SHA-256"):
        algorithms.learn(GlanceImage(id="a", hash_algorithm=name))

    assert algorithms.known() == {"sha256", "sha512"}


def test_markers_lead_to_every_target_once(glance: MemoryGlance) -> None:
    look_up = finder(glance.service("p1"))
    one, two, three = new_id(), new_id(), new_id()
    for target in (one, two, one, three):
        look_up.mark(KEY, target)

    assert sorted(look_up.marked(KEY)) == sorted([one, two, three])


@pytest.mark.parametrize("target", ["", "../../v3/secrets", 'a",b', "x" * 36])
def test_a_target_that_is_no_id_is_not_asked_for(glance: MemoryGlance, target: str) -> None:
    """Users can write the property."""
    look_up = finder(glance.service("p1"))

    look_up.mark(KEY, target)

    assert look_up.marked(KEY) == []


def test_unmark_takes_away_the_markers_of_one_target(glance: MemoryGlance) -> None:
    look_up = finder(glance.service("p1"))
    one, two = new_id(), new_id()
    for target in (one, two, one):
        look_up.mark(KEY, target)

    look_up.unmark(KEY, one)

    assert look_up.marked(KEY) == [two]
    assert len(glance.images()) == 1


def test_a_marker_that_leads_nowhere_is_harmless(glance: MemoryGlance) -> None:
    look_up = finder(glance.service("p1"))
    (digest,) = (digest for name, digest in DIGESTS.items() if name != glance.hash_algorithm)
    look_up.mark(digest_key(digest), new_id())

    assert found(look_up, digest) == []


def test_a_marker_that_is_not_active_yet_leads_nowhere(glance: MemoryGlance) -> None:
    images = glance.service("p1")
    images.create(new_id(), properties={RECORD: Record.INDEX, INDEX_TARGET: "one"})

    assert finder(images).marked(KEY) == []


@pytest.mark.parametrize("visibility", ["public", "community", "shared"])
def test_what_another_project_owns_is_not_found(glance: MemoryGlance, visibility: str) -> None:
    digest = DIGESTS[glance.hash_algorithm]
    foreign = store(glance, digest, owner="p2", visibility=visibility)
    glance.add_member(foreign.id, "p1")
    marker = GlanceImage(
        id=new_id(),
        owner="p2",
        visibility="public",
        hidden=True,
        properties={RECORD: Record.INDEX, INDEX_TARGET: "evil"},
    )
    glance.insert(marker, KEY)
    mine = finder(glance.service("p1"))

    assert (found(mine, digest), mine.marked(KEY)) == ([], [])


def test_a_marker_of_ours_that_points_to_another_project_is_not_followed(glance: MemoryGlance) -> None:
    (digest,) = (digest for name, digest in DIGESTS.items() if name != glance.hash_algorithm)
    foreign = store(glance, digest, owner="p2", visibility="public")
    mine = finder(glance.service("p1"))

    mine.mark(digest_key(digest), foreign.id)

    assert found(mine, digest) == []


def test_an_image_that_happens_to_hold_a_key_is_no_marker(glance: MemoryGlance) -> None:
    glance.insert(
        GlanceImage(
            id=new_id(), owner="p1", hidden=True, properties={INDEX_TARGET: "evil", RECORD: Record.BLOB}
        ),
        KEY,
    )

    assert finder(glance.service("p1")).marked(KEY) == []


def test_keys_of_different_things_are_different() -> None:
    keys = [
        digest_key(SHA256),
        digest_key(SHA512),
        referrers_key(RepositoryName("a"), SHA256),
        referrers_key(RepositoryName("b"), SHA256),
        referrers_key(RepositoryName("a"), SHA512),
    ]

    assert len(set(keys)) == len(keys)
