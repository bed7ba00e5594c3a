"""Single interleavings in which something acknowledged was once lost; found by ``test_store``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import RegistryError
from registry_glance.store.images import GlanceUnavailable, ImageNotFound
from tests.fakes.moments import Killed, Moment, fail
from tests.interleave.scheduler import Chaos
from tests.interleave.world import (
    CONFIG,
    LAYERS,
    TAGS,
    ClientGoneError,
    SharedSession,
    World,
    pieces,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = TAGS[0]


@pytest.fixture
def world() -> World:
    world = World(seed=0, chaos=Chaos())
    for content in (CONFIG, *LAYERS):
        world.upload(content)
    return world


def test_put_that_cannot_read_back_its_commit_takes_no_tag_away(world: World) -> None:
    """Another put saw the committed record, yielded to it and was acknowledged."""
    world.put(TAG, world.manifest([LAYERS[0]], note="first"))

    def commit_is_followed_by_another_put(moment: Moment) -> None:
        del moment
        world.glance.moments.before("get", fail(GlanceUnavailable("down")))
        earlier = world.glance.images()[-1]
        assert earlier.active
        for image in world.glance.images():
            if not image.hidden and image.id != earlier.id:
                world.glance.service("p1", caller="other put").update(image.id, name=None, hidden=True)

    world.glance.moments.after("put_data", commit_is_followed_by_another_put)
    with pytest.raises(RegistryError):
        world.put(TAG, world.manifest([LAYERS[1]], note="second"))

    assert world.get(TAG) is not None


def test_delete_of_a_manifest_does_not_bring_an_older_tag_back(world: World) -> None:
    """The replica that put the manifest was killed before it demoted the former holder."""
    world.put(TAG, world.manifest([LAYERS[0]], note="old"))
    new = world.manifest([LAYERS[1]], note="new")
    world.glance.moments.before("update", fail(Killed()))
    with pytest.raises(Killed):
        world.put(TAG, new)
    assert world.get(TAG) == Digest.of(new.body)

    world.delete_manifest(Digest.of(new.body))

    assert world.get(TAG) is None


def test_delete_of_a_tag_that_dies_on_the_way_shows_no_older_one(world: World) -> None:
    world.put(TAG, world.manifest([LAYERS[0]], note="old"))
    new = world.manifest([LAYERS[1]], note="new")
    world.glance.moments.before("update", fail(Killed()))
    with pytest.raises(Killed):
        world.put(TAG, new)
    world.glance.moments.after("update", fail(Killed()))

    with pytest.raises(Killed):
        world.delete_tag(TAG)

    assert world.get(TAG) == Digest.of(new.body)
    world.delete_tag(TAG)
    assert world.get(TAG) is None


@pytest.mark.parametrize("says_start", [True, False], ids=["content-range", "plain-patches"])
def test_finish_of_a_composed_upload_can_be_repeated(world: World, says_start: bool) -> None:  # noqa: FBT001
    """The first answer was lost on its way to the client."""
    content = bytes(range(90))
    session = SharedSession(world, content, says_starts=says_start)
    session.append(size=30)
    session.append(size=30)

    session.finish()
    session.finish()

    assert world.losses() == []


def test_upload_that_breaks_off_leaves_the_session_where_it_stood(world: World) -> None:
    content = bytes(range(90))
    session = SharedSession(world, content, says_starts=True)
    session.append(size=30)

    def broken() -> Iterator[bytes]:
        yield from pieces(content[30:50])
        raise ClientGoneError

    with pytest.raises(ClientGoneError):
        session.append(body=broken())

    assert world.status(session.id).offset == 30
    session.append(size=60)
    session.finish()
    assert world.losses() == []


def test_pull_survives_that_a_manifest_is_replaced_between_look_up_and_reading(
    world: World,
) -> None:
    first = world.manifest([LAYERS[0]], note="first")
    world.put(TAG, first)
    for name in ("replica-1", "replica-2", "replica-3"):
        world.restart(name)
    (record,) = (image for image in world.glance.images() if not image.hidden)

    def vanish(moment: Moment) -> None:
        del moment
        world.put(TAG, world.manifest([LAYERS[1]], note="second"))
        world.glance.service("p1").delete(record.id)

    world.glance.moments.before("get_data", vanish, image_id=record.id)

    assert world.get(TAG) == world.history.of("put")[-1].digest
    with pytest.raises(ImageNotFound):
        world.glance.service("p1").get(record.id)
