"""The same actors for a run with a store, which may be killed at any moment: what they have done is kept, and nothing is done twice.

Rows and flights are messages to durable ports, so each counts once. What else is to be known after a kill are the reader's
position and the sums. The reporter keeps nothing: it gets all the sums when the stream has ended, however often it was begun.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from actorkit import in_port
from examples.flights.actors import BREAKER, Enricher, Parser, RowReader, Statistics
from examples.flights.data import Row
from examples.flights.faults import Fault
from examples.flights.records import EnrichedFlight, Flight

__all__ = ["Bookmark", "KeptEnricher", "KeptParser", "KeptReader", "KeptStatistics"]

STEP = (500, 0.05)
"""So many messages, or what has come in so many seconds, are committed together: what a kill may have done again."""


class Bookmark:
    """Where the reader is, for those outside.

    Attributes:
        rows: how many it has read, in this process and before.
        earlier: how many it had read when this process began.
    """

    def __init__(self, goes_on: Callable[[int], object]) -> None:
        self.rows = self.earlier = 0
        self._goes_on = goes_on
        self._is_open = False

    def open(self, rows: int) -> None:
        """The reader starts. The first time, that is where an earlier process has left off."""
        self.rows = rows
        if not self._is_open:
            self._is_open, self.earlier = True, rows
            if rows:
                self._goes_on(rows)


class KeptReader(RowReader):
    """Its position is committed with what it has sent. That it was asked to halt is forgotten: the next run goes on."""

    def __init__(self, folder: Path | None, limit: int | None, fault: Fault, bookmark: Bookmark) -> None:
        super().__init__(folder, limit, fault)
        self._bookmark = bookmark

    async def on_start(self) -> None:
        await super().on_start()
        self._bookmark.open(self._sent)

    def snapshot(self) -> object:
        self._bookmark.rows = self._sent
        return self._sent

    def restore(self, state: object, version: int) -> None:
        self._sent = cast("int", state)


class KeptParser(Parser):
    @in_port(durable=True, commit_every=STEP)
    async def in_row(self, row: Row) -> None:
        await super().in_row(row)


class KeptEnricher(Enricher):
    @in_port(durable=True, commit_every=STEP, breaker=BREAKER)
    async def in_flight(self, flight: Flight) -> None:
        await super().in_flight(flight)


class KeptStatistics(Statistics):
    """Its sums are committed with the flights that are in them."""

    @in_port(durable=True, commit_every=STEP)
    def in_flight(self, enriched: EnrichedFlight) -> None:
        super().in_flight(enriched)

    def snapshot(self) -> object:
        return self._sums

    def restore(self, state: object, version: int) -> None:
        self._sums = cast("dict[str, list[int]]", state)
