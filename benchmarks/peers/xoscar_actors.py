"""xoscar, in one pool in one process, where a ref finds the actor itself: its fastest way. Awaiting a method asks, `tell` does not."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import xoscar


class Sink(xoscar.Actor):
    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.done = asyncio.Event()

    def take(self, number: int) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()

    @xoscar.no_lock
    async def wait(self) -> None:
        await self.done.wait()


class Stage(xoscar.Actor):
    def __init__(self, targets: list[Any]) -> None:
        self.targets = targets

    async def go(self, count: int) -> None:
        for number in range(count):
            for target in self.targets:
                await target.take.tell(number)

    async def take(self, number: int) -> None:
        await self.targets[0].take.tell(number)


class Server(xoscar.Actor):
    def add(self, number: int) -> int:
        return number + 1


class Client(xoscar.Actor):
    def __init__(self, server: Any) -> None:
        self.server = server

    async def go(self, count: int) -> float:
        answer = 0
        began = time.perf_counter()
        for _ in range(count):
            answer = await self.server.add(answer)
        took = time.perf_counter() - began
        assert answer == count
        return took


class Player(xoscar.Actor):
    def __init__(self) -> None:
        self.next: Any = None
        self.done = asyncio.Event()

    def set_next(self, player: Any) -> None:
        self.next = player

    async def take(self, left: int) -> None:
        if left:
            await self.next.take.tell(left - 1)
        else:
            self.done.set()

    @xoscar.no_lock
    async def wait(self) -> None:
        await self.done.wait()


async def _timed(sources: list[Any], each: int, sinks: list[Any]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(source.go(each) for source in sources))
    await asyncio.gather(*(sink.wait() for sink in sinks))
    return time.perf_counter() - began


async def one_way(address: str, count: int) -> float:
    sink = await xoscar.create_actor(Sink, count, address=address)
    return await _timed([await xoscar.create_actor(Stage, [sink], address=address)], count, [sink])


async def fan_in(address: str, count: int) -> float:
    sink = await xoscar.create_actor(Sink, count // 10 * 10, address=address)
    return await _timed([await xoscar.create_actor(Stage, [sink], address=address) for _ in range(10)], count // 10, [sink])


async def fan_out(address: str, count: int) -> float:
    sinks = [await xoscar.create_actor(Sink, count // 10, address=address) for _ in range(10)]
    return await _timed([await xoscar.create_actor(Stage, sinks, address=address)], count // 10, sinks)


async def pipeline(address: str, count: int) -> float:
    sink = target = await xoscar.create_actor(Sink, count, address=address)
    for _ in range(5):
        target = await xoscar.create_actor(Stage, [target], address=address)
    return await _timed([target], count, [sink])


async def ask(address: str, count: int) -> float:
    server = await xoscar.create_actor(Server, address=address)
    took: float = await (await xoscar.create_actor(Client, server, address=address)).go(count)
    return took


async def _around(address: str, players: int, hops: int) -> float:
    refs = [await xoscar.create_actor(Player, address=address) for _ in range(players)]
    for one, other in zip(refs, refs[1:] + refs[:1], strict=True):
        await one.set_next(other)
    began = time.perf_counter()
    await refs[0].take.tell(hops)
    await refs[hops % players].wait()
    return time.perf_counter() - began


async def ping_pong(address: str, count: int) -> float:
    return await _around(address, 2, 2 * count)


async def ring(address: str, count: int) -> float:
    return await _around(address, 1000, count)


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}


async def main(work: str, count: int) -> None:
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    async with pool:
        print(json.dumps({"seconds": await WORK[work](pool.external_address, count)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
