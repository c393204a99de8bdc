"""Pools and keyed actors with durable ports: one journal for the group, whoever handles a message."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from attrs import frozen

from actorkit import Actor, ChildSpec, MemoryStore, OutPort, by_key, child, in_port, keyed, open_system, pool, supervisor
from tests.runs import run_inside


@frozen
class Deposit:
    account: int
    amount: int


def account(deposit: Deposit) -> int:
    """The key of a deposit."""
    return deposit.account


class Deposits(Actor):
    """Sends deposits to ten accounts, in turn, from where it was."""

    out_deposit = OutPort(Deposit)

    def __init__(self, count: int) -> None:
        self.count = count
        self.sent = 0

    async def run(self) -> None:
        while self.sent < self.count:
            await self.out_deposit.send(Deposit(self.sent % 10, self.sent))
            self.sent += 1

    def snapshot(self) -> int:
        return self.sent

    def restore(self, state: int, version: int) -> None:
        self.sent = state


class Account(Actor):
    """Adds up deposits, and sends them on."""

    out_deposit = OutPort(Deposit)

    def __init__(self) -> None:
        self.total = 0

    @in_port(durable=True, capacity=4)
    async def in_deposit(self, deposit: Deposit) -> None:
        self.total += deposit.amount
        await self.out_deposit.send(deposit)

    @in_port
    def in_total(self, question: Deposit) -> int:
        return self.total

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: int, version: int) -> None:
        self.total = state


class Book(Actor):
    """Has all of them, in order."""

    def __init__(self) -> None:
        self.deposits: list[int] = []

    @in_port(durable=True)
    def in_deposit(self, deposit: Deposit) -> None:
        self.deposits.append(deposit.amount)

    @in_port
    def in_what(self, question: str) -> list[int]:
        return self.deposits

    def snapshot(self) -> list[int]:
        return self.deposits

    def restore(self, state: list[int], version: int) -> None:
        self.deposits = state


GROUPS: dict[str, Callable[[], ChildSpec[Account]]] = {
    "pool": lambda: pool(Account, size=3),
    "pool by key": lambda: pool(Account, size=3, route=by_key(account)),
    "keyed": lambda: keyed(Account, by=account, passivate_after=0.01),
    "keyed, few awake": lambda: keyed(Account, by=account, max_active=3),
}


@pytest.fixture(params=list(GROUPS))
def group(request: pytest.FixtureRequest) -> ChildSpec[Account]:
    """A group of accounts, of each kind."""
    return GROUPS[request.param]()


async def test_each_message_through_a_group_has_its_effect_once_from_run_to_run(group: ChildSpec[Account]) -> None:
    store = MemoryStore()
    for count in (50, 120, 120):
        wires = [Deposits.out_deposit >> group[Account.in_deposit], group[Account.out_deposit] >> Book.in_deposit]
        tree = supervisor(child(Deposits, count), group, child(Book), wires=wires, name="bank")
        report = await run_inside(tree, store=store)
        report.ledger.check()
        assert report.outcome == "completed"

    async with open_system(supervisor(child(Book), name="bank"), store=store) as system:
        booked = await system.ref(Book).ask(Book.in_what, "?")

    assert sorted(booked) == list(range(120))


async def test_what_a_group_has_not_handled_is_there_for_its_next_members(group: ChildSpec[Account]) -> None:
    store = MemoryStore()
    tree = supervisor(group, name="bank")
    async with open_system(tree, store=store) as system:
        ref = system.ref("root/bank/account", Account)
        await system.supervisor("root/bank").stop_child("account")
        for number in range(3):
            with trio.move_on_after(1):
                await ref.send(Account.in_deposit, Deposit(7, number))
        letters = await system.dead_letters.inspect()
    assert [letter.reason.value for letter in letters] == ["receiver_stopped"] * 3  # to an actor that is stopped

    async with open_system(tree, store=store) as system:
        assert await system.dead_letters.reprocess() == 3
        await system.settle()
        assert len(system.dead_letters) == 0
        ledger = system.ledger()

    assert (ledger.accepted, ledger.processed) == (3, 3)


async def test_a_key_has_the_state_that_it_has_committed_in_the_next_process() -> None:
    store = MemoryStore()
    tree = supervisor(keyed(Account, by=account, passivate_after=0.01), name="bank")
    async with open_system(tree, store=store) as system:
        ref = system.ref("root/bank/account", Account)
        for number in range(30):
            await ref.send(Account.in_deposit, Deposit(number % 3, 1))
        await system.settle()

    async with open_system(tree, store=store) as system:
        ref = system.ref("root/bank/account", Account)
        totals = [await ref.ask(Account.in_total, Deposit(key, 0)) for key in range(3)]

    assert totals == [10, 10, 10]
