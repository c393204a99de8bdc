"""The tables that tests of the flights read."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.flights.data import MISSING
from tests.examples.tables import TYPICAL, write_tables


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The tables with 40 flights, of which every fourth never took off."""
    rows = [TYPICAL._replace(flight=str(number), carrier="UA" if number % 3 else "B6", arr_delay=str(number)) for number in range(1, 41)]
    rows[::4] = [row._replace(dep_time=MISSING, dep_delay=MISSING, arr_delay=MISSING) for row in rows[::4]]
    return write_tables(tmp_path / "few", rows)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables with so many flights that a run takes long enough to be interrupted; to be read only."""
    return write_tables(tmp_path_factory.mktemp("tables") / "many", [TYPICAL._replace(flight=str(number)) for number in range(200_000)])
