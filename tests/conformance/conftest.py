"""Time here is virtual: it jumps to the next thing that is to happen as soon as nothing else is left to do."""

from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture(autouse=True)
def virtual_time(autojump_clock: MockClock) -> MockClock:
    """The clock of every async test in this folder."""
    return autojump_clock
