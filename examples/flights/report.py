"""The result of a run: as tables for people, in colour or plain, and as one line of JSON."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from actorkit import DeadLetter
from examples.flights.data import Airline, Row
from examples.flights.pipeline import WAY
from examples.flights.progress import name_of
from examples.flights.run import Result

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Table", "as_json", "draw", "plain", "tables"]

KINDS, SAMPLES = 8, 3
"""How many kinds of dead letters are shown, and how many letters of each."""


@frozen
class Table:
    """What is shown, however it is drawn.

    Attributes:
        title: a line above it.
        columns: their headings; one that starts with ">" is for numbers.
        rows: the cells.
        total: whether the last row sums the others up.
        alarming: whether it tells of something that must not be.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: bool = False
    alarming: bool = False


def tables(result: Result, airlines: Mapping[str, Airline]) -> list[Table]:
    """All that there is to say about a run, in the order in which to say it."""
    return [_carriers(result, airlines), _recovered(result), _dead_letters(result), _ledger(result)]


def _carriers(result: Result, airlines: Mapping[str, Airline]) -> Table:
    ranked = sorted(result.carriers, key=lambda each: (-each.flights, each.carrier))
    rows = [
        (
            each.carrier,
            _airline(each.carrier, airlines),
            f"{each.flights:,}",
            f"{each.aircraft_known / each.flights:.0%}",
            f"{each.mean_arrival_delay:+.2f}",
        )
        for each in ranked
    ]
    mean = result.mean_arrival_delay
    if mean is not None:
        known = sum(each.aircraft_known for each in ranked) / result.flights
        rows.append(("", "all carriers", f"{result.flights:,}", f"{known:.0%}", f"{mean:+.2f}"))
    columns = ("", "carrier", ">flights", ">aircraft known", ">mean arrival delay")
    return Table(_headline(result), columns, tuple(rows), total=True)


def _headline(result: Result) -> str:
    rate = (result.rows - result.earlier) / result.seconds if result.seconds else 0.0
    before = f", {result.earlier:,} of them before," if result.earlier else ""
    how = "" if result.signal is None else f"ended early by {result.signal.name}: "
    return f"{how}{_counted(result.rows, 'row')}{before} in {result.seconds:.1f} s ({rate:,.0f}/s); delays in minutes"


def _recovered(result: Result) -> Table:
    counted = result.retries, result.throttled, result.circuit_opened, result.restarts
    actors = sorted(set[str]().union(*counted))
    rows = [(name_of(actor), *(f"{counts.get(actor, 0):,}" for counts in counted)) for actor in actors]
    if not rows:
        return Table("nothing failed that could be tried again", (), ())
    exact = "" if result.imbalance else ", without a row lost or counted twice"
    columns = ("actor", ">retries", ">slowed down", ">breaker opened", ">restarts")
    return Table(f"recovered from {_counted(result.recovered, 'failure')}{exact}", columns, tuple(rows))


def _dead_letters(result: Result) -> Table:
    kinds: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for letter in result.dead_letters:
        kinds[letter.reason, "" if letter.error is None else letter.error.error_message].append(letter)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    rows: list[tuple[str, ...]] = []
    for (reason, why), letters in ranked[:KINDS]:
        first, *others = letters[:SAMPLES]
        rows.append((reason, why, f"{len(letters):,}", _shown(first)))
        rows += [("", "", "", _shown(letter)) for letter in others]
    if len(ranked) > KINDS:
        rows.append(("", "others", f"{sum(len(letters) for _, letters in ranked[KINDS:]):,}", ""))
    return Table(_counted(len(result.dead_letters), "dead letter"), ("reason", "why", ">rows", "such as"), tuple(rows))


def _ledger(result: Result) -> Table:
    rows: list[tuple[str, ...]] = []
    for path in WAY:
        each = result.ledger.ports[path]
        numbers = (each.accepted, each.processed, each.dead_lettered, each.queued + each.in_flight)
        rows.append((name_of(path), *(f"{number:,}" for number in numbers)))
    if result.imbalance is None:
        parts = _counted(result.processed, "flight"), _counted(len(result.dead_letters), "dead letter")
        title = f"ledger balanced: {_counted(result.rows, 'row')} = {' + '.join(parts)}"
    else:
        title = f"ledger NOT balanced: {result.imbalance}"
    columns = ("port", ">accepted", ">processed", ">dead letters", ">left")
    return Table(title, columns, tuple(rows), alarming=result.imbalance is not None)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _airline(carrier: str, airlines: Mapping[str, Airline]) -> str:
    return airlines[carrier].name if carrier in airlines else carrier


def _shown(letter: DeadLetter) -> str:
    row = letter.message
    if not isinstance(row, Row):
        return repr(row)
    return f"{row.carrier} {row.flight} {row.origin}-{row.dest} {row.year}-{row.month:>02}-{row.day:>02}"


def as_json(result: Result, airlines: Mapping[str, Airline]) -> str:
    """Everything in one JSON object on one line."""
    return json.dumps(
        {
            "outcome": "completed" if result.signal is None else f"ended early by {result.signal.name}",
            "seconds": round(result.seconds, 3),
            "seed": result.job.seed,
            "rows": result.rows,
            "earlier_rows": result.earlier,
            "processed": result.processed,
            "dead_lettered": len(result.dead_letters),
            "dead_lettered_by": dict(Counter(str(each.reason.value) for each in result.dead_letters)),
            "mean_arrival_delay": result.mean_arrival_delay,
            "carriers": {
                each.carrier: {
                    "name": _airline(each.carrier, airlines),
                    "flights": each.flights,
                    "mean_arrival_delay": each.mean_arrival_delay,
                    "aircraft_known": each.aircraft_known,
                }
                for each in result.carriers
            },
            "restarts": sum(result.restarts.values()),
            "restarts_by": dict(sorted(result.restarts.items())),
            "retries": sum(result.retries.values()),
            "retries_by": dict(sorted(result.retries.items())),
            "throttled": sum(result.throttled.values()),
            "circuit_opened": sum(result.circuit_opened.values()),
            "ledger_balanced": result.imbalance is None,
        }
    )


def plain(shown: Iterable[Table]) -> str:
    """The tables as text, in ASCII."""
    return "\n".join(line for table in shown for line in _lines(table))


def _lines(table: Table) -> list[str]:
    lines = ["", table.title]
    if table.rows:
        cells = [[column.removeprefix(">") for column in table.columns], *table.rows]
        widths = [max(len(row[number]) for row in cells) for number in range(len(table.columns))]
        right = [column.startswith(">") for column in table.columns]
        for row in cells:
            padded = [text.rjust(width) if number else text.ljust(width) for text, width, number in zip(row, widths, right, strict=True)]
            lines.append(("  " + "  ".join(padded)).rstrip())
    return lines


def draw(shown: Iterable[Table], console: Console) -> None:
    """The tables in colour."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    for table in shown:
        console.print()
        console.print(escape(table.title), style="bold red" if table.alarming else "bold", highlight=False)
        if not table.rows:
            continue
        drawn = RichTable(box=None, header_style="dim", padding=(0, 2, 0, 0))
        for column in table.columns:
            drawn.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*map(escape, row), style="bold" if table.total and row is table.rows[-1] else None)
        console.print(drawn, highlight=False)
