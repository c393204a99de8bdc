"""A user's word on what is done about an actor that does badly. By itself, health changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, field, frozen

from actorkit.errors import SpecError
from actorkit.policy.checks import check_choice, check_count, complaint
from actorkit.policy.health import HealthStatus
from actorkit.policy.rules import check_component, is_at


class HealthAction(Enum):
    """What is done about an actor that does badly."""

    THROTTLE = "throttle"
    """It goes on at half its rate so far, and comes back to it as it gets better."""
    RESTART = "restart"
    """It gets a fresh instance, which counts against the restart budget. The message in hand is tried again."""
    SET_ASIDE = "set_aside"
    """It is stopped, and what it is sent waits, until somebody releases it."""


@frozen
class HealthRule:
    """What is done about actors that do badly for so long. The first of a policy's rules that is due decides.

    Args:
        action: what is done. THROTTLE is done at each poll from the first time on, as long as it lasts; the others after each
            `polls` polls.
        status: how badly, or worse: DEGRADED or UNHEALTHY.
        polls: in so many polls in a row; 3, as the probes of Kubernetes fail.
        component: a glob over the actor's path. One without "/" matches its name as well.

    Raises:
        SpecTypeError: a value is of the wrong type.
        SpecError: `status` is HEALTHY or UNKNOWN, `polls` less than 1, or `component` empty.
    """

    action: HealthAction
    status: HealthStatus = HealthStatus.UNHEALTHY
    polls: int = field(default=3, kw_only=True)
    component: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_choice("HealthRule", "action", self.action, HealthAction)
        check_choice("HealthRule", "status", self.status, HealthStatus)
        if self.status not in (HealthStatus.DEGRADED, HealthStatus.UNHEALTHY):
            raise SpecError(complaint("HealthRule", "status", self.status, "HealthStatus.DEGRADED or HealthStatus.UNHEALTHY"))
        check_count("HealthRule", "polls", self.polls, 1)
        check_component("HealthRule", self.component)

    def is_due(self, path: str, spell: Spell) -> bool:
        """Whether it is to be done now to the actor at this path, that has done badly for so long."""
        polls = spell.degraded if self.status is HealthStatus.DEGRADED else spell.unhealthy
        if polls < self.polls or not is_at(path, self.component):
            return False
        return self.action is HealthAction.THROTTLE or polls % self.polls == 0

    def __str__(self) -> str:
        where = "" if self.component is None else f", component {self.component}"
        worse = " or worse" if self.status is HealthStatus.DEGRADED else ""
        return f"{self.status.name}{worse} in {self.polls} {'poll' if self.polls == 1 else 'polls in a row'}{where}"


@define
class Spell:
    """For how many polls in a row an actor has done badly.

    Attributes:
        degraded: that found it DEGRADED, or worse.
        unhealthy: that found it UNHEALTHY.
    """

    degraded: int = 0
    unhealthy: int = 0

    def note(self, status: HealthStatus) -> None:
        """What a poll has found. UNKNOWN says nothing: it is on its way back, and was not judged."""
        if status is not HealthStatus.UNKNOWN:
            self.degraded = 0 if status is HealthStatus.HEALTHY else self.degraded + 1
            self.unhealthy = self.unhealthy + 1 if status is HealthStatus.UNHEALTHY else 0


def action_due(rules: Iterable[HealthRule], path: str, spell: Spell) -> HealthAction | None:
    """What is to be done now about the actor at this path, that has done badly for so long."""
    return next((rule.action for rule in rules if rule.is_due(path, spell)), None)
