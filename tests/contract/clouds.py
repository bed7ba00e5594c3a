"""The Glances that the contract suite runs against: one in memory, and the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystoneauth1 import adapter, noauth, session

from registry_glance.glance import GlanceImages
from tests.fakes.memory_glance import MemoryGlance

if TYPE_CHECKING:
    from pathlib import Path

    from registry_glance.store.images import ImageService

PAGE_SIZE = 4
TIMEOUT_S = 15.0


class Cloud(Protocol):
    """A Glance with several projects."""

    hash_algorithm: str

    def service(self, project: str = "p1", *, admin: bool = False) -> ImageService:
        """Return Glance as a member (or an administrator) of a project sees it."""

    def share(self, image_id: str, *, owner: str, member: str) -> None:
        """Share an image with a project, which accepts it."""

    def leftovers(self) -> list[str]:
        """Return what is left of images, in words."""

    def close(self) -> None:
        """Free what this object holds, not the Glance behind it."""


class MemoryCloud:
    """A ``MemoryGlance``."""

    def __init__(self, hash_algorithm: str) -> None:
        self.hash_algorithm = hash_algorithm
        self.glance = MemoryGlance(hash_algorithm=hash_algorithm, page_size=PAGE_SIZE)

    def service(self, project: str = "p1", *, admin: bool = False) -> ImageService:
        """See ``Cloud.service``."""
        return self.glance.service(project, admin=admin)

    def share(self, image_id: str, *, owner: str, member: str) -> None:
        """See ``Cloud.share``."""
        assert self.glance.service(owner).get(image_id).owner == owner
        self.glance.add_member(image_id, member)

    def leftovers(self) -> list[str]:
        """See ``Cloud.leftovers``."""
        left = [f"{image.status} image {image.id}" for image in self.glance.images()]
        if self.glance.open_streams:
            left.append(f"{self.glance.open_streams} open downloads")
        return left

    def close(self) -> None:
        """See ``Cloud.close``."""


class RealCloud:
    """A real Glance that believes what a request says about its sender (``devcloud.glance``)."""

    def __init__(self, url: str, data: Path, hash_algorithm: str) -> None:
        self.hash_algorithm = hash_algorithm
        self._url = url
        self._data = data
        self._session = session.Session(auth=noauth.NoAuth(endpoint=url))

    def service(self, project: str = "p1", *, admin: bool = False) -> ImageService:
        """See ``Cloud.service``."""
        return GlanceImages(self._client(project, admin=admin), timeout_s=TIMEOUT_S, page_size=PAGE_SIZE)

    def share(self, image_id: str, *, owner: str, member: str) -> None:
        """See ``Cloud.share``."""
        members = f"/v2/images/{image_id}/members"
        self._client(owner).post(members, json={"member": member})
        self._client(member).put(f"{members}/{member}", json={"status": "accepted"})

    def leftovers(self) -> list[str]:
        """See ``Cloud.leftovers``."""
        admin = self.service("operator", admin=True)
        left = [
            f"{image.status} image {image.id}"
            for hidden in (True, False)
            for image in admin.list(hidden=hidden)
        ]
        return left + [f"file {path}" for path in (self._data / "images").iterdir()]

    def close(self) -> None:
        """See ``Cloud.close``."""
        self._session.session.close()

    def _client(self, project: str, *, admin: bool = False) -> adapter.Adapter:
        roles = "admin,member,reader" if admin else "member,reader"
        return adapter.Adapter(
            session=self._session,
            endpoint_override=self._url,
            additional_headers={"X-Project-Id": project, "X-User-Id": "user", "X-Roles": roles},
        )
