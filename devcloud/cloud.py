"""Which services there are, what each needs, and how a set of them is started, watched and stopped.

A new service is a module with a class that fulfils ``Service``, and one line in ``SERVICES``.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, Protocol

from devcloud.data import DataDirectory, Running
from devcloud.errors import DevcloudError
from devcloud.glance import Glance
from devcloud.ports import LOOPBACK, check_free, is_free
from devcloud.process import Process
from devcloud.registry import Registry

GLANCE_PORT = 9292
WATCH_INTERVAL_S = 0.5
LEFTOVER_PATIENCE_S = 10.0

LOG = logging.getLogger(__name__)


class Service(Protocol):
    """A service that can be started and stopped, both of which return when it is done."""

    @property
    def name(self) -> str:
        """Its name on the command line and in messages."""
        ...

    @property
    def url(self) -> str:
        """Where it answers, once started."""
        ...

    @property
    def probe(self) -> str:
        """What answers 200 for as long as it works."""
        ...

    @property
    def log(self) -> Path:
        """Where its output goes."""
        ...

    @property
    def process(self) -> Process:
        """Its process, once started."""
        ...

    def start(self) -> None:
        """Start it and wait until it answers; raise ``DevcloudError`` with nothing left running."""
        ...

    def stop(self) -> None:
        """End it. Idempotent."""
        ...


@dataclass
class Cloud:
    """A set of services over one data directory.

    Args:
        data: Where they keep their files.
        host: Where the registry listens; everything else stays on loopback.
        port: The registry's.
        glance_port: 0 takes Glance's own port if it is free, else any.
    """

    data: DataDirectory
    host: str = LOOPBACK
    port: int = 5042
    glance_port: int = 0
    started: dict[str, Service] = field(default_factory=dict, init=False)

    @contextmanager
    def up(self, names: Iterable[str]) -> Iterator[None]:
        """Start services and what they need, in order; stop them in reverse.

        Raises:
            DevcloudError: One cannot be started; those before it are stopped again.
        """
        wanted = with_needed(names)
        with self.data.held(), ExitStack() as stack:
            self._check(wanted)
            for name in wanted:
                LOG.info("%s: starting", name)
                began = time.monotonic()
                service = SERVICES[name].make(self)
                # Before the start: a signal may come between the two, and stopping is idempotent.
                stack.callback(self._stop, service)
                service.start()
                self.started[name] = service
                LOG.info(
                    "%s: %s after %.1f s, log %s",
                    *(name, service.url, time.monotonic() - began, service.log),
                )
                self.data.write_running([_running(one) for one in self.started.values()])
            yield

    def watch(self) -> NoReturn:
        """Wait for ever; raise ``DevcloudError`` when a service ends."""
        while True:
            for service in self.started.values():
                if not service.process.running:
                    raise DevcloudError(f"{service.name} has ended: {service.process.last_words()}")
            time.sleep(WATCH_INTERVAL_S)

    def _stop(self, service: Service) -> None:
        if self.started.pop(service.name, None):
            LOG.info("%s: stopping", service.name)
        service.stop()

    def _check(self, wanted: list[str]) -> None:
        """Fail for a taken port now rather than after what comes before it has been started."""
        ports = [("registry", self.host, self.port), ("glance", LOOPBACK, self.glance_port)]
        checked = [each for each in ports if each[0] in wanted and each[2]]
        # The services of an `up` that was killed get a signal then, and take a moment to end.
        deadline = time.monotonic() + (LEFTOVER_PATIENCE_S if self.data.last_running() else 0)
        while time.monotonic() < deadline and not all(is_free(*each[1:]) for each in checked):
            time.sleep(0.1)
        for name, host, port in checked:
            check_free(host, port, service=name)


@dataclass(frozen=True)
class Kind:
    """How a service is made, and which others have to be up before."""

    make: Callable[[Cloud], Service]
    needs: tuple[str, ...] = ()


def _glance(cloud: Cloud) -> Service:
    port = cloud.glance_port or (GLANCE_PORT if is_free(LOOPBACK, GLANCE_PORT) else 0)
    return Glance(cloud.data.folder("glance"), port, log=cloud.data.log("glance"))


def _registry(cloud: Cloud) -> Service:
    return Registry(
        cloud.data.folder("registry"),
        cloud.started["glance"].url,
        host=cloud.host,
        port=cloud.port,
        log=cloud.data.log("registry"),
    )


SERVICES: Mapping[str, Kind] = MappingProxyType(
    {"glance": Kind(_glance), "registry": Kind(_registry, needs=("glance",))}
)


def with_needed(names: Iterable[str]) -> list[str]:
    """Return the services and all that they need, each after what it needs."""
    ordered: list[str] = []
    for name in names:
        for one in (*with_needed(SERVICES[name].needs), name):
            if one not in ordered:
                ordered.append(one)
    return ordered


def _running(service: Service) -> Running:
    return Running(
        name=service.name,
        url=service.url,
        probe=service.probe,
        pid=service.process.pid,
        log=str(service.log),
    )
