"""What one actor has set aside: messages that it stashed, and the mail of ports that it paused. All of it counts as queued.

It belongs to one life of the actor: when that ends, all comes back to the head of its queues, in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actorkit._runtime.attentive import AttentiveQueue
from actorkit._runtime.states import CLOSED
from actorkit._runtime.waits import Envelope, handling
from actorkit.errors import StashError

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox


class Aside:
    """Made when an actor stashes or pauses for the first time.

    A stashed message stays in hand, in flight, until its handler has returned. Only then is it put aside: a handler that
    fails has not stashed anything, and its message meets the recovery policy as any other.

    The mail of a paused port stays in its queue. Its entries in `cell.arrivals` stay as well, until their turn comes; then
    they go to `_shelf` (see `AttentiveQueue`), so that what is still in `arrivals` came later. So do those of a port that an
    emergency holds (see `Gates`).
    """

    __slots__ = ("_cell", "_shelf", "_stashed", "marked")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._stashed: deque[tuple[Mailbox, Envelope]] = deque()
        self._shelf: list[Mailbox] = []
        self.marked: tuple[Mailbox, Envelope] | None = None  # the message in hand, if it is to be stashed

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set aside."""
        return not (self._stashed or self._shelf)

    @property
    def shelved(self) -> int:
        """How many messages of ports that are paused, or held, have had their turn."""
        return len(self._shelf)

    @property
    def stash_now(self) -> list[tuple[Mailbox, Envelope]]:
        """What is stashed, in order."""
        return list(self._stashed)

    @property
    def shelf(self) -> list[Mailbox]:
        """Their entries, in order."""
        return list(self._shelf)

    def stashed(self, mailbox: Mailbox) -> int:
        """How many messages of this port are stashed."""
        return sum(port is mailbox for port, _ in self._stashed)

    # Stashing

    def stash(self) -> None:
        """Marks the message in hand: see `Actor.stash`."""
        cell, port = self._cell, self._cell.port
        if port is None or handling.get() is not cell or cell.state == CLOSED:
            raise StashError(f"{cell.path}.stash: there is no message in hand; call self.stash() in a handler")
        if port.settings.batch is not None:
            raise StashError(f"{port.path}: stash: a batch can't be stashed; make it a port of single messages, or pause it")
        if self.marked is not None:
            raise StashError(f"{port.path}: stash: the message in hand is stashed already; call self.stash() once, and return")
        envelope = cell.recovery.envelope_in_hand(port)
        envelope.kept = True  # no overflow strategy may drop it when it is back
        self.marked = (port, envelope)
        cell.stop = True

    def step_done(self) -> None:
        """The message in hand has been dealt with: if it was marked, it is put aside now. (It was counted as processed an instant ago.)"""
        if self.marked is not None:
            self._stashed.append(self.marked)
            self.marked[0].processed -= 1
            self.marked = None

    def unmark(self) -> None:
        """The handler that stashed its message has failed, or was cut short."""
        self.marked = None

    def unstash_all(self) -> None:
        """All that is stashed goes back, before everything else: see `Actor.unstash_all`."""
        cell = self._cell
        if cell.port is not None and cell.port.settings.batch is None:
            _ = cell.recovery.envelope_in_hand(cell.port)  # while its identity can still be told from its place in the queue
        while self._stashed:
            port, envelope = self._stashed.pop()
            port.put_back(envelope)
        cell.look_again()

    # Pausing

    def pause(self, mailbox: Mailbox) -> None:
        """Leaves the mail of this port alone: see `Actor.pause`."""
        cell, queue = self._cell, mailbox.queue
        if not isinstance(queue, AttentiveQueue):
            cell.spread()
            queue = mailbox.queue = AttentiveQueue(mailbox, queue)
        if queue.shelf is None:
            queue.shelf = self._shelf
            mailbox.overflow.stand_still(mailbox)
            if cell.port is None:
                cell.recovery.go_on()  # where the message at the head is held by a breaker or a throttle, others need not wait

    def resume(self, mailbox: Mailbox) -> None:
        """Takes up the mail of this port again: see `Actor.resume`."""
        queue: deque[Any] = mailbox.queue
        if isinstance(queue, AttentiveQueue) and queue.shelf is not None:
            queue.shelf = None
            if not mailbox.settings.is_attentive:
                mailbox.queue = deque(queue)
            entries = [each for each in self._shelf if each is mailbox]
            self._shelf[:] = [each for each in self._shelf if each is not mailbox]
            self._cell.arrivals.extendleft(entries)
            if not mailbox.stands_still:
                mailbox.overflow.go_on(mailbox)
            self._cell.look_again()

    def shelve(self, mailbox: Mailbox) -> None:
        """The next message of this port has had its turn, and waits: see `Gates.hold`."""
        self._shelf.append(mailbox)

    def take_off(self, mailbox: Mailbox) -> bool:
        """A message of this port has gone: takes its entry off the shelf. Says whether one was there."""
        if mailbox in self._shelf:
            self._shelf.remove(mailbox)  # which of its entries goes makes no difference to the order in this port
            return True
        return False

    def unshelve(self) -> None:
        """The entries of ports that are paused, or held, are back in `arrivals`, at its head, until their turn comes again."""
        self._cell.arrivals.extendleft(reversed(self._shelf))
        self._shelf.clear()

    def resume_all(self) -> None:
        """A life of the actor has ended: with it, its pauses."""
        self.unmark()
        if self._shelf:
            self.unshelve()
        for mailbox in self._cell.mailboxes.values():
            self.resume(mailbox)
