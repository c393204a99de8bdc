"""How many actors a second can be started and stopped, and what does an idle one cost?"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence

import trio

from actorkit import Actor, ChildSpec, OutPort, Supervisor, Wire, child, dynamic_supervisor, in_port, open_system, supervisor
from benchmarks.resident import resident_bytes

TITLE = "Starting and stopping actors, a second"
CALLERS = 100
"""Tasks that start children at the same time."""


class Log(Actor):
    """Hears of all sessions."""

    @in_port
    def in_line(self, line: str) -> None:
        """Reads it."""


class Session(Actor):
    """An actor as small as they come: a port, an out-port, a number."""

    out_line = OutPort(str)

    def __init__(self, user: int = 0) -> None:
        self.user = user

    @in_port
    def in_add(self, number: int) -> None:
        """Adds."""
        self.user += number


async def _start(sessions: Supervisor, specs: Iterator[ChildSpec[Session]], wires: Sequence[Wire] = ()) -> None:
    for spec in specs:
        await sessions.start_child(spec, wires)


def _rate(count: int, specs: Callable[[int], Iterator[ChildSpec[Session]]], callers: int, wires: Sequence[Wire] = ()) -> float:
    async def measure() -> float:
        async with open_system(supervisor(child(Log), dynamic_supervisor(name="sessions"), name="top")) as system:
            sessions = system.supervisor("root/top/sessions")
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    nursery.start_soon(_start, sessions, specs(count // callers), wires)
            took = time.perf_counter() - began
            if sessions.count_children().active != count:
                raise AssertionError(f"{sessions.count_children().active} of {count} children are up")
        return count / took

    return trio.run(measure)


def one_by_one(count: int) -> float:
    """Children a second, started by one task after the other, all from one spec."""
    spec = child(Session)
    return _rate(count, lambda share: iter([spec] * share), 1)


def one_by_one_each_with_a_spec(count: int) -> float:
    """The same, each from a spec of its own with an argument: `child(Session, user)`."""
    return _rate(count, lambda share: (child(Session, user) for user in range(share)), 1)


def one_by_one_wired(count: int) -> float:
    """The same, each wired to one actor that is there."""
    spec = child(Session)
    return _rate(count, lambda share: iter([spec] * share), 1, [Session.out_line >> Log.in_line])


def at_once(count: int) -> float:
    """Children a second, started by 100 tasks at the same time; `count` is a multiple of that."""
    spec = child(Session)
    return _rate(count, lambda share: iter([spec] * share), CALLERS)


def _tree(count: int) -> tuple[float, float]:
    tree = supervisor(*(child(Session, user).options(name=f"session-{user}") for user in range(count)), name="sessions")

    async def measure() -> tuple[float, float]:
        began = time.perf_counter()
        async with open_system(tree):
            up = time.perf_counter()
        return up - began, time.perf_counter() - up

    return trio.run(measure)


def in_a_tree(count: int) -> float:
    """Children a second, all in one spec that is there before."""
    return count / _tree(count)[0]


def stopped_with_their_tree(count: int) -> float:
    """Children a second, stopped when the system ends."""
    return count / _tree(count)[1]


def small_tree() -> float:
    """Seconds to start and stop a tree of three actors, trio included."""
    began = time.perf_counter()
    _tree(3)
    return time.perf_counter() - began


def resident_at(counts: Sequence[int]) -> list[float]:
    """Bytes that each idle actor takes, of the process's resident memory, when there are so many; growing counts."""

    async def measure() -> list[float]:
        found: list[float] = []
        async with open_system(dynamic_supervisor(name="sessions")) as system:
            sessions, spec, started = system.supervisor("root/sessions"), child(Session), 0
            await sessions.start_child(spec)
            before = resident_bytes()
            for count in counts:
                await _start(sessions, iter([spec] * (count - started)))
                started = count
                found.append((resident_bytes() - before) / count)
        return found

    return trio.run(measure)


def idle(count: int) -> float:
    """Bytes of the process's memory that each of so many idle actors takes."""
    return resident_at([count])[0]


MEASURES = (one_by_one, one_by_one_each_with_a_spec, one_by_one_wired, at_once, in_a_tree, stopped_with_their_tree)


def main() -> None:
    """Measures once, and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spawning", description=__doc__)
    parser.add_argument("--rate-of", type=int, default=20_000, help="children for each rate, a multiple of 100 (default: 20000)")
    parser.add_argument("--actors", type=int, default=100_000, help="idle actors in the end, for their memory (default: 100000)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)

    growing = sorted({max(1, options.actors // 10), max(1, options.actors // 3), options.actors})
    print("idle actors:", ", ".join(f"{size:,.0f} B each of {count:,}" for count, size in zip(growing, resident_at(growing), strict=True)))
    print(f"\n{TITLE}")
    for measure in MEASURES:
        gc.collect()
        print(f"  {measure.__name__.replace('_', ' '):32}{measure(options.rate_of):12,.0f}/s")
    print(f"a small tree, start and stop: {1_000 * min((small_tree() for _ in range(20)), default=math.nan):.2f} ms")


if __name__ == "__main__":
    main()
