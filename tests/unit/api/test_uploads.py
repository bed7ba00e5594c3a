"""Upload sessions over HTTP (end-4, end-5, end-6, end-11, end-13)."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.store.images import GlanceUnavailable, QuotaExceeded
from tests.fakes.memory_glance import MemoryGlance
from tests.fakes.moments import fail
from tests.unit.api.world import CHUNK_MIN_LENGTH, LAYER, NOWHERE, REPOSITORY, World, assert_error, json_of

UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
DIGEST = Digest.of(LAYER)
ALGORITHMS = ["sha256", "sha512"]
FIRST, SECOND, THIRD = b"the first chunk, ", b"the second, ", b"and the third"
WHOLE = FIRST + SECOND + THIRD


def pull(world: World, digest: Digest) -> bytes:
    response = world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}")
    assert response.status_code == 200
    return bytes(response.data)


def cut_short(promised: bytes) -> dict[str, str]:
    """Return what the server sees of a body of which less comes than was promised."""
    return {"CONTENT_LENGTH": str(len(promised))}


def content_range(offset: int, chunk: bytes) -> dict[str, str]:
    return {"Content-Range": f"{offset}-{offset + len(chunk) - 1}"}


# Beginning


@pytest.mark.parametrize("path", [UPLOADS, UPLOADS.rstrip("/")])
def test_a_session_is_begun(world: World, path: str) -> None:
    response = world.client.post(path)

    assert (response.status_code, response.data) == (202, b"")
    assert response.headers["Location"].startswith(UPLOADS + response.headers["Docker-Upload-UUID"])
    assert response.headers["Range"] == "0-0"
    assert response.headers["OCI-Chunk-Min-Length"] == str(CHUNK_MIN_LENGTH)
    assert response.headers["Content-Length"] == "0"


def test_every_session_has_an_id_of_its_own(world: World) -> None:
    assert len({world.begin_upload() for _ in range(5)}) == 5


# In one request


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [LAYER, b""], ids=["small", "empty"])
def test_post_alone_pushes_a_blob(every_world: World, content: bytes, algorithm: str) -> None:  # end-4b
    digest = Digest.of(content, algorithm)

    response = every_world.client.post(f"{UPLOADS}?digest={digest}", data=content)

    assert (response.status_code, response.data) == (201, b"")
    assert response.headers["Location"] == f"/v2/{REPOSITORY}/blobs/{digest}"
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert pull(every_world, digest) == content


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [LAYER, b""], ids=["small", "empty"])
def test_post_and_put_push_a_blob(
    every_world: World, content: bytes, algorithm: str
) -> None:  # end-4a, end-6
    digest = Digest.of(content, algorithm)

    response = every_world.client.put(f"{every_world.begin_upload()}&digest={digest}", data=content)

    assert response.status_code == 201
    assert response.headers["Location"] == f"/v2/{REPOSITORY}/blobs/{digest}"
    assert pull(every_world, digest) == content


def test_a_blob_that_was_pushed_in_one_request_is_one_glance_image(world: World) -> None:
    world.push_blob()

    assert len(world.state()) == 1


# In chunks


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
@pytest.mark.parametrize("last_in_put", [True, False], ids=["last chunk in PUT", "empty PUT"])
def test_chunks_become_a_blob(every_world: World, algorithm: str, ranges: bool, last_in_put: bool) -> None:  # noqa: FBT001
    client, location, offset = every_world.client, every_world.begin_upload(), 0
    chunks = [FIRST, SECOND] if last_in_put else [FIRST, SECOND, THIRD]
    for chunk in chunks:
        headers = content_range(offset, chunk) if ranges else {}
        response = client.patch(location, data=chunk, headers=headers)
        offset += len(chunk)
        assert response.status_code == 202
        assert response.headers["Range"] == f"0-{offset - 1}"
        location = response.headers["Location"]
    digest = Digest.of(WHOLE, algorithm)

    headers = content_range(offset, THIRD) if ranges and last_in_put else {}
    response = client.put(f"{location}&digest={digest}", data=THIRD if last_in_put else b"", headers=headers)

    assert response.status_code == 201, response.json
    assert pull(every_world, digest) == WHOLE


def test_chunks_leave_one_glance_image(world: World) -> None:
    location = world.begin_upload()
    for chunk in (FIRST, SECOND, THIRD):
        location = world.client.patch(location, data=chunk).headers["Location"]

    world.client.put(f"{location}&digest={Digest.of(WHOLE)}")

    assert [image.size for image in world.state()] == [len(WHOLE)]


def test_a_client_may_go_on_at_the_first_location(world: World) -> None:
    location, offset = world.begin_upload(), 0
    for chunk in (FIRST, SECOND, THIRD):
        assert (
            world.client.patch(location, data=chunk, headers=content_range(offset, chunk)).status_code == 202
        )
        offset += len(chunk)

    assert world.client.put(f"{location}&digest={Digest.of(WHOLE)}").status_code == 201
    assert pull(world, Digest.of(WHOLE)) == WHOLE


def test_a_client_may_build_the_url_itself(world: World) -> None:
    session = urlsplit(world.begin_upload()).path

    assert world.client.patch(session, data=FIRST).status_code == 202
    assert world.client.patch(session, data=SECOND).status_code == 202
    assert world.client.put(f"{session}?digest={Digest.of(FIRST + SECOND)}").status_code == 201
    assert pull(world, Digest.of(FIRST + SECOND)) == FIRST + SECOND


@pytest.mark.parametrize(
    "query", ["part=-1&offset=x", "part=&offset=", "offset=5", f"part={'9' * 30}&offset=1"]
)
def test_a_location_without_a_place_goes_on_where_the_session_stands(world: World, query: str) -> None:
    session = urlsplit(world.begin_upload()).path
    world.client.patch(session, data=FIRST)

    response = world.client.patch(f"{session}?{query}", data=SECOND)

    assert response.headers["Range"] == f"0-{len(FIRST + SECOND) - 1}"


@pytest.mark.parametrize("query", ["part=7&offset=3", "part=0&offset=999", "part=0&offset=0"])
def test_a_chunk_for_another_place_than_the_sessions_is_refused(world: World, query: str) -> None:
    """It may be the repetition of one whose answer was lost; what was stored stays, and the answer says where."""
    session = urlsplit(world.begin_upload()).path
    world.client.patch(session, data=FIRST)

    response = world.client.patch(f"{session}?{query}", data=SECOND)

    assert response.status_code == 416
    assert response.headers["Range"] == f"0-{len(FIRST) - 1}"
    again = world.client.patch(response.headers["Location"], data=SECOND)
    assert again.headers["Range"] == f"0-{len(FIRST + SECOND) - 1}"


def test_an_empty_chunk_changes_nothing(world: World) -> None:
    location = world.client.patch(world.begin_upload(), data=FIRST).headers["Location"]

    response = world.client.patch(location, data=b"")

    assert (response.status_code, response.headers["Location"]) == (202, location)


@pytest.mark.parametrize("sent", [0, 1])
@pytest.mark.parametrize(
    "start", [len(FIRST) + 1, len(FIRST) - 1, 10_000], ids=["a gap", "overlapping", "far beyond"]
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order_is_refused_and_the_session_goes_on(
    world: World, method: str, start: int, sent: int
) -> None:
    location = world.begin_upload()
    if sent:
        location = world.client.patch(location, data=FIRST, headers=content_range(0, FIRST)).headers[
            "Location"
        ]
    before = world.state()
    url = f"{location}&digest={Digest.of(WHOLE)}"

    response = world.client.open(url, method=method, data=SECOND, headers=content_range(start, SECOND))

    assert_error(response, 416, "RANGE_INVALID")
    assert response.headers["Location"] == location
    assert response.headers["Range"] == (f"0-{len(FIRST) - 1}" if sent else "0-0")
    assert world.state() == before
    assert world.client.patch(location, data=SECOND).status_code == 202


def test_a_chunk_that_was_sent_already_is_refused(world: World) -> None:
    session = urlsplit(world.begin_upload()).path
    world.client.patch(session, data=FIRST, headers=content_range(0, FIRST))

    response = world.client.patch(session, data=FIRST, headers=content_range(0, FIRST))

    assert_error(response, 416, "RANGE_INVALID")
    assert response.headers["Range"] == f"0-{len(FIRST) - 1}"


@pytest.mark.parametrize(
    "value", ["", "nonsense", "5-2", "-5", "0-", "0-1000", "bytes", "0-9,10-19", "9" * 1000]
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_malformed_content_range_is_refused_and_the_session_goes_on(
    world: World, method: str, value: str
) -> None:
    location = world.begin_upload()
    before = world.state()

    response = world.client.open(
        f"{location}&digest={DIGEST}", method=method, data=LAYER, headers={"Content-Range": value}
    )

    assert_error(response, 416, "RANGE_INVALID")
    assert world.state() == before
    assert world.client.put(f"{location}&digest={DIGEST}", data=LAYER).status_code == 201


# Where a session stands


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_status_tells_where_to_go_on(world: World, method: str) -> None:  # end-13
    location = world.client.patch(world.begin_upload(), data=FIRST).headers["Location"]

    response = world.client.open(location, method=method)

    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Range"] == f"0-{len(FIRST) - 1}"
    assert response.headers["Location"] == location
    assert response.headers["Docker-Upload-UUID"] in location


def test_status_of_a_fresh_session_is_told(world: World) -> None:
    response = world.client.get(world.begin_upload())

    assert (response.status_code, response.headers["Range"]) == (204, "0-0")


def test_location_tells_part_and_offset(world: World) -> None:
    location = world.begin_upload()
    for chunk in (FIRST, SECOND):
        location = world.client.patch(location, data=chunk).headers["Location"]

    assert parse_qs(urlsplit(location).query)["offset"] == [str(len(FIRST + SECOND))]


def test_any_replica_goes_on_with_a_session(world: World) -> None:
    replicas = [World(world.glance).client for _ in range(3)]
    location = replicas[0].post(UPLOADS).headers["Location"]
    for replica, chunk in zip([replicas[1], replicas[2], replicas[0]], [FIRST, SECOND, THIRD], strict=True):
        location = replica.patch(location, data=chunk).headers["Location"]

    assert replicas[1].get(location).headers["Range"] == f"0-{len(WHOLE) - 1}"
    assert replicas[2].put(f"{location}&digest={Digest.of(WHOLE)}").status_code == 201
    assert replicas[0].get(f"/v2/{REPOSITORY}/blobs/{Digest.of(WHOLE)}").data == WHOLE


UNKNOWN_SESSIONS = [
    pytest.param("00000000-0000-4000-8000-000000000000", id="never begun"),
    pytest.param("nonsense", id="no UUID"),
    pytest.param("00000000000040008000000000000000", id="UUID without dashes"),
    pytest.param("{00000000-0000-4000-8000-000000000000}", id="UUID in braces"),
    pytest.param("%00", id="NUL"),
    pytest.param("a%0d%0ab", id="CRLF"),
    pytest.param("x" * 5000, id="long"),
    pytest.param("..", id="dots"),
    pytest.param("%ff", id="not UTF-8"),
]


@pytest.mark.parametrize("session", UNKNOWN_SESSIONS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_an_unknown_session_is_told_as_such(world: World, method: str, session: str) -> None:
    response = world.client.open(f"{UPLOADS}{session}?digest={DIGEST}", method=method, data=LAYER)

    assert_error(response, 404, "BLOB_UPLOAD_UNKNOWN")
    assert world.state() == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_session_of_another_repository_is_unknown(world: World, method: str) -> None:
    location = world.begin_upload("other").replace("/other/", f"/{REPOSITORY}/")

    response = world.client.open(f"{location}&digest={DIGEST}", method=method, data=LAYER)

    assert_error(response, 404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_tag_is_no_session(world: World, method: str) -> None:
    world.push_image("latest")
    tag = next(image for image in world.glance.images() if image.name)
    before = world.state()

    response = world.client.open(f"{UPLOADS}{tag.id}?digest={DIGEST}", method=method, data=LAYER)

    assert_error(response, 404, "BLOB_UPLOAD_UNKNOWN")
    assert world.state() == before


def test_a_session_of_another_project_is_unknown(world: World) -> None:
    location = world.begin_upload()
    (mine,) = world.glance.images()
    other = World(MemoryGlance())
    other.glance.insert(replace(mine, owner="p2", visibility="public"))

    response = other.client.patch(location, data=LAYER)

    assert_error(response, 404, "BLOB_UPLOAD_UNKNOWN")


# Ending


def test_a_put_that_is_repeated_gets_the_same_answer(every_world: World) -> None:
    url = f"{every_world.begin_upload()}&digest={DIGEST}"
    first = every_world.client.put(url, data=LAYER)

    second = every_world.client.put(url, data=LAYER)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Location"] == first.headers["Location"]


def test_a_finished_session_is_over_for_everything_else(world: World) -> None:
    location = world.begin_upload()
    world.client.put(f"{location}&digest={DIGEST}", data=LAYER)

    for response in (
        world.client.get(location),
        world.client.patch(location, data=LAYER),
        world.client.delete(location),
        world.client.put(f"{location}&digest={NOWHERE}", data=LAYER),
    ):
        assert_error(response, 404, "BLOB_UPLOAD_UNKNOWN")
    assert pull(world, DIGEST) == LAYER


def test_a_put_without_digest_is_refused_and_the_session_goes_on(world: World) -> None:
    location = world.begin_upload()

    response = world.client.put(location, data=LAYER)

    assert_error(response, 400, "DIGEST_INVALID")
    assert world.client.put(f"{location}&digest={DIGEST}", data=LAYER).status_code == 201


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("way", ["POST", "PUT", "PATCH and PUT", "chunks"])
def test_content_that_is_not_the_digests_never_becomes_visible(
    every_world: World, way: str, algorithm: str
) -> None:
    client, wrong = every_world.client, Digest.of(b"something else", algorithm)
    if way == "POST":
        response = client.post(f"{UPLOADS}?digest={wrong}", data=LAYER)
    else:
        location = every_world.begin_upload()
        if way != "PUT":
            location = client.patch(location, data=LAYER).headers["Location"]
        if way == "chunks":
            location = client.patch(location, data=LAYER).headers["Location"]
        response = client.put(f"{location}&digest={wrong}", data=LAYER if way == "PUT" else b"")

    assert_error(response, 400, "DIGEST_INVALID")
    assert client.get(f"/v2/{REPOSITORY}/blobs/{wrong}").status_code == 404
    assert every_world.state() == []


def test_a_cancelled_session_leaves_nothing(world: World) -> None:  # end-14 of the main branch
    location = world.begin_upload()
    for chunk in (FIRST, SECOND, THIRD):
        location = world.client.patch(location, data=chunk).headers["Location"]

    response = world.client.delete(location)

    assert (response.status_code, response.data) == (204, b"")
    assert world.state() == []
    assert_error(world.client.get(location), 404, "BLOB_UPLOAD_UNKNOWN")


# Bodies that are not as long as they say


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_body_that_breaks_off_is_refused_and_the_session_stands_where_it_stood(
    world: World, method: str
) -> None:
    location = world.client.patch(world.begin_upload(), data=FIRST).headers["Location"]
    url = f"{location}&digest={Digest.of(FIRST + SECOND)}"

    response = world.client.open(url, method=method, data=SECOND[:3], environ_overrides=cut_short(SECOND))

    assert_error(response, 400, "SIZE_INVALID")
    assert world.client.get(location).headers["Range"] == f"0-{len(FIRST) - 1}"
    assert world.client.put(url, data=SECOND).status_code == 201


def test_a_first_chunk_that_breaks_off_can_be_sent_again(world: World) -> None:
    location = world.begin_upload()

    response = world.client.patch(location, data=LAYER[:3], environ_overrides=cut_short(LAYER))

    assert_error(response, 400, "SIZE_INVALID")
    assert world.client.put(f"{location}&digest={DIGEST}", data=LAYER).status_code == 201


@pytest.mark.parametrize(
    ("headers", "environ", "status"),
    [
        pytest.param({}, {"CONTENT_LENGTH": "1000"}, 400, id="body breaks off"),
        pytest.param({"Content-Range": "nonsense"}, {}, 416, id="malformed range"),
        pytest.param(content_range(5, LAYER), {}, 416, id="range does not start at 0"),
    ],
)
def test_a_post_alone_that_fails_leaves_nothing(
    world: World, headers: dict[str, str], environ: dict[str, str], status: int
) -> None:
    """Its client never learns where the session is, so nobody else would take it away."""
    response = world.client.post(
        f"{UPLOADS}?digest={DIGEST}", data=LAYER, headers=headers, environ_overrides=environ
    )

    assert response.status_code == status
    assert world.state() == []


# Mounting


@pytest.mark.parametrize("source", ["&from=other", "&from=unknown", ""])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_blob_that_is_here_is_mounted(every_world: World, algorithm: str, source: str) -> None:  # end-11
    digest = every_world.push_blob(repository="other", algorithm=algorithm)
    before = every_world.state()

    response = every_world.client.post(f"{UPLOADS}?mount={digest}{source}")

    assert (response.status_code, response.data) == (201, b"")
    assert response.headers["Location"] == f"/v2/{REPOSITORY}/blobs/{digest}"
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert every_world.state() == before
    assert pull(every_world, digest) == LAYER


def test_mounting_a_blob_that_is_not_here_begins_a_session(world: World) -> None:
    response = world.client.post(f"{UPLOADS}?mount={DIGEST}&from=other")

    assert response.status_code == 202
    assert response.headers["OCI-Chunk-Min-Length"] == str(CHUNK_MIN_LENGTH)
    assert world.client.put(f"{response.headers['Location']}&digest={DIGEST}", data=LAYER).status_code == 201


# Glance


def test_when_glance_is_down_no_session_begins(world: World) -> None:
    world.glance.moments.before("create", fail(GlanceUnavailable("down")))

    response = world.client.post(UPLOADS)

    assert_error(response, 503, "UNAVAILABLE")
    assert int(response.headers["Retry-After"]) > 0


def test_when_glance_breaks_off_a_chunk_the_session_stands_where_it_stood(world: World) -> None:
    location = world.begin_upload()
    world.glance.moments.middle("put_data", fail(GlanceUnavailable("cut")))

    response = world.client.patch(location, data=LAYER)

    assert_error(response, 503, "UNAVAILABLE")
    assert world.client.get(location).headers["Range"] == "0-0"
    assert world.client.put(f"{location}&digest={DIGEST}", data=LAYER).status_code == 201


def test_a_quota_is_told_as_a_denial(world: World) -> None:
    world.glance.moments.before("put_data", fail(QuotaExceeded("full")))

    response = world.client.put(f"{world.begin_upload()}&digest={DIGEST}", data=LAYER)

    assert_error(response, 403, "DENIED")
    assert "quota" in json_of(response)["errors"][0]["detail"]


def test_a_post_alone_that_glance_refuses_leaves_nothing(world: World) -> None:
    world.glance.moments.before("put_data", fail(QuotaExceeded("full")))

    response = world.client.post(f"{UPLOADS}?digest={DIGEST}", data=LAYER)

    assert_error(response, 403, "DENIED")
    assert world.state() == []
