"""The driver called as nova-compute calls it, with Nova's own objects, over the engine in memory."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from nova_hook.engine import State
from nova_hook.instances import LABEL_IMAGE, LABEL_PROJECT, container_name
from tests.fakes.memory_engine import GREETING, MEMORY_BYTES, MemoryEngine, Program

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Nova's libraries warn about one another while they are imported.
        import nova.conf
        from nova import context, exception, objects
        from nova.compute import power_state, provider_tree
        from nova.network import model
        from nova.virt import event, fake

        from nova_hook import driver as driver_module
        from nova_hook.glance import NovaImages
        from nova_hook.images import resolve

        objects.register_all()
        nova.conf.CONF([], project="nova", default_config_files=[], default_config_dirs=[])
except ModuleNotFoundError as absent:
    if absent.name is None or absent.name.partition(".")[0] != "nova" or os.environ.get("E2E_STRICT"):
        raise
    pytest.skip("needs nova: pip install '.[nova,cloud]'", allow_module_level=True)

if TYPE_CHECKING:
    from nova_hook.driver import DockerDriver

UUID = "b6a4e1c2-4f0e-4d6e-8d3a-0d9c3f6f7a11"
NAME = container_name(UUID)
IMAGE_ID = "7e0c1f1c-5f4e-4c53-a5cf-0f3c4d3e2b1a"
NODE = "node1"
PATIENCE_S = 10.0

# Nova's objects and their libraries, not what is tested.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass
class ImageApi:
    """``nova.image.glance.API`` with one image, whose data is known to the memory engine as a program's manifest."""

    program: Program = Program.SLEEPS
    image: dict[str, Any] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)

    def get(self, request: Any, image_id: str) -> dict[str, Any]:
        self.tokens.append(request.auth_token)
        if image_id != IMAGE_ID:
            raise exception.ImageNotFound(image_id=image_id)
        return {
            "name": f"{self.program.value}:v1",
            "status": "active",
            "container_format": "docker",
            "size": 100,
            "properties": {},
            **self.image,
        }

    def download(self, request: Any, image_id: str) -> Iterator[bytes]:
        assert image_id == IMAGE_ID
        self.tokens.append(request.auth_token)
        return iter([manifest(self.program)])


def manifest(program: Program) -> bytes:
    """Return bytes that are the manifest of a container image, another one for each program."""
    config = '{"mediaType": "application/vnd.oci.image.config.v1+json"}'
    return f'{{"schemaVersion": 2, "config": {config}, "layers": [{{"digest": "{program.value}"}}]}}'.encode()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine(
        registry="127.0.0.1:5042", manifests={program: manifest(program) for program in Program}
    )


@pytest.fixture
def images() -> ImageApi:
    return ImageApi()


@pytest.fixture
def driver(engine: MemoryEngine, images: ImageApi) -> DockerDriver:
    return driver_module.DockerDriver(fake.FakeVirtAPI(), engine=engine, images=images)


@pytest.fixture
def request_context() -> Any:
    return context.RequestContext("user", "project", auth_token="the-users-token")


@pytest.fixture
def instance() -> Any:
    return objects.Instance(
        id=42,
        uuid=UUID,
        display_name="web",
        hostname="web",
        project_id="project",
        user_id="user",
        image_ref=IMAGE_ID,
        flavor=objects.Flavor(memory_mb=512, vcpus=1, root_gb=1, ephemeral_gb=0, swap=0),
    )


def spawn(driver: DockerDriver, request_context: Any, instance: Any, **changes: Any) -> None:
    arguments = {"network_info": model.NetworkInfo([]), "power_on": True, **changes}
    image = objects.ImageMeta(id=changes.pop("image_id", IMAGE_ID))
    arguments.pop("image_id", None)
    driver.spawn(request_context, instance, image, [], None, {}, **arguments)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def state(driver: DockerDriver, instance: Any) -> int:
    return int(driver.get_info(instance).state)


def test_spawn_starts_what_the_image_is_with_the_users_token(
    driver: DockerDriver, engine: MemoryEngine, images: ImageApi, request_context: Any, instance: Any
) -> None:
    spawn(driver, request_context, instance)

    container = engine.memory_containers[NAME]
    pulled = resolve(NovaImages(images, request_context), IMAGE_ID, registry="127.0.0.1:5042")
    assert container.spec.image == pulled
    assert (container.spec.labels[LABEL_IMAGE], container.spec.labels[LABEL_PROJECT]) == (IMAGE_ID, "project")
    assert set(images.tokens) == {"the-users-token"}
    assert [credential.password for _, credential in engine.pulled if credential] == ["the-users-token"]
    assert "the-users-token" not in repr(engine.pulled)
    assert state(driver, instance) == power_state.RUNNING
    assert driver.list_instances() == ["instance-0000002a"]
    assert driver.list_instance_uuids() == [UUID]
    assert driver.get_num_instances() == 1


def test_spawn_without_power_creates_only(driver: DockerDriver, request_context: Any, instance: Any) -> None:
    spawn(driver, request_context, instance, power_on=False)

    assert state(driver, instance) == power_state.SHUTDOWN


@pytest.mark.parametrize(
    ("program", "image", "reason"),
    [
        (Program.SLEEPS, {"container_format": "bare"}, "container_format is bare"),
        (Program.SLEEPS, {"status": "queued"}, "it is queued"),
        (Program.IS_FOREIGN, {}, "arm64"),
    ],
    ids=["not-docker", "queued", "foreign"],
)
def test_spawn_refuses_an_image_that_no_container_can_be_started_from(
    driver: DockerDriver,
    engine: MemoryEngine,
    images: ImageApi,
    request_context: Any,
    instance: Any,
    program: Program,
    image: dict[str, Any],
    reason: str,
) -> None:
    images.program, images.image = program, image

    with pytest.raises(exception.ImageUnacceptable, match=reason):
        spawn(driver, request_context, instance)

    assert engine.memory_containers == {}


def test_spawn_refuses_an_image_that_is_gone(
    driver: DockerDriver, request_context: Any, instance: Any
) -> None:
    with pytest.raises(exception.ImageUnacceptable, match="no such image"):
        spawn(driver, request_context, instance, image_id="2b8a8a27-3c3a-4a77-bc8f-9a4b9a3f2f10")


def test_spawn_leaves_nothing_when_the_command_cannot_be_started(
    driver: DockerDriver, engine: MemoryEngine, images: ImageApi, request_context: Any, instance: Any
) -> None:
    images.program = Program.IS_MISSING

    with pytest.raises(exception.BuildAbortException, match="/nothing"):
        spawn(driver, request_context, instance)

    assert engine.memory_containers == {}


def test_spawn_leaves_the_container_of_an_instance_that_is_there(
    driver: DockerDriver, request_context: Any, instance: Any
) -> None:
    spawn(driver, request_context, instance)

    with pytest.raises(exception.BuildAbortException, match="in use"):
        spawn(driver, request_context, instance)

    assert state(driver, instance) == power_state.RUNNING


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"network_info": model.NetworkInfo([model.VIF(id="1")])}, "ports"),
        ({"block_device_info": {"block_device_mapping": [{"mount_device": "/dev/vdb"}]}}, "volumes"),
        ({"block_device_info": {"ephemerals": [{"device_name": "/dev/vdb"}]}}, "ephemeral"),
        ({"block_device_info": {"swap": {"device_name": "/dev/vdb", "swap_size": 1}}}, "swap"),
    ],
    ids=["port", "volume", "ephemeral", "swap"],
)
def test_spawn_refuses_what_it_cannot_give(
    driver: DockerDriver,
    engine: MemoryEngine,
    request_context: Any,
    instance: Any,
    asked: dict[str, Any],
    word: str,
) -> None:
    with pytest.raises(exception.BuildAbortException, match=word):
        spawn(driver, request_context, instance, **asked)

    assert (engine.pulled, engine.memory_containers) == ([], {})


def test_power_and_pause_are_repeatable(driver: DockerDriver, request_context: Any, instance: Any) -> None:
    spawn(driver, request_context, instance)
    states = []

    for _ in range(2):
        driver.pause(instance)
        driver.pause(instance)
        states.append(state(driver, instance))
        driver.unpause(instance)
        states.append(state(driver, instance))
        driver.power_off(instance, 60, 10)
        driver.power_off(instance)
        states.append(state(driver, instance))
        driver.power_on(request_context, instance, [], None)
        driver.power_on(request_context, instance, [], None)
        states.append(state(driver, instance))

    cycle = [power_state.PAUSED, power_state.RUNNING, power_state.SHUTDOWN, power_state.RUNNING]
    assert states == cycle * 2


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
@pytest.mark.parametrize("before", [State.RUNNING, State.PAUSED, State.EXITED])
def test_a_reboot_ends_with_a_running_command(
    driver: DockerDriver,
    engine: MemoryEngine,
    request_context: Any,
    instance: Any,
    kind: str,
    before: State,
) -> None:
    spawn(driver, request_context, instance)
    engine.memory_containers[NAME].state = before

    driver.reboot(request_context, instance, [], kind)

    assert state(driver, instance) == power_state.RUNNING


def test_destroy_is_repeatable(driver: DockerDriver, request_context: Any, instance: Any) -> None:
    spawn(driver, request_context, instance)

    driver.destroy(request_context, instance, [])
    driver.destroy(request_context, instance, [])
    driver.cleanup(request_context, instance, [])

    assert driver.list_instance_uuids() == []


def test_the_console_is_what_the_command_wrote(
    driver: DockerDriver, images: ImageApi, request_context: Any, instance: Any
) -> None:
    images.program = Program.GREETS
    spawn(driver, request_context, instance)

    assert driver.get_console_output(request_context, instance) == GREETING.decode()


def test_diagnostics_tell_that_memory_ran_out(
    driver: DockerDriver, engine: MemoryEngine, request_context: Any, instance: Any
) -> None:
    spawn(driver, request_context, instance)
    running = driver.get_diagnostics(instance)
    engine.end(NAME, 137, out_of_memory=True)

    ended = driver.get_diagnostics(instance)

    assert running["memory"] == 512 * 1024
    assert (ended["exit_code"], ended["out_of_memory"]) == (137, True)


CALLS = {
    "get_info": lambda driver, instance: driver.get_info(instance),
    "console": lambda driver, instance: driver.get_console_output(None, instance),
    "diagnostics": lambda driver, instance: driver.get_diagnostics(instance),
    "power_off": lambda driver, instance: driver.power_off(instance),
    "power_on": lambda driver, instance: driver.power_on(None, instance, []),
    "reboot": lambda driver, instance: driver.reboot(None, instance, [], "HARD"),
    "pause": lambda driver, instance: driver.pause(instance),
    "unpause": lambda driver, instance: driver.unpause(instance),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_instance_without_a_container_is_not_found(driver: DockerDriver, instance: Any, call: str) -> None:
    with pytest.raises(exception.InstanceNotFound, match=UUID):
        CALLS[call](driver, instance)


@pytest.mark.parametrize(
    "call",
    [
        *CALLS.values(),
        lambda driver, instance: driver.destroy(None, instance, []),
        lambda driver, _: driver.list_instances(),
        lambda driver, _: driver.list_instance_uuids(),
        lambda driver, _: driver.get_available_resource(NODE),
        lambda driver, _: driver.init_host("host"),
    ],
    ids=[*CALLS, "destroy", "list_instances", "list_instance_uuids", "get_available_resource", "init_host"],
)
def test_an_engine_that_does_not_answer_is_told_as_such(
    driver: DockerDriver, engine: MemoryEngine, instance: Any, call: Any
) -> None:
    engine.reachable = False

    with pytest.raises(exception.HypervisorUnavailable, match="does not answer"):
        call(driver, instance)


def test_spawn_names_an_engine_that_does_not_answer(
    driver: DockerDriver, engine: MemoryEngine, request_context: Any, instance: Any
) -> None:
    engine.reachable = False

    with pytest.raises(exception.BuildAbortException, match="does not answer"):
        spawn(driver, request_context, instance)


def test_pausing_what_does_not_run_says_so(driver: DockerDriver, request_context: Any, instance: Any) -> None:
    spawn(driver, request_context, instance, power_on=False)

    with pytest.raises(exception.InstanceNotRunning):
        driver.pause(instance)


def test_the_resources_are_those_of_the_host(driver: DockerDriver) -> None:
    resources = driver.get_available_resource(NODE)

    assert (resources["vcpus"], resources["memory_mb"]) == (2, MEMORY_BYTES // 2**20)
    assert resources["hypervisor_type"] == "docker"
    assert resources["hypervisor_version"] == 20_010_024
    assert resources["hypervisor_hostname"] == NODE
    assert resources["supported_instances"] == [("x86_64", "docker", "exe")]


def test_the_inventory_of_placement_is_that_of_the_host(driver: DockerDriver) -> None:
    tree = provider_tree.ProviderTree()
    tree.new_root(NODE, "8a8f1e5e-0c8a-4b62-9c1c-6b5f9a0f7d3e")

    driver.update_provider_tree(tree, NODE)

    inventory = tree.data(NODE).inventory
    assert {name: entry["total"] for name, entry in inventory.items()} == {
        "VCPU": 2,
        "MEMORY_MB": MEMORY_BYTES // 2**20,
        "DISK_GB": driver.get_available_resource(NODE)["local_gb"],
    }
    assert inventory["MEMORY_MB"]["reserved"] == nova.conf.CONF.reserved_host_memory_mb


def test_an_end_is_told_to_nova_when_no_task_runs(
    driver: DockerDriver,
    engine: MemoryEngine,
    request_context: Any,
    instance: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    driver.register_event_listener(told.append)
    instance.task_state = None
    monkeypatch.setattr(objects.Instance, "get_by_uuid", lambda *_: instance)
    spawn(driver, request_context, instance)
    driver.init_host("host")
    wait_until(lambda: bool(engine.subscribers))

    engine.end(NAME)
    wait_until(lambda: bool(told))
    driver.cleanup_host("host")

    assert [(entry.uuid, entry.transition) for entry in told] == [(UUID, event.EVENT_LIFECYCLE_STOPPED)]


@pytest.mark.parametrize(
    ("answer", "busy"),
    [
        ("spawning", True),
        (None, False),
        (exception.InstanceNotFound(instance_id=UUID), False),
        (OSError(), True),
    ],
    ids=["task", "no-task", "gone", "conductor-away"],
)
def test_nova_is_asked_whether_a_task_runs(
    driver: DockerDriver, instance: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, busy: object
) -> None:
    def get_by_uuid(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        instance.task_state = answer
        return instance

    monkeypatch.setattr(objects.Instance, "get_by_uuid", get_by_uuid)

    assert driver._has_task(UUID) is busy
