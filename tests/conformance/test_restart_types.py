"""The restart type and the reason of an exit decide whether a child is started again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actorkit import (
    Actor,
    ErrorSeverity,
    ExitReason,
    OutPort,
    PermanentError,
    Restart,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ActorStopped, ChildExited
from tests.trees import Bug, Fault, Finish, Scene, Worker, crash, finish, ref, running, worker


class Stubborn(Worker):
    """Ends itself, and then does not stop in time, the first time."""

    @in_port
    async def in_linger(self, _: str) -> None:
        if "lingered" not in self.scene.lines:
            self.scene.lines.append("lingered")
            self.stop()
            await trio.sleep_forever()


class Hasty(Worker):
    """Asks to be stopped, and then fails in the same handler, the first time."""

    def __init__(self, scene: Scene, error: Callable[[], Exception]) -> None:
        super().__init__(scene)
        self.error = error

    @in_port
    async def in_leave(self, seconds: float) -> None:
        if "left" not in self.scene.lines:
            self.scene.lines.append("left")
            self.stop()
            await trio.sleep(seconds)
            raise self.error()


@pytest.mark.parametrize("restart", Restart)
async def test_a_failed_child_is_restarted_unless_it_is_temporary(restart: Restart) -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(restart=restart), name="top")) as system:
        await crash(system, "top/a")

        assert running(system, "top") == ([] if restart is Restart.TEMPORARY else ["a"])


@pytest.mark.parametrize("restart", Restart)
async def test_a_child_that_ended_itself_is_restarted_only_if_it_is_permanent(restart: Restart) -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(restart=restart), name="top")) as system:
        await finish(system, "top/a")

        assert running(system, "top") == (["a"] if restart is Restart.PERMANENT else [])
        assert scene.reasons["a"] is ExitReason.NORMAL


@pytest.mark.parametrize("restart", Restart)
async def test_a_child_that_had_to_be_killed_is_restarted_unless_it_is_temporary(restart: Restart) -> None:
    scene = Scene()
    spec = child(Stubborn, scene).options(name="a", restart=restart, shutdown=1.0)
    async with open_system(supervisor(spec, name="top")) as system:
        stops, exits = system.events(ActorStopped), system.events(ChildExited)
        await system.ref(Stubborn).send(Stubborn.in_linger, "x")
        await system.wait()
        alive = running(system, "top")
    stopped = [event.reason async for event in stops]
    exited = [event.reason async for event in exits]

    assert alive == ([] if restart is Restart.TEMPORARY else ["a"])
    assert (stopped[0], exited) == (ExitReason.KILLED, [ExitReason.KILLED])


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("restart", Restart)
async def test_a_child_that_fails_after_it_has_asked_to_be_stopped_has_failed(restart: Restart, seconds: float) -> None:
    scene = Scene()
    spec = child(Hasty, scene, Bug).options(name="a", restart=restart)
    async with open_system(supervisor(spec, name="top")) as system:
        await system.ref(Hasty).send(Hasty.in_leave, seconds)
        await system.wait()

        assert running(system, "top") == ([] if restart is Restart.TEMPORARY else ["a"])
        assert scene.reasons["a"] is ExitReason.FAILED
        assert system.ledger().processed == (0 if restart is Restart.TEMPORARY else 1)


async def test_a_child_that_has_asked_to_be_stopped_may_still_escalate() -> None:
    scene = Scene()
    spec = child(Hasty, scene, lambda: PermanentError("fire", severity=ErrorSeverity.CRITICAL)).options(name="a")
    async with open_system(supervisor(supervisor(spec, name="inner"), name="top")) as system:
        await system.ref(Hasty).send(Hasty.in_leave, 0.0)
        await system.wait()

        assert system.supervisor("root/top").which_children()[0].restarts == 1


async def test_a_child_that_ends_itself_ends_normally_though_its_last_message_is_bad() -> None:
    scene = Scene()
    spec = child(Hasty, scene, ValidationError).options(name="a")
    async with open_system(supervisor(spec, name="top")) as system:
        await system.ref(Hasty).send(Hasty.in_leave, 0.0)
        await system.wait()

        assert running(system, "top") == []
        assert scene.reasons["a"] is ExitReason.NORMAL
        assert system.ledger().dead_lettered_by == {"validation": 1}


async def test_a_child_of_a_stopped_supervisor_ends_by_shutdown_which_restarts_nothing() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a").options(restart=Restart.PERMANENT), name="inner")
    async with open_system(supervisor(inner, name="top")) as system:
        await system.supervisor("root/top").stop_child("inner")
        await system.wait()

        assert scene.take() == ["start a", "stop a"]
        assert scene.reasons["a"] is ExitReason.SHUTDOWN


async def test_a_temporary_child_that_ended_takes_its_spec_along() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name).options(restart=Restart.TEMPORARY) for name in "ab"), worker(scene, "c"), name="top")
    async with open_system(tree) as system:
        await crash(system, "top/a")
        await finish(system, "top/b")

        assert [each.name for each in system.supervisor("root/top").which_children()] == ["c"]
        assert system.supervisor("root/top").count_children().specs == 1


async def test_a_transient_child_that_ended_keeps_its_spec() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        await finish(system, "top/a")

        (info,) = system.supervisor("root/top").which_children()
        assert (info.name, info.is_running, info.incarnation, info.restarts) == ("a", False, 1, 0)


async def test_actors_are_transient_and_supervisors_permanent_by_default() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), supervisor(name="inner"), name="top")) as system:
        assert [each.restart for each in system.supervisor("root/top").which_children()] == [Restart.TRANSIENT, Restart.PERMANENT]


async def test_a_restart_makes_a_new_object_from_the_same_arguments() -> None:
    class Counting(Actor):
        def __init__(self, start: int, *, step: int) -> None:
            self.value = start
            self.step = step

        @in_port
        def in_count(self, fault: Fault) -> int:
            self.value += self.step
            if fault.times:
                fault.times -= 1
                raise fault.error()
            return self.value

    async with open_system(supervisor(child(Counting, 10, step=5), name="top")) as system:
        counting = system.ref(Counting)
        await counting.ask(Counting.in_count, Fault(0))

        assert await counting.ask(Counting.in_count, Fault(1)) == 15


async def test_an_address_stays_valid_across_restarts() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        before = ref(system, "top/a")
        await crash(system, "top/a")
        await before.send(Worker.in_note, "still here")
        await system.settle()

        assert before == ref(system, "top/a")
        assert scene.lines[-1] == "did a: still here"


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_what_was_queued_at_a_child_gone_for_good_becomes_dead_letters(restart: Restart) -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(restart=restart), name="top")) as system:
        gone = ref(system, "top/a")
        gone.send_nowait(Worker.in_finish, Finish())
        gone.send_nowait(Worker.in_note, "queued")
        await system.wait()
        await gone.send(Worker.in_note, "late")

        letters = await system.dead_letters.inspect()

        assert [(each.message, each.reason.value) for each in letters] == [("queued", "receiver_stopped"), ("late", "receiver_stopped")]
        assert not gone.is_alive
        system.ledger().check()


async def test_a_drained_child_is_not_restarted_even_if_it_is_permanent() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            await self.out_number.send(1)

    class Sink(Actor):
        @in_port
        def in_number(self, number: int) -> None:
            pass

    tree = supervisor(
        child(Source), child(Sink).options(restart=Restart.PERMANENT), wires=[Source.out_number >> Sink.in_number], name="top"
    )
    async with open_system(tree) as system:
        await system.wait()

        children = system.supervisor("root/top").which_children()
        assert [(each.name, each.is_running, each.incarnation) for each in children] == [("source", False, 1), ("sink", False, 1)]


async def test_a_permanent_source_runs_again_when_its_run_returns() -> None:
    runs: list[int] = []

    class Source(Actor):
        async def run(self) -> None:
            runs.append(1)
            if len(runs) == 3:
                await trio.sleep_forever()

        def snapshot(self) -> object:
            return len(runs)

    tree = supervisor(child(Source).options(restart=Restart.PERMANENT), name="top")
    async with open_system(tree):
        await trio.testing.wait_all_tasks_blocked()

    assert len(runs) == 3


async def test_a_failure_outside_of_handlers_restarts_as_well() -> None:
    class Backgrounder(Worker):
        async def on_start(self) -> None:
            await super().on_start()
            if self.scene.lines.count("start a") < 3:
                self.start_soon(self.fail)

        async def fail(self) -> None:
            raise Bug

    scene = Scene()
    async with open_system(supervisor(child(Backgrounder, scene).options(name="a"), name="top")) as system:
        await system.wait()

        assert scene.take() == ["start a", "stop a", "start a", "stop a", "start a"]
        assert scene.reasons["a"] is ExitReason.FAILED


async def test_a_life_that_ends_for_two_reasons_ends_once() -> None:
    class Leaving(Worker):
        @in_port
        def in_leave(self, fault: Fault) -> None:
            self.stop()
            if fault.times:
                fault.times -= 1
                raise fault.error()

    scene = Scene()
    async with open_system(supervisor(child(Leaving, scene).options(name="a", restart=Restart.PERMANENT), name="top")) as system:
        await system.ref(Leaving).send(Leaving.in_leave, Fault())
        await system.ref(Leaving).send(Worker.in_note, "then this")
        await system.wait()

        assert scene.take() == ["start a", *["stop a", "start a"] * 2, "did a: then this"]
        assert system.ledger().processed == 2
