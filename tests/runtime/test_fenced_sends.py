"""What an actor that was left behind sends late is refused, by whatever way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from actorkit import Actor, ActorNotRunning, ActorRef, child, in_port, open_system, supervisor


class Sink(Actor):
    def __init__(self, got: list[str]) -> None:
        self.got = got

    @in_port(capacity=1000)
    def in_note(self, note: str) -> None:
        self.got.append(note)


Way = Callable[[ActorRef[Sink]], object]


class Deaf(Actor):
    """Shields itself for a minute, then sends."""

    def __init__(self, way: Way, told: list[BaseException]) -> None:
        self.way = way
        self.told = told

    @in_port
    async def in_work(self, work: str) -> None:
        sink = self.system.ref(Sink)
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        try:
            sent = self.way(sink)
            if hasattr(sent, "__await__"):
                await sent
        except ActorNotRunning as error:
            self.told.append(error)
            raise


@pytest.mark.parametrize(
    "way",
    [
        lambda sink: sink.send(Sink.in_note, "late"),
        lambda sink: sink.send_nowait(Sink.in_note, "late"),
        lambda sink: sink.ask(Sink.in_note, "late"),
        lambda sink: sink.port(Sink.in_note).send("late"),
    ],
    ids=["send", "send_nowait", "ask", "port"],
)
async def test_a_late_send_of_a_fenced_off_actor_is_refused(way: Way) -> None:
    got: list[str] = []
    told: list[BaseException] = []
    tree = supervisor(child(Sink, got), child(Deaf, way, told).options(shutdown=1), name="tree")
    async with open_system(tree) as system:
        await system.ref(Deaf).send(Deaf.in_work, "x")
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/tree").stop_child("deaf")
        await trio.sleep(100)

        assert got == []
        assert "root/tree/sink.in_note: 'late' was not accepted" in str(told[0])
        await system.ref(Sink).send(Sink.in_note, "from outside")
        await system.settle()
        assert got == ["from outside"]
        system.ledger().check()
