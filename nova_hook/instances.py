"""Which container is which instance, and what an instance's container is made of."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from nova_hook.conf import DockerOptions
from nova_hook.engine import Container, ContainerSpec
from nova_hook.images import EngineReference

LABEL_UUID: Final = "org.openstack.nova.uuid"
LABEL_NAME: Final = "org.openstack.nova.name"
LABEL_PROJECT: Final = "org.openstack.nova.project"
LABEL_IMAGE: Final = "org.openstack.nova.glance-image"

_PREFIX: Final = "nova-"
_MAX_HOSTNAME_CHARACTERS: Final = 63
_NOT_OF_HOSTNAMES: Final = re.compile(r"[^a-zA-Z0-9.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """What Nova says about an instance, as far as its container depends on it.

    Attributes:
        uuid: Nova's.
        name: Nova's internal one, for example ``instance-0000002a``.
        hostname: That the user sees.
        project_id: Its owner.
        image_id: The Glance image it was booted from.
        memory_mb: Of the flavor.
        vcpus: Of the flavor.
    """

    uuid: str
    name: str
    hostname: str
    project_id: str
    image_id: str
    memory_mb: int
    vcpus: int


def container_name(instance_uuid: str) -> str:
    """Return the name of an instance's container."""
    return f"{_PREFIX}{instance_uuid}"


def instance_uuid(name: str, labels: Mapping[str, str]) -> str | None:
    """Return whose container it is, or ``None`` for one that isn't Nova's.

    The name and the label must agree: labels alone can come from an image that was committed elsewhere.
    """
    claimed = labels.get(LABEL_UUID, "")
    try:
        canonical = str(uuid.UUID(claimed))
    except ValueError:
        return None
    return canonical if name == container_name(canonical) else None


def instances_among(containers: Iterable[Container]) -> dict[str, Container]:
    """Return the containers that are instances, by the instance's UUID."""
    found = ((instance_uuid(container.name, container.labels), container) for container in containers)
    return {uuid_: container for uuid_, container in found if uuid_ is not None}


def container_spec(instance: InstanceFacts, image: EngineReference, options: DockerOptions) -> ContainerSpec:
    """Return the container of an instance; nothing in it comes from image properties or user data."""
    hostname = _NOT_OF_HOSTNAMES.sub("-", instance.hostname or instance.name)
    return ContainerSpec(
        name=container_name(instance.uuid),
        image=image,
        hostname=hostname[:_MAX_HOSTNAME_CHARACTERS].strip("-."),
        labels={
            LABEL_UUID: instance.uuid,
            LABEL_NAME: instance.name,
            LABEL_PROJECT: instance.project_id,
            LABEL_IMAGE: instance.image_id,
        },
        memory_bytes=instance.memory_mb * 1024 * 1024,
        cpus=instance.vcpus,
        pids=options.pids_limit,
        capabilities=options.capabilities,
        log_size_bytes=options.log_size_bytes,
        log_files=options.log_files,
        runtime=options.runtime,
    )
