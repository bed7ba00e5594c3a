"""Nova's own suite of virt drivers passes over a real Docker Engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nova_hook.images import MANIFESTS
from tests.contract.container_engines import DockerWorld, docker_world
from tests.fakes.memory_engine import Program

ROOT = Path(__file__).parents[2]
NEEDED = ("nova", "testtools", "oslotest", "wsgi_intercept", "ddt", "requests_mock")
TESTS = 64
# Containers don't migrate while they run; one of these tests looks for an attribute of libvirt's driver.
SKIPPED = 2
# The suite passes a driver that lacks these.
NOT_IMPLEMENTED = {
    "attach_volume",
    "block_stats",
    "get_device_name_for_instance",
    "get_host_cpu_stats",
    "get_instance_diagnostics",
    "get_instance_disk_info",
    "get_mks_console",
    "get_serial_console",
    "get_spice_console",
    "get_vnc_console",
    "get_volume_connector",
    "host_power_action",
    "live_migration_abort",
    "migrate_disk_and_power_off",
    "poll_rebooting_instances",
    "rescue",
    "restore",
    "resume",
    "set_admin_password",
    "set_host_enabled",
    "snapshot",
    "soft_delete",
    "suspend",
    "trigger_crash_dump",
    "unrescue",
}
TIMEOUT_S = 600


@pytest.fixture(scope="module")
def world() -> Iterator[DockerWorld]:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"needs {', '.join(missing)}: pip install '.[nova,cloud,test]'"
        if os.environ.get("E2E_STRICT"):
            pytest.fail(reason)
        pytest.skip(reason)
    with docker_world() as started:
        yield started


def test_novas_own_suite_passes(world: DockerWorld) -> None:
    reference = world.reference(Program.SLEEPS)
    url = f"http://{world.registry}/v2/{reference.repository}/manifests/{reference.digest}"
    request = urllib.request.Request(url, headers={"Accept": ", ".join(MANIFESTS)})
    with urllib.request.urlopen(request) as response:  # noqa: S310
        manifest = response.read().decode()
    suite_world = {
        "host": world.daemon.host,
        "registry": world.registry,
        "name": f"{reference.repository}:{reference.tag}",
        "manifest": manifest,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "testtools.run", "tests.virt.nova_suite"],
        env={
            **environment,
            "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
            "NOVA_SUITE_WORLD": json.dumps(suite_world),
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-20_000:]
    assert re.search(rf"^Ran {TESTS} tests", done.stdout, re.MULTILINE), done.stdout[-2000:]
    progress = "".join(re.findall(r"^[.s]+$", done.stdout, re.MULTILINE))
    assert (progress.count("s"), len(progress)) == (SKIPPED, TESTS), done.stdout[-2000:]
    assert set(re.findall(r"^not implemented: (\w+)$", done.stdout, re.MULTILINE)) == NOT_IMPLEMENTED
    assert world.engine.containers.list_all() == []
