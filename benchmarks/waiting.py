"""What if a handler really waits in trio at every message: how many a second, beside a trio task that does the same?"""

from __future__ import annotations

import time

import trio

from actorkit import Actor, child, in_port, run, supervisor
from benchmarks.one_way import CAPACITY, Source, expect


class Waiter(Actor):
    """Lets others have their turn at every message, the shortest wait that there is in trio."""

    @in_port(capacity=CAPACITY)
    async def in_number(self, number: int) -> None:
        """Waits."""
        await trio.lowlevel.checkpoint()


def actors(count: int) -> float:
    """Messages a second."""
    tree = supervisor(child(Waiter), child(Source, count), wires=[Source.out_number >> Waiter.in_number])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count)
    return count / took


def channel(count: int) -> float:
    """Messages a second of a trio task that waits at each that it gets from a channel."""

    async def main() -> int:
        sender, receiver = trio.open_memory_channel[int](CAPACITY)
        received = 0

        async def send() -> None:
            async with sender:
                for number in range(count):
                    await sender.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for _ in receiver:
                await trio.lowlevel.checkpoint()
                received += 1
        return received

    began = time.perf_counter()
    expect(trio.run(main), count)
    return count / (time.perf_counter() - began)
