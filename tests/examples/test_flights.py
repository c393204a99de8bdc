"""The flights: the figures are exact, whatever fails."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio.testing
from attrs import evolve, frozen
from hypothesis import given, settings, strategies as st

import examples.flights
from actorkit import DependencyError, ResourceError, SupervisorSpec, TransientError, run
from examples.flights.__main__ import main
from examples.flights.data import MISSING, DataUnavailable, Row, ensure_data, read_rows
from examples.flights.faults import FEW, OUTAGE, Fault, Faults, InjectedCrash
from examples.flights.progress import SilentView
from examples.flights.records import CarrierDelays
from examples.flights.report import as_json, plain, tables
from examples.flights.run import Job, Result, fly
from tests.examples.tables import TYPICAL, write_tables

# ---- what it is compared with: a loop that anybody can check by eye


@frozen
class Expected:
    """What a run has to come to: rows, dead letters, and (flights, minutes, known aircraft) per carrier."""

    rows: int
    dead_letters: int
    carriers: dict[str, tuple[int, int, int]]

    @property
    def mean_arrival_delay(self) -> float | None:
        flights = sum(flights for flights, _, _ in self.carriers.values())
        return sum(minutes for _, minutes, _ in self.carriers.values()) / flights if flights else None


def straight_loop(folder: Path) -> Expected:
    """The figures of the tables in `folder`, by a loop without actors."""
    with (folder / "planes.csv").open(encoding="utf-8", newline="") as file:
        registry = {plane[0] for plane in csv.reader(file)}
    rows = dead_letters = 0
    flights, minutes, known = Counter[str](), Counter[str](), Counter[str]()
    with (folder / "flights.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        header = next(lines)
        delay_at, carrier_at, tailnum_at = header.index("arr_delay"), header.index("carrier"), header.index("tailnum")
        for line in lines:
            rows += 1
            try:
                delay = int(line[delay_at])
            except ValueError:
                dead_letters += 1
            else:
                flights[line[carrier_at]] += 1
                minutes[line[carrier_at]] += delay
                known[line[carrier_at]] += line[tailnum_at] in registry
    return Expected(rows, dead_letters, {each: (flights[each], minutes[each], known[each]) for each in flights})


def flown(job: Job, total: int) -> Result:
    """A run in virtual time, so that waits for a retry cost nothing."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(partial(fly, job, SilentView(), total=total), clock=clock)


def figures(carriers: Sequence[CarrierDelays]) -> dict[str, tuple[int, int, int]]:
    return {each.carrier: (each.flights, each.arrival_delay, each.aircraft_known) for each in carriers}


@pytest.fixture(scope="module")
def year() -> Path:
    """The real tables."""
    try:
        return ensure_data()
    except DataUnavailable as error:
        pytest.skip(str(error))


# ---- the figures


def test_the_figures_of_a_whole_year_are_those_of_a_straight_loop(year: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = straight_loop(year)

    code = main(["--json", "--data", str(year)])

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (told["rows"], told["dead_lettered"]) == (expected.rows, expected.dead_letters)
    assert told["processed"] == expected.rows - expected.dead_letters
    assert told["mean_arrival_delay"] == expected.mean_arrival_delay
    assert {
        carrier: (each["flights"], each["mean_arrival_delay"], each["aircraft_known"]) for carrier, each in told["carriers"].items()
    } == {carrier: (flights, minutes / flights, known) for carrier, (flights, minutes, known) in expected.carriers.items()}
    assert told["ledger_balanced"] is True
    assert told["restarts"] == 4
    assert told["retries"] >= 40
    assert told["throttled"] == 1
    assert told["circuit_opened"] >= 1


minutes_late = st.integers(-90, 1300).map(str)
rows_of_a_table = st.lists(
    st.builds(
        TYPICAL._replace,
        carrier=st.sampled_from(["UA", "B6", "unknown"]),
        tailnum=st.sampled_from(["N14228", "N99999", MISSING]),
        origin=st.sampled_from(["EWR", "nowhere"]),
        arr_delay=minutes_late | minutes_late | st.sampled_from([MISSING, "", "late", "1.5"]),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_a_table, seed=st.integers())
def test_no_row_is_lost_or_counted_twice_wherever_actors_fail(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], seed: int) -> None:
    folder = write_tables(tmp_path_factory.mktemp("tables"), rows)
    expected = straight_loop(folder)

    result = flown(Job(folder, seed=seed), total=len(rows))

    assert figures(result.carriers) == expected.carriers
    assert (result.rows, result.processed) == (expected.rows, expected.rows - expected.dead_letters)
    assert [letter.message for letter in result.dead_letters] == [row for row in rows if not row.arr_delay.lstrip("-").isdigit()]
    assert result.mean_arrival_delay == expected.mean_arrival_delay
    assert result.imbalance is None
    assert sum(result.restarts.values()) == (1 if len(rows) >= 2 else 0) + min(3, len(rows) // 2)
    assert sum(result.throttled.values()) == (1 if len(rows) >= FEW else 0)


def test_a_limit_reads_the_first_rows_only(few: Path) -> None:
    result = flown(Job(few, limit=10), total=10)

    assert [letter.message for letter in result.dead_letters] == list(read_rows(few / "flights.csv"))[:10:4]
    assert result.rows == 10


def test_flights_wait_while_the_registry_is_down_and_none_is_given_up_for_it(few: Path) -> None:
    result = flown(Job(few), total=40)

    enricher = "root/flights/preparation/enricher"
    assert result.circuit_opened.keys() == {enricher}
    assert result.circuit_opened[enricher] >= 1
    assert {letter.reason.name for letter in result.dead_letters} == {"VALIDATION"}
    assert figures(result.carriers) == straight_loop(few).carriers


def test_a_stage_that_runs_out_of_memory_is_slowed_down_and_goes_on(few: Path) -> None:
    result = flown(Job(few), total=40)

    assert result.throttled == {"root/flights/preparation/parser": 1}
    assert figures(result.carriers) == straight_loop(few).carriers


def test_without_faults_nothing_is_recovered_from(few: Path) -> None:
    result = flown(Job(few, faults=False), total=40)

    assert (result.retries, result.throttled, result.circuit_opened, result.restarts) == ({}, {}, {}, {})
    assert result.recovered == 0
    assert figures(result.carriers) == straight_loop(few).carriers


def test_a_table_without_rows_has_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tables(tmp_path / "empty", [])

    code = main(["--json", "--data", str(folder)])

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (told["rows"], told["mean_arrival_delay"], told["carriers"]) == (0, None, {})


# ---- the faults


def strikes(faults: Faults, calls: int) -> dict[str, list[int]]:
    """The calls, counted from 1, at which each fault strikes."""
    named: dict[str, Fault] = vars(faults)
    struck: dict[str, list[int]] = {name: [] for name in named}
    for call in range(1, calls + 1):
        for name, fault in named.items():
            try:
                fault.strike()
            except (InjectedCrash, TransientError, DependencyError, ResourceError):
                struck[name].append(call)
    return struck


def test_a_seed_decides_where_faults_strike() -> None:
    assert strikes(Faults(1, rows=1000), 1000) == strikes(Faults(1, rows=1000), 1000)
    assert strikes(Faults(1, rows=1000), 1000) != strikes(Faults(2, rows=1000), 1000)


@given(seed=st.integers(), rows=st.integers(0, 500))
def test_faults_never_strike_one_message_more_often_than_its_policy_forgives(seed: int, rows: int) -> None:
    struck = strikes(Faults(seed, rows=rows), rows)

    crashes = struck["parsing"]
    assert all(later - earlier > 1 for earlier, later in pairwise(crashes))
    lookups = struck["lookups"]
    assert all(lookups[at + 3] - lookups[at] > 3 for at in range(len(lookups) - 3))
    assert len(struck["outage"]) in (0, OUTAGE)
    assert len(struck["memory"]) == (rows >= FEW)


# ---- the report


def test_only_some_kinds_of_dead_letters_are_listed_and_the_rest_summed_up(tmp_path: Path) -> None:
    rows = [TYPICAL._replace(arr_delay=f"late {number}") for number in range(20)]
    result = flown(Job(write_tables(tmp_path / "bad", rows)), total=20)

    text = plain(tables(result, {}))

    assert sum("invalid literal for int()" in line for line in text.splitlines()) == 8
    assert any(line.split() == ["others", "12"] for line in text.splitlines())


def test_figures_that_lack_a_row_are_reported_as_such(few: Path) -> None:
    result = flown(Job(few), total=40)
    first, second = result.carriers

    damaged = evolve(result, carriers=(evolve(first, flights=first.flights - 1), second))

    assert "ledger NOT balanced: 40 rows, but 29 flights in the figures and 10 dead letters" in plain(tables(damaged, {}))
    assert json.loads(as_json(damaged, {}))["ledger_balanced"] is False


# ---- the tree by itself


def test_the_tree_is_a_spec_that_anyone_can_run(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = examples.flights.tree(few)

    report = run(tree)

    report.ledger.check()
    assert report.outcome == "completed"
    assert [line[:2] for line in capsys.readouterr().out.splitlines()] == ["B6", "UA"]


def test_the_tree_is_made_without_arguments_and_without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACTORKIT_DATA", str(tmp_path / "nothing"))

    tree = examples.flights.tree()

    assert isinstance(tree, SupervisorSpec)
    assert not (tmp_path / "nothing").exists()
