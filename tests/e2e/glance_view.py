"""What the registry has put into Glance, seen from Glance's side."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

from tests.e2e.registry_api import RegistryApi


class GlanceView:
    """A Glance without Keystone, read over its own API.

    Args:
        url: Of the image endpoint, without a version.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def visible(self) -> list[dict[str, Any]]:
        """Return the images that a plain ``glance image-list`` shows: the tags."""
        return self._list(hidden=False)

    def hidden(self) -> list[dict[str, Any]]:
        """Return the images that are shown only with ``--hidden``: everything without a name."""
        return self._list(hidden=True)

    def all(self) -> list[dict[str, Any]]:
        """Return every image."""
        return self.visible() + self.hidden()

    def names(self) -> list[str]:
        """Return the names of the visible images."""
        return sorted(image["name"] for image in self.visible())

    def copies(self, digest: str) -> int:
        """Return how many images hold the content of a blob."""
        return sum(image["os_hash_value"] == digest.partition(":")[2] for image in self.all())

    def empty(self, registry: RegistryApi) -> list[dict[str, Any]]:
        """Delete all manifests, then all blobs, through the registry; return what is still there.

        What is returned was leaked: no name or digest of the registry leads to it any more.
        """
        manifests = [image for image in self.all() if "docker_media_type" in image]
        # An index before what it refers to.
        manifests.sort(key=lambda image: "index" not in image["docker_media_type"])
        for image in manifests:
            reference = f"{image['docker_repository']}/manifests/{image['docker_digest']}"
            assert registry.delete(reference) in {202, 404}, image
        for image in self.all():
            digest = image.get("docker_digest") or f"sha256:{image['os_hash_value']}"
            if image["os_hash_value"]:
                assert registry.delete(f"any/blobs/{digest}") in {202, 404}, image
        return self.all()

    def _list(self, *, hidden: bool) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = []
        path: str | None = f"/v2/images?limit=200&os_hidden={str(hidden).lower()}"
        while path:
            with urlopen(f"{self._url}{path}", timeout=60) as response:  # noqa: S310 - loopback
                page = json.load(response)
            images += page["images"]
            path = page.get("next")
        return images
