"""What the harness says of stores that don't do what steps rely on: else nobody knows what its silence is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.killing import judge, runs
from tests.durability.pipeline import Plan
from tests.durability.runner import Task

PLAN = Plan(orders=60, notes=20)


def left_by(tmp_path: Path, wrapped: str, plan: Plan = PLAN, kills: int = 9) -> tuple[set[str], set[str]]:
    """What was lost and what was doubled by a pipeline with this store, which was killed once, and then run to its end."""
    task = Task(str(tmp_path), plan, "NORMAL", wrapped=wrapped, kills=kills)
    with runs() as processes:
        assert processes.run(task) == ("killed",)
        assert processes.run(Task(str(tmp_path), plan, "NORMAL")) == ("done", "0")
    verdict = judge(task)
    return set(verdict.lost), set(verdict.doubled)


@pytest.mark.parametrize("kills", [2, 9, 23])
def test_effects_before_the_removal_of_the_message_are_found_doubled(tmp_path: Path, kills: int) -> None:
    lost, doubled = left_by(tmp_path, "EffectsFirst", kills=kills)

    assert doubled
    assert not lost


@pytest.mark.parametrize("kills", [2, 9, 23])
def test_the_removal_of_the_message_before_its_effects_is_found_lost(tmp_path: Path, kills: int) -> None:
    lost, doubled = left_by(tmp_path, "RemovalFirst", kills=kills)

    assert lost
    assert not doubled


def test_keys_that_are_not_remembered_are_found_doubled(tmp_path: Path) -> None:
    lost, doubled = left_by(tmp_path, "Forgetful", Plan(orders=0, notes=20))

    assert (lost, doubled) == (set(), {"noted"})


def test_with_the_store_as_it_is_nothing_is_found(tmp_path: Path) -> None:
    task = Task(str(tmp_path), PLAN, "NORMAL", wrapped="Sound", kills=9)
    with runs() as processes:
        assert processes.run(task) == ("killed",)
        assert processes.run(Task(str(tmp_path), PLAN, "NORMAL")) == ("done", "0")

    assert not judge(task)
