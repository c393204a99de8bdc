"""Whose turn it is among priorities: the highest goes first, and nobody starves."""

from __future__ import annotations

from hypothesis import given, strategies as st

from actorkit.policy.priority import MOST_PASSED, PriorityTurns


def served(turns: PriorityTurns, waiting: list[int], times: int) -> list[int]:
    return [turns.take(waiting) for _ in range(times)]


def test_the_highest_goes_first_and_after_sixteen_of_it_one_of_the_next() -> None:
    turns = PriorityTurns([5, 0])

    order = served(turns, [5, 0], 2 * (MOST_PASSED + 1))

    assert order == 2 * ([5] * MOST_PASSED + [0])


def test_with_three_priorities_each_lower_one_has_its_turn() -> None:
    turns = PriorityTurns([2, 1, 0])

    order = served(turns, [2, 1, 0], MOST_PASSED + 2)

    assert order == [2] * MOST_PASSED + [1, 0]


def test_what_does_not_wait_is_not_passed_over() -> None:
    turns = PriorityTurns([1, 0])

    served(turns, [1], 100)

    assert served(turns, [1, 0], 2) == [1, 1]


def test_looking_changes_nothing() -> None:
    turns = PriorityTurns([1, 0])

    looks = {turns.next([1, 0]) for _ in range(100)}

    assert looks == {1}
    assert served(turns, [1, 0], MOST_PASSED) == [1] * MOST_PASSED


@given(st.lists(st.sets(st.integers(-2, 3), min_size=1), max_size=200))
def test_whoever_waits_is_served_within_the_bound(rounds: list[set[int]]) -> None:
    levels = range(-2, 4)
    turns = PriorityTurns(levels)
    passed = dict.fromkeys(levels, 0)
    waiting: set[int] = set()

    for arrived in rounds:
        waiting |= arrived
        taken = turns.take(sorted(waiting, reverse=True))
        assert taken in waiting
        for each in waiting:
            passed[each] += each < taken
        passed[taken] = 0
        waiting.discard(taken)

        assert max(passed.values()) <= MOST_PASSED + len(levels) - 2
