"""Runs the benchmarks: `python -m benchmarks [--repeats 5] [--messages 400000]`."""

from __future__ import annotations

import argparse
import logging
import platform
from collections.abc import Callable
from functools import partial

from benchmarks import errors, one_way
from benchmarks.measuring import in_turns, summary


def main() -> None:
    """Measures, and prints a table for each question."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures actorkit, candidates taking turns.")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--messages", type=int, default=400_000, help="messages in each measurement, a multiple of 100 (default: 400000)")
    options = parser.parse_args()
    repeats, count = options.repeats, options.messages
    if repeats < 1 or count < 100 or count % 100:
        parser.error("expected one round or more, and a multiple of 100 messages")
    logging.disable(logging.CRITICAL)  # the terminal's speed is not the question; events and dead letters are made all the same

    print(f"Python {platform.python_version()}, {platform.machine()}, {count:,} messages, {repeats} rounds: median, spread, ratio")
    ways: dict[str, Callable[[], float]] = {
        one_way.BASE: partial(one_way.channel, count),
        "actors, async handler": partial(one_way.actors, one_way.Sink.in_async, count),
        "actors, plain handler": partial(one_way.actors, one_way.Sink.in_plain, count),
    }
    show(one_way.TITLE, one_way.BASE, ways, repeats)
    shares: dict[str, Callable[[], float]] = {f"{percent} %": partial(errors.with_errors, percent, count) for percent in (0, 3, 50)}
    shares["0 %, 100,000 dead letters"] = partial(errors.with_errors, 0, count, 100_000)
    show(errors.TITLE, errors.BASE, shares, repeats)


def show(title: str, base: str, candidates: dict[str, Callable[[], float]], repeats: int) -> None:
    """Measures the candidates, and prints how they compare with `base`."""
    print(f"\n{title}")
    measured = in_turns(candidates, repeats)
    for name, rates in measured.items():
        print(f"  {name:26}{summary(rates, measured[base])}")


if __name__ == "__main__":
    main()
