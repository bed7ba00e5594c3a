"""An image's configuration is read as far as it makes sense, and never an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry_glance.registry.image_config import ImageConfig, parse_image_config


def parsed(document: Any) -> ImageConfig:
    return parse_image_config(json.dumps(document).encode())


def test_configuration_is_read() -> None:
    config = parsed(
        {
            "os": "linux",
            "architecture": "arm64",
            "created": "2026-01-01T00:00:00Z",
            "config": {
                "Entrypoint": ["/bin/supervisord"],
                "Cmd": ["-n"],
                "ExposedPorts": {"80/tcp": {}, "6379/tcp": {}},
                "Labels": {"maintainer": "someone"},
            },
        }
    )

    assert config == ImageConfig(
        os="linux",
        architecture="arm64",
        created="2026-01-01T00:00:00Z",
        entrypoint=("/bin/supervisord",),
        command=("-n",),
        exposed_ports=("6379/tcp", "80/tcp"),
        labels={"maintainer": "someone"},
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"NaN",
        b"\xff\xff\xff",
        b"\0" * 1000,
        b"\x1f\x8b\x08\0",
        b"[" * 100_000,
        b'{"config":' * 100_000,
        b'{"os": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_configuration_says_nothing(content: bytes) -> None:
    assert parse_image_config(content) == ImageConfig()


@pytest.mark.parametrize("odd", [None, True, 1, 1.5, "text", [], ["a"], [1], {}, {"a": 1}, [[]], {"a": {}}])
@pytest.mark.parametrize("key", ["Entrypoint", "Cmd", "ExposedPorts", "Labels"])
def test_a_field_that_is_not_as_specified_leaves_the_others_alone(key: str, odd: Any) -> None:
    run: dict[str, Any] = {
        "Entrypoint": ["e"],
        "Cmd": ["c"],
        "ExposedPorts": {"1/tcp": {}},
        "Labels": {"l": "v"},
        key: odd,
    }

    config = parsed({"os": "linux", "config": run})

    expected = {"Entrypoint": ("e",), "Cmd": ("c",), "ExposedPorts": ("1/tcp",), "Labels": {"l": "v"}}
    read = {
        "Entrypoint": config.entrypoint,
        "Cmd": config.command,
        "ExposedPorts": config.exposed_ports,
        "Labels": config.labels,
    }
    assert config.os == "linux"
    assert {k: v for k, v in read.items() if k != key} == {k: v for k, v in expected.items() if k != key}


@pytest.mark.parametrize("odd", [None, True, 1, [], ["linux"], {}])
def test_text_that_is_none_is_left_out(odd: Any) -> None:
    config = parsed({"os": odd, "architecture": odd, "created": odd, "config": odd})

    assert config == ImageConfig()


def test_words_that_are_none_are_left_out() -> None:
    assert parsed({"config": {"Cmd": ["a", 1, None, "b"], "Labels": {"a": "b", "c": 1}}}) == ImageConfig(
        command=("a", "b"), labels={"a": "b"}
    )
