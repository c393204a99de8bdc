"""The books when waits are cancelled: a sender for room, an asker, a handler at each of its awaits."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import Actor, ActorRef, OutPort, Shutdown, TransientError, child, in_port, open_system, supervisor


class Slow(Actor):
    """Answers after so many seconds."""

    @in_port(capacity=1)
    async def in_x(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds


async def fill(slow: ActorRef[Slow]) -> None:
    """Puts one message of ten seconds in hand, and one in the queue."""
    await slow.send(Slow.in_x, 10.0)
    await trio.testing.wait_all_tasks_blocked()
    await slow.send(Slow.in_x, 10.0)


async def test_a_sender_cancelled_while_it_waits_for_room_was_never_accepted_and_the_next_one_is() -> None:
    async with open_system(supervisor(child(Slow), name="s")) as system, trio.open_nursery() as nursery:
        slow = system.ref(Slow)
        await fill(slow)

        with trio.move_on_after(5) as cancelled:
            await slow.send(Slow.in_x, 1.0)
        nursery.start_soon(slow.send, Slow.in_x, 2.0)
        await trio.testing.wait_all_tasks_blocked()
        before = system.ledger().accepted
        await system.settle()

        assert cancelled.cancelled_caught
        assert before == 2
        assert (system.ledger().accepted, system.ledger().processed) == (3, 3)
        system.ledger().check()


@pytest.mark.parametrize("queued", [True, False])
async def test_a_request_whose_asker_was_cancelled_is_skipped_or_was_never_accepted(queued: bool) -> None:
    async with open_system(supervisor(child(Slow), name="s")) as system:
        slow = system.ref(Slow)
        if queued:
            await slow.send(Slow.in_x, 10.0)
            await trio.testing.wait_all_tasks_blocked()
        else:
            await fill(slow)

        with trio.move_on_after(5):
            await slow.ask(Slow.in_x, 1.0, timeout=None)
        with pytest.raises(trio.TooSlowError):
            await slow.ask(Slow.in_x, 1.0, timeout=1.0)
        await system.settle()

        ledger = system.ledger()
        assert ledger.skipped_by == ({"asker_gone": 1} if queued else {})
        assert ledger.processed == (1 if queued else 2)
        ledger.check()


async def test_an_ask_without_any_time_ends_at_once_and_is_not_handled_later() -> None:
    async with open_system(supervisor(child(Slow), name="s")) as system:
        began = trio.current_time()

        with pytest.raises(trio.TooSlowError):
            await system.ref(Slow).ask(Slow.in_x, 10.0, timeout=0.0)

        assert trio.current_time() == began
        system.ledger().check()


class Chain(Actor):
    """A handler with an await of every kind, one second apart."""

    out_x = OutPort(float)

    def __init__(self, lives: list[str]) -> None:
        lives.append(self.path)
        self.lives = lives

    @in_port
    async def in_go(self, x: int) -> str:
        slow = self.system.ref(Slow)
        await trio.sleep(1)
        await slow.ask(Slow.in_x, 1.0)
        with trio.move_on_after(1):
            await slow.ask(Slow.in_x, 5.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            await self.out_x.send(1.0)
        for _ in range(3):
            await self.out_x.send(1.0)
        if len(self.lives) < 2:
            raise TransientError("tried again in a second or so")
        return "done"


@pytest.mark.parametrize("shutdown", [Shutdown.KILL, 0.5, Shutdown.INFINITY])
@pytest.mark.parametrize("tenths", range(0, 100, 5))
async def test_a_handler_may_be_stopped_at_any_await_and_its_message_is_kept_and_handled_once(tenths: int, shutdown: Shutdown) -> None:
    lives: list[str] = []
    tree = supervisor(child(Chain, lives).options(shutdown=shutdown), child(Slow), wires=[Chain.out_x >> Slow.in_x], name="s")
    async with open_system(tree, seed=1) as system:
        await system.ref(Chain).send(Chain.in_go, 1)
        for _ in range(3):
            await trio.sleep(tenths / 10)
            await system.supervisor("root/s").stop_child("chain")
            stopped = system.ledger()
            stopped.check()
            await trio.sleep(20)
            assert system.ledger().ports["root/s/chain.in_go"] == stopped.ports["root/s/chain.in_go"]
            await system.supervisor("root/s").restart_child("chain")
            system.ledger().check()

        await system.settle()

        counts = system.ledger().ports["root/s/chain.in_go"]
        assert (counts.accepted, counts.processed) == (1, 1)
        system.ledger().check()


@pytest.mark.parametrize("tenths", range(0, 100, 5))
async def test_an_asker_may_be_cancelled_at_any_moment(tenths: int) -> None:
    lives = ["one"]
    tree = supervisor(child(Chain, lives), child(Slow), wires=[Chain.out_x >> Slow.in_x], name="s")
    async with open_system(tree) as system:
        with trio.move_on_after(tenths / 10):
            await system.ref(Chain).ask(Chain.in_go, 1, timeout=None)

        system.ledger().check()
        await system.settle()

        counts = system.ledger().ports["root/s/chain.in_go"]
        assert counts.processed + counts.skipped == counts.accepted
        system.ledger().check()
