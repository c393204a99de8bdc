"""Watching another actor: `Down` comes once, when that has ended."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    ActorRef,
    Down,
    ExitReason,
    MessageTypeError,
    Restart,
    SpecTypeError,
    SupervisorSpec,
    child,
    dynamic_supervisor,
    in_port,
    open_system,
    supervisor,
)
from tests.trees import Fault, Scene, Worker, crash, finish, ref, worker


class Watcher(Actor):
    """Watches what it is told to, and keeps the notices."""

    def __init__(self, notices: list[Down]) -> None:
        self.notices = notices

    @in_port
    def in_watch(self, ref: ActorRef[Any]) -> None:
        self.watch(ref, Watcher.in_down)

    @in_port
    def in_watch_closely(self, ref: ActorRef[Any]) -> None:
        self.watch(ref, Watcher.in_down, restarts=True)

    @in_port
    def in_down(self, down: Down) -> None:
        self.notices.append(down)

    @in_port
    def in_fault(self, fault: Fault) -> None:
        if fault.times:
            fault.times -= 1
            raise fault.error()


def tree(notices: list[Down], restart: Restart = Restart.TRANSIENT) -> SupervisorSpec:
    """A watcher, and a worker to be watched: root/top/watcher and root/top/w."""
    return supervisor(child(Watcher, notices), worker(Scene(), "w").options(restart=restart), name="top")


async def test_the_end_of_an_actor_is_told_once() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        watched = ref(system, "top/w")
        await system.ref(Watcher).send(Watcher.in_watch, watched)
        await finish(system, "top/w")

        assert notices == [Down(watched, ExitReason.NORMAL)]
    assert len(notices) == 1


async def test_an_actor_that_is_not_restarted_after_a_failure_is_down_with_that_failure() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices, Restart.TEMPORARY)) as system:
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))
        await crash(system, "top/w")

    (notice,) = notices
    assert notice.reason is ExitReason.FAILED
    assert notice.error is not None
    assert notice.error.component_name == "root/top/w"


async def test_an_actor_stopped_by_hand_is_down_and_its_deletion_is_no_news() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))
        await system.settle()
        await system.supervisor("root/top").stop_child("w")
        await system.supervisor("root/top").delete_child("w")
        await system.settle()

    assert [each.reason for each in notices] == [ExitReason.SHUTDOWN]


async def test_a_restart_is_no_down() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))
        await crash(system, "top/w")

    assert notices == []


async def test_a_restart_is_told_to_those_who_asked_for_it() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.ref(Watcher).send(Watcher.in_watch_closely, ref(system, "top/w"))
        await crash(system, "top/w")
        await crash(system, "top/w")
        await finish(system, "top/w")

    assert [each.reason for each in notices] == [ExitReason.FAILED, ExitReason.FAILED, ExitReason.NORMAL]


async def test_whoever_watches_an_actor_that_has_ended_is_told_at_once_how_it_ended() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices, Restart.TEMPORARY)) as system:
        gone = ref(system, "top/w")
        await crash(system, "top/w")
        await system.ref(Watcher).send(Watcher.in_watch, gone)
        await system.settle()

        assert [(each.ref, each.reason) for each in notices] == [(gone, ExitReason.FAILED)]
        assert notices[0].error is not None


async def test_whoever_watches_an_actor_that_was_stopped_is_told_at_once() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.supervisor("root/top").stop_child("w")
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))
        await system.settle()

        assert [each.reason for each in notices] == [ExitReason.SHUTDOWN]


async def test_a_watch_ends_with_the_life_that_began_it() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))
        await system.ref(Watcher).send(Watcher.in_fault, Fault())
        await system.wait()
        await finish(system, "top/w")

    assert notices == []


async def test_the_end_of_the_system_is_no_news() -> None:
    notices: list[Down] = []

    async with open_system(tree(notices)) as system:
        await system.ref(Watcher).send(Watcher.in_watch, ref(system, "top/w"))

    assert notices == []
    assert system.ledger().dead_lettered == 0


async def test_a_child_of_a_dynamic_supervisor_can_be_watched() -> None:
    notices: list[Down] = []
    scene = Scene()

    async with open_system(supervisor(child(Watcher, notices), dynamic_supervisor(name="crew"))) as system:
        crew = system.supervisor("root/supervisor/crew")
        one, two = [await crew.start_child(child(Worker, scene)) for _ in range(2)]
        await system.ref(Watcher).send(Watcher.in_watch, one)
        await system.ref(Watcher).send(Watcher.in_watch, two)
        await system.settle()
        await crew.stop_child("worker-2")
        await system.settle()

    assert [each.ref.path for each in notices] == ["root/supervisor/crew/worker-2"]


async def test_down_is_admitted_above_capacity() -> None:
    class Narrow(Watcher):
        @in_port(capacity=1)
        def in_down(self, down: Down) -> None:
            self.notices.append(down)

        @in_port
        async def in_sleep(self, seconds: float) -> None:
            await trio.sleep(seconds)

    notices: list[Down] = []
    scene = Scene()

    async with open_system(supervisor(child(Narrow, notices), worker(scene, "a"), worker(scene, "b"), name="top")) as system:
        for name in ("a", "b"):
            await system.ref(Narrow).send(Narrow.in_watch, ref(system, f"top/{name}"))
        await system.settle()
        await system.ref(Narrow).send(Narrow.in_sleep, 5)
        for name in ("a", "b"):
            await system.supervisor("root/top").stop_child(name)
        await system.settle()

    assert [each.ref.path for each in notices] == ["root/top/a", "root/top/b"]


async def test_a_port_that_does_not_take_notices_cannot_watch_and_only_an_address_can_be_watched() -> None:
    port: Any = Worker.in_note
    no_address: Any = "root/top/other"
    refusals: list[Exception] = []

    class Curious(Worker):
        async def on_start(self) -> None:
            with pytest.raises(MessageTypeError) as wrong_port:
                self.watch(self.ref, port)
            with pytest.raises(SpecTypeError) as watched:
                self.watch(no_address, Curious.in_down)
            with pytest.raises(SpecTypeError) as linked:
                self.link(no_address)
            refusals.extend([wrong_port.value, watched.value, linked.value])

        @in_port
        def in_down(self, down: Down) -> None: ...

    async with open_system(supervisor(child(Curious, Scene()), name="top")):
        pass

    expected = "ref = 'root/top/other': expected the address of an actor, such as self.system.ref(Class)"
    assert list(map(str, refusals)) == [
        "root/top/curious.in_note takes str, not Down: watch with a port whose handler takes Down",
        f"root/top/curious: watch: {expected}",
        f"root/top/curious: link: {expected}",
    ]
