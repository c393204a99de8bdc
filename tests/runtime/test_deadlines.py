"""Ports with a deadline: what has waited too long is never handled."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    AskFailed,
    DeadLetterReason,
    OutPort,
    OverflowStrategy,
    SpecError,
    SpecTypeError,
    Subscription,
    SupervisorSpec,
    System,
    Throttle,
    TransientError,
    by_key,
    child,
    in_port,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import MessageDeadLettered
from tests.runs import run_inside


class Kitchen(Actor):
    """Cooks each meal in four seconds; nobody wants one that was ordered ten seconds before it is begun."""

    def __init__(self, cooked: list[str]) -> None:
        self.cooked = cooked

    @in_port(capacity=5, deadline=10)
    async def in_order(self, meal: str) -> str:
        await trio.sleep(4)
        self.cooked.append(meal)
        return meal

    @in_port
    async def in_clean(self, seconds: float) -> None:
        await trio.sleep(seconds)


def tree(cooked: list[str]) -> SupervisorSpec:
    return supervisor(child(Kitchen, cooked), name="top")


async def test_what_waited_until_the_deadline_is_a_dead_letter_and_never_handled() -> None:
    cooked: list[str] = []
    async with open_system(tree(cooked)) as system:
        for meal in "abcde":
            await system.ref(Kitchen).send(Kitchen.in_order, meal)
        await system.settle()

        letters = await system.dead_letters.inspect()
        assert cooked == ["a", "b", "c"]  # begun after 0, 4 and 8 seconds
        assert [(letter.message, letter.port, letter.reason) for letter in letters] == [
            (meal, "root/top/kitchen.in_order", DeadLetterReason.EXPIRED) for meal in "de"
        ]
        assert system.ledger().dead_lettered_by == {"expired": 2}
        system.ledger().check()


async def test_it_is_given_up_at_its_deadline_even_if_its_turn_is_far_off() -> None:
    async with open_system(tree([])) as system:
        await system.ref(Kitchen).send(Kitchen.in_clean, 1000)
        await trio.sleep(1)
        for meal in "ab":
            await system.ref(Kitchen).send(Kitchen.in_order, meal)
            await trio.sleep(5.5)
        first = (system.ledger().dead_lettered, system.ledger().queued)
        await trio.sleep(5)

        assert first == (1, 1)
        assert (system.ledger().dead_lettered, system.ledger().queued) == (2, 0)
        system.ledger().check()


async def test_who_asked_is_told_at_the_deadline() -> None:
    times: list[float] = []
    errors: list[AskFailed] = []

    async def ask(system: System) -> None:
        try:
            await system.ref(Kitchen).ask(Kitchen.in_order, "a", timeout=100)
        except AskFailed as error:
            errors.append(error)
            times.append(trio.current_time() - began)

    began = trio.current_time()
    async with open_system(tree([])) as system, trio.open_nursery() as nursery:
        await system.ref(Kitchen).send(Kitchen.in_clean, 1000)
        nursery.start_soon(ask, system)
        await trio.sleep(50)

        assert times == [10.0]
        assert str(errors[0]) == "root/top/kitchen.in_order will not answer (expired): it waited there for longer than the port's deadline"
        system.ledger().check()
        nursery.cancel_scope.cancel()


async def test_a_request_whose_asker_has_gone_is_skipped_and_no_dead_letter() -> None:
    async with open_system(tree([])) as system:
        await system.ref(Kitchen).send(Kitchen.in_clean, 100)
        with pytest.raises(trio.TooSlowError):
            await system.ref(Kitchen).ask(Kitchen.in_order, "a", timeout=1)
        await system.settle()

        assert system.ledger().skipped_by == {"asker_gone": 1}
        assert system.ledger().dead_lettered == 0
        system.ledger().check()


async def test_room_that_an_expired_message_leaves_goes_to_a_sender_that_waits() -> None:
    cooked: list[str] = []
    async with open_system(tree(cooked)) as system, trio.open_nursery() as nursery:
        await system.ref(Kitchen).send(Kitchen.in_clean, 15)
        for meal in "abcde":
            await system.ref(Kitchen).send(Kitchen.in_order, meal)
        nursery.start_soon(system.ref(Kitchen).send, Kitchen.in_order, "f")
        await trio.sleep(20)

        assert cooked == ["f"]  # it was accepted after 10 seconds
        assert system.ledger().dead_lettered_by == {"expired": 5}
        system.ledger().check()


@pytest.mark.parametrize("error", [TransientError, KeyError])
async def test_a_message_that_was_tried_does_not_expire_while_it_waits_to_be_tried_again(error: type[Exception]) -> None:
    tries: list[float] = []

    class Flaky(Actor):
        @in_port(deadline=1)
        async def in_work(self, work: str) -> None:
            tries.append(trio.current_time() - began)
            await trio.sleep(3)
            if len(tries) < 3:
                raise error("not yet", retry_after=10) if error is TransientError else error("a bug")

    began = trio.current_time()
    async with open_system(child(Flaky)) as system:
        await system.ref(Flaky).send(Flaky.in_work, "a")
        await system.wait()

        assert len(tries) == 3
        assert (system.ledger().processed, system.ledger().dead_lettered) == (1, 0)
        system.ledger().check()


async def test_a_message_that_was_stashed_does_not_expire() -> None:
    done: list[str] = []

    class Late(Actor):
        is_ready = False

        async def on_start(self) -> None:
            self.after(100, Late.in_ready, None)

        @in_port(deadline=1)
        def in_work(self, work: str) -> None:
            if self.is_ready:
                done.append(work)
            else:
                self.stash()

        @in_port
        def in_ready(self, _: None) -> None:
            self.is_ready = True
            self.unstash_all()

    async with open_system(child(Late)) as system:
        for work in "ab":
            await system.ref(Late).send(Late.in_work, work)
        await system.wait()

        assert done == ["a", "b"]
        system.ledger().check()


async def test_messages_expire_in_a_paused_port_too() -> None:
    done: list[str] = []

    class Paused(Actor):
        async def on_start(self) -> None:
            self.pause(Paused.in_work)

        @in_port(deadline=10)
        def in_work(self, work: str) -> None:
            done.append(work)

        @in_port
        def in_resume(self, _: None) -> None:
            self.resume(Paused.in_work)

    async with open_system(child(Paused)) as system:
        await system.ref(Paused).send(Paused.in_work, "old")
        await trio.sleep(8)
        await system.ref(Paused).send(Paused.in_work, "new")
        await trio.sleep(4)
        await system.ref(Paused).send(Paused.in_resume, None)
        await system.settle()

        assert done == ["new"]
        assert system.ledger().dead_lettered_by == {"expired": 1}
        system.ledger().check()


async def test_messages_expire_while_their_actor_is_stopped() -> None:
    cooked: list[str] = []
    async with open_system(tree(cooked)) as system:
        await system.ref(Kitchen).send(Kitchen.in_clean, 1)
        for meal in "ab":
            await system.ref(Kitchen).send(Kitchen.in_order, meal)
        await system.supervisor("root/top").stop_child("kitchen")

        await trio.sleep(20)
        await system.supervisor("root/top").restart_child("kitchen")
        await system.settle()

        assert cooked == []
        assert system.ledger().dead_lettered_by == {"expired": 2}
        system.ledger().check()


async def test_a_dead_letter_that_is_sent_again_has_its_full_time_again() -> None:
    cooked: list[str] = []
    async with open_system(tree(cooked)) as system:
        await system.ref(Kitchen).send(Kitchen.in_clean, 20)
        await system.ref(Kitchen).send(Kitchen.in_order, "a")
        await system.settle()

        again = await system.dead_letters.reprocess()
        await system.settle()

        assert (again, cooked, len(system.dead_letters)) == (1, ["a"], 0)
        system.ledger().check()


async def test_a_throttle_spends_nothing_on_expired_messages() -> None:
    done: list[str] = []

    class Throttled(Actor):
        @in_port(deadline=10, throttle=Throttle(rate=0.2))
        def in_work(self, work: str) -> None:
            done.append(f"{work} at {trio.current_time() - began:g}")

    began = trio.current_time()
    async with open_system(child(Throttled)) as system:
        for work in "abcdefgh":
            await system.ref(Throttled).send(Throttled.in_work, work)
        await trio.sleep(11)
        await system.ref(Throttled).send(Throttled.in_work, "late")
        await system.settle()

        assert done[:2] == ["a at 0", "b at 5"]
        assert done[2:] == ["late at 11"]
        system.ledger().check()


async def test_timers_and_self_sends_expire_as_well() -> None:
    done: list[str] = []

    class Busy(Actor):
        @in_port
        async def in_busy(self, seconds: float) -> None:
            self.after(1, Busy.in_note, "timer")
            await self.ref.send(Busy.in_note, "self")
            await trio.sleep(seconds)

        @in_port(deadline=5)
        def in_note(self, note: str) -> None:
            done.append(note)

    async with open_system(child(Busy)) as system:
        await system.ref(Busy).send(Busy.in_busy, 20)
        await system.wait()

        assert done == []
        assert system.ledger().dead_lettered_by == {"expired": 2}


async def test_a_stream_ends_when_what_is_left_of_it_has_expired() -> None:
    steps: list[str] = []

    class Source(Actor):
        out_meal = OutPort(str)

        async def run(self) -> None:
            for meal in "ab":
                await self.out_meal.send(meal)

    class Paused(Actor):
        async def on_start(self) -> None:
            self.pause(Paused.in_meal)
            self.start_soon(trio.sleep, 30)

        @in_port(deadline=10)
        def in_meal(self, meal: str) -> None:
            steps.append(meal)

        async def on_drained(self) -> None:
            steps.append("drained")

    report = await run_inside(supervisor(child(Source), child(Paused), wires=[Source.out_meal >> Paused.in_meal]))

    assert steps == ["drained"]
    assert report.ledger.dead_lettered_by == {"expired": 2}
    assert report.outcome == "completed"


async def test_a_run_does_not_wait_for_a_deadline_when_nothing_is_queued() -> None:
    cooked: list[str] = []

    class Guest(Actor):
        out_meal = OutPort(str)

        async def run(self) -> None:
            await self.out_meal.send("a")

    class Fast(Actor):
        @in_port(deadline=1000)
        async def in_meal(self, meal: str) -> None:
            await trio.sleep(1)
            cooked.append(meal)

    began = trio.current_time()
    async with open_system(supervisor(child(Guest), child(Fast), wires=[Guest.out_meal >> Fast.in_meal])) as system:
        await system.wait()

    assert cooked == ["a"]
    assert trio.current_time() - began == 1


async def test_a_port_keeps_its_deadline_after_its_actor_has_ended_and_been_started_again() -> None:
    cooked: list[str] = []

    class Ends(Kitchen):
        @in_port
        def in_stop(self, _: None) -> None:
            self.stop()

    async with open_system(supervisor(child(Ends, cooked), name="top")) as system:
        await system.ref(Ends).send(Kitchen.in_order, "a")
        await system.ref(Ends).send(Ends.in_stop, None)
        await system.settle()
        await system.supervisor("root/top").restart_child("ends")
        await system.ref(Ends).send(Kitchen.in_clean, 20)
        await system.ref(Ends).send(Kitchen.in_order, "b")
        await system.settle()

        assert cooked == ["a"]
        assert system.ledger().dead_lettered_by == {"expired": 1}


class Slow(Actor):
    """Is busy for a long time, and lets what waits meanwhile expire."""

    @in_port(deadline=10)
    async def in_number(self, number: int) -> None:
        await trio.sleep(100)


async def test_a_message_that_a_resize_gives_to_another_member_keeps_its_deadline() -> None:
    members = pool(Slow, size=3, route=by_key(lambda number: number % 10)).options(name="slow", shutdown=0)
    expired: list[tuple[Any, float]] = []

    async def note(subscription: Subscription[MessageDeadLettered]) -> None:
        async for event in subscription:
            if event.letter.reason is DeadLetterReason.EXPIRED:
                expired.append((event.letter.message, trio.current_time()))

    async with trio.open_nursery() as nursery, open_system(supervisor(members, name="top")) as system:
        nursery.start_soon(note, system.events(MessageDeadLettered))
        slow = system.ref("root/top/slow", Slow)
        for number in (1, 3, 11):  # 1 and 11 are slow-3's, 3 is slow-2's
            await slow.send(Slow.in_number, number)
        await trio.sleep(4)
        await slow.send(Slow.in_number, 13)
        await system.supervisor("root/top/slow").resize(2)  # from now on, 11 waits behind 13
        await trio.sleep(20)

        assert expired == [(11, 10), (13, 14)]
        system.ledger().check()
        await system.stop()


@pytest.mark.parametrize("strategy", [OverflowStrategy.DROP_OLDEST, OverflowStrategy.DROP_NEWEST])
async def test_a_deadline_goes_with_a_strategy_that_drops(strategy: OverflowStrategy) -> None:
    done: list[int] = []

    class Drops(Actor):
        @in_port
        async def in_busy(self, seconds: float) -> None:
            await trio.sleep(seconds)

        @in_port(capacity=2, overflow=strategy, deadline=5)
        def in_number(self, number: int) -> None:
            done.append(number)

    async with open_system(child(Drops)) as system:
        ref = system.ref(Drops)
        await ref.send(Drops.in_busy, 4)
        await trio.sleep(1)
        for number in (1, 2, 3):
            await ref.send(Drops.in_number, number)
        await system.settle()
        await ref.send(Drops.in_busy, 10)
        for number in (4, 5, 6):
            await ref.send(Drops.in_number, number)
        await system.settle()

        assert done == ([2, 3] if strategy is OverflowStrategy.DROP_OLDEST else [1, 2])
        assert system.ledger().dead_lettered_by["expired"] == 2
        system.ledger().check()


@pytest.mark.parametrize(("deadline", "error"), [(0, SpecError), (-1, SpecError), (float("inf"), SpecError), ("1 s", SpecTypeError)])
def test_a_deadline_is_seconds(deadline: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"in_port: deadline = .*: expected seconds, more than 0"):
        in_port(deadline=deadline)


def test_a_port_that_spills_has_no_deadline() -> None:
    with pytest.raises(SpecError, match=r"in_port: deadline = 5: expected no deadline for a port that spills"):
        in_port(deadline=5, overflow=OverflowStrategy.SPILL_TO_DISK)
