"""The circle that a new wait closes, against a model that lets everybody go on who can."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from actorkit.policy.deadlock import Wait, find_circle

Graph = dict[str, list[Wait[str]]]


def graph(*waits: tuple[str, str]) -> Graph:
    """Each pair is who waits, and for whom; letters in a row are those of whom any would do."""
    made: Graph = {}
    for of, on in waits:
        made.setdefault(of, []).append(Wait(of, tuple(on)))
    return made


def circle(waits: Graph, of: str, on: str) -> str:
    """Who is part of the circle that this wait closes: "abc"; empty when there is none."""
    return "".join(wait.of for wait in find_circle(Wait(of, tuple(on)), lambda node: waits.get(node, [])))


@pytest.mark.parametrize(
    ("waits", "new", "expected"),
    [
        ((), ("a", "a"), "a"),
        ((("b", "a"),), ("a", "b"), "ab"),
        ((("b", "c"), ("c", "d"), ("d", "e"), ("e", "a")), ("a", "b"), "abcde"),
        ((("b", "c"), ("b", "d"), ("d", "a")), ("a", "b"), "abd"),  # it needs both: one that never comes is enough
        ((("x", "a"), ("y", "b"), ("b", "a")), ("a", "b"), "ab"),  # x and y hang off it
    ],
)
def test_a_circle_is_found_when_it_closes(waits: tuple[tuple[str, str], ...], new: tuple[str, str], expected: str) -> None:
    assert circle(graph(*waits), *new) == expected


@pytest.mark.parametrize(
    ("waits", "new"),
    [
        ((), ("a", "b")),
        ((("b", "c"), ("c", "d")), ("a", "b")),  # a chain that moves
        ((("x", "a"), ("y", "a")), ("a", "b")),  # many wait for one that waits for somebody else
        ((("b", "c"), ("c", "b")), ("a", "b")),  # who waits for a circle is no part of it
        ((("b", "ca"),), ("a", "b")),  # c may do what a can't
    ],
)
def test_what_can_still_move_is_no_circle(waits: tuple[tuple[str, str], ...], new: tuple[str, str]) -> None:
    assert circle(graph(*waits), *new) == ""


def test_of_those_who_share_work_all_have_to_be_stuck() -> None:
    waits = graph(("b", "cd"), ("c", "a"))

    assert circle(waits, "a", "b") == ""
    waits["d"] = [Wait("d", ("a",))]
    assert circle(waits, "a", "b") == "abc"


def test_a_chain_of_ten_thousand_is_walked() -> None:
    chain = {n: [Wait(n, (n + 1,))] for n in range(1, 10_000)}

    assert find_circle(Wait(0, (1,)), lambda node: chain.get(node, [])) == ()
    chain[10_000] = [Wait(10_000, (0,))]
    assert len(find_circle(Wait(0, (1,)), lambda node: chain.get(node, []))) == 10_001


NODES = "abcdefg"
WAITS = st.builds(
    lambda of, on: Wait(of, tuple(sorted(on))), st.sampled_from(NODES), st.sets(st.sampled_from(NODES), min_size=1, max_size=3)
)


def stuck(waits: list[Wait[str]]) -> set[str]:
    """Whoever is left when everybody has gone on who can, one after the other."""
    moved: set[str] = set()
    while True:
        now = {n for n in NODES if all(moved & set(wait.on) for wait in waits if wait.of == n)}
        if now == moved:
            return set(NODES) - moved
        moved = now


@given(st.lists(WAITS, max_size=20))
def test_a_wait_closes_a_circle_exactly_when_who_waits_can_never_go_on(begun: list[Wait[str]]) -> None:
    waits: list[Wait[str]] = []
    for new in begun:
        found = find_circle(new, lambda node: [wait for wait in waits if wait.of == node])

        assert bool(found) == (new.of in stuck([*waits, new]))
        if found:
            assert found[0] is new
            assert all(later.of in earlier.on for earlier, later in pairwise(found))
            assert new.of in found[-1].on
        else:
            waits.append(new)
            assert not stuck(waits)
