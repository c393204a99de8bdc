"""How long does a message wait before it is handled, under a steady load? And if one actor among many is slow?

A sender keeps to a timetable, 20,000 messages a second in bursts of 20. A message's wait is counted from the moment at which it
was due, not from when it was sent, so that a sender which is held up does not make the figures better. (The sender looks at the
clock instead of sleeping, since a sleep may be a millisecond too long.)
"""

from __future__ import annotations

import math
import time

import trio

from actorkit import Actor, InPort, OutPort, System, child, in_port, open_system, round_robin, supervisor, wire
from benchmarks.one_way import CAPACITY, expect

BURST = 20
PERIOD = 0.001
"""Seconds between bursts."""
MANY = 100
SLOW = 0.02
"""Seconds that the slow actor waits at each message."""
BUSY = 0.0005
"""Seconds that the one that computes keeps everybody waiting at each message, once in `SLOW`."""


class Timetable(Actor):
    """Sends moments at which a message was due."""

    out_due = OutPort(float)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """Sends bursts, each in its time."""
        out = self.out_due
        due = time.perf_counter()
        for _ in range(self.count // BURST):
            due += PERIOD
            while time.perf_counter() < due:
                await trio.lowlevel.checkpoint()
            for _ in range(BURST):
                await out.send(due)


class AsyncClock(Actor):
    """Notes how long each message has waited, in an async handler."""

    def __init__(self, waits: list[float]) -> None:
        self.waits = waits

    @in_port(capacity=CAPACITY)
    async def in_due(self, due: float) -> None:
        """Notes it."""
        self.waits.append(time.perf_counter() - due)


class PlainClock(Actor):
    """Notes how long each message has waited, in a plain handler."""

    def __init__(self, waits: list[float]) -> None:
        self.waits = waits

    @in_port(capacity=CAPACITY)
    def in_due(self, due: float) -> None:
        """Notes it."""
        self.waits.append(time.perf_counter() - due)


class Sluggish(Actor):
    """Takes its time."""

    @in_port(capacity=4)
    async def in_wait(self, number: int) -> None:
        """Waits, and holds nobody up."""
        await trio.sleep(SLOW)

    @in_port(capacity=4)
    async def in_compute(self, number: int) -> None:
        """Computes, and holds everybody up."""
        until = time.perf_counter() + BUSY
        while time.perf_counter() < until:
            pass
        await trio.sleep(SLOW - BUSY)


def actors(clock: type[AsyncClock | PlainClock], count: int) -> dict[str, float]:
    """Microseconds that messages of a steady load wait."""
    waits: list[float] = []

    async def main() -> None:
        async with open_system(
            supervisor(child(clock, waits), child(Timetable, count), wires=[Timetable.out_due >> clock.in_due])
        ) as system:
            await system.wait()

    trio.run(main)
    return percentiles(waits, count // BURST * BURST)


def channel(count: int) -> dict[str, float]:
    """The same through a trio channel."""
    waits: list[float] = []

    async def main() -> None:
        sender, receiver = trio.open_memory_channel[float](CAPACITY)

        async def send() -> None:
            async with sender:
                due = time.perf_counter()
                for _ in range(count // BURST):
                    due += PERIOD
                    while time.perf_counter() < due:
                        await trio.lowlevel.checkpoint()
                    for _ in range(BURST):
                        await sender.send(due)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for due in receiver:
                waits.append(time.perf_counter() - due)

    trio.run(main)
    return percentiles(waits, count // BURST * BURST)


def beside(slow: InPort[Sluggish, int, None] | None, count: int) -> dict[str, float]:
    """Microseconds that messages to a hundred quick actors wait, while one more actor is always busy with its own."""
    waits: list[float] = []
    quick = [child(PlainClock, waits).options(name=f"quick-{number}") for number in range(MANY)]
    to_all = wire(Timetable.out_due, [each[PlainClock.in_due] for each in quick], route=round_robin)

    async def main() -> None:
        async with (
            open_system(supervisor(*quick, child(Sluggish).options(shutdown=0.1), child(Timetable, count), wires=[to_all])) as system,
            trio.open_nursery() as nursery,
        ):
            if slow is not None:
                nursery.start_soon(_keep_busy, system, slow)
            while len(waits) < count // BURST * BURST:  # noqa: ASYNC110  # an event would have to be looked after at every message
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return percentiles(waits, count // BURST * BURST)


async def _keep_busy(system: System, port: InPort[Sluggish, int, None]) -> None:
    slow = system.ref(Sluggish)
    while True:
        await slow.send(port, 0)


def percentiles(waits: list[float], count: int) -> dict[str, float]:
    """Microseconds that the share of messages waited at most."""
    expect(len(waits), count)
    ranked = sorted(waits)
    return {f"p{share:g} µs": ranked[max(0, math.ceil(len(ranked) * share / 100) - 1)] * 1e6 for share in (50, 99, 99.9)}
