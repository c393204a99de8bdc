"""Decides when so much fails that the whole system has to slow down, and how it comes back.

Each poll tells how many components are unhealthy, of how many that count. It is

- *alarming*, if more than `unhealthy_fraction` of them are, or more than a third of that while failure spreads along the
  dependency graph; but never with fewer than `LEAST_ELIGIBLE` components;
- *calm*, if at most a third of `unhealthy_fraction` are, of one component at least;
- *uneasy* otherwise. That there are three and not two keeps a system at the border from going to and fro.

| phase      | event    | when                                                | change           | next       |
|------------|----------|-----------------------------------------------------|------------------|------------|
| NORMAL     | calm     |                                                     |                  | NORMAL     |
| NORMAL     | uneasy   |                                                     |                  | NORMAL     |
| NORMAL     | alarming |                                                     | EnteredEmergency | EMERGENCY  |
| NORMAL     | alarming | ever since an operator ended the last emergency     |                  | NORMAL     |
| EMERGENCY  | calm     | not yet for `stabilisation`                         |                  | EMERGENCY  |
| EMERGENCY  | calm     | for `stabilisation`                                 | BeganRecovery    | RECOVERING |
| EMERGENCY  | calm     | not yet, and `ESCALATE_AFTER` is over               | Escalated        | EMERGENCY  |
| EMERGENCY  | uneasy   | its time starts anew                                |                  | EMERGENCY  |
| EMERGENCY  | uneasy   | `ESCALATE_AFTER` is over                            | Escalated        | EMERGENCY  |
| EMERGENCY  | alarming | its time starts anew                                |                  | EMERGENCY  |
| EMERGENCY  | alarming | `ESCALATE_AFTER` is over                            | Escalated        | EMERGENCY  |
| RECOVERING | calm     | not yet for `step_time`                             |                  | RECOVERING |
| RECOVERING | calm     | for `step_time`                                     | SteppedUp        | RECOVERING |
| RECOVERING | calm     | for `step_time`, on the last step                   | Resolved         | NORMAL     |
| RECOVERING | calm     | not yet, and held for `ESCALATE_AFTER`              | Escalated        | RECOVERING |
| RECOVERING | uneasy   | the step is held: its time starts anew              |                  | RECOVERING |
| RECOVERING | uneasy   | held for `ESCALATE_AFTER`                           | Escalated        | RECOVERING |
| RECOVERING | alarming |                                                     | Relapsed         | EMERGENCY  |
| NORMAL     | force    | always                                              | EnteredEmergency | EMERGENCY  |
| EMERGENCY  | force    | its time starts anew                                |                  | EMERGENCY  |
| RECOVERING | force    | always                                              | Relapsed         | EMERGENCY  |
| NORMAL     | abort    | always                                              |                  | NORMAL     |
| EMERGENCY  | abort    | always                                              | Resolved         | NORMAL     |
| RECOVERING | abort    | always                                              | Resolved         | NORMAL     |

A poll makes one change at most, so none of the steps is skipped, however late it comes. Escalated comes once for each
`ESCALATE_AFTER` seconds in an emergency, or on a step beyond its `step_time`.

`stabilisation` is `stabilise`, doubled with each relapse, `MOST_DOUBLINGS` times at most. An emergency within
`FORGET_AFTER` seconds of the last one is a relapse as well, whatever it began with; after so long in NORMAL all are forgotten.

An operator's `abort` would mean nothing if the next poll began an emergency again. So none begins until a poll was not
alarming, or an operator forces one. With no component that counts a poll is uneasy: nothing fails, and nothing works.
"""

from __future__ import annotations

from enum import Enum
from itertools import pairwise
from typing import Final

from attrs import frozen

from actorkit.errors import SpecError
from actorkit.policy.checks import check_number, check_seconds, check_type, complaint

LEAST_ELIGIBLE: Final = 3
"""Components below which a share says nothing: one of two is a half."""

CALM_PART: Final = 3
"""What part of `unhealthy_fraction` is calm: the third one, so 10 % of 30 %."""

MOST_DOUBLINGS: Final = 3
"""Relapses that make an emergency longer: to the eightfold."""

ESCALATE_AFTER: Final = 600.0
"""Seconds without getting any further after which it is escalated, and again."""

FORGET_AFTER: Final = 300.0
"""Seconds in NORMAL after which relapses are forgotten."""


class CascadePhase(Enum):
    """How the system as a whole is run."""

    NORMAL = "normal"
    """At its full rate."""
    EMERGENCY = "emergency"
    """At `emergency_rate`: so much fails that it has to stabilise first."""
    RECOVERING = "recovering"
    """At rates that rise step by step."""


class Trigger(Enum):
    """What an emergency began with."""

    TOO_MANY = "too_many"
    """More components than `unhealthy_fraction` were unhealthy."""
    SPREADING = "spreading"
    """Failure spread along the dependency graph."""
    OPERATOR = "operator"
    """Somebody forced it."""


@frozen(kw_only=True)
class CascadeSettings:
    """When there is an emergency, and how it ends. `CascadeManager.settings` describes them.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    poll: float = 5.0
    unhealthy_fraction: float = 0.3
    emergency_rate: float = 0.1
    stabilise: float = 30.0
    steps: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    step_time: float = 30.0

    def __attrs_post_init__(self) -> None:
        owner = "CascadeManager"
        for field in ("poll", "stabilise", "step_time"):
            check_seconds(owner, field, getattr(self, field), positive=True)
        for field, of in (("unhealthy_fraction", "all components"), ("emergency_rate", "the full rate")):
            check_number(owner, field, getattr(self, field), f"a share of {of}, more than 0 and at most 1", most=1.0)
        expected = "a tuple of shares of the full rate, which rise, from emergency_rate at least to 1 at most"
        check_type(owner, "steps", self.steps, tuple, expected)
        for each in self.steps:
            check_number(owner, "steps", each, expected, least=self.emergency_rate, most=1.0)
        if not self.steps or any(this >= following for this, following in pairwise(self.steps)):
            raise SpecError(complaint(owner, "steps", self.steps, expected))


@frozen(kw_only=True)
class EnteredEmergency:
    """The system slows down to `emergency_rate`.

    Attributes:
        trigger: what it began with.
        unhealthy: components, at the last poll.
        eligible: of how many that count.
        relapses: with this one, if an emergency ended a short time ago.
    """

    trigger: Trigger
    unhealthy: int
    eligible: int
    relapses: int


@frozen(kw_only=True)
class Escalated:
    """Nothing has got any further for long: a person should look. It goes on as before.

    Attributes:
        phase: EMERGENCY or RECOVERING.
        lasted: seconds since the emergency, or the present step, began.
        unhealthy: components.
        eligible: of how many that count.
    """

    phase: CascadePhase
    lasted: float
    unhealthy: int
    eligible: int


@frozen(kw_only=True)
class BeganRecovery:
    """The system has stabilised, and goes on to the first step, at this rate."""

    rate: float


@frozen(kw_only=True)
class SteppedUp:
    """The last step went well: the next one. They count from 0."""

    step: int
    rate: float


@frozen(kw_only=True)
class Relapsed:
    """It was too early: back to `emergency_rate`.

    Attributes:
        trigger: why.
        unhealthy: components.
        eligible: of how many that count.
        step: the one on which it happened; they count from 0.
        relapses: with this one.
    """

    trigger: Trigger
    unhealthy: int
    eligible: int
    step: int
    relapses: int


@frozen(kw_only=True)
class Resolved:
    """The system is back at its full rate.

    Attributes:
        lasted: seconds since it left it.
        relapses: that there were.
        aborted: an operator said so, whatever the polls say.
    """

    lasted: float
    relapses: int
    aborted: bool


Change = EnteredEmergency | Escalated | BeganRecovery | SteppedUp | Relapsed | Resolved


class Cascade:
    """The phase of one system, and how it changes.

    Every `now` is in seconds, on a clock that never goes back.

    Attributes:
        phase: how the system is run.
        step: which of `steps` it is on; None unless RECOVERING.
        relapses: that have not been forgotten.
    """

    def __init__(self, settings: CascadeSettings, now: float) -> None:
        self.settings: CascadeSettings = settings
        self.phase: CascadePhase = CascadePhase.NORMAL
        self.step: int | None = None
        self.relapses: int = 0
        self._left_normal = now
        self._place_since = now  # the phase or, when recovering, the step
        self._calm_since: float | None = None  # in this place
        self._escalates_at = now
        self._forgets_at = now  # when in NORMAL: until then an emergency is a relapse
        self._is_overruled = False  # in NORMAL, by an operator, though the polls are alarming
        self._unhealthy = self._eligible = 0  # at the last poll

    @property
    def rate(self) -> float:
        """The share of the full rate that sources may have."""
        if self.step is not None:
            return self.settings.steps[self.step]
        return 1.0 if self.phase is CascadePhase.NORMAL else self.settings.emergency_rate

    @property
    def stabilisation(self) -> float:
        """Seconds of calm that an emergency needs to end, after as many relapses."""
        return self.settings.stabilise * (1 << min(self.relapses, MOST_DOUBLINGS))

    def tick(self, now: float, unhealthy: int, eligible: int, *, spreading: bool = False) -> list[Change]:
        """A poll.

        Args:
            now: when.
            unhealthy: how many of the eligible components are UNHEALTHY.
            eligible: how many count: those whose health is known.
            spreading: whether failure spreads along the graph, as `dependencies.spreading` sees it.

        Returns:
            What has changed: nothing, or one thing.
        """
        self._unhealthy, self._eligible = unhealthy, eligible
        is_calm = self._is_calm()
        trigger = None if is_calm else self._trigger(spreading)
        if not is_calm:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        change = self._next(now, trigger)
        return [] if change is None else [change]

    def force(self, now: float) -> list[Change]:
        """An operator wants an emergency. It ends as any other does, or by `abort`."""
        if self.phase is CascadePhase.NORMAL:
            return [self._enter(now, Trigger.OPERATOR)]
        self._calm_since = None
        return [] if self.step is None else [self._fall_back(now, self.step, Trigger.OPERATOR)]

    def abort(self, now: float) -> list[Change]:
        """An operator wants the full rate, at once and with no relapses remembered, until an emergency begins anew."""
        if self.phase is CascadePhase.NORMAL:
            return []
        self._is_overruled = True
        change = self._resolve(now, aborted=True)
        self.relapses, self._forgets_at = 0, now
        return [change]

    def _is_calm(self) -> bool:
        # The quotient is the double nearest to the true share, as the setting is to what somebody wrote: 3 of 10 is 0.3,
        # where 0.3 * 10 need not be 3, and 0.3 / 3 is less than 0.1.
        return self._eligible > 0 and CALM_PART * self._unhealthy / self._eligible <= self.settings.unhealthy_fraction

    def _trigger(self, spreading: bool) -> Trigger | None:
        """What makes a poll that is not calm alarming."""
        if self._eligible < LEAST_ELIGIBLE:
            return None
        if self._unhealthy / self._eligible > self.settings.unhealthy_fraction:
            return Trigger.TOO_MANY
        return Trigger.SPREADING if spreading else None

    def _was_calm_for(self, seconds: float, now: float) -> bool:
        return self._calm_since is not None and now - self._calm_since >= seconds

    def _next(self, now: float, trigger: Trigger | None) -> Change | None:
        if self.phase is CascadePhase.NORMAL:
            return self._in_normal(now, trigger)
        if self.phase is CascadePhase.RECOVERING:
            return self._in_recovery(now, trigger)
        return self._begin_step(now, 0) if self._was_calm_for(self.stabilisation, now) else self._escalation(now)

    def _in_normal(self, now: float, trigger: Trigger | None) -> Change | None:
        if now >= self._forgets_at:
            self.relapses = 0
        if trigger is None:
            self._is_overruled = False
        elif not self._is_overruled:
            return self._enter(now, trigger)
        return None

    def _in_recovery(self, now: float, trigger: Trigger | None) -> Change | None:
        assert self.step is not None
        if trigger is not None:
            return self._fall_back(now, self.step, trigger)
        if not self._was_calm_for(self.settings.step_time, now):
            return self._escalation(now)
        if self.step == len(self.settings.steps) - 1:
            return self._resolve(now, aborted=False)
        return self._begin_step(now, self.step + 1)

    def _fall_back(self, now: float, step: int, trigger: Trigger) -> Change:
        self.relapses += 1
        self._go_to(CascadePhase.EMERGENCY, now)
        return Relapsed(trigger=trigger, unhealthy=self._unhealthy, eligible=self._eligible, step=step, relapses=self.relapses)

    def _enter(self, now: float, trigger: Trigger) -> Change:
        self.relapses = self.relapses + 1 if now < self._forgets_at else 0
        self._left_normal = now
        self._is_overruled = False
        self._go_to(CascadePhase.EMERGENCY, now)
        return EnteredEmergency(trigger=trigger, unhealthy=self._unhealthy, eligible=self._eligible, relapses=self.relapses)

    def _begin_step(self, now: float, step: int) -> Change:
        self._go_to(CascadePhase.RECOVERING, now, step)
        return SteppedUp(step=step, rate=self.rate) if step else BeganRecovery(rate=self.rate)

    def _resolve(self, now: float, *, aborted: bool) -> Change:
        self._forgets_at = now + FORGET_AFTER
        self._go_to(CascadePhase.NORMAL, now)
        return Resolved(lasted=now - self._left_normal, relapses=self.relapses, aborted=aborted)

    def _go_to(self, phase: CascadePhase, now: float, step: int | None = None) -> None:
        self.phase, self.step = phase, step
        self._place_since = now
        self._calm_since = None if step is None else now  # a step begins at a calm poll
        self._escalates_at = now + ESCALATE_AFTER + (0.0 if step is None else self.settings.step_time)

    def _escalation(self, now: float) -> Change | None:
        if now < self._escalates_at:
            return None
        self._escalates_at = now + ESCALATE_AFTER
        return Escalated(phase=self.phase, lasted=now - self._place_since, unhealthy=self._unhealthy, eligible=self._eligible)
