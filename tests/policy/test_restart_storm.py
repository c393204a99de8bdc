"""How fast a whole system restarts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.policy.restart import RestartWindow
from actorkit.policy.restart_storm import LEAST_BURST, PER_CHILD, REFILL, RestartPace

LONGEST_WAIT = REFILL / PER_CHILD


@pytest.mark.parametrize(
    ("children", "budgets", "burst", "rate"),
    [
        (0, [], 30, 0.5),
        (4, [(3, 5.0)], 30, 0.6),
        (4, [(3, 5.0), (1, 0.5), (0, 1.0)], 30, 2.0),
        (100, [(3, 5.0)], 300, 5.0),
        (4, [(500, 60.0)], 500, 500 / 60),
    ],
)
def test_it_grows_with_the_tree_and_is_as_wide_as_the_widest_budget(
    children: int, budgets: list[tuple[int, float]], burst: int, rate: float
) -> None:
    pace = RestartPace(children, budgets)

    assert (pace.burst, pace.rate) == (burst, rate)


def test_a_few_restarts_are_made_at_once_and_a_storm_is_spread() -> None:
    pace = RestartPace(4)

    waits = [pace.admit(100.0) for _ in range(LEAST_BURST + 3)]

    assert waits[:LEAST_BURST] == [0.0] * LEAST_BURST
    assert waits[LEAST_BURST:] == [2.0, 4.0, 6.0]
    assert pace.admit(110.0) == 0.0  # the three have had theirs, and two more have come
    assert pace.admit(100.0 + 10 * REFILL) == 0.0


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(1, 200), st.sampled_from([0.5, 5.0, 60.0])), min_size=1, max_size=3),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.5, 5.0, 61.0]), max_size=500),
)
def test_a_supervisor_within_its_own_budget_never_waits(children: int, budgets: list[tuple[int, float]], pauses: list[float]) -> None:
    pace, own = RestartPace(children, budgets), RestartWindow(*budgets[0])
    now = 0.0

    for pause in pauses:
        now += pause
        if not own.allows(now):
            break
        assert pace.admit(now) < 1e-9


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 60))
def test_however_often_all_children_fail_none_waits_for_long(children: int) -> None:
    pace = RestartPace(children)
    due = [0.0] * children  # when each one fails next

    for _ in range(20 * children):
        child = min(range(children), key=due.__getitem__)
        now = due[child]
        wait = pace.admit(now)
        assert 0.0 <= wait <= LONGEST_WAIT + 1e-6
        due[child] = now + wait  # it fails as soon as it is started


def test_what_was_taken_stays_taken_when_the_tree_grows() -> None:
    pace = RestartPace(10)
    for _ in range(30):
        pace.admit(0.0)

    pace.resize(0.0, 20)

    assert [pace.admit(0.0) for _ in range(31)] == [0.0] * 30 + [1.0]


def test_a_tree_that_shrinks_does_not_wait_for_restarts_that_will_never_come() -> None:
    pace = RestartPace(1_000)
    for _ in range(4_000):
        pace.admit(0.0)

    pace.resize(0.0, 5)

    assert pace.admit(0.0) <= LONGEST_WAIT


def test_a_new_size_of_a_quiet_tree_takes_nothing() -> None:
    pace = RestartPace(10)

    pace.resize(5.0, 20, [(3, 5.0)])

    assert (pace.burst, pace.rate) == (60, 1.0)
    assert [pace.admit(5.0) for _ in range(60)] == [0.0] * 60
