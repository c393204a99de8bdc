"""A supervisor that gives up fails itself, and its own supervisor decides what then."""

from __future__ import annotations

import traceback

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ErrorSeverity,
    LinearBackoffRetry,
    OutPort,
    PermanentError,
    RecoveryAction,
    RecoveryPolicy,
    Restart,
    Rule,
    Strategy,
    SupervisionError,
    SupervisorSpec,
    child,
    in_port,
    open_system,
    run,
    supervisor,
)
from actorkit.events import ChildExited, SupervisorGaveUp
from tests.trees import Bug, Fault, Scene, Worker, crash, finish, ref, running, worker


def fragile(scene: Scene, *names: str) -> SupervisorSpec:
    """A supervisor that gives up at the first failure."""
    return supervisor(*(worker(scene, name) for name in names), name="inner", max_restarts=0)


async def test_a_supervisor_that_gives_up_stops_its_children_in_reverse_order_first() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), fragile(scene, "b", "c", "d"), name="top")
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/inner/c")

        assert scene.take() == ["stop c", "stop d", "stop b", "start b", "start c", "start d"]


@pytest.mark.parametrize("restart", Restart)
async def test_giving_up_is_an_abnormal_exit_whatever_the_restart_type(restart: Restart) -> None:
    scene = Scene()
    tree = supervisor(fragile(scene, "a").options(restart=restart), name="top")
    async with open_system(tree) as system:
        events = system.events(ChildExited)
        await crash(system, "top/inner/a")
        alive = running(system, "top")
    exits = [event async for event in events if event.path == "root/top/inner"]

    assert alive == ([] if restart is Restart.TEMPORARY else ["inner"])
    assert [(each.reason.is_abnormal, each.restarting) for each in exits] == [(True, restart is not Restart.TEMPORARY)]


@pytest.mark.parametrize(
    ("strategy", "then"),
    [
        (Strategy.ONE_FOR_ONE, ["stop b", "start b"]),
        (Strategy.ONE_FOR_ALL, ["stop b", "stop c", "stop a", "start a", "start b", "start c"]),
        (Strategy.REST_FOR_ONE, ["stop b", "stop c", "start b", "start c"]),
    ],
)
async def test_the_strategy_of_the_supervisor_above_applies_to_the_one_that_gave_up(strategy: Strategy, then: list[str]) -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), fragile(scene, "b"), worker(scene, "c"), name="top", strategy=strategy)
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/inner/b")

        assert scene.take() == then


async def test_giving_up_goes_upwards_level_by_level() -> None:
    scene = Scene()
    tree = supervisor(supervisor(fragile(scene, "a"), name="middle", max_restarts=0), name="top", max_restarts=1)
    async with open_system(tree) as system:
        events = system.events(SupervisorGaveUp)
        await crash(system, "top/middle/inner/a")
        alive = running(system, "top/middle/inner")
    gave_up = [event.path async for event in events]

    assert gave_up == ["root/top/middle/inner", "root/top/middle"]
    assert alive == ["a"]


async def test_the_failing_message_survives_a_supervisor_that_gave_up() -> None:
    scene = Scene()
    async with open_system(supervisor(fragile(scene, "a"), name="top")) as system:
        ref(system, "top/inner/a").send_nowait(Worker.in_fault, Fault())
        ref(system, "top/inner/a").send_nowait(Worker.in_note, "next")
        await system.wait()

        assert scene.take() == ["start a", "stop a", "start a", "did a: next"]
        assert system.ledger().processed == 2
        system.ledger().check()


async def test_a_top_tree_that_gives_up_ends_the_system_with_the_cause() -> None:
    scene = Scene()

    with pytest.raises(SupervisionError) as caught:
        async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top", max_restarts=0)) as system:
            await ref(system, "top/a").send(Worker.in_fault, Fault())
            await trio.sleep_forever()

    assert isinstance(caught.value.__cause__, Bug)
    assert "in_fault" in "".join(traceback.format_tb(caught.value.__cause__.__traceback__))
    assert "root/top" in str(caught.value)
    assert "root/top/a" in str(caught.value)
    assert scene.take() == ["start a", "start b", "stop a", "stop b"]
    system.ledger().check()
    assert system.ledger().dead_lettered_by == {"shutdown": 1}


def test_run_raises_the_cause_with_a_report_when_the_tree_gives_up() -> None:
    class Source(Actor):
        out_fault = OutPort(Fault)

        async def run(self) -> None:
            await self.out_fault.send(Fault())
            await trio.sleep_forever()

    scene = Scene()
    tree = supervisor(worker(scene, "a"), child(Source), wires=[Source.out_fault >> Worker.in_fault], name="top", max_restarts=0)

    with pytest.raises(SupervisionError) as caught:
        run(tree)

    report = caught.value.report
    assert report is not None
    assert "failed" in report.outcome
    assert isinstance(report.errors[0].exception, Bug)
    assert report.errors[0].exception is caught.value.__cause__
    report.ledger.check()
    assert [letter.reason.value for letter in report.dead_letters] == ["shutdown"]


def test_run_raises_the_cause_with_a_report_when_the_tree_does_not_start() -> None:
    scene = Scene()
    scene.start_failures["b"] = 1

    with pytest.raises(SupervisionError, match="root/top/b could not be started") as caught:
        run(supervisor(worker(scene, "a"), worker(scene, "b"), name="top"))

    assert isinstance(caught.value.__cause__, Bug)
    assert caught.value.report is not None
    assert "failed" in caught.value.report.outcome
    assert scene.take() == ["start a", "fail to start b", "stop a"]


async def test_a_critical_failure_makes_the_supervisor_fail_without_a_restart_of_its_own() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), worker(scene, "b"), name="inner", max_restarts=100)
    async with open_system(supervisor(inner, name="top")) as system:
        events = system.events(ChildExited, SupervisorGaveUp)
        scene.take()
        await ref(system, "top/inner/a").send(Worker.in_fault, Fault(1, lambda: PermanentError("fire", severity=ErrorSeverity.CRITICAL)))
        await system.wait()
        lines = scene.take()
    told = [(type(event).__name__, event.path) async for event in events]

    assert lines == ["stop b", "stop a", "start a", "start b"]
    assert told == [("ChildExited", "root/top/inner/a"), ("SupervisorGaveUp", "root/top/inner"), ("ChildExited", "root/top/inner")]


async def test_a_rule_can_escalate_what_is_not_critical() -> None:
    scene = Scene()
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.ESCALATE, exception=Bug),))
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=100, recovery=policy)
    async with open_system(supervisor(inner, name="top")) as system:
        await crash(system, "top/inner/a")

        assert [each.restarts for each in system.supervisor("root/top").which_children()] == [1]
        assert [each.restarts for each in system.supervisor("root/top/inner").which_children()] == [0]


async def test_a_failure_to_start_again_can_be_escalated() -> None:
    scene = Scene()
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.ESCALATE, exception=Bug, component="root/top/inner/*"),))
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=100)
    async with open_system(supervisor(inner, name="top", recovery=policy)) as system:
        events = system.events(SupervisorGaveUp)
        scene.start_failures["a"] = 1
        await ref(system, "top/inner/a").send(Worker.in_fault, Fault(1, KeyError))
        await system.wait()
        alive = running(system, "top/inner")
    gave_up = [event.path async for event in events]

    assert gave_up == ["root/top/inner"]
    assert alive == ["a"]


async def test_messages_sent_while_a_supervisor_is_being_restarted_wait() -> None:
    scene = Scene()
    scene.stop_takes = {"b": 5.0}
    async with open_system(supervisor(fragile(scene, "a", "b"), name="top")) as system:
        await ref(system, "top/inner/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await ref(system, "top/inner/a").send(Worker.in_note, "hello")
        await ref(system, "top/inner/b").send(Worker.in_note, "hello")
        await system.wait()

        assert scene.take()[-2:] == ["did a: hello", "did b: hello"]
        assert system.ledger().dead_lettered == 0


async def test_a_child_that_ended_by_itself_stays_down_when_its_supervisor_is_restarted() -> None:
    scene = Scene()
    async with open_system(supervisor(fragile(scene, "a", "b"), name="top")) as system:
        await finish(system, "top/inner/b")
        scene.take()

        await crash(system, "top/inner/a")

        assert scene.take() == ["stop a", "start a"]


async def test_children_of_a_restarted_supervisor_are_those_of_its_spec() -> None:
    scene = Scene()
    inner = supervisor(
        worker(scene, "a"),
        worker(scene, "stopped"),
        worker(scene, "temporary").options(restart=Restart.TEMPORARY),
        name="inner",
        max_restarts=0,
    )
    async with open_system(supervisor(inner, name="top")) as system:
        await system.supervisor("root/top/inner").stop_child("stopped")
        await system.supervisor("root/top/inner").start_child(worker(scene, "added"))
        before = running(system, "top/inner")

        await crash(system, "top/inner/a")

        assert before == ["a", "temporary", "added"]
        assert running(system, "top/inner") == ["a", "stopped", "temporary"]


async def test_a_source_below_a_restarted_supervisor_runs_again() -> None:
    runs: list[str] = []

    class Source(Actor):
        async def run(self) -> None:
            runs.append("run")
            await trio.sleep_forever()

    scene = Scene()
    inner = supervisor(child(Source), worker(scene, "a"), name="inner", max_restarts=0)
    async with open_system(supervisor(inner, name="top")) as system:
        await trio.testing.wait_all_tasks_blocked()

        await ref(system, "top/inner/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        assert runs == ["run", "run"]


async def test_a_back_off_ends_with_the_supervisor_that_gave_up() -> None:
    scene = Scene()
    slow = LinearBackoffRetry(delay=10.0)
    inner = supervisor(worker(scene, "a").options(backoff=slow), worker(scene, "b"), name="inner", max_restarts=1)
    async with open_system(supervisor(inner, name="top")) as system:
        before = trio.current_time()
        await ref(system, "top/inner/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await crash(system, "top/inner/b")

        assert trio.current_time() == before
        assert running(system, "top/inner") == ["a", "b"]


async def test_a_supervisor_that_is_giving_up_takes_no_requests() -> None:
    scene = Scene()
    scene.stop_takes = {"b": 4.0}
    async with open_system(supervisor(fragile(scene, "a", "b"), name="top")) as system:
        await ref(system, "top/inner/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(SupervisionError, match="root/top/inner is not running"):
            await system.supervisor("root/top/inner").start_child(worker(scene, "c"))
        await system.wait()

        assert scene.take() == ["start a", "start b", "stop a", "stop b", "start a", "start b"]


async def test_a_message_that_makes_its_supervisor_give_up_again_and_again_is_tried_ten_times() -> None:
    tries: list[int] = []

    class Slow(Actor):
        """Fails so slowly that no supervisor runs out of restarts."""

        @in_port
        async def in_work(self, number: int) -> None:
            tries.append(number)
            await trio.sleep(10)
            if number < 0:
                raise PermanentError("as bad as can be", severity=ErrorSeverity.CRITICAL)

    async with open_system(supervisor(supervisor(child(Slow), name="inner"), name="top")) as system:
        for number in (-1, 2):
            await system.ref(Slow).send(Slow.in_work, number)
        await system.settle()

        assert tries == [-1] * 10 + [2]
        assert system.ledger().dead_lettered_by == {"retries_exhausted": 1}
        assert system.supervisor("root/top").which_children()[0].restarts == 9
        system.ledger().check()
