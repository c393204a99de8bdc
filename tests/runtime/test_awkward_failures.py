"""Exceptions that make trouble themselves are recovered from, recorded and bounded; what is no failure passes through."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from random import Random

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import (
    Actor,
    AskFailed,
    Bulkhead,
    CircuitBreaker,
    DeadLetter,
    DeadLetterReason,
    ErrorCategory,
    ErrorContext,
    ExponentialBackoffRetry,
    RecoveryAction,
    RecoveryPolicy,
    RetryBudget,
    Shutdown,
    System,
    Throttle,
    TransientError,
    ValidationError,
    child,
    in_batch,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import HandlerFailed, PolicyFailed
from actorkit.policy.traces import LONGEST_TRACE
from actorkit.policy.wording import LONGEST_MESSAGE


class Unspeakable(ValueError):
    """Can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Attributeless(ValueError):
    """Refuses every attribute that is asked for."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"{name} is none of your business")


@frozen
class Work:
    """What a handler does."""

    fail: Callable[[], Exception]

    def __repr__(self) -> str:
        raise RuntimeError("no words for the message either")


class Worker(Actor):
    """Fails as its work says."""

    @in_port
    async def in_work(self, work: Work) -> None:
        raise work.fail()

    @in_port
    def in_plain_work(self, work: Work) -> None:
        raise work.fail()

    @in_port
    async def in_while_handling(self, _: str) -> None:
        try:
            raise TransientError("the first")
        except TransientError:
            _ = dict[str, str]()["the second"]  # a bug in the handling of an error

    @in_port
    async def in_fine(self, _: str) -> str:
        return "fine"


def nested(depth: int, leaf: Exception) -> Exception:
    """An exception group in a group in a group."""
    return leaf if not depth else ExceptionGroup(f"level {depth}", [nested(depth - 1, leaf), TransientError(f"beside it, at {depth}")])


async def letter_of(system: System, fail: Callable[[], Exception]) -> DeadLetter:
    """The dead letter of a message that fails so, in both kinds of handlers."""
    for port in (Worker.in_work, Worker.in_plain_work):
        await system.ref(Worker).send(port, Work(fail))
        await system.wait()
    assert await system.ref(Worker).ask(Worker.in_fine, "") == "fine"
    system.ledger().check()
    first, second = await system.dead_letters.inspect()
    assert first.reason is second.reason
    return first


@pytest.mark.parametrize("fail", [Unspeakable, Attributeless])
async def test_an_exception_that_cannot_be_told_is_recorded_all_the_same(fail: type[Exception]) -> None:
    async with open_system(child(Worker)) as system:
        failed = system.events(HandlerFailed)
        letter = await letter_of(system, fail)

        assert letter.reason is DeadLetterReason.VALIDATION
        assert letter.error is not None
        assert fail.__name__ in letter.error.summary
        assert letter.error.stack_trace
        assert str(await anext(failed))
        assert system.snapshot()


async def test_an_ask_tells_of_it_as_well_as_can_be() -> None:
    async with open_system(child(Worker)) as system:
        with pytest.raises(AskFailed, match=r"Unspeakable \(its text could not be made\)"):
            await system.ref(Worker).ask(Worker.in_work, Work(Unspeakable))


async def test_a_message_of_ten_megabytes_is_cut() -> None:
    async with open_system(child(Worker)) as system:
        letter = await letter_of(system, lambda: ValidationError("x" * 10_000_000))
        error = letter.error
        assert error is not None
        tracemalloc.start()
        try:
            texts = [error.error_message, error.stack_trace, error.summary, str(error), repr(error)]
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert [len(text) for text in texts] <= [LONGEST_MESSAGE, LONGEST_TRACE, 1000, 1000, 1000]
    assert max(len(text) for text in texts) <= LONGEST_TRACE
    assert kept < 200_000


async def test_a_group_three_levels_deep_is_as_bad_as_its_worst_leaf() -> None:
    async with open_system(child(Worker)) as system:
        letter = await letter_of(system, lambda: nested(3, ValidationError("at the bottom")))

        assert letter.reason is DeadLetterReason.VALIDATION
        assert letter.error is not None
        assert letter.error.category is ErrorCategory.VALIDATION
        assert "at the bottom" in letter.error.stack_trace
        assert "test_awkward_failures" in letter.error.fingerprint or "ValidationError" in letter.error.fingerprint


async def test_an_error_while_an_error_is_handled_is_recorded_with_both() -> None:
    async with open_system(child(Worker)) as system:
        await system.ref(Worker).send(Worker.in_while_handling, "")
        await system.wait()
        (letter,) = await system.dead_letters.inspect()

        assert letter.reason is DeadLetterReason.POISON
        assert letter.error is not None
        assert "KeyError" in letter.error.stack_trace
        assert "the first" in letter.error.stack_trace


async def test_a_thousand_causes_in_a_row_are_bounded() -> None:
    def chain() -> Exception:
        error: Exception = ValidationError("the root of it")
        for number in range(1000):
            outer = ValidationError(f"cause {number}")
            outer.__cause__, error = error, outer
        return error

    async with open_system(child(Worker)) as system:
        letter = await letter_of(system, chain)

        assert letter.error is not None
        assert len(letter.error.stack_trace) <= LONGEST_TRACE


async def test_an_exception_that_is_its_own_cause_is_recorded() -> None:
    def circular() -> Exception:
        error = ValidationError("round and round")
        error.__cause__ = error
        return error

    async with open_system(child(Worker)) as system:
        letter = await letter_of(system, circular)

        assert letter.error is not None
        assert "round and round" in letter.error.stack_trace


async def test_a_policy_whose_every_answer_fails_loses_no_message() -> None:
    class Broken(RecoveryPolicy):
        def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
            raise ZeroDivisionError

        def reason(self, error: ErrorContext, history: Sequence[ErrorContext]) -> DeadLetterReason:
            raise Unspeakable

        def delay(self, error: ErrorContext, rng: Random, history: Sequence[ErrorContext]) -> float:
            raise MemoryError

    async with open_system(supervisor(child(Worker), recovery=Broken()), seed=1) as system:
        failures = system.events(PolicyFailed)
        await system.ref(Worker).send(Worker.in_work, Work(lambda: TransientError("again")))
        await system.ref(Worker).send(Worker.in_work, Work(lambda: ValidationError("bad")))
        await system.wait()

        assert system.ledger().dead_lettered_by == {"retries_exhausted": 1, "validation": 1}
        system.ledger().check()
    assert len([each async for each in failures]) > 4


async def test_a_handler_that_answers_a_kill_with_a_group_did_not_fail_and_its_message_is_kept() -> None:
    handled: list[str] = []

    class Grouped(Actor):
        @in_port
        async def in_work(self, name: str) -> None:
            handled.append(name)
            if len(handled) > 1:
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail_when_cancelled)
                await trio.sleep_forever()

        async def fail_when_cancelled(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValidationError("in the middle of a cancellation")

    async with open_system(supervisor(child(Grouped).options(shutdown=Shutdown.KILL), name="top")) as system:
        await system.ref(Grouped).send(Grouped.in_work, "a")
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").stop_child("grouped")
        assert system.ledger().queued == 1
        assert not list(system.kernel.errors)

        await system.supervisor("root/top").restart_child("grouped")
        await system.settle()

        assert handled == ["a", "a"]
        assert system.ledger().processed == 1
        system.ledger().check()


async def test_a_group_with_a_failure_and_a_cancellation_in_it_is_a_failure() -> None:
    class Mixed(Actor):
        @in_port
        async def in_work(self, _: str) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.fail)
                    scope.cancel()
                    await trio.sleep_forever()

        async def fail(self) -> None:
            raise ValidationError("beside a cancellation")

    async with open_system(child(Mixed)) as system:
        await system.ref(Mixed).send(Mixed.in_work, "")
        await system.settle()

        assert system.ledger().dead_lettered_by == {"validation": 1}


class Guarded(Actor):
    """Waits for ever, inside everything there is to be inside of."""

    def __init__(self, cancelled: list[str]) -> None:
        self.cancelled = cancelled
        self.breaker = CircuitBreaker(failure_threshold=1)

    @in_port(timeout=1000, breaker=CircuitBreaker(failure_threshold=1), throttle=Throttle(rate=1000))
    async def in_work(self, _: str) -> None:
        retry, budget = ExponentialBackoffRetry(max_retries=3), RetryBudget()
        async with Bulkhead(max_concurrent=1), self.breaker:
            await retry.execute(self.wait, budget=budget)

    async def wait(self) -> None:
        """Waits for ever."""
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled.append(self.breaker.state.value)
            raise


@pytest.mark.parametrize("ends", ["stop", "leave", "cancel"])
async def test_a_cancellation_passes_through_all_guards_and_counts_for_none(ends: str) -> None:
    cancelled: list[str] = []

    with trio.CancelScope() as scope:
        async with open_system(supervisor(child(Guarded, cancelled).options(shutdown=1.0), name="top")) as system:
            ref = system.ref(Guarded)
            await ref.send(Guarded.in_work, "")
            await trio.testing.wait_all_tasks_blocked()
            breaker = ref.port(Guarded.in_work).breaker
            if ends == "stop":
                await system.supervisor("root/top").stop_child("guarded")
                assert system.ledger().queued == 1
            elif ends == "cancel":
                scope.cancel()
                await trio.sleep_forever()

    assert cancelled == ["closed"]
    assert breaker.state.value == "closed"
    assert not list(system.kernel.errors)
    assert system.ledger().dead_lettered_by == {"shutdown": 1}
    system.ledger().check()


class Hoarder(Actor):
    """Keeps a cancellation beyond its scope, and raises it later."""

    def __init__(self, how: str, lines: list[str]) -> None:
        self.how = how
        self.lines = lines

    async def run(self) -> None:
        if self.how == "run" and not self.lines:
            self.lines.append("run")
            await self.hoard("alone")

    @in_port
    async def in_work(self, name: str) -> None:
        self.lines.append(name)
        if self.how != "run" and name == "a":
            await self.hoard(self.how)

    async def hoard(self, how: str) -> None:
        """Raises a stale cancellation: alone, or in a group, at once or after a while."""
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                stale: trio.Cancelled = error
        if how == "later":
            await trio.sleep(1)
        if how == "alone":
            raise stale
        raise BaseExceptionGroup("both", [stale, ValidationError("bad")])


@pytest.mark.parametrize(("how", "reason"), [("at once", "validation"), ("later", "validation"), ("alone", "poison")])
async def test_a_cancellation_that_a_handler_had_kept_is_its_failure(how: str, reason: str) -> None:
    lines: list[str] = []

    async with open_system(child(Hoarder, how, lines)) as system:
        for name in "ab":
            await system.ref(Hoarder).send(Hoarder.in_work, name)
        await system.settle()

        assert lines[-1] == "b"
        assert system.ledger().dead_lettered_by == {reason: 1}
        assert system.ledger().processed == 1
        system.ledger().check()


class PlainHoarder(Actor):
    """Raises a cancellation that somebody kept, alone or in a group."""

    def __init__(self, stale: list[trio.Cancelled]) -> None:
        self.stale = stale

    @in_port
    def in_work(self, how: str) -> str:
        if how == "alone":
            raise self.stale[0]
        if how == "in a group":
            raise BaseExceptionGroup("both", [self.stale[0], ValidationError("bad")])
        return how


@pytest.mark.parametrize(("how", "reason"), [("in a group", "validation"), ("alone", "poison")])
@pytest.mark.parametrize("awake", [False, True])
async def test_a_cancellation_that_a_plain_handler_had_kept_is_its_failure_whoever_runs_it(how: str, reason: str, awake: bool) -> None:
    """While everybody sleeps, it is the asker that runs it."""
    stale: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            stale.append(error)

    async with open_system(child(PlainHoarder, stale)) as system:
        ref = system.ref(PlainHoarder)
        await trio.testing.wait_all_tasks_blocked()
        if awake:
            await ref.send(PlainHoarder.in_work, "before")
        with pytest.raises(AskFailed, match="bad" if reason == "validation" else "a trio.Cancelled that it had kept"):
            await ref.ask(PlainHoarder.in_work, how)

        assert await ref.ask(PlainHoarder.in_work, "after") == "after"
        assert system.ledger().dead_lettered_by == {reason: 1}
        system.ledger().check()


async def test_a_cancellation_that_a_task_had_kept_is_its_failure() -> None:
    lines: list[str] = []

    async with open_system(child(Hoarder, "run", lines)) as system:
        await system.wait()
        await system.ref(Hoarder).send(Hoarder.in_work, "a")
        await system.settle()

        assert lines == ["run", "a"]
        assert system.supervisor("root/supervisor").which_children()[0].restarts == 1
        assert "a trio.Cancelled that it had kept" in next(iter(system.kernel.errors)).error_message


async def test_a_batch_is_split_where_a_handler_had_kept_a_cancellation() -> None:
    lines: list[str] = []

    class Batches(Hoarder):
        @in_batch(size=4, wait=0)
        async def in_batch(self, names: list[str]) -> None:
            if "c" in names:
                await self.hoard("at once")
            lines.extend(names)

    async with open_system(child(Batches, "", [])) as system:
        for name in "abcd":
            await system.ref(Batches).send(Batches.in_batch, name)
        await system.settle()

        assert lines == ["a", "b", "d"]
        assert system.ledger().dead_lettered_by == {"validation": 1}
        system.ledger().check()
