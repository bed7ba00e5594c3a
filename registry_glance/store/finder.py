"""Finds records by digest in a constant number of Glance requests, whatever Glance's hashing algorithm is.

Where Glance hashes with the digest's own algorithm, its indexed multihash column is the index. For any other
digest, and for referrers, there are index markers: tiny images whose *data* is a key, so that the same column
finds them by the key's hash.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from typing import Final

from registry_glance.registry.digests import ALGORITHMS, Digest
from registry_glance.registry.names import RepositoryName
from registry_glance.store.images import GlanceImage, GlanceUnavailable, ImageNotFound, ImageService
from registry_glance.store.layout import (
    INDEX_KEY,
    INDEX_TARGET,
    RECORD,
    Ownership,
    Record,
    is_id,
    is_record,
    new_id,
)

_BOTH: Final = (True, False)
_MARKINGS: Final = 3


class HashAlgorithms:
    """The hashing algorithms of a Glance, learned from the images that were seen. Safe to use from several threads.

    Args:
        named: The algorithms, where the operator names them; after a change of Glance's setting both
            must be named, or records from before are not found.
    """

    def __init__(self, named: Iterable[str] = ()) -> None:
        self._named = frozenset(named)
        self._seen: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def learn(self, image: GlanceImage) -> None:
        """Remember the algorithm of an image that has one."""
        algorithm = image.hash_algorithm
        if algorithm and algorithm in hashlib.algorithms_available and algorithm not in self._seen:
            with self._lock:
                self._seen |= {algorithm}

    def known(self) -> frozenset[str]:
        """Return the algorithms in use; all possible ones while nothing is known."""
        return self._named or self._seen or ALGORITHMS


class Finder:
    """Looks records up by digest, and keeps the index markers.

    Args:
        images: Glance, as the caller sees it.
        ownership: Whose records count.
        algorithms: Shared by all callers of one Glance.
    """

    def __init__(self, images: ImageService, ownership: Ownership, algorithms: HashAlgorithms) -> None:
        self._images = images
        self._ownership = ownership
        self._algorithms = algorithms

    def groups(self, digest: Digest, *, hidden_first: bool = True) -> Iterator[list[GlanceImage]]:
        """Yield, request by request, the images that may have a digest; callers check that they do.

        Asking stops where the caller stops. The images are of the caller's project, in any status.
        """
        for hidden in _BOTH if hidden_first else reversed(_BOTH):
            yield self._by_hash(digest.hex, hidden=hidden)
        foreign = self._algorithms.known() - {digest.algorithm}
        if foreign:
            targets = self._targets(digest_key(digest), foreign)
            yield [image for target in targets for image in self._get_if_there(target)]

    def marked(self, key: bytes) -> list[str]:
        """Return the image ids to which markers with this key point, in no order, each once."""
        return self._targets(key, self._algorithms.known())

    def mark(self, key: bytes, target_id: str) -> None:
        """Make an image known under a key; it need not exist yet. Repeating it does no harm.

        Raises:
            GlanceUnavailable: It may or may not be known.
        """
        properties = {
            RECORD: Record.INDEX,
            INDEX_KEY: key.decode().replace("\0", " "),
            INDEX_TARGET: target_id,
        }
        for attempts_left in reversed(range(_MARKINGS)):
            marker_id = new_id()
            self._images.create(marker_id, hidden=self._ownership.hide, properties=properties)
            try:
                self._images.put_data(marker_id, [key], size=len(key))
            except GlanceUnavailable:
                # Whether it arrived or not: a second marker is harmless, one too few is not.
                if not attempts_left:
                    raise
            else:
                return

    def unmark(self, key: bytes, target_id: str) -> None:
        """Remove the markers with this key that point to an image."""
        for marker in self._markers(key, self._algorithms.known()):
            if marker.properties.get(INDEX_TARGET) == target_id:
                try:
                    self._images.delete(marker.id)
                except ImageNotFound:
                    continue

    def foreign(self, digest: Digest) -> bool:
        """Whether Glance may hash with another algorithm than this digest's, so that a marker is needed."""
        return self._algorithms.known() != {digest.algorithm}

    def learn(self, image: GlanceImage) -> None:
        """Take note of the algorithm with which Glance hashed an image."""
        self._algorithms.learn(image)

    def _by_hash(self, hash_value: str, *, hidden: bool) -> list[GlanceImage]:
        found = []
        for image in self._images.list(hidden=hidden, hash_value=hash_value, owner=self._ownership.project):
            self._algorithms.learn(image)
            if image.hash_value == hash_value and self._ownership.owns(image):
                found.append(image)
        return found

    def _markers(self, key: bytes, algorithms: Iterable[str]) -> Iterator[GlanceImage]:
        for algorithm in sorted(algorithms):
            hash_value = hashlib.new(algorithm, key).hexdigest()
            for hidden in _BOTH:
                for image in self._by_hash(hash_value, hidden=hidden):
                    if is_record(image, Record.INDEX) and image.active:
                        yield image

    def _targets(self, key: bytes, algorithms: Iterable[str]) -> list[str]:
        targets = (marker.properties.get(INDEX_TARGET, "") for marker in self._markers(key, algorithms))
        # Users can write the property: only an id may get into a request.
        return list(dict.fromkeys(target for target in targets if is_id(target)))

    def _get_if_there(self, image_id: str) -> Iterator[GlanceImage]:
        try:
            image = self._images.get(image_id)
        except ImageNotFound:
            return
        if self._ownership.owns(image):
            yield image


def digest_key(digest: Digest) -> bytes:
    """Return the key of the markers that lead to content by a digest that is not Glance's own."""
    return f"digest\0{digest}".encode()


def referrers_key(repository: RepositoryName, subject: Digest) -> bytes:
    """Return the key of the markers that lead to the manifests with this subject."""
    return f"referrers\0{repository}\0{subject}".encode()
