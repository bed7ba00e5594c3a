"""Glance fails at every single request of every operation: what was acknowledged stays, and repeating succeeds."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from devcloud.glance import Glance
from tests.live.conftest import StartRegistry
from tests.live.faulty_glance import CHANGES, Call, Fault, FaultyGlance, Kind
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import MANIFEST, Image, Pusher, manifest
from tests.live.wire import Answer, Connection, attempt, request, sha256

MOST_CALLS = 40
"""No operation here asks Glance more often; a scenario that goes on is one that never ends."""
MIB = 1024 * 1024


@dataclass(frozen=True)
class Attempt:
    """One operation, ready to be performed while Glance fails.

    Attributes:
        act: Performs it; ``None`` when the answer broke off.
        done: The status that says it is done.
        prove: Checks that it is done, with Glance in order.
        repeat: What a client does that was not told it is done; ``None``: the same again.
        gone: Whether 404 says, when it is repeated, that it was done before.
        streams: Whether it takes a body that can't be read twice, so that a fault in the data can't be hidden.
    """

    act: Callable[[], Answer | None]
    done: int
    prove: Callable[[], object]
    repeat: Callable[[], Answer | None] | None = None
    gone: bool = False
    streams: bool = False


Prepare = Callable[[Pusher], Attempt]


# ---------------------------------------------------------------------------------------------------------------------
# The operations


def _blob_is(push: Pusher, content: bytes) -> Callable[[], None]:
    def prove() -> None:
        answer = push.request("GET", f"/blobs/{sha256(content)}")
        assert (answer.status, answer.body) == (200, content)

    return prove


def _manifest_is(push: Pusher, reference: str, body: bytes) -> Callable[[], None]:
    def prove() -> None:
        for name in (reference, sha256(body)):
            answer = push.request("GET", f"/manifests/{name}")
            assert (answer.status, answer.body) == (200, body), name

    return prove


def _is_gone(push: Pusher, path: str) -> Callable[[], None]:
    def prove() -> None:
        assert push.request("GET", path).status == 404, path

    return prove


def _answers(push: Pusher, path: str, status: int = 200) -> Callable[[], Answer | None]:
    return lambda: push.attempt("GET", path) if status else None


def begin(push: Pusher) -> Attempt:
    answers: list[Answer | None] = []

    def act() -> Answer | None:
        answers.append(push.attempt("POST", "/blobs/uploads/", body=b""))
        return answers[-1]

    def prove() -> None:
        answer = answers[-1]
        assert answer is not None
        assert request(push.address, "GET", answer.headers["Location"]).status == 204

    return Attempt(act, 202, prove)


def _resumed(push: Pusher, location: str, content: bytes) -> Callable[[], Answer | None]:
    """Return what a client does that resumes: ask where the session stands, send the rest, finish; or start anew."""

    def resume() -> Answer | None:
        status = request(push.address, "GET", location)
        if status.status == 404:
            return push.attempt("POST", f"/blobs/uploads/?digest={sha256(content)}", body=content)
        assert status.status == 204, status
        last = int(status.headers["Range"].partition("-")[2])
        # "0-0" is said of nothing and of one byte; no chunk here has one byte.
        offset = last + 1 if last else 0
        after = status.headers["Location"]
        if offset < len(content):
            after = push.append(after, content[offset:], start=offset)
        return attempt(push.address, "PUT", f"{after}&digest={sha256(content)}", body=b"")

    return resume


def _upload(
    push: Pusher, location: str, content: bytes, act: Callable[[], Answer | None], done: int
) -> Attempt:
    """Return an attempt at one step of an upload; it is done when the whole of it is."""
    resume = _resumed(push, location, content)

    def prove() -> None:
        if done == 202:
            answer = resume()
            assert answer is not None
            assert answer.status == 201, answer
        _blob_is(push, content)()

    return Attempt(act, done, prove, repeat=resume if done == 202 else None, streams=True)


def append(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    location = push.begin()
    return _upload(
        push, location, content, lambda: attempt(push.address, "PATCH", location, body=content), 202
    )


def append_first_part(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    location = push.begin()
    headers = {"Content-Range": "0-999"}
    return _upload(
        push,
        location,
        content,
        lambda: attempt(push.address, "PATCH", location, headers, content[:1000]),
        202,
    )


def append_second_part(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    location = push.append(push.begin(), content[:1000], start=0)
    headers = {"Content-Range": "1000-1999"}
    return _upload(
        push,
        location,
        content,
        lambda: attempt(push.address, "PATCH", location, headers, content[1000:]),
        202,
    )


def append_after_unplaced_first(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    location = push.append(push.begin(), content[:1000])
    return _upload(
        push, location, content, lambda: attempt(push.address, "PATCH", location, body=content[1000:]), 202
    )


def _finishing(push: Pusher, location: str, content: bytes, last: bytes) -> Attempt:
    target = f"{location}&digest={sha256(content)}"
    resume = _resumed(push, location, content)

    def repeat() -> Answer | None:
        answer = attempt(push.address, "PUT", target, body=b"") if not last else None
        return answer if answer is not None and answer.status == 201 else resume()

    return Attempt(
        lambda: attempt(push.address, "PUT", target, body=last),
        201,
        _blob_is(push, content),
        repeat=repeat,
        streams=True,
    )


def finish_one_chunk(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    return _finishing(push, push.append(push.begin(), content), content, b"")


def finish_with_all(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    return _finishing(push, push.begin(), content, content)


def finish_composing(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    location = push.begin()
    for start in range(0, 2000, 1000):
        location = push.append(location, content[start : start + 1000], start=start)
    return _finishing(push, location, content, b"")


def finish_composing_with_last(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    return _finishing(push, push.append(push.begin(), content[:1000]), content, content[1000:])


def monolithic(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    return Attempt(
        lambda: push.attempt("POST", f"/blobs/uploads/?digest={sha256(content)}", body=content),
        201,
        _blob_is(push, content),
        streams=True,
    )


def empty_blob(push: Pusher) -> Attempt:
    location = push.begin()
    return Attempt(
        lambda: attempt(push.address, "PUT", f"{location}&digest={sha256(b'')}", body=b""),
        201,
        _blob_is(push, b""),
        repeat=lambda: push.attempt("POST", f"/blobs/uploads/?digest={sha256(b'')}", body=b""),
        streams=True,
    )


def mount(push: Pusher) -> Attempt:
    content = os.urandom(500)
    digest = push.blob(content)
    return Attempt(
        lambda: push.attempt("POST", f"/blobs/uploads/?mount={digest}&from=some/where", body=b""),
        201,
        _blob_is(push, content),
    )


def upload_status(push: Pusher) -> Attempt:
    location = push.append(push.begin(), b"content", start=0)
    return Attempt(lambda: attempt(push.address, "GET", location), 204, lambda: None)


def cancel(push: Pusher) -> Attempt:
    location = push.append(push.begin(), b"content", start=0)

    def prove() -> None:
        assert request(push.address, "GET", location).status == 404

    return Attempt(lambda: attempt(push.address, "DELETE", location), 204, prove, gone=True)


def head_blob(push: Pusher) -> Attempt:
    digest = push.blob(os.urandom(500))
    return Attempt(lambda: push.attempt("HEAD", f"/blobs/{digest}"), 200, lambda: None)


def get_blob(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    digest = push.blob(content)
    return Attempt(lambda: push.attempt("GET", f"/blobs/{digest}"), 200, _blob_is(push, content))


def get_blob_range(push: Pusher) -> Attempt:
    content = os.urandom(2000)
    digest = push.blob(content)
    return Attempt(
        lambda: push.attempt("GET", f"/blobs/{digest}", {"Range": "bytes=100-199"}),
        206,
        _blob_is(push, content),
    )


def get_blob_that_is_not_here(push: Pusher) -> Attempt:
    return Attempt(_answers(push, f"/blobs/{sha256(os.urandom(9))}"), 404, lambda: None)


def _put(push: Pusher, reference: str, body: bytes) -> Attempt:
    def act() -> Answer | None:
        return push.attempt("PUT", f"/manifests/{reference}", {"Content-Type": MANIFEST}, body)

    return Attempt(act, 201, _manifest_is(push, reference, body))


def _contents(push: Pusher) -> tuple[list[bytes], bytes]:
    layers, config = [b"layer of all", b"another layer"], b'{"architecture": "amd64", "os": "linux"}'
    for content in (*layers, config):
        if push.request("HEAD", f"/blobs/{sha256(content)}").status == 404:
            push.blob(content)
    return layers, config


def put_new_tag(push: Pusher) -> Attempt:
    return _put(push, f"t{uuid.uuid4().hex[:8]}", manifest(*_contents(push)))


def put_same_again(push: Pusher) -> Attempt:
    tag, body = f"t{uuid.uuid4().hex[:8]}", manifest(*_contents(push))
    push.manifest(tag, body)
    return _put(push, tag, body)


def put_moved_tag(push: Pusher) -> Attempt:
    tag, contents = f"t{uuid.uuid4().hex[:8]}", _contents(push)
    push.manifest(tag, manifest(*contents))
    return _put(push, tag, manifest(*contents))


def put_by_digest(push: Pusher) -> Attempt:
    body = manifest(*_contents(push))
    return _put(push, sha256(body), body)


def put_with_subject(push: Pusher) -> Attempt:
    subject = sha256(os.urandom(9))
    body = manifest(*_contents(push), subject=subject)
    plain = _put(push, sha256(body), body)

    def prove() -> None:
        plain.prove()
        listed = push.request("GET", f"/referrers/{subject}").document["manifests"]
        assert [referrer["digest"] for referrer in listed] == [sha256(body)]

    return Attempt(plain.act, plain.done, prove)


def _image(push: Pusher) -> tuple[str, Image]:
    tag, (layers, config) = f"t{uuid.uuid4().hex[:8]}", _contents(push)
    body = manifest(layers, config)
    push.manifest(tag, body)
    return tag, Image(body, config, tuple(layers))


def get_tag(push: Pusher) -> Attempt:
    tag, image = _image(push)
    return Attempt(_answers(push, f"/manifests/{tag}"), 200, _manifest_is(push, tag, image.body))


def get_manifest(push: Pusher) -> Attempt:
    tag, image = _image(push)
    return Attempt(_answers(push, f"/manifests/{image.digest}"), 200, _manifest_is(push, tag, image.body))


def delete_tag(push: Pusher) -> Attempt:
    tag, image = _image(push)

    def prove() -> None:
        _is_gone(push, f"/manifests/{tag}")()
        assert push.request("GET", f"/manifests/{image.digest}").body == image.body

    return Attempt(lambda: push.attempt("DELETE", f"/manifests/{tag}"), 202, prove, gone=True)


def delete_manifest(push: Pusher) -> Attempt:
    tag, image = _image(push)

    def prove() -> None:
        _is_gone(push, f"/manifests/{image.digest}")()
        _is_gone(push, f"/manifests/{tag}")()

    return Attempt(lambda: push.attempt("DELETE", f"/manifests/{image.digest}"), 202, prove, gone=True)


def delete_blob(push: Pusher) -> Attempt:
    digest = push.blob(os.urandom(500))
    return Attempt(
        lambda: push.attempt("DELETE", f"/blobs/{digest}"), 202, _is_gone(push, f"/blobs/{digest}"), gone=True
    )


def list_tags(push: Pusher) -> Attempt:
    push.image("listed", layers=[b"layer of all"])

    def prove() -> None:
        assert "listed" in push.tags()

    return Attempt(_answers(push, "/tags/list"), 200, prove)


def list_repositories(push: Pusher) -> Attempt:
    push.image("listed", layers=[b"layer of all"])

    def prove() -> None:
        assert push.repository in request(push.address, "GET", "/v2/_catalog").document["repositories"]

    return Attempt(lambda: attempt(push.address, "GET", "/v2/_catalog"), 200, prove)


def list_referrers(push: Pusher) -> Attempt:
    subject = sha256(os.urandom(9))
    image = push.image(layers=[b"layer of all"], subject=subject)

    def prove() -> None:
        listed = push.request("GET", f"/referrers/{subject}").document["manifests"]
        assert [referrer["digest"] for referrer in listed] == [image.digest]

    return Attempt(_answers(push, f"/referrers/{subject}"), 200, prove)


CHANGING: tuple[Prepare, ...] = (
    begin,
    append,
    append_second_part,
    finish_one_chunk,
    finish_with_all,
    finish_composing,
    finish_composing_with_last,
    monolithic,
    empty_blob,
    cancel,
    put_new_tag,
    put_moved_tag,
    put_by_digest,
    put_with_subject,
    delete_tag,
    delete_manifest,
    delete_blob,
)

OPERATIONS: tuple[Prepare, ...] = (
    *CHANGING,
    append_first_part,
    append_after_unplaced_first,
    put_same_again,
    mount,
    upload_status,
    head_blob,
    get_blob,
    get_blob_range,
    get_blob_that_is_not_here,
    get_tag,
    get_manifest,
    list_tags,
    list_repositories,
    list_referrers,
)


# ---------------------------------------------------------------------------------------------------------------------
# The faults


class Failing:
    """A plan by which one request fails, and perhaps all after it.

    Attributes:
        hit: The request that failed; ``None`` while it has not come.
    """

    def __init__(self, position: int) -> None:
        self._left = position
        self.hit: Call | None = None

    def __call__(self, call: Call) -> Fault | None:
        """Decide what happens to a request."""
        if self.hit is not None:
            return self.after()
        self._left -= self.counts(call)
        if self._left:
            return None
        self.hit = call
        return self.fault()

    def counts(self, call: Call) -> bool:
        """Whether a request is one of those among which the position is counted."""
        return call is not None

    def fault(self) -> Fault:
        """What happens to the request at the position."""
        return Fault.ERROR_500

    def after(self) -> Fault | None:
        """What happens to the requests after it."""
        return None


class NotDone(Failing):
    """Glance answers 500 once."""


class AnswerLost(Failing):
    """Glance makes one change, and nobody hears of it."""

    def counts(self, call: Call) -> bool:
        return call.kind in CHANGES

    def fault(self) -> Fault:
        return Fault.CUT_AFTER


class GoneAway(Failing):
    """The answer of one request is lost, and then Glance is down."""

    def fault(self) -> Fault:
        return Fault.CUT_AFTER

    def after(self) -> Fault | None:
        return Fault.CUT_BEFORE


@pytest.fixture(scope="module")
def faulty(glance: Glance) -> Iterator[FaultyGlance]:
    with FaultyGlance(glance.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def address(faulty: FaultyGlance, start_registry: StartRegistry) -> str:
    # Every read of a tag looks into Glance, so that nothing is proved from memory.
    return start_registry(faulty.url, freshness=0).authority


@pytest.fixture
def push(address: str, repository: str, faulty: FaultyGlance, records: GlanceRecords) -> Iterator[Pusher]:
    """A client of a registry whose Glance begins empty but for one image, which must outlive all faults."""
    faulty.reset()
    records.delete_all()
    kept = Pusher(address, "glance-faults/kept")
    image = kept.image("v1", layers=[b"kept"], config=b'{"os": "linux"}')
    yield Pusher(address, repository)
    faulty.reset()
    _manifest_is(kept, "v1", image.body)()
    _blob_is(kept, b"kept")()


def _assert_told(answer: Answer | None, attempted: Attempt) -> None:
    """Check that a failure is told as one that may pass."""
    assert answer is not None
    if answer.status != attempted.done:
        assert answer.status == 503, answer
        assert answer.headers["Retry-After"]
        if answer.body:
            assert answer.codes == ["UNAVAILABLE"]


def _assert_nothing_half_made(records: GlanceRecords) -> None:
    assert [image for image in records.visible() if image["status"] != "active"] == []


def _assert_repeats(attempted: Attempt) -> None:
    again = (attempted.repeat or attempted.act)()
    assert again is not None
    assert again.status in {attempted.done, 201, *([404] if attempted.gone else [])}, again


def _perform(attempted: Attempt, failing: Failing, faulty: FaultyGlance) -> Answer:
    """Perform an operation while Glance fails, and check that its answer is one that may be given."""
    faulty.reset(failing)
    answer = attempted.act()
    faulty.reset()
    assert answer is not None
    _assert_told(answer, attempted)
    if answer.status == attempted.done:
        attempted.prove()
    return answer


@pytest.mark.parametrize("failing", [NotDone, AnswerLost])
@pytest.mark.parametrize("prepare", OPERATIONS, ids=lambda prepare: prepare.__name__)
def test_one_failure_at_any_request_to_glance_is_got_over(
    prepare: Prepare, failing: type[Failing], push: Pusher, faulty: FaultyGlance, records: GlanceRecords
) -> None:
    for position in range(1, MOST_CALLS):
        attempted, plan = prepare(push), failing(position)

        answer = _perform(attempted, plan, faulty)

        if plan.hit is None:
            assert answer.status == attempted.done, answer
            return
        if answer.status != attempted.done:
            # What a client streams can't be sent a second time.
            assert (attempted.streams, plan.hit.kind) == (True, Kind.PUT_FILE), plan.hit
            _assert_repeats(attempted)
            attempted.prove()
        _assert_nothing_half_made(records)
    pytest.fail("never done")


@pytest.mark.parametrize("prepare", CHANGING, ids=lambda prepare: prepare.__name__)
def test_glance_that_goes_away_after_any_request_loses_nothing(
    prepare: Prepare, push: Pusher, faulty: FaultyGlance, records: GlanceRecords
) -> None:
    for position in range(1, MOST_CALLS):
        attempted, plan = prepare(push), GoneAway(position)

        answer = _perform(attempted, plan, faulty)

        if plan.hit is None:
            assert answer.status == attempted.done, answer
            return
        _assert_repeats(attempted)
        attempted.prove()
        _assert_nothing_half_made(records)
    pytest.fail("never done")


@pytest.mark.parametrize(
    "prepare", [head_blob, monolithic, put_new_tag, get_tag, list_tags], ids=lambda prepare: prepare.__name__
)
def test_glance_that_refuses_connections_is_told_as_503(
    prepare: Prepare, push: Pusher, faulty: FaultyGlance
) -> None:
    attempted = prepare(push)
    faulty.down()
    try:
        answer = attempted.act()
    finally:
        faulty.up()

    assert answer is not None
    assert answer.status == 503, answer
    _assert_told(answer, attempted)
    _assert_repeats(attempted)
    attempted.prove()


@pytest.mark.parametrize("prepare", [append, monolithic, finish_composing, put_new_tag, put_moved_tag])
@pytest.mark.parametrize("fault", [Fault.FALSE_204, Fault.EARLY_500, Fault.ERROR_503, Fault.CUT_BEFORE])
def test_data_that_glance_does_not_keep_is_never_acknowledged(
    prepare: Prepare, fault: Fault, push: Pusher, faulty: FaultyGlance, records: GlanceRecords
) -> None:
    attempted = prepare(push)
    left = [1]

    def once(call: Call) -> Fault | None:
        if call.kind is Kind.PUT_FILE and left:
            left.pop()
            return fault
        return None

    faulty.reset(once)

    answer = attempted.act()

    faulty.reset()
    assert not left
    _assert_told(answer, attempted)
    assert answer is not None
    if answer.status == attempted.done:
        attempted.prove()
    _assert_repeats(attempted)
    attempted.prove()
    _assert_nothing_half_made(records)


@pytest.mark.parametrize("fault", [Fault.ERROR_503, Fault.CUT_IN_ANSWER, Fault.CUT_AFTER])
def test_download_goes_on_where_glance_broke_off(push: Pusher, faulty: FaultyGlance, fault: Fault) -> None:
    content = os.urandom(4 * MIB)
    digest = push.blob(content)
    left = [1, 1]

    def twice(call: Call) -> Fault | None:
        if call.kind is Kind.GET_FILE and left:
            left.pop()
            return fault
        return None

    faulty.reset(twice)

    answer = push.request("GET", f"/blobs/{digest}")

    assert answer.body == content
    assert not left


def test_download_that_glance_keeps_breaking_off_ends_short_and_can_be_resumed(
    push: Pusher, faulty: FaultyGlance
) -> None:
    content = os.urandom(4 * MIB)
    digest = push.blob(content)
    faulty.reset(lambda call: Fault.CUT_IN_ANSWER if call.kind is Kind.GET_FILE else None)
    with Connection(push.address) as connection:
        connection.send_head("GET", f"{push.base}/blobs/{digest}")
        received = bytearray()
        while piece := connection.socket.recv(MIB):
            received += piece
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    faulty.reset()

    rest = push.request("GET", f"/blobs/{digest}", {"Range": f"bytes={len(body)}-"})

    assert head.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < len(content)
    assert rest.status == 206
    assert body + rest.body == content


def test_slow_glance_is_told_as_503_and_spoils_nothing(
    push: Pusher, faulty: FaultyGlance, start_registry: StartRegistry
) -> None:
    impatient = Pusher(start_registry(faulty.url, timeout_per_call=2).authority, push.repository)
    attempts = [prepare(impatient) for prepare in (monolithic, put_new_tag, get_tag)]
    faulty.reset(lambda _: Fault.SILENT)

    started = time.monotonic()
    answers = [attempted.act() for attempted in attempts]

    assert time.monotonic() - started < 40
    faulty.reset()
    for attempted, answer in zip(attempts, answers, strict=True):
        assert answer is not None
        assert answer.status == 503, answer
        _assert_repeats(attempted)
        attempted.prove()


def test_errors_of_glance_never_reach_the_client(push: Pusher, faulty: FaultyGlance) -> None:
    image = push.image("v1")
    faulty.reset(lambda _: Fault.ERROR_500)

    for path in (f"/blobs/{image.digest}", "/manifests/v1", "/tags/list"):
        answer = push.request("GET", path)
        assert answer.codes == ["UNAVAILABLE"]
        assert faulty.url not in json.dumps(answer.document)
        assert b"broken" not in answer.body


def test_glance_that_was_restarted_is_used_again_at_once(push: Pusher, faulty: FaultyGlance) -> None:
    image = push.image("v1")

    for _ in itertools.repeat(None, 3):
        # The registry's pool holds connections that Glance has closed.
        faulty.cut()
        assert push.blob(os.urandom(500))
        assert push.digest_of("v1") == image.digest
