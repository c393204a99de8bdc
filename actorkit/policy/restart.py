"""Decides after an exit: who is restarted, who stops and starts with it, and when a supervisor gives up.

The rules are those of Erlang/OTP's `supervisor`, with our names.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorkit.messages import ExitReason


class Restart(Enum):
    """When a child that has ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """When it ended abnormally: it failed, or had to be killed."""
    TEMPORARY = "temporary"
    """Never, not even as a bystander."""


class Strategy(Enum):
    """Who stops and starts along with a child that is restarted."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings started after it."""


class Shutdown(Enum):
    """How long a child may take to stop, where a number of seconds does not say it."""

    KILL = "kill"
    """No time at all: it is cancelled at once."""
    INFINITY = "infinity"
    """As long as it takes; meant for supervisors."""


class AutoShutdown(Enum):
    """Whether a supervisor ends when its significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    """When one of them has."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has."""


class OnExhausted(Enum):
    """What happens when a child has used up its restarts."""

    ESCALATE = "escalate"
    """Its supervisor stops all its children, and fails itself."""
    QUARANTINE = "quarantine"
    """The child is set aside, with its mailboxes, until somebody releases it; its supervisor goes on."""


CANARIES = 3
"""Messages that a released child has to handle before it gets its restarts back; until then one failure sets it aside again."""


def wants_restart(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child of this restart type is started again after an exit for this reason."""
    if restart is Restart.PERMANENT:
        return True
    return restart is Restart.TRANSIENT and reason.is_abnormal


class RestartWindow:
    """Counts a supervisor's restarts: at most `max_restarts` within any `within` seconds.

    Args:
        max_restarts: 0 allows none. OTP calls it the intensity.
        within: seconds, more than 0. OTP calls it the period.

    Both are taken as they are: the spec they come from has checked them.
    """

    def __init__(self, max_restarts: int, within: float) -> None:
        self.max_restarts: int = max_restarts
        self.within: float = within
        self._times: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Record a restart at `now`, and say whether it is within the budget.

        Args:
            now: seconds, on a clock that never goes back. A restart exactly `within` seconds ago still counts.
        """
        self._times.append(now)
        while self._times[0] < now - self.within or len(self._times) > self.max_restarts + 1:
            # One more than the budget says no by itself, so older ones need not be kept.
            self._times.popleft()
        return len(self._times) <= self.max_restarts

    def clear(self) -> None:
        """Forget all restarts."""
        self._times.clear()


@frozen
class RestartPlan:
    """What a supervisor does to restart one child.

    Attributes:
        stop: the bystanders to stop, in this order; the failed child itself has ended already.
        start: the children to start, in this order, once all those have stopped.
    """

    stop: tuple[str, ...]
    start: tuple[str, ...]


def plan(strategy: Strategy, names: Sequence[str], failed: str) -> RestartPlan:
    """Who stops and who starts when `failed` is restarted: stopping goes against the order of starting.

    Args:
        strategy: the supervisor's.
        names: its children in the order they were started, `failed` among them.
        failed: the child that has ended.

    Raises:
        ValueError: `failed` is not in `names`.
    """
    place = names.index(failed)
    if strategy is Strategy.ONE_FOR_ONE:
        start = [failed]
    elif strategy is Strategy.ONE_FOR_ALL:
        start = list(names)
    else:
        start = list(names[place:])
    return RestartPlan(stop=tuple(name for name in reversed(start) if name != failed), start=tuple(start))


def auto_shuts_down(setting: AutoShutdown, significant_ended: bool, significant_left: int) -> bool:
    """Whether a supervisor ends after one of its children has ended by itself and is not restarted.

    Args:
        setting: the supervisor's.
        significant_ended: whether that child was significant.
        significant_left: how many significant children it still has.
    """
    if setting is AutoShutdown.NEVER or not significant_ended:
        return False
    return setting is AutoShutdown.ANY_SIGNIFICANT or significant_left == 0


def grace(shutdown: float | Shutdown) -> float:
    """The seconds a child has to stop before it is cancelled; 0 for KILL, `math.inf` for INFINITY."""
    if shutdown is Shutdown.KILL:
        return 0.0
    if shutdown is Shutdown.INFINITY:
        return math.inf
    return float(shutdown)
