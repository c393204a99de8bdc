"""Supervisors that start empty, for children started while the system runs."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    Restart,
    SpecError,
    SupervisionError,
    child,
    dynamic_supervisor,
    in_port,
    open_system,
    supervisor,
)
from tests.trees import Bug, Fault, Scene, Worker, crash, finish, ref, running, worker


class Source(Actor):
    """An actor of another class."""


async def test_it_starts_empty_and_returns_the_address_of_what_it_starts() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        before = top.which_children()

        started = await top.start_child(child(Worker, scene))
        await started.ask(Worker.in_note, "hello")

        assert before == []
        assert started.path == "root/top/worker-1"
        assert scene.take() == ["start worker-1", "did worker-1: hello"]


async def test_children_without_a_name_are_numbered_by_class() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        spec = child(Worker, scene)

        refs = [await top.start_child(each) for each in (spec, spec, child(Source), child(Worker, scene))]

        assert [each.path for each in refs] == ["root/top/worker-1", "root/top/worker-2", "root/top/source-1", "root/top/worker-3"]
        assert ref(system, "top/worker-2") == refs[1]


async def test_a_number_is_never_used_again() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        await top.start_child(child(Worker, scene))
        await finish(system, "top/worker-1")

        assert (await top.start_child(child(Worker, scene))).path == "root/top/worker-2"


async def test_a_number_that_is_taken_as_a_name_is_passed_over() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        await top.start_child(worker(scene, "worker-1"))

        assert (await top.start_child(child(Worker, scene))).path == "root/top/worker-2"


async def test_a_child_may_have_a_name_of_its_own_once() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        await top.start_child(worker(scene, "ada"))

        with pytest.raises(SpecError, match="root/top has a child 'ada' already"):
            await top.start_child(worker(scene, "ada"))

        assert running(system, "top") == ["ada"]


async def test_a_child_knows_its_number() -> None:
    class Named(Actor):
        @in_port
        def in_who(self, _: str) -> tuple[str, str]:
            return self.name, self.path

    async with open_system(dynamic_supervisor(name="top")) as system:
        named = await system.supervisor("root/top").start_child(child(Named))

        assert await named.ask(Named.in_who, "?") == ("named-1", "root/top/named-1")


async def test_a_child_that_failed_is_restarted_alone() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        for _ in range(3):
            await top.start_child(child(Worker, scene))
        scene.take()

        await crash(system, "top/worker-2")

        assert scene.take() == ["stop worker-2", "start worker-2"]


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_a_child_that_ended_is_forgotten(restart: Restart) -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        await top.start_child(child(Worker, scene).options(restart=restart))

        await finish(system, "top/worker-1")

        assert top.which_children() == []
        with pytest.raises(LookupError, match="there is no actor 'root/top/worker-1'"):
            system.ref("root/top/worker-1")


async def test_a_child_stopped_by_hand_is_forgotten() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        gone = await top.start_child(child(Worker, scene))

        await top.stop_child("worker-1")
        await gone.send(Worker.in_note, "too late")

        assert top.which_children() == []
        assert not gone.is_alive
        (letter,) = await system.dead_letters.inspect()
        assert (letter.message, letter.reason.value) == ("too late", "receiver_stopped")


async def test_no_more_children_than_max_children() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top", max_children=2)) as system:
        top = system.supervisor("root/top")
        for _ in range(2):
            await top.start_child(child(Worker, scene))

        with pytest.raises(SpecError, match="root/top has 2 children, its max_children: stop one first"):
            await top.start_child(child(Worker, scene))
        await top.stop_child("worker-1")
        third = await top.start_child(child(Worker, scene))

        assert third.path == "root/top/worker-3"
        assert running(system, "top") == ["worker-2", "worker-3"]


async def test_children_stop_concurrently() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        for number in range(1, 11):
            scene.stop_takes[f"worker-{number}"] = 3.0
            await top.start_child(child(Worker, scene))
        before = trio.current_time()

    assert trio.current_time() == before + 3.0
    assert sum(line.startswith("stop") for line in scene.take()) == 10


async def test_it_is_empty_again_after_a_restart_of_its_own() -> None:
    scene = Scene()
    inner = dynamic_supervisor(name="inner", max_restarts=0)
    async with open_system(supervisor(inner, name="top")) as system:
        await system.supervisor("root/top/inner").start_child(child(Worker, scene))

        await crash(system, "top/inner/worker-1")

        assert running(system, "top") == ["inner"]
        assert system.supervisor("root/top/inner").which_children() == []
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 1}


async def test_what_is_queued_at_the_end_of_the_system_is_a_dead_letter_of_the_shutdown() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        started = await system.supervisor("root/top").start_child(child(Worker, scene).options(shutdown=1.0))
        await started.send(Worker.in_sleep, 100.0)
        await started.send(Worker.in_note, "never")

    assert system.ledger().dead_lettered_by == {"shutdown": 2}
    system.ledger().check()


async def test_a_child_that_does_not_start_is_not_added() -> None:
    scene = Scene()
    scene.start_failures["worker-1"] = 1
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")

        with pytest.raises(SupervisionError, match="root/top/worker-1 could not be started") as caught:
            await top.start_child(child(Worker, scene))
        await system.wait()

        assert isinstance(caught.value.__cause__, Bug)
        assert top.which_children() == []
        assert system.snapshot()["children"][0]["children"] == []


async def test_it_gives_up_like_any_supervisor() -> None:
    scene = Scene()
    with pytest.raises(SupervisionError, match="root/top gave up") as caught:
        async with open_system(dynamic_supervisor(name="top", max_restarts=1)) as system:
            started = await system.supervisor("root/top").start_child(child(Worker, scene))
            for _ in range(2):
                await started.send(Worker.in_fault, Fault())
            await trio.sleep_forever()

    assert isinstance(caught.value.__cause__, Bug)


async def test_supervisors_can_be_started_too() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        inner = await system.supervisor("root/top").start_child(supervisor(worker(scene, "a"), worker(scene, "b"), name="inner"))

        assert [each.name for each in inner.which_children()] == ["a", "b"]
        assert system.supervisor("root/top/inner") is inner


async def test_an_actor_starts_children_beside_itself() -> None:
    scene = Scene()

    class Parent(Actor):
        @in_port
        async def in_more(self, _: str) -> str:
            return (await self.supervisor.start_child(child(Worker, scene))).path

    async with open_system(dynamic_supervisor(name="top")) as system:
        parent = await system.supervisor("root/top").start_child(child(Parent))

        assert await parent.ask(Parent.in_more, "please") == "root/top/worker-1"


async def test_who_is_cancelled_while_a_child_starts_does_not_get_it() -> None:
    scene = Scene()
    scene.start_takes = {"worker-1": 20.0}
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")

        with trio.move_on_after(5.0) as scope:
            await top.start_child(child(Worker, scene))
        children = top.which_children()
        await system.wait()

        assert scope.cancelled_caught
        assert children == []
        assert scene.take() == []


async def test_who_is_cancelled_before_its_turn_changes_nothing() -> None:
    scene = Scene()
    scene.start_takes = {"worker-1": 20.0}
    async with open_system(dynamic_supervisor(name="top")) as system, trio.open_nursery() as nursery:
        top = system.supervisor("root/top")
        nursery.start_soon(top.start_child, child(Worker, scene))
        await trio.testing.wait_all_tasks_blocked()

        with trio.move_on_after(5.0):
            await top.start_child(child(Worker, scene))
        await system.wait()

        assert running(system, "top") == ["worker-1"]


async def test_children_started_at_once_start_one_after_the_other() -> None:
    scene = Scene()
    scene.start_takes = {f"worker-{number}": 1.0 for number in (1, 2, 3)}
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        before = trio.current_time()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(top.start_child, child(Worker, scene))

        assert trio.current_time() == before + 3.0
        assert running(system, "top") == ["worker-1", "worker-2", "worker-3"]


async def test_thousands_of_children_come_and_go() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")
        refs = [await top.start_child(child(Worker, scene).options(restart=Restart.TEMPORARY)) for _ in range(2_000)]
        for each in refs:
            each.send_nowait(Worker.in_note, "x")
        for each in refs[:1_000]:
            await top.stop_child(each.path.rpartition("/")[2])
        await system.wait()

        assert top.count_children().active == 1_000
        system.ledger().check()


async def test_who_is_cancelled_while_a_supervisor_starts_has_its_first_children_stopped() -> None:
    scene = Scene()
    scene.start_takes = {"b": 20.0}
    async with open_system(dynamic_supervisor(name="top")) as system:
        with trio.move_on_after(5.0):
            await system.supervisor("root/top").start_child(supervisor(worker(scene, "a"), worker(scene, "b"), name="inner"))

        assert scene.take() == ["start a", "stop a"]
