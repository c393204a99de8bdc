"""Children started, stopped, restarted, deleted, listed and counted while the system runs; what is wrong is refused."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from actorkit import (
    AskFailed,
    ChildCounts,
    Restart,
    SpecError,
    SpecTypeError,
    SupervisionError,
    UnknownActor,
    child,
    dynamic_supervisor,
    open_system,
    supervisor,
)
from tests.trees import Bug, Scene, Worker, crash, finish, ref, running, worker


async def test_a_child_added_at_run_time_comes_last_and_stops_first() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        added = await system.supervisor("root/top").start_child(worker(scene, "b"))
        await added.ask(Worker.in_note, "hello")

    assert added.path == "root/top/b"
    assert scene.take() == ["start a", "start b", "did b: hello", "stop b", "stop a"]


async def test_a_name_that_is_taken_is_refused_also_by_a_child_that_has_ended() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")) as system:
        await finish(system, "top/b")

        for name in "ab":
            with pytest.raises(SpecError, match=f"root/top has a child '{name}' already"):
                await system.supervisor("root/top").start_child(worker(scene, name))


async def test_a_spec_that_is_in_the_tree_already_is_refused() -> None:
    scene = Scene()
    used = worker(scene, "a")
    async with open_system(supervisor(supervisor(used, name="one"), supervisor(name="two"), name="top")) as system:
        with pytest.raises(SpecError, match="child 'a' is in this tree already"):
            await system.supervisor("root/top/two").start_child(used)
        with pytest.raises(SpecError, match="child 'a' is in this tree already"):
            await system.supervisor("root/top/two").start_child(supervisor(used, name="three"))

        assert system.supervisor("root/top/two").which_children() == []


async def test_a_spec_may_be_used_again_once_its_child_was_deleted() -> None:
    scene = Scene()
    spec = worker(scene, "a")
    async with open_system(supervisor(spec, name="top")) as system:
        top = system.supervisor("root/top")
        await top.stop_child("a")
        await top.delete_child("a")

        again = await top.start_child(spec)

        assert again.is_alive
        assert ref(system, "top/a") == again


async def test_what_is_no_spec_is_refused() -> None:
    async with open_system(supervisor(name="top")) as system:
        wrong: Any = Worker

        with pytest.raises(SpecTypeError, match=r"root/top: <class .*Worker'> is not a child: expected child"):
            await system.supervisor("root/top").start_child(wrong)


async def test_a_stopped_child_keeps_its_place_and_what_was_queued() -> None:
    scene = Scene()
    async with open_system(supervisor(*(worker(scene, name) for name in "abc"), name="top")) as system:
        top = system.supervisor("root/top")
        await ref(system, "top/b").send(Worker.in_sleep, 1.0)
        await ref(system, "top/b").send(Worker.in_note, "kept")
        await trio.testing.wait_all_tasks_blocked()

        await top.stop_child("b")
        await system.settle()
        listed = [(each.name, each.is_running) for each in top.which_children()]
        await top.restart_child("b")
        await system.settle()

        assert listed == [("a", True), ("b", False), ("c", True)]
        assert scene.take()[3:] == ["slept b", "stop b", "start b", "did b: kept"]
        assert [each.name for each in top.which_children()] == ["a", "b", "c"]


async def test_what_is_sent_to_a_stopped_child_becomes_a_dead_letter() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        a = ref(system, "top/a")
        await system.supervisor("root/top").stop_child("a")

        await a.send(Worker.in_note, "1")
        a.send_nowait(Worker.in_note, "2")
        with pytest.raises(AskFailed, match="root/top/a"):
            await a.ask(Worker.in_note, "3")

        assert not a.is_alive
        assert [each.message for each in await system.dead_letters.inspect()] == ["1", "2", "3"]
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 3}


async def test_an_ask_queued_at_a_child_that_is_stopped_fails_at_once() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system, trio.open_nursery() as nursery:
        failed: list[str] = []

        async def ask() -> None:
            try:
                await ref(system, "top/a").ask(Worker.in_note, "x", timeout=None)
            except AskFailed as error:
                failed.append(str(error))

        await ref(system, "top/a").send(Worker.in_sleep, 100.0)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("a")
        await trio.testing.wait_all_tasks_blocked()

        assert len(failed) == 1
        assert "root/top/a.in_note" in failed[0]


async def test_a_child_that_ended_can_be_started_again_by_hand() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        await finish(system, "top/a")

        await system.supervisor("root/top").restart_child("a")
        await ref(system, "top/a").send(Worker.in_note, "back")
        await system.settle()

        assert scene.take() == ["start a", "stop a", "start a", "did a: back"]


async def test_a_running_child_can_neither_be_restarted_nor_deleted() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        top = system.supervisor("root/top")

        for forbidden in (top.restart_child, top.delete_child):
            with pytest.raises(SpecError, match="root/top/a is running: stop it first, with stop_child"):
                await forbidden("a")

        assert running(system, "top") == ["a"]


async def test_a_restart_by_hand_that_fails_leaves_the_child_stopped() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        top = system.supervisor("root/top")
        await top.stop_child("a")
        scene.start_failures["a"] = 1

        with pytest.raises(SupervisionError, match="root/top/a could not be started") as caught:
            await top.restart_child("a")
        await system.wait()
        stopped = running(system, "top")
        await top.restart_child("a")

        assert isinstance(caught.value.__cause__, Bug)
        assert stopped == []
        assert running(system, "top") == ["a"]


async def test_a_child_stopped_twice_is_stopped_once() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        top = system.supervisor("root/top")

        await top.stop_child("a")
        await top.stop_child("a")

        assert scene.take() == ["start a", "stop a"]


async def test_a_deleted_child_is_gone_and_what_it_had_queued_becomes_dead_letters() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")) as system:
        top = system.supervisor("root/top")
        gone = ref(system, "top/a")
        await gone.send(Worker.in_sleep, 1.0)
        await gone.send(Worker.in_note, "queued")
        await trio.testing.wait_all_tasks_blocked()

        await top.stop_child("a")
        kept = system.ledger().queued
        await top.delete_child("a")
        await gone.send(Worker.in_note, "late")

        assert kept == 1
        assert [each.name for each in top.which_children()] == ["b"]
        assert [each.message for each in await system.dead_letters.inspect()] == ["queued", "late"]
        assert system.ledger().queued == 0
        system.ledger().check()


async def test_a_deleted_child_stays_in_the_totals_of_the_ledger() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        top = system.supervisor("root/top")
        gone = ref(system, "top/a")
        await gone.send(Worker.in_note, "1")
        await system.settle()
        await top.stop_child("a")
        await top.delete_child("a")
        await gone.send(Worker.in_note, "2")

        ledger = system.ledger()

        assert (ledger.accepted, ledger.processed, ledger.dead_lettered) == (2, 1, 1)
        assert len(system.dead_letters) == ledger.dead_lettered


async def test_a_temporary_child_stopped_by_hand_is_forgotten() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(restart=Restart.TEMPORARY), name="top")) as system:
        await system.supervisor("root/top").stop_child("a")

        assert system.supervisor("root/top").which_children() == []


async def test_a_supervisor_is_stopped_and_started_again_as_a_whole() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), worker(scene, "b"), name="inner")
    async with open_system(supervisor(inner, name="top")) as system:
        top = system.supervisor("root/top")

        await top.stop_child("inner")
        await ref(system, "top/inner/a").send(Worker.in_note, "dead letter")
        await top.restart_child("inner")
        await ref(system, "top/inner/a").send(Worker.in_note, "hello")
        await system.settle()

        assert scene.take() == ["start a", "start b", "stop b", "stop a", "start a", "start b", "did a: hello"]
        assert system.ledger().dead_lettered == 1


async def test_a_stopped_supervisor_does_nothing_but_says_so() -> None:
    scene = Scene()
    async with open_system(supervisor(supervisor(worker(scene, "a"), name="inner"), name="top")) as system:
        inner = system.supervisor("root/top/inner")
        await system.supervisor("root/top").stop_child("inner")

        for request in (inner.start_child(worker(scene, "b")), inner.restart_child("a"), inner.stop_child("a"), inner.delete_child("a")):
            with pytest.raises(SupervisionError, match="root/top/inner is not running"):
                await request

        assert [each.is_running for each in inner.which_children()] == [False]


async def test_a_deleted_supervisor_is_gone_with_all_below() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a"), name="inner")
    async with open_system(supervisor(inner, worker(scene, "b"), name="top")) as system:
        top = system.supervisor("root/top")
        gone = ref(system, "top/inner/a")

        await top.stop_child("inner")
        await top.delete_child("inner")

        assert not gone.is_alive
        with pytest.raises(UnknownActor, match="there is no supervisor 'root/top/inner'"):
            system.supervisor("root/top/inner")
        with pytest.raises(UnknownActor, match="there is no actor 'root/top/inner/a'"):
            ref(system, "top/inner/a")


async def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")) as system:
        top = system.supervisor("root/top")

        for request in (top.stop_child, top.restart_child, top.delete_child):
            with pytest.raises(UnknownActor, match="root/top has no child 'c'; its children are: a, b"):
                await request("c")


async def test_an_unknown_name_where_there_are_none_says_so() -> None:
    async with open_system(dynamic_supervisor(name="top")) as system:
        with pytest.raises(UnknownActor, match="root/top has no child 'c'; its children are: none"):
            await system.supervisor("root/top").stop_child("c")


async def test_an_unknown_supervisor_is_an_error_that_lists_the_supervisors() -> None:
    async with open_system(supervisor(supervisor(name="inner"), name="top")) as system:
        with pytest.raises(UnknownActor, match="there is no supervisor 'root/tip'; there are: root/top, root, root/top/inner"):
            system.supervisor("root/tip")


async def test_which_children_tells_all_about_them_in_order() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "b"), name="inner")
    tree = supervisor(worker(scene, "a").options(restart=Restart.PERMANENT), inner, name="top")
    async with open_system(tree) as system:
        await finish(system, "top/a")

        a, sub = system.supervisor("root/top").which_children()

        assert (a.name, a.path, a.kind, a.is_running, a.incarnation, a.restarts, a.restart, a.ref) == (
            *("a", "root/top/a", "actor", True, 2, 1, Restart.PERMANENT),
            ref(system, "top/a"),
        )
        assert (sub.name, sub.kind, sub.is_running, sub.ref) == ("inner", "supervisor", True, None)


async def test_count_children_counts() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), supervisor(worker(scene, "x"), name="inner"), worker(scene, "b"), name="top")
    async with open_system(tree) as system:
        top = system.supervisor("root/top")
        before = top.count_children()
        await top.stop_child("b")

        assert before == ChildCounts(specs=3, active=3, supervisors=1, actors=2)
        assert top.count_children() == ChildCounts(specs=3, active=2, supervisors=1, actors=2)


async def test_an_actor_stops_and_starts_its_siblings() -> None:
    scene = Scene()

    class Boss(Worker):
        async def run(self) -> None:
            await self.supervisor.stop_child("a")
            await self.supervisor.restart_child("a")

    async with open_system(supervisor(worker(scene, "a"), child(Boss, scene).options(name="boss"), name="top")) as system:
        await system.wait()

        assert scene.take()[:4] == ["start a", "start boss", "stop a", "start a"]


async def test_a_child_started_again_by_hand_is_supervised_like_before() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        await system.supervisor("root/top").stop_child("a")
        await system.supervisor("root/top").restart_child("a")

        await crash(system, "top/a")

        assert running(system, "top") == ["a"]
