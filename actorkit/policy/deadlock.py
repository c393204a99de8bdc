"""Who waits for whom: finds the circle that a new wait closes. Nothing here knows what it is that waits.

All that one waits for at the same time has to come (it cannot go on while any of it is missing); of the `on` of one
wait, any will do (the members of a pool that share their work).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from attrs import field, frozen

N = TypeVar("N", bound=Hashable)


@frozen(eq=False)
class Wait(Generic[N]):
    """One wait.

    Attributes:
        of: who waits.
        on: for whom; any one of them would end it.
        text: the same for people: "root/s/a asks root/s/b.in_x".
        token: whatever the caller knows it by.
    """

    of: N
    on: tuple[N, ...]
    text: str = ""
    token: object = field(default=None, repr=False)


def find_circle(new: Wait[N], waits_of: Callable[[N], Iterable[Wait[N]]]) -> tuple[Wait[N], ...]:
    """The circle that `new` closes, beginning with it; empty when it may begin.

    It is a circle when `new` leads back to who waits, and nobody in it can go on by another way. Others may wait for
    those in it, and be waited for; they are no part of it.

    Args:
        new: the wait that is about to begin.
        waits_of: what a node waits for at present. Asked once for each that can be reached, and never for `new.of`.
    """
    reached: dict[N, tuple[Wait[N], ...]] = {new.of: (new,)}
    pending, returns = list(new.on), False
    while pending:
        node = pending.pop()
        if node in reached:
            returns = returns or node == new.of
            continue
        reached[node] = tuple(waits_of(node))
        pending.extend(each for wait in reached[node] for each in wait.on)
    return _way_back(new, _stuck(reached)) if returns else ()


def _stuck(reached: dict[N, tuple[Wait[N], ...]]) -> dict[N, tuple[Wait[N], ...]]:
    """Those that can never go on, each with its waits that never end: what is left when all who can go on have gone."""
    left, before = dict(reached), -1
    while len(left) != before:
        before = len(left)
        for node in reversed(list(left)):  # the ends of chains were reached last
            left[node] = tuple(wait for wait in left[node] if all(each in left for each in wait.on))
            if not left[node]:
                del left[node]
    return left


def _way_back(new: Wait[N], stuck: dict[N, tuple[Wait[N], ...]]) -> tuple[Wait[N], ...]:
    """The shortest way along waits from `new` to who waits."""
    if new not in stuck.get(new.of, ()):
        return ()
    before: dict[Wait[N], Wait[N]] = {}
    seen: set[N] = set()
    pending = deque([new])
    while pending:
        wait = pending.popleft()
        if new.of in wait.on:
            way = [wait]
            while way[-1] is not new:
                way.append(before[way[-1]])
            return tuple(reversed(way))
        for node in wait.on:
            if node not in seen:
                seen.add(node)
                before.update(dict.fromkeys(stuck.get(node, ()), wait))
                pending.extend(stuck.get(node, ()))
    return ()
