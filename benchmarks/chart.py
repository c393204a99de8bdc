"""The figures as a picture: SVG, bars on a logarithmic scale, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.measuring import Result
from benchmarks.report import Report
from benchmarks.workloads import BY_NAME

SHOWN = ("one-way", "ask", "ring", "pipeline")
"""The workloads that the picture shows, two in a row."""
WIDTH, ROW, NAMES, VALUES, GAP = 430, 19, 150, 62, 30
HEAD, FOOT = 46, 24

STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #3a4048 }
.title { font-weight: 600; font-size: 14px }
.quiet { fill: #6b737c; font-size: 11px; font-weight: 400 }
.ours { fill: #0b7a75 } .trio { fill: #8a94a0 } .peer { fill: #c3cad2 } .beam { fill: #b4534b }
.grid { stroke: #8a94a0; stroke-opacity: 0.25 }
text.strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #d5dae0 } .quiet { fill: #98a1ab }
  .ours { fill: #2bb5a8 } .trio { fill: #7d8793 } .peer { fill: #525b65 } .beam { fill: #d5776e }
}
"""


def chart(report: Report) -> str:
    """The picture of a run."""
    panels = [(name, results) for name in SHOWN if (results := report.of(name))]
    parts: list[str] = []
    top = 0
    for left in range(0, len(panels), 2):
        pair = panels[left : left + 2]
        for column, (name, results) in enumerate(pair):
            parts += [f'<g transform="translate({column * (WIDTH + GAP)},{top})">', *_panel(name, results), "</g>"]
        top += max(HEAD + ROW * len(results) + FOOT for _, results in pair) + 14
    legend = "logarithmic scale; longer is faster; one core; " + ", ".join(filter(None, map(report.machine.get, ("processor", "Python"))))
    parts.append(f'<text class="quiet" x="0" y="{top + 4}">{escape(legend)}</text>')
    width, height = 2 * WIDTH + GAP, top + 12
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -4 {width + 16} {height + 8}" width="{width + 16}" height="{height + 8}"'
    )
    return "\n".join([f'{opening} role="img">', "<title>actorkit beside others</title>", f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _panel(name: str, results: Sequence[Result]) -> Iterator[str]:
    ranked = sorted(results, key=Result.median, reverse=True)
    low = 10 ** math.floor(math.log10(min(each.median() for each in ranked)) - 0.01)
    high = max(each.median() for each in ranked)
    room = WIDTH - NAMES - VALUES
    bottom = HEAD + ROW * len(ranked)

    def along(value: float) -> float:
        return room * math.log(value / low) / math.log(high / low) if high > low else room

    unit = f'<tspan class="quiet">{escape(ranked[0].first)}</tspan>'
    yield f'<text class="title" x="0" y="16">{escape(name)} {unit}</text>'
    yield f'<text class="quiet" x="0" y="33">{escape(_shortened(BY_NAME[name].question))}</text>'
    for power in range(round(math.log10(low)), math.floor(math.log10(high)) + 1):
        x = NAMES + along(10.0**power)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"/>'
        yield f'<text class="quiet" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{_short(10.0**power)}</text>'
    for index, each in enumerate(ranked):
        y = HEAD + ROW * index
        kind = _kind(each.candidate)
        strong = ' class="strong"' if kind == "ours" else ""
        length = max(2.0, along(each.median()))
        yield f'<text{strong} x="{NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(each.candidate.replace(" handler", ""))}</text>'
        yield f'<rect class="{kind}" x="{NAMES}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" rx="2"/>'
        yield f'<text{strong} x="{NAMES + length + 6:.1f}" y="{y + 13}">{_short(each.median())}</text>'


def _kind(candidate: str) -> str:
    if candidate.startswith("actorkit"):
        return "ours"
    if candidate.startswith("trio"):
        return "trio"
    return "beam" if candidate.startswith("Erlang") else "peer"


def _short(value: float) -> str:
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _shortened(question: str) -> str:
    return question.partition(". ")[0].partition("; ")[0].rstrip(".")
