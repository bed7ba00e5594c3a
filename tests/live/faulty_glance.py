"""An HTTP proxy in front of a real Glance that counts its requests, and fails those that a test picks.

Bodies pass through as they come. One client connection has one connection to Glance, so that what breaks on one side
breaks on the other as it would without the proxy.
"""

from __future__ import annotations

import enum
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit

PIECE_SIZE = 64 * 1024
TIMEOUT_S = 60.0


class Kind(enum.StrEnum):
    """What a request asks of Glance."""

    CREATE = "create"
    GET = "get"
    LIST = "list"
    PATCH = "patch"
    DELETE = "delete"
    PUT_FILE = "put file"
    GET_FILE = "get file"
    OTHER = "other"


CHANGES = frozenset({Kind.CREATE, Kind.PATCH, Kind.DELETE, Kind.PUT_FILE})


class Fault(enum.Enum):
    """What happens to a request instead of being answered by Glance."""

    CUT_BEFORE = enum.auto()
    """The connection ends before the request has reached Glance."""
    CUT_AFTER = enum.auto()
    """Glance does what it was asked; the connection ends before its answer."""
    CUT_IN_ANSWER = enum.auto()
    """The connection ends after half of the answer's body."""
    ERROR_500 = enum.auto()
    """Answered 500 once the body was read; Glance is not asked."""
    ERROR_503 = enum.auto()
    """As ``ERROR_500``, with 503."""
    EARLY_500 = enum.auto()
    """Answered 500 and closed before any of the body was read."""
    SILENT = enum.auto()
    """Never answered."""
    FALSE_204 = enum.auto()
    """Answered 204 once the body was read; Glance is not asked, and the image stays queued."""


@dataclass(frozen=True)
class Call:
    """A request to Glance.

    Attributes:
        number: Counted from 1 since the last ``reset``.
        kind: What it asks.
        method: As sent.
        target: Path and query, as sent.
    """

    number: int
    kind: Kind
    method: str
    target: str


Plan = Callable[[Call], Fault | None]


class FaultyGlance:
    """A proxy on a free port of loopback, with a thread for each connection.

    Args:
        url: Of the Glance behind it.
        headers: Added to each request, to say on whose behalf it comes.

    Attributes:
        plan: Decides for each request, in the order of their coming, what happens to it.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self._headers = "".join(f"{key}: {value}\r\n" for key, value in (headers or {}).items()).encode()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._closing = threading.Event()
        self._calls: list[Call] = []
        self.plan: Plan = _nothing_fails
        self.port = 0

    @property
    def url(self) -> str:
        """What a registry takes for the Glance endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Call]:
        """The requests since the last ``reset``, in the order of their coming."""
        with self._lock:
            return list(self._calls)

    @property
    def counts(self) -> Counter[Kind]:
        """How many requests of each kind came since the last ``reset``."""
        return Counter(call.kind for call in self.calls)

    def reset(self, plan: Plan | None = None) -> None:
        """Start to count at zero; from now on requests fail as ``plan`` says, or not at all."""
        with self._lock:
            self._calls.clear()
            self.plan = plan or _nothing_fails

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port each time."""
        self._closing.clear()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def down(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self._closing.set()
        if self._listener is not None:
            # Closing alone would not wake the thread that accepts.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()
        for thread in list(self._threads):
            thread.join(TIMEOUT_S)
        self._threads.clear()

    def cut(self) -> None:
        """End all connections that are open; new ones are taken."""
        with self._lock:
            for end in self._sockets:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[[socket.socket], None], end: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(end,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        try:
            self._open(client)
            with client, client.makefile("rb") as requests:
                while head := _read_head(requests):
                    if upstream is None:
                        upstream = self._open(socket.create_connection(self._upstream, TIMEOUT_S))
                    if not self._pass_on(head, requests, client, upstream):
                        return
        # Either side may hang up at any byte.
        except (OSError, EOFError, ValueError):
            return
        finally:
            for end in (client, upstream):
                if end is not None:
                    with self._lock:
                        self._sockets.discard(end)
                    end.close()

    def _open(self, end: socket.socket) -> socket.socket:
        with self._lock:
            self._sockets.add(end)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return end

    def _count(self, method: str, target: str) -> tuple[Call, Fault | None]:
        with self._lock:
            call = Call(len(self._calls) + 1, _kind(method, target), method, target)
            self._calls.append(call)
            return call, self.plan(call)

    def _pass_on(
        self, head: _Head, requests: BinaryIO, client: socket.socket, upstream: socket.socket
    ) -> bool:
        """Send one request on and its answer back; tell whether the connection goes on."""
        method, target, _ = head.start.split(" ", 2)
        call, fault = self._count(method, target)
        if fault in {Fault.CUT_BEFORE, Fault.EARLY_500}:
            if fault is Fault.EARLY_500:
                client.sendall(_error(500))
            return False
        if fault in {Fault.ERROR_500, Fault.ERROR_503, Fault.FALSE_204, Fault.SILENT}:
            _copy_body(head, requests, _discard)
            if fault is Fault.SILENT:
                self._closing.wait()
                return False
            client.sendall(_error({Fault.ERROR_500: 500, Fault.ERROR_503: 503}.get(fault, 204)))
            return True
        upstream.sendall(head.with_headers(self._headers))
        try:
            _copy_body(head, requests, upstream.sendall)
        except ConnectionError:
            # Glance may answer, and close, before it has read all.
            if not _has_data(upstream):
                raise
        with upstream.makefile("rb") as answers:
            answer = _read_head(answers)
            if answer is None or fault is Fault.CUT_AFTER:
                return False
            client.sendall(answer.raw)
            status = int(answer.start.split(" ", 2)[1])
            if call.method != "HEAD" and status not in {204, 304}:
                limit = answer.length // 2 if fault is Fault.CUT_IN_ANSWER else None
                _copy_body(answer, answers, client.sendall, limit)
            return fault is None and answer.header("connection").lower() != "close"


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

    @property
    def length(self) -> int:
        return int(self.header("content-length") or 0)

    def with_headers(self, lines: bytes) -> bytes:
        return self.raw.removesuffix(b"\r\n") + lines + b"\r\n"


def _nothing_fails(_: Call) -> Fault | None:
    return None


def _kind(method: str, target: str) -> Kind:
    path = target.partition("?")[0]
    if re.fullmatch(r"/v2/images/[^/]+/file", path):
        return {"PUT": Kind.PUT_FILE, "GET": Kind.GET_FILE}.get(method, Kind.OTHER)
    if re.fullmatch(r"/v2/images/[^/]+", path):
        return {"GET": Kind.GET, "PATCH": Kind.PATCH, "DELETE": Kind.DELETE}.get(method, Kind.OTHER)
    if path == "/v2/images":
        return {"GET": Kind.LIST, "POST": Kind.CREATE}.get(method, Kind.OTHER)
    return Kind.OTHER


def _error(status: int) -> bytes:
    if status == 204:
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    return f"HTTP/1.1 {status} Broken\r\nContent-Length: 6\r\n\r\nbroken".encode()


def _read_head(reader: BinaryIO) -> _Head | None:
    """Read a start line and its headers; ``None`` where the other side has ended."""
    lines = []
    while (line := reader.readline()) not in {b"\r\n", b""}:
        lines.append(line)
    if not line:
        return None
    raw = b"".join([*lines, line])
    start, *rest = (text.decode("latin-1").rstrip("\r\n") for text in lines)
    pairs = [text.partition(":") for text in rest]
    return _Head(raw, start, tuple((key.lower(), value.strip()) for key, _, value in pairs))


def _copy_body(
    head: _Head, reader: BinaryIO, write: Callable[[bytes], object], limit: int | None = None
) -> None:
    """Copy a body as it comes, its coding included; ``limit`` cuts one of known length short."""
    if not head.chunked:
        _copy(reader, head.length if limit is None else limit, write)
        return
    while True:
        line = reader.readline()
        size = int(line.partition(b";")[0], 16)
        write(line)
        if size == 0:
            break
        _copy(reader, size + 2, write)
    # Trailers, if there are any, and the empty line that ends them.
    while (line := reader.readline()) not in {b"\r\n", b""}:
        write(line)
    write(b"\r\n")


def _copy(reader: BinaryIO, size: int, write: Callable[[bytes], object]) -> None:
    while size > 0:
        # read1, because read waits until it has all that was asked for.
        piece = reader.read1(min(size, PIECE_SIZE))  # type: ignore[attr-defined]
        if not piece:
            raise EOFError("the body ended before its length")
        size -= len(piece)
        write(piece)


def _discard(_: bytes) -> None:
    return


def _has_data(end: socket.socket) -> bool:
    end.settimeout(1)
    try:
        return end.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False
    finally:
        end.settimeout(TIMEOUT_S)
