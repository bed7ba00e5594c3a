"""Clients that speak no HTTP, say little, or go away: nobody else notices."""

from __future__ import annotations

import os
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.live.bench import (
    BLOBS,
    MAX_STREAMS,
    THREADS,
    UNHURRIED_S,
    UNKNOWN,
    UPLOADS,
    Bench,
)
from tests.live.pusher import Pusher
from tests.live.wire import Connection, request

KEEPALIVE_S = 30


@pytest.fixture(scope="module", autouse=True)
def half_said(bench: Bench) -> Iterator[list[Connection]]:
    """Clients that said nothing, or half of a request, when the module began."""
    with ExitStack() as stack:
        clients = [stack.enter_context(bench.connect(timeout_s=2 * KEEPALIVE_S)) for _ in range(3)]
        clients[1].send(b"GET /v2/ HT")
        clients[2].send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        yield clients


# What is no HTTP, or says nothing


def _tls_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="registry.example.org"
    )
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


GARBAGE = {
    "tls-hello": _tls_hello(),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(4096),
    "random": bytes(range(128, 256)) * 16,
    "line-feeds": b"\n" * 100 + b"nonsense\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "http-9": b"GET /v2/ HTTP/9.9\r\n\r\n",
    "no-version": b"GET /v2/\r\n\r\n",
    "no-target": b"GET HTTP/1.1\r\n\r\n",
    "header-split": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "header-nul": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "folded-header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_gets_a_400_or_505_and_the_connection_ends(bench: Bench, garbage: bytes) -> None:
    with bench.connect() as connection:
        connection.send(garbage)

        answer = connection.answer()

        assert answer.status in {400, 505}
        assert answer.codes == ["UNKNOWN"]
        assert connection.is_closed_by_server()


def _saturating(stack: ExitStack, bench: Bench, count: int, data: bytes) -> list[Connection]:
    connections = [stack.enter_context(bench.connect(timeout_s=90)) for _ in range(count)]
    for connection in connections:
        connection.send(data)
    return connections


SAYING_LITTLE = {
    "nothing": b"",
    "half-a-request-line": b"GET /v2",
    "half-headers": f"GET /v2/ HTTP/1.1\r\nHost: x\r\nUser-Agent: {'x' * 100}".encode(),
    "half-headers-of-an-upload": f"POST {UPLOADS}/ HTTP/1.1\r\nHost: x\r\nContent-Le".encode(),
    "half-a-tls-hello": bytes.fromhex("160301"),
    "line-feeds": b"\r\n\r\n",
    "a-request-and-half-of-the-next": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HT",
    "an-upload-and-half-of-the-next": (
        b"POST /v2/Bad/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET /v2/ HT"
    ),
}


@pytest.mark.parametrize("said", SAYING_LITTLE.values(), ids=SAYING_LITTLE.keys())
def test_clients_that_say_little_block_nobody(bench: Bench, said: bytes) -> None:
    with ExitStack() as stack:
        _saturating(stack, bench, max(64, 3 * THREADS), said)
        time.sleep(0.3)
        started = time.monotonic()

        image = Pusher(bench.address, f"bad-input/{uuid.uuid4().hex}").image("v1")
        bench.assert_serves()
        assert bench.pusher.request("GET", f"/blobs/{bench.layer}").status == 200

        assert image.digest
        assert time.monotonic() - started < UNHURRIED_S


def test_clients_that_finish_their_headers_slowly_are_served(bench: Bench) -> None:
    with ExitStack() as stack:
        connections = _saturating(stack, bench, 3 * THREADS, b"GET /v2/ HTTP/1.1\r\nHo")
        time.sleep(0.2)

        for piece in (b"st: ", b"x\r", b"\n", b"\r\n"):
            for connection in connections:
                connection.send(piece)

        assert {connection.answer().status for connection in connections} == {200}


def test_clients_that_are_refused_and_stay_block_nobody(bench: Bench) -> None:
    with ExitStack() as stack:
        refused = _saturating(stack, bench, 32, b"nonsense\r\n\r\n")
        assert {connection.answer().status for connection in refused} == {400}

        started = time.monotonic()
        for _ in range(5):
            bench.assert_serves()

        assert time.monotonic() - started < UNHURRIED_S


# Clients that go away


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("chunked_coding", [False, True], ids=["length", "chunked"])
def test_client_that_goes_in_mid_upload_leaves_the_session_where_it_stood(
    bench: Bench, session: str, *, chunked_coding: bool
) -> None:
    held, piece = set(bench.records.all()), os.urandom(300_000)

    # More often than there are streams: one that is not given back would be missed.
    for _ in range(MAX_STREAMS + 2):
        with bench.connect() as connection:
            if chunked_coding:
                connection.send_head("PATCH", session, {"Transfer-Encoding": "chunked"})
                connection.send_chunk(piece)
            else:
                connection.send_head("PATCH", session, {"Content-Length": 10_000_000})
                connection.send(piece)
        _wait_until_stands(bench, session, "0-0")

    session_id = session.partition("?")[0].rpartition("/")[2]
    assert bench.records.settled()[session_id]["status"] == "queued"
    assert set(bench.records.all()) == held
    content = os.urandom(1000)
    assert bench.finish(bench.append_soon(session, content), content) == 201
    bench.delete_blob(content)


def _wait_until_stands(bench: Bench, location: str, where: str) -> None:
    deadline = time.monotonic() + UNHURRIED_S
    while True:
        answer = request(bench.address, "GET", location)
        if (answer.status, answer.headers.get("Range")) == (204, where):
            return
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def test_client_that_goes_in_mid_upload_and_tries_again_at_once_is_served(bench: Bench, session: str) -> None:
    content = os.urandom(500_000)
    with bench.connect() as connection:
        connection.send_head("PATCH", session, {"Content-Length": len(content)})
        connection.send(content[:300_000])

    location = bench.append_soon(session, content)

    assert bench.finish(location, content) == 201
    bench.delete_blob(content)


def test_client_that_goes_in_mid_download_gives_its_stream_back(bench: Bench) -> None:
    content = os.urandom(8 * 1024 * 1024)
    digest = bench.pusher.blob(content)
    deadline = time.monotonic() + 2 * UNHURRIED_S
    begun = 0

    # More often than there are streams, or threads: one that is not given back would be missed.
    while begun < THREADS + MAX_STREAMS:
        assert time.monotonic() < deadline, begun
        with bench.connect(receive_buffer=16_384) as connection:
            connection.send_head("GET", f"{BLOBS}/{digest}")
            begun += connection.socket.recv(1000).startswith(b"HTTP/1.1 200")
        # A moment to notice that the client has gone.
        time.sleep(0.02)

    assert bench.pusher.request("GET", f"/blobs/{digest}").body == content
    bench.delete_blob(content)


def test_clients_that_go_do_not_disturb_those_that_stay(bench: Bench) -> None:
    stop = threading.Event()
    failures: list[str] = []

    def push_and_pull() -> None:
        while not stop.is_set():
            try:
                answer = bench.pusher.request("GET", "/manifests/v1")
                assert answer.body == bench.image.body
                bench.pusher.blob(os.urandom(500))
            except (AssertionError, OSError) as error:
                failures.append(repr(error))
                return

    worker = threading.Thread(target=push_and_pull)
    worker.start()
    try:
        for number in range(40):
            with bench.connect() as connection:
                connection.send_head("POST", f"{UPLOADS}/?digest={UNKNOWN}", {"Content-Length": 5000})
                connection.send(b"x" * (number * 50))
            time.sleep(0.02)
    finally:
        stop.set()
        worker.join()

    assert failures == []


def test_silent_clients_are_let_go_in_the_end(half_said: list[Connection]) -> None:
    for client in half_said:
        # An answer (408, 400) may come first.
        while not client.is_closed_by_server():
            pass
