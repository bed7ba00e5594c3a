"""The contract of ``registry_glance.store.images.ImageService``: images, without their data."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from registry_glance.store.images import (
    GlanceImage,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
    NotPermitted,
    RequestRejected,
)
from tests.contract.clouds import PAGE_SIZE
from tests.contract.races import race
from tests.contract.settling import wait_until_saving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_glance.store.images import ImageService
    from tests.contract.clouds import Cloud

    NewId = Callable[[], str]

RACERS = 8
AWKWARD_NAMES = {
    "colon": "hipache:latest",
    "path": "team/web-app:1.0_rc",
    "operator": "in:a,b",
    "quotes": '"quoted":x',
    "query": "a&b=c#d%2F?e+f",
    "spaces": "two  words :x",
    "unicode": "größe-коробка-箱:ñ",
    "255-characters": "n" * 251 + ":tag",
}
AWKWARD_KEYS = {
    "slash": "docker/label/x",
    "tilde": "a~b",
    "pointer-escapes": "~1~0/~01",
    "dots-and-dashes": "org.opencontainers.image.created-at",
    "spaces": "two words",
    "unicode": "größe-箱",
    "255-characters": "k" * 255,
}
AWKWARD_VALUES = {
    "empty": "",
    "digest": "sha256:" + "0" * 64,
    "operator": "in:a,b",
    "null-text": "null",
    "true-text": "True",
    "number-text": "12",
    "json": '{"a": ["b/c", "~"]}',
    "query": "a&b=c#d%2F?e+f",
    "unicode": "größe 箱\n\tzwei",
}
LONG_VALUES = {"65000-characters": "v" * 65000, "32500-of-two-bytes-each": "ü" * 32500}


def table(cases: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("text", cases.values(), ids=cases.keys())


def listed(images: ImageService, *, hidden: bool = True) -> list[str]:
    return [image.id for image in images.list(hidden=hidden)]


# create and get


def test_create_returns_the_queued_image_that_get_then_finds(images: ImageService, new_id: NewId) -> None:
    image_id = new_id()

    created = images.create(
        image_id,
        name="hipache:latest",
        hidden=False,
        visibility="private",
        properties={"docker_tag": "latest"},
    )

    assert created == replace(
        GlanceImage(id=image_id, name="hipache:latest"),
        owner="p1",
        visibility="private",
        properties={"docker_tag": "latest"},
        created_at=created.created_at,
        updated_at=created.updated_at,
    )
    assert images.get(image_id) == created


def test_create_makes_a_hidden_nameless_image_unless_told_otherwise(
    images: ImageService, new_id: NewId
) -> None:
    image_id = new_id()

    images.create(image_id, properties={})

    found = images.get(image_id)
    assert (found.name, found.hidden, found.properties) == (None, True, {})


def test_create_stamps_the_time_in_whole_seconds_of_utc(images: ImageService, new_id: NewId) -> None:
    created = images.create(new_id(), properties={})

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created.created_at)
    assert created.updated_at == created.created_at


@table(AWKWARD_NAMES)
def test_create_keeps_the_name(images: ImageService, new_id: NewId, text: str) -> None:
    image_id = new_id()

    images.create(image_id, name=text, properties={})

    assert images.get(image_id).name == text


@table(AWKWARD_KEYS)
def test_create_keeps_the_property_name(images: ImageService, new_id: NewId, text: str) -> None:
    image_id = new_id()

    images.create(image_id, properties={text: "value"})

    assert images.get(image_id).properties == {text: "value"}


@table(AWKWARD_VALUES | LONG_VALUES)
def test_create_keeps_the_property_value(images: ImageService, new_id: NewId, text: str) -> None:
    image_id = new_id()

    images.create(image_id, properties={"key": text})

    assert images.get(image_id).properties == {"key": text}


def test_create_keeps_128_properties(images: ImageService, new_id: NewId) -> None:
    image_id = new_id()
    properties = {f"key{number}": str(number) for number in range(128)}

    images.create(image_id, properties=properties)

    assert images.get(image_id).properties == properties


@pytest.mark.parametrize("name", ["n" * 256, "\N{WHALE}"], ids=["256-characters", "beyond-the-basic-plane"])
def test_create_refuses_a_name_that_glance_cannot_keep(
    images: ImageService, new_id: NewId, name: str
) -> None:
    image_id = new_id()

    with pytest.raises(RequestRejected):
        images.create(image_id, name=name, properties={})

    with pytest.raises(ImageNotFound):
        images.get(image_id)


def test_create_refuses_an_id_that_is_no_uuid(images: ImageService) -> None:
    with pytest.raises(RequestRejected):
        images.create("sha256:" + "0" * 64, properties={})


def test_create_refuses_to_publish_for_a_member(images: ImageService, new_id: NewId) -> None:
    with pytest.raises(NotPermitted):
        images.create(new_id(), visibility="public", properties={})


def test_create_refuses_an_id_that_is_taken(images: ImageService, new_id: NewId) -> None:
    image_id = new_id()
    images.create(image_id, properties={"writer": "first"})

    with pytest.raises(ImageConflict):
        images.create(image_id, properties={"writer": "second"})

    assert images.get(image_id).properties == {"writer": "first"}


def test_create_refuses_an_id_that_an_invisible_image_of_another_project_has(
    cloud: Cloud, images: ImageService, new_id: NewId
) -> None:
    image_id = new_id()
    images.create(image_id, properties={})
    stranger = cloud.service("p2")

    with pytest.raises(ImageConflict):
        stranger.create(image_id, properties={})

    with pytest.raises(ImageNotFound):
        stranger.get(image_id)


def test_create_refuses_the_id_of_a_deleted_image(cloud: Cloud, images: ImageService, new_id: NewId) -> None:
    image_id = new_id()
    images.create(image_id, properties={})
    images.delete(image_id)

    for service in (images, cloud.service("p2")):
        with pytest.raises(ImageConflict):
            service.create(image_id, properties={})


def test_create_is_won_by_exactly_one_of_eight(cloud: Cloud, images: ImageService, new_id: NewId) -> None:
    image_id = new_id()
    services = [images, cloud.service()]

    outcomes = race(
        *(
            lambda number=number: services[number % 2].create(image_id, properties={"writer": str(number)})
            for number in range(RACERS)
        )
    )

    winners = [outcome for outcome in outcomes if isinstance(outcome, GlanceImage)]
    assert [type(outcome) for outcome in outcomes].count(ImageConflict) == RACERS - 1
    assert [winner.properties for winner in winners] == [images.get(image_id).properties]


def test_get_does_not_find_what_never_was(images: ImageService) -> None:
    with pytest.raises(ImageNotFound):
        images.get(str(uuid4()))


@pytest.mark.parametrize("visibility", ["private", "shared"])
def test_get_does_not_find_what_belongs_to_another_project(
    cloud: Cloud, images: ImageService, new_id: NewId, visibility: str
) -> None:
    image_id = images.create(new_id(), visibility=visibility, properties={}).id

    with pytest.raises(ImageNotFound):
        cloud.service("p2").get(image_id)


def test_get_finds_a_community_image_of_another_project(
    cloud: Cloud, images: ImageService, new_id: NewId
) -> None:
    image_id = images.create(new_id(), visibility="community", properties={}).id

    assert cloud.service("p2").get(image_id).owner == "p1"


# list


def test_list_yields_either_the_hidden_or_the_visible_images(images: ImageService, new_id: NewId) -> None:
    hidden_id = images.create(new_id(), hidden=True, properties={}).id
    visible_id = images.create(new_id(), hidden=False, properties={}).id

    assert listed(images, hidden=True) == [hidden_id]
    assert listed(images, hidden=False) == [visible_id]


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE])
def test_list_yields_each_image_of_all_pages_once(images: ImageService, new_id: NewId, count: int) -> None:
    ids = [images.create(new_id(), properties={}).id for _ in range(count)]

    assert sorted(listed(images)) == sorted(ids)


def test_list_yields_whole_images(images: ImageService, new_id: NewId) -> None:
    image_id = images.create(new_id(), name="a:b", properties={"docker/tag": "b"}).id
    images.put_data(image_id, [b"data"])

    assert list(images.list(hidden=True)) == [images.get(image_id)]


def test_list_yields_the_newest_first(images: ImageService, new_id: NewId) -> None:
    ids = []
    for _ in range(2):
        # created_at has whole seconds.
        time.sleep(1.1)
        ids.append(images.create(new_id(), properties={}).id)

    assert listed(images) == [ids[1], ids[0]]


def test_list_of_more_ids_than_one_request_can_name_yields_all_of_them(
    images: ImageService, new_id: NewId
) -> None:
    ids = {images.create(new_id(), properties={}).id for _ in range(2)}
    first, last = ids

    many = [first, *(str(uuid4()) for _ in range(120)), last]

    assert {image.id for image in images.list(hidden=True, ids=many)} == ids


def test_list_goes_on_when_the_last_image_of_a_page_is_deleted_meanwhile(
    images: ImageService, new_id: NewId
) -> None:
    ids = {images.create(new_id(), properties={}).id for _ in range(2 * PAGE_SIZE + 1)}

    seen = []
    for image in images.list(hidden=True):
        seen.append(image.id)
        if len(seen) % PAGE_SIZE == 0:
            images.delete(image.id)

    assert sorted(seen) == sorted(ids)


def test_list_yields_images_in_any_status(images: ImageService, new_id: NewId) -> None:
    statuses: list[str] = []

    def data() -> Iterator[bytes]:
        yield b"data"
        wait_until_saving(images, image_id)
        statuses.extend(image.status for image in images.list(hidden=True))

    image_id = images.create(new_id(), properties={}).id
    statuses.extend(image.status for image in images.list(hidden=True))
    images.put_data(image_id, data())
    statuses.extend(image.status for image in images.list(hidden=True))

    assert statuses == [ImageStatus.QUEUED, ImageStatus.SAVING, ImageStatus.ACTIVE]


@table(AWKWARD_NAMES)
def test_list_finds_the_exact_name(images: ImageService, new_id: NewId, text: str) -> None:
    image_id = images.create(new_id(), name=text, properties={}).id
    images.create(new_id(), name=text[:-1], properties={})
    images.create(new_id(), properties={})

    assert [image.id for image in images.list(hidden=True, name=text)] == [image_id]


@table(AWKWARD_VALUES)
def test_list_finds_the_exact_property(images: ImageService, new_id: NewId, text: str) -> None:
    image_id = images.create(new_id(), properties={"key": text, "other": "1"}).id
    images.create(new_id(), properties={"key": text + "x"})
    images.create(new_id(), properties={"other": text})

    found = images.list(hidden=True, properties={"key": text})

    assert [image.id for image in found] == [image_id]


def test_list_takes_every_filter_at_once(images: ImageService, new_id: NewId) -> None:
    ids = []
    for name, properties in (
        ("n:1", {"a": "1", "b": "1"}),
        ("n:1", {"a": "1", "b": "2"}),
        ("n:2", {"a": "1", "b": "1"}),
    ):
        ids.append(images.create(new_id(), name=name, properties=properties).id)
        images.put_data(ids[-1], [b"data"])
    hash_value = images.get(ids[0]).hash_value

    found = images.list(
        hidden=True,
        name="n:1",
        ids=ids,
        hash_value=hash_value,
        owner="p1",
        properties={"a": "1", "b": "1"},
    )

    assert [image.id for image in found] == [ids[0]]


def test_list_finds_the_hash_value(images: ImageService, new_id: NewId) -> None:
    ids = [images.create(new_id(), properties={}).id for _ in range(3)]
    for image_id, data in zip(ids, (b"one", b"one", b"other"), strict=True):
        images.put_data(image_id, [data])
    hash_value = images.get(ids[0]).hash_value

    found = {image.id for image in images.list(hidden=True, hash_value=hash_value)}

    assert found == {ids[0], ids[1]}


def test_list_finds_the_ids_among_many_unknown_ones(images: ImageService, new_id: NewId) -> None:
    ids = [images.create(new_id(), properties={}).id for _ in range(PAGE_SIZE + 2)]
    wanted = [ids[0], *(str(uuid4()) for _ in range(120)), *ids[2:]]

    found = [image.id for image in images.list(hidden=True, ids=wanted)]

    assert sorted(found) == sorted([ids[0], *ids[2:]])
    assert list(images.list(hidden=False, ids=wanted)) == []


def test_list_of_no_ids_yields_nothing(images: ImageService, new_id: NewId) -> None:
    images.create(new_id(), properties={})

    assert list(images.list(hidden=True, ids=[])) == []


def test_list_includes_what_others_share_or_publish_unless_an_owner_is_asked_for(
    cloud: Cloud, images: ImageService, new_id: NewId
) -> None:
    shared_id = images.create(new_id(), visibility="shared", properties={}).id
    images.create(new_id(), visibility="private", properties={})
    images.create(new_id(), visibility="community", properties={})
    cloud.share(shared_id, owner="p1", member="p2")
    public_id = images.create(new_id(), properties={}).id
    cloud.service("operator", admin=True).update(public_id, visibility="public")
    other = cloud.service("p2")

    assert sorted(listed(other)) == sorted([shared_id, public_id])
    assert [image.owner for image in other.list(hidden=True, owner="p1")] == ["p1", "p1"]
    assert list(other.list(hidden=True, owner="p2")) == []


def test_list_includes_the_callers_own_community_images(images: ImageService, new_id: NewId) -> None:
    image_id = images.create(new_id(), visibility="community", properties={}).id

    assert listed(images) == [image_id]


# update


@pytest.fixture
def active(images: ImageService, new_id: NewId) -> GlanceImage:
    image_id = images.create(
        new_id(), name="a:b", hidden=False, properties={"keep": "1", "change": "1", "drop": "1"}
    ).id
    images.put_data(image_id, [b"data"])
    return images.get(image_id)


def test_update_changes_everything_in_one_call_and_returns_what_get_then_finds(
    images: ImageService, active: GlanceImage
) -> None:
    updated = images.update(
        active.id,
        name=None,
        hidden=True,
        visibility="private",
        set_properties={"change": "2", "add/~": "3"},
        remove_properties=["drop"],
    )

    assert updated == replace(
        active,
        name=None,
        hidden=True,
        visibility="private",
        properties={"keep": "1", "change": "2", "add/~": "3"},
        updated_at=updated.updated_at,
    )
    assert images.get(active.id) == updated


def test_update_keeps_what_it_is_not_told_to_change(images: ImageService, active: GlanceImage) -> None:
    updated = images.update(active.id, set_properties={"change": "2"})

    assert updated == replace(
        active, properties={**active.properties, "change": "2"}, updated_at=updated.updated_at
    )


def test_update_moves_an_image_between_the_two_listings(images: ImageService, active: GlanceImage) -> None:
    images.update(active.id, hidden=True)
    assert (listed(images, hidden=True), listed(images, hidden=False)) == ([active.id], [])

    images.update(active.id, hidden=False)
    assert (listed(images, hidden=True), listed(images, hidden=False)) == ([], [active.id])


@table(AWKWARD_NAMES)
def test_update_renames(images: ImageService, active: GlanceImage, text: str) -> None:
    assert images.update(active.id, name=text).name == text


@table(AWKWARD_KEYS)
def test_update_adds_changes_and_removes_a_property(
    images: ImageService, active: GlanceImage, text: str
) -> None:
    added = images.update(active.id, set_properties={text: "1"}).properties
    changed = images.update(active.id, set_properties={text: "2"}).properties
    removed = images.update(active.id, remove_properties=[text]).properties

    assert added == {**active.properties, text: "1"}
    assert changed == {**active.properties, text: "2"}
    assert removed == active.properties


@table(AWKWARD_VALUES | LONG_VALUES)
def test_update_keeps_the_property_value(images: ImageService, active: GlanceImage, text: str) -> None:
    images.update(active.id, set_properties={"change": text})

    assert images.get(active.id).properties["change"] == text


def test_update_does_not_mind_that_a_property_to_remove_is_missing(
    images: ImageService, active: GlanceImage
) -> None:
    updated = images.update(active.id, remove_properties=["drop", "missing", "a/~b"])

    assert updated.properties == {"keep": "1", "change": "1"}


def test_update_removes_from_an_image_that_is_full_of_properties(images: ImageService, new_id: NewId) -> None:
    image_id = new_id()
    images.create(image_id, properties={f"key{number}": "" for number in range(128)})
    images.put_data(image_id, [b"data"])

    updated = images.update(image_id, remove_properties=["missing", "key0"])

    assert set(updated.properties) == {f"key{number}" for number in range(1, 128)}


def test_update_may_be_repeated(images: ImageService, active: GlanceImage) -> None:
    def demote() -> GlanceImage:
        return images.update(active.id, name=None, hidden=True, remove_properties=["drop"])

    first, second = demote(), demote()

    assert second == replace(first, updated_at=second.updated_at)


def test_update_changes_all_or_nothing(images: ImageService, active: GlanceImage) -> None:
    with pytest.raises(NotPermitted):
        images.update(active.id, name="c:d", set_properties={"change": "2"}, visibility="public")

    assert images.get(active.id) == active


def test_update_does_not_touch_the_data(images: ImageService, active: GlanceImage) -> None:
    images.update(active.id, name=None, hidden=True)

    stream = images.get_data(active.id)
    assert b"".join(stream) == b"data"
    stream.close()


def test_update_does_not_find_what_never_was(images: ImageService) -> None:
    with pytest.raises(ImageNotFound):
        images.update(str(uuid4()), hidden=True)


def test_update_does_not_find_what_only_others_may_see(cloud: Cloud, active: GlanceImage) -> None:
    with pytest.raises(ImageNotFound):
        cloud.service("p2").update(active.id, hidden=True)


def test_update_of_a_readable_image_of_another_project_is_not_permitted(
    cloud: Cloud, images: ImageService, active: GlanceImage
) -> None:
    before = images.update(active.id, visibility="community")

    with pytest.raises(NotPermitted):
        cloud.service("p2").update(active.id, name="stolen")

    assert images.get(active.id) == before


# delete


def test_delete_removes_a_queued_image(images: ImageService, new_id: NewId) -> None:
    image_id = images.create(new_id(), properties={}).id

    images.delete(image_id)

    with pytest.raises(ImageNotFound):
        images.get(image_id)
    assert listed(images) == []


def test_delete_removes_an_active_image_and_its_data(images: ImageService, active: GlanceImage) -> None:
    images.delete(active.id)

    with pytest.raises(ImageNotFound):
        images.get_data(active.id)
    assert listed(images, hidden=False) == []


def test_delete_does_not_find_what_is_deleted_already(images: ImageService, active: GlanceImage) -> None:
    images.delete(active.id)

    with pytest.raises(ImageNotFound):
        images.delete(active.id)


def test_delete_does_not_find_what_only_others_may_see(
    cloud: Cloud, images: ImageService, active: GlanceImage
) -> None:
    with pytest.raises(ImageNotFound):
        cloud.service("p2").delete(active.id)

    assert images.get(active.id) == active


def test_delete_of_a_readable_image_of_another_project_is_not_permitted(
    cloud: Cloud, images: ImageService, active: GlanceImage
) -> None:
    images.update(active.id, visibility="community")

    with pytest.raises(NotPermitted):
        cloud.service("p2").delete(active.id)

    assert images.get(active.id).active
