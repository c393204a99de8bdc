"""Restarts that wait: the supervisor serves meanwhile, and messages stay in the mailbox."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import ExponentialBackoffRetry, LinearBackoffRetry, SpecError, TransientError, child, open_system, supervisor
from actorkit.events import ActorStarted, ChildExited
from tests.trees import Fault, Scene, Worker, crash, ref, running, worker

TEN_SECONDS = LinearBackoffRetry(delay=10.0)


async def test_without_a_back_off_a_restart_is_immediate() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        before = trio.current_time()

        await crash(system, "top/a")

        assert trio.current_time() == before
        assert running(system, "top") == ["a"]


async def test_a_restart_waits_for_as_long_as_its_back_off_says() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top")) as system:
        events = system.events(ChildExited)
        before = trio.current_time()

        await crash(system, "top/a")

        assert trio.current_time() == before + 10.0
        assert running(system, "top") == ["a"]
    assert [event.delay async for event in events] == [10.0]


async def test_restarts_in_a_row_wait_longer_and_longer() -> None:
    scene = Scene()
    growing = ExponentialBackoffRetry(base_delay=1.0, max_delay=60.0, jitter="none")
    async with open_system(supervisor(worker(scene, "a").options(backoff=growing), name="top", max_restarts=10)) as system:
        events = system.events(ChildExited)
        for _ in range(4):
            await crash(system, "top/a")
    delays = [event.delay async for event in events]

    assert delays == [1.0, 2.0, 4.0, 8.0]


async def test_a_child_that_has_been_up_for_a_while_begins_with_a_short_wait_again() -> None:
    scene = Scene()
    growing = ExponentialBackoffRetry(base_delay=1.0, max_delay=60.0, jitter="none")
    tree = supervisor(worker(scene, "a").options(backoff=growing), name="top", max_restarts=10, within=5.0)
    async with open_system(tree) as system:
        events = system.events(ChildExited)
        for _ in range(2):
            await crash(system, "top/a")
        await trio.sleep(100.0)
        await crash(system, "top/a")
    delays = [event.delay async for event in events]

    assert delays == [1.0, 2.0, 1.0]


async def test_messages_wait_in_the_mailbox_and_keep_their_order() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top")) as system:
        a = ref(system, "top/a")
        a.send_nowait(Worker.in_note, "1")
        a.send_nowait(Worker.in_fault, Fault())
        a.send_nowait(Worker.in_note, "2")
        await trio.testing.wait_all_tasks_blocked()
        a.send_nowait(Worker.in_note, "3")
        alive = a.is_alive

        await system.wait()

        assert alive
        assert scene.take() == ["start a", "did a: 1", "stop a", "start a", "did a: 2", "did a: 3"]
        assert system.ledger().dead_lettered == 0


async def test_an_ask_waits_for_the_restart() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top")) as system:
        a = ref(system, "top/a")
        a.send_nowait(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await a.ask(Worker.in_note, "asked", timeout=11.0)

        assert scene.take() == ["start a", "stop a", "start a", "did a: asked"]


async def test_the_supervisor_restarts_others_and_answers_meanwhile() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), worker(scene, "b"), name="top")
    async with open_system(tree) as system:
        top = system.supervisor("root/top")
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await ref(system, "top/b").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()
        await top.start_child(worker(scene, "c"))

        assert [(each.name, each.is_running, each.incarnation) for each in top.which_children()] == [
            ("a", False, 1),
            ("b", True, 2),
            ("c", True, 1),
        ]
        assert top.count_children().active == 2


async def test_a_stop_of_the_system_does_not_wait_for_the_back_off() -> None:
    scene = Scene()
    long = LinearBackoffRetry(delay=1_000_000.0)
    started = trio.current_time()

    async with open_system(supervisor(worker(scene, "a").options(backoff=long), worker(scene, "b"), name="top")) as system:
        ref(system, "top/a").send_nowait(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()
        ref(system, "top/a").send_nowait(Worker.in_note, "never handled")
        scene.take()
        await system.cascade.stop_child("top")

    assert scene.take() == ["stop b"]
    assert trio.current_time() == started
    assert system.ledger().dead_lettered == 2
    system.ledger().check()


async def test_a_child_stopped_by_hand_while_it_backs_off_stays_down() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top")) as system:
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        before = trio.current_time()

        await system.supervisor("root/top").stop_child("a")
        await system.wait()

        assert trio.current_time() == before
        assert running(system, "top") == []
        assert not ref(system, "top/a").is_alive


async def test_a_child_that_backs_off_cannot_be_deleted_or_started_by_hand() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top")) as system:
        top = system.supervisor("root/top")
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(SpecError, match="root/top/a is about to be restarted: stop it first"):
            await top.delete_child("a")
        with pytest.raises(SpecError, match="root/top/a is about to be restarted: stop it first"):
            await top.restart_child("a")
        await system.wait()

        assert running(system, "top") == ["a"]


async def test_a_start_that_fails_backs_off_like_an_exit() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a").options(backoff=TEN_SECONDS), name="top", max_restarts=10)
    async with open_system(tree) as system:
        before = trio.current_time()
        scene.start_failures["a"] = 2

        await crash(system, "top/a")

        assert trio.current_time() == before + 10.0 + 20.0 + 30.0
        assert scene.take() == ["start a", "stop a", "fail to start a", "fail to start a", "start a"]


async def test_between_the_tries_of_an_endless_restart_the_supervisor_still_answers_and_can_be_stopped() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", max_restarts=1_000_000, within=1.0)
    async with open_system(tree) as system:
        top = system.supervisor("root/top")
        scene.start_failures["a"] = 1_000_000
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        for _ in range(10):
            await trio.lowlevel.checkpoint()

        await top.start_child(worker(scene, "c"))
        await top.stop_child("a")
        tries = scene.lines.count("fail to start a")
        await system.wait()

        assert 0 < tries < 1_000_000
        assert scene.lines.count("fail to start a") == tries
        assert running(system, "top") == ["b", "c"]


async def test_a_system_stops_in_the_middle_of_an_endless_restart() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), worker(scene, "b"), name="top", max_restarts=1_000_000, within=1.0)

    async with open_system(tree) as system:
        scene.start_failures["a"] = 1_000_000
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        await system.cascade.stop_child("top")

    assert scene.lines[-1] == "stop b"
    assert scene.start_failures["a"] > 0


async def test_a_stop_breaks_off_a_start_during_a_restart() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")) as system:
        scene.start_takes = {"a": 25.0}
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await system.cascade.stop_child("top")
        stopped = trio.current_time()
        await trio.sleep(50.0)

        assert stopped == before
        assert scene.take() == ["start a", "start b", "stop a", "stop b"]


async def test_a_failure_to_start_waits_as_its_category_says() -> None:
    class Reluctant(Worker):
        async def on_start(self) -> None:
            await super().on_start()
            if self.scene.lines.count("start a") == 2:
                raise TransientError("not yet", retry_after=7.0)

    scene = Scene()
    async with open_system(supervisor(worker(scene, "x"), name="top")) as system:
        await system.supervisor("root/top").start_child(child(Reluctant, scene).options(name="a"))
        started = system.events(ActorStarted)
        before = trio.current_time()
        await system.ref(Reluctant).send(Worker.in_fault, Fault())
        await system.wait()

        assert trio.current_time() >= before + 7.0
        assert running(system, "top") == ["x", "a"]
    assert [event.incarnation async for event in started] == [3]
