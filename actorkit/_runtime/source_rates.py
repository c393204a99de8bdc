"""How fast sources are: from poll to poll, how many messages the `run` of each sends a second.

What its receivers have accepted says that for nothing, if nobody else sends to them. Where somebody does, and in pools,
the source itself is counted, from one poll to the next, and only now and then: each message costs a call more meanwhile.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from actorkit._runtime.groups import GroupCell, MemberCell
from actorkit._runtime.pace import Tally

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel

LOOKS: Final = 7
"""Polls over which a rate is measured by what receivers have accepted."""
COUNT_EVERY: Final = 6
"""Polls of which one counts the messages of a source that can't be measured otherwise."""
HALVED: Final = 60.0
"""Seconds in which a rate that was once reached counts half: who stands before a port that is stuck is as fast as it was."""
LEAST_RATE: Final = 1.0
"""Messages a second that a rate is taken for, at least."""


@define
class Measured:
    """What is known of one source."""

    looks: deque[tuple[float, float]] = field(factory=lambda: deque(maxlen=LOOKS))  # when, and how many it had sent by then
    best: float = 0.0
    best_at: float = 0.0

    def reached(self, rate: float, now: float) -> None:
        """It has gone at this rate."""
        self.best, self.best_at = max(rate, self.at(now)), now

    def at(self, now: float) -> float:
        """Its rate, as far as is known."""
        return float(self.best * 0.5 ** ((now - self.best_at) / HALVED))


class SourceRates:
    """The rates of all sources of one system."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._known: dict[Cell, Measured] = {}
        self._polls = 0

    def sources(self) -> dict[Cell, None]:
        """All actors that have a `run`; members of pools, each by itself."""
        found: dict[Cell, None] = {}
        for cell in self._kernel.cells.values():
            if "run" in cell.actor_class.actorkit_blueprint.hooks:
                found.update(dict.fromkeys(cell.keeper.members() if isinstance(cell, GroupCell) else [cell]))
        return found

    def of(self, cell: Cell) -> float:
        """Messages a second; of a new member of a pool, as many as its pool's members send on the average."""
        known, now = self._known.get(cell), self._kernel.now()
        if known is None and isinstance(cell, MemberCell):
            others = [self._known[each].at(now) for each in cell.group.keeper.members() if each in self._known]
            return max(LEAST_RATE, sum(others) / max(1, len(others)))
        return LEAST_RATE if known is None else max(LEAST_RATE, known.at(now))

    def note(self) -> None:
        """A poll: notes how fast they are, while nothing slows them down."""
        now, sources = self._kernel.now(), self.sources()
        if not sources:
            return
        senders = Counter(
            id(target) for cell in self._kernel.cells.values() for outlet in cell.outlets.values() for target in outlet.targets
        )
        self._known = {cell: self._known.get(cell) or Measured() for cell in sources}
        for cell, known in self._known.items():
            self._note_accepted(cell, known, now, senders)
            if isinstance(cell.pace, Tally):
                self.stop_counting(cell)
            elif self._polls % COUNT_EVERY == 1 and _has_to_be_counted(cell, senders):
                cell.pace = Tally(now)
                renew(cell)
        self._polls += 1

    def _note_accepted(self, cell: Cell, known: Measured, now: float, senders: Counter[int]) -> None:
        sent, lines = 0.0, 0
        for outlet in cell.outlets.values():
            lines += len(outlet.lines)
            if outlet.lines:  # each message goes on every line
                sent += sum(target.numbers()[0] / senders[id(target)] for target in outlet.targets) / len(outlet.lines)
        if isinstance(cell, MemberCell):
            sent /= len(cell.group.keeper.members())
        known.looks.append((now, sent))
        (first, then), (last, by_now) = known.looks[0], known.looks[-1]
        if last > first and (known.best == 0.0 or not _has_to_be_counted(cell, senders)):
            known.reached((by_now - then) / (last - first), now)
        elif by_now > known.looks[max(0, len(known.looks) - 2)][1]:
            known.best_at = now  # it goes on, at the rate that was counted last

    def stop_counting(self, cell: Cell) -> None:
        """Takes what was counted of this source, if it is counted."""
        tally, now = cell.pace, self._kernel.now()
        if isinstance(tally, Tally):
            cell.pace = None
            renew(cell)
            if tally.sent and now > tally.since and cell in self._known:
                known = self._known[cell]
                known.best, known.best_at = tally.sent / (now - tally.since), now

    def forget_looks(self) -> None:
        """They were slowed down: what they did meanwhile says nothing."""
        now = self._kernel.now()
        for known in self._known.values():
            known.looks.clear()
            known.best_at = now


def _has_to_be_counted(cell: Cell, senders: Counter[int]) -> bool:
    if isinstance(cell, MemberCell):
        return True
    return any(outlet.channels or any(senders[id(target)] > 1 for target in outlet.targets) for outlet in cell.outlets.values())


def renew(cell: Cell) -> None:
    """Its senders take the way that they have to take now."""
    if cell.life is not None:
        for sender in cell.life.senders.values():
            sender.renew()
