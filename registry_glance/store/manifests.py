"""The ``ManifestStore`` over Glance: reads, deletes and lists manifests; writing is ``manifest_writer``'s."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Final

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import (
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
)
from registry_glance.registry.manifests import Manifest, is_media_type, parse_manifest
from registry_glance.registry.names import Reference, RepositoryName, Tag, glance_name
from registry_glance.registry.ports import Referrer, StoredManifest
from registry_glance.store.contents import ContentMismatch, Contents
from registry_glance.store.finder import Finder, digest_key, referrers_key
from registry_glance.store.images import GlanceImage, ImageNotFound, ImageService
from registry_glance.store.layout import MEDIA_TYPE, in_repository, subject_of, tag_of
from registry_glance.store.manifest_finder import ManifestFinder
from registry_glance.store.manifest_writer import ManifestWriter
from registry_glance.store.tags import TagHolders
from registry_glance.store.translation import registry_errors

LOG = logging.getLogger(__name__)

_READINGS: Final = 3


class GlanceManifests:
    """The ``ManifestStore`` over Glance.

    Args:
        images: Glance, as the caller sees it.
        finder: Keeps the index markers.
        manifests: Looks up by digest and by scan.
        holders: Reads and moves names.
        contents: Reads manifest bytes.
        writer: Stores.
    """

    def __init__(
        self,
        images: ImageService,
        finder: Finder,
        manifests: ManifestFinder,
        holders: TagHolders,
        contents: Contents,
        writer: ManifestWriter,
    ) -> None:
        self._images = images
        self._finder = finder
        self._manifests = manifests
        self._holders = holders
        self._contents = contents
        self._writer = writer

    @registry_errors()
    def get(self, repository: RepositoryName, reference: Reference) -> StoredManifest:
        """See ``ManifestStore.get``."""
        for _ in range(_READINGS):
            image = self._look_up(repository, reference)
            try:
                body = self._contents.read(image)
                digest = reference if isinstance(reference, Digest) else self._contents.digest(image)
                media_type = _media_type(image, body)
            except (ImageNotFound, ContentMismatch) as exc:
                # Deleted between the look-up and the reading, or not what Glance hashed: look again.
                LOG.warning("%s: reading image %s again: %s", repository, image.id, exc)
                self._forget(repository, reference)
                continue
            return StoredManifest(digest=digest, media_type=media_type, body=body)
        raise ManifestUnknown(f"{repository}: {reference}")

    @registry_errors()
    def put(
        self,
        repository: RepositoryName,
        manifest: Manifest,
        digest: Digest,
        tags: Collection[Tag],
    ) -> None:
        """See ``ManifestStore.put``."""
        for tag in tags:
            # All names are checked before any of them is written.
            glance_name(repository, tag)
        if not tags:
            self._writer.put_untagged(repository, manifest, digest)
        for tag in tags:
            self._writer.put_tag(repository, tag, manifest, digest)

    @registry_errors()
    def delete(self, repository: RepositoryName, reference: Reference) -> None:
        """See ``ManifestStore.delete``."""
        if isinstance(reference, Tag):
            self._holders.delete(repository, reference)
            return
        records = self._manifests.records(repository, reference, every=True)
        if not records:
            raise ManifestUnknown(f"{repository}@{reference}")
        self._manifests.forget(repository, reference)
        for record in records:
            if named := tag_of(record):
                # A push that died may have left an older holder of the name: it must not come back.
                self._holders.settle(*named)
        for record in records:
            with contextlib.suppress(ImageNotFound):
                self._images.delete(record.id)
            # After the record: a marker that leads nowhere is harmless, a record that none leads to is not.
            subject = subject_of(record)
            if subject is not None:
                self._finder.unmark(referrers_key(repository, subject), record.id)
            if record.hash_algorithm != reference.algorithm:
                self._finder.unmark(digest_key(reference), record.id)

    @registry_errors()
    def tags(self, repository: RepositoryName) -> Sequence[Tag]:
        """See ``ManifestStore.tags``."""
        tags = {tag for name, tag in self._manifests.all_tags() if name == repository}
        if not tags and not self._manifests.has_manifests(repository):
            raise NameUnknown(str(repository))
        return sorted(tags)

    @registry_errors()
    def repositories(self) -> Sequence[RepositoryName]:
        """See ``ManifestStore.repositories``."""
        return sorted({name for name, _ in self._manifests.all_tags()})

    @registry_errors()
    def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Referrer]:
        """See ``ManifestStore.referrers``."""
        referrers: dict[Digest, Referrer] = {}
        marked = self._finder.marked(referrers_key(repository, subject))
        for image in self._manifests.existing(marked):
            if not in_repository(image, repository):
                continue
            try:
                digest = self._contents.digest(image)
                manifest = parse_manifest(self._contents.read(image), image.properties.get(MEDIA_TYPE, ""))
            except (ImageNotFound, ContentMismatch, ManifestInvalid) as exc:
                LOG.warning("leaving image %s out of the referrers: %s", image.id, exc)
                continue
            if manifest.subject is not None and manifest.subject.digest == subject:
                referrers[digest] = Referrer(
                    media_type=manifest.media_type,
                    digest=digest,
                    size=len(manifest.body),
                    artifact_type=manifest.artifact_type,
                    annotations=dict(manifest.annotations),
                )
        return [referrers[digest] for digest in sorted(referrers)]

    def _look_up(self, repository: RepositoryName, reference: Reference) -> GlanceImage:
        if isinstance(reference, Tag):
            return self._holders.current(repository, reference)
        return self._manifests.by_digest(repository, reference)

    def _forget(self, repository: RepositoryName, reference: Reference) -> None:
        if isinstance(reference, Tag):
            self._holders.forget(repository, reference)
        else:
            self._manifests.forget(repository, reference)


def _media_type(image: GlanceImage, body: bytes) -> str:
    """Return the Content-Type of a manifest: what the property says, unless a user wrote nonsense into it.

    Raises:
        ContentMismatch: Neither the property nor the bytes tell; it is no manifest.
    """
    stated = image.properties.get(MEDIA_TYPE, "")
    if is_media_type(stated):
        return stated
    try:
        return parse_manifest(body, "").media_type
    except ManifestInvalid as exc:
        raise ContentMismatch(f"image {image.id} holds no manifest") from exc
