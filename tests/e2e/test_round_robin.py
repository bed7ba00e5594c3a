"""The proxy of the replica tests passes on what HTTP allows, byte for byte, to one backend after the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.round_robin import RoundRobin


class Echo(BaseHTTPRequestHandler):
    """Answers with its server's name, the Host that it saw and the body that it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def do_PUT(self) -> None:
        if self.headers["Transfer-Encoding"] == "chunked":
            self._answer(self._chunks())
        else:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() != b"\r\n":
            pass
        return body

    def _answer(self, body: bytes) -> None:
        name: str = self.server.name  # type: ignore[attr-defined]
        text = f"{name} {self.headers['Host']} ".encode() + body
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (text[:5], text[5:]):
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def echo_server(name: str) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.name = name  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def proxy() -> Iterator[RoundRobin]:
    with ExitStack() as stack:
        backends = [stack.enter_context(echo_server(name)) for name in ("A", "B", "C")]
        yield stack.enter_context(RoundRobin(backends))


def exchange(proxy: RoundRobin, *requests: bytes) -> bytes:
    """Send requests over one connection, each after the answer to the one before; return all answers."""
    host, _, port = proxy.address.rpartition(":")
    answers = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for request in requests:
            connection.sendall(request)
            answer = b""
            while not answer.endswith((b"0\r\n\r\n", b"1234\r\n\r\n", b"100 Continue\r\n\r\n")):
                piece = connection.recv(65536)
                assert piece, answer
                answer += piece
            answers += answer
    return answers


def test_requests_on_one_connection_go_to_each_backend_in_turn(proxy: RoundRobin) -> None:
    request = b"GET /x HTTP/1.1\r\nHost: the.registry:5042\r\n\r\n"

    answers = exchange(proxy, *[request] * 4)

    assert [sent.backend for sent in proxy.requests] == [0, 1, 2, 0]
    assert [answers.count(f"{name} the".encode()) for name in "ABC"] == [2, 1, 1]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nseven!!",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsev\r\n4;x=y\r\nen!!\r\n0\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nseven!!\r\n0\r\nA: b\r\n\r\n",
    ],
    ids=["length", "chunked", "chunked with a trailer"],
)
def test_a_body_arrives_whole_and_the_connection_goes_on(proxy: RoundRobin, request_bytes: bytes) -> None:
    answers = exchange(proxy, request_bytes, b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n")

    assert b"A h s" in answers
    assert b"even!!" in answers
    assert b"B h " in answers


def test_a_client_that_waits_for_100_is_told_to_go_on(proxy: RoundRobin) -> None:
    head = b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"

    answers = exchange(proxy, head, b"body")

    assert answers.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"ody" in answers
    assert len(proxy.requests) == 1


def test_the_answer_to_head_has_no_body_whatever_its_length_says(proxy: RoundRobin) -> None:
    head = b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"

    answers = exchange(proxy, head, b"GET /y HTTP/1.1\r\nHost: h\r\n\r\n")

    assert b"Content-Length: 1234" in answers
    assert b"B h " in answers


def test_a_backend_that_is_gone_gives_502() -> None:
    with RoundRobin(["127.0.0.1:1"]) as proxy:
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 502")
