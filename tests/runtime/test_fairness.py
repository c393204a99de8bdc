"""Nobody takes all the time: actors take turns, and trio's other tasks get theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import trio

from actorkit import Actor, AskFailed, OutPort, child, in_port, open_system, supervisor

MANY = 50_000


class Counter(Actor):
    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @in_port(capacity=2 * MANY)
    async def in_x(self, x: str) -> None:
        self.seen.append(x)


class PlainCounter(Actor):
    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @in_port(capacity=2 * MANY)
    def in_x(self, x: str) -> None:
        self.seen.append(x)


class Sink(Actor):
    @in_port
    def in_x(self, x: int) -> None:
        pass


class OtherSink(Sink):
    pass


@pytest.mark.parametrize("actor", [Counter, PlainCounter])
async def test_an_actor_with_a_long_queue_does_not_keep_others_from_their_messages(actor: type[Counter]) -> None:
    seen: list[str] = []
    async with open_system(
        supervisor(child(actor, seen).options(name="long"), child(actor, seen).options(name="short"), name="s")
    ) as system:
        for _ in range(MANY):
            system.ref("root/s/long", actor).send_nowait(actor.in_x, "long")
        system.ref("root/s/short", actor).send_nowait(actor.in_x, "short")

        await system.settle()

        assert seen.index("short") <= 128


@pytest.mark.parametrize("actor", [Counter, PlainCounter])
async def test_a_long_queue_does_not_keep_other_tasks_from_running(actor: type[Counter]) -> None:
    seen: list[str] = []
    async with open_system(supervisor(child(actor, seen).options(name="a"), name="s")) as system:
        for _ in range(MANY):
            system.ref("root/s/a", actor).send_nowait(actor.in_x, "x")

        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

        assert len(seen) < MANY


async def test_a_handler_that_becomes_slow_soon_gets_smaller_batches() -> None:
    seen: list[int] = []

    class Burning(Actor):
        @in_port(capacity=MANY)
        def in_x(self, milliseconds: int) -> None:
            until = time.perf_counter() + milliseconds / 1000
            while time.perf_counter() < until:
                pass
            seen.append(milliseconds)

    async with open_system(supervisor(child(Burning), name="s")) as system:
        for _ in range(10_000):
            system.ref(Burning).send_nowait(Burning.in_x, 0)
        await system.settle()
        for _ in range(200):
            system.ref(Burning).send_nowait(Burning.in_x, 2)
        seen.clear()
        gaps: list[int] = []

        while len(seen) < 200:
            before = len(seen)
            await trio.lowlevel.checkpoint()
            gaps.append(len(seen) - before)

        assert max(gaps) <= 128 + 8
        assert sorted(gaps)[-2] <= 8


class Source(Actor):
    """Sends without end, as far as it knows."""

    out_x = OutPort(int)
    out_unwired = OutPort(int)

    def __init__(self, how: str, sent: list[int]) -> None:
        self.how, self.sent = how, sent

    async def run(self) -> None:
        for i in range(MANY):
            self.sent.append(i)
            match self.how:
                case "to a wire" | "to two wires":
                    await self.out_x.send(i)
                case "to no wire":
                    await self.out_unwired.send(i)
                case "to itself":
                    await self.ref.send(Source.in_own, i)
                case "to a stopped actor":
                    await self.system.ref("root/s/sink", Sink).send(Sink.in_x, i)
                case "asking a plain actor":
                    await self.system.ref("root/s/sink", Sink).ask(Sink.in_x, i)
                case _:
                    with pytest.raises(AskFailed):
                        await self.system.ref("root/s/sink", Sink).ask(Sink.in_x, i)

    @in_port(capacity=10)
    async def in_own(self, x: int) -> None:
        await trio.sleep_forever()


HOWS = ["to a wire", "to two wires", "to no wire", "to itself", "to a stopped actor", "asking a plain actor", "asking a stopped actor"]


@pytest.mark.parametrize("how", HOWS)
async def test_a_source_that_never_waits_lets_other_tasks_run(how: str) -> None:
    sent: list[int] = []
    wires = [Source.out_x >> Sink.in_x, Source.out_x >> OtherSink.in_x][: 2 if how == "to two wires" else 1]
    sinks = [child(Sink), child(OtherSink)]
    async with open_system(supervisor(*sinks, name="s", wires=[])) as system:
        if "stopped" in how:
            await system.supervisor("root/s").stop_child("sink")
        await system.supervisor("root/s").start_child(child(Source, how, sent).options(shutdown=0.0), wires=wires)

        for _ in range(10):
            await trio.lowlevel.checkpoint()

        assert 0 < len(sent) < 10_000
        system.ledger().check()


def burn(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_the_timeout_of_an_ask_begins_when_it_is_asked_however_long_the_handler_worked_before() -> None:
    class Asks(Actor):
        @in_port
        async def in_go(self, work: Callable[[float], None]) -> str:
            work(0.3)
            await self.system.ref(Sink).ask(Sink.in_x, 1, timeout=0.25)
            return "answered"

    results: list[str] = []

    async def main() -> None:
        async with open_system(supervisor(child(Sink), child(Asks), name="s")) as system:
            results.append(await system.ref(Asks).ask(Asks.in_go, burn))

    await trio.to_thread.run_sync(trio.run, main)  # by the real clock

    assert results == ["answered"]
