"""Spreads the restarts of a whole system, when there are very many of them: the shell around policy/restart_storm.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorkit._runtime.grouping import Group
from actorkit.policy.restart_storm import RestartPace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.supervisor import Supervisor


class RestartSpacing:
    """The restarts of one system."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._pace: RestartPace | None = None
        self._children = -1  # that it is for

    def delay(self, now: float) -> float:
        """Seconds that one more restart has to wait."""
        children = len(self._kernel.cells)
        if self._pace is None or children != self._children:
            budgets = [budget for each in self._kernel.supervisors.values() for budget in _budgets(each)]
            if self._pace is None:
                self._pace = RestartPace(children, budgets)
            else:
                self._pace.resize(now, children, budgets)
            self._children = children
        return self._pace.admit(now)


def _budgets(supervisor: Supervisor) -> Iterator[tuple[int, float]]:
    """How many restarts in how many seconds it allows, and its children's own budgets; in pools and keyed groups, each child has one."""
    spec = supervisor.spec
    if isinstance(supervisor, Group):
        yield (spec.max_restarts or 0) * len(supervisor.children), spec.within or 1.0
        return
    yield spec.max_restarts or 0, spec.within or 1.0
    for child in supervisor.children.values():
        if child.budget is not None:
            yield child.budget.max_restarts, child.budget.within
