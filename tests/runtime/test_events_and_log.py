"""What is logged: abnormal ends and restarts, once each, with the traceback; and an actor's own log."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ErrorSeverity,
    OutPort,
    PermanentError,
    Restart,
    SupervisionError,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ChildExited, OutPortUnwired, StartFailed, SupervisorGaveUp
from tests.trees import Bug, Fault, Finish, Scene, Worker, crash, finish, ref, worker

Log = pytest.LogCaptureFixture


def warnings(log: Log) -> list[logging.LogRecord]:
    """What the runtime has logged at WARNING or above."""
    return [each for each in log.records if each.name == "actorkit" and each.levelno >= logging.WARNING]


def tracebacks(log: Log) -> list[str]:
    """The lines among those that came with a traceback."""
    return [each.getMessage() for each in warnings(log) if each.exc_info is not None]


async def test_a_restart_is_one_event_and_one_line_with_the_traceback(caplog: Log) -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        exits = system.events(ChildExited)
        await crash(system, "top/w")

    (one,) = [each async for each in exits]
    (record,) = warnings(caplog)
    assert (one.supervisor, one.path, one.restarts, one.restarting) == ("root/top", "root/top/w", 1, True)
    assert record.getMessage() == "root/top: child root/top/w ended (failed), restart 1: Bug"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Bug)
    assert record.exc_info[2] is not None


async def test_an_abnormal_end_without_a_restart_is_one_line_too(caplog: Log) -> None:
    async with open_system(supervisor(worker(Scene(), "w").options(restart=Restart.TEMPORARY), name="top")) as system:
        await crash(system, "top/w")

    (record,) = warnings(caplog)
    assert record.getMessage() == "root/top: child root/top/w ended (failed), not restarted: Bug"


async def test_an_escalation_is_an_abnormal_end_of_the_child(caplog: Log) -> None:
    def critical() -> Exception:
        return PermanentError("fire", severity=ErrorSeverity.CRITICAL)

    async with open_system(supervisor(supervisor(worker(Scene(), "w"), name="inner"), name="top")) as system:
        await ref(system, "top/inner/w").send(Worker.in_fault, Fault(1, critical))
        await system.wait()

    lines = [record.getMessage() for record in warnings(caplog)]
    assert lines[0] == "root/top/inner: child root/top/inner/w ended (failed), not restarted: PermanentError: fire"
    assert lines[-1] == "root/top: child root/top/inner ended (failed), restart 1: PermanentError: fire"
    assert tracebacks(caplog) == lines[:1]


async def test_an_orderly_end_is_not_worth_a_warning(caplog: Log) -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await finish(system, "top/w")

    assert warnings(caplog) == []


async def test_a_retry_and_a_dead_letter_are_not_worth_a_warning(caplog: Log) -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await ref(system, "top/w").send(Worker.in_fault, Fault(1, TransientError))
        await ref(system, "top/w").send(Worker.in_fault, Fault(1, ValidationError))
        await system.wait()

    assert warnings(caplog) == []
    assert len(system.dead_letters) == 1


async def test_at_the_level_of_debug_every_failure_is_logged_with_its_traceback(caplog: Log) -> None:
    caplog.set_level(logging.DEBUG, "actorkit")

    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await ref(system, "top/w").send(Worker.in_fault, Fault(1, lambda: ValidationError("bad")))
        await system.wait()

    (record,) = [each for each in caplog.records if "failed, so quarantine" in each.getMessage()]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValidationError)


async def test_a_supervisor_that_gives_up_says_why(caplog: Log) -> None:
    with pytest.raises(SupervisionError):
        async with open_system(supervisor(worker(Scene(), "w"), name="top", max_restarts=1, within=5)) as system:
            gave_up = system.events(SupervisorGaveUp)
            await crash(system, "top/w", times=1)
            await crash(system, "top/w", times=1)

    assert [str(each) async for each in gave_up] == [
        "root/top gave up: child 'w' ended (failed), and 1 restarts in 5 s are used up",
    ]
    assert "root/top gave up" in warnings(caplog)[-1].getMessage()


async def test_a_start_that_fails_is_an_event_with_the_traceback(caplog: Log) -> None:
    scene = Scene()

    async with open_system(supervisor(worker(scene, "w"), name="top")) as system:
        failed = system.events(StartFailed)
        scene.start_failures["w"] = 1
        await crash(system, "top/w")

    (one,) = [each async for each in failed]
    assert str(one) == "root/top/w could not be started: Bug: w does not start"
    assert isinstance(one.exception, Bug)
    assert tracebacks(caplog) == ["root/top: child root/top/w ended (failed), restart 1: Bug", str(one)]


async def test_an_out_port_without_a_wire_is_reported_once(caplog: Log) -> None:
    class Talker(Actor):
        out_word = OutPort(str)

        @in_port
        async def in_go(self, times: int) -> None:
            for _ in range(times):
                await self.out_word.send("word")

    async with open_system(supervisor(child(Talker))) as system:
        unwired = system.events(OutPortUnwired)
        await system.ref(Talker).send(Talker.in_go, 5)
        await system.settle()

    assert [each.path async for each in unwired] == ["root/supervisor/talker.out_word"]
    assert len(warnings(caplog)) == 1


class Pilot(Actor):
    """Writes to its own log."""

    @in_port
    def in_flight(self, flight: int) -> None:
        self.log.info("landed", flight=flight, runway="07L")

    @in_port
    def in_level(self, level: str) -> None:
        getattr(self.log, level)("hello")

    @in_port
    def in_trouble(self, _: None) -> None:
        try:
            raise RuntimeError("engine")
        except RuntimeError:
            self.log.exception("trouble")


def own_lines(log: Log) -> list[logging.LogRecord]:
    """What actors have logged themselves."""
    return [each for each in log.records if each.name == "actorkit.actors"]


async def test_an_actor_s_log_is_structured(caplog: Log) -> None:
    caplog.set_level(logging.INFO)

    async with open_system(supervisor(child(Pilot))) as system:
        await system.ref(Pilot).send(Pilot.in_flight, 17)

    (record,) = own_lines(caplog)
    assert record.getMessage() == "root/supervisor/pilot: landed flight=17 runway='07L'"
    assert (vars(record)["actor"], vars(record)["incarnation"]) == ("root/supervisor/pilot", 1)
    assert vars(record)["fields"] == {"flight": 17, "runway": "07L"}


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
async def test_an_actor_s_log_has_the_usual_levels(level: str, caplog: Log) -> None:
    caplog.set_level(logging.DEBUG)

    async with open_system(supervisor(child(Pilot))) as system:
        await system.ref(Pilot).send(Pilot.in_level, level)

    assert [record.levelname for record in own_lines(caplog)] == [level.upper()]


async def test_an_actor_s_log_has_the_traceback_of_the_exception_in_hand(caplog: Log) -> None:
    async with open_system(supervisor(child(Pilot))) as system:
        await system.ref(Pilot).send(Pilot.in_trouble, None)

    (record,) = own_lines(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_an_exception_whose_text_cannot_be_made_is_logged_all_the_same(caplog: Log) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await ref(system, "top/w").send(Worker.in_fault, Fault(1, Mute))
        await system.wait()
        await ref(system, "top/w").send(Worker.in_finish, Finish())
        await wait_all_tasks_blocked()

    assert "Mute" in warnings(caplog)[0].getMessage()


async def test_a_subscription_that_nobody_holds_any_more_is_forgotten(caplog: Log) -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_see_one_event, system)
            await wait_all_tasks_blocked()
            await crash(system, "top/w")
        await system.supervisor("root/top").stop_child("w")
        for _ in range(10_100):
            ref(system, "top/w").send_nowait(Worker.in_note, "nobody hears of it")

    assert not [each for each in warnings(caplog) if "lags" in each.getMessage()]


async def _see_one_event(system: System) -> None:
    async for _ in system.events():
        break
