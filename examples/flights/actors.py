"""The actors: a source, three stages and a sink.

The stages that can fail keep no state: what fails in them is tried again, by the same instance or by a fresh one, and
nothing was sent before. The state is with actors in which nothing can go wrong: the sums with `Statistics`, the result
with `Reporter`. The reader's state is its position, which moves on after each send and outlives a crash as a snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from attrs import frozen

from actorkit import Actor, CircuitBreaker, OutPort, in_port
from examples.flights.data import Airport, Plane, Row, ensure_data, load_airports, load_planes, read_rows
from examples.flights.faults import Fault
from examples.flights.records import CarrierDelays, EnrichedFlight, Flight, parse

__all__ = ["BREAKER", "Enricher", "Halt", "Parser", "Reporter", "RowReader", "Statistics"]

BREAKER = CircuitBreaker(failure_threshold=3, recovery_timeout=0.15, half_open_requests=1)
"""What keeps the registry of aircraft from being asked while it is down."""


@frozen
class Halt:
    """Asks the reader to read no further."""


class RowReader(Actor):
    """Sends the rows of `flights.csv`, in order. Restarted, it goes on with the row at which it failed."""

    out_row = OutPort(Row, required=True)

    def __init__(self, folder: Path | None, limit: int | None, fault: Fault) -> None:
        self._folder = folder
        self._fault = fault
        self._sent = 0
        self._end = math.inf if limit is None else limit

    async def on_start(self) -> None:
        self._folder = self._folder or _fetched()

    async def run(self) -> None:
        assert self._folder is not None
        for row in islice(read_rows(self._folder / "flights.csv"), self._sent, None):
            if self._sent >= self._end:
                break
            self._fault.strike()
            await self.out_row.send(row)
            self._sent += 1

    @in_port
    def in_halt(self, halt: Halt) -> None:
        """Ends the stream here; the rows that are under way are finished."""
        self._end = self._sent

    def snapshot(self) -> object:
        return self._sent, self._end

    def restore(self, state: object, version: int) -> None:
        self._sent, self._end = cast("tuple[int, float]", state)


class Parser(Actor):
    """Makes rows flights. A row without an arrival delay is bad data: it becomes a dead letter."""

    out_flight = OutPort(Flight, required=True)

    def __init__(self, bug: Fault, memory: Fault) -> None:
        self._bug = bug
        self._memory = memory

    @in_port
    async def in_row(self, row: Row) -> None:
        self._bug.strike()
        self._memory.strike()
        await self.out_flight.send(parse(row))


class Enricher(Actor):
    """Joins aircraft and airports. The registry of aircraft stands for a service in the network: it stutters, and is down for a while."""

    out_flight = OutPort(EnrichedFlight, required=True)

    def __init__(self, folder: Path | None, stutter: Fault, outage: Fault) -> None:
        self._folder = folder
        self._stutter = stutter
        self._outage = outage
        self._planes: dict[str, Plane] = {}
        self._airports: dict[str, Airport] = {}

    async def on_start(self) -> None:
        folder = self._folder or _fetched()
        self._planes, self._airports = load_planes(folder), load_airports(folder)

    @in_port(breaker=BREAKER)
    async def in_flight(self, flight: Flight) -> None:
        aircraft = self._look_up(flight.tailnum)
        airports = self._airports
        await self.out_flight.send(EnrichedFlight(flight, aircraft, airports.get(flight.origin), airports.get(flight.destination)))

    def _look_up(self, tailnum: str | None) -> Plane | None:
        self._outage.strike()
        self._stutter.strike()
        return None if tailnum is None else self._planes.get(tailnum)


class Statistics(Actor):
    """Adds up by carrier, and sends the sums on when the stream has ended."""

    out_carrier = OutPort(CarrierDelays, required=True)

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {}

    @in_port
    def in_flight(self, enriched: EnrichedFlight) -> None:
        flight = enriched.flight
        sums = self._sums.get(flight.carrier)
        if sums is None:
            sums = self._sums[flight.carrier] = [0, 0, 0]
        sums[0] += 1
        sums[1] += flight.arrival_delay
        sums[2] += enriched.aircraft is not None

    async def on_drained(self) -> None:
        for carrier, (flights, delay, known) in sorted(self._sums.items()):
            await self.out_carrier.send(CarrierDelays(carrier, flights, delay, known))


class Reporter(Actor):
    """Hands the result to `publish`, once it is complete."""

    def __init__(self, publish: Callable[[Sequence[CarrierDelays]], None]) -> None:
        self._publish = publish
        self._carriers: list[CarrierDelays] = []

    @in_port
    def in_carrier(self, carrier: CarrierDelays) -> None:
        self._carriers.append(carrier)

    async def on_drained(self) -> None:
        self._publish(self._carriers)


def _fetched() -> Path:
    """The data's folder. Blocks if they have to be fetched: only at the start, when nothing else could go on."""
    return ensure_data()
