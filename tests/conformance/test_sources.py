"""Sources, and actors whose streams have ended, in a tree where something is restarted."""

from __future__ import annotations

import trio

from actorkit import Actor, LinearBackoffRetry, OutPort, Strategy, child, in_port, open_system, supervisor
from tests.trees import Bug, Fault, Scene, Worker, crash, ref, running, worker


async def test_the_source_of_a_group_runs_also_when_the_group_needed_two_tries() -> None:
    runs: list[int] = []

    class Source(Worker):
        out_number = OutPort(int)

        async def run(self) -> None:
            runs.append(len(self.scene.lines))
            await trio.sleep_forever()

    scene = Scene()
    tree = supervisor(
        child(Source, scene).options(name="a"), worker(scene, "b"), worker(scene, "c"), name="top", strategy=Strategy.REST_FOR_ONE
    )
    async with open_system(tree) as system:
        await trio.testing.wait_all_tasks_blocked()
        scene.start_failures["b"] = 1

        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        assert scene.lines[-4:] == ["start a", "fail to start b", "start b", "start c"]
        assert runs == [3, len(scene.lines)]


async def test_a_source_restarted_while_the_tree_still_starts_waits_for_the_whole_tree() -> None:
    seen: list[list[str]] = []

    class Eager(Worker):
        async def on_start(self) -> None:
            await super().on_start()
            if self.scene.lines.count("start a") == 1:
                self.start_soon(self.fail)

        async def fail(self) -> None:
            raise Bug

        async def run(self) -> None:
            seen.append(list(self.scene.lines))

    scene = Scene()
    scene.start_takes = {"slow": 10.0}
    tree = supervisor(supervisor(child(Eager, scene).options(name="a"), name="inner"), worker(scene, "slow"), name="top")
    async with open_system(tree) as system:
        await system.wait()

    assert seen == [["start a", "stop a", "start a", "start slow"]]


async def test_a_source_that_is_no_bystander_just_runs_on() -> None:
    runs: list[str] = []

    class Source(Actor):
        async def run(self) -> None:
            runs.append("run")
            await trio.sleep_forever()

    scene = Scene()
    tree = supervisor(child(Source), worker(scene, "a"), name="top", strategy=Strategy.REST_FOR_ONE)
    async with open_system(tree) as system:
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        assert system.supervisor("root/top").which_children()[1].incarnation == 2
        assert runs == ["run"]


async def test_a_drained_source_does_not_run_again_as_a_bystander() -> None:
    ran: list[str] = []

    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            ran.append("run")

    scene = Scene()
    tree = supervisor(child(Source), worker(scene, "a"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.wait()

        await crash(system, "top/a")

        assert ran == ["run"]
        assert running(system, "top") == ["a"]


async def test_an_actor_that_stays_after_its_streams_have_ended_is_left_alone_as_a_bystander() -> None:
    calls: list[str] = []

    class Source(Actor):
        out_number = OutPort(int)

        async def on_start(self) -> None:
            calls.append("start")

        async def run(self) -> None:
            calls.append("run")

        async def on_drained(self) -> None:
            calls.append("drained")

        @in_port
        def in_question(self, question: str) -> str:
            return question.upper()

        @in_port
        def in_fault(self, fault: Fault) -> None:
            if fault.times:
                fault.times -= 1
                raise fault.error()

    scene = Scene()
    tree = supervisor(child(Source), worker(scene, "a"), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        await system.wait()

        await crash(system, "top/a")

        assert calls == ["start", "run", "drained"]
        assert await system.ref(Source).ask(Source.in_question, "well?") == "WELL?"


async def test_an_actor_that_fails_after_its_streams_have_ended_serves_again_but_its_streams_stay_ended() -> None:
    calls: list[str] = []

    class Source(Actor):
        async def run(self) -> None:
            calls.append("run")

        async def on_drained(self) -> None:
            calls.append("drained")

        @in_port
        def in_question(self, question: str) -> str:
            if "?" not in question and len(calls) == 2:
                calls.append("fail")
                raise Bug
            return question.upper()

    async with open_system(supervisor(child(Source), name="top")) as system:
        await system.wait()

        answer = await system.ref(Source).ask(Source.in_question, "hm")
        await system.wait()

        assert answer == "HM"
        assert calls == ["run", "drained", "fail"]


async def test_the_source_of_a_group_half_up_waits_for_it_whatever_is_restarted_above() -> None:
    runs: list[int] = []

    class Source(Worker):
        async def run(self) -> None:
            runs.append(self.scene.lines.count("start late"))
            await trio.sleep_forever()

    scene = Scene()
    late = worker(scene, "late").options(backoff=LinearBackoffRetry(delay=10.0))
    inner = supervisor(child(Source, scene).options(name="source"), late, name="inner", strategy=Strategy.REST_FOR_ONE)
    tree = supervisor(inner, worker(scene, "x"), name="top", strategy=Strategy.REST_FOR_ONE)
    async with open_system(tree) as system:
        await trio.testing.wait_all_tasks_blocked()
        scene.start_failures["late"] = 1
        await ref(system, "top/inner/source").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        await ref(system, "top/x").send(Worker.in_fault, Fault())
        await trio.sleep(20.0)

        assert runs == [1, 2]
