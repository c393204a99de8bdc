"""Repeated measuring: candidates take turns, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping


def in_turns(candidates: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each candidate measured, `repeats` times, one candidate after the other in each round."""
    measured: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, candidate in candidates.items():
            gc.collect()
            measured[name].append(candidate())
    return measured


def summary(rates: list[float], base: list[float]) -> str:
    """The median of `rates`, their spread, and their ratio to `base`, the median of the rounds' ratios."""
    ratio = statistics.median(rate / of for rate, of in zip(rates, base, strict=True))
    return f"{statistics.median(rates):12,.0f}/s   {min(rates):12,.0f} … {max(rates):12,.0f}   {ratio:7.3f}"
