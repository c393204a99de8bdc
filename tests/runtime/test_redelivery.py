"""The message in hand when its actor ends: it waits for the next life, and nobody handles it before."""

from __future__ import annotations

import trio
import trio.testing

from actorkit import Actor, Shutdown, TransientError, child, in_port, open_system, supervisor


class Fails(Actor):
    """Fails with its first message, to be retried; on demand a background task of it fails as well."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.life = 1 + sum(note.startswith("life") for note in notes)
        notes.append(f"life {self.life}")

    @in_port
    async def in_x(self, seconds: float) -> None:
        self.notes.append(f"handled by {self.life}")
        await trio.sleep(seconds)
        if sum(note.startswith("handled") for note in self.notes) == 1:
            raise TransientError("to be retried")

    @in_port
    def in_break(self, seconds: float) -> None:
        self.start_soon(self.fail_after, seconds)

    async def fail_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        raise KeyError("in the background")


class SlowToStop(Actor):
    @in_port
    async def in_x(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def test_an_actor_that_failed_does_not_retry_its_message_while_its_supervisor_is_busy() -> None:
    notes: list[str] = []
    slow = child(SlowToStop).options(shutdown=Shutdown.INFINITY)
    async with open_system(supervisor(child(Fails, notes), slow, name="s"), seed=1) as system, trio.open_nursery() as nursery:
        await system.ref(SlowToStop).send(SlowToStop.in_x, 100.0)
        await system.ref(Fails).send(Fails.in_break, 1.001)
        await system.ref(Fails).send(Fails.in_x, 1.0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(system.supervisor("root/s").stop_child, "slow_to_stop")
        await system.settle()

        assert notes == ["life 1", "handled by 1", "life 2", "handled by 2"]
        system.ledger().check()


async def test_a_message_that_fails_while_its_actor_is_being_stopped_waits_for_the_next_life() -> None:
    notes: list[str] = []
    async with open_system(supervisor(child(Fails, notes).options(shutdown=Shutdown.INFINITY), name="s")) as system:
        await system.ref(Fails).send(Fails.in_x, 1.0)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/s").stop_child("fails")
        await trio.sleep(60)
        assert notes == ["life 1", "handled by 1"]
        assert system.ledger().ports["root/s/fails.in_x"].queued == 1
        await system.supervisor("root/s").restart_child("fails")
        await system.settle()

        assert notes == ["life 1", "handled by 1", "life 2", "handled by 2"]
        system.ledger().check()
