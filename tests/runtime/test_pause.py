"""Paused ports: their mail waits, in order, while the others go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    CircuitBreaker,
    DeadLetterReason,
    MailboxFull,
    MessageTypeError,
    OutPort,
    OverflowStrategy,
    SupervisorSpec,
    System,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)
from tests.runs import run_inside


class Worker(Actor):
    """Pauses work when it is told to, and writes down what it does."""

    def __init__(self, done: list[str], paused_from_the_start: bool = False) -> None:
        self.done = done
        self.begin_paused = paused_from_the_start

    async def on_start(self) -> None:
        if self.begin_paused:
            self.pause(Worker.in_work)

    @in_port(capacity=3)
    async def in_work(self, work: str) -> str:
        self.done.append(work)
        return work

    @in_port
    def in_other(self, work: str) -> None:
        self.done.append(work)

    @in_port
    def in_pause(self, _: None) -> None:
        self.pause(Worker.in_work)

    @in_port
    def in_resume(self, _: None) -> None:
        self.resume(Worker.in_work)

    @in_port
    def in_bug(self, _: None) -> None:
        if "bug" not in self.done:
            self.done.append("bug")
            raise KeyError("a bug")


def tree(done: list[str], *, paused: bool = True) -> SupervisorSpec:
    return supervisor(child(Worker, done, paused_from_the_start=paused), name="top")


async def test_a_paused_port_keeps_its_mail_while_the_others_go_on_and_brings_it_back_in_order() -> None:
    done: list[str] = []
    async with open_system(tree(done)) as system:
        worker = system.ref(Worker)
        for port, work in ((Worker.in_work, "a"), (Worker.in_other, "x"), (Worker.in_work, "b"), (Worker.in_other, "y")):
            await worker.send(port, work)
        await system.settle()
        meanwhile = system.ledger().ports["root/top/worker.in_work"]
        before = list(done)

        await worker.send(Worker.in_resume, None)
        await worker.send(Worker.in_work, "c")
        await system.settle()

        assert before == ["x", "y"]
        assert (meanwhile.queued, meanwhile.in_flight) == (2, 0)
        assert done == ["x", "y", "a", "b", "c"]
        system.ledger().check()


async def test_mail_that_is_still_behind_others_when_its_port_is_resumed_keeps_its_place() -> None:
    done: list[str] = []
    async with open_system(tree(done)) as system:
        worker = system.ref(Worker)
        worker.send_nowait(Worker.in_work, "a")
        worker.send_nowait(Worker.in_resume, None)
        worker.send_nowait(Worker.in_other, "x")
        worker.send_nowait(Worker.in_work, "b")
        worker.send_nowait(Worker.in_other, "y")
        await system.settle()

        assert done == ["a", "x", "b", "y"]


async def test_pausing_and_resuming_twice_is_as_once() -> None:
    done: list[str] = []
    async with open_system(tree(done, paused=False)) as system:
        worker = system.ref(Worker)
        await worker.send(Worker.in_resume, None)
        for _ in range(2):
            await worker.send(Worker.in_pause, None)
        await worker.send(Worker.in_work, "a")
        for _ in range(2):
            await worker.send(Worker.in_resume, None)
        await worker.send(Worker.in_pause, None)
        await worker.send(Worker.in_work, "b")
        await system.settle()

        assert done == ["a"]
        assert system.ledger().queued == 1
        system.ledger().check()


async def test_a_paused_port_fills_up_and_then_its_senders_wait() -> None:
    done: list[str] = []
    async with open_system(tree(done)) as system, trio.open_nursery() as nursery:
        worker = system.ref(Worker)
        for work in "abc":
            await worker.send(Worker.in_work, work)

        with pytest.raises(MailboxFull):
            worker.send_nowait(Worker.in_work, "d")
        nursery.start_soon(worker.send, Worker.in_work, "d")
        await trio.testing.wait_all_tasks_blocked()
        accepted = system.ledger().ports["root/top/worker.in_work"].accepted
        await worker.send(Worker.in_resume, None)
        await system.settle()

        assert accepted == 3
        assert done == ["a", "b", "c", "d"]
        system.ledger().check()


async def test_the_message_in_hand_of_a_paused_port_is_finished() -> None:
    done: list[str] = []

    class Pauses(Actor):
        @in_port
        async def in_work(self, work: str) -> None:
            self.pause(Pauses.in_work)
            await trio.sleep(1)
            done.append(work)

    async with open_system(child(Pauses)) as system:
        for work in "ab":
            await system.ref(Pauses).send(Pauses.in_work, work)
        await system.settle()

        assert done == ["a"]
        assert system.ledger().queued == 1


async def test_self_sends_and_timers_to_a_paused_port_queue_as_well() -> None:
    done: list[str] = []

    class Timed(Actor):
        async def on_start(self) -> None:
            self.pause(Timed.in_work)
            self.after(1, Timed.in_work, "timer")
            await self.ref.send(Timed.in_work, "self")
            self.after(5, Timed.in_resume, None)

        @in_port
        def in_work(self, work: str) -> None:
            done.append(f"{work} at {trio.current_time() - began:g}")

        @in_port
        def in_resume(self, _: None) -> None:
            self.resume(Timed.in_work)

    began = trio.current_time()
    async with open_system(child(Timed)) as system:
        await system.wait()

    assert done == ["self at 5", "timer at 5"]


async def test_who_asks_a_paused_port_waits_for_it_to_resume() -> None:
    done: list[str] = []
    answers: list[str] = []

    async def ask(system: System) -> None:
        answers.append(await system.ref(Worker).ask(Worker.in_work, "a"))

    async with open_system(tree(done)) as system, trio.open_nursery() as nursery:
        nursery.start_soon(ask, system)
        await system.settle()
        before = list(answers)
        await system.ref(Worker).send(Worker.in_resume, None)

    assert before == []
    assert answers == ["a"]


async def test_a_restart_resumes_all_ports_in_order() -> None:
    done: list[str] = []
    starts: list[int] = []

    class Fragile(Worker):
        async def on_start(self) -> None:
            starts.append(1)
            if len(starts) == 1:
                self.pause(Fragile.in_work)
                self.pause(Fragile.in_other)

    async with open_system(supervisor(child(Fragile, done), name="top")) as system:
        worker = system.ref(Fragile)
        for port, work in ((Worker.in_work, "a"), (Worker.in_other, "x"), (Worker.in_work, "b"), (Worker.in_other, "y")):
            await worker.send(port, work)
        await system.settle()
        await worker.send(Fragile.in_bug, None)
        await worker.send(Worker.in_work, "c")
        await system.settle()

        assert done == ["bug", "a", "x", "b", "y", "c"]
        system.ledger().check()


async def test_a_start_that_fails_after_pausing_leaves_no_port_paused() -> None:
    done: list[str] = []
    starts: list[int] = []

    class Late(Actor):
        async def on_start(self) -> None:
            starts.append(1)
            if len(starts) == 2:
                self.pause(Late.in_work)
                raise TransientError("not yet")

        @in_port
        def in_work(self, work: str) -> None:
            if work == "bug" and "bug" not in done:
                done.append("bug")
                raise KeyError(work)
            done.append(work)

    async with open_system(child(Late)) as system:
        for work in ("bug", "a"):
            await system.ref(Late).send(Late.in_work, work)
        await system.wait()

        assert (len(starts), done) == (3, ["bug", "bug", "a"])
        system.ledger().check()


async def test_a_message_that_is_to_be_tried_again_waits_while_its_port_is_paused() -> None:
    done: list[str] = []

    class Retries(Actor):
        @in_port
        def in_work(self, work: str) -> None:
            if work == "a" and not done:
                done.append("failed")
                self.pause(Retries.in_work)
                raise TransientError("a slip")
            done.append(work)

        @in_port
        def in_resume(self, _: None) -> None:
            self.resume(Retries.in_work)

    async with open_system(child(Retries)) as system:
        for work in "ab":
            await system.ref(Retries).send(Retries.in_work, work)
        await system.wait()
        before = list(done)
        await system.ref(Retries).send(Retries.in_resume, None)
        await system.settle()

        assert before == ["failed"]
        assert done == ["failed", "a", "b"]
        system.ledger().check()


async def test_a_sender_s_patience_does_not_suffer_from_a_pause() -> None:
    class Slow(Actor):
        async def on_start(self) -> None:
            self.pause(Slow.in_work)
            self.after(100, Slow.in_resume, None)

        @in_port(capacity=1, block_timeout=5)
        async def in_work(self, work: str) -> None:
            await trio.sleep(4)

        @in_port
        def in_resume(self, _: None) -> None:
            self.resume(Slow.in_work)

    async with open_system(child(Slow)) as system, trio.open_nursery() as nursery:
        for work in "ab":
            nursery.start_soon(system.ref(Slow).send, Slow.in_work, work)
        await system.wait()

        assert system.ledger().dead_lettered == 0
        assert system.ledger().processed == 3


async def test_a_sender_s_patience_goes_on_where_it_stood_when_the_port_is_resumed() -> None:
    times: list[float] = []

    class Slow(Actor):
        async def on_start(self) -> None:
            self.start_soon(self.interrupt)

        async def interrupt(self) -> None:
            await trio.sleep(3)
            self.pause(Slow.in_work)
            await trio.sleep(97)
            self.resume(Slow.in_work)

        @in_port(capacity=1, block_timeout=5)
        async def in_work(self, work: str) -> None:
            await trio.sleep(200)

    async with open_system(child(Slow)) as system:
        began = trio.current_time()
        for work in "abc":
            await system.ref(Slow).send(Slow.in_work, work)
            times.append(trio.current_time() - began)

        assert times == [0, 0, 102]
        assert system.ledger().dead_lettered_by == {"overflow_timeout": 1}
        await system.settle()


async def test_a_run_does_not_wait_for_a_paused_port_and_says_so() -> None:
    class Source(Actor):
        out_work = OutPort(str)

        async def run(self) -> None:
            await self.out_work.send("a")

    tree = supervisor(child(Source), child(Worker, [], paused_from_the_start=True), wires=[Source.out_work >> Worker.in_work])
    report = await run_inside(tree)

    assert report.ledger.dead_lettered_by == {"shutdown": 1}
    assert report.outcome == "completed, but 1 messages could not be handled any more"
    report.ledger.check()


async def test_a_stream_has_not_ended_while_its_mail_waits_in_a_paused_port() -> None:
    steps: list[str] = []

    class Source(Actor):
        out_work = OutPort(str)

        async def run(self) -> None:
            await self.out_work.send("a")

    class Sink(Actor):
        async def on_start(self) -> None:
            self.pause(Sink.in_work)
            self.start_soon(self.wait_and_resume)

        async def wait_and_resume(self) -> None:
            await trio.sleep(5)
            self.resume(Sink.in_work)

        @in_port
        def in_work(self, work: str) -> None:
            steps.append(work)

        async def on_drained(self) -> None:
            steps.append("drained")

    tree = supervisor(child(Source), child(Sink), wires=[Source.out_work >> Sink.in_work])
    report = await run_inside(tree)

    assert steps == ["a", "drained"]
    assert report.ledger.processed == 1


async def test_what_waits_in_a_paused_port_becomes_dead_letters_when_the_actor_is_deleted() -> None:
    done: list[str] = []
    async with open_system(tree(done)) as system:
        for work in "ab":
            await system.ref(Worker).send(Worker.in_work, work)
        await system.settle()

        await system.supervisor("root/top").stop_child("worker")
        await system.supervisor("root/top").delete_child("worker")

        letters = await system.dead_letters.inspect()
        assert [(letter.message, letter.reason) for letter in letters] == [(work, DeadLetterReason.RECEIVER_STOPPED) for work in "ab"]
        assert done == []
        system.ledger().check()


@pytest.mark.parametrize("strategy", [OverflowStrategy.DROP_OLDEST, OverflowStrategy.DROP_NEWEST])
async def test_a_full_paused_port_follows_its_strategy(strategy: OverflowStrategy) -> None:
    done: list[int] = []

    class Drops(Actor):
        async def on_start(self) -> None:
            self.pause(Drops.in_number)

        @in_port(capacity=2, overflow=strategy)
        def in_number(self, number: int) -> None:
            done.append(number)

        @in_port
        def in_other(self, number: int) -> None:
            done.append(number)

        @in_port
        def in_resume(self, _: None) -> None:
            self.resume(Drops.in_number)

    async with open_system(child(Drops)) as system:
        ref = system.ref(Drops)
        for number in (1, 2, 3, 4):
            await ref.send(Drops.in_number, number)
            await ref.send(Drops.in_other, -number)
        await ref.send(Drops.in_resume, None)
        await system.settle()

        kept = [3, 4] if strategy is OverflowStrategy.DROP_OLDEST else [1, 2]
        assert done == [-1, -2, -3, -4, *kept]
        system.ledger().check()


async def test_a_port_that_its_breaker_holds_up_lets_the_others_go_on_once_it_is_paused() -> None:
    done: list[str] = []

    class Guarded(Actor):
        @in_port(breaker=CircuitBreaker())
        def in_call(self, call: str) -> None:
            done.append(call)

        @in_port
        def in_other(self, other: str) -> None:
            done.append(other)

        async def run(self) -> None:
            await trio.sleep(5)
            self.pause(Guarded.in_call)

    async with open_system(child(Guarded)) as system:
        guarded = system.ref(Guarded)
        guarded.port(Guarded.in_call).breaker.isolate()
        await guarded.send(Guarded.in_call, "call")
        await guarded.send(Guarded.in_other, "other")
        await trio.sleep(1)
        before = list(done)
        await system.settle()

        assert (before, done) == ([], ["other"])


async def test_only_an_actor_s_own_ports_can_be_paused() -> None:
    errors: list[Exception] = []

    class Meddler(Actor):
        async def on_start(self) -> None:
            for method in ("pause", "resume"):
                try:
                    getattr(self, method)(Worker.in_work)
                except MessageTypeError as error:
                    errors.append(error)

    async with open_system(supervisor(child(Meddler), name="top")):
        pass

    assert len(errors) == 2
    assert "has no port Worker.in_work" in str(errors[0])


class Alone(Actor):
    """Has one port, which it pauses at every third number, for a second; fails at every fifth the first time."""

    def __init__(self, done: list[int]) -> None:
        self.done = done
        self.failed: set[int] = set()

    def work(self, number: int) -> None:
        if number % 5 == 4 and number not in self.failed:
            self.failed.add(number)
            raise TransientError("once")
        self.done.append(number)
        if number % 3 == 2:
            self.pause(type(self).in_number)  # type: ignore[attr-defined]
            self.start_soon(self.go_on)

    async def go_on(self) -> None:
        await trio.sleep(1)
        self.resume(type(self).in_number)  # type: ignore[attr-defined]


class AloneAsync(Alone):
    @in_port
    async def in_number(self, number: int) -> None:
        self.work(number)


class AlonePlain(Alone):
    @in_port
    def in_number(self, number: int) -> None:
        self.work(number)


@pytest.mark.parametrize("actor", [AloneAsync, AlonePlain])
async def test_an_actor_that_pauses_its_only_port_again_and_again_loses_and_reorders_nothing(
    actor: Any, autojump_clock: trio.testing.MockClock
) -> None:
    done: list[int] = []
    async with open_system(supervisor(child(actor, done), name="top")) as system:
        alone = system.ref(actor)
        for number in range(20):
            await alone.send(actor.in_number, number)
        await system.settle()
        paused_at = list(done)
        queued = system.ledger().queued
        await trio.sleep(60)
        await system.settle()

        assert (paused_at, queued) == ([0, 1, 2], 17)
        assert done == list(range(20))
        assert system.ledger().processed == 20
        system.ledger().check()
