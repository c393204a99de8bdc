"""How long does it take to start and to stop a small tree: five actors, two supervisors, four wires?"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

import trio

from actorkit import child, open_system, supervisor
from benchmarks.one_way import AsyncSink, Source, expect
from benchmarks.pipeline import AsyncStage


def start_and_stop(count: int) -> dict[str, float]:
    """Milliseconds, the median of so many times; `trio.run` included."""
    times = sorted(_once() for _ in range(count))
    return {"ms": statistics.median(times) * 1e3, "longest ms": times[-1] * 1e3}


def _once() -> float:
    stages = [child(AsyncStage).options(name=name) for name in ("first", "second", "third")]
    tree = supervisor(
        child(AsyncSink),
        supervisor(*stages, name="stages"),
        child(Source, 1),
        wires=[
            Source.out_number >> stages[0][AsyncStage.in_number],
            *(one[AsyncStage.out_number] >> other[AsyncStage.in_number] for one, other in pairwise(stages)),
            stages[-1][AsyncStage.out_number] >> AsyncSink.in_number,
        ],
    )

    async def main() -> int:
        async with open_system(tree) as system:
            pass
        return system.ledger().processed

    began = time.perf_counter()
    processed = trio.run(main)
    took = time.perf_counter() - began
    expect(processed, 4)
    return took
