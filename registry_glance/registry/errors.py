"""The registry's errors, one class per error code of the specification.

Source: OCI distribution-spec 1.1, "Error Codes"; the codes that only Docker's registry has are from its
API description (https://distribution.github.io/distribution/spec/api/#errors-2).
"""

from __future__ import annotations

from typing import ClassVar


class RegistryError(Exception):
    """Something that the client is told in the specification's error body.

    Attributes:
        code: The specification's error code.
        message: What went wrong, in general; the same for every case.
        detail: The facts of this case. Never a secret or a token.
    """

    code: ClassVar[str] = "UNKNOWN"
    message: ClassVar[str] = "unknown error"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(f"{self.message}: {detail}" if detail else self.message)
        self.detail = detail


class BlobUnknown(RegistryError):
    """No blob has this digest, as far as this caller may know."""

    code = "BLOB_UNKNOWN"
    message = "blob unknown to registry"


class BlobUploadInvalid(RegistryError):
    """The upload session can't go on with this request."""

    code = "BLOB_UPLOAD_INVALID"
    message = "blob upload invalid"


class BlobUploadUnknown(RegistryError):
    """There is no such upload session, or it is over."""

    code = "BLOB_UPLOAD_UNKNOWN"
    message = "blob upload unknown to registry"


class DigestInvalid(RegistryError):
    """The digest is malformed, or the content is not what it says."""

    code = "DIGEST_INVALID"
    message = "provided digest did not match uploaded content"


class ManifestBlobUnknown(RegistryError):
    """A manifest names a blob or a manifest that is not here."""

    code = "MANIFEST_BLOB_UNKNOWN"
    message = "manifest references a manifest or blob unknown to registry"


class ManifestInvalid(RegistryError):
    """The manifest is not one."""

    code = "MANIFEST_INVALID"
    message = "manifest invalid"


class ManifestTooLarge(ManifestInvalid):
    """The manifest has more bytes than the registry takes."""

    message = "manifest too large"


class ManifestUnknown(RegistryError):
    """No manifest has this tag or digest, as far as this caller may know."""

    code = "MANIFEST_UNKNOWN"
    message = "manifest unknown to registry"


class NameInvalid(RegistryError):
    """The repository name breaks the grammar, or is too long."""

    code = "NAME_INVALID"
    message = "invalid repository name"


class NameUnknown(RegistryError):
    """The repository does not exist, as far as this caller may know."""

    code = "NAME_UNKNOWN"
    message = "repository name not known to registry"


class SizeInvalid(RegistryError):
    """The body is not as long as it said."""

    code = "SIZE_INVALID"
    message = "provided length did not match content length"


class TagInvalid(RegistryError):
    """The tag breaks the grammar."""

    code = "TAG_INVALID"
    message = "invalid tag"


class RangeInvalid(RegistryError):
    """The range can't be satisfied, or the chunk does not start at the offset."""

    code = "RANGE_INVALID"
    message = "invalid content range"


class PaginationNumberInvalid(RegistryError):
    """The page size ``n`` is not a number from 0 on."""

    code = "PAGINATION_NUMBER_INVALID"
    message = "invalid number of results requested"


class Unauthorized(RegistryError):
    """Who is asking is not known."""

    code = "UNAUTHORIZED"
    message = "authentication required"


class Denied(RegistryError):
    """Who is asking is known, and may not."""

    code = "DENIED"
    message = "requested access to the resource is denied"


class Unsupported(RegistryError):
    """The operation is not to be had, for this resource or at all."""

    code = "UNSUPPORTED"
    message = "the operation is unsupported"


class TooManyRequests(RegistryError):
    """The client asks too often."""

    code = "TOOMANYREQUESTS"
    message = "too many requests"


class Unavailable(RegistryError):
    """The registry can't do it now; the same request may succeed later."""

    code = "UNAVAILABLE"
    message = "the registry is temporarily unable to handle the request"
