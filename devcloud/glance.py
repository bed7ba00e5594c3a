"""Glance on one machine: SQLite, a file store, no Keystone, loopback only."""

import importlib.util
import logging
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from devcloud.errors import DevcloudError
from devcloud.ports import LOOPBACK, listen
from devcloud.process import Process, child_environment

THREADS = 96
PREPARE_TIMEOUT_S = 300.0
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0

LOG = logging.getLogger(__name__)

_CONFIGURATION = """\
# Written by devcloud at each start.
[DEFAULT]
enabled_backends = local:file
hashing_algorithm = {hashing_algorithm}
worker_self_reference_url = {url}

[database]
connection = sqlite:///{data}/glance.sqlite

[glance_store]
default_backend = local

[local]
filesystem_store_datadir = {data}/images
filesystem_store_chunk_size = 1048576

[os_glance_staging_store]
filesystem_store_datadir = {data}/staging

[os_glance_tasks_store]
filesystem_store_datadir = {data}/tasks

[oslo_concurrency]
lock_path = {data}/locks

[oslo_policy]
policy_file = {data}/policy.yaml

[paste_deploy]
config_file = {data}/glance-api-paste.ini
"""

# Glance's own pipeline without authtoken: devcloud.glance_wsgi says who is calling.
_PASTE = """\
# Written by devcloud at each start.
[composite:glance-api]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck

[pipeline:api]
pipeline = versionnegotiation context rootapp

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory

[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
"""


class Glance:
    """A Glance that keeps everything in one directory.

    As a context manager: ``with Glance(tmp_path) as glance: requests.get(f"{glance.url}/v2/images")``.

    Args:
        data: Its directory; made when missing, and kept afterwards.
        port: On loopback; 0 takes a free one, and ``url`` is known once started.
        hashing_algorithm: Of ``os_hash_value``; what is stored already keeps its own.
        log: Its log file; ``glance.log`` in ``data`` unless given.
        template: A database made by ``prepare_database`` to copy: making one takes seconds.
        threads: How many requests run at once; an up- or download holds a thread to its end.
    """

    name = "glance"

    def __init__(
        self,
        data: Path,
        port: int = 0,
        *,
        hashing_algorithm: str = "sha256",
        log: Path | None = None,
        template: Path | None = None,
        threads: int = THREADS,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self.log = log.absolute() if log else self.data / "glance.log"
        self.hashing_algorithm = hashing_algorithm
        self._template = template
        self._threads = threads
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Where it answers, without a version: what clients call the image endpoint."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def probe(self) -> str:
        """A query, so that it answers only when the database does."""
        return f"{self.url}/v2/images?limit=1"

    @property
    def process(self) -> Process:
        """The running server: gunicorn with one worker."""
        if self._process is None:
            raise DevcloudError("glance is not started")
        return self._process

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            DevcloudError: Nothing is left running, and the directory is fit for another try.
        """
        check_installed()
        with listen(LOOPBACK, self.port, service=self.name) as listener:
            self.port = listener.getsockname()[1]
            self._prepare()
            process = Process(
                self.name,
                _gunicorn(listener.fileno(), threads=self._threads),
                log=self.log,
                environment=child_environment(OS_GLANCE_CONFIG_DIR=str(self.data)),
            )
            process.start(inherit=[listener.fileno()])
            self._process = process
        try:
            process.wait_until_answering(self.probe, timeout_s=START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; requests under way get a few seconds. Idempotent."""
        if self._process is not None:
            self._process.stop(timeout_s=STOP_TIMEOUT_S)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        database = self.data / "glance.sqlite"
        # oslo.config reads a dollar as the start of another option's name.
        data = str(self.data).replace("$", "$$")
        configuration = _CONFIGURATION.format(
            data=data, hashing_algorithm=self.hashing_algorithm, url=self.url
        )
        try:
            for folder in ("images", "staging", "tasks", "locks"):
                (self.data / folder).mkdir(parents=True, exist_ok=True)
            (self.data / "glance-api-paste.ini").write_text(_PASTE)
            (self.data / "glance-api.conf").write_text(configuration)
            if not database.exists() and self._template:
                copy_database(self._template, database)
            elif not database.exists():
                LOG.info("glance: making its database, once for this directory")
                prepare_database(database, log=self.log)
        except OSError as exc:
            raise DevcloudError(f"glance: {exc.filename or self.data}: {exc.strerror}") from exc
        check_database(database)


def check_installed() -> None:
    """Raise ``DevcloudError`` when Glance or its server is not installed for this Python."""
    missing = [name for name in ("glance", "gunicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise DevcloudError(
            f"{' and '.join(missing)} missing in {sys.prefix}: pip install 'openstack-docker[devcloud]' there"
        )


def prepare_database(path: Path, *, log: Path | None = None) -> None:
    """Make an empty Glance database, all of it or nothing: it gets its name when it is complete.

    Args:
        path: Its file, which must not exist.
        log: Where to write what goes on; beside the file unless given.
    """
    unfinished = path.absolute().with_name(f"{path.name}.unfinished")
    for suffix in ("", "-journal", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    configuration = unfinished.with_suffix(".conf")
    address = f"sqlite:///{unfinished}".replace("$", "$$")
    configuration.write_text(f"[database]\nconnection = {address}\n")
    manage = [sys.executable, "-m", "glance.cmd.manage", "--config-file", str(configuration)]
    process = Process(
        "glance-manage",
        [*manage, "db_sync"],
        log=log or path.absolute().with_suffix(".log"),
        environment=child_environment(),
    )
    process.run(timeout_s=PREPARE_TIMEOUT_S)
    with closing(sqlite3.connect(unfinished)) as connection:
        # The mode is kept in the file.
        connection.execute("PRAGMA journal_mode = WAL")
    configuration.unlink()
    unfinished.replace(path)


def copy_database(template: Path, path: Path) -> None:
    """Copy a prepared database that nobody has open, all of it or nothing."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    shutil.copyfile(template, unfinished)
    unfinished.replace(path)


def check_database(path: Path) -> None:
    """Raise ``DevcloudError`` when the file is not a Glance database that can be written."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT id FROM images LIMIT 1")
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as exc:
        raise DevcloudError(
            f"glance: {path} cannot be used ({exc}); move {path.parent} away to start afresh"
        ) from exc


def _gunicorn(listener: int, *, threads: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener}", "--no-control-socket"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(threads)),
        # An upload may take hours; a server that is told to stop does not wait for it.
        *("--timeout", "0", "--graceful-timeout", "3", "--keep-alive", "75"),
        # Gunicorn's largest: a list of images by id is a long line.
        *("--limit-request-line", "8190"),
        "devcloud.glance_wsgi:load()",
    ]
