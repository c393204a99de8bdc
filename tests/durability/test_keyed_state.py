"""The state of keyed actors in a store: there when the key wakes, in this process and in the next."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
import trio
from attrs import frozen

from actorkit import (
    Actor,
    EncodingError,
    ExitReason,
    SqliteStore,
    StateVersionError,
    SupervisionError,
    System,
    ValidationError,
    in_port,
    keyed,
    open_system,
)
from actorkit.errors import DecodingError
from actorkit.events import ChildQuarantined, StartFailed, StateNotKept
from actorkit.storage.memory import MemoryStore
from actorkit.storage.store import Changes, DamagedEntry, Key
from tests.durability.processes import FullStore, entries, left_behind

PATH = "root/supervisor/account"
SPACE = f"state {PATH}"


@frozen
class Deposit:
    account: object
    amount: int


class Account(Actor):
    """Adds up deposits."""

    def __init__(self) -> None:
        self.balance = 0

    @in_port
    def in_deposit(self, deposit: Deposit) -> int:
        if deposit.amount < 0:
            raise ValidationError("a deposit brings money")
        self.balance += deposit.amount
        return self.balance

    @in_port
    def in_close(self, deposit: Deposit) -> None:
        self.stop()

    def snapshot(self) -> object:
        return self.balance

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.balance = state


def accounts(actor: type[Account] = Account, **options: Any) -> Any:
    """Accounts, by their numbers."""
    return keyed(actor, by=lambda deposit: deposit.account, **options).options(name="account")


async def deposit(store: MemoryStore, *deposits: Deposit, actor: type[Account] = Account, **options: Any) -> list[int]:
    """What a process answers that makes these deposits, one after the other, and ends in order."""
    async with open_system(accounts(actor, **options), store=store) as system:
        ref = system.ref(Account)
        return [await ref.ask(Account.in_deposit, each) for each in deposits]


class BlockingStore(MemoryStore):
    """Is called in threads, and remembers what was read, and by whom."""

    may_block = True

    def __init__(self) -> None:
        super().__init__()
        self.gets: Counter[Key] = Counter()
        self.readers: set[int] = set()

    def get(self, space: str, key: Key) -> bytes | None:
        """Reads, in some thread."""
        self.gets[key] += 1
        self.readers.add(threading.get_ident())
        return super().get(space, key)


async def test_the_next_process_goes_on_from_the_state() -> None:
    store = MemoryStore()
    await deposit(store, Deposit("ada", 10), Deposit("bob", 7), Deposit("ada", 5))

    answers = await deposit(store, Deposit("ada", 1), Deposit("bob", 1), Deposit("cay", 1))

    assert answers == [16, 8, 1]


def test_a_file_has_the_states_of_keys_that_sleep(tmp_path: Path) -> None:
    async def test() -> None:
        names = [f"key-{number}" for number in range(100)]
        answers = []
        for _ in range(3):
            async with open_system(accounts(max_active=5), store=SqliteStore(tmp_path / "bank.db")) as system:
                for name in names:
                    await system.ref(Account).send(Account.in_deposit, Deposit(name, 1))
                answers.append([await system.ref(Account).ask(Account.in_deposit, Deposit(name, 0)) for name in names])

        assert answers == [[1] * 100, [2] * 100, [3] * 100]

    in_real_time(test)


async def test_a_key_that_was_put_aside_comes_back_from_the_store() -> None:
    store = MemoryStore()
    async with open_system(accounts(passivate_after=5), store=store) as system:
        ref = system.ref(Account)
        await ref.ask(Account.in_deposit, Deposit("ada", 10))
        await trio.sleep(20)
        asleep = system.supervisor(PATH).which_children()

        answer = await ref.ask(Account.in_deposit, Deposit("ada", 5))

    assert asleep == []
    assert answer == 15


async def test_what_was_put_aside_is_served_from_memory_until_it_is_written() -> None:
    store = FullStore()
    store.is_full = True
    async with open_system(accounts(max_active=1), store=store) as system:
        ref = system.ref(Account)

        answers = [await ref.ask(Account.in_deposit, Deposit(name, 1)) for name in ("ada", "bob", "ada", "bob", "ada")]
        await trio.sleep(3)
        answers.append(await ref.ask(Account.in_deposit, Deposit("bob", 1)))
        store.is_full = False

    assert answers == [1, 1, 2, 2, 3, 3]
    assert await deposit(store, Deposit("ada", 0), Deposit("bob", 0)) == [3, 3]


async def test_a_state_that_has_changed_is_written_within_a_second() -> None:
    store = MemoryStore()
    async with open_system(accounts(), store=store) as system:
        for amount in (1, 2, 3):
            await system.ref(Account).ask(Account.in_deposit, Deposit("ada", amount))
        before = entries(store, SPACE)
        await trio.sleep(1.5)
        killed = left_behind(store, SPACE)
        await system.ref(Account).ask(Account.in_deposit, Deposit("ada", 100))

    assert before == {}
    assert await deposit(killed, Deposit("ada", 0)) == [6]


async def test_a_state_that_has_not_changed_is_not_written_again() -> None:
    class Counting(MemoryStore):
        written = 0

        def write(self, changes: Sequence[Changes]) -> None:
            self.written += sum(len(each.puts) for each in changes)
            super().write(changes)

    store = Counting()
    await deposit(store, Deposit("ada", 10))

    await deposit(store, Deposit("ada", 0), Deposit("ada", 0))

    assert store.written == 1


async def test_a_run_does_not_wait_for_what_is_to_be_written() -> None:
    async with open_system(accounts(), store=MemoryStore()) as system:
        began = trio.current_time()
        await system.ref(Account).send(Account.in_deposit, Deposit("ada", 1))

        await system.wait()

        assert trio.current_time() == began


async def test_a_message_in_hand_at_the_end_is_part_of_the_state() -> None:
    class Slow(Account):
        @in_port
        async def in_slow(self, deposit: Deposit) -> None:
            await trio.sleep(2)
            self.balance += deposit.amount

    store = MemoryStore()
    async with open_system(accounts(Slow), store=store) as system:
        await system.ref(Slow).send(Slow.in_slow, Deposit("ada", 10))

    assert await deposit(store, Deposit("ada", 0), actor=Slow) == [10]


async def test_a_message_that_failed_leaves_no_trace_in_the_state() -> None:
    store = MemoryStore()
    async with open_system(accounts(), store=store) as system:
        await system.ref(Account).send(Account.in_deposit, Deposit("ada", 10))
        await system.ref(Account).send(Account.in_deposit, Deposit("ada", -1))

    assert await deposit(store, Deposit("ada", 0)) == [10]


async def test_the_state_is_written_also_when_the_block_is_cancelled() -> None:
    store = MemoryStore()
    with trio.CancelScope() as scope:
        async with open_system(accounts(), store=store) as system:
            await system.ref(Account).ask(Account.in_deposit, Deposit("ada", 10))
            scope.cancel()
            await trio.sleep_forever()

    assert await deposit(store, Deposit("ada", 0)) == [10]


async def test_a_key_that_has_ended_itself_is_forgotten() -> None:
    store = MemoryStore()
    await deposit(store, Deposit("ada", 10), Deposit("bob", 10))

    async with open_system(accounts(), store=store) as system:
        ref = system.ref(Account)
        await ref.send(Account.in_close, Deposit("ada", 0))
        await system.wait()
        left = len(entries(store, SPACE))
        answer = await ref.ask(Account.in_deposit, Deposit("ada", 1))

    assert left == 1
    assert answer == 1
    assert await deposit(store, Deposit("ada", 0), Deposit("bob", 0)) == [1, 10]


async def test_a_key_that_ends_itself_stays_forgotten_when_its_state_could_not_be_written_before() -> None:
    store = FullStore()
    async with open_system(accounts(), store=store) as system:
        ref = system.ref(Account)
        store.is_full = True
        await ref.ask(Account.in_deposit, Deposit("ada", 10))
        await trio.sleep(2)
        await ref.send(Account.in_close, Deposit("ada", 0))
        await trio.sleep(2)
        store.is_full = False
        await trio.sleep(2)
        left = entries(store, SPACE)

    assert left == {}


async def test_equal_keys_have_one_state() -> None:
    store = MemoryStore()
    await deposit(store, Deposit(1, 10), Deposit((2, 3.0), 10))

    assert await deposit(store, Deposit(1.0, 5), Deposit(True, 5), Deposit((2.0, 3), 5)) == [15, 20, 15]


@pytest.mark.parametrize("key", [object(), frozenset("ab"), ("a", Deposit("ada", 1))], ids=["object", "frozenset", "class"])
async def test_a_key_that_can_not_be_written_is_refused_at_the_sender(key: object) -> None:
    async with open_system(accounts(), store=MemoryStore()) as system:
        with pytest.raises(EncodingError, match=f"{PATH}: nothing can be kept for the key"):
            await system.ref(Account).send(Account.in_deposit, Deposit(key, 1))
        with pytest.raises(EncodingError):
            system.ref(Account).send_nowait(Account.in_deposit, Deposit(key, 1))

        assert system.ledger().accepted == 0
        assert system.supervisor(PATH).which_children() == []


async def test_without_a_store_any_key_will_do() -> None:
    async with open_system(accounts()) as system:
        assert await system.ref(Account).ask(Account.in_deposit, Deposit(frozenset("ab"), 1)) == 1


async def test_a_state_that_can_not_be_written_is_reported_once_and_lasts_as_long_as_the_system() -> None:
    class Odd(Account):
        def snapshot(self) -> object:
            return [self.balance, object()]

        def restore(self, state: object, version: int) -> None:
            assert isinstance(state, list)
            self.balance = state[0]

    async with open_system(accounts(Odd, max_active=1), store=MemoryStore()) as system:
        events = system.events(StateNotKept)
        answers = [
            await system.ref(Account).ask(Account.in_deposit, Deposit(name, 1)) for name in ("ada", "bob", "ada", "bob", "ada") if name
        ]
        await trio.sleep(2)
        answers.append(await system.ref(Account).ask(Account.in_deposit, Deposit("bob", 1)))

    assert answers == [1, 1, 2, 2, 3, 3]
    assert [str(event.path) async for event in events] == [f"{PATH}/ada"]


class Refusing(Account):
    """Does not take its state."""

    def restore(self, state: object, version: int) -> None:
        """Refuses."""
        raise ValueError("no such state")


class Older(Account):
    """Of a program that is older than the state."""


class Damaged(MemoryStore):
    """Finds entries damaged."""

    broken = False

    def get(self, space: str, key: Key) -> Any:
        """What is left of it."""
        return DamagedEntry("wrong checksum") if self.broken else super().get(space, key)


def breaks_bytes(store: MemoryStore) -> None:
    """Writes what is no state."""
    store.open()
    store.write([Changes([(SPACE, key, b"nonsense") for key, _ in store.scan(SPACE)])])
    store.close(clean=True)


def breaks_store(store: MemoryStore) -> None:
    """The store itself finds it damaged."""
    assert isinstance(store, Damaged)
    store.broken = True


@pytest.mark.parametrize(
    ("actor", "damage", "error"),
    [
        (Account, breaks_bytes, DecodingError),
        (Account, breaks_store, DecodingError),
        (Older, lambda store: None, StateVersionError),
        (Refusing, lambda store: None, ValueError),
    ],
    ids=["bytes", "entry", "version", "restore"],
)
async def test_a_key_whose_state_can_not_be_read_is_set_aside_with_its_messages(
    actor: type[Account], damage: Callable[[MemoryStore], None], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Damaged()
    with monkeypatch.context() as newer:
        newer.setattr(Account, "state_version", 2)
        await deposit(store, Deposit("ada", 10))
    if actor is not Older:
        monkeypatch.setattr(Account, "state_version", 2)
    damage(store)
    async with open_system(accounts(actor), store=store) as system:
        events = system.events(StartFailed, ChildQuarantined)
        ref = system.ref(actor)

        for amount in (1, 2, 3):
            await ref.send(Account.in_deposit, Deposit("ada", amount))
        await system.wait()
        store.broken = False
        other = await ref.ask(Account.in_deposit, Deposit("bob", 1))
        children = {each.name: each for each in system.supervisor(PATH).which_children()}
        counts = system.ledger()

    assert [(type(event), type(event.exception)) async for event in events] == [(StartFailed, error), (ChildQuarantined, NoneType)]
    assert other == 1
    assert children["ada"].is_quarantined
    assert children["ada"].restarts == 0
    assert counts.queued == 3


async def test_a_key_set_aside_for_its_state_reads_it_anew_when_it_is_released() -> None:
    store = Damaged()
    await deposit(store, Deposit("ada", 10))
    store.broken = True
    async with open_system(accounts(), store=store) as system:
        ref = system.ref(Account)
        for amount in (1, 2, 3):
            await ref.send(Account.in_deposit, Deposit("ada", amount))
        await system.wait()
        with pytest.raises(SupervisionError, match="wrong checksum"):
            await system.supervisor(PATH).release("ada")

        store.broken = False
        await system.supervisor(PATH).release("ada")
        answer = await ref.ask(Account.in_deposit, Deposit("ada", 0))

    assert answer == 16
    assert await deposit(store, Deposit("ada", 0)) == [16]


async def test_many_keys_that_can_not_be_read_do_not_take_the_others_down() -> None:
    store = Damaged()
    names = [f"key-{number}" for number in range(20)]
    await deposit(store, *(Deposit(name, 1) for name in names))
    store.broken = True
    async with open_system(accounts(), store=store) as system:
        for name in names:
            await system.ref(Account).send(Account.in_deposit, Deposit(name, 1))
        await system.wait()
        store.broken = False

        answer = await system.ref(Account).ask(Account.in_deposit, Deposit("ada", 5))
        counts = system.ledger()

    assert answer == 5
    assert counts.queued == 20


async def test_an_old_state_is_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cents(Account):
        state_version = 2
        migrations = {1: lambda state: state * 100}  # noqa: RUF012

    store = MemoryStore()
    await deposit(store, Deposit("ada", 10))

    assert await deposit(store, Deposit("ada", 5), actor=Cents) == [1005]


async def test_a_restart_of_the_group_goes_on_from_the_states() -> None:
    store = MemoryStore()
    async with open_system(accounts(max_active=2), store=store) as system:
        ref = system.ref(Account)
        for name in ("ada", "bob", "cay"):
            await ref.ask(Account.in_deposit, Deposit(name, 10))
        above = system.supervisor("root/supervisor")
        await above.stop_child("account")
        await above.restart_child("account")

        answers = [await ref.ask(Account.in_deposit, Deposit(name, 1)) for name in ("ada", "bob", "cay")]

    assert answers == [11, 11, 11]


# By real time, where the store is called in threads.


def in_real_time(test: Callable[[], Any]) -> None:
    """Runs it by the real clock: a virtual one has the store called here and now."""
    trio.run(test)


def test_a_store_that_blocks_is_read_in_a_turn_and_the_messages_wait_in_order() -> None:
    async def test() -> None:
        store = BlockingStore()
        names = [f"key-{number}" for number in range(300)]
        await deposit(store, *(Deposit(name, 1) for name in names))
        async with open_system(accounts(passivate_after=math.inf), store=store) as system:
            ref = system.ref(Account)
            for amount in (10, 100, 1000):
                for name in names:
                    await ref.send(Account.in_deposit, Deposit(name, amount))
            answers = [await ref.ask(Account.in_deposit, Deposit(name, 0)) for name in names]
            counts = system.ledger()

        assert answers == [1111] * 300
        assert counts.processed == counts.accepted == 1200
        assert max(store.gets.values()) <= 2
        assert threading.get_ident() not in store.readers

    in_real_time(test)


def test_a_key_that_wakes_while_its_state_is_written_has_that_one() -> None:
    async def test() -> None:
        store = BlockingStore()
        async with open_system(accounts(max_active=1), store=store) as system:
            ref = system.ref(Account)
            for _ in range(50):
                for name in ("ada", "bob", "cay"):
                    await ref.send(Account.in_deposit, Deposit(name, 1))
            await system.settle()
            answers = [await ref.ask(Account.in_deposit, Deposit(name, 0)) for name in ("ada", "bob", "cay")]

        assert answers == [50, 50, 50]
        assert await deposit(store, Deposit("ada", 0), Deposit("cay", 0)) == [50, 50]

    in_real_time(test)


def test_keys_come_and_go_by_turns_where_the_actor_has_hooks_that_wait() -> None:
    class Hooked(Account):
        async def on_start(self) -> None:
            await trio.lowlevel.checkpoint()

        async def on_stop(self, reason: ExitReason) -> None:
            await trio.lowlevel.checkpoint()

    async def test() -> None:
        store = BlockingStore()
        names = [f"key-{number}" for number in range(20)]
        async with open_system(accounts(Hooked, max_active=3), store=store) as system:
            ref = system.ref(Hooked)
            for _ in range(10):
                for name in names:
                    await ref.send(Account.in_deposit, Deposit(name, 1))
            await system.settle()
            answers = [await ref.ask(Account.in_deposit, Deposit(name, 0)) for name in names]

        assert answers == [10] * 20
        assert await deposit(store, *(Deposit(name, 0) for name in names)) == answers

    in_real_time(test)


def test_a_system_that_ends_while_states_are_read_keeps_the_messages_as_dead_letters() -> None:
    async def test() -> None:
        store = BlockingStore()
        await deposit(store, Deposit("ada", 1))
        systems: list[System] = []
        with trio.CancelScope() as scope:
            async with open_system(accounts(), store=store) as system:
                systems.append(system)
                await system.ref(Account).send(Account.in_deposit, Deposit("ada", 1))
                await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.sleep_forever()
        counts = systems[0].ledger()

        assert counts.accepted == counts.processed + counts.dead_lettered == 1
        assert await deposit(store, Deposit("ada", 0)) == [1 + counts.processed]

    in_real_time(test)
