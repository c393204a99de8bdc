"""Measuring: in turns, so that what disturbs the machine disturbs all; in processes of their own, so that nobody disturbs the next."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping

from attrs import field, frozen

Figures = dict[str, float]
Measure = Callable[[int], Figures]
"""Does so many of the work once. Of the figures, by name, the first is the one that is compared."""


class Unmeasurable(Exception):
    """Why there are no figures, in one line."""


@frozen
class Result:
    """What one candidate measured: every round's figure, by name."""

    workload: str
    candidate: str
    count: int
    figures: dict[str, list[float]] = field(factory=dict)

    def median(self, figure: str | None = None) -> float:
        """The median of the rounds; of the first figure, if none is named."""
        return statistics.median(self.figures[figure or self.first])

    @property
    def first(self) -> str:
        """The name of the figure that is compared."""
        return next(iter(self.figures))


def pin() -> int | None:
    """Keeps this process, and all that it starts, on one core; answers which, or None where the system can't."""
    if sys.platform != "linux":
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def once(command: tuple[str, ...], unit: str, limit: float, count: int) -> Figures:
    """Has a process of its own do the work once.

    Args:
        command: gets the count as one more argument; prints a JSON object with figures by name, or with the "seconds" that it took.
        unit: what a count and seconds become: "messages/s".
        limit: seconds that it may take.

    Raises:
        Unmeasurable: it failed, or took longer.
    """
    try:
        ended = subprocess.run([*command, str(count)], capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Unmeasurable(f"took more than {limit:g} s for {count:,}") from None
    except OSError as error:
        raise Unmeasurable(str(error)) from None
    if ended.returncode:
        raise Unmeasurable(last_line(ended.stderr) or f"ended with status {ended.returncode}")
    try:
        figures = json.loads(last_line(ended.stdout))
    except ValueError:
        raise Unmeasurable(f"printed no figures, but {last_line(ended.stdout)!r}") from None
    if "seconds" in figures:
        return {unit: count / figures["seconds"]}
    return {name: float(figure) for name, figure in figures.items()}


def fitting(measure: Measure, count: int, seconds: float) -> int:
    """The count with which a measurement takes about so many seconds, a multiple of 100; found by tries, first with a hundredth of `count`.

    The first figure must be a rate.
    """
    tried = max(100, count // 10_000 * 100)
    for _ in range(10):
        rate = next(iter(measure(tried).values()))
        if tried / rate > seconds / 20:
            break
        tried = max(2 * tried, round(rate * seconds / 1000) * 100)
    else:
        raise Unmeasurable("no count takes long enough")
    return max(100, round(rate * seconds / 100) * 100)


def in_turns(
    workload: str, measures: Mapping[str, Measure], counts: Mapping[str, int], repeats: int, say: Callable[[str], None]
) -> tuple[list[Result], dict[str, str]]:
    """What each candidate measured, one after the other in each round; and of those that failed, why.

    Args:
        counts: by candidate, how much each does.
        repeats: rounds.
        say: is told what is measured now.
    """
    results = {name: Result(workload, name, counts[name]) for name in measures}
    failed: dict[str, str] = {}
    for turn in range(repeats):
        for name, measure in measures.items():
            if name in failed:
                continue
            say(f"{workload}, round {turn + 1} of {repeats}: {name}")
            gc.collect()
            try:
                figures = measure(counts[name])
            except Unmeasurable as reason:
                failed[name] = str(reason)
                continue
            for figure, value in figures.items():
                results[name].figures.setdefault(figure, []).append(value)
    return [result for name, result in results.items() if name not in failed], failed


def last_line(text: str) -> str:
    """The last line, or what fits on one."""
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""
