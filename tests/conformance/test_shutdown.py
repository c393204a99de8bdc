"""How long a child has to stop, and what becomes of one that doesn't."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import Actor, ActorNotRunning, CascadeManager, ExitReason, OutPort, Shutdown, child, in_port, open_system, supervisor
from actorkit.events import ActorStopped, ActorUnresponsive
from tests.trees import Scene, Worker, ref, running, worker


async def test_a_message_in_hand_is_finished_within_the_shutdown_time() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(shutdown=5.0), name="top")) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 4.0)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("a")

        assert scene.take() == ["start a", "slept a", "stop a"]
        assert scene.reasons["a"] is ExitReason.SHUTDOWN
        assert system.ledger().processed == 1


async def test_a_child_that_takes_longer_is_killed_and_its_message_is_kept() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(shutdown=5.0), name="top")) as system:
        top = system.supervisor("root/top")
        await ref(system, "top/a").send(Worker.in_sleep, 6.0)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await top.stop_child("a")

        assert trio.current_time() == before + 5.0
        assert scene.reasons["a"] is ExitReason.KILLED
        assert system.ledger().ports["root/top/a.in_sleep"].queued == 1

        await top.restart_child("a")
        await system.wait()

        assert scene.take() == ["start a", "stop a", "start a", "slept a"]


async def test_shutdown_kill_cancels_the_message_in_hand_at_once() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(shutdown=Shutdown.KILL), name="top")) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 6.0)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await system.supervisor("root/top").stop_child("a")

        assert trio.current_time() == before
        assert scene.reasons["a"] is ExitReason.KILLED


async def test_shutdown_kill_stops_an_idle_actor_like_any_other() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a").options(shutdown=Shutdown.KILL), name="top")) as system:
        await system.supervisor("root/top").stop_child("a")

        assert scene.reasons["a"] is ExitReason.SHUTDOWN


class Ticking(Actor):
    """Has a task in the background, which ends at once when it is cancelled."""

    async def on_start(self) -> None:
        self.start_soon(trio.sleep_forever)

    @in_port
    def in_end(self, _: None) -> None:
        self.stop()


TICKING = [child(Ticking).options(name=f"ticking-{number}", shutdown=Shutdown.KILL) for number in range(40)]


async def test_shutdown_kill_stops_an_idle_actor_with_a_background_task_like_any_other() -> None:
    async with open_system(supervisor(*TICKING, name="top")) as system:
        stopped = system.events(ActorStopped)

    assert [event.reason async for event in stopped] == [ExitReason.SHUTDOWN] * 40


async def test_an_actor_that_ends_itself_is_not_taken_for_killed_because_of_a_background_task() -> None:
    async with open_system(supervisor(*TICKING, name="top")) as system:
        stopped = system.events(ActorStopped)
        for each in TICKING:
            await system.ref(f"root/top/{each.name}", Ticking).send(Ticking.in_end, None)
        await system.wait()

        assert running(system, "top") == []
    assert [event.reason async for event in stopped] == [ExitReason.NORMAL] * 40


async def test_shutdown_infinity_waits_as_long_as_it_takes() -> None:
    scene = Scene()
    tree = supervisor(worker(scene, "a").options(shutdown=Shutdown.INFINITY), name="top")
    async with open_system(tree, cascade=CascadeManager.settings(poll=1_000.0)) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 1_000_000.0)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("a")

        assert scene.take() == ["start a", "slept a", "stop a"]


async def test_five_seconds_are_the_default() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 100.0)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await system.supervisor("root/top").stop_child("a")

        assert trio.current_time() == before + 5.0


async def test_on_stop_has_what_is_left_of_the_time() -> None:
    scene = Scene()
    scene.stop_takes = {"a": 3.0}
    async with open_system(supervisor(worker(scene, "a").options(shutdown=5.0), name="top")) as system:
        await ref(system, "top/a").send(Worker.in_sleep, 4.0)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await system.supervisor("root/top").stop_child("a")

        assert trio.current_time() == before + 5.0
        assert scene.take() == ["start a", "slept a"]


async def test_a_supervisor_has_all_the_time_that_its_children_need() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a").options(shutdown=50.0), worker(scene, "b").options(shutdown=50.0), name="inner")
    async with open_system(supervisor(inner, name="top")) as system:
        for name in "ab":
            await ref(system, f"top/inner/{name}").send(Worker.in_sleep, 40.0)
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("inner")

        assert sorted(scene.take()[2:4]) == ["slept a", "slept b"]
        assert scene.reasons == {"a": ExitReason.SHUTDOWN, "b": ExitReason.SHUTDOWN}


async def test_a_supervisor_with_less_time_than_its_children_cuts_them_short() -> None:
    scene = Scene()
    inner = supervisor(worker(scene, "a").options(shutdown=50.0), name="inner").options(shutdown=10.0)
    async with open_system(supervisor(inner, name="top")) as system:
        await ref(system, "top/inner/a").send(Worker.in_sleep, 40.0)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()

        await system.supervisor("root/top").stop_child("inner")

        assert trio.current_time() == before + 10.0
        assert scene.reasons["a"] is ExitReason.KILLED


async def test_a_killed_handler_may_clean_up() -> None:
    cleaned: list[str] = []

    class Tidy(Actor):
        @in_port
        async def in_work(self, _: str) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2.0)
                    cleaned.append("tidy")

    async with open_system(supervisor(child(Tidy).options(shutdown=1.0), name="top")) as system:
        events = system.events(ActorUnresponsive)
        await system.ref(Tidy).send(Tidy.in_work, "x")
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("tidy")

        assert cleaned == ["tidy"]
    assert [event async for event in events] == []


class Deaf(Actor):
    """Goes on although it was cancelled, for a while; then sends."""

    out_late = OutPort(str)

    def __init__(self, told: list[str]) -> None:
        self.told = told

    @in_port
    async def in_work(self, seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        try:
            await self.out_late.send("late")
        except ActorNotRunning as error:
            self.told.append(str(error))

    @in_port
    def in_ping(self, ping: str) -> str:
        return ping


async def test_an_actor_that_shields_itself_for_too_long_is_fenced_off_and_reported() -> None:
    told: list[str] = []
    scene = Scene()
    tree = supervisor(worker(scene, "sink"), child(Deaf, told).options(shutdown=1.0), wires=[Deaf.out_late >> Worker.in_note], name="top")
    async with open_system(tree) as system:
        events = system.events(ActorUnresponsive)
        top = system.supervisor("root/top")
        await system.ref(Deaf).send(Deaf.in_work, 60.0)
        await trio.testing.wait_all_tasks_blocked()

        await top.stop_child("deaf")
        stopped_after = trio.current_time()
        await top.delete_child("deaf")
        await trio.sleep(100.0)

        assert stopped_after < 60.0
        assert "did sink: late" not in scene.lines
        assert len(told) == 1
        assert "root/top/deaf.out_late: incarnation 1 of this actor has ended" in told[0]
        system.ledger().check()
    assert [(event.path, event.incarnation) async for event in events] == [("root/top/deaf", 1)]


async def test_the_next_life_of_a_fenced_off_actor_works_beside_what_is_left_of_it() -> None:
    told: list[str] = []
    async with open_system(supervisor(child(Deaf, told).options(shutdown=1.0), name="top")) as system:
        top = system.supervisor("root/top")
        deaf = system.ref(Deaf)
        await deaf.send(Deaf.in_work, 60.0)
        await trio.testing.wait_all_tasks_blocked()
        await top.stop_child("deaf")
        await top.restart_child("deaf")
        before = trio.current_time()

        answer = await deaf.ask(Deaf.in_ping, "are you there?", timeout=None)
        await system.settle()

        assert answer == "are you there?"
        assert trio.current_time() - before == 60.0  # the message that was in hand is handled again first
        assert len(told) == 1
        system.ledger().check()
        assert system.ledger().processed == 2


async def test_an_actor_that_swallows_its_cancellation_is_fenced_off_too() -> None:
    class Swallowing(Actor):
        @in_port
        async def in_work(self, _: str) -> None:
            while True:
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(20.0)
                    return

    async with open_system(supervisor(child(Swallowing).options(shutdown=1.0), name="top")) as system:
        events = system.events(ActorUnresponsive)
        await system.ref(Swallowing).send(Swallowing.in_work, "x")
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("swallowing")
        await trio.sleep(30.0)

        system.ledger().check()
        assert running(system, "top") == []
    assert [event.path async for event in events] == ["root/top/swallowing"]


async def test_background_tasks_and_run_end_with_their_life() -> None:
    ended: list[str] = []

    class Busy(Actor):
        async def on_start(self) -> None:
            self.start_soon(self.work, "task")

        async def run(self) -> None:
            await self.work("run")

        async def work(self, what: str) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(what)

    async with open_system(supervisor(child(Busy), name="top")) as system:
        await trio.testing.wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("busy")

        assert sorted(ended) == ["run", "task"]


async def test_an_on_stop_that_fails_is_reported_and_changes_nothing() -> None:
    class Sloppy(Worker):
        async def on_stop(self, reason: ExitReason) -> None:
            raise ValueError("sloppy")

    scene = Scene()
    tree = supervisor(worker(scene, "a"), child(Sloppy, scene).options(name="b"), name="top")
    async with open_system(tree) as system:
        events = system.events(ActorStopped)
    stopped = [event.path async for event in events]

    assert stopped == ["root/top/b", "root/top/a"]
    assert scene.lines[-1] == "stop a"


@pytest.mark.parametrize("shutdown", [1.0, Shutdown.KILL, Shutdown.INFINITY])
async def test_an_actor_that_asks_for_its_own_stop_from_its_supervisor_is_stopped(shutdown: float | Shutdown) -> None:
    class Resigning(Actor):
        @in_port
        async def in_resign(self, _: str) -> None:
            with trio.move_on_after(10.0):
                await self.supervisor.stop_child("resigning")

    async with open_system(supervisor(child(Resigning).options(shutdown=shutdown), name="top")) as system:
        await system.ref(Resigning).send(Resigning.in_resign, "x")
        await trio.sleep(20.0)

        assert running(system, "top") == []
        assert not system.ref(Resigning).is_alive
        system.ledger().check()


async def test_a_second_stop_after_the_first_harms_nothing() -> None:
    scene = Scene()
    async with open_system(supervisor(worker(scene, "a"), name="top")) as system:
        await system.stop()
        await system.stop()

    assert scene.take() == ["start a", "stop a"]


async def test_two_stops_at_once_stop_every_actor_once() -> None:
    class Ending(Worker):
        @in_port
        async def in_end(self, _: str) -> None:
            await self.system.stop()

    scene = Scene()
    scene.stop_takes = {"a": 3.0, "b": 3.0}
    tree = supervisor(worker(scene, "a"), child(Ending, scene).options(name="b"), name="top")
    async with open_system(tree) as system:
        await system.ref(Ending).send(Ending.in_end, "now")
        await trio.sleep(1.0)

    assert scene.take() == ["start a", "start b", "stop b", "stop a"]


async def test_an_exception_cuts_a_stop_short_that_an_actor_has_asked_for() -> None:
    class Ending(Worker):
        @in_port
        async def in_end(self, _: str) -> None:
            await self.system.stop()

    scene = Scene()
    tree = supervisor(worker(scene, "a").options(shutdown=Shutdown.INFINITY), child(Ending, scene).options(name="b"), name="top")
    started = trio.current_time()

    with pytest.raises(KeyError):
        async with open_system(tree) as system:
            await ref(system, "top/a").send(Worker.in_sleep, 1_000_000.0)
            await system.ref(Ending).send(Ending.in_end, "now")
            await trio.sleep(1.0)
            raise KeyError

    assert trio.current_time() == started + 1.0
    assert scene.take() == ["start a", "start b", "stop b", "stop a"]
    assert scene.reasons["a"] is ExitReason.KILLED
    system.ledger().check()
