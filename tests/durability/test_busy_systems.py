"""A store that is written while actors compute without a pause."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from actorkit import Actor, OutPort, SqliteStore, child, in_port, open_system, supervisor
from tests.durability.shop import Item, Keeper


class Spinning(Actor):
    """Sends as fast as it can, until it is told to stop, or for four seconds."""

    out_number = OutPort(int)
    stops = False

    async def run(self) -> None:
        began = time.perf_counter()
        while not self.stops and time.perf_counter() < began + 4:
            await self.out_number.send(1)

    @in_port
    def in_stop(self, _: None) -> None:
        self.stops = True


class Adding(Actor):
    """Adds up."""

    total = 0

    @in_port
    def in_number(self, number: int) -> None:
        self.total += number


def test_what_is_sent_to_a_durable_port_is_written_while_others_are_busy(tmp_path: Path) -> None:
    async def run() -> float:
        tree = supervisor(child(Adding), child(Spinning), child(Keeper), wires=[Spinning.out_number >> Adding.in_number])
        async with open_system(tree, store=SqliteStore(tmp_path / "app.db")) as system:
            await trio.sleep(0.1)
            began = time.perf_counter()
            for number in range(3):
                await system.ref(Keeper).send(Keeper.in_item, Item(str(number)))
            took = time.perf_counter() - began
            await system.ref(Spinning).send(Spinning.in_stop, None)
            await system.wait()
        return took

    assert trio.run(run) < 2
