"""What the manifests of a project reference: the question before anything is deleted."""

from __future__ import annotations

from collections.abc import Iterator

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import ManifestInvalid
from registry_glance.registry.manifests import parse_manifest
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import MEDIA_TYPE, Ownership, is_manifest, references_of


class References:
    """Reads the references of all manifests. A scan of the project: for deletions only.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
    """

    def __init__(self, images: ImageService, ownership: Ownership) -> None:
        self._images = images
        self._ownership = ownership

    def contain(self, digest: Digest) -> bool:
        """Whether any manifest, also one that is only about to be stored, references a digest."""
        return any(digest in self._of(image) for image in self._manifests())

    def _manifests(self) -> Iterator[GlanceImage]:
        # Visible, hidden, visible again: a tag that is demoted meanwhile can't slip through.
        for hidden in (False, True, False):
            for image in self._images.list(hidden=hidden, owner=self._ownership.project):
                if is_manifest(image) and self._ownership.owns(image):
                    yield image

    def _of(self, image: GlanceImage) -> frozenset[Digest]:
        references = references_of(image.properties)
        if references is not None:
            return references
        if not image.active:
            # A manifest too large to list its references, still on its way: its own check comes later.
            return frozenset()
        try:
            stream = self._images.get_data(image.id)
        except ImageNotFound:
            return frozenset()
        try:
            manifest = parse_manifest(b"".join(stream), image.properties.get(MEDIA_TYPE, ""))
        except ManifestInvalid:
            return frozenset()
        finally:
            stream.close()
        return frozenset(manifest.blobs)
