"""The chat: everybody hears what is said in their rooms while they are there, and slow lines hold up nobody."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actorkit import RunReport
from examples.chat import tree
from examples.chat.evening import SCRIPT
from examples.chat.messages import Come, Go, Join, Leave, Say, read
from tests.runs import run_inside


def evening(script: Path, shown: list[str]) -> RunReport:
    """An evening, in virtual time."""
    return trio.run(partial(run_inside, tree(script, shown.append)), clock=MockClock(autojump_threshold=0))


def write(folder: Path, *lines: str) -> Path:
    """A script."""
    script = folder / "script.txt"
    script.write_text("\n".join(lines), encoding="utf-8")
    return script


def test_members_hear_what_is_said_in_their_rooms_while_they_are_there(tmp_path: Path) -> None:
    shown: list[str] = []
    script = write(
        tmp_path,
        "ada comes",
        "bo comes",
        "ada joins tea",
        "ada says in tea: one",
        "bo joins tea",
        "bo says in tea: two",
        "bo leaves tea",
        "ada says in tea: three",
        "ada says in garden: four",
    )

    report = evening(script, shown)

    assert sorted(shown) == [
        "ada heard in tea: ada: one",
        "ada heard in tea: ada: three",
        "ada heard in tea: bo: two",
        "archive: lines said: garden 1, tea 3",
        "bo heard in tea: bo: two",
    ]
    assert report.outcome == "completed"
    report.ledger.check()


def test_a_slow_line_keeps_the_newest_and_holds_up_nobody(tmp_path: Path) -> None:
    shown: list[str] = []
    said = [f"ada says in tea: {number}" for number in range(10)]
    script = write(tmp_path, "ada comes", "eve comes by phone", "ada joins tea", "eve joins tea", *said)

    report = evening(script, shown)

    assert [line for line in shown if line.startswith("eve")] == [f"eve heard in tea: ada: {number}" for number in (0, 8, 9)]
    assert len([line for line in shown if line.startswith("ada")]) == 10
    assert report.ledger.dropped_by == {"drop_oldest": 7}
    report.ledger.check()


def test_who_goes_hears_nothing_more_and_the_others_do_not_notice(tmp_path: Path) -> None:
    shown: list[str] = []
    script = write(tmp_path, "ada comes", "bo comes", "ada joins tea", "bo joins tea", "bo says in tea: 1", "bo goes", "ada says in tea: 2")

    report = evening(script, shown)

    assert [line for line in shown if line.startswith("ada")] == ["ada heard in tea: bo: 1", "ada heard in tea: ada: 2"]
    assert report.ledger.dead_lettered == 0
    report.ledger.check()


def test_the_evening_that_comes_with_it_ends_by_itself_with_everything_accounted_for() -> None:
    shown: list[str] = []

    report = evening(SCRIPT, shown)

    assert shown[-1] == "archive: lines said: chess 4, garden 1, tea 8"
    assert report.outcome == "completed"
    assert report.ledger.processed + report.ledger.dropped == report.ledger.accepted
    report.ledger.check()


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("ada comes", Come("ada", by_phone=False)),
        ("eve comes by phone", Come("eve", by_phone=True)),
        ("ada goes", Go("ada")),
        ("ada joins tea", Join("ada", "tea")),
        ("ada leaves tea", Leave("ada", "tea")),
        ("ada says in tea: Milk?", Say("ada", "tea", "Milk?")),
    ],
)
def test_a_line_of_a_script_is_a_step(line: str, step: object) -> None:
    assert read(line) == step


@pytest.mark.parametrize("line", ["", "ada", "ada sings", "ada joins", "ada says in tea", "ada goes home", "ada comes by boat"])
def test_a_line_that_is_no_step_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is no step of an evening"):
        read(line)


def test_a_script_with_a_bad_line_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'ada sings' is no step of an evening"):
        tree(write(tmp_path, "ada comes", "ada sings"))
