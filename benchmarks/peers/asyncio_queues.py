"""Raw `asyncio.Queue`s of 1,024, and a task for each receiver: no actors at all."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise

CAPACITY = 1024
END = -1


async def _receive(queue: asyncio.Queue[int], ends: int = 1) -> int:
    received = 0
    while ends:
        if await queue.get() == END:
            ends -= 1
        else:
            received += 1
    return received


async def _send(queue: asyncio.Queue[int], count: int) -> None:
    for number in range(count):
        await queue.put(number)
    await queue.put(END)


async def one_way(count: int) -> float:
    queue: asyncio.Queue[int] = asyncio.Queue(CAPACITY)
    began = time.perf_counter()
    received, _ = await asyncio.gather(_receive(queue), _send(queue, count))
    assert received == count
    return time.perf_counter() - began


async def ask(count: int) -> float:
    """A question brings the future for its answer along."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue(CAPACITY)

    async def serve() -> None:
        while True:
            number, reply = await queue.get()
            reply.set_result(number + 1)

    server = asyncio.create_task(serve())
    answer = 0
    began = time.perf_counter()
    for _ in range(count):
        reply = loop.create_future()
        await queue.put((answer, reply))
        answer = await reply
    took = time.perf_counter() - began
    assert answer == count
    server.cancel()
    return took


async def ping_pong(count: int) -> float:
    ping: asyncio.Queue[int] = asyncio.Queue(CAPACITY)
    pong: asyncio.Queue[int] = asyncio.Queue(CAPACITY)

    async def give_back() -> None:
        while True:
            await pong.put(await ping.get())

    returner = asyncio.create_task(give_back())
    began = time.perf_counter()
    left = count
    while left:
        await ping.put(left)
        left = await pong.get() - 1
    took = time.perf_counter() - began
    returner.cancel()
    return took


async def pipeline(count: int) -> float:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(CAPACITY) for _ in range(5)]

    async def stage(source: asyncio.Queue[int], target: asyncio.Queue[int]) -> None:
        number = 0
        while number != END:
            number = await source.get()
            await target.put(number)

    began = time.perf_counter()
    received, *_ = await asyncio.gather(_receive(queues[-1]), _send(queues[0], count), *(stage(*pair) for pair in pairwise(queues)))
    assert received == count
    return time.perf_counter() - began


async def fan_in(count: int) -> float:
    queue: asyncio.Queue[int] = asyncio.Queue(CAPACITY)
    began = time.perf_counter()
    received, *_ = await asyncio.gather(_receive(queue, 10), *(_send(queue, count // 10) for _ in range(10)))
    assert received == count // 10 * 10
    return time.perf_counter() - began


async def fan_out(count: int) -> float:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(CAPACITY) for _ in range(10)]

    async def send() -> int:
        for number in range(count // 10):
            for queue in queues:
                await queue.put(number)
        for queue in queues:
            await queue.put(END)
        return 0

    began = time.perf_counter()
    received = await asyncio.gather(send(), *(_receive(queue) for queue in queues))
    assert sum(received) == count // 10 * 10
    return time.perf_counter() - began


async def ring(count: int) -> float:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(CAPACITY) for _ in range(1000)]
    done = asyncio.Event()

    async def hand_on(source: asyncio.Queue[int], target: asyncio.Queue[int]) -> None:
        while True:
            left = await source.get()
            if left:
                await target.put(left - 1)
            else:
                done.set()

    nodes = [asyncio.create_task(hand_on(*pair)) for pair in zip(queues, queues[1:] + queues[:1], strict=True)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    await queues[0].put(count)
    await done.wait()
    took = time.perf_counter() - began
    for node in nodes:
        node.cancel()
    return took


WORK = {"one-way": one_way, "ask": ask, "ping-pong": ping_pong, "pipeline": pipeline, "fan-in": fan_in, "fan-out": fan_out, "ring": ring}

if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(WORK[sys.argv[1]](int(sys.argv[2])))}))
