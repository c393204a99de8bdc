"""Runs the shop from its first order to its last under a virtual clock, and tells a view what happens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import trio
from attrs import frozen
from trio.testing import MockClock

from actorkit import CascadePhase, HealthStatus, LedgerImbalance, Subscription, System, open_system
from actorkit.events import (
    CascadeWatchFailed,
    EmergencyBegan,
    EmergencyEnded,
    EmergencyEscalated,
    EmergencyRelapsed,
    Event,
    HealthChanged,
    IncidentReport,
    RecoveryStepped,
    SupervisorGaveUp,
)
from examples.cascade.actors import ORDERS, PER_SECOND, Outage, shop

TOLD = (
    HealthChanged,
    EmergencyBegan,
    EmergencyRelapsed,
    RecoveryStepped,
    EmergencyEscalated,
    EmergencyEnded,
    CascadeWatchFailed,
    SupervisorGaveUp,
)
"""What a person is told of."""


@frozen
class Plot:
    """What is to happen.

    Attributes:
        with_manager: False: nobody watches the system as a whole.
        orders: how many there are.
        outage: of the database.
        seed: for everything that is left to chance.
    """

    with_manager: bool = True
    orders: int = ORDERS
    outage: Outage = Outage()
    seed: int = 0


@frozen
class Part:
    """How one actor does."""

    name: str
    health: HealthStatus
    waiting: int
    handled: int
    dead_lettered: int
    restarts: int


@frozen
class Moment:
    """How the shop does, so many virtual seconds after it was opened.

    Attributes:
        time: these seconds.
        phase: of the cascade manager.
        rate: the share of their own rate that sources have.
        made: orders that were given so far.
        outside: orders that customers would have given by now, and could not.
        inside: messages that wait in the shop, or are in hand.
        parts: each actor.
    """

    time: float
    phase: CascadePhase
    rate: float
    made: int
    outside: int
    inside: int
    parts: tuple[Part, ...]

    @property
    def dead_letters(self) -> int:
        """Messages that were given up so far."""
        return sum(part.dead_lettered for part in self.parts)

    @property
    def restarts(self) -> int:
        """Of all actors, so far."""
        return sum(part.restarts for part in self.parts)


@frozen
class Result:
    """What became of the orders.

    Attributes:
        plot: what was to happen.
        seconds: until the last order was dealt with, in virtual time.
        made: orders.
        completed: orders of which everything was done.
        accepted: messages in all.
        processed: how many of them were handled.
        skipped: how many of them were passed over: questions that the database did not answer.
        dead_letters: how many of them were given up, and kept.
        lost: how many of them are gone.
        restarts: of all actors.
        most_inside: messages that waited in the shop, at most.
        most_outside: orders that waited outside, at most.
        imbalance: what is wrong with the books; None if they balance.
        incident: what the cascade manager reports.
    """

    plot: Plot
    seconds: float
    made: int
    completed: int
    accepted: int
    processed: int
    skipped: int
    dead_letters: int
    lost: int
    restarts: int
    most_inside: int
    most_outside: int
    imbalance: str | None
    incident: IncidentReport | None


class View(AbstractContextManager[object], Protocol):
    """Shows a run; a context manager around it."""

    def show(self, moment: Moment) -> None:
        """This is how the shop does; called once in each virtual second."""

    def note(self, time: float, text: str, level: int) -> None:
        """This has happened."""


def tell(plot: Plot, view: View) -> Result:
    """Runs it all. Virtual time passes as fast as the machine can, or as the view can show it."""
    return trio.run(_Shop(plot, view).run, clock=MockClock(autojump_threshold=0))


class _Shop:
    """The shop as somebody sees it who stands before it."""

    def __init__(self, plot: Plot, view: View) -> None:
        self._plot = plot
        self._view = view
        self._most_inside = self._most_outside = 0
        self._incident: IncidentReport | None = None

    async def run(self) -> Result:
        plot = self._plot
        tree = shop(plot.orders, plot.outage, plot.seed)
        async with open_system(tree, seed=plot.seed, cascade=None if plot.with_manager else False) as system:
            events = system.events(*TOLD)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, events)
                nursery.start_soon(self._watch, system)
                nursery.start_soon(self._tell_of_outage)
                await system.wait()
                nursery.cancel_scope.cancel()
            self._view.show(self._moment(system))
            return await self._result(system)

    async def _follow(self, events: Subscription[Event]) -> None:
        async for event in events:
            if isinstance(event, EmergencyEnded):
                self._incident = event.report
            if not isinstance(event, HealthChanged) or HealthStatus.UNHEALTHY in (event.before, event.after):
                self._view.note(trio.current_time(), str(event), event.level)

    async def _tell_of_outage(self) -> None:
        outage = self._plot.outage
        for time, what in (outage.begins, "the database goes down"), (outage.ends, "the database is back"):
            await trio.sleep_until(time)
            self._view.note(time, f"— {what} —", 0)

    async def _watch(self, system: System) -> None:
        while True:
            moment = self._moment(system)
            self._most_inside = max(self._most_inside, moment.inside)
            self._most_outside = max(self._most_outside, moment.outside)
            self._view.show(moment)
            await trio.sleep(1)

    def _moment(self, system: System) -> Moment:
        ledger, health = system.ledger(), system.health()
        parts = list[Part]()
        for child in system.supervisor("root/shop").which_children():
            ports = [counts for path, counts in ledger.ports.items() if path.startswith(f"{child.path}.")]
            parts.append(
                Part(
                    child.name,
                    health.components[child.path].status,
                    sum(counts.queued + counts.in_flight for counts in ports),
                    sum(counts.processed for counts in ports),
                    sum(counts.dead_lettered for counts in ports),
                    child.restarts,
                )
            )
        made, time = ledger.ports["root/shop/desk.in_order"].accepted, trio.current_time()
        due = min(self._plot.orders, 1 + int(time * PER_SECOND))
        return Moment(
            time=time,
            phase=system.cascade.phase,
            rate=system.cascade.rate,
            made=made,
            outside=max(0, due - made),
            inside=ledger.queued + ledger.in_flight,
            parts=tuple(parts),
        )

    async def _result(self, system: System) -> Result:
        last, ledger = self._moment(system), system.ledger()
        failed = {letter.message.number for letter in await system.dead_letters.inspect()}
        try:
            ledger.check()
            imbalance = None
        except LedgerImbalance as error:
            imbalance = str(error)
        return Result(
            plot=self._plot,
            seconds=last.time,
            made=last.made,
            completed=last.made - len(failed),
            accepted=ledger.accepted,
            processed=ledger.processed,
            skipped=ledger.skipped,
            dead_letters=ledger.dead_lettered,
            lost=ledger.dropped,
            restarts=last.restarts,
            most_inside=self._most_inside,
            most_outside=self._most_outside,
            imbalance=imbalance,
            incident=self._incident,
        )
