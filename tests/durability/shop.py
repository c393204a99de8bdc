"""Durable actors for tests: what they keep, and how they fail, is told by the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TypeVar

import trio
from attrs import define, field, frozen

from actorkit import Actor, ActorRef, MemoryStore, OutPort, RecoveryPolicy, System, in_port
from actorkit.policy.retry import ExponentialBackoffRetry, RetryPolicy
from actorkit.policy.taxonomy import ErrorCategory

K = TypeVar("K", bound="Keeper")


@frozen
class Item:
    """A message."""

    name: str


@define
class Script:
    """What is to go wrong, and what was seen, for the test.

    Attributes:
        seen: the names of items, as handlers got them, each time.
        errors: by name, what its handler raises, one a try.
        waits: by name, the seconds that its handler takes.
        gate: handlers wait for it, if there is one.
    """

    seen: list[str] = field(factory=list)
    errors: dict[str, list[Callable[[], Exception]]] = field(factory=dict)
    waits: Mapping[str, float] = field(factory=dict)
    gate: trio.Event | None = None

    async def play(self, name: str) -> None:
        """Does what is to be done at this item."""
        self.seen.append(name)
        if self.gate is not None:
            await self.gate.wait()
        if name in self.waits:
            await trio.sleep(self.waits[name])
        if self.errors.get(name):
            raise self.errors[name].pop(0)()


class Positioned(Actor):
    """A source that keeps how far it has come."""

    position = 0

    def snapshot(self) -> int:
        return self.position

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.position = state


class Keeper(Actor):
    """Keeps the names of what it has handled, and sends them on."""

    out_item = OutPort(Item)

    def __init__(self, script: Script | None = None) -> None:
        self.script = Script() if script is None else script
        self.names: list[str] = []

    def snapshot(self) -> list[str]:
        return self.names

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, list)
        self.names = state

    @in_port(durable=True)
    async def in_item(self, item: Item) -> int:
        await self.out_item.send(item)
        await self.script.play(item.name)
        self.names.append(item.name)
        return len(self.names)

    @in_port
    def in_names(self, _: None) -> list[str]:
        return list(self.names)


class Sink(Keeper):
    """The end of a chain."""


class Tight(Keeper):
    """Has room for one message."""

    @in_port(durable=True, capacity=1)
    async def in_tight(self, item: Item) -> None:
        await self.script.play(item.name)
        self.names.append(item.name)


QUICK = RecoveryPolicy(
    persistent=(1_000_000, 60.0),
    retry=RetryPolicy({ErrorCategory.TRANSIENT: ExponentialBackoffRetry(max_retries=3, base_delay=0.001, max_delay=0.002)}),
)


def killed(store: MemoryStore) -> MemoryStore:
    """What a process that is killed now would leave in this store."""
    left = deepcopy(store)
    left.close(clean=False)
    return left


def messages(store: MemoryStore) -> dict[str, int]:
    """How many messages are in the store, by port."""
    opened = deepcopy(store)
    opened.close(clean=False)
    opened.open()
    return {space.partition(" ")[2]: len(opened.scan(space, limit=10**6)) for space in opened.spaces("message")}


async def names(system: System, actor: type[Keeper] | str = Keeper) -> list[str]:
    """What it has handled, and committed or not."""
    ref: ActorRef[Keeper] = system.ref(actor) if isinstance(actor, type) else system.ref(actor, Keeper)
    return await ref.ask(Keeper.in_names, None)


async def send(system: System, *items: str, actor: type[Keeper] = Keeper) -> None:
    """Sends these."""
    for each in items:
        await system.ref(actor).send(actor.in_item, Item(each))
