"""The flights with a store: killed at any moment and started again, they come to the same figures."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

import pytest

from examples.flights.__main__ import main
from examples.flights.data import MISSING
from tests.examples.tables import TYPICAL, write_tables

REPOSITORY = Path(__file__).parents[2]
ROWS = 20_000
FIGURES = ("outcome", "rows", "processed", "dead_lettered", "dead_lettered_by", "mean_arrival_delay", "carriers", "ledger_balanced")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables with flights of two carriers, some of which never took off; to be read only."""
    rows = [
        TYPICAL._replace(flight=str(number), carrier="UA" if number % 3 else "B6", arr_delay=str(number % 90)) for number in range(ROWS)
    ]
    rows[::40] = [row._replace(dep_time=MISSING, dep_delay=MISSING, arr_delay=MISSING) for row in rows[::40]]
    return write_tables(tmp_path_factory.mktemp("tables") / "some", rows)


@pytest.fixture(scope="module")
def expected(some: Path) -> dict[str, Any]:
    """What a run without a store says of them."""
    return told(some, None)


def command(folder: Path, store: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "examples.flights", "--data", str(folder), "--store", str(store), *more]


def told(folder: Path, store: Path | None) -> dict[str, Any]:
    """What a run that nobody kills says."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["--json", "--data", str(folder), *([] if store is None else ["--store", str(store)])]) == 0
    said: dict[str, Any] = json.loads(printed.getvalue())
    return said


def killed_after(seconds: float, folder: Path, store: Path) -> int:
    """How a run ends that is killed after so many seconds, or before by itself."""
    with subprocess.Popen(command(folder, store), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_time_and_again_it_comes_to_the_figures_of_a_run_without_kills(
    some: Path, expected: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    rng, store = Random(seed), tmp_path / "flights.db"

    ended = [killed_after(rng.uniform(0.4, 1.4), some, store) for _ in range(5)]

    assert -signal.SIGKILL in ended
    found = told(some, store)
    assert {name: found[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}
    assert found["earlier_rows"] > 0


def test_ctrl_c_ends_it_with_the_figures_so_far_and_the_next_run_goes_on(some: Path, tmp_path: Path) -> None:
    store = tmp_path / "flights.db"
    with subprocess.Popen(command(some, store), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # something has gone wrong, so the run is under way
        process.send_signal(signal.SIGINT)
        seen = process.stdout.read()

    assert process.returncode == 128 + signal.SIGINT
    assert "ledger balanced: " in seen
    ended = subprocess.run(command(some, store), cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=True)
    assert ended.stdout.startswith("- goes on after ")
    assert f"ledger balanced: {ROWS:,} rows = " in ended.stdout


def test_a_store_that_is_done_shows_the_same_figures_again(some: Path, tmp_path: Path) -> None:
    first, again = (told(some, tmp_path / "flights.db") for _ in range(2))

    assert {name: again[name] for name in FIGURES} == {name: first[name] for name in FIGURES}
    assert again["earlier_rows"] == ROWS


def test_a_store_that_cannot_be_used_is_one_line_that_says_why(some: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--data", str(some), "--store", str(some / "flights.csv")])

    assert code == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("flights: SqliteStore(")
