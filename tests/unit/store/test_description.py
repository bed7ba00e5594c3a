"""The properties of a tag: those that Nova's scheduler reads, and those for people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.image_config import ImageConfig
from registry_glance.registry.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest, Platform
from registry_glance.store import description
from registry_glance.store.description import describe

CONFIG = Descriptor(
    media_type="application/vnd.oci.image.config.v1+json", digest=Digest.of(b"config"), size=100
)
LAYER = Descriptor(
    media_type="application/vnd.oci.image.layer.v1.tar+gzip", digest=Digest.of(b"layer"), size=4000
)


def image(**fields: Any) -> Manifest:
    return Manifest(
        **{"body": b"{}", "media_type": OCI_MANIFEST, "config": CONFIG, "layers": (LAYER,), **fields}
    )


def index(*platforms: tuple[str, str]) -> Manifest:
    manifests = tuple(
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=Digest.of(b"child"),
            size=1,
            platform=Platform(os=os, architecture=architecture),
        )
        for os, architecture in platforms
    )
    return Manifest(body=b"{}", media_type=OCI_INDEX, manifests=manifests)


def test_an_image_says_what_it_runs() -> None:
    config = ImageConfig(
        os="linux",
        architecture="amd64",
        created="2026-01-01T00:00:00Z",
        entrypoint=("/bin/sh", "-c"),
        command=("echo 'ä 🐳'",),
        exposed_ports=("6379/tcp", "80/tcp"),
        labels={"maintainer": "someone"},
    )

    assert describe(image(), config) == {
        "img_hv_type": "docker",
        "hw_vm_mode": "exe",
        "hw_architecture": "x86_64",
        "docker_bootable": "true",
        "docker_size": "4100",
        "docker_platform": "linux/amd64",
        "docker_created": "2026-01-01T00:00:00Z",
        "docker_entrypoint": '["/bin/sh", "-c"]',
        "docker_command": "[\"echo '\\u00e4 \\ud83d\\udc33'\"]",
        "docker_exposed_ports": "6379/tcp,80/tcp",
        "docker_labels": '{"maintainer": "someone"}',
    }


@pytest.mark.parametrize(
    ("architecture", "novas"),
    [
        ("amd64", "x86_64"),
        ("arm64", "aarch64"),
        ("386", "i686"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
        ("riscv64", "riscv64"),
    ],
)
def test_architectures_have_novas_names(architecture: str, novas: str) -> None:
    config = ImageConfig(os="linux", architecture=architecture)

    assert describe(image(), config)["hw_architecture"] == novas


@pytest.mark.parametrize("architecture", ["", "wasm", "x86_64", "AMD64", "loong64"])
def test_an_architecture_that_nova_does_not_know_is_left_out(architecture: str) -> None:
    assert "hw_architecture" not in describe(image(), ImageConfig(architecture=architecture))


@pytest.mark.parametrize(
    ("manifest", "config", "bootable"),
    [
        pytest.param(image(), ImageConfig(), "true", id="image"),
        pytest.param(image(), None, "true", id="image whose configuration can't be read"),
        pytest.param(index(("linux", "amd64")), None, "true", id="index"),
        pytest.param(image(media_type="application/vnd.example", config=None), None, "false", id="unknown"),
        pytest.param(
            image(
                config=Descriptor(
                    media_type="application/vnd.cncf.helm.config.v1+json", digest=CONFIG.digest, size=1
                )
            ),
            None,
            "false",
            id="chart",
        ),
    ],
)
def test_a_tag_says_whether_it_can_be_booted(
    manifest: Manifest, config: ImageConfig | None, bootable: str
) -> None:
    properties = describe(manifest, config)

    assert properties["docker_bootable"] == bootable
    # Whatever it is, it never belongs on a host that runs virtual machines.
    assert (properties["img_hv_type"], properties["hw_vm_mode"]) == ("docker", "exe")


def test_an_index_lists_its_platforms_and_has_no_architecture() -> None:
    properties = describe(index(("linux", "arm64"), ("linux", "amd64"), ("linux", "amd64"), ("", "")), None)

    assert properties["docker_platform"] == "linux/amd64,linux/arm64"
    assert "hw_architecture" not in properties


@pytest.mark.parametrize("odd", ["x" * 5000, "🐳" * 2000])
def test_what_is_too_long_is_left_out_and_not_cut(odd: str) -> None:
    properties = describe(
        image(),
        ImageConfig(os="linux", command=(odd,), created=odd, labels={"a": odd}, exposed_ports=("1/tcp",)),
    )

    assert {"docker_command", "docker_created", "docker_labels"} & properties.keys() == set()
    assert properties["docker_exposed_ports"] == "1/tcp"


@pytest.mark.parametrize("odd", ["🐳", "\ud800", "é", "\x1b[31m", "\0", "a\r\nb", "\u202e"], ids=ascii)
def test_every_value_is_printable_ascii(odd: str) -> None:
    """Glance refuses characters of four bytes, and people's terminals obey control characters."""
    config = ImageConfig(
        os=odd,
        architecture=odd,
        created=odd,
        entrypoint=(odd,),
        command=(odd,),
        exposed_ports=(odd,),
        labels={odd: odd},
    )

    for key, value in describe(image(), config).items():
        assert value.isascii(), key
        assert value.isprintable(), key


def test_commands_can_be_read_back() -> None:
    command = ("sh", "-c", 'echo "é 🐳"', "")

    assert json.loads(describe(image(), ImageConfig(command=command))[description.COMMAND]) == list(command)


def test_what_an_image_does_not_say_is_left_out() -> None:
    assert describe(image(), ImageConfig()).keys() == {
        "img_hv_type",
        "hw_vm_mode",
        "docker_bootable",
        "docker_size",
    }
