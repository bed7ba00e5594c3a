"""What the real adapter promises beyond the contract: calls that were cut off are settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from keystoneauth1 import adapter, noauth, session
from keystoneauth1 import exceptions as ksa_exceptions

from registry_glance.glance import GlanceImages
from registry_glance.store.images import (
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devcloud.glance import Glance


class UnreliableClient(adapter.Adapter):
    """Loses requests on their way to Glance, or answers on their way back.

    Attributes:
        losses: What befalls the next requests, first one first: ``request``, ``answer`` or ``nothing``.
        methods: The methods of all requests so far.
    """

    losses: list[str]
    methods: list[str]

    def request(self, url: str, method: str, **arguments: Any) -> Any:
        self.methods.append(method)
        loss = self.losses.pop(0) if self.losses else "nothing"
        if loss == "request":
            raise ksa_exceptions.ConnectFailure("lost on the way there")
        answer = super().request(url, method, **arguments)
        if loss == "answer":
            answer.close()
            raise ksa_exceptions.ConnectFailure("lost on the way back")
        return answer


@pytest.fixture
def client(glance: Glance, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnreliableClient]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    client = UnreliableClient(
        session=session.Session(auth=noauth.NoAuth(endpoint=glance.url)),
        endpoint_override=glance.url,
        additional_headers={"X-Project-Id": "p1", "X-User-Id": "u", "X-Roles": "member,reader"},
    )
    client.losses, client.methods = [], []
    yield client
    client.losses = []
    images = GlanceImages(client, timeout_s=10)
    for hidden in (True, False):
        for image in list(images.list(hidden=hidden)):
            images.delete(image.id)
    client.session.session.close()


@pytest.fixture
def images(client: UnreliableClient) -> GlanceImages:
    return GlanceImages(client, timeout_s=10, page_size=2)


@pytest.mark.parametrize("losses", [["request"], ["answer"], ["request", "answer"]], ids="-".join)
def test_create_that_was_cut_off_is_settled(
    client: UnreliableClient, images: GlanceImages, losses: list[str]
) -> None:
    client.losses = list(losses)
    image_id = str(uuid4())

    created = images.create(image_id, name="a:b", properties={"key": "value"})

    assert created == images.get(image_id)
    assert (created.name, created.properties) == ("a:b", {"key": "value"})


@pytest.mark.parametrize("losses", [["request"], ["answer"]], ids="-".join)
def test_create_that_was_cut_off_is_not_taken_for_somebody_elses(
    client: UnreliableClient, images: GlanceImages, losses: list[str]
) -> None:
    image_id = str(uuid4())
    images.create(image_id, properties={"writer": "other"})
    client.losses = list(losses)

    with pytest.raises(ImageConflict):
        images.create(image_id, properties={"writer": "this"})


@pytest.mark.parametrize("loss", ["request", "answer"])
def test_update_and_delete_that_were_cut_off_are_repeated(
    client: UnreliableClient, images: GlanceImages, loss: str
) -> None:
    image_id = images.create(str(uuid4()), properties={"drop": "1"}).id
    images.put_data(image_id, [b"data"])

    client.losses = [loss]
    updated = images.update(image_id, hidden=False, remove_properties=["drop"])
    client.losses = [loss]
    images.delete(image_id)

    assert (updated.hidden, updated.properties) == (False, {})
    with pytest.raises(ImageNotFound):
        images.get(image_id)


def test_reading_calls_are_repeated(client: UnreliableClient, images: GlanceImages) -> None:
    ids = [images.create(str(uuid4()), properties={}).id for _ in range(3)]
    images.put_data(ids[0], [b"data"])

    client.losses = ["answer", "nothing", "request"]
    assert len(list(images.list(hidden=True))) == 3
    client.losses = ["answer"]
    assert images.get(ids[0]).active
    client.losses = ["request"]
    stream = images.get_data(ids[0])
    assert b"".join(stream) == b"data"
    stream.close()


@pytest.mark.parametrize(
    ("loss", "status"), [("request", ImageStatus.QUEUED), ("answer", ImageStatus.ACTIVE)]
)
def test_put_data_is_sent_once_and_its_caller_has_to_look(
    client: UnreliableClient, images: GlanceImages, loss: str, status: str
) -> None:
    image_id = images.create(str(uuid4()), properties={}).id
    client.methods.clear()
    client.losses = [loss]

    with pytest.raises(GlanceUnavailable):
        images.put_data(image_id, iter([b"data"]))

    assert client.methods.count("PUT") == 1
    assert images.get(image_id).status == status


def test_calls_give_up_when_glance_stays_away(client: UnreliableClient, images: GlanceImages) -> None:
    client.losses = ["request"] * 50

    with pytest.raises(GlanceUnavailable):
        images.get(str(uuid4()))

    assert 1 < len(client.methods) < 10
