"""How many requests each operation of the registry makes to Glance, as ``docs/storage.md`` states it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcloud.glance import Glance
from devcloud.registry import Registry
from tests.live.conftest import StartRegistry
from tests.live.faulty_glance import FaultyGlance, Kind
from tests.live.pusher import MANIFEST, Pusher, manifest
from tests.live.wire import request, sha256

TABLE = Path(__file__).parents[2] / "docs" / "storage.md"
BEGIN, END = "<!-- requests:begin -->", "<!-- requests:end -->"
HEADER = ("| operation | requests to Glance | of which |", "| --- | ---: | --- |")
CONFIG = b'{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}'


class Meter:
    """Measures operations at a proxy between a registry and Glance.

    Attributes:
        rows: The table's lines, as measured.
    """

    def __init__(self, glance: FaultyGlance, start_registry: StartRegistry) -> None:
        self._glance = glance
        self._start_registry = start_registry
        self._cold: Registry | None = None
        self.rows: list[str] = []
        self.pusher = Pusher(self._start().authority, f"requests/{uuid.uuid4().hex[:8]}")

    def cold(self) -> Pusher:
        """Return a client of a replica that knows nothing; the one before it ends."""
        if self._cold is not None:
            self._cold.stop()
        self._cold = self._start()
        return Pusher(self._cold.authority, self.pusher.repository)

    def _start(self) -> Registry:
        # The freshness window outlasts the suite: a warm replica stays warm.
        return self._start_registry(self._glance.url, freshness=3600)

    def row(self, operation: str, act: Callable[[], object]) -> None:
        """Perform an operation and write down what it asked of Glance."""
        self._glance.reset()
        act()
        counts = self._glance.counts
        assert Kind.OTHER not in counts, self._glance.calls
        parts = [f"{number} {kind}" for kind, number in sorted(counts.items(), key=_position)]
        self.rows.append(f"| {operation} | {counts.total()} | {', '.join(parts) or 'none'} |")


def _position(item: tuple[Kind, int]) -> int:
    return list(Kind).index(item[0])


@pytest.fixture(scope="module")
def faulty(glance: Glance) -> Iterator[FaultyGlance]:
    with FaultyGlance(glance.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def measured(faulty: FaultyGlance, start_registry: StartRegistry) -> list[str]:
    meter = Meter(faulty, start_registry)
    _measure_uploads(meter)
    _measure_manifests(meter)
    _measure_reading(meter)
    _measure_deleting(meter)
    _measure_clients(meter)
    return meter.rows


def _measure_uploads(meter: Meter) -> None:
    push = meter.pusher
    push.blob(b"the first blob tells a replica how Glance hashes")
    content = os.urandom(3000)
    locations: list[str] = []
    meter.row("layer in one chunk: POST", lambda: locations.append(push.begin()))
    meter.row("layer in one chunk: PATCH", lambda: locations.append(push.append(locations[-1], content)))
    meter.row("layer in one chunk: PUT", lambda: _finish(push, locations[-1], content))
    meter.row("layer in one chunk: HEAD afterwards", lambda: _get(push, f"/blobs/{sha256(content)}", "HEAD"))
    meter.row("layer in one POST", lambda: push.blob(os.urandom(3000)))
    whole = os.urandom(3000)
    locations = [push.begin()]
    meter.row(
        "layer in 3 chunks: first PATCH",
        lambda: locations.append(push.append(locations[-1], whole[:1000], start=0)),
    )
    meter.row(
        "layer in 3 chunks: second PATCH",
        lambda: locations.append(push.append(locations[-1], whole[1000:2000], start=1000)),
    )
    meter.row(
        "layer in 3 chunks: third PATCH",
        lambda: locations.append(push.append(locations[-1], whole[2000:], start=2000)),
    )
    meter.row("layer in 3 chunks: PUT", lambda: _finish(push, locations[-1], whole))
    session = push.begin()
    meter.row("status of an upload", lambda: request(push.address, "GET", session))
    meter.row("cancel an upload", lambda: request(push.address, "DELETE", session))
    meter.row("mount a layer", lambda: _mount(push, sha256(content)))


def _measure_manifests(meter: Meter) -> None:
    push = meter.pusher
    layers = [os.urandom(500), os.urandom(500)]
    for content in (*layers, CONFIG):
        push.blob(content)
    first, second = manifest(layers, CONFIG), manifest(layers, CONFIG)
    meter.row("manifest (config, 2 layers), new tag", lambda: push.manifest("v1", first))
    meter.row("the same again", lambda: push.manifest("v1", first))
    meter.row("another manifest, the tag moves", lambda: push.manifest("v1", second))
    third = manifest(layers, CONFIG)
    meter.row("manifest by digest", lambda: push.manifest(sha256(third), third))
    referrer = manifest([], CONFIG, subject=sha256(third))
    meter.row("manifest with a subject, by digest", lambda: push.manifest(sha256(referrer), referrer))
    push.manifest(sha256(other := manifest([], CONFIG, subject=sha256(third))), other)
    meter.row("list of 2 referrers", lambda: _get(push, f"/referrers/{sha256(third)}"))
    cold = meter.cold()
    fourth = manifest(layers, CONFIG)
    meter.row("manifest (config, 2 layers), new tag, cold replica", lambda: cold.manifest("v4", fourth))


def _measure_reading(meter: Meter) -> None:
    push = meter.pusher
    layer = os.urandom(500)
    image = push.image("v1", layers=[layer], config=CONFIG)
    blob, unknown = f"/blobs/{sha256(layer)}", f"/blobs/{sha256(b'nobody pushed this')}"

    meter.row("HEAD blob", lambda: _get(push, blob, "HEAD"))
    meter.row("HEAD blob that is not here", lambda: _get(push, unknown, "HEAD", 404))
    meter.row("GET blob", lambda: _get(push, blob))
    meter.row("GET manifest by tag", lambda: _get(push, "/manifests/v1"))
    meter.row("GET manifest by digest", lambda: _get(push, f"/manifests/{image.digest}"))
    meter.row("GET manifest by tag that is not here", lambda: _get(push, "/manifests/v0", status=404))
    for operation, method, path, status in (
        ("HEAD blob, cold replica", "HEAD", blob, 200),
        ("HEAD blob that is not here, cold replica", "HEAD", unknown, 404),
        ("GET blob, cold replica", "GET", blob, 200),
        ("GET manifest by tag, cold replica", "GET", "/manifests/v1", 200),
        ("GET manifest by digest, cold replica", "GET", f"/manifests/{image.digest}", 200),
    ):
        replica = meter.cold()
        meter.row(operation, lambda: _get(replica, path, method, status))  # noqa: B023 - called at once
    meter.row("list of tags (1 page)", lambda: _get(push, "/tags/list"))
    meter.row("catalog (1 page)", lambda: request(push.address, "GET", "/v2/_catalog"))


def _measure_deleting(meter: Meter) -> None:
    push = meter.pusher
    layer = os.urandom(500)
    image = push.image("v9", layers=[layer], config=CONFIG)
    meter.row("DELETE tag", lambda: _get(push, "/manifests/v9", "DELETE", 202))
    meter.row("DELETE manifest", lambda: _get(push, f"/manifests/{image.digest}", "DELETE", 202))
    meter.row("DELETE blob", lambda: _get(push, f"/blobs/{sha256(layer)}", "DELETE", 202))


def _measure_clients(meter: Meter) -> None:
    push = meter.pusher
    layers = [os.urandom(500) for _ in range(10)]
    body = manifest(layers, CONFIG + b" ")

    def upload(content: bytes) -> None:
        # As docker does it: POST, one PATCH, PUT, and HEAD.
        _finish(push, push.append(push.begin(), content), content)
        _get(push, f"/blobs/{sha256(content)}", "HEAD")

    def push_all() -> None:
        for content in (*layers, CONFIG + b" "):
            upload(content)
        push.manifest("v10", body)

    def push_again() -> None:
        for content in (*layers, CONFIG + b" "):
            _get(push, f"/blobs/{sha256(content)}", "HEAD")
        push.manifest("v10", body)

    def pull(client: Pusher) -> None:
        _get(client, "/manifests/v10", "HEAD")
        _get(client, f"/manifests/{sha256(body)}")
        for content in (CONFIG + b" ", *layers):
            _get(client, f"/blobs/{sha256(content)}")

    meter.row("docker push, 10 layers", push_all)
    meter.row("docker push of the same again", push_again)
    meter.row("docker pull, 10 layers", lambda: pull(push))
    cold = meter.cold()
    meter.row("docker pull, 10 layers, cold replica", lambda: pull(cold))


def _finish(push: Pusher, location: str, content: bytes) -> None:
    answer = request(push.address, "PUT", f"{location}&digest={sha256(content)}", body=b"")
    assert answer.status == 201, answer


def _mount(push: Pusher, digest: str) -> None:
    answer = push.request("POST", f"/blobs/uploads/?mount={digest}&from=somewhere/else", body=b"")
    assert answer.status == 201, answer


def _get(push: Pusher, path: str, method: str = "GET", status: int = 200) -> None:
    answer = push.request(method, path, {"Accept": MANIFEST})
    assert answer.status == status, answer


def test_requests_to_glance_are_those_that_the_documentation_states(measured: list[str]) -> None:
    text = TABLE.read_text()
    stated = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()

    assert stated == [*HEADER, *measured], "as measured:\n" + "\n".join([BEGIN, *HEADER, *measured, END])
