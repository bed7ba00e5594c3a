"""Whatever bytes come as a manifest, the answer is a manifest or ``ManifestInvalid``."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import ManifestInvalid
from registry_glance.registry.image_config import parse_image_config
from registry_glance.registry.manifests import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    parse_manifest,
)
from registry_glance.registry.names import RepositoryName
from registry_glance.store.description import describe
from registry_glance.store.layout import Record, manifest_properties

ROUNDS: Final = 1500
DIGEST: Final = Digest.of(b"")
DESCRIPTOR: Final = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(DIGEST), "size": 32}
DOCUMENTS: Final[tuple[dict[str, Any], ...]] = (
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(DIGEST), "size": 2},
        "layers": [DESCRIPTOR, DESCRIPTOR],
        "subject": DESCRIPTOR,
        "annotations": {"a": "b"},
    },
    {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{**DESCRIPTOR, "platform": {"os": "linux", "architecture": "amd64"}}],
        "annotations": {},
    },
)
CONFIG: Final = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-01-01T00:00:00Z",
    "config": {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["true"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"a": "b"},
    },
}
ODDITIES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    10**4000,
    0.5,
    "",
    "\ud800",
    "\0",
    "\r\n",
    "🐳",
    "a" * 70_000,
    [],
    {},
    [[]],
    [None],
    {"": None},
    [[[[[[]]]]]],
    str(DIGEST),
    OCI_INDEX,
)
CONTENT_TYPES: Final = ("", OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, "application/json", "\x00", ";", "é")
SNIPPETS: Final = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\xff",
    b"\0",
    b"NaN",
    b"1e999",
    b"-",
)


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Break the text: cut, repeat, overwrite, insert."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(changed) + 1)
        end = min(len(changed), start + rng.randint(0, 20))
        changed[start:end] = rng.choice(
            [
                b"",
                rng.choice(SNIPPETS),
                rng.randbytes(3),
                bytes(changed[start:end]) * 2,
                b"[" * rng.randint(1, 1200),
            ]
        )
    return bytes(changed)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Keep it JSON, and put something odd in one place."""
    if rng.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return rng.choice(ODDITIES)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        choice = rng.random()
        if choice < 0.1:
            return {other: item for other, item in value.items() if other != key}
        if choice < 0.2:
            return {
                **value,
                rng.choice(["config", "layers", "manifests", "subject", "\ud800"]): rng.choice(ODDITIES),
            }
        return {**value, key: mutate_value(value[key], rng)}
    position = rng.randrange(len(value))
    return [*value[:position], mutate_value(value[position], rng), *value[position + 1 :]]


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("mutation", ["bytes", "value", "both"])
def test_parse_manifest_raises_manifest_invalid_and_nothing_else(mutation: str) -> None:
    accepted = 0
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        document: Any = rng.choice(DOCUMENTS)
        for _ in range(rng.randint(1, 3) if mutation != "bytes" else 0):
            document = mutate_value(document, rng)
        body = as_json(document)
        if mutation != "value":
            body = mutate_bytes(body, rng)

        try:
            manifest = parse_manifest(body, rng.choice(CONTENT_TYPES))
        except ManifestInvalid:
            continue
        except Exception as exc:  # noqa: BLE001 - that there is none is what is tested
            pytest.fail(f"seed {seed}: {type(exc).__name__}: {exc}")
        accepted += 1
        check_usable(manifest, seed)
    # Otherwise the mutations would be too coarse to test anything.
    assert accepted > 0


def check_usable(manifest: Manifest, seed: int) -> None:
    """What was accepted can be stored, listed and served without a surprise."""
    try:
        properties = {
            **manifest_properties(Record.TAG, RepositoryName("a"), manifest, DIGEST),
            **describe(manifest, None),
        }
        json.dumps([manifest.artifact_type, dict(manifest.annotations)]).encode()
    except Exception as exc:  # noqa: BLE001 - as above
        pytest.fail(f"seed {seed}: {type(exc).__name__}: {exc}")
    for key, value in properties.items():
        assert value.isascii(), f"seed {seed}: {key}"
        assert len(value) <= 65_535, f"seed {seed}: {key}"
    assert manifest.media_type.isascii(), f"seed {seed}"
    assert manifest.media_type.isprintable(), f"seed {seed}"


@pytest.mark.parametrize("mutate", [mutate_bytes, None], ids=["bytes", "value"])
def test_parse_image_config_never_raises(mutate: Callable[[bytes, random.Random], bytes] | None) -> None:
    manifest = parse_manifest(as_json(DOCUMENTS[0]), "")
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        content = mutate(as_json(CONFIG), rng) if mutate else as_json(mutate_value(CONFIG, rng))

        try:
            properties = describe(manifest, parse_image_config(content))
        except Exception as exc:  # noqa: BLE001 - that there is none is what is tested
            pytest.fail(f"seed {seed}: {type(exc).__name__}: {exc}")
        for key, value in properties.items():
            assert value, f"seed {seed}: {key}"
            assert value.isascii(), f"seed {seed}: {key}"
            assert len(value) <= 65_535, f"seed {seed}: {key}"
