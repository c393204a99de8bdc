"""For how long does an ordinary trio task not get its turn, while actors have more messages than they can handle?

Counted in time that this process really had: what else runs on the machine is not actorkit's doing.
"""

from __future__ import annotations

import statistics
import time

import trio

from actorkit import child, open_system, supervisor
from benchmarks.one_way import Sink, Source, expect

PAIRS = 10


async def note_turns(found: list[float]) -> None:
    """Only ever asks for its next turn, and notes the seconds until each; without end."""
    before = time.process_time()
    while True:
        await trio.lowlevel.checkpoint()
        now = time.process_time()
        found.append(now - before)
        before = now


def gaps(sink: type[Sink], count: int) -> dict[str, float]:
    """Milliseconds between two turns of a task that only ever asks for the next."""
    sinks = [child(sink).options(name=f"sink-{number}") for number in range(PAIRS)]
    sources = [child(Source, count // PAIRS).options(name=f"source-{number}") for number in range(PAIRS)]
    tree = supervisor(
        *sinks, *sources, wires=[one[Source.out_number] >> other[sink.in_number] for one, other in zip(sources, sinks, strict=True)]
    )
    found: list[float] = []

    async def main() -> int:
        async with open_system(tree) as system, trio.open_nursery() as nursery:
            nursery.start_soon(note_turns, found)
            await system.wait()
            nursery.cancel_scope.cancel()
        return system.ledger().processed

    expect(trio.run(main), count // PAIRS * PAIRS)
    return {"longest ms": max(found) * 1e3, "mean ms": statistics.mean(found) * 1e3}
