"""An HTTP server that answers as it is told: the Glance at the other end of the wire, with its failures."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came; the body is what had come when it was answered or broke off."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server does with a request.

    Attributes:
        status: Of the response.
        body: Bytes, or something that becomes JSON.
        headers: Beyond Content-Length.
        promised: A Content-Length that is not the body's.
        hang_up: Close the connection instead of answering, after the request was taken.
        read_body: Whether the request's body is read before the answer.
    """

    status: int = 200
    body: object = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    hang_up: bool = False
    read_body: bool = True


Reply = Answer | Callable[[Received], Answer]
HANG_UP = Answer(hang_up=True)


class FakeGlance:
    """The server's side of a test.

    Attributes:
        url: Where it listens.
        received: The requests, in the order of their answers.
        otherwise: What a request beyond those that were foreseen is answered.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.otherwise = Answer(status=599, body=b"no answer is left")
        self._replies: list[Reply] = []
        self._lock = threading.Lock()

    def answers(self, *replies: Reply) -> None:
        """Answer the next requests one after the other."""
        self._replies.extend(replies)

    @property
    def unused(self) -> int:
        """How many of the answers were not asked for."""
        return len(self._replies)

    def forget(self) -> None:
        """Drop the answers that were not asked for."""
        self._replies.clear()

    def reply_to(self, received: Received) -> Answer:
        """Take down a request and return what it is answered."""
        with self._lock:
            self.received.append(received)
            reply = self._replies.pop(0) if self._replies else self.otherwise
        return reply if isinstance(reply, Answer) else reply(received)

    def reads_next_body(self) -> bool:
        """Whether the body of the request that comes now is to be read."""
        with self._lock:
            first = self._replies[0] if self._replies else None
        return not isinstance(first, Answer) or first.read_body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1  # head and body in one packet, or the client waits for the second
    server: _Server

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        glance = self.server.glance
        body, complete = self._read_body() if glance.reads_next_body() else (b"", False)
        answer = glance.reply_to(Received(self.command, self.path, dict(self.headers), body, complete))
        if answer.hang_up:
            self.close_connection = True
            # With a linger of zero the client sees a reset, as when a process is killed.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self._send(answer)
        if answer.promised is not None or not complete:
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            size = len(content) if answer.promised is None else answer.promised
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _read_body(self) -> tuple[bytes, bool]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            return body, len(body) == size
        pieces = []
        while line := self.rfile.readline().strip():
            size = int(line, 16)
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
            if size == 0:
                return b"".join(pieces), True
        return b"".join(pieces), False

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    glance: FakeGlance

    def handle_error(self, *_args: Any) -> None:
        """The client went away: some tests want just that."""


@contextmanager
def serve() -> Iterator[FakeGlance]:
    """Run a server on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.glance = FakeGlance(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.glance
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
