"""Runs a plain handler, or a call of a store, in a thread: what is to be seen to meanwhile.

A virtual clock stands still: to trio, all would seem to wait for time to pass.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

HURRY: Final = 0.0001
"""Seconds after which a thread insists on Python's lock: a fifth of the dispatcher's slice; with twice as many, it may wait in vain."""

_standing: dict[Any, tuple[int, float]] = {}
"""By clock: how many threads it stands still for, and the threshold that it jumped at before."""
_settings = Lock()
_hurried = 0  # how many are in a hurry now, of all systems of the process
_usual = 0.005  # what is set otherwise


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


@contextmanager
def lock_is_handed_over_soon() -> Generator[None]:
    """Meanwhile, a thread that wants Python's lock gets it within a fraction of a millisecond, however busy trio's thread is.

    That one lets go of the lock for a moment whenever it looks for events, and has it again before another thread is awake. Each
    time the other one begins its wait anew, by default of 5 ms, before it insists: so it may get the lock after seconds, and a call
    of SQLite asks for it many times. It has to insist before trio's thread looks for events again, every half millisecond.
    """
    global _hurried, _usual
    with _settings:
        if not _hurried:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual, HURRY))
        _hurried += 1
    try:
        yield
    finally:
        with _settings:
            _hurried -= 1
            if not _hurried:
                sys.setswitchinterval(_usual)
