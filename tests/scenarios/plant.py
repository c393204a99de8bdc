"""A plant for tests of cascades: machines that fall ill and get well as their test wants, and sources that keep them busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from actorkit import (
    Actor,
    CascadeManager,
    CascadePhase,
    ChildSpec,
    HealthStatus,
    OutPort,
    SupervisorSpec,
    System,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import Event

SETTINGS = CascadeManager.settings()


class Plant:
    """What machines share with their test.

    Attributes:
        ill: the names of those that say that they are UNHEALTHY.
        done: what each has handled, in order.
        sent: how many messages each source has sent.
        events: what happened, with the time.
    """

    def __init__(self) -> None:
        self.ill: set[str] = set()
        self.done: dict[str, list[int]] = {}
        self.sent: Counter[str] = Counter()
        self.events: list[tuple[float, Event]] = []

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of this type."""
        return [event for _, event in self.events if type(event) is kind]

    def all_of(self, kind: type[Event]) -> list[tuple[float, Any]]:
        """The same, with the times."""
        return [(time, event) for time, event in self.events if type(event) is kind]

    def times_of(self, kind: type[Event]) -> list[float]:
        """When they happened."""
        return [time for time, event in self.events if type(event) is kind]


class Machine(Actor):
    """Handles numbers, and passes them on."""

    out_number = OutPort(int)

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if self.name in self.plant.ill else HealthStatus.HEALTHY

    @in_port(capacity=100)
    async def in_number(self, number: int) -> None:
        self.plant.done.setdefault(self.name, []).append(number)
        await self.out_number.send(number)

    @in_port
    def in_question(self, number: int) -> int:
        return number + 1


class Source(Actor):
    """Sends `rate` numbers a second."""

    out_number = OutPort(int)

    def __init__(self, plant: Plant, rate: float, most: int = 10**9) -> None:
        self.plant = plant
        self.rate = rate
        self.most = most

    async def run(self) -> None:
        for number in range(self.most):
            await self.out_number.send(number)
            self.plant.sent[self.name] += 1
            await trio.sleep(1 / self.rate)


def machines(plant: Plant, count: int, prefix: str = "m") -> list[ChildSpec[Machine]]:
    """So many machines: m0, m1, …"""
    return [child(Machine, plant).options(name=f"{prefix}{number}") for number in range(count)]


def plant_tree(plant: Plant, count: int, **options: Any) -> SupervisorSpec:
    """So many machines that nobody sends to."""
    return supervisor(*machines(plant, count), name="top", **options)


@asynccontextmanager
async def at_work(tree: Any, plant: Plant, cascade: Any = SETTINGS, **options: Any) -> AsyncGenerator[System]:
    """Runs a tree; meanwhile the books have to balance at every look, and events are written down."""
    async with open_system(tree, cascade=cascade, **options) as system, trio.open_nursery() as nursery:

        async def check_books() -> None:
            while True:
                system.ledger().check()
                await trio.sleep(0.37)

        async def write_down() -> None:
            async for event in events:
                plant.events.append((trio.current_time(), event))

        events = system.events()
        nursery.start_soon(check_books)
        nursery.start_soon(write_down)
        yield system
        system.ledger().check()
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object], within: float = 3_000.0) -> None:
    """Waits for this, virtually."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110  # conditions of all kinds, and time is virtual
            await trio.sleep(0.1)
    await trio.sleep(0.01)


async def until_phase(system: System, phase: CascadePhase, within: float = 3_000.0) -> float:
    """Waits for this phase; says when it began, within 0.1 s."""
    await until(lambda: system.cascade.phase is phase, within)
    return trio.current_time()


async def until_step(system: System, share: float) -> None:
    """Waits until the system recovers at this share of its rate."""
    await until(lambda: system.cascade.phase is CascadePhase.RECOVERING and system.cascade.rate == share)


class Rates:
    """How many messages each source sends a second, between two looks."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    async def over(self, seconds: float) -> dict[str, float]:
        """For so long."""
        before = Counter(self._plant.sent)
        await trio.sleep(seconds)
        return {name: (sent - before[name]) / seconds for name, sent in self._plant.sent.items()}
