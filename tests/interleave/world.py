"""A small world: replicas of the registry over one Glance in memory, and clients that use them."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Final

from registry_glance.registry.digests import Digest
from registry_glance.registry.errors import (
    BlobUnknown,
    ManifestUnknown,
    RegistryError,
    Unsupported,
)
from registry_glance.registry.manifests import OCI_MANIFEST, Manifest, parse_manifest
from registry_glance.registry.names import RepositoryName, Tag
from registry_glance.registry.uploads import Chunk, UploadPosition
from registry_glance.store.assembly import (
    CallerMemory,
    SharedState,
    StoreOptions,
    open_registry,
)
from registry_glance.store.layout import Record, is_record
from tests.fakes.memory_glance import MemoryGlance
from tests.fakes.moments import Killed
from tests.interleave.history import History, Operation
from tests.interleave.scheduler import Chaos, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_glance.registry.ports import Registry

PROJECT: Final = "p1"
REPOSITORY: Final = RepositoryName("team/app")
TAGS: Final = (Tag("a"), Tag("b"))
REPLICAS: Final = ("replica-1", "replica-2", "replica-3")
CONFIG: Final = b'{"architecture": "amd64", "os": "linux"}'
LAYERS: Final = tuple(f"layer {number} ".encode() * 5 for number in range(4))
STEPS_PER_SECOND: Final = 20
START_S: Final = 1_700_000_000.0
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


class ClientGoneError(Exception):
    """A client's connection broke in the middle of a body."""


class World:
    """Everything of one run.

    Args:
        seed: Decides everything.
        chaos: What may go wrong while clients act.
        freshness_s: How long a replica may show a tag without looking it up again.
    """

    def __init__(self, seed: int, chaos: Chaos, *, freshness_s: float = 0.0) -> None:
        self.scheduler = Scheduler(seed, chaos, self.restart)
        self.random = self.scheduler.random
        self.history = History()
        self.glance = MemoryGlance(clock=self.clock, page_size=3, chunk_size=16)
        self.glance.moments.watch = self.scheduler.at
        self._freshness_s = freshness_s
        self._replicas: dict[str, Registry] = {}
        self.appended: list[tuple[str, int, int]] = []
        for name in REPLICAS:
            self.restart(name)

    @property
    def now(self) -> int:
        """The step of the scheduler."""
        return self.scheduler.now

    @contextlib.contextmanager
    def seeded_ids(self) -> Iterator[None]:
        """Draw random ids from the seed, so that a run can be repeated."""
        original = uuid.uuid4
        uuid.uuid4 = lambda: uuid.UUID(int=self.random.getrandbits(128), version=4)
        try:
            yield
        finally:
            uuid.uuid4 = original

    @contextlib.contextmanager
    def replica(self) -> Iterator[Registry]:
        """Make one request to some replica."""
        name = self.random.choice(REPLICAS)
        registry = self._replicas[name]
        with self.scheduler.request(name):
            yield registry

    def calm(self) -> None:
        """Nothing goes wrong from here on."""
        self.scheduler.chaos = Chaos()

    def restart(self, name: str) -> None:
        """Start a replica, again if need be: with nothing in its memory."""
        options = StoreOptions(freshness_s=self._freshness_s, hash_algorithms=("sha256",))
        registry = open_registry(
            self.glance.service(PROJECT, caller=name),
            project=PROJECT,
            options=options,
            shared=SharedState(options),
            memory=CallerMemory(),
        )
        _set_clocks(registry, self)
        self._replicas[name] = registry

    def clock(self) -> float:
        """Return the seconds since the epoch."""
        return START_S + self.now / STEPS_PER_SECOND

    # What clients do. Each returns normally only if the client was told that it had succeeded.

    def push(self, tag: Tag, layers: list[bytes], *, note: str) -> None:
        """Push an image: the blobs that the registry does not have, then the manifest."""
        contents = [CONFIG, *layers]
        for content in contents:
            self.ensure_blob(content)
        self.put(tag, self.manifest(layers, note=note))

    def put(self, tag: Tag, manifest: Manifest) -> None:
        """Put a manifest under a tag."""
        digest = Digest.of(manifest.body)
        operation = self.begin_operation("put", tag=tag, digest=digest, blobs=manifest.blobs)
        with self.ending(operation), self.replica() as replica:
            replica.manifests.put(REPOSITORY, manifest, digest, [tag])

    def get(self, tag: Tag) -> Digest | None:
        """Pull a tag's manifest; ``None`` if there is no such tag."""
        operation = self.begin_operation("get", tag=tag)
        with self.ending(operation), self.replica() as replica:
            try:
                operation.digest = replica.manifests.get(REPOSITORY, tag).digest
            except ManifestUnknown:
                operation.digest = None
        return operation.digest

    def delete_tag(self, tag: Tag) -> None:
        """Delete a tag."""
        operation = self.begin_operation("delete", tag=tag)
        with self.ending(operation), self.replica() as replica:
            replica.manifests.delete(REPOSITORY, tag)

    def delete_manifest(self, digest: Digest) -> None:
        """Delete a manifest with the tags that point to it."""
        operation = self.begin_operation("delete-manifest", digest=digest)
        with self.ending(operation), self.replica() as replica:
            replica.manifests.delete(REPOSITORY, digest)

    def delete_blob(self, digest: Digest) -> None:
        """Delete a blob that nothing references."""
        operation = self.begin_operation("delete-blob", digest=digest)
        with self.ending(operation), self.replica() as replica:
            replica.blobs.delete(digest)

    def ensure_blob(self, content: bytes) -> None:
        """Upload a blob, unless the registry says that it has it."""
        with self.replica() as replica, contextlib.suppress(BlobUnknown):
            replica.blobs.claim(Digest.of(content))
            return
        self.upload(content)

    def upload(self, content: bytes) -> None:
        """Upload a blob in one of the ways that clients have."""
        operation = self.begin_operation("upload", digest=Digest.of(content))
        with self.ending(operation):
            way = self.random.choice((self._upload_as_docker, self._upload_at_once, self._in_chunks))
            way(content)

    def _upload_as_docker(self, content: bytes) -> None:
        """One PATCH with everything, then an empty PUT."""
        session_id = self._begin_upload()
        position = self.append(session_id, UploadPosition(), Chunk(content=pieces(content)))
        self.finish(session_id, position, content, None)

    def _upload_at_once(self, content: bytes) -> None:
        """One PUT with everything."""
        session_id = self._begin_upload()
        chunk = Chunk(content=pieces(content), size=len(content))
        self.finish(session_id, UploadPosition(), content, chunk)

    def _in_chunks(self, content: bytes) -> None:
        """Chunks that say where they start; what breaks is resumed where the registry says it stands."""
        session_id = self._begin_upload()
        position: UploadPosition | None = UploadPosition()
        size = max(1, len(content) // 3)
        for _ in range(12):
            try:
                if position is None:
                    position = self.status(session_id)
                if position.offset >= len(content):
                    self.finish(session_id, position, content, None)
                    return
                part = content[position.offset : position.offset + size]
                chunk = Chunk(content=pieces(part), start=position.offset, size=len(part))
                position = self.append(session_id, position, chunk)
            except (Killed, RegistryError) as exc:
                if getattr(exc, "code", "") == "BLOB_UPLOAD_UNKNOWN":
                    raise
                position = None
        raise ClientGoneError("the client gives up")

    def _begin_upload(self) -> str:
        with self.replica() as replica:
            return replica.uploads.begin(REPOSITORY).id

    def status(self, session_id: str) -> UploadPosition:
        """Ask where a session stands."""
        with self.replica() as replica:
            return replica.uploads.resume(REPOSITORY, session_id, None).position

    def append(self, session_id: str, position: UploadPosition | None, chunk: Chunk) -> UploadPosition:
        """PATCH."""
        with self.replica() as replica:
            session = replica.uploads.resume(REPOSITORY, session_id, position)
            return replica.uploads.append(session, chunk).position

    def finish(self, session_id: str, position: UploadPosition, content: bytes, chunk: Chunk | None) -> None:
        """PUT."""
        with self.replica() as replica:
            session = replica.uploads.resume(REPOSITORY, session_id, position)
            replica.uploads.finish(session, Digest.of(content), chunk)

    def annotate(self) -> None:
        """Somebody sets a property on a manifest or a blob with `openstack image set`.

        Not on an upload session: a PATCH that is under way while the session becomes a blob undoes that.
        """
        active = [
            image.id
            for image in self.glance.images()
            if image.active and is_record(image, Record.TAG, Record.MANIFEST, Record.BLOB)
        ]
        if active:
            user = self.glance.service(PROJECT, caller="user")
            with contextlib.suppress(Exception):
                user.update(self.random.choice(active), set_properties={"note": str(self.now)})

    def manifest(self, layers: list[bytes], *, note: str) -> Manifest:
        """Return a manifest; another note makes another digest."""
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(CONFIG_TYPE, CONFIG),
            "layers": [descriptor(LAYER_TYPE, layer) for layer in layers],
            "annotations": {"note": note},
        }
        return parse_manifest(json.dumps(document).encode(), OCI_MANIFEST)

    def begin_operation(self, kind: str, **facts: object) -> Operation:
        """Note that a client asks for something."""
        return self.history.begin(Operation(kind=kind, invoked=self.now, **facts))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def ending(self, operation: Operation) -> Iterator[None]:
        """Note how that ends."""
        try:
            yield
            operation.acknowledged = True
        except BaseException as exc:
            operation.outcome = repr(exc)
            raise
        finally:
            operation.ended = self.now

    # What must be true when everything has come to rest

    def losses(self) -> list[str]:
        """Return what was acknowledged, or can be seen, and is not whole."""
        return [
            *self._lost_uploads(),
            *self._lost_manifests(),
            *self._broken_tags(),
            *self._doubly_appended(),
        ]

    def _doubly_appended(self) -> list[str]:
        """Where an upload session stood only one chunk may have been stored."""
        places = [(session_id, start) for session_id, start, stop in self.appended if stop > start]
        return [f"two chunks at {place}" for place in set(places) if places.count(place) > 1]

    def _lost_uploads(self) -> list[str]:
        deleted = {o.digest for o in self.history.of("delete-blob")}
        uploaded = {o.digest for o in self.history.of("upload") if o.acknowledged} - deleted
        return [f"blob {digest} is lost" for digest in uploaded if digest and not self._whole(digest)]

    def _lost_manifests(self) -> list[str]:
        deleted = {o.digest for o in self.history.of("delete-manifest")}
        lost = []
        for put in self.history.of("put"):
            if put.acknowledged and put.digest is not None and put.digest not in deleted:
                with self.replica() as replica:
                    try:
                        replica.manifests.get(REPOSITORY, put.digest)
                    except ManifestUnknown:
                        lost.append(f"manifest is lost: {put}")
                lost += [f"{blob} of {put} is lost" for blob in put.blobs if not self._whole(blob)]
        return lost

    def _broken_tags(self) -> list[str]:
        """Whatever can be pulled by tag is whole, acknowledged or not."""
        broken = []
        for tag in TAGS:
            digest = self.get(tag)
            for put in self.history.of("put", tag=tag):
                if digest is not None and put.digest == digest:
                    broken += [f"{tag} lacks {blob}" for blob in put.blobs if not self._whole(blob)]
        return broken

    def _whole(self, digest: Digest) -> bool:
        with self.replica() as replica:
            try:
                stream = replica.blobs.read(replica.blobs.find(digest))
            except BlobUnknown:
                return False
            with contextlib.closing(stream):
                return Digest.of(b"".join(stream)) == digest


class SharedSession:
    """One upload session that several requests work on at once, as an impatient client's do."""

    def __init__(self, world: World, content: bytes, *, says_starts: bool) -> None:
        self._world = world
        self._content = content
        self._says_starts = says_starts
        with world.replica() as replica:
            self.id = replica.uploads.begin(REPOSITORY).id

    def append(self, *, size: int = 0, body: Iterator[bytes] | None = None) -> None:
        """PATCH some chunk where the session stands; nobody else may be told that he stored there."""
        world = self._world
        start = world.status(self.id).offset
        size = size or world.random.choice((10, 20, len(self._content)))
        part = self._content[start : start + size]
        says = start if self._says_starts else None
        chunk = Chunk(content=body or pieces(part), start=says, size=len(part))
        position = world.append(self.id, None, chunk)
        world.appended.append((self.id, position.offset - len(part), position.offset))

    def finish(self) -> None:
        """PUT the rest."""
        world = self._world
        operation = world.begin_operation("upload", digest=Digest.of(self._content))
        with world.ending(operation):
            with world.replica() as replica:
                session = replica.uploads.resume(REPOSITORY, self.id, None)
            rest = self._content[session.position.offset :]
            chunk = Chunk(content=pieces(rest), start=session.position.offset, size=len(rest))
            world.finish(
                self.id, session.position, self._content, chunk if rest and not session.finished else None
            )


REFUSALS: Final = (RegistryError, Killed, ClientGoneError, Unsupported)
"""What ends a client's operation without an acknowledgement."""


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    """Return an OCI descriptor."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def pieces(content: bytes, size: int = 10) -> Iterator[bytes]:
    """Yield content in pieces."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _set_clocks(part: object, world: World) -> None:
    """Let all parts of a replica live in the time of its world."""
    times: dict[str, Callable[..., object]] = {
        "_clock": world.clock,
        "_monotonic": world.clock,
        "_sleep": lambda _seconds: world.scheduler.pause(),
    }
    attributes = {
        name: getattr(part, name)
        for name in (*getattr(part, "__dict__", ()), *getattr(part, "__slots__", ()))
    }
    for name, value in attributes.items():
        if name in times:
            setattr(part, name, times[name])
        elif type(value).__module__.startswith("registry_glance."):
            _set_clocks(value, world)
