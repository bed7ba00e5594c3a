"""The contract of ``registry_glance.store.images.ImageService``: the data of images."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from registry_glance.store.images import (
    GlanceError,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
    NotPermitted,
    RequestRejected,
)
from tests.contract.races import race
from tests.contract.settling import put_data_once_settled, settled_status, wait_until_saving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from registry_glance.store.images import ImageService
    from tests.contract.clouds import Cloud

    NewId = Callable[[], str]

RACERS = 8
BYTES = bytes(range(256)) * 4


class ClientGoneError(Exception):
    """What a client's connection raises when it is cut."""


class Vanished(BaseException):
    """What no ``except Exception`` catches."""


def read(images: ImageService, image_id: str, *, start: int = 0, stop: int | None = None) -> bytes:
    stream = images.get_data(image_id, start=start, stop=stop)
    try:
        return b"".join(stream)
    finally:
        stream.close()


@pytest.fixture
def queued(images: ImageService, new_id: NewId) -> str:
    return images.create(new_id(), name="a:b", properties={"keep": "1"}).id


@pytest.fixture
def active(images: ImageService, queued: str) -> str:
    images.put_data(queued, [BYTES])
    return queued


# put_data


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([BYTES], id="one-piece"),
        pytest.param([BYTES[i : i + 1] for i in range(300)], id="bytes-one-by-one"),
        pytest.param([b"", b"abc", b"", b"", b"def", b""], id="empty-pieces-in-between"),
        pytest.param([bytes(3_000_000), b"x", bytes(2_000_001)], id="megabytes"),
        pytest.param([b"\x1f\x8b\x08\x00" + bytes(100)], id="gzip"),
        pytest.param([b"QFI\xfb" + bytes(100)], id="qcow2"),
        pytest.param([], id="no-pieces"),
        pytest.param([b"", b""], id="only-empty-pieces"),
    ],
)
@pytest.mark.parametrize("sized", [True, False], ids=["size-known", "size-unknown"])
def test_put_data_makes_a_queued_image_active(
    cloud: Cloud, images: ImageService, queued: str, pieces: list[bytes], *, sized: bool
) -> None:
    data = b"".join(pieces)

    images.put_data(queued, iter(pieces), size=len(data) if sized else None)

    image = images.get(queued)
    assert (image.active, image.size) == (True, len(data))
    assert image.hash_algorithm == cloud.hash_algorithm
    assert image.hash_value == hashlib.new(cloud.hash_algorithm, data).hexdigest()
    assert (image.name, image.properties) == ("a:b", {"keep": "1"})
    if data:
        assert read(images, queued) == data


def test_put_data_shows_nothing_of_an_upload_under_way(images: ImageService, queued: str) -> None:
    seen = []

    def data() -> Iterator[bytes]:
        yield BYTES
        wait_until_saving(images, queued)
        image = images.get(queued)
        seen.append((image.status, image.hash_value))
        with pytest.raises(ImageNotFound):
            images.get_data(queued)
        yield BYTES

    images.put_data(queued, data())

    assert seen == [(ImageStatus.SAVING, None)]


def test_put_data_refuses_an_image_that_has_data(images: ImageService, active: str) -> None:
    with pytest.raises(ImageConflict):
        images.put_data(active, [b"other"])

    assert read(images, active) == BYTES


def test_put_data_refuses_an_image_that_somebody_else_is_uploading(
    cloud: Cloud, images: ImageService, queued: str
) -> None:
    other = cloud.service()

    def data() -> Iterator[bytes]:
        yield b"mine"
        wait_until_saving(images, queued)
        with pytest.raises(ImageConflict):
            other.put_data(queued, [b"other"])

    images.put_data(queued, data())

    assert read(images, queued) == b"mine"


def test_put_data_does_not_find_what_never_was(images: ImageService) -> None:
    with pytest.raises(ImageNotFound):
        images.put_data(str(uuid4()), [BYTES])


def test_put_data_does_not_find_what_only_others_may_see(cloud: Cloud, queued: str) -> None:
    with pytest.raises(ImageNotFound):
        cloud.service("p2").put_data(queued, [BYTES])


def test_put_data_into_a_readable_image_of_another_project_is_not_permitted(
    cloud: Cloud, images: ImageService, new_id: NewId
) -> None:
    image_id = images.create(new_id(), visibility="community", properties={}).id

    with pytest.raises(NotPermitted):
        cloud.service("p2").put_data(image_id, [BYTES])

    assert images.get(image_id).status == ImageStatus.QUEUED


@pytest.mark.parametrize("size", [50_000, None], ids=["size-known", "size-unknown"])
def test_put_data_is_won_by_exactly_one_of_eight(
    cloud: Cloud, images: ImageService, queued: str, size: int | None
) -> None:
    contents = [bytes([number]) * 50_000 for number in range(RACERS)]
    services = [images, cloud.service()]

    def upload(number: int) -> int:
        pieces = (contents[number][i : i + 10_000] for i in range(0, 50_000, 10_000))
        services[number % 2].put_data(queued, pieces, size=size)
        return number

    outcomes = race(*(lambda number=number: upload(number) for number in range(RACERS)))

    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(winners) == 1, outcomes
    assert [type(outcome) for outcome in outcomes].count(ImageConflict) == RACERS - 1, outcomes
    assert read(images, queued) == contents[winners[0]]
    assert images.get(queued).size == 50_000


@pytest.mark.parametrize("pieces_before", [0, 1, 3])
@pytest.mark.parametrize("size", [10 * len(BYTES), None], ids=["size-known", "size-unknown"])
@pytest.mark.parametrize(
    "error", [ClientGoneError("cut"), OSError("cut"), ValueError("cut"), Vanished("cut")], ids=repr
)
def test_put_data_that_its_source_breaks_off_can_be_tried_again(
    images: ImageService,
    queued: str,
    error: BaseException,
    size: int | None,
    pieces_before: int,
) -> None:
    def data() -> Iterator[bytes]:
        for _ in range(pieces_before):
            yield BYTES
        raise error

    with pytest.raises(type(error)) as raised:
        images.put_data(queued, data(), size=size)

    assert raised.value is error
    put_data_once_settled(images, queued, b"second try")
    assert read(images, queued) == b"second try"


@pytest.mark.parametrize("size", [3 * len(BYTES), None], ids=["size-known", "size-unknown"])
def test_put_data_does_not_find_an_image_that_is_deleted_meanwhile(
    cloud: Cloud, images: ImageService, queued: str, size: int | None
) -> None:
    other = cloud.service()

    def data() -> Iterator[bytes]:
        yield BYTES
        other.delete(queued)
        yield BYTES
        yield BYTES

    with pytest.raises(ImageNotFound):
        images.put_data(queued, data(), size=size)

    with pytest.raises(ImageNotFound):
        images.get(queued)


@pytest.mark.parametrize("size", [5, 7], ids=["more-comes", "less-comes"])
def test_put_data_refuses_data_of_another_size_than_was_said(
    images: ImageService, queued: str, size: int
) -> None:
    with pytest.raises(GlanceError):
        images.put_data(queued, [b"abc", b"def"], size=size)

    put_data_once_settled(images, queued, b"abcdef")
    assert read(images, queued) == b"abcdef"


def test_put_data_reads_its_source_only_as_fast_as_it_sends(images: ImageService, queued: str) -> None:
    """An endless source is broken off from outside, so it was neither collected nor exhausted."""
    stop = threading.Event()

    def data() -> Iterator[bytes]:
        for number in range(100_000):
            if number == 50:
                stop.set()
            if stop.is_set():
                raise ClientGoneError
            yield bytes(65536)

    with pytest.raises(ClientGoneError):
        images.put_data(queued, data())

    assert settled_status(images, queued) == ImageStatus.QUEUED


# get_data


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None),
        (0, 1),
        (1, None),
        (10, 20),
        (0, len(BYTES)),
        (0, len(BYTES) + 1),
        (len(BYTES) - 1, None),
        (len(BYTES) - 1, 10 * len(BYTES)),
    ],
)
def test_get_data_yields_exactly_the_bytes_asked_for(
    images: ImageService, active: str, start: int, stop: int | None
) -> None:
    assert read(images, active, start=start, stop=stop) == BYTES[start:stop]


@pytest.mark.parametrize("start", [len(BYTES), len(BYTES) + 1])
def test_get_data_refuses_to_start_beyond_the_end(images: ImageService, active: str, start: int) -> None:
    with pytest.raises(RequestRejected):
        images.get_data(active, start=start)


def test_get_data_yields_no_empty_piece(images: ImageService, queued: str) -> None:
    images.put_data(queued, [bytes(3_000_000)])

    stream = images.get_data(queued)
    sizes = [len(piece) for piece in stream]
    stream.close()

    assert (min(sizes) > 0, sum(sizes)) == (True, 3_000_000)


def test_get_data_does_not_find_what_never_was(images: ImageService) -> None:
    with pytest.raises(ImageNotFound):
        images.get_data(str(uuid4()))


@pytest.mark.parametrize("start", [0, 1])
def test_get_data_of_a_queued_image_is_not_found(images: ImageService, queued: str, start: int) -> None:
    with pytest.raises(ImageNotFound):
        images.get_data(queued, start=start)


def test_get_data_does_not_find_what_only_others_may_see(cloud: Cloud, active: str) -> None:
    with pytest.raises(ImageNotFound):
        cloud.service("p2").get_data(active)


def test_get_data_of_a_community_image_is_for_everybody(
    cloud: Cloud, images: ImageService, active: str
) -> None:
    images.update(active, visibility="community")

    assert read(cloud.service("p2"), active) == BYTES


def test_get_data_can_be_closed_before_during_and_after_reading(images: ImageService, queued: str) -> None:
    images.put_data(queued, [bytes(3_000_000)])

    for pieces in (0, 1, 1000):
        stream = images.get_data(queued)
        for _, _piece in zip(range(pieces), stream, strict=False):
            pass
        stream.close()
        stream.close()

    assert len(read(images, queued)) == 3_000_000


def test_get_data_can_be_opened_more_often_than_any_pool_has_connections(
    images: ImageService, active: str
) -> None:
    streams = [images.get_data(active) for _ in range(15)]

    contents = {b"".join(stream) for stream in streams}

    for stream in streams:
        stream.close()
    assert contents == {BYTES}


def test_data_can_be_copied_from_one_image_into_another(
    images: ImageService, active: str, new_id: NewId
) -> None:
    copy = images.create(new_id(), properties={}).id

    def parts() -> Iterable[bytes]:
        for start in (0, 500):
            stream = images.get_data(active, start=start, stop=start + 500)
            yield from stream
            stream.close()

    images.put_data(copy, parts())

    assert read(images, copy) == BYTES[:1000]
