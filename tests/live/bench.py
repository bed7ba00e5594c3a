"""A registry with one image in it, over a Glance of which everything is looked at: what bad input is tried on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from devcloud.registry import Registry
from tests.live.glance_records import GlanceRecords
from tests.live.pusher import Image, Pusher
from tests.live.wire import Connection, request, sha256

REPOSITORY = "bad-input/image"
MANIFESTS = f"/v2/{REPOSITORY}/manifests"
BLOBS = f"/v2/{REPOSITORY}/blobs"
UPLOADS = f"{BLOBS}/uploads"
UNKNOWN = sha256(b"nobody ever pushed this")
THREADS = 32
MAX_STREAMS = 8
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

    def status(self, location: str) -> str:
        """Return the Range that an upload session tells."""
        answer = request(self.address, "GET", location)
        assert answer.status == 204, answer
        return str(answer.headers["Range"])

    def finish(self, location: str, content: bytes, chunk: bytes = b"") -> int:
        """End an upload session whose content is to be this, and return the answer's status."""
        return request(self.address, "PUT", f"{location}&digest={sha256(content)}", body=chunk).status

    def append_soon(self, location: str, content: bytes) -> str:
        """Send all of a session's content after a try that broke off, and return the new Location.

        The registry may still be busy with that try; then its answer says that the beginning is the place to go on.
        """
        for _ in range(20):
            answer = request(self.address, "PATCH", location, body=content)
            if answer.status == 202:
                return str(answer.headers["Location"])
            assert (answer.status, answer.headers["Range"]) == (416, "0-0"), answer
            time.sleep(0.1)
        raise AssertionError(answer)

    def delete_blob(self, content: bytes) -> None:
        """Delete a blob that a test has pushed."""
        assert self.pusher.request("DELETE", f"/blobs/{sha256(content)}").status == 202
