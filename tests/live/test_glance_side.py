"""What Glance's users see of the registry, and what the registry sees of what they do, with their own clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from devcloud.process import child_environment
from devcloud.registry import Registry
from tests.live.conftest import StartGlance, StartRegistry
from tests.live.faulty_glance import FaultyGlance
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import INDEX, MANIFEST, Image, Pusher, manifest
from tests.live.wire import request, sha256

FRESHNESS_S = 2.0
CLI_TIMEOUT_S = 60
CONFIG = json.dumps(
    {
        "architecture": "arm64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {
            "Entrypoint": ["/bin/hipache"],
            "Cmd": ["--config", "/etc/hipache.json"],
            "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
            "Labels": {"maintainer": "somebody@example.org"},
        },
    }
).encode()


class Clients:
    """The ``glance`` and ``openstack`` commands, for one Glance.

    Args:
        url: Of the image endpoint.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def glance(self, *arguments: str) -> str:
        return self._run(["glance", *arguments], OS_AUTH_TOKEN="none", OS_IMAGE_URL=self._url)

    def openstack(self, *arguments: str) -> str:
        return self._run(["openstack", *arguments], OS_AUTH_TYPE="none", OS_ENDPOINT=self._url)

    def glance_rows(self, *arguments: str) -> list[list[str]]:
        """Return the cells of the table that ``glance`` prints, without ids."""
        lines = self.glance("--verbose", *arguments).splitlines()
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")
        ]
        return [row[1:] for row in rows[1:]]

    def _run(self, command: list[str], **environment: str) -> str:
        # The commands of the environment that the tests run in.
        program = Path(sys.executable).parent / command[0]
        done = subprocess.run(
            [str(program), *command[1:]],
            env=child_environment(**environment),
            capture_output=True,
            text=True,
            timeout=CLI_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def clients(records: GlanceRecords) -> Clients:
    return Clients(records.url)


@pytest.fixture(scope="module")
def fresh(start_registry: StartRegistry, records: GlanceRecords) -> Registry:
    """A registry that looks tags up in every request."""
    return start_registry(records.url, freshness=0)


@pytest.fixture(autouse=True)
def empty(records: GlanceRecords) -> Iterator[None]:
    yield
    records.delete_all()


def _tag(records: GlanceRecords, name: str) -> dict[str, Any]:
    found = [image for image in records.visible() if image["name"] == name]
    assert len(found) == 1, found
    return found[0]


def _shown(records: GlanceRecords) -> list[tuple[str | None, str, str, str, bool]]:
    return sorted(
        (
            image["name"] or "",
            image["disk_format"],
            image["container_format"],
            image["status"],
            image["os_hidden"],
        )
        for image in records.all().values()
    )


# ---------------------------------------------------------------------------------------------------------------------
# What Glance's users see


def test_image_list_after_two_pushes_shows_exactly_the_tags(fresh: Registry, clients: Clients) -> None:
    Pusher(fresh.authority, "hipache").image("latest", config=CONFIG)
    Pusher(fresh.authority, "library/busybox").image("1.36", config=CONFIG + b" ")

    plain = clients.glance_rows("image-list")
    hidden = clients.glance_rows("image-list", "--hidden")

    assert sorted([*row[:3], row[4]] for row in plain) == [
        ["hipache:latest", "raw", "docker", "active"],
        ["library/busybox:1.36", "raw", "docker", "active"],
    ]
    # Two layers and two configurations.
    assert [[*row[:3], row[4]] for row in hidden] == [["", "raw", "docker", "active"]] * 4


@pytest.mark.parametrize("way", ["one-chunk", "composed", "moved", "deleted", "by-digest"])
def test_only_tags_are_visible_whatever_was_done(fresh: Registry, records: GlanceRecords, way: str) -> None:
    push = Pusher(fresh.authority, "hipache")
    push.image("latest", config=CONFIG)
    if way == "composed":
        content = os.urandom(2000)
        location = push.append(push.append(push.begin(), content[:1000]), content[1000:])
        assert request(push.address, "PUT", f"{location}&digest={sha256(content)}", body=b"").status == 201
    elif way == "moved":
        push.image("latest", config=CONFIG)
    elif way == "deleted":
        push.image("gone", config=CONFIG)
        assert push.request("DELETE", "/manifests/gone").status == 202
    elif way == "by-digest":
        push.image(config=CONFIG, subject=sha256(b"something"))

    assert [image["name"] for image in records.visible()] == ["hipache:latest"]
    assert {image["name"] for image in records.all().values() if image["os_hidden"]} == {None}
    assert {image["status"] for image in records.all().values()} == {"active"}


def test_nameless_images_are_visible_where_the_operator_wants_that(
    records: GlanceRecords, start_registry: StartRegistry
) -> None:
    push = Pusher(start_registry(records.url, hide_nameless=False, freshness=0).authority, "hipache")
    image = push.image("latest", config=CONFIG)
    location = push.append(push.append(push.begin(), b"one"), b"two")
    assert request(push.address, "PUT", f"{location}&digest={sha256(b'onetwo')}", body=b"").status == 201

    assert {shown[4] for shown in _shown(records)} == {False}
    assert [shown[0] for shown in _shown(records)] == ["", "", "", "hipache:latest"]
    assert push.digest_of("latest") == image.digest
    assert push.tags() == ["latest"]
    assert push.request("GET", f"/blobs/{sha256(b'onetwo')}").body == b"onetwo"
    assert push.request("DELETE", "/manifests/latest").status == 202
    assert push.digest_of(image.digest) == image.digest


def test_tag_record_says_what_the_image_runs(fresh: Registry, records: GlanceRecords) -> None:
    image = Pusher(fresh.authority, "hipache").image("latest", layers=[b"a" * 100, b"b" * 50], config=CONFIG)

    tag = _tag(records, "hipache:latest")

    assert tag["img_hv_type"] == "docker"
    assert tag["hw_vm_mode"] == "exe"
    assert tag["hw_architecture"] == "aarch64"
    assert tag["docker_size"] == str(150 + len(CONFIG))
    assert tag["docker_digest"] == image.digest
    assert tag["os_hash_value"] == image.digest.removeprefix("sha256:")
    assert json.loads(tag["docker_entrypoint"]) == ["/bin/hipache"]
    assert json.loads(tag["docker_command"]) == ["--config", "/etc/hipache.json"]
    assert tag["docker_exposed_ports"] == "443/tcp,80/tcp"
    assert tag["docker_created"] == "2026-01-02T03:04:05Z"
    assert json.loads(tag["docker_labels"]) == {"maintainer": "somebody@example.org"}
    assert tag["docker_platform"] == "linux/arm64"


def test_index_has_no_architecture_and_names_its_platforms(fresh: Registry, records: GlanceRecords) -> None:
    push = Pusher(fresh.authority, "hipache")
    images = [push.image(config=CONFIG), push.image(config=CONFIG)]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": image.digest,
                "size": len(image.body),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for image, architecture in zip(images, ("amd64", "arm64"), strict=True)
        ],
    }

    push.manifest("multi", json.dumps(document).encode(), INDEX)

    tag = _tag(records, "hipache:multi")
    assert "hw_architecture" not in tag
    assert tag["docker_platform"] == "linux/amd64,linux/arm64"
    assert tag["img_hv_type"] == "docker"


def test_glance_proves_each_layer_by_its_digest(fresh: Registry, records: GlanceRecords) -> None:
    image = Pusher(fresh.authority, "hipache").image("latest", layers=[b"layer"], config=CONFIG)

    hashes = {record["os_hash_value"] for record in records.all().values()}

    assert hashes == {sha256(content)[7:] for content in (image.body, b"layer", CONFIG)}


# ---------------------------------------------------------------------------------------------------------------------
# What they do, seen by the registry


def _openstack_set(clients: Clients, image_id: str, *arguments: str) -> None:
    clients.openstack("image", "set", *arguments, image_id)


def test_rename_by_hand_is_a_retag_in_the_next_request(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("latest", config=CONFIG)
    assert push.digest_of("latest") == image.digest

    _openstack_set(clients, _tag(records, "hipache:latest")["id"], "--name", "proxies/hipache:v1")

    assert push.request("GET", "/manifests/latest").status == 404
    assert push.tags() == []
    assert Pusher(fresh.authority, "proxies/hipache").digest_of("v1") == image.digest
    assert Pusher(fresh.authority, "proxies/hipache").tags() == ["v1"]
    catalog = request(fresh.authority, "GET", "/v2/_catalog").document
    assert catalog["repositories"] == ["proxies/hipache"]


def test_name_without_a_tag_means_latest(fresh: Registry, records: GlanceRecords, clients: Clients) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("v1", config=CONFIG)

    _openstack_set(clients, _tag(records, "hipache:v1")["id"], "--name", "hipache")

    assert push.digest_of("latest") == image.digest
    assert push.tags() == ["latest"]


def test_name_given_to_an_older_image_by_hand_wins(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    older = push.image("v1", config=CONFIG)
    newer = push.image("latest", config=CONFIG)
    assert push.digest_of("latest") == newer.digest

    _openstack_set(clients, _tag(records, "hipache:v1")["id"], "--name", "hipache:latest")

    assert push.digest_of("latest") == older.digest
    newest = push.image("latest", config=CONFIG)
    assert push.digest_of("latest") == newest.digest
    assert [image["name"] for image in records.visible()] == ["hipache:latest"]


def test_delete_by_hand_is_seen_in_the_next_request(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("latest", config=CONFIG)
    push.image("v2", config=CONFIG)
    assert push.digest_of("latest") == image.digest

    clients.openstack("image", "delete", _tag(records, "hipache:latest")["id"])

    assert push.request("GET", "/manifests/latest").status == 404
    assert push.request("GET", f"/manifests/{image.digest}").status == 404
    assert push.tags() == ["v2"]


def test_layer_deleted_by_hand_is_missing_in_the_next_request(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("latest", layers=[b"layer"], config=CONFIG)
    path = f"/blobs/{sha256(b'layer')}"
    assert push.request("HEAD", path).status == 200
    layer = next(
        record for record in records.all().values() if record["os_hash_value"] == sha256(b"layer")[7:]
    )

    clients.glance("image-delete", layer["id"])

    assert push.request("HEAD", path).status == 404
    assert push.request("GET", path).status == 404
    answer = push.request("PUT", "/manifests/again", {"Content-Type": MANIFEST}, image.body)
    assert answer.codes == ["MANIFEST_BLOB_UNKNOWN"]
    push.blob(b"layer")
    push.manifest("again", image.body)


def test_hidden_tag_is_no_tag_until_it_is_shown_again(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("latest", config=CONFIG)
    image_id = _tag(records, "hipache:latest")["id"]

    clients.glance("image-update", "--hidden", "true", image_id)
    hidden = push.request("GET", "/manifests/latest").status, push.tags()
    clients.glance("image-update", "--hidden", "false", image_id)

    assert hidden == (404, [])
    assert push.digest_of("latest") == image.digest
    assert push.tags() == ["latest"]


def test_change_by_hand_is_seen_within_the_freshness_window(
    records: GlanceRecords, clients: Clients, start_registry: StartRegistry
) -> None:
    push = Pusher(start_registry(records.url, freshness=FRESHNESS_S).authority, "hipache")
    older = push.image("v1", config=CONFIG)
    push.image("latest", config=CONFIG)
    push.digest_of("latest")

    _openstack_set(clients, _tag(records, "hipache:v1")["id"], "--name", "hipache:latest")

    time.sleep(FRESHNESS_S)
    assert push.digest_of("latest") == older.digest
    assert push.tags() == ["latest"]


def test_visibility_changed_by_hand_keeps_a_tag_for_its_owner(
    fresh: Registry, records: GlanceRecords, clients: Clients
) -> None:
    push = Pusher(fresh.authority, "hipache")
    image = push.image("latest", config=CONFIG)

    for visibility in ("--private", "--community", "--shared"):
        _openstack_set(clients, _tag(records, "hipache:latest")["id"], visibility)

        assert push.digest_of("latest") == image.digest, visibility
        assert push.tags() == ["latest"], visibility


def test_tag_shared_by_hand_is_seen_by_the_other_project(
    fresh: Registry, records: GlanceRecords, clients: Clients, start_registry: StartRegistry
) -> None:
    image = Pusher(fresh.authority, "hipache").image("latest", config=CONFIG)
    image_id = _tag(records, "hipache:latest")["id"]
    with FaultyGlance(records.url, {"X-Project-Id": "neighbour", "X-User-Id": "neighbour"}) as neighbours:
        neighbour = Pusher(start_registry(neighbours.url, freshness=0).authority, "hipache")
        before = neighbour.request("GET", "/manifests/latest").status

        clients.glance("member-create", image_id, "neighbour")
        _accept(neighbours.url, image_id, "neighbour")
        shared = neighbour.request("GET", "/manifests/latest").body
        clients.glance("member-delete", image_id, "neighbour")

        assert (before, shared) == (404, image.body)
        assert neighbour.request("GET", "/manifests/latest").status == 404
        assert neighbour.request("GET", f"/manifests/{image.digest}").status == 404


def _accept(url: str, image_id: str, member: str) -> None:
    accepted = Request(  # noqa: S310 - loopback
        f"{url}/v2/images/{image_id}/members/{member}",
        b'{"status": "accepted"}',
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urlopen(accepted, timeout=CLI_TIMEOUT_S):  # noqa: S310 - loopback
        pass


def test_images_of_others_are_no_business_of_the_registry(fresh: Registry, records: GlanceRecords) -> None:
    records.create(name="hipache:latest", container_format="bare", disk_format="qcow2")
    records.create(name="hipache:queued", container_format="docker", disk_format="raw")
    before = records.all()
    push = Pusher(fresh.authority, "hipache")

    assert push.request("GET", "/manifests/latest").status == 404
    assert push.request("DELETE", "/manifests/latest").status == 404
    assert push.request("DELETE", "/manifests/queued").status == 404
    assert push.tags() == []
    assert records.all() == before


# ---------------------------------------------------------------------------------------------------------------------
# Two at once, and Glance's default hash


@pytest.mark.parametrize("pushers", [2, 4])
def test_pushes_of_one_tag_at_once_leave_one_tag(
    fresh: Registry, records: GlanceRecords, start_registry: StartRegistry, pushers: int
) -> None:
    replicas = [fresh, start_registry(records.url, freshness=0)]
    first = Pusher(fresh.authority, "hipache")
    first.blob(CONFIG)
    first.blob(b"layer")
    bodies = [manifest([b"layer"], CONFIG) for _ in range(pushers)]

    def push(number: int) -> int:
        replica = Pusher(replicas[number % 2].authority, "hipache")
        return replica.request("PUT", "/manifests/latest", {"Content-Type": MANIFEST}, bodies[number]).status

    with ThreadPoolExecutor(pushers) as pool:
        statuses = list(pool.map(push, range(pushers)))

    assert statuses == [201] * pushers
    assert [image["name"] for image in records.visible()] == ["hipache:latest"]
    digests = {Pusher(replica.authority, "hipache").digest_of("latest") for replica in replicas}
    assert len(digests) == 1
    assert digests < {sha256(body) for body in bodies}
    for body in bodies:
        assert first.digest_of(sha256(body)) == sha256(body)


def test_push_of_the_same_image_twice_at_once_succeeds_twice(fresh: Registry, records: GlanceRecords) -> None:
    push = Pusher(fresh.authority, "hipache")
    layer = os.urandom(1000)

    def blob(_: int) -> str:
        location = push.append(push.begin(), layer)
        answer = request(push.address, "PUT", f"{location}&digest={sha256(layer)}", body=b"")
        return str(answer.status)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(blob, range(2))) == ["201", "201"]
        push.blob(CONFIG)
        body = manifest([layer], CONFIG)
        list(pool.map(lambda _: push.manifest("latest", body), range(2)))

    assert push.digest_of("latest") == sha256(body)
    assert [image["name"] for image in records.visible()] == ["hipache:latest"]


@pytest.fixture(scope="module")
def sha512_glance(start_glance: StartGlance) -> GlanceRecords:
    return GlanceRecords(start_glance(hashing_algorithm="sha512").url)


@pytest.fixture
def sha512_push(sha512_glance: GlanceRecords, start_registry: StartRegistry) -> Iterator[Pusher]:
    """A client of a replica that knows nothing, over a Glance with its default hash."""
    registry = start_registry(sha512_glance.url, freshness=0)
    yield Pusher(registry.authority, "hipache")
    registry.stop()
    sha512_glance.delete_all()


def _assert_whole(push: Pusher, image: Image) -> None:
    assert push.digest_of("latest") == image.digest
    assert push.digest_of(image.digest) == image.digest
    for content in (*image.layers, image.config):
        assert push.request("HEAD", f"/blobs/{sha256(content)}").status == 200
        assert push.request("GET", f"/blobs/{sha256(content)}").body == content


def test_glance_with_its_default_hash_serves_push_and_pull(
    sha512_glance: GlanceRecords, sha512_push: Pusher, start_registry: StartRegistry
) -> None:
    image = sha512_push.image("latest", layers=[os.urandom(500)], config=CONFIG)
    content = os.urandom(900)
    location = sha512_push.append(sha512_push.append(sha512_push.begin(), content[:300]), content[300:])
    composed = request(sha512_push.address, "PUT", f"{location}&digest={sha256(content)}", body=b"")
    cold = Pusher(start_registry(sha512_glance.url, freshness=0).authority, "hipache")

    assert composed.status == 201
    for replica in (sha512_push, cold):
        _assert_whole(replica, image)
        assert replica.request("GET", f"/blobs/{sha256(content)}").body == content
    assert [record["name"] for record in sha512_glance.visible()] == ["hipache:latest"]


def test_glance_with_its_default_hash_deletes_everything(
    sha512_glance: GlanceRecords, sha512_push: Pusher
) -> None:
    image = sha512_push.image("latest", layers=[b"layer"], config=CONFIG, subject=sha256(b"something"))

    assert sha512_push.request("DELETE", f"/manifests/{image.digest}").status == 202
    for content in (b"layer", CONFIG):
        assert sha512_push.request("DELETE", f"/blobs/{sha256(content)}").status == 202
        assert sha512_push.request("HEAD", f"/blobs/{sha256(content)}").status == 404

    assert sha512_push.request("GET", "/manifests/latest").status == 404
    assert sha512_glance.all() == {}


def test_digest_that_does_not_match_is_refused_with_the_default_hash(
    sha512_glance: GlanceRecords, sha512_push: Pusher
) -> None:
    for content in (b"content", b""):
        answer = sha512_push.request("POST", f"/blobs/uploads/?digest={sha256(b'other')}", body=content)
        assert answer.codes == ["DIGEST_INVALID"]
        location = sha512_push.append(sha512_push.begin(), b"content")
        answer = request(sha512_push.address, "PUT", f"{location}&digest={sha256(b'other')}", body=content)
        assert answer.codes == ["DIGEST_INVALID"]

    assert sha512_push.request("HEAD", f"/blobs/{sha256(b'other')}").status == 404
    assert sha512_glance.all() == {}


def test_property_written_by_hand_makes_no_blob_with_the_default_hash(
    sha512_glance: GlanceRecords, sha512_push: Pusher
) -> None:
    wanted = sha256(b"what everybody wants")
    sha512_push.blob(b"malice")
    (image_id,) = [key for key, image in sha512_glance.all().items() if image.get("docker_digest")]

    sha512_glance.change(image_id, {"op": "replace", "path": "/docker_digest", "value": wanted})

    assert sha512_push.request("HEAD", f"/blobs/{wanted}").status == 404
    assert sha512_push.request("GET", f"/blobs/{wanted}").status == 404
