"""Three replicas over one Glance, consecutive requests dealt out in turn, are one registry."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import pytest

from devcloud.glance import Glance
from devcloud.registry import Registry
from tests.conformance.run import find_suite, run_suite
from tests.e2e.engines import DockerEngine
from tests.e2e.registry_api import RegistryApi
from tests.e2e.round_robin import RoundRobin
from tests.e2e.tools import find, require

REPLICAS = 3


@pytest.fixture(scope="module")
def replicas(e2e_folder: Path, module_glance: Glance) -> Iterator[list[str]]:
    """The addresses of three registry processes that share nothing but Glance."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Registry(e2e_folder / f"replica{number}", glance_url=module_glance.url))
            for number in range(REPLICAS)
        ]
        yield [server.authority for server in servers]


@pytest.fixture
def round_robin(replicas: list[str]) -> Iterator[RoundRobin]:
    with RoundRobin(replicas) as proxy:
        yield proxy
    served = [request.backend for request in proxy.requests]
    assert served == [number % REPLICAS for number in range(len(served))]


def test_the_conformance_suite_passes_through_all_of_them(round_robin: RoundRobin, tmp_path: Path) -> None:
    require("conformance")
    suite = find_suite()
    assert suite

    # With the strict options the two versions ask for the same; test_conformance.py runs both.
    outcome = run_suite(suite, round_robin.address, "dev", tmp_path / "results")

    assert (outcome.failed, outcome.skipped) == ((), ()), str(outcome)
    assert (outcome.failures, outcome.skips) == (0, 0)
    assert len(round_robin.requests) > outcome.passed


def test_a_docker_push_and_pull_pass_through_all_of_them(
    round_robin: RoundRobin,
    docker_engine: DockerEngine,
    second_docker_engine: DockerEngine,
    repository: str,
    tmp_path: Path,
) -> None:
    require("busybox")
    shutil.copy(find("busybox") or "", tmp_path / "busybox")
    names = [f"file{number}" for number in range(8)]
    for name in names:
        (tmp_path / name).write_bytes(os.urandom(300_000))
    copies = "".join(f"COPY {name} /{name}\n" for name in names)
    command = '["/bin/busybox", "sha256sum", "/file7"]'
    dockerfile = f"FROM scratch\n{copies}COPY busybox /bin/busybox\nCMD {command}\n"
    api = RegistryApi(round_robin.address)
    reference = api.reference(repository)
    docker_engine.build(reference, dockerfile, tmp_path)

    docker_engine.docker("push", reference)
    second_docker_engine.docker("pull", reference)

    run = ("run", "--rm", "--network", "none", reference)
    assert second_docker_engine.docker(*run) == docker_engine.docker(*run)
    assert second_docker_engine.repository_digest(reference) == api.digest(repository, "v1")
    api.assert_complete(repository, "v1")


def test_consecutive_chunks_of_one_upload_reach_different_replicas(
    round_robin: RoundRobin, repository: str
) -> None:
    chunks = [os.urandom(100_000) for _ in range(7)]
    content = b"".join(chunks)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    location = send(round_robin, "POST", f"/v2/{repository}/blobs/uploads/")
    offset = 0
    for chunk in chunks:
        content_range = f"{offset}-{offset + len(chunk) - 1}"
        location = send(round_robin, "PATCH", location, chunk, content_range)
        offset += len(chunk)
    send(round_robin, "PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")

    assert RegistryApi(round_robin.address).blob_digest(repository, digest) == digest


def send(proxy: RoundRobin, method: str, location: str, body: bytes = b"", content_range: str = "") -> str:
    """Send one request of an upload and return the Location of the answer."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
    if content_range:
        headers["Content-Range"] = content_range
    connection = HTTPConnection(proxy.address, timeout=60)
    try:
        target = urlsplit(urljoin(f"http://{proxy.address}", location))
        assert target.netloc == proxy.address, "the Location leads past the proxy"
        path = urlunsplit(("", "", target.path, target.query, ""))
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status in {201, 202}, f"{method} {location}: {response.status} {answer!r}"
        return response.headers["Location"]
    finally:
        connection.close()
