"""Whom a supervisor stops and starts along with a child that failed."""

from __future__ import annotations

import pytest
import trio

from actorkit import ExponentialBackoffRetry, LinearBackoffRetry, Restart, Strategy, child, open_system, supervisor
from actorkit.events import ChildExited
from tests.trees import Bug, Fault, Scene, Worker, crash, finish, ref, running, worker


@pytest.mark.parametrize(
    ("strategy", "then"),
    [
        (Strategy.ONE_FOR_ONE, ["stop b", "start b"]),
        (Strategy.ONE_FOR_ALL, ["stop b", "stop d", "stop c", "stop a", "start a", "start b", "start c", "start d"]),
        (Strategy.REST_FOR_ONE, ["stop b", "stop d", "stop c", "start b", "start c", "start d"]),
    ],
)
async def test_bystanders_stop_in_reverse_order_and_start_in_order(strategy: Strategy, then: list[str]) -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abcd"), name="top", strategy=strategy)
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/b")

        assert scene.take() == then
        assert running(system, "top") == ["a", "b", "c", "d"]


async def test_all_bystanders_have_stopped_before_the_first_child_starts() -> None:
    scene = Scene()
    scene.stop_takes = {"a": 2.0, "c": 2.0}
    tree = supervisor(*(worker(scene, name) for name in "abc"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/b")

        assert scene.take() == ["stop b", "stop c", "stop a", "start a", "start b", "start c"]


async def test_a_bystander_finishes_the_message_in_hand_and_keeps_the_others() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        scene.take()
        await ref(system, "top/a").send(Worker.in_sleep, 1.0)
        await ref(system, "top/a").send(Worker.in_note, "later")

        await crash(system, "top/b")

        assert scene.take() == ["stop b", "slept a", "stop a", "start a", "start b", "did a: later"]
        assert system.ledger().processed == 3


async def test_a_bystander_cut_short_gets_its_message_again_uncounted() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a").options(shutdown=1.0), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 3.0)
        scene.take()

        await crash(system, "top/b")

        assert scene.take() == ["stop b", "stop a", "start a", "start b", "slept a"]
        assert system.ledger().dead_lettered == 0
        assert system.ledger().processed == 2


async def test_a_child_added_at_run_time_is_a_bystander_like_any_other() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.supervisor("root/top").start_child(worker(scene, "b"))
        scene.take()

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "stop b", "start a", "start b"]


async def test_a_child_stopped_by_hand_is_not_started_as_a_bystander() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abc"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.supervisor("root/top").stop_child("b")
        scene.take()

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "stop c", "start a", "start c"]


async def test_a_child_that_ended_normally_is_not_started_as_a_bystander() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await finish(system, "top/b")
        scene.take()

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "start a"]
        assert running(system, "top") == ["a"]


async def test_a_temporary_bystander_is_stopped_and_forgotten() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b").options(restart=Restart.TEMPORARY), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "stop b", "start a"]
        assert [each.name for each in system.supervisor("root/top").which_children()] == ["a"]


async def test_a_supervisor_is_a_bystander_as_a_whole() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "b"), worker(scene, "c"), name="inner")
    tree = supervisor(worker(scene, "a"), inner, name="top", strategy=Strategy.REST_FOR_ONE)
    async with open_system(tree) as system:
        scene.take()

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "stop c", "stop b", "start a", "start b", "start c"]


async def test_another_child_of_the_group_that_does_not_start_is_tried_again_with_its_group() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abc"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        scene.take()
        scene.start_failures["b"] = 1

        await crash(system, "top/a")

        assert scene.take() == [
            *("stop a", "stop c", "stop b", "start a", "fail to start b"),
            *("stop a", "start a", "start b", "start c"),
        ]
        assert running(system, "top") == ["a", "b", "c"]


async def test_rest_for_one_leaves_alone_what_came_up_before_the_child_that_does_not_start() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abc"), name="top", strategy=Strategy.REST_FOR_ONE)
    async with open_system(tree) as system:
        scene.take()
        scene.start_failures["b"] = 1

        await crash(system, "top/a")

        assert scene.take() == ["stop a", "stop c", "stop b", "start a", "fail to start b", "start b", "start c"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_bystanders_stay_down_for_as_long_as_the_failed_child_backs_off(strategy: Strategy) -> None:
    scene = Scene()
    slow = LinearBackoffRetry(delay=10.0)
    tree = supervisor(worker(scene, "a").options(backoff=slow), worker(scene, "b"), name="top", strategy=strategy)
    async with open_system(tree) as system:
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()
        meanwhile = running(system, "top")

        await system.wait()

        assert meanwhile == []
        assert running(system, "top") == ["a", "b"]


async def test_a_child_stopped_by_hand_while_it_backs_off_frees_the_bystanders_that_wait_with_it() -> None:
    scene = Scene()
    slow = ExponentialBackoffRetry(base_delay=100.0, max_delay=100.0)
    tree = supervisor(worker(scene, "a").options(backoff=slow), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("a")

        assert running(system, "top") == ["b"]


async def test_the_event_of_a_restart_names_the_failed_child_only() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        events = system.events(ChildExited)
        await crash(system, "top/a")
    exits = [event async for event in events]

    assert [(each.path, each.supervisor, each.restarting, each.restarts) for each in exits] == [("root/top/a", "root/top", True, 1)]
    assert isinstance(exits[0].exception, Bug)


async def test_a_child_stopped_by_hand_while_its_restart_is_failing_frees_the_bystanders() -> None:
    scene = Scene()

    class Failing(Worker):
        async def on_start(self) -> None:
            if self.scene.lines.count("start a"):
                await trio.sleep(5.0)
                raise Bug
            await super().on_start()

    tree = supervisor(child(Failing, scene).options(name="a"), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.ref(Failing).send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("a")
        await system.wait()

        assert running(system, "top") == ["b"]


async def test_a_child_started_by_hand_while_its_group_backs_off_is_started_anew_with_the_group() -> None:
    scene = Scene()
    slow = LinearBackoffRetry(delay=10.0)
    tree = supervisor(worker(scene, "a").options(backoff=slow), worker(scene, "b"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.supervisor("root/top").stop_child("b")
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").restart_child("b")
        scene.take()

        await system.wait()

        assert scene.take() == ["stop b", "start a", "start b"]
