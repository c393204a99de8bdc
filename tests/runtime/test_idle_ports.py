"""A port that hears nothing for too long (`idle_timeout`) is a failure without a message."""

from __future__ import annotations

from typing import ClassVar

import pytest
import trio

from actorkit import (
    Actor,
    ErrorCategory,
    ErrorContext,
    OutPort,
    RecoveryAction,
    RecoveryPolicy,
    Rule,
    SupervisionError,
    SupervisorSpec,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import HandlerFailed
from tests.runs import run_inside

GO_ON = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, category=ErrorCategory.TIMEOUT),))
ESCALATE = RecoveryPolicy(rules=(Rule(RecoveryAction.ESCALATE, category=ErrorCategory.TIMEOUT),))


class Monitor(Actor):
    """Expects a heartbeat every ten seconds."""

    lives: ClassVar[int] = 0

    def __init__(self, takes: float = 0.0) -> None:
        Monitor.lives += 1
        self.takes = takes

    @in_port(idle_timeout=10)
    async def in_beat(self, _: str) -> None:
        await trio.sleep(self.takes)

    @in_port
    def in_other(self, _: str) -> None: ...


class Reporter(Actor):
    """Writes down failures."""

    def __init__(self, found: list[tuple[float, ErrorContext]]) -> None:
        self.found = found

    @in_port
    def in_error(self, error: ErrorContext) -> None:
        self.found.append((trio.current_time(), error))


def tree(found: list[tuple[float, ErrorContext]], recovery: RecoveryPolicy | None = GO_ON, takes: float = 0.0) -> SupervisorSpec:
    """A monitor, and a reporter of its failures."""
    Monitor.lives = 0
    wires = [Monitor.err_errors >> Reporter.in_error]
    return supervisor(child(Monitor, takes), child(Reporter, found), wires=wires, recovery=recovery, name="top", max_restarts=100)


def times(found: list[tuple[float, ErrorContext]]) -> list[float]:
    """When failures were found."""
    return [time for time, _ in found]


async def test_silence_is_reported_when_it_has_lasted_so_long_and_each_time_it_has_again() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found)) as system:
        await trio.sleep(4)
        await system.ref(Monitor).send(Monitor.in_beat, "")
        await trio.sleep(3)
        await system.ref(Monitor).send(Monitor.in_beat, "")  # at 7
        await system.ref(Monitor).send(Monitor.in_other, "")
        await trio.sleep(35)

        assert times(found) == [17, 27, 37]
        assert system.ledger().accepted == 3 + len(found)
        system.ledger().check()


async def test_a_heartbeat_in_time_is_no_failure() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found)) as system:
        for _ in range(20):
            await trio.sleep(9.9)
            await system.ref(Monitor).send(Monitor.in_beat, "")

        assert found == []


async def test_the_failure_is_a_timeout_of_the_port_and_of_no_message() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found)) as system:
        failed = system.events(HandlerFailed)
        await trio.sleep(10.5)
        event = await anext(failed)

    (error,) = [error for _, error in found]
    assert (error.component_name, error.port_name, error.message_id) == ("root/top/monitor", "in_beat", None)
    assert error.category is ErrorCategory.TIMEOUT
    assert error.error_message == "root/top/monitor.in_beat has heard nothing for 10 s, its idle_timeout"
    assert event.error is error
    assert event.action is RecoveryAction.LOG_AND_CONTINUE


async def test_by_default_silence_restarts_the_actor_after_the_wait_of_a_timeout() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found, recovery=None)) as system:
        await trio.sleep(30)

        assert times(found) == [10, 21]  # up again after 1 s; the next silence waits for 2 s
        assert Monitor.lives == 3
        await system.ref(Monitor).send(Monitor.in_beat, "")
        system.ledger().check()


async def test_a_policy_may_escalate_silence() -> None:
    with pytest.raises(SupervisionError, match="in_beat has heard nothing for 10 s"):
        async with open_system(tree([], recovery=ESCALATE)):
            await trio.sleep_forever()

    assert trio.current_time() == 10


async def test_what_waits_in_the_port_is_not_silence() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found, takes=25)) as system:
        for _ in range(3):
            await system.ref(Monitor).send(Monitor.in_beat, "")
        await trio.sleep(49)
        assert found == []  # two wait, then one

        await trio.sleep(30)
        assert times(found)[0] == 60  # the last one has been taken out at 50


async def test_a_stopped_actor_is_not_watched_for_silence() -> None:
    found: list[tuple[float, ErrorContext]] = []

    async with open_system(tree(found)) as system:
        await trio.sleep(5)
        await system.supervisor("root/top").stop_child("monitor")
        await trio.sleep(100)
        assert found == []

        await system.supervisor("root/top").restart_child("monitor")
        await trio.sleep(10.5)
        assert times(found) == [115]


class Beats(Actor):
    """Sends three heartbeats, five seconds apart."""

    out_beat = OutPort(str)

    async def run(self) -> None:
        for _ in range(3):
            await self.out_beat.send("")
            await trio.sleep(5)


class Listener(Monitor):
    """Has no other port."""

    async def on_drained(self) -> None:
        await trio.sleep(60)


async def test_the_end_of_its_streams_is_not_silence() -> None:
    report = await run_inside(supervisor(child(Beats), child(Listener), wires=[Beats.out_beat >> Listener.in_beat], recovery=GO_ON))

    assert report.errors == ()
    assert report.ledger.processed == 3
    assert report.outcome == "completed"


async def test_a_watch_for_silence_keeps_no_run_alive() -> None:
    report = await run_inside(tree([]))

    assert report.duration == 0
    assert report.errors == ()


async def test_a_restart_begins_a_new_silence() -> None:
    class Buggy(Monitor):
        @in_port
        def in_bug(self, _: str) -> None:
            if Monitor.lives == 1:
                raise KeyError("bug")

    Monitor.lives = 0
    async with open_system(supervisor(child(Buggy), recovery=GO_ON)) as system:
        await trio.sleep(8)
        await system.ref(Buggy).send(Buggy.in_bug, "")
        await trio.sleep(9.9)
        assert [type(error.exception) for error in system.kernel.errors] == [KeyError]

        await trio.sleep(0.2)
        assert [type(error.exception) for error in system.kernel.errors] == [KeyError, trio.TooSlowError]
