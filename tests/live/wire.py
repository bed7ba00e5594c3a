"""HTTP on a bare socket: the requests that no client library would send, and the answers to them."""

from __future__ import annotations

import hashlib
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

TIMEOUT_S = 20.0

Body = bytes | None


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of the specification's error body; fails where the body is not one."""
        assert self.headers["Content-Type"] == "application/json", (self.status, self.body[:200])
        errors = self.document["errors"]
        assert errors, self.body
        for error in errors:
            assert error.keys() == {"code", "message", "detail"}, error
            assert isinstance(error["message"], str)
        return [error["code"] for error in errors]

    @property
    def keeps_connection(self) -> bool:
        """Whether the server lets the connection be used for another request."""
        return self.headers.get("Connection", "").lower() != "close"

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:200]!r}>"


class Connection:
    """One TCP connection to a server.

    Args:
        address: ``host:port``.
        receive_buffer: Bytes that the kernel takes in for us unread; a small one makes a slow reader.
    """

    def __init__(
        self, address: str, *, timeout_s: float = TIMEOUT_S, receive_buffer: int | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect((host, int(port)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def send_head(
        self, method: str, target: str | bytes, headers: Mapping[str, str | int] | None = None
    ) -> None:
        """Send a request up to the empty line; the body, if there is one, is the caller's to send."""
        raw = target if isinstance(target, bytes) else target.encode()
        lines = [f"Host: {self.address}", *(f"{key}: {value}" for key, value in (headers or {}).items())]
        self.send(method.encode() + b" " + raw + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n")

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a body with chunked coding; an empty one ends it."""
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def answer(self, method: str = "GET") -> Answer:
        """Read the next response."""
        response = HTTPResponse(self.socket, method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())

    def exchange(
        self,
        method: str,
        target: str | bytes,
        headers: Mapping[str, str | int] | None = None,
        body: Body = None,
    ) -> Answer:
        """Send a whole request, with a Content-Length where it has a body and names none, and read the response."""
        fields: dict[str, str | int] = dict(headers or {})
        coded = {key.lower() for key in fields} & {"content-length", "transfer-encoding"}
        if body is not None and not coded:
            fields["Content-Length"] = len(body)
        # A server may answer, and close, before it has read all of a body that it refuses.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_head(method, target, fields)
            self.send(body or b"")
        return self.answer(method)

    def end_of_sending(self) -> None:
        """Tell the server that nothing more comes, and go on listening."""
        self.socket.shutdown(socket.SHUT_WR)

    def is_closed_by_server(self) -> bool:
        """Wait until the server closes; False when it sends something first."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Close the connection, whatever it was in the middle of."""
        self.socket.close()


def request(
    address: str,
    method: str,
    target: str | bytes,
    headers: Mapping[str, str | int] | None = None,
    body: Body = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Make one request on a connection of its own."""
    with Connection(address, timeout_s=timeout_s) as connection:
        return connection.exchange(method, target, {"Connection": "close", **(headers or {})}, body)


def attempt(
    address: str,
    method: str,
    target: str,
    headers: Mapping[str, str | int] | None = None,
    body: Body = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Answer | None:
    """Make one request; ``None`` when the server broke off in the middle of its answer."""
    try:
        return request(address, method, target, headers, body, timeout_s=timeout_s)
    except (HTTPException, ConnectionError):
        return None


def chunked(*pieces: bytes) -> bytes:
    """Return a complete body in chunked coding."""
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (*pieces, b""))


def sha256(content: bytes) -> str:
    """Return content's digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
