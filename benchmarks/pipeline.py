"""How many messages a second go through five actors in a row, each of which sends them on to the next?"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TypeVar

import trio

from actorkit import Actor, ChildSpec, OutPort, Wire, child, in_port, run, supervisor
from benchmarks.one_way import CAPACITY, Sink, Source, expect

STAGES = 5


class AsyncStage(Actor):
    """Sends on what it gets, by an async handler."""

    out_number = OutPort(int)

    @in_port(capacity=CAPACITY)
    async def in_number(self, number: int) -> None:
        """Sends it on."""
        await self.out_number.send(number)


class PlainStage(Actor):
    """Sends on what it gets, by a plain handler."""

    out_number = OutPort(int)

    @in_port(capacity=CAPACITY)
    def in_number(self, number: int) -> None:
        """Sends it on."""
        self.out_number.emit(number)


Stage = TypeVar("Stage", AsyncStage, PlainStage)


def actors(stage: type[Stage], sink: type[Sink], count: int) -> float:
    """Messages a second through the whole pipeline: four stages, and a sink that counts."""
    stages: list[ChildSpec[Stage]] = [child(stage).options(name=f"stage-{number}") for number in range(STAGES - 1)]
    between: list[Wire] = [one[stage.out_number] >> other[stage.in_number] for one, other in pairwise(stages)]
    tree = supervisor(
        child(sink),
        *stages,
        child(Source, count),
        wires=[
            Source.out_number >> stages[0][stage.in_number],
            *between,
            stages[-1][stage.out_number] >> sink.in_number,
        ],
    )
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count * STAGES)
    return count / took


def channels(count: int) -> float:
    """The same through five trio tasks, with a channel in front of each."""

    async def main() -> int:
        pairs = [trio.open_memory_channel[int](CAPACITY) for _ in range(STAGES)]
        received = 0

        async def send() -> None:
            async with pairs[0][0] as sender:
                for number in range(count):
                    await sender.send(number)

        async def send_on(receiver: trio.MemoryReceiveChannel[int], sender: trio.MemorySendChannel[int]) -> None:
            async with sender:
                async for number in receiver:
                    await sender.send(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for (_, receiver), (sender, _) in pairwise(pairs):
                nursery.start_soon(send_on, receiver, sender)
            async for _ in pairs[-1][1]:
                received += 1
        return received

    began = time.perf_counter()
    expect(trio.run(main), count)
    return count / (time.perf_counter() - began)
