"""Finds the records of manifests, by digest and by scan, and only those that truly are what is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import ManifestUnknown
from registry_glance.registry.names import RepositoryName, Tag
from registry_glance.store.contents import Contents
from registry_glance.store.finder import Finder
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import (
    REPOSITORY,
    Ownership,
    in_repository,
    is_manifest,
    tag_of,
)
from registry_glance.store.memory import Remembered

ManifestMemory = Remembered[tuple[RepositoryName, Digest], str]


class ManifestFinder:
    """Looks up manifests of a project.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        finder: Looks up by digest.
        contents: Proves what a record holds.
        known: Image ids by repository and digest, of this caller; checked again at each use.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        finder: Finder,
        contents: Contents,
        known: ManifestMemory,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._finder = finder
        self._contents = contents
        self._known = known

    def by_digest(self, repository: RepositoryName, digest: Digest) -> GlanceImage:
        """Return a record that holds a manifest.

        Raises:
            ManifestUnknown: There is none in this repository.
        """
        image_id = self._known.get((repository, digest))
        if image_id is not None:
            for image in self._get_if_there(image_id):
                if self._is_record(image, repository, digest):
                    return image
            self.forget(repository, digest)
        for image in self.records(repository, digest):
            self.remember(repository, digest, image.id)
            return image
        raise ManifestUnknown(f"{repository}@{digest}")

    def records(
        self, repository: RepositoryName, digest: Digest, *, every: bool = False
    ) -> list[GlanceImage]:
        """Return the active records of a manifest, tags and others.

        Args:
            repository: Where.
            digest: Of the manifest.
            every: All records; otherwise those of the first look-up that finds one.
        """
        records: dict[str, GlanceImage] = {}
        # Tags first: what is pulled by digest is mostly what a tag points to.
        for group in self._finder.groups(digest, hidden_first=False):
            for image in group:
                if self._is_record(image, repository, digest):
                    records[image.id] = image
            if records and not every:
                break
        return list(records.values())

    def existing(self, ids: Collection[str]) -> Iterator[GlanceImage]:
        """Yield those of some images that are active manifests of the project."""
        # In the order in which a tag is demoted, so that none is missed.
        for hidden in (False, True):
            for image in self._images.list(hidden=hidden, ids=ids):
                if is_manifest(image) and image.active and self._ownership.owns(image):
                    yield image

    def all_tags(self) -> Iterator[tuple[RepositoryName, Tag]]:
        """Yield every tag of the project, in no order. A scan of its visible images."""
        for image in self._images.list(hidden=False, owner=self._ownership.project):
            named = tag_of(image)
            if named is not None and self._ownership.owns(image):
                yield named

    def has_manifests(self, repository: RepositoryName) -> bool:
        """Whether a repository has a manifest, tagged or not. A scan of the project."""
        return any(
            is_manifest(image) and self._ownership.owns(image)
            for hidden in (True, False)
            for image in self._images.list(
                hidden=hidden,
                owner=self._ownership.project,
                properties={REPOSITORY: str(repository)},
            )
        )

    def remember(self, repository: RepositoryName, digest: Digest, image_id: str) -> None:
        """Find a manifest faster the next time."""
        self._known.put((repository, digest), image_id)

    def forget(self, repository: RepositoryName, digest: Digest) -> None:
        """Look a manifest up again the next time."""
        self._known.forget((repository, digest))

    def _get_if_there(self, image_id: str) -> Iterator[GlanceImage]:
        try:
            yield self._images.get(image_id)
        except ImageNotFound:
            return

    def _is_record(self, image: GlanceImage, repository: RepositoryName, digest: Digest) -> bool:
        return (
            is_manifest(image)
            and image.active
            and self._ownership.owns(image)
            and in_repository(image, repository)
            and self._contents.has_digest(image, digest)
        )
