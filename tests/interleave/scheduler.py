"""Runs threads one at a time and decides at every step of a Glance call who goes on, by a seed.

A thread stands still before each call to Glance, and in the middle of those calls that Glance itself does
in two steps. There the scheduler lets others go on, lets Glance fail, or kills a replica.
"""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from registry_glance.store.images import GlanceUnavailable
from tests.fakes.moments import GlanceWorkerKilled, Killed, Moment, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUCK_S: Final = 30.0
_STICKINESS: Final = (0.0, 0.5, 0.9)
_WRITTEN_ANYWAY: Final = frozenset({"update", "delete"})
"""Calls that Glance carries out to the end, whatever becomes of the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """How likely things go wrong, per step.

    Attributes:
        kills: A replica gets a SIGKILL.
        glance_faults: Glance does not answer; what was asked is done, or not.
        worker_kills: A worker of Glance is killed in the middle of an upload.
    """

    kills: float = 0.0
    glance_faults: float = 0.0
    worker_kills: float = 0.0


CALM: Final = Chaos()


@dataclass(eq=False, slots=True)
class _Actor:
    name: str
    work: Callable[[], None]
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    replica: str | None = None
    doomed: bool = False
    done: bool = False
    error: BaseException | None = None


class Scheduler:
    """One run, reproducible by its seed.

    Args:
        seed: Decides everything.
        chaos: What may go wrong.
        restart: Called with the name of a replica that was killed; its memory is lost.

    Attributes:
        now: The step; the time of this small world.
        random: For whatever else the run has to choose.
        trace: Who did what, in order.
    """

    def __init__(self, seed: int, chaos: Chaos, restart: Callable[[str], None]) -> None:
        self.now = 0
        self.random = random.Random(seed)
        self.trace: list[str] = []
        self.chaos = chaos
        self._restart = restart
        self._sticky = self.random.choice(_STICKINESS)
        self._actors: list[_Actor] = []
        self._by_thread: dict[int, _Actor] = {}
        self._control = threading.Semaphore(0)

    def spawn(self, name: str, work: Callable[[], None]) -> None:
        """Add somebody who acts while ``run`` runs."""
        self._actors.append(_Actor(name, work))

    def run(self) -> None:
        """Let all act until they are done.

        Raises:
            BaseException: What one of them raised.
        """
        threads = [threading.Thread(target=self._act, args=(actor,)) for actor in self._actors]
        for thread in threads:
            thread.start()
        live = list(self._actors)
        chosen = live[0]
        while live:
            self.now += 1
            if chosen.done or self.random.random() >= self._sticky:
                chosen = self.random.choice(live)
            chosen.turn.release()
            if not self._control.acquire(timeout=STUCK_S):
                raise AssertionError(f"{chosen.name} is stuck:\n" + "\n".join(self.trace[-20:]))
            live = [actor for actor in live if not actor.done]
        for thread in threads:
            thread.join()
        errors = [actor.error for actor in self._actors if actor.error is not None]
        self._actors.clear()
        self._by_thread.clear()
        if errors:
            raise errors[0]

    @contextlib.contextmanager
    def request(self, replica: str) -> Iterator[None]:
        """Mark that the current thread is in a request to a replica; it dies with that.

        Raises:
            Killed: The replica was killed, so the client sees its connection cut.
        """
        actor = self._by_thread.get(threading.get_ident())
        if actor is None:
            yield
            return
        actor.replica = replica
        try:
            yield
            if actor.doomed:
                raise Killed
        finally:
            actor.replica, actor.doomed = None, False

    def pause(self) -> None:
        """Let others go on; for whoever waits for something."""
        actor = self._by_thread.get(threading.get_ident())
        if actor is not None:
            self._wait(actor)

    def at(self, moment: Moment) -> None:
        """Stand still at a moment of a Glance call; for ``Moments.watch``.

        Raises:
            Killed: The replica that makes the call was killed.
            GlanceUnavailable: Glance does not answer.
        """
        actor = self._by_thread.get(threading.get_ident())
        if actor is None:
            return
        if moment.step != Step.AFTER:
            self._wait(actor)
            self._maybe_kill()
        written_anyway = moment.step == Step.MIDDLE and moment.call in _WRITTEN_ANYWAY
        # What a killed replica had just sent may still reach Glance; then it dies after it.
        sent = moment.step == Step.BEFORE and moment.call != "put_data" and self._luck(0.3)
        if actor.doomed and not written_anyway and not sent:
            self._note(actor, moment, "killed")
            raise Killed
        if actor.replica is not None and not written_anyway:
            self._maybe_fail(actor, moment)
        self._note(actor, moment, "")

    def _act(self, actor: _Actor) -> None:
        self._by_thread[threading.get_ident()] = actor
        actor.turn.acquire()
        try:
            actor.work()
        except BaseException as exc:  # noqa: BLE001 - it is raised again in run
            actor.error = exc
        finally:
            actor.done = True
            self._control.release()

    def _wait(self, actor: _Actor) -> None:
        self._control.release()
        actor.turn.acquire()

    def _luck(self, likelihood: float) -> bool:
        return likelihood > 0 and self.random.random() < likelihood

    def _maybe_kill(self) -> None:
        if not self._luck(self.chaos.kills):
            return
        busy = sorted({actor.replica for actor in self._actors if actor.replica is not None})
        if not busy:
            return
        replica = self.random.choice(busy)
        self.trace.append(f"{self.now:4} SIGKILL {replica}")
        for actor in self._actors:
            if actor.replica == replica:
                actor.doomed = True
        self._restart(replica)

    def _maybe_fail(self, actor: _Actor, moment: Moment) -> None:
        in_upload = moment.call == "put_data" and moment.step == Step.MIDDLE
        if in_upload and self._luck(self.chaos.worker_kills):
            self._note(actor, moment, "Glance's worker is killed")
            raise GlanceWorkerKilled("worker killed")
        if self._luck(self.chaos.glance_faults):
            self._note(actor, moment, "Glance does not answer")
            raise GlanceUnavailable(f"{moment.step} {moment.call}")

    def _note(self, actor: _Actor, moment: Moment, what: str) -> None:
        image = (moment.image_id or "")[:8]
        where = f"{moment.call} {moment.step} {image}"
        self.trace.append(f"{self.now:4} {actor.name} on {actor.replica}: {where} {what}".rstrip())
