"""Everything that is in a Glance, as a whole: to see that nothing changed, and to start from nothing."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SETTLING_S = 5.0
PAUSE_S = 0.05


class GlanceRecords:
    """The images of a Glance without Keystone, read over its own API.

    Args:
        url: Of the image endpoint, without a version.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def all(self) -> dict[str, dict[str, Any]]:
        """Return every image by its id, visible and hidden."""
        return {image["id"]: image for hidden in (False, True) for image in self._list(hidden=hidden)}

    def settled(self) -> dict[str, dict[str, Any]]:
        """Return every image once no upload is in the middle of ending.

        Glance learns of a client that broke off a moment later than the client.
        """
        deadline = time.monotonic() + SETTLING_S
        while True:
            images = self.all()
            saving = [image for image in images.values() if image["status"] == "saving"]
            if not saving or time.monotonic() > deadline:
                return images
            time.sleep(PAUSE_S)

    def visible(self) -> list[dict[str, Any]]:
        """Return what a plain listing shows."""
        return self._list(hidden=False)

    def image(self, image_id: str) -> dict[str, Any]:
        """Return one image."""
        image: dict[str, Any] = self._call("GET", f"/v2/images/{image_id}")
        return image

    def create(self, **attributes: str) -> None:
        """Create an image, without data."""
        self._call("POST", "/v2/images", json.dumps(attributes).encode(), "application/json")

    def delete_all(self) -> None:
        """Delete every image."""
        for image_id in self.all():
            self.delete(image_id)

    def delete(self, image_id: str) -> None:
        """Delete an image, if it is there."""
        with suppress(HTTPError):
            self._call("DELETE", f"/v2/images/{image_id}")

    def change(self, image_id: str, *operations: dict[str, Any]) -> None:
        """Send a PATCH with these JSON patch operations."""
        self._call(
            "PATCH",
            f"/v2/images/{image_id}",
            json.dumps(operations).encode(),
            "application/openstack-images-v2.1-json-patch",
        )

    def _list(self, *, hidden: bool) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = []
        path: str | None = f"/v2/images?limit=1000&os_hidden={str(hidden).lower()}"
        while path:
            page = self._call("GET", path)
            images += page["images"]
            path = page.get("next")
        return images

    def _call(self, method: str, path: str, body: bytes | None = None, media_type: str = "") -> Any:
        headers = {"Content-Type": media_type} if media_type else {}
        request = Request(f"{self.url}{path}", body, headers, method=method)  # noqa: S310 - loopback
        with urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
            content = response.read()
        return json.loads(content) if content else None
