"""The seam at which Glance's errors become the registry's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry_glance.registry.errors import Denied, Unauthorized, Unavailable
from registry_glance.store.images import (
    GlanceError,
    NotAuthenticated,
    NotPermitted,
    QuotaExceeded,
)


@contextlib.contextmanager
def registry_errors() -> Iterator[None]:
    """Turn what is left of Glance's errors into what the client can be told; also a decorator.

    Raises:
        Unauthorized: Glance does not know the credential.
        Denied: Glance's policy or a quota forbids it.
        Unavailable: Anything else; the same request may succeed later.
    """
    try:
        yield
    except NotAuthenticated as exc:
        raise Unauthorized from exc
    except QuotaExceeded as exc:
        raise Denied("quota exceeded in Glance") from exc
    except NotPermitted as exc:
        raise Denied("Glance does not allow it") from exc
    except GlanceError as exc:
        raise Unavailable("Glance did not do what it was asked; see the registry's log") from exc
