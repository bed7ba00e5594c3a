"""What the manifests of a project reference: the question before anything is deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import ManifestInvalid
from registry_glance.registry.manifests import parse_manifest
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import (
    MEDIA_TYPE,
    RECORD,
    Ownership,
    Record,
    is_manifest,
    references_of,
)


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
        """Whether any manifest, also one that is only about to be stored, references a digest, or may do so."""
        return any(self._references(image, digest) for image in self._manifests())

    def _manifests(self) -> Iterator[GlanceImage]:
        # Visible, hidden, visible again: a tag that is demoted meanwhile can't slip through.
        for hidden, record in ((False, None), (True, Record.TAG), (True, Record.MANIFEST), (False, None)):
            for image in self._images.list(
                hidden=hidden,
                owner=self._ownership.project,
                # Nearly all that is hidden are blobs, and each image that Glance returns costs more than to filter it.
                properties=None if record is None else {RECORD: record},
            ):
                if is_manifest(image) and self._ownership.owns(image):
                    yield image

    def _references(self, image: GlanceImage, digest: Digest) -> bool:
        references = references_of(image.properties)
        if references is not None:
            return digest in references
        if not image.active:
            # A manifest with more references than a property holds is on its way, and only its data will name them.
            return True
        try:
            with contextlib.closing(self._images.get_data(image.id)) as stream:
                manifest = parse_manifest(b"".join(stream), image.properties.get(MEDIA_TYPE, ""))
        except (ImageNotFound, ManifestInvalid):
            # Deleted meanwhile, or no manifest: it needs nothing.
            return False
        return digest in (*manifest.blobs, *manifest.children)
