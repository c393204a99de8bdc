"""Compares actorkit with trio in one process, and fails if a bar is missed: `python -m benchmarks.guard [--seconds 0.3] [--repeats 5]`.

Of the bars it takes those that need nobody else. A test runner never runs this: what it finds depends on the machine.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial

from benchmarks.bars import BARS, Bar, missed_bars
from benchmarks.measuring import Result, fitting, in_turns, pin
from benchmarks.report import bars_table
from benchmarks.workloads import BY_NAME


def guarded() -> list[Bar]:
    """The bars that can be tried in one process, in little time."""
    return [
        bar
        for bar in BARS
        if bar.workload in BY_NAME and BY_NAME[bar.workload].usual and {bar.ours, *bar.against} <= BY_NAME[bar.workload].measures.keys()
    ]


def measure(bars: list[Bar], repeats: int, seconds: float) -> list[Result]:
    """Measures what these bars are about."""
    results: list[Result] = []
    for name in dict.fromkeys(bar.workload for bar in bars):
        workload = BY_NAME[name]
        wanted = [who for who in workload.measures if any(bar.workload == name and who in {bar.ours, *bar.against} for bar in bars)]
        measures = {who: partial(workload.measure, who) for who in wanted}
        counts = {who: fitting(measures[who], workload.count, seconds) if workload.fits else workload.count for who in wanted}
        results += in_turns(name, measures, counts, repeats, lambda _: None)[0]
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, and fails if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement (default: 0.3)")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    pin()
    bars = guarded()
    results = measure(bars, options.repeats, options.seconds)
    print(bars_table(bars, results))
    if missed := missed_bars(bars, results):
        sys.exit("missed: " + "; ".join(f"{bar.work} {bar.wanted}" for bar in missed))


if __name__ == "__main__":
    main()
