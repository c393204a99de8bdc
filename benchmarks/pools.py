"""What does a pool cost that keeps the messages of each key in order: how many messages a second get to its four members?"""

from __future__ import annotations

import time

import trio

from actorkit import by_key, child, pool, run, supervisor
from benchmarks.one_way import CAPACITY, Sink, Source, expect

SIZE = 4
KEYS = 100


def key(number: int) -> int:
    """What a message's order is kept by."""
    return number % KEYS


def by_keys(sink: type[Sink], count: int) -> float:
    """Messages a second to a pool, by key."""
    tree = supervisor(pool(sink, size=SIZE, route=by_key(key)), child(Source, count), wires=[Source.out_number >> sink.in_number])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    report.ledger.check()
    expect(report.ledger.processed, count)
    return count / took


def channels(count: int) -> float:
    """The same by hand: a trio task for each member, and a channel to each."""

    async def main() -> int:
        pairs = [trio.open_memory_channel[int](CAPACITY) for _ in range(SIZE)]
        received = [0] * SIZE

        async def receive(which: int) -> None:
            async for _ in pairs[which][1]:
                received[which] += 1

        async with trio.open_nursery() as nursery:
            for which in range(SIZE):
                nursery.start_soon(receive, which)
            for number in range(count):
                await pairs[hash(key(number)) % SIZE][0].send(number)
            for sender, _ in pairs:
                sender.close()
        return sum(received)

    began = time.perf_counter()
    expect(trio.run(main), count)
    return count / (time.perf_counter() - began)
