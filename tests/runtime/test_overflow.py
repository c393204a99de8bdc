"""What a full port does, and what the ledger says of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    DeadLetterReason,
    MailboxFull,
    OutPort,
    OverflowStrategy,
    PortDefinitionError,
    System,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import MessagesDropped

BLOCK, DROP_OLDEST, DROP_NEWEST = OverflowStrategy.BLOCK, OverflowStrategy.DROP_OLDEST, OverflowStrategy.DROP_NEWEST


class Slow(Actor):
    """Takes a second for each number, and remembers it."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    async def handle(self, number: int) -> None:
        await trio.sleep(1)
        self.seen.append(number)


class Blocks(Slow):
    @in_port(capacity=2, block_timeout=5)
    async def in_number(self, number: int) -> None:
        await self.handle(number)


class DropsOldest(Slow):
    @in_port(capacity=2, overflow=DROP_OLDEST)
    async def in_number(self, number: int) -> int:
        if number == 0:
            self.after(0.5, DropsOldest.in_number, 100)
            await self.ref.send(DropsOldest.in_number, 200)
        await self.handle(number)
        return number


class DropsNewest(Slow):
    @in_port(capacity=2, overflow=DROP_NEWEST)
    async def in_number(self, number: int) -> None:
        await self.handle(number)


async def first_is_in_hand(system: System) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert system.ledger().in_flight == 1


async def test_drop_newest_makes_dead_letters_of_what_finds_no_room() -> None:
    seen: list[int] = []
    async with open_system(child(DropsNewest, seen)) as system:
        ref = system.ref(DropsNewest)
        await ref.send(DropsNewest.in_number, 0)
        await first_is_in_hand(system)

        for number in range(1, 6):
            await ref.send(DropsNewest.in_number, number)
        ref.send_nowait(DropsNewest.in_number, 6)
        await system.settle()

        ledger = system.ledger()
        ledger.check()
        assert seen == [0, 1, 2]
        assert (ledger.accepted, ledger.processed, ledger.dead_lettered) == (7, 3, 4)
        assert ledger.dead_lettered_by == {"overflow": 4}
        letters = await system.dead_letters.inspect()
        assert [letter.message for letter in letters] == [3, 4, 5, 6]
        assert {letter.reason for letter in letters} == {DeadLetterReason.OVERFLOW}


async def test_drop_oldest_drops_and_counts_the_head() -> None:
    seen: list[int] = []
    async with open_system(child(DropsOldest, seen)) as system:
        ref, events = system.ref(DropsOldest), system.events(MessagesDropped)
        await ref.send(DropsOldest.in_number, 1)
        await first_is_in_hand(system)

        for number in range(2, 8):
            await ref.send(DropsOldest.in_number, number)
        await system.settle()

        ledger = system.ledger()
        ledger.check()
        assert seen == [1, 6, 7]
        assert (ledger.accepted, ledger.processed, ledger.dropped) == (7, 3, 4)
        assert ledger.dropped_by == {"drop_oldest": 4}
        assert [(await anext(events)).count for _ in range(3)] == [1, 2, 4]


async def test_what_is_always_admitted_is_never_dropped() -> None:
    seen: list[int] = []
    async with open_system(child(DropsOldest, seen)) as system:
        ref = system.ref(DropsOldest)
        await ref.send(DropsOldest.in_number, 0)  # sends itself 200, and a timer brings 100
        await trio.sleep(0.75)

        for number in range(1, 5):
            await ref.send(DropsOldest.in_number, number)
        await system.settle()

        assert seen == [0, 200, 100]
        assert system.ledger().dropped == 4
        system.ledger().check()


async def test_a_request_that_is_dropped_fails_at_once() -> None:
    async with open_system(child(DropsOldest, [])) as system, trio.open_nursery() as nursery:
        ref = system.ref(DropsOldest)
        await ref.send(DropsOldest.in_number, 1)
        await first_is_in_hand(system)
        started = trio.current_time()

        async def ask() -> None:
            with pytest.raises(AskFailed, match=r"root/supervisor/drops_oldest\.in_number .* full"):
                await ref.ask(DropsOldest.in_number, 2)
            assert trio.current_time() == started

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        for number in (3, 4):
            await ref.send(DropsOldest.in_number, number)


async def test_block_timeout_makes_a_dead_letter_and_lets_the_sender_go() -> None:
    class Stuck(Actor):
        @in_port(capacity=1, block_timeout=5)
        async def in_number(self, number: int) -> None:
            await trio.sleep(100)

    async with open_system(child(Stuck).options(shutdown=1000)) as system:
        ref = system.ref(Stuck)
        await ref.send(Stuck.in_number, 0)
        await first_is_in_hand(system)
        await ref.send(Stuck.in_number, 1)
        started = trio.current_time()

        await ref.send(Stuck.in_number, 2)

        assert trio.current_time() - started == pytest.approx(5)
        assert system.ledger().dead_lettered_by == {"overflow_timeout": 1}
        with pytest.raises(MailboxFull):
            ref.send_nowait(Stuck.in_number, 3)
        started = trio.current_time()
        with pytest.raises(AskFailed, match="overflow_timeout"):
            await ref.ask(Stuck.in_number, 4, timeout=50)
        assert trio.current_time() - started == pytest.approx(5)
        system.ledger().check()


async def test_the_clock_of_block_timeout_stands_still_while_the_receiver_restarts() -> None:
    class Restarting(Actor):
        lives = 0

        @in_port(capacity=1, block_timeout=5)
        async def in_number(self, number: int) -> None:
            if Restarting.lives == 1:
                await trio.sleep(2)
                raise KeyError(number)

        async def on_start(self) -> None:
            Restarting.lives += 1
            if Restarting.lives == 2:
                await trio.sleep(20)

    async with open_system(child(Restarting)) as system:
        ref = system.ref(Restarting)
        await ref.send(Restarting.in_number, 0)
        await first_is_in_hand(system)
        await ref.send(Restarting.in_number, 1)
        started = trio.current_time()

        await ref.send(Restarting.in_number, 2)
        await system.settle()

        assert trio.current_time() - started >= 20
        assert system.ledger().dead_lettered == 0
        assert system.ledger().processed == 3


async def test_an_actor_that_emits_to_a_dropping_port_is_not_held() -> None:
    class Emitter(Actor):
        out_number = OutPort(int)

        @in_port
        def in_go(self, count: int) -> None:
            for number in range(count):
                self.out_number.emit(number)

    seen: list[int] = []
    tree = supervisor(child(Emitter), child(DropsOldest, seen), wires=[Emitter.out_number >> DropsOldest.in_number])
    async with open_system(tree) as system:
        await system.ref(Emitter).ask(Emitter.in_go, 10)
        await system.ref(Emitter).ask(Emitter.in_go, 1)  # it answers: it is not held

        await system.settle()
        system.ledger().check()


@pytest.mark.parametrize("strategy", [DROP_OLDEST, DROP_NEWEST])
async def test_a_message_that_waits_for_its_retry_is_not_dropped(strategy: OverflowStrategy) -> None:
    class Retries(Actor):
        tries = 0

        @in_port(capacity=1, overflow=strategy)
        async def in_number(self, number: int) -> None:
            if number == 0 and self.tries < 3:
                self.tries += 1
                raise TransientError("again")

    async with open_system(child(Retries)) as system:
        ref: ActorRef[Any] = system.ref(Retries)
        await ref.send(Retries.in_number, 0)
        for number in range(1, 20):
            await ref.send(Retries.in_number, number)
            await trio.sleep(0.01)
        await system.settle()

        ledger = system.ledger()
        ledger.check()
        assert ledger.accepted == 20
        assert not [letter for letter in await system.dead_letters.inspect() if letter.message == 0]


def test_block_timeout_is_for_blocking_ports() -> None:
    with pytest.raises(ValueError, match=r"block_timeout = 5: .*DROP_OLDEST"):
        in_port(overflow=DROP_OLDEST, block_timeout=5)


def test_a_plain_handler_can_have_no_timeout() -> None:
    with pytest.raises(PortDefinitionError, match=r"Plain\.in_number: .*async def"):

        class Plain(Actor):
            @in_port(timeout=1)
            def in_number(self, number: int) -> None: ...


async def test_send_nowait_over_wires_is_not_refused_by_ports_that_drop() -> None:
    seen: list[tuple[str, int]] = []

    class Sender(Actor):
        out_number = OutPort(int)

        @in_port
        def in_numbers(self, count: int) -> None:
            for number in range(count):
                self.out_number.send_nowait(number)

    class Oldest(Actor):
        @in_port(capacity=2, overflow=DROP_OLDEST)
        def in_number(self, number: int) -> None:
            seen.append(("oldest", number))

    class Newest(Actor):
        @in_port(capacity=2, overflow=DROP_NEWEST)
        def in_number(self, number: int) -> None:
            seen.append(("newest", number))

    wires = [Sender.out_number >> Oldest.in_number, Sender.out_number >> Newest.in_number]
    async with open_system(supervisor(child(Sender), child(Oldest), child(Newest), wires=wires)) as system:
        await system.ref(Sender).send(Sender.in_numbers, 4)
        await system.settle()

        assert sorted(seen) == [("newest", 0), ("newest", 1), ("oldest", 2), ("oldest", 3)]
        assert (system.ledger().dropped, system.ledger().dead_lettered) == (2, 2)
        system.ledger().check()
