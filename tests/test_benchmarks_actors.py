"""The benchmarks of making, keeping and restarting actors do what they say; what they measure is for a quiet machine."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from benchmarks import keyed, restarts, spawning
from benchmarks.resident import resident_bytes


@pytest.mark.parametrize("measure", spawning.MEASURES)
def test_actors_are_started_at_some_rate(measure: Callable[[int], float]) -> None:
    assert measure(200) > 0


def test_a_small_tree_starts_and_stops() -> None:
    assert 0 < spawning.small_tree() < 10


def test_idle_actors_are_weighed_at_growing_counts() -> None:
    assert len(spawning.resident_at([100, 300])) == 2
    assert resident_bytes() > 1_000_000


@pytest.mark.parametrize("actor", [keyed.Counter, keyed.Account])
def test_keys_are_made_and_put_aside(actor: type[keyed.Counter]) -> None:
    assert keyed.activation(40, actor) > 0
    assert keyed.passivation(40, actor) > 0


def test_a_run_over_keys_is_weighed_at_each_quarter() -> None:
    run = keyed.over_keys(42, 4)

    assert run.rate * run.seconds == pytest.approx(42)
    assert len(run.resident) == 5


def test_keys_come_back() -> None:
    assert keyed.return_from_sleep(20) > 0


@pytest.mark.parametrize("actor", [restarts.Worker, restarts.Starter])
def test_each_restart_is_timed(actor: type[restarts.Worker]) -> None:
    assert len(restarts.latencies(20, actor)) == 20
    assert restarts.percentile_99(20, actor) >= restarts.median(20, actor) / 1_000


@pytest.mark.parametrize(
    ("main", "options", "rows"),
    [
        (spawning.main, ["--rate-of", "100", "--actors", "100"], 8),
        (keyed.main, ["--keys", "100", "--max-active", "10"], 7),
        (restarts.main, ["--restarts", "10"], 2),
    ],
)
def test_each_prints_what_it_measured(
    main: Callable[[], None], options: list[str], rows: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", *options])
    monkeypatch.setattr("logging.disable", lambda level: None)
    monkeypatch.setattr(keyed, "SHORT", 100)

    main()

    assert len(re.findall(r"^.*(?:/s|µs|ms|B each|MB).*$", capsys.readouterr().out, re.MULTILINE)) == rows
