"""The seam at which Glance's errors become the registry's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry_glance.registry.errors import Denied, Unavailable
from registry_glance.store.images import (
    GlanceError,
    NotPermitted,
    QuotaExceeded,
)


@contextlib.contextmanager
def registry_errors() -> Iterator[None]:
    """Turn what is left of Glance's errors into what the client can be told; also a decorator.

    Raises:
        Denied: Glance's policy or a quota forbids it.
        Unavailable: Anything else, the registry's own credential being refused included: that is the operator's
            to mend, and the same request may succeed later.
    """
    try:
        yield
    except QuotaExceeded as exc:
        raise Denied("quota exceeded in Glance") from exc
    except NotPermitted as exc:
        raise Denied("Glance does not allow it") from exc
    except GlanceError as exc:
        raise Unavailable("Glance did not do what it was asked; see the registry's log") from exc
