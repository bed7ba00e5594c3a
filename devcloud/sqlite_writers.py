"""SQLite for a service with many threads: writers take turns, and readers never wait.

oslo.db begins every transaction with a plain BEGIN, which starts as a reader. SQLite refuses to make
it a writer once somebody else has written ("database is locked"), however long one waits. So:

- a transaction that may write begins with BEGIN IMMEDIATE, where waiting for the lock helps;
- before that it waits for a lock of this process: SQLite's own waiting is polling at growing
  intervals, and with eight clients made single requests take two seconds instead of half of one;
- a transaction that only reads keeps its plain BEGIN, and with it a snapshot (in WAL mode).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool, PoolProxiedConnection

BUSY_TIMEOUT_S = 60
_HOLDS_TURN = "devcloud_holds_turn"

SessionFactory = Callable[[], AbstractContextManager[Any]]


class SqliteWriters:
    """The turns of the threads that want to write, for all SQLAlchemy engines of this process."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._thread = threading.local()
        self._kept: PoolProxiedConnection | None = None

    def install(self) -> None:
        """Listen to every engine's connections and transactions, also of engines made later."""
        event.listen(Engine, "connect", self._connected)
        event.listen(Engine, "before_cursor_execute", self._executing, retval=True)
        event.listen(Pool, "checkin", self._returned)

    def keep_open(self, engine: Engine) -> None:
        """Hold one idle connection, so that the write-ahead log outlives each transaction.

        oslo.db opens a connection for every transaction; when the last one closes, SQLite folds the
        log in and deletes it, which costs more than the transaction.
        """
        self._kept = engine.raw_connection()
        cursor = self._kept.cursor()
        # A connection has the log open only once it has read.
        cursor.execute("SELECT name FROM sqlite_master")
        cursor.fetchall()

    def reader(self, factory: SessionFactory) -> SessionFactory:
        """Wrap a session factory of which the caller knows that its sessions only read."""

        @contextmanager
        def reading() -> Iterator[Any]:
            depth = self._reading
            self._thread.reading = depth + 1
            try:
                with factory() as session:
                    yield session
            finally:
                self._thread.reading = depth

        return reading

    @property
    def _reading(self) -> int:
        depth: int = getattr(self._thread, "reading", 0)
        return depth

    def _connected(self, dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        # With a write-ahead log this loses nothing when a process is killed, only when the machine is.
        dbapi_connection.execute("PRAGMA synchronous = NORMAL")

    def _executing(
        self, connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> tuple[str, Any]:
        if statement != "BEGIN" or self._reading:
            return statement, parameters
        # Whoever has waited this long goes on: it is SQLite's lock that keeps writers apart.
        if self._turn.acquire(timeout=BUSY_TIMEOUT_S):
            connection.info[_HOLDS_TURN] = True
        return "BEGIN IMMEDIATE", parameters

    def _returned(self, _dbapi_connection: object, record: Any) -> None:
        if record.info.pop(_HOLDS_TURN, False):
            self._turn.release()
