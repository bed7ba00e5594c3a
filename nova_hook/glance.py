"""Glance as nova-compute reaches it: with Nova's own client, and the token of the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nova_hook.images import GlanceImage


class NovaImages:
    """``images.ImageService`` over ``nova.image.glance.API``, whose exceptions pass as they are.

    Args:
        api: Nova's.
        context: The request's, which carries the token of the user who asks.
    """

    def __init__(self, api: Any, context: Any) -> None:
        self._api = api
        self._context = context

    def show(self, image_id: str) -> GlanceImage:
        """See ``ImageService.show``."""
        image = self._api.get(self._context, image_id)
        properties = image.get("properties") or {}
        return GlanceImage(
            id=image_id,
            name=image.get("name") or "",
            status=image.get("status") or "",
            container_format=image.get("container_format") or "",
            size=image.get("size") or 0,
            properties={key: value for key, value in properties.items() if isinstance(value, str)},
        )

    def data(self, image_id: str) -> Iterator[bytes]:
        """See ``ImageService.data``."""
        return iter(self._api.download(self._context, image_id))
