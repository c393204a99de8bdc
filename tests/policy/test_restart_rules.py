"""Who is restarted, who stops and starts with it, and when a supervisor gives up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.messages import ExitReason
from actorkit.policy.restart import (
    AutoShutdown,
    Restart,
    RestartPlan,
    RestartWindow,
    Shutdown,
    Strategy,
    auto_shuts_down,
    grace,
    plan,
    wants_restart,
)


@pytest.mark.parametrize(
    ("restart", "reasons"),
    [
        (Restart.PERMANENT, set(ExitReason)),
        (Restart.TRANSIENT, {ExitReason.FAILED, ExitReason.KILLED}),
        (Restart.TEMPORARY, set[ExitReason]()),
    ],
)
def test_the_restart_type_decides_on_the_exit_reason(restart: Restart, reasons: set[ExitReason]) -> None:
    assert {reason for reason in ExitReason if wants_restart(restart, reason)} == reasons


def test_values_are_lower_case_names() -> None:
    for enum in (Restart, Strategy, Shutdown, AutoShutdown):
        assert all(member.value == member.name.lower() for member in enum)


# RestartWindow


class NaiveWindow:
    """Keeps every restart for ever, and counts those within the window."""

    def __init__(self, max_restarts: int, within: float) -> None:
        self.max_restarts, self.within = max_restarts, within
        self.times: list[float] = []

    def allows(self, now: float) -> bool:
        self.times.append(now)
        return sum(time >= now - self.within for time in self.times) <= self.max_restarts


_STEPS = st.lists(st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]), st.floats(0, 10)), max_size=40)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 5), st.one_of(st.sampled_from([1.0, 5.0]), st.floats(0.01, 20)), _STEPS, st.integers(0, 40))
def test_a_window_agrees_with_one_that_keeps_everything(max_restarts: int, within: float, steps: list[float], cleared_at: int) -> None:
    window, naive = RestartWindow(max_restarts, within), NaiveWindow(max_restarts, within)
    now = 0.0
    for number, step in enumerate(steps):
        if number == cleared_at:
            window.clear()
            naive.times.clear()
        now += step
        assert window.allows(now) == naive.allows(now)


def test_one_restart_more_than_the_budget_is_refused() -> None:
    window = RestartWindow(3, 5.0)
    assert [window.allows(now) for now in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]


def test_a_restart_exactly_as_long_ago_as_the_window_still_counts() -> None:
    assert [RestartWindow(1, 5.0).allows(0.0)] == [True]
    window = RestartWindow(1, 5.0)
    assert [window.allows(now) for now in (0.0, 5.0)] == [True, False]
    window = RestartWindow(1, 5.0)
    assert [window.allows(now) for now in (0.0, 5.0001)] == [True, True]


def test_a_budget_of_none_allows_none() -> None:
    window = RestartWindow(0, 5.0)
    assert [window.allows(now) for now in (0.0, 100.0)] == [False, False]


def test_a_cleared_window_starts_anew() -> None:
    window = RestartWindow(1, 5.0)
    window.allows(0.0)
    window.clear()
    assert window.allows(0.0)


# plan


def test_one_for_one_touches_nobody_else() -> None:
    assert plan(Strategy.ONE_FOR_ONE, ["a", "b", "c"], "b") == RestartPlan(stop=(), start=("b",))


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() -> None:
    assert plan(Strategy.ONE_FOR_ALL, ["a", "b", "c"], "b") == RestartPlan(stop=("c", "a"), start=("a", "b", "c"))


def test_rest_for_one_leaves_earlier_children_alone() -> None:
    assert plan(Strategy.REST_FOR_ONE, ["a", "b", "c", "d"], "b") == RestartPlan(stop=("d", "c"), start=("b", "c", "d"))


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(Strategy), st.lists(st.text(max_size=3), min_size=1, max_size=8, unique=True), st.data())
def test_a_plan_stops_what_it_starts_again_against_the_order_of_starting(strategy: Strategy, names: list[str], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(names))
    made = plan(strategy, names, failed)

    assert failed in made.start
    assert failed not in made.stop
    assert list(made.start) == [name for name in names if name in made.start]
    assert list(made.stop) == [name for name in reversed(made.start) if name != failed]


def test_a_child_that_the_supervisor_does_not_have_cannot_be_planned_for() -> None:
    with pytest.raises(ValueError, match="not in list"):
        plan(Strategy.ONE_FOR_ONE, ["a"], "b")


# Ends


@pytest.mark.parametrize(
    ("setting", "ended", "left", "shuts_down"),
    [
        (AutoShutdown.NEVER, True, 0, False),
        (AutoShutdown.ANY_SIGNIFICANT, False, 0, False),
        (AutoShutdown.ANY_SIGNIFICANT, True, 2, True),
        (AutoShutdown.ALL_SIGNIFICANT, True, 1, False),
        (AutoShutdown.ALL_SIGNIFICANT, True, 0, True),
        (AutoShutdown.ALL_SIGNIFICANT, False, 0, False),
    ],
)
def test_a_supervisor_ends_with_its_significant_children(setting: AutoShutdown, ended: bool, left: int, shuts_down: bool) -> None:
    assert auto_shuts_down(setting, ended, left) is shuts_down


def test_grace_is_in_seconds() -> None:
    assert (grace(Shutdown.KILL), grace(Shutdown.INFINITY), grace(5), grace(0.5)) == (0.0, math.inf, 5.0, 0.5)
