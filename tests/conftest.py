"""Time is virtual in tests of the runtime: it jumps to the next thing that is to happen as soon as nothing else is left to do."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock

VIRTUAL = [Path(__file__).parent / folder for folder in ("runtime", "conformance", "durability", "scenarios")]

T = TypeVar("T")


def run_virtually(test: Callable[[], Awaitable[T]], *, clock: Clock | None, instruments: Sequence[Instrument]) -> T:
    """Runs a test by a clock that jumps, unless it asked for another one."""
    return trio.run(test, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives async tests of the runtime that clock. (From an autouse fixture it would not reach trio: pytest-trio looks at arguments.)"""
    for item in items:
        function: Any = getattr(item, "function", None)
        if inspect.iscoroutinefunction(function) and any(folder in item.path.parents for folder in VIRTUAL):
            item.add_marker(pytest.mark.trio(run=run_virtually), append=False)


def pytest_collection_finish() -> None:
    """Keeps the collector of garbage from going through all that was collected again and again: it lives until the end."""
    gc.collect()
    gc.freeze()
