"""gunicorn's threaded worker, with two habits that a registry's clients need."""

from __future__ import annotations

import json
import time
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from socket import socket
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

_STATUSES: dict[type[BaseException], HTTPStatus] = {
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}


class RegistryWorker(ThreadWorker):
    """Serves requests in threads.

    A connection takes a thread only once its client has said something, so that silent clients block nobody. A
    request that can't even be parsed is answered with the registry's error body.
    """

    def accept(self, listener: socket) -> None:
        """Accept a connection and wait for its first byte in the poller, not in a thread."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        connection = TConn(self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        self.poller.register(
            connection.sock, EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )

    def handle_error(self, req: Any, client: socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that the HTTP parser refused."""
        if not isinstance(exc, errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        self.log.warning("refused a request of %s: %s", addr[0] if addr else "an unknown client", exc)
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
