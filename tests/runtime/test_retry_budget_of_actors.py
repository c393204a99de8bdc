"""An actor's retries are a small part of what it does: more of them are put off, and none is given up for it."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from actorkit import (
    Actor,
    CircuitBreaker,
    DependencyError,
    ErrorCategory,
    ExponentialBackoffRetry,
    LinearBackoffRetry,
    RecoveryPolicy,
    RetryPolicy,
    TransientError,
    child,
    in_port,
    open_system,
)
from tests.labor import Book, Job, Laborer, bug, do, slip, tree

QUICK = RecoveryPolicy(persistent=(1000, 60.0), retry=RetryPolicy({ErrorCategory.TRANSIENT: LinearBackoffRetry(max_retries=3, delay=0.01)}))


def retries(book: Book) -> list[float]:
    """When a job was tried again."""
    seen: Counter[str] = Counter()
    times: list[float] = []
    for time, name, _ in book.tries:
        seen[name] += 1
        if seen[name] > 1:
            times.append(time)
    return times


def most_within(times: list[float], seconds: float) -> int:
    """The most that happened within so many seconds."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def test_more_than_ten_retries_in_ten_seconds_are_put_off_and_none_is_given_up() -> None:
    book = Book()

    async with open_system(tree(book, QUICK)) as system:
        await do(system, *(Job(f"job {number}", (slip,)) for number in range(35)))

        assert system.ledger().processed == 35
        assert system.ledger().dead_lettered == 0
        system.ledger().check()
    times = retries(book)
    assert len(times) == 35
    assert most_within(times, 10.0) == 10
    assert times[9] - times[0] < 1
    assert times[10] - times[0] == pytest.approx(10, abs=0.1)


async def test_a_busy_actor_may_retry_a_fifth_of_what_it_is_given() -> None:
    book = Book()

    async with open_system(tree(book, QUICK)) as system:
        await do(system, *(Job(f"good {number}") for number in range(100)))
        await do(system, *(Job(f"bad {number}", (slip,)) for number in range(60)))

        assert system.ledger().processed == 160
    times = retries(book)
    assert len(times) == 60
    assert 20 < most_within(times, 10.0) <= (100 + 60 + 60) / 5


async def test_what_an_actor_was_given_long_ago_does_not_count() -> None:
    book = Book()

    async with open_system(tree(book, QUICK)) as system:
        await do(system, *(Job(f"good {number}") for number in range(500)))
        await trio.sleep(3600)
        await do(system, *(Job(f"bad {number}", (slip,)) for number in range(30)))

    assert most_within(retries(book), 10.0) <= 10


async def test_hopeless_messages_have_all_their_tries_however_late() -> None:
    book = Book()

    async with open_system(tree(book, QUICK)) as system:
        await do(system, *(Job(f"job {number}", (slip,) * 9) for number in range(10)))

        assert system.ledger().dead_lettered_by == {"retries_exhausted": 10}
        assert {letter.attempts for letter in await system.dead_letters.inspect()} == {4}
    assert most_within(retries(book), 10.0) == 10


async def test_redeliveries_after_restarts_do_not_count() -> None:
    book = Book()
    errors = (bug, *(slip,) * 2)

    async with open_system(tree(book, QUICK).options(max_restarts=100, within=1.0)) as system:
        await do(system, *(Job(f"job {number}", errors) for number in range(5)))

        assert system.ledger().processed == 5
    assert len(book.tries) == 5 * 4
    assert book.tries[-1][0] - book.tries[0][0] < 1  # ten retries, and five redeliveries


async def test_tries_at_the_pace_of_a_breaker_do_not_count() -> None:
    book = Book()

    class Caller(Laborer):
        @in_port(breaker=CircuitBreaker(failure_threshold=1, recovery_timeout=0.01, half_open_requests=1))
        def in_call(self, job: Job) -> None:
            self.do(job)

    policy = RecoveryPolicy(retry=RetryPolicy({ErrorCategory.DEPENDENCY: LinearBackoffRetry(max_retries=3, delay=0.01)}))
    async with open_system(child(Caller, book).options(recovery=policy)) as system:
        for number in range(9):
            await system.ref(Caller).send(Caller.in_call, Job(f"job {number}", (DependencyError, DependencyError)))
        await system.settle()

        assert system.ledger().processed == 9
    assert len(retries(book)) == 18
    assert most_within(retries(book), 1.0) == 18


async def test_retries_inside_a_handler_and_around_it_do_not_multiply() -> None:
    calls: list[float] = []

    class Client(Actor):
        @in_port
        async def in_request(self, number: int) -> None:
            await ExponentialBackoffRetry(max_retries=3, base_delay=0.0, max_delay=0.0).execute(self.call)

        async def call(self) -> None:
            calls.append(trio.current_time())
            raise TransientError("down")

    async with open_system(child(Client).options(recovery=QUICK)) as system:
        for number in range(40):
            await system.ref(Client).send(Client.in_request, number)
        await system.settle()

        assert system.ledger().dead_lettered_by == {"retries_exhausted": 40}
    # In ten seconds ten retries of four calls each, and the first tries of what comes meanwhile: never sixteen calls a request.
    assert most_within(calls, 10.0) <= 4 * (10 + 10)
