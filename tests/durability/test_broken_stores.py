"""What becomes of a system whose store can't be written: for a while, or for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actorkit import MemoryStore, StorageError, StoreBlocked, child, open_system, supervisor
from actorkit.events import Event, StoreRecovered, StoreStuck, StoreUnwritten
from tests.durability.shop import Keeper, Script, Sink, messages, names, send
from tests.durability.stores import Failing


def broken(after: int) -> Callable[[int], Exception | None]:
    """A store that fails for good after so many writes."""
    return lambda number: StorageError("the disk has failed") if number > after else None


@pytest.mark.parametrize("after", range(1, 8))
async def test_a_store_that_fails_for_good_ends_the_system_at_once_with_its_error(after: int) -> None:
    store, accepted = MemoryStore(), list[str]()
    tree = supervisor(child(Keeper), child(Sink), name="top", wires=[Keeper.out_item >> Sink.in_item])

    with pytest.raises(StorageError, match="the disk has failed"), trio.fail_after(4):
        async with open_system(tree, store=Failing(store, broken(after))) as system:
            for name in "abcdef":
                await send(system, name)
                accepted.append(name)

    async with open_system(
        supervisor(child(Keeper), child(Sink), name="top", wires=[Keeper.out_item >> Sink.in_item]), store=store
    ) as system:
        await system.wait()
        found = await names(system, Keeper)
        assert found == await names(system, Sink)
    assert found == accepted


async def test_whoever_waits_for_a_write_that_fails_for_good_is_set_free() -> None:
    faults: list[Exception] = [StoreBlocked("full"), StorageError("the disk has failed")]
    store, accepted = MemoryStore(), list[str]()

    def fault(number: int) -> Exception | None:
        return None if number < 3 else faults[min(number - 3, 1)]

    with pytest.raises(StorageError, match="the disk has failed"), trio.fail_after(4):
        async with open_system(child(Keeper), store=Failing(store, fault)) as system:
            for name in "abcdef":
                await send(system, name)
                accepted.append(name)

    async with open_system(child(Keeper), store=store) as system:
        await system.wait()
        assert await names(system) == accepted == ["a", "b"]


async def collect(system_events: object, into: list[Event]) -> None:
    """Notes events as they come."""
    async for each in system_events:  # type: ignore[attr-defined]
        into.append(each)


async def test_while_the_store_is_full_senders_wait_and_what_is_queued_is_worked_off() -> None:
    full, events = False, list[Event]()
    script = Script(gate=trio.Event())
    store = MemoryStore()
    failing = Failing(store, lambda _: None)
    failing.is_full = lambda: full
    async with open_system(child(Keeper, script), store=failing) as system, trio.open_nursery() as nursery:
        nursery.start_soon(collect, system.events(StoreStuck, StoreRecovered), events)
        await send(system, "a", "b", "c")
        full = True
        with trio.move_on_after(3) as scope:
            await send(system, "d")
        assert scope.cancelled_caught
        assert script.gate is not None
        script.gate.set()
        await trio.sleep(3)
        assert messages(store) == {}
        assert await names(system) == ["a", "b", "c"]

        full = False
        await send(system, "e")
        await system.wait()

        assert await names(system) == ["a", "b", "c", "e"]
        assert [type(each) for each in events] == [StoreStuck, StoreRecovered]
        nursery.cancel_scope.cancel()


async def test_an_end_while_the_store_is_full_says_what_was_not_written() -> None:
    full, events = False, list[Event]()
    failing = Failing(store := MemoryStore(), lambda _: None)
    failing.is_full = lambda: full
    async with trio.open_nursery() as nursery, open_system(child(Keeper), store=failing) as system:
        nursery.start_soon(collect, system.events(StoreUnwritten), events)
        await send(system, "a")
        await system.wait()
        full = True
        nursery.start_soon(send, system, "b")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    async with open_system(child(Keeper), store=store) as system:
        assert await names(system) == ["a"]
