"""Manifests are read as what they are, and nothing but ``ManifestInvalid`` comes of what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import ManifestInvalid, ManifestTooLarge
from registry_glance.registry.manifests import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    MAX_MANIFEST_SIZE,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
)

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ONE, TWO, THREE = (Digest.of(name) for name in (b"one", b"two", b"three"))


def descriptor(digest: Digest = ONE, media_type: str = OCI_LAYER, **fields: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": 7, **fields}


def image(**fields: Any) -> dict[str, Any]:
    """Return an image manifest; a field that is given as ``...`` is left out."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(ONE, OCI_CONFIG),
        "layers": [descriptor(TWO)],
        **fields,
    }
    return {key: value for key, value in document.items() if value is not ...}


def index(**fields: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(ONE, OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"})],
        **fields,
    }
    return {key: value for key, value in document.items() if value is not ...}


def refused(document: object, content_type: str = "") -> ManifestInvalid:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(body, content_type)
    return caught.value


# What is read


def test_manifest_keeps_the_bytes_as_they_came() -> None:
    body = json.dumps(image(), indent=3).encode() + b"\n\n"

    assert parse_manifest(body, OCI_MANIFEST).body == body


def test_image_manifest_is_read() -> None:
    manifest = parse_manifest(json.dumps(image(annotations={"a": "b"})).encode(), OCI_MANIFEST)

    assert manifest.media_type == OCI_MANIFEST
    assert manifest.config is not None
    assert (manifest.config.digest, manifest.config.media_type, manifest.config.size) == (ONE, OCI_CONFIG, 7)
    assert [layer.digest for layer in manifest.layers] == [TWO]
    assert manifest.image_config == manifest.config
    assert (manifest.blobs, manifest.children, manifest.subject) == ((ONE, TWO), (), None)
    assert (manifest.index, manifest.content_size, dict(manifest.annotations)) == (False, 14, {"a": "b"})


def test_index_is_read() -> None:
    manifest = parse_manifest(json.dumps(index()).encode(), OCI_INDEX)

    assert (manifest.index, manifest.blobs, manifest.children) == (True, (), (ONE,))
    assert manifest.manifests[0].platform.architecture == "amd64"
    assert manifest.image_config is None


@pytest.mark.parametrize(
    ("media_type", "config_type"), [(OCI_MANIFEST, OCI_CONFIG), (DOCKER_MANIFEST, DOCKER_CONFIG)]
)
def test_both_kinds_of_image_configuration_are_known(media_type: str, config_type: str) -> None:
    document = image(mediaType=media_type, config=descriptor(ONE, config_type))

    assert parse_manifest(json.dumps(document).encode(), media_type).image_config is not None


def test_an_artifacts_configuration_is_none_that_a_container_starts_from() -> None:
    document = image(config=descriptor(ONE, "application/vnd.cncf.helm.config.v1+json"))

    assert parse_manifest(json.dumps(document).encode(), OCI_MANIFEST).image_config is None


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_MANIFEST_LIST])
def test_both_kinds_of_index_are_known(media_type: str) -> None:
    assert parse_manifest(json.dumps(index(mediaType=media_type)).encode(), "").index


def test_references_are_listed_once_each_and_the_configuration_first() -> None:
    document = image(layers=[descriptor(TWO), descriptor(TWO), descriptor(ONE), descriptor(THREE)])

    assert parse_manifest(json.dumps(document).encode(), "").blobs == (ONE, TWO, THREE)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layer_that_is_fetched_from_elsewhere_need_not_be_here(media_type: str) -> None:
    document = image(layers=[descriptor(TWO, media_type, urls=["https://example.com/layer"])])

    assert parse_manifest(json.dumps(document).encode(), "").blobs == (ONE,)


def test_subject_is_read_and_need_not_be_here() -> None:
    manifest = parse_manifest(json.dumps(image(subject=descriptor(THREE, OCI_MANIFEST))).encode(), "")

    assert manifest.subject is not None
    assert manifest.subject.digest == THREE
    assert THREE not in (*manifest.blobs, *manifest.children)


def test_artifact_type_stands_before_the_configurations_media_type() -> None:
    with_type = parse_manifest(json.dumps(image(artifactType="application/vnd.example")).encode(), "")
    without = parse_manifest(json.dumps(image()).encode(), "")

    assert (with_type.artifact_type, without.artifact_type) == ("application/vnd.example", OCI_CONFIG)


def test_index_without_artifact_type_has_none() -> None:
    assert parse_manifest(json.dumps(index()).encode(), "").artifact_type == ""


def test_sha512_digests_are_read() -> None:
    digest = Digest.of(b"layer", "sha512")

    assert digest in parse_manifest(json.dumps(image(layers=[descriptor(digest)])).encode(), "").blobs


def test_empty_lists_are_lists() -> None:
    assert parse_manifest(json.dumps(image(layers=[])).encode(), "").layers == ()
    assert parse_manifest(json.dumps(index(manifests=[])).encode(), "").manifests == ()


def test_annotations_may_be_in_any_language() -> None:
    body = json.dumps(image(annotations={"title": "café 🐳"}), ensure_ascii=False).encode()

    assert parse_manifest(body, "").annotations == {"title": "café 🐳"}


# What type it has


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        OCI_MANIFEST,
        OCI_MANIFEST.upper(),
        f"{OCI_MANIFEST}; charset=utf-8",
        f" {OCI_MANIFEST} ;charset=utf-8",
    ],
)
def test_content_type_may_repeat_the_media_type(content_type: str) -> None:
    assert parse_manifest(json.dumps(image()).encode(), content_type).media_type == OCI_MANIFEST


@pytest.mark.parametrize("content_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_content_type_stands_in_for_a_missing_media_type(content_type: str) -> None:
    body = json.dumps(image(mediaType=...)).encode()

    assert parse_manifest(body, content_type).media_type == content_type


@pytest.mark.parametrize(
    ("document", "media_type"), [(image(mediaType=...), OCI_MANIFEST), (index(mediaType=...), OCI_INDEX)]
)
def test_without_any_type_the_fields_decide(document: dict[str, Any], media_type: str) -> None:
    assert parse_manifest(json.dumps(document).encode(), "").media_type == media_type


def test_unknown_media_type_is_kept_as_it_is() -> None:
    body = b'{"anything": ["at", "all"]}'

    assert (
        parse_manifest(body, "application/vnd.example.v9+json").media_type
        == "application/vnd.example.v9+json"
    )


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (image(), DOCKER_MANIFEST),
        (image(), OCI_INDEX),
        (image(mediaType=DOCKER_MANIFEST), OCI_MANIFEST),
        (index(), OCI_MANIFEST),
        (index(), "application/json"),
        (image(mediaType="application/vnd.example"), OCI_MANIFEST),
    ],
)
def test_content_type_that_contradicts_the_media_type_is_refused(
    document: dict[str, Any], content_type: str
) -> None:
    refused(document, content_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
def test_schema_1_is_refused(media_type: str) -> None:
    refused({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []}, media_type)
    refused({"schemaVersion": 1, "mediaType": media_type, "fsLayers": []})


@pytest.mark.parametrize(
    "media_type",
    [
        "text\r\nX-Evil: 1",
        "a\nb",
        "a/b\0",
        "a/b c",
        "image/\u00e4",
        "image/\U0001f433",
        "image/\ud800",
        "no-slash",
        "/",
        "a/",
        "a/b/c",
        f"application/{'x' * 128}",
        f"{'x' * 128}/json",
        "x" * 100_000,
    ],
    ids=ascii,
)
def test_media_type_that_no_header_could_carry_is_refused(media_type: str) -> None:
    """It is served as Content-Type. Source: RFC 6838, section 4.2; image-spec, "mediaType"."""
    refused({"mediaType": media_type})
    refused(image(mediaType=..., config=..., layers=...), media_type)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(image(manifests=[descriptor(THREE, OCI_MANIFEST)]), id="an image with children"),
        pytest.param(index(layers=[descriptor(TWO)]), id="an index with layers"),
        pytest.param(index(config=descriptor(TWO, OCI_CONFIG)), id="an index with a configuration"),
    ],
)
def test_what_is_image_and_index_at_once_is_refused(document: dict[str, Any]) -> None:
    """Clients would read it as the one or the other (GHSA-77vh-xpmg-72qh)."""
    refused(document)


# What is none


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"hello",
        b"{",
        b"{}}",
        b"[",
        b'{"schemaVersion": 2,}',
        b"{'schemaVersion': 2}",
        b'{"schemaVersion": 2} // said twice',
        b'{"a": "\n"}',
        b'\xff\xfe{"a": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\x80"}',
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"\0" * 100,
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    refused(body)
    refused(body, OCI_MANIFEST)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_in_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    """Clients read UTF-8 only. Source: RFC 8259, section 8.1."""
    refused(json.dumps(image()).encode(encoding))


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(constant: bytes) -> None:
    refused(b'{"mediaType": "application/vnd.example", "anything": ' + constant + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"schemaVersion": 2, "schemaVersion": 2, "mediaType": "application/vnd.example"}',
        b'{"mediaType": "application/vnd.example", "a": {"b": 1, "b": 2}}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    """Readers differ in which of the two counts, and so in what the manifest references."""
    refused(body)


@pytest.mark.parametrize("body", [b"null", b"true", b"1", b'"text"', b"[]", b"[{}]"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize("body", [b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    "key", ["mediaType", "artifactType", "schemaVersion", "config", "layers", "annotations", "x"]
)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_at_the_limit_of_the_parser_is_refused_or_ignored(
    key: str, opening: bytes, closing: bytes
) -> None:
    """What can just be read must also be told in a message."""
    for depth in range(850, 1000):
        value = opening * depth + b"1" + closing * depth
        try:
            parse_manifest(b'{"%s": %s}' % (key.encode(), value), "application/vnd.example")
        except ManifestInvalid:
            continue
        assert key == "x"


def test_a_manifest_may_have_4_mib() -> None:
    body = json.dumps(image()).encode()

    assert parse_manifest(body + b" " * (MAX_MANIFEST_SIZE - len(body)), "").media_type == OCI_MANIFEST


def test_a_manifest_of_more_than_4_mib_is_refused_as_too_large() -> None:
    body = json.dumps(image()).encode()

    with pytest.raises(ManifestTooLarge):
        parse_manifest(body + b" " * (MAX_MANIFEST_SIZE - len(body) + 1), "")


@pytest.mark.parametrize("version", [..., 0, 1, 3, -2, "2", 2.5, True, None, [], {}, 10**30])
@pytest.mark.parametrize("make", [image, index])
def test_another_schema_version_than_2_is_refused(make: Any, version: Any) -> None:
    refused(make(schemaVersion=version))


@pytest.mark.parametrize(
    "document", [image(config=...), image(config=None), image(layers=...), index(manifests=...)]
)
def test_manifest_without_its_parts_is_refused(document: dict[str, Any]) -> None:
    refused(document)


def test_a_list_of_nothing_may_be_null() -> None:
    """As Go prints a slice that was never filled."""
    assert parse_manifest(json.dumps(image(layers=None)).encode(), "").layers == ()
    assert parse_manifest(json.dumps(index(manifests=None)).encode(), "").manifests == ()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "text",
        1,
        True,
        [],
        {},
        {"mediaType": OCI_LAYER, "size": 7},
        descriptor() | {"digest": None},
        descriptor() | {"digest": 1},
        descriptor() | {"digest": ""},
        descriptor() | {"digest": "sha256:short"},
        descriptor() | {"digest": f"md5:{'a' * 32}"},
        descriptor() | {"digest": f"sha256:{'A' * 64}"},
        descriptor() | {"digest": f"sha256:{'a' * 64}\n"},
        descriptor() | {"digest": "\ud800"},
        descriptor() | {"digest": ["sha256"]},
        descriptor() | {"size": None},
        descriptor() | {"size": -1},
        descriptor() | {"size": "7"},
        descriptor() | {"size": 7.5},
        descriptor() | {"size": True},
        descriptor() | {"size": [7]},
        descriptor() | {"mediaType": 1},
        descriptor() | {"mediaType": None},
        descriptor() | {"mediaType": {}},
        {"digest": str(ONE), "mediaType": OCI_LAYER},
    ],
    ids=ascii,
)
def test_a_broken_descriptor_is_refused_wherever_it_stands(broken: Any) -> None:
    refused(image(config=broken))
    refused(image(layers=[descriptor(), broken]))
    refused(index(manifests=[descriptor(), broken]))
    if broken is not None:
        refused(image(subject=broken))


def test_no_subject_may_be_null() -> None:
    assert parse_manifest(json.dumps(image(subject=None)).encode(), "").subject is None


@pytest.mark.parametrize("place", ["layers", "manifests"])
@pytest.mark.parametrize("broken", ["text", 1, True, {}, {"0": descriptor()}])
def test_a_list_of_descriptors_that_is_none_is_refused(place: str, broken: Any) -> None:
    refused(image(layers=broken) if place == "layers" else index(manifests=broken))


@pytest.mark.parametrize("digits", [20, 4000, 4301, 100_000])
def test_a_size_that_no_content_has_is_refused(digits: int) -> None:
    """The specification's sizes are of 64 bits, and a sum of them is printed in a property."""
    document = json.dumps(image(layers=[descriptor(size=0)])).encode()

    refused(document.replace(b'"size": 0', b'"size": ' + b"9" * digits))


@pytest.mark.parametrize("size", [b"1e3", b"1E400", b"-0.5", b"0.0"])
def test_a_size_that_is_no_integer_is_refused(size: bytes) -> None:
    refused(json.dumps(image()).encode().replace(b'"size": 7', b'"size": ' + size))


@pytest.mark.parametrize(
    "annotations", ["text", [], ["a"], {"a": 1}, {"a": None}, {"a": {"b": "c"}}, 1, True]
)
def test_annotations_that_are_not_text_by_text_are_refused(annotations: Any) -> None:
    refused(image(annotations=annotations))


@pytest.mark.parametrize("artifact_type", [1, None, [], {}, True])
def test_an_artifact_type_that_is_no_text_is_refused(artifact_type: Any) -> None:
    refused(image(artifactType=artifact_type))


def test_the_message_of_a_refusal_is_short_and_can_be_printed() -> None:
    errors = [
        refused(image(schemaVersion="\ud800" + "x" * 100_000)),
        refused(image(mediaType="x" * 100_000), OCI_MANIFEST),
        refused(image(), "\x1b[31m" + "x" * 100_000),
        refused(image(config={"digest": "x" * 100_000, "size": 1})),
        refused(image(config={"digest": str(ONE), "size": ["x" * 100_000]})),
    ]

    for error in errors:
        assert len(str(error)) < 400
        assert str(error).isprintable()


def test_a_media_type_that_only_the_header_says_is_kept_as_it_came() -> None:
    manifest = parse_manifest(b'{"layers": []}', "application/vnd.Example.Thing+json; charset=utf-8")

    assert manifest.media_type == "application/vnd.Example.Thing+json"
