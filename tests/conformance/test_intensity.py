"""How many restarts a supervisor allows before it gives up."""

from __future__ import annotations

import pytest
import trio

from actorkit import PermanentError, Strategy, SupervisionError, open_system, supervisor
from actorkit.events import ChildExited, SupervisorGaveUp
from tests.trees import Bug, Fault, Scene, Worker, crash, ref, running, worker


async def test_as_many_restarts_as_allowed_are_fine_and_one_more_is_not() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=2, within=5.0)
    async with open_system(supervisor(inner, name="top")) as system:
        events = system.events(SupervisorGaveUp)
        for _ in range(2):
            await crash(system, "top/inner/a")
        fine = system.supervisor("root/top/inner").which_children()[0].restarts

        await crash(system, "top/inner/a")
        inner_number = system.supervisor("root/top").which_children()[0].incarnation
    gave_up = [event async for event in events]

    assert fine == 2
    assert inner_number == 2
    assert [event.path for event in gave_up] == ["root/top/inner"]
    assert "2 restarts in 5 s are used up" in str(gave_up[0])


async def test_a_budget_of_none_allows_no_restart() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=0)
    async with open_system(supervisor(inner, name="top")) as system:
        await crash(system, "top/inner/a")

        assert system.supervisor("root/top").which_children()[0].restarts == 1


async def test_three_restarts_in_five_seconds_are_the_default() -> None:
    scene = Scene()
    async with open_system(supervisor(supervisor(worker(scene, "a"), name="inner"), name="top")) as system:
        top = system.supervisor("root/top")
        for _ in range(3):
            await crash(system, "top/inner/a")
        fine = top.which_children()[0].restarts

        await crash(system, "top/inner/a")

        assert (fine, top.which_children()[0].restarts) == (0, 1)


async def test_restarts_longer_ago_than_the_window_do_not_count() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top", max_restarts=1, within=5.0)) as system:
        for _ in range(10):
            await crash(system, "top/a")
            await trio.sleep(5.1)

        assert system.supervisor("root/top").which_children()[0].restarts == 10


async def test_the_window_slides() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=2, within=10.0)
    async with open_system(supervisor(inner, name="top")) as system:
        top = system.supervisor("root/top")
        for pause in (6.0, 6.0, 3.0):  # at 0, 6, 12: never three within 10 s
            await crash(system, "top/inner/a")
            await trio.sleep(pause)
        fine = top.which_children()[0].restarts

        await crash(system, "top/inner/a")  # at 15, with those at 6 and 12

        assert (fine, top.which_children()[0].restarts) == (0, 1)


async def test_the_restarts_of_all_children_count_together() -> None:
    scene = Scene()
    inner = supervisor(*(worker(scene, name) for name in "abc"), name="inner", max_restarts=2)
    async with open_system(supervisor(inner, name="top")) as system:
        for name in "abc":
            await crash(system, f"top/inner/{name}")

        assert system.supervisor("root/top").which_children()[0].restarts == 1


async def test_the_restart_of_a_group_counts_once() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abcd"), name="top", strategy=Strategy.ONE_FOR_ALL, max_restarts=1)
    async with open_system(tree) as system:
        await crash(system, "top/a")

        assert running(system, "top") == ["a", "b", "c", "d"]


async def test_restarts_while_one_message_is_being_tried_count_once() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top", max_restarts=1)) as system:
        await crash(system, "top/a", times=2)

        assert scene.take() == ["start a", "stop a", "start a", "stop a", "start a"]
        assert system.ledger().processed == 1


async def test_a_message_that_crashed_its_actor_three_times_is_poison_and_its_fresh_instance_costs_nothing() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top", max_restarts=1)) as system:
        await crash(system, "top/a", times=100)

        (letter,) = await system.dead_letters.inspect()
        assert letter.reason.value == "poison"
        assert letter.attempts == 3
        assert scene.take().count("start a") == 4
        assert running(system, "top") == ["a"]


async def test_a_steady_trickle_of_one_kind_of_poison_costs_dead_letters_and_not_the_system() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        for _ in range(20):
            await crash(system, "top/a", times=100)

        assert len(system.dead_letters) == 20
        assert running(system, "top") == ["a"]


async def test_bad_data_is_set_aside_without_a_restart() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top", max_restarts=0)) as system:
        for _ in range(5):
            await ref(system, "top/a").send(Worker.in_fault, Fault(1, PermanentError))
        await system.wait()

        assert system.ledger().dead_lettered_by == {"permanent": 5}
        assert system.supervisor("root/top").which_children()[0].incarnation == 1


async def test_a_restarted_supervisor_has_its_whole_budget_again() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=1)
    async with open_system(supervisor(inner, name="top")) as system:
        for _ in range(3):  # the second makes it give up, the third is the first of its next life
            await crash(system, "top/inner/a")

        assert system.supervisor("root/top").which_children()[0].restarts == 1


async def test_a_start_that_fails_during_a_restart_counts_like_an_exit() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=2)
    async with open_system(supervisor(inner, name="top")) as system:
        scene.start_failures["a"] = 2

        await crash(system, "top/inner/a")

        assert system.supervisor("root/top").which_children()[0].restarts == 1
        assert running(system, "top/inner") == ["a"]


async def test_a_start_that_keeps_failing_ends_the_tree() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", max_restarts=3)

    with pytest.raises(SupervisionError) as caught:
        async with open_system(tree) as system:
            scene.take()
            scene.start_failures["a"] = 100
            await ref(system, "top/a").send(Worker.in_fault, Fault())
            await trio.sleep_forever()

    assert isinstance(caught.value.__cause__, Bug)
    assert "a does not start" in str(caught.value)
    assert scene.take() == ["stop a", *["fail to start a"] * 3, "stop b"]


async def test_a_budget_of_its_own_leaves_its_supervisors_alone() -> None:
    scene = Scene()
    flaky = worker(scene, "flaky").options(max_restarts=5, within=60.0)
    async with open_system(supervisor(flaky, worker(scene, "a"), name="top", max_restarts=1)) as system:
        for _ in range(5):
            await crash(system, "top/flaky")
        await crash(system, "top/a")

        assert [each.restarts for each in system.supervisor("root/top").which_children()] == [5, 1]


async def test_a_budget_of_its_own_that_is_used_up_makes_the_supervisor_give_up() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a").options(max_restarts=1, within=60.0), name="inner", max_restarts=100)
    async with open_system(supervisor(inner, name="top")) as system:
        for _ in range(3):  # the third is the first of the next life
            await crash(system, "top/inner/a")

        assert system.supervisor("root/top").which_children()[0].restarts == 1


async def test_the_event_of_an_exit_beyond_the_budget_says_that_there_is_no_restart() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner", max_restarts=0)
    async with open_system(supervisor(inner, name="top")) as system:
        events = system.events(ChildExited)
        await crash(system, "top/inner/a")
    exits = [event async for event in events]

    assert [(each.path, each.restarting) for each in exits] == [("root/top/inner/a", False), ("root/top/inner", True)]
