"""The gate that keeps data below the threads: who comes when it is full, and that places are given back."""

from __future__ import annotations

import contextlib

import pytest
from flask import Response

from registry_glance.api.gate import DataGate
from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import BlobUnknown, Unavailable
from tests.fakes.memory_glance import MemoryGlance
from tests.unit.api.world import LAYER, NOWHERE, REPOSITORY, World, assert_error


def fail() -> Response:
    raise BlobUnknown


def test_more_than_there_are_places_are_told_to_come_again() -> None:
    gate = DataGate(2)

    with gate.passage(), gate.passage(), pytest.raises(Unavailable), gate.passage():
        pass

    with gate.passage(), gate.passage():
        pass


def test_a_download_holds_its_place_until_it_was_sent() -> None:
    gate = DataGate(1)

    response = gate.until_sent(Response)

    with pytest.raises(Unavailable), gate.passage():
        pass
    response.close()
    with gate.passage():
        pass


def test_a_download_that_fails_holds_no_place() -> None:
    gate = DataGate(1)

    for _ in range(2):
        with contextlib.suppress(BlobUnknown):
            gate.until_sent(fail)

    with gate.passage():
        pass


@pytest.mark.parametrize(
    ("method", "path", "environ"),
    [
        ("GET", f"blobs/{Digest.of(LAYER)}", {}),
        ("GET", f"blobs/{Digest.of(LAYER)}", {"HTTP_RANGE": "bytes=0-1"}),
        ("GET", f"blobs/{Digest.of(LAYER)}", {"HTTP_RANGE": "bytes=999-"}),
        ("GET", f"blobs/{Digest.of(LAYER)}", {"HTTP_IF_NONE_MATCH": "*"}),
        ("HEAD", f"blobs/{Digest.of(LAYER)}", {}),
        ("GET", f"blobs/{NOWHERE}", {}),
        ("POST", f"blobs/uploads/?digest={Digest.of(LAYER)}", {}),
        ("POST", f"blobs/uploads/?digest={Digest.of(LAYER)}", {"CONTENT_LENGTH": "1000"}),
        ("POST", f"blobs/uploads/?digest={NOWHERE}", {}),
        ("PUT", "manifests/latest", {}),
        ("PUT", "manifests/latest", {"CONTENT_LENGTH": "1000"}),
    ],
)
def test_every_request_gives_its_place_back_however_it_ends(
    method: str, path: str, environ: dict[str, str]
) -> None:
    world = World(MemoryGlance(), data_requests=1)
    world.push_blob()

    for _ in range(3):
        url = f"/v2/{REPOSITORY}/{path}"
        with world.client.open(url, method=method, data=LAYER, environ_overrides=environ) as response:
            assert response.status_code != 503

    world.push_blob(b"another")


def test_who_finds_no_place_is_told_to_come_again() -> None:
    world = World(MemoryGlance(), data_requests=1)
    digest = world.push_blob()
    url = f"/v2/{REPOSITORY}/blobs/{digest}"

    with world.client.get(url) as download:
        refused = world.client.post(f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", data=LAYER)

        assert_error(refused, 503, "UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) > 0
        # Small requests need no place.
        assert world.client.head(url).status_code == 200
        assert world.client.get(f"/v2/{REPOSITORY}/tags/list").status_code == 404
        assert download.data == LAYER

    world.push_blob()
