"""What becomes of a system whose store can't be written: for a while, or for good."""

from __future__ import annotations

import datetime
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from actorkit import MemoryStore, SqliteStore, StorageError, StoreBlocked, ValidationError, child, in_port, open_system, supervisor
from actorkit.events import Event, StoreRecovered, StoreStuck, StoreUnwritten
from tests.durability.shop import QUICK, Item, Keeper, Script, Sink, killed, messages, names, send
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


class Signed(Keeper):
    """Keeps what comes by a port in memory as well."""

    @in_port
    def in_note(self, item: Item) -> None:
        self.names.append(item.name)


async def test_an_actor_that_has_handled_only_what_is_in_memory_goes_on_while_the_store_is_full() -> None:
    failing = Failing(store := MemoryStore(), lambda _: None)
    async with open_system(child(Signed), store=failing) as system:
        await send(system, "a", actor=Signed)
        await system.settle()
        failing.is_full = lambda: True
        for name, found in (("b", "ab"), ("c", "abc")):
            await system.ref(Signed).send(Signed.in_note, Item(name))
            assert await names(system, Signed) == list(found)
        left = killed(store)

    async with open_system(child(Signed), store=left) as system:
        assert await names(system, Signed) == ["a", "b", "c"]


async def test_a_message_with_a_key_waits_while_the_store_is_full_however_many_keys_there_are() -> None:
    class Window(Keeper):
        @in_port(durable=True, dedupe_window=1)
        def in_few(self, item: Item) -> None:
            self.names.append(item.name)

    full, store = False, MemoryStore()
    failing = Failing(store, lambda _: None)
    failing.is_full = lambda: full
    async with open_system(child(Window), store=failing) as system:
        await system.ref(Window).send(Window.in_few, Item("a"), key="a")
        full = True
        with trio.move_on_after(5) as scope:
            await system.ref(Window).send(Window.in_few, Item("b"), key="b")

        assert scope.cancelled_caught
        assert await names(system, Window) == ["a"]


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


async def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actorkit.storage.sqlite_schema.PATIENCE", 0.01)  # a real second would be one of the test's
    path, events = tmp_path / "app.db", list[Event]()
    async with open_system(child(Keeper), store=SqliteStore(path)) as system, trio.open_nursery() as nursery:
        nursery.start_soon(collect, system.events(StoreStuck, StoreRecovered), events)
        await send(system, "a")
        await system.settle()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        nursery.start_soon(send, system, "b")
        await trio.sleep(2)
        assert await names(system) == ["a"]
        other.execute("ROLLBACK")
        other.close()
        await system.wait()

        assert await names(system) == ["a", "b"]
        assert [type(each) for each in events] == [StoreStuck, StoreRecovered]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("blocked", [2, 5, 8])
async def test_a_write_to_a_file_that_is_blocked_once_is_made_later(tmp_path: Path, blocked: int) -> None:
    store = Failing(SqliteStore(tmp_path / "app.db"), lambda number: StoreBlocked("full") if number == blocked else None)
    tree = supervisor(child(Keeper), child(Sink), name="top", wires=[Keeper.out_item >> Sink.in_item])
    async with open_system(tree, store=store) as system:
        await send(system, *"abcdef")
        await system.wait()

        assert store.writes > blocked
        assert await names(system, Keeper) == await names(system, Sink) == list("abcdef")
        system.ledger().check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Brief(Keeper):
    """Keeps little of what it gets."""

    @in_port(durable=True)
    async def in_long(self, item: Item) -> None:
        await self.script.play(item.name[:3])
        self.names.append(item.name.partition(" ")[0])


async def test_on_a_full_disk_senders_wait_until_there_is_room_and_nothing_is_lost(small_disk: Path) -> None:
    script, events, accepted = Script(gate=trio.Event()), list[Event](), list[str]()
    async with open_system(child(Brief, script), store=SqliteStore(small_disk / "app.db")) as system, trio.open_nursery() as nursery:
        nursery.start_soon(collect, system.events(StoreStuck, StoreRecovered), events)
        with trio.move_on_after(60) as scope:
            for number in range(500):
                await system.ref(Brief).send(Brief.in_long, Item(f"{number} ".ljust(100_000, "x")))
                accepted.append(str(number))
        assert scope.cancelled_caught
        assert 5 < len(accepted) < 300
        assert [type(each) for each in events] == [StoreStuck]

        assert script.gate is not None
        script.gate.set()
        await system.wait()
        await system.ref(Brief).send(Brief.in_long, Item("after"))
        await system.wait()

        assert await names(system, Brief) == [*accepted, "after"]
        assert [type(each) for each in events] == [StoreStuck, StoreRecovered]
        system.ledger().check()
        nursery.cancel_scope.cancel()


async def test_the_wall_clock_may_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    class Jumping(datetime.datetime):
        steps = 0

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            cls.steps += 1
            return datetime.datetime(2000 + 37 * cls.steps % 100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("actorkit._runtime.kernel.datetime", Jumping)
    script = Script(errors={"b": [lambda: RuntimeError("a bug")], "c": [lambda: ValidationError("bad")]})
    tree = supervisor(child(Keeper, script), child(Sink), name="top", wires=[Keeper.out_item >> Sink.in_item], recovery=QUICK)
    store = MemoryStore()
    async with open_system(tree, store=store) as system:
        await send(system, *"abcd")
        await system.wait()
        left = killed(store)

    assert Jumping.steps > 1
    tree = supervisor(child(Keeper), child(Sink), name="top", wires=[Keeper.out_item >> Sink.in_item])
    async with open_system(tree, store=left) as system:
        assert await names(system, Keeper) == await names(system, Sink) == ["a", "b", "d"]
        assert [letter.message.name for letter in await system.dead_letters.inspect()] == ["c"]
