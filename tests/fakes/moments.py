"""The moments of a call to the Glance in memory, at which tests may look, wait, or let it fail."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass

from registry_glance.store.images import GlanceUnavailable


class Step(enum.StrEnum):
    """Where in a call a moment lies."""

    BEFORE = "before"  # Glance has done nothing yet
    MIDDLE = "middle"  # update: row read, not yet written; data: before the first and after each chunk
    AFTER = "after"  # all is done, the caller does not know it yet


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of one call.

    Attributes:
        call: Name of the ``ImageService`` method; ``list`` comes once per page.
        step: Where in the call.
        image_id: The image it is about; ``None`` for ``list``.
        caller: The label of the service object that makes the call, for example a replica's name.
    """

    call: str
    step: Step
    image_id: str | None
    caller: str


Action = Callable[[Moment], None]
"""What happens at a moment: it may raise (the call fails there), block, or call Glance itself."""


class Killed(BaseException):
    """The replica got a SIGKILL at this line; no ``except Exception`` may see it."""


class GlanceWorkerKilled(GlanceUnavailable):
    """Glance's own worker got a SIGKILL: its upload stays ``saving`` for ever."""


def fail(error: BaseException) -> Action:
    """Return an action that raises ``error``."""

    def action(moment: Moment) -> None:
        del moment
        raise error

    return action


class Moments:
    """The actions that are laid at moments; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._laid: list[_Laid] = []
        self.watch: Action | None = None
        """Called at every moment, before what was laid there."""

    def before(self, call: str, action: Action, *, times: int = 1, image_id: str | None = None) -> None:
        """Lay an action at the beginning of the next ``times`` calls."""
        self._lay(call, Step.BEFORE, action, times, image_id)

    def middle(self, call: str, action: Action, *, times: int = 1, image_id: str | None = None) -> None:
        """Lay an action in the middle of the next ``times`` calls (or chunks)."""
        self._lay(call, Step.MIDDLE, action, times, image_id)

    def after(self, call: str, action: Action, *, times: int = 1, image_id: str | None = None) -> None:
        """Lay an action at the end of the next ``times`` calls."""
        self._lay(call, Step.AFTER, action, times, image_id)

    def pending(self) -> list[str]:
        """Return what was laid and has not happened as often as it was to."""
        with self._lock:
            return [f"{laid.step} {laid.call}" for laid in self._laid]

    def reach(self, moment: Moment) -> None:
        """Let happen what was laid at this moment."""
        if self.watch is not None:
            self.watch(moment)
        for action in self._take(moment):
            action(moment)

    def _lay(self, call: str, step: Step, action: Action, times: int, image_id: str | None) -> None:
        with self._lock:
            self._laid.append(_Laid(call, step, image_id, action, times))

    def _take(self, moment: Moment) -> list[Action]:
        with self._lock:
            due = [laid for laid in self._laid if laid.fits(moment)]
            for laid in due:
                laid.times -= 1
            self._laid = [laid for laid in self._laid if laid.times > 0]
        return [laid.action for laid in due]


@dataclass(slots=True)
class _Laid:
    call: str
    step: Step
    image_id: str | None
    action: Action
    times: int

    def fits(self, moment: Moment) -> bool:
        return (
            self.times > 0
            and (self.call, self.step) == (moment.call, moment.step)
            and self.image_id in (None, moment.image_id)
        )
