"""The registry of this project, in front of a Glance that asks nobody for a password."""

import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from types import TracebackType
from typing import Self

from devcloud.errors import DevcloudError
from devcloud.ports import LOOPBACK, authority, check_free, free_port, reachable
from devcloud.process import Process, child_environment

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Registry:
    """A registry server; it keeps nothing but its configuration in its directory.

    Args:
        data: Its directory; made when missing.
        glance_url: The Glance that it stores in.
        host: Address to listen on.
        port: 0 takes a free one, and ``url`` is known once started.
        log: Its log file; ``registry.log`` in ``data`` unless given.
        settings: Further options by section, which win over what is written here.
    """

    name = "registry"

    def __init__(
        self,
        data: Path,
        glance_url: str,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        log: Path | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.data = data.absolute()
        self.glance_url = glance_url
        self.host = host
        self.port = port
        self.log = log.absolute() if log else self.data / "registry.log"
        self._settings = settings or {}
        self._process: Process | None = None

    @property
    def authority(self) -> str:
        """``host:port`` as it stands in image names, an address that clients here can reach."""
        return authority(reachable(self.host), self.port)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.authority}"

    @property
    def probe(self) -> str:
        """The API's root."""
        return f"{self.url}/v2/"

    @property
    def process(self) -> Process:
        """The running server."""
        if self._process is None:
            raise DevcloudError("registry is not started")
        return self._process

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            DevcloudError: Nothing is left running.
        """
        if self.port == 0:
            self.port = free_port(self.host)
        check_free(self.host, self.port, service=self.name)
        self._process = Process(
            self.name,
            [sys.executable, "-m", "registry_glance", "serve", "--config-file", self._configure()],
            log=self.log,
            environment=child_environment(),
        )
        try:
            self._process.start()
            self._process.wait_until_answering(self.probe, timeout_s=START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; requests under way get a few seconds. Idempotent."""
        if self._process is not None:
            self._process.stop(timeout_s=STOP_TIMEOUT_S)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _configure(self) -> str:
        configuration = ConfigParser(interpolation=None)
        configuration.read_dict(
            {
                "registry": {"host": self.host, "port": str(self.port)},
                "glance": {"auth_type": "none", "endpoint": self.glance_url},
            }
        )
        configuration.read_dict(self._settings)
        path = self.data / "registry.conf"
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            with path.open("w") as file:
                file.write("# Written by devcloud at each start.\n")
                configuration.write(file)
        except OSError as exc:
            raise DevcloudError(f"registry: {exc.filename or path}: {exc.strerror}") from exc
        return str(path)
