"""casty: one system in one process, its core written in Rust. Messages are frozen dataclasses, and always serialized: that is its way."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from casty import ActorSystem, Askable, Context, actor

DONE: dict[str, asyncio.Event] = {}
WANTED: dict[str, int] = {}
PLAYERS: list[Any] = []


@dataclass(frozen=True)
class Number:
    value: int


@dataclass(frozen=True)
class Add(Askable[int]):
    value: int = 0


@dataclass(frozen=True)
class Go(Askable[float]):
    count: int = 0
    targets: int = 1


@actor(initial=0)
async def sink(context: Context[int, Number]) -> None:
    left, done = WANTED[context.key], DONE[context.key]
    async for _ in context.inbox:
        left -= 1
        if not left:
            done.set()


@actor(initial=0)
async def stage(context: Context[int, Number]) -> None:
    number = int(context.key)
    target = context.system.ref(stage, str(number - 1)) if number > 1 else context.system.ref(sink, "0")
    async for message in context.inbox:
        target.tell(message)


@actor(initial=0)
async def source(context: Context[int, Go]) -> None:
    async for message in context.inbox:
        if message.targets:
            targets = [context.system.ref(sink, str(number)) for number in range(message.targets)]
        else:
            targets = [context.system.ref(stage, "4")]
        for value in range(message.count):
            number = Number(value)
            for target in targets:
                target.tell(number)
            if not value % 1000:  # telling never waits: the others must have their turn
                await asyncio.sleep(0)
        message.reply_to.tell(0.0)


@actor(initial=0)
async def server(context: Context[int, Add]) -> None:
    async for message in context.inbox:
        message.reply_to.tell(message.value + 1)


@actor(initial=0)
async def client(context: Context[int, Go]) -> None:
    one = context.system.ref(server, "server")
    async for message in context.inbox:
        answer = 0
        began = time.perf_counter()
        for _ in range(message.count):
            answer = await one.ask(Add(answer))
        took = time.perf_counter() - began
        assert answer == message.count
        message.reply_to.tell(took)


@actor(initial=0)
async def player(context: Context[int, Number]) -> None:
    following = PLAYERS[(int(context.key) + 1) % len(PLAYERS)]
    async for message in context.inbox:
        if message.value:
            following.tell(Number(message.value - 1))
        else:
            DONE["player"].set()


async def _timed(system: ActorSystem, sources: int, go: Go, sinks: int, wanted: int) -> float:
    for number in range(sinks):
        DONE[str(number)] = asyncio.Event()
        WANTED[str(number)] = wanted
    began = time.perf_counter()
    await asyncio.gather(*(system.ref(source, str(number)).ask(go) for number in range(sources)))
    for done in DONE.values():
        await done.wait()
    return time.perf_counter() - began


async def one_way(system: ActorSystem, count: int) -> float:
    return await _timed(system, 1, Go(count), 1, count)


async def fan_in(system: ActorSystem, count: int) -> float:
    return await _timed(system, 10, Go(count // 10), 1, count // 10 * 10)


async def fan_out(system: ActorSystem, count: int) -> float:
    return await _timed(system, 1, Go(count // 10, 10), 10, count // 10)


async def pipeline(system: ActorSystem, count: int) -> float:
    return await _timed(system, 1, Go(count, 0), 1, count)


async def ask(system: ActorSystem, count: int) -> float:
    return await system.ref(client, "client").ask(Go(count))


async def _around(system: ActorSystem, players: int, hops: int) -> float:
    done = DONE["player"] = asyncio.Event()
    PLAYERS.extend(system.ref(player, str(number)) for number in range(players))
    began = time.perf_counter()
    PLAYERS[0].tell(Number(hops))
    await done.wait()
    return time.perf_counter() - began


async def ping_pong(system: ActorSystem, count: int) -> float:
    return await _around(system, 2, 2 * count)


async def ring(system: ActorSystem, count: int) -> float:
    return await _around(system, 1000, count)


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}


async def main(work: str, count: int) -> None:
    async with ActorSystem() as system:
        print(json.dumps({"seconds": await WORK[work](system, count)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
