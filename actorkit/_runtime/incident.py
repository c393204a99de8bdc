"""What an emergency was like, from its beginning to its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from actorkit.events import IncidentReport

if TYPE_CHECKING:
    from actorkit._runtime.kernel import Kernel

MOST_NOTED: Final = 1_000
"""Entries in the report of an incident: one that lasts for days, with components that come and go, is not to fill the memory."""


class Incident:
    """What has happened since an emergency began."""

    def __init__(self, kernel: Kernel, causes: list[str], reached: list[str]) -> None:
        self._kernel = kernel
        self._causes = causes
        self._reached = reached
        self._began = kernel.now()
        self._began_at = datetime.now(UTC)
        self._timeline: list[tuple[float, str]] = []
        self._dropped, self._dead_lettered = self._given_up()
        self.most_held = 0

    def _given_up(self) -> tuple[int, int]:
        counts = self._kernel.all_counts().values()
        return sum(each.dropped for each in counts), sum(each.dead_lettered for each in counts)

    def note(self, what: str) -> None:
        """Something has happened."""
        if len(self._timeline) < MOST_NOTED:
            self._timeline.append((self._kernel.now() - self._began, what))

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
            most_held=self.most_held,
            lost=dropped - self._dropped,
            dead_lettered=dead_lettered - self._dead_lettered,
        )
