"""Handlers that are async generators: rows come in order, a few ahead at most, and whoever ends the stream ends all of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    DeadlockError,
    MessageTypeError,
    PortDefinitionError,
    RecoveryAction,
    RecoveryPolicy,
    ReplyStream,
    Rule,
    Shutdown,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)

FEW = 100
"""More than a generator may be ahead of its reader."""


@frozen
class Count:
    """Asks for the numbers below `to`, one every so many seconds; before number `fails_at` it fails."""

    to: int
    every: float = 0.0
    fails_at: int | None = None
    error: Callable[[], Exception] = ValidationError


class Counts(Actor):
    """Streams numbers, and writes down what it does."""

    def __init__(self, notes: list[object]) -> None:
        self.notes = notes

    @in_port
    async def in_count(self, count: Count) -> AsyncIterator[int]:
        self.notes.append("begin")
        try:
            for n in range(count.to):
                if count.every:
                    await trio.sleep(count.every)
                if n == count.fails_at:
                    raise count.error()
                self.notes.append(n)
                yield n
        except (trio.Cancelled, GeneratorExit) as error:
            self.notes.append(type(error).__name__)
            raise
        finally:
            self.notes.append("end")

    @in_port
    async def in_limited(self, seconds: float) -> AsyncIterator[int]:
        """Yields inside a scope of its own, for so long."""
        n = 0
        with trio.move_on_after(seconds):
            while True:
                yield n
                n += 1
        yield -1

    @in_port(timeout=3.0)
    async def in_hurried(self, count: Count) -> AsyncIterator[int]:
        for n in range(count.to):
            await trio.sleep(count.every)
            yield n

    @in_port
    def in_plain(self, x: int) -> int:
        return x


def produced(notes: list[object]) -> int:
    return sum(isinstance(note, int) for note in notes)


async def read(rows: AsyncIterator[int]) -> list[int]:
    return [row async for row in rows]


def counts(notes: list[object], **options: Any) -> Any:
    return supervisor(child(Counts, notes).options(name="counts", **options), name="s")


# ---- rows


@pytest.mark.parametrize("every", [0.0, 1.0])
async def test_rows_come_in_order_and_the_stream_ends_with_the_generator(every: float) -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        rows = await read(system.ref(Counts).stream(Counts.in_count, Count(FEW, every)))

        assert rows == list(range(FEW))
        assert notes == ["begin", *rows, "end"]
        assert system.ledger().processed == 1


async def test_an_address_of_one_port_streams_too() -> None:
    async with open_system(counts([])) as system:
        assert await read(system.ref(Counts).port(Counts.in_count).stream(Count(3))) == [0, 1, 2]


async def test_an_actor_reads_a_stream_while_it_handles_a_message() -> None:
    class Sums(Actor):
        @in_port
        async def in_sum(self, counts: ActorRef[Counts]) -> int:
            total = 0
            async for n in counts.stream(Counts.in_count, Count(FEW)):
                total += n
            return total

    async with open_system(supervisor(child(Counts, []), child(Sums))) as system:
        assert await system.ref(Sums).ask(Sums.in_sum, system.ref(Counts)) == sum(range(FEW))


async def test_an_empty_stream_has_no_rows() -> None:
    async with open_system(counts([])) as system:
        stream = system.ref(Counts).stream(Counts.in_count, Count(0))

        assert await read(stream) == []
        assert await read(stream) == []


async def test_the_generator_waits_for_its_reader() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        most = 0
        seen = 0
        async for _ in system.ref(Counts).stream(Counts.in_count, Count(FEW)):
            await wait_all_tasks_blocked()
            seen += 1
            most = max(most, produced(notes) - seen)

        assert seen == FEW
        assert 0 < most <= 16


async def test_a_stream_occupies_its_actor_and_others_wait_their_turn() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        ref = system.ref(Counts)
        first, second = ref.stream(Counts.in_count, Count(3, 1.0)), ref.stream(Counts.in_count, Count(2))

        assert await read(first) == [0, 1, 2]
        assert await read(second) == [0, 1]
        assert trio.current_time() == 3


async def test_many_read_one_after_the_other_and_the_books_balance() -> None:
    async with open_system(counts([])) as system, trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(read, system.ref(Counts).stream(Counts.in_count, Count(n)))
        await system.settle()

        assert system.ledger().processed == 20
        system.ledger().check()


# ---- the reader leaves


async def stops_early(how: str, system: System, count: Count) -> None:
    """Takes two rows and leaves."""
    ref = system.ref(Counts)
    if how == "break":
        async for row in ref.stream(Counts.in_count, count):
            if row == 1:
                break
    elif how == "raise":
        with pytest.raises(KeyError):
            async for row in ref.stream(Counts.in_count, count):
                if row == 1:
                    raise KeyError
    elif how == "aclose":
        stream = ref.stream(Counts.in_count, count)
        await anext(stream)
        await anext(stream)
        await stream.aclose()
    elif how == "block":
        async with ref.stream(Counts.in_count, count) as stream:
            await anext(stream)
            await anext(stream)
    else:
        stream = ref.stream(Counts.in_count, count)
        with trio.CancelScope() as scope:
            async for row in stream:
                if row == 1:
                    scope.cancel()


@pytest.mark.parametrize("how", ["break", "aclose", "block", "cancel", "raise"])
@pytest.mark.parametrize("every", [0.0, 4.0])
async def test_a_reader_that_leaves_early_ends_the_generator_at_once(how: str, every: float) -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        await stops_early(how, system, Count(1000, every))
        left_at = trio.current_time()
        await system.settle()

        assert trio.current_time() == left_at
        assert notes[-2:] == ["Cancelled" if every else "GeneratorExit", "end"]
        assert notes.count("begin") == 1
        assert await system.ref(Counts).ask(Counts.in_plain, 3) == 3
        system.ledger().check()


async def test_a_stream_that_nobody_keeps_is_skipped_and_harms_nobody() -> None:
    async with open_system(counts([])) as system:
        system.ref(Counts).stream(Counts.in_count, Count(1000))

        assert await read(system.ref(Counts).stream(Counts.in_count, Count(2))) == [0, 1]
        assert system.ledger().dead_lettered == 0
        system.ledger().check()


async def test_a_stream_that_nobody_reads_any_more_before_its_turn_is_skipped() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        ref = system.ref(Counts)
        first = ref.stream(Counts.in_count, Count(2, 1.0))
        second = ref.stream(Counts.in_count, Count(2))
        await second.aclose()

        assert await read(first) == [0, 1]
        await system.settle()
        assert system.ledger().skipped_by == {"asker_gone": 1}
        assert await read(second) == []


async def test_a_reader_that_is_killed_ends_the_generator() -> None:
    class Reads(Actor):
        @in_port
        async def in_read(self, counts: ActorRef[Counts]) -> None:
            async for _ in counts.stream(Counts.in_count, Count(1000, 10.0), timeout=None):
                pass

    notes: list[object] = []
    tree = supervisor(child(Counts, notes), child(Reads).options(shutdown=Shutdown.KILL), name="s")
    async with open_system(tree) as system:
        await system.ref(Reads).send(Reads.in_read, system.ref(Counts))
        await trio.sleep(35)
        await system.supervisor("root/s").stop_child("reads")
        await system.settle()

        assert notes == ["begin", 0, 1, 2, "Cancelled", "end"]
        assert trio.current_time() == 35
        system.ledger().check()


async def test_async_cleanup_of_a_generator_that_waits_for_its_reader_runs_to_its_end() -> None:
    notes: list[str] = []

    class Careful(Actor):
        @in_port
        async def in_x(self, x: int) -> AsyncGenerator[int]:
            try:
                while True:
                    yield x
            finally:
                await trio.sleep(1)
                notes.append("clean")

    async with open_system(supervisor(child(Careful))) as system:
        async for _ in system.ref(Careful).stream(Careful.in_x, 1):
            break
        await system.settle()

        assert notes == ["clean"]


async def test_one_stream_has_one_reader() -> None:
    async with open_system(counts([])) as system, trio.open_nursery() as nursery:
        stream = system.ref(Counts).stream(Counts.in_count, Count(2, 1.0))
        nursery.start_soon(read, stream)
        await wait_all_tasks_blocked()

        with pytest.raises(trio.BusyResourceError, match=r"root/s/counts\.in_count"):
            await anext(stream)


# ---- failures, and times


async def rows_and_error(stream: ReplyStream[int]) -> tuple[list[int], AskFailed]:
    rows = []
    with pytest.raises(AskFailed) as caught:
        async for row in stream:
            rows.append(row)
    return rows, caught.value


async def test_a_failure_in_the_middle_comes_after_the_rows_before_it() -> None:
    async with open_system(counts([])) as system:
        rows, error = await rows_and_error(system.ref(Counts).stream(Counts.in_count, Count(50, fails_at=20)))
        await system.settle()

        assert rows == list(range(20))
        assert str(error) == "root/s/counts.in_count failed in the middle of this stream: ValidationError"
        assert error.error is not None
        assert isinstance(error.error.exception, ValidationError)
        assert system.ledger().dead_lettered_by == {"validation": 1}
        system.ledger().check()


@pytest.mark.parametrize("error", [TransientError, RuntimeError])
async def test_a_stream_that_has_begun_is_not_tried_again(error: type[Exception]) -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        rows, failed = await rows_and_error(system.ref(Counts).stream(Counts.in_count, Count(5, fails_at=2, error=error)))
        await system.settle()

        assert rows == [0, 1]
        assert failed.error is not None
        assert isinstance(failed.error.exception, error)
        assert notes == ["begin", 0, 1, "end"]
        assert system.ledger().skipped_by == {"asker_gone": 1}
        (info,) = system.supervisor("root/s").which_children()
        assert info.restarts == (1 if error is RuntimeError else 0)
        assert await read(system.ref(Counts).stream(Counts.in_count, Count(2))) == [0, 1]


@pytest.mark.parametrize("error", [TransientError, RuntimeError])
async def test_a_failure_before_the_first_row_is_tried_again_and_the_reader_knows_nothing_of_it(error: type[Exception]) -> None:
    tries: list[int] = []

    class Slow(Actor):
        @in_port
        async def in_x(self, x: int) -> AsyncIterator[int]:
            tries.append(x)
            if len(tries) < 3:
                raise error
            yield x

    async with open_system(supervisor(child(Slow))) as system:
        assert await read(system.ref(Slow).stream(Slow.in_x, 7, timeout=None)) == [7]
        assert tries == [7, 7, 7]
        system.ledger().check()


async def test_a_failure_that_is_passed_over_ends_the_stream_all_the_same() -> None:
    policy = RecoveryPolicy(rules=[Rule(RecoveryAction.LOG_AND_CONTINUE, exception=ValidationError)])
    async with open_system(counts([], recovery=policy)) as system:
        rows, _ = await rows_and_error(system.ref(Counts).stream(Counts.in_count, Count(5, fails_at=2)))

        assert rows == [0, 1]
        assert system.ledger().skipped == 1


async def test_a_row_that_does_not_come_in_time_ends_the_stream() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        with pytest.raises(trio.TooSlowError, match=r"root/s/counts\.in_count"):
            await read(system.ref(Counts).stream(Counts.in_count, Count(3, 10.0)))
        await system.settle()

        assert trio.current_time() == 5
        assert notes == ["begin", "Cancelled", "end"]


async def test_the_timeout_is_for_each_row() -> None:
    async with open_system(counts([])) as system:
        assert await read(system.ref(Counts).stream(Counts.in_count, Count(5, 10.0), timeout=11)) == [0, 1, 2, 3, 4]


async def test_a_stream_ends_with_the_deadline_of_the_ask_that_it_is_read_for() -> None:
    ended: list[float] = []

    class Reads(Actor):
        @in_port
        async def in_read(self, counts: ActorRef[Counts]) -> None:
            try:
                await read(counts.stream(Counts.in_count, Count(1000, 1.0), timeout=None))
            finally:
                ended.append(trio.current_time())

    async with open_system(supervisor(child(Counts, []), child(Reads))) as system:
        with pytest.raises(trio.TooSlowError):
            await system.ref(Reads).ask(Reads.in_read, system.ref(Counts), timeout=3.5)
        await wait_all_tasks_blocked()

        assert ended == [3.5]


async def test_the_timeout_of_the_port_bounds_the_whole_stream() -> None:
    async with open_system(counts([])) as system:
        rows, error = await rows_and_error(system.ref(Counts).stream(Counts.in_hurried, Count(10, 1.3)))

        assert rows == [0, 1]
        assert error.error is not None
        assert error.error.category.value == "timeout"


async def test_a_scope_inside_the_generator_ends_as_always_although_it_waits_for_its_reader() -> None:
    async with open_system(counts([])) as system:
        rows = []
        async for n in system.ref(Counts).stream(Counts.in_limited, 5.0):
            await trio.sleep(1)
            rows.append(n)

        assert rows[-1] == -1
        assert rows[:-1] == list(range(len(rows) - 1))
        assert trio.current_time() < 40


# ---- stop and restart


async def test_a_producer_that_is_stopped_in_the_middle_fails_its_reader() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system, trio.open_nursery() as nursery:

        async def stop() -> None:
            await trio.sleep(2.5)
            await system.supervisor("root/s").stop_child("counts")

        nursery.start_soon(stop)
        rows, error = await rows_and_error(system.ref(Counts).stream(Counts.in_count, Count(1000, 1.0)))

        assert rows == [0, 1, 2, 3, 4, 5, 6]  # it had its shutdown time to end
        assert str(error) == "root/s/counts.in_count was stopped in the middle of this stream"
        assert notes[-2:] == ["Cancelled", "end"]
        await system.supervisor("root/s").restart_child("counts")
        await system.settle()
        assert notes.count("begin") == 1
        system.ledger().check()


async def test_a_stream_to_an_actor_that_was_stopped_fails_at_once() -> None:
    async with open_system(counts([])) as system:
        await system.supervisor("root/s").stop_child("counts")

        with pytest.raises(AskFailed):
            await read(system.ref(Counts).stream(Counts.in_count, Count(3)))


async def test_leaving_the_block_ends_a_stream_that_is_not_read() -> None:
    notes: list[object] = []
    async with open_system(counts(notes, shutdown=1.0)) as system:
        stream = system.ref(Counts).stream(Counts.in_count, Count(1000))
        await anext(stream)

    assert notes[-2:] == ["Cancelled", "end"]
    assert await read_what_is_left(stream) < FEW
    system.ledger().check()


async def read_what_is_left(stream: ReplyStream[int]) -> int:
    rows, _ = await rows_and_error(stream)
    return len(rows)


# ---- deadlocks


async def test_a_reader_that_asks_the_actor_that_streams_to_it_is_told() -> None:
    async with open_system(counts([])) as system:
        ref = system.ref(Counts)
        stream = ref.stream(Counts.in_count, Count(1000))
        with pytest.raises(DeadlockError, match=r"asks root/s/counts\.in_plain → root/s/counts waits until its rows"):
            async for _ in stream:
                await wait_all_tasks_blocked()
                await ref.ask(Counts.in_plain, 3)

        await stream.aclose()
        assert await ref.ask(Counts.in_plain, 3) == 3


async def test_a_generator_whose_reader_waits_for_its_actor_is_told() -> None:
    async with open_system(counts([])) as system:
        ref = system.ref(Counts)
        stream = ref.stream(Counts.in_count, Count(1000, 0.1))
        await anext(stream)

        assert await ref.ask(Counts.in_plain, 3) == 3  # the stream was given up for it
        _, error = await rows_and_error(stream)
        assert error.error is not None
        assert isinstance(error.error.exception, DeadlockError)
        assert system.ledger().dead_lettered_by == {"permanent": 1}


async def test_actors_that_stream_from_each_other_are_told() -> None:
    class Mirror(Actor):
        @in_port
        async def in_rows(self, other: str) -> AsyncIterator[str]:
            async for row in self.system.ref(f"root/s/{other}", Mirror).stream(Mirror.in_rows, self.name, timeout=None):
                yield row

    tree = supervisor(child(Mirror).options(name="a"), child(Mirror).options(name="b"), name="s")
    async with open_system(tree) as system:
        with pytest.raises(
            AskFailed, match=r"root/s/b waits for rows from root/s/a\.in_rows → root/s/a waits for rows from root/s/b\.in_rows"
        ):
            async for _ in system.ref("root/s/a", Mirror).stream(Mirror.in_rows, "b", timeout=None):
                pass

        system.ledger().check()


# ---- other uses, and mistakes


async def test_what_is_just_sent_to_a_port_that_streams_runs_to_its_end_and_nobody_gets_the_rows() -> None:
    notes: list[object] = []
    async with open_system(counts(notes)) as system:
        await system.ref(Counts).send(Counts.in_count, Count(FEW))
        await system.settle()

        assert produced(notes) == FEW
        assert system.ledger().processed == 1


async def test_asking_for_a_stream_and_streaming_an_answer_are_refused_with_the_way_out() -> None:
    async with open_system(counts([])) as system:
        ref: Any = system.ref(Counts)

        with pytest.raises(MessageTypeError, match=r"root/s/counts\.in_count streams its answer.*ref\.stream"):
            await ref.ask(Counts.in_count, Count(3))
        with pytest.raises(MessageTypeError, match=r"root/s/counts\.in_plain does not stream its answer: ask\(\) for it"):
            ref.stream(Counts.in_plain, 3)
        with pytest.raises(MessageTypeError, match=r"root/s/counts\.in_count takes Count, not int"):
            ref.stream(Counts.in_count, 3)
        with pytest.raises(ValueError, match="timeout"):
            ref.stream(Counts.in_count, Count(3), timeout=-1)

        assert system.ledger().accepted == 0


def test_a_plain_generator_and_one_in_a_thread_are_refused() -> None:
    with pytest.raises(PortDefinitionError, match="async def"):

        class Plain(Actor):
            @in_port
            def in_x(self, x: int) -> Any:
                yield x

    with pytest.raises(PortDefinitionError, match="thread=True"):

        class Threaded(Actor):
            @in_port(thread=True)
            async def in_x(self, x: int) -> AsyncIterator[int]:
                yield x


async def test_a_dead_letter_of_a_stream_that_is_sent_again_is_just_handled() -> None:
    notes: list[object] = []
    failing = Count(2, fails_at=1)
    async with open_system(counts(notes)) as system:
        await rows_and_error(system.ref(Counts).stream(Counts.in_count, failing))
        await system.settle()
        await system.dead_letters.reprocess()
        await system.settle()

        assert notes == ["begin", 0, "end"] * 2
        assert len(system.dead_letters) == 1
        system.ledger().check()
