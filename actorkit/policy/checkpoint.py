"""Decisions about checkpoints: which are kept, which are tried, and in which order failed components recover."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from actorkit.policy.dependencies import circles

N = TypeVar("N")

KEPT: Final = 10
"""Checkpoints of one actor that are kept."""
CUTS_KEPT: Final = 3
"""Cuts of a system that are kept."""
LONGEST_SHARE: Final = 0.02
"""Of an actor's time, what taking its checkpoints may cost; if they take longer, they are taken less often."""


def next_id(ids: Iterable[int]) -> int:
    """The number of the next one; numbers count up from 1, and none is used twice as long as a later one is kept."""
    return max(ids, default=0) + 1


def to_forget(ids: Iterable[int], keep: int) -> list[int]:
    """Those that go when only the last `keep` of them are kept."""
    return sorted(ids)[:-keep]


def to_try(ids: Iterable[int], first: int | None = None) -> list[int]:
    """In which order they are tried: from `first`, or the latest, to those before it."""
    return sorted((each for each in ids if first is None or each <= first), reverse=True)


def next_time(now: float, period: float, took: float) -> float:
    """When the next one is due, if the last one, just now, took so many seconds."""
    return now + max(period, took / LONGEST_SHARE)


def recovery_order(failed: Iterable[N], depends_on: Callable[[N], Iterable[N]]) -> list[tuple[N, ...]]:
    """In which order these components recover: each after those that it depends on, directly or by way of others.

    Components that depend on each other are one unit. Where nothing decides, the order is that of `failed`.

    Args:
        failed: the components to recover.
        depends_on: what a component depends on; also asked of those that have not failed.
    """
    wanted = list(dict.fromkeys(failed))
    places = {each: place for place, each in enumerate(wanted)}
    units: list[tuple[N, ...]] = []
    for circle in circles(wanted, depends_on):
        unit = sorted((each for each in circle if each in places), key=places.__getitem__)
        if unit:
            units.append(tuple(unit))
    return units
