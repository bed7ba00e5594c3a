"""TCP ports on this machine: take one, find a free one, or say that it is taken."""

import errno
import socket

from devcloud.errors import DevcloudError

LOOPBACK = "127.0.0.1"
_ANY = {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - these are looked up, not bound


def listen(host: str, port: int, *, service: str) -> socket.socket:
    """Take a port now, so that nobody else can before the service has started.

    Args:
        host: Name or address to bind.
        port: The port; 0 lets the system choose.
        service: Whose port it is, for the message.

    Returns:
        A listening socket; its caller hands it to the service and closes it.

    Raises:
        DevcloudError: The port is taken, or the address is not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as exc:
        raise DevcloudError(f"{service}: {host!r} is no address to listen on: {exc}") from exc
    listener = socket.socket(family, kind, protocol)
    try:
        # As gunicorn does: a port with nothing but connections in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # With SO_REUSEADDR two sockets may bind one port, until one of them listens.
        listener.listen()
    except OSError as exc:
        listener.close()
        if exc.errno == errno.EADDRINUSE:
            raise DevcloudError(f"{service}: port {port} on {host} is taken") from exc
        reason = exc.strerror or exc
        raise DevcloudError(f"{service}: cannot listen on {host}:{port}: {reason}") from exc
    return listener


def check_free(host: str, port: int, *, service: str) -> None:
    """Raise ``DevcloudError`` when nothing could listen on this port now."""
    listen(host, port, service=service).close()


def is_free(host: str, port: int) -> bool:
    """Whether something could listen on this port now."""
    try:
        check_free(host, port, service="")
    except DevcloudError:
        return False
    return True


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that is free now, for a service that binds it itself a moment later."""
    with listen(host, 0, service="") as listener:
        port: int = listener.getsockname()[1]
    return port


def reachable(host: str) -> str:
    """Return an address of this machine for what listens on ``host``, which may be all of them."""
    return _ANY.get(host, host)


def own_address() -> str | None:
    """Return the address by which other machines most likely reach this one; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it chooses the route. Nobody has this address (RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return address


def authority(host: str, port: int) -> str:
    """Return ``host:port`` as URLs and image names have it, IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
