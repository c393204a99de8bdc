"""How many times a second is a token handed on in a ring of a thousand actors? (Making the ring is not counted.)"""

from __future__ import annotations

import time
from typing import TypeVar

import trio
import trio.testing

from actorkit import Actor, ActorkitError, ChildSpec, OutPort, Wire, child, in_port, open_system, supervisor
from benchmarks.one_way import CAPACITY, expect

SIZE = 1000


class Node(Actor):
    """Hands the token on, with the number of times that it is still to be handed on; notes when it came first and last."""

    out_token = OutPort(int)

    def __init__(self, times: list[float], count: int) -> None:
        self.times = times
        self.count = count


class PlainNode(Node):
    """By a plain handler."""

    @in_port
    def in_token(self, left: int) -> None:
        """Hands it on."""
        if left == self.count or not left:
            self.times.append(time.perf_counter())
        if left:
            self.out_token.emit(left - 1)


class AsyncNode(Node):
    """By an async handler."""

    @in_port
    async def in_token(self, left: int) -> None:
        """Hands it on."""
        if left == self.count or not left:
            self.times.append(time.perf_counter())
        if left:
            await self.out_token.send(left - 1)


AnyNode = TypeVar("AnyNode", AsyncNode, PlainNode)


class Starter(Actor):
    """Puts the token in."""

    out_token = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """Sends it."""
        await self.out_token.send(self.count)


def actors(node: type[AnyNode], count: int, size: int = SIZE) -> float:
    """Hops a second."""
    times: list[float] = []
    nodes: list[ChildSpec[AnyNode]] = [child(node, times, count).options(name=f"node-{number}") for number in range(size)]
    ring: list[Wire] = [one[node.out_token] >> other[node.in_token] for one, other in zip(nodes, nodes[1:] + nodes[:1], strict=True)]
    tree = supervisor(*nodes, child(Starter, count), wires=[Starter.out_token >> nodes[0][node.in_token], *ring])

    async def main() -> int:
        async with open_system(tree) as system:
            await system.wait()
        return system.ledger().processed

    expect(trio.run(main), count + 1)
    return count / (times[-1] - times[0])


def channels(count: int, size: int = SIZE) -> float:
    """Hops a second through a ring of trio tasks."""

    async def main() -> float:
        pairs = [trio.open_memory_channel[int](CAPACITY) for _ in range(size)]
        began = ended = 0.0

        async def hand_on(receiver: trio.MemoryReceiveChannel[int], sender: trio.MemorySendChannel[int]) -> None:
            nonlocal ended
            async for left in receiver:
                if left:
                    await sender.send(left - 1)
                else:
                    ended = time.perf_counter()
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for (_, receiver), (sender, _) in zip(pairs, pairs[1:] + pairs[:1], strict=True):
                nursery.start_soon(hand_on, receiver, sender)
            await trio.testing.wait_all_tasks_blocked()
            began = time.perf_counter()
            await pairs[0][0].send(count)
        if not ended:
            raise ActorkitError("the token got lost")
        return ended - began

    return count / trio.run(main)
