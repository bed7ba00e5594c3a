"""What becomes of docker-registry's paths in a real Glance; run by pytest beside docker-registry-core."""

from __future__ import annotations

import io
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from docker_registry.core import driver, exceptions  # type: ignore[import-not-found]

from docker_registry.drivers.glance import open_glance
from registry_glance.store.layout import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_glance.store.images import GlanceImage, ImageService

LAYER = b"the bytes of a layer"


class OnGlance:
    """A storage and a view of its Glance, which is empty before and after each test."""

    glance: ImageService
    storage: Any

    @pytest.fixture(autouse=True)
    def _on_glance(self) -> Iterator[None]:
        self.glance, _ = open_glance()
        self.storage = driver.fetch("glance")(path="", config=None)
        assert self.images() == []
        yield
        left = self.images()
        for image in left:
            self.glance.delete(image.id)
        assert [image for image in left if not image.active] == []

    def images(self) -> list[GlanceImage]:
        return [*self.glance.list(hidden=False), *self.glance.list(hidden=True)]

    def visible(self) -> dict[str | None, str]:
        return {image.name: image.id for image in self.glance.list(hidden=False)}

    def put_layer(self, image_id: str, content: bytes = LAYER) -> GlanceImage:
        path = self.storage.image_layer_path(image_id)
        known = {image.id for image in self.images()}
        self.storage.stream_write(path, io.BytesIO(content))
        (image,) = [image for image in self.images() if image.id not in known]
        return image

    def put_tag(self, repository: str, tag: str, image_id: str, namespace: str = "library") -> str:
        path: str = self.storage.tag_path(namespace, repository, tag)
        self.storage.put_content(path, image_id)
        return path

    def read(self, path: str) -> str:
        content: bytes = self.storage.get_content(path)
        return content.decode()


class TestTags(OnGlance):
    def test_a_layer_is_a_nameless_hidden_image(self) -> None:
        image = self.put_layer("abc")

        assert (image.name, image.hidden, image.active) == (None, True, True)
        assert image.container_format == "docker"
        assert self.storage.get_content("images/abc/layer") == LAYER

    def test_everything_else_is_nameless_and_hidden_too(self) -> None:
        self.storage.put_content(self.storage.image_json_path("abc"), b"{}")
        self.storage.put_content(self.storage.index_images_path("library", "hipache"), b"[]")
        json_path = self.storage.repository_tag_json_path("library", "hipache", "latest")
        self.storage.put_content(json_path, b"{}")

        assert {(i.name, i.hidden) for i in self.images()} == {(None, True)}
        assert len(self.images()) == 3

    def test_a_tag_names_the_image_of_the_layer_and_stores_nothing_else(self) -> None:
        layer = self.put_layer("abc")

        path = self.put_tag("hipache", "latest", "abc", namespace="samalba")

        assert self.visible() == {"samalba/hipache:latest": layer.id}
        assert len(self.images()) == 1
        assert self.read(path) == "abc"
        assert self.storage.get_size(path) == len("abc")
        assert b"".join(self.storage.stream_read(path, (1, 1))) == b"b"

    def test_the_name_of_a_tag_leaves_library_out(self) -> None:
        layer = self.put_layer("abc")

        path = self.put_tag("busybox", "1.0", "abc")

        assert path == "repositories/library/busybox/tag_1.0"
        assert self.visible() == {"busybox:1.0": layer.id}

    def test_a_tag_can_be_streamed(self) -> None:
        self.put_layer("abc")

        self.storage.stream_write("repositories/library/busybox/tag_1.0", io.BytesIO(b"abc\n"))

        assert self.read("repositories/library/busybox/tag_1.0") == "abc"

    def test_a_moved_tag_leaves_its_old_image_nameless_and_unchanged(self) -> None:
        old, new = self.put_layer("old", b"old"), self.put_layer("new", b"new")
        self.put_tag("busybox", "latest", "old")

        path = self.put_tag("busybox", "latest", "new")

        assert self.visible() == {"busybox:latest": new.id}
        assert self.read(path) == "new"
        demoted = self.glance.get(old.id)
        assert (demoted.name, demoted.hidden) == (None, True)
        assert demoted.hash_value == old.hash_value
        assert self.storage.get_content("images/old/layer") == b"old"

    def test_a_tag_put_again_changes_nothing_that_can_be_seen(self) -> None:
        layer = self.put_layer("abc")
        self.put_tag("busybox", "latest", "abc")

        self.put_tag("busybox", "latest", "abc")

        assert self.visible() == {"busybox:latest": layer.id}
        assert len(self.images()) == 1

    def test_each_further_tag_of_an_image_is_an_image_with_the_same_bytes(self) -> None:
        layer = self.put_layer("abc")

        self.put_tag("busybox", "1.0", "abc")
        path = self.put_tag("busybox", "latest", "abc")

        assert set(self.visible()) == {"busybox:1.0", "busybox:latest"}
        assert self.visible()["busybox:1.0"] == layer.id
        assert {image.hash_value for image in self.images()} == {layer.hash_value}
        assert self.read(path) == "abc"

    def test_an_empty_layer_can_have_several_tags(self) -> None:
        self.put_layer("abc", b"")

        paths = [self.put_tag("scratch", tag, "abc") for tag in ("1", "2")]

        assert [self.read(path) for path in paths] == ["abc", "abc"]
        assert self.storage.get_content("images/abc/layer") == b""

    def test_a_tag_of_an_image_without_a_layer_is_refused(self) -> None:
        self.put_layer("abc")
        path = self.put_tag("busybox", "latest", "abc")

        with pytest.raises(exceptions.FileNotFoundError):
            self.put_tag("busybox", "latest", "unknown")

        assert self.read(path) == "abc"

    def test_listing_a_repository_shows_its_tags_and_files(self) -> None:
        self.put_layer("abc")
        repository = self.storage.repository_path("library", "busybox")
        self.put_tag("busybox", "1.0", "abc")
        self.put_tag("busybox", "latest", "abc")
        self.put_tag("other", "latest", "abc", namespace="busybox")
        self.storage.put_content(self.storage.index_images_path("library", "busybox"), b"[]")

        listed = list(self.storage.list_directory(repository))

        names = ["_index_images", "tag_1.0", "tag_latest"]
        assert listed == [f"{repository}/{name}" for name in names]
        assert list(self.storage.list_directory("repositories")) == [
            "repositories/busybox",
            "repositories/library",
        ]
        assert list(self.storage.list_directory()) == ["images", "repositories"]

    def test_removing_a_tag_keeps_the_layer(self) -> None:
        self.put_layer("abc")
        path = self.put_tag("busybox", "latest", "abc")

        self.storage.remove(path)

        assert not self.storage.exists(path)
        assert self.visible() == {}
        assert self.storage.get_content("images/abc/layer") == LAYER
        with pytest.raises(exceptions.FileNotFoundError):
            self.storage.remove(path)

    def test_removing_a_repository_removes_its_tags_and_keeps_the_layers(self) -> None:
        self.put_layer("abc")
        path = self.put_tag("busybox", "latest", "abc")
        other = self.put_tag("busyboxes", "latest", "abc")
        self.storage.put_content(self.storage.index_images_path("library", "busybox"), b"[]")

        self.storage.remove(self.storage.repository_path("library", "busybox"))

        assert not self.storage.exists(path)
        assert self.storage.exists(other)
        assert self.storage.exists("images/abc/layer")
        with pytest.raises(exceptions.FileNotFoundError):
            self.storage.list_directory(self.storage.repository_path("library", "busybox"))


class TestGlanceUsers(OnGlance):
    """What is done with Glance's own clients counts."""

    def test_renaming_an_image_in_glance_moves_the_tag(self) -> None:
        layer = self.put_layer("abc")
        old = self.put_tag("busybox", "latest", "abc")

        self.glance.update(layer.id, name="renamed/busybox:2")

        assert not self.storage.exists(old)
        assert self.read("repositories/renamed/busybox/tag_2") == "abc"

    def test_of_two_images_with_one_name_the_one_named_last_has_the_tag(self) -> None:
        self.put_layer("one", b"1")
        two = self.put_layer("two", b"2")
        path = self.put_tag("busybox", "latest", "one")

        self.glance.update(two.id, name="busybox:latest", hidden=False)

        assert self.read(path) == "two"
        self.put_tag("busybox", "latest", "one")
        assert self.read(path) == "one"
        assert len(list(self.glance.list(hidden=False))) == 1

    def test_deleting_the_image_in_glance_removes_tag_and_layer(self) -> None:
        layer = self.put_layer("abc")
        path = self.put_tag("busybox", "latest", "abc")

        self.glance.delete(layer.id)

        assert not self.storage.exists(path)
        assert not self.storage.exists("images/abc/layer")

    def test_a_name_that_is_no_tag_is_left_to_its_image(self) -> None:
        layer = self.put_layer("abc")
        self.glance.update(layer.id, name="my favourite", hidden=False)

        self.put_tag("busybox", "latest", "abc")

        assert set(self.visible()) == {"my favourite", "busybox:latest"}
        assert self.storage.get_content("images/abc/layer") == LAYER

    def test_a_tag_of_the_oci_registry_is_none_of_the_driver_s(self) -> None:
        properties = {"docker_record": "tag", "docker_path": "images/abc/layer"}
        manifest = self.glance.create(
            str(uuid.uuid4()), name="busybox:latest", hidden=False, properties=properties
        )
        self.glance.put_data(manifest.id, [b"{}"])

        path = self.storage.tag_path("library", "busybox", "latest")

        assert not self.storage.exists(path)
        assert not self.storage.exists("images/abc/layer")


class TestFiles(OnGlance):
    def test_overwriting_leaves_one_image_with_the_new_bytes(self) -> None:
        self.storage.put_content("images/abc/json", b"old")

        self.storage.put_content("images/abc/json", b"new")

        assert self.storage.get_content("images/abc/json") == b"new"
        assert len(self.images()) == 1

    def test_overwriting_a_layer_takes_its_tags_along(self) -> None:
        self.put_layer("abc", b"old")
        paths = [self.put_tag("busybox", tag, "abc") for tag in ("1", "2")]

        self.storage.stream_write("images/abc/layer", io.BytesIO(b"new"))

        assert [self.read(path) for path in paths] == ["abc", "abc"]
        assert set(self.visible()) == {"busybox:1", "busybox:2"}
        assert {image.size for image in self.images()} == {len(b"new")}
        contents = {b"".join(self.glance.get_data(image.id)) for image in self.images()}
        assert contents == {b"new"}

    def test_of_what_a_crash_left_everybody_reads_the_newest_that_is_complete(self) -> None:
        self.storage.put_content("a/file", b"old")
        (old,) = self.images()
        self.storage.put_content("a/file", b"new")
        survivor = self.glance.create(str(uuid.uuid4()), properties=old.properties)
        self.glance.put_data(survivor.id, [b"old"])
        later = {**old.properties, "docker_path_order": "9" * 17}
        self.glance.create(str(uuid.uuid4()), properties=later)

        assert self.storage.get_content("a/file") == b"new"

        self.storage.remove("a/file")
        assert self.images() == []

    def test_an_upload_that_breaks_off_changes_nothing(self) -> None:
        self.storage.put_content("images/abc/layer", LAYER)

        with pytest.raises(ConnectionResetError):
            self.storage.stream_write("images/abc/layer", BrokenFile())

        assert self.storage.get_content("images/abc/layer") == LAYER
        assert len(self.images()) == 1

    def test_writers_of_one_path_leave_exactly_one_of_their_contents(self) -> None:
        contents = [f"writer {number}".encode() for number in range(4)]
        errors = []

        def write(content: bytes) -> None:
            try:
                self.storage.put_content("a/file", content)
            except Exception as exc:  # noqa: BLE001 - a thread's errors are the test's
                errors.append(exc)

        threads = [threading.Thread(target=write, args=[content]) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert errors == []
        assert self.storage.get_content("a/file") in contents
        assert len(self.images()) == 1

    @pytest.mark.parametrize(
        ("bytes_range", "expected"),
        [
            ((0, 0), b"0"),
            ((2, 4), b"234"),
            ((8, 9), b"89"),
            ((8, 100), b"89"),
            ((10, 12), b""),
            (None, b"0123456789"),
        ],
    )
    def test_a_byte_range_includes_both_its_ends(
        self, bytes_range: tuple[int, int] | None, expected: bytes
    ) -> None:
        self.storage.put_content("a/file", b"0123456789")

        assert b"".join(self.storage.stream_read("a/file", bytes_range)) == expected

    def test_a_missing_file_is_an_error_before_the_first_byte_is_asked_for(self) -> None:
        with pytest.raises(exceptions.FileNotFoundError):
            self.storage.stream_read("images/abc/layer")

    def test_images_of_another_project_do_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put_layer("abc")
        self.put_tag("busybox", "latest", "abc")

        ours = self.glance, Ownership(project="another")
        monkeypatch.setattr(driver.fetch("glance").__module__ + ".open_glance", lambda: ours)
        storage = driver.fetch("glance")()

        assert not storage.exists("images/abc/layer")
        assert not storage.exists("repositories/library/busybox/tag_latest")

    def test_the_nameless_can_be_left_visible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_REGISTRY__HIDE_NAMELESS", "false")
        self.storage = driver.fetch("glance")()

        layer = self.put_layer("abc")
        assert self.visible() == {None: layer.id}
        path = self.put_tag("busybox", "latest", "abc")
        assert self.visible() == {"busybox:latest": layer.id}
        self.storage.remove(path)
        assert self.visible() == {None: layer.id}
        assert self.storage.get_content("images/abc/layer") == LAYER

    def test_glance_that_does_not_answer_is_an_error_of_the_contract(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OS_GLANCE_URL", "http://127.0.0.1:1")
        storage = driver.fetch("glance")()

        with pytest.raises(exceptions.UnreachableError):
            storage.get_content("images/abc/json")

    def test_a_directory_is_listed_but_does_not_exist(self) -> None:
        self.storage.put_content("images/abc/json", b"{}")

        assert list(self.storage.list_directory("images/")) == ["images/abc"]
        assert not self.storage.exists("images/abc")
        assert not self.storage.exists("images/ab")

    def test_private_flag_and_json_helpers_of_the_contract_work(self) -> None:
        assert not self.storage.is_private("library", "busybox")

        self.storage.put_content(self.storage.private_flag_path("library", "busybox"), b"")
        self.storage.put_json("images/abc/json", {"id": "ß"})

        assert self.storage.is_private("library", "busybox")
        assert self.storage.get_json("images/abc/json") == {"id": "ß"}


PATHS = [
    ("images_list_path", ("n", "r"), "repositories/n/r/_images_list"),
    ("image_json_path", ("abc",), "images/abc/json"),
    ("image_mark_path", ("abc",), "images/abc/_inprogress"),
    ("image_checksum_path", ("abc",), "images/abc/_checksum"),
    ("image_layer_path", ("abc",), "images/abc/layer"),
    ("image_ancestry_path", ("abc",), "images/abc/ancestry"),
    ("image_files_path", ("abc",), "images/abc/_files"),
    ("image_diff_path", ("abc",), "images/abc/_diff"),
    ("repository_path", ("n", "r"), "repositories/n/r"),
    ("tag_path", ("n", "r"), "repositories/n/r"),
    ("tag_path", ("n", "r", "1.0"), "repositories/n/r/tag_1.0"),
    ("repository_json_path", ("n", "r"), "repositories/n/r/json"),
    ("repository_tag_json_path", ("n", "r", "t"), "repositories/n/r/tagt_json"),
    ("index_images_path", ("n", "r"), "repositories/n/r/_index_images"),
    ("private_flag_path", ("n", "r"), "repositories/n/r/_private"),
]


class TestPathHelpers:
    @pytest.mark.parametrize(("helper", "arguments", "expected"), PATHS)
    def test_it_gives_the_path_of_docker_registry(
        self, helper: str, arguments: tuple[str, ...], expected: str
    ) -> None:
        assert getattr(driver.fetch("glance")(), helper)(*arguments) == expected

    def test_arguments_may_be_named(self) -> None:
        path = driver.fetch("glance")().tag_path(namespace="n", repository="r", tagname="1.0")

        assert path == "repositories/n/r/tag_1.0"

    @pytest.mark.parametrize("text", ["..", ".", "a/b", "../../images"])
    def test_what_it_is_given_stays_one_segment(self, text: str) -> None:
        segments = driver.fetch("glance")().image_json_path(text).split("/")

        assert len(segments) == 3
        assert segments[1] not in {"..", "."}


class BrokenFile(io.RawIOBase):
    """Gives some bytes, then fails, as a client's connection does."""

    def __init__(self) -> None:
        self._pieces: Iterator[bytes] = iter([b"x" * 65536] * 4)

    def read(self, size: int = -1) -> bytes:
        for piece in self._pieces:
            return piece[:size]
        raise ConnectionResetError("the client went away")
