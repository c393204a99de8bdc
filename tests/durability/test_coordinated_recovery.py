"""Several failed actors recover together, each after those that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actorkit import (
    Actor,
    ActorRef,
    CheckpointError,
    ChildSpec,
    OnExhausted,
    OutPort,
    SpecError,
    SpecTypeError,
    Strategy,
    SupervisionError,
    Topic,
    child,
    in_port,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import RecoveryStep


class Stage(Actor):
    """Adds up what comes, and passes it on."""

    out_number = OutPort(int)

    def __init__(self) -> None:
        self.total = 0

    async def on_start(self) -> None:
        if self.total < 0:
            raise RuntimeError("no start with that")

    @in_port
    async def in_number(self, number: int) -> int:
        self.total += number
        await self.out_number.send(number)
        return self.total

    def snapshot(self) -> int:
        return self.total

    def restore(self, state: Any, version: int) -> None:
        self.total = state


class First(Stage):
    """The first of a chain."""


class Second(Stage):
    """The second."""


class Third(Stage):
    """The third."""


NUMBERS: Topic[int] = Topic("numbers", int)


def stages(*names: str) -> list[ChildSpec[Any]]:
    """Children of these names."""
    return [child({"a": First, "b": Second, "c": Third}[name]).options(name=name) for name in names]


def refs(system: Any, *names: str) -> list[ActorRef[Any]]:
    """The addresses of these, in the tree `s`."""
    return [system.ref(f"root/s/{name}") for name in names]


async def steps_of(tree: Any, *names: str) -> list[str]:
    """The steps in which these recover."""
    async with open_system(tree) as system:
        steps = system.events(RecoveryStep)
        for ref in refs(system, *names):
            await system.checkpoints.create_checkpoint(ref)
        await system.checkpoints.coordinated_recovery(refs(system, *names))
        system.ledger().check()
    return [f"{each.path.rpartition('/')[2]} {each.step}" async for each in steps]


async def test_who_sends_recovers_after_who_receives() -> None:
    tree = supervisor(*stages("a", "b", "c"), name="s", wires=[First.out_number >> Second.in_number, Second.out_number >> Third.in_number])

    assert await steps_of(tree, "a", "b", "c") == [
        "a paused",
        "b paused",
        "c paused",
        "c resumed from checkpoint 1",
        "b resumed from checkpoint 1",
        "a resumed from checkpoint 1",
    ]


async def test_those_between_them_count_although_they_have_not_failed() -> None:
    tree = supervisor(*stages("a", "b", "c"), name="s", wires=[First.out_number >> Second.in_number, Second.out_number >> Third.in_number])

    assert (await steps_of(tree, "a", "c"))[2:] == ["c resumed from checkpoint 1", "a resumed from checkpoint 1"]


async def test_topics_count_as_wires() -> None:
    tree = supervisor(*stages("a", "b"), name="s", wires=[First.out_number >> NUMBERS, NUMBERS >> Second.in_number])

    assert (await steps_of(tree, "a", "b"))[2:] == ["b resumed from checkpoint 1", "a resumed from checkpoint 1"]


@pytest.mark.parametrize("needed", [Third, "root/s/c", "spec"])
async def test_depends_on_says_what_no_wire_shows(needed: Any) -> None:
    first, third = stages("a", "c")
    tree = supervisor(first.options(depends_on=[third if needed == "spec" else needed]), third, name="s")

    assert (await steps_of(tree, "a", "c"))[2:] == ["c resumed from checkpoint 1", "a resumed from checkpoint 1"]


async def test_what_a_supervisor_depends_on_all_below_it_do() -> None:
    below = supervisor(*stages("b"), name="below")
    tree = supervisor(supervisor(*stages("a"), name="above").options(depends_on=[below]), below, name="s")

    assert (await steps_of(tree, "above/a", "below/b"))[2:] == ["b resumed from checkpoint 1", "a resumed from checkpoint 1"]


async def test_a_circle_pauses_and_recovers_as_a_unit() -> None:
    wires = [First.out_number >> Second.in_number, Second.out_number >> First.in_number, Second.out_number >> Third.in_number]
    tree = supervisor(*stages("a", "b", "c"), name="s", wires=wires)

    assert (await steps_of(tree, "a", "b", "c"))[3:] == [
        "c resumed from checkpoint 1",
        "a resumed from checkpoint 1",
        "b resumed from checkpoint 1",
    ]


async def test_members_of_a_pool_recover_after_who_they_send_to() -> None:
    tree = supervisor(pool(First, size=2).options(name="a"), *stages("b"), name="s", wires=[First.out_number >> Second.in_number])

    assert [each.partition(" ")[0] for each in (await steps_of(tree, "a/a-1", "b", "a/a-2"))[3:]] == ["b", "a-1", "a-2"]


async def test_all_are_back_and_the_report_says_from_what() -> None:
    tree = supervisor(*stages("a", "b", "c"), name="s", wires=[First.out_number >> Second.in_number])
    async with open_system(tree) as system:
        a, b, c = refs(system, "a", "b", "c")
        await a.ask(First.in_number, 5)
        await system.settle()
        for ref in (a, b):
            await system.checkpoints.create_checkpoint(ref)
        assert await a.ask(First.in_number, 2) == 7

        recovered = await system.checkpoints.coordinated_recovery([a, b, c])

        assert [(path, None if each is None else each.id) for path, each in recovered.items()] == [
            ("root/s/b", 1),
            ("root/s/a", 1),
            ("root/s/c", None),
        ]
        assert await a.ask(First.in_number, 0) == 5
        assert await b.ask(Second.in_number, 0) == 5
        system.ledger().check()


async def test_those_that_were_set_aside_or_wait_for_their_restart_come_back() -> None:
    class Bad(Stage):
        @in_port
        async def in_number(self, number: int) -> int:
            if number < 0 and bad:
                raise RuntimeError("negative")
            self.total += number
            return self.total

    bad = ["yes"]
    aside = child(Bad).options(name="aside", max_restarts=0, within=1.0, on_exhausted=OnExhausted.QUARANTINE)
    tree = supervisor(aside, *stages("b"), name="s", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(tree) as system:
        ref, b = refs(system, "aside", "b")
        await system.checkpoints.create_checkpoint(ref)
        await ref.send(Bad.in_number, -1)
        await system.wait()
        bad.clear()

        await system.checkpoints.coordinated_recovery([ref])

        assert await ref.ask(Bad.in_number, 3) == 2
        assert await b.ask(Second.in_number, 3) == 3
        system.ledger().check()


async def test_one_that_does_not_start_holds_up_none_of_the_others() -> None:
    first, second = stages("a", "b")
    fragile = first.options(max_restarts=0, within=1.0, on_exhausted=OnExhausted.QUARANTINE)
    async with open_system(supervisor(fragile, second, name="s")) as system:
        a, b = refs(system, "a", "b")
        await a.ask(First.in_number, -1)
        await b.ask(Second.in_number, 1)
        for ref in (a, b):
            await system.checkpoints.create_checkpoint(ref)
        steps = system.events(RecoveryStep)

        with pytest.raises(SupervisionError, match=r"root/s/a could not be started again; all others were recovered"):
            await system.checkpoints.coordinated_recovery([a, b])

        await system.wait()
        assert [each.is_quarantined for each in system.supervisor("root/s").which_children()] == [True, False]
        assert await b.ask(Second.in_number, 0) == 1
    assert [each.step async for each in steps][2:] == ["not resumed: it could not be started", "resumed from checkpoint 1"]


async def test_a_group_is_refused_and_nothing_is_done() -> None:
    async with open_system(supervisor(pool(First, size=2).options(name="p"), *stages("b"), name="s")) as system:
        steps = system.events(RecoveryStep)
        with pytest.raises(CheckpointError, match="root/s/p is a group of First"):
            await system.checkpoints.coordinated_recovery(refs(system, "b", "p"))
    assert [each async for each in steps] == []


@pytest.mark.parametrize("wrong", ["First", [1], [Actor, object], None])
def test_what_is_no_dependency_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecTypeError, match="depends_on"):
        child(First).options(depends_on=wrong)


@pytest.mark.parametrize("wrong", [Third, "root/s/nobody", "spec"])
async def test_what_is_not_in_the_tree_is_refused(wrong: Any) -> None:
    needed: Sequence[Any] = [child(Third) if wrong == "spec" else wrong]
    with pytest.raises(SpecError, match="which is not in this tree"):
        async with open_system(supervisor(child(First).options(depends_on=needed), name="s")):
            pass
