"""How many messages a second go to durable ports, and how long does it take until those that an earlier process has left are there again?

Beside actors, `sqlite3` itself: the same rows in a table of the same kind, with nothing else to do than to put and delete them.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Literal, cast

import trio

from actorkit import Actor, ActorRef, OutPort, SqliteStore, SupervisorSpec, child, in_port, open_system, supervisor
from actorkit._runtime.journals import MESSAGE
from actorkit.storage.codec import Codec
from actorkit.storage.store import Changes
from benchmarks.one_way import CAPACITY, expect

Synchronous = Literal["FULL", "NORMAL"]

SENDERS = 64
PAGE = 10_000
"""Messages in one transaction, when a store is filled beforehand."""


class Counter(Actor):
    """Counts what it gets, and keeps the count."""

    def __init__(self) -> None:
        self.received = 0

    @in_port(durable=True, capacity=CAPACITY)
    def in_number(self, number: int) -> None:
        """Counts."""
        self.received += 1

    def snapshot(self) -> object:
        """The count."""
        return self.received

    def restore(self, state: object, version: int) -> None:
        """Goes on from there."""
        self.received = cast("int", state)


class Source(Actor):
    """Sends numbers, and keeps its position."""

    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count
        self.position = 0

    async def run(self) -> None:
        """Sends them all."""
        out = self.out_number
        for number in range(self.position, self.count):
            await out.send(number)
            self.position += 1

    def snapshot(self) -> object:
        """The position."""
        return self.position

    def restore(self, state: object, version: int) -> None:
        """Goes on from there."""
        self.position = cast("int", state)


class Stage(Actor):
    """Passes numbers on."""

    out_number = OutPort(int)

    @in_port(durable=True, capacity=CAPACITY)
    async def in_number(self, number: int) -> None:
        """Passes it on."""
        await self.out_number.send(number)


class Beginning(Counter):
    """Notes when it has handled its first message."""

    def __init__(self, first: trio.Event) -> None:
        super().__init__()
        self.first = first

    @in_port(durable=True)
    def in_number(self, number: int) -> None:
        """Counts."""
        self.received += 1
        if not self.first.is_set():
            self.first.set()


def sends(synchronous: Synchronous, count: int) -> float:
    """Messages a second from 64 tasks, each of which waits until its message is kept, to one that counts. Opening is not counted."""
    return trio.run(_sends, synchronous, count)


async def _sends(synchronous: Synchronous, count: int) -> float:
    async def send(numbers: Iterator[int], counter: ActorRef[Counter]) -> None:
        for number in numbers:
            await counter.send(Counter.in_number, number)

    with disk_folder() as folder:
        async with open_system(child(Counter), store=SqliteStore(f"{folder}/store.db", synchronous=synchronous)) as system:
            counter, numbers = system.ref(Counter), iter(range(count))
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(SENDERS):
                    nursery.start_soon(send, numbers, counter)
            await system.settle()
            took = time.perf_counter() - began
            expect(system.ledger().processed, count)
    return count / took


def chain(synchronous: Synchronous, count: int) -> float:
    """Messages a second from a source through a stage to one that counts, all three durable, to the end of it. Opening is not counted."""
    return trio.run(_chain, synchronous, count)


async def _chain(synchronous: Synchronous, count: int) -> float:
    with disk_folder() as folder:
        async with open_system(_chain_of(count), store=SqliteStore(f"{folder}/store.db", synchronous=synchronous)) as system:
            began = time.perf_counter()
            await system.wait()
            took = time.perf_counter() - began
            expect(system.ledger().processed, 2 * count)
    return count / took


def _chain_of(count: int) -> SupervisorSpec:
    return supervisor(
        child(Counter),
        child(Stage),
        child(Source, count),
        wires=[Source.out_number >> Stage.in_number, Stage.out_number >> Counter.in_number],
    )


def recovery(count: int) -> dict[str, float]:
    """Seconds from the opening of a store with so many messages: until the first is handled, until all are."""
    return trio.run(_recovery, count)


async def _recovery(count: int) -> dict[str, float]:
    with disk_folder() as folder:
        store = SqliteStore(f"{folder}/store.db")
        _fill(store, "root/counting/beginning.in_number", count)
        first = trio.Event()
        tree = supervisor(child(Beginning, first), name="counting")
        began = time.perf_counter()
        async with open_system(tree, store=store) as system:
            expect(system.ledger().accepted, count)
            await first.wait()
            began_handling = time.perf_counter()
            await system.settle()
            ended = time.perf_counter()
            expect(system.ledger().processed, count)
    return {"s to the first": began_handling - began, "s to the last": ended - began}


def _fill(store: SqliteStore, port: str, count: int) -> None:
    """Leaves so many messages at a port, as a process that was ended in order does."""
    codec = Codec(int)
    store.open()
    for start in range(1, count + 1, PAGE):
        numbers = range(start, min(start + PAGE, count + 1))
        store.write([Changes([(f"{MESSAGE} {port}", number, b"\0" + codec.encode(number)) for number in numbers])])
    store.close(clean=True)


def rows(together: int, count: int) -> float:
    """Rows a second that `sqlite3` by itself puts and deletes again, FULL, so many in a transaction."""
    with disk_folder() as folder:
        connection = sqlite3.connect(f"{folder}/rows.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE entry (key INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        body = Codec(int).encode(count)
        began = time.perf_counter()
        for start in range(0, count, together):
            keys = range(start, min(start + together, count))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM entry WHERE key = ?", [(key - together,) for key in keys])
            connection.executemany("INSERT INTO entry VALUES (?, ?)", [(key, body) for key in keys])
            connection.execute("COMMIT")
        took = time.perf_counter() - began
        connection.close()
    return count / took


@contextmanager
def disk_folder() -> Generator[str]:
    """For a store. In /var/tmp, since /tmp may be memory."""
    with tempfile.TemporaryDirectory(prefix="actorkit-bench-", dir="/var/tmp" if os.path.isdir("/var/tmp") else None) as folder:
        yield folder
