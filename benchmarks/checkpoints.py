"""What do periodic checkpoints cost an actor that has enough to do?

Messages go one way to an actor that keeps the totals of so many accounts; its store is a file. With checkpoints, its state
has changed each time, so that each is encoded and written; how many were, the last one at the end included, is counted.
While one waits to be written, no other is taken: the store's thread waits for Python's lock as well. Opening is not counted.
"""

from __future__ import annotations

import time
from typing import cast

import trio

from actorkit import Actor, SqliteStore, child, in_port, open_system, supervisor
from benchmarks.durable import disk_folder
from benchmarks.one_way import CAPACITY, Source, expect

ACCOUNTS = 1_000
"""Of which the state has the names and totals: some 16 KiB."""
EVERY = 1.0
"""Seconds from one checkpoint to the next."""


class Ledger(Actor):
    """Adds numbers up, by account."""

    def __init__(self) -> None:
        self.names = [f"account {number:06}" for number in range(ACCOUNTS)]
        self.totals = dict.fromkeys(self.names, 0)

    @in_port(capacity=CAPACITY)
    def in_number(self, number: int) -> None:
        """Adds."""
        self.totals[self.names[number % ACCOUNTS]] += number

    def snapshot(self) -> object:
        """The totals."""
        return self.totals

    def restore(self, state: object, version: int) -> None:
        """Goes on from there."""
        self.totals = cast("dict[str, int]", state)


class KeptLedger(Ledger):
    """The same, with checkpoints."""

    checkpoint_every = EVERY


def one_way(ledger: type[Ledger], count: int) -> dict[str, float]:
    """Messages a second to such an actor, to the end of the stream; and how many checkpoints there were."""
    return trio.run(_one_way, ledger, count)


async def _one_way(ledger: type[Ledger], count: int) -> dict[str, float]:
    tree = supervisor(child(ledger), child(Source, count), wires=[Source.out_number >> ledger.in_number])
    with disk_folder() as folder:
        async with open_system(tree, store=SqliteStore(f"{folder}/store.db")) as system:
            began = time.perf_counter()
            await system.wait()
            took = time.perf_counter() - began
            expect(system.ledger().processed, count)
            taken = await system.checkpoints.list(system.ref(ledger))
    return {"messages/s": count / took, "checkpoints": taken[-1].id if taken else 0}
