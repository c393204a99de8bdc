"""Steps of actors whose messages pass gates, and of sources that fail while a commit of theirs is being written."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import pytest

from actorkit import Actor, CircuitBreaker, OutPort, Throttle, child, in_port, open_system, run, supervisor
from actorkit.storage.store import Changes
from tests.durability.kept import SlowStore, ToldStore

handled: list[int] = []


class Numbers(Actor):
    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count
        self.sent = 0

    async def run(self) -> None:
        while self.sent < self.count:
            await self.out_number.send(self.sent)
            self.sent += 1

    def snapshot(self) -> object:
        return self.sent

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.sent = state


class Broken(Actor):
    @in_port(durable=True, breaker=CircuitBreaker(failure_threshold=3))
    def in_number(self, number: int) -> None:
        handled.append(number)


class Throttled(Actor):
    @in_port(durable=True, throttle=Throttle(rate=10.0, burst=50))
    def in_number(self, number: int) -> None:
        handled.append(number)


@pytest.mark.parametrize("actor", [Broken, Throttled])
async def test_messages_that_pass_a_gate_are_committed_together(actor: type[Broken] | type[Throttled]) -> None:
    handled.clear()
    store = ToldStore()

    async with open_system(
        supervisor(child(actor), child(Numbers, 50), wires=[Numbers.out_number >> actor.in_number]), store=store
    ) as system:
        await system.wait()

    assert handled == list(range(50))
    gone = [len(each.deletes) for each in store.told if any(space.startswith("message ") for space, _ in each.deletes)]
    assert sum(gone) == 50
    assert len(gone) < 10


class SleepyStore(SlowStore):
    """Takes its time."""

    def write(self, changes: Sequence[Changes]) -> None:
        Event().wait(0.01)
        super().write(changes)


class Stumbling(Numbers):
    """Fails once, with a commit of what it has sent on its way to the store."""

    stumbled: list[int] = []  # noqa: RUF012 - of all its lives

    async def run(self) -> None:
        for _ in range(10):
            await self.out_number.send(self.sent)
            self.sent += 1
        if not self.stumbled:
            self.stumbled.append(self.sent)
            raise RuntimeError("it stumbled")
        await super().run()


def test_a_source_may_fail_while_what_it_sent_is_being_written() -> None:
    handled.clear()
    Stumbling.stumbled.clear()
    tree = supervisor(child(Broken), child(Stumbling, 30), wires=[Stumbling.out_number >> Broken.in_number])

    report = run(tree, store=SleepyStore(), handle_signals=False)

    assert report.restarts == 1
    assert handled == list(range(30))
