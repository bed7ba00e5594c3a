"""A Glance in memory: the semantics of the real one, its lost updates and late losers included.

What is atomic here is what is atomic in Glance 33 on MariaDB: creating an id, and turning
``queued`` into ``saving``. Everything else reads a row, lets others in, and writes it back whole.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from registry_glance.store.images import (
    GlanceImage,
    ImageConflict,
    ImageNotFound,
    ImageStatus,
    QuotaExceeded,
)
from tests.fakes.memory_images import MemoryImages
from tests.fakes.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryGlance:
    """The state that all callers share. ``service`` gives one caller's view of it.

    Args:
        hash_algorithm: Of the multihash, a name that ``hashlib`` knows.
        clock: Seconds since the epoch; timestamps are cut to whole seconds.
        ignore_case: Compare names and properties as MariaDB does: without case, names also
            without trailing spaces.
        page_size: Images per page of a listing.
        chunk_size: Longest byte string that a download yields.
        image_quota: Images per project; ``None`` for no limit.
        byte_quota: Bytes per project; ``None`` for no limit.

    Attributes:
        moments: Where tests lay faults and pauses.
        open_streams: Downloads that were opened and not yet closed.
    """

    def __init__(
        self,
        *,
        hash_algorithm: str = "sha256",
        clock: Callable[[], float] = time.time,
        ignore_case: bool = False,
        page_size: int = 100,
        chunk_size: int = 65536,
        image_quota: int | None = None,
        byte_quota: int | None = None,
    ) -> None:
        self.hash_algorithm = hash_algorithm
        self.page_size = page_size
        self.chunk_size = chunk_size
        self.moments = Moments()
        self.open_streams = 0
        self._clock = clock
        self._ignore_case = ignore_case
        self._image_quota = image_quota
        self._byte_quota = byte_quota
        self.lock = threading.RLock()
        self.rows: dict[str, GlanceImage] = {}
        self.contents: dict[str, bytes] = {}
        self.members: dict[str, dict[str, bool]] = {}
        self._used_ids: set[str] = set()

    def service(
        self, project: str | None = "p1", *, caller: str = "replica", admin: bool = False
    ) -> MemoryImages:
        """Return Glance as a member of ``project`` sees it.

        Args:
            project: ``None`` is the one caller of a Glance without Keystone; it owns everything.
            caller: A label for the moments, for example a replica's name.
            admin: Sees and changes everything.
        """
        return MemoryImages(self, project=project, caller=caller, admin=admin or project is None)

    def images(self) -> list[GlanceImage]:
        """Return every image of every project, oldest first, without a trace in the moments."""
        with self.lock:
            return list(self.rows.values())

    def data(self, image_id: str) -> bytes:
        """Return the data of an active image, without a trace in the moments."""
        with self.lock:
            return self.contents[image_id]

    def insert(self, image: GlanceImage, data: bytes | None = None) -> GlanceImage:
        """Put in an image as somebody else made it: any owner, format and status."""
        with self.lock:
            self.claim(image.id)
            now = self._now()
            row = replace(image, created_at=now, updated_at=now)
            self.rows[row.id] = row
            return row if data is None else self.fill(row, data)

    def add_member(self, image_id: str, project: str, *, accepted: bool = True) -> None:
        """Share an image with a project; a pending share can be read by id but is not listed."""
        with self.lock:
            self.members.setdefault(image_id, {})[project] = accepted

    # What follows is called by MemoryImages only, with the lock held.

    def claim(self, image_id: str) -> None:
        """Take an id for ever."""
        if image_id in self._used_ids:
            raise ImageConflict(f"image {image_id}: the id is taken")
        self._used_ids.add(image_id)

    def _now(self) -> str:
        return datetime.fromtimestamp(int(self._clock()), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def write(self, row: GlanceImage) -> GlanceImage:
        """Write a whole row over whatever is there now."""
        if row.id not in self.rows:
            raise ImageNotFound(f"image {row.id}: not found")
        row = replace(row, updated_at=self._now())
        self.rows[row.id] = row
        return row

    def destroy(self, image_id: str) -> None:
        """Remove a row with all that belongs to it; its id stays taken."""
        if self.rows.pop(image_id, None) is None:
            raise ImageNotFound(f"image {image_id}: not found")
        self.contents.pop(image_id, None)
        self.members.pop(image_id, None)

    def fill(self, row: GlanceImage, data: bytes) -> GlanceImage:
        """Give a row its data and write it back active."""
        digest = hashlib.new(self.hash_algorithm, data, usedforsecurity=False).hexdigest()
        self.contents[row.id] = data
        return self.write(
            replace(
                row,
                status=ImageStatus.ACTIVE,
                size=len(data),
                hash_algorithm=self.hash_algorithm,
                hash_value=digest,
            )
        )

    def same(self, one: str | None, other: str, *, name: bool = False) -> bool:
        """Compare as the database does."""
        if one is None or not self._ignore_case:
            return one == other
        if name:
            one, other = one.rstrip(" "), other.rstrip(" ")
        return one.casefold() == other.casefold()

    def _used_bytes(self, owner: str | None) -> int:
        return sum(row.size or 0 for row in self.rows.values() if row.owner == owner)

    def check_bytes(self, owner: str | None, more: int) -> None:
        """Refuse bytes beyond the owner's quota."""
        if self._byte_quota is not None and self._used_bytes(owner) + more > self._byte_quota:
            raise QuotaExceeded(f"project {owner}: {more} bytes more exceed {self._byte_quota}")

    def check_images(self, owner: str | None) -> None:
        """Refuse an image beyond the owner's quota."""
        owned = sum(row.owner == owner for row in self.rows.values())
        if self._image_quota is not None and owned >= self._image_quota:
            raise QuotaExceeded(f"project {owner}: has {owned} of {self._image_quota} images")
