"""The driver boots what was pushed: real Glance, registry and Docker Engine, Nova's own client of Glance."""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from nova_hook.conf import register_options
from nova_hook.instances import container_name
from tests.contract.container_engines import DockerWorld, docker_world
from tests.e2e.glance_view import GlanceView
from tests.fakes.memory_engine import GREETING, Program

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Nova's libraries warn about one another while they are imported.
        import nova.conf
        from nova import context, exception, objects
        from nova.compute import power_state
        from nova.network import model
        from nova.virt import event, fake

        from nova_hook import driver as driver_module

        objects.register_all()
        nova.conf.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
except ModuleNotFoundError as absent:
    if absent.name is None or absent.name.partition(".")[0] != "nova" or os.environ.get("E2E_STRICT"):
        raise
    pytest.skip("needs nova: pip install '.[nova,cloud]'", allow_module_level=True)

if TYPE_CHECKING:
    from nova_hook.driver import DockerDriver

PATIENCE_S = 30.0
SETTLED_S = 3.0

# Nova's objects and their libraries, not what is tested.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[DockerWorld]:
    with docker_world() as started:
        yield started


@pytest.fixture
def driver(world: DockerWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerDriver]:
    """A driver as nova-compute has it, but for what nova.conf says."""
    register_options(nova.conf.CONF)
    nova.conf.CONF.set_override("host", world.daemon.host, "docker")
    nova.conf.CONF.set_override("registry", world.registry, "docker")
    nova.conf.CONF.set_override("api_servers", [world.glance.url], "glance")
    loaded = driver_module.DockerDriver(fake.FakeVirtAPI())
    monkeypatch.setattr(loaded, "_has_task", lambda _: False)
    loaded.init_host("host")
    yield loaded
    loaded.cleanup_host("host")
    left = world.engine.containers.list_all()
    for container in left:
        world.engine.containers.remove(container.name)
    assert left == []
    for option, group in (("host", "docker"), ("registry", "docker"), ("api_servers", "glance")):
        nova.conf.CONF.clear_override(option, group)


@pytest.fixture
def request_context() -> Any:
    return context.RequestContext("user", "project", auth_token="token")


@pytest.fixture
def boot(
    world: DockerWorld, driver: DockerDriver, request_context: Any
) -> Iterator[Callable[[Program], Any]]:
    """Boots a program's tag by its Glance image, and destroys the instance afterwards."""
    booted = []

    def start(program: Program) -> Any:
        name = f"{program.value}:v1"
        image_id = next(
            image["id"] for image in GlanceView(world.glance.url).visible() if image["name"] == name
        )
        instance = objects.Instance(
            id=42,
            uuid=str(uuid.uuid4()),
            hostname="web",
            project_id="project",
            user_id="user",
            image_ref=image_id,
            flavor=objects.Flavor(memory_mb=64, vcpus=1, root_gb=1, ephemeral_gb=0, swap=0),
        )
        booted.append(instance)
        image = objects.ImageMeta(id=image_id)
        nothing = model.NetworkInfo([])
        driver.spawn(request_context, instance, image, [], None, {}, network_info=nothing)
        return instance

    yield start
    for instance in booted:
        driver.destroy(request_context, instance, [])


def wait_for_power_state(driver: DockerDriver, instance: Any, wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while driver.get_info(instance).state != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_pushed_image_boots_with_its_own_command(
    world: DockerWorld, driver: DockerDriver, boot: Callable[[Program], Any]
) -> None:
    instance = boot(Program.SLEEPS)

    shown = world.daemon.docker("ps", "--format", "{{.Names}} {{.Image}} {{.Command}}").strip()
    assert shown.startswith(f"{container_name(instance.uuid)} {world.registry}/{Program.SLEEPS.value}:v1 ")
    assert "/bin/busybox sleep" in shown
    assert driver.get_info(instance).state == power_state.RUNNING
    assert driver.list_instance_uuids() == [instance.uuid]


def test_what_was_booted_is_shown_by_its_tag_also_when_that_moved(
    world: DockerWorld, boot: Callable[[Program], Any]
) -> None:
    boot(Program.IGNORES_TERM)
    tag = f"{world.registry}/{Program.IGNORES_TERM.value}:v1"
    other = world.reference(Program.SLEEPS)

    world.daemon.docker("pull", f"{world.registry}/{Program.SLEEPS.value}@{other.digest}")
    world.daemon.docker("tag", f"{world.registry}/{Program.SLEEPS.value}@{other.digest}", tag)

    assert world.daemon.docker("ps", "--format", "{{.Image}}").strip() == tag


def test_a_container_has_no_privilege_and_all_its_limits(
    world: DockerWorld, boot: Callable[[Program], Any]
) -> None:
    instance = boot(Program.SLEEPS)

    def inspect(field: str) -> str:
        template = "{{json ." + field + "}}"
        return world.daemon.docker("inspect", "--format", template, container_name(instance.uuid)).strip()

    assert {
        field: inspect(f"HostConfig.{field}")
        for field in (
            "Privileged",
            "NetworkMode",
            "CapDrop",
            "SecurityOpt",
            "Memory",
            "MemorySwap",
            "CpuQuota",
            "PidsLimit",
            "Init",
            "PidMode",
            "Binds",
            "Devices",
        )
    } == {
        "Privileged": "false",
        "NetworkMode": '"none"',
        "CapDrop": '["ALL"]',
        "SecurityOpt": '["no-new-privileges"]',
        "Memory": str(64 * 2**20),
        "MemorySwap": str(64 * 2**20),
        "CpuQuota": "100000",
        "PidsLimit": "4096",
        "Init": "true",
        "PidMode": '""',
        "Binds": "null",
        "Devices": "null",
    }
    assert inspect("HostConfig.RestartPolicy.Name") == '"no"'
    assert inspect("HostConfig.LogConfig.Config") == '{"max-file":"3","max-size":"10485760"}'


def test_a_command_that_ends_by_itself_is_told_within_seconds(
    driver: DockerDriver, boot: Callable[[Program], Any]
) -> None:
    told: list[Any] = []
    driver.register_event_listener(told.append)

    instance = boot(Program.GREETS)

    deadline = time.monotonic() + PATIENCE_S
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [(entry.uuid, entry.transition) for entry in told] == [
        (instance.uuid, event.EVENT_LIFECYCLE_STOPPED)
    ]
    assert driver.get_console_output(None, instance) == GREETING.decode()
    assert driver.get_info(instance).state == power_state.SHUTDOWN


def test_the_lifecycle_of_an_instance(
    driver: DockerDriver, boot: Callable[[Program], Any], request_context: Any
) -> None:
    instance = boot(Program.SLEEPS)

    driver.pause(instance)
    wait_for_power_state(driver, instance, power_state.PAUSED)
    driver.unpause(instance)
    wait_for_power_state(driver, instance, power_state.RUNNING)
    begun = time.monotonic()
    driver.power_off(instance, 60, 10)
    took_s = time.monotonic() - begun
    wait_for_power_state(driver, instance, power_state.SHUTDOWN)
    driver.power_on(request_context, instance, [])
    wait_for_power_state(driver, instance, power_state.RUNNING)
    for kind in ("SOFT", "HARD"):
        driver.reboot(request_context, instance, [], kind)
        wait_for_power_state(driver, instance, power_state.RUNNING)

    assert took_s < PATIENCE_S, "TERM did not reach the command"
    assert driver.get_diagnostics(instance)["memory"] == 64 * 1024


def test_an_engine_that_goes_away_is_told_as_such_and_its_ends_when_it_is_back(
    world: DockerWorld, driver: DockerDriver, boot: Callable[[Program], Any]
) -> None:
    told: list[Any] = []
    driver.register_event_listener(told.append)
    instance = boot(Program.SLEEPS)

    # Without live-restore the engine ends its containers, and tells so, before it ends itself.
    world.daemon.stop()
    try:
        with pytest.raises(exception.HypervisorUnavailable):
            driver.get_info(instance)
        with pytest.raises(exception.HypervisorUnavailable):
            driver.list_instance_uuids()
        time.sleep(SETTLED_S)
        told_while_away = list(told)
    finally:
        world.daemon.start()

    deadline = time.monotonic() + PATIENCE_S
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert told_while_away == []
    assert {entry.uuid for entry in told} == {instance.uuid}
    assert driver.get_info(instance).state == power_state.SHUTDOWN


@pytest.mark.parametrize(
    ("program", "error", "reason"),
    [
        (Program.IS_MISSING, exception.BuildAbortException, "no program /nothing"),
        (Program.IS_FOREIGN, exception.ImageUnacceptable, "linux/arm64"),
    ],
    ids=["missing-command", "foreign"],
)
def test_what_cannot_be_started_is_refused_in_words_and_leaves_nothing(
    world: DockerWorld,
    boot: Callable[[Program], Any],
    program: Program,
    error: type[Exception],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        boot(program)

    assert world.engine.containers.list_all() == []
