"""What is done in an emergency: sources are slowed down, and mail for unhealthy components waits, so that all else can drain.

Nothing is refused, and nothing is dropped. A port that is held takes very many more messages than its capacity, and its actor
handles but a few of them: so those who send to it work off what they have, and it has less to do while it comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorkit._runtime.doors import MemberMailbox
from actorkit._runtime.gates import Hold
from actorkit._runtime.groups import GroupCell, actors_of
from actorkit._runtime.pace import Pace
from actorkit._runtime.source_rates import SourceRates, renew
from actorkit.policy.overflow import OverflowStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox

LIFT: Final = 100_000
"""What is added to the capacity of a held port. Beyond it senders wait as ever: an emergency of hours is not to fill the memory."""
PROBES: Final = 3
"""Messages that a held component handles all the same from poll to poll, as a half-open breaker lets through: they tell how it does."""


class Emergency:
    """The sources that are slowed down, and the components whose mail is held."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._measured = SourceRates(kernel)
        self._rates: dict[Cell, float] = {}  # the own rates of those that are slowed down
        self._held: dict[Cell, Hold] = {}
        self._lifted: dict[Mailbox, None] = {}
        self.is_on = False

    def look(self) -> None:
        """A poll: notes how fast sources are when nothing slows them down, and lets a few more messages pass of those that are held."""
        if not self.is_on:
            self._measured.note()
        for cell, hold in self._held.items():
            hold.probes = PROBES
            _put(cell, hold)

    def put_in_force(self, rate: float) -> None:
        """Sources go on at this share of their recent rate, new ones too, and nobody's patience with a full port runs out."""
        if not self.is_on:
            self.is_on = self._kernel.is_emergency = True
            for mailbox in _mailboxes(self._kernel.cells.values()):
                mailbox.overflow.stand_still(mailbox)
        before, self._rates = self._rates, {}
        for cell in self._measured.sources():
            own = before[cell] if cell in before else self._measured.measure(cell)
            if own is not None:
                self._rates[cell] = own
                _pace(cell, own * rate)

    def hold(self, cells: Iterable[Cell]) -> None:
        """Mail that comes to these by wires waits; those that are held already stay so."""
        for cell in cells:
            if cell not in self._held:
                self._held[cell] = hold = Hold(probes=PROBES)
                _put(cell, hold)
        for cell in [cell for cell in self._held if cell.gone]:
            del self._held[cell]
            _put(cell, None)  # somebody may start it again
        lifted: dict[Mailbox, None] = {}
        for cell, hold in self._held.items():  # which members and wires they have may have changed
            wired = [mailbox for mailbox in _mailboxes([cell]) if _is_wired(mailbox)]
            lifted.update(dict.fromkeys(wired))
            hold.ports = frozenset(mailbox.name for mailbox in wired)
        self._lift(lifted)

    def let_go(self) -> None:
        """Mail for all that are held is handled again."""
        held, self._held = self._held, {}
        self._lift({})
        for cell in held:
            _put(cell, None)
        if held:
            self._kernel.look()

    def _lift(self, mailboxes: dict[Mailbox, None]) -> None:
        """Has these take more than their capacity, and no others any more."""
        before, self._lifted = self._lifted, mailboxes
        for mailbox in mailboxes.keys() - before.keys():
            _change_capacity(mailbox, LIFT)
        for mailbox in before.keys() - mailboxes.keys():
            _change_capacity(mailbox, -LIFT)

    @property
    def held_messages(self) -> int:
        """How many messages wait for those that are held."""
        return sum(len(mailbox.queue) for mailbox in self._lifted)

    @property
    def has_held_work(self) -> bool:
        """Whether there are messages that will be handled once they are let go: a run has to wait for that."""
        return any(mailbox.queue and mailbox.cell.is_busy for mailbox in _mailboxes(self._held) if _is_wired(mailbox))

    def end(self) -> None:
        """All is as ever; does nothing if it is."""
        if not self.is_on:
            return
        self.is_on = self._kernel.is_emergency = False
        self.let_go()
        for cell in self._rates:
            _pace(cell, None)
        self._rates.clear()
        self._measured.forget_looks()
        for mailbox in _mailboxes(self._kernel.cells.values()):
            if not mailbox.stands_still:
                mailbox.overflow.go_on(mailbox)


def _mailboxes(cells: Iterable[Cell]) -> list[Mailbox]:
    """Those in which messages wait: of groups, the members', and the doors, where senders wait if nobody is there."""
    return [mailbox for cell in cells for each in dict.fromkeys((cell, *actors_of(cell))) for mailbox in each.mailboxes.values()]


def _is_wired(mailbox: Mailbox) -> bool:
    return not mailbox.is_door and (mailbox.door.is_in_stream if isinstance(mailbox, MemberMailbox) else mailbox.is_in_stream)


def _change_capacity(mailbox: Mailbox, messages: int) -> None:
    """One that spills takes all that comes anyway: what is on disk stays there."""
    if mailbox.settings.overflow is not OverflowStrategy.SPILL_TO_DISK:
        mailbox.capacity += messages
        mailbox.make_room()


def _put(cell: Cell, hold: Hold | None) -> None:
    """Has an actor, or a group with all its members, those to come as well, do as `hold` says."""
    if isinstance(cell, GroupCell):
        cell.hold = hold
    for each in actors_of(cell):
        each.gated().hold(hold)


def _pace(cell: Cell, rate: float | None) -> None:
    """Has a source go on at so many messages a second; None: at its own rate."""
    pace = cell.pace
    if isinstance(pace, Pace):
        pace.change(rate)
    if rate is None:
        cell.pace = None
        renew(cell)
    elif not isinstance(pace, Pace):
        cell.pace = Pace(rate)
        renew(cell)
