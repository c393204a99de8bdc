"""Decides by who needs whom: which failures are likely causes, whom a failure reaches, and whether failure spreads.

In all of it, `needs` has the components that each one needs directly: those it sends to, and those it depends on. What
has no entry needs nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

N = TypeVar("N")

SPREADING_FROM: Final = 3
"""Unhealthy components without which nothing spreads: fewer are one failure and somebody who feels it."""

REACHED: Final = 2
"""Components that a failure reaches at once, or by way of each other, when it spreads."""


def likely_causes(unhealthy: Iterable[N], needs: Mapping[N, Sequence[N]]) -> list[tuple[N, ...]]:
    """The unhealthy components that need no other unhealthy one. Those in a circle are one cause, with all its members.

    Only what a component needs directly counts: where a healthy one stands between two that are not, it has not passed the
    failure on. As long as anything is unhealthy there is a cause. They come in the order of `unhealthy`, as do the members
    of a circle.
    """
    places = {each: place for place, each in enumerate(dict.fromkeys(unhealthy))}

    def unhealthy_needs(node: N) -> list[N]:
        return [each for each in needs.get(node, ()) if each in places]

    causes: list[tuple[N, ...]] = []
    for circle in circles(places, unhealthy_needs):
        members = set(circle)
        if all(each in members for node in circle for each in unhealthy_needs(node)):
            causes.append(tuple(sorted(circle, key=places.__getitem__)))
    return sorted(causes, key=lambda cause: places[cause[0]])


def blast_radius(components: Iterable[N], needs: Mapping[N, Sequence[N]]) -> list[N]:
    """All others that need one of these, directly or by way of others: the nearest first, and else in the order of `needs`."""
    needed_by: dict[N, list[N]] = {}
    for node, others in needs.items():
        for other in others:
            needed_by.setdefault(other, []).append(node)
    reached = dict.fromkeys(components)
    given = len(reached)
    pending = deque(reached)
    while pending:
        for node in needed_by.get(pending.popleft(), ()):
            if node not in reached:
                reached[node] = None
                pending.append(node)
    return list(reached)[given:]


def spreading(unhealthy: Collection[N], before: Collection[N], needs: Mapping[N, Sequence[N]]) -> bool:
    """Whether failure is passed on along the graph, from those who are needed to those who need them.

    It is when one that was unhealthy at the last poll, and still is, has reached others since then: two at once; or one,
    after it was itself reached, as far as can be told, by one that it needs and that was unhealthy at the last poll, too.
    What becomes unhealthy without needing anything unhealthy, or needing only what became so in the same poll, is no sign:
    that may be one outage that all of them feel.

    Args:
        unhealthy: the components that are so now. With fewer than `SPREADING_FROM` nothing spreads.
        before: those that were so at the last poll.
        needs: as everywhere here.
    """
    if len(unhealthy) < SPREADING_FROM:
        return False
    carriers = set(unhealthy).intersection(before)
    reached = dict.fromkeys(carriers, 0)
    for node in unhealthy:
        for carrier in () if node in carriers else carriers.intersection(needs.get(node, ())):
            reached[carrier] += 1
            if reached[carrier] == REACHED or any(each in carriers and each != carrier for each in needs.get(carrier, ())):
                return True
    return False


def circles(starts: Iterable[N], edges: Callable[[N], Iterable[N]]) -> Iterator[list[N]]:
    """The strongly connected components that can be reached, each after those that it leads to (Tarjan 1972, without recursion)."""
    numbers: dict[N, int] = {}
    lowest: dict[N, int] = {}
    stack: dict[N, None] = {}
    for start in starts:
        way: list[tuple[N, Iterator[N]]] = []
        pending: N | None = start if start not in numbers else None
        while pending is not None or way:
            if pending is not None:
                numbers[pending] = lowest[pending] = len(numbers)
                stack[pending] = None
                way.append((pending, iter(edges(pending))))
                pending = None
            node, others = way[-1]
            for other in others:
                if other not in numbers:
                    pending = other
                    break
                if other in stack:
                    lowest[node] = min(lowest[node], numbers[other])
            else:
                way.pop()
                if way:
                    above = way[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == numbers[node]:
                    yield _popped_until(stack, node)


def _popped_until(stack: dict[N, None], node: N) -> list[N]:
    circle: list[N] = []
    while node in stack:
        circle.append(stack.popitem()[0])
    return circle
