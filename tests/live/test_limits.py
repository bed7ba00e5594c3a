"""Open streams stay below Glance's threads: slow clients starve nobody, and compositions can't stand still."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from devcloud.registry import Registry
from tests.live.conftest import StartGlance, StartRegistry
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import MANIFEST, Image, Pusher, manifest
from tests.live.wire import Answer, Connection, request, sha256

MIB = 1024 * 1024
GLANCE_THREADS = 10
THREADS = 32
MAX_STREAMS = 6
STREAM_WAIT_S = 1.0
COMPOSITIONS = 9
PROMPT_S = 1.0
CONFIG = b'{"architecture": "arm64", "os": "linux", "config": {"Cmd": ["serve"]}}'


@dataclass(frozen=True)
class Bench:
    """A registry whose streams are few, over a Glance whose threads are hardly more."""

    registry: Registry
    records: GlanceRecords
    push: Pusher
    image: Image
    large: bytes

    @property
    def large_path(self) -> str:
        return f"{self.push.base}/blobs/{sha256(self.large)}"


@pytest.fixture(scope="module")
def bench(start_glance: StartGlance, start_registry: StartRegistry) -> Bench:
    glance = start_glance(threads=GLANCE_THREADS)
    registry = start_registry(
        glance.url, threads=THREADS, max_streams=MAX_STREAMS, stream_wait=STREAM_WAIT_S, freshness=0
    )
    push = Pusher(registry.authority, "limits/image")
    # More than the kernel takes in on the way to a reader that does not read.
    large = os.urandom(24 * MIB)
    push.blob(large)
    return Bench(registry, GlanceRecords(glance.url), push, push.image("v1", config=CONFIG), large)


def test_each_download_gives_back_all_that_it_took(bench: Bench) -> None:
    path = f"/blobs/{sha256(bench.image.layers[0])}"

    # More often than the registry has threads, streams, or places of any kind.
    statuses = {
        bench.push.request(method, path).status for _ in range(2 * THREADS) for method in ("GET", "HEAD")
    }

    assert statuses == {200}


@dataclass(frozen=True)
class SlowClients:
    """Clients that hold all streams until they are told to go on."""

    uploads: list[tuple[Connection, str, bytes]]
    downloads: list[Connection]


@pytest.fixture
def slow(bench: Bench) -> Iterator[SlowClients]:
    with ExitStack() as stack:
        uploads, downloads = [], []
        for _ in range(MAX_STREAMS // 2):
            # The registry asks for a stream once it has a first MiB to send.
            location, content = bench.push.begin(), os.urandom(4 * MIB)
            upload = stack.enter_context(Connection(bench.push.address, timeout_s=60))
            upload.send_head("PATCH", location, {"Content-Length": len(content)})
            upload.send(content[: 5 * MIB // 2])
            uploads.append((upload, location, content))
            download = stack.enter_context(
                Connection(bench.push.address, timeout_s=60, receive_buffer=16_384)
            )
            download.send_head("GET", bench.large_path)
            downloads.append(download)
        time.sleep(0.5)
        yield SlowClients(uploads, downloads)
    # Whoever went away in the middle has given its stream back.
    deadline = time.monotonic() + 10
    while request(bench.push.address, "GET", bench.large_path).status == 503:
        assert time.monotonic() < deadline


def _timed(act: Callable[[], Answer]) -> tuple[float, int]:
    started = time.monotonic()
    answer = act()
    return time.monotonic() - started, answer.status


@pytest.mark.usefixtures("slow")
def test_metadata_is_served_while_slow_clients_hold_all_streams(bench: Bench) -> None:
    push = bench.push
    layer = sha256(bench.image.layers[0])
    acts: dict[str, tuple[int, Callable[[], Answer]]] = {
        "HEAD blob": (200, lambda: push.request("HEAD", f"/blobs/{layer}")),
        "HEAD unknown blob": (404, lambda: push.request("HEAD", f"/blobs/{sha256(os.urandom(9))}")),
        "tags": (200, lambda: push.request("GET", "/tags/list")),
        "catalog": (200, lambda: request(push.address, "GET", "/v2/_catalog")),
        "manifest": (200, lambda: push.request("GET", "/manifests/v1")),
        "begin": (202, lambda: push.request("POST", "/blobs/uploads/", body=b"")),
        "mount": (201, lambda: push.request("POST", f"/blobs/uploads/?mount={layer}&from=a/b", body=b"")),
        "push manifest": (
            201,
            lambda: push.request(
                "PUT", "/manifests/v2", {"Content-Type": MANIFEST}, manifest(bench.image.layers, CONFIG)
            ),
        ),
        "delete tag": (202, lambda: push.request("DELETE", "/manifests/v2")),
    }

    took = {name: (*_timed(act), status) for name, (status, act) in acts.items()}

    assert {name: got for name, (_, got, _) in took.items()} == {
        name: status for name, (status, _) in acts.items()
    }
    assert [name for name, (seconds, _, _) in took.items() if seconds > PROMPT_S] == []


@pytest.mark.usefixtures("slow")
def test_manifest_pushed_while_slow_clients_hold_all_streams_is_described(bench: Bench) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"

    bench.push.manifest(name, manifest(bench.image.layers, CONFIG))

    tag = next(image for image in bench.records.visible() if image["name"] == f"limits/image:{name}")
    assert (tag["hw_architecture"], tag["docker_command"]) == ("aarch64", '["serve"]')


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("way", ["download", "upload", "monolithic"])
def test_surplus_stream_is_told_to_come_again(bench: Bench, way: str) -> None:
    content = os.urandom(1000)
    method, path, body = {
        "download": ("GET", bench.large_path, None),
        "upload": ("PATCH", bench.push.begin(), content),
        "monolithic": ("POST", f"{bench.push.base}/blobs/uploads/?digest={sha256(content)}", content),
    }[way]

    started = time.monotonic()
    answer = request(bench.push.address, method, path, body=body)

    assert (answer.status, answer.codes) == (503, ["UNAVAILABLE"])
    assert int(answer.headers["Retry-After"]) > 0
    assert STREAM_WAIT_S * 0.9 < time.monotonic() - started < STREAM_WAIT_S + 4


def test_slow_clients_are_served_to_the_end(bench: Bench, slow: SlowClients) -> None:
    for connection, _, content in slow.uploads:
        connection.send(content[5 * MIB // 2 :])
        answer = connection.answer()
        assert answer.status == 202, answer
        done = request(
            bench.push.address, "PUT", f"{answer.headers['Location']}&digest={sha256(content)}", body=b""
        )
        assert done.status == 201, done
    for connection in slow.downloads:
        assert connection.answer().body == bench.large


def _composition(push: Pusher) -> tuple[str, bytes]:
    content = os.urandom(300_000)
    location = push.begin()
    for start in range(0, len(content), 100_000):
        location = push.append(location, content[start : start + 100_000], start=start)
    return f"{location}&digest={sha256(content)}", content


@pytest.mark.parametrize("streams", [2, 7])
def test_compositions_at_the_same_time_all_succeed(
    start_glance: StartGlance, start_registry: StartRegistry, streams: int
) -> None:
    glance = start_glance(threads=streams + 1)
    registry = start_registry(glance.url, max_streams=streams, stream_wait=60, threads=COMPOSITIONS + 4)
    push = Pusher(registry.authority, "limits/composed")
    compositions = [_composition(push) for _ in range(COMPOSITIONS)]

    with ThreadPoolExecutor(COMPOSITIONS) as pool:
        answers = list(
            pool.map(lambda item: request(push.address, "PUT", item[0], body=b"", timeout_s=90), compositions)
        )

    assert [answer.status for answer in answers] == [201] * COMPOSITIONS
    for _, content in compositions:
        assert push.request("GET", f"/blobs/{sha256(content)}").body == content
    registry.stop()
    glance.stop()


def test_composition_gets_its_turn_among_downloads_that_never_end(
    bench: Bench, start_registry: StartRegistry
) -> None:
    registry = start_registry(bench.records.url, max_streams=2, stream_wait=10)
    push = Pusher(registry.authority, "limits/image")
    target, content = _composition(push)
    stop = threading.Event()

    def download() -> None:
        while not stop.is_set():
            request(push.address, "GET", bench.large_path, timeout_s=60)

    threads = [threading.Thread(target=download) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        answer = request(push.address, "PUT", target, body=b"", timeout_s=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert answer.status == 201, answer
    assert push.request("GET", f"/blobs/{sha256(content)}").body == content
