"""The properties of a tag that Nova's scheduler reads, and those that tell a person what the image runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from registry_glance.registry.image_config import ImageConfig
from registry_glance.registry.manifests import Manifest

BOOTABLE: Final = "docker_bootable"
SIZE: Final = "docker_size"
PLATFORM: Final = "docker_platform"
CREATED: Final = "docker_created"
ENTRYPOINT: Final = "docker_entrypoint"
COMMAND: Final = "docker_command"
EXPOSED_PORTS: Final = "docker_exposed_ports"
LABELS: Final = "docker_labels"

_MAX_CHARACTERS: Final = 4096
"""Of one property; a longer one is left out, since half a command misleads."""

# Go's names, as images have them, to those of Nova (nova/objects/fields.py, class Architecture).
_ARCHITECTURES: Final = {
    "386": "i686",
    "amd64": "x86_64",
    "arm": "armv7",
    "arm64": "aarch64",
    "mips": "mips",
    "mips64": "mips64",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


def describe(manifest: Manifest, config: ImageConfig | None) -> dict[str, str]:
    """Return what a tag's Glance image says of the container image.

    Args:
        manifest: What the tag points to.
        config: Its configuration; ``None`` for an index, an artifact, or one that can't be read.
    """
    bootable = manifest.index or manifest.image_config is not None
    properties = {
        # Nova's scheduler then never puts it on a host that runs virtual machines.
        "img_hv_type": "docker",
        "hw_vm_mode": "exe",
        BOOTABLE: "true" if bootable else "false",
        SIZE: str(manifest.content_size),
    }
    if manifest.index:
        platforms = sorted({f"{m.platform.os}/{m.platform.architecture}" for m in manifest.manifests})
        return properties | _readable({PLATFORM: ",".join(p for p in platforms if p != "/")})
    if config is None:
        return properties
    if config.architecture in _ARCHITECTURES:
        properties["hw_architecture"] = _ARCHITECTURES[config.architecture]
    return properties | _readable(
        {
            PLATFORM: f"{config.os}/{config.architecture}".strip("/"),
            CREATED: config.created,
            ENTRYPOINT: _json(config.entrypoint),
            COMMAND: _json(config.command),
            EXPOSED_PORTS: ",".join(config.exposed_ports),
            LABELS: _json(config.labels),
        }
    )


def _json(value: Mapping[str, str] | tuple[str, ...]) -> str:
    # Escaped to ASCII: Glance answers 400 to characters of four bytes.
    return json.dumps(value) if value else ""


def _readable(properties: Mapping[str, str]) -> dict[str, str]:
    texts = {key: "".join(map(_printable, value)) for key, value in properties.items()}
    return {key: text for key, text in texts.items() if 0 < len(text) <= _MAX_CHARACTERS}


def _printable(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
