"""Requests that can't be granted, each with the answer that the specification asks for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.live.bench import BLOBS, MANIFESTS, REPOSITORY, UNKNOWN, UPLOADS
from tests.live.pusher import CONFIG, INDEX, LAYER, MANIFEST, manifest
from tests.live.wire import chunked, sha256


@dataclass(frozen=True)
class Bad:
    """A request that can't be granted.

    Attributes:
        target: With ``{layer}`` and ``{manifest}`` for digests that exist.
        codes: Which error codes may tell it; empty where HTTP has no body to tell it in.
    """

    method: str
    target: str | bytes
    status: int
    codes: frozenset[str]
    headers: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None


def bad(
    method: str,
    target: str | bytes,
    status: int,
    *codes: str,
    headers: Mapping[str, str | int] | None = None,
    body: bytes | None = None,
) -> Bad:
    return Bad(method, target, status, frozenset(codes), headers or {}, body)


NAMES = {
    "upper-case": "Bad/Name",
    "upper-case-component": "bad/Input",
    "300-characters": "a" * 300,
    "300-characters-in-components": "/".join(["a" * 59] * 5),
    "parent": "..",
    "parent-in-the-middle": "a/../b",
    "parent-encoded": "a/%2e%2e/b",
    "current": "./a",
    "empty-component": "a//b",
    "ends-with-a-slash": "a/",
    "begins-with-a-slash": "/a",
    "encoded-slash": "encoded%2Fslash",
    "encoded-slash-lower-case": "encoded%2fslash",
    "encoded-slash-twice": "bad-input%252Fimage",
    "crlf": "bad-input/image%0d%0aX-Injected:%20yes",
    "line-feed-at-the-end": "bad-input/image%0a",
    "nul": "bad-input/image%00",
    "space": "bad-input/ima%20ge",
    "colon": "bad-input:image",
    "at": "bad-input@image",
    "backslash": "bad-input%5Cimage",
    "tilde": "~bad",
    "leading-separator": "-bad",
    "trailing-separator": "bad-",
    "two-dots": "b..d",
    "three-underscores": "b___d",
    "utf-8": "b%C3%A4d",
    "not-utf-8": "b%FF%FEd",
    "percent": "bad%",
    "percent-no-hex": "b%zzd",
    "catalog": "_catalog",
}

ENDPOINTS = {
    "tags": ("GET", "tags/list"),
    "manifest": ("GET", "manifests/v1"),
    "push-manifest": ("PUT", "manifests/v1"),
    "delete-manifest": ("DELETE", "manifests/v1"),
    "blob": ("GET", f"blobs/{UNKNOWN}"),
    "delete-blob": ("DELETE", f"blobs/{UNKNOWN}"),
    "begin": ("POST", "blobs/uploads/"),
    "monolithic": ("POST", f"blobs/uploads/?digest={sha256(b'content')}"),
    "status": ("GET", f"blobs/uploads/{uuid.UUID(int=7)}"),
    "append": ("PATCH", f"blobs/uploads/{uuid.UUID(int=7)}"),
    "finish": ("PUT", f"blobs/uploads/{uuid.UUID(int=7)}?digest={sha256(b'content')}"),
    "cancel": ("DELETE", f"blobs/uploads/{uuid.UUID(int=7)}"),
    "referrers": ("GET", f"referrers/{UNKNOWN}"),
}

NAME_CASES = {
    **{
        f"{name}-{endpoint}": bad(method, f"/v2/{NAMES[name]}/{rest}", 400, "NAME_INVALID", body=b"content")
        for name in ("upper-case", "crlf", "encoded-slash")
        for endpoint, (method, rest) in ENDPOINTS.items()
    },
    **{
        f"{name}-tags": bad("GET", f"/v2/{text}/tags/list", 400, "NAME_INVALID")
        for name, text in NAMES.items()
    },
    "raw-bytes-tags": bad("GET", b"/v2/b\xff\xfe\x80d/tags/list", 400, "NAME_INVALID", "UNKNOWN"),
    "raw-crlf-tags": bad("GET", b"/v2/b\rd/tags/list", 400, "NAME_INVALID", "UNKNOWN"),
    "mount-from-upper-case": bad(
        "POST",
        f"/v2/{REPOSITORY}/blobs/uploads/?mount={{layer}}&from=Bad/Name",
        400,
        "NAME_INVALID",
        body=b"",
    ),
    "longer-than-255-with-its-tag": bad("GET", f"/v2/{'a' * 200}/manifests/{'t' * 100}", 400, "NAME_INVALID"),
}

TAG_CASES = {
    f"tag-{name}-{method}": bad(method, f"{MANIFESTS}/{text}", 400, "TAG_INVALID", "NAME_INVALID", body=b"{}")
    for name, text in {
        "129-characters": "t" * 129,
        "leading-dot": ".v1",
        "leading-dash": "-v1",
        "plus": "v1+2",
        "encoded-slash": "v%2F1",
        "crlf": "v1%0d%0aX-Injected",
        "line-feed-at-the-end": "v1%0a",
        "utf-8": "v%C3%A4",
        "not-utf-8": "v%ff",
        "parent": "..",
        "space": "v%201",
    }.items()
    for method in ("GET", "HEAD", "PUT", "DELETE")
}

BAD_DIGESTS = {
    "unknown-algorithm": f"md5:{'0' * 32}",
    "sha384": f"sha384:{'0' * 96}",
    "no-algorithm": f":{'0' * 64}",
    "short": "sha256:abc",
    "long": f"sha256:{'0' * 65}",
    "empty-hex": "sha256:",
    "upper-case-hex": f"sha256:{'A' * 64}",
    "no-hex": f"sha256:{'g' * 64}",
    "sha512-with-64": f"sha512:{'0' * 64}",
    "upper-case-algorithm": f"SHA256:{'0' * 64}",
    "two-colons": f"sha256:sha256:{'0' * 57}",
    "crlf": f"sha256:{'0' * 62}%0d%0a",
    "line-feed-at-the-end": f"sha256:{'0' * 64}%0a",
    "not-utf-8": f"sha256:{'0' * 63}%ff",
    "huge": f"sha256:{'0' * 3000}",
    "parent": "..:..",
}

DIGEST_CASES = {
    **{
        f"digest-{name}-{place}": bad(method, target.format(digest=text), 400, "DIGEST_INVALID", body=body)
        for name, text in BAD_DIGESTS.items()
        for place, method, target, body in (
            ("blob", "GET", BLOBS + "/{digest}", None),
            ("blob-head", "HEAD", BLOBS + "/{digest}", None),
            ("manifest", "GET", MANIFESTS + "/{digest}", None),
            ("monolithic", "POST", UPLOADS + "/?digest={digest}", b"content"),
        )
    },
    **{
        f"digest-{name}-{place}": bad(method, target.format(digest=text), 400, "DIGEST_INVALID", body=body)
        for name, text in BAD_DIGESTS.items()
        if name in {"unknown-algorithm", "short", "crlf"}
        for place, method, target, body in (
            ("delete-blob", "DELETE", BLOBS + "/{digest}", None),
            ("push-manifest", "PUT", MANIFESTS + "/{digest}", b"{}"),
            ("delete-manifest", "DELETE", MANIFESTS + "/{digest}", None),
            ("referrers", "GET", f"/v2/{REPOSITORY}/referrers/{{digest}}", None),
            ("mount", "POST", UPLOADS + "/?mount={digest}&from=bad-input/image", b""),
            ("finish", "PUT", f"{UPLOADS}/{uuid.UUID(int=7)}?digest={{digest}}", b""),
        )
    },
    "finish-without-digest": bad(
        "PUT", f"{UPLOADS}/{uuid.UUID(int=7)}", 400, "DIGEST_INVALID", body=b"content"
    ),
    "monolithic-empty-digest": bad("POST", f"{UPLOADS}/?digest=", 400, "DIGEST_INVALID", body=b"content"),
    "monolithic-other-content": bad(
        "POST", f"{UPLOADS}/?digest={UNKNOWN}", 400, "DIGEST_INVALID", body=b"content"
    ),
    "monolithic-other-content-chunked": bad(
        "POST",
        f"{UPLOADS}/?digest={UNKNOWN}",
        400,
        "DIGEST_INVALID",
        headers={"Transfer-Encoding": "chunked"},
        body=chunked(b"con", b"tent"),
    ),
    "monolithic-nothing": bad("POST", f"{UPLOADS}/?digest={UNKNOWN}", 400, "DIGEST_INVALID", body=b""),
    "manifest-other-content": bad(
        "PUT", f"{MANIFESTS}/{UNKNOWN}", 400, "DIGEST_INVALID", body=manifest([], b"")
    ),
}

UNKNOWN_CASES = {
    "blob": bad("GET", f"{BLOBS}/{UNKNOWN}", 404, "BLOB_UNKNOWN"),
    "blob-head": bad("HEAD", f"{BLOBS}/{UNKNOWN}", 404),
    "delete-blob": bad("DELETE", f"{BLOBS}/{UNKNOWN}", 404, "BLOB_UNKNOWN"),
    "blob-that-is-a-manifest": bad("GET", f"{BLOBS}/{{manifest}}", 404, "BLOB_UNKNOWN"),
    "delete-blob-that-is-a-manifest": bad("DELETE", f"{BLOBS}/{{manifest}}", 404, "BLOB_UNKNOWN"),
    "delete-referenced-blob": bad("DELETE", f"{BLOBS}/{{layer}}", 405, "UNSUPPORTED"),
    "manifest-that-is-a-blob": bad("GET", f"{MANIFESTS}/{{layer}}", 404, "MANIFEST_UNKNOWN"),
    "delete-manifest-that-is-a-blob": bad("DELETE", f"{MANIFESTS}/{{layer}}", 404, "MANIFEST_UNKNOWN"),
    "manifest-by-digest": bad("GET", f"{MANIFESTS}/{UNKNOWN}", 404, "MANIFEST_UNKNOWN"),
    "manifest-by-digest-elsewhere": bad("GET", "/v2/elsewhere/manifests/{manifest}", 404, "MANIFEST_UNKNOWN"),
    "manifest-by-tag": bad("GET", f"{MANIFESTS}/nobody", 404, "MANIFEST_UNKNOWN"),
    "tag-in-other-case": bad("GET", f"{MANIFESTS}/V1", 404, "MANIFEST_UNKNOWN"),
    "delete-tag": bad("DELETE", f"{MANIFESTS}/nobody", 404, "MANIFEST_UNKNOWN"),
    "delete-manifest": bad("DELETE", f"{MANIFESTS}/{UNKNOWN}", 404, "MANIFEST_UNKNOWN"),
    "delete-manifest-elsewhere": bad("DELETE", "/v2/elsewhere/manifests/{manifest}", 404, "MANIFEST_UNKNOWN"),
    "tags": bad("GET", "/v2/nobody/tags/list", 404, "NAME_UNKNOWN"),
    "no-endpoint": bad("GET", f"/v2/{REPOSITORY}/nothing", 404, "UNSUPPORTED", "NAME_UNKNOWN"),
    "no-version": bad("GET", "/v3/", 404, "UNSUPPORTED"),
    "root": bad("GET", "/", 404, "UNSUPPORTED"),
    "no-reference": bad("GET", f"{MANIFESTS}/", 404, "UNSUPPORTED"),
    **{
        f"session-{name}-{method}": bad(
            method, f"{UPLOADS}/{text}{query}", 404, "BLOB_UPLOAD_UNKNOWN", body=b"content"
        )
        for name, text in {
            "unknown": str(uuid.UUID(int=7)),
            "no-uuid": "nobody",
            "upper-case": str(uuid.UUID(int=0xABC)).upper(),
            "no-dashes": uuid.UUID(int=7).hex,
            "crlf": "a%0d%0ab",
            "huge": "a" * 2000,
        }.items()
        for method, query in (
            ("GET", ""),
            ("PATCH", ""),
            ("PATCH", "?part=0&offset=0"),
            ("PUT", f"?digest={sha256(b'content')}"),
            ("DELETE", ""),
        )
    },
}

PAGE_CASES = {
    f"page-{name}-{place}": bad("GET", f"{target}?n={text}", 400, "PAGINATION_NUMBER_INVALID")
    for name, text in {
        "minus-one": "-1",
        "abc": "abc",
        "nothing": "",
        "decimal": "1.5",
        "hex": "0x1",
        "plus": "%2B1",
        "space": "%201",
        "arabic-digits": "%D9%A1",
        "superscript": "%C2%B2",
        "crlf": "1%0d%0a",
    }.items()
    for place, target in (("tags", f"/v2/{REPOSITORY}/tags/list"), ("catalog", "/v2/_catalog"))
}

RANGE_CASES = {
    f"range-{name}": bad("GET", f"{BLOBS}/{{layer}}", 416, "RANGE_INVALID", headers={"Range": text})
    for name, text in {
        "past-the-end": "bytes=1000-",
        "far-past-the-end": f"bytes={10**17}-",
        "beyond-64-bits": f"bytes={10**40}-",
        "backwards": "bytes=500-0",
        "no-numbers": "bytes=a-b",
        "nothing": "bytes=-",
        "empty": "bytes=",
        "last-zero": "bytes=-0",
        "negative": "bytes=-5-3",
        "arabic-digits": "bytes=\u0661-",
    }.items()
}

METHOD_CASES = {
    **{
        f"{method}-{name}": bad(method, target, 405, "UNSUPPORTED", body=b"")
        for name, target, methods in (
            ("root", "/v2/", ("POST", "PUT", "PATCH", "DELETE")),
            ("tags", f"/v2/{REPOSITORY}/tags/list", ("POST", "PUT", "PATCH", "DELETE")),
            ("catalog", "/v2/_catalog", ("POST", "DELETE")),
            ("manifest", f"{MANIFESTS}/v1", ("POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "NONSENSE")),
            ("blob", f"{BLOBS}/{{layer}}", ("POST", "PUT", "PATCH")),
            ("uploads", f"{UPLOADS}/", ("GET", "PUT", "PATCH", "DELETE")),
            ("session", f"{UPLOADS}/{uuid.UUID(int=7)}", ("POST",)),
            ("referrers", f"/v2/{REPOSITORY}/referrers/{UNKNOWN}", ("POST", "PUT", "DELETE")),
        )
        for method in methods
    },
    "lower-case-method": bad("get", "/v2/", 400, "UNKNOWN"),
    "connect": bad("CONNECT", "example.org:443", 404, "UNSUPPORTED"),
}

HEADER_CASES = {
    "header-too-large": bad("GET", "/v2/", 431, "UNKNOWN", headers={"X-Large": "x" * 70_000}),
    "too-many-headers": bad("GET", "/v2/", 431, "UNKNOWN", headers={f"X-{n}": n for n in range(400)}),
    "request-line-too-long": bad("GET", f"/v2/?{'x' * 10_000}", 414, "UNKNOWN"),
    "length-not-a-number": bad(
        "POST", f"{UPLOADS}/", 400, "UNKNOWN", "SIZE_INVALID", headers={"Content-Length": "many"}, body=b""
    ),
    "length-negative": bad(
        "POST", f"{UPLOADS}/", 400, "UNKNOWN", "SIZE_INVALID", headers={"Content-Length": "-1"}, body=b""
    ),
    "length-and-chunked": bad(
        "POST",
        f"{UPLOADS}/?digest={sha256(b'content')}",
        400,
        "UNKNOWN",
        headers={"Content-Length": 7, "Transfer-Encoding": "chunked"},
        body=chunked(b"content"),
    ),
    "coding-unknown": bad(
        "POST", f"{UPLOADS}/", 501, "UNKNOWN", headers={"Transfer-Encoding": "rot13"}, body=b""
    ),
    "header-without-colon": bad("GET", b"/v2/ HTTP/1.1\r\nnonsense\r\nX: y", 400, "UNKNOWN"),
    "header-name-with-space": bad("GET", "/v2/", 400, "UNKNOWN", headers={"X Y": "z"}),
}


def _bad_manifest(
    body: bytes | dict[str, Any], media_type: str = MANIFEST, code: str = "MANIFEST_INVALID"
) -> Bad:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bad("PUT", f"{MANIFESTS}/never", 400, code, headers={"Content-Type": media_type}, body=content)


def _image(**changes: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": UNKNOWN, "size": 2},
        "layers": [],
        **changes,
    }
    return {key: value for key, value in document.items() if value is not ...}


MANIFEST_CASES = {
    "manifest-nothing": _bad_manifest(b""),
    "manifest-not-json": _bad_manifest(b"\x1f\x8b\x00 nonsense"),
    "manifest-cut": _bad_manifest(json.dumps(_image()).encode()[:-5]),
    "manifest-null": _bad_manifest(b"null"),
    "manifest-number": _bad_manifest(b"2"),
    "manifest-list": _bad_manifest(b"[]"),
    "manifest-text": _bad_manifest(b'"text"'),
    "manifest-empty-object": _bad_manifest(b"{}"),
    "manifest-nested-10000-deep": _bad_manifest(b"[" * 10_000 + b"]" * 10_000),
    "manifest-objects-10000-deep": _bad_manifest(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "manifest-deep-inside": _bad_manifest(json.dumps(_image())[:-1].encode() + b',"x":' + b"[" * 10_000),
    "manifest-over-4-mib": bad(
        "PUT",
        f"{MANIFESTS}/never",
        413,
        "MANIFEST_INVALID",
        headers={"Content-Type": MANIFEST},
        body=b" " * 4194305,
    ),
    "manifest-over-4-mib-chunked": bad(
        "PUT",
        f"{MANIFESTS}/never",
        413,
        "MANIFEST_INVALID",
        headers={"Content-Type": MANIFEST, "Transfer-Encoding": "chunked"},
        body=chunked(*[b" " * 65536] * 65),
    ),
    "manifest-schema-1": _bad_manifest(_image(schemaVersion=1)),
    "manifest-schema-3": _bad_manifest(_image(schemaVersion=3)),
    "manifest-schema-text": _bad_manifest(_image(schemaVersion="2")),
    "manifest-schema-missing": _bad_manifest(_image(schemaVersion=...)),
    "manifest-schema-true": _bad_manifest(_image(schemaVersion=True)),
    "manifest-type-contradicts": _bad_manifest(_image(), INDEX),
    "manifest-type-of-docker-schema-1": _bad_manifest(
        _image(schemaVersion=1, mediaType=...), "application/vnd.docker.distribution.manifest.v1+prettyjws"
    ),
    "manifest-without-config": _bad_manifest(_image(config=...)),
    "manifest-without-layers": _bad_manifest(_image(layers=...)),
    "manifest-layers-no-list": _bad_manifest(_image(layers={})),
    "manifest-layer-no-object": _bad_manifest(_image(layers=["x"])),
    "manifest-bad-digest": _bad_manifest(
        _image(layers=[{"mediaType": LAYER, "digest": "sha256:x", "size": 1}])
    ),
    "manifest-negative-size": _bad_manifest(
        _image(layers=[{"mediaType": LAYER, "digest": UNKNOWN, "size": -1}])
    ),
    "manifest-text-size": _bad_manifest(
        _image(layers=[{"mediaType": LAYER, "digest": UNKNOWN, "size": "1"}])
    ),
    "manifest-bad-subject": _bad_manifest(_image(subject={"mediaType": MANIFEST, "digest": "x", "size": 1})),
    "manifest-bad-annotations": _bad_manifest(_image(annotations={"a": 1})),
    "manifest-not-utf-8": _bad_manifest(b'{"schemaVersion": 2, "x": "\xff"}'),
    "index-without-manifests": _bad_manifest({"schemaVersion": 2, "mediaType": INDEX}, INDEX),
    "manifest-unknown-config": _bad_manifest(_image(), code="MANIFEST_BLOB_UNKNOWN"),
    "manifest-unknown-layer": _bad_manifest(
        _image(layers=[{"mediaType": LAYER, "digest": sha256(b"other"), "size": 5}]),
        code="MANIFEST_BLOB_UNKNOWN",
    ),
    "index-unknown-manifest": _bad_manifest(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": UNKNOWN, "size": 1}],
        },
        INDEX,
        code="MANIFEST_BLOB_UNKNOWN",
    ),
}

CASES = (
    NAME_CASES
    | TAG_CASES
    | DIGEST_CASES
    | {f"unknown-{name}": case for name, case in UNKNOWN_CASES.items()}
    | PAGE_CASES
    | RANGE_CASES
    | METHOD_CASES
    | HEADER_CASES
    | MANIFEST_CASES
)
