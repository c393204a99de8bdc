"""Messages that kill the process, and kills that no message is to blame for."""

from __future__ import annotations

from pathlib import Path
from random import Random

from tests.durability.killing import judge, runs
from tests.durability.pipeline import Plan
from tests.durability.runner import Task

STARTS = 6
"""After so many a message that kills has been found: the first death, a start at most to be alone, and three."""


def test_a_message_that_kills_the_process_becomes_a_dead_letter_and_all_else_is_handled_once(tmp_path: Path) -> None:
    task = Task(str(tmp_path), Plan(orders=80, notes=40, killers=(23,)), "NORMAL")
    outcomes: list[str] = []

    with runs() as processes:
        while outcomes[-1:] != ["done"] and len(outcomes) < STARTS:
            outcomes.append(processes.run(task)[0])

    assert outcomes[-1] == "done"
    assert outcomes.count("killed") >= 3
    assert not judge(task)


def test_several_messages_that_kill_the_process_are_found_one_after_the_other(tmp_path: Path) -> None:
    task = Task(str(tmp_path), Plan(orders=80, notes=40, killers=(5, 6, 60)), "NORMAL")
    outcomes: list[str] = []

    with runs() as processes:
        while outcomes[-1:] != ["done"] and len(outcomes) < 3 * STARTS:
            outcomes.append(processes.run(task)[0])

    assert outcomes[-1] == "done"
    assert not judge(task)


def test_twenty_kills_from_outside_blame_no_message(tmp_path: Path) -> None:
    task, rng = Task(str(tmp_path), Plan(orders=4_000, notes=1_000), "NORMAL"), Random(7)

    with runs() as processes:
        killed = [processes.run(task, rng.uniform(0.06, 0.12))[0] for _ in range(20)]
        assert processes.run(task) == ("done", "0")

    assert killed == ["killed"] * 20
    assert not judge(task)  # CRASHED_PROCESS would be a dead letter too many
