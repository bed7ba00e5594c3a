"""An HTTP proxy that deals consecutive requests out in turn, so that no two of them reach the same replica.

It parses HTTP/1.1 just enough to know where each request and each response ends, passes bodies on as they come, and
changes nothing: the backends see the Host header that the client sent, so a Location that they build from it leads
back through the proxy.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

HEAD_SIZE = 256 * 1024
PIECE_SIZE = 64 * 1024

_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """One request that went through.

    Attributes:
        backend: Position of the backend that got it.
        method: As sent.
        target: Path and query, as sent.
        content_range: The request's Content-Range, empty if it had none.
    """

    backend: int
    method: str
    target: str
    content_range: str


class RoundRobin:
    """A proxy on a free port of loopback, in a thread of its own.

    Args:
        backends: ``host:port`` of each replica, plain HTTP.
    """

    def __init__(self, backends: Sequence[str]) -> None:
        self._backends = [_split(backend) for backend in backends]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, host="127.0.0.1", port=0, limit=HEAD_SIZE)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        if self._server:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        # A closed connection goes in the loop's next round.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        # Either side may hang up at any byte, and ending the proxy cancels what still runs.
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while head := await _read_head(reader):
                if not await self._pass_on(head, reader, writer):
                    break
        await _hang_up(writer)
        self._connections.discard(task)

    async def _pass_on(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request to the next backend and its response back; tell whether another may follow."""
        backend = len(self.requests) % len(self._backends)
        method, target, _ = head.start.split(" ", 2)
        self.requests.append(Request(backend, method, target, head.header("content-range")))
        try:
            replies, requests = await asyncio.open_connection(*self._backends[backend], limit=HEAD_SIZE)
        except OSError:
            writer.write(_BAD_GATEWAY)
            await writer.drain()
            return False
        body = asyncio.create_task(_send_request(head, reader, requests))
        try:
            reusable = await _return_response(method, replies, writer)
            # A response before the request's end leaves bytes that the next request can't be told from.
            return reusable and body.done() and head.header("connection").lower() != "close"
        finally:
            # Closed before anything is awaited: ending the proxy may cancel this too.
            body.cancel()
            requests.close()
            await asyncio.gather(body, return_exceptions=True)


@dataclass(frozen=True)
class _Head:
    """Start line and headers, as bytes and parsed."""

    raw: bytes
    start: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)

    @property
    def chunked(self) -> bool:
        return self.header("transfer-encoding").lower().endswith("chunked")


async def _send_request(head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head.raw)
    await writer.drain()
    if head.chunked:
        await _copy_chunks(reader, writer)
    else:
        await _copy(reader, writer, int(head.header("content-length") or 0))


async def _return_response(method: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Copy the interim responses and the final one; tell whether the client's connection can be used again."""
    while True:
        head = await _read_head(reader)
        if head is None:
            writer.write(_BAD_GATEWAY)
            await writer.drain()
            return False
        writer.write(head.raw)
        await writer.drain()
        status = int(head.start.split(" ", 2)[1])
        if status >= 200:
            break
    reusable = head.header("connection").lower() != "close"
    if method == "HEAD" or status in {204, 304}:
        return reusable
    if head.chunked:
        await _copy_chunks(reader, writer)
    elif length := head.header("content-length"):
        await _copy(reader, writer, int(length))
    else:
        while piece := await reader.read(PIECE_SIZE):
            writer.write(piece)
            await writer.drain()
        return False
    return reusable


async def _read_head(reader: asyncio.StreamReader) -> _Head | None:
    """Read a start line and its headers; ``None`` where the other side has ended."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return _Head(raw, start, tuple((key.lower(), value.strip()) for key, _, value in pairs))


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    while size > 0:
        piece = await reader.read(min(size, PIECE_SIZE))
        if not piece:
            raise EOFError("the body ended before its length")
        size -= len(piece)
        writer.write(piece)
        await writer.drain()


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            break
        await _copy(reader, writer, size + 2)
    # Trailers, if there are any, and the empty line that ends them.
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        writer.write(line)
    writer.write(b"\r\n")
    await writer.drain()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
