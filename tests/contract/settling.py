"""Waits for what Glance learns a moment later than the sender of an upload."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from registry_glance.store.images import ImageConflict, ImageStatus

if TYPE_CHECKING:
    from registry_glance.store.images import ImageService

SETTLE_TIMEOUT_S: Final = 10.0


def wait_until_saving(images: ImageService, image_id: str) -> None:
    """Return once Glance knows of an upload whose first bytes may still be on their way."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while images.get(image_id).status == ImageStatus.QUEUED:
        assert time.monotonic() < deadline, f"image {image_id} stays queued"
        time.sleep(0.05)


def settled_status(images: ImageService, image_id: str) -> str:
    """Return the status once it is no longer ``saving``: Glance learns of a cut a moment later."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while (status := images.get(image_id).status) == ImageStatus.SAVING:
        assert time.monotonic() < deadline, f"image {image_id} stays saving"
        time.sleep(0.05)
    return status


def put_data_once_settled(images: ImageService, image_id: str, data: bytes) -> None:
    """Upload after a broken-off upload, of which Glance learns a moment later than its sender."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        try:
            images.put_data(image_id, [data], size=len(data))
        except ImageConflict:
            assert time.monotonic() < deadline, f"image {image_id} takes no data"
            time.sleep(0.05)
        else:
            return
