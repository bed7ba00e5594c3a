"""What pyproject.toml says is installed, beside what is there."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OURS: Final = ("devcloud", "docker_registry", "nova_hook", "nova_virt", "registry_glance")
SHIM: Final = "nova.virt.docker"


def test_every_folder_with_modules_is_installed() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    moved = {folder: package for package, folder in setuptools["package-dir"].items()}

    folders = {
        ".".join(path.parent.relative_to(ROOT).parts) for name in OURS for path in (ROOT / name).rglob("*.py")
    }

    assert sorted(moved.get(folder, folder) for folder in folders) == sorted(setuptools["packages"])


def test_nova_finds_the_driver_where_it_loads_drivers_from_and_nothing_else_of_ours_is_there() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    assert [package for package in setuptools["packages"] if package.partition(".")[0] == "nova"] == [SHIM]
    assert setuptools["package-dir"] == {SHIM: "nova_virt"}
