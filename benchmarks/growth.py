"""How do costs grow: with the messages that are queued, with the wires of one port, with the actors that there are?"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from actorkit import Actor, OutPort, child, dynamic_supervisor, in_port, open_system, supervisor
from benchmarks.one_way import PlainSink, expect
from benchmarks.resident import resident_bytes

DEEPEST = 1_000_000
ACTIVE = 1000


class Deep(Actor):
    """Has a mailbox for a million messages, and says when the last has been handled."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.done = done

    @in_port(capacity=DEEPEST)
    def in_left(self, left: int) -> None:
        """Counts down."""
        if not left:
            self.done()


class Broadcaster(Actor):
    """Sends when it is told to."""

    out_number = OutPort(int)

    @in_port
    async def in_go(self, count: int) -> float:
        """Sends so many to everybody; the moment at which it began."""
        out = self.out_number
        began = time.perf_counter()
        for number in range(count):
            await out.send(number)
        return began


def mailbox(depth: int, count: int) -> dict[str, float]:
    """Nanoseconds a message when so many are queued and then handled; again and again, until `count` were, 10,000 times at most."""
    depth = min(depth, count)
    rounds = min(count // depth, 10_000)
    empty = trio.Event()

    def done() -> None:
        empty.set()

    async def main() -> tuple[float, float]:
        nonlocal empty
        filling = emptying = 0.0
        async with open_system(supervisor(child(Deep, done))) as system:
            send = system.ref(Deep).send_nowait
            for _ in range(rounds):
                empty = trio.Event()
                began = time.perf_counter()
                for left in range(depth - 1, -1, -1):
                    send(Deep.in_left, left)
                filled = time.perf_counter()
                await empty.wait()
                filling += filled - began
                emptying += time.perf_counter() - filled
        expect(system.ledger().processed, rounds * depth)
        return filling, emptying

    filling, emptying = (seconds * 1e9 / (rounds * depth) for seconds in trio.run(main))
    return {"ns": filling + emptying, "ns to queue": filling, "ns to handle": emptying}


def wires(width: int, count: int) -> float:
    """Nanoseconds a delivery, when each message goes to so many receivers; `count` deliveries."""
    width = min(width, count)
    sinks = [child(PlainSink).options(name=f"sink-{number}") for number in range(width)]
    tree = supervisor(*sinks, child(Broadcaster), wires=[Broadcaster.out_number >> each[PlainSink.in_number] for each in sinks])

    async def main() -> float:
        async with open_system(tree) as system:
            began = await system.ref(Broadcaster).ask(Broadcaster.in_go, count // width, timeout=600.0)
            await system.settle()
            took = time.perf_counter() - began
        expect(system.ledger().processed, count // width * width + 1)
        return took

    return trio.run(main) * 1e9 / (count // width * width)


def actors(idle: int, count: int) -> dict[str, float]:
    """Messages a second to a thousand actors in turn, when there are so many (or `count`); and what an idle one costs."""
    idle = min(idle, count)

    async def main() -> dict[str, float]:
        async with open_system(dynamic_supervisor(name="many")) as system:
            many, spec = system.supervisor("root/many"), child(PlainSink)
            before = resident_bytes()
            began = time.perf_counter()
            refs = [await many.start_child(spec) for _ in range(min(idle, ACTIVE))]
            for _ in range(idle - len(refs)):
                await many.start_child(spec)
            started = time.perf_counter()
            size = resident_bytes() - before
            rounds = count // len(refs)
            sending = time.perf_counter()
            for number in range(rounds):
                for ref in refs:
                    await ref.send(PlainSink.in_number, number)
            await system.settle()
            took = time.perf_counter() - sending
            expect(many.count_children().active, idle)
            stopping = time.perf_counter()
        expect(system.ledger().processed, rounds * len(refs))
        return {
            "messages/s": rounds * len(refs) / took,
            "µs to start one": (started - began) / idle * 1e6,
            "µs to stop one": (time.perf_counter() - stopping) / idle * 1e6,
            "bytes of one": size / idle,
            "MiB in all": resident_bytes() / 2**20,
        }

    return trio.run(main)
