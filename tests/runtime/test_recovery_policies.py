"""Policies of the user's own, who hears of failures, and what is done where no message is at fault."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeVar

import pytest
import trio

from actorkit import (
    Actor,
    Classification,
    Classifier,
    CommunicationError,
    DeadLetterReason,
    ErrorCategory,
    ErrorContext,
    LinearBackoffRetry,
    RecoveryAction,
    RecoveryPolicy,
    RetryPolicy,
    Rule,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import HandlerFailed, PolicyFailed
from tests.labor import Book, Job, Laborer, bug, do, slip, tree

T = TypeVar("T")


async def test_a_user_s_rule_comes_before_the_table() -> None:
    book = Book()
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, exception=KeyError),))

    async with open_system(tree(book, policy)) as system:
        await do(system, Job("a", (bug,)), Job("b", (slip,)))

        assert book.names() == ["a", "b", "b"]
        assert system.ledger().skipped == 1


@pytest.mark.parametrize("action", [RecoveryAction.RETRY, RecoveryAction.THROTTLE, RecoveryAction.CIRCUIT_BREAK])
async def test_a_rule_that_asks_for_another_try_gets_one_on_the_same_instance(action: RecoveryAction) -> None:
    book = Book()
    policy = RecoveryPolicy(rules=(Rule(action, exception=KeyError),))

    async with open_system(tree(book, policy)) as system:
        await do(system, Job("a", (bug,)))

    assert book.lives_of("a") == [1, 1]


async def test_a_child_s_policy_goes_before_that_of_its_supervisor() -> None:
    skip = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE),))
    quarantine = RecoveryPolicy(rules=(Rule(RecoveryAction.QUARANTINE_MESSAGE),))
    tree = supervisor(
        child(Laborer, Book()).options(name="own", recovery=skip),
        child(Laborer, Book()).options(name="inherited"),
        supervisor(child(Laborer, Book()).options(name="below"), name="inner"),
        name="top",
        recovery=quarantine,
    )

    async with open_system(tree) as system:
        for path in ("root/top/own", "root/top/inherited", "root/top/inner/below"):
            await system.ref(path, Laborer).send(Laborer.in_job, Job("a", (bug,)))
        await system.wait()
        ports = system.ledger().ports

    assert ports["root/top/own.in_job"].skipped == 1
    assert ports["root/top/inherited.in_job"].dead_lettered == 1
    assert ports["root/top/inner/below.in_job"].dead_lettered == 1


class Stubborn(RecoveryPolicy):
    """Tries everything again, after a second."""

    def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
        return RecoveryAction.RETRY

    def delay(self, error: ErrorContext, rng: Random, history: Sequence[ErrorContext]) -> float:
        return 1


async def test_a_policy_may_be_subclassed() -> None:
    book = Book()

    async with open_system(tree(book, Stubborn())) as system:
        await do(system, Job("a", (bug,) * 20))

    assert book.lives_of("a") == [1] * 21
    assert book.waits() == [1.0] * 20


async def test_a_policy_sees_the_component_s_last_failures() -> None:
    seen: list[list[str]] = []

    class Curious(RecoveryPolicy):
        def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
            seen.append([str(each.exception) for each in history])
            return RecoveryAction.LOG_AND_CONTINUE

    def failing(number: int) -> Job:
        return Job(str(number), (lambda: RuntimeError(number),))

    async with open_system(tree(Book(), Curious())) as system:
        await do(system, *(failing(number) for number in range(130)))

    assert seen[2] == ["0", "1", "2"]
    assert seen[-1] == [str(number) for number in range(30, 130)]


class Fragile(RecoveryPolicy):
    """Fails in the question that it was made for."""

    def __init__(self, question: str) -> None:
        classifier = BrokenClassifier() if question == "classify" else Classifier()
        super().__init__(classifier=classifier)
        object.__setattr__(self, "question", question)

    def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
        return self._answer("decide", super().decide(error, history))

    def delay(self, error: ErrorContext, rng: Random, history: Sequence[ErrorContext]) -> float:
        return self._answer("delay", super().delay(error, rng, history))

    def reason(self, error: ErrorContext, history: Sequence[ErrorContext]) -> DeadLetterReason:
        return self._answer("reason", super().reason(error, history))

    def is_poison(self, error: ErrorContext, history: Sequence[ErrorContext]) -> bool:
        return self._answer("is_poison", super().is_poison(error, history))

    def _answer(self, question: str, answer: T) -> T:
        if self.question == question:  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return answer


class BrokenClassifier(Classifier):
    """Fails."""

    def classify(self, exception: BaseException) -> Classification:
        raise ZeroDivisionError


@pytest.mark.parametrize("question", ["classify", "decide", "delay", "reason", "is_poison"])
async def test_when_a_policy_raises_the_default_one_decides(question: str) -> None:
    book = Book()

    async with open_system(tree(book, Fragile(question))) as system:
        failures = system.events(PolicyFailed)
        await do(system, Job("a", (slip,)), Job("b", (ValidationError,)), Job("c"))

        assert book.names() == ["a", "a", "b", "c"]
        assert system.ledger().dead_lettered_by == {DeadLetterReason.VALIDATION: 1}
        system.ledger().check()
    found = [each async for each in failures]
    assert found
    assert {(each.path, type(each.error)) for each in found} == {("root/top/laborer", ZeroDivisionError)}


async def test_a_policy_that_answers_what_is_no_action_has_failed() -> None:
    class Vague(RecoveryPolicy):
        def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
            return "perhaps"  # type: ignore[return-value]

    async with open_system(tree(Book(), Vague())) as system:
        failures = system.events(PolicyFailed)
        await do(system, Job("a", (ValidationError,)))

        assert system.ledger().dead_lettered_by == {DeadLetterReason.VALIDATION: 1}
    assert [str(each.error) async for each in failures] == ["Vague answered 'perhaps': expected a RecoveryAction"]


async def test_err_errors_carries_failures_to_a_monitor() -> None:
    class Monitor(Actor):
        def __init__(self, errors: list[ErrorContext]) -> None:
            self.errors = errors

        @in_port
        def in_error(self, error: ErrorContext) -> None:
            self.errors.append(error)

    errors: list[ErrorContext] = []
    tree = supervisor(child(Laborer, Book()), child(Monitor, errors), wires=[Laborer.err_errors >> Monitor.in_error], name="top")

    async with open_system(tree) as system:
        await do(system, Job("a", (slip,)), Job("b", (ValidationError,)), Job("c", (bug,)))

    assert [type(each.exception) for each in errors] == [TransientError, ValidationError, KeyError]
    assert {each.component_name for each in errors} == {"root/top/laborer"}
    assert [each.port_name for each in errors] == ["in_job"] * 3
    assert len({each.message_id for each in errors}) == 3


async def test_a_failure_knows_how_often_it_has_been_seen() -> None:
    async with open_system(tree(Book())) as system:
        failures = system.events(HandlerFailed)
        await do(system, *(Job(name, (lambda: ValidationError("bad"),)) for name in "abc"))

    found = [each.error async for each in failures]
    assert [each.occurrence_count for each in found] == [1, 2, 3]
    assert len({each.fingerprint for each in found}) == 1
    assert len({each.error_id for each in found}) == 3


class Shaky(Actor):
    """Fails once where it is told to, with what it is told to."""

    def __init__(self, where: str, error: Exception, times: list[float]) -> None:
        self.where = where
        self.error = error
        self.times = times

    async def on_start(self) -> None:
        await self.maybe_fail("on_start")
        if self.where == "background":
            self.start_soon(self.maybe_fail, "background")

    async def run(self) -> None:
        await self.maybe_fail("run")

    async def on_drained(self) -> None:
        await self.maybe_fail("on_drained")

    @in_port
    def in_bug(self, _: None) -> None:
        raise KeyError

    async def maybe_fail(self, where: str) -> None:
        """Fails the first time, at the place that was named."""
        if where == self.where:
            self.times.append(trio.current_time())
            if len(self.times) == 1:
                raise self.error


LINEAR = RecoveryPolicy(retry=RetryPolicy({ErrorCategory.COMMUNICATION: LinearBackoffRetry(max_retries=2, delay=7.0)}))


@pytest.mark.parametrize("where", ["run", "on_drained", "background"])
@pytest.mark.parametrize(
    ("error", "wait"),
    [(CommunicationError("down"), 7.0), (KeyError("bug"), 0.0), (ValidationError("bad"), 0.0), (TransientError(retry_after=20), 20.0)],
)
async def test_where_no_message_is_at_fault_the_actor_restarts_after_its_category_s_wait(where: str, error: Exception, wait: float) -> None:
    times: list[float] = []

    async with open_system(supervisor(child(Shaky, where, error, times), recovery=LINEAR)) as system:
        await system.wait()

        assert len(times) == 2
        assert times[1] - times[0] == wait
        assert system.supervisor("root/supervisor").which_children()[0].restarts == 1


async def test_a_start_that_fails_during_a_restart_waits_as_its_category_says() -> None:
    times: list[float] = []

    class Later(Shaky):
        async def maybe_fail(self, where: str) -> None:
            if where == "on_start":
                self.times.append(trio.current_time())
                if len(self.times) in (2, 3):
                    raise self.error

    async with open_system(supervisor(child(Later, "", CommunicationError("down"), times), recovery=LINEAR)) as system:
        await system.ref(Later).send(Later.in_bug, None)
        await system.wait()

    assert [later - earlier for earlier, later in pairwise(times[:4])] == [0.0, 7.0, 14.0]
