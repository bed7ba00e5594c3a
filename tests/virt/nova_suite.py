"""Nova's own suite of virt drivers, for this driver. ``tests/live/test_virt_suite.py`` runs it in a process of its own.

Nova's tests patch much of the process that they run in, and pytest doesn't take their base classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

# First: it prepares the process for all the others.
import nova.tests.unit  # isort: skip
import fixtures
import nova.conf
from nova import test
from nova.network import model
from nova.tests.unit import utils
from nova.tests.unit.virt import test_virt_drivers

from nova_hook import conf, driver

WORLD = json.loads(os.environ["NOVA_SUITE_WORLD"])


def _print_what_is_missing(_: str, facts: dict[str, Any]) -> None:
    print(f"\nnot implemented: {facts['method']}")  # noqa: T201 - whoever runs the suite reads it


class PushedImage:
    """``nova.image.glance.API`` as if every image of the suite's were the one that was pushed."""

    def get(self, *_: object) -> dict[str, Any]:
        """Return what Glance says about it."""
        size = len(WORLD["manifest"])
        return {"name": WORLD["name"], "status": "active", "container_format": "docker", "size": size}

    def download(self, *_: object) -> Iterator[bytes]:
        """Return its data."""
        return iter([WORLD["manifest"].encode()])


class SuiteDriver(driver.DockerDriver):
    """The driver with that image."""

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi, images=PushedImage())


class DockerDriverTestCase(test_virt_drivers._VirtDriverTestCase, test.TestCase):  # type: ignore[misc]  # Nova has no types
    """The suite over a real engine, which is empty before and after each test."""

    def setUp(self) -> None:
        self.driver_module = f"{__name__}.SuiteDriver"
        conf.register_options(nova.conf.CONF)
        # The suite's own flags() undoes it, and needs a test that is set up.
        nova.conf.CONF.set_override("host", WORLD["host"], "docker")
        nova.conf.CONF.set_override("registry", WORLD["registry"], "docker")
        super().setUp()
        self.addCleanup(self._empty)
        # The suite passes what a driver doesn't implement, and only logs it.
        self.useFixture(fixtures.MockPatchObject(test_virt_drivers.LOG, "error", _print_what_is_missing))

    def _empty(self) -> None:
        self.connection.cleanup_host("host")
        for container in self.connection._engine.containers.list_all():
            self.connection._engine.containers.remove(container.name)
        self.connection._engine.close()

    def _get_running_instance(self, obj: bool = True) -> tuple[Any, Any]:  # noqa: FBT001, FBT002 - Nova's
        # As the suite has it, but without a port: until there are ports, an instance with one is refused.
        instance = utils.get_test_instance(obj=obj)
        nothing = model.NetworkInfo([])
        image = utils.get_test_image_object(None, instance)
        self.connection.spawn(self.ctxt, instance, image, [], "herp", {}, network_info=nothing)
        return instance, nothing

    def test_live_migration(self) -> None:
        """Not applicable."""
        self.skipTest("a container's processes can't move to another host")

    def test_live_migration_force_complete(self) -> None:
        """Not applicable; the suite's own looks for an attribute of libvirt's driver."""
        self.skipTest("a container's processes can't move to another host")
