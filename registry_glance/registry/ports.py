"""What the API asks of a store: blobs, upload sessions and manifests, as one caller sees them.

``registry_glance.store`` keeps these promises over Glance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry_glance.registry.digests import Digest
from registry_glance.registry.manifests import Manifest
from registry_glance.registry.names import Reference, RepositoryName, Tag
from registry_glance.registry.uploads import Chunk, UploadPosition, UploadSession


class ByteStream(Protocol):
    """Bytes on their way out; whoever asked for the stream closes it."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield non-empty byte strings until the end of what was asked for."""

    def close(self) -> None:
        """Free what the stream holds; safe to call twice and in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob that is here.

    Attributes:
        digest: As it was asked for.
        size: Bytes.
        image_id: The Glance image that holds it.
    """

    digest: Digest
    size: int
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest that is here, with the digest by which it was asked for or pushed."""

    digest: Digest
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """One entry of a referrers list; the fields are those of its descriptor."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str
    annotations: dict[str, str]


class BlobStore(Protocol):
    """The blobs of a project; every repository of the project shares them."""

    def find(self, digest: Digest) -> Blob:
        """Return a blob for reading.

        Raises:
            BlobUnknown: There is none.
        """

    def claim(self, digest: Digest) -> Blob:
        """Return a blob for building on: the collector will not take it before a manifest can name it.

        Raises:
            BlobUnknown: There is none, or it is already being collected; upload it.
        """

    def read(self, blob: Blob, *, start: int = 0, stop: int | None = None) -> ByteStream:
        """Open a blob, from byte ``start`` up to but not including ``stop``; errors come now."""

    def delete(self, digest: Digest) -> None:
        """Delete every copy of a blob; it is unknown at once, on every replica.

        Raises:
            BlobUnknown: There is none.
            Unsupported: A manifest references it.
        """


class UploadStore(Protocol):
    """Upload sessions; any replica can go on with a session that another one began."""

    def begin(self, repository: RepositoryName) -> UploadSession:
        """Start a session, with nothing stored."""

    def resume(
        self, repository: RepositoryName, session_id: str, position: UploadPosition | None
    ) -> UploadSession:
        """Return a session as it stands.

        Args:
            repository: Where the session was begun.
            session_id: As given out in the Location; any text.
            position: Where the client says the session stands; it is verified. ``None``: find out.

        Raises:
            BlobUploadUnknown: There is no such session in this repository, or it is over.
        """

    def append(self, session: UploadSession, chunk: Chunk) -> UploadSession:
        """Add one chunk at the end of a session.

        A chunk that breaks off is not stored, and the session stands where it stood.

        Returns:
            The session, advanced by what was stored; unchanged for an empty chunk.

        Raises:
            RangeInvalid: The chunk does not start at the offset, or the session has moved on; nothing was stored.
            SizeInvalid: The chunk is not as long as it said; nothing was stored.
        """

    def finish(self, session: UploadSession, digest: Digest, chunk: Chunk | None) -> Blob:
        """Add the last chunk, if there is one, and make all that was stored a blob.

        Repeating it with the same digest returns the same blob. A session whose content is not ``digest`` is over.

        Raises:
            DigestInvalid: The content is not what the digest says; nothing became visible.
            RangeInvalid: As for ``append``; the session goes on.
            SizeInvalid: As for ``append``.
        """

    def cancel(self, session: UploadSession) -> None:
        """Drop a session and what it stored."""


class ManifestStore(Protocol):
    """Manifests, tags and referrers of the repositories of a project."""

    def get(self, repository: RepositoryName, reference: Reference) -> StoredManifest:
        """Return a manifest.

        Raises:
            ManifestUnknown: There is none of this tag or digest in the repository.
        """

    def put(
        self,
        repository: RepositoryName,
        manifest: Manifest,
        digest: Digest,
        tags: Collection[Tag],
    ) -> None:
        """Store a manifest and point the tags to it; without tags it is known by digest only.

        When this returns, every replica serves it. Repeating it changes nothing.

        Args:
            repository: Where.
            manifest: Its bytes hash to ``digest``.
            digest: The name under which it was pushed.
            tags: May be empty.

        Raises:
            ManifestBlobUnknown: Something that it references is not here; nothing became visible.
        """

    def delete(self, repository: RepositoryName, reference: Reference) -> None:
        """Delete a tag (the manifest stays, by digest), or a manifest with all tags that point to it.

        Raises:
            ManifestUnknown: There is none of this tag or digest in the repository.
        """

    def tags(self, repository: RepositoryName) -> Sequence[Tag]:
        """Return the tags of a repository in byte order.

        Raises:
            NameUnknown: The repository has neither tags nor manifests.
        """

    def repositories(self) -> Sequence[RepositoryName]:
        """Return the repositories that have a tag, in byte order."""

    def referrers(self, repository: RepositoryName, subject: Digest) -> Sequence[Referrer]:
        """Return the manifests of a repository whose subject this is, each once, in the order of their digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All that the API needs, for one caller."""

    blobs: BlobStore
    uploads: UploadStore
    manifests: ManifestStore
