"""Runs the application under gunicorn, configured by the registry's own settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from registry_glance.settings import Settings

_KEEPALIVE_S = 30
_ACCESS_LOG = '%(t)s %(p)s %(h)s "%(r)s" %(s)s %(B)sB %(L)ss "%(a)s"'


class RegistryServer(BaseApplication):
    """The registry as a gunicorn application.

    Args:
        settings: Where to listen, and with how many processes and threads.
        make_application: Called in each process, after it was forked.
    """

    def __init__(self, settings: Settings, make_application: Callable[[], Flask]) -> None:
        self._settings = settings
        self._make_application = make_application
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn, "Custom Application"."""
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        options: dict[str, Any] = {
            "bind": [f"{host}:{settings.port}"],
            "workers": settings.workers,
            "threads": settings.threads,
            "worker_class": "registry_glance.worker.RegistryWorker",
            "keepalive": _KEEPALIVE_S,
            # A worker's main thread only polls; a minute without a sign of it means that it hangs.
            "timeout": 60,
            "graceful_timeout": 30,
            "limit_request_field_size": settings.max_header_size,
            # Tokens never stand in a URL, so URLs may be logged.
            "accesslog": "-",
            "access_log_format": _ACCESS_LOG,
            "proc_name": "registry-glance",
            # Nobody administers a replica from beside it, and several on one machine would share the socket.
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application of one process."""
        return self._make_application()
