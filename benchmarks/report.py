"""The figures as text: for a terminal, as JSON, and for docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from benchmarks.bars import Bar
from benchmarks.measuring import Result
from benchmarks.workloads import BY_NAME, Workload

BEGIN = "<!-- from here on written by ./dev bench -->"
END = "<!-- until here -->"


@frozen
class Report:
    """All that one run found out.

    Attributes:
        machine: what it ran on, in words.
        peers: their versions.
        skipped: who was not measured, and why.
        settings: how it was measured, in words.
        results: the figures.
    """

    machine: Mapping[str, str]
    peers: Mapping[str, str] = field(factory=dict)
    skipped: Mapping[str, str] = field(factory=dict)
    settings: Mapping[str, str] = field(factory=dict)
    results: Sequence[Result] = ()

    def write(self, file: Path) -> None:
        """Writes it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Report:
        """Reads what `write` wrote."""
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{**values, "results": [Result(**each) for each in values["results"]]})

    def of(self, workload: str) -> list[Result]:
        """The results of one workload."""
        return [each for each in self.results if each.workload == workload]


def number(value: float) -> str:
    """With three digits that count, or more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(result: Result, results: Iterable[Result], workload: Workload) -> float | None:
    """Its median divided by that of the workload's base, if that was measured."""
    base = next((each for each in results if each.candidate == workload.base), None)
    return None if base is None else result.median() / base.median()


def spread(result: Result) -> str:
    """The least and the most of the rounds."""
    values = result.figures[result.first]
    return f"{number(min(values))} … {number(max(values))}"


def table(results: Sequence[Result]) -> str:
    """One workload's table for a terminal."""
    workload = BY_NAME[results[0].workload]
    width = max(len(each.candidate) for each in results)
    lines = [f"{workload.name}: {workload.question}", f"  {results[0].first}; ratio to: {workload.base}"]
    for each in results:
        compared = ratio(each, results, workload)
        columns = f"{number(each.median()):>12}   {spread(each):>26}   {'' if compared is None else f'{compared:8.3f}'}"
        others = "  ".join(f"{name} {number(each.median(name))}" for name in each.figures if name != each.first)
        lines.append(f"  {each.candidate:{width}}{columns}   {others}".rstrip())
    return "\n".join(lines)


def bars_table(bars: Iterable[Bar], results: Sequence[Result]) -> str:
    """The bars, and whether they hold, for a terminal."""
    rows = [(bar.work, bar.wanted, *_verdict(bar, results)) for bar in bars]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1, 2)]
    return "\n".join(f"  {work:{widths[0]}}  {wanted:{widths[1]}}  {value:>{widths[2]}}  {says}" for work, wanted, value, says in rows)


def section(report: Report, bars: Iterable[Bar]) -> str:
    """What docs/benchmarks.md has between its marks."""
    return "\n".join(_section(report, bars))


def rewritten(page: str, report: Report, bars: Iterable[Bar]) -> str:
    """The page with new figures between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{section(report, bars)}\n{END}{rest.split(END)[1]}"


def _verdict(bar: Bar, results: Sequence[Result]) -> tuple[str, str]:
    value = bar.value(results)
    if value is None:
        return "", "not measured"
    return number(value), "holds" if bar.holds(value) else "MISSED"


def _section(report: Report, bars: Iterable[Bar]) -> Iterator[str]:
    yield "### The machine"
    yield ""
    for what, words in {**report.machine, **report.settings}.items():
        yield f"- {what}: {words}"
    yield "- peers: " + (", ".join(f"{name} {version}".strip() for name, version in report.peers.items()) or "none")
    for name, reason in report.skipped.items():
        yield f"- not measured: {name}: {reason}"
    for workload in BY_NAME.values():
        if results := report.of(workload.name):
            yield ""
            yield f"### {workload.name}"
            yield ""
            rounds = len(results[0].figures[results[0].first])
            yield f"{workload.question} {rounds} {'round' if rounds == 1 else 'rounds'}."
            yield ""
            yield from _rows(workload, results)
    yield ""
    yield "### The bars"
    yield ""
    yield "| work | bar | measured | |"
    yield "|---|---|---:|---|"
    for bar in bars:
        yield "| " + " | ".join((bar.work, bar.wanted, *_verdict(bar, report.results))) + " |"
    yield ""


def _rows(workload: Workload, results: Sequence[Result]) -> Iterator[str]:
    names = list(results[0].figures)
    yield f"| | {' | '.join(names)} | {f'{names[0]}, ' if len(names) > 1 else ''}spread | to {workload.base} |"
    yield "|---|" + "---:|" * (len(names) + 2)
    for each in sorted(results, key=Result.median, reverse=True) if workload.fits else results:
        compared = ratio(each, results, workload)
        medians = " | ".join(number(each.median(name)) for name in names)
        yield f"| {each.candidate} | {medians} | {spread(each)} | {'' if compared is None else number(compared)} |"
