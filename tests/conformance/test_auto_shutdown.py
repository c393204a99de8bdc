"""A supervisor that ends when its significant children have ended by themselves."""

from __future__ import annotations

import pytest
import trio

from actorkit import (
    Actor,
    AutoShutdown,
    ExitReason,
    Restart,
    SpecError,
    Strategy,
    SupervisorSpec,
    child,
    dynamic_supervisor,
    open_system,
    run,
    supervisor,
)
from actorkit.events import SupervisorStopped
from tests.trees import Scene, Worker, crash, finish, ref, running, worker

ENDING = [Restart.TRANSIENT, Restart.TEMPORARY]


def ending_with(scene: Scene, auto_shutdown: AutoShutdown, restart: Restart = Restart.TRANSIENT) -> SupervisorSpec:
    """A supervisor with two significant children and one that is not."""
    significant = [worker(scene, name).options(significant=True, restart=restart) for name in ("s1", "s2")]
    inner = supervisor(worker(scene, "a"), *significant, name="inner", auto_shutdown=auto_shutdown)
    return supervisor(inner.options(restart=Restart.TRANSIENT), name="top")


@pytest.mark.parametrize("restart", ENDING)
async def test_any_significant_child_that_ends_ends_its_supervisor(restart: Restart) -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ANY_SIGNIFICANT, restart)) as system:
        events = system.events(SupervisorStopped)
        scene.take()
        await finish(system, "top/inner/s1")
        lines, alive = scene.take(), running(system, "top")
    stopped = [(event.path, event.reason) async for event in events]

    assert lines == ["stop s1", "stop s2", "stop a"]
    assert alive == []
    assert stopped[0] == ("root/top/inner", ExitReason.SHUTDOWN)


@pytest.mark.parametrize("restart", ENDING)
async def test_all_significant_children_have_to_end_where_that_is_asked_for(restart: Restart) -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ALL_SIGNIFICANT, restart)) as system:
        await finish(system, "top/inner/s1")
        after_one = running(system, "top")

        await finish(system, "top/inner/s2")

        assert (after_one, running(system, "top")) == (["inner"], [])


async def test_a_child_that_is_not_significant_ends_alone() -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ANY_SIGNIFICANT)) as system:
        await finish(system, "top/inner/a")

        assert running(system, "top/inner") == ["s1", "s2"]


async def test_a_significant_child_that_is_restarted_ends_nothing() -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ANY_SIGNIFICANT)) as system:
        await crash(system, "top/inner/s1")

        assert running(system, "top/inner") == ["a", "s1", "s2"]


async def test_a_temporary_significant_child_ends_its_supervisor_by_a_failure_too() -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ANY_SIGNIFICANT, Restart.TEMPORARY)) as system:
        await crash(system, "top/inner/s1")

        assert running(system, "top") == []


async def test_a_significant_child_stopped_by_hand_ends_nothing() -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ANY_SIGNIFICANT)) as system:
        await system.supervisor("root/top/inner").stop_child("s1")
        await system.wait()

        assert running(system, "top/inner") == ["a", "s2"]


async def test_a_child_stopped_by_hand_does_not_count_among_those_left() -> None:
    scene = Scene()
    async with open_system(ending_with(scene, AutoShutdown.ALL_SIGNIFICANT)) as system:
        await system.supervisor("root/top/inner").stop_child("s1")

        await finish(system, "top/inner/s2")

        assert running(system, "top") == []


async def test_a_temporary_significant_bystander_ends_nothing() -> None:
    scene = Scene()
    significant = worker(scene, "s").options(significant=True, restart=Restart.TEMPORARY)
    inner = supervisor(
        worker(scene, "a"), significant, name="inner", strategy=Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )
    async with open_system(supervisor(inner, name="top")) as system:
        await crash(system, "top/inner/a")

        assert running(system, "top/inner") == ["a"]


async def test_a_significant_supervisor_that_ends_itself_ends_the_one_above() -> None:
    scene = Scene()
    leaf = worker(scene, "s").options(significant=True)
    inner = supervisor(leaf, name="inner", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    middle = supervisor(
        inner.options(restart=Restart.TRANSIENT, significant=True), name="middle", auto_shutdown=AutoShutdown.ALL_SIGNIFICANT
    )
    async with open_system(supervisor(worker(scene, "a"), middle.options(restart=Restart.TRANSIENT), name="top")) as system:
        await finish(system, "top/middle/inner/s")

        assert running(system, "top") == ["a"]


async def test_a_permanent_supervisor_that_ended_itself_is_started_again() -> None:
    scene = Scene()
    leaf = worker(scene, "s").options(significant=True, restart=Restart.TEMPORARY)
    inner = supervisor(worker(scene, "a"), leaf, name="inner", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    async with open_system(supervisor(inner, name="top")) as system:
        await finish(system, "top/inner/s")

        assert running(system, "top") == ["inner"]
        assert running(system, "top/inner") == ["a"]


async def test_what_is_sent_into_a_tree_that_ended_itself_becomes_dead_letters() -> None:
    scene = Scene()
    tree = supervisor(
        worker(scene, "s").options(significant=True), worker(scene, "a"), name="top", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )
    async with open_system(tree) as system:
        a = ref(system, "top/a")
        await finish(system, "top/s")

        await a.send(Worker.in_note, "too late")
        await system.settle()

        assert system.ledger().dead_lettered_by == {"receiver_stopped": 1}


def test_run_returns_when_the_top_tree_has_ended_itself_even_where_it_is_to_keep_on() -> None:
    class Once(Actor):
        async def run(self) -> None:
            await trio.lowlevel.checkpoint()

    once = child(Once).options(significant=True)
    tree = supervisor(once, worker(Scene(), "a"), name="top", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    report = run(tree, keep=True)

    assert report.outcome == "completed"


@pytest.mark.parametrize("setting", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_a_permanent_child_cannot_be_significant(setting: AutoShutdown) -> None:
    with pytest.raises(SpecError, match="'s': significant = True"):
        supervisor(worker(Scene(), "s").options(significant=True, restart=Restart.PERMANENT), auto_shutdown=setting)


def test_a_supervisor_that_never_ends_itself_takes_no_significant_child() -> None:
    with pytest.raises(SpecError, match="'s': significant = True"):
        supervisor(worker(Scene(), "s").options(significant=True))


async def test_the_same_holds_for_children_added_at_run_time() -> None:
    scene = Scene()
    significant = worker(scene, "s").options(significant=True)
    async with open_system(supervisor(supervisor(name="static"), dynamic_supervisor(name="dynamic"), name="top")) as system:
        for path in ("root/top/static", "root/top/dynamic"):
            with pytest.raises(SpecError, match="significant"):
                await system.supervisor(path).start_child(significant)

            assert system.supervisor(path).which_children() == []


async def test_a_significant_child_added_at_run_time_counts() -> None:
    scene = Scene()
    inner = supervisor(name="inner", auto_shutdown=AutoShutdown.ALL_SIGNIFICANT).options(restart=Restart.TEMPORARY)
    async with open_system(supervisor(inner, name="top")) as system:
        await system.supervisor("root/top/inner").start_child(worker(scene, "s").options(significant=True))

        await finish(system, "top/inner/s")

        assert running(system, "top") == []
