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
from registry_glance.store.blobs import MOST_MISSING, GlanceBlobs
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
    NotPermitted,
    QuotaExceeded,
    RequestRejected,
)
from registry_glance.store.layout import (
    DIGEST,
    MEDIA_TYPE,
    ORDER,
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
_INTENT_LIFE_S: Final = 600.0
"""How old an intent may be when its data is put."""
_INTENT_ABANDONED_S: Final = _INTENT_LIFE_S + 3600.0


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
        monotonic: Returns seconds.
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
        monotonic: Callable[[], float] = time.monotonic,
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
        self._monotonic = monotonic
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
            self._store(repository, manifest, digest, properties, name=name, former=current)
            self._drop_intents(held, properties)
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
        former: GlanceImage | None = None,
    ) -> str:
        """Create the intent, check the references, commit, and read back; return the image's id.

        Args:
            repository: Where.
            manifest: What.
            digest: Under which it was pushed.
            properties: Of the image.
            name: Of the image.
            former: The image whose name and visibility it takes over.
        """
        for _ in range(_INTENTS):
            begun_s = self._monotonic()
            image_id = self._create_intent(name, properties, former)  # 4
            try:
                self._check_references(repository, manifest)  # 5
                # A marker whose image is not active yet leads nowhere: so it can come before the commit.
                marked = self._mark(repository, manifest, digest, image_id)
                if self._monotonic() - begun_s > _INTENT_LIFE_S:
                    raise Unavailable(f"{repository}@{digest}: the checks took too long")
            except (RegistryError, GlanceError):
                self._delete_if_there(image_id)
                raise
            try:
                image = self._commit(image_id, manifest.body)
            except ImageNotFound:
                # Another push of the same manifest came later, finished earlier, and tidied up.
                continue
            if not marked and image.hash_algorithm != digest.algorithm:
                self._finder.mark(digest_key(digest), image_id)
            self._contents.keep(image_id, manifest.body)
            return image_id
        raise Unavailable(f"{repository}@{digest}: Glance did not keep the manifest")

    def _create_intent(self, name: str | None, properties: dict[str, str], former: GlanceImage | None) -> str:
        hidden = name is None and self._ownership.hide
        visibility = None if former is None else former.visibility
        try:
            return self._images.create(
                new_id(), name=name, hidden=hidden, visibility=visibility, properties=properties
            ).id
        except NotPermitted:
            if visibility is None:
                raise
            # Only an administrator made the former one public: the new one is the project's until he does so again.
            LOG.warning("%s: %s may not be %s any more", name, properties[DIGEST], visibility)
            return self._images.create(new_id(), name=name, hidden=hidden, properties=properties).id

    def _mark(self, repository: RepositoryName, manifest: Manifest, digest: Digest, image_id: str) -> bool:
        """Write the index markers of a manifest; return whether one for its digest was among them."""
        if manifest.subject is not None:
            self._finder.mark(referrers_key(repository, manifest.subject.digest), image_id)
        foreign = self._finder.foreign(digest)
        if foreign:
            self._finder.mark(digest_key(digest), image_id)
        return foreign

    def _commit(self, image_id: str, body: bytes) -> GlanceImage:
        """Put the data (6) and read back (8) what Glance then has: its 204 proves nothing, and its 500 neither.

        Returns:
            The image, active with these bytes.

        Raises:
            ImageNotFound: Somebody deleted the intent.
            GlanceUnavailable: As ``Unavailable``.
            Unavailable: It can't be known whether the manifest is stored, or will be in a moment. It is left as it is,
                since others may have seen it and have yielded to it; repeating the push finishes it.
        """
        for pause_s in _COMMIT_PAUSES_S:
            try:
                self._images.put_data(image_id, [body], size=len(body))
            except (GlanceUnavailable, ImageConflict) as exc:
                LOG.warning("image %s: looking whether its data arrived: %s", image_id, exc)
            except (QuotaExceeded, NotPermitted, RequestRejected):
                self._delete_if_there(image_id)
                raise
            image = self._images.get(image_id)
            self._finder.learn(image)
            if image.active:
                if not self._contents.stored(image, body):
                    self._delete_if_there(image_id)
                    raise Unavailable(f"image {image_id} is not what was stored")
                return image
            self._sleep(pause_s)
        raise Unavailable(f"image {image_id} is {image.status} after its data was stored")

    def _check_references(self, repository: RepositoryName, manifest: Manifest) -> None:
        """Make sure that all that a manifest references is here, and stays.

        Raises:
            ManifestBlobUnknown: Something is not here.
        """
        missing = self._blobs.missing(manifest.blobs)
        for child in manifest.children:
            # Each look-up costs, and a manifest can name thousands: a few missing ones say enough.
            if len(missing) >= MOST_MISSING:
                break
            try:
                self._manifests.by_digest(repository, child)
            except ManifestUnknown:
                # An index may list layers: BuildKit's cache does.
                missing += self._blobs.missing([child])
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

    def _drop_intents(self, held: Sequence[GlanceImage], properties: Mapping[str, str]) -> None:
        """Delete intents for the same tag that are of no more use, so that nobody sees the name twice.

        Those of just this manifest that came before: whatever becomes of them, its bytes are here now, under the name
        and by the digest. And any that is older than a push can be, by an hour more than clocks should differ.
        """
        for image in held:
            if image.status not in (ImageStatus.QUEUED, ImageStatus.SAVING):
                continue
            same = all(image.properties.get(key) == properties[key] for key in (DIGEST, MEDIA_TYPE, TAG))
            earlier = effective_order(image)[0] < int(properties[ORDER])
            age_s = self._clock() - epoch_us(image.created_at) / 1_000_000
            if (same and earlier) or (age_s > _INTENT_ABANDONED_S and self._is_unfinished(image.id)):
                self._delete_if_there(image.id)

    def _is_unfinished(self, image_id: str) -> bool:
        try:
            return self._images.get(image_id).status in (ImageStatus.QUEUED, ImageStatus.SAVING)
        except ImageNotFound:
            return False

    def _delete_if_there(self, image_id: str) -> None:
        with contextlib.suppress(ImageNotFound):
            self._images.delete(image_id)
