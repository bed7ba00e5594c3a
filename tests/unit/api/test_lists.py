"""Lists over HTTP: tags (end-8), referrers (end-12), Docker's catalog and its v1 search; and their pages."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import OCI_INDEX, OCI_MANIFEST
from tests.unit.api.world import (
    CONFIG,
    CONFIG_TYPE,
    LAYER,
    NOWHERE,
    REPOSITORY,
    World,
    assert_error,
    image,
    index,
    json_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.test import TestResponse

TAGS_LIST = f"/v2/{REPOSITORY}/tags/list"
CATALOG = "/v2/_catalog"
SUBJECT = Digest.of(b"a subject that need not exist")
# In the order of their bytes, which is not a dictionary's.
TAGS = ["0.1", "0.10", "0.2", "A", "Z", "_x", "a", "latest"]
REPOSITORIES = ["a", "a-b", "a.b", "a/b", "a0", "b"]


def pages(world: World, url: str) -> Iterator[TestResponse]:
    """Follow the Link headers to the end."""
    seen: list[str] = []
    while url not in seen:
        seen.append(url)
        response = world.client.get(url)
        assert response.status_code == 200
        yield response
        if "Link" not in response.headers:
            return
        link = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', response.headers["Link"])
        assert link is not None
        url = link[1]
    pytest.fail(f"{url} comes twice")


def fill_tags(world: World) -> None:
    for tag in reversed(TAGS):
        world.push_image(tag)


def fill_repositories(world: World) -> None:
    for name in reversed(REPOSITORIES):
        world.push_image("latest", repository=name)
    world.push_image(None, repository="untagged")


# Tags


def test_tags_are_listed_in_the_order_of_their_bytes(every_world: World) -> None:
    fill_tags(every_world)

    response = every_world.client.get(TAGS_LIST)

    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.json == {"name": REPOSITORY, "tags": TAGS}
    assert "Link" not in response.headers


def test_tags_of_other_repositories_are_not_listed(every_world: World) -> None:
    for name in (REPOSITORY, REPOSITORY + "2", "library", "other/" + REPOSITORY):
        every_world.push_image(name[-1], repository=name)

    assert json_of(every_world.client.get(TAGS_LIST))["tags"] == [REPOSITORY[-1]]


def test_a_repository_without_tags_has_an_empty_list(every_world: World) -> None:
    every_world.push_image(None)

    assert every_world.client.get(TAGS_LIST).json == {"name": REPOSITORY, "tags": []}


def test_tags_of_an_unknown_repository_are_told_as_such(every_world: World) -> None:
    every_world.push_image("latest", repository="other")

    assert_error(every_world.client.get(TAGS_LIST), 404, "NAME_UNKNOWN")


def test_a_repository_of_blobs_only_is_unknown(world: World) -> None:
    world.push_blob()

    assert_error(world.client.get(TAGS_LIST), 404, "NAME_UNKNOWN")


# Pages


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 10_000])
def test_pages_of_tags_join_up(world: World, n: int) -> None:
    fill_tags(world)

    got = [json_of(page)["tags"] for page in pages(world, f"{TAGS_LIST}?n={n}")]

    assert [tag for page in got for tag in page] == TAGS
    assert all(len(page) == n for page in got[:-1])
    assert got[-1]


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7])
def test_pages_of_the_catalog_join_up(world: World, n: int) -> None:
    fill_repositories(world)

    got = [json_of(page)["repositories"] for page in pages(world, f"{CATALOG}?n={n}")]

    assert [name for page in got for name in page] == REPOSITORIES
    assert all(len(page) == n for page in got[:-1])


def test_a_page_of_none_is_empty_and_has_no_next(world: World) -> None:
    fill_tags(world)

    response = world.client.get(f"{TAGS_LIST}?n=0")

    assert (response.status_code, json_of(response)["tags"]) == (200, [])
    assert "Link" not in response.headers


@pytest.mark.parametrize("n", ["99999999999", "9" * 100, "9" * 5000, "0000000002"])
def test_a_page_may_be_asked_for_larger_than_the_list(world: World, n: str) -> None:
    world.push_image("a")
    world.push_image("b")

    response = world.client.get(f"{TAGS_LIST}?n={n}")

    assert (response.status_code, json_of(response)["tags"]) == (200, ["a", "b"])
    assert "Link" not in response.headers


def test_leading_zeros_do_not_make_a_number_larger(world: World) -> None:
    fill_tags(world)

    assert json_of(world.client.get(f"{TAGS_LIST}?n=0000000000002"))["tags"] == TAGS[:2]


@pytest.mark.parametrize(
    "n", ["-1", "abc", "", "1.5", "1e3", "0x1", "%2B1", "%201", "1%20", "%D9%A1", "1%0a", "²"]
)
@pytest.mark.parametrize("url", [TAGS_LIST, CATALOG])
def test_a_page_size_that_is_no_number_is_refused(world: World, url: str, n: str) -> None:
    world.push_image()

    assert_error(world.client.get(f"{url}?n={n}"), 400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize("last", [*TAGS, "", "0", "B", "zzz", "0.1x", "a b", "\0", "é"])
def test_a_list_goes_on_after_last_whether_it_is_there_or_not(world: World, last: str) -> None:
    fill_tags(world)

    response = world.client.get(TAGS_LIST, query_string={"last": last})

    assert json_of(response)["tags"] == [tag for tag in TAGS if tag > last]


def test_a_tag_that_is_deleted_between_two_pages_does_not_end_the_list(world: World) -> None:
    fill_tags(world)
    first = world.client.get(f"{TAGS_LIST}?n=3")
    link = first.headers["Link"].partition(">")[0].removeprefix("<")

    world.client.delete(f"/v2/{REPOSITORY}/manifests/{TAGS[2]}")

    assert json_of(world.client.get(link))["tags"] == TAGS[3:6]


# Catalog


def test_catalog_lists_the_repositories_that_have_a_tag_in_the_order_of_their_bytes(
    every_world: World,
) -> None:
    fill_repositories(every_world)

    response = every_world.client.get(CATALOG)

    assert (response.status_code, response.json) == (200, {"repositories": REPOSITORIES})
    assert response.content_type == "application/json"


def test_catalog_of_an_empty_registry_is_empty(every_world: World) -> None:
    assert every_world.client.get(CATALOG).json == {"repositories": []}


@pytest.mark.parametrize(
    "url", [TAGS_LIST, CATALOG, "/v1/_ping", "/v1/search?q=h", f"/v2/{REPOSITORY}/referrers/{SUBJECT}"]
)
def test_head_equals_get(world: World, url: str) -> None:
    world.push_image()

    head, get = world.client.head(url), world.client.get(url)

    assert (head.status_code, sorted(head.headers)) == (get.status_code, sorted(get.headers))
    assert head.data == b""


# Referrers


def push_referrer(world: World, *, subject: Digest = SUBJECT, **fields: Any) -> tuple[Digest, TestResponse]:
    world.push_blob(CONFIG)
    world.push_blob(LAYER)
    document = image(subject={"mediaType": OCI_MANIFEST, "digest": str(subject), "size": 7}, **fields)
    body = json.dumps(document).encode()
    digest = Digest.of(body)
    return digest, world.put_manifest(body, str(digest))


def referrers(world: World, query: str = "", *, subject: Digest = SUBJECT) -> TestResponse:
    response = world.client.get(f"/v2/{REPOSITORY}/referrers/{subject}{query}")
    assert response.status_code == 200
    return response


def test_push_of_a_referrer_names_its_subject(every_world: World) -> None:
    _, response = push_referrer(every_world)

    assert (response.status_code, response.headers["OCI-Subject"]) == (201, str(SUBJECT))


@pytest.mark.parametrize("subject", [SUBJECT, Digest.of(b"a subject", "sha512")], ids=["sha256", "sha512"])
def test_referrers_are_listed_with_what_their_descriptors_say(every_world: World, subject: Digest) -> None:
    digest, _ = push_referrer(
        every_world,
        subject=subject,
        artifactType="application/vnd.example",
        annotations={"a": "é\ud83d\udc33"},
    )
    size = len(every_world.client.get(f"/v2/{REPOSITORY}/manifests/{digest}").data)

    response = referrers(every_world, subject=subject)

    assert response.headers["Content-Type"] == OCI_INDEX
    assert response.json == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": str(digest),
                "size": size,
                "artifactType": "application/vnd.example",
                "annotations": {"a": "é\U0001f433"},
            }
        ],
    }
    assert "OCI-Filters-Applied" not in response.headers


def test_the_configurations_type_stands_in_for_the_artifact_type(world: World) -> None:
    push_referrer(world)

    assert json_of(referrers(world))["manifests"][0]["artifactType"] == CONFIG_TYPE


def test_an_index_may_be_a_referrer(every_world: World) -> None:
    document = index(subject={"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7})

    digest = every_world.push_manifest(document)

    (entry,) = json_of(referrers(every_world))["manifests"]
    assert (entry["digest"], entry["mediaType"], "artifactType" in entry) == (str(digest), OCI_INDEX, False)


def test_what_nobody_refers_to_has_an_empty_list(every_world: World) -> None:
    push_referrer(every_world)

    response = referrers(every_world, subject=NOWHERE)

    assert response.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def test_referrers_of_another_repository_are_not_listed(every_world: World) -> None:
    push_referrer(every_world)

    response = every_world.client.get(f"/v2/other/referrers/{SUBJECT}")

    assert json_of(response)["manifests"] == []


def test_referrers_are_filtered_by_artifact_type(every_world: World) -> None:
    wanted, _ = push_referrer(every_world, artifactType="application/vnd.wanted")
    push_referrer(every_world, artifactType="application/vnd.other")

    response = referrers(every_world, "?artifactType=application/vnd.wanted")

    assert [entry["digest"] for entry in json_of(response)["manifests"]] == [str(wanted)]
    assert response.headers["OCI-Filters-Applied"] == "artifactType"
    assert len(json_of(referrers(every_world))["manifests"]) == 2


@pytest.mark.parametrize("artifact_type", ["application/vnd.none", "a\r\nb", "%"])
def test_a_filter_that_fits_nothing_gives_an_empty_list(world: World, artifact_type: str) -> None:
    push_referrer(world)

    response = world.client.get(
        f"/v2/{REPOSITORY}/referrers/{SUBJECT}", query_string={"artifactType": artifact_type}
    )

    assert (response.status_code, json_of(response)["manifests"]) == (200, [])
    assert response.headers["OCI-Filters-Applied"] == "artifactType"


def test_referrers_are_listed_once_each_and_in_a_fixed_order(every_world: World) -> None:
    digests = [push_referrer(every_world, annotations={"n": str(n)})[0] for n in range(5)]
    for n in range(5):
        push_referrer(every_world, annotations={"n": str(n)})
    every_world.client.put(
        f"/v2/{REPOSITORY}/manifests/tagged",
        data=every_world.client.get(f"/v2/{REPOSITORY}/manifests/{digests[0]}").data,
    )

    listed = [entry["digest"] for entry in json_of(referrers(every_world))["manifests"]]

    assert listed == sorted(str(digest) for digest in digests)


def test_a_deleted_referrer_is_not_listed(every_world: World) -> None:
    gone, _ = push_referrer(every_world, annotations={"n": "1"})
    stays, _ = push_referrer(every_world, annotations={"n": "2"})

    every_world.client.delete(f"/v2/{REPOSITORY}/manifests/{gone}")

    assert [entry["digest"] for entry in json_of(referrers(every_world))["manifests"]] == [str(stays)]


def test_a_surrogate_in_an_annotation_does_no_harm(world: World) -> None:
    push_referrer(world, annotations={"a": "\ud800"})

    assert len(json_of(referrers(world))["manifests"]) == 1


# Docker's v1 search


def test_ping_says_that_search_is_to_be_had(world: World) -> None:
    response = world.client.get("/v1/_ping")

    assert (response.status_code, response.json) == (200, True)
    assert response.headers["X-Docker-Registry-Standalone"] == "true"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=a", ["a", "a-b", "a.b", "a/b", "a0"]),
        ("q=B", ["a-b", "a.b", "a/b", "b"]),
        ("q=library/b", ["a-b", "a.b", "a/b", "b"]),
        ("q=none", []),
        ("q=", REPOSITORIES),
        ("", REPOSITORIES),
        ("q=untagged", []),
        ("q=%ff", []),
    ],
)
def test_search_lists_the_repositories_that_have_the_term_in_their_name(
    world: World, query: str, names: list[str]
) -> None:
    fill_repositories(world)

    response = world.client.get(f"/v1/search?{query}")

    assert response.status_code == 200
    assert [result["name"] for result in json_of(response)["results"]] == names
    assert json_of(response)["num_results"] == len(names)


def test_search_results_have_what_dockers_clients_read(world: World) -> None:
    world.push_image()

    response = world.client.get("/v1/search?q=hipache")

    assert json_of(response)["results"] == [
        {"name": REPOSITORY, "description": "", "star_count": 0, "is_official": False, "is_automated": False}
    ]


@pytest.mark.parametrize(
    ("query", "names", "page", "size"),
    [
        ("n=2", REPOSITORIES[:2], 1, 2),
        ("n=2&page=3", REPOSITORIES[4:], 3, 2),
        ("n=2&page=4", [], 4, 2),
        ("n=0", REPOSITORIES[:1], 1, 1),
        ("n=-1", REPOSITORIES, 1, 25),
        ("n=abc&page=abc", REPOSITORIES, 1, 25),
        ("n=99999999999", REPOSITORIES, 1, 25),
        ("n=1000", REPOSITORIES, 1, 100),
        ("page=0", REPOSITORIES, 1, 25),
    ],
)
def test_search_has_pages(world: World, query: str, names: list[str], page: int, size: int) -> None:
    fill_repositories(world)

    answer = world.client.get(f"/v1/search?q=&{query}").get_json()

    assert [result["name"] for result in answer["results"]] == names
    assert (answer["page"], answer["page_size"], answer["num_results"]) == (page, size, len(REPOSITORIES))
    assert answer["num_pages"] == -(-len(REPOSITORIES) // size)
