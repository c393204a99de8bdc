"""Time in the snippets is virtual: a page that waits a minute is checked in no time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives every `trio.run` of a snippet, and the one inside `actorkit.run`, a clock of its own that jumps."""
    really_run = trio.run

    def run(main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return really_run(main, *args, clock=MockClock(autojump_threshold=0))

    monkeypatch.setattr(trio, "run", run)
