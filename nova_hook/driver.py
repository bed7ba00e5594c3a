"""``compute_driver = docker.DockerDriver``: Nova's words on one side, the engine's on the other, and nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

import nova.conf
from nova import context as nova_context
from nova import exception, objects
from nova.compute import power_state
from nova.image import glance
from nova.objects import fields
from nova.virt import driver, event, hardware
from oslo_serialization import jsonutils

from nova_hook import console, host, instances
from nova_hook.conf import read_options, register_options
from nova_hook.docker_engine import DockerEngine
from nova_hook.engine import (
    Container,
    ContainerStateConflict,
    ContainerUnknown,
    Credential,
    Engine,
    EngineError,
    EngineImageUnfit,
    EngineUnreachable,
    State,
)
from nova_hook.events import StopWatcher
from nova_hook.glance import NovaImages
from nova_hook.images import ImageUnacceptable, resolve
from nova_hook.instances import InstanceFacts, container_name

CONF: Final = nova.conf.CONF
LOG: Final = logging.getLogger(__name__)

TOKEN_USER: Final = "token"  # noqa: S105 - a user's name: what goes with it as password is a token
"""The name under which the registry takes a Keystone token as password."""

POWER_STATES: Final = {
    State.CREATED: power_state.SHUTDOWN,
    State.RUNNING: power_state.RUNNING,
    State.PAUSED: power_state.PAUSED,
    State.RESTARTING: power_state.RUNNING,
    State.REMOVING: power_state.SHUTDOWN,
    State.EXITED: power_state.SHUTDOWN,
    State.DEAD: power_state.CRASHED,
}


class DockerDriver(driver.ComputeDriver):  # type: ignore[misc]  # Nova has no types
    """Nova's driver of containers. Safe to use from several threads, as nova-compute does.

    An engine that doesn't answer is ``HypervisorUnavailable`` everywhere, and never "instance not found".

    Args:
        virtapi: Nova's.
        engine: Another one than ``[docker] host`` names.
        images: Another Image API than Nova's own.
    """

    capabilities = {  # noqa: RUF012 - overrides a plain attribute of Nova's
        **driver.ComputeDriver.capabilities,
        "supports_evacuate": True,
        "supports_image_type_raw": True,
    }

    def __init__(self, virtapi: Any, *, engine: Engine | None = None, images: Any = None) -> None:
        super().__init__(virtapi)
        register_options(CONF)
        self._options = read_options(CONF)
        self._engine = engine or DockerEngine(self._options.host, timeout_s=self._options.timeout_s)
        self._images = images or glance.API()
        self._watcher: StopWatcher | None = None

    def init_host(self, host: str) -> None:
        """Reach the engine and watch its events; without it nova-compute doesn't start."""
        with _translated():
            info = self._engine.info()
        LOG.info(
            "Docker Engine %s at %s, registry %s", info.version, self._options.host, self._options.registry
        )
        self._watcher = StopWatcher(self._engine, report=self._report_stopped, busy=self._has_task)
        self._watcher.start()

    def cleanup_host(self, host: str) -> None:
        """End what ``init_host`` began."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    # Instances: what there is

    def list_instances(self) -> list[str]:
        """Return Nova's internal names."""
        return [c.labels.get(instances.LABEL_NAME, c.name) for c in self._containers().values()]

    def list_instance_uuids(self) -> list[str]:
        """Return the UUIDs, running or not."""
        return list(self._containers())

    def get_info(self, instance: Any, use_cache: bool = True) -> Any:
        """Return the power state."""
        with _translated(instance):
            container = self._engine.containers.find(container_name(instance.uuid))
        return hardware.InstanceInfo(state=POWER_STATES[container.state], internal_id=container.id)

    def get_console_output(self, context: Any, instance: Any) -> str:
        """Return the end of what the command wrote."""
        with _translated(instance):
            log = self._engine.containers.logs(
                container_name(instance.uuid), max_bytes=console.MAX_CONSOLE_BYTES
            )
        return console.console_text(log)

    def get_diagnostics(self, instance: Any) -> dict[str, Any]:
        """Return what the container uses, and how its last run ended.

        There is no ``get_instance_diagnostics``: Nova's object for it takes five hypervisors by name, docker isn't one.
        """
        with _translated(instance):
            usage = self._engine.containers.usage(container_name(instance.uuid))
        return {
            "cpu0_time": usage.cpu_time_ns,
            "memory": usage.memory_limit_bytes // 1024,
            "memory-used": usage.memory_bytes // 1024,
            "disk_read": usage.read_bytes,
            "disk_write": usage.written_bytes,
            "exit_code": usage.exit_code,
            "out_of_memory": usage.out_of_memory,
        }

    # Instances: what is done with them

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Pull what the Glance image is, by digest and with the user's token, and start it.

        What fails is the user's to read, so it ends the build instead of having Nova try other hosts; nothing is left.
        """
        _refuse_what_is_not_there(instance, injected_files, network_info, block_device_info, accel_info)
        image_id = image_meta.id if image_meta.obj_attr_is_set("id") else instance.image_ref
        facts = _facts(instance, image_id)
        containers = self._engine.containers
        credential = Credential(TOKEN_USER, context.auth_token) if context.auth_token else None
        try:
            image = resolve(NovaImages(self._images, context), image_id, registry=self._options.registry)
            LOG.info("Pulling %s", image, extra={"instance": instance})
            self._engine.pull(image, credential)
            containers.create(instances.container_spec(facts, image, self._options))
            with contextlib.ExitStack() as undo:
                undo.callback(containers.remove, container_name(instance.uuid))
                if power_on:
                    containers.start(container_name(instance.uuid))
                undo.pop_all()
        except (ImageUnacceptable, EngineImageUnfit) as exc:
            raise exception.ImageUnacceptable(image_id=image_id, reason=str(exc)) from exc
        except exception.ImageNotFound as exc:
            reason = "Glance has no such image for this user"
            raise exception.ImageUnacceptable(image_id=image_id, reason=reason) from exc
        except EngineError as exc:
            raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=str(exc)) from exc
        LOG.info("Started %s", image, extra={"instance": instance})

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Have no container of the instance, whether there was one or not."""
        with _translated(instance):
            self._engine.containers.remove(container_name(instance.uuid))

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        """Remove what a failed operation left, which is what ``destroy`` removes."""
        self.destroy(context, instance, network_info, block_device_info, destroy_disks, destroy_secrets)

    def power_off(self, instance: Any, timeout: int = 0, retry_interval: int = 0) -> None:
        """Have nothing run; the command has ``timeout`` seconds to heed TERM."""
        with _translated(instance):
            self._engine.containers.stop(container_name(instance.uuid), timeout_s=timeout)

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Have the command run."""
        with _translated(instance):
            self._engine.containers.start(container_name(instance.uuid))

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Any = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Stop and start the command; a hard reboot doesn't ask it."""
        self.power_off(instance, timeout=self._options.stop_timeout_s if reboot_type == "SOFT" else 0)
        self.power_on(context, instance, network_info, block_device_info)

    def pause(self, instance: Any) -> None:
        """Freeze the processes."""
        with _translated(instance):
            self._engine.containers.pause(container_name(instance.uuid))

    def unpause(self, instance: Any) -> None:
        """Let frozen processes go on."""
        with _translated(instance):
            self._engine.containers.unpause(container_name(instance.uuid))

    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Any = None,
    ) -> None:
        """Have the command run that ran before the host went down."""
        self.power_on(context, instance, network_info, block_device_info, share_info=share_info)

    # The host

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        """Return the one node."""
        return [str(CONF.host)]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """Return what the host has, as a compute node shows it."""
        with _translated():
            info = self._engine.info()
        capacity = host.capacity(info)
        architecture = fields.Architecture.canonicalize(info.architecture)
        return {
            "vcpus": capacity.vcpus,
            "vcpus_used": 0,
            "memory_mb": capacity.memory_mb,
            "memory_mb_used": capacity.memory_used_mb,
            "local_gb": capacity.disk_gb,
            "local_gb_used": capacity.disk_used_gb,
            "disk_available_least": capacity.disk_free_gb,
            "hypervisor_type": fields.HVType.DOCKER,
            "hypervisor_version": host.version_number(info.version),
            "hypervisor_hostname": nodename,
            "cpu_info": jsonutils.dumps({"arch": architecture}),
            "supported_instances": [(architecture, fields.HVType.DOCKER, fields.VMMode.EXE)],
            "numa_topology": None,
        }

    def update_provider_tree(self, provider_tree: Any, nodename: str, allocations: Any = None) -> None:
        """Write the host's inventory for Placement."""
        with _translated():
            capacity = host.capacity(self._engine.info())
        ratios = self._get_allocation_ratios(provider_tree.data(nodename).inventory)
        totals = {
            "VCPU": (capacity.vcpus, CONF.reserved_host_cpus),
            "MEMORY_MB": (capacity.memory_mb, CONF.reserved_host_memory_mb),
            "DISK_GB": (capacity.disk_gb, self._get_reserved_host_disk_gb_from_config()),
        }
        inventory = {
            resource: {
                "total": total,
                "min_unit": 1,
                "max_unit": total,
                "step_size": 1,
                "allocation_ratio": ratios[resource],
                "reserved": reserved,
            }
            for resource, (total, reserved) in totals.items()
            if total > 0
        }
        provider_tree.update_inventory(nodename, inventory)

    def get_host_uptime(self) -> str:
        """Return what ``uptime`` prints."""
        return host.uptime()

    def get_host_ip_addr(self) -> str:
        """Return the address by which other hosts reach this one."""
        return str(CONF.my_ip)

    # Within

    def _containers(self) -> dict[str, Container]:
        with _translated():
            return instances.instances_among(self._engine.containers.list_all())

    def _report_stopped(self, uuid: str) -> None:
        self.emit_event(event.LifecycleEvent(uuid, event.EVENT_LIFECYCLE_STOPPED))

    def _has_task(self, uuid: str) -> bool:
        """Whether a task of Nova's is running on an instance: then Nova would drop an event about it."""
        try:
            instance = objects.Instance.get_by_uuid(nova_context.get_admin_context(), uuid)
        except exception.InstanceNotFound:
            return False
        except Exception:
            # Whatever keeps Nova from telling, it is asked again.
            LOG.warning("Nova can't tell now what it does with instance %s", uuid, exc_info=True)
            return True
        return instance.task_state is not None


def _facts(instance: Any, image_id: str) -> InstanceFacts:
    return InstanceFacts(
        uuid=instance.uuid,
        name=instance.name,
        hostname=instance.hostname or "",
        project_id=instance.project_id,
        image_id=image_id,
        memory_mb=instance.flavor.memory_mb,
        vcpus=instance.flavor.vcpus,
    )


def _refuse_what_is_not_there(
    instance: Any, injected_files: Any, network_info: Any, block_device_info: Any, accel_info: Any
) -> None:
    """Refuse to boot without something that was asked for, rather than leave it out."""
    asked = {
        "ports (boot with --nic none)": network_info,
        "volumes": driver.block_device_info_get_mapping(block_device_info),
        "ephemeral disks": driver.block_device_info_get_ephemerals(block_device_info),
        "swap": driver.swap_is_usable(driver.block_device_info_get_swap(block_device_info)),
        "injected files": injected_files,
        "accelerators": accel_info,
    }
    missing = [name for name, value in asked.items() if value]
    if missing:
        reason = f"containers have no {', '.join(missing)} here"
        raise exception.BuildAbortException(instance_uuid=instance.uuid, reason=reason)


@contextlib.contextmanager
def _translated(instance: Any = None) -> Iterator[None]:
    """Say in Nova's exceptions what the engine says."""
    try:
        yield
    except EngineUnreachable as exc:
        raise exception.HypervisorUnavailable(str(exc)) from exc
    except ContainerUnknown as exc:
        raise exception.InstanceNotFound(instance_id=instance.uuid) from exc
    except ContainerStateConflict as exc:
        raise exception.InstanceNotRunning(instance_id=instance.uuid) from exc
    except EngineError as exc:
        raise exception.InternalError(str(exc)) from exc
