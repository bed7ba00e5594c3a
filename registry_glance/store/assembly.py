"""Puts a store together: what a process shares, what belongs to one caller, and the registry made of both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from registry_glance.registry.digests import Digest
from registry_glance.registry.ports import Registry
from registry_glance.store.blobs import GlanceBlobs
from registry_glance.store.contents import Contents
from registry_glance.store.finder import Finder, HashAlgorithms
from registry_glance.store.images import ImageService
from registry_glance.store.layout import Ownership
from registry_glance.store.manifest_finder import ManifestFinder, ManifestMemory
from registry_glance.store.manifest_writer import ManifestWriter
from registry_glance.store.manifests import GlanceManifests
from registry_glance.store.memory import Remembered
from registry_glance.store.streams import StreamLimit
from registry_glance.store.tags import TagHolders, TagMemory
from registry_glance.store.upload_records import UploadRecords
from registry_glance.store.uploads import GlanceUploads

_REMEMBERED_ITEMS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What an operator may set.

    Attributes:
        hide: Whether what has no name is hidden from plain image lists.
        freshness_s: For how long what was read of a tag counts without its name being looked up again.
        upload_expiry_s: The age at which an upload session is over.
        max_streams: Data streams to Glance that may be open at once, in this process.
        stream_wait_s: How long a request waits for its turn before it is told to come again.
        manifest_memory_bytes: Manifests kept in memory.
        hash_algorithms: Of Glance; empty means: learn them from the images.
    """

    hide: bool = True
    freshness_s: float = 2.0
    upload_expiry_s: float = 24 * 3600.0
    max_streams: int = 20
    stream_wait_s: float = 20.0
    manifest_memory_bytes: int = 32 * 1024 * 1024
    hash_algorithms: Collection[str] = ()


class SharedState:
    """What all callers of a process share: limits, and what is the same for everybody."""

    def __init__(self, options: StoreOptions) -> None:
        self.limit = StreamLimit(options.max_streams, options.stream_wait_s)
        self.algorithms = HashAlgorithms(options.hash_algorithms)
        self.bodies: Remembered[str, bytes] = Remembered(options.manifest_memory_bytes, len)


@dataclass(frozen=True, slots=True)
class CallerMemory:
    """What a process remembers for one caller. Never shared: it would tell one caller what another may see."""

    blobs: Remembered[Digest, str] = field(default_factory=lambda: Remembered(_REMEMBERED_ITEMS))
    manifests: ManifestMemory = field(default_factory=lambda: Remembered(_REMEMBERED_ITEMS))
    tags: TagMemory = field(default_factory=lambda: Remembered(_REMEMBERED_ITEMS))


def open_registry(
    images: ImageService,
    *,
    project: str | None,
    options: StoreOptions,
    shared: SharedState,
    memory: CallerMemory,
) -> Registry:
    """Return the registry as one caller sees it. Cheap: nothing is asked of Glance.

    Args:
        images: Glance with the caller's credential.
        project: The caller's project id; ``None`` if Glance knows no projects.
        options: The operator's.
        shared: One for the process.
        memory: One for the caller.
    """
    ownership = Ownership(project=project, hide=options.hide)
    finder = Finder(images, ownership, shared.algorithms)
    contents = Contents(images, shared.bodies)
    blobs = GlanceBlobs(images, ownership, finder, shared.limit, memory.blobs)
    manifests = ManifestFinder(images, ownership, finder, contents, memory.manifests)
    holders = TagHolders(images, ownership, memory.tags, options.freshness_s)
    writer = ManifestWriter(images, ownership, blobs, finder, manifests, holders, contents)
    return Registry(
        blobs=blobs,
        uploads=GlanceUploads(
            images,
            ownership,
            UploadRecords(images, ownership, expiry_s=options.upload_expiry_s),
            blobs,
            finder,
            shared.limit,
        ),
        manifests=GlanceManifests(images, finder, manifests, holders, contents, writer),
    )
