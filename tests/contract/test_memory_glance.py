"""What only the Glance in memory promises: faults, races and limits that tests can provoke."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from registry_glance.store.images import (
    GlanceImage,
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
    QuotaExceeded,
)
from tests.fakes.counting import CountingImages
from tests.fakes.memory_glance import MemoryGlance
from tests.fakes.moments import GlanceWorkerKilled, Killed, Moment, Step, fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_glance.store.images import ImageService


@pytest.fixture
def cloud() -> Iterator[MemoryGlance]:
    cloud = MemoryGlance(page_size=2)
    yield cloud
    assert cloud.moments.pending() == []


@pytest.fixture
def images(cloud: MemoryGlance) -> ImageService:
    return cloud.service()


def create(images: ImageService, *, data: bytes | None = None, name: str | None = None) -> str:
    image_id = images.create(str(uuid4()), name=name, properties={}).id
    if data is not None:
        images.put_data(image_id, [data])
    return image_id


def test_update_loses_what_another_update_wrote_in_between(cloud: MemoryGlance, images: ImageService) -> None:
    image_id = create(images, data=b"data", name="a:b")
    cloud.moments.middle("update", lambda _: demote())

    def demote() -> None:
        images.update(image_id, name=None, hidden=True)

    images.update(image_id, set_properties={"note": "1"})

    image = images.get(image_id)
    assert (image.name, image.hidden, image.properties) == ("a:b", True, {"note": "1"})


def test_update_undoes_the_end_of_an_upload_that_came_in_between(
    cloud: MemoryGlance, images: ImageService
) -> None:
    image_id = create(images)
    cloud.moments.middle("update", lambda _: images.put_data(image_id, [b"data"]))

    images.update(image_id, set_properties={"note": "1"})

    image = images.get(image_id)
    assert (image.status, image.hash_value) == (ImageStatus.QUEUED, None)


def test_upload_loses_what_an_update_wrote_meanwhile(cloud: MemoryGlance, images: ImageService) -> None:
    image_id = create(images)

    def annotate(_moment: Moment) -> None:
        images.update(image_id, set_properties={"note": "1"})

    cloud.moments.middle("put_data", annotate)

    images.put_data(image_id, [b"data"])

    assert images.get(image_id).properties == {}


def test_upload_fails_when_an_update_put_the_image_back_to_queued(
    cloud: MemoryGlance, images: ImageService
) -> None:
    image_id = create(images)
    row_read, uploading = threading.Event(), threading.Event()

    def wait(_moment: Moment) -> None:
        row_read.set()
        assert uploading.wait(timeout=10)

    cloud.moments.middle("update", wait)
    update = threading.Thread(target=images.update, args=(image_id,), kwargs={"hidden": False})
    update.start()
    assert row_read.wait(timeout=10)

    def data() -> Iterator[bytes]:
        yield b"data"
        uploading.set()
        update.join()

    with pytest.raises(ImageConflict):
        images.put_data(image_id, data())

    image = images.get(image_id)
    assert (image.status, image.hidden, image.hash_value) == (ImageStatus.QUEUED, False, None)


def test_update_does_not_bring_back_an_image_that_was_deleted_in_between(
    cloud: MemoryGlance, images: ImageService
) -> None:
    image_id = create(images, data=b"data")
    cloud.moments.middle("update", lambda _: images.delete(image_id))

    with pytest.raises(ImageNotFound):
        images.update(image_id, set_properties={"note": "1"})

    assert cloud.images() == []


@pytest.mark.parametrize("error", [GlanceUnavailable("down"), Killed()], ids=repr)
def test_fault_before_a_call_has_no_effect_and_after_it_has(
    cloud: MemoryGlance, images: ImageService, error: BaseException
) -> None:
    first, second = str(uuid4()), str(uuid4())
    cloud.moments.before("create", fail(error), image_id=first)
    cloud.moments.after("create", fail(error), image_id=second)

    for image_id in (first, second):
        with pytest.raises(type(error)):
            images.create(image_id, properties={})

    assert [image.id for image in cloud.images()] == [second]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GlanceUnavailable("cut"), ImageStatus.QUEUED),
        (Killed(), ImageStatus.QUEUED),
        (GlanceWorkerKilled("worker"), ImageStatus.SAVING),
    ],
    ids=["connection-cut", "replica-killed", "glance-worker-killed"],
)
def test_upload_leaves_the_status_that_glance_leaves(
    cloud: MemoryGlance, images: ImageService, error: BaseException, status: str
) -> None:
    image_id = create(images)
    cloud.moments.middle("put_data", fail(error))

    with pytest.raises(type(error)):
        images.put_data(image_id, [b"data"])

    assert images.get(image_id).status == status


def test_download_breaks_off_where_it_is_told_to(cloud: MemoryGlance, images: ImageService) -> None:
    cloud.chunk_size = 2
    image_id = create(images, data=b"data")
    cloud.moments.middle("get_data", lambda _: None)
    stream = images.get_data(image_id)
    pieces = iter(stream)
    assert next(pieces) == b"da"
    cloud.moments.middle("get_data", fail(GlanceUnavailable("cut")))

    with pytest.raises(GlanceUnavailable):
        next(pieces)

    stream.close()
    assert cloud.open_streams == 0


def test_open_streams_counts_downloads_until_they_are_closed(
    cloud: MemoryGlance, images: ImageService
) -> None:
    image_id = create(images, data=b"data")

    streams = [images.get_data(image_id) for _ in range(2)]

    assert cloud.open_streams == 2
    for stream in streams:
        stream.close()
        stream.close()
    assert cloud.open_streams == 0


def test_watch_sees_every_moment_with_its_caller(cloud: MemoryGlance) -> None:
    seen: list[tuple[str, str]] = []
    cloud.moments.watch = lambda moment: seen.append((moment.caller, moment.step))

    create(cloud.service(caller="replica 2"))

    assert seen == [("replica 2", Step.BEFORE), ("replica 2", Step.AFTER)]


def test_list_asks_page_by_page(cloud: MemoryGlance, images: ImageService) -> None:
    for _ in range(4):
        create(images)
    pages: list[Moment] = []
    cloud.moments.before("list", pages.append, times=3)

    listing = images.list(hidden=True)

    assert [len(pages) for _ in listing] == [1, 1, 2, 2]
    assert len(pages) == 3


def test_list_compares_as_mariadb_does_when_told_to() -> None:
    images = MemoryGlance(ignore_case=True).service()
    image_id = images.create(str(uuid4()), name="Web:V1 ", properties={"key": "Value"}).id

    by_name = list(images.list(hidden=True, name="web:v1"))
    by_property = list(images.list(hidden=True, properties={"key": "vALUE"}))

    assert [image.id for image in by_name + by_property] == [image_id, image_id]


def test_create_beyond_the_quota_of_images_makes_none() -> None:
    cloud = MemoryGlance(image_quota=1)
    create(cloud.service("p1"))
    create(cloud.service("p2"))

    with pytest.raises(QuotaExceeded):
        create(cloud.service("p1"))

    assert len(cloud.images()) == 2


@pytest.mark.parametrize(("size", "status"), [(6, ImageStatus.QUEUED), (None, ImageStatus.SAVING)])
def test_upload_beyond_the_quota_of_bytes_leaves_the_status_that_glance_leaves(
    size: int | None, status: str
) -> None:
    images = MemoryGlance(byte_quota=10).service()
    create(images, data=b"12345")
    image_id = create(images)

    with pytest.raises(QuotaExceeded):
        images.put_data(image_id, [b"123456"], size=size)

    assert images.get(image_id).status == status


def test_timestamps_come_from_the_clock() -> None:
    now = 1_700_000_000.9
    images = MemoryGlance(clock=lambda: now).service()
    image_id = create(images)
    now += 60

    image = images.update(image_id, hidden=False)

    assert (image.created_at, image.updated_at) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")


def test_insert_puts_in_what_others_made(cloud: MemoryGlance, images: ImageService) -> None:
    snapshot = GlanceImage(id=str(uuid4()), owner="p1", container_format=None, name="snap")
    cloud.insert(snapshot)
    layer = cloud.insert(GlanceImage(id=str(uuid4()), owner="p1", hidden=True), b"data")

    assert [image.id for image in images.list(hidden=True)] == [layer.id]
    assert list(images.list(hidden=False)) == []
    assert images.get(snapshot.id).name == "snap"
    assert b"".join(images.get_data(layer.id)) == b"data"


def test_a_glance_without_projects_has_one_owner_of_everything() -> None:
    images = MemoryGlance().service(None)

    image_id = create(images, data=b"data")

    assert images.get(image_id).owner is None


def test_counting_images_counts_each_call_and_each_page(cloud: MemoryGlance) -> None:
    asked: list[str] = []
    cloud.moments.watch = lambda moment: asked.append(moment.call) if moment.step == Step.BEFORE else None
    images = CountingImages(cloud.service())
    for _ in range(4):
        create(images, data=b"data")

    assert len(list(images.list(hidden=True))) == 4
    assert list(images.list(hidden=True, ids=[])) == []

    assert images.reset() == {"create": 4, "put_data": 4, "list": 3}
    assert len(asked) == 11
    assert images.total == 0
