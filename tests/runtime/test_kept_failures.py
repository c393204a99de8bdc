"""What is kept of a failure keeps nothing else alive."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable

import pytest
import trio
import trio.testing

from actorkit import Actor, ErrorContext, TransientError, ValidationError, child, in_port, open_system, supervisor
from actorkit.events import HandlerFailed


class Big:
    """Something that a handler has in a local variable."""


class Holder(Actor):
    """Has something big in hand when it fails."""

    def __init__(self, fail: Callable[[], None], seen: list[weakref.ref[Big]]) -> None:
        self.fail = fail
        self.seen = seen

    @in_port
    async def in_number(self, number: int) -> None:
        big = Big()
        self.seen.append(weakref.ref(big))
        self.fail()


def invalid() -> None:
    raise ValidationError("not a number of ours")


def flaky() -> None:
    raise TransientError("not now")


def with_cause() -> None:
    try:
        invalid()
    except ValidationError as error:
        raise ValueError("no number") from error


def crash() -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("fail", [invalid, flaky, with_cause, crash], ids=lambda fail: str(fail.__name__))
async def test_a_dead_letter_has_its_tracebacks_and_no_frame(
    fail: Callable[[], None], autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "actorkit")  # what it captures has tracebacks, and so frames
    seen: list[weakref.ref[Big]] = []
    async with open_system(supervisor(child(Holder, fail, seen))) as system:
        await system.ref(Holder).send(Holder.in_number, 1)
        await system.settle()
        await system.ref(Holder).send(Holder.in_number, 2)
        await system.settle()

        await trio.testing.wait_all_tasks_blocked()  # its supervisor may still be about to restart it
        letters = await system.dead_letters.inspect()
        gc.collect()

        assert [letter.message for letter in letters] == [1, 2]
        assert [each for each in seen if each() is not None] == []
        for letter in letters:
            for failure in letter.failures:
                assert "in in_number" in failure.stack_trace
                assert f"in {fail.__name__}" in failure.stack_trace
        if fail is with_cause:
            assert "in invalid" in letters[0].failures[0].stack_trace


async def test_who_listens_to_events_has_the_traceback_while_told(autojump_clock: trio.testing.MockClock) -> None:
    told: list[ErrorContext] = []
    async with open_system(supervisor(child(Holder, invalid, []))) as system:
        events = system.events(HandlerFailed)
        await system.ref(Holder).send(Holder.in_number, 1)
        await system.settle()
        async for event in events:
            told.append(event.error)
            break

    assert "in invalid" in told[0].stack_trace
