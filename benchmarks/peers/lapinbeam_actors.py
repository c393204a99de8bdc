"""lapinbeam: asyncio tasks with unbounded queues behind a node written in Rust; local messages never leave Python."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from lapinbeam import Node, Supervisor, actor, current_message


class Sink:
    def __init__(self, wanted: int, done: asyncio.Event) -> None:
        self.left = wanted
        self.done = done

    async def receive(self, message: Any) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


class Source:
    def __init__(self, targets: list[Any]) -> None:
        self.targets = targets

    async def receive(self, message: int) -> None:
        for number in range(message):
            for target in self.targets:
                await target.send(number)
            if not number % 1000:  # sending never waits, and the queues have no bounds: the others must have their turn
                await asyncio.sleep(0)


class Stage:
    def __init__(self, target: Any) -> None:
        self.target = target

    async def receive(self, message: Any) -> None:
        await self.target.send(message)


class Server:
    async def receive(self, message: int) -> None:
        await current_message().reply(message + 1)


class Client:
    def __init__(self, server: Any) -> None:
        self.server = server

    async def receive(self, message: int) -> None:
        asked = current_message()
        answer = 0
        began = time.perf_counter()
        for _ in range(message):
            answer = await self.server.ask(answer)
        took = time.perf_counter() - began
        assert answer == message
        await asked.reply(took)


class Player:
    def __init__(self, refs: list[Any], number: int, done: asyncio.Event) -> None:
        self.refs = refs
        self.number = number
        self.done = done

    async def receive(self, message: int) -> None:
        if message:
            await self.refs[(self.number + 1) % len(self.refs)].send(message - 1)
        else:
            self.done.set()


class Spawner:
    """An actor's name is its class's, and there can be only one: so each actor gets a class."""

    def __init__(self, node: Node) -> None:
        self.supervisor = Supervisor(node=node)
        self.count = 0

    def __call__(self, what: type, *arguments: Any) -> Any:
        self.count += 1
        return self.supervisor.spawn(actor(name=f"actor-{self.count}")(type(what.__name__, (what,), {})), *arguments)


async def _timed(sources: list[Any], each: int, done: list[asyncio.Event]) -> float:
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    for source in sources:
        await source.send(each)
    for event in done:
        await event.wait()
    return time.perf_counter() - began


async def one_way(spawn: Spawner, count: int) -> float:
    done = asyncio.Event()
    return await _timed([spawn(Source, [spawn(Sink, count, done)])], count, [done])


async def fan_in(spawn: Spawner, count: int) -> float:
    done = asyncio.Event()
    sink = spawn(Sink, count // 10 * 10, done)
    return await _timed([spawn(Source, [sink]) for _ in range(10)], count // 10, [done])


async def fan_out(spawn: Spawner, count: int) -> float:
    done = [asyncio.Event() for _ in range(10)]
    return await _timed([spawn(Source, [spawn(Sink, count // 10, event) for event in done])], count // 10, done)


async def pipeline(spawn: Spawner, count: int) -> float:
    done = asyncio.Event()
    target = spawn(Sink, count, done)
    for _ in range(4):
        target = spawn(Stage, target)
    return await _timed([spawn(Source, [target])], count, [done])


async def ask(spawn: Spawner, count: int) -> float:
    took: float = await spawn(Client, spawn(Server)).ask(count, timeout=None)
    return took


async def _around(spawn: Spawner, players: int, hops: int) -> float:
    done = asyncio.Event()
    refs: list[Any] = []
    refs.extend(spawn(Player, refs, number, done) for number in range(players))
    return await _timed(refs[:1], hops, [done])


async def ping_pong(spawn: Spawner, count: int) -> float:
    return await _around(spawn, 2, 2 * count)


async def ring(spawn: Spawner, count: int) -> float:
    return await _around(spawn, 1000, count)


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}


async def main(work: str, count: int) -> None:
    async with Node("bench@127.0.0.1:0") as node:
        print(json.dumps({"seconds": await WORK[work](Spawner(node), count)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
