"""The benchmarks do their work, and tell it right; what they measure is for people to read, on a quiet machine."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench, environments, guard, health, one_way, soak
from benchmarks.bars import BARS, PYTHON_PEERS, Bar, missed_bars
from benchmarks.chart import chart
from benchmarks.environments import PEERS, Peer
from benchmarks.measuring import Figures, Result, Unmeasurable, fitting, in_turns, once
from benchmarks.peers import asyncio_queues
from benchmarks.report import BEGIN, END, Report, bars_table, rewritten, table
from benchmarks.workloads import ASYNC, BY_NAME, PLAIN, TRIO, WORKLOADS
from tests.docs.pages import ROOT

CANDIDATES = [(workload.name, candidate) for workload in WORKLOADS for candidate in workload.measures if workload.name != "soak"]
RESULTS = [
    Result("one-way", PLAIN, 1000, {"messages/s": [2e6, 2.2e6, 2.1e6]}),
    Result("one-way", TRIO, 1000, {"messages/s": [1e5, 1.1e5, 1e5]}),
    Result("one-way", "A & B <fast>", 1000, {"messages/s": [5e5]}),
    Result("latency", PLAIN, 1000, {"p50 µs": [16.0, 18.0], "p99 µs": [30.0, 31.0]}),
    Result("latency", TRIO, 1000, {"p50 µs": [80.0, 80.0], "p99 µs": [160.0, 180.0]}),
]
REPORT = Report({"processor": "abacus"}, {"A & B <fast>": "1.0"}, {"Ray": "no network"}, {"how": "by hand"}, RESULTS)


# ---- the work. Each function checks by itself that all messages were handled, most of them in the ledger


@pytest.mark.parametrize(("workload", "candidate"), CANDIDATES)
def test_a_workload_does_its_work_and_has_figures(workload: str, candidate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "POLL", 0.05)  # seconds, which really pass

    figures = BY_NAME[workload].measure(candidate, 100)

    assert figures
    assert all(figure >= 0 for name, figure in figures.items() if name != "bytes of one")


def test_a_soak_has_balanced_books_at_its_end() -> None:
    assert soak.soak(1)["messages/s"] > 0


def test_messages_that_were_not_handled_are_noticed() -> None:
    with pytest.raises(Exception, match="99 of 100 messages were handled"):
        one_way.expect(99, 100)


@pytest.mark.parametrize("work", asyncio_queues.WORK)
def test_queues_of_asyncio_do_the_same_work(work: str) -> None:
    assert asyncio.run(asyncio_queues.WORK[work](100)) > 0


def test_every_peer_has_a_script_and_knows_workloads_that_there_are() -> None:
    assert [peer.name for peer in PEERS if not (environments.SCRIPTS / peer.script).is_file()] == []
    assert {work for peer in PEERS for work in peer.work} - BY_NAME.keys() == set()


# ---- measuring


def test_candidates_take_turns() -> None:
    turns: list[str] = []

    def measure(name: str, count: int) -> dict[str, float]:
        turns.append(name)
        return {"messages/s": float(count + len(turns))}

    measures = {"a": lambda count: measure("a", count), "b": lambda count: measure("b", count)}
    results, failed = in_turns("one-way", measures, {"a": 100, "b": 200}, 2, lambda _: None)

    assert turns == ["a", "b", "a", "b"]
    assert results == [
        Result("one-way", "a", 100, {"messages/s": [101.0, 103.0]}),
        Result("one-way", "b", 200, {"messages/s": [202.0, 204.0]}),
    ]
    assert failed == {}


def test_one_that_fails_does_not_keep_the_others_from_being_measured() -> None:
    def broken(count: int) -> dict[str, float]:
        raise Unmeasurable("out of order")

    results, failed = in_turns("one-way", {"a": broken, "b": lambda _: {"messages/s": 1.0}}, {"a": 1, "b": 1}, 2, lambda _: None)

    assert [each.candidate for each in results] == ["b"]
    assert failed == {"a": "out of order"}


def test_the_count_is_found_that_takes_as_long_as_wanted() -> None:
    tried: list[int] = []

    def measure(count: int) -> dict[str, float]:
        tried.append(count)
        return {"messages/s": 1e6}

    assert fitting(measure, 400_000, 0.5) == 500_000
    assert sum(tried) < 100_000


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('so it goes')", "ValueError: so it goes"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('hello')", "printed no figures, but 'hello'"),
        ("import threading; threading.Event().wait()", "took more than 0.5 s for 100"),
    ],
)
def test_a_process_without_figures_is_told_about_in_one_line(code: str, reason: str) -> None:
    with pytest.raises(Unmeasurable) as told:
        once((sys.executable, "-c", code), "messages/s", 0.5 if "wait" in code else 30.0, 100)

    assert str(told.value) == reason


def test_seconds_of_a_process_become_a_rate() -> None:
    assert once((sys.executable, "-c", "print('{\"seconds\": 0.5}')"), "asks/s", 30.0, 100) == {"asks/s": 200.0}


# ---- a whole run


@pytest.fixture
def run_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is pinned, no guard, hardly any time; where the figures go."""
    monkeypatch.setattr(bench, "pin", lambda: None)
    return tmp_path / "figures.json"


@pytest.fixture
def quick_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours need no process to say how fast they are; peers do."""

    def told(command: tuple[str, ...], unit: str, limit: float, count: int) -> Figures:
        return {unit: 1e6} if "benchmarks.alone" in command else once(command, unit, limit, count)

    monkeypatch.setattr(bench, "once", told)


def measure_waiting(output: Path, *more: str) -> None:
    arguments = ["--workloads", "waiting", "--repeats", "2", "--seconds", "0.0001", "--no-guard", "--output", str(output), *more]
    with pytest.raises(SystemExit):  # whose status says whether a bar was missed
        bench.main(arguments)


def test_a_run_writes_figures_and_what_they_were_measured_on(run_bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure_waiting(run_bench, "--peers", "none")

    written = json.loads(run_bench.read_text(encoding="utf-8"))
    assert written.keys() == {"machine", "peers", "skipped", "settings", "results"}
    assert written["machine"].keys() == {"date", "processor", "cores", "memory", "system", "Python", "actorkit", "trio"}
    assert [(each["workload"], each["candidate"], len(each["figures"]["messages/s"])) for each in written["results"]] == [
        ("waiting", ASYNC, 2),
        ("waiting", TRIO, 2),
    ]
    assert "can't pin a process to a core" in written["settings"]["how"]
    assert Report.read(run_bench).results[0].count >= 100
    assert ElementTree.parse(run_bench.with_suffix(".svg")).getroot().tag.endswith("svg")
    assert "waiting: " in capsys.readouterr().out


@pytest.mark.usefixtures("quick_candidates")
def test_a_peer_that_is_missing_is_named_with_the_reason(
    run_bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = (
        Peer(name="Absent", script="absent.py", work=("waiting",), program="a-program-that-nobody-has"),
        Peer(name="Modern", script="modern.py", work=("waiting",), requirement="modern==1", python=(4, 0)),
        Peer(name="Broken", script="broken.py", work=("waiting",)),
        Peer(name="Vast", script="vast.py", work=("waiting",), usual=False),
    )
    monkeypatch.setattr(bench, "PEERS", peers)

    measure_waiting(run_bench)

    skipped = Report.read(run_bench).skipped
    assert skipped["Absent"] == "a-program-that-nobody-has is not installed"
    assert skipped["Modern"] == "needs Python 4.0, and there is none"
    assert "No such file or directory" in skipped["Broken in waiting"]
    assert skipped["Vast"] == "only when asked for: --peers vast"
    assert "Absent is not measured: a-program-that-nobody-has is not installed" in capsys.readouterr().out


@pytest.mark.usefixtures("quick_candidates")
def test_figures_of_other_workloads_can_be_kept(run_bench: Path) -> None:
    REPORT.write(run_bench)

    measure_waiting(run_bench, "--peers", "none", "--keep")

    report = Report.read(run_bench)
    assert list(dict.fromkeys(each.workload for each in report.results)) == ["one-way", "latency", "waiting"]
    assert report.peers == REPORT.peers


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workloads", "juggling"], "there is no workload juggling"),
        (["--peers", "akka"], "there is no peer akka"),
        (["--repeats", "0"], "expected one round or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(arguments)

    assert complaint in capsys.readouterr().err


# ---- telling it


def test_a_table_has_median_spread_and_ratio() -> None:
    rows = table(REPORT.of("one-way")).splitlines()[2:]

    assert [row.split("  ")[1].strip() for row in rows] == [PLAIN, TRIO, "A & B <fast>"]
    assert rows[0].split()[-5:] == ["2,100,000", "2,000,000", "…", "2,200,000", "21.000"]


def test_the_picture_is_well_formed_and_names_everybody() -> None:
    picture = ElementTree.fromstring(chart(REPORT))

    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"actorkit, plain", "trio channel", "A & B <fast>", "2.1 M", "100 k"} <= set(texts)


def test_a_report_survives_writing_and_reading(tmp_path: Path) -> None:
    REPORT.write(tmp_path / "report.json")

    assert Report.read(tmp_path / "report.json") == REPORT


def test_the_page_shows_what_its_figures_say() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")

    assert rewritten(page, Report.read(ROOT / "docs" / "benchmarks.json"), BARS) == page


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    page = rewritten(f"before\n{BEGIN}\nold\n{END}\nafter\n", REPORT, BARS)

    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"{END}\nafter\n")
    assert "\nold\n" not in page
    assert "- not measured: Ray: no network" in page
    assert "| actorkit, plain handler | 2,100,000 | 2,000,000 … 2,200,000 | 21 |" in page


# ---- the bars


def test_every_bar_is_about_somebody_who_is_measured() -> None:
    known = {(each.name, candidate) for each in WORKLOADS for candidate in each.measures}
    known |= {(work, peer.name) for peer in PEERS for work in peer.work}

    assert [bar.work for bar in BARS if (bar.workload, bar.ours) not in known] == []
    assert [bar.wanted for bar in BARS if bar.against != PYTHON_PEERS and {(bar.workload, who) for who in bar.against} - known] == []


def test_a_bar_is_missed_held_or_not_measured() -> None:
    bars = [
        Bar(workload="one-way", ours=PLAIN, against=(TRIO,), least=22),
        Bar(workload="one-way", ours=PLAIN, against=(TRIO, "A & B <fast>"), least=4),
        Bar(workload="latency", ours=PLAIN, figure="p99 µs", most=30),
        Bar(workload="one-way", ours=PLAIN, against=("Pykka",), least=3),
    ]

    assert missed_bars(bars, RESULTS) == [bars[0], bars[2]]
    assert [line.rsplit("  ", 1)[1] for line in bars_table(bars, RESULTS).splitlines()] == ["MISSED", "holds", "MISSED", "not measured"]


def test_the_guard_fails_and_names_the_bars_that_are_missed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rates = {PLAIN: [2e6], ASYNC: [1e5], TRIO: [1e5]}
    monkeypatch.setattr(guard, "pin", lambda: None)
    monkeypatch.setattr("logging.disable", lambda level: None)
    monkeypatch.setattr(guard, "measure", lambda *_: [Result("one-way", who, 1, {"messages/s": rate}) for who, rate in rates.items()])

    with pytest.raises(SystemExit) as end:
        guard.main([])

    assert end.value.code == "missed: one-way: actorkit, async handler ≥ 13 times trio channel"
    assert "one-way: actorkit, plain handler" in capsys.readouterr().out


def test_the_guard_measures_what_its_bars_are_about() -> None:
    bars = [bar for bar in guard.guarded() if bar.workload == "ask"]

    results = guard.measure(bars, 1, 0.0001)

    assert [(each.workload, each.candidate) for each in results] == [("ask", PLAIN), ("ask", ASYNC), ("ask", TRIO)]
    assert {bar.workload for bar in guard.guarded()} >= {"one-way", "ask-from-task", "ring", "start-stop", "fairness"}
