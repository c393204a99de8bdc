"""How many questions a second are answered, one after the other, by an actor?

Asked by another actor, with the default timeout; by a trio task, which waits; and by a trio task of an idle actor with a plain
handler, which actorkit then runs in the task itself. Beside it, a question and its answer through two trio channels.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from actorkit import Actor, ActorRef, InPort, System, child, in_port, open_system, supervisor
from benchmarks.one_way import CAPACITY, expect


class AsyncServer(Actor):
    """Answers, in an async handler."""

    @in_port
    async def in_number(self, number: int) -> int:
        """The next number."""
        return number + 1


class PlainServer(Actor):
    """Answers, in a plain handler."""

    @in_port
    def in_number(self, number: int) -> int:
        """The next number."""
        return number + 1


Server = TypeVar("Server", AsyncServer, PlainServer)


class Client(Actor):
    """Asks."""

    def __init__(self, ask: Callable[[System, int], Awaitable[float]]) -> None:
        self.ask = ask

    @in_port
    async def in_go(self, count: int) -> float:
        """Seconds that it took to ask so often."""
        return await self.ask(self.system, count)


async def ask_on_and_on(server: ActorRef[Any], port: InPort[Any, int, int], count: int) -> float:
    """Seconds that it took to ask so often."""
    answer = 0
    began = time.perf_counter()
    for _ in range(count):
        answer = await server.ask(port, answer)
    took = time.perf_counter() - began
    expect(answer, count)
    return took


def between_actors(server: type[Server], count: int) -> float:
    """Asks a second, from actor to actor."""

    async def ask(system: System, times: int) -> float:
        return await ask_on_and_on(system.ref(server), server.in_number, times)

    async def main() -> float:
        async with open_system(supervisor(child(server), child(Client, ask))) as system:
            took = await system.ref(Client).ask(Client.in_go, count, timeout=600.0)
        system.ledger().check()
        expect(system.ledger().processed, count + 1)
        return took

    return count / trio.run(main)


def from_task(server: type[Server], count: int) -> float:
    """Asks a second, from a trio task."""

    async def main() -> float:
        async with open_system(supervisor(child(server))) as system:
            took = await ask_on_and_on(system.ref(server), server.in_number, count)
        system.ledger().check()
        expect(system.ledger().processed, count)
        return took

    return count / trio.run(main)


def channels(count: int) -> float:
    """Round trips a second between two trio tasks: a question that brings the channel for its answer along."""

    async def main() -> float:
        questions, inbox = trio.open_memory_channel[tuple[int, trio.MemorySendChannel[int]]](CAPACITY)
        reply, answers = trio.open_memory_channel[int](1)

        async def serve() -> None:
            async for number, to in inbox:
                await to.send(number + 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            answer = 0
            began = time.perf_counter()
            for _ in range(count):
                await questions.send((answer, reply))
                answer = await answers.receive()
            took = time.perf_counter() - began
            expect(answer, count)
            questions.close()
        return took

    return count / trio.run(main)
