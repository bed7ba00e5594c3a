"""The embedded Glance and the command that starts it, as a person and as the registry use them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from devcloud import __main__ as cli
from devcloud.errors import DevcloudError
from devcloud.glance import Glance, prepare_database
from devcloud.ports import free_port, listen

CLIENTS, ROUNDS = 8, 12
PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
CREATE = {"name": "hipache:latest", "disk_format": "raw", "container_format": "docker"}
READY_TIMEOUT_S = 180


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("template") / "glance.sqlite"
    prepare_database(database)
    return database


@pytest.fixture
def data(tmp_path: Path, template: Path) -> Path:
    """A data directory whose Glance already has its database."""
    folder = tmp_path / "data" / "glance"
    folder.mkdir(parents=True)
    (folder / "glance.sqlite").write_bytes(template.read_bytes())
    return folder.parent


@contextmanager
def up(data: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`devcloud up glance` in a process of its own, from its ready line on; stopped if the test did not."""
    command = [sys.executable, "-m", "devcloud", "up", "glance", "--data", str(data), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            ready = next((line for line in process.stdout if line.startswith("glance ready: ")), None)
            assert ready, process.stderr and process.stderr.read()
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=READY_TIMEOUT_S)


def glance_pid(data: Path, capsys: pytest.CaptureFixture[str]) -> int:
    assert cli.main(["status", "--data", str(data)]) == 0
    found = re.search(r"^glance: \S+ answers, pid (\d+)", capsys.readouterr().out, re.MULTILINE)
    assert found
    return int(found[1])


def group_members(group: int) -> list[int]:
    """The living processes of a process group; a zombie only waits for its parent."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            members.append(int(stat.parent.name))
    return members


def test_glance_serves_concurrent_writers_without_an_error(tmp_path: Path, template: Path) -> None:
    def write(client: int) -> list[int]:
        statuses = []
        with requests.Session() as session:
            for turn in range(ROUNDS):
                created = session.post(f"{glance.url}/v2/images", json=CREATE)
                image = f"{glance.url}/v2/images/{created.json()['id']}"
                octets = {"Content-Type": "application/octet-stream"}
                stored = session.put(f"{image}/file", data=os.urandom(100_000), headers=octets)
                seen = session.get(image)
                assert seen.json()["status"] == "active"
                change = [{"op": "add", "path": "/turn", "value": f"{client}-{turn}"}]
                changed = session.patch(image, json=change, headers={"Content-Type": PATCH_TYPE})
                deleted = session.delete(image)
                statuses += [answer.status_code for answer in (created, stored, seen, changed, deleted)]
        return statuses

    with Glance(tmp_path, template=template) as glance, ThreadPoolExecutor(CLIENTS) as pool:
        statuses = list(pool.map(write, range(CLIENTS)))

    assert statuses == [[201, 204, 200, 200, 204] * ROUNDS] * CLIENTS


def test_glance_believes_what_a_request_says_about_its_sender(tmp_path: Path, template: Path) -> None:
    with Glance(tmp_path, template=template) as glance:
        images = f"{glance.url}/v2/images"
        reader = {"X-Project-Id": "other", "X-Roles": "reader"}

        created = requests.post(images, json=CREATE, headers={"X-Auth-Token": "anything"}, timeout=30)
        hers = requests.get(images, headers={"X-Project-Id": "other"}, timeout=30)
        refused = requests.post(images, json=CREATE, headers=reader, timeout=30)
        unconfirmed = requests.get(images, headers={"X-Identity-Status": "Invalid"}, timeout=30)

    assert created.json()["owner"] == "devcloud"
    assert hers.json()["images"] == []
    assert (refused.status_code, unconfirmed.status_code) == (403, 401)


@pytest.mark.parametrize(("algorithm", "length"), [("sha256", 64), ("sha512", 128)])
def test_glance_hashes_with_the_algorithm_it_was_given(
    tmp_path: Path, template: Path, algorithm: str, length: int
) -> None:
    with Glance(tmp_path, template=template, hashing_algorithm=algorithm) as glance:
        image = requests.post(f"{glance.url}/v2/images", json=CREATE, timeout=30).json()
        octets = {"Content-Type": "application/octet-stream"}
        requests.put(f"{glance.url}{image['file']}", data=b"layer", headers=octets, timeout=30)
        stored = requests.get(f"{glance.url}{image['self']}", timeout=30).json()

    assert (stored["os_hash_algo"], len(stored["os_hash_value"])) == (algorithm, length)


def test_up_keeps_the_data_and_ends_everything_on_sigterm(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v2/images"

    with up(data, "--glance-port", str(port)) as first:
        group = glance_pid(data, capsys)
        requests.post(url, json=CREATE, timeout=30).raise_for_status()
        first.send_signal(signal.SIGTERM)
        first.wait(60)
    left = group_members(group)
    with up(data, "--glance-port", str(port)):
        names = [image["name"] for image in requests.get(url, timeout=30).json()["images"]]

    assert first.returncode == 0
    assert left == []
    assert names == ["hipache:latest"]


def test_up_refuses_a_data_directory_that_is_up(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with up(data) as first:
        status = cli.main(["up", "glance", "--data", str(data)])

        assert status == 1
        assert f"up already, with pid {first.pid}" in capsys.readouterr().err


def test_down_ends_what_another_terminal_started(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with up(data) as first:
        status = cli.main(["down", "--data", str(data)])

        assert (status, first.wait(10)) == (0, 0)
    assert cli.main(["status", "--data", str(data)]) == cli.NOT_UP
    assert "nothing is up" in capsys.readouterr().out


def test_up_ends_with_one_line_when_glance_dies(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with up(data) as process:
        group = glance_pid(data, capsys)
        os.kill(group, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert errors.startswith("devcloud: glance has ended: killed by SIGKILL")
    assert errors.count("\n") == 1
    assert group_members(group) == []


def test_killing_up_ends_what_it_started(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with up(data) as process:
        group = glance_pid(data, capsys)
        process.kill()
        process.wait(10)

    with up(data):
        assert group_members(group) == []


def test_up_makes_a_database_again_that_was_left_unfinished(tmp_path: Path) -> None:
    folder = tmp_path / "glance"
    folder.mkdir()
    (folder / "glance.sqlite.unfinished").write_bytes(b"half of it")

    with Glance(folder) as glance:
        assert requests.get(f"{glance.url}/v2/images", timeout=30).json()["images"] == []
    assert not (folder / "glance.sqlite.unfinished").exists()


def test_glance_refuses_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "glance.sqlite").write_bytes(b"")

    with pytest.raises(DevcloudError, match=r"glance\.sqlite cannot be used"):
        Glance(tmp_path).start()


def test_up_refuses_a_taken_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0, service="test") as taken:
        port = str(taken.getsockname()[1])

        status = cli.main(["up", "--data", str(tmp_path), "--port", port])

    assert status == 1
    assert capsys.readouterr().err == f"devcloud: registry: port {port} on 127.0.0.1 is taken\n"


def test_up_refuses_data_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    status = cli.main(["up", "--data", str(tmp_path / "file")])

    assert status == 1
    assert "is not a directory" in capsys.readouterr().err
