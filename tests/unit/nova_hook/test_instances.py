from __future__ import annotations

import uuid

import pytest
from oslo_config import cfg

from nova_hook.conf import DockerOptions, read_options, register_options
from nova_hook.engine import Container, State
from nova_hook.images import EngineReference
from nova_hook.instances import (
    LABEL_UUID,
    InstanceFacts,
    container_name,
    container_spec,
    instance_uuid,
    instances_among,
)

UUID = "b6a4e1c2-4f0e-4d6e-8d3a-0d9c3f6f7a11"
REFERENCE = EngineReference(registry="r:1", repository="a", tag="b", digest="sha256:" + "0" * 64)


def facts(hostname: str = "web") -> InstanceFacts:
    return InstanceFacts(
        uuid=UUID,
        name="instance-0000002a",
        hostname=hostname,
        project_id="p",
        image_id="i",
        memory_mb=512,
        vcpus=2,
    )


def default_options() -> DockerOptions:
    conf = cfg.ConfigOpts()
    register_options(conf)
    register_options(conf)
    conf([])
    return read_options(conf)


def test_a_container_is_an_instance_by_name_and_label_together() -> None:
    assert instance_uuid(container_name(UUID), {LABEL_UUID: UUID}) == UUID


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (container_name(UUID), ""),
        (container_name(UUID), str(uuid.uuid4())),
        (container_name(UUID), "not a uuid"),
        ("somebody-elses", UUID),
        (container_name(UUID) + "x", UUID),
    ],
    ids=["no-label", "other-label", "no-uuid", "other-name", "longer-name"],
)
def test_a_container_whose_name_and_label_differ_is_nobodys(name: str, label: str) -> None:
    container = Container(id="1", name=name, labels={LABEL_UUID: label}, state=State.RUNNING)

    assert instances_among([container]) == {}


def test_a_container_is_limited_by_its_flavor_and_the_operator() -> None:
    options = default_options()

    spec = container_spec(facts(), REFERENCE, options)

    assert spec.name == f"nova-{UUID}"
    assert (spec.memory_bytes, spec.cpus) == (512 * 2**20, 2)
    assert (spec.pids, spec.log_files, spec.log_size_bytes) == (4096, 3, 10 * 2**20)
    assert {"NET_RAW", "MKNOD", "SYS_ADMIN"}.isdisjoint(spec.capabilities)
    assert instance_uuid(spec.name, spec.labels) == UUID


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("web", "web"), ("", "instance-0000002a"), ("ü b", "b"), ("a" * 70, "a" * 63)],
    ids=["plain", "none", "odd", "long"],
)
def test_a_hostname_is_one(hostname: str, expected: str) -> None:
    assert container_spec(facts(hostname), REFERENCE, default_options()).hostname == expected
