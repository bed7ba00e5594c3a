"""What a URL and a method lead to, before any content is looked at: versions, names, methods, unknown endpoints."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_glance.registry.digests import Digest
from tests.fakes.memory_glance import MemoryGlance
from tests.unit.api.world import REPOSITORY, World, assert_error, json_of

DIGEST = Digest.of(b"x")
SESSION = "7f3a0000-0000-4000-8000-000000000000"
BAD_NAMES = [
    pytest.param("Upper", id="upper case"),
    pytest.param("a/B", id="upper case later"),
    pytest.param("a" * 300, id="300 characters"),
    pytest.param("a//b", id="empty component"),
    pytest.param("/a", id="empty first component"),
    pytest.param("a/", id="empty last component"),
    pytest.param("a/../b", id="dots"),
    pytest.param("..", id="only dots"),
    pytest.param("%2e%2e", id="encoded dots"),
    pytest.param("a/%2e%2e/b", id="encoded dots in between"),
    pytest.param("a%0d%0aX-Evil:%201", id="CRLF"),
    pytest.param("a%0a", id="newline at the end"),
    pytest.param("a%00", id="NUL"),
    pytest.param("a%20b", id="space"),
    pytest.param("a:b", id="colon"),
    pytest.param("-a", id="dash first"),
    pytest.param("a-", id="dash last"),
    pytest.param("a%c3%a4", id="umlaut"),
    pytest.param("a%ff", id="not UTF-8"),
    pytest.param("a%252fb", id="slash encoded twice"),
    pytest.param("_", id="underscore"),
]
ENDPOINTS = [
    ("GET", "/v2/{}/blobs/{digest}"),
    ("HEAD", "/v2/{}/blobs/{digest}"),
    ("DELETE", "/v2/{}/blobs/{digest}"),
    ("POST", "/v2/{}/blobs/uploads/"),
    ("POST", "/v2/{}/blobs/uploads/?digest={digest}"),
    ("POST", "/v2/{}/blobs/uploads/?mount={digest}&from=a"),
    ("GET", "/v2/{}/blobs/uploads/{session}"),
    ("PATCH", "/v2/{}/blobs/uploads/{session}"),
    ("PUT", "/v2/{}/blobs/uploads/{session}?digest={digest}"),
    ("DELETE", "/v2/{}/blobs/uploads/{session}"),
    ("GET", "/v2/{}/manifests/latest"),
    ("HEAD", "/v2/{}/manifests/latest"),
    ("PUT", "/v2/{}/manifests/latest"),
    ("DELETE", "/v2/{}/manifests/latest"),
    ("GET", "/v2/{}/tags/list"),
    ("GET", "/v2/{}/referrers/{digest}"),
]


@pytest.fixture(scope="module")
def untouched() -> Iterator[World]:
    """A registry that has nothing, and is to have nothing afterwards."""
    world = World(MemoryGlance())
    yield world
    assert world.state() == []


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_version_check_says_yes(untouched: World, method: str, path: str) -> None:  # end-1
    response = untouched.client.open(path, method=method)

    assert response.status_code == 200
    assert response.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert response.content_type == "application/json"


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=lambda part: part)
def test_a_malformed_repository_name_is_told_as_such_and_changes_nothing(
    untouched: World, method: str, path: str, name: str
) -> None:
    response = untouched.client.open(
        path.format(name, digest=DIGEST, session=SESSION), method=method, data=b"{}"
    )

    assert response.status_code == 400
    assert "X-Evil" not in response.headers
    if method != "HEAD":
        assert_error(response, 400, "NAME_INVALID")
    assert untouched.state() == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_mount_from_a_malformed_name_is_refused(untouched: World, name: str) -> None:
    response = untouched.client.post(f"/v2/a/blobs/uploads/?mount={DIGEST}&from={name}")

    assert_error(response, 400, "NAME_INVALID")
    assert untouched.state() == []


@pytest.mark.parametrize(
    "name",
    [
        "blobs",
        "manifests/tags",
        "a/blobs/uploads",
        "a/tags/list",
        "v2",
        "a/manifests/b",
        "uploads",
        "x" * 200,
        "a/referrers",
    ],
)
def test_a_repository_may_be_named_like_a_part_of_the_api(world: World, name: str) -> None:
    digest = world.push_image("latest", repository=name)

    assert world.client.get(f"/v2/{name}/manifests/{digest}").status_code == 200
    assert world.client.get(f"/v2/{name}/tags/list").json == {"name": name, "tags": ["latest"]}


def test_an_encoded_slash_is_refused(world: World) -> None:
    """A proxy and the client would take it for another resource than the decoded path names."""
    world.push_image()

    response = world.client.get(f"/v2/{REPOSITORY.replace('/', '%2F')}/tags/list")

    assert response.status_code == 400
    assert json_of(response)["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/a",
        "/v2/_catalog/",
        "/v2/a/",
        "/v2//tags/list",
        "/v2/tags/list",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/a/blobs",
        "/v2/a/blobs/",
        "/v2/a/manifests",
        "/v2/a/manifests/",
        "/v2/a/manifests/b/c",
        f"/v2/a/manifests/{DIGEST}/",
        "/v2/a/referrers/",
        "/v2/a/unknown/b",
        "/v1/",
        "/v1/images",
        "/v3/",
        "/favicon.ico",
        "/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_endpoint_is_told_as_such(untouched: World, method: str, path: str) -> None:
    response = untouched.client.open(path, method=method)

    assert_error(response, 404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", {"GET", "HEAD"}),
        ("OPTIONS", "/v2/", {"GET", "HEAD"}),
        ("POST", f"/v2/a/blobs/{DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("PUT", f"/v2/a/blobs/{DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v2/a/blobs/uploads/", {"POST"}),
        ("PUT", "/v2/a/blobs/uploads/", {"POST"}),
        ("POST", f"/v2/a/blobs/uploads/{SESSION}", {"GET", "HEAD", "PATCH", "PUT", "DELETE"}),
        ("POST", "/v2/a/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "/v2/a/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("OPTIONS", "/v2/a/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("TRACE", "/v2/a/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("DELETE", "/v2/a/tags/list", {"GET", "HEAD"}),
        ("PUT", f"/v2/a/referrers/{DIGEST}", {"GET", "HEAD"}),
        ("POST", "/v2/_catalog", {"GET", "HEAD"}),
        ("POST", "/v1/search", {"GET", "HEAD"}),
        ("DELETE", "/v1/_ping", {"GET", "HEAD"}),
        ("BREW", "/v2/a/tags/list", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_to_be_had_is_refused_with_those_that_are(
    untouched: World, method: str, path: str, allowed: set[str]
) -> None:
    response = untouched.client.open(path, method=method)

    assert_error(response, 405, "UNSUPPORTED")
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "text",
    [
        "sha256:short",
        "sha256:" + "A" * 64,
        "md5:" + "a" * 32,
        "nonsense",
        "sha256:" + "a" * 1000,
        "sha256%3A",
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/a/blobs/{}"),
        ("DELETE", "/v2/a/blobs/{}"),
        ("GET", "/v2/a/referrers/{}"),
        ("POST", "/v2/a/blobs/uploads/?digest={}"),
        ("POST", "/v2/a/blobs/uploads/?mount={}&from=b"),
        ("PUT", f"/v2/a/blobs/uploads/{SESSION}?digest={{}}"),
    ],
)
def test_a_malformed_digest_is_told_as_such_and_changes_nothing(
    untouched: World, method: str, path: str, text: str
) -> None:
    response = untouched.client.open(path.format(text), method=method, data=b"content")

    assert_error(response, 400, "DIGEST_INVALID")
    assert untouched.state() == []


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("-tag", "TAG_INVALID"),
        (".tag", "TAG_INVALID"),
        ("t" * 129, "TAG_INVALID"),
        ("t%20t", "TAG_INVALID"),
        ("t%0d%0aX-Evil:1", "DIGEST_INVALID"),
        ("t%0a", "TAG_INVALID"),
        ("sha256:short", "DIGEST_INVALID"),
        ("md5:" + "a" * 32, "DIGEST_INVALID"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_malformed_reference_is_told_as_such_and_changes_nothing(
    untouched: World, method: str, reference: str, code: str
) -> None:
    response = untouched.client.open(f"/v2/a/manifests/{reference}", method=method, data=b"{}")

    assert_error(response, 400, code)
    assert untouched.state() == []
