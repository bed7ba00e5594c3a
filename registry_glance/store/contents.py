"""The bytes of manifests, read from Glance, proved, and kept in a bounded memory."""

from __future__ import annotations

import contextlib

from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import MAX_MANIFEST_SIZE
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import claimed_digest, native_digest
from registry_glance.store.memory import Remembered


class ContentMismatch(Exception):
    """The data of an image is not what Glance's hash says; whoever meets it reads again."""


class Contents:
    """Reads manifests. What an image id means never changes, so what was proved once stays proved.

    Args:
        images: Glance, as the caller sees it.
        bodies: Manifest bytes by image id; asked only after Glance let the caller see the image.
    """

    def __init__(self, images: ImageService, bodies: Remembered[str, bytes]) -> None:
        self._images = images
        self._bodies = bodies

    def read(self, image: GlanceImage) -> bytes:
        """Return a manifest's bytes.

        Args:
            image: Active, and just read with the caller's credential.

        Raises:
            ImageNotFound: It went away.
            ContentMismatch: The bytes are not those that Glance hashed, or too many for a manifest.
        """
        body = self._bodies.get(image.id)
        if body is not None:
            return body
        if (image.size or 0) > MAX_MANIFEST_SIZE:
            raise ContentMismatch(f"image {image.id} is too large for a manifest")
        with contextlib.closing(self._images.get_data(image.id)) as stream:
            body = b"".join(stream)
        native = native_digest(image)
        if native is not None and Digest.of(body, native.algorithm) != native:
            raise ContentMismatch(f"image {image.id}: the data is not what Glance hashed")
        self._bodies.put(image.id, body)
        return body

    def keep(self, image_id: str, body: bytes) -> None:
        """Remember bytes that were just stored."""
        self._bodies.put(image_id, body)

    def digest(self, image: GlanceImage) -> Digest:
        """Return the digest of a manifest: the one under which it was pushed, if its bytes prove that.

        Raises:
            ImageNotFound: As for ``read``.
            ContentMismatch: As for ``read``.
        """
        native, claimed = native_digest(image), claimed_digest(image)
        if claimed is not None and claimed == native:
            return claimed
        if claimed is None or (native is not None and native.algorithm == claimed.algorithm):
            return native or Digest.of(self.read(image))
        proved = Digest.of(self.read(image), claimed.algorithm)
        return claimed if claimed == proved else native or proved

    def has_digest(self, image: GlanceImage, digest: Digest) -> bool:
        """Whether a manifest's bytes are what a digest says, whatever its properties claim."""
        if image.hash_algorithm == digest.algorithm:
            return image.hash_value == digest.hex
        try:
            return Digest.of(self.read(image), digest.algorithm) == digest
        except (ImageNotFound, ContentMismatch):
            return False

    def stored(self, image: GlanceImage, body: bytes) -> bool:
        """Whether an image that was read back holds these bytes."""
        native = native_digest(image)
        if not image.active or image.size != len(body):
            return False
        return native is None or Digest.of(body, native.algorithm) == native
