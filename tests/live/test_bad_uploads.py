"""Uploads that go wrong: what is refused leaves the session where it stood, and Glance as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.live.bench import (
    MANIFESTS,
    REPOSITORY,
    UNKNOWN,
    UPLOADS,
    Bench,
)
from tests.live.wire import request, sha256

CONTENT_RANGES = {
    "ahead": "20-29",
    "back-to-the-start": "0-9",
    "overlapping": "5-14",
    "one-off": "11-20",
    "backwards": "10-5",
    "no-numbers": "a-b",
    "no-end": "10-",
    "no-start": "-19",
    "disagrees-with-length": "10-12",
    "other-unit": "lines 10-19",
    "huge": f"{10**30}-{10**30 + 9}",
    "two": "10-14,15-19",
    "empty": "",
}


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *(("PATCH", name) for name in CONTENT_RANGES),
        *(("PUT", name) for name in ("ahead", "overlapping", "no-numbers")),
    ],
)
def test_chunk_out_of_order_gets_416_and_the_session_goes_on(
    bench: Bench, session: str, method: str, name: str
) -> None:
    first, second = os.urandom(10), os.urandom(10)
    location = bench.pusher.append(session, first, start=0)
    before = bench.records.all()
    digest = f"&digest={sha256(first + second)}" if method == "PUT" else ""

    with bench.connect() as connection:
        answer = connection.exchange(
            method, location + digest, {"Content-Range": CONTENT_RANGES[name]}, second
        )

        assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
        assert answer.headers["Range"] == "0-9"
        assert connection.exchange("GET", "/v2/").status == 200
    assert bench.records.settled() == before
    assert bench.status(location) == "0-9"
    assert bench.finish(bench.pusher.append(location, second, start=10), first + second) == 201
    bench.delete_blob(first + second)


@pytest.mark.usefixtures("unchanged")
def test_malformed_content_range_of_a_monolithic_post_leaves_no_session(bench: Bench) -> None:
    digest = sha256(b"content")

    answer = bench.pusher.request(
        "POST", f"/blobs/uploads/?digest={digest}", {"Content-Range": "5-1"}, b"content"
    )

    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])


def test_chunk_sent_twice_from_a_stale_location_gets_416(bench: Bench, session: str) -> None:
    location = bench.pusher.append(session, b"first", start=0)

    answer = request(bench.address, "PATCH", session, {"Content-Range": "0-4"}, b"first")

    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
    assert bench.status(location) == "0-4"


LOCATIONS = {
    "nonsense": "?part=x&offset=y",
    "negative": "?part=-1&offset=-5",
    "ahead": "?part=7&offset=70",
    "wrong-offset": "?part=1&offset=3",
    "huge": f"?part={10**17}&offset={10**17}",
    "beyond-64-bits": f"?part={10**40}&offset={10**40}",
    "nothing": "",
}


@pytest.mark.parametrize("query", LOCATIONS.values(), ids=LOCATIONS.keys())
def test_position_in_the_location_is_never_believed(bench: Bench, session: str, query: str) -> None:
    first, second = os.urandom(10), os.urandom(10)
    location = bench.pusher.append(session, first, start=0)
    forged = location.partition("?")[0] + query

    answer = request(bench.address, "PATCH", forged, {"Content-Range": "10-19"}, second)

    assert answer.status == 202, answer
    assert answer.headers["Range"] == "0-19"
    assert bench.finish(answer.headers["Location"], first + second) == 201
    bench.delete_blob(first + second)


@pytest.mark.parametrize(
    ("method", "query"),
    [("GET", ""), ("PATCH", ""), ("PUT", f"digest={sha256(b'content')}"), ("DELETE", "")],
    ids=["status", "append", "finish", "cancel"],
)
def test_session_is_unknown_under_another_repository(
    bench: Bench, session: str, method: str, query: str
) -> None:
    elsewhere = session.replace(REPOSITORY, "bad-input/elsewhere")
    before = bench.records.all()

    answer = request(bench.address, method, f"{elsewhere}&{query}", body=b"content")

    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert bench.records.settled() == before
    assert bench.status(session) == "0-0"


@pytest.mark.parametrize("kind", ["one-chunk", "composed"])
def test_finished_session_is_unknown_to_all_but_the_same_end(bench: Bench, kind: str) -> None:
    content = os.urandom(100)
    location = bench.pusher.begin()
    if kind == "composed":
        after = bench.pusher.append(location, content[:50], start=0)
        after = bench.pusher.append(after, content[50:], start=50)
    else:
        after = bench.pusher.append(location, content)
    assert bench.finish(after, content) == 201
    before = bench.records.all()

    for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", f"digest={UNKNOWN}")):
        answer = request(bench.address, method, f"{after}&{query}", body=b"more")
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"]), method
    assert bench.finish(after, content) == 201
    assert bench.records.settled() == before
    bench.delete_blob(content)


def test_cancelled_session_is_unknown(bench: Bench) -> None:
    location = bench.pusher.append(bench.pusher.begin(), b"content")
    assert request(bench.address, "DELETE", location).status == 204

    for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", f"digest={UNKNOWN}")):
        answer = request(bench.address, method, f"{location}&{query}", body=b"more")
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"]), method


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("way", ["put", "patch", "patch-and-put", "chunks", "chunks-and-put"])
def test_digest_that_does_not_match_ends_the_session_and_leaves_nothing(bench: Bench, way: str) -> None:
    content = os.urandom(90)
    location, last = bench.pusher.begin(), b""
    if way == "put":
        last = content
    elif way.startswith("patch"):
        location = bench.pusher.append(location, content)
        last = b"and more" if way == "patch-and-put" else b""
    else:
        for start in range(0, 90, 30):
            location = bench.pusher.append(location, content[start : start + 30], start=start)
        last = b"and more" if way == "chunks-and-put" else b""

    with bench.connect() as connection:
        answer = connection.exchange("PUT", f"{location}&digest={UNKNOWN}", body=last)

        assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
        assert connection.exchange("GET", location).status == 404
    assert bench.pusher.request("HEAD", f"/blobs/{sha256(content)}").status == 404


# Bodies that are not what they said

BROKEN_BODIES: dict[str, tuple[Mapping[str, str | int], bytes]] = {
    "short": ({"Content-Length": 1000}, b"x" * 400),
    "nothing-of-what-was-promised": ({"Content-Length": 1000}, b""),
    "chunked-without-an-end": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n"),
    "chunked-cut-inside-a-chunk": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 100),
    "chunked-cut-inside-a-size": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n1"),
    "chunked-size-no-hex": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\nzz\r\nxx\r\n"),
    "chunked-size-too-small": ({"Transfer-Encoding": "chunked"}, b"5\r\n" + b"x" * 400 + b"\r\n0\r\n\r\n"),
    "chunked-size-negative": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n-5\r\n"),
    "chunked-size-huge": ({"Transfer-Encoding": "chunked"}, b"f" * 40 + b"\r\n" + b"x" * 400),
    "chunked-nonsense": ({"Transfer-Encoding": "chunked"}, b"nonsense\r\n\r\n"),
}


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize(
    ("operation", "body"),
    [
        *(("monolithic", body) for body in BROKEN_BODIES),
        *(("manifest", body) for body in BROKEN_BODIES),
        *(("append", body) for body in BROKEN_BODIES),
        *(("finish", body) for body in ("short", "chunked-without-an-end")),
        *(("append-second", body) for body in ("short", "chunked-without-an-end", "chunked-nonsense")),
        *(("finish-second", body) for body in ("short", "chunked-without-an-end")),
    ],
)
def test_body_that_breaks_off_is_told_and_stored_nowhere(
    bench: Bench, session: str, operation: str, body: str
) -> None:
    headers, content = BROKEN_BODIES[body]
    location, stands = session, "0-0"
    if operation.endswith("second"):
        location, stands = bench.pusher.append(session, b"first", start=0), "0-4"
    method, target = {
        "append": ("PATCH", location),
        "finish": ("PUT", f"{location}&digest={UNKNOWN}"),
        "monolithic": ("POST", f"{UPLOADS}/?digest={UNKNOWN}"),
        "manifest": ("PUT", f"{MANIFESTS}/never"),
    }[operation.removesuffix("-second")]

    with bench.connect() as connection:
        connection.send_head(method, target, headers)
        connection.send(content)
        connection.end_of_sending()
        answer = connection.answer()

    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert bench.status(location) == stands
    whole = (b"first" if operation.endswith("second") else b"") + b"again"
    assert bench.finish(bench.pusher.append(location, b"again"), whole) == 201
    bench.delete_blob(whole)


@pytest.mark.usefixtures("unchanged")
def test_bytes_beyond_the_content_length_are_no_part_of_the_body(bench: Bench) -> None:
    digest = sha256(b"content")

    with bench.connect() as connection:
        connection.send_head("POST", f"{UPLOADS}/?digest={digest}", {"Content-Length": 7})
        connection.send(b"content and more\r\n\r\n")

        assert connection.answer().status == 201
        assert connection.answer().status == 400
        assert connection.is_closed_by_server()
    assert bench.pusher.request("GET", f"/blobs/{digest}").body == b"content"
    bench.delete_blob(b"content")


@pytest.mark.usefixtures("unchanged")
def test_refused_body_is_not_taken_for_the_next_request(bench: Bench) -> None:
    smuggled = f"DELETE {MANIFESTS}/v1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    with bench.connect() as connection:
        answer = connection.exchange("POST", f"/v2/Bad/blobs/uploads/?digest={UNKNOWN}", body=smuggled)
        assert answer.codes == ["NAME_INVALID"]
        if answer.keeps_connection:
            assert connection.exchange("GET", "/v2/").status == 200

    assert bench.pusher.digest_of("v1") == bench.image.digest
