"""Checkpoints of actors with durable ports: an older state on demand, and otherwise what was committed."""

from __future__ import annotations

import pytest

from actorkit import Actor, CheckpointError, MemoryStore, child, in_port, open_system, supervisor


class Total(Actor):
    """Adds up."""

    def __init__(self) -> None:
        self.total = 0

    @in_port(durable=True)
    def in_number(self, number: int) -> None:
        if number < 0:
            raise RuntimeError(number)
        self.total += number

    @in_port
    def in_total(self, question: str) -> int:
        return self.total

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: int, version: int) -> None:
        self.total = state


TREE = supervisor(child(Total), name="sums")


async def test_after_a_crash_a_durable_actor_has_what_it_has_committed_and_not_its_last_checkpoint() -> None:
    async with open_system(TREE, store=MemoryStore()) as system:
        total = system.ref(Total)
        await total.send(Total.in_number, 1)
        await system.settle()
        await system.checkpoints.create_checkpoint(total)
        await total.send(Total.in_number, 2)
        await total.send(Total.in_number, -1)
        await system.settle()

        assert await total.ask(Total.in_total, "?") == 3


async def test_a_durable_actor_that_is_put_back_to_a_checkpoint_stays_there_also_in_the_next_process() -> None:
    store = MemoryStore()
    async with open_system(TREE, store=store) as system:
        total = system.ref(Total)
        await total.send(Total.in_number, 1)
        await system.settle()
        await system.checkpoints.create_checkpoint(total)
        await total.send(Total.in_number, 2)
        await system.settle()
        await system.checkpoints.recover_from_checkpoint(total)
        assert await total.ask(Total.in_total, "?") == 1

    async with open_system(TREE, store=store) as system:
        assert await system.ref(Total).ask(Total.in_total, "?") == 1


async def test_a_system_with_durable_ports_needs_no_cut() -> None:
    async with open_system(TREE, store=MemoryStore()) as system:
        with pytest.raises(CheckpointError, match="root/sums/total: a system with durable ports needs no cut"):
            await system.checkpoints.create_cut()
