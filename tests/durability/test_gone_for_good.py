"""Actors that are gone for good: nothing of theirs is found again, in the same process or in the next; and those that are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import evolve

from actorkit import (
    ChildSpec,
    MemoryStore,
    Restart,
    SupervisionError,
    System,
    child,
    dynamic_supervisor,
    in_port,
    keyed,
    open_system,
    pool,
    supervisor,
)
from tests.durability.shop import Item, Keeper, Script, killed, names, send
from tests.durability.stores import Failing, content

PATH = "root/top/keeper"


class Ending(Keeper):
    """May end itself, or fail; takes checkpoints."""

    @in_port
    def in_end(self, how: str) -> None:
        if how == "crash":
            raise RuntimeError("a bug")
        self.stop()


KEEPER = child(Ending).options(name="keeper")
TOP = supervisor(dynamic_supervisor(name="many"), name="top")


async def has_worked(system: System, path: str) -> None:
    """Gives it a state, a key, and a checkpoint."""
    ref = system.ref(path, Ending)
    await ref.send(Ending.in_item, Item("a"), key="a")
    await system.settle()
    await system.checkpoints.create_checkpoint(ref)


async def left_of(store: MemoryStore, path: str) -> list[str]:
    """Kinds of entries that a killed process leaves of this actor."""
    left = killed(store)
    left.open()
    kinds = ("message", "key", "state", "checkpoint", "gone")
    return [kind for kind in kinds for space in left.spaces(kind) if path in space or kind == "gone"]


async def deleted(system: System) -> None:
    await system.supervisor("root/top").stop_child("keeper")
    await system.supervisor("root/top").delete_child("keeper")


async def test_a_child_that_is_deleted_begins_anew_in_this_process_and_in_the_next() -> None:
    store = MemoryStore()
    async with open_system(supervisor(KEEPER, name="top"), store=store) as system:
        await has_worked(system, PATH)
        assert await left_of(store, PATH) == ["key", "state", "checkpoint"]
        await deleted(system)
        await system.settle()
        await trio.sleep(0.1)
        assert await left_of(store, PATH) == []

        await system.supervisor("root/top").start_child(KEEPER)
        assert await names(system, PATH) == []
        assert await system.checkpoints.list(system.ref(PATH)) == ()
        await deleted(system)

    async with open_system(supervisor(KEEPER, name="top"), store=store) as system:
        assert await names(system, PATH) == []
        await has_worked(system, PATH)  # so its key is not remembered
        assert await names(system, PATH) == ["a"]


async def test_a_child_that_is_started_at_once_after_it_was_deleted_begins_anew() -> None:
    async with open_system(supervisor(KEEPER, name="top"), store=MemoryStore()) as system:
        for _ in range(3):
            await has_worked(system, PATH)
            await deleted(system)
            ref = await system.supervisor("root/top").start_child(KEEPER)
            assert await ref.ask(Keeper.in_names, None) == []
            await ref.send(Ending.in_item, Item("b"), key="a")
            await system.settle()
            assert await names(system, PATH) == ["b"]
            await deleted(system)
            await system.supervisor("root/top").start_child(KEEPER)


@pytest.mark.parametrize("how", ["end", "stop", "crash"])
async def test_a_dynamic_child_that_has_ended_takes_all_with_it(how: str) -> None:
    store, path = MemoryStore(), "root/top/many/keeper"
    async with open_system(TOP, store=store) as system:
        many = system.supervisor("root/top/many")
        ref = await many.start_child(KEEPER.options(name="keeper", restart=Restart.TEMPORARY))
        await has_worked(system, path)
        if how == "stop":
            await many.stop_child("keeper")
        else:
            await ref.send(Ending.in_end, how)
        await system.settle()
        await trio.sleep(0.1)

        assert await left_of(store, path) == []


async def test_what_was_added_goes_when_its_supervisor_is_restarted() -> None:
    class Fatal(Keeper):
        @in_port
        def in_crash(self, _: None) -> None:
            raise RuntimeError("a bug")

    store, path = MemoryStore(), "root/top/inner/keeper"
    inner = supervisor(child(Fatal), name="inner", max_restarts=0, within=1.0)
    async with open_system(supervisor(inner, name="top"), store=store) as system:
        await send(system, "f", actor=Fatal)
        await system.supervisor("root/top/inner").start_child(KEEPER)
        await has_worked(system, path)
        await system.ref(Fatal).send(Fatal.in_crash, None)
        await system.settle()
        await trio.sleep(0.1)

        assert await left_of(store, path) == []
        assert await names(system, Fatal) == ["f"]


GROUPS: dict[str, Callable[[], ChildSpec[Keeper]]] = {
    "pool": lambda: pool(Keeper, size=2).options(name="keeper"),
    "keyed": lambda: keyed(Keeper, by=lambda item: None if item is None else item.name, passivate_after=0.01).options(name="keeper"),
}


@pytest.mark.parametrize("kind", list(GROUPS))
async def test_a_group_that_is_deleted_takes_all_with_it(kind: str) -> None:
    store = MemoryStore()
    async with open_system(supervisor(GROUPS[kind](), name="top"), store=store) as system:
        ref = system.ref(PATH, Keeper)
        for number in range(30):
            await ref.send(Keeper.in_item, Item(str(number % 3)), key=str(number))
        await trio.sleep(3)
        assert set(await left_of(store, PATH)) == {"key", "state"}
        await deleted(system)
        again = await system.supervisor("root/top").start_child(GROUPS[kind]())
        assert await left_of(store, PATH) == []
        await again.send(Keeper.in_item, Item("1"), key="1")
        await system.settle()

        assert await again.ask(Keeper.in_item, Item("1")) == 2 if kind == "keyed" else 1


async def stopped(system: System) -> None:
    top = system.supervisor("root/top")
    await top.stop_child("keeper")
    await top.restart_child("keeper")


async def crashed(system: System) -> None:
    await system.ref(PATH, Ending).send(Ending.in_end, "crash")
    await system.settle()


async def ended(system: System) -> None:
    await system.ref(PATH, Ending).send(Ending.in_end, "end")
    await system.settle()
    await system.supervisor("root/top").restart_child("keeper")


async def temporary_ended(system: System) -> None:
    await system.ref(PATH, Ending).send(Ending.in_end, "end")
    await system.settle()
    await system.supervisor("root/top").start_child(KEEPER)


@pytest.mark.parametrize("what", [stopped, crashed, ended, temporary_ended])
async def test_what_is_not_gone_for_good_goes_on_where_it_was(what: Callable[[System], Awaitable[None]]) -> None:
    store = MemoryStore()
    spec = evolve(KEEPER, restart=Restart.TEMPORARY) if what is temporary_ended else KEEPER
    async with open_system(supervisor(spec, name="top"), store=store) as system:
        await has_worked(system, PATH)
        await what(system)
        await system.ref(PATH, Ending).send(Ending.in_item, Item("a"), key="a")
        await system.settle()
        assert await names(system, PATH) == ["a"]
        if what is temporary_ended:
            return

    async with open_system(supervisor(spec, name="top"), store=store) as system:
        assert await names(system, PATH) == ["a"]


async def test_a_child_that_could_not_be_started_is_found_with_all_that_it_had_by_the_next_try() -> None:
    class Choosy(Keeper):
        async def on_start(self) -> None:
            if self.script.errors:
                raise RuntimeError("not now")

    store, script = MemoryStore(), Script()
    spec = child(Choosy, script).options(name="keeper")
    async with open_system(TOP, store=store) as system:
        ref = await system.supervisor("root/top/many").start_child(spec)
        await ref.send(Keeper.in_item, Item("a"), key="a")
        await system.settle()

    async with open_system(TOP, store=store) as system:
        many = system.supervisor("root/top/many")
        script.errors["a"] = []
        for _ in range(2):
            with pytest.raises(SupervisionError):
                await many.start_child(spec)
        script.errors.clear()
        ref = await many.start_child(spec)
        await ref.send(Keeper.in_item, Item("a"), key="a")
        await system.settle()

        assert await ref.ask(Keeper.in_names, None) == ["a"]


async def test_a_late_message_to_one_that_is_gone_takes_nothing_from_its_successor() -> None:
    store, script = MemoryStore(), Script(gate=trio.Event())
    async with open_system(supervisor(KEEPER, name="top"), store=store) as system:
        old = system.ref(PATH, Ending)
        await old.send(Ending.in_item, Item("a"), key="a")
        await system.settle()
        await deleted(system)
        new = await system.supervisor("root/top").start_child(child(Ending, script).options(name="keeper"))
        for name in "bc":
            await new.send(Ending.in_item, Item(name))
            await old.send(Ending.in_item, Item("late"), key="late")
        left = killed(store)
        letters = [letter.message.name for letter in await system.dead_letters.inspect()]
        assert script.gate is not None
        script.gate.set()

    assert letters == ["late", "late"]
    async with open_system(supervisor(KEEPER, name="top"), store=left) as system:
        await system.settle()
        assert await names(system, PATH) == ["b", "c"]


async def test_what_could_not_be_written_before_its_actor_was_deleted_is_not_written_after_that() -> None:
    full, store = False, MemoryStore()
    failing = Failing(store, lambda _: None)
    failing.is_full = lambda: full
    async with open_system(supervisor(KEEPER, name="top"), store=failing) as system:
        await has_worked(system, PATH)
        full = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.checkpoints.create_checkpoint, system.ref(PATH, Ending))
            await trio.sleep(1)
            await deleted(system)
            await trio.sleep(5)
            assert await left_of(store, PATH) == []
            full = False
        await system.supervisor("root/top").start_child(KEEPER)

        assert await left_of(store, PATH) == []
        assert await names(system, PATH) == []


@pytest.mark.parametrize("writes", range(5))
async def test_a_process_that_dies_meanwhile_leaves_all_or_nothing_to_the_next(writes: int) -> None:
    store = MemoryStore()
    lefts: list[MemoryStore] = []

    def fault(number: int) -> None:
        lefts.append(killed(store))

    async with open_system(supervisor(KEEPER, name="top"), store=Failing(store, fault)) as system:
        await has_worked(system, PATH)
        before = len(lefts)
        await deleted(system)
        await trio.sleep(5)
    left = lefts[before + writes]

    async with open_system(supervisor(KEEPER, name="top"), store=left) as system:
        kept = {space for space, _ in content(left) if space.startswith(("state", "key"))}
        assert len(kept) == (2 if writes == 0 else 0)
        assert await names(system, PATH) == ["a"] * (writes == 0)
