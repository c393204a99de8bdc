"""Ports that get their messages in batches."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from actorkit import (
    Actor,
    AskFailed,
    DeadLetterReason,
    OutPort,
    OverflowStrategy,
    PortDefinitionError,
    RecoveryAction,
    StashError,
    TransientError,
    child,
    in_batch,
    in_port,
    open_system,
    run,
    supervisor,
)
from actorkit.events import HandlerFailed


class Writer(Actor):
    """Writes rows in batches; rows below zero are bad, rows above 900 fail now and then."""

    def __init__(self, batches: list[list[int]], hiccups: int = 0) -> None:
        self.batches = batches
        self.hiccups = hiccups

    @in_batch(size=4, wait=0.5, capacity=100)
    async def in_row(self, rows: list[int]) -> list[str]:
        if any(row < 0 for row in rows):
            raise ValueError(rows)
        if any(row > 900 for row in rows) and self.hiccups:
            self.hiccups -= 1
            raise TransientError("hiccup", retry_after=1)
        self.batches.append(rows)
        return [f"wrote {row}" for row in rows]

    @in_port
    def in_count(self, question: str) -> int:
        return sum(map(len, self.batches))


class Rows(Actor):
    out_row = OutPort(int)

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    async def run(self) -> None:
        for row in self.rows:
            await self.out_row.send(row)


async def test_a_batch_is_handled_when_it_is_full_or_has_waited() -> None:
    batches: list[list[int]] = []
    async with open_system(child(Writer, batches)) as system:
        ref = system.ref(Writer)
        for row in range(6):
            await ref.send(Writer.in_row, row)
        await trio.sleep(0.1)
        assert batches == [[0, 1, 2, 3]]
        assert (system.ledger().queued, system.ledger().processed) == (2, 4)

        await trio.sleep(0.5)

        assert batches == [[0, 1, 2, 3], [4, 5]]
        assert system.ledger().processed == 6
        system.ledger().check()


async def test_a_batch_waits_from_the_arrival_of_its_first_message() -> None:
    """Not from when the actor comes to it."""
    times: list[tuple[float, list[int]]] = []

    class Busy(Actor):
        @in_batch(size=10, wait=4)
        def in_row(self, rows: list[int]) -> None:
            times.append((trio.current_time(), rows))

        @in_port
        async def in_work(self, seconds: float) -> None:
            await trio.sleep(seconds)

    async with open_system(child(Busy)) as system:
        ref = system.ref(Busy)
        for seconds in (3, 8):  # the first leaves it a second to wait, the second none
            began = trio.current_time()
            await ref.send(Busy.in_work, seconds)
            await ref.send(Busy.in_row, 1)
            await trio.sleep(2)
            await ref.send(Busy.in_row, 2)
            await trio.sleep(8)
            times[-1] = (times[-1][0] - began, times[-1][1])

    assert times == [(4, [1, 2]), (8, [1, 2])]


async def test_a_message_at_another_port_ends_the_batch_so_that_order_holds() -> None:
    batches: list[list[int]] = []
    async with open_system(child(Writer, batches)) as system:
        ref = system.ref(Writer)
        await ref.send(Writer.in_row, 1)
        await ref.send(Writer.in_row, 2)

        assert await ref.ask(Writer.in_count, "?", timeout=0.1) == 2


async def test_the_end_of_a_stream_flushes_at_once() -> None:
    batches: list[list[int]] = []
    tree = supervisor(child(Rows, [1, 2, 3, 4, 5]), child(Writer, batches), wires=[Rows.out_row >> Writer.in_row])
    async with open_system(tree) as system:
        await trio.sleep(0.01)

        assert batches == [[1, 2, 3, 4], [5]]
        await system.wait()


async def test_leaving_the_system_waits_for_no_batch_to_fill() -> None:
    batches: list[list[int]] = []

    class Patient(Actor):
        @in_batch(size=10, wait=3600)
        def in_row(self, rows: list[int]) -> None:
            batches.append(rows)

    began = trio.current_time()
    async with open_system(child(Patient)) as system:
        for row in (1, 2):
            await system.ref(Patient).send(Patient.in_row, row)
        await trio.testing.wait_all_tasks_blocked()

    assert (batches, trio.current_time() - began) == ([[1, 2]], 0)
    assert system.ledger().processed == 2


async def test_a_batch_answers_each_who_asked() -> None:
    answers: list[str] = []
    async with open_system(child(Writer, [])) as system, trio.open_nursery() as nursery:

        async def ask(row: int) -> None:
            answers.append(await system.ref(Writer).ask(Writer.in_row, row))

        for row in range(3):
            nursery.start_soon(ask, row)

    assert sorted(answers) == ["wrote 0", "wrote 1", "wrote 2"]


async def test_a_failing_batch_is_split_until_the_bad_message_is_alone() -> None:
    batches: list[list[int]] = []
    async with open_system(child(Writer, batches)) as system:
        for row in (1, 2, -3, 4, 5, 6, 7, 8):
            await system.ref(Writer).send(Writer.in_row, row)
        await system.settle()

        assert [row for batch in batches for row in batch] == [1, 2, 4, 5, 6, 7, 8]
        (letter,) = await system.dead_letters.inspect()
        assert (letter.message, letter.reason, letter.attempts) == (-3, DeadLetterReason.VALIDATION, 1)
        system.ledger().check()


async def test_only_the_one_that_fails_is_retried() -> None:
    batches: list[list[int]] = []
    async with open_system(child(Writer, batches, hiccups=3), seed=1) as system:
        for row in (1, 901, 3, 4):
            await system.ref(Writer).send(Writer.in_row, row)
        await system.settle()

        assert batches == [[1], [901], [3, 4]]
        assert system.kernel.retries == 1
        system.ledger().check()


async def test_all_of_a_batch_that_is_split_is_in_flight_until_it_is_decided() -> None:
    """Also what waits behind the message that is tried again."""
    batches: list[list[int]] = []
    async with open_system(child(Writer, batches, hiccups=3), seed=1) as system:
        events = system.events(HandlerFailed)
        for row in (901, 2, 3, 4, 5):
            await system.ref(Writer).send(Writer.in_row, row)
        failed = await anext(events)

        assert failed.action is RecoveryAction.RETRY
        assert failed.error.message_id == "root/supervisor/writer.in_row#1"
        assert (system.ledger().in_flight, system.ledger().queued) == (4, 1)
        system.ledger().check()

        await system.settle()
        assert batches == [[901], [2], [3, 4], [5]]
        system.ledger().check()


async def test_what_is_left_of_a_split_batch_waits_in_order_when_its_actor_is_stopped_or_its_port_paused() -> None:
    batches: list[list[int]] = []

    class Pausing(Writer):
        async def run(self) -> None:
            await trio.sleep(0.01)
            self.pause(Pausing.in_row)
            await trio.sleep(100)
            self.resume(Pausing.in_row)

    for pauses in (False, True):
        batches.clear()
        spec = child(Pausing if pauses else Writer, batches, hiccups=3).options(name="writer")
        async with open_system(supervisor(spec, name="top"), seed=1) as system:
            ref = system.ref("root/top/writer", Writer)
            for row in (901, 2, 3, 4):
                await ref.send(Writer.in_row, row)
            await trio.sleep(0.02)
            assert system.ledger().in_flight == 4
            if pauses:
                await trio.sleep(2)
            else:
                await system.supervisor("root/top").stop_child("writer")

            assert (system.ledger().in_flight, system.ledger().queued, batches) == (0, 4, [])
            system.ledger().check()

            if pauses:
                await trio.sleep(200)
            else:
                await system.supervisor("root/top").restart_child("writer")
            await system.settle()
            assert batches == [[901], [2], [3, 4]][not pauses :]  # the new instance fails on 901 until that is given up
            system.ledger().check()


async def test_a_request_whose_message_is_bad_fails_alone() -> None:
    outcomes: dict[int, str] = {}
    async with open_system(child(Writer, [])) as system, trio.open_nursery() as nursery:

        async def ask(row: int) -> None:
            try:
                outcomes[row] = await system.ref(Writer).ask(Writer.in_row, row)
            except AskFailed as error:
                outcomes[row] = str(error.error and error.error.category.value)

        for row in (1, -2, 3):
            nursery.start_soon(ask, row)

    assert outcomes == {1: "wrote 1", -2: "validation", 3: "wrote 3"}


async def test_a_batch_in_hand_is_redelivered_as_it_was_when_its_actor_is_stopped_and_started() -> None:
    seen: list[list[int]] = []

    class Slow(Actor):
        @in_batch(size=3, wait=0.1)
        async def in_row(self, rows: list[int]) -> None:
            seen.append(rows)
            await trio.sleep(10)

    async with open_system(supervisor(child(Slow).options(shutdown=1), name="tree")) as system:
        above = system.supervisor("root/tree")
        for row in range(5):
            await system.ref(Slow).send(Slow.in_row, row)
        await trio.sleep(1)
        assert system.ledger().in_flight == 3

        await above.stop_child("slow")

        system.ledger().check()
        assert (system.ledger().queued, system.ledger().in_flight) == (5, 0)
        await above.restart_child("slow")
        await system.settle()
        assert seen == [[0, 1, 2], [0, 1, 2], [3, 4]]
        system.ledger().check()


async def test_a_crash_of_one_message_restarts_the_actor_and_the_others_are_handled() -> None:
    seen: list[int] = []

    class Crashing(Actor):
        @in_batch(size=10, wait=0.1)
        async def in_row(self, rows: list[int]) -> None:
            if 5 in rows:
                raise KeyError(5)
            seen.extend(rows)

    async with open_system(child(Crashing)) as system:
        for row in range(10):
            await system.ref(Crashing).send(Crashing.in_row, row)
        await system.settle()

        assert seen == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        assert system.ledger().dead_lettered_by == {"poison": 1}
        system.ledger().check()


async def test_a_batch_port_can_be_paused_and_its_batch_not_stashed() -> None:
    seen: list[list[int]] = []
    errors: list[str] = []

    class Pausing(Actor):
        @in_batch(size=10, wait=0.1)
        def in_row(self, rows: list[int]) -> None:
            try:
                self.stash()
            except StashError as error:
                errors.append(str(error))
            seen.append(rows)

        @in_port
        def in_pause(self, pause: bool) -> None:
            (self.pause if pause else self.resume)(Pausing.in_row)

    async with open_system(child(Pausing)) as system:
        ref = system.ref(Pausing)
        await ref.send(Pausing.in_pause, True)
        await ref.send(Pausing.in_row, 1)
        await ref.send(Pausing.in_row, 2)
        await trio.sleep(5)
        assert seen == []

        await ref.send(Pausing.in_pause, False)
        await system.settle()

        assert seen == [[1, 2]]
        assert "in_row: stash: a batch can't be stashed" in errors[0]
        system.ledger().check()


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.integers(-5, 20), max_size=40), size=st.integers(1, 7))
def test_every_good_message_is_handled_once_and_in_order_and_every_bad_one_is_a_dead_letter(rows: list[int], size: int) -> None:
    seen: list[int] = []

    class Sink(Actor):
        @in_batch(size=size, wait=0.001)
        def in_row(self, batch: list[int]) -> None:
            assert 1 <= len(batch) <= size
            if any(row < 0 for row in batch):
                raise ValueError("bad row")
            seen.extend(batch)

    report = run(supervisor(child(Rows, rows), child(Sink), wires=[Rows.out_row >> Sink.in_row]))

    report.ledger.check()
    assert seen == [row for row in rows if row >= 0]
    assert [letter.message for letter in report.dead_letters] == [row for row in rows if row < 0]


def test_what_makes_no_sense_for_batches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in_batch: size = 200: expected at most the capacity, which is 100"):
        in_batch(size=200, capacity=100)
    with pytest.raises(ValueError, match="in_batch: wait"):
        in_batch(wait=-1)
    with pytest.raises(ValueError, match="in_batch: overflow"):
        in_batch(overflow=OverflowStrategy.DROP_OLDEST)
    with pytest.raises(PortDefinitionError, match=r"Single\.in_row: a batch handler takes a list"):

        class Single(Actor):
            @in_batch()  # type: ignore[arg-type]
            def in_row(self, row: int) -> None: ...
