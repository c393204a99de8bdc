"""A source that is cancelled in the middle of its work, as a bystander of somebody's restart, goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import trio

from actorkit import Actor, OutPort, Strategy, child, in_port, open_system, supervisor

COUNT = 20_000


class Neighbour(Actor):
    """Crashes when told to."""

    @in_port
    def in_crash(self, crash: Callable[[], None]) -> None:
        crash()


class Numbers(Actor):
    """Never waits long, so a cancel meets it where it gives others their turn."""

    out_number = OutPort(int)

    def __init__(self) -> None:
        self._next = 0

    async def run(self) -> None:
        while self._next < COUNT:
            await self.out_number.send(self._next)
            self._next += 1

    def snapshot(self) -> int:
        return self._next

    def restore(self, state: object, version: int) -> None:
        self._next = cast("int", state)


class Keeper(Actor):
    def __init__(self, kept: list[int]) -> None:
        self._kept = kept

    @in_port(capacity=COUNT)
    def in_number(self, number: int) -> None:
        self._kept.append(number)


@pytest.mark.parametrize("receivers", [1, 2])
async def test_a_source_cancelled_as_a_bystander_sends_nothing_twice_and_leaves_nothing_out(receivers: int) -> None:
    kept: list[list[int]] = [[] for _ in range(receivers)]
    keepers = [child(Keeper, numbers).options(name=f"keeper-{number}") for number, numbers in enumerate(kept)]
    tree = supervisor(
        child(Neighbour),
        *keepers,
        child(Numbers),
        wires=[Numbers.out_number >> keeper[Keeper.in_number] for keeper in keepers],
        strategy=Strategy.REST_FOR_ONE,
    )
    crashes = iter([KeyError("bug")])

    def crash() -> None:
        for error in crashes:
            raise error

    async with open_system(tree) as system:
        while not kept[0]:
            await trio.lowlevel.checkpoint()
        await system.ref(Neighbour).send(Neighbour.in_crash, crash)
        await system.wait()

    assert system.supervisor("root/supervisor").which_children()[-1].incarnation == 2
    assert kept == [list(range(COUNT))] * receivers
