"""`run`: from the start of a tree to its report, with signals in between."""

from __future__ import annotations

import re
import signal
import threading

import pytest
import trio

from actorkit import (
    Actor,
    ActorkitError,
    AutoShutdown,
    DeadLetterQueue,
    DeadLetterReason,
    OutPort,
    Restart,
    RunReport,
    SpecError,
    SupervisionError,
    SupervisorSpec,
    TransientError,
    ValidationError,
    WiringError,
    child,
    in_port,
    run,
    supervisor,
)
from tests.runs import run_inside


class Numbers(Actor):
    """A source: sends the numbers below `count`."""

    out_number = OutPort(int)

    def __init__(self, count: int = 3) -> None:
        self.count = count

    async def run(self) -> None:
        for number in range(self.count):
            await self.out_number.send(number)


class Odd(Actor):
    """Takes odd numbers; 0 is a slip, 2 is bad data, 4 is a bug."""

    def __init__(self) -> None:
        self.tries = 0

    @in_port
    def in_number(self, number: int) -> None:
        if number == 0 and not self.tries:
            self.tries += 1
            raise TransientError("a slip")
        if number == 2:
            raise ValidationError("not odd")
        if number == 4:
            raise KeyError(number)


def odd_numbers(count: int) -> SupervisorSpec:
    """A source and what takes its numbers."""
    return supervisor(child(Numbers, count), child(Odd), wires=[Numbers.out_number >> Odd.in_number], name="odd")


async def test_a_report_says_what_became_of_every_message() -> None:
    report = await run_inside(odd_numbers(6))

    assert report.outcome == "completed"
    assert (report.ledger.accepted, report.ledger.processed, report.ledger.dead_lettered) == (6, 4, 2)
    assert report.retries == 1
    assert report.restarts == 3
    assert [(letter.message, letter.reason) for letter in report.dead_letters] == [
        (2, DeadLetterReason.VALIDATION),
        (4, DeadLetterReason.POISON),
    ]
    assert [type(error.exception) for error in report.errors] == [TransientError, ValidationError, KeyError, KeyError, KeyError]
    assert 0 < report.duration < 5
    report.ledger.check()


async def test_a_report_is_a_table_for_people() -> None:
    table = str(await run_inside(odd_numbers(6)))

    lines = [re.sub(" +", " ", line) for line in table.splitlines()]
    assert lines[0] == "outcome completed"
    assert "dead letters 2 (poison 1, validation 1)" in lines
    assert "ledger balanced" in lines
    assert lines[-1] == "root/odd/odd.in_number 6 4 0 2 0"


def test_run_returns_when_there_is_nothing_left_to_do() -> None:
    report = run(odd_numbers(2))

    assert isinstance(report, RunReport)
    assert report.ledger.processed == 2


def test_dead_letters_go_where_they_were_asked_to_go() -> None:
    letters = DeadLetterQueue()

    run(odd_numbers(3), dead_letters=letters)

    assert len(letters) == 1


async def test_the_same_seed_gives_the_same_waits() -> None:
    durations = [(await run_inside(odd_numbers(1), seed=seed)).duration for seed in (7, 7, 8)]

    assert durations[0] == durations[1] != durations[2]


async def test_keep_goes_on_until_the_tree_ends_itself() -> None:
    class Leaver(Actor):
        async def on_start(self) -> None:
            self.after(100, Leaver.in_leave, None)

        @in_port
        def in_leave(self, _: None) -> None:
            self.stop()

    tree = supervisor(child(Leaver).options(significant=True), child(Odd), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    report = await run_inside(tree, keep=True)

    assert report.outcome == "completed"
    assert report.duration == 100


async def test_keep_goes_on_although_nothing_is_left_to_do() -> None:
    with trio.move_on_after(1000) as scope:
        await run_inside(odd_numbers(1), keep=True)

    assert scope.cancelled_caught


def test_a_tree_that_gives_up_raises_its_cause_with_the_report() -> None:
    class Broken(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            raise ZeroDivisionError("by 0")

    tree = supervisor(child(Numbers), child(Broken), wires=[Numbers.out_number >> Broken.in_number], max_restarts=0, name="top")

    with pytest.raises(SupervisionError, match="root/top gave up, and nobody is left to recover it: root/top/broken: Zero") as caught:
        run(tree)

    report = caught.value.report
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.__cause__.__traceback__ is not None
    assert report is not None
    assert report.outcome.startswith("failed: root/top gave up")
    assert report.ledger.dead_lettered == report.ledger.accepted == 3
    report.ledger.check()


def test_a_tree_that_does_not_start_raises_its_cause_with_a_report() -> None:
    class Broken(Actor):
        async def on_start(self) -> None:
            raise ConnectionRefusedError("nobody there")

    with pytest.raises(SupervisionError) as caught:
        run(supervisor(child(Broken)))

    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.report is not None
    assert caught.value.report.outcome.startswith("failed: root/supervisor/broken could not be started")


def test_a_wire_that_does_not_fit_is_found_before_anything_starts() -> None:
    started: list[str] = []

    class Starting(Actor):
        async def on_start(self) -> None:
            started.append("started")

    with pytest.raises(WiringError):
        run(supervisor(child(Starting), child(Numbers), wires=[Numbers.out_number >> Odd.in_number]))

    assert started == []


async def test_run_inside_a_trio_program_says_what_to_use_there() -> None:
    with pytest.raises(ActorkitError, match="can't be called inside a trio program; there, use: async with open_system"):
        run(odd_numbers(1))


def test_one_tree_cannot_run_twice_at_once() -> None:
    tree: SupervisorSpec
    errors: list[SpecError] = []

    class Nested(Actor):
        async def run(self) -> None:
            try:
                await trio.to_thread.run_sync(run, tree)
            except SpecError as error:
                errors.append(error)

    tree = supervisor(child(Nested), name="top")

    run(tree)

    assert [str(error).startswith("supervisor 'top' is running already") for error in errors] == [True]


def test_a_tree_may_run_in_another_thread() -> None:
    reports: list[RunReport] = []

    thread = threading.Thread(target=lambda: reports.append(run(odd_numbers(2))))
    thread.start()
    thread.join()

    assert [report.outcome for report in reports] == ["completed"]


def test_signal_handlers_are_put_back_after_a_run() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    run(odd_numbers(1))

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_permanent_source_that_returns_at_once_uses_up_its_restarts() -> None:
    tree = supervisor(child(Numbers).options(restart=Restart.PERMANENT), child(Odd), wires=[Numbers.out_number >> Odd.in_number])

    with pytest.raises(SupervisionError, match="gave up"):
        run(tree)
