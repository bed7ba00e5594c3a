"""The Glance client against a server that fails in every way: what is repeated, what is told, what never is."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from keystoneauth1 import adapter, session
from keystoneauth1.plugin import BaseAuthPlugin

from registry_glance import glance as glance_module
from registry_glance.glance import GlanceImages
from registry_glance.store.images import (
    GlanceError,
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
    RequestRejected,
)
from tests.unit.store.fake_glance import HANG_UP, Answer, FakeGlance, serve

ID = "7f3a0000-0000-4000-8000-000000000000"
TOKEN = "gAAAAAB-a-token-that-nobody-may-read"
PROPERTIES = {"docker_record": "blob"}
DOCUMENT: dict[str, Any] = {
    "id": ID,
    "name": None,
    "status": "queued",
    "size": None,
    "owner": "p1",
    "visibility": "shared",
    "os_hidden": True,
    "container_format": "docker",
    "disk_format": "raw",
    "os_hash_algo": None,
    "os_hash_value": None,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "min_disk": 0,
    "tags": ["t"],
    "self": f"/v2/images/{ID}",
    **PROPERTIES,
}
IMAGE = Answer(body=DOCUMENT)
ACTIVE = Answer(body=DOCUMENT | {"status": "active", "size": 22})
CREATED = Answer(status=201, body=DOCUMENT)
NO_CONTENT = Answer(status=204)
DATA = b"what lies in the image"


class TokenAuth(BaseAuthPlugin):
    """Hands out a new token after each 401, as a password does."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._endpoint = endpoint
        self.tokens = 0

    def get_token(self, session: session.Session) -> str:  # noqa: ARG002 - the plugin's interface
        return f"{TOKEN}-{self.tokens}"

    def get_endpoint(self, session: session.Session, **_kwargs: Any) -> str:  # noqa: ARG002
        return self._endpoint

    def invalidate(self) -> bool:
        self.tokens += 1
        return True


@pytest.fixture
def server() -> Iterator[FakeGlance]:
    with serve() as server:
        yield server
        assert server.unused == 0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance_module, "_PAUSES_S", (0.0, 0.0))


@pytest.fixture
def images(server: FakeGlance) -> Iterator[GlanceImages]:
    http = session.Session(auth=TokenAuth(server.url))
    yield GlanceImages(adapter.Adapter(http, service_type="image"), timeout_s=2.0, page_size=2)
    http.session.close()


def methods(server: FakeGlance) -> list[str]:
    return [request.method for request in server.received]


def create(images: GlanceImages) -> Any:
    return images.create(ID, properties=PROPERTIES)


CALLS: dict[str, Any] = {
    "create": create,
    "get": lambda images: images.get(ID),
    "list": lambda images: list(images.list(hidden=True)),
    "update": lambda images: images.update(ID, name="a:b"),
    "delete": lambda images: images.delete(ID),
    "put_data": lambda images: images.put_data(ID, [DATA]),
    "get_data": lambda images: b"".join(images.get_data(ID)),
}
REPEATED = [name for name in CALLS if name != "put_data"]
FINE = {
    "create": CREATED,
    "get": IMAGE,
    "list": Answer(body={"images": []}),
    "update": IMAGE,
    "delete": NO_CONTENT,
    "get_data": Answer(body=DATA),
}


# What is asked


def test_create_asks_for_a_complete_image(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(CREATED)

    image = images.create(ID, name="a:b", hidden=False, visibility="private", properties=PROPERTIES)

    assert json.loads(server.received[0].body) == {
        "id": ID,
        "name": "a:b",
        "visibility": "private",
        "os_hidden": False,
        "container_format": "docker",
        "disk_format": "raw",
        **PROPERTIES,
    }
    assert (image.id, dict(image.properties)) == (ID, PROPERTIES)


def test_list_asks_for_exact_names_and_every_page(server: FakeGlance, images: GlanceImages) -> None:
    pages = [[f"{n}{ID[1:]}" for n in (1, 2)], [f"3{ID[1:]}"]]
    server.answers(
        Answer(body={"images": [DOCUMENT | {"id": i} for i in pages[0]], "next": "/v2/images?marker=x"}),
        Answer(body={"images": [DOCUMENT | {"id": i} for i in pages[1]]}),
    )

    listed = list(images.list(hidden=False, name="a:b", owner="p1", hash_value="ff", properties={"k": "v"}))

    assert [image.id for image in listed] == [*pages[0], *pages[1]]
    first, second = (parse_qs(urlsplit(request.path).query) for request in server.received)
    assert first == {
        "name": ["eq:a:b"],
        "owner": ["p1"],
        "os_hash_value": ["ff"],
        "k": ["v"],
        "os_hidden": ["false"],
        "container_format": ["docker"],
        "limit": ["2"],
    }
    assert second == {**first, "marker": [pages[0][-1]]}


def test_list_of_no_ids_asks_nothing(server: FakeGlance, images: GlanceImages) -> None:
    assert list(images.list(hidden=True, ids=[])) == []
    assert server.received == []


def test_list_of_many_ids_keeps_its_urls_short(server: FakeGlance, images: GlanceImages) -> None:
    ids = [f"{number:08}{ID[8:]}" for number in range(120)]
    server.answers(*[Answer(body={"images": []})] * 3)

    list(images.list(hidden=True, ids=ids))

    asked = [parse_qs(urlsplit(request.path).query)["id"][0] for request in server.received]
    assert ",".join(part.removeprefix("in:") for part in asked) == ",".join(ids)
    assert max(len(request.path) for request in server.received) < 4096


def test_list_goes_on_when_the_image_at_the_end_of_a_page_was_deleted(
    server: FakeGlance, images: GlanceImages
) -> None:
    """Glance answers 400 to a marker that is gone; other replicas delete images at any time."""
    ids = [f"{n}{ID[1:]}" for n in range(3)]
    server.answers(
        Answer(body={"images": [DOCUMENT | {"id": i} for i in ids[:2]], "next": "x"}),
        Answer(status=400, body=b"Invalid marker. Image could not be found."),
        Answer(body={"images": [DOCUMENT | {"id": ids[2]}]}),
    )

    assert [image.id for image in images.list(hidden=True)] == ids


def test_update_is_one_request(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(IMAGE)

    images.update(ID, name=None, hidden=True, set_properties={"a/b~c": "1"}, remove_properties=["gone"])

    (request,) = server.received
    assert request.headers["Content-Type"] == "application/openstack-images-v2.1-json-patch"
    assert json.loads(request.body) == [
        {"op": "replace", "path": "/name", "value": None},
        {"op": "replace", "path": "/os_hidden", "value": True},
        {"op": "add", "path": "/a~1b~0c", "value": "1"},
        {"op": "add", "path": "/gone", "value": ""},
        {"op": "remove", "path": "/gone"},
    ]


@pytest.mark.parametrize("size", [None, 6])
def test_put_data_streams_the_pieces(server: FakeGlance, images: GlanceImages, size: int | None) -> None:
    server.answers(NO_CONTENT)

    images.put_data(ID, iter([b"ab", b"", b"cdef"]), size=size)

    (request,) = server.received
    assert (request.body, request.complete) == (b"abcdef", True)
    assert request.headers.get("Content-Length") == (None if size is None else "6")


@pytest.mark.parametrize("size", [None, 0])
def test_put_data_of_nothing_makes_an_empty_image(
    server: FakeGlance, images: GlanceImages, size: int | None
) -> None:
    server.answers(NO_CONTENT)

    images.put_data(ID, [], size=size)

    assert (server.received[0].body, server.received[0].complete) == (b"", True)


@pytest.mark.parametrize(
    ("start", "stop", "header"), [(0, 5, "bytes=0-4"), (3, None, "bytes=3-"), (3, 4, "bytes=3-3")]
)
def test_get_data_asks_for_a_range(
    server: FakeGlance, images: GlanceImages, start: int, stop: int | None, header: str
) -> None:
    server.answers(Answer(status=206, body=DATA[start:stop]))

    assert b"".join(images.get_data(ID, start=start, stop=stop)) == DATA[start:stop]
    assert server.received[0].headers["Range"] == header


def test_get_data_leaves_the_bytes_as_they_are(server: FakeGlance, images: GlanceImages) -> None:
    """A proxy may claim that gzip is an encoding of the transfer; here it is the content."""
    server.answers(Answer(body=b"\x1f\x8bnot really gzip", headers={"Content-Encoding": "gzip"}))

    assert b"".join(images.get_data(ID)) == b"\x1f\x8bnot really gzip"
    assert server.received[0].headers["Accept-Encoding"] == "identity"


# What failures are called


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRejected),
        (401, NotAuthenticated),
        (403, NotPermitted),
        (404, ImageNotFound),
        (405, RequestRejected),
        (408, GlanceUnavailable),
        (409, ImageConflict),
        (410, ImageNotFound),
        (413, QuotaExceeded),
        (415, RequestRejected),
        (429, GlanceUnavailable),
        (500, GlanceUnavailable),
        (502, GlanceUnavailable),
        (503, GlanceUnavailable),
        (504, GlanceUnavailable),
    ],
)
@pytest.mark.parametrize("call", CALLS)
def test_a_status_is_told_as_what_can_be_done_about_it(
    server: FakeGlance, images: GlanceImages, call: str, status: int, error: type[GlanceError]
) -> None:
    attempts = 3 if error is GlanceUnavailable and call in REPEATED else 1
    if status == 401 and call in REPEATED:
        attempts = 2  # with a new token
    server.answers(*[Answer(status=status, body=b"<html><h1>why</h1> it failed</html>")] * attempts)
    # Where Glance's answer is ambiguous, the client looks at the image.
    server.otherwise = Answer(status=404) if call == "put_data" else ACTIVE

    with pytest.raises(GlanceError) as caught:
        CALLS[call](images)

    if status == 401 and call == "put_data":
        # Its body can't be sent again with a new token, so the client has to come again.
        assert isinstance(caught.value, NotAuthenticated | GlanceUnavailable)
        return
    assert isinstance(caught.value, error)


@pytest.mark.parametrize("call", CALLS)
def test_a_connection_that_breaks_is_told_as_unavailable(
    server: FakeGlance, images: GlanceImages, call: str
) -> None:
    server.answers(*[HANG_UP] * (3 if call in REPEATED else 1))
    server.otherwise = ACTIVE

    with pytest.raises(GlanceUnavailable):
        CALLS[call](images)


@pytest.mark.parametrize("call", CALLS)
def test_nobody_there_is_told_as_unavailable(call: str) -> None:
    with serve() as gone:
        url = gone.url
    http = session.Session(auth=TokenAuth(url))

    with pytest.raises(GlanceUnavailable):
        CALLS[call](GlanceImages(adapter.Adapter(http, service_type="image"), timeout_s=2.0))


def test_silence_is_told_as_unavailable(server: FakeGlance, images: GlanceImages) -> None:
    patient = GlanceImages(images._client, timeout_s=0.05)
    answer = Answer(body=b"", promised=10_000)
    server.answers(*[answer] * 3)

    with pytest.raises(GlanceUnavailable):
        patient.get(ID)


@pytest.mark.parametrize("call", ["create", "get", "list", "update"])
@pytest.mark.parametrize(
    "body", [b"", b"<html>a proxy's login page</html>", b"null", b"[]", b"{}", b"\xff"], ids=repr
)
def test_an_answer_that_is_none_of_glances_is_told_as_unavailable(
    server: FakeGlance, images: GlanceImages, call: str, body: bytes
) -> None:
    server.answers(*[Answer(body=body)] * 3)

    with pytest.raises(GlanceUnavailable):
        CALLS[call](images)


def test_an_error_whose_body_breaks_off_is_told_all_the_same(
    server: FakeGlance, images: GlanceImages
) -> None:
    server.answers(*[Answer(status=500, body=b"why", promised=1000)] * 3)
    server.otherwise = ACTIVE

    with pytest.raises(GlanceUnavailable):
        images.get_data(ID)


# What is repeated


@pytest.mark.parametrize(
    "failure", [Answer(status=500), Answer(status=503), HANG_UP], ids=["500", "503", "cut"]
)
@pytest.mark.parametrize("call", REPEATED)
def test_a_call_that_may_be_repeated_is(
    server: FakeGlance, images: GlanceImages, call: str, failure: Answer
) -> None:
    server.answers(failure, failure, FINE[call])

    CALLS[call](images)

    assert len(server.received) == 3
    assert len({(request.method, request.body) for request in server.received}) == 1


@pytest.mark.parametrize(
    "failure", [Answer(status=500), Answer(status=503), HANG_UP], ids=["500", "503", "cut"]
)
def test_put_data_is_never_repeated(server: FakeGlance, images: GlanceImages, failure: Answer) -> None:
    server.answers(failure)

    with pytest.raises(GlanceUnavailable):
        images.put_data(ID, iter([DATA]))

    assert methods(server) == ["PUT"]


@pytest.mark.parametrize("call", REPEATED)
@pytest.mark.parametrize("status", [403, 404, 409, 413])
def test_what_glance_refuses_is_not_repeated(
    server: FakeGlance, images: GlanceImages, call: str, status: int
) -> None:
    server.answers(Answer(status=status))

    with pytest.raises(GlanceError):
        CALLS[call](images)

    assert len(server.received) == 1


@pytest.mark.parametrize("failure", [HANG_UP, Answer(status=504)], ids=["cut", "504"])
def test_create_that_was_cut_off_after_its_effect_is_settled_by_looking(
    server: FakeGlance, images: GlanceImages, failure: Answer
) -> None:
    server.answers(failure, Answer(status=409), IMAGE)

    assert create(images).id == ID
    assert methods(server) == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    "theirs",
    [
        DOCUMENT | {"name": "other"},
        DOCUMENT | {"docker_record": "fate"},
        DOCUMENT | {"docker_more": "x"},
        {key: value for key, value in DOCUMENT.items() if key not in PROPERTIES},
    ],
    ids=["another name", "another value", "more", "less"],
)
def test_create_that_was_cut_off_without_effect_does_not_take_somebody_elses_image(
    server: FakeGlance, images: GlanceImages, theirs: dict[str, Any]
) -> None:
    server.answers(HANG_UP, Answer(status=409), Answer(body=theirs))

    with pytest.raises(ImageConflict):
        create(images)


def test_create_that_was_cut_off_and_meets_an_image_that_it_may_not_see_is_a_conflict(
    server: FakeGlance, images: GlanceImages
) -> None:
    server.answers(HANG_UP, Answer(status=409), Answer(status=404))

    with pytest.raises(ImageConflict):
        create(images)


def test_create_of_a_taken_id_is_a_conflict_at_once(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(Answer(status=409))

    with pytest.raises(ImageConflict):
        create(images)

    assert methods(server) == ["POST"]


def test_delete_that_was_cut_off_after_its_effect_is_done(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(HANG_UP, Answer(status=404))

    images.delete(ID)


def test_delete_of_nothing_is_told(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(Answer(status=404))

    with pytest.raises(ImageNotFound):
        images.delete(ID)


def test_delete_that_meets_another_one_says_that_the_image_is_gone(
    server: FakeGlance, images: GlanceImages
) -> None:
    """Glance 33 answers 400 to the second of two simultaneous deletions."""
    server.answers(Answer(status=400), Answer(status=404))

    with pytest.raises(ImageNotFound):
        images.delete(ID)


def test_a_listing_repeats_the_page_that_failed_only(server: FakeGlance, images: GlanceImages) -> None:
    ids = [f"{n}{ID[1:]}" for n in range(3)]
    server.answers(
        Answer(body={"images": [DOCUMENT | {"id": i} for i in ids[:2]], "next": "x"}),
        Answer(status=503),
        Answer(body={"images": [DOCUMENT | {"id": ids[2]}]}),
    )

    assert [image.id for image in images.list(hidden=True)] == ids


# Credentials


@pytest.mark.parametrize("call", REPEATED)
def test_an_expired_token_is_renewed_once(server: FakeGlance, images: GlanceImages, call: str) -> None:
    server.answers(Answer(status=401), FINE[call])

    CALLS[call](images)

    assert [request.headers["X-Auth-Token"] for request in server.received] == [f"{TOKEN}-0", f"{TOKEN}-1"]


@pytest.mark.parametrize("size", [None, len(DATA) * 2])
def test_put_data_never_sends_a_body_twice(
    server: FakeGlance, images: GlanceImages, size: int | None
) -> None:
    """A client that repeats after a 401 would send the rest of a stream as if it were all of it."""
    server.answers(Answer(status=401))

    with pytest.raises((NotAuthenticated, GlanceUnavailable)):
        images.put_data(ID, iter([DATA, DATA]), size=size)

    assert [request.body for request in server.received if request.complete] == [DATA * 2]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "failure",
    [
        Answer(status=401),
        Answer(status=403),
        Answer(status=500, body=b"why"),
        HANG_UP,
        Answer(body=b"nonsense"),
    ],
    ids=["401", "403", "500", "cut", "nonsense"],
)
def test_a_token_is_in_no_message(
    server: FakeGlance, images: GlanceImages, call: str, failure: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.answers(*[failure] * 3)
    server.otherwise = ACTIVE

    try:
        CALLS[call](images)
    except Exception:  # noqa: BLE001 - whatever it is, it may be logged with all of its causes
        told = traceback.format_exc()
    else:
        told = ""

    server.forget()
    assert TOKEN not in told + caplog.text


# Bodies


class ClientGoneError(Exception):
    """The client's connection broke in the middle of a body."""


@pytest.mark.parametrize("size", [None, 1000])
@pytest.mark.parametrize(
    "error",
    [
        ClientGoneError("gone"),
        OSError("gone"),
        ValueError("gone"),
        ImageNotFound("a part that is being composed went away"),
        ImageConflict("gone"),
        GlanceUnavailable("gone"),
    ],
    ids=repr,
)
def test_what_the_body_raises_comes_out_unchanged(
    server: FakeGlance, images: GlanceImages, error: Exception, size: int | None
) -> None:
    def body() -> Iterator[bytes]:
        yield DATA
        raise error

    server.otherwise = ACTIVE

    with pytest.raises(type(error)) as caught:
        images.put_data(ID, body(), size=size)

    assert caught.value is error
    assert [request for request in server.received if request.complete] == []


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
def test_put_data_of_a_body_that_is_not_as_long_as_it_said_is_refused(
    server: FakeGlance, images: GlanceImages, size: int
) -> None:
    with pytest.raises(RequestRejected):
        images.put_data(ID, [DATA], size=size)

    assert not any(request.complete for request in server.received)


def test_put_data_that_lost_a_race_is_a_conflict(server: FakeGlance, images: GlanceImages) -> None:
    """Glance answers 410 also where the image is there, and somebody else's."""
    server.answers(Answer(status=410), ACTIVE)

    with pytest.raises(ImageConflict):
        images.put_data(ID, [DATA])


def test_get_data_of_an_image_without_data_is_not_found(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(NO_CONTENT)

    with pytest.raises(ImageNotFound):
        images.get_data(ID)


def test_get_data_of_a_range_of_an_image_without_data_is_not_found(
    server: FakeGlance, images: GlanceImages
) -> None:
    """Glance answers 500 to it."""
    server.answers(*[Answer(status=500)] * 3, IMAGE)

    with pytest.raises(ImageNotFound):
        images.get_data(ID, start=3, stop=5)


def test_get_data_whose_range_is_ignored_is_not_taken_for_the_range(
    server: FakeGlance, images: GlanceImages
) -> None:
    server.answers(*[Answer(status=200, body=DATA)] * 3)
    server.otherwise = ACTIVE

    with pytest.raises(GlanceUnavailable):
        images.get_data(ID, start=3, stop=5)


def test_get_data_that_breaks_off_is_told_while_reading(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(Answer(body=DATA, promised=len(DATA) + 1))
    got: list[bytes] = []

    with pytest.raises(GlanceUnavailable):
        got.extend(images.get_data(ID))

    assert DATA.startswith(b"".join(got))


def test_get_data_can_be_closed_at_any_time_and_twice(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(Answer(body=DATA * 1000), IMAGE)

    stream = images.get_data(ID)
    stream.close()
    stream.close()

    assert images.get(ID).id == ID


# What is read


def test_an_image_is_read_as_glance_tells_it(server: FakeGlance, images: GlanceImages) -> None:
    server.answers(
        Answer(
            body=DOCUMENT
            | {
                "name": "a:b",
                "status": "active",
                "size": 3,
                "os_hidden": False,
                "os_hash_algo": "sha256",
                "os_hash_value": "ff",
                "stores": "fast",
                "min_ram": 0,
                "docker_digest": "x",
                "number": 7,
            }
        )
    )

    image = images.get(ID)

    assert (image.name, image.status, image.active, image.size, image.hidden) == (
        "a:b",
        "active",
        True,
        3,
        False,
    )
    assert (image.hash_algorithm, image.hash_value, image.owner) == ("sha256", "ff", "p1")
    assert dict(image.properties) == {**PROPERTIES, "docker_digest": "x"}


@pytest.mark.parametrize(
    ("suffix", "path"),
    [
        ("", "/v2/images/"),
        ("/", "/v2/images/"),
        ("/v2", "/v2/images/"),
        ("/v2/", "/v2/images/"),
        ("/image", "/image/v2/images/"),
    ],
)
def test_the_endpoint_may_name_the_service_or_its_version(server: FakeGlance, suffix: str, path: str) -> None:
    http = session.Session(auth=TokenAuth(server.url + suffix))
    server.answers(IMAGE)

    GlanceImages(adapter.Adapter(http, service_type="image"), timeout_s=2.0).get(ID)

    assert server.received[0].path == path + ID
    http.session.close()


def test_early_refusal_of_a_large_body_is_told_as_what_it_is(
    server: FakeGlance, images: GlanceImages
) -> None:
    """Glance answers a quota that is full before it has read the body."""
    server.answers(Answer(status=413, read_body=False))

    with pytest.raises((QuotaExceeded, GlanceUnavailable)):
        images.put_data(ID, (b"\0" * 65536 for _ in range(64)))
