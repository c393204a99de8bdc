"""What is done about a message whose handling fails: retries, restarts, quarantine, passing over, escalation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actorkit import (
    AskFailed,
    CommunicationError,
    DeadLetterReason,
    DependencyError,
    ErrorCategory,
    ErrorSeverity,
    ExponentialBackoffRetry,
    PermanentError,
    PoisonMessageError,
    RecoveryPolicy,
    ResourceError,
    RetryPolicy,
    SupervisionError,
    TransientError,
    ValidationError,
    child,
    open_system,
    supervisor,
)
from actorkit.events import ChildExited, MessageSkipped
from tests.labor import Book, Job, Laborer, bug, do, slip, tree

NO_JITTER = RecoveryPolicy(
    retry=RetryPolicy({ErrorCategory.TRANSIENT: ExponentialBackoffRetry(max_retries=3, base_delay=1.0, max_delay=60.0, jitter="none")})
)


async def test_a_retry_keeps_the_instance_and_the_order() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (slip, slip)), Job("b"), Job("c"))

        assert book.names() == ["a", "a", "a", "b", "c"]
        assert {life for _, _, life in book.tries} == {1}
        assert system.ledger().processed == 3


async def test_messages_at_another_port_wait_behind_a_retry() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        laborer = system.ref(Laborer)
        await laborer.send(Laborer.in_job, Job("a", (slip,)))
        await laborer.send(Laborer.in_other, Job("b"))
        await system.wait()

    assert book.names() == ["a", "a", "b"]


async def test_waits_between_retries_double() -> None:
    book = Book()

    async with open_system(tree(book, NO_JITTER)) as system:
        await do(system, Job("a", (slip, slip, slip)))

    assert book.waits() == [1.0, 2.0, 4.0]


async def test_a_message_whose_retries_are_exhausted_becomes_a_dead_letter() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (slip,) * 9), Job("b"))
        (letter,) = await system.dead_letters.inspect()

    assert book.names() == ["a"] * 4 + ["b"]
    assert letter.reason is DeadLetterReason.RETRIES_EXHAUSTED
    assert letter.attempts == 4
    assert letter.error is not None
    assert isinstance(letter.error.exception, TransientError)


@pytest.mark.parametrize(
    ("error", "tries"),
    [(TransientError, 4), (CommunicationError, 6), (DependencyError, 6), (ResourceError, 6), (TimeoutError, 3), (ConnectionError, 6)],
)
async def test_each_category_has_its_schedule(error: type[Exception], tries: int) -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (error,) * 20))

        assert system.ledger().dead_lettered_by == {DeadLetterReason.RETRIES_EXHAUSTED: 1}
    assert len(book.tries) == tries
    assert book.lives == 1


async def test_however_failures_mix_a_message_is_tried_ten_times_at_most() -> None:
    book = Book()
    kinds: tuple[type[Exception], ...] = (TransientError, TimeoutError, CommunicationError, DependencyError)

    async with open_system(tree(book)) as system:
        await do(system, Job("a", kinds * 10))

    assert len(book.tries) == 10


async def test_retry_after_is_the_least_wait() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (lambda: TransientError("busy", retry_after=30),)))

    assert book.waits() == [30.0]


async def test_an_ask_waits_for_the_retry() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        assert await system.ref(Laborer).ask(Laborer.in_job, Job("a", (slip, slip)), timeout=60) == "a done"


async def test_an_ask_fails_as_soon_as_its_message_is_given_up() -> None:
    async with open_system(tree(Book())) as system:
        with pytest.raises(AskFailed, match=r"root/top/laborer\.in_job") as caught:
            await system.ref(Laborer).ask(Laborer.in_job, Job("a", (ValidationError,)))

    assert caught.value.error is not None
    assert caught.value.error.category is ErrorCategory.VALIDATION


async def test_a_message_waiting_for_its_retry_is_in_flight() -> None:
    async with open_system(tree(Book())) as system:
        await system.ref(Laborer).send(Laborer.in_job, Job("a", (lambda: TransientError("busy", retry_after=30),)))
        await trio.sleep(10)

        assert (system.ledger().queued, system.ledger().in_flight) == (0, 1)


async def test_an_unclassified_exception_gets_a_fresh_instance_and_the_message_comes_first() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (bug,)), Job("b"))

        assert book.names() == ["a", "a", "b"]
        assert [life for _, _, life in book.tries] == [1, 2, 2]
        assert system.ledger().processed == 2


async def test_a_message_that_crashes_its_actor_three_times_is_poison_and_costs_one_restart() -> None:
    book = Book()

    async with open_system(supervisor(child(Laborer, book), name="top", max_restarts=1)) as system:
        await do(system, Job("a", (bug,) * 9), Job("b"))
        (letter,) = await system.dead_letters.inspect()

        assert book.lives_of("a") == [1, 2, 3]
        assert book.lives_of("b") == [4]
        assert (letter.reason, letter.attempts) == (DeadLetterReason.POISON, 3)
        system.ledger().check()


async def test_a_kind_of_failure_that_was_poison_is_quarantined_at_once_from_then_on() -> None:
    book = Book()

    async with open_system(supervisor(child(Laborer, book), name="top", max_restarts=1)) as system:
        await do(system, Job("a", (bug,) * 9), Job("b", (bug,) * 9), Job("c", (bug,) * 9), Job("d"))

        assert [len(book.lives_of(name)) for name in "abcd"] == [3, 1, 1, 1]
        assert len(set(book.lives_of("b") + book.lives_of("c") + book.lives_of("d"))) == 3
        assert system.ledger().dead_lettered_by == {DeadLetterReason.POISON: 3}


async def test_restarts_for_different_messages_are_counted_each() -> None:
    def other() -> Exception:
        return IndexError("another bug")

    with pytest.raises(SupervisionError):
        async with open_system(supervisor(child(Laborer, Book()), name="top", max_restarts=1)) as system:
            await do(system, Job("a", (bug,)), Job("b", (other,)))
            await trio.sleep_forever()

    system.ledger().check()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (lambda: ValidationError("bad"), DeadLetterReason.VALIDATION),
        (lambda: ValueError("bad"), DeadLetterReason.VALIDATION),
        (lambda: PermanentError("never"), DeadLetterReason.PERMANENT),
        (lambda: PoisonMessageError("harmful"), DeadLetterReason.POISON),
    ],
)
async def test_what_no_retry_can_help_is_quarantined_at_once(error: Callable[[], Exception], reason: DeadLetterReason) -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (error,) * 9), Job("b"))

        assert book.names() == ["a", "b"]
        assert system.ledger().dead_lettered_by == {reason: 1}


async def test_a_failure_of_low_severity_is_passed_over() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        skipped = system.events(MessageSkipped)
        await do(system, Job("a", (lambda: TransientError("never mind", severity=ErrorSeverity.LOW),)), Job("b"))

        assert book.names() == ["a", "b"]
        assert system.ledger().skipped_by == {"log_continue": 1}
    assert [each.path async for each in skipped] == ["root/top/laborer.in_job"]


async def test_a_critical_failure_makes_the_supervisor_fail_without_a_restart_of_the_child() -> None:
    book = Book()
    critical = Job("a", (lambda: PermanentError("fire", severity=ErrorSeverity.CRITICAL),))

    async with open_system(supervisor(supervisor(child(Laborer, book), name="inner"), name="top")) as system:
        exits = system.events(ChildExited)
        await do(system, critical)

        assert book.names() == ["a", "a"]
        assert system.ledger().processed == 1
    assert [(each.path, each.restarting) async for each in exits] == [("root/top/inner/laborer", False), ("root/top/inner", True)]


async def test_a_critical_failure_at_the_top_ends_the_run_and_the_message_is_a_dead_letter() -> None:
    with pytest.raises(SupervisionError) as caught:
        async with open_system(tree(Book())) as system:
            await do(system, Job("a", (lambda: PermanentError("fire", severity=ErrorSeverity.CRITICAL),)))
            await trio.sleep_forever()

    (letter,) = await system.dead_letters.inspect()
    assert isinstance(caught.value.__cause__, PermanentError)
    assert (letter.message.name, letter.reason) == ("a", DeadLetterReason.SHUTDOWN)


async def test_a_group_is_as_bad_as_its_worst_member() -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, Job("a", (lambda: ExceptionGroup("both", [TransientError(), ValidationError("bad")]),)))

        assert book.names() == ["a"]
        assert system.ledger().dead_lettered_by == {DeadLetterReason.VALIDATION: 1}
