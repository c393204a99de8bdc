"""What is done in an emergency: sources are slowed down, and mail for unhealthy components waits, so that all else can drain.

Nothing is refused, and nothing is dropped. A port that is held takes messages whatever its capacity, and its actor
handles but a few of them: so those who send to it work off what they have, and it has less to do while it comes back.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from actorkit._runtime.doors import MemberMailbox
from actorkit._runtime.gates import Gates
from actorkit._runtime.groups import GroupCell
from actorkit._runtime.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox

LIFT: Final = 2**40
"""What is added to the capacity of a held port."""
LOOKS: Final = 7
"""Polls over which a source's recent rate is measured."""
PROBES: Final = 3
"""Messages that a held actor handles all the same from poll to poll, as a breaker lets through that is half open: they tell how it does."""
LEAST_RATE: Final = 1.0
"""Messages a second that a source's own rate is taken for, at least."""


class Emergency:
    """The sources that are slowed down, and the components whose mail is held."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._sent: dict[Cell, deque[tuple[float, float]]] = {}  # by source: when, and how many it had sent by then
        self._rates: dict[Cell, float] = {}  # the own rates of those that are slowed down
        self._held: dict[Cell, list[Mailbox]] = {}
        self.is_on = False

    # How fast sources are

    def note_sources(self) -> None:
        """Notes how much each source has sent, for its recent rate: what its receivers have accepted, shared by those who send there."""
        if self.is_on:
            return
        now = self._kernel.now()
        sources = self._sources()
        senders = Counter(
            id(target) for cell in self._kernel.cells.values() for outlet in cell.outlets.values() for target in outlet.targets
        )
        for cell in sources:
            sent = 0.0
            for outlet in cell.outlets.values():
                if outlet.lines:  # each message goes on every line
                    sent += sum(target.numbers()[0] / senders[id(target)] for target in outlet.targets) / len(outlet.lines)
            self._sent.setdefault(cell, deque(maxlen=LOOKS)).append((now, sent))
        self._sent = {cell: looks for cell, looks in self._sent.items() if cell in sources}

    def _sources(self) -> dict[Cell, None]:
        """All actors that have a `run`; members of pools, each by itself."""
        found: dict[Cell, None] = {}
        for cell in self._kernel.cells.values():
            if "run" in cell.actor_class.actorkit_blueprint.hooks:
                found.update(dict.fromkeys(cell.keeper.members() if isinstance(cell, GroupCell) else [cell]))
        return found

    def _rate_of(self, cell: Cell) -> float:
        looks = self._sent.get(cell)
        if not looks or len(looks) < 2 or looks[-1][0] == looks[0][0]:
            return LEAST_RATE
        return max(LEAST_RATE, (looks[-1][1] - looks[0][1]) / (looks[-1][0] - looks[0][0]))

    # In force

    def begin(self, rate: float) -> None:
        """Sources go on at this share of their recent rate, and nobody's patience with a full port runs out."""
        self.is_on = self._kernel.is_emergency = True
        self.set_rate(rate)
        for mailbox in self._mailboxes(self._kernel.cells.values()):
            mailbox.overflow.stand_still(mailbox)

    def set_rate(self, rate: float) -> None:
        """Sources go on at this share of their recent rate: those too that have come since."""
        for cell in self._sources():
            own = self._rates.setdefault(cell, self._rate_of(cell))
            if cell.pace is None:
                cell.pace = Pace(own * rate)
                _renew(cell)
            else:
                cell.pace.change(own * rate)

    def hold(self, cells: Iterable[Cell]) -> None:
        """Mail that comes to these by wires waits; those that are held already stay so."""
        for cell in cells:
            if cell not in self._held:
                self._held[cell] = held = [mailbox for mailbox in self._mailboxes([cell]) if _is_wired(mailbox)]
                for mailbox in held:
                    mailbox.capacity += LIFT
                    mailbox.make_room()
        for held in self._held.values():
            _hold_ports(held, hold=True)

    def let_go(self, cells: Collection[Cell] | None = None) -> None:
        """Mail for these, or for all that are held, is handled again."""
        for cell in list(self._held) if cells is None else [each for each in cells if each in self._held]:
            held = self._held.pop(cell)
            for mailbox in held:
                mailbox.capacity -= LIFT
                mailbox.make_room()
            _hold_ports(held, hold=False)

    @property
    def held(self) -> list[Cell]:
        """The components whose mail waits."""
        return list(self._held)

    @property
    def held_messages(self) -> int:
        """How many messages wait for them."""
        return sum(len(mailbox.queue) for held in self._held.values() for mailbox in held)

    def end(self) -> None:
        """All is as ever; does nothing if it is."""
        if not self.is_on:
            return
        self.is_on = self._kernel.is_emergency = False
        self.let_go()
        for cell in self._rates:
            if cell.pace is not None:
                cell.pace.change(None)
                cell.pace = None
                _renew(cell)
        self._rates.clear()
        self._sent.clear()  # those rates were not their own
        for mailbox in self._mailboxes(self._kernel.cells.values()):
            if not mailbox.stands_still:
                mailbox.overflow.go_on(mailbox)

    def _mailboxes(self, cells: Iterable[Cell]) -> list[Mailbox]:
        """Those in which messages wait: of groups, the members'."""
        actors = [actor for cell in cells for actor in (cell.keeper.members() if isinstance(cell, GroupCell) else [cell])]
        return [mailbox for actor in actors for mailbox in actor.mailboxes.values()]


def _is_wired(mailbox: Mailbox) -> bool:
    return mailbox.door.is_in_stream if isinstance(mailbox, MemberMailbox) else mailbox.is_in_stream


def _hold_ports(mailboxes: list[Mailbox], *, hold: bool) -> None:
    by_cell: dict[Cell, set[str]] = {}
    for mailbox in mailboxes:
        by_cell.setdefault(mailbox.cell, set()).add(mailbox.name)
    for cell, names in by_cell.items():
        if cell.gates is None:
            cell.gates, cell.stop = Gates(cell), True  # the rest of this batch has to pass them as well
        cell.gates.hold(frozenset(names) if hold else frozenset(), PROBES)


def _renew(cell: Cell) -> None:
    """Its senders take the way that they have to take now."""
    if cell.life is not None:
        for sender in cell.life.senders.values():
            sender.renew()
