"""How long does a restart take, from the crash in a handler to the next message handled?"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable

import trio

from actorkit import Actor, RecoveryAction, RecoveryPolicy, Rule, child, in_port, open_system, supervisor

TITLE = "Restart: from the crash in a handler to the next message handled"

CRASHED_AT: list[float] = []
HANDLED_AT: list[float] = []


class Worker(Actor):
    """Crashes on a text, and handles a number."""

    @in_port
    def in_plain(self, message: str | int) -> None:
        """Crashes, or notes the time."""
        _handle(message)

    @in_port
    async def in_async(self, message: str | int) -> None:
        """The same, in an async handler."""
        _handle(message)


class Starter(Worker):
    """One that has to be waited for when it starts."""

    async def on_start(self) -> None:
        """Is ready."""


def _handle(message: str | int) -> None:
    if isinstance(message, str):
        if len(CRASHED_AT) == len(HANDLED_AT):
            CRASHED_AT.append(time.perf_counter())
            raise RuntimeError(message)
    elif len(HANDLED_AT) < len(CRASHED_AT):
        HANDLED_AT.append(time.perf_counter())


def latencies(count: int, actor: type[Worker] = Worker) -> list[float]:
    """Seconds of so many restarts. The message that crashed is tried again first, and then succeeds."""
    CRASHED_AT.clear()
    HANDLED_AT.clear()

    async def measure() -> None:
        tree = supervisor(
            child(actor).options(name="worker"),
            max_restarts=10 * count,
            within=1.0,
            recovery=RecoveryPolicy(rules=(Rule(RecoveryAction.RESTART_COMPONENT, exception=RuntimeError),), poison_after=10),
        )
        async with open_system(tree) as system:
            worker = system.ref(actor)
            for number in range(count):
                await worker.send(Worker.in_plain, "crash")
                await worker.send(Worker.in_plain, number)
                await system.settle()

    trio.run(measure)
    if len(HANDLED_AT) != count:
        raise AssertionError(f"{len(HANDLED_AT)} of {count} restarts were seen")
    return [handled - crashed for crashed, handled in zip(CRASHED_AT, HANDLED_AT, strict=True)]


def median(count: int, actor: type[Worker] = Worker) -> float:
    """The median, in seconds."""
    return statistics.median(latencies(count, actor))


def percentile_99(count: int, actor: type[Worker] = Worker) -> float:
    """What 99 of 100 restarts take at most, in seconds."""
    return sorted(latencies(count, actor))[int(0.99 * count)]


def summary(count: int) -> dict[str, float]:
    """Microseconds of so many restarts: the median, and what 99 of 100 take at most."""
    taken = latencies(count)
    return {"median µs": 1e6 * statistics.median(taken), "p99 µs": 1e6 * statistics.quantiles(taken, n=100)[98]}


def main() -> None:
    """Measures once, and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restarts", description=__doc__)
    parser.add_argument("--restarts", type=int, default=2_000, help="how many are timed (default: 2000)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)

    print(TITLE)
    measures: dict[str, Callable[[int, type[Worker]], float]] = {"median": median, "p99": percentile_99}
    for actor in (Worker, Starter):
        print(f"  {actor.__name__:10}", *(f"{name} {1e6 * of(options.restarts, actor):8.1f} µs" for name, of in measures.items()))


if __name__ == "__main__":
    main()
