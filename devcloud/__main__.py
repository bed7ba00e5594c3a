"""The command line: ``python -m devcloud up | status | down | env``."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from devcloud.cloud import SERVICES, Cloud
from devcloud.data import DataDirectory
from devcloud.errors import DevcloudError
from devcloud.hints import hints, openrc
from devcloud.ports import LOOPBACK
from devcloud.process import answers

NOT_UP = 3  # as init scripts have it
DOWN_TIMEOUT_S = 90.0


class Ended(BaseException):
    """A signal asked for the end; like KeyboardInterrupt, nothing but the top handles it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        return int(options.command(options))
    except DevcloudError as exc:
        print(f"devcloud: {exc}", file=sys.stderr)
        return 1


def up(options: argparse.Namespace) -> int:
    """Start services, say where they are, and stay until a signal or the end of one of them."""
    cloud = Cloud(
        DataDirectory(options.data),
        host=options.host,
        port=options.port,
        glance_port=options.glance_port,
    )
    try:
        with _ended_by_signals(), cloud.up(options.services or SERVICES):
            urls = {name: service.url for name, service in cloud.started.items()}
            name, url = list(urls.items())[-1]
            print(f"{name} ready: {url}", flush=True)
            print(hints(urls, host=options.host), flush=True)
            print(f"Ctrl-C ends all of it; the data stays in {cloud.data.path}", flush=True)
            cloud.watch()
    except Ended:
        return 0


def status(options: argparse.Namespace) -> int:
    """Say what is up and whether it answers; exit status 3 when nothing is, 1 when some do not."""
    data = DataDirectory(options.data)
    pid = data.holder()
    if pid is None:
        print(f"nothing is up in {data.path}")
        return NOT_UP
    print(f"up in {data.path}, with pid {pid}")
    services = data.running()
    healthy = bool(services)
    for service in services:
        well = answers(service.probe, timeout_s=5.0)
        healthy = healthy and well
        word = "answers" if well else "does not answer"
        print(f"{service.name}: {service.url} {word}, pid {service.pid}, log {service.log}")
    return 0 if healthy else 1


def down(options: argparse.Namespace) -> int:
    """End the ``up`` that runs in another terminal, and wait until it has ended."""
    data = DataDirectory(options.data)
    if not data.end_holder(timeout_s=DOWN_TIMEOUT_S):
        print(f"nothing is up in {data.path}")
    return 0


def env(options: argparse.Namespace) -> int:
    """Print shell commands that point the OpenStack clients at what is up."""
    data = DataDirectory(options.data)
    urls = {service.name: service.url for service in data.running()}
    if "glance" not in urls:
        raise DevcloudError(f"no glance is up in {data.path}")
    print(openrc(urls))
    return 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise ``Ended`` at the first signal that asks for the end; later ones don't disturb the stopping."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise Ended

    numbers = [signal.SIGINT, signal.SIGTERM]
    # `nohup` has it ignored, and means that.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _service(name: str) -> str:
    if name not in SERVICES:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(SERVICES)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devcloud", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (up, status, down, env):
        sub = commands.add_parser(command.__name__, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument(
            "--data",
            type=Path,
            default=Path(os.environ.get("DATA", ".data")),
            help="directory in which services keep their files (default: $DATA or .data)",
        )
        if command is up:
            _add_up_arguments(sub)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port number")
    return int(text)


def _add_up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        type=_service,
        help=f"of {', '.join(SERVICES)}; what they need comes along (default: all)",
    )
    parser.add_argument("--host", default=LOOPBACK, help="where the registry listens")
    parser.add_argument("--port", type=_port, default=5042, help="the registry's port")
    parser.add_argument(
        "--glance-port", type=_port, default=0, help="Glance's port, on loopback (default: 9292, or any)"
    )


if __name__ == "__main__":
    sys.exit(main())
