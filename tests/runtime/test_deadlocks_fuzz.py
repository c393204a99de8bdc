"""Random programs of actors that ask, fill and read each other without any timeout: none ever hangs, and the books balance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

import pytest
import trio
from attrs import frozen

from actorkit import Actor, ActorkitError, ActorRef, AskFailed, DeadlockError, OutPort, child, in_port, open_system, supervisor

ACTORS = 5


@frozen
class Step:
    """What to do, with whom, and what that one is to do then."""

    kind: str
    to: int
    then: tuple[Step, ...] = ()


class Member(Actor):
    """Does the steps that it is told to."""

    out_next = OutPort(Step)

    @in_port
    async def in_steps(self, step: Step) -> int:
        return await self.walk(step.then)

    @in_port(capacity=1)
    async def in_narrow(self, step: Step) -> int:
        return await self.walk(step.then)

    @in_port
    async def in_rows(self, step: Step) -> AsyncIterator[int]:
        for n in range(20):
            yield n
        yield await self.walk(step.then)

    async def walk(self, steps: tuple[Step, ...]) -> int:
        """Does them one after the other; a failure of one is the failure of all."""
        for step in steps:
            await self.take(step)
        return len(steps)

    async def take(self, step: Step) -> None:
        """Does one."""
        to: ActorRef[Member] = self.system.ref(f"root/s/m{step.to}", Member)
        if step.kind == "ask":
            await to.ask(Member.in_steps, step, timeout=None)
        elif step.kind == "ask in a nursery":
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(self.take, Step("ask", step.to, step.then))
        elif step.kind == "fill":
            for _ in range(3):
                await to.send(Member.in_narrow, step)
        elif step.kind == "emit":
            for _ in range(3):
                self.out_next.emit(step)
        elif step.kind == "read":
            async for _ in to.stream(Member.in_rows, step, timeout=None):
                await self.walk(step.then[:1])
        elif step.kind == "background":
            self.start_soon(self.forgiving, Step("ask", step.to, step.then))
        else:
            await trio.sleep(step.to)

    async def forgiving(self, step: Step) -> None:
        """Does one in the background, where a circle is no failure of the actor."""
        with suppress(AskFailed, DeadlockError):
            await self.take(step)


KINDS = ("ask", "ask", "ask in a nursery", "fill", "emit", "read", "background", "sleep")


def program(rng: Random, depth: int) -> tuple[Step, ...]:
    """Some steps, each with some for whom it is about."""
    if not depth:
        return ()
    return tuple(Step(rng.choice(KINDS), rng.randrange(ACTORS), program(rng, depth - 1)) for _ in range(rng.randint(1, 2)))


@pytest.mark.parametrize("seed", range(60))
async def test_no_program_hangs(seed: int) -> None:
    rng = Random(seed)
    members = [child(Member).options(name=f"m{n}", max_restarts=1000, within=1.0) for n in range(ACTORS)]
    wires = [members[n][Member.out_next] >> members[(n + 1) % ACTORS][Member.in_narrow] for n in range(ACTORS)]
    async with open_system(supervisor(*members, wires=wires, name="s", max_restarts=1000, within=1.0), seed=seed, cascade=False) as system:

        async def ask(n: int, step: Step) -> None:
            with suppress(ActorkitError):
                await system.ref(f"root/s/m{n}", Member).ask(Member.in_steps, step, timeout=None)

        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                for n in range(ACTORS):
                    nursery.start_soon(ask, n, Step("ask", n, program(rng, 3)))
            await system.wait()

        counts = system.ledger()
        counts.check()
        assert counts.queued == counts.in_flight == 0
        assert counts.processed > 0
