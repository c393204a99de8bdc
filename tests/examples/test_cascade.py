"""The shop comes through the outage of its database with the cascade manager, and without it gives up what customers wanted."""

from __future__ import annotations

import io
import json

import pytest

from actorkit.events import WARNING
from examples.cascade import tree
from examples.cascade.__main__ import main, table
from examples.cascade.actors import Outage
from examples.cascade.picture import PlainView, SilentView
from examples.cascade.story import Moment, Plot, Result, tell

ORDERS = 1_200
OUTAGE = Outage(begins=20.0, lasts=60.0)


class Notes(SilentView):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[Moment] = []
        self.texts: list[tuple[float, str]] = []

    def show(self, moment: Moment) -> None:
        self.moments.append(moment)

    def note(self, time: float, text: str, level: int) -> None:
        self.texts.append((time, text))


@pytest.fixture(scope="module")
def notes() -> Notes:
    """What was seen of the shop with the manager."""
    return Notes()


@pytest.fixture(scope="module")
def with_manager(notes: Notes) -> Result:
    """What became of it."""
    return tell(Plot(orders=ORDERS, outage=OUTAGE), notes)


@pytest.fixture(scope="module")
def without() -> Result:
    """What became of it where nobody watched."""
    return tell(Plot(with_manager=False, orders=ORDERS, outage=OUTAGE), SilentView())


def test_no_message_is_lost_either_way(with_manager: Result, without: Result) -> None:
    for result in (with_manager, without):
        assert result.made == ORDERS
        assert result.lost == 0
        assert result.imbalance is None
        assert result.processed + result.skipped + result.dead_letters == result.accepted


def test_the_manager_saves_nearly_all_that_is_given_up_without_it(with_manager: Result, without: Result) -> None:
    assert without.dead_letters > 1_500
    assert with_manager.dead_letters < without.dead_letters / 5
    assert with_manager.restarts < without.restarts / 5
    assert ORDERS - with_manager.completed < (ORDERS - without.completed) / 5


def test_there_is_one_alert_and_one_report(with_manager: Result, without: Result, notes: Notes) -> None:
    incident = with_manager.incident

    assert incident is not None
    assert incident.causes == ("root/shop/database",)
    assert "root/shop/payments" in incident.reached
    assert incident.lost == 0
    assert without.incident is None
    assert len([text for _, text in notes.texts if text.startswith("emergency")]) == 1
    assert [text for _, text in notes.texts if text.startswith("recovering")][-1].startswith("recovering: sources at 100%")


def test_the_phases_can_be_seen(with_manager: Result, notes: Notes) -> None:
    phases = list(dict.fromkeys(moment.phase.value for moment in notes.moments))
    slowest = min(moment.rate for moment in notes.moments)

    assert phases == ["normal", "emergency", "recovering"]
    assert notes.moments[-1].phase.value == "normal"
    assert slowest == 0.1
    assert with_manager.most_outside > 0


def test_the_table_has_a_column_for_each_run(with_manager: Result, without: Result) -> None:
    lines = table(with_manager, without).splitlines()

    assert lines[0].split() == ["with", "the", "manager", "without", "it"]
    assert lines[-1].split() == ["ledger", "balanced", "balanced"]


def test_lines_tell_the_story_where_there_is_no_terminal(with_manager: Result, notes: Notes) -> None:
    out = io.StringIO()
    view = PlainView(out)

    for moment in notes.moments:
        view.show(moment)
    for time, text in notes.texts:
        view.note(time, text, WARNING)

    assert with_manager.incident is not None
    told = out.getvalue()
    assert " 0:20 ! — the database goes down —" in told
    assert " 0:25 ! emergency: 4 of 8 components are unhealthy; likely cause: root/shop/database" in told
    assert str(with_manager.incident).splitlines()[0] in told
    assert "emergency   10%" in told


def test_the_command_prints_one_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--seed", "3"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert data["balanced"] is True
    assert data["messages"]["lost"] == 0
    assert data["incident"]["causes"] == ["root/shop/database"]


def test_the_tree_can_be_run_as_it_is() -> None:
    assert tree.title == "supervisor 'shop'"
