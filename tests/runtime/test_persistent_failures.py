"""An actor that fails again and again, though each failure by itself would be retried, gets a fresh instance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actorkit import (
    DependencyError,
    ErrorCategory,
    LinearBackoffRetry,
    RecoveryAction,
    RecoveryPolicy,
    RetryPolicy,
    SpecError,
    SpecTypeError,
    TransientError,
    ValidationError,
    open_system,
)
from actorkit.events import HandlerFailed
from tests.labor import Book, Job, do, slip, tree

HOPELESS = (slip,) * 30


def policy(delay: float = 1.0, persistent: tuple[int, float] = (10, 60.0)) -> RecoveryPolicy:
    """TRANSIENT failures are retried three times, after 1, 2 and 3 times `delay`."""
    retry = RetryPolicy({ErrorCategory.TRANSIENT: LinearBackoffRetry(max_retries=3, delay=delay)})
    return RecoveryPolicy(retry=retry, persistent=persistent)


async def test_ten_failures_in_a_minute_restart_the_actor_and_the_message_is_tried_again() -> None:
    book = Book()

    async with open_system(tree(book, policy())) as system:
        failed = system.events(HandlerFailed)
        await do(system, Job("a", HOPELESS), Job("b", HOPELESS), Job("c", (slip,) * 2), Job("d"))

        assert book.lives_of("a") == [1] * 4
        assert book.lives_of("b") == [1] * 4
        assert book.lives_of("c") == [1, 1, 2]
        assert book.lives_of("d") == [2]
        assert system.ledger().dead_lettered == 2
        assert system.supervisor("root/top").which_children()[0].restarts == 1
        system.ledger().check()
    actions = [each.action async for each in failed]
    assert actions.count(RecoveryAction.RESTART_COMPONENT) == 1
    assert actions[9] is RecoveryAction.RESTART_COMPONENT


async def test_failures_whose_message_was_then_handled_do_not_count() -> None:
    book = Book()

    async with open_system(tree(book, policy(delay=0.1))) as system:
        await do(system, *(Job(f"job {number}", (slip,)) for number in range(40)))

        assert len(book.tries) == 80
        assert book.lives == 1
        assert system.ledger().processed == 40


async def test_failures_of_a_message_that_is_handled_in_the_end_are_forgiven_as_a_whole() -> None:
    book = Book()

    async with open_system(tree(book, policy(delay=0.1))) as system:
        await do(system, Job("a", HOPELESS), Job("b", (slip,) * 3), Job("c", HOPELESS), Job("d", (slip,)))

        assert [len(book.lives_of(name)) for name in "abcd"] == [4, 4, 4, 2]  # 4 + 4 + 1 that count
        assert book.lives == 1


async def test_a_few_failures_among_much_that_is_handled_do_not_count() -> None:
    book = Book()
    jobs = [Job(f"good {number}") for number in range(60)]
    for place in (0, 20, 40):
        jobs.insert(place, Job(f"bad {place}", HOPELESS))

    async with open_system(tree(book, policy(delay=0.1))) as system:
        await do(system, *jobs)

        assert len(book.tries) == 60 + 3 * 4
        assert book.lives == 1


async def test_failures_count_when_they_are_half_of_what_was_delivered() -> None:
    book = Book()
    jobs = [job for number in range(4) for job in (Job(f"bad {number}", HOPELESS), *(Job(f"good {number}.{n}") for n in range(4)))]

    async with open_system(tree(book, policy(delay=0.1))) as system:
        await do(system, *jobs)

        assert book.lives_of("bad 1") == [1] * 4
        assert book.lives_of("bad 2") == [1, 1, 2, 2]  # its second failure is the tenth, of 18 deliveries
        assert book.lives_of("bad 3") == [2] * 4


async def test_failures_more_than_a_minute_ago_do_not_count() -> None:
    book = Book()

    async with open_system(tree(book, policy(delay=0.1))) as system:
        for name in "abcdef":
            await do(system, Job(name, HOPELESS))
            await trio.sleep(30)

        assert len(book.tries) == 24
        assert book.lives == 1


async def test_a_restart_clears_the_count() -> None:
    book = Book()

    async with open_system(tree(book, policy(delay=0.1))) as system:
        await do(system, *(Job(name, HOPELESS) for name in "abcdef"))

        # At the last failure of "e" that makes ten again, but that is given up: the next message brings the restart.
        assert [book.lives_of(name) for name in "abcdef"] == [[1] * 4, [1] * 4, [1, 1, 2, 2], [2] * 4, [2] * 4, [2, 3, 3, 3]]


@pytest.mark.parametrize("error", [lambda: ValidationError("bad"), lambda: ValueError("bad")])
async def test_bad_data_restarts_nothing_however_much_of_it_there_is(error: Callable[[], Exception]) -> None:
    book = Book()

    async with open_system(tree(book)) as system:
        await do(system, *(Job(f"job {number}", (error,)) for number in range(50)))

        assert book.lives == 1
        assert system.ledger().dead_lettered_by == {"validation": 50}


async def test_how_many_failures_in_what_time_is_a_setting() -> None:
    book = Book()

    async with open_system(tree(book, policy(delay=1.0, persistent=(2, 5.0)))) as system:
        await do(system, Job("a", (slip, slip)))
        await trio.sleep(10)
        await do(system, Job("b", (lambda: TransientError("busy", retry_after=6),) * 2))

        assert book.lives_of("a") == [1, 1, 2]
        assert book.lives_of("b") == [2, 2, 2]  # six seconds apart


async def test_failures_of_all_categories_that_time_may_cure_count_together() -> None:
    book = Book()
    kinds: tuple[type[Exception], ...] = (TransientError, TimeoutError, ConnectionError, DependencyError)

    async with open_system(tree(book, RecoveryPolicy(persistent=(4, 1000.0))), seed=1) as system:
        await do(system, Job("a", kinds))

        assert book.lives_of("a") == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("persistent", "kind", "complaint"),
    [
        (10, SpecTypeError, "persistent = 10: expected a number of errors and seconds"),
        ((10,), SpecTypeError, "persistent = .10,."),
        ((0, 60.0), SpecError, "persistent = 0"),
        ((10, 0.0), SpecError, "persistent = 0.0"),
        ((10, -1.0), SpecError, "persistent = -1.0"),
        ((1.5, 60.0), SpecTypeError, "persistent = 1.5"),
        ((10, "a minute"), SpecTypeError, "persistent = 'a minute'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(persistent: tuple[int, float], kind: type[Exception], complaint: str) -> None:
    with pytest.raises(kind, match=f"RecoveryPolicy: {complaint}"):
        RecoveryPolicy(persistent=persistent)
