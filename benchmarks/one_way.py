"""How many messages a second go one way, and how many through a trio memory channel of the same capacity?"""

from __future__ import annotations

import time

import trio

from actorkit import Actor, InPort, OutPort, child, in_port, run, supervisor

CAPACITY = 1024
TITLE = "One way: a source sends to a receiver that counts; the ratio is to a trio memory channel"
BASE = "trio memory channel"


class Source(Actor):
    """Sends numbers."""

    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """Sends them all."""
        out = self.out_number
        for number in range(self.count):
            await out.send(number)


class Sink(Actor):
    """Counts what it gets, by an async handler or a plain one."""

    def __init__(self) -> None:
        self.received = 0

    @in_port(capacity=CAPACITY)
    async def in_async(self, number: int) -> None:
        """Counts."""
        self.received += 1

    @in_port(capacity=CAPACITY)
    def in_plain(self, number: int) -> None:
        """Counts."""
        self.received += 1


def actors(port: InPort[Sink, int, None], count: int) -> float:
    """Messages a second to that port, starting and stopping the system included."""
    tree = supervisor(child(Sink), child(Source, count), wires=[Source.out_number >> port])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    if report.ledger.processed != count:
        raise AssertionError(f"{report.ledger.processed} of {count} messages were handled")
    return count / took


async def _through_channel(count: int) -> None:
    sender, receiver = trio.open_memory_channel[int](CAPACITY)
    received = 0

    async def send() -> None:
        async with sender:
            for number in range(count):
                await sender.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for _ in receiver:
            received += 1
    if received != count:
        raise AssertionError(f"{received} of {count} messages were received")


def channel(count: int) -> float:
    """Messages a second through a trio memory channel, starting and stopping trio included."""
    began = time.perf_counter()
    trio.run(_through_channel, count)
    return count / (time.perf_counter() - began)
