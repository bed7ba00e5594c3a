"""Puts manifests and tags: the intent, the check of what is referenced, the commit, and the demotion of the former.

The numbers in comments are the lines of ``put_tag`` in ``docs/consistency.md``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    RegistryError,
    Unavailable,
)
from registry_glance.registry.image_config import MAX_CONFIG_SIZE, ImageConfig, parse_image_config
from registry_glance.registry.manifests import Manifest
from registry_glance.registry.names import RepositoryName, Tag, glance_name
from registry_glance.store.blobs import GlanceBlobs
from registry_glance.store.contents import Contents
from registry_glance.store.description import describe
from registry_glance.store.finder import Finder, digest_key, referrers_key
from registry_glance.store.images import (
    GlanceError,
    GlanceImage,
    GlanceUnavailable,
    ImageConflict,
    ImageNotFound,
    ImageService,
    ImageStatus,
)
from registry_glance.store.layout import (
    DIGEST,
    MEDIA_TYPE,
    ORDER,
    REPOSITORY,
    TAG,
    Ownership,
    Record,
    effective_order,
    epoch_us,
    manifest_properties,
    new_id,
)
from registry_glance.store.manifest_finder import ManifestFinder
from registry_glance.store.tags import TagHolders

LOG = logging.getLogger(__name__)

_INTENTS: Final = 3
_COMMIT_PAUSES_S: Final = (0.1, 0.5, 1.0)
_INTENT_EXPIRY_S: Final = 600
"""The age at which an intent counts as abandoned; a slow push whose intent is taken away makes another one."""


class ManifestWriter:
    """Stores manifests.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        blobs: Checks that what a manifest references is here.
        finder: Keeps the index markers.
        manifests: Looks up what is there already.
        holders: Reads and moves names.
        contents: Proves what a record holds.
        clock: Returns the seconds since the epoch.
        sleep: Waits for that many seconds.
    """

    def __init__(
        self,
        images: ImageService,
        ownership: Ownership,
        blobs: GlanceBlobs,
        finder: Finder,
        manifests: ManifestFinder,
        holders: TagHolders,
        contents: Contents,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._images = images
        self._ownership = ownership
        self._blobs = blobs
        self._finder = finder
        self._manifests = manifests
        self._holders = holders
        self._contents = contents
        self._clock = clock
        self._sleep = sleep

    def put_tag(self, repository: RepositoryName, tag: Tag, manifest: Manifest, digest: Digest) -> None:
        """Store a manifest as a tag, and take the name from whatever held it.

        Raises:
            ManifestBlobUnknown: Something that it references is not here; the tag is as it was.
            Unavailable: Not done, or not finished; repeating it finishes it.
        """
        name = glance_name(repository, tag)
        held = self._holders.holders(repository, tag)  # 1
        current = max((image for image in held if image.active), key=effective_order, default=None)
        if current is not None and self._same(current, manifest, digest):
            self._check_references(repository, manifest)  # 2
        else:
            # 3: beyond intents that were never committed too, and beyond names given by hand.
            order = max([int(self._clock() * 1_000_000), *(1 + effective_order(image)[0] for image in held)])
            properties = {
                **manifest_properties(Record.TAG, repository, manifest, digest),
                **describe(manifest, self._config(manifest)),
                TAG: str(tag),
                ORDER: str(order),
            }
            intent = _own_intent(held, properties)
            self._store(repository, manifest, digest, properties, name=name, intent=intent)
            self._drop_stale_intents(held)
        self._holders.settle(repository, tag)  # 9

    def put_untagged(self, repository: RepositoryName, manifest: Manifest, digest: Digest) -> None:
        """Store a manifest that is known by its digest only.

        Raises:
            ManifestBlobUnknown: As for ``put_tag``.
            Unavailable: As for ``put_tag``.
        """
        for record in self._manifests.records(repository, digest):
            if self._same(record, manifest, digest):
                self._check_references(repository, manifest)
                return
        properties = manifest_properties(Record.MANIFEST, repository, manifest, digest)
        image_id = self._store(repository, manifest, digest, properties, name=None)
        self._manifests.remember(repository, digest, image_id)

    def _store(
        self,
        repository: RepositoryName,
        manifest: Manifest,
        digest: Digest,
        properties: dict[str, str],
        *,
        name: str | None,
        intent: str | None = None,
    ) -> str:
        """Create the intent, check the references, commit, and read back; return the image's id.

        Args:
            repository: Where.
            manifest: What.
            digest: Under which it was pushed.
            properties: Of the image.
            name: Of the image.
            intent: The id of an intent that is there already, and goes on.
        """
        for _ in range(_INTENTS):
            image_id = intent or self._create_intent(name, properties)  # 4
            intent = None
            try:
                self._check_references(repository, manifest)  # 5
                # A marker whose image is not active yet leads nowhere: so it can come before the commit.
                marked = self._mark(repository, manifest, digest, image_id)
            except (RegistryError, GlanceError):
                self._delete_if_there(image_id)
                raise
            image = self._commit(image_id, manifest.body)
            if image is not None:
                if not marked and image.hash_algorithm != digest.algorithm:
                    self._finder.mark(digest_key(digest), image_id)
                self._contents.keep(image_id, manifest.body)
                return image_id
            self._delete_if_there(image_id)
        raise Unavailable(f"{repository}@{digest}: Glance did not keep the manifest")

    def _create_intent(self, name: str | None, properties: dict[str, str]) -> str:
        hidden = name is None and self._ownership.hide
        return self._images.create(new_id(), name=name, hidden=hidden, properties=properties).id

    def _mark(self, repository: RepositoryName, manifest: Manifest, digest: Digest, image_id: str) -> bool:
        """Write the index markers of a manifest; return whether one for its digest was among them."""
        if manifest.subject is not None:
            self._finder.mark(referrers_key(repository, manifest.subject.digest), image_id)
        foreign = self._finder.foreign(digest)
        if foreign:
            self._finder.mark(digest_key(digest), image_id)
        return foreign

    def _commit(self, image_id: str, body: bytes) -> GlanceImage | None:
        """Put the data (6) and read back (8) what Glance then has: its 204 proves nothing.

        Returns:
            The image, active with these bytes; ``None`` if it is of no more use.

        Raises:
            GlanceUnavailable: It can't be known whether the manifest is stored. It is left as it is, since others
                may have seen it and have yielded to it; repeating the push finishes it.
        """
        for pause_s in _COMMIT_PAUSES_S:
            try:
                self._images.put_data(image_id, [body], size=len(body))
            except (GlanceUnavailable, ImageConflict) as exc:
                LOG.warning("image %s: looking whether its data arrived: %s", image_id, exc)
            except ImageNotFound:
                return None
            try:
                image = self._images.get(image_id)
            except ImageNotFound:
                return None
            self._finder.learn(image)
            if image.active:
                return image if self._contents.stored(image, body) else None
            # Queued: the data did not arrive. Saving: another push of the same manifest is putting it.
            self._sleep(pause_s)
        return None

    def _check_references(self, repository: RepositoryName, manifest: Manifest) -> None:
        """Make sure that all that a manifest references is here, and stays.

        Raises:
            ManifestBlobUnknown: Something is not here.
        """
        missing = self._blobs.missing(manifest.blobs)
        for child in manifest.children:
            try:
                self._manifests.by_digest(repository, child)
            except ManifestUnknown:
                missing.append(child)
        if missing:
            raise ManifestBlobUnknown(", ".join(str(digest) for digest in missing))

    def _same(self, image: GlanceImage, manifest: Manifest, digest: Digest) -> bool:
        """Whether a record is just what would be stored again."""
        return (
            image.properties.get(MEDIA_TYPE, manifest.media_type) == manifest.media_type
            and image.properties.get(DIGEST) == str(digest)
            and self._contents.has_digest(image, digest)
        )

    def _config(self, manifest: Manifest) -> ImageConfig | None:
        """Return the configuration of an image, for display; ``None`` if there is none to be read."""
        descriptor = manifest.image_config
        if descriptor is None or descriptor.size > MAX_CONFIG_SIZE:
            return None
        try:
            blob = self._blobs.find(descriptor.digest)
        except BlobUnknown:
            # The check of the references will say so.
            return None
        if blob.size > MAX_CONFIG_SIZE:
            return None
        return parse_image_config(self._blobs.read_whole(blob))

    def _drop_stale_intents(self, held: Sequence[GlanceImage]) -> None:
        """Delete intents for the same tag whose replica died long ago."""
        for image in held:
            age_s = self._clock() - epoch_us(image.created_at) / 1_000_000
            if not image.active and age_s > _INTENT_EXPIRY_S:
                self._delete_if_there(image.id)

    def _delete_if_there(self, image_id: str) -> None:
        with contextlib.suppress(ImageNotFound):
            self._images.delete(image_id)


def _own_intent(held: Sequence[GlanceImage], properties: Mapping[str, str]) -> str | None:
    """Return an intent of an earlier push of just this manifest that died, or still goes on; ``None`` if there is none.

    It can be gone on with as long as nobody has taken the name since: two pushes then meet in the one upload that wins.
    """
    latest = max((effective_order(image) for image in held if image.active), default=(0, ""))
    same = (DIGEST, MEDIA_TYPE, TAG, REPOSITORY)
    for image in held:
        if (
            image.status == ImageStatus.QUEUED
            and effective_order(image) > latest
            and all(image.properties.get(key) == properties.get(key) for key in same)
        ):
            return image.id
    return None
