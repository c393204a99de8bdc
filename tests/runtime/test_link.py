"""Linked actors: one fails when the other goes down abnormally."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorNotRunning,
    ActorRef,
    DependencyError,
    ErrorCategory,
    OutPort,
    PortRef,
    RecoveryAction,
    RecoveryPolicy,
    Restart,
    Rule,
    SupervisorSpec,
    System,
    child,
    in_port,
    open_system,
    supervisor,
)
from tests.trees import Fault, Scene, Worker, crash, finish, ref, worker


class Partner(Actor):
    """Links itself to what it is told to, in its first life."""

    def __init__(self, lives: list[int]) -> None:
        lives.append(len(lives) + 1)
        self.life = lives[-1]

    @in_port
    def in_link(self, other: ActorRef[Actor]) -> None:
        self.link(other)

    @in_port
    async def in_work(self, seconds: float) -> int:
        await trio.sleep(seconds)
        return self.life


def tree(lives: list[int], restart: Restart = Restart.TEMPORARY) -> SupervisorSpec:
    return supervisor(child(Partner, lives), worker(Scene(), "w").options(restart=restart), name="top")


async def linked(system: System) -> None:
    await system.ref(Partner).send(Partner.in_link, ref(system, "top/w"))
    await system.settle()


async def test_an_actor_fails_with_the_one_that_it_is_linked_to() -> None:
    lives: list[int] = []
    async with open_system(tree(lives)) as system:
        await linked(system)
        await crash(system, "top/w")
        await system.wait()
        error = system.kernel.errors[-1]

        assert lives == [1, 2]
        assert error.component_name == "root/top/partner"
        assert error.category is ErrorCategory.DEPENDENCY
        assert isinstance(error.exception, DependencyError)
        assert str(error.exception).startswith("root/top/w, to which root/top/partner is linked, went down (failed): Bug")
        assert type(error.exception.__cause__).__name__ == "Bug"


async def test_a_restart_of_the_other_one_is_no_failure() -> None:
    lives: list[int] = []
    async with open_system(tree(lives, Restart.TRANSIENT)) as system:
        await linked(system)
        await crash(system, "top/w")
        await system.wait()

        assert lives == [1]
        assert system.supervisor("root/top").which_children()[1].incarnation == 2


@pytest.mark.parametrize("how", ["finished", "stopped"])
async def test_an_end_that_is_not_abnormal_is_no_failure(how: str) -> None:
    lives: list[int] = []
    async with open_system(tree(lives)) as system:
        await linked(system)
        if how == "finished":
            await finish(system, "top/w")
        else:
            await system.supervisor("root/top").stop_child("w")
        await system.wait()

        assert lives == [1]


async def test_a_link_to_one_that_has_failed_already_fails_at_once() -> None:
    lives: list[int] = []
    async with open_system(tree(lives)) as system:
        dead = ref(system, "top/w")
        await crash(system, "top/w")
        await system.wait()

        await system.ref(Partner).send(Partner.in_link, dead)
        await system.wait()

        assert lives == [1, 2]


async def test_the_message_in_hand_is_finished_and_what_waits_is_handled_by_the_next_life() -> None:
    lives: list[int] = []
    answers: list[int] = []

    async def ask(system: System) -> None:
        answers.append(await system.ref(Partner).ask(Partner.in_work, 1, timeout=None))

    async with open_system(tree(lives)) as system, trio.open_nursery() as nursery:
        await linked(system)
        for _ in range(2):
            nursery.start_soon(ask, system)
            await trio.testing.wait_all_tasks_blocked()
        await ref(system, "top/w").send(Worker.in_fault, Fault())

    assert answers == [1, 2]


async def test_a_link_ends_with_the_life_that_made_it() -> None:
    lives: list[int] = []

    class Fragile(Partner):
        @in_port
        def in_bug(self, _: None) -> None:
            if self.life == 1:
                raise KeyError("a bug")

    async with open_system(
        supervisor(child(Fragile, lives), worker(Scene(), "w").options(restart=Restart.TEMPORARY), name="top")
    ) as system:
        await system.ref(Fragile).send(Partner.in_link, ref(system, "top/w"))
        await system.ref(Fragile).send(Fragile.in_bug, None)
        await system.wait()
        await crash(system, "top/w")
        await system.wait()

        assert lives == [1, 2]


async def test_linking_twice_is_as_once() -> None:
    lives: list[int] = []
    async with open_system(tree(lives)) as system:
        await linked(system)
        await linked(system)
        await crash(system, "top/w")
        await system.wait()

        assert lives == [1, 2]
        assert [error.component_name for error in system.kernel.errors] == ["root/top/w", "root/top/partner"]


async def test_actors_that_are_linked_to_each_other_fail_once_each() -> None:
    lives: dict[str, int] = {}

    class Twin(Actor):
        def __init__(self, name: str) -> None:
            lives[name] = lives.get(name, 0) + 1

        @in_port
        def in_link(self, other: ActorRef[Actor]) -> None:
            self.link(other)

        @in_port
        def in_bug(self, _: None) -> None:
            raise KeyError("a bug")

    left = child(Twin, "left").options(name="left", restart=Restart.TEMPORARY)
    right = child(Twin, "right").options(name="right", restart=Restart.TEMPORARY)
    async with open_system(supervisor(left, right, name="top")) as system:
        refs = [system.ref(f"root/top/{name}", Twin) for name in ("left", "right")]
        await refs[0].send(Twin.in_link, refs[1])
        await refs[1].send(Twin.in_link, refs[0])
        await system.settle()
        await refs[0].send(Twin.in_bug, None)
        await system.wait()

        assert lives == {"left": 1, "right": 1}
        assert not any(each.is_alive for each in refs)
        assert [error.component_name for error in system.kernel.errors] == ["root/top/left", "root/top/right"]


async def test_a_policy_may_pass_over_the_failure_of_a_link() -> None:
    lives: list[int] = []
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, exception=DependencyError),))
    specs = (child(Partner, lives).options(recovery=policy), worker(Scene(), "w").options(restart=Restart.TEMPORARY))
    async with open_system(supervisor(*specs, name="top")) as system:
        await linked(system)
        await crash(system, "top/w")
        await system.wait()

        assert lives == [1]
        assert await system.ref(Partner).ask(Partner.in_work, 0) == 1


async def test_a_late_call_of_a_life_that_has_ended_is_refused() -> None:
    errors: list[ActorNotRunning] = []
    actors: list[Partner] = []

    class Kept(Partner):
        async def on_start(self) -> None:
            actors.append(self)

    async with open_system(supervisor(child(Kept, []), name="top")) as system:
        await system.supervisor("root/top").stop_child("kept")
        calls: list[Callable[[], None]] = [actors[0].stash, actors[0].unstash_all, lambda: actors[0].pause(Partner.in_work)]
        for call in calls:
            try:
                call()
            except ActorNotRunning as error:
                errors.append(error)

    assert [str(error) for error in errors] == ["root/top/kept: incarnation 1 of this actor has ended, and sets no more messages aside"] * 3


async def test_refs_and_port_refs_travel_in_messages_and_over_wires() -> None:
    heard: list[str] = []

    class Phone(Actor):
        @in_port
        async def in_reply_to(self, port: PortRef[str, None]) -> None:
            await port.send(f"hello from {self.name}")

        @in_port
        async def in_call(self, other: ActorRef[Phone]) -> None:
            await other.send(Phone.in_reply_to, self.ref.port(Phone.in_heard))

        @in_port
        def in_heard(self, words: str) -> None:
            heard.append(f"{self.name} heard {words}")

    class Exchange(Actor):
        out_call = OutPort(ActorRef)

        @in_port
        async def in_connect(self, other: ActorRef[Phone]) -> None:
            await self.out_call.send(other)

    a, b = child(Phone).options(name="a"), child(Phone).options(name="b")
    tree = supervisor(a, b, child(Exchange), wires=[Exchange.out_call >> a[Phone.in_call]], name="top")
    async with open_system(tree) as system:
        await system.ref(Exchange).send(Exchange.in_connect, system.ref("root/top/b", Phone))
        await system.settle()

        assert heard == ["a heard hello from b"]
