"""Limits of handlers: `timeout` cuts one short, `thread=True` runs one elsewhere; and a cancellation passes through everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    ErrorCategory,
    OutPort,
    PortDefinitionError,
    RecoveryAction,
    RecoveryPolicy,
    Rule,
    Shutdown,
    SpecError,
    SpecTypeError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import HandlerFailed

SKIP_TIMEOUTS = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, category=ErrorCategory.TIMEOUT),))


class Limited(Actor):
    """Has five seconds for each message."""

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines = [] if lines is None else lines

    @in_port(timeout=5)
    async def in_sleep(self, seconds: float) -> str:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.lines.append(f"cut short at {trio.current_time():g}")
            raise
        self.lines.append(f"slept {seconds:g}")
        return "awake"

    @in_port(timeout=5)
    async def in_own_scope(self, seconds: float) -> str:
        with trio.move_on_after(seconds):
            await trio.sleep_forever()
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        return "moved on"

    @in_port(timeout=5)
    async def in_stubborn(self, _: str) -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValidationError("it says something else") from None

    @in_port(timeout=5)
    async def in_shielded(self, seconds: float) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        return "late"

    @in_port(timeout=5)
    async def in_ask_other(self, other: ActorRef[Limited]) -> str:
        return await other.ask(Limited.in_own_scope, 100.0, timeout=None)


async def test_a_handler_that_takes_too_long_is_cut_short_and_fails_as_a_timeout() -> None:
    lines: list[str] = []

    async with open_system(child(Limited, lines)) as system:
        failed = system.events(HandlerFailed)
        await system.ref(Limited).send(Limited.in_sleep, 7.0)
        await system.ref(Limited).send(Limited.in_sleep, 4.0)
        await system.settle()

        assert lines == ["cut short at 5", "cut short at 11", "cut short at 18", "slept 4"]  # two retries, after 1 and 2 s
        assert system.ledger().dead_lettered_by == {"retries_exhausted": 1}
        system.ledger().check()
    errors = [each.error async for each in failed]
    assert {error.category for error in errors} == {ErrorCategory.TIMEOUT}
    assert {type(error.exception) for error in errors} == {trio.TooSlowError}
    assert errors[0].error_message == "handling took longer than 5 s, the port's timeout"


async def test_a_scope_of_the_handler_s_own_is_its_own_affair() -> None:
    async with open_system(child(Limited)) as system:
        assert await system.ref(Limited).ask(Limited.in_own_scope, 3.0) == "moved on"

        assert system.ledger().processed == 1


async def test_what_a_handler_raises_while_it_is_cut_short_is_its_failure() -> None:
    async with open_system(child(Limited)) as system:
        await system.ref(Limited).send(Limited.in_stubborn, "")
        await system.settle()

        assert trio.current_time() == 5
        assert system.ledger().dead_lettered_by == {"validation": 1}


async def test_a_handler_that_shields_itself_is_done_when_it_is() -> None:
    async with open_system(child(Limited)) as system:
        assert await system.ref(Limited).ask(Limited.in_shielded, 20.0, timeout=None) == "late"

        assert trio.current_time() == 20


async def test_a_wait_for_another_actor_is_cut_short_too() -> None:
    tree = supervisor(child(Limited).options(name="one"), child(Limited).options(name="two"), recovery=SKIP_TIMEOUTS, name="top")

    async with open_system(tree) as system:
        two = system.ref("root/top/two", Limited)
        await system.ref("root/top/one", Limited).send(Limited.in_ask_other, two)
        await system.settle()

        assert trio.current_time() == 5
        assert system.ledger().skipped == 2
        system.ledger().check()


async def test_the_time_in_the_mailbox_does_not_count() -> None:
    lines: list[str] = []

    async with open_system(child(Limited, lines)) as system:
        for _ in range(4):
            await system.ref(Limited).send(Limited.in_sleep, 4.0)
        await system.settle()

        assert lines == ["slept 4"] * 4


@pytest.mark.parametrize("shutdown", [1.0, Shutdown.KILL])
async def test_an_actor_may_be_stopped_while_the_time_runs(shutdown: float | Shutdown) -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Limited, lines).options(shutdown=shutdown), name="top")) as system:
        await system.ref(Limited).send(Limited.in_sleep, 4.0)
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").stop_child("limited")
        assert system.ledger().queued == 1
        assert not list(system.kernel.errors)

        await system.supervisor("root/top").restart_child("limited")
        await system.settle()

        assert lines[-1] == "slept 4"
        assert system.ledger().processed == 1


class Threaded(Actor):
    """Works in a thread."""

    out_number = OutPort(int)

    @in_port(thread=True)
    def in_where(self, _: None) -> int:
        return threading.get_ident()

    @in_port(thread=True)
    def in_fail(self, text: str) -> None:
        raise ValidationError(text)

    @in_port(thread=True)
    def in_wait(self, event: threading.Event) -> str:
        event.wait(10)
        return "waited"

    @in_port(thread=True)
    def in_work(self, seconds: float) -> str:
        threading.Event().wait(seconds)
        return "worked"

    @in_port
    def in_here(self, _: None) -> int:
        return threading.get_ident()


async def test_a_handler_may_run_in_a_thread_and_answer_from_there() -> None:
    async with open_system(child(Threaded)) as system:
        elsewhere = await system.ref(Threaded).ask(Threaded.in_where, None, timeout=None)
        here = await system.ref(Threaded).ask(Threaded.in_here, None, timeout=None)

        assert elsewhere != here == threading.get_ident()
        assert system.ledger().processed == 2


async def test_what_fails_in_a_thread_meets_the_policy() -> None:
    async with open_system(child(Threaded)) as system:
        await system.ref(Threaded).send(Threaded.in_fail, "bad")
        await system.ref(Threaded).ask(Threaded.in_where, None, timeout=None)
        (letter,) = await system.dead_letters.inspect()

        assert letter.message == "bad"
        assert letter.error is not None
        assert "in_fail" in letter.error.stack_trace


async def test_others_go_on_while_a_thread_works() -> None:
    event = threading.Event()

    async with open_system(supervisor(child(Threaded), child(Limited), name="top")) as system:
        await system.ref(Threaded).send(Threaded.in_wait, event)
        assert await system.ref(Limited).ask(Limited.in_own_scope, 0.0, timeout=None) == "moved on"
        assert system.ledger().in_flight == 1

        event.set()
        await system.settle()

        assert system.ledger().processed == 2


async def test_virtual_time_stands_still_while_threads_work_and_then_goes_on() -> None:
    async with open_system(supervisor(*(child(Threaded).options(name=name) for name in "ab"), name="top")) as system:
        for seconds in (0.1, 0.02):  # in the second round "a" is done first
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(system.ref("root/top/a", Threaded).ask, Threaded.in_work, 0.05, timeout=1.0))
                nursery.start_soon(partial(system.ref("root/top/b", Threaded).ask, Threaded.in_work, seconds, timeout=1.0))
        assert (trio.current_time(), system.ledger().processed) == (0, 4)

        await trio.sleep(1000)
        assert trio.current_time() == 1000


def plain_with_timeout() -> None:
    class Plain(Actor):
        @in_port(timeout=1)
        def in_number(self, number: int) -> None: ...


def thread_with_timeout() -> None:
    class Both(Actor):
        @in_port(timeout=1, thread=True)
        def in_number(self, number: int) -> None: ...


def async_in_thread() -> None:
    class Async(Actor):
        @in_port(thread=True)
        async def in_number(self, number: int) -> None: ...


@pytest.mark.parametrize(
    ("define", "complaint"),
    [
        (plain_with_timeout, r"Plain\.in_number: timeout is for an async handler.*write it as `async def`"),
        (thread_with_timeout, r"Both\.in_number: timeout is for an async handler"),
        (async_in_thread, r"Async\.in_number: thread=True is for a plain handler.*write it as `def`"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_when_the_class_is_made(define: Callable[[], None], complaint: str) -> None:
    with pytest.raises(PortDefinitionError, match=complaint):
        define()


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"timeout": 0}, SpecError, "in_port: timeout = 0"),
        ({"timeout": -1.0}, SpecError, "in_port: timeout = -1.0"),
        ({"timeout": float("nan")}, SpecError, "in_port: timeout = nan"),
        ({"timeout": "1"}, SpecTypeError, "in_port: timeout = '1'"),
        ({"thread": 1}, SpecTypeError, "in_port: thread = 1"),
        ({"ordered": None}, SpecTypeError, "in_port: ordered = None"),
        ({"idle_timeout": 0.0}, SpecError, "in_port: idle_timeout = 0.0"),
        ({"idle_timeout": True}, SpecTypeError, "in_port: idle_timeout = True"),
        ({"block_timeout": -2}, SpecError, "in_port: block_timeout = -2"),
        ({"capacity": 0}, SpecError, "in_port: capacity = 0"),
        ({"capacity": 1.5}, SpecTypeError, "in_port: capacity = 1.5"),
        ({"overflow": "block"}, SpecTypeError, "in_port: overflow = 'block'"),
        ({"breaker": 5}, SpecTypeError, "in_port: breaker = 5"),
        ({"throttle": 5.0}, SpecTypeError, "in_port: throttle = 5.0"),
        ({"retries": 3}, SpecTypeError, "in_port: unknown option 'retries'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_its_value(options: dict[str, Any], kind: type[Exception], complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        in_port(**options)
