"""The tree: who supervises whom, who sends to whom, and what is done about failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from actorkit import (
    ErrorCategory,
    ExponentialBackoffRetry,
    RecoveryAction,
    RecoveryPolicy,
    RetryPolicy,
    Rule,
    SupervisorSpec,
    child,
    supervisor,
)
from examples.flights.actors import Enricher, Parser, Reporter, RowReader, Statistics
from examples.flights.data import DataUnavailable
from examples.flights.faults import Faults
from examples.flights.kept import Bookmark, KeptEnricher, KeptParser, KeptReader, KeptStatistics
from examples.flights.records import CarrierDelays

__all__ = ["FLIGHTS", "READER", "ROWS", "WAY", "tree"]

READER = "root/flights/reader"
"""The path of the source."""
WAY = (
    "root/flights/preparation/parser.in_row",
    "root/flights/preparation/enricher.in_flight",
    "root/flights/statistics.in_flight",
    "root/flights/reporter.in_carrier",
)
"""The ports that messages pass, in order."""
ROWS, FLIGHTS = WAY[0], WAY[2]
"""Where every row enters, and where those end that are flights."""

RECOVERY = RecoveryPolicy(
    # A damaged table is the same after any restart.
    rules=(Rule(RecoveryAction.ESCALATE, exception=DataUnavailable),),
    # All of this lasts but an instant here: the usual waits, of a second and more, would be most of the run.
    retry=RetryPolicy(
        {
            ErrorCategory.TRANSIENT: ExponentialBackoffRetry(max_retries=3, base_delay=0.005, max_delay=0.05),
            ErrorCategory.DEPENDENCY: ExponentialBackoffRetry(max_retries=5, base_delay=0.02, max_delay=0.1),
            ErrorCategory.RESOURCE: ExponentialBackoffRetry(max_retries=5, base_delay=0.1, max_delay=0.5),
        }
    ),
)


def tree(
    folder: Path | None = None,
    *,
    limit: int | None = None,
    faults: Faults | None = None,
    publish: Callable[[Sequence[CarrierDelays]], None] | None = None,
    bookmark: Bookmark | None = None,
) -> SupervisorSpec:
    """The flights as a tree that can run once: source → parser → enricher → statistics → reporter.

    Sinks come first, since children stop in reverse order. The stages that may crash have a supervisor, and with it a
    restart budget, of their own; what must not be lost stands above it.

    Args:
        folder: where the tables are; None to fetch them when the tree starts.
        limit: rows to read at most.
        faults: what goes wrong; None for the faults of seed 0.
        publish: gets the result; None to print it.
        bookmark: for a system with a store: what is done is kept there; is told where the reader is. None without a store.
    """
    faults = Faults(0, rows=limit) if faults is None else faults
    if bookmark is None:
        parser, enricher, statistics = Parser, Enricher, Statistics
        reader = child(RowReader, folder, limit, faults.reading)
    else:
        parser, enricher, statistics = KeptParser, KeptEnricher, KeptStatistics
        reader = child(KeptReader, folder, limit, faults.reading, bookmark)
    return supervisor(
        child(Reporter, _print if publish is None else publish),
        child(statistics).options(name="statistics"),
        supervisor(
            child(enricher, folder, faults.lookups, faults.outage).options(name="enricher"),
            child(parser, faults.parsing, faults.memory).options(name="parser"),
            name="preparation",
            max_restarts=5,
            within=5.0,
        ),
        reader.options(name="reader"),
        wires=[
            RowReader.out_row >> parser.in_row,
            Parser.out_flight >> enricher.in_flight,
            Enricher.out_flight >> statistics.in_flight,
            Statistics.out_carrier >> Reporter.in_carrier,
        ],
        recovery=RECOVERY,
        name="flights",
    )


def _print(carriers: Sequence[CarrierDelays]) -> None:
    for each in carriers:
        print(f"{each.carrier}  {each.flights:>9,} flights, {each.mean_arrival_delay:6.2f} min late on average")
