"""How many messages a second get from ten senders to one receiver, and from one sender to ten receivers, each of which gets all?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

from actorkit import child, run, supervisor
from benchmarks.one_way import CAPACITY, Sink, Source, expect

WIDTH = 10


def fan_in(sink: type[Sink], count: int) -> float:
    """Messages a second from ten sources, together."""
    sources = [child(Source, count // WIDTH).options(name=f"source-{number}") for number in range(WIDTH)]
    tree = supervisor(child(sink), *sources, wires=[source[Source.out_number] >> sink.in_number for source in sources])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count // WIDTH * WIDTH)
    return report.ledger.processed / took


def fan_out(sink: type[Sink], count: int) -> float:
    """Messages a second to ten sinks, together."""
    sinks = [child(sink).options(name=f"sink-{number}") for number in range(WIDTH)]
    tree = supervisor(*sinks, child(Source, count // WIDTH), wires=[Source.out_number >> each[sink.in_number] for each in sinks])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count // WIDTH * WIDTH)
    return report.ledger.processed / took


def fan_in_channel(count: int) -> float:
    """Messages a second from ten trio tasks through one channel."""

    async def main() -> int:
        sender, receiver = trio.open_memory_channel[int](CAPACITY)
        received = 0

        async def send(mine: trio.MemorySendChannel[int]) -> None:
            async with mine:
                for number in range(count // WIDTH):
                    await mine.send(number)

        async with trio.open_nursery() as nursery:
            async with sender:
                for _ in range(WIDTH):
                    nursery.start_soon(send, sender.clone())
            async for _ in receiver:
                received += 1
        return received

    return _rate(main, count // WIDTH * WIDTH)


def fan_out_channels(count: int) -> float:
    """Messages a second from one trio task to ten, through a channel to each."""

    async def main() -> int:
        pairs = [trio.open_memory_channel[int](CAPACITY) for _ in range(WIDTH)]
        received = [0] * WIDTH

        async def receive(which: int) -> None:
            async for _ in pairs[which][1]:
                received[which] += 1

        async with trio.open_nursery() as nursery:
            for which in range(WIDTH):
                nursery.start_soon(receive, which)
            for number in range(count // WIDTH):
                for sender, _ in pairs:
                    await sender.send(number)
            for sender, _ in pairs:
                sender.close()
        return sum(received)

    return _rate(main, count // WIDTH * WIDTH)


def _rate(main: Callable[[], Awaitable[int]], count: int) -> float:
    began = time.perf_counter()
    expect(trio.run(main), count)
    return count / (time.perf_counter() - began)
