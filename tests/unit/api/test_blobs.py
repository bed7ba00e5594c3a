"""Blobs over HTTP (end-2, end-10)."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from registry_glance.registry.digests import Digest
from registry_glance.store.images import GlanceUnavailable
from tests.fakes.moments import fail
from tests.unit.api.world import LAYER, NOWHERE, REPOSITORY, World, assert_error

SIZE = len(LAYER)
ALGORITHMS = ["sha256", "sha512"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [LAYER, b"", b"\0" * 200_000], ids=["small", "empty", "several pieces"])
def test_a_blob_is_pulled_as_it_was_pushed(every_world: World, content: bytes, algorithm: str) -> None:
    digest = every_world.push_blob(content, algorithm=algorithm)

    response = every_world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}")

    assert (response.status_code, response.data) == (200, content)
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert response.headers["ETag"] == f'"{digest}"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if content:
        assert response.content_type == "application/octet-stream"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [LAYER, b""], ids=["small", "empty"])
@pytest.mark.parametrize("headers", [{}, {"If-None-Match": '"{}"'}], ids=["plain", "if-none-match"])
def test_head_equals_get(world: World, content: bytes, algorithm: str, headers: dict[str, str]) -> None:
    digest = world.push_blob(content, algorithm=algorithm)
    url = f"/v2/{REPOSITORY}/blobs/{digest}"
    headers = {key: value.format(digest) for key, value in headers.items()}

    head, get = world.client.head(url, headers=headers), world.client.get(url, headers=headers)

    assert (head.status_code, sorted(head.headers)) == (get.status_code, sorted(get.headers))
    assert head.data == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_blob_is_told_as_such(client: FlaskClient, method: str) -> None:
    response = client.open(f"/v2/{REPOSITORY}/blobs/{NOWHERE}", method=method)

    assert response.status_code == 404
    if method != "HEAD":
        assert_error(response, 404, "BLOB_UNKNOWN")


def test_a_blob_is_known_by_the_digest_with_which_it_was_pushed_and_by_glances_own(
    every_world: World,
) -> None:
    every_world.push_blob(LAYER, algorithm="sha512")

    glances_own = Digest.of(LAYER, every_world.glance.hash_algorithm)

    for digest in (glances_own, Digest.of(LAYER, "sha512")):
        assert every_world.client.head(f"/v2/{REPOSITORY}/blobs/{digest}").status_code == 200


@pytest.mark.parametrize("tag", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_client_that_has_the_blob_is_told_that_it_is_the_same(world: World, tag: str) -> None:
    digest = world.push_blob()

    response = world.client.get(
        f"/v2/{REPOSITORY}/blobs/{digest}", headers={"If-None-Match": tag.format(digest)}
    )

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == f'"{digest}"'


def test_a_client_that_has_another_blob_gets_this_one(world: World) -> None:
    digest = world.push_blob()

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}", headers={"If-None-Match": f'"{NOWHERE}"'})

    assert (response.status_code, response.data) == (200, LAYER)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=2-5", 2, 5),
        ("bytes=2-", 2, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=-3", SIZE - 3, SIZE - 1),
        ("bytes=-1000", 0, SIZE - 1),
        ("bytes=2-1000", 2, SIZE - 1),
        ("bytes=2-9223372036854775807", 2, SIZE - 1),
        ("bytes=2-18446744073709551615", 2, SIZE - 1),
        (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE - 1),
    ],
)
def test_a_range_of_a_blob_is_served(world: World, header: str, first: int, last: int) -> None:
    digest = world.push_blob()

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": header})

    assert (response.status_code, response.data) == (206, LAYER[first : last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert response.headers["Content-Length"] == str(last - first + 1)
    assert response.headers["Docker-Content-Digest"] == str(digest)


@pytest.mark.parametrize(
    "header",
    [
        f"bytes={SIZE}-",
        f"bytes={SIZE}-{SIZE}",
        "bytes=1000-",
        "bytes=500-0",
        "bytes=5-2",
        "bytes=-0",
        "bytes=-",
        "bytes=",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
    ],
)
def test_a_range_that_can_not_be_satisfied_is_refused(world: World, header: str) -> None:
    digest = world.push_blob()

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": header})

    assert_error(response, 416, "RANGE_INVALID")
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("header", ["bytes=0-1,3-4", "bytes=0-1, -1", "lines=0-1", "nonsense", ""])
def test_a_range_that_a_server_may_ignore_is_ignored(world: World, header: str) -> None:
    digest = world.push_blob()

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": header})

    assert (response.status_code, response.data) == (200, LAYER)
    assert "Content-Range" not in response.headers


def test_no_range_of_an_empty_blob_can_be_satisfied(world: World) -> None:
    digest = world.push_blob(b"")

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": "bytes=0-"})

    assert_error(response, 416, "RANGE_INVALID")
    assert response.headers["Content-Range"] == "bytes */0"


@pytest.mark.parametrize(
    ("validator", "status"),
    [
        ('"{}"', 206),
        ('"sha256:other"', 200),
        ('W/"{}"', 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ("nonsense", 200),
    ],
)
def test_a_range_counts_only_if_the_validator_is_the_blobs(world: World, validator: str, status: int) -> None:
    """Source: RFC 9110, section 13.1.5."""
    digest = world.push_blob()

    response = world.client.get(
        f"/v2/{REPOSITORY}/blobs/{digest}",
        headers={"Range": "bytes=0-1", "If-Range": validator.format(digest)},
    )

    assert (response.status_code, response.data) == (status, LAYER[:2] if status == 206 else LAYER)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_deleted_blob_is_gone_at_once_and_leaves_nothing(every_world: World, algorithm: str) -> None:
    digest = every_world.push_blob(algorithm=algorithm)

    response = every_world.client.delete(f"/v2/{REPOSITORY}/blobs/{digest}")

    assert (response.status_code, response.data) == (202, b"")
    assert every_world.client.head(f"/v2/{REPOSITORY}/blobs/{digest}").status_code == 404
    assert every_world.state() == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_deleted_blob_can_be_pushed_again(every_world: World, algorithm: str) -> None:
    digest = every_world.push_blob(algorithm=algorithm)
    every_world.client.delete(f"/v2/{REPOSITORY}/blobs/{digest}")

    every_world.push_blob(algorithm=algorithm)

    assert every_world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}").data == LAYER


def test_a_blob_that_a_manifest_references_is_not_deleted(every_world: World) -> None:
    every_world.push_image()
    before = every_world.state()

    response = every_world.client.delete(f"/v2/{REPOSITORY}/blobs/{Digest.of(LAYER)}")

    assert_error(response, 405, "UNSUPPORTED")
    assert every_world.state() == before


def test_when_glance_is_down_a_client_is_told_to_come_again(world: World) -> None:
    digest = world.push_blob()
    world.glance.moments.before("get", fail(GlanceUnavailable("down")))

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}")

    assert_error(response, 503, "UNAVAILABLE")
    assert int(response.headers["Retry-After"]) > 0


def test_a_download_goes_on_where_glance_broke_off(world: World) -> None:
    content = bytes(range(256)) * 1000
    digest = world.push_blob(content)
    world.glance.moments.middle("get_data", lambda _: None)
    world.glance.moments.middle("get_data", fail(GlanceUnavailable("cut")))

    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}")

    assert response.data == content
