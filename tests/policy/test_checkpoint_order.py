"""Which checkpoints are kept and tried, and in which order failed components recover."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from actorkit.policy.checkpoint import next_id, next_time, recovery_order, to_forget, to_try

Graph = dict[str, str]


def order(failed: str, graph: Graph) -> list[str]:
    """The units as texts: "ab" is one unit of two."""
    return ["".join(unit) for unit in recovery_order(failed, lambda each: graph.get(each, ""))]


@pytest.mark.parametrize(
    ("failed", "graph", "expected"),
    [
        ("", {}, []),
        ("a", {}, ["a"]),
        ("abc", {}, ["a", "b", "c"]),
        ("aa", {}, ["a"]),
        ("ab", {"a": "b"}, ["b", "a"]),
        ("abc", {"a": "b", "b": "c"}, ["c", "b", "a"]),
        ("ac", {"a": "b", "b": "c"}, ["c", "a"]),
        ("abc", {"a": "b", "b": "a"}, ["ab", "c"]),
        ("ca", {"a": "b", "b": "ca", "c": "a"}, ["ca"]),
        ("abcd", {"a": "b", "b": "cd", "c": "b", "d": ""}, ["d", "bc", "a"]),
        ("a", {"a": "a"}, ["a"]),
    ],
)
def test_dependencies_come_first_and_circles_are_a_unit(failed: str, graph: Graph, expected: list[str]) -> None:
    assert order(failed, graph) == expected


def test_a_chain_may_be_as_long_as_it_likes() -> None:
    units = recovery_order(range(50_000), lambda each: [each + 1] if each < 49_999 else [])

    assert units[0] == (49_999,)
    assert units[-1] == (0,)


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9), st.lists(st.integers(0, 8), max_size=9))
def test_each_recovers_once_and_after_what_it_leads_to(graph: dict[int, list[int]], failed: list[int]) -> None:
    def reach(node: int) -> set[int]:
        found: set[int] = set()
        pending = list(graph.get(node, ()))
        while pending:
            each = pending.pop()
            if each not in found:
                found.add(each)
                pending += graph.get(each, ())
        return found

    units = recovery_order(failed, lambda each: graph.get(each, ()))

    places = {each: place for place, unit in enumerate(units) for each in unit}
    assert sorted(each for unit in units for each in unit) == sorted(set(failed))
    for one in places:
        for other in places:
            leads, comes_back = other in reach(one), one in reach(other)
            if leads and comes_back:
                assert places[one] == places[other]
            elif leads:
                assert places[other] < places[one]
    assert all(places[one] == places[other] for unit in units for one, other in pairwise(unit))


def test_numbers_count_up_and_the_last_ones_are_kept() -> None:
    assert next_id([]) == 1
    assert next_id([4, 9, 7]) == 10
    assert to_forget([3, 1, 2], 3) == []
    assert to_forget([3, 1, 2, 4], 3) == [1]


def test_they_are_tried_from_the_latest_or_from_the_one_that_is_asked_for() -> None:
    assert to_try([1, 3, 2]) == [3, 2, 1]
    assert to_try([1, 3, 2], 2) == [2, 1]
    assert to_try([], None) == []


def test_what_takes_long_is_done_less_often() -> None:
    assert next_time(100.0, 5.0, 0.0) == 105.0
    assert next_time(100.0, 5.0, 0.05) == 105.0
    assert next_time(100.0, 5.0, 1.0) == 150.0
