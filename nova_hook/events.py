"""Tells when the command of an instance has ended by itself, from the engine's events."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from nova_hook.engine import ContainerUnknown, Engine, EngineError, EngineUnreachable, State
from nova_hook.instances import container_name, instance_uuid, instances_among

LOG: Final = logging.getLogger(__name__)

_STOPPED: Final = (State.EXITED, State.DEAD)


class StopWatcher:
    """Reports instances that have stopped, each once it is certain, from threads of its own.

    An end is certain when nothing is being done with the instance and the engine still says that it doesn't run. So
    a stop or a reboot by Nova isn't reported, nor are the ends that an engine tells before it goes away itself: it
    can't be asked any more. When it is back, all that doesn't run is looked at.

    Args:
        engine: Whose events.
        report: Called with an instance's UUID; may be called again for one that Nova knows to be stopped.
        busy: Whether something is being done with an instance; it is asked again until not.
        settle_s: How old an end is when it is looked at first; an engine that is ending itself is gone by then.
        interval_s: Between two looks at what has ended, and between two tries to reach the engine.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        report: Callable[[str], None],
        busy: Callable[[str], bool],
        settle_s: float = 2.0,
        interval_s: float = 0.5,
    ) -> None:
        self._engine = engine
        self._report = report
        self._busy = busy
        self._settle_s = settle_s
        self._interval_s = interval_s
        self._ended: dict[str, float] = {}
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._subscription = contextlib.ExitStack()
        self._threads = [
            threading.Thread(target=self._listen, name="docker-events", daemon=True),
            threading.Thread(target=self._settle, name="docker-stopped", daemon=True),
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End watching; nothing is reported afterwards."""
        with self._lock:
            self._leaving.set()
            self._subscription.close()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        away = False
        while not self._leaving.is_set():
            try:
                self._follow(catch_up=away)
            except EngineError as exc:
                if not away:
                    LOG.warning("No events from the engine, trying again: %s", exc)
                away = True
                self._leaving.wait(self._interval_s)

    def _follow(self, *, catch_up: bool) -> None:
        with self._lock:
            if self._leaving.is_set():
                return
            deaths = self._subscription.enter_context(self._engine.deaths())
        try:
            if catch_up:
                LOG.info("The engine is back")
                instances = instances_among(self._engine.containers.list_all())
                self._note(*(uuid for uuid, container in instances.items() if container.state in _STOPPED))
            for death in deaths:
                uuid = instance_uuid(death.name, death.labels)
                if uuid is not None:
                    self._note(uuid)
        finally:
            with self._lock:
                self._subscription.close()

    def _note(self, *uuids: str) -> None:
        with self._lock:
            self._ended.update(dict.fromkeys(uuids, time.monotonic()))

    def _settle(self) -> None:
        while not self._leaving.wait(self._interval_s):
            with self._lock:
                settled = [
                    uuid for uuid, at in self._ended.items() if time.monotonic() - at >= self._settle_s
                ]
            for uuid in settled:
                if not self._busy(uuid):
                    self._look_at(uuid)

    def _look_at(self, uuid: str) -> None:
        with self._lock:
            # Before the look: an end that is told meanwhile is one more.
            self._ended.pop(uuid, None)
        try:
            container = self._engine.containers.find(container_name(uuid))
        except ContainerUnknown:
            return
        except EngineUnreachable:
            LOG.debug("The end of instance %s was that of the engine", uuid)
            return
        except EngineError:
            LOG.exception("Instance %s can't be looked at", uuid)
            return
        if container.state in _STOPPED and not self._leaving.is_set():
            LOG.info("The command of instance %s has ended", uuid)
            self._report(uuid)
