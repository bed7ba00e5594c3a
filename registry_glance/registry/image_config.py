"""What an image runs, read from its configuration: for people and for the scheduler, never for access.

Source: OCI image-spec 1.1, "Image Configuration".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_CONFIG_SIZE: Final = 4 * 1024 * 1024
"""Bytes; a larger configuration is stored and served, but not described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The part of an image's configuration that somebody who is about to boot it wants to know."""

    os: str = ""
    architecture: str = ""
    created: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_image_config(content: bytes) -> ImageConfig:
    """Read a configuration as far as it makes sense; whatever is not as specified is left out."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ImageConfig()
    document = _object(document)
    run = _object(document.get("config"))
    return ImageConfig(
        os=_text(document.get("os")),
        architecture=_text(document.get("architecture")),
        created=_text(document.get("created")),
        entrypoint=_words(run.get("Entrypoint")),
        command=_words(run.get("Cmd")),
        exposed_ports=tuple(sorted(_object(run.get("ExposedPorts")))),
        labels={key: value for key, value in _object(run.get("Labels")).items() if isinstance(value, str)},
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(word for word in value if isinstance(word, str))
