"""How many times a second do two actors send a message to each other and get it back?"""

from __future__ import annotations

import time

import trio

from actorkit import Actor, OutPort, SupervisorSpec, child, in_port, run, supervisor
from benchmarks.one_way import CAPACITY, expect


class Server(Actor):
    """Begins, with as many strokes as are left, and returns the ball for as long as there are any."""

    out_ball = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """The first stroke."""
        await self.out_ball.send(self.count)


class AsyncServer(Server):
    """By an async handler."""

    @in_port
    async def in_ball(self, left: int) -> None:
        """Returns it."""
        if left > 1:
            await self.out_ball.send(left - 1)


class PlainServer(Server):
    """By a plain handler."""

    @in_port
    def in_ball(self, left: int) -> None:
        """Returns it."""
        if left > 1:
            self.out_ball.emit(left - 1)


class AsyncReturner(Actor):
    """Returns the ball, by an async handler."""

    out_ball = OutPort(int)

    @in_port
    async def in_ball(self, left: int) -> None:
        """Returns it."""
        await self.out_ball.send(left)


class PlainReturner(Actor):
    """Returns the ball, by a plain handler."""

    out_ball = OutPort(int)

    @in_port
    def in_ball(self, left: int) -> None:
        """Returns it."""
        self.out_ball.emit(left)


def async_handlers(count: int) -> float:
    """Round trips a second, with `async def` and `send`."""
    return _rate(
        supervisor(
            child(AsyncServer, count),
            child(AsyncReturner),
            wires=[AsyncServer.out_ball >> AsyncReturner.in_ball, AsyncReturner.out_ball >> AsyncServer.in_ball],
        ),
        count,
    )


def plain_handlers(count: int) -> float:
    """Round trips a second, with `def` and `emit`."""
    return _rate(
        supervisor(
            child(PlainServer, count),
            child(PlainReturner),
            wires=[PlainServer.out_ball >> PlainReturner.in_ball, PlainReturner.out_ball >> PlainServer.in_ball],
        ),
        count,
    )


def _rate(tree: SupervisorSpec, count: int) -> float:
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, 2 * count)
    return count / took


def channels(count: int) -> float:
    """Round trips a second between two trio tasks, through two channels."""

    async def main() -> int:
        ping, pings = trio.open_memory_channel[int](CAPACITY)
        pong, pongs = trio.open_memory_channel[int](CAPACITY)
        trips = 0

        async def give_back() -> None:
            async with pong:
                async for left in pings:
                    await pong.send(left)

        async with trio.open_nursery() as nursery, ping:
            nursery.start_soon(give_back)
            await ping.send(count)
            async for left in pongs:
                trips += 1
                if left == 1:
                    break
                await ping.send(left - 1)
            ping.close()
        return trips

    began = time.perf_counter()
    expect(trio.run(main), count)
    return count / (time.perf_counter() - began)
