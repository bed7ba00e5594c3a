"""Manifests over HTTP (end-3, end-7, end-9), and what Glance's users make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    MAX_MANIFEST_SIZE,
    OCI_INDEX,
    OCI_MANIFEST,
)
from registry_glance.store.images import GlanceUnavailable
from tests.fakes.moments import fail
from tests.unit.api.world import (
    CONFIG,
    LAYER,
    LAYER_TYPE,
    NOWHERE,
    REPOSITORY,
    World,
    assert_error,
    descriptor,
    image,
    index,
    json_of,
)

MANIFESTS = f"/v2/{REPOSITORY}/manifests"


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


# Pull


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_is_pulled_as_it_was_pushed(every_world: World, by: str) -> None:
    digest = every_world.push_image("latest")

    response = every_world.client.get(f"{MANIFESTS}/{'latest' if by == 'tag' else digest}")

    assert (response.status_code, response.data) == (200, as_json(image()))
    assert response.headers["Content-Type"] == OCI_MANIFEST
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert response.headers["ETag"] == f'"{digest}"'
    assert response.headers["Content-Length"] == str(len(response.data))


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"If-None-Match": '"{}"'}, {"Range": "bytes=0-1"}],
    ids=["plain", "if-none-match", "range"],
)
def test_head_equals_get(world: World, by: str, headers: dict[str, str]) -> None:
    digest = world.push_image("latest")
    url = f"{MANIFESTS}/{'latest' if by == 'tag' else digest}"
    headers = {key: value.format(digest) for key, value in headers.items()}

    head, get = world.client.head(url, headers=headers), world.client.get(url, headers=headers)

    assert (head.status_code, sorted(head.headers)) == (get.status_code, sorted(get.headers))
    assert head.data == b""


@pytest.mark.parametrize("reference", ["latest", str(NOWHERE), f"sha512:{'0' * 128}"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_manifest_is_told_as_such(every_world: World, method: str, reference: str) -> None:
    response = every_world.client.open(f"{MANIFESTS}/{reference}", method=method)

    assert response.status_code == 404
    if method != "HEAD":
        assert_error(response, 404, "MANIFEST_UNKNOWN")


def test_a_manifest_of_another_repository_is_unknown(every_world: World) -> None:
    digest = every_world.push_image("latest", repository="other")

    for reference in ("latest", digest):
        assert_error(every_world.client.get(f"{MANIFESTS}/{reference}"), 404, "MANIFEST_UNKNOWN")


def test_a_blob_is_no_manifest(every_world: World) -> None:
    digest = every_world.push_blob(as_json(image()))

    assert_error(every_world.client.get(f"{MANIFESTS}/{digest}"), 404, "MANIFEST_UNKNOWN")


def test_a_manifest_is_no_blob(every_world: World) -> None:
    digest = every_world.push_image()

    assert_error(every_world.client.get(f"/v2/{REPOSITORY}/blobs/{digest}"), 404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("tag", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_client_that_has_the_manifest_is_told_that_it_is_the_same(world: World, tag: str) -> None:
    digest = world.push_image("latest")

    response = world.client.get(f"{MANIFESTS}/latest", headers={"If-None-Match": tag.format(digest)})

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == f'"{digest}"'


@pytest.mark.parametrize("accept", [OCI_INDEX, "text/plain", "*/*", "nonsense", ""])
def test_the_manifest_is_the_same_whatever_the_client_accepts(world: World, accept: str) -> None:
    """Another type would have another digest."""
    world.push_image("latest")

    response = world.client.get(f"{MANIFESTS}/latest", headers={"Accept": accept})

    assert response.headers["Content-Type"] == OCI_MANIFEST


# Push


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_push_tells_where_the_manifest_is(every_world: World, by: str) -> None:
    every_world.push_blob(CONFIG)
    every_world.push_blob(LAYER)
    body = as_json(image())
    digest = Digest.of(body)

    response = every_world.put_manifest(body, "latest" if by == "tag" else str(digest))

    assert (response.status_code, response.data) == (201, b"")
    assert response.headers["Location"] == f"{MANIFESTS}/{digest}"
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert "OCI-Subject" not in response.headers
    assert "OCI-Tag" not in response.headers


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(), OCI_MANIFEST),
        (image(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
        (index(), OCI_INDEX),
        (index(mediaType=DOCKER_MANIFEST_LIST), DOCKER_MANIFEST_LIST),
        ({"anything": 1}, "application/vnd.example.thing.v7+json"),
        ({"mediaType": "application/vnd.example.thing.v7+json"}, ""),
    ],
)
def test_every_type_is_served_as_it_was_pushed(
    every_world: World, document: dict[str, Any], content_type: str
) -> None:
    every_world.push_blob(CONFIG)
    every_world.push_blob(LAYER)
    headers = {"Content-Type": content_type} if content_type else {}
    every_world.client.put(f"{MANIFESTS}/latest", data=as_json(document), headers=headers)

    response = every_world.client.get(f"{MANIFESTS}/latest")

    assert (response.status_code, response.data) == (200, as_json(document))
    assert response.headers["Content-Type"] == (content_type or document["mediaType"])


def test_a_sha512_manifest_is_found_by_its_digest(every_world: World) -> None:
    every_world.push_blob(CONFIG)
    every_world.push_blob(LAYER)
    digest = Digest.of(as_json(image()), "sha512")

    response = every_world.put_manifest(as_json(image()), f"{digest}?tag=latest")

    assert response.headers["Docker-Content-Digest"] == str(digest)
    for reference in ("latest", digest):
        pulled = every_world.client.get(f"{MANIFESTS}/{reference}")
        assert (pulled.data, pulled.headers["Docker-Content-Digest"]) == (as_json(image()), str(digest))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_that_is_not_the_references_is_refused(world: World, algorithm: str) -> None:
    body = as_json({"mediaType": "application/vnd.example"})

    response = world.put_manifest(body, str(Digest.of(b"something else", algorithm)))

    assert_error(response, 400, "DIGEST_INVALID")
    assert world.state() == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", ""),
        (b"not JSON", ""),
        (b"null", ""),
        (b"[" * 10_000, ""),
        (b'{"a": NaN}', ""),
        (as_json(image(schemaVersion=1)), ""),
        (as_json(image()), DOCKER_MANIFEST),
        (
            as_json({"schemaVersion": 1, "fsLayers": []}),
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ),
        (as_json({"mediaType": "a\r\nX-Evil: 1"}), ""),
        (as_json(image(config={"digest": "sha256:short"})), ""),
    ],
    ids=lambda part: ascii(part[:30]),
)
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_what_is_no_manifest_is_refused_and_changes_nothing(
    world: World, by: str, body: bytes, content_type: str
) -> None:
    reference = "latest" if by == "tag" else Digest.of(body)

    response = world.client.put(
        f"{MANIFESTS}/{reference}", data=body, headers={"Content-Type": content_type} if content_type else {}
    )

    assert_error(response, 400, "MANIFEST_INVALID")
    assert world.state() == []


def test_a_manifest_of_more_than_4_mib_is_refused(world: World) -> None:
    response = world.put_manifest(b" " * (MAX_MANIFEST_SIZE + 1), "latest")

    assert_error(response, 413, "MANIFEST_INVALID")
    assert world.state() == []


def test_a_manifest_that_breaks_off_is_refused(world: World) -> None:
    response = world.client.put(
        f"{MANIFESTS}/latest", data=as_json({"a": 1}), environ_overrides={"CONTENT_LENGTH": "1000"}
    )

    assert_error(response, 400, "SIZE_INVALID")
    assert world.state() == []


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("kind", ["image", "index"])
def test_a_manifest_that_references_what_is_not_here_is_refused_and_changes_nothing(
    every_world: World, kind: str, by: str
) -> None:
    every_world.push_blob(CONFIG)
    before = every_world.state()
    body = as_json(image() if kind == "image" else index(NOWHERE))

    response = every_world.put_manifest(body, "latest" if by == "tag" else str(Digest.of(body)))

    assert_error(response, 400, "MANIFEST_BLOB_UNKNOWN")
    missing = NOWHERE if kind == "index" else Digest.of(LAYER)
    assert json_of(response)["errors"][0]["detail"] == str(missing)
    assert every_world.state() == before


def test_an_index_needs_its_children_in_the_same_repository(world: World) -> None:
    child = world.push_image(None, repository="other")

    response = world.put_manifest(as_json(index(child)), "latest")

    assert_error(response, 400, "MANIFEST_BLOB_UNKNOWN")


def test_an_index_of_what_is_here_is_pulled_with_its_children(every_world: World) -> None:
    child = every_world.push_image(None)
    every_world.push_manifest(index(child), "latest")

    pulled = every_world.client.get(f"{MANIFESTS}/latest")

    assert pulled.headers["Content-Type"] == OCI_INDEX
    assert every_world.client.get(f"{MANIFESTS}/{child}").status_code == 200


def test_a_layer_that_is_fetched_from_elsewhere_need_not_be_here(world: World) -> None:
    world.push_blob(CONFIG)
    foreign = descriptor(b"elsewhere", LAYER_TYPE.replace(".layer.", ".layer.nondistributable."))

    assert world.put_manifest(as_json(image(layers=[foreign])), "latest").status_code == 201


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_pushing_the_same_again_changes_nothing(every_world: World, by: str) -> None:
    reference = "latest" if by == "tag" else None
    every_world.push_image(reference)
    before = every_world.state()

    every_world.push_manifest(image(), reference)

    assert every_world.state() == before


def test_a_moved_tag_is_the_new_manifest_and_the_old_stays_by_digest(every_world: World) -> None:
    old = every_world.push_image("latest")
    new = every_world.push_image("latest", annotations={"version": "2"})

    for reference, digest in (("latest", new), (new, new), (old, old)):
        pulled = every_world.client.get(f"{MANIFESTS}/{reference}")
        assert pulled.headers["Docker-Content-Digest"] == str(digest)


def test_a_moved_tag_is_one_visible_glance_image(every_world: World) -> None:
    for version in "123":
        every_world.push_image("latest", annotations={"version": version})

    assert [row.name for row in every_world.glance.images() if row.name] == [f"{REPOSITORY}:latest"]


def test_a_moved_tag_shows_at_once_on_every_replica(world: World) -> None:
    other = World(world.glance)
    world.push_image("latest")
    other.client.get(f"{MANIFESTS}/latest")

    new = world.push_image("latest", annotations={"version": "2"})

    assert other.client.get(f"{MANIFESTS}/latest").headers["Docker-Content-Digest"] == str(new)


# Tags as parameters of a push by digest


def test_a_push_by_digest_points_the_tags_that_it_names(every_world: World) -> None:
    every_world.push_blob(CONFIG)
    every_world.push_blob(LAYER)
    digest = Digest.of(as_json(image()))

    response = every_world.put_manifest(as_json(image()), f"{digest}?tag=b&tag=a&tag=b")

    assert response.status_code == 201
    assert response.headers.getlist("OCI-Tag") == ["b", "a"]
    for tag in ("a", "b"):
        pulled = every_world.client.get(f"{MANIFESTS}/{tag}")
        assert pulled.headers["Docker-Content-Digest"] == str(digest)


@pytest.mark.parametrize(
    "query", ["tag=-bad", "tag=good&tag=-bad", "tag=", "tag=a%2Fb", "tag=good&tag=" + "t" * 129]
)
def test_a_malformed_tag_parameter_is_refused_and_changes_nothing(world: World, query: str) -> None:
    world.push_blob(CONFIG)
    world.push_blob(LAYER)
    before = world.state()

    response = world.put_manifest(as_json(image()), f"{Digest.of(as_json(image()))}?{query}")

    assert_error(response, 400, "TAG_INVALID")
    assert world.state() == before


def test_a_tag_too_long_for_its_repository_is_refused_and_changes_nothing(world: World) -> None:
    repository = "a" * 200
    world.push_blob(CONFIG)
    world.push_blob(LAYER)
    before = world.state()
    long = "t" * 100

    for reference in (long, f"{Digest.of(as_json(image()))}?tag=short&tag={long}"):
        response = world.put_manifest(as_json(image()), reference, repository=repository)
        assert_error(response, 400, "NAME_INVALID")
    assert world.state() == before


def test_a_push_by_tag_takes_no_tags_as_parameters(world: World) -> None:
    world.push_blob(CONFIG)
    world.push_blob(LAYER)

    response = world.put_manifest(as_json(image()), "latest?tag=other")

    assert (response.status_code, "OCI-Tag" in response.headers) == (201, False)
    assert world.client.get(f"{MANIFESTS}/other").status_code == 404


# Deletion


def test_a_deleted_tag_is_gone_and_its_manifest_stays(every_world: World) -> None:
    digest = every_world.push_image("latest")

    response = every_world.client.delete(f"{MANIFESTS}/latest")

    assert (response.status_code, response.data) == (202, b"")
    assert every_world.client.get(f"{MANIFESTS}/latest").status_code == 404
    assert every_world.client.get(f"{MANIFESTS}/{digest}").status_code == 200
    assert json_of(every_world.client.get(f"/v2/{REPOSITORY}/tags/list"))["tags"] == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_deleted_manifest_is_gone_with_its_tags_and_markers(every_world: World, algorithm: str) -> None:
    every_world.push_blob(CONFIG)
    every_world.push_blob(LAYER)
    blobs = every_world.state()
    body = as_json(image(subject=descriptor(b"a subject", OCI_MANIFEST)))
    digest = Digest.of(body, algorithm)
    every_world.put_manifest(body, f"{digest}?tag=a&tag=b")
    every_world.put_manifest(body, str(digest))

    response = every_world.client.delete(f"{MANIFESTS}/{digest}")

    assert response.status_code == 202
    for reference in ("a", "b", digest):
        assert every_world.client.get(f"{MANIFESTS}/{reference}").status_code == 404
    assert every_world.state() == blobs


def test_a_deleted_tag_does_not_bring_an_older_one_back(every_world: World) -> None:
    every_world.push_image("latest")
    every_world.push_image("latest", annotations={"version": "2"})

    every_world.client.delete(f"{MANIFESTS}/latest")

    assert every_world.client.get(f"{MANIFESTS}/latest").status_code == 404


# What Glance's users do


def visible(world: World) -> str:
    (tag,) = (row for row in world.glance.images() if row.name)
    return tag.id


def test_a_tag_is_what_glance_lists(every_world: World) -> None:
    every_world.push_image("0.1")

    (tag,) = (row for row in every_world.glance.images() if row.name)

    assert (tag.name, tag.status, tag.hidden, tag.container_format) == (
        f"{REPOSITORY}:0.1",
        "active",
        False,
        "docker",
    )
    assert every_world.glance.data(tag.id) == as_json(image())
    assert (tag.properties["img_hv_type"], tag.properties["hw_architecture"]) == ("docker", "x86_64")


def test_an_image_that_was_renamed_in_glance_has_the_new_name(every_world: World) -> None:
    digest = every_world.push_image("latest")

    every_world.glance.service("p1").update(visible(every_world), name="renamed:stable")

    assert every_world.client.get(f"{MANIFESTS}/latest").status_code == 404
    pulled = every_world.client.get("/v2/renamed/manifests/stable")
    assert pulled.headers["Docker-Content-Digest"] == str(digest)
    assert every_world.client.get("/v2/renamed/tags/list").json == {"name": "renamed", "tags": ["stable"]}


def test_an_image_whose_name_has_no_tag_is_the_latest(every_world: World) -> None:
    every_world.push_image("0.1")

    every_world.glance.service("p1").update(visible(every_world), name="renamed")

    assert every_world.client.get("/v2/renamed/manifests/latest").status_code == 200
    assert every_world.client.delete("/v2/renamed/manifests/latest").status_code == 202
    assert every_world.client.get("/v2/renamed/manifests/latest").status_code == 404


def test_an_image_that_was_deleted_in_glance_is_gone(every_world: World) -> None:
    digest = every_world.push_image("latest")

    every_world.glance.service("p1").delete(visible(every_world))

    for reference in ("latest", digest):
        assert_error(every_world.client.get(f"{MANIFESTS}/{reference}"), 404, "MANIFEST_UNKNOWN")


def test_the_order_that_a_user_wrote_does_not_keep_a_tag_from_being_moved(world: World) -> None:
    world.push_image("latest")
    world.glance.service("p1").update(visible(world), set_properties={"docker_order": "9" * 18})

    new = world.push_image("latest", annotations={"version": "2"})

    assert world.client.get(f"{MANIFESTS}/latest").headers["Docker-Content-Digest"] == str(new)


def test_the_digest_that_a_user_wrote_is_not_believed(every_world: World) -> None:
    digest = every_world.push_image("latest")
    service = every_world.glance.service("p1")

    service.update(visible(every_world), set_properties={"docker_digest": str(NOWHERE)})

    assert every_world.client.get(f"{MANIFESTS}/latest").headers["Docker-Content-Digest"] in (
        str(digest),
        str(Digest.of(as_json(image()), every_world.glance.hash_algorithm)),
    )
    assert every_world.client.get(f"{MANIFESTS}/{NOWHERE}").status_code == 404


@pytest.mark.parametrize("value", ["text\r\nX-Evil: 1", "é", "🐳", "a/b\0", "nonsense", ""], ids=ascii)
def test_the_media_type_that_a_user_wrote_never_breaks_an_answer(world: World, value: str) -> None:
    world.push_image("latest")
    if "🐳" in value:
        value = "\uffff"  # the last character that Glance takes
    world.glance.service("p1").update(visible(world), set_properties={"docker_media_type": value})

    response = world.client.get(f"{MANIFESTS}/latest")

    assert (response.status_code, response.headers["Content-Type"]) == (200, OCI_MANIFEST)


@pytest.mark.parametrize("call", ["list", "get_data"])
def test_when_glance_is_down_a_client_is_told_to_come_again(world: World, call: str) -> None:
    world.push_image("latest")
    cold = World(world.glance)
    world.glance.moments.before(call, fail(GlanceUnavailable("down")))

    response = cold.client.get(f"{MANIFESTS}/latest")

    assert_error(response, 503, "UNAVAILABLE")
    assert int(response.headers["Retry-After"]) > 0
    assert cold.client.get(f"{MANIFESTS}/latest").status_code == 200


@pytest.mark.parametrize("call", ["create", "put_data", "get", "list", "update"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_push_that_glance_broke_off_succeeds_when_it_is_repeated(
    every_world: World, when: str, call: str
) -> None:
    every_world.push_image("latest")
    getattr(every_world.glance.moments, when)(call, fail(GlanceUnavailable("down")))
    body = as_json(image(annotations={"version": "2"}))
    every_world.put_manifest(body, "latest")

    response = every_world.put_manifest(body, "latest")

    assert response.status_code == 201
    assert every_world.client.get(f"{MANIFESTS}/latest").data == body
