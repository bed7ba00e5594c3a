from __future__ import annotations

import re
from pathlib import Path

import pytest

from nova_hook.console import console_text
from nova_hook.host import capacity, uptime, version_number
from nova_hook.programs import candidates
from tests.fakes.memory_engine import MemoryEngine


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\n")
    (tmp_path / "uptime").write_text("93784.52 1000.00\n")
    return tmp_path


def test_capacity_is_in_the_units_of_nova(proc: Path) -> None:
    measured = capacity(MemoryEngine().info(), proc=proc)

    assert (measured.vcpus, measured.memory_mb, measured.memory_used_mb) == (2, 8192, 2048)
    assert 0 < measured.disk_used_gb + measured.disk_free_gb <= measured.disk_gb


def test_capacity_measures_the_disk_that_an_unreadable_data_root_is_on(proc: Path) -> None:
    absent = MemoryEngine(data_root=str(proc / "no" / "such")).info()

    assert (
        capacity(absent, proc=proc).disk_gb
        == capacity(MemoryEngine(data_root=str(proc)).info(), proc=proc).disk_gb
    )


def test_uptime_reads_as_the_command_prints_it(proc: Path) -> None:
    printed = uptime(proc=proc)

    assert re.fullmatch(r" \d\d:\d\d:\d\d up 1 day,  2:03,  load average: [\d.]+, [\d.]+, [\d.]+", printed)


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("20.10.24", 20_010_024),
        ("20.10.24+dfsg1", 20_010_024),
        ("28.0.0-rc.1", 28_000_000),
        ("dev", 0),
        ("27", 27_000_000),
    ],
)
def test_a_version_is_one_number(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (b"", ""),
        ("grün\n".encode(), "grün\n"),
        ("ü".encode()[1:] + b"b", "b"),
        (b"a\xff\x00b", "a\ufffd\x00b"),
    ],
    ids=["empty", "utf-8", "cut", "binary"],
)
def test_a_console_log_is_text(log: bytes, text: str) -> None:
    assert console_text(log) == text


@pytest.mark.parametrize(
    ("program", "environment", "folder", "expected"),
    [
        ("/bin/sh", [], "", ["/bin/sh"]),
        ("./run", [], "/app", ["/app/./run"]),
        ("run", ["PATH=/x", "PATH=/a:b:"], "/w", ["/a/run", "/w/b/run", "/w/run"]),
        (
            "run",
            ["A=1"],
            "",
            [
                f"{folder}/run"
                for folder in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
            ],
        ),
    ],
    ids=["absolute", "relative", "path", "default"],
)
def test_a_program_is_looked_for_as_the_kernel_and_the_path_say(
    program: str, environment: list[str], folder: str, expected: list[str]
) -> None:
    assert candidates(program, environment, folder) == expected
