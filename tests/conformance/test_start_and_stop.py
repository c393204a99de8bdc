"""Children start in order, one after the other, and stop in reverse order."""

from __future__ import annotations

import pytest
import trio

from actorkit import Actor, ExitReason, SpecError, SupervisionError, child, dynamic_supervisor, in_port, open_system, supervisor
from actorkit.events import ActorStarted, StartFailed, SupervisorStarted
from tests.trees import Bug, Scene, Worker, ref, running, worker


async def test_children_start_in_order_and_stop_in_reverse_order() -> None:
    scene = Scene()
    tree = supervisor(*(worker(scene, name) for name in "abc"), name="top")

    async with open_system(tree):
        started = scene.take()

    assert started == ["start a", "start b", "start c"]
    assert scene.take() == ["stop c", "stop b", "stop a"]


async def test_a_supervisor_among_the_children_starts_and_stops_as_a_whole() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "b"), worker(scene, "c"), name="inner")
    tree = supervisor(worker(scene, "a"), inner, worker(scene, "d"), name="top")

    async with open_system(tree):
        started = scene.take()

    assert started == ["start a", "start b", "start c", "start d"]
    assert scene.take() == ["stop d", "stop c", "stop b", "stop a"]


async def test_on_start_ends_before_the_next_child_starts() -> None:
    scene = Scene()
    scene.start_takes = {"a": 3.0}
    begun: list[str] = []

    class Noisy(Worker):
        async def on_start(self) -> None:
            begun.append(self.name)
            await super().on_start()
            begun.append(f"{self.name} is up")

    async with open_system(supervisor(*(child(Noisy, scene).options(name=name) for name in "ab"), name="top")):
        pass

    assert begun == ["a", "a is up", "b", "b is up"]


async def test_on_stop_ends_before_the_next_child_stops() -> None:
    scene = Scene()
    scene.stop_takes = {"b": 3.0}

    async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")):
        scene.take()

    assert scene.take() == ["stop b", "stop a"]
    assert scene.reasons == {"a": ExitReason.SHUTDOWN, "b": ExitReason.SHUTDOWN}


async def test_a_first_start_that_fails_stops_those_before_it_and_nothing_else() -> None:
    scene = Scene()
    scene.start_failures["c"] = 1
    tree = supervisor(*(worker(scene, name) for name in "abcd"), name="top")

    with pytest.raises(SupervisionError, match="root/top/c could not be started") as caught:
        async with open_system(tree):
            raise AssertionError("the block is not entered")

    assert type(caught.value) is SupervisionError
    assert isinstance(caught.value.__cause__, Bug)
    assert caught.value.__cause__.__traceback__ is not None
    assert caught.value.error is not None
    assert caught.value.error.exception is caught.value.__cause__
    assert scene.take() == ["start a", "start b", "fail to start c", "stop b", "stop a"]


async def test_a_first_start_that_fails_is_not_tried_again_whatever_the_budget() -> None:
    scene = Scene()
    scene.start_failures["a"] = 1
    tree = supervisor(supervisor(worker(scene, "a"), name="inner", max_restarts=10), name="top", max_restarts=10)

    with pytest.raises(SupervisionError, match="root/top/inner/a"):
        async with open_system(tree):
            raise AssertionError("the block is not entered")

    assert scene.take() == ["fail to start a"]


async def test_a_constructor_that_fails_is_a_start_that_fails() -> None:
    class Broken(Actor):
        def __init__(self) -> None:
            raise Bug("no such luck")

        async def on_stop(self, reason: ExitReason) -> None:
            raise AssertionError("what never started is not stopped")

    with pytest.raises(SupervisionError, match="no such luck") as caught:
        async with open_system(supervisor(child(Broken), name="top")):
            raise AssertionError("the block is not entered")

    assert isinstance(caught.value.__cause__, Bug)


async def test_a_start_that_takes_too_long_fails() -> None:
    scene = Scene()
    scene.start_takes = {"b": 60.0}
    tree = supervisor(worker(scene, "a"), worker(scene, "b").options(start_timeout=10.0), name="top")

    with pytest.raises(SupervisionError, match="root/top/b could not be started") as caught:
        async with open_system(tree):
            raise AssertionError("the block is not entered")

    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert scene.take() == ["start a", "stop a"]


async def test_a_cancel_during_the_start_stops_what_has_started() -> None:
    scene = Scene()
    scene.start_takes = {"b": 20.0}

    with trio.move_on_after(10.0) as scope:
        async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")):
            raise AssertionError("the block is not entered")

    assert scope.cancelled_caught
    assert scene.take() == ["start a", "stop a"]


async def test_a_failed_start_at_run_time_leaves_the_system_able_to_come_to_rest() -> None:
    class Suicidal(Actor):
        async def on_start(self) -> None:
            self.start_soon(self.fail)
            await trio.sleep(1.0)

        async def fail(self) -> None:
            raise Bug("in the background, while it starts")

    scene = Scene()
    scene.start_failures["late"] = 1
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        with pytest.raises(SupervisionError, match="late"):
            await system.supervisor("root/top").start_child(supervisor(child(Suicidal), worker(scene, "late"), name="inner"))

        await system.wait()

        assert running(system, "top") == ["a"]


async def test_a_tree_without_children_runs() -> None:
    async with open_system(supervisor(name="top")) as system:
        assert system.supervisor("root/top").which_children() == []


async def test_a_started_tree_says_so_in_events() -> None:
    scene = Scene()
    async with open_system(dynamic_supervisor(name="top")) as system:
        events = system.events(ActorStarted, SupervisorStarted)
        await system.supervisor("root/top").start_child(supervisor(worker(scene, "a"), name="inner"))
    paths = [event.path async for event in events]

    assert paths == ["root/top/inner/a", "root/top/inner"]


async def test_a_failed_start_is_an_event_with_its_exception() -> None:
    scene = Scene()
    scene.start_failures["a"] = 1
    async with open_system(dynamic_supervisor(name="top")) as system:
        events = system.events(StartFailed)
        with pytest.raises(SupervisionError):
            await system.supervisor("root/top").start_child(worker(scene, "a"))
    failures = [event async for event in events]

    assert [event.path for event in failures] == ["root/top/a"]
    assert isinstance(failures[0].exception, Bug)


async def test_one_tree_cannot_run_twice_at_once_but_again_later() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a"), name="top")

    async with open_system(tree):
        with pytest.raises(SpecError, match="'top' is running already"):
            async with open_system(tree):
                raise AssertionError("the block is not entered")
    async with open_system(tree) as system:
        again = running(system, "top")

    assert again == ["a"]


async def test_a_message_sent_in_on_start_to_an_actor_already_up_arrives() -> None:
    heard: list[str] = []

    class Early(Actor):
        @in_port
        def in_word(self, word: str) -> None:
            heard.append(word)

    class Late(Actor):
        async def on_start(self) -> None:
            await self.system.ref(Early).send(Early.in_word, "hello")

    async with open_system(supervisor(child(Early), child(Late), name="top")) as system:
        await system.settle()

    assert heard == ["hello"]


async def test_what_is_queued_is_worked_off_before_the_stop() -> None:
    scene = Scene()

    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        for text in "xyz":
            await ref(system, "top/a").send(Worker.in_note, text)

    assert scene.take() == ["start a", "did a: x", "did a: y", "did a: z", "stop a"]


async def test_an_exception_in_the_block_stops_the_actors_at_once() -> None:
    scene = Scene()
    started = trio.current_time()

    with pytest.raises(Bug):
        async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
            await ref(system, "top/a").send(Worker.in_sleep, 100.0)
            await ref(system, "top/a").send(Worker.in_note, "never")
            await trio.testing.wait_all_tasks_blocked()
            raise Bug

    assert scene.take() == ["start a", "stop a"]
    assert trio.current_time() == started
    assert system.ledger().dead_lettered_by == {"shutdown": 2}
    system.ledger().check()


async def test_those_before_a_child_that_does_not_start_have_their_time_to_stop() -> None:
    scene = Scene()
    scene.start_failures["b"] = 1
    scene.stop_takes = {"a": 3.0}

    with pytest.raises(SupervisionError):
        async with open_system(supervisor(worker(scene, "a"), worker(scene, "b"), name="top")):
            raise AssertionError("the block is not entered")

    assert scene.take() == ["start a", "fail to start b", "stop a"]
