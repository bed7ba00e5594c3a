"""Requests that no honest client sends: each is told what is wrong, changes nothing, and spoils nothing."""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from devcloud.registry import Registry
from tests.live.conftest import StartRegistry
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import CONFIG, INDEX, LAYER, MANIFEST, Image, Pusher, manifest
from tests.live.wire import Connection, chunked, request, sha256

REPOSITORY = "bad-input/image"
UNKNOWN = sha256(b"nobody ever pushed this")
THREADS = 16
MAX_STREAMS = 8
KEEPALIVE_S = 30
UNHURRIED_S = 5.0
"""Far more than an answer takes here, and far less than any time-out of the registry's."""


@dataclass(frozen=True)
class Bench:
    """A registry with one image in it, and the Glance behind it.

    Attributes:
        last: What Glance held when it was last looked at.
    """

    registry: Registry
    records: GlanceRecords
    image: Image
    last: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.registry.authority

    @property
    def pusher(self) -> Pusher:
        return Pusher(self.address, REPOSITORY)

    @property
    def layer(self) -> str:
        return sha256(self.image.layers[0])

    def connect(self, **options: Any) -> Connection:
        return Connection(self.address, **options)

    def changes(self) -> list[dict[str, Any]]:
        """Return the images that came, went or changed since Glance was last looked at."""
        before, now = dict(self.last), self.records.settled()
        self.last.clear()
        self.last.update(now)
        different = [key for key in before | now if before.get(key) != now.get(key)]
        return [now.get(key) or before[key] for key in different]

    def assert_serves(self) -> None:
        """Check that a new connection is answered."""
        started = time.monotonic()
        assert request(self.address, "GET", "/v2/").status == 200
        assert time.monotonic() - started < UNHURRIED_S


@pytest.fixture(scope="module")
def bench(start_registry: StartRegistry, records: GlanceRecords) -> Bench:
    registry = start_registry(records.url, threads=THREADS, max_streams=MAX_STREAMS, stream_wait=2)
    image = Pusher(registry.authority, REPOSITORY).image("v1", layers=[os.urandom(1000)])
    return Bench(registry, records, image)


@pytest.fixture(scope="module")
def begun(bench: Bench) -> Bench:
    """The bench, of which Glance was looked at."""
    bench.changes()
    return bench


@pytest.fixture(scope="module", autouse=True)
def half_said(bench: Bench) -> Iterator[list[Connection]]:
    """Clients that said nothing, or half of a request, when the module began."""
    with ExitStack() as stack:
        clients = [stack.enter_context(bench.connect(timeout_s=2 * KEEPALIVE_S)) for _ in range(3)]
        clients[1].send(b"GET /v2/ HT")
        clients[2].send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        yield clients


@pytest.fixture
def unchanged(bench: Bench) -> Iterator[None]:
    """Whatever the test does, in the end Glance holds what it held, and the registry answers."""
    before = bench.records.all()
    yield
    assert bench.records.settled() == before
    bench.assert_serves()


@pytest.fixture
def gone(bench: Bench) -> Iterator[None]:
    """As ``unchanged``, but for times: what a broken-off upload touched is as it was."""
    before = {key: {**image, "updated_at": ""} for key, image in bench.records.all().items()}
    yield
    after = {key: {**image, "updated_at": ""} for key, image in bench.records.settled().items()}
    assert after == before


@pytest.fixture
def session(bench: Bench) -> Iterator[str]:
    """The path of an upload session that is begun for one test, and ended after it."""
    location = bench.pusher.begin()
    yield location
    request(bench.address, "DELETE", location)


# ---------------------------------------------------------------------------------------------------------------------
# One request, one answer


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

MANIFESTS = f"/v2/{REPOSITORY}/manifests"
BLOBS = f"/v2/{REPOSITORY}/blobs"
UPLOADS = f"{BLOBS}/uploads"

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


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_request_gets_its_status_and_error_body_and_spoils_nothing(case: Bad, begun: Bench) -> None:
    bench, target = begun, case.target
    if isinstance(target, str):
        target = target.replace("{layer}", bench.layer).replace("{manifest}", bench.image.digest)

    with bench.connect() as connection:
        answer = connection.exchange(case.method, target, case.headers, case.body)

        assert answer.status == case.status, answer
        assert "X-Injected" not in answer.headers
        if case.method != "HEAD":
            assert case.codes.issuperset(answer.codes), answer
        if answer.keeps_connection:
            assert connection.exchange("GET", "/v2/").status == 200
    bench.assert_serves()
    assert bench.changes() == []


def test_range_of_another_unit_and_several_ranges_are_ignored(bench: Bench) -> None:
    for text in ("lines=1-2", "bytes=0-1,5-6", "nonsense"):
        answer = bench.pusher.request("GET", f"/blobs/{bench.layer}", {"Range": text})

        assert (answer.status, answer.body) == (200, bench.image.layers[0])


def test_unsatisfiable_range_is_told_the_size(bench: Bench) -> None:
    answer = bench.pusher.request("GET", f"/blobs/{bench.layer}", {"Range": "bytes=1000-"})

    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1000")


def test_method_not_allowed_names_those_that_are(bench: Bench) -> None:
    answer = bench.pusher.request("PATCH", "/manifests/v1")

    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "PUT", "DELETE"}


# ---------------------------------------------------------------------------------------------------------------------
# Upload sessions: what is refused leaves the session where it stood


def _status(bench: Bench, location: str) -> str:
    answer = request(bench.address, "GET", location)
    assert answer.status == 204, answer
    return str(answer.headers["Range"])


def _finish(bench: Bench, location: str, content: bytes, chunk: bytes = b"") -> int:
    return request(bench.address, "PUT", f"{location}&digest={sha256(content)}", body=chunk).status


CONTENT_RANGES = {
    "ahead": "20-29",
    "back-to-the-start": "0-9",
    "overlapping": "5-14",
    "one-off": "11-20",
    "backwards": "10-5",
    "no-numbers": "a-b",
    "no-end": "10-",
    "no-start": "-19",
    "disagrees-with-length": "10-12",
    "other-unit": "lines 10-19",
    "huge": f"{10**30}-{10**30 + 9}",
    "two": "10-14,15-19",
    "empty": "",
}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("text", CONTENT_RANGES.values(), ids=CONTENT_RANGES.keys())
def test_chunk_out_of_order_gets_416_and_the_session_goes_on(
    bench: Bench, session: str, method: str, text: str
) -> None:
    first, second = os.urandom(10), os.urandom(10)
    location = bench.pusher.append(session, first, start=0)
    before = bench.records.all()
    digest = f"&digest={sha256(first + second)}" if method == "PUT" else ""

    with bench.connect() as connection:
        answer = connection.exchange(method, location + digest, {"Content-Range": text}, second)

        assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
        assert answer.headers["Range"] == "0-9"
        assert connection.exchange("GET", "/v2/").status == 200
    assert bench.records.settled() == before
    assert _status(bench, location) == "0-9"
    assert _finish(bench, bench.pusher.append(location, second, start=10), first + second) == 201
    _delete_blob(bench, first + second)


def _delete_blob(bench: Bench, content: bytes) -> None:
    assert bench.pusher.request("DELETE", f"/blobs/{sha256(content)}").status == 202


@pytest.mark.usefixtures("unchanged")
def test_malformed_content_range_of_a_monolithic_post_leaves_no_session(bench: Bench) -> None:
    digest = sha256(b"content")

    answer = bench.pusher.request(
        "POST", f"/blobs/uploads/?digest={digest}", {"Content-Range": "5-1"}, b"content"
    )

    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])


def test_chunk_sent_twice_from_a_stale_location_gets_416(bench: Bench, session: str) -> None:
    location = bench.pusher.append(session, b"first", start=0)

    answer = request(bench.address, "PATCH", session, {"Content-Range": "0-4"}, b"first")

    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
    assert _status(bench, location) == "0-4"


LOCATIONS = {
    "nonsense": "?part=x&offset=y",
    "negative": "?part=-1&offset=-5",
    "ahead": "?part=7&offset=70",
    "wrong-offset": "?part=1&offset=3",
    "huge": f"?part={10**17}&offset={10**17}",
    "beyond-64-bits": f"?part={10**40}&offset={10**40}",
    "nothing": "",
}


@pytest.mark.parametrize("query", LOCATIONS.values(), ids=LOCATIONS.keys())
def test_position_in_the_location_is_never_believed(bench: Bench, session: str, query: str) -> None:
    first, second = os.urandom(10), os.urandom(10)
    location = bench.pusher.append(session, first, start=0)
    forged = location.partition("?")[0] + query

    answer = request(bench.address, "PATCH", forged, {"Content-Range": "10-19"}, second)

    assert answer.status == 202, answer
    assert answer.headers["Range"] == "0-19"
    assert _finish(bench, answer.headers["Location"], first + second) == 201
    _delete_blob(bench, first + second)


@pytest.mark.parametrize(
    ("method", "query"),
    [("GET", ""), ("PATCH", ""), ("PUT", f"digest={sha256(b'content')}"), ("DELETE", "")],
    ids=["status", "append", "finish", "cancel"],
)
def test_session_is_unknown_under_another_repository(
    bench: Bench, session: str, method: str, query: str
) -> None:
    elsewhere = session.replace(REPOSITORY, "bad-input/elsewhere")
    before = bench.records.all()

    answer = request(bench.address, method, f"{elsewhere}&{query}", body=b"content")

    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert bench.records.settled() == before
    assert _status(bench, session) == "0-0"


@pytest.mark.parametrize("kind", ["one-chunk", "composed"])
def test_finished_session_is_unknown_to_all_but_the_same_end(bench: Bench, kind: str) -> None:
    content = os.urandom(100)
    location = bench.pusher.begin()
    if kind == "composed":
        after = bench.pusher.append(location, content[:50], start=0)
        after = bench.pusher.append(after, content[50:], start=50)
    else:
        after = bench.pusher.append(location, content)
    assert _finish(bench, after, content) == 201
    before = bench.records.all()

    for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", f"digest={UNKNOWN}")):
        answer = request(bench.address, method, f"{after}&{query}", body=b"more")
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"]), method
    assert _finish(bench, after, content) == 201
    assert bench.records.settled() == before
    _delete_blob(bench, content)


def test_cancelled_session_is_unknown(bench: Bench) -> None:
    location = bench.pusher.append(bench.pusher.begin(), b"content")
    assert request(bench.address, "DELETE", location).status == 204

    for method, query in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", f"digest={UNKNOWN}")):
        answer = request(bench.address, method, f"{location}&{query}", body=b"more")
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"]), method


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("way", ["put", "patch", "patch-and-put", "chunks", "chunks-and-put"])
def test_digest_that_does_not_match_ends_the_session_and_leaves_nothing(bench: Bench, way: str) -> None:
    content = os.urandom(90)
    location, last = bench.pusher.begin(), b""
    if way == "put":
        last = content
    elif way.startswith("patch"):
        location = bench.pusher.append(location, content)
        last = b"and more" if way == "patch-and-put" else b""
    else:
        for start in range(0, 90, 30):
            location = bench.pusher.append(location, content[start : start + 30], start=start)
        last = b"and more" if way == "chunks-and-put" else b""

    with bench.connect() as connection:
        answer = connection.exchange("PUT", f"{location}&digest={UNKNOWN}", body=last)

        assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
        assert connection.exchange("GET", location).status == 404
    assert bench.pusher.request("HEAD", f"/blobs/{sha256(content)}").status == 404


# ---------------------------------------------------------------------------------------------------------------------
# Bodies that are not what they said

BROKEN_BODIES: dict[str, tuple[Mapping[str, str | int], bytes]] = {
    "short": ({"Content-Length": 1000}, b"x" * 400),
    "nothing-of-what-was-promised": ({"Content-Length": 1000}, b""),
    "chunked-without-an-end": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n"),
    "chunked-cut-inside-a-chunk": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 100),
    "chunked-cut-inside-a-size": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n1"),
    "chunked-size-no-hex": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\nzz\r\nxx\r\n"),
    "chunked-size-too-small": ({"Transfer-Encoding": "chunked"}, b"5\r\n" + b"x" * 400 + b"\r\n0\r\n\r\n"),
    "chunked-size-negative": ({"Transfer-Encoding": "chunked"}, b"190\r\n" + b"x" * 400 + b"\r\n-5\r\n"),
    "chunked-size-huge": ({"Transfer-Encoding": "chunked"}, b"f" * 40 + b"\r\n" + b"x" * 400),
    "chunked-nonsense": ({"Transfer-Encoding": "chunked"}, b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize(
    "operation", ["append", "append-second", "finish", "finish-second", "monolithic", "manifest"]
)
@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_body_that_breaks_off_is_told_and_stored_nowhere(
    bench: Bench, session: str, operation: str, body: tuple[Mapping[str, str | int], bytes]
) -> None:
    headers, content = body
    location, stands = session, "0-0"
    if operation.endswith("second"):
        location, stands = bench.pusher.append(session, b"first", start=0), "0-4"
    method, target = {
        "append": ("PATCH", location),
        "finish": ("PUT", f"{location}&digest={UNKNOWN}"),
        "monolithic": ("POST", f"{UPLOADS}/?digest={UNKNOWN}"),
        "manifest": ("PUT", f"{MANIFESTS}/never"),
    }[operation.removesuffix("-second")]
    before = bench.records.all()

    with bench.connect() as connection:
        connection.send_head(method, target, headers)
        connection.send(content)
        connection.end_of_sending()
        answer = connection.answer()

    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    after = bench.records.settled()
    if operation.endswith("second"):
        # The part that was begun may stay, empty, for whoever goes on.
        after = {key: image for key, image in after.items() if key in before or image["status"] != "queued"}
    assert after == before
    assert _status(bench, location) == stands
    if operation.startswith(("append", "finish")):
        whole = (b"first" if operation.endswith("second") else b"") + b"again"
        assert _finish(bench, bench.pusher.append(location, b"again"), whole) == 201
        _delete_blob(bench, whole)


@pytest.mark.usefixtures("unchanged")
def test_bytes_beyond_the_content_length_are_no_part_of_the_body(bench: Bench) -> None:
    digest = sha256(b"content")

    with bench.connect() as connection:
        connection.send_head("POST", f"{UPLOADS}/?digest={digest}", {"Content-Length": 7})
        connection.send(b"content and more\r\n\r\n")

        assert connection.answer().status == 201
        assert connection.answer().status == 400
        assert connection.is_closed_by_server()
    assert bench.pusher.request("GET", f"/blobs/{digest}").body == b"content"
    _delete_blob(bench, b"content")


@pytest.mark.usefixtures("unchanged")
def test_refused_body_is_not_taken_for_the_next_request(bench: Bench) -> None:
    smuggled = f"DELETE {MANIFESTS}/v1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    with bench.connect() as connection:
        answer = connection.exchange("POST", f"/v2/Bad/blobs/uploads/?digest={UNKNOWN}", body=smuggled)
        assert answer.codes == ["NAME_INVALID"]
        if answer.keeps_connection:
            assert connection.exchange("GET", "/v2/").status == 200

    assert bench.pusher.digest_of("v1") == bench.image.digest


# ---------------------------------------------------------------------------------------------------------------------
# What is no HTTP, or says nothing


def _tls_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="registry.example.org"
    )
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


GARBAGE = {
    "tls-hello": _tls_hello(),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(4096),
    "random": bytes(range(128, 256)) * 16,
    "line-feeds": b"\n" * 100 + b"nonsense\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "http-9": b"GET /v2/ HTTP/9.9\r\n\r\n",
    "no-version": b"GET /v2/\r\n\r\n",
    "no-target": b"GET HTTP/1.1\r\n\r\n",
    "header-split": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "header-nul": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "folded-header": b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_gets_a_400_or_505_and_the_connection_ends(bench: Bench, garbage: bytes) -> None:
    with bench.connect() as connection:
        connection.send(garbage)

        answer = connection.answer()

        assert answer.status in {400, 505}
        assert answer.codes == ["UNKNOWN"]
        assert connection.is_closed_by_server()


def _saturating(stack: ExitStack, bench: Bench, count: int, data: bytes) -> list[Connection]:
    connections = [stack.enter_context(bench.connect(timeout_s=90)) for _ in range(count)]
    for connection in connections:
        connection.send(data)
    return connections


SAYING_LITTLE = {
    "nothing": b"",
    "half-a-request-line": b"GET /v2",
    "half-headers": f"GET /v2/ HTTP/1.1\r\nHost: x\r\nUser-Agent: {'x' * 100}".encode(),
    "half-headers-of-an-upload": f"POST {UPLOADS}/ HTTP/1.1\r\nHost: x\r\nContent-Le".encode(),
    "half-a-tls-hello": bytes.fromhex("160301"),
}


@pytest.mark.parametrize("said", SAYING_LITTLE.values(), ids=SAYING_LITTLE.keys())
def test_clients_that_say_little_block_nobody(bench: Bench, said: bytes) -> None:
    with ExitStack() as stack:
        _saturating(stack, bench, max(64, 3 * THREADS), said)
        time.sleep(0.3)
        started = time.monotonic()

        image = Pusher(bench.address, f"bad-input/{uuid.uuid4().hex}").image("v1")
        bench.assert_serves()
        assert bench.pusher.request("GET", f"/blobs/{bench.layer}").status == 200

        assert image.digest
        assert time.monotonic() - started < UNHURRIED_S


def test_clients_that_finish_their_headers_slowly_are_served(bench: Bench) -> None:
    with ExitStack() as stack:
        connections = _saturating(stack, bench, 3 * THREADS, b"GET /v2/ HTTP/1.1\r\nHo")
        time.sleep(0.2)

        for piece in (b"st: ", b"x\r", b"\n", b"\r\n"):
            for connection in connections:
                connection.send(piece)

        assert {connection.answer().status for connection in connections} == {200}


def test_clients_that_are_refused_and_stay_block_nobody(bench: Bench) -> None:
    with ExitStack() as stack:
        refused = _saturating(stack, bench, 32, b"nonsense\r\n\r\n")
        assert {connection.answer().status for connection in refused} == {400}

        started = time.monotonic()
        for _ in range(5):
            bench.assert_serves()

        assert time.monotonic() - started < UNHURRIED_S


# ---------------------------------------------------------------------------------------------------------------------
# Clients that go away


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("chunked_coding", [False, True], ids=["length", "chunked"])
def test_client_that_goes_in_mid_upload_leaves_the_session_where_it_stood(
    bench: Bench, session: str, *, chunked_coding: bool
) -> None:
    piece = os.urandom(300_000)

    # More often than there are streams: one that is not given back would be missed.
    for _ in range(MAX_STREAMS + 2):
        with bench.connect() as connection:
            if chunked_coding:
                connection.send_head("PATCH", session, {"Transfer-Encoding": "chunked"})
                connection.send_chunk(piece)
            else:
                connection.send_head("PATCH", session, {"Content-Length": 10_000_000})
                connection.send(piece)
        _wait_until_stands(bench, session, "0-0")

    session_id = session.partition("?")[0].rpartition("/")[2]
    assert bench.records.settled()[session_id]["status"] == "queued"
    content = os.urandom(1000)
    assert _finish(bench, bench.pusher.append(session, content), content) == 201
    _delete_blob(bench, content)


def _wait_until_stands(bench: Bench, location: str, where: str) -> None:
    deadline = time.monotonic() + UNHURRIED_S
    while True:
        answer = request(bench.address, "GET", location)
        if (answer.status, answer.headers.get("Range")) == (204, where):
            return
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


def test_client_that_goes_in_mid_upload_and_tries_again_at_once_is_served(bench: Bench, session: str) -> None:
    content = os.urandom(500_000)
    with bench.connect() as connection:
        connection.send_head("PATCH", session, {"Content-Length": len(content)})
        connection.send(content[:300_000])

    # The first try may not have ended yet; then the answer tells where to go on, from the beginning.
    for _ in range(5):
        answer = request(bench.address, "PATCH", session, body=content)
        if answer.status == 202:
            break
        assert (answer.status, answer.headers["Range"]) == (416, "0-0"), answer
        time.sleep(0.1)

    assert _finish(bench, answer.headers["Location"], content) == 201
    _delete_blob(bench, content)


def test_client_that_goes_in_mid_download_gives_its_stream_back(bench: Bench) -> None:
    content = os.urandom(8 * 1024 * 1024)
    digest = bench.pusher.blob(content)

    for _ in range(2 * MAX_STREAMS + 2):
        with bench.connect(receive_buffer=16_384) as connection:
            connection.send_head("GET", f"{BLOBS}/{digest}")
            assert connection.socket.recv(1000).startswith(b"HTTP/1.1 200")

    started = time.monotonic()
    assert bench.pusher.request("GET", f"/blobs/{digest}").body == content
    assert time.monotonic() - started < UNHURRIED_S
    _delete_blob(bench, content)


def test_clients_that_go_do_not_disturb_those_that_stay(bench: Bench) -> None:
    stop = threading.Event()
    failures: list[str] = []

    def push_and_pull() -> None:
        while not stop.is_set():
            try:
                answer = bench.pusher.request("GET", "/manifests/v1")
                assert answer.body == bench.image.body
                bench.pusher.blob(os.urandom(500))
            except (AssertionError, OSError) as error:
                failures.append(repr(error))
                return

    worker = threading.Thread(target=push_and_pull)
    worker.start()
    try:
        for number in range(40):
            with bench.connect() as connection:
                connection.send_head("POST", f"{UPLOADS}/?digest={UNKNOWN}", {"Content-Length": 5000})
                connection.send(b"x" * (number * 50))
    finally:
        stop.set()
        worker.join()

    assert failures == []


def test_silent_clients_are_let_go_in_the_end(half_said: list[Connection]) -> None:
    for client in half_said:
        # An answer (408, 400) may come first.
        while not client.is_closed_by_server():
            pass
