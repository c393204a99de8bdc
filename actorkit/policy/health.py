"""Judges how well components do, by what the runtime knows of them and what they say themselves.

| what is known at a poll                    | DEGRADED                            | UNHEALTHY                     |
|--------------------------------------------|-------------------------------------|-------------------------------|
| deliveries failed, at least `min_failures` | `degraded_failures` of all          | `unhealthy_failures` of all   |
| a handler does not return                  | for `slow_after`                    | for `stuck_after`             |
| mail waits, and no message is finished     | for `slow_after`                    | for `stuck_after`             |
| the mailbox                                | is `full`, or `filling` and growing | never by that alone           |
| restarts since the last poll               | `degraded_restarts`                 | `unhealthy_restarts`          |
| it is down, and to be started again        | for `slow_after`                    | for `stuck_after`             |
| open circuit breakers                      | one                                 | never by that alone           |
| its own `health()`                         | says so                             | says so, fails or is too late |

The worst of these counts, and each is told. What is not running, still starting or set aside is not judged at all: but what
does not come up again, or crashes each time, is.

A full mailbox makes nothing UNHEALTHY, for it is how a slow actor holds up a fast one: at the start of a fast source all
mailboxes before the slowest actor fill up within seconds, and nothing is wrong. One from which nothing is taken is another
matter. The age of the message at the head says little for the same reason: behind a long queue it is old, however
smoothly that moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from attrs import frozen

from actorkit.errors import SpecError
from actorkit.policy.checks import check_count, check_number, check_seconds, complaint

UNHEALTHY_PART: Final = 0.3
"""More than this share of its components unhealthy, and a whole is: it is also what an emergency begins with by default."""


class HealthStatus(Enum):
    """How well a component does."""

    HEALTHY = "healthy"
    """It works."""
    DEGRADED = "degraded"
    """It works, but not as well as it should."""
    UNHEALTHY = "unhealthy"
    """It does not do its work."""
    UNKNOWN = "unknown"
    """There is nothing to judge by: it is starting, stopped or set aside."""

    def is_worse_than(self, other: HealthStatus) -> bool:
        """HEALTHY, DEGRADED, UNHEALTHY is the order. UNKNOWN is neither worse nor better than anything."""
        return HealthStatus.UNKNOWN not in (self, other) and _ORDER[self] > _ORDER[other]


_ORDER: Final = {status: place for place, status in enumerate(HealthStatus)}


class NoAnswer(Enum):
    """Why a component's own `health()` said nothing."""

    LATE = "late"
    """It did not return in time."""
    FAILED = "failed"
    """It raised."""


@frozen
class Health:
    """What a component's health comes to.

    Attributes:
        status: how well it does.
        reasons: why, for people, the worst first: "12 of 20 deliveries failed". Empty if it is HEALTHY.
    """

    status: HealthStatus
    reasons: tuple[str, ...] = ()


@frozen(kw_only=True)
class Vitals:
    """What is known of one component at a poll.

    Attributes:
        is_running: it is neither stopped nor stopping, nor has it ended.
        is_starting: it is being started, or waits for it.
        is_set_aside: it is in quarantine.
        delivered: how often a message was given to its handlers since the last poll, or since one was last handled, if that is
            longer ago and there has been work ever since: who tries one message again and again, with long waits, has few of
            them between two polls.
        failed: how many of these deliveries failed.
        queued: messages that wait for it.
        queued_before: how many waited at the last poll.
        capacity: how many may wait; None without a limit, or where something slows it down: then its mailbox is never too full.
        stalled_for: seconds since it last finished a message, or since mail began to wait if that is later; 0 while none
            waits, and while it is paused or throttled, or its mail is held back.
        blocked_for: seconds since the handler began that has not returned; 0 if there is none.
        restarts: how often it was started again since the last poll, or tried to.
        down_for: seconds since it was last up; 0 if it is, or has not been yet.
        open_breakers: how many of its circuit breakers are open.
        own: what its own `health()` says; None if it has none. UNKNOWN is no opinion, either.
    """

    is_running: bool = True
    is_starting: bool = False
    is_set_aside: bool = False
    delivered: int = 0
    failed: int = 0
    queued: int = 0
    queued_before: int = 0
    capacity: int | None = None
    stalled_for: float = 0.0
    blocked_for: float = 0.0
    restarts: int = 0
    down_for: float = 0.0
    open_breakers: int = 0
    own: HealthStatus | NoAnswer | None = None


@frozen(kw_only=True)
class HealthThresholds:
    """From when on a component is DEGRADED or UNHEALTHY. The module's table says what each is for.

    Attributes:
        min_failures: fewer failures say nothing: of one delivery, one failed is all of them.
        degraded_failures: a share of the deliveries.
        unhealthy_failures: the same; a half, at which the breakers of Hystrix and resilience4j open.
        slow_after: seconds; three polls.
        stuck_after: seconds; twelve polls, and as long as a breaker waits before it tries again.
        filling: a share of the capacity; 80 % is where dead letters alert, too.
        full: the same.
        degraded_restarts: since the last poll.
        unhealthy_restarts: the same; 3 in 5 s is all that a supervisor bears by default.
        answer_within: seconds that `health()` may take: half of a poll.

    Raises:
        SpecError: a value is out of range, or the worse threshold of a pair comes before the better one.
        SpecTypeError: a value is of the wrong type.
    """

    min_failures: int = 3
    degraded_failures: float = 0.1
    unhealthy_failures: float = 0.5
    slow_after: float = 15.0
    stuck_after: float = 60.0
    filling: float = 0.8
    full: float = 0.95
    degraded_restarts: int = 1
    unhealthy_restarts: int = 3
    answer_within: float = 2.5

    def __attrs_post_init__(self) -> None:
        owner = "HealthThresholds"
        for field in ("min_failures", "degraded_restarts", "unhealthy_restarts"):
            check_count(owner, field, getattr(self, field), 1)
        for field in ("degraded_failures", "unhealthy_failures", "filling", "full"):
            check_number(owner, field, getattr(self, field), "a share, more than 0 and at most 1", most=1.0)
        for field in ("slow_after", "stuck_after", "answer_within"):
            check_seconds(owner, field, getattr(self, field), positive=True)
        for first, then in _PAIRS:
            least, value = getattr(self, first), getattr(self, then)
            if value < least:
                raise SpecError(complaint(owner, then, value, f"at least {first}, which is {least:g}"))


_PAIRS: Final = (
    ("degraded_failures", "unhealthy_failures"),
    ("slow_after", "stuck_after"),
    ("filling", "full"),
    ("degraded_restarts", "unhealthy_restarts"),
)

_Finding = tuple[bool, str]
"""Whether it makes a component UNHEALTHY, and not just DEGRADED; and the reason for people."""

_HEALTHY: Final = Health(HealthStatus.HEALTHY)
_STARTING: Final = Health(HealthStatus.UNKNOWN, ("it is starting",))
_SET_ASIDE: Final = Health(HealthStatus.UNKNOWN, ("it is set aside",))
_NOT_RUNNING: Final = Health(HealthStatus.UNKNOWN, ("it is not running",))


def assess(vitals: Vitals, thresholds: HealthThresholds) -> Health:
    """How well a component does. Some microseconds, so that thousands can be judged at each poll."""
    if vitals.is_set_aside:
        return _SET_ASIDE
    if not vitals.is_running:
        return _NOT_RUNNING
    found = [each for judge in (_JUDGES_OF_STARTS if vitals.is_starting else _JUDGES) if (each := judge(vitals, thresholds)) is not None]
    if not found:
        return _STARTING if vitals.is_starting else _HEALTHY
    bad = [reason for is_unhealthy, reason in found if is_unhealthy]
    rest = [reason for is_unhealthy, reason in found if not is_unhealthy]
    return Health(HealthStatus.UNHEALTHY if bad else HealthStatus.DEGRADED, (*bad, *rest))


def roll_up(healths: Iterable[Health]) -> HealthStatus:
    """The health of a subtree, or of a system, by that of all its components.

    It is HEALTHY if all of them are, UNHEALTHY if more than `UNHEALTHY_PART` of them are, and DEGRADED in between. Those
    that are UNKNOWN don't count; if there are no others, it is UNKNOWN.
    """
    statuses = [health.status for health in healths if health.status is not HealthStatus.UNKNOWN]
    if not statuses:
        return HealthStatus.UNKNOWN
    if statuses.count(HealthStatus.UNHEALTHY) / len(statuses) > UNHEALTHY_PART:
        return HealthStatus.UNHEALTHY
    return HealthStatus.HEALTHY if statuses.count(HealthStatus.HEALTHY) == len(statuses) else HealthStatus.DEGRADED


def _own(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    match vitals.own:
        case HealthStatus.DEGRADED | HealthStatus.UNHEALTHY as status:
            return (status is HealthStatus.UNHEALTHY, f"its health() says {status.value}")
        case NoAnswer.LATE:
            return (True, f"no answer from health() within {thresholds.answer_within:g} s")
        case NoAnswer.FAILED:
            return (True, "its health() failed")
        case _:
            return None


def _failures(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    failed, delivered = vitals.failed, max(vitals.failed, vitals.delivered)
    if failed < thresholds.min_failures or failed / delivered < thresholds.degraded_failures:
        return None
    return (failed / delivered >= thresholds.unhealthy_failures, f"{failed} of {delivered} deliveries failed")


def _pace(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    # A handler that does not return is why nothing is finished, so the one reason is enough.
    if vitals.blocked_for >= thresholds.slow_after:
        return (vitals.blocked_for >= thresholds.stuck_after, f"a handler has not returned for {vitals.blocked_for:.0f} s")
    if vitals.stalled_for >= thresholds.slow_after:
        reason = f"no message was finished for {vitals.stalled_for:.0f} s, and {vitals.queued} wait"
        return (vitals.stalled_for >= thresholds.stuck_after, reason)
    return None


def _mailbox(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    if not vitals.capacity:
        return None
    filled, is_growing = vitals.queued / vitals.capacity, vitals.queued > vitals.queued_before
    if filled < (thresholds.filling if is_growing else thresholds.full):
        return None
    return (False, f"its mailbox is {100 * vitals.queued // vitals.capacity} % full{' and growing' if is_growing else ''}")


def _restarts(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    if vitals.restarts < thresholds.degraded_restarts:
        return None
    times = "once" if vitals.restarts == 1 else f"{vitals.restarts} times"
    return (vitals.restarts >= thresholds.unhealthy_restarts, f"it was restarted {times} since the last poll")


def _breakers(vitals: Vitals, _: HealthThresholds) -> _Finding | None:
    if not vitals.open_breakers:
        return None
    return (False, "a circuit breaker is open" if vitals.open_breakers == 1 else f"{vitals.open_breakers} circuit breakers are open")


def _crashes_at_start(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    return _restarts(vitals, thresholds) if vitals.restarts >= thresholds.unhealthy_restarts else None


def _down(vitals: Vitals, thresholds: HealthThresholds) -> _Finding | None:
    if vitals.down_for < thresholds.slow_after:
        return None
    return (vitals.down_for >= thresholds.stuck_after, f"it has not come up again for {vitals.down_for:.0f} s")


_JUDGES_OF_STARTS: Final = (_crashes_at_start, _down)
_JUDGES: Final = (_own, _failures, _pace, _mailbox, _restarts, _breakers)
