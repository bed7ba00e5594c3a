"""``Engine`` over the Docker Engine's API: the only module that knows the ``docker`` library."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import docker
import requests
from docker.types import LogConfig

from nova_hook import engine
from nova_hook.engine import (
    Container,
    ContainerDied,
    ContainerNameTaken,
    ContainerSpec,
    ContainerStateConflict,
    ContainerUnknown,
    Credential,
    EngineError,
    EngineImageUnfit,
    EngineInfo,
    EngineRefused,
    EngineUnreachable,
    PullFailed,
    State,
    Usage,
)
from nova_hook.images import EngineReference
from nova_hook.programs import candidates

_CPU_PERIOD_US: Final = 100_000
_CPU_SHARES: Final = 1024
_MAX_CPU_SHARES: Final = 262_144
_LOG_LINES: Final = 10_000
_REMOVAL_TIMEOUT_S: Final = 60.0
_REMOVAL_POLL_S: Final = 0.2


class DockerEngine:
    """See ``engine.Engine``. Nothing is sent before the first call.

    Args:
        host: The engine's socket, ``unix:///…``.
        timeout_s: How long the engine may stay silent within one call.
    """

    def __init__(self, host: str, *, timeout_s: int) -> None:
        self._connection = _Connection(host, timeout_s=timeout_s)
        self.containers: engine.Containers = DockerContainers(self._connection)

    def close(self) -> None:
        """Close its connections; a later call opens new ones."""
        self._connection.close()

    def info(self) -> EngineInfo:
        """See ``Engine.info``."""
        with self._connection.client() as client:
            info = client.info()
        return EngineInfo(
            version=info["ServerVersion"],
            architecture=info["Architecture"],
            cpus=info["NCPU"],
            memory_bytes=info["MemTotal"],
            data_root=info["DockerRootDir"],
            runtimes=frozenset(info["Runtimes"]),
        )

    def pull(self, image: EngineReference, credential: Credential | None) -> None:
        """See ``Engine.pull``."""
        # Never None: docker-py would take what it finds in a home directory.
        authentication: dict[str, str] = {}
        if credential is not None:
            # Docker drops the credential without a word when serveraddress is another host than the image's.
            authentication = {
                "username": credential.username,
                "password": credential.password,
                "serveraddress": image.registry,
            }
        with self._connection.client() as client:
            try:
                for report in client.pull(
                    image.name, tag=image.digest, stream=True, decode=True, auth_config=authentication
                ):
                    # The answer is 200 before anything was pulled; what goes wrong is told in the stream.
                    if "error" in report:
                        raise _pull_error(image, str(report["error"]))
                pulled = client.inspect_image(image.by_digest)
                machine = client.version()
            except docker.errors.APIError as exc:
                raise _pull_error(image, _explanation(exc)) from exc
        # A manifest (not an index) of another architecture is pulled without complaint (Docker 20.10).
        theirs, ours = (pulled["Os"], pulled["Architecture"]), (machine["Os"], machine["Arch"])
        if theirs != ours:
            raise EngineImageUnfit(f"{image} is for {'/'.join(theirs)}, and this host is {'/'.join(ours)}")

    @contextlib.contextmanager
    def deaths(self) -> Iterator[Iterator[ContainerDied]]:
        """See ``Engine.deaths``."""
        with self._connection.client() as client:
            # The answer's headers come before the engine has subscribed us; what happens in between it replays.
            filters = {"type": "container", "event": "die"}
            stream = client.events(since=int(time.time()), decode=True, filters=filters)
        left = threading.Event()

        def read() -> Iterator[ContainerDied]:
            with _translated(self._connection.host):
                for event in stream:
                    labels = dict(event["Actor"]["Attributes"])
                    yield ContainerDied(labels.pop("name"), labels)
            if not left.is_set():
                raise EngineUnreachable(f"{self._connection.host}: the engine ended its events")

        try:
            yield read()
        finally:
            left.set()
            with contextlib.suppress(OSError):
                stream.close()


class DockerContainers:
    """See ``engine.Containers``."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def create(self, spec: ContainerSpec) -> None:
        """See ``Containers.create``."""
        with self._connection.client() as client:
            limits = client.create_host_config(
                init=True,
                restart_policy={"Name": "no"},
                network_mode="none",
                privileged=False,
                cap_drop=["ALL"],
                cap_add=list(spec.capabilities),
                security_opt=["no-new-privileges"],
                mem_limit=spec.memory_bytes,
                # Equal to the memory: no swap. Docker's default would be as much again.
                memswap_limit=spec.memory_bytes,
                cpu_period=_CPU_PERIOD_US,
                cpu_quota=_CPU_PERIOD_US * spec.cpus,
                cpu_shares=min(_CPU_SHARES * spec.cpus, _MAX_CPU_SHARES),
                pids_limit=spec.pids,
                log_config=LogConfig(
                    type=LogConfig.types.JSON,
                    config={"max-size": str(spec.log_size_bytes), "max-file": str(spec.log_files)},
                ),
            )
            try:
                client.create_container(
                    str(spec.image),
                    name=spec.name,
                    hostname=spec.hostname,
                    labels=dict(spec.labels),
                    host_config=limits,
                    runtime=spec.runtime,
                )
            except docker.errors.APIError as exc:
                if exc.status_code == requests.codes.conflict:
                    raise ContainerNameTaken(_explanation(exc)) from exc
                raise EngineRefused(_explanation(exc)) from exc

    def start(self, name: str) -> None:
        """See ``Containers.start``."""
        with self._connection.client(container=name) as client:
            _check_program(client, name)
            client.start(name)

    def stop(self, name: str, *, timeout_s: int) -> None:
        """See ``Containers.stop``."""
        with self._connection.client(container=name) as client:
            client.stop(name, timeout=timeout_s)

    def pause(self, name: str) -> None:
        """See ``Containers.pause``."""
        self._freeze(name, State.PAUSED)

    def unpause(self, name: str) -> None:
        """See ``Containers.unpause``."""
        self._freeze(name, State.RUNNING)

    def _freeze(self, name: str, wanted: State) -> None:
        with self._connection.client(container=name) as client:
            try:
                (client.pause if wanted is State.PAUSED else client.unpause)(name)
            except docker.errors.APIError as exc:
                # The engine refuses a second pause as it refuses one of what doesn't run.
                state = self.find(name).state
                if state not in (State.RUNNING, State.PAUSED):
                    raise ContainerStateConflict(f"{name} is {state.value}") from exc
                if state is not wanted:
                    raise

    def remove(self, name: str) -> None:
        """See ``Containers.remove``."""
        deadline = time.monotonic() + _REMOVAL_TIMEOUT_S
        while True:
            with contextlib.suppress(ContainerUnknown), self._connection.client(container=name) as client:
                try:
                    client.remove_container(name, v=True, force=True)
                except docker.errors.APIError as exc:
                    # Somebody else is removing it already.
                    if exc.status_code != requests.codes.conflict or time.monotonic() > deadline:
                        raise
                    time.sleep(_REMOVAL_POLL_S)
                    continue
            return

    def find(self, name: str) -> Container:
        """See ``Containers.find``."""
        # Inspecting would wait for what goes on with the container; the list doesn't (Docker 20.10).
        for container in self._listed({"name": f"^/{re.escape(name)}$"}):
            if container.name == name:
                return container
        raise ContainerUnknown(f"the engine has no container {name}")

    def list_all(self) -> list[Container]:
        """See ``Containers.list_all``."""
        return self._listed({})

    def _listed(self, filters: dict[str, str]) -> list[Container]:
        with self._connection.client() as client:
            entries = client.containers(all=True, filters=filters)
        return [
            Container(
                id=entry["Id"],
                name=_own_name(entry["Names"]),
                labels=entry["Labels"] or {},
                state=State(entry["State"]),
            )
            for entry in entries
        ]

    def usage(self, name: str) -> Usage:
        """See ``Containers.usage``."""
        with self._connection.client(container=name) as client:
            state = client.inspect_container(name)["State"]
            ended = Usage(exit_code=state["ExitCode"], out_of_memory=state["OOMKilled"])
            if not state["Running"]:
                return ended
            stats = client.stats(name, stream=False, one_shot=True)
        # It may have ended in between; then the numbers are missing.
        disks: dict[str, int] = {}
        for entry in stats["blkio_stats"].get("io_service_bytes_recursive") or []:
            operation = entry["op"].lower()
            disks[operation] = disks.get(operation, 0) + entry["value"]
        return Usage(
            exit_code=ended.exit_code,
            out_of_memory=ended.out_of_memory,
            cpu_time_ns=stats["cpu_stats"]["cpu_usage"].get("total_usage", 0),
            memory_bytes=stats["memory_stats"].get("usage", 0),
            memory_limit_bytes=stats["memory_stats"].get("limit", 0),
            read_bytes=disks.get("read", 0),
            written_bytes=disks.get("write", 0),
        )

    def logs(self, name: str, *, max_bytes: int) -> bytes:
        """See ``Containers.logs``."""
        pieces: deque[bytes] = deque()
        size = 0
        with self._connection.client(container=name) as client:
            for piece in client.logs(name, stream=True, follow=False, tail=_LOG_LINES):
                pieces.append(piece)
                size += len(piece)
                while size - len(pieces[0]) >= max_bytes:
                    size -= len(pieces.popleft())
        return b"".join(pieces)[-max_bytes:]


class _Connection:
    """Lends docker-py clients, each to one thread at a time: their sessions are not made to be shared."""

    def __init__(self, host: str, *, timeout_s: int) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._idle: deque[Any] = deque()

    @contextlib.contextmanager
    def client(self, container: str | None = None) -> Iterator[Any]:
        """Lend a client, and translate what it raises.

        Args:
            container: What a 404 means.
        """
        with _translated(self.host, container):
            try:
                client = self._idle.pop()
            except IndexError:
                # This asks the engine for its version.
                client = docker.APIClient(base_url=self.host, version="auto", timeout=self._timeout_s)
            try:
                yield client
            finally:
                self._idle.append(client)

    def close(self) -> None:
        """Close what is not lent."""
        while self._idle:
            self._idle.pop().close()


def _check_program(client: Any, name: str) -> None:
    """Refuse a new container whose program is missing: its init starts anyway, and would only end soon after."""
    container = client.inspect_container(name)
    if container["State"]["Status"] != State.CREATED.value:
        return
    config = container["Config"]
    paths = candidates(container["Path"], config["Env"] or [], config["WorkingDir"] or "")
    url = f"{client.base_url}/v{client.api_version}/containers/{name}/archive"
    if not any(client.head(url, params={"path": path}, timeout=client.timeout).ok for path in paths):
        raise EngineRefused(f"the image has no program {container['Path']}, looked for at {', '.join(paths)}")


@contextlib.contextmanager
def _translated(host: str, container: str | None = None) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except docker.errors.APIError as exc:
        if container is not None and exc.status_code == requests.codes.not_found:
            raise ContainerUnknown(f"the engine has no container {container}") from exc
        raise EngineRefused(_explanation(exc)) from exc
    except (docker.errors.DockerException, requests.RequestException, OSError) as exc:
        raise EngineUnreachable(f"the engine at {host} does not answer: {exc}") from exc


def _pull_error(image: EngineReference, message: str) -> EngineError:
    if "no matching manifest" in message:
        return EngineImageUnfit(f"{image}: {message}")
    if "server gave HTTP response to HTTPS client" in message:
        message += f" (the engine's insecure-registries must name {image.registry}, which has no TLS)"
    return PullFailed(f"{image}: {message}")


def _explanation(error: Any) -> str:
    return str(error.explanation or error)


def _own_name(names: list[str]) -> str:
    """Return a container's own name of those in a list, where links to others add ``/other/alias``."""
    own = [name.removeprefix("/") for name in names or [] if name.count("/") == 1]
    return own[0] if own else ""
