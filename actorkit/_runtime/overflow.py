"""What a full port does: one class per strategy of `policy/overflow.py`. A mailbox asks it only when there is no room.

What is always admitted (timers, notices, results, what an actor sends to itself) never comes here, and is never dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import Envelope
from actorkit.events import MessagesDropped, SpillFailed
from actorkit.policy.overflow import OverflowStrategy
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.waits import Waiter


class Block:
    """BLOCK without a time limit: senders wait for room. The base of the others: what they do not change is as here."""

    def limit(self, mailbox: Mailbox) -> int:
        """How many messages may wait in the port before it asks."""
        return mailbox.capacity

    def takes_at_once(self, mailbox: Mailbox) -> bool:
        """Whether `take` would deal with a message."""
        return False

    def take(self, mailbox: Mailbox, item: Any) -> bool:
        """Deals with a message that there is no room for; False: its sender has to wait."""
        return False

    def keep(self, mailbox: Mailbox, item: Any) -> Any:
        """How a message is queued that must not be dropped."""
        return item

    def waits(self, mailbox: Mailbox, waiter: Waiter) -> None:
        """A sender begins to wait."""

    def waits_no_more(self, mailbox: Mailbox, waiter: Waiter) -> None:
        """A sender's wait is over, whatever ended it."""

    def stand_still(self, mailbox: Mailbox) -> None:
        """No message is taken for a while: no sender's patience is to suffer from that."""

    def go_on(self, mailbox: Mailbox) -> None:
        """Messages are taken again, unless the port is paused."""

    def refill(self, mailbox: Mailbox) -> None:
        """There may be room: brings back what waits elsewhere. It comes before any sender that waits."""

    @property
    def spilled(self) -> int:
        """How many messages wait on disk."""
        return 0

    def close(self, mailbox: Mailbox, reason: DeadLetterReason) -> None:
        """The actor is gone for good."""


class BlockFor(Block):
    """BLOCK with a time limit: a message that waited so long becomes a dead letter, and its sender goes on."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def waits(self, mailbox: Mailbox, waiter: Waiter) -> None:
        waiter.patience = self._timeout
        if not mailbox.stands_still:
            self._start(mailbox, waiter)

    def waits_no_more(self, mailbox: Mailbox, waiter: Waiter) -> None:
        if waiter.clock is not None:
            kernel = mailbox.cell.kernel
            kernel.timers.remove(waiter.clock)
            waiter.patience, waiter.clock = max(0.0, waiter.clock.deadline - kernel.now()), None

    def stand_still(self, mailbox: Mailbox) -> None:
        for waiter in mailbox.room:
            self.waits_no_more(mailbox, waiter)

    def go_on(self, mailbox: Mailbox) -> None:
        for waiter in mailbox.room if not mailbox.stands_still else ():
            self._start(mailbox, waiter)

    def _start(self, mailbox: Mailbox, waiter: Waiter) -> None:
        kernel = mailbox.cell.kernel
        waiter.clock = Alarm(kernel.now() + waiter.patience, lambda: mailbox.give_up_waiting(waiter))
        kernel.timers.add(waiter.clock)


class DropNewest(Block):
    """DROP_NEWEST: the message becomes a dead letter."""

    def takes_at_once(self, mailbox: Mailbox) -> bool:
        return True

    def take(self, mailbox: Mailbox, item: Any) -> bool:
        mailbox.dead_letter_arrival(item, DeadLetterReason.OVERFLOW)
        return True


class DropOldest(Block):
    """DROP_OLDEST: the oldest message makes room. Not one that is always admitted, or that was tried already."""

    def limit(self, mailbox: Mailbox) -> int:
        return 0  # what an actor sends to itself has to be told from the rest, even when there is room

    def takes_at_once(self, mailbox: Mailbox) -> bool:
        return True

    def keep(self, mailbox: Mailbox, item: Any) -> Envelope:
        envelope = item if type(item) is Envelope else Envelope(mailbox.dispatcher, item, is_ask=False)
        envelope.kept = True
        return envelope

    def take(self, mailbox: Mailbox, item: Any) -> bool:
        if len(mailbox.queue) < mailbox.capacity:
            mailbox.put(item)
            return True
        place = next((n for n, old in enumerate(mailbox.queue) if type(old) is not Envelope or not (old.kept or old.attempts)), None)
        victim = item if place is None else mailbox.take_out(place)
        mailbox.accepted += 1
        if place is not None:
            mailbox.queue_up(item)
        mailbox.drop(OverflowStrategy.DROP_OLDEST.value)
        if type(victim) is Envelope:
            victim.fail(f"{mailbox.path} will not answer: it was full, and this was its oldest request")
            if victim.letter is not None:
                mailbox.cell.kernel.dead_letters.keep(victim.letter)
        if mailbox.dropped & (mailbox.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th, … time
            mailbox.cell.kernel.events.publish(MessagesDropped(mailbox.path, mailbox.dropped))
        return True


class Popped(NamedTuple):
    """What comes out of a spill: a message, or what is left of one, or of several, that can't be read any more."""

    message: Any
    lost: DeadLetterReason | None = None
    messages: int = 1


class Spill(Protocol):
    """Messages on disk, in order: see `storage/spill.py`."""

    def append(self, message: Any) -> bool:
        """Keeps a message; False when the budget of bytes is spent, or it cannot be encoded.

        Raises:
            OSError: the disk is full, or fails. Nothing was kept.
        """
        ...

    def popleft(self) -> Popped:
        """The oldest message, out of the file."""
        ...

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Lets go of the files, which stay if they were to."""
        ...


RETRY_AFTER: Final = 1.0
"""Seconds after which files that could not be read are tried again."""


class SpillToDisk(Block):
    """SPILL_TO_DISK: messages wait on disk; once one does, all that come later queue behind it.

    A request (its asker waits in this process) and what cannot be written wait for room instead.
    """

    def __init__(self, spill: Spill, *, lasting: bool) -> None:
        self._spill = spill
        self._lasting = lasting  # whether the files outlive the system
        self._retry: Alarm | None = None

    @property
    def spilled(self) -> int:
        return len(self._spill)

    def takes_at_once(self, mailbox: Mailbox) -> bool:
        return not mailbox.room

    def take(self, mailbox: Mailbox, item: Any) -> bool:
        if mailbox.room or type(item) is Envelope:
            return False
        try:
            taken = self._spill.append(item)
        except OSError as error:
            mailbox.cell.kernel.events.publish(SpillFailed(mailbox.path, error))
            return False
        if taken:
            mailbox.accepted += 1
            mailbox.limit = 0  # what comes later queues behind it
        return taken

    def refill(self, mailbox: Mailbox) -> None:
        while len(self._spill) and len(mailbox.queue) < mailbox.capacity:
            try:
                popped = self._spill.popleft()
            except OSError as error:  # the message is still there
                mailbox.cell.kernel.events.publish(SpillFailed(mailbox.path, error))
                self._try_again(mailbox)
                return
            if popped.lost is None:
                mailbox.queue_up(popped.message)
            else:
                self._give_up(mailbox, popped, popped.lost)

    def _try_again(self, mailbox: Mailbox) -> None:
        if self._retry is None:
            kernel = mailbox.cell.kernel
            self._retry = Alarm(kernel.now() + RETRY_AFTER, lambda: self._refill_again(mailbox))
            kernel.timers.add(self._retry)

    def _refill_again(self, mailbox: Mailbox) -> None:
        self._retry = None
        mailbox.make_room()

    def close(self, mailbox: Mailbox, reason: DeadLetterReason) -> None:
        if self._retry is not None:
            mailbox.cell.kernel.timers.remove(self._retry)
        if not (self._lasting and reason is DeadLetterReason.SHUTDOWN):
            self._give_up_all(mailbox, reason)
        self._spill.close()

    def _give_up_all(self, mailbox: Mailbox, reason: DeadLetterReason) -> None:
        while len(self._spill):
            try:
                popped = self._spill.popleft()
            except OSError as error:  # they stay where they are, and count as spilled
                mailbox.cell.kernel.events.publish(SpillFailed(mailbox.path, error))
                return
            self._give_up(mailbox, popped, popped.lost or reason)

    def _give_up(self, mailbox: Mailbox, popped: Popped, reason: DeadLetterReason) -> None:
        for _ in range(popped.messages):
            mailbox.cell.recovery.dead_letter(mailbox, popped.message, reason)


BLOCK, DROP_OLDEST, DROP_NEWEST = Block(), DropOldest(), DropNewest()


def overflow_of(mailbox: Mailbox) -> Block:
    """The strategy that this port was declared with."""
    settings = mailbox.settings
    if settings.overflow is OverflowStrategy.BLOCK:
        return BLOCK if settings.block_timeout is None else BlockFor(settings.block_timeout)
    if settings.overflow is OverflowStrategy.DROP_OLDEST:
        return DROP_OLDEST
    if settings.overflow is OverflowStrategy.DROP_NEWEST:
        return DROP_NEWEST
    return mailbox.cell.kernel.spill_folder.open(mailbox)
