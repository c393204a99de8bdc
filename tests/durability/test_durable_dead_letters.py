"""Dead letters in a store: the next system with it goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from attrs import define, frozen

from actorkit import (
    Actor,
    DeadLetter,
    DeadLetterQueue,
    DeadLetterReason,
    DecodingError,
    ErrorContext,
    SpecError,
    SqliteStore,
    StorageError,
    Store,
    SupervisorSpec,
    System,
    TransientError,
    UnknownActor,
    UnreadableMessage,
    child,
    in_port,
    open_system,
    run,
    supervisor,
)
from actorkit.events import DeadLettersDiscarded, DeadLettersEvicted, DeadLettersNearlyFull
from actorkit.storage.memory import MemoryStore
from actorkit.storage.store import Changes, DamagedEntry, Entry, Key
from tests.durability.kept import LETTERS, SlowStore, ToldStore, as_if_killed

PORT = "root/bar/till.in_order"


@define
class Order:
    """What a guest wants."""

    drink: str
    tried: int = 0


class Till(Actor):
    """Sells, as soon as it is open."""

    is_open: ClassVar[bool] = False
    sold: ClassVar[list[str]] = []

    @in_port(capacity=10_000)
    def in_order(self, order: Order) -> None:
        order.tried += 1
        if not Till.is_open:
            raise ValueError(f"no {order.drink}")
        Till.sold.append(order.drink)

    @in_port
    def in_anything(self, thing: object) -> None:
        if not Till.is_open:
            raise ValueError("closed")
        Till.sold.append(type(thing).__name__)

    @in_port
    async def in_slow_order(self, order: Order) -> None:
        await trio.sleep(1)
        if not Till.is_open:
            raise TransientError(f"no {order.drink} yet")
        Till.sold.append(order.drink)


@pytest.fixture(autouse=True)
def closed() -> None:
    Till.is_open = False
    Till.sold = []


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A new one of each kind."""
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "app.db")


def bar() -> SupervisorSpec:
    """One till."""
    return supervisor(child(Till), name="bar")


async def fail(system: System, *drinks: str) -> None:
    """Makes dead letters of orders for these."""
    for drink in drinks:
        await system.ref(Till).send(Till.in_order, Order(drink))
    await system.settle()


async def drinks(letters: DeadLetterQueue, filter: Callable[[DeadLetter], bool] | None = None) -> list[str]:
    """What the guests wanted."""
    return [letter.message.drink for letter in await letters.inspect(filter)]


def facts(error: ErrorContext) -> tuple[object, ...]:
    """All that a failure says of itself."""
    return (
        (error.error_id, error.severity, error.category, error.component_name, error.port_name, error.message_id),
        (error.error_message, error.stack_trace, error.occurrence_count, error.first_seen, error.last_seen, error.recovery_attempts),
        (error.fingerprint, error.exception_type, error.summary, str(error)),
    )


# ---- across a restart


async def test_a_letter_is_the_same_for_the_next_system_with_the_store(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await fail(system, "tea", "mocha")
        before = await system.dead_letters.inspect()
    async with open_system(bar(), store=store) as system:
        assert len(system.dead_letters) == 2
        after = await system.dead_letters.inspect()

    for old, new in zip(before, after, strict=True):
        assert (new.id, new.message, new.port, new.reason) == (old.id, Order(old.message.drink, 1), PORT, DeadLetterReason.VALIDATION)
        assert (new.attempts, new.dead_since, new.reprocessings, new.earlier) == (1, old.dead_since, 0, ())
        assert new.error is not None
        assert old.error is not None
        assert facts(new.error) == facts(old.error)
        assert new.error.exception is None
        assert new.error.summary == f"ValueError: no {new.message.drink}"
        assert f'raise ValueError(f"no {{order.drink}}")\nValueError: no {new.message.drink}' in drop_marks(new.error.stack_trace)


def drop_marks(trace: str) -> str:
    """A traceback without the lines that mark a place in the line above, and without its indents."""
    lines = [line.strip() for line in trace.splitlines()]
    return "\n".join(line for line in lines if line.strip("^~"))


async def test_ids_go_on_from_the_highest_in_the_store(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await fail(system, "tea", "mocha")
    async with open_system(bar(), store=store) as system:
        await fail(system, "cocoa")

        assert [letter.id for letter in await system.dead_letters.inspect()] == [1, 2, 3]


async def test_what_is_sent_again_and_handled_is_gone_from_the_store(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await fail(system, "tea", "mocha")
    Till.is_open = True
    async with open_system(bar(), store=store) as system:
        assert await system.dead_letters.reprocess(lambda letter: letter.message.drink == "tea") == 1
        await system.settle()
        assert await drinks(system.dead_letters) == ["mocha"]
        system.ledger().check()
    async with open_system(bar(), store=store) as system:
        assert Till.sold == ["tea"]
        assert await drinks(system.dead_letters) == ["mocha"]


async def test_what_fails_again_is_kept_with_its_attempts_raised_and_its_history(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await fail(system, "tea")
    for _ in range(2):
        async with open_system(bar(), store=store) as system:
            assert await system.dead_letters.reprocess() == 1
            await system.settle()
    async with open_system(bar(), store=store) as system:
        (letter,) = await system.dead_letters.inspect()

        assert (letter.id, letter.attempts, letter.reprocessings) == (1, 3, 2)
        assert [error.summary for error in letter.failures] == ["ValueError: no tea"] * 3
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
        assert await system.dead_letters.reprocess() == 0


async def test_what_a_handler_changes_in_its_message_is_not_kept_by_a_further_failure(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await system.dead_letters.add(Order("tea"), PORT, DeadLetterReason.EXPIRED)
        await system.dead_letters.reprocess()
        await system.settle()
    async with open_system(bar(), store=store) as system:
        (letter,) = await system.dead_letters.inspect()

        assert (letter.message, letter.attempts) == (Order("tea", 0), 1)


async def test_what_was_claimed_when_the_process_was_killed_can_be_sent_again(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await system.dead_letters.add(Order("tea"), "root/bar/till.in_slow_order", DeadLetterReason.EXPIRED)
        assert await system.dead_letters.reprocess() == 1
        assert await system.dead_letters.reprocess() == 0
        left = as_if_killed(store)
    Till.is_open = True
    async with open_system(bar(), store=left) as system:
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
        assert (Till.sold, len(system.dead_letters)) == (["tea"], 0)


async def test_what_the_end_of_a_system_leaves_over_is_in_the_store(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await system.ref(Till).send(Till.in_slow_order, Order("tea"))
        await system.supervisor("root/bar").stop_child("till")
        await system.ref(Till).send(Till.in_order, Order("mocha"))
    async with open_system(bar(), store=store) as system:
        assert [letter.reason for letter in await system.dead_letters.inspect(lambda letter: letter.message.drink == "mocha")] == [
            DeadLetterReason.RECEIVER_STOPPED
        ]


async def test_a_letter_added_by_hand_is_in_the_store_when_that_returns() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        await system.dead_letters.add(Order("tea"), PORT, DeadLetterReason.EXPIRED)

        assert store.keys == [1]
        assert await drinks(system.dead_letters) == ["tea"]


async def test_a_discarded_letter_is_gone_from_the_store(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await fail(system, "tea", "mocha", "cocoa")
    async with open_system(bar(), store=store) as system:
        told = system.events(DeadLettersDiscarded)
        assert await system.dead_letters.discard(lambda letter: letter.message.drink != "mocha", "not sold") == 2
        assert await drinks(system.dead_letters) == ["mocha"]
    async with open_system(bar(), store=store) as system:
        assert await drinks(system.dead_letters) == ["mocha"]
    assert [(each.count, each.reason) async for each in told] == [(2, "not sold")]


async def test_a_filter_that_fails_discards_nothing_and_claims_nothing() -> None:
    def is_bad(letter: DeadLetter) -> bool:
        return bool(1 / (letter.id - 2))

    async with open_system(bar(), store=MemoryStore()) as system:
        await fail(system, "tea", "mocha")
        with pytest.raises(ZeroDivisionError):
            await system.dead_letters.discard(is_bad, "by mistake")

        assert await drinks(system.dead_letters) == ["tea", "mocha"]
        assert await system.dead_letters.reprocess() == 2


# ---- more than memory has room for


async def test_a_store_keeps_them_all_and_those_memory_has_no_room_for_are_read(store: Store) -> None:
    letters = DeadLetterQueue(max_size=3)
    names = [f"drink {n}" for n in range(250)]

    async with open_system(bar(), store=store, dead_letters=letters) as system:
        told = system.events(DeadLettersEvicted)
        await fail(system, *names)

        assert (len(letters), letters.evicted) == (250, 0)
        assert await drinks(letters) == names
        assert [letter.id for letter in await letters.inspect(offset=120, limit=3)] == [121, 122, 123]
        assert [letter.id for letter in await letters.inspect(lambda letter: letter.id % 100 == 0, offset=1)] == [200]
    assert [each async for each in told] == []


async def test_letters_that_only_the_store_has_are_sent_again_and_put_back(store: Store) -> None:
    letters = DeadLetterQueue(max_size=2)
    names = [f"drink {n}" for n in range(130)]

    async with open_system(bar(), store=store, dead_letters=letters) as system:
        await fail(system, *names)
        assert await letters.reprocess(max_messages=1_000) == 130
        await system.settle()
        assert {(letter.attempts, letter.reprocessings) for letter in await letters.inspect()} == {(2, 1)}
        assert await drinks(letters) == names

        Till.is_open = True
        assert await letters.reprocess(lambda letter: letter.id <= 120, max_messages=200) == 120
        await system.settle()
        assert (Till.sold, len(letters)) == (names[:120], 10)
        assert await letters.discard(lambda letter: letter.id == 121, "old") == 1
        assert await drinks(letters) == names[121:]
        system.ledger().check()


async def test_two_who_reprocess_at_the_same_time_send_no_letter_twice() -> None:
    letters = DeadLetterQueue(max_size=1)

    async with open_system(bar(), store=MemoryStore(), dead_letters=letters) as system:
        await fail(system, "tea", "mocha", "cocoa", "chai")
        Till.is_open = True
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(lambda: letters.reprocess(rate=1))
        await system.settle()

        assert sorted(Till.sold) == ["chai", "cocoa", "mocha", "tea"]


async def test_the_alert_for_too_many_goes_out_at_the_start_too() -> None:
    store = MemoryStore()

    async with open_system(bar(), store=store) as system:
        await fail(system, "tea", "mocha", "cocoa", "chai")
    async with open_system(bar(), store=store, dead_letters=DeadLetterQueue(max_size=5)) as system:
        told = system.events(DeadLettersNearlyFull)
        assert len(system.dead_letters) == 4
        await system.dead_letters.discard(lambda letter: letter.id > 1, "enough")
        await fail(system, "tea", "mocha", "cocoa")
    assert [each.count for each in [one async for one in told]] == [4]


# ---- messages that can't be read back


class Machine:
    """Nothing that could be written."""

    def __repr__(self) -> str:
        return "<a machine " + 5_000 * "x"


async def test_what_cannot_be_written_can_be_sent_again_until_the_end_and_is_then_shown_by_its_repr(store: Store) -> None:
    async with open_system(bar(), store=store) as system:
        await system.ref(Till).send(Till.in_anything, Machine())
        await system.settle()
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
    async with open_system(bar(), store=store) as system:
        (letter,) = await system.dead_letters.inspect()
        assert isinstance(letter.message, UnreadableMessage)
        assert letter.message.text.startswith("<a machine xxx")
        assert len(letter.message.text) == 4_096
        assert "Machine" in letter.message.reason
        assert (letter.port, letter.attempts) == ("root/bar/till.in_anything", 2)

        with pytest.raises(DecodingError, match=r"letter 1 can't be sent: it could not be written: .*Machine.*; look at it, and"):
            await system.dead_letters.reprocess()
        assert await system.dead_letters.discard(lambda letter: isinstance(letter.message, UnreadableMessage), "lost") == 1


async def test_a_message_that_cannot_be_read_is_passed_over_where_others_can() -> None:
    store = MemoryStore()

    async with open_system(bar(), store=store) as system:
        await system.ref(Till).send(Till.in_anything, Machine())
        await fail(system, "tea")
    Till.is_open = True
    async with open_system(bar(), store=store) as system:
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
        assert (Till.sold, len(system.dead_letters)) == (["tea"], 1)


@frozen
class Bill:
    """Another message than `Order`."""

    sum: int


class NewTill(Actor):
    """As a later program has it: it knows no orders."""

    @in_port
    def in_order(self, bill: Bill) -> None:
        """Takes no orders."""


async def test_a_message_whose_class_is_gone_is_kept_until_it_is_back() -> None:
    store = MemoryStore()

    async with open_system(bar(), store=store) as system:
        await fail(system, "tea")
    async with open_system(supervisor(child(NewTill).options(name="till"), name="bar"), store=store) as system:
        (letter,) = await system.dead_letters.inspect()
        assert isinstance(letter.message, UnreadableMessage)
        assert letter.message.reason.startswith("class 'Order' is not expected here (expected: Bill)")
        assert b"tea" in letter.message.data
        with pytest.raises(DecodingError, match="class 'Order' is not expected here"):
            await system.dead_letters.reprocess()
    async with open_system(bar(), store=store) as system:
        assert await drinks(system.dead_letters) == ["tea"]


async def test_a_letter_whose_port_is_gone_shows_plain_data_and_cannot_be_sent() -> None:
    store = MemoryStore()

    async with open_system(bar(), store=store) as system:
        await fail(system, "tea")
        await system.ref(Till).send(Till.in_anything, {"plain": (1, 2)})
        await system.settle()
    async with open_system(supervisor(child(NewTill), name="bar"), store=store) as system:
        order, plain = await system.dead_letters.inspect()
        assert isinstance(order.message, UnreadableMessage)
        assert plain.message == {"plain": (1, 2)}
        for number in (1, 2):
            with pytest.raises(UnknownActor, match=f"dead letter {number}: there is no port"):
                await system.dead_letters.reprocess(lambda letter, number=number: letter.id == number)  # type: ignore[misc]


class DamagedStore(MemoryStore):
    """Its letter 2 can't be read."""

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        return [
            (key, DamagedEntry("its checksum is wrong", b"?!") if key == 2 else body)
            for key, body in super().scan(space, after=after, limit=limit)
        ]


async def test_a_damaged_entry_is_a_letter_that_says_so() -> None:
    store = DamagedStore()
    store.open()
    store.write([Changes([(LETTERS, 1, b"\x93no letter"), (LETTERS, 2, b""), (LETTERS, 3, b"\x91\x07")])])
    store.close(clean=True)

    async with open_system(bar(), store=store) as system:
        found = await system.dead_letters.inspect()

        assert {(letter.port, letter.reason, letter.error, letter.dead_since.year) for letter in found} == {
            ("", DeadLetterReason.CORRUPT, None, 1970)
        }
        reasons = [letter.message.reason for letter in found]
        assert reasons[0].startswith("the entry is damaged: ")
        assert reasons[1:] == ["its checksum is wrong", "the entry is of format 7, and this actorkit reads 1"]
        assert [letter.message.data for letter in found] == [b"\x93no letter", b"?!", b"\x91\x07"]
        with pytest.raises(DecodingError, match="dead letter 1 can't be sent: the entry is damaged"):
            await system.dead_letters.reprocess()
        assert await system.dead_letters.discard(lambda letter: letter.reason is DeadLetterReason.CORRUPT, "damaged") == 3


async def test_an_error_text_that_is_no_unicode_is_kept_as_it_is() -> None:
    store = MemoryStore()

    async with open_system(bar(), store=store) as system:
        await fail(system, "t\udcffa")
        assert await drinks(system.dead_letters) == ["t\udcffa"]
    async with open_system(bar(), store=store) as system:
        (letter,) = await system.dead_letters.inspect()
        assert isinstance(letter.message, UnreadableMessage)
        assert letter.error is not None
        assert letter.error.error_message == "no t\udcffa"


# ---- a store that can't be written for now


async def test_while_the_disk_is_full_letters_are_in_memory_as_many_as_without_a_store() -> None:
    store = ToldStore()
    letters = DeadLetterQueue(max_size=2)

    async with open_system(bar(), store=store, dead_letters=letters) as system:
        told = system.events(DeadLettersEvicted)
        await fail(system, "espresso")
        store.is_full = True
        for drink in ("tea", "mocha", "cocoa"):
            await system.ref(Till).send(Till.in_order, Order(drink))
        await trio.sleep(0.1)
        assert [letter.message.drink for letter in await letters.inspect()] == ["espresso", "mocha", "cocoa"]
        assert (store.keys, letters.evicted) == ([1], 1)

        store.is_full = False
        await system.settle()
        assert store.keys == [1, 3, 4]
    assert [each.evicted async for each in told] == [1]


async def test_a_letter_that_is_done_with_before_it_could_be_written_is_not_in_the_store_afterwards() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        store.is_full = True
        await system.ref(Till).send(Till.in_order, Order("tea"))
        await trio.sleep(0.1)
        Till.is_open = True
        assert await system.dead_letters.reprocess() == 1
        await trio.sleep(0.1)
        assert len(system.dead_letters) == 0
        store.is_full = False
        await system.settle()

        assert (store.keys, Till.sold) == ([], ["tea"])


async def test_the_last_that_is_known_of_a_letter_is_what_is_written_when_there_is_room_again() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        store.is_full = True
        await system.ref(Till).send(Till.in_order, Order("tea"))
        await trio.sleep(0.1)
        (letter,) = await system.dead_letters.inspect()
        system.dead_letters.put_back(letter, DeadLetterReason.EXPIRED, (), 1, removes=(("message", 7),))
        store.is_full = False
        await system.settle()
        left = as_if_killed(store)
    async with open_system(bar(), store=left) as system:
        (letter,) = await system.dead_letters.inspect()

        assert (letter.attempts, letter.reason) == (2, DeadLetterReason.EXPIRED)


async def test_to_add_a_letter_waits_while_the_disk_is_full_and_can_be_cancelled() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        store.is_full = True
        with trio.move_on_after(1) as scope:
            await system.dead_letters.add(Order("tea"), PORT, DeadLetterReason.EXPIRED)
        assert scope.cancelled_caught
        assert len(system.dead_letters) == 0
        store.is_full = False
        await system.settle()

        assert store.keys == []


# ---- what durable ports need


async def test_the_entries_of_a_message_go_in_the_transaction_in_which_its_letter_comes() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        letters = system.dead_letters
        letters.put(Order("tea"), PORT, DeadLetterReason.EXPIRED, removes=(("message", 7),))
        (letter,) = await letters.inspect()
        letters.put_back(letter, DeadLetterReason.EXPIRED, (), 0, removes=(("message", 8),))

        assert [([key for _, key, _ in each.puts], each.deletes) for each in store.told] == [
            ([1], [("message", 7)]),
            ([1], [("message", 8)]),
        ]


async def test_a_letter_that_is_done_with_in_a_step_is_deleted_by_the_changes_of_that_step() -> None:
    store = ToldStore()

    async with open_system(bar(), store=store) as system:
        await fail(system, "tea")
        (letter,) = await system.dead_letters.inspect()
        changes = Changes([("state", 1, b"new")])
        system.dead_letters.resolved(letter, changes)

        assert changes.deletes == [(LETTERS, 1)]
        assert (len(system.dead_letters), store.keys) == (0, [1])


# ---- one queue, several systems


async def letters_of(store: MemoryStore) -> list[str]:
    """What is in a store, by another queue."""
    async with open_system(bar(), store=store) as system:
        return await drinks(system.dead_letters)


async def test_a_queue_that_had_no_store_takes_its_letters_into_one() -> None:
    store = MemoryStore()
    letters = DeadLetterQueue()

    async with open_system(bar(), store=store) as system:
        await fail(system, "espresso")
    async with open_system(bar(), dead_letters=letters) as system:
        await fail(system, "tea", "mocha")
    async with open_system(bar(), store=store, dead_letters=letters) as system:
        assert [(letter.id, letter.message.drink) for letter in await letters.inspect()] == [(1, "espresso"), (2, "mocha"), (3, "tea")]

    assert await letters_of(store) == ["espresso", "mocha", "tea"]


async def test_a_queue_leaves_letters_in_their_store_when_it_goes_to_another_system() -> None:
    first, second = MemoryStore(), MemoryStore()
    letters = DeadLetterQueue()

    async with open_system(bar(), store=first, dead_letters=letters) as system:
        await fail(system, "tea")
    assert await drinks(letters) == ["tea"]
    async with open_system(bar(), store=second, dead_letters=letters) as system:
        assert len(letters) == 0
        await fail(system, "mocha")
    async with open_system(bar(), dead_letters=letters) as system:
        assert len(letters) == 0
        await fail(system, "cocoa")
    async with open_system(bar(), store=first, dead_letters=letters) as system:
        assert sorted(await drinks(letters)) == ["cocoa", "tea"]

    assert sorted(await letters_of(first)) == ["cocoa", "tea"]
    assert await letters_of(second) == ["mocha"]


async def test_a_queue_of_a_running_system_with_a_store_cannot_be_given_to_another() -> None:
    letters = DeadLetterQueue()

    async with open_system(bar(), store=MemoryStore(), dead_letters=letters) as system:
        await fail(system, "tea")
        with pytest.raises(SpecError, match="this DeadLetterQueue is in use by a running system with a store"):
            async with open_system(bar(), dead_letters=letters):
                pass

        assert await drinks(letters) == ["tea"]
    assert await drinks(letters) == ["tea"]


async def test_after_its_end_a_system_s_letters_can_be_looked_at_but_not_discarded() -> None:
    store = MemoryStore()
    letters = DeadLetterQueue(max_size=2)

    async with open_system(bar(), store=store, dead_letters=letters) as system:
        await fail(system, "tea", "mocha", "cocoa")
    assert (len(letters), await drinks(letters)) == (2, ["mocha", "cocoa"])
    with pytest.raises(StorageError, match=r"these dead letters are in MemoryStore\(\), whose system has ended: discard them in one with"):
        await letters.discard(lambda _: True, "too late")

    assert await letters_of(store) == ["tea", "mocha", "cocoa"]


# ---- without a virtual clock


class Source(Actor):
    """Sends three orders, all of which fail."""

    async def run(self) -> None:
        """Sends them."""
        for drink in ("tea", "mocha", "cocoa"):
            await self.system.ref(Till).send(Till.in_order, Order(drink))


def test_a_report_has_the_letters_that_its_run_left_in_memory(store: Store) -> None:
    tree = supervisor(child(Till), child(Source), name="bar")

    reports = [run(tree, store=store, dead_letters=DeadLetterQueue(max_size=2)) for _ in range(2)]

    assert [[(letter.id, letter.message.drink) for letter in report.dead_letters] for report in reports] == [
        [(2, "mocha"), (3, "cocoa")],
        [(5, "mocha"), (6, "cocoa")],
    ]


@pytest.mark.parametrize("kind", ["slow", "sqlite"])
def test_with_a_store_that_blocks_letters_can_be_looked_at_and_sent_at_once(kind: str, tmp_path: Path) -> None:
    store = SlowStore() if kind == "slow" else SqliteStore(tmp_path / "app.db")
    letters = DeadLetterQueue(max_size=5)
    counts: list[Any] = []

    async def main() -> None:
        async with open_system(bar(), store=store, dead_letters=letters) as system:
            till = system.ref(Till)
            for number in range(300):
                await till.send(Till.in_order, Order(str(number)))
                if number % 50 == 0:
                    counts.append(len(await letters.inspect()) <= len(letters))
            await system.settle()
            counts.append(len(await letters.inspect()))
            Till.is_open = True
            counts.append(await letters.reprocess(max_messages=150))
            await system.settle()
            counts.append(len(letters))
        async with open_system(bar(), store=store) as system:
            counts.append(await drinks(system.dead_letters))

    trio.run(main)

    assert counts == [*[True] * 6, 300, 150, 150, [str(number) for number in range(150, 300)]]
