"""How fast sources are: from poll to poll, how many messages the `run` of each sends a second.

They are counted where they send. That costs a call for each message: so those that are very fast, or not known yet, are not
counted, or but now and then. What their receivers have accepted says it for nothing, if nobody else sends to them.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, field

from actorkit._runtime.groups import MemberCell, actors_of
from actorkit._runtime.pace import Tally

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel

FAST: Final = 10_000.0
"""Messages a second from which on a call more for each counts."""
MOST_COUNTED: Final = 50_000
"""Messages that are counted of a source from poll to poll: who was slow and sends very many at once has that for nothing soon."""
LOOKS: Final = 7
"""Polls over which a rate is measured by what receivers have accepted."""
COUNT_EVERY: Final = 6
"""Polls of which one counts the messages of a fast source that can't be measured otherwise."""
HALVED: Final = 60.0
"""Seconds in which a rate that was once reached counts half: who stands before a port that is stuck is as fast as it was."""
SHORTEST: Final = 1.0
"""Seconds over which a source is counted at least that is not known when an emergency begins."""
LEAST_RATE: Final = 1.0
"""Messages a second that a rate is taken for, at least."""


@define
class Measured:
    """What is known of one source."""

    looks: deque[tuple[float, float]] = field(factory=lambda: deque(maxlen=LOOKS))  # when, and how many were accepted by then
    shares: dict[int, int] = field(factory=dict)  # how many send to each of its receivers
    best: float | None = None
    best_at: float = 0.0
    is_counted: bool = False  # whether that was counted, and not concluded from what others have accepted

    def reached(self, rate: float, now: float, *, is_counted: bool) -> None:
        """It has gone at this rate."""
        before = None if is_counted and not self.is_counted else self.at(now)
        self.best, self.best_at, self.is_counted = max(rate, before or 0.0), now, is_counted

    def at(self, now: float) -> float | None:
        """Its rate, as far as is known."""
        return None if self.best is None else float(self.best * 0.5 ** ((now - self.best_at) / HALVED))


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
                found.update(dict.fromkeys(actors_of(cell)))
        return found

    def measure(self, cell: Cell) -> float | None:
        """Messages a second, before it is slowed down; None: not known yet, so it is counted until the next poll.

        A new member of a pool sends as many as its pool's members do on the average.
        """
        now, known = self._kernel.now(), self._known.setdefault(cell, Measured())
        if known.best is None:
            self._take_count(cell, known, now, over=SHORTEST)
        rate = known.at(now)
        if rate is None and isinstance(cell, MemberCell):
            known_ones = [self._known[member] for member in cell.group.keeper.members() if member in self._known]
            rates = [each for one in known_ones if (each := one.at(now)) is not None]
            rate = sum(rates) / len(rates) if rates else None
        self._count(cell, so=rate is None)
        return None if rate is None else max(LEAST_RATE, rate)

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
            is_shared = _is_shared(cell, senders)
            if not self._take_count(cell, known, now):
                self._note_accepted(cell, known, now, senders, is_shared=is_shared)
            is_slow = known.best is not None and known.best < FAST
            self._count(cell, so=is_slow or (is_shared and self._polls % COUNT_EVERY == 1))
        self._polls += 1

    def _note_accepted(self, cell: Cell, known: Measured, now: float, senders: Counter[int], *, is_shared: bool) -> None:
        sent, lines = 0.0, 0
        shares: dict[int, int] = {}
        for outlet in cell.outlets.values():
            lines += len(outlet.lines)
            if outlet.lines:  # each message goes on every line
                sent += sum(target.numbers()[0] / senders[id(target)] for target in outlet.targets) / len(outlet.lines)
                shares.update({id(target): senders[id(target)] for target in outlet.targets})
        if isinstance(cell, MemberCell):
            sent /= len(cell.group.keeper.members())
        if shares != known.shares:  # then those sums can't be compared
            known.looks.clear()
            known.shares = shares
        known.looks.append((now, sent))
        (first, then), (last, by_now) = known.looks[0], known.looks[-1]
        if last > first and (known.best is None or not is_shared):
            known.reached((by_now - then) / (last - first), now, is_counted=False)
        elif by_now > known.looks[max(0, len(known.looks) - 2)][1]:
            known.best_at = now  # it goes on, at the rate that was counted last

    def _count(self, cell: Cell, *, so: bool) -> None:
        """From now on what this source sends is counted, or not."""
        if so is not isinstance(cell.pace, Tally):
            cell.pace = Tally(self._kernel.now(), MOST_COUNTED, partial(self._has_counted_enough, cell)) if so else None
            renew(cell)

    def _has_counted_enough(self, cell: Cell) -> None:
        known, now = self._known.setdefault(cell, Measured()), self._kernel.now()
        if not self._take_count(cell, known, now):
            known.reached(FAST, now, is_counted=True)  # all in one instant
        self._count(cell, so=False)

    def _take_count(self, cell: Cell, known: Measured, now: float, *, over: float = 0.0) -> bool:
        """Takes what was counted of this source since the last time, over more seconds than these; says whether it did."""
        tally = cell.pace
        if not isinstance(tally, Tally) or now - tally.since <= over:
            return False
        known.reached(tally.sent / (now - tally.since), now, is_counted=True)
        tally.sent, tally.since = 0, now
        return True

    def forget_looks(self) -> None:
        """They were slowed down: what they did meanwhile says nothing."""
        now = self._kernel.now()
        for known in self._known.values():
            known.looks.clear()
            known.best_at = now


def _is_shared(cell: Cell, senders: Counter[int]) -> bool:
    """Whether its receivers can't tell what it sends from what others send."""
    if isinstance(cell, MemberCell):
        return True
    return any(outlet.channels or any(senders[id(target)] > 1 for target in outlet.targets) for outlet in cell.outlets.values())


def renew(cell: Cell) -> None:
    """Its senders take the way that they have to take now."""
    if cell.life is not None:
        for sender in cell.life.senders.values():
            sender.renew()
