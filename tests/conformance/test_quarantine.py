"""A child whose restarts are used up is set aside, when that is asked for, and comes back when it is released."""

from __future__ import annotations

import pytest
import trio

from actorkit import Actor, Down, OnExhausted, SpecError, child, in_port, open_system, supervisor
from actorkit.events import ChildQuarantined


class Fragile(Actor):
    """Crashes at numbers below zero, while it may."""

    crashes = True

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    @in_port
    async def in_number(self, number: int) -> int:
        if number < 0 and Fragile.crashes:
            raise KeyError(number)
        self.seen.append(number)
        return number


class Watcher(Actor):
    def __init__(self) -> None:
        self.downs: list[str] = []

    async def on_start(self) -> None:
        self.watch(self.system.ref(Fragile), Watcher.in_down)

    @in_port
    def in_down(self, down: Down) -> None:
        self.downs.append(down.ref.path)

    @in_port
    def in_downs(self, question: str) -> list[str]:
        return self.downs


@pytest.fixture(autouse=True)
def crashing() -> None:
    Fragile.crashes = True


async def test_an_exhausted_child_is_set_aside_with_its_mail_and_comes_back_when_released() -> None:
    seen: list[int] = []
    tree = supervisor(
        child(Fragile, seen).options(max_restarts=0, within=60, on_exhausted=OnExhausted.QUARANTINE), child(Watcher), name="tree"
    )
    async with open_system(tree) as system:
        ref, events = system.ref(Fragile), system.events(ChildQuarantined)
        for number in (1, -1, -2, 3):
            await ref.send(Fragile.in_number, number)
        assert (await anext(events)).path == "root/tree/fragile"
        await ref.send(Fragile.in_number, 4)
        await system.settle()

        assert seen == [1]
        assert system.ledger().queued == 4
        assert await system.ref(Watcher).ask(Watcher.in_downs, "?") == ["root/tree/fragile"]
        info = system.supervisor("root/tree").which_children()[0]
        assert (info.is_running, info.is_quarantined) == (False, True)

        Fragile.crashes = False
        await system.supervisor("root/tree").release("fragile")
        await system.settle()

        assert seen == [1, -1, -2, 3, 4]
        system.ledger().check()


async def test_a_released_child_is_on_probation() -> None:
    seen: list[int] = []
    tree = supervisor(child(Fragile, seen), name="tree", max_restarts=0, within=60, on_exhausted=OnExhausted.QUARANTINE)
    async with open_system(tree) as system:
        ref, above = system.ref(Fragile), system.supervisor("root/tree")
        await ref.send(Fragile.in_number, -1)
        await trio.testing.wait_all_tasks_blocked()
        await above.release("fragile")
        await trio.testing.wait_all_tasks_blocked()

        assert above.which_children()[0].is_quarantined  # the same message again, with no restart to spare

        Fragile.crashes = False
        await above.release("fragile", after=10)
        for number in (1, 2, 3):
            await ref.send(Fragile.in_number, number)
        assert above.which_children()[0].is_quarantined
        await trio.sleep(11)
        assert seen == [-1, 1, 2, 3]
        assert above.which_children()[0].is_running


async def test_only_what_is_quarantined_can_be_released() -> None:
    async with open_system(supervisor(child(Fragile, []), name="tree")) as system:
        with pytest.raises(SpecError, match="root/tree/fragile is not quarantined"):
            await system.supervisor("root/tree").release("fragile")


async def test_a_run_does_not_wait_for_what_is_quarantined() -> None:
    seen: list[int] = []
    tree = supervisor(child(Fragile, seen), name="tree", max_restarts=0, within=60, on_exhausted=OnExhausted.QUARANTINE)
    async with open_system(tree) as system:
        await system.ref(Fragile).send(Fragile.in_number, -1)
        await system.ref(Fragile).send(Fragile.in_number, 2)
        await system.wait()

    assert system.ledger().dead_lettered_by == {"shutdown": 2}
    system.ledger().check()
