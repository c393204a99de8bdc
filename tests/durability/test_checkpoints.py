"""Checkpoints of one actor: taken between messages, kept, and what a new life is restored from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    CheckpointError,
    DeadlockError,
    MemoryStore,
    NoCheckpointError,
    OnExhausted,
    SpecError,
    Store,
    TransientError,
    child,
    dynamic_supervisor,
    in_port,
    keyed,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import CheckpointFailed, CheckpointTaken, ChildQuarantined, StateNotRestored, StateRestored
from actorkit.storage.store import Changes


class Bug(Exception):
    """A failure that nobody knows: the actor gets a fresh instance."""


class Till(Actor):
    """Counts money; fails, waits or changes on demand."""

    def __init__(self) -> None:
        self.money = 0
        self.lines: list[str] = []

    @in_port
    async def in_money(self, amount: int) -> int:
        self.money += amount
        return self.money

    @in_port
    async def in_work(self, work: Callable[[Till], Any]) -> None:
        answer = work(self)
        if answer is not None:
            await answer

    def snapshot(self) -> dict[str, object]:
        return {"money": self.money, "lines": self.lines}

    def restore(self, state: Any, version: int) -> None:
        self.money, self.lines = state["money"], state["lines"]


def crash() -> Callable[[Till], None]:
    """Work that fails when it is done for the first time."""
    failures = iter([Bug("gone wrong")])

    def work(till: Till) -> None:
        for failure in failures:
            raise failure

    return work


async def put(till: ActorRef[Till], *amounts: int) -> int:
    """Pays in, and says what is in the till then."""
    total = 0
    for amount in amounts or (0,):
        total = await till.ask(Till.in_money, amount)
    return total


async def test_an_actor_that_crashed_goes_on_from_its_latest_checkpoint() -> None:
    async with open_system(child(Till)) as system:
        till, restored = system.ref(Till), system.events(StateRestored)
        await put(till, 5)
        await system.checkpoints.create_checkpoint(till)
        await put(till, 2)
        checkpoint = await system.checkpoints.create_checkpoint(till)
        await put(till, 90)

        await till.send(Till.in_work, crash())
        money = await put(till)

        assert money == 7
        assert (checkpoint.id, checkpoint.path, checkpoint.state_version, checkpoint.incarnation) == (2, "root/supervisor/till", 1, 1)
        assert checkpoint.taken_at.tzinfo is not None
        system.ledger().check()
    assert (await anext(restored)).source == "checkpoint 2"


async def test_an_actor_without_a_checkpoint_starts_afresh() -> None:
    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await put(till, 5)

        await till.send(Till.in_work, crash())

        assert await put(till) == 0


async def test_a_new_process_goes_on_from_the_latest_checkpoint_in_its_store() -> None:
    store = MemoryStore()
    async with open_system(child(Till), store=store) as system:
        await put(system.ref(Till), 5, 6)
        await system.checkpoints.create_checkpoint(system.ref(Till))
        await put(system.ref(Till), 7)

    async with open_system(child(Till), store=store) as system:
        till = system.ref(Till)
        money = await put(till)
        next_one = await system.checkpoints.create_checkpoint(till)

        assert money == 11
        assert next_one.id == 2
        assert [each.id for each in await system.checkpoints.list(till)] == [1, 2]


def test_a_store_that_takes_a_thread_is_waited_for() -> None:
    class SlowStore(MemoryStore):
        may_block = True

    store: Store = SlowStore()

    async def add(total: int) -> None:
        async with open_system(supervisor(child(Till), dynamic_supervisor(name="more"), name="bar"), store=store) as system:
            tills = [system.ref(Till), await system.supervisor("root/bar/more").start_child(child(Till).options(name="other"))]
            for till in tills:
                assert await put(till, 3) == total
                await system.checkpoints.create_checkpoint(till)
                await till.send(Till.in_work, crash())
                assert await put(till) == total
            await system.checkpoints.create_cut()
            await put(tills[0], 90)
            await system.checkpoints.coordinated_recovery(tills)
            assert await put(tills[0], 5) == total + 5
            await system.checkpoints.recover_from_cut()
            assert [await put(till) for till in tills] == [total, total]

    trio.run(add, 3)
    trio.run(add, 6)


async def test_the_last_ten_are_kept_and_numbers_count_on() -> None:
    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        for _ in range(13):
            await system.checkpoints.create_checkpoint(till)

        assert [each.id for each in await system.checkpoints.list(till)] == list(range(4, 14))
        assert (await system.checkpoints.create_checkpoint(till)).id == 14


async def test_a_checkpoint_waits_for_the_handler_in_hand() -> None:
    async def slow(till: Till) -> None:
        till.money = -1
        await trio.sleep(5)
        till.money = 1

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await till.send(Till.in_work, slow)
        await trio.sleep(1)
        began = trio.current_time()

        await system.checkpoints.create_checkpoint(till)

        assert trio.current_time() - began == 4.0
        await till.send(Till.in_work, crash())
        assert await put(till) == 1


async def test_a_checkpoint_waits_for_a_handler_that_waits_for_an_answer() -> None:
    class Asking(Till):
        @in_port
        async def in_other(self, other: ActorRef[Till]) -> None:
            self.money = -1
            self.money = await other.ask(Till.in_money, 5)

    class Slow(Till):
        @in_port
        async def in_money(self, amount: int) -> int:
            await trio.sleep(2)
            return amount

    async with open_system(supervisor(child(Asking), child(Slow))) as system:
        asking = system.ref(Asking)
        await asking.send(Asking.in_other, system.ref(Slow))
        await trio.sleep(1)

        await system.checkpoints.create_checkpoint(asking)
        checkpoint = await system.checkpoints.recover_from_checkpoint(asking)

        assert checkpoint.id == 1
        assert await put(asking) == 5


async def test_a_message_that_waits_to_be_tried_again_holds_up_no_checkpoint() -> None:
    def flaky(till: Till) -> None:
        raise TransientError("not now", retry_after=9.0)

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await put(till, 3)
        await till.send(Till.in_work, flaky)
        await trio.sleep(1)
        began = trio.current_time()

        await system.checkpoints.create_checkpoint(till)

        assert trio.current_time() == began


async def test_what_changes_later_does_not_show_in_a_checkpoint() -> None:
    def note(till: Till) -> None:
        till.lines.append("one")

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await till.send(Till.in_work, note)
        await system.settle()
        await system.checkpoints.create_checkpoint(till)
        await till.send(Till.in_work, note)
        await system.settle()

        await system.checkpoints.recover_from_checkpoint(till)

        seen: list[list[str]] = []
        await till.send(Till.in_work, lambda till: seen.append(till.lines))
        await system.settle()
        assert seen == [["one"]]


async def test_an_actor_can_take_no_checkpoint_of_itself_in_a_handler() -> None:
    errors: list[Exception] = []

    async def keep(till: Till) -> None:
        try:
            await till.system.checkpoints.create_checkpoint(till.ref)
        except DeadlockError as error:
            errors.append(error)

    async def keep_soon(till: Till) -> None:
        till.start_soon(till.system.checkpoints.create_checkpoint, till.ref)

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await till.send(Till.in_work, keep)
        await system.settle()
        assert len(errors) == 1
        assert "waits for the message in hand of root/supervisor/till" in str(errors[0])

        await till.send(Till.in_work, keep_soon)
        await system.settle()
        await trio.testing.wait_all_tasks_blocked()

        assert [each.id for each in await system.checkpoints.list(till)] == [1]


async def test_a_snapshot_that_raises_is_told_and_harms_nobody() -> None:
    class Shy(Till):
        def snapshot(self) -> Any:
            raise Bug("no")

    class Odd(Till):
        def snapshot(self) -> Any:
            return object()

    async with open_system(supervisor(child(Shy), child(Odd))) as system:
        failed = system.events(CheckpointFailed)
        for cls in (Shy, Odd):
            with pytest.raises(CheckpointError, match=f"root/supervisor/{cls.__name__.lower()}: no checkpoint could be taken"):
                await system.checkpoints.create_checkpoint(system.ref(cls))
            assert await put(system.ref(cls), 4) == 4
            assert await system.checkpoints.list(system.ref(cls)) == ()
    assert [each.path.rpartition("/")[2] async for each in failed] == ["shy", "odd"]


class Plain(Actor):
    """Has no state to keep."""

    @in_port
    def in_x(self, x: int) -> int:
        return x


async def test_who_has_no_state_of_its_own_is_told_apart() -> None:
    tree = supervisor(child(Plain), pool(Till, size=2).options(name="pool"), keyed(Till, by=lambda amount: amount).options(name="keyed"))
    async with open_system(tree) as system:
        await system.ref("root/supervisor/keyed", Till).ask(Till.in_money, 7)
        for path, text in (
            ("plain", r"has no state to keep: define snapshot\(\)"),
            ("pool", "is a group of Till"),
            ("keyed", "is a group of Till"),
            ("keyed/7", "a keyed actor's state is kept for it"),
        ):
            with pytest.raises(CheckpointError, match=text):
                await system.checkpoints.create_checkpoint(system.ref(f"root/supervisor/{path}"))

        member: ActorRef[Any] = system.ref("root/supervisor/pool/pool-1")
        assert (await system.checkpoints.create_checkpoint(member)).path == member.path


async def test_an_actor_that_is_down_has_no_state_to_take() -> None:
    async with open_system(supervisor(child(Till), name="bar")) as system:
        await system.supervisor("root/bar").stop_child("till")

        with pytest.raises(CheckpointError, match="root/bar/till is stopped"):
            await system.checkpoints.create_checkpoint(system.ref(Till))


async def test_who_waits_for_the_next_boundary_is_told_when_the_life_ends() -> None:
    async def work(till: Till) -> None:
        await trio.sleep(2)
        raise Bug("after all")

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await till.send(Till.in_work, work)
        await trio.sleep(1)

        with pytest.raises(CheckpointError, match="there is no state to take"):
            await system.checkpoints.create_checkpoint(till)


async def test_a_recovery_leaves_messages_waiting_and_the_books_balanced() -> None:
    async with open_system(supervisor(child(Till), name="bar")) as system:
        till = system.ref(Till)
        await put(till, 5)
        await system.checkpoints.create_checkpoint(till)
        await put(till, 100)
        await till.send(Till.in_work, lambda till: trio.sleep(1))
        for _ in range(3):
            await till.send(Till.in_money, 1)

        checkpoint = await system.checkpoints.recover_from_checkpoint(till)
        system.ledger().check()

        assert checkpoint.id == 1
        assert await put(till) == 8
        assert system.ledger().ports["root/bar/till.in_money"].processed == 6
        system.ledger().check()


async def test_any_checkpoint_that_is_kept_can_be_asked_for() -> None:
    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        for _ in range(4):
            await put(till, 1)
            await system.checkpoints.create_checkpoint(till)

        checkpoint = await system.checkpoints.recover_from_checkpoint(till, 2)

        assert checkpoint.id == 2
        assert await put(till) == 2
        with pytest.raises(NoCheckpointError, match="root/supervisor/till has no checkpoint 7; there are: 1, 2, 3, 4"):
            await system.checkpoints.recover_from_checkpoint(till, 7)
        assert await put(till) == 2


async def test_without_a_checkpoint_nothing_is_done() -> None:
    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await put(till, 3)

        with pytest.raises(NoCheckpointError, match=r"root/supervisor/till has no checkpoint: take one with .*create_checkpoint"):
            await system.checkpoints.recover_from_checkpoint(till)

        assert await put(till) == 3


async def test_an_actor_that_was_set_aside_or_stopped_is_brought_back() -> None:
    tree = supervisor(child(Till).options(max_restarts=0, within=1.0, on_exhausted=OnExhausted.QUARANTINE), name="bar")
    async with open_system(tree) as system:
        till, bar = system.ref(Till), system.supervisor("root/bar")
        await put(till, 3)
        await system.checkpoints.create_checkpoint(till)
        await till.send(Till.in_work, crash())
        await system.wait()
        assert bar.which_children()[0].is_quarantined

        await system.checkpoints.recover_from_checkpoint(till)
        assert await put(till) == 3

        await bar.stop_child("till")
        await system.checkpoints.recover_from_checkpoint(till)
        assert await put(till) == 3
        system.ledger().check()


async def test_an_actor_can_not_recover_itself_in_a_handler() -> None:
    errors: list[Exception] = []

    async def recover(till: Till) -> None:
        try:
            await till.system.checkpoints.recover_from_checkpoint(till.ref)
        except DeadlockError as error:
            errors.append(error)

    async with open_system(child(Till)) as system:
        till = system.ref(Till)
        await system.checkpoints.create_checkpoint(till)

        await till.send(Till.in_work, recover)
        await put(till)

        assert len(errors) == 1
        assert await put(till, 5) == 5


# ---- checkpoints that do not restore


class Picky(Till):
    """Restores no more than it can stand."""

    limit: ClassVar[int] = 2

    def restore(self, state: Any, version: int) -> None:
        super().restore(state, version)
        if self.money > self.limit:
            raise Bug(f"{self.money} is too much")


async def test_a_checkpoint_that_does_not_restore_is_passed_over_for_the_one_before() -> None:
    async with open_system(child(Picky)) as system:
        picky, bad = system.ref(Picky), system.events(StateNotRestored)
        for _ in range(4):
            await put(picky, 1)
            await system.checkpoints.create_checkpoint(picky)

        await picky.send(Picky.in_work, crash())

        assert await put(picky) == 2
    assert [each.source async for each in bad] == ["checkpoint 4", "checkpoint 3"]


async def test_when_none_restores_the_actor_starts_afresh() -> None:
    async with open_system(child(Picky)) as system:
        picky = system.ref(Picky)
        await put(picky, 9)
        await system.checkpoints.create_checkpoint(picky)

        with pytest.raises(NoCheckpointError, match="none of checkpoint 1, and was started afresh"):
            await system.checkpoints.recover_from_checkpoint(picky)

        assert await put(picky) == 0


class Lost(Picky):
    """Once something is broken, it can't start without its state."""

    def __init__(self, broken: list[str]) -> None:
        super().__init__()
        self.broken = broken

    async def on_start(self) -> None:
        if self.broken and self.money == 0:
            raise Bug("nothing works")


async def test_when_not_even_a_fresh_start_works_the_actor_is_set_aside() -> None:
    broken: list[str] = []
    tree = supervisor(child(Lost, broken), child(Plain), name="bar")
    async with open_system(tree) as system:
        lost, aside = system.ref(Lost), system.events(ChildQuarantined)
        await put(lost, 9)
        await system.checkpoints.create_checkpoint(lost)
        broken.append("yes")

        await lost.send(Lost.in_work, crash())
        await system.wait()

        assert system.supervisor("root/bar").which_children()[0].is_quarantined
        assert await system.ref(Plain).ask(Plain.in_x, 1) == 1
        broken.clear()
        await system.supervisor("root/bar").release("lost")
        assert await put(lost) == 0
        system.ledger().check()
    assert [each.path async for each in aside] == ["root/bar/lost"]


async def test_an_actor_that_can_not_start_in_a_new_process_is_set_aside_and_the_others_run() -> None:
    store, broken = MemoryStore(), list[str]()
    async with open_system(supervisor(child(Lost, broken), child(Plain), name="bar"), store=store) as system:
        await put(system.ref(Lost), 9)
        await system.checkpoints.create_checkpoint(system.ref(Lost))

    broken.append("yes")
    async with open_system(supervisor(child(Lost, broken), child(Plain), name="bar"), store=store) as system:
        assert [each.is_quarantined for each in system.supervisor("root/bar").which_children()] == [True, False]
        assert await system.ref(Plain).ask(Plain.in_x, 1) == 1


async def test_one_that_was_restored_and_fails_to_start_is_no_hopeless_case() -> None:
    class Waiting(Picky):
        async def on_start(self) -> None:
            if troubles:
                raise Bug(troubles.pop())

    troubles: list[str] = []
    async with open_system(child(Waiting)) as system:
        waiting, aside = system.ref(Waiting), system.events(ChildQuarantined)
        for amount in (2, 7):
            await put(waiting, amount)
            await system.checkpoints.create_checkpoint(waiting)
        troubles.append("the database is away")

        await waiting.send(Waiting.in_work, crash())

        assert await put(waiting) == 2
    assert [each async for each in aside] == []


async def test_a_member_of_a_pool_that_can_not_start_any_more_is_set_aside_and_the_others_serve() -> None:
    store, broken = MemoryStore(), list[str]()
    async with open_system(supervisor(pool(Lost, broken, size=3).options(name="pool"), name="bar"), store=store) as system:
        member = system.ref("root/bar/pool/pool-2", Lost)
        await put(member, 9)
        await system.checkpoints.create_checkpoint(member)

    broken.append("yes")
    store.open()
    for number in (1, 3):
        store.write([Changes([(f"checkpoint root/bar/pool/pool-{number}", 1, store.get("checkpoint root/bar/pool/pool-2", 1) or b"")])])
    store.close(clean=True)
    tree = supervisor(pool(Lenient, broken, size=3).options(name="pool"), name="bar")
    async with open_system(tree, store=store) as system:
        assert [each.is_quarantined for each in system.supervisor("root/bar/pool").which_children()] == [False, True, False]
        assert await system.ref("root/bar/pool", Lenient).ask(Lenient.in_money, 1) == 10


class Lenient(Lost):
    """Only the second of them can't be restored."""

    def restore(self, state: Any, version: int) -> None:
        if self.name.endswith("2"):
            raise Bug("not this one")
        Till.restore(self, state, version)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x95\x01\x01\xa1x\x01\xc4\x00", b"\x95\x09\x01\xa1x\x01\xc4\x00"])
async def test_a_damaged_checkpoint_is_passed_over(body: bytes) -> None:
    store = MemoryStore()
    async with open_system(child(Till), store=store) as system:
        for _ in range(2):
            await put(system.ref(Till), 1)
            await system.checkpoints.create_checkpoint(system.ref(Till))
    store.open()
    store.write([Changes([("checkpoint root/supervisor/till", 2, body)])])
    store.close(clean=True)

    async with open_system(child(Till), store=store) as system:
        assert await put(system.ref(Till)) == 1
        assert [each.id for each in await system.checkpoints.list(system.ref(Till))] == [1]
        assert (await system.checkpoints.create_checkpoint(system.ref(Till))).id == 3


async def test_an_older_state_is_brought_up_to_date_and_a_newer_one_passed_over() -> None:
    class Renamed(Till):
        state_version = 2
        migrations: ClassVar[Mapping[int, Callable[[Any], Any]]] = {1: lambda state: {"cents": 100 * state["money"]}}

        def snapshot(self) -> Any:
            return {"cents": 100 * self.money}

        def restore(self, state: Any, version: int) -> None:
            assert version == 2
            self.money = state["cents"] // 100

    store = MemoryStore()
    async with open_system(child(Till).options(name="till"), store=store) as system:
        await put(system.ref(Till), 5)
        await system.checkpoints.create_checkpoint(system.ref(Till))
    async with open_system(child(Renamed).options(name="till"), store=store) as system:
        assert await put(system.ref(Renamed), 1) == 6
        await system.checkpoints.create_checkpoint(system.ref(Renamed))
    async with open_system(child(Till), store=store) as system:
        assert await put(system.ref(Till)) == 5


# ---- checkpoints that are taken by themselves


class Careful(Till):
    """Has its checkpoints taken."""

    checkpoint_every = 10.0


async def test_checkpoints_are_taken_by_themselves_when_the_state_has_changed() -> None:
    async with open_system(child(Careful)) as system:
        careful, taken = system.ref(Careful), system.events(CheckpointTaken)
        await trio.sleep(15)
        await put(careful, 1)
        await trio.sleep(30)
        await put(careful, 1)
        await trio.sleep(10)
        await put(careful, 90)

        await careful.send(Careful.in_work, crash())

        assert await put(careful) == 2
        assert [each.id for each in await system.checkpoints.list(careful)] == [1, 2, 3]
        assert await put(careful, 1) == 3
    assert [each.checkpoint_id async for each in taken] == [1, 2, 3, 4]


async def test_they_keep_no_run_alive() -> None:
    async with open_system(child(Careful)) as system:
        with trio.fail_after(5):
            await system.wait()


async def test_one_that_is_due_waits_for_the_message_in_hand() -> None:
    async def slow(till: Till) -> None:
        till.money = -1
        await trio.sleep(25)
        till.money = 1

    async with open_system(child(Careful)) as system:
        careful = system.ref(Careful)
        await careful.send(Careful.in_work, slow)
        await trio.sleep(26)

        assert [each.id for each in await system.checkpoints.list(careful)] == [1]
        await careful.send(Careful.in_work, crash())
        assert await put(careful) == 1


async def test_who_ends_in_order_leaves_its_last_state() -> None:
    store = MemoryStore()
    for total in (1, 2, 3):
        async with open_system(child(Careful), store=store) as system:
            assert await put(system.ref(Careful), 1) == total


async def test_a_failing_snapshot_is_told_each_time_and_the_actor_goes_on() -> None:
    class Shy(Careful):
        def snapshot(self) -> Any:
            raise Bug("no")

    async with open_system(child(Shy)) as system:
        failed = system.events(CheckpointFailed)
        await trio.sleep(25)
        assert await put(system.ref(Shy), 4) == 4
    assert len([each async for each in failed]) == 3


def test_the_time_between_them_is_checked_with_the_class() -> None:
    with pytest.raises(SpecError, match="checkpoint_every"):
        type("Hasty", (Till,), {"checkpoint_every": 0.0})
