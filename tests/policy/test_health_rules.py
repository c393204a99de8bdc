"""What is done about those that do badly for so long, by a user's rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.health import HealthStatus
from actorkit.policy.health_rules import HealthAction, HealthRule, Spell, action_due
from actorkit.policy.recovery import RecoveryPolicy
from actorkit.policy.rules import RecoveryAction, Rule

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = HealthStatus
THROTTLE, RESTART, SET_ASIDE = HealthAction


def actions(rules: list[HealthRule], statuses: list[HealthStatus], path: str = "root/shop/till") -> list[HealthAction | None]:
    """What is due at each of these polls."""
    spell, due = Spell(), []
    for status in statuses:
        spell.note(status)
        due.append(action_due(rules, path, spell))
    return due


def test_a_rule_is_due_after_each_so_many_polls_in_a_row() -> None:
    rules = [HealthRule(RESTART)]
    assert actions(rules, [UNHEALTHY] * 7) == [None, None, RESTART, None, None, RESTART, None]
    assert actions(rules, [UNHEALTHY, UNHEALTHY, DEGRADED, UNHEALTHY, UNHEALTHY, UNHEALTHY]) == [None] * 5 + [RESTART]
    assert actions(rules, [DEGRADED] * 9) == [None] * 9


def test_a_throttle_is_kept_up_as_long_as_it_lasts() -> None:
    rules = [HealthRule(THROTTLE, DEGRADED, polls=2)]
    assert actions(rules, [DEGRADED] * 4 + [HEALTHY]) == [None, THROTTLE, THROTTLE, THROTTLE, None]


def test_degraded_means_that_or_worse() -> None:
    rules = [HealthRule(RESTART, DEGRADED, polls=2)]
    assert actions(rules, [DEGRADED, UNHEALTHY, UNHEALTHY, DEGRADED]) == [None, RESTART, None, RESTART]


def test_what_is_not_known_counts_neither_way() -> None:
    assert actions([HealthRule(RESTART)], [UNHEALTHY, UNKNOWN, UNHEALTHY, UNKNOWN, UNHEALTHY])[-1] is RESTART


def test_the_first_rule_that_is_due_decides() -> None:
    rules = [HealthRule(SET_ASIDE, polls=4), HealthRule(RESTART, polls=2), HealthRule(THROTTLE, DEGRADED, polls=1)]
    assert actions(rules, [DEGRADED, UNHEALTHY, UNHEALTHY, UNHEALTHY, UNHEALTHY]) == [THROTTLE, THROTTLE, RESTART, THROTTLE, SET_ASIDE]


@pytest.mark.parametrize(
    ("component", "is_meant"),
    [
        (None, True),
        ("till", True),
        ("t*", True),
        ("root/shop/*", True),
        ("root/*", True),
        ("*/till", True),
        ("shop", False),
        ("root/bar/*", False),
    ],
)
def test_a_rule_may_be_about_some(component: str | None, is_meant: bool) -> None:
    assert actions([HealthRule(RESTART, polls=1, component=component)], [UNHEALTHY]) == [RESTART if is_meant else None]


@given(st.lists(st.sampled_from(list(HealthStatus))), st.integers(1, 5))
def test_nothing_is_done_to_one_that_is_well(statuses: list[HealthStatus], polls: int) -> None:
    due = actions([HealthRule(RESTART, DEGRADED, polls=polls)], statuses)
    assert all(action is None for action, status in zip(due, statuses, strict=True) if status is HEALTHY)
    bad = sum(status in (DEGRADED, UNHEALTHY) for status in statuses)
    assert due.count(RESTART) <= max(0, len(statuses) - polls + 1)
    if HEALTHY not in statuses and UNKNOWN not in statuses:
        assert due.count(RESTART) == bad // polls


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (
            {"action": RecoveryAction.RETRY},
            SpecTypeError,
            "HealthRule: action = <RecoveryAction.RETRY: 'retry'>: expected HealthAction.THROTTLE",
        ),
        ({"action": "restart"}, SpecTypeError, "HealthRule: action = 'restart'"),
        ({"status": "degraded"}, SpecTypeError, "HealthRule: status = 'degraded'"),
        ({"status": HEALTHY}, SpecError, "expected HealthStatus.DEGRADED or HealthStatus.UNHEALTHY"),
        ({"status": UNKNOWN}, SpecError, "expected HealthStatus.DEGRADED or HealthStatus.UNHEALTHY"),
        ({"polls": 0}, SpecError, "HealthRule: polls = 0: expected a whole number, 1 or more"),
        ({"polls": 1.5}, SpecTypeError, "HealthRule: polls = 1.5"),
        ({"component": ""}, SpecError, "HealthRule: component = '': expected a glob such as 'root/flights/*'"),
        ({"component": 7}, SpecTypeError, "HealthRule: component = 7"),
    ],
)
def test_values_are_checked(values: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("(", r"\(").replace("*", r"\*")):
        HealthRule(**{"action": RESTART, **values})


def test_a_policy_takes_health_rules_and_shows_them() -> None:
    policy = RecoveryPolicy(health_rules=[HealthRule(SET_ASIDE, polls=1, component="till"), HealthRule(THROTTLE, DEGRADED)])
    assert str(policy).splitlines()[-3:] == [
        "Health:",
        "  UNHEALTHY in 1 poll, component till: SET_ASIDE",
        "  DEGRADED or worse in 3 polls in a row: THROTTLE",
    ]
    assert "Health:" not in str(RecoveryPolicy())


@pytest.mark.parametrize("wrong", [7, [Rule(RecoveryAction.RETRY)], ["restart"]])
def test_a_policy_takes_nothing_else_for_them(wrong: Any) -> None:
    with pytest.raises(SpecTypeError, match=r"RecoveryPolicy: health_rules = .*: expected HealthRules, such as \(HealthRule"):
        RecoveryPolicy(health_rules=wrong)
