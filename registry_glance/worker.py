"""gunicorn's threaded worker, with what a registry's clients need: who is silent or slow holds no thread.

gunicorn's own gives a thread to a connection from its first byte on, for as long as the client likes. Here the head
of a request is collected by the worker's main thread, which only polls; a thread takes over when the head is whole.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from socket import SHUT_WR, socket
from typing import Any, Final

from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn, ThreadWorker

CLIENT_TIMEOUT_S: Final = 120.0
"""How long a client may stay silent in a body, or take to read a piece of an answer."""

_LINGER_S: Final = 2.0
_READ_BYTES: Final = 65_536
_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"[A-Za-z]+ .* HTTP/[0-9.]+")
_STATUSES: Final[dict[type[BaseException], HTTPStatus]] = {
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


class _Connection(TConn):
    """A connection with the head of its next request, as far as it has come."""

    def __init__(self, *arguments: Any, linger: Callable[[_Connection], None]) -> None:
        super().__init__(*arguments)
        self.head = bytearray()
        self._linger = linger

    def init(self) -> None:
        """Get ready for the thread that is about to read a request; called for each one."""
        super().init()
        self.sock.settimeout(CLIENT_TIMEOUT_S)
        if self.head and isinstance(self.parser, RequestParser):
            self.parser.unreader.unread(bytes(self.head))
            self.head.clear()

    def close(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's signature
        """Close at once, or give the client a moment to read what it was told."""
        if graceful:
            self._linger(self)
        else:
            super().close()


class RegistryWorker(ThreadWorker):
    """Serves requests in threads, once their heads are there."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lingering: deque[tuple[float, _Connection]] = deque()
        self._max_head_bytes = self.cfg.limit_request_line + 2 * self.cfg.limit_request_field_size

    def accept(self, listener: socket) -> None:
        """Accept a connection and wait for its first request."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        connection = _Connection(self.cfg, client, address, listener.getsockname(), linger=self._linger)
        self._await_head(connection)
        self.poller.register(
            connection.sock, EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )

    def on_client_socket_readable(self, conn: Any, client: socket) -> None:
        """Collect the next request of a connection that was kept open."""
        self.keepalived_conns.remove(conn)
        self._await_head(conn)
        self.poller.modify(client, EVENT_READ, partial(self.on_pending_socket_readable, conn))
        self.on_pending_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Any, client: socket) -> None:
        """Take in what has come, and hand the connection to a thread once that is a whole head."""
        if not self.cfg.is_ssl:
            try:
                data = client.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            conn.head += data
            if data and not self._is_decided(conn.head):
                return
        self._take_head(conn, client)

    def _take_head(self, conn: Any, client: socket) -> None:
        """Hand a connection to a thread, or refuse it, now that its next head is whole or will never be."""
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        if self.cfg.is_ssl or _HEAD_END in conn.head:
            conn.data_ready = True
            self.enqueue_req(conn)
            return
        self.nr_conns -= 1
        if not self._is_decided(conn.head):
            # The client has gone.
            conn.close()
            return
        if len(conn.head) > self._max_head_bytes:
            self._refuse(client, conn.client, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a head too large")
        else:
            # For example a TLS hello: clients try plain http after this answer, not after a silence.
            self._refuse(client, conn.client, HTTPStatus.BAD_REQUEST, "not HTTP")
        conn.close(graceful=True)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on after an answer; what has already come of the next request is collected like any other head."""
        if (
            isinstance(conn.parser, RequestParser)
            and not fs.cancelled()
            and fs.exception() is None
            and fs.result()
        ):
            conn.head += conn.parser.unreader.take_buffered()
            if conn.head:
                conn.sock.settimeout(0)
                self._await_head(conn)
                self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
                if self._is_decided(conn.head):
                    self._take_head(conn, conn.sock)
                return
        super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Let go of connections that have taken too long for a head, or for reading their last answer."""
        super().murder_pending()
        while self._lingering and self._lingering[0][0] <= time.monotonic():
            self._end_linger(self._lingering[0])

    def handle_error(self, req: Any, client: socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that the HTTP parser refused."""
        if isinstance(exc, errors.ParseException):
            self._refuse(client, addr, _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST), str(exc))
        else:
            super().handle_error(req, client, addr, exc)

    def _is_decided(self, head: bytearray) -> bool:
        """Whether a head is whole, or will never be one."""
        if _HEAD_END in head or len(head) > self._max_head_bytes:
            return True
        line, ended, _ = head.lstrip(b"\r\n").partition(b"\r\n")
        if ended:
            return not _REQUEST_LINE.fullmatch(line)
        return bool(line) and not line[:1].isalpha()

    def _await_head(self, connection: _Connection) -> None:
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)

    def _linger(self, connection: _Connection) -> None:
        """Say that no more will be sent, and go on reading for a moment, so that the last answer is not lost.

        RFC 9112, section 9.6. In the poller, because gunicorn's own way makes everybody wait.
        """
        try:
            connection.sock.shutdown(SHUT_WR)
            connection.sock.settimeout(0)
        except OSError:
            util.close(connection.sock)
            return
        lingering = (time.monotonic() + _LINGER_S, connection)
        self._lingering.append(lingering)
        self.poller.register(connection.sock, EVENT_READ, partial(self._discard, lingering))

    def _discard(self, lingering: tuple[float, _Connection], client: socket) -> None:
        try:
            data = client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end_linger(lingering)

    def _end_linger(self, lingering: tuple[float, _Connection]) -> None:
        self._lingering.remove(lingering)
        self.poller.unregister(lingering[1].sock)
        lingering[1].close()

    def _refuse(self, client: socket, address: Any, status: HTTPStatus, reason: str) -> None:
        """Answer with the registry's error body what never became a request."""
        who = address[0] if address else "an unknown client"
        # Docker and skopeo try TLS first, at each of their commands.
        self.log.info("refused a request of %s: %s", who, reason)
        body = json.dumps(
            {"errors": [{"code": "UNKNOWN", "message": status.phrase.lower(), "detail": None}]}
        ).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode() + body)
        except OSError as error:
            self.log.debug("the client was gone: %s", error)
