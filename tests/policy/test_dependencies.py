"""Which failures are likely causes, whom a failure reaches, and whether failure spreads."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from actorkit.policy.dependencies import blast_radius, likely_causes, spreading

Graph = dict[str, str]
Numbers = dict[int, list[int]]

_GRAPHS = st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=4), max_size=9)
_NODES = st.lists(st.integers(0, 8), max_size=9)


def reach(graph: Numbers, node: int) -> set[int]:
    """All that a node leads to, along one edge or more."""
    found: set[int] = set()
    pending = list(graph.get(node, ()))
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += graph.get(each, ())
    return found


# Causes


@pytest.mark.parametrize(
    ("unhealthy", "needs", "expected"),
    [
        ("", {"a": "b"}, []),
        ("a", {}, ["a"]),
        ("aa", {}, ["a"]),
        ("ab", {"a": "b"}, ["b"]),
        ("abc", {"a": "b", "b": "c"}, ["c"]),
        # Nobody unhealthy between them: two failures.
        ("ac", {"a": "b", "b": "c"}, ["a", "c"]),
        ("a", {"a": "b"}, ["a"]),
        ("a", {"a": "a"}, ["a"]),
        # A circle is one cause, unless it needs something unhealthy outside.
        ("ab", {"a": "b", "b": "a"}, ["ab"]),
        ("ba", {"a": "b", "b": "a"}, ["ba"]),
        ("xab", {"a": "b", "b": "a", "x": "a"}, ["ab"]),
        ("abc", {"a": "b", "b": "ac"}, ["c"]),
        # Only a part of the circle is unhealthy: that part is no circle.
        ("ab", {"a": "b", "b": "c", "c": "a"}, ["b"]),
        ("dbac", {"a": "b", "c": "d"}, ["d", "b"]),
    ],
)
def test_a_cause_needs_nothing_unhealthy(unhealthy: str, needs: Graph, expected: list[str]) -> None:
    assert ["".join(cause) for cause in likely_causes(unhealthy, needs)] == expected


@given(_NODES, _GRAPHS)
def test_every_unhealthy_component_leads_to_a_cause_and_no_cause_leads_on(unhealthy: list[int], needs: Numbers) -> None:
    causes = likely_causes(unhealthy, needs)

    part = {node: [each for each in needs.get(node, ()) if each in unhealthy] for node in unhealthy}
    members = [each for cause in causes for each in cause]
    assert len(members) == len(set(members))
    assert all(reach(part, each) <= set(cause) for cause in causes for each in cause)
    assert all(len(cause) == 1 or reach(part, each) == set(cause) for cause in causes for each in cause)
    assert all(({node} | reach(part, node)) & set(members) for node in unhealthy)
    assert members == sorted(members, key=unhealthy.index) or any(len(cause) > 1 for cause in causes)


# The blast radius


@pytest.mark.parametrize(
    ("component", "needs", "expected"),
    [
        ("a", {}, ""),
        ("a", {"a": "b"}, ""),
        ("b", {"a": "b"}, "a"),
        ("c", {"a": "b", "b": "c"}, "ba"),
        ("d", {"a": "bd", "b": "c", "c": "d"}, "acb"),
        ("a", {"a": "b", "b": "a"}, "b"),
        ("a", {"a": "a"}, ""),
        ("cd", {"a": "c", "b": "d", "c": "d"}, "ab"),
    ],
)
def test_a_failure_reaches_all_who_need_it_and_the_nearest_first(component: str, needs: Graph, expected: str) -> None:
    assert "".join(blast_radius(component, needs)) == expected


@given(st.integers(0, 8), _GRAPHS)
def test_it_is_everybody_who_leads_to_the_component(component: int, needs: Numbers) -> None:
    reached = blast_radius([component], needs)

    assert len(reached) == len(set(reached))
    assert set(reached) == {node for node in needs if component in reach(needs, node)} - {component}


# Spreading


@pytest.mark.parametrize(
    ("before", "now", "needs", "expected"),
    [
        # Two that need it, at once.
        ("a", "abc", {"b": "a", "c": "a"}, True),
        ("a", "abc", {"b": "aa", "c": ""}, False),
        # One after another, along a line.
        ("ab", "abc", {"b": "a", "c": "b"}, True),
        ("ab", "abc", {"c": "b"}, False),
        ("ab", "abc", {"b": "ab", "c": "b"}, True),
        ("ab", "abc", {"b": "b", "c": "b"}, False),
        # Not along the graph, against it, or all at once.
        ("a", "abc", {}, False),
        ("ab", "abc", {"a": "b", "b": "c"}, False),
        ("", "abc", {"b": "a", "c": "b"}, False),
        ("a", "abc", {"b": "a", "c": "b"}, False),
        # Fewer than three; nothing new; what passed it on is well again.
        ("a", "ab", {"b": "a"}, False),
        ("abc", "abc", {"b": "a", "c": "b"}, False),
        ("a", "bcd", {"b": "a", "c": "a", "d": "a"}, False),
        ("", "", {}, False),
    ],
)
def test_failure_spreads_from_who_is_needed_to_who_needs_it(before: str, now: str, needs: Graph, expected: bool) -> None:
    assert spreading(now, before, needs) is expected


@given(_GRAPHS, st.sets(st.integers(0, 8)), st.randoms(use_true_random=False))
def test_nothing_spreads_in_the_opposite_direction_or_while_nothing_changes(needs: Numbers, unhealthy: set[int], rng: Random) -> None:
    before = {each for each in unhealthy if rng.random() < 0.5}

    spreads = spreading(unhealthy, before, needs)

    newly = unhealthy - before
    assert not spreads or any(set(needs.get(each, ())) & before for each in newly)
    assert not spreading(unhealthy, unhealthy, needs)
    assert not spreading(unhealthy, (), needs)


# Size


def test_a_graph_may_be_large_and_a_line_long() -> None:
    line = {each: [each + 1] for each in range(50_000)}

    assert likely_causes(line, line) == [(49_999,)]
    assert blast_radius([50_000], line) == list(range(49_999, -1, -1))
    assert spreading(line, range(1, 50_000), line)
