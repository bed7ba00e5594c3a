"""Docker Engine pushes, pulls and runs."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.engines import DockerEngine
from tests.e2e.glance_view import GlanceView
from tests.e2e.registry_api import RegistryApi
from tests.e2e.tools import Workshop, find, require

LAYER_ALREADY_THERE = re.compile(r": (Layer already exists|Mounted from)")
LAYER_PUSHED = re.compile(r": Pushed$", re.MULTILINE)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with one program and 12 files of new content."""
    require("busybox")
    shutil.copy(find("busybox") or "", tmp_path / "busybox")
    for number in range(12):
        (tmp_path / f"file{number}").write_bytes(os.urandom(20_000))
    return tmp_path


def greeter(greeting: str, *files: str) -> str:
    """Return the Dockerfile of an image that greets; each file is a layer of its own."""
    copies = "".join(f"COPY {file} /{file}\n" for file in files)
    return f'FROM scratch\n{copies}COPY busybox /bin/busybox\nCMD ["/bin/busybox", "echo", "{greeting}"]\n'


def run(engine: DockerEngine, reference: str) -> str:
    """Run an image without a network and return what it printed."""
    return engine.docker("run", "--rm", "--network", "none", reference).strip()


def test_a_pushed_image_runs_on_an_engine_that_never_saw_it(
    registry: RegistryApi,
    docker_engine: DockerEngine,
    second_docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("hello from glance", "file0"), context)

    pushed = docker_engine.docker("push", reference)
    second_docker_engine.docker("pull", reference)

    digest = registry.digest(repository, "v1")
    assert f"digest: {digest}" in pushed
    assert docker_engine.repository_digest(reference) == digest
    assert second_docker_engine.repository_digest(reference) == digest
    assert run(second_docker_engine, reference) == "hello from glance"


def test_an_image_removed_from_the_engine_comes_back_by_its_digest(
    registry: RegistryApi, docker_engine: DockerEngine, repository: str, context: Path
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("back again", "file1"), context)
    docker_engine.docker("push", reference)
    by_digest = f"{registry.address}/{repository}@{registry.digest(repository, 'v1')}"

    docker_engine.docker("image", "rm", "--force", reference)
    docker_engine.docker("pull", by_digest)

    assert run(docker_engine, by_digest) == "back again"


def test_twelve_layers_arrive_in_their_order(
    registry: RegistryApi,
    docker_engine: DockerEngine,
    second_docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository)
    files = [f"file{number}" for number in range(11)]
    docker_engine.build(reference, greeter("twelve", *files), context)

    docker_engine.docker("push", reference)
    second_docker_engine.docker("pull", reference)

    assert len(registry.manifest(repository, "v1").layers) == 12
    assert second_docker_engine.layers(reference) == docker_engine.layers(reference)
    registry.assert_complete(repository, "v1")


def test_a_layer_that_another_image_has_is_not_uploaded_again(
    registry: RegistryApi, docker_engine: DockerEngine, repository: str, context: Path
) -> None:
    first, second = registry.reference(repository), registry.reference(f"{repository}-second")
    docker_engine.build(first, f"{greeter('one', 'file0', 'file1')}", context)
    docker_engine.build(second, f"{greeter('two', 'file0', 'file1')}COPY file2 /file2\n", context)
    docker_engine.docker("push", first)

    pushed = docker_engine.docker("push", second)

    assert len(LAYER_ALREADY_THERE.findall(pushed)) == 3
    assert len(LAYER_PUSHED.findall(pushed)) == 1
    shared = registry.manifest(repository, "v1").layers
    assert registry.manifest(f"{repository}-second", "v1").layers[:3] == shared
    registry.assert_complete(f"{repository}-second", "v1")


def test_a_shared_layer_is_in_glance_once(
    registry: RegistryApi,
    glance_view: GlanceView,
    docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    for name in (repository, f"{repository}-second"):
        reference = registry.reference(name)
        docker_engine.build(reference, greeter(name, "file0"), context)
        docker_engine.docker("push", reference)

    layers = registry.manifest(repository, "v1").layers

    assert [glance_view.copies(digest) for digest in layers] == [1, 1]


def test_a_second_push_uploads_nothing(
    registry: RegistryApi, docker_engine: DockerEngine, repository: str, context: Path
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("again", "file0", "file1", "file2"), context)
    docker_engine.docker("push", reference)
    before = registry.digest(repository, "v1")

    pushed = docker_engine.docker("push", reference)

    assert len(LAYER_ALREADY_THERE.findall(pushed)) == 4
    assert not LAYER_PUSHED.search(pushed)
    assert registry.digest(repository, "v1") == before


def test_a_second_push_leaves_glance_as_it_was(
    registry: RegistryApi,
    glance_view: GlanceView,
    docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("still", "file0"), context)
    docker_engine.docker("push", reference)
    before = {image["id"] for image in glance_view.all()}

    docker_engine.docker("push", reference)

    assert {image["id"] for image in glance_view.all()} == before


def test_a_new_tag_names_the_same_manifest(
    registry: RegistryApi, docker_engine: DockerEngine, repository: str, context: Path
) -> None:
    old, new = registry.reference(repository, "old"), registry.reference(repository, "new")
    docker_engine.build(old, greeter("retagged", "file0"), context)
    docker_engine.docker("push", old)

    docker_engine.docker("tag", old, new)
    docker_engine.docker("push", new)

    assert registry.tags(repository) == ["new", "old"]
    assert registry.digest(repository, "new") == registry.digest(repository, "old")


def test_a_tag_moves_to_what_was_pushed_last_and_the_old_digest_still_answers(
    registry: RegistryApi,
    docker_engine: DockerEngine,
    second_docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("before", "file0"), context)
    docker_engine.docker("push", reference)
    old = registry.digest(repository, "v1")
    second_docker_engine.docker("pull", reference)

    docker_engine.build(reference, greeter("after", "file0"), context)
    docker_engine.docker("push", reference)
    second_docker_engine.docker("pull", reference)

    assert run(second_docker_engine, reference) == "after"
    assert run(second_docker_engine, f"{registry.address}/{repository}@{old}") == "before"
    registry.assert_complete(repository, old)


def test_of_two_pushes_of_one_tag_at_once_one_wins_and_both_are_complete(
    registry: RegistryApi,
    docker_engine: DockerEngine,
    second_docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository, "race")
    engines = (docker_engine, second_docker_engine)
    for engine, own_file in zip(engines, ("file1", "file2"), strict=True):
        engine.build(reference, greeter(own_file, "file0", own_file), context)

    pushes = [engine.start_docker("push", reference) for engine in engines]
    outputs = [push.communicate(timeout=120)[0] for push in pushes]

    assert [push.returncode for push in pushes] == [0, 0], outputs
    digests = [engine.repository_digest(reference) for engine in engines]
    assert digests[0] != digests[1]
    assert registry.digest(repository, "race") in digests
    for digest in digests:
        registry.assert_complete(repository, digest)
    assert registry.tags(repository) == ["race"]


def test_an_index_made_by_docker_manifest_gives_each_platform_its_image(
    registry: RegistryApi,
    docker_engine: DockerEngine,
    workshop: Workshop,
    repository: str,
    context: Path,
) -> None:
    images = [registry.reference(repository, tag) for tag in ("amd64", "arm64")]
    for image in images:
        docker_engine.build(image, greeter(image, "file0"), context)
        docker_engine.docker("push", image)
    index = registry.reference(repository, "multi")

    workshop.run("docker", "manifest", "create", "--insecure", index, *images)
    workshop.run("docker", "manifest", "annotate", "--arch", "arm64", index, images[1])
    pushed = workshop.run("docker", "manifest", "push", "--insecure", "--purge", index)
    docker_engine.docker("pull", index)

    assert registry.digest(repository, "multi") == pushed.split()[-1]
    children = [registry.digest(repository, tag) for tag in ("amd64", "arm64")]
    assert registry.manifest(repository, "multi").children == children
    assert run(docker_engine, index) == images[0]
    registry.assert_complete(repository, "multi")


def test_docker_search_lists_what_is_in_glance(
    registry: RegistryApi,
    glance_view: GlanceView,
    docker_engine: DockerEngine,
    repository: str,
    context: Path,
) -> None:
    reference = registry.reference(repository)
    docker_engine.build(reference, greeter("found", "file0"), context)
    docker_engine.docker("push", reference)
    term = repository.rpartition("/")[2]

    found = docker_engine.docker("search", "--format", "{{.Name}}", f"{registry.address}/{term}").split()

    assert found == [repository]
    assert f"{repository}:v1" in glance_view.names()
