"""What is done in an emergency: sources are slowed down, and mail for unhealthy components waits, so that all else can drain.

Nothing is refused, and nothing is dropped. A port that is held takes messages whatever its capacity, and its actor
handles but a few of them: so those who send to it work off what they have, and it has less to do while it comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorkit._runtime.doors import MemberMailbox
from actorkit._runtime.gates import Gates
from actorkit._runtime.groups import GroupCell
from actorkit._runtime.pace import Pace
from actorkit._runtime.source_rates import SourceRates, renew
from actorkit.policy.overflow import OverflowStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox

LIFT: Final = 2**40
"""What is added to the capacity of a held port."""
PROBES: Final = 3
"""Messages that a held actor handles all the same from poll to poll, as a breaker lets through that is half open: they tell how it does."""


class Emergency:
    """The sources that are slowed down, and the components whose mail is held."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._measured = SourceRates(kernel)
        self._rates: dict[Cell, float] = {}  # the own rates of those that are slowed down
        self._held: dict[Cell, dict[Mailbox, None]] = {}
        self.is_on = False

    def note_sources(self) -> None:
        """A poll: notes how fast sources are when nothing slows them down."""
        if not self.is_on:
            self._measured.note()

    def put_in_force(self, rate: float) -> None:
        """Sources go on at this share of their recent rate, new ones too, and nobody's patience with a full port runs out."""
        if not self.is_on:
            self.is_on = self._kernel.is_emergency = True
            for mailbox in _mailboxes(self._kernel.cells.values()):
                mailbox.overflow.stand_still(mailbox)
        for cell in self._measured.sources():
            self._measured.stop_counting(cell)
            own = self._rates.setdefault(cell, self._measured.of(cell))
            if isinstance(cell.pace, Pace):
                cell.pace.change(own * rate)
            else:
                cell.pace = Pace(own * rate)
                renew(cell)

    def hold(self, cells: Iterable[Cell]) -> None:
        """Mail that comes to these by wires waits; those that are held already stay so."""
        for cell in cells:
            self._held.setdefault(cell, {})
        for cell, held in self._held.items():
            for mailbox in _mailboxes([cell]):
                if mailbox not in held and _is_wired(mailbox):
                    held[mailbox] = None
                    _lift(mailbox, LIFT)
            _hold_ports(held, hold=True)

    def let_go(self) -> None:
        """Mail for all that are held is handled again."""
        all_held, self._held = self._held, {}
        for held in all_held.values():
            for mailbox in held:
                _lift(mailbox, -LIFT)
            _hold_ports(held, hold=False)
        if all_held:
            self._kernel.look()

    @property
    def held_messages(self) -> int:
        """How many messages wait for those that are held."""
        return sum(len(mailbox.queue) for held in self._held.values() for mailbox in held)

    @property
    def holds_mail(self) -> bool:
        """Whether there are messages that will be handled once they are let go: a run has to wait for that."""
        return any(mailbox.queue and mailbox.cell.is_busy for held in self._held.values() for mailbox in held)

    def end(self) -> None:
        """All is as ever; does nothing if it is."""
        if not self.is_on:
            return
        self.is_on = self._kernel.is_emergency = False
        self.let_go()
        for cell in self._rates:
            if isinstance(cell.pace, Pace):
                cell.pace.change(None)
                cell.pace = None
                renew(cell)
        self._rates.clear()
        self._measured.forget_looks()
        for mailbox in _mailboxes(self._kernel.cells.values()):
            if not mailbox.stands_still:
                mailbox.overflow.go_on(mailbox)


def _mailboxes(cells: Iterable[Cell]) -> list[Mailbox]:
    """Those in which messages wait: of groups, the members', and the doors, where senders wait if nobody is there."""
    found: list[Mailbox] = []
    for cell in cells:
        found += cell.mailboxes.values()
        if isinstance(cell, GroupCell):
            found += [mailbox for member in cell.keeper.members() for mailbox in member.mailboxes.values()]
    return found


def _is_wired(mailbox: Mailbox) -> bool:
    return not mailbox.is_door and (mailbox.door.is_in_stream if isinstance(mailbox, MemberMailbox) else mailbox.is_in_stream)


def _lift(mailbox: Mailbox, messages: int) -> None:
    """Changes its capacity. One that spills takes all that comes anyway: what is on disk stays there."""
    if mailbox.settings.overflow is not OverflowStrategy.SPILL_TO_DISK:
        mailbox.capacity += messages
        mailbox.make_room()


def _hold_ports(mailboxes: Iterable[Mailbox], *, hold: bool) -> None:
    by_cell: dict[Cell, set[str]] = {}
    for mailbox in mailboxes:
        by_cell.setdefault(mailbox.cell, set()).add(mailbox.name)
    for cell, names in by_cell.items():
        if cell.gates is None:
            cell.gates, cell.stop = Gates(cell), True  # the rest of this batch has to pass them as well
        cell.gates.hold(frozenset(names) if hold else frozenset(), PROBES)
