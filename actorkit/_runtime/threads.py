"""Runs a plain handler in a thread. A virtual clock stands still meanwhile: to trio, all would seem to wait for time to pass."""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

_standing: dict[Any, tuple[int, float]] = {}
"""By clock: how many threads it stands still for, and the threshold that it jumped at before."""


async def run_in_thread(handler: Callable[[Any], T], message: Any) -> T:
    """Calls `handler(message)` in a worker thread."""
    with time_stands_still():
        return await trio.to_thread.run_sync(handler, message)


@contextmanager
def time_stands_still() -> Generator[None]:
    """Meanwhile, a clock that jumps when nobody has anything to do (`trio.testing.MockClock`) does not."""
    clock: Any = trio.lowlevel.current_clock()
    if not hasattr(clock, "autojump_threshold"):
        yield
        return
    threads, threshold = _standing.pop(clock, (0, clock.autojump_threshold))
    _standing[clock] = threads + 1, threshold
    clock.autojump_threshold = inf
    try:
        yield
    finally:
        threads, threshold = _standing.pop(clock)
        if threads > 1:
            _standing[clock] = threads - 1, threshold
        else:
            clock.autojump_threshold = threshold
