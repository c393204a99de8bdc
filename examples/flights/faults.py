"""What goes wrong on purpose: failures at moments drawn beforehand, so that a seed repeats them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from actorkit import DependencyError, ResourceError, TransientError

__all__ = ["Fault", "Faults", "InjectedCrash"]

SPAN = 200_000
"""Calls over which faults are spread at most."""
READER_CRASHES, PARSER_CRASHES, FAILED_LOOKUPS = 1, 3, 40
OUTAGE = 4
"""Lookups that fail one after the other when the registry is down."""
FEW = 20
"""With fewer rows than these, nothing is down and nothing runs out."""


class InjectedCrash(Exception):
    """Stands for a bug: nobody has said what kind of failure it is, so its actor gets a fresh instance."""


class Fault:
    """Raises at some of the calls of `strike`, and lets the others pass.

    Specs hand it to every instance of their actor, so it counts on when the actor is restarted.
    """

    def __init__(self, calls: Iterator[int], error: Callable[[], Exception]) -> None:
        self._calls = calls
        self._error = error
        self._call = 0
        self._next = next(calls, 0)

    def strike(self) -> None:
        """One more call.

        Raises:
            Exception: it is this call's turn to fail.
        """
        self._call += 1
        if self._call == self._next:
            self._next = next(self._calls, 0)
            raise self._error()


class Faults:
    """The faults of one run.

    A source and a stage without state crash, lookups fail for a moment, the registry is down for a while, memory runs out
    once. Everything that fails succeeds when it is tried again, so no row is lost to them.

    Args:
        seed: decides when they strike.
        rows: roughly how many rows the run has; few rows meet few faults.
        enabled: whether there are any.
    """

    def __init__(self, seed: int, *, rows: int | None = None, enabled: bool = True) -> None:
        rng = Random(seed)
        span = min(SPAN if rows is None else rows, SPAN) if enabled else 0
        self.reading = Fault(_spread(rng, READER_CRASHES, span), lambda: InjectedCrash("injected: it lost its place"))
        self.parsing = Fault(_spread(rng, PARSER_CRASHES, span), lambda: InjectedCrash("injected: it ran into a bug"))
        self.lookups = Fault(_bursts(rng, FAILED_LOOKUPS, span), lambda: TransientError("injected: the aircraft registry did not answer"))
        down, short = rng.randint(span // 4, span // 2), rng.randint(span * 3 // 4, span)
        self.outage = Fault(
            iter(range(down, down + OUTAGE) if span >= FEW else ()), lambda: DependencyError("injected: the aircraft registry is down")
        )
        # Late, since an actor is slowed down to half of its rate so far: that of a run that has just begun says little.
        self.memory = Fault(iter([short] if span >= FEW else ()), lambda: ResourceError("injected: it ran out of memory"))


def _spread(rng: Random, times: int, span: int) -> Iterator[int]:
    """The numbers of calls, from 1 on: one in each of `times` equal parts of `span`, never two in a row."""
    times = min(times, span // 2)
    part = span // times if times else 0
    return iter([number * part + rng.randint(1, part // 2) for number in range(times)])


def _bursts(rng: Random, times: int, span: int) -> Iterator[int]:
    """As `_spread`, but about every other time the call after it fails as well; few, so that retries stay within their budget."""
    return iter([call for first in _spread(rng, min(times, span // 20), span) for call in range(first, first + rng.randint(1, 2))])
