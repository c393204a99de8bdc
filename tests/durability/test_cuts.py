"""Cuts of a whole system: money that goes round is all there in each of them, and after a recovery from any."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    CheckpointError,
    ChildSpec,
    Cut,
    DeadlockError,
    MemoryStore,
    NoCheckpointError,
    OutPort,
    OverflowStrategy,
    Restart,
    SupervisionError,
    SupervisorSpec,
    System,
    TransientError,
    child,
    in_batch,
    in_port,
    keyed,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import CutFailed, CutRecovered, CutTaken
from actorkit.storage.store import Changes


@frozen
class Money:
    """On its way, for so many more hops."""

    amount: int
    hops: int


START, TOKENS, AMOUNT = 100, 30, 7


class Account(Actor):
    """Takes money, pays some into the bank, and passes some on."""

    out_money = OutPort(Money)

    def __init__(self, number: int, seed: int, bank: str) -> None:
        self.money = START
        self.bank = bank
        self.number = number
        self.rng = Random(f"{seed} {number}")

    @in_port(capacity=2)
    async def in_money(self, money: Money) -> None:
        self.money += money.amount
        if self.rng.random() < 0.3:
            await trio.sleep(self.rng.random())
        if self.rng.random() < 0.4:
            self.money -= 3
            left = await self.system.ref(self.bank, Bank).ask(Bank.in_deposit, 3)
            self.money += left
        if money.hops:
            self.money -= money.amount
            passed = Money(money.amount, money.hops - 1)
            if self.number % 2:
                await self.out_money.send(passed)
            else:
                self.out_money.emit(passed)

    def snapshot(self) -> int:
        return self.money

    def restore(self, state: Any, version: int) -> None:
        self.money = state


class Bank(Actor):
    """Keeps what is paid in, and gives interest of nothing."""

    out_money = OutPort(Money)

    def __init__(self) -> None:
        self.money = 0

    @in_port(capacity=1)
    async def in_deposit(self, amount: int) -> int:
        self.money += amount
        await trio.sleep(0.05)
        if self.money >= 9:
            self.money -= 9
            self.out_money.emit(Money(9, 1))
        return 0

    @in_port
    def in_question(self, question: str) -> int:
        return self.money

    def snapshot(self) -> int:
        return self.money

    def restore(self, state: Any, version: int) -> None:
        self.money = state


class Mint(Actor):
    """Makes the money that goes round."""

    out_money = OutPort(Money)

    def __init__(self) -> None:
        self.made = 0

    async def run(self) -> None:
        while self.made < TOKENS:
            await self.out_money.send(Money(AMOUNT, 6))
            self.made += 1

    def snapshot(self) -> int:
        return self.made

    def restore(self, state: Any, version: int) -> None:
        self.made = state


def ring(accounts: int, seed: int) -> SupervisorSpec:
    """Accounts in a ring; the mint sends to all but the first, and to those at once, the bank to the first."""
    specs = [child(Account, number, seed, "root/s/bank").options(name=f"a{number}") for number in range(accounts)]
    bank, mint = child(Bank), child(Mint)
    wires = [one[Account.out_money] >> other[Account.in_money] for one, other in zip(specs, [*specs[1:], specs[0]], strict=True)]
    wires += [mint[Mint.out_money] >> specs[1][Account.in_money], bank[Bank.out_money] >> specs[0][Account.in_money]]
    return supervisor(*specs, bank, mint, name="s", wires=wires)


async def total_in(system: System, cut: Cut, accounts: int) -> int:
    """What a cut has, less what the mint had made by then: the same for all cuts of a ring."""
    _, entries = await system.checkpoints._cuts._choose(cut.id)
    total = 0
    for cell, entry in entries.items():
        state, _ = entry.state or (0, 1)
        assert isinstance(state, int)
        total += -AMOUNT * state if cell.actor_class is Mint else state
        total += sum(message.amount for _, message in entry.messages)
        assert cell.actor_class is not Bank or entry.messages == []
    return total - accounts * START


async def rest(system: System) -> int:
    """Lets all come to rest; all the money that there is then, less what there was at first."""
    mint = system.ref(Mint).cell
    with trio.fail_after(1_000):
        await system.settle()
        while mint.life is not None and not mint.life.run_is_over:
            await trio.sleep(1)
            await system.settle()
    lives = [cell.life for cell in system.kernel.cells.values() if cell.life is not None]
    money = sum(life.actor.money for life in lives if isinstance(life.actor, Account | Bank))
    return money - START * sum(isinstance(life.actor, Account) for life in lives)


@pytest.mark.parametrize("seed", range(40))
async def test_no_money_is_made_or_lost_in_any_cut_or_by_a_recovery_from_one(seed: int) -> None:
    rng = Random(seed)
    accounts, cuts, store = rng.randint(2, 6), list[Cut](), MemoryStore()
    async with open_system(ring(accounts, seed), store=store) as system:
        for _ in range(3):
            await trio.sleep(rng.random() * 4)
            cut = await system.checkpoints.create_cut()
            assert await total_in(system, cut, accounts) == 0
            system.ledger().check()
            cuts.append(cut)
        await trio.sleep(rng.random() * 4)

        cut = rng.choice(cuts)
        assert await system.checkpoints.recover_from_cut(cut.id) == cut
        system.ledger().check()
        again = await system.checkpoints.create_cut()
        assert await total_in(system, again, accounts) == 0
        assert await rest(system) == TOKENS * AMOUNT
        system.ledger().check()
        assert len(system.dead_letters) == 0

    async with open_system(ring(accounts, seed + 1), store=store) as system:
        await trio.sleep(rng.random() * 2)
        await system.checkpoints.recover_from_cut()
        assert await rest(system) == TOKENS * AMOUNT
        system.ledger().check()


async def test_a_cut_that_is_held_up_by_asks_in_a_row_is_taken_all_the_same() -> None:
    class Front(Actor):
        def __init__(self) -> None:
            self.answers: list[int] = []

        @in_port(capacity=1)
        async def in_question(self, amount: int) -> None:
            self.answers.append(await self.system.ref(Bank).ask(Bank.in_deposit, amount))

    async with open_system(supervisor(child(Front), child(Bank), name="s")) as system:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(system.ref(Front).send, Front.in_question, 1)
            for _ in range(5):
                nursery.start_soon(system.ref(Bank).send, Bank.in_deposit, 1)
            await trio.sleep(0.02)

            with trio.fail_after(1):
                await system.checkpoints.create_cut()
        await system.settle()
        system.ledger().check()


# ---- sources


class Numbers(Actor):
    """Sends 0, 1, 2, …"""

    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.next = 0
        self.count = count

    async def run(self) -> None:
        while self.next < self.count:
            if self.next % 5 == 0:
                await trio.sleep(0.1)
            await self.out_number.send(self.next)
            self.next += 1

    def snapshot(self) -> int:
        return self.next

    def restore(self, state: Any, version: int) -> None:
        self.next = state


class Slow(Actor):
    """Passes on."""

    out_number = OutPort(int)

    @in_port(capacity=2)
    async def in_number(self, number: int) -> None:
        await trio.sleep(0.03)
        await self.out_number.send(number)


class Store(Actor):
    """Keeps what comes, in order."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @in_port(capacity=1)
    def in_number(self, number: int) -> None:
        self.numbers.append(number)

    @in_port
    def in_question(self, question: str) -> list[int]:
        return self.numbers

    def snapshot(self) -> list[int]:
        return self.numbers

    def restore(self, state: Any, version: int) -> None:
        self.numbers = state


class Other(Store):
    """Another one."""


def line(count: int = 60) -> SupervisorSpec:
    """A source, whose numbers go to a slow actor and, at once, to another store."""
    wires = [Numbers.out_number >> Slow.in_number, Numbers.out_number >> Other.in_number, Slow.out_number >> child_of_line[Store.in_number]]
    return supervisor(child(Numbers, count), child(Slow), child_of_line, child(Other), name="s", wires=wires)


child_of_line: ChildSpec[Store] = child(Store)


@pytest.mark.parametrize("seed", range(25))
async def test_what_the_ends_get_is_as_if_nothing_had_happened(seed: int) -> None:
    rng, store = Random(seed), MemoryStore()
    async with open_system(line(), store=store) as system:
        await trio.sleep(rng.random() * 2)
        await system.checkpoints.create_cut()
        await trio.sleep(rng.random() * 2)

        await system.checkpoints.recover_from_cut()

        await system.wait()
        for cls in (Store, Other):
            assert await system.ref(f"root/s/{cls.__name__.lower()}", cls).ask(cls.in_question, "") == list(range(60))
        system.ledger().check()

    async with open_system(line(), store=store) as system:
        await trio.sleep(rng.random())
        await system.checkpoints.recover_from_cut()
        await system.wait()
        assert await system.ref("root/s/store", Store).ask(Store.in_question, "") == list(range(60))
        system.ledger().check()


async def test_streams_that_had_ended_since_begin_again() -> None:
    async with open_system(line(20)) as system:
        await trio.sleep(0.15)
        await system.checkpoints.create_cut()
        await system.wait()
        assert not system.ref(Slow).is_alive

        await system.checkpoints.recover_from_cut()
        assert system.ref(Slow).is_alive
        await system.wait()

        assert await system.ref("root/s/store", Store).ask(Store.in_question, "") == list(range(20))
        assert not system.ref(Slow).is_alive
        system.ledger().check()


async def test_a_source_that_was_over_at_the_cut_stays_so() -> None:
    async with open_system(line(20)) as system:
        await system.wait()
        await system.checkpoints.create_cut()

        await system.checkpoints.recover_from_cut()
        await system.wait()

        assert await system.ref("root/s/other", Other).ask(Other.in_question, "") == list(range(20))


async def test_a_message_that_one_of_two_receivers_has_is_in_the_cut_for_the_other_as_well() -> None:
    class Closed(Store):
        @in_port(capacity=1)
        def in_number(self, number: int) -> None:
            self.numbers.append(number)

        async def on_start(self) -> None:
            if not is_open:
                self.pause(Closed.in_number)

    is_open: list[bool] = []
    wires = [Numbers.out_number >> Closed.in_number, Numbers.out_number >> Other.in_number]
    async with open_system(supervisor(child(Closed), child(Other), child(Numbers, 10), name="s", wires=wires)) as system:
        await trio.sleep(1)
        await system.checkpoints.create_cut()
        await trio.sleep(1)
        is_open.append(True)

        await system.checkpoints.recover_from_cut()

        await system.wait()
        for cls in (Closed, Other):
            assert await system.ref(cls).ask(cls.in_question, "") == list(range(10))
        system.ledger().check()


class Counts(Actor):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.count = 0

    @in_port
    def in_question(self, question: str) -> int:
        self.count += 1
        return self.count

    def snapshot(self) -> int:
        return self.count

    def restore(self, state: Any, version: int) -> None:
        self.count = state


class Asks(Actor):
    """Asks all the time, and never waits long."""

    def __init__(self) -> None:
        self.answers = 0

    async def run(self) -> None:
        while True:
            await self.system.ref(Counts).ask(Counts.in_question, "")
            self.answers += 1

    def snapshot(self) -> int:
        return self.answers

    def restore(self, state: Any, version: int) -> None:
        self.answers = state


async def test_a_source_that_has_its_answer_has_noted_it_in_the_cut() -> None:
    async with open_system(supervisor(child(Counts), child(Asks), name="s")) as system:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
            cut = await system.checkpoints.create_cut()
            _, entries = await system.checkpoints._cuts._choose(cut.id)

            counted, noted = [entry.state[0] if entry.state else None for entry in entries.values()]
            assert counted == noted


# ---- what else is queued


class Desk(Actor):
    """Puts messages aside in all the ways there are."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = 1

    @in_port
    def in_stash(self, text: str) -> None:
        if text == "all":
            self.unstash_all()
        elif "open" not in self.done:
            self.stash()
            return
        self.done.append(text)

    @in_port
    def in_paused(self, text: str) -> None:
        self.done.append(text)

    @in_port(ordered=False)
    def in_retried(self, text: str) -> None:
        if self.fails:
            self.fails = 0
            raise TransientError("later", retry_after=5.0)
        self.done.append(text)

    @in_batch(size=3, wait=2.0)
    def in_batch(self, texts: list[str]) -> None:
        self.done += texts

    @in_port
    def in_command(self, command: str) -> list[str]:
        if command == "pause":
            self.pause(Desk.in_paused)
        elif command == "timer":
            self.after(10.0, Desk.in_command, "open")
        elif command == "open":
            self.done.append("open")
        return self.done

    def snapshot(self) -> list[str]:
        return self.done

    def restore(self, state: Any, version: int) -> None:
        self.done, self.fails = state, 0


async def test_what_is_set_aside_or_waits_comes_back() -> None:
    async with open_system(child(Desk)) as system:
        desk = system.ref(Desk)
        await desk.send(Desk.in_stash, "stashed")
        await desk.ask(Desk.in_command, "pause")
        await desk.send(Desk.in_paused, "paused")
        await desk.send(Desk.in_retried, "retried")
        await desk.send(Desk.in_batch, "batched")
        await trio.sleep(1)
        cut = await system.checkpoints.create_cut()
        await trio.sleep(9)

        await system.checkpoints.recover_from_cut()
        system.ledger().check()
        await trio.sleep(9)

        assert cut.messages == 4
        assert sorted(await desk.ask(Desk.in_command, "")) == ["batched", "paused", "retried"]
        system.ledger().check()


async def test_timers_have_the_time_left_that_they_had() -> None:
    async with open_system(child(Desk)) as system:
        desk = system.ref(Desk)
        await desk.ask(Desk.in_command, "timer")
        await trio.sleep(4)
        await system.checkpoints.create_cut()
        await trio.sleep(20)
        assert await desk.ask(Desk.in_command, "") == ["open"]

        await system.checkpoints.recover_from_cut()

        await trio.sleep(5.5)
        assert await desk.ask(Desk.in_command, "") == []
        await trio.sleep(1)
        assert await desk.ask(Desk.in_command, "") == ["open"]


async def test_a_message_that_waits_to_be_tried_again_is_part_of_the_cut() -> None:
    class Flaky(Store):
        @in_port
        def in_number(self, number: int) -> None:
            if trio.current_time() < until:
                raise TransientError("later", retry_after=5.0)
            self.numbers.append(number)

    async with open_system(child(Flaky)) as system:
        flaky, until = system.ref(Flaky), trio.current_time() + 4
        for number in (1, 2):
            await flaky.send(Flaky.in_number, number)
        await trio.sleep(1)
        cut = await system.checkpoints.create_cut()
        await system.settle()

        await system.checkpoints.recover_from_cut()

        assert cut.messages == 2
        assert await flaky.ask(Flaky.in_question, "") == [1, 2]
        system.ledger().check()


async def test_what_was_queued_since_is_dropped_and_its_askers_are_told() -> None:
    async with open_system(supervisor(child(Slow), child(Store), name="s")) as system:
        store = system.ref(Store)
        await store.send(Store.in_number, 1)
        await system.settle()
        await system.checkpoints.create_cut()
        await system.supervisor("root/s").stop_child("slow")
        recovered = system.events(CutRecovered)

        async def ask() -> None:
            with pytest.raises(AskFailed, match="put back to a cut"):
                await store.ask(Store.in_question, "", timeout=100)

        store.cell.close()  # it takes nothing for a while
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await store.send(Store.in_number, 2)
            await trio.testing.wait_all_tasks_blocked()
            await system.checkpoints.recover_from_cut()

        assert await store.ask(Store.in_question, "") == [1]
        assert system.ref(Slow).is_alive
        assert system.ledger().dropped_by == {"replaced": 2}
        system.ledger().check()
    assert [each.dropped async for each in recovered] == [2]


async def test_a_request_in_a_cut_is_skipped() -> None:
    async with open_system(child(Bank)) as system:
        bank = system.ref(Bank)
        bank.cell.close()  # it takes nothing for a while
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(bank.ask, Bank.in_question, "")
            await trio.testing.wait_all_tasks_blocked()
            cut = await system.checkpoints.create_cut()
            bank.cell.open()

        await system.checkpoints.recover_from_cut()

        assert cut.messages == 0
        assert system.ledger().skipped_by == {"asker_gone": 2}
        system.ledger().check()


async def test_what_waits_on_disk_is_part_of_the_cut() -> None:
    class Spilling(Store):
        @in_port(capacity=2, overflow=OverflowStrategy.SPILL_TO_DISK)
        async def in_number(self, number: int) -> None:
            await trio.sleep(1)
            self.numbers.append(number)

    async with open_system(child(Spilling)) as system:
        spilling = system.ref(Spilling)
        for number in range(10):
            await spilling.send(Spilling.in_number, number)
        cut = await system.checkpoints.create_cut()
        await trio.sleep(3)

        await system.checkpoints.recover_from_cut()
        system.ledger().check()

        assert cut.messages >= 8
        assert await spilling.ask(Spilling.in_question, "", timeout=60) == list(range(10))


async def test_members_of_pools_are_part_of_it() -> None:
    class Member(Store):
        @in_port
        async def in_number(self, number: int) -> None:
            await trio.sleep(1)
            self.numbers.append(number)

    async with open_system(pool(Member, size=2)) as system:
        for number in range(8):
            await system.ref(Member).send(Member.in_number, number)
        await trio.sleep(1.5)
        await system.checkpoints.create_cut()
        await system.settle()

        await system.checkpoints.recover_from_cut()
        await system.settle()

        members = [system.ref(f"root/supervisor/member/member-{number}", Member) for number in (1, 2)]
        found = [await member.ask(Member.in_question, "") for member in members]
        assert sorted(found[0] + found[1]) == list(range(8))
        system.ledger().check()


# ---- cuts that can't be taken


async def test_a_handler_that_takes_too_long_ends_the_cut_and_the_ones_before_stay() -> None:
    class Stuck(Store):
        @in_port
        async def in_number(self, number: int) -> None:
            await trio.sleep(100)
            self.numbers.append(number)

    async with open_system(supervisor(child(Stuck), child(Other), name="s")) as system:
        failed, taken = system.events(CutFailed), system.events(CutTaken)
        await system.checkpoints.create_cut()
        await system.ref(Stuck).send(Stuck.in_number, 1)
        await system.ref(Other).send(Other.in_number, 1)
        await trio.sleep(1)
        began = trio.current_time()

        with pytest.raises(CheckpointError, match="after 30 s, not between two messages: root/s/stuck"):
            await system.checkpoints.create_cut()

        assert trio.current_time() - began == pytest.approx(30.0)
        assert await system.ref(Other).ask(Other.in_question, "") == [1]
        assert [each.id for each in await system.checkpoints.cuts()] == [1]
        await system.settle()
        assert await system.ref(Stuck).ask(Stuck.in_question, "") == [1]
        assert (await system.checkpoints.create_cut()).id == 3
    assert len([each async for each in failed]) == 1
    assert [each.cut_id async for each in taken] == [1, 3]


async def test_a_message_that_can_not_be_kept_makes_a_cut_fail_and_harms_nobody() -> None:
    class Holder(Actor):
        def __init__(self) -> None:
            self.count = 0

        @in_port
        async def in_object(self, thing: object) -> int:
            await trio.sleep(1)
            self.count += 1
            return self.count

    async with open_system(child(Holder)) as system:
        holder = system.ref(Holder)
        for _ in range(3):
            await holder.send(Holder.in_object, Random(1))
        await trio.sleep(0.5)

        with pytest.raises(CheckpointError, match=r"root/supervisor/holder.in_object has a Random waiting that can't be kept"):
            await system.checkpoints.create_cut()

        assert await holder.ask(Holder.in_object, 1) == 4
        system.ledger().check()


async def test_who_is_in_a_handler_can_take_none_and_go_back_to_none() -> None:
    class Asking(Store):
        @in_port
        async def in_number(self, number: int) -> None:
            with pytest.raises(DeadlockError):
                await self.system.checkpoints.create_cut()
            with pytest.raises(DeadlockError):
                await self.system.checkpoints.recover_from_cut()
            self.numbers.append(number)

    async with open_system(child(Asking)) as system:
        await system.checkpoints.create_cut()
        await system.ref(Asking).send(Asking.in_number, 5)
        await system.settle()

        assert await system.ref(Asking).ask(Asking.in_question, "") == [5]


async def test_keyed_actors_are_refused() -> None:
    async with open_system(keyed(Store, by=lambda number: number)) as system:
        with pytest.raises(CheckpointError, match="keyed actors can't be cut"):
            await system.checkpoints.create_cut()


async def test_the_last_three_are_kept() -> None:
    store = MemoryStore()
    async with open_system(child(Store), store=store) as system:
        with pytest.raises(NoCheckpointError, match=r"there is no cut of this system; take one with .*create_cut"):
            await system.checkpoints.recover_from_cut()
        for _ in range(5):
            await system.checkpoints.create_cut()

        assert [each.id for each in await system.checkpoints.cuts()] == [3, 4, 5]
        assert store.spaces("cut") == ["cut", "cut 3", "cut 4", "cut 5"]
        with pytest.raises(NoCheckpointError, match="there is no cut 2 of this system; there are: 3, 4, 5"):
            await system.checkpoints.recover_from_cut(2)


async def test_a_cut_of_another_tree_is_refused_and_nothing_is_done() -> None:
    store = MemoryStore()
    async with open_system(supervisor(child(Store), child(Bank), name="s"), store=store) as system:
        await system.checkpoints.create_cut()

    async with open_system(supervisor(child(Store), child(Slow), name="s"), store=store) as system:
        await system.ref(Store).send(Store.in_number, 1)
        with pytest.raises(CheckpointError, match=r"another tree \(missing: root/s/bank; new: root/s/slow\)"):
            await system.checkpoints.recover_from_cut()
        assert await system.ref(Store).ask(Store.in_question, "") == [1]


async def test_a_recovery_that_nobody_waits_for_any_more_is_done_all_the_same() -> None:
    class Leaving(Store):
        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(1)

    async with open_system(child(Leaving).options(restart=Restart.PERMANENT)) as system:
        leaving = system.ref(Leaving)
        await system.checkpoints.create_cut()
        await system.checkpoints.create_checkpoint(leaving)
        await leaving.send(Leaving.in_number, 1)
        await system.settle()

        with trio.move_on_after(0.5):
            await system.checkpoints.recover_from_checkpoint(leaving)

        assert await leaving.ask(Leaving.in_question, "") == []
        ref: ActorRef[Any] = leaving
        assert ref.is_alive


async def test_an_actor_may_ask_for_its_own_recovery_in_the_background() -> None:
    class Regretful(Store):
        @in_port
        def in_number(self, number: int) -> None:
            self.numbers.append(number)
            if number < 0:
                self.start_soon(self.system.checkpoints.recover_from_checkpoint, self.ref)
                self.start_soon(self.system.checkpoints.recover_from_cut)

    async with open_system(child(Regretful)) as system:
        ref = system.ref(Regretful)
        await ref.send(Regretful.in_number, 1)
        await system.settle()
        await system.checkpoints.create_checkpoint(ref)
        await system.checkpoints.create_cut()

        await ref.send(Regretful.in_number, -1)
        await trio.sleep(1)

        assert await ref.ask(Regretful.in_question, "") == [1]
        assert ref.cell.number == 3
        system.ledger().check()


async def test_a_system_that_is_stopped_meanwhile_is_not_cut() -> None:
    class Late(Store):
        @in_port
        async def in_number(self, number: int) -> None:
            await trio.sleep(3)
            self.numbers.append(number)

    errors: list[CheckpointError] = []

    async def cut(system: System) -> None:
        try:
            await system.checkpoints.create_cut()
        except CheckpointError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with open_system(child(Late)) as system:
            for number in (1, 2):
                await system.ref(Late).send(Late.in_number, number)
            await trio.sleep(1)
            nursery.start_soon(cut, system)
            await trio.sleep(1)
        system.ledger().check()

    assert [str(error) for error in errors] == ["the system is being stopped; the cuts before this one stay"]
    assert system.ledger().processed == 2


async def test_a_recovery_that_the_end_of_the_system_overtakes_says_so() -> None:
    class Lingering(Store):
        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(3)

    errors: list[Exception] = []

    async def recover(system: System) -> None:
        try:
            await system.checkpoints.recover_from_checkpoint(system.ref(Lingering))
        except SupervisionError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with open_system(child(Lingering)) as system:
            await system.checkpoints.create_checkpoint(system.ref(Lingering))
            nursery.start_soon(recover, system)
            await trio.sleep(1)
        system.ledger().check()

    assert len(errors) == 1


async def test_cuts_and_checkpoints_may_be_taken_and_gone_back_to_all_at_once() -> None:
    async with open_system(ring(4, 1)) as system:
        await system.checkpoints.create_cut()

        async def bother(rng: Random) -> None:
            for _ in range(5):
                await trio.sleep(rng.random())
                if rng.random() < 0.5:
                    await system.checkpoints.create_cut()
                elif rng.random() < 0.5:
                    with suppress(CheckpointError):  # it may be down, since somebody else recovers it
                        await system.checkpoints.create_checkpoint(system.ref("root/s/a1"))
                else:
                    await system.checkpoints.recover_from_cut()

        with trio.fail_after(500):
            async with trio.open_nursery() as nursery:
                for seed in range(4):
                    nursery.start_soon(bother, Random(seed))
        assert await rest(system) == TOKENS * AMOUNT
        system.ledger().check()


@pytest.mark.parametrize("damage", ["head", "actor", "missing"])
async def test_a_damaged_cut_is_passed_over_for_the_one_before(damage: str) -> None:
    store = MemoryStore()
    async with open_system(child(Store), store=store) as system:
        for number in (1, 2):
            await system.ref(Store).send(Store.in_number, number)
            await system.settle()
            await system.checkpoints.create_cut()
    store.open()
    if damage == "missing":
        store.write([Changes(deletes=[("cut 2", 0)])])
    else:
        store.write([Changes([("cut", 2, b"x") if damage == "head" else ("cut 2", 0, b"x")])])
    store.close(clean=True)

    async with open_system(child(Store), store=store) as system:
        cut = await system.checkpoints.recover_from_cut()

        assert cut.id == 1
        assert await system.ref(Store).ask(Store.in_question, "") == [1]


async def test_an_actor_that_is_not_restored_from_a_cut_is_named_and_all_others_are_back() -> None:
    class Picky(Store):
        def restore(self, state: Any, version: int) -> None:
            raise ValueError("not that")

    async with open_system(supervisor(child(Picky), child(Other), name="s")) as system:
        for cls in (Picky, Other):
            await system.ref(cls).send(cls.in_number, 1)
        await system.settle()
        await system.checkpoints.create_cut()
        await system.ref(Other).send(Other.in_number, 2)

        with pytest.raises(CheckpointError, match="root/s/picky could not be restored from cut 1, though all others are"):
            await system.checkpoints.recover_from_cut()

        assert await system.ref(Picky).ask(Picky.in_question, "") == []
        assert await system.ref(Other).ask(Other.in_question, "") == [1]
        system.ledger().check()
