"""What an emergency was like, from its beginning to its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from actorkit._runtime.ledger import NUMBERS
from actorkit.events import IncidentReport, named

if TYPE_CHECKING:
    from collections.abc import Collection

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel

DROPPED: Final = NUMBERS.index("dropped")
DEAD_LETTERED: Final = NUMBERS.index("dead_lettered")
MOST_NOTED: Final = 1_000
"""Entries in the report of an incident: of one that lasts for days, with components that come and go, the first and the last are kept."""


class Incident:
    """What has happened since an emergency began."""

    def __init__(self, kernel: Kernel, causes: list[str], reached: list[str]) -> None:
        self._kernel = kernel
        self._causes = causes
        self._reached = reached
        self._began = kernel.now()
        self._began_at = datetime.now(UTC)
        self._timeline: list[tuple[float, str]] = []
        self._left_out = 0
        self._dropped, self._dead_lettered = self._given_up()
        self.most_held = 0

    def _given_up(self) -> tuple[int, int]:
        kernel = self._kernel
        gone, mailboxes = kernel.retired, [mailbox for cell in kernel.cells.values() for mailbox in cell.mailboxes.values()]
        numbers = [mailbox.numbers() for mailbox in mailboxes]
        return gone.dropped + sum(each[DROPPED] for each in numbers), gone.dead_lettered + sum(each[DEAD_LETTERED] for each in numbers)

    def note(self, what: str) -> None:
        """Something has happened."""
        self._timeline.append((self._kernel.now() - self._began, what))
        if len(self._timeline) > MOST_NOTED:
            del self._timeline[MOST_NOTED // 2]
            self._left_out += 1

    def note_health(self, before: Collection[Cell], now: Collection[Cell]) -> None:
        """These were unhealthy at the last poll, and these are now."""
        for what, cells, others in ("now unhealthy", now, before), ("not unhealthy any more", before, now):
            if changed := [cell.path for cell in cells if cell not in others]:
                self.note(f"{what}: {named(changed)}")

    def report(self, outcome: str, relapses: int) -> IncidentReport:
        """All of it, at its end."""
        self.note(outcome)
        dropped, dead_lettered = self._given_up()
        return IncidentReport(
            began_at=self._began_at,
            outcome=outcome,
            lasted=self._kernel.now() - self._began,
            relapses=relapses,
            causes=tuple(self._causes),
            reached=tuple(self._reached),
            timeline=tuple(self._timeline),
            left_out=self._left_out,
            most_held=self.most_held,
            lost=dropped - self._dropped,
            dead_lettered=dead_lettered - self._dead_lettered,
        )
