"""The wheel, installed beside Nova in an environment of its own, gives nova-compute its driver."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("docker_registry", "registry_glance", "nova_hook", "nova_virt", "devcloud")

LOAD = """\
import sys, nova.conf
from nova import objects
from nova.virt import driver
nova.conf.CONF(["--config-file", sys.argv[1]], project="nova")
objects.register_all()
loaded = driver.load_compute_driver(None)
print(type(loaded).__module__, type(loaded).__name__, loaded._options.registry)
print(sys.modules["nova.virt.docker"].__file__)
"""


@pytest.fixture(scope="module")
def nova_version() -> str:
    try:
        return importlib.metadata.version("nova")
    except importlib.metadata.PackageNotFoundError:
        if os.environ.get("E2E_STRICT"):
            raise
        pytest.skip("needs nova: pip install '.[nova,cloud]'")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A build leaves files beside its sources, so it gets a copy.
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (built,) = wheels.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, nova_version: str, wheel: Path) -> Path:
    """An environment with a Nova and this project's wheel of its own; what these need is this environment's."""
    folder = tmp_path_factory.mktemp("beside-nova")
    run(sys.executable, "-m", "venv", str(folder))
    install(folder, f"nova=={nova_version}")
    install(folder, str(wheel))
    # After the environment's own, and without following this one's .pth files: nothing editable comes along.
    (site_packages(folder) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def nova_conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_text(
        "[DEFAULT]\ncompute_driver = docker.DockerDriver\n[docker]\nregistry = glance.example:5042\n"
    )
    return path


def install(environment: Path, *packages: str) -> None:
    pip = (
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    )
    # Nova is thousands of modules; compiling them all takes longer than everything else here.
    run(*pip, "--no-deps", "--no-compile", *packages)


def run(*command: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OS_"))}
    # Not the project's folder: it would be imported from there.
    done = subprocess.run(command, env=kept, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder


def test_nova_loads_the_driver_by_its_name_also_after_nova_was_installed_again(
    environment: Path, nova_conf: Path, nova_version: str
) -> None:
    shim = site_packages(environment) / "nova" / "virt" / "docker" / "__init__.py"
    expected = ["nova_hook.driver DockerDriver glance.example:5042", str(shim)]
    python = str(environment / "bin" / "python")

    first = run(python, "-c", LOAD, str(nova_conf)).splitlines()
    install(environment, "--force-reinstall", f"nova=={nova_version}")
    second = run(python, "-c", LOAD, str(nova_conf)).splitlines()

    assert (first, second) == (expected, expected)


def test_the_sample_of_the_options_can_be_generated(environment: Path) -> None:
    script = "from oslo_config import generator; generator.main(['--namespace', 'nova_hook'])"

    sample = run(str(environment / "bin" / "python"), "-c", script)

    assert "[docker]" in sample
    assert "#registry = 127.0.0.1:5042" in sample
