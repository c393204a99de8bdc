"""Reminders: messages that come later, across restarts of the actor and of the process."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
import trio
from attrs import frozen

from actorkit import (
    Actor,
    ActorNotRunning,
    EncodingError,
    MessageTypeError,
    SpecError,
    SpecTypeError,
    SqliteStore,
    SupervisionError,
    child,
    dynamic_supervisor,
    in_port,
    keyed,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import HandlerFailed, MessageDeadLettered, ReminderLost
from actorkit.storage.memory import MemoryStore
from actorkit.storage.messagepack import pack, unpack
from actorkit.storage.store import Changes
from tests.durability.processes import FullStore, entries, left_behind

HOUR = 3600.0


class StandingStill(datetime):
    """The wall clock, which goes only as `time_passes` says."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Always the same."""
        return cls(2030, 1, 1, tzinfo=tz)


@pytest.fixture(autouse=True)
def _wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorkit._runtime.kernel.datetime", StandingStill)


@frozen
class Call:
    whom: str
    at: frozenset[str] = frozenset()


class Diary:
    """What the actors were reminded of, and when."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []
        self.lives = 0

    @property
    def names(self) -> list[str]:
        """What came, in order."""
        return [name for name, _ in self.seen]

    @property
    def times(self) -> list[float]:
        """When."""
        return [time for _, time in self.seen]


class Clerk(Actor):
    """Is reminded of calls; asks for that when told, or at its start."""

    def __init__(self, diary: Diary, at_start: tuple[Any, ...] = ()) -> None:
        self.diary = diary
        self.at_start = at_start

    async def on_start(self) -> None:
        self.diary.lives += 1
        for name, seconds, repeat in self.at_start:
            self.remind(name, seconds, Clerk.in_call, Call(name), repeat=repeat)

    @in_port
    def in_call(self, call: Call) -> None:
        self.diary.seen.append((call.whom, trio.current_time()))

    @in_port
    def in_other(self, call: Call) -> None:
        self.diary.seen.append((f"other {call.whom}", trio.current_time()))

    @in_port
    def in_remind(self, what: tuple[Any, ...]) -> None:
        name, seconds, *rest = what
        self.remind(name, seconds, *(rest[:2] or (Clerk.in_call, Call(name))), repeat=bool(rest[2:]))

    @in_port
    def in_cancel(self, name: str) -> bool:
        return self.cancel_reminder(name)

    @in_port
    def in_fail(self, text: str) -> None:
        if self.diary.lives < 3:
            raise RuntimeError(text)

    @in_port
    def in_stop(self, text: str) -> None:
        self.stop()


PATH = "root/supervisor/clerk"


def clerk(diary: Diary, *at_start: tuple[Any, ...]) -> Any:
    """A tree of one clerk."""
    return supervisor(child(Clerk, diary, at_start))


def time_passes(store: MemoryStore, seconds: float) -> None:
    """As if the process was down for so long: by the wall clock, what is due in the closed store is due that much earlier."""
    store.open()
    changes = Changes()
    for key, body in store.scan("reminder"):
        assert isinstance(body, bytes)
        form, due, *rest = unpack(body)
        changes.puts.append(("reminder", key, pack([form, due - int(seconds * 1e6), *rest])))
    store.write([changes])
    store.close(clean=True)


async def test_a_reminder_comes_in_time_and_once() -> None:
    diary = Diary()
    async with open_system(clerk(diary)) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", HOUR))
        await system.wait()

    assert diary.seen == [("ada", HOUR)]


async def test_a_repeating_one_comes_again_and_again_and_keeps_no_run_alive() -> None:
    diary = Diary()
    async with open_system(clerk(diary)) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", 10, Clerk.in_call, Call("ada"), True))
        await system.wait()
        seen_before = list(diary.seen)
        await trio.sleep(35)

    assert seen_before == []
    assert diary.times == [10, 20, 30]


async def test_what_arrives_is_equal_to_what_was_given() -> None:
    got: list[Call] = []

    class Keen(Actor):
        async def on_start(self) -> None:
            self.remind("x", 1, Keen.in_call, Call("ada", frozenset("xyz")))

        @in_port
        def in_call(self, call: Call) -> None:
            got.append(call)

    async with open_system(child(Keen)) as system:
        await system.wait()

    assert got == [Call("ada", frozenset("xyz"))]


async def test_a_reminder_survives_a_restart_of_its_actor() -> None:
    diary = Diary()
    async with open_system(clerk(diary)) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", 10))
        await trio.sleep(5)
        await system.ref(Clerk).send(Clerk.in_fail, "x")
        await system.wait()

    assert diary.lives > 1
    assert diary.seen == [("ada", 10)]


async def test_on_start_may_ask_each_time_without_pushing_it_off() -> None:
    diary = Diary()
    async with open_system(clerk(diary, ("ada", 10, False), ("bob", 4, True))) as system:
        await trio.sleep(5)
        await system.ref(Clerk).send(Clerk.in_fail, "x")
        await trio.sleep(6)

    assert diary.times == [4, 8, 10]
    assert diary.names == ["bob", "bob", "ada"]


@pytest.mark.parametrize(
    "again",
    [
        ("ada", 20),
        ("ada", 10, Clerk.in_other, Call("ada")),
        ("ada", 10, Clerk.in_call, Call("eve")),
        ("ada", 10, Clerk.in_call, Call("ada"), True),
    ],
    ids=["delay", "port", "message", "repeat"],
)
async def test_anything_else_of_that_name_replaces_it(again: tuple[Any, ...]) -> None:
    diary = Diary()
    async with open_system(clerk(diary)) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", 10))
        await trio.sleep(5)
        await system.ref(Clerk).send(Clerk.in_remind, again)
        await trio.sleep(12 if len(again) > 2 else 22)

    assert diary.times == [5 + again[1]]


async def test_one_that_is_cancelled_does_not_come_and_lets_the_run_end() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(clerk(diary), store=store) as system:
        ref = system.ref(Clerk)
        await ref.send(Clerk.in_remind, ("ada", 10))
        answers = [await ref.ask(Clerk.in_cancel, name) for name in ("ada", "ada", "bob")]
        await system.wait()
        left = entries(store, "reminder")

    assert answers == [True, False, False]
    assert trio.current_time() == 0
    assert diary.seen == []
    assert left == {}


async def test_a_reminder_survives_the_process() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(clerk(diary), store=store) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", HOUR))
        await system.settle()

    time_passes(store, HOUR / 2)
    began = trio.current_time()
    async with open_system(clerk(diary), store=store) as system:
        await system.wait()
        left = entries(store, "reminder")

    assert diary.names == ["ada"]
    assert diary.times == [began + HOUR / 2]
    assert left == {}


async def test_a_file_has_the_reminders(tmp_path: Path) -> None:
    diary, path = Diary(), tmp_path / "clerk.db"
    async with open_system(clerk(diary), store=SqliteStore(path)) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", HOUR))
        await system.settle()

    async with open_system(clerk(diary), store=SqliteStore(path)) as system:
        await system.wait()
    async with open_system(clerk(diary), store=SqliteStore(path)) as system:
        await system.wait()

    assert diary.times == [HOUR]


async def test_a_reminder_survives_a_kill() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(clerk(diary), store=store) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", HOUR))
        await system.settle()
        killed = left_behind(store, "reminder")

    async with open_system(clerk(Diary()), store=killed) as system:
        await trio.sleep(2 * HOUR)
        left = entries(killed, "reminder")

    assert left == {}


async def test_what_is_overdue_comes_when_the_tree_is_up_in_order() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(clerk(diary), store=store) as system:
        for name, seconds in (("ada", 300), ("bob", 100), ("cay", 200), ("dan", 5000)):
            await system.ref(Clerk).send(Clerk.in_remind, (name, seconds))
        await system.settle()

    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(7)

    time_passes(store, 1000)
    async with open_system(supervisor(child(Clerk, diary), child(Slow)), store=store) as system:
        await system.settle()

    assert diary.seen == [("bob", 7), ("cay", 7), ("ada", 7)]


async def test_a_clock_that_was_set_back_delays_it_by_the_whole_time_at_most() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(clerk(diary), store=store) as system:
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", HOUR))
        await system.settle()

    time_passes(store, -1000 * HOUR)
    async with open_system(clerk(diary), store=store) as system:
        await system.wait()

    assert diary.times == [HOUR]


async def test_a_repeating_one_that_missed_some_comes_once_and_keeps_its_pace() -> None:
    diary, store = Diary(), MemoryStore()
    tree = clerk(diary, ("ada", 100, True))
    async with open_system(tree, store=store) as system:
        await system.settle()

    time_passes(store, 430)
    async with open_system(tree, store=store) as system:
        await trio.sleep(250)

    assert diary.times == [0, 70, 170]


async def test_a_reminder_of_an_actor_that_is_not_there_waits_for_it() -> None:
    diary, store = Diary(), MemoryStore()
    tree = supervisor(dynamic_supervisor(name="office"))
    path = "root/supervisor/office"
    async with open_system(tree, store=store) as system:
        ref = await system.supervisor(path).start_child(child(Clerk, diary).options(name="ada"))
        await ref.send(Clerk.in_remind, ("x", 10))
        await system.settle()

    async with open_system(tree, store=store) as system:
        await trio.sleep(50)
        await system.wait()
        with pytest.raises(SupervisionError, match="could not be started"):
            await system.supervisor(path).start_child(child(Clerk, diary, ((),)).options(name="ada"))
        await system.supervisor(path).start_child(child(Clerk, diary).options(name="ada"))
        await system.wait()
        left = entries(store, "reminder")

    assert diary.seen == [("x", 50)]
    assert left == {}


async def test_a_stopped_child_gets_it_when_it_is_started_again() -> None:
    diary = Diary()
    async with open_system(clerk(diary)) as system:
        above = system.supervisor("root/supervisor")
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", 10))
        await system.ref(Clerk).send(Clerk.in_remind, ("bob", 10, Clerk.in_call, Call("bob"), True))
        await system.settle()
        await above.stop_child("clerk")
        await trio.sleep(25)
        seen_before = list(diary.seen)
        await above.restart_child("clerk")
        await trio.sleep(10)

    assert seen_before == []
    assert diary.times == [25, 25, 30]


@pytest.mark.parametrize("how", ["stop", "delete", "dynamic"])
async def test_an_actor_that_is_gone_for_good_takes_its_reminders_with_it(how: str) -> None:
    diary, store = Diary(), MemoryStore()
    tree = supervisor(dynamic_supervisor(name="office"), child(Clerk, diary))
    async with open_system(tree, store=store) as system:
        ref = system.ref(Clerk)
        if how == "dynamic":
            ref = await system.supervisor("root/supervisor/office").start_child(child(Clerk, diary).options(name="ada"))
        await ref.send(Clerk.in_remind, ("ada", 10))
        await system.settle()
        before = len(entries(store, "reminder"))

        if how == "stop":
            await ref.send(Clerk.in_stop, "x")
        elif how == "delete":
            await system.supervisor("root/supervisor").stop_child("clerk")
            await system.supervisor("root/supervisor").delete_child("clerk")
        else:
            await system.supervisor("root/supervisor/office").stop_child("ada")
        await system.wait()
        left = entries(store, "reminder")

    assert before == 1
    assert left == {}
    assert diary.seen == []


async def test_the_end_of_the_system_takes_none() -> None:
    store = MemoryStore()

    class Stage(Actor):
        """Part of a stream."""

        async def run(self) -> None:
            self.remind("x", 10, Stage.in_call, Call("x"))
            await trio.sleep_forever()

        @in_port
        def in_call(self, call: Call) -> None:
            """Nothing."""

    async with open_system(child(Stage), store=store):
        await trio.sleep(1)
    store.open()

    assert len(entries(store, "reminder")) == 1


async def test_a_tree_that_gives_up_takes_none() -> None:
    store = MemoryStore()

    class Doomed(Clerk):
        @in_port
        def in_doom(self, text: str) -> None:
            raise RuntimeError(text)

    with pytest.raises(SupervisionError):
        async with open_system(supervisor(child(Doomed, Diary(), (("x", 10, False),)), max_restarts=0), store=store) as system:
            await system.ref(Doomed).send(Doomed.in_doom, "x")
            await system.wait()
    store.open()

    assert len(entries(store, "reminder")) == 1


async def test_an_actor_in_a_stream_is_not_at_its_end_while_one_is_to_come() -> None:
    diary = Diary()

    class Source(Actor):
        async def run(self) -> None:
            self.remind("x", 10, Source.in_call, Call("x"))

        @in_port
        def in_call(self, call: Call) -> None:
            diary.seen.append((call.whom, trio.current_time()))

    async with open_system(child(Source)) as system:
        await system.wait()

    assert diary.seen == [("x", 10)]


# Keyed actors, pools


@frozen
class Order:
    customer: str
    what: str = "order"


class Customer(Actor):
    """One of many."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.bill = 0

    @in_port
    def in_order(self, order: Order) -> None:
        self.bill += 1
        if order.what == "bye":
            self.stop()
        else:
            self.remind("bill", 100, Customer.in_bill, "bill")

    @in_port
    def in_bill(self, text: str) -> None:
        self.diary.seen.append((f"{self.name} {self.bill}", trio.current_time()))

    def snapshot(self) -> object:
        return self.bill

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.bill = state


def customers(diary: Diary, **options: Any) -> Any:
    """A tree of them; a bill says nothing about its key."""
    return keyed(Customer, diary, by=lambda message: message.customer, **options)


async def test_a_reminder_wakes_the_key_that_asked_for_it() -> None:
    diary = Diary()
    async with open_system(customers(diary, passivate_after=5, max_active=2)) as system:
        for name in ("ada", "bob", "cay"):
            await system.ref(Customer).send(Customer.in_order, Order(name))
        await trio.sleep(50)
        asleep = system.supervisor("root/supervisor/customer").which_children()
        await system.wait()

    assert asleep == []
    assert diary.names == ["ada 1", "bob 1", "cay 1"]
    assert diary.times == [100, 100, 100]


async def test_a_reminder_of_a_key_survives_the_process() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(customers(diary), store=store) as system:
        await system.ref(Customer).send(Customer.in_order, Order("ada"))
        await system.settle()

    time_passes(store, 200)
    async with open_system(customers(diary), store=store) as system:
        await system.wait()

    assert diary.seen == [("ada 1", 0)]


async def test_one_whose_key_is_none_is_reported() -> None:
    store = MemoryStore()
    store.open()
    body = pack([1, 0, 10.0, False, "in_bill", b"nonsense"])
    store.write([Changes([("reminder", pack(["root/supervisor/customer", "bill", b"nonsense"]), body)])])
    store.close(clean=True)

    async with open_system(customers(Diary()), store=store) as system:
        events = system.events(ReminderLost)
        await system.wait()

    assert [event.name async for event in events] == ["bill"]


async def test_a_key_that_ends_itself_takes_its_reminders_with_it() -> None:
    diary, store = Diary(), MemoryStore()
    async with open_system(customers(diary), store=store) as system:
        for order in (Order("ada"), Order("bob"), Order("ada", "bye")):
            await system.ref(Customer).send(Customer.in_order, order)
        await system.wait()
        left = entries(store, "reminder")

    assert diary.names == ["bob 1"]
    assert left == {}


async def test_a_member_of_a_pool_is_told_that_it_has_none() -> None:
    async with open_system(pool(Customer, Diary(), size=1)) as system:
        failures = system.events(HandlerFailed)
        await system.ref(Customer).send(Customer.in_order, Order("ada"))
        await system.wait()
    errors = [event.error.summary async for event in failures]

    assert [text for text in errors if "a member of a pool has no reminders" not in text] == []
    assert errors


# What can go wrong


class Asking(Actor):
    """Asks for what it is told."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors

    @in_port
    def in_ask(self, what: tuple[Any, ...]) -> None:
        try:
            self.remind(*what)
        except Exception as error:
            self.errors.append(error)

    @in_port
    def in_any(self, what: object) -> None:
        """Nothing."""


class Stranger(Actor):
    """Another."""

    @in_port
    def in_call(self, call: Call) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        (("x", -1, Asking.in_ask, ()), SpecError, "seconds"),
        (("x", math.inf, Asking.in_ask, ()), SpecError, "seconds"),
        ((3, 1, Asking.in_ask, ()), SpecTypeError, "name"),
        (("x", 1, Asking.in_ask, "text"), MessageTypeError, "takes tuple"),
        (("x", 1, Stranger.in_call, Call("x")), MessageTypeError, "has no port"),
        (("x", 1, Asking.in_any, object()), EncodingError, "the reminder 'x' can't be kept"),
    ],
)
async def test_what_can_not_be_a_reminder_is_refused(what: tuple[Any, ...], error: type[Exception], text: str) -> None:
    errors: list[Exception] = []
    async with open_system(child(Asking, errors)) as system:
        await system.ref(Asking).send(Asking.in_ask, what)
        await system.wait()

    assert [type(each) for each in errors] == [error]
    assert text in str(errors[0])


async def test_a_life_that_has_ended_asks_for_nothing() -> None:
    kept: list[Clerk] = []

    class Leaving(Clerk):
        async def on_start(self) -> None:
            kept.append(self)

    async with open_system(child(Leaving, Diary())):
        pass

    with pytest.raises(ActorNotRunning):
        kept[0].remind("x", 1, Clerk.in_call, Call("x"))
    with pytest.raises(ActorNotRunning):
        kept[0].cancel_reminder("x")


async def test_a_message_that_this_program_can_not_read_is_a_dead_letter() -> None:
    store = MemoryStore()
    async with open_system(clerk(Diary(), ("ada", 10, False)), store=store) as system:
        await system.settle()

    class Changed(Actor):
        @in_port
        def in_call(self, number: int) -> None:
            """Nothing."""

    async with open_system(supervisor(child(Changed).options(name="clerk")), store=store) as system:
        events = system.events(MessageDeadLettered)
        await system.wait()
        counts = system.ledger()

    assert [event.path async for event in events] == [f"{PATH}.in_call"]
    assert counts.accepted == counts.dead_lettered == 1


async def test_one_whose_port_is_gone_is_reported_and_stays() -> None:
    store = MemoryStore()
    async with open_system(clerk(Diary(), ("ada", 10, False)), store=store) as system:
        await system.settle()

    async with open_system(supervisor(child(Asking, []).options(name="clerk")), store=store) as system:
        events = system.events(ReminderLost)
        await system.wait()
        left = len(entries(store, "reminder"))

    assert [str(event) async for event in events] == [
        f"{PATH} is not reminded of 'ada': there is no port 'in_call' that could take it",
    ]
    assert left == 1


async def test_a_damaged_entry_is_reported_and_harms_nobody() -> None:
    diary, store = Diary(), MemoryStore()
    store.open()
    store.write([Changes([("reminder", b"junk", b"junk"), ("reminder", pack([PATH, "x"]), pack([9, 0, 0, False, "in_call", b""]))])])
    store.close(clean=True)

    async with open_system(clerk(diary, ("ada", 10, False)), store=store) as system:
        await system.wait()

    assert diary.names == ["ada"]


async def test_one_that_was_cancelled_while_the_disk_was_full_stays_cancelled() -> None:
    diary, store = Diary(), FullStore()
    async with open_system(clerk(diary), store=store) as system:
        store.is_full = True
        await system.ref(Clerk).send(Clerk.in_remind, ("ada", 100))
        await trio.sleep(3)
        await system.ref(Clerk).ask(Clerk.in_cancel, "ada")
        await trio.sleep(3)
        store.is_full = False
        await trio.sleep(3)
        left = entries(store, "reminder")

    assert left == {}
    assert diary.seen == []


async def test_a_full_port_takes_it_all_the_same() -> None:
    seen: Counter[str] = Counter()

    class Busy(Actor):
        async def on_start(self) -> None:
            for number in range(5):
                self.remind(str(number), 1, Busy.in_call, "call")

        @in_port(capacity=1)
        async def in_call(self, text: str) -> None:
            await trio.sleep(1)
            seen[text] += 1

    async with open_system(child(Busy)) as system:
        await system.wait()

    assert seen == {"call": 5}
