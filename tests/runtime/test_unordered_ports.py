"""A port with `ordered=False`: what waits to be tried again lets the others pass, and is never lost meanwhile."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    CircuitBreaker,
    CircuitState,
    DeadLetterReason,
    DependencyError,
    ErrorCategory,
    LinearBackoffRetry,
    OutPort,
    OverflowStrategy,
    RecoveryPolicy,
    ResourceError,
    RetryPolicy,
    Shutdown,
    SupervisorSpec,
    System,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)
from tests.labor import Book, Job, Laborer, bug, slip
from tests.runs import run_inside

TEN_SECONDS = RecoveryPolicy(retry=RetryPolicy({ErrorCategory.TRANSIENT: LinearBackoffRetry(max_retries=3, delay=10.0)}))


class Helper(Laborer):
    """Does jobs in any order."""

    @in_port(ordered=False)
    def in_any(self, job: Job) -> str:
        return self.do(job)

    @in_port(ordered=False)
    async def in_slow(self, job: Job) -> str:
        await trio.sleep(15)
        return self.do(job)

    @in_port(ordered=False, capacity=1, overflow=OverflowStrategy.DROP_OLDEST)
    async def in_few(self, job: Job) -> str:
        await trio.sleep(1)
        return self.do(job)

    @in_port(ordered=False, breaker=CircuitBreaker(failure_threshold=1, recovery_timeout=60, half_open_requests=1))
    def in_guarded(self, job: Job) -> str:
        return self.do(job)


def helper(book: Book, shutdown: float | Shutdown = 5.0) -> SupervisorSpec:
    """One helper, in a tree."""
    return supervisor(child(Helper, book).options(shutdown=shutdown), name="top", recovery=TEN_SECONDS)


async def start(system: System, *jobs: Job) -> ActorRef[Helper]:
    """Sends jobs, and waits until those that fail wait to be tried again."""
    ref = system.ref(Helper)
    for job in jobs:
        await ref.send(Helper.in_any, job)
    await trio.testing.wait_all_tasks_blocked()
    system.ledger().check()
    return ref


async def test_others_pass_a_message_that_waits_to_be_tried_again() -> None:
    book = Book()

    async with open_system(helper(book)) as system:
        await start(system, Job("a", (slip,)), Job("b"), Job("c", (slip,)), Job("d"))
        assert book.names() == ["a", "b", "c", "d"]
        assert (system.ledger().queued, system.ledger().in_flight, system.ledger().processed) == (0, 2, 2)

        await system.settle()

        assert book.names()[:4] == ["a", "b", "c", "d"]
        assert sorted(book.names()[4:]) == ["a", "c"]
        assert trio.current_time() == 10
        system.ledger().check()


async def test_an_ask_waits_for_its_message_and_fails_when_that_is_given_up() -> None:
    async with open_system(helper(Book())) as system:
        ref = system.ref(Helper)

        assert await ref.ask(Helper.in_any, Job("a", (slip,)), timeout=20) == "a done"
        with pytest.raises(AskFailed, match=r"in_any will not answer \(retries_exhausted\)"):
            await ref.ask(Helper.in_any, Job("b", (slip,) * 9), timeout=100)
        with pytest.raises(trio.TooSlowError):
            await ref.ask(Helper.in_any, Job("c", (slip,)), timeout=5)
        await system.settle()

        assert system.ledger().skipped_by == {"asker_gone": 1}
        system.ledger().check()


async def test_messages_that_fail_together_keep_their_names_and_their_tries_apart() -> None:
    book = Book()

    async with open_system(helper(book)) as system:
        ref = system.ref(Helper)
        await ref.send(Helper.in_slow, Job("a", (slip,) * 9))  # tried at 15, and after 10, 20 and 30 seconds more
        for name in "bcdefg":
            await ref.send(Helper.in_slow, Job(name, (slip,) * 2))  # others come back while each is in hand
        await system.settle()

        errors = list(system.kernel.errors)
        assert {len(book.lives_of(name)) for name in "bcdefg"} == {3}
        assert len(book.lives_of("a")) == 4
        assert len({error.message_id for error in errors}) == 7
        assert system.ledger().dead_lettered_by == {"retries_exhausted": 1}


async def test_a_stopped_actor_keeps_what_waited_for_its_restart() -> None:
    book = Book()

    async with open_system(helper(book)) as system:
        await start(system, Job("a", (slip,)), Job("b", (slip,)), Job("c"))
        await system.supervisor("root/top").stop_child("helper")
        await trio.sleep(60)
        assert book.names() == ["a", "b", "c"]
        assert (system.ledger().queued, system.ledger().in_flight) == (2, 0)

        await system.supervisor("root/top").restart_child("helper")
        await system.settle()

        assert book.names() == ["a", "b", "c", "a", "b"]
        assert system.ledger().processed == 3
        system.ledger().check()


async def test_a_deleted_actor_leaves_dead_letters() -> None:
    async with open_system(helper(Book())) as system:
        await start(system, Job("a", (slip,)), Job("b"))
        await system.supervisor("root/top").stop_child("helper")
        await system.supervisor("root/top").delete_child("helper")
        (letter,) = await system.dead_letters.inspect()

        assert (letter.message.name, letter.reason, letter.attempts) == ("a", DeadLetterReason.RECEIVER_STOPPED, 1)
        assert letter.error is not None
        system.ledger().check()


async def test_a_restarted_actor_takes_first_what_waited() -> None:
    book = Book()

    async with open_system(helper(book)) as system:
        await start(system, Job("a", (slip,)), Job("b", (slip,)))
        await start(system, Job("c", (bug,)), Job("d"))
        await system.settle()

        assert sorted(book.names()[3:6]) == ["a", "b", "c"]
        assert book.names()[6:] == ["d"]
        assert trio.current_time() == 0
        assert system.ledger().processed == 4
        system.ledger().check()


async def test_a_killed_actor_s_messages_survive_it() -> None:
    book = Book()

    async with open_system(helper(book, Shutdown.KILL)) as system:
        ref = await start(system, Job("a", (slip,)))
        await ref.send(Helper.in_slow, Job("b"))
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").stop_child("helper")
        assert (system.ledger().queued, system.ledger().in_flight) == (2, 0)

        await system.supervisor("root/top").restart_child("helper")
        await system.settle()

        assert sorted(book.names()) == ["a", "a", "b"]
        system.ledger().check()


async def test_the_end_of_its_streams_waits_for_it() -> None:
    lines: list[str] = []

    class Source(Actor):
        out_job = OutPort(Job)

        async def run(self) -> None:
            for job in (Job("a", (slip,)), Job("b")):
                await self.out_job.send(job)

    class Last(Helper):
        async def on_drained(self) -> None:
            lines.append(f"drained at {trio.current_time():g}")

    book = Book()
    tree = supervisor(child(Source), child(Last, book), wires=[Source.out_job >> Last.in_any], recovery=TEN_SECONDS)

    report = await run_inside(tree)

    assert book.names() == ["a", "b", "a"]
    assert lines == ["drained at 10"]
    assert report.outcome == "completed"
    report.ledger.check()


async def test_a_run_waits_for_it() -> None:
    class Starter(Actor):
        out_job = OutPort(Job)

        async def on_start(self) -> None:
            self.out_job.emit(Job("a", (slip,) * 3))

    book = Book()
    tree = supervisor(child(Helper, book), child(Starter), wires=[Starter.out_job >> Helper.in_any], recovery=TEN_SECONDS)

    report = await run_inside(tree)

    assert book.names() == ["a"] * 4
    assert (report.ledger.processed, report.retries) == (1, 3)


async def test_the_end_of_a_system_waits_for_it_within_the_shutdown_time() -> None:
    book = Book()
    async with open_system(helper(book, 60.0)) as patient:
        await start(patient, Job("a", (slip,)))

    async with open_system(helper(Book(), 1.0)) as hasty:
        await start(hasty, Job("a", (slip,)))

    assert patient.ledger().processed == 1
    assert hasty.ledger().dead_lettered_by == {"shutdown": 1}
    patient.ledger().check()
    hasty.ledger().check()


async def test_a_message_that_comes_back_to_a_full_port_is_not_dropped() -> None:
    book = Book()

    async with open_system(helper(book)) as system:
        ref = system.ref(Helper)
        await ref.send(Helper.in_few, Job("first", (slip,)))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(40):
            await ref.send(Helper.in_few, Job(f"other {number}"))
            await trio.sleep(0.3)
        await system.settle()

        assert book.names().count("first") == 2
        assert system.ledger().dropped > 0
        system.ledger().check()


async def test_a_throttle_slows_the_others_as_well() -> None:
    times: list[float] = []

    class Writer(Actor):
        @in_port(ordered=False)
        def in_row(self, row: int) -> None:
            times.append(trio.current_time())
            if row == 0 and len(times) == 1:
                raise ResourceError("no space left on device")

    async with open_system(child(Writer), seed=1) as system:
        for row in range(10):
            await system.ref(Writer).send(Writer.in_row, row)
        await system.settle()

        system.ledger().check()
        assert system.ledger().processed == 10
    gaps = [round(later - earlier, 6) for earlier, later in pairwise(times[1:])]
    assert min(gaps) > 0  # one at a time, at the pace of the slow-down


async def test_behind_a_breaker_all_wait_while_it_is_open() -> None:
    book = Book()

    async with open_system(helper(book), seed=1) as system:
        ref = system.ref(Helper)
        for job in (Job("a", (lambda: DependencyError("down"),)), Job("b"), Job("c")):
            await ref.send(Helper.in_guarded, job)
        await trio.sleep(59)
        assert book.names() == ["a"]
        assert ref.port(Helper.in_guarded).breaker.state is CircuitState.OPEN

        await system.settle()

        assert sorted(book.names()) == ["a", "a", "b", "c"]
        assert min(time for time, _, _ in book.tries[1:]) == 60
        system.ledger().check()


async def test_a_message_parked_while_its_actor_is_being_stopped_is_kept() -> None:
    book = Book()

    class Slow(Actor):
        @in_port(ordered=False)
        async def in_number(self, number: int) -> None:
            await trio.sleep(3)
            book.tries.append((trio.current_time(), str(number), 0))
            if len(book.tries) == 1:
                raise TransientError("again")

    async with open_system(supervisor(child(Slow), name="top", recovery=TEN_SECONDS)) as system:
        await system.ref(Slow).send(Slow.in_number, 1)
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").stop_child("slow")  # while it handles the message, which then fails
        assert (system.ledger().queued, system.ledger().in_flight) == (1, 0)

        await system.supervisor("root/top").restart_child("slow")
        await system.settle()

        assert book.names() == ["1", "1"]
        system.ledger().check()
