"""Glance's WSGI application for one machine: no Keystone, and SQLite made safe for many threads.

**For loopback only.** Whoever reaches this port is whoever they say they are: a request's identity
headers (X-Project-Id, X-User-Id, X-Roles, X-Identity-Status) are believed, and a request without
them is a member of the default project. That lets the plain ``glance`` and ``openstack`` clients
work without a password, and lets tests play several projects and roles. X-Auth-Token is ignored.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from devcloud.sqlite_writers import SqliteWriters

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

DEFAULT_IDENTITY = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_PROJECT_ID": "devcloud",
    "HTTP_X_USER_ID": "devcloud",
    "HTTP_X_ROLES": "member,reader",
}


def load() -> "WSGIApplication":
    """Load Glance as OS_GLANCE_CONFIG_DIR says; gunicorn's name for it ends in ``:load()``."""
    writers = SqliteWriters()
    writers.install()
    # Importing these configures the whole of Glance, so it waits until somebody wants that.
    from glance.db.sqlalchemy import api as database  # type: ignore[import-untyped]  # noqa: PLC0415

    database.session_for_read = writers.reader(database.session_for_read)
    from glance.wsgi.api import application  # type: ignore[import-untyped]  # noqa: PLC0415

    writers.keep_open(database.get_engine())
    return with_identity(application)


def with_identity(application: "WSGIApplication") -> "WSGIApplication":
    """Wrap an application so that each request says who is calling; what it says itself is kept."""

    def application_with_identity(
        environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        for name, value in DEFAULT_IDENTITY.items():
            environ.setdefault(name, value)
        return application(environ, start_response)

    return application_with_identity
