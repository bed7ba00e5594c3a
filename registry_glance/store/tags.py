"""Tags in Glance: which record holds a name, and how a name is moved and taken away.

``holders`` is ``hold()`` of the protocol in ``docs/consistency.md``, ``current`` lines 1 and 2 of ``get_tag``,
``settle`` line 9 of ``put_tag``, ``delete`` is ``delete_tag``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from registry_glance.registry.errors import ManifestUnknown, Unavailable
from registry_glance.registry.names import RepositoryName, Tag, glance_name
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import (
    RECORD,
    TAG,
    Ownership,
    Record,
    effective_order,
    holds_tag,
    is_manifest,
)
from registry_glance.store.memory import Remembered

_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class Listed:
    """Which image held a tag when the name was last looked up, by the monotonic clock in seconds."""

    image_id: str
    at_s: float


TagMemory = Remembered[tuple[RepositoryName, Tag], Listed]


class TagHolders:
    """Reads and moves the names of tags.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        memory: Of this caller; never trusted without asking Glance for the image.
        freshness_s: For how long a remembered holder counts without the name being looked up again.
        monotonic: Returns seconds.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        memory: TagMemory,
        freshness_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._memory = memory
        self._freshness_s = freshness_s
        self._monotonic = monotonic

    def holders(self, repository: RepositoryName, tag: Tag) -> list[GlanceImage]:
        """Return all images that are visible under a tag's name, in any status."""
        return [
            image
            for image in self._images.list(
                hidden=False, name=glance_name(repository, tag), owner=self._ownership.project
            )
            if holds_tag(image, repository, tag) and self._ownership.owns(image)
        ]

    def current(self, repository: RepositoryName, tag: Tag) -> GlanceImage:
        """Return the image that holds a tag.

        Raises:
            ManifestUnknown: There is none.
        """
        remembered = self._remembered(repository, tag)
        if remembered is not None:
            return remembered
        found_at_s = self._monotonic()
        active = [image for image in self.holders(repository, tag) if image.active]
        if not active and tag.text == "latest":
            active = self._named_without_tag(repository)
        if not active:
            self.forget(repository, tag)
            raise ManifestUnknown(f"{repository}:{tag}")
        image = max(active, key=effective_order)
        self._memory.put((repository, tag), Listed(image.id, found_at_s))
        return image

    def forget(self, repository: RepositoryName, tag: Tag) -> None:
        """Look the name up again the next time."""
        self._memory.forget((repository, tag))

    def settle(self, repository: RepositoryName, tag: Tag) -> None:
        """Demote every holder of a name but the one that readers take.

        Raises:
            Unavailable: Others keep moving the tag; repeating the push finishes it.
        """
        for _ in range(_ROUNDS):
            active = [image for image in self.holders(repository, tag) if image.active]
            # No holder at all: it was deleted meanwhile, and this push counts as having come before.
            losers = sorted(active, key=effective_order)[:-1]
            if not losers:
                if active:
                    self._memory.put((repository, tag), Listed(active[0].id, self._monotonic()))
                return
            for loser in losers:
                self.demote(loser)
        raise Unavailable(f"{repository}:{tag} is being moved by others")

    def delete(self, repository: RepositoryName, tag: Tag) -> None:
        """Take a name away from all its holders; their manifests stay, by digest.

        Raises:
            ManifestUnknown: There is no such tag.
            Unavailable: Others keep pushing the tag.
        """
        self.forget(repository, tag)
        for round_number in range(_ROUNDS):
            active = [image for image in self.holders(repository, tag) if image.active]
            if not active and tag.text == "latest":
                active = self._named_without_tag(repository)
            if not active:
                if round_number == 0:
                    raise ManifestUnknown(f"{repository}:{tag}")
                return
            # The current holder last: a crash in between must not bring an older one back.
            for holder in sorted(active, key=effective_order):
                self.demote(holder)
        raise Unavailable(f"{repository}:{tag} is being pushed by others")

    def demote(self, image: GlanceImage) -> None:
        """Make a tag's record a plain manifest's: one PATCH, the id and the bytes stay."""
        try:
            self._images.update(
                image.id,
                name=None,
                hidden=self._ownership.hide,
                set_properties={RECORD: Record.MANIFEST},
                remove_properties=[TAG],
            )
        except ImageNotFound:
            # Deleted meanwhile: it holds no name any more either.
            return

    def _named_without_tag(self, repository: RepositoryName) -> list[GlanceImage]:
        """Return the images that somebody named just ``repository``: Docker's users mean ``latest``."""
        return [
            image
            for image in self._images.list(hidden=False, name=str(repository), owner=self._ownership.project)
            if image.name == str(repository)
            and image.active
            and not image.hidden
            and is_manifest(image)
            and self._ownership.owns(image)
        ]

    def _remembered(self, repository: RepositoryName, tag: Tag) -> GlanceImage | None:
        listed = self._memory.get((repository, tag))
        if listed is None or self._monotonic() - listed.at_s >= self._freshness_s:
            return None
        try:
            image = self._images.get(listed.image_id)
        except ImageNotFound:
            return None
        if image.active and holds_tag(image, repository, tag) and self._ownership.owns(image):
            return image
        return None
