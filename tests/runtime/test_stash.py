"""Stashed messages: put aside, brought back first and in order, and never lost or reordered, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import (
    Actor,
    AskFailed,
    DeadLetterReason,
    ExitReason,
    OutPort,
    OverflowStrategy,
    RecoveryAction,
    RecoveryPolicy,
    Restart,
    Rule,
    StashError,
    SupervisorSpec,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from tests.runs import run_inside


@frozen
class Open:
    """Opens a door; what fails meanwhile fails with this, once."""

    error: Callable[[], Exception] | None = None


class Seen:
    """What a door has let through, in order, and what went wrong."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.errors: list[StashError] = []
        self.lives = 0
        self.stashes = 0
        self.failures: set[object] = set()

    def fail_once(self, what: object, error: Callable[[], Exception]) -> None:
        if what not in self.failures:
            self.failures.add(what)
            raise error()


class Door(Actor):
    """Lets numbers through once it is open; puts them aside until then. Each life begins closed."""

    def __init__(self, seen: Seen, open_: bool = False) -> None:
        self.seen = seen
        self.is_open = open_
        seen.lives += 1

    @in_port(capacity=3)
    async def in_number(self, number: int) -> int:
        await trio.sleep(0.001)
        if not self.is_open:
            self.seen.stashes += 1
            self.stash()
            return -1
        self.seen.numbers.append(number)
        return number

    @in_port
    def in_other(self, number: int) -> int:
        if not self.is_open:
            self.stash()
            return -1
        self.seen.numbers.append(number)
        return number

    @in_port
    def in_open(self, order: Open) -> None:
        self.is_open = True
        self.unstash_all()
        if order.error is not None:
            self.seen.fail_once(order, order.error)


def bug() -> Exception:
    return KeyError("a bug")


def slip() -> Exception:
    return TransientError("a slip")


def tree(seen: Seen) -> SupervisorSpec:
    return supervisor(child(Door, seen), name="top")


async def stashed(system: System, *numbers: int) -> None:
    """These are put aside, in this order, by turns at two ports."""
    for number in numbers:
        await system.ref(Door).send(Door.in_number if number % 2 else Door.in_other, number)
        await system.settle()


async def test_stashed_messages_come_back_in_order_across_ports_and_before_those_that_wait() -> None:
    seen = Seen()
    async with open_system(tree(seen)) as system:
        door = system.ref(Door)
        await stashed(system, 1, 2, 3)

        await door.send(Door.in_open, Open())
        await door.send(Door.in_other, 4)
        await door.send(Door.in_number, 5)
        await system.settle()

        assert seen.numbers == [1, 2, 3, 4, 5]
        system.ledger().check()
        assert system.ledger().processed == 6


async def test_a_stashed_message_counts_as_queued_takes_up_no_room_and_settle_does_not_wait_for_it() -> None:
    seen = Seen()
    async with open_system(tree(seen)) as system:
        for number in (1, 3, 5, 7, 9):  # more than the port has room for
            await system.ref(Door).send(Door.in_number, number)
        await system.settle()

        counts = system.ledger().ports["root/top/door.in_number"]

        assert (counts.queued, counts.in_flight, counts.processed, counts.accepted) == (5, 0, 0, 5)
        system.ledger().check()


async def test_a_message_stays_in_flight_until_the_handler_that_stashed_it_has_returned() -> None:
    class Slow(Actor):
        @in_port
        async def in_number(self, number: int) -> None:
            self.stash()
            await trio.sleep(1)

    async with open_system(child(Slow)) as system:
        await system.ref(Slow).send(Slow.in_number, 1)
        await trio.sleep(0.5)
        meanwhile = system.ledger()
        await system.settle()
        afterwards = system.ledger()

    assert (meanwhile.in_flight, meanwhile.queued, meanwhile.processed) == (1, 0, 0)
    assert (afterwards.in_flight, afterwards.queued, afterwards.processed) == (0, 1, 0)
    meanwhile.check()


async def test_who_asked_goes_on_waiting_while_the_request_is_stashed() -> None:
    seen = Seen()
    answers: list[int] = []

    async def ask(system: System, number: int) -> None:
        answers.append(await system.ref(Door).ask(Door.in_other, number))

    async with open_system(tree(seen)) as system, trio.open_nursery() as nursery:
        for number in (2, 4):
            nursery.start_soon(ask, system, number)
        await system.settle()
        before = list(answers)

        await system.ref(Door).send(Door.in_open, Open())
        await system.settle()

    assert before == []
    assert sorted(answers) == [2, 4]


async def test_a_stashed_request_whose_asker_has_gone_is_skipped_when_it_comes_back() -> None:
    seen = Seen()
    async with open_system(tree(seen)) as system:
        with pytest.raises(trio.TooSlowError):
            await system.ref(Door).ask(Door.in_other, 2, timeout=1)

        await system.ref(Door).send(Door.in_open, Open())
        await system.settle()

        assert seen.numbers == []
        assert system.ledger().skipped_by == {"asker_gone": 1}
        system.ledger().check()


@pytest.mark.parametrize("error", [bug, slip, lambda: ValidationError("bad")], ids=["restart", "retry", "quarantine"])
async def test_a_handler_that_fails_after_unstashing_loses_and_reorders_nothing(error: Callable[[], Exception]) -> None:
    seen = Seen()
    async with open_system(tree(seen)) as system:
        await stashed(system, 1, 2, 3)

        await system.ref(Door).send(Door.in_open, Open(error))
        await system.ref(Door).send(Door.in_other, 4)
        await system.wait()
        await system.ref(Door).send(Door.in_open, Open())
        await system.settle()

        assert seen.numbers == [1, 2, 3, 4]
        system.ledger().check()
        assert system.ledger().queued == 0


@pytest.mark.parametrize("error", [bug, slip], ids=["restart", "retry"])
@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_a_message_that_fails_when_it_comes_back_keeps_its_place(error: Callable[[], Exception], failing: int) -> None:
    seen = Seen()

    class Fragile(Actor):
        def __init__(self) -> None:
            self.is_open = seen.lives > 0  # what comes back after a restart is not stashed again
            seen.lives += 1

        @in_port
        def in_number(self, number: int) -> None:
            if not self.is_open:
                self.stash()
                return
            if number == failing:
                seen.fail_once(number, error)
            seen.numbers.append(number)

        @in_port
        def in_open(self, order: Open) -> None:
            self.is_open = True
            self.unstash_all()

    async with open_system(child(Fragile)) as system:
        for number in (1, 2, 3):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.ref(Fragile).send(Fragile.in_open, Open())
        await system.ref(Fragile).send(Fragile.in_number, 4)
        await system.wait()

        assert seen.numbers == [1, 2, 3, 4]
        system.ledger().check()
        assert (system.ledger().processed, system.ledger().queued) == (5, 0)


async def test_a_handler_that_fails_after_stashing_has_not_stashed() -> None:
    tries: list[int] = []

    class Confused(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            tries.append(number)
            if len(tries) == 1:
                self.stash()
                raise TransientError("after all")

    async with open_system(child(Confused)) as system:
        await system.ref(Confused).send(Confused.in_number, 1)
        await system.wait()

        assert tries == [1, 1]
        assert (system.ledger().processed, system.ledger().queued) == (1, 0)
        system.ledger().check()


async def test_a_failure_that_is_passed_over_does_not_stash_either() -> None:
    class Confused(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            self.stash()
            raise KeyError("after all")

    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE),))
    async with open_system(supervisor(child(Confused), recovery=policy)) as system:
        await system.ref(Confused).send(Confused.in_number, 1)
        await system.settle()

        assert (system.ledger().skipped, system.ledger().queued) == (1, 0)
        system.ledger().check()


async def test_a_handler_killed_after_stashing_leaves_its_message_at_the_head() -> None:
    seen = Seen()

    class Stuck(Actor):
        def __init__(self) -> None:
            seen.lives += 1

        @in_port
        async def in_number(self, number: int) -> None:
            if seen.lives == 1:
                self.stash()
                await trio.sleep_forever()
            seen.numbers.append(number)

    async with open_system(supervisor(child(Stuck).options(shutdown=1), name="top")) as system:
        for number in (1, 2):
            await system.ref(Stuck).send(Stuck.in_number, number)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("stuck")
        await system.supervisor("root/top").restart_child("stuck")
        await system.settle()

        assert seen.numbers == [1, 2]
        system.ledger().check()


async def test_a_restart_brings_stashed_messages_back_before_the_one_in_hand() -> None:
    seen = Seen()
    order: list[object] = []

    class Notes(Actor):
        def __init__(self) -> None:
            seen.lives += 1

        @in_port
        def in_item(self, item: str) -> None:
            if seen.lives == 1 and item != "bug":
                self.stash()
            elif seen.lives == 1:
                raise KeyError("a bug")
            else:
                order.append(item)

    async with open_system(child(Notes)) as system:
        for item in ("a", "b", "bug", "c"):
            await system.ref(Notes).send(Notes.in_item, item)
        await system.settle()

        assert order == ["a", "b", "bug", "c"]
        system.ledger().check()


async def test_what_is_stashed_by_a_child_that_is_stopped_waits_for_its_restart() -> None:
    seen = Seen()
    async with open_system(tree(seen)) as system:
        await stashed(system, 1, 2)

        await system.supervisor("root/top").stop_child("door")
        stopped = system.ledger()
        await system.supervisor("root/top").restart_child("door")
        await system.ref(Door).send(Door.in_open, Open())
        await system.settle()

        assert stopped.queued == 2
        assert seen.numbers == [1, 2]
        system.ledger().check()


async def test_what_is_stashed_by_a_child_that_is_deleted_becomes_dead_letters_and_askers_are_told() -> None:
    seen = Seen()
    errors: list[AskFailed] = []

    async def ask(system: System) -> None:
        try:
            await system.ref(Door).ask(Door.in_other, 2)
        except AskFailed as error:
            errors.append(error)

    async with open_system(tree(seen)) as system, trio.open_nursery() as nursery:
        nursery.start_soon(ask, system)
        await trio.testing.wait_all_tasks_blocked()
        await stashed(system, 1)

        await system.supervisor("root/top").stop_child("door")
        await system.supervisor("root/top").delete_child("door")

        letters = await system.dead_letters.inspect()
        assert [(letter.message, letter.reason) for letter in letters] == [
            (2, DeadLetterReason.RECEIVER_STOPPED),
            (1, DeadLetterReason.RECEIVER_STOPPED),
        ]
        system.ledger().check()
    assert len(errors) == 1


async def test_a_run_does_not_wait_for_stashed_messages_and_says_so() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            for number in (2, 4):
                await self.out_number.send(number)

    def whole() -> SupervisorSpec:
        return supervisor(child(Source), child(Door, Seen()), wires=[Source.out_number >> Door.in_other])

    report = await run_inside(whole())

    assert report.ledger.dead_lettered_by == {"shutdown": 2}
    assert report.outcome == "completed, but 2 messages could not be handled any more"
    report.ledger.check()


async def test_the_last_words_of_a_stream_may_bring_stashed_messages_back() -> None:
    seen: list[int] = []

    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            for number in range(4):
                await self.out_number.send(number)

    class Late(Actor):
        ended = False

        @in_port
        def in_number(self, number: int) -> None:
            if self.ended:
                seen.append(number)
            else:
                self.stash()

        async def on_drained(self) -> None:
            self.ended = True
            self.unstash_all()

    tree = supervisor(child(Source), child(Late), wires=[Source.out_number >> Late.in_number])
    report = await run_inside(tree)

    assert seen == [0, 1, 2, 3]
    assert report.outcome == "completed"
    report.ledger.check()


async def test_stashing_without_a_message_in_hand_is_an_error_that_says_so() -> None:
    errors: list[Exception] = []

    class Hasty(Actor):
        async def on_start(self) -> None:
            self.attempt()
            self.start_soon(self.in_background)

        async def in_background(self) -> None:
            self.attempt()

        def attempt(self) -> None:
            try:
                self.stash()
            except StashError as error:
                errors.append(error)

        async def on_stop(self, reason: ExitReason) -> None:
            self.attempt()

    async with open_system(supervisor(child(Hasty), name="top")) as system:
        await system.wait()

    text = "root/top/hasty.stash: there is no message in hand; call self.stash() in a handler"
    assert [str(error) for error in errors] == [text] * 3


async def test_stashing_twice_is_an_error_and_the_message_is_stashed_once() -> None:
    errors: list[StashError] = []

    class Twice(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            self.stash()
            try:
                self.stash()
            except StashError as error:
                errors.append(error)

    async with open_system(supervisor(child(Twice), name="top")) as system:
        await system.ref(Twice).send(Twice.in_number, 1)
        await system.settle()

        assert system.ledger().queued == 1
        system.ledger().check()
    assert [str(error) for error in errors] == [
        "root/top/twice.in_number: stash: the message in hand is stashed already; call self.stash() once, and return"
    ]


async def test_a_background_task_may_unstash() -> None:
    seen: list[int] = []

    class Patient(Actor):
        ready = False

        async def on_start(self) -> None:
            self.start_soon(self.connect)

        async def connect(self) -> None:
            await trio.sleep(5)
            self.ready = True
            self.unstash_all()

        @in_port
        def in_number(self, number: int) -> None:
            if self.ready:
                seen.append(number)
            else:
                self.stash()

    async with open_system(child(Patient)) as system:
        for number in range(3):
            await system.ref(Patient).send(Patient.in_number, number)
        await system.wait()

        assert seen == [0, 1, 2]
        system.ledger().check()


async def test_a_message_that_comes_back_is_not_what_a_full_port_drops() -> None:
    seen: list[int] = []

    class Drops(Actor):
        is_open = False

        @in_port(capacity=2, overflow=OverflowStrategy.DROP_OLDEST)
        async def in_number(self, number: int) -> None:
            if not self.is_open:
                self.stash()
                return
            await trio.sleep(1)
            seen.append(number)

        @in_port
        def in_open(self, order: Open) -> None:
            self.is_open = True
            self.unstash_all()

    async with open_system(child(Drops)) as system:
        drops = system.ref(Drops)
        for number in (1, 2, 3):
            await drops.send(Drops.in_number, number)
            await system.settle()

        await drops.send(Drops.in_open, Open())
        await trio.testing.wait_all_tasks_blocked()
        for number in (4, 5, 6):
            await drops.send(Drops.in_number, number)
        await system.settle()

        assert seen[:3] == [1, 2, 3]
        system.ledger().check()


async def test_failures_of_different_messages_are_told_apart_when_they_were_stashed() -> None:
    seen = Seen()

    class Fragile(Actor):
        ready = False

        @in_port
        def in_number(self, number: int) -> None:
            if not self.ready:
                self.stash()
                return
            seen.fail_once(number, slip)
            seen.numbers.append(number)

        @in_port
        def in_ready(self, order: Open) -> None:
            self.ready = True
            self.unstash_all()

    async with open_system(supervisor(child(Fragile).options(restart=Restart.TEMPORARY), name="top")) as system:
        for number in (1, 2, 3):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.ref(Fragile).send(Fragile.in_ready, Open())
        await system.ref(Fragile).send(Fragile.in_number, 4)
        await system.wait()
        names = [error.message_id for error in system.kernel.errors]

        assert seen.numbers == [1, 2, 3, 4]
        assert names == [f"root/top/fragile.in_number#{number}" for number in (1, 2, 3, 4)]


async def test_a_message_that_fails_after_unstashing_at_its_own_port_is_told_apart_from_those_that_came_back() -> None:
    seen = Seen()

    class Fragile(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            if number < 3 and not seen.failures:
                self.stash()
                return
            if number == 3:
                self.unstash_all()
            seen.fail_once(number, slip)
            seen.numbers.append(number)

    async with open_system(supervisor(child(Fragile), name="top")) as system:
        for number in (1, 2, 3):
            await system.ref(Fragile).send(Fragile.in_number, number)
        await system.wait()

        assert seen.numbers == [3, 1, 2]
        assert [error.message_id for error in system.kernel.errors] == [f"root/top/fragile.in_number#{number}" for number in (3, 1, 2)]
