"""The queue of a port that needs a look at its messages: of batches, with an `idle_timeout` or a `deadline`, or paused.

All others have a plain deque, and don't pay for that. To hand out no message, an attentive queue hands out NOTHING.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import Envelope
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.mailbox import Mailbox

NOTHING: Final = Envelope.__new__(Envelope)  # nothing of it is ever looked at but this:
"""What a queue hands out whose next message is not to be handled now, or not any more."""
NOTHING.gone = True


class AttentiveQueue(deque[Any]):
    """A queue that notes when the last message came or was taken out, and looks at each that is taken out.

    Attributes:
        heard_at: when the last message came, or was taken out: what waits in the port is not silence.
        arrived: at a batch port, when each message in the queue came; long ago for one that is back to be handled again.
        shelf: while the port is paused: where the entries of `arrivals` go whose turn has come.
    """

    def __init__(self, mailbox: Mailbox, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self.arrived: deque[float] | None = None if mailbox.settings.batch is None else deque([-inf] * len(self))
        self._mailbox = mailbox
        self._expiry = None if mailbox.settings.deadline is None else Expiry(mailbox, mailbox.settings.deadline)
        self.heard_at: float = trio.current_time()
        self.shelf: list[Mailbox] | None = None

    @property
    def waits_since(self) -> float:
        """When the next message came."""
        return self.arrived[0] if self.arrived else self.heard_at

    def append(self, item: Any, /) -> None:
        """Queues a message."""
        self.heard_at = trio.current_time()
        if self.arrived is not None:
            self.arrived.append(self.heard_at)
        super().append(item if self._expiry is None else self._expiry.stamp(item, self.heard_at))

    def appendleft(self, item: Any, /) -> None:
        """Puts a message back."""
        if self.arrived is not None:
            self.arrived.appendleft(-inf)
        super().appendleft(item)

    def clear(self) -> None:
        """Forgets all messages."""
        if self.arrived is not None:
            self.arrived.clear()
        super().clear()

    def popleft(self) -> Any:
        """Takes out the next message; NOTHING, if it is not to be handled now."""
        if self.shelf is not None:
            self.shelf.append(self._mailbox)
            return NOTHING
        self.heard_at = trio.current_time()
        item = super().popleft()
        if self.arrived is not None:
            self.arrived.popleft()
        return item if self._expiry is None else self._expiry.look(item)


class Expiry:
    """The `deadline` of one port: messages are stamped when they are queued, and given up when they have waited too long.

    Their times come in the order of the queue, but for those that were handed over by another member of a group, which
    keep the time that they have. One alarm at a time will do; it keeps no run alive. What was handled once, and waits to
    be handled again, does not expire.
    """

    __slots__ = ("_alarm", "_in_order", "_mailbox", "_seconds")

    def __init__(self, mailbox: Mailbox, seconds: float) -> None:
        self._mailbox = mailbox
        self._seconds = seconds
        self._alarm: Alarm | None = None
        self._in_order = True  # whether their times come in the order of the queue

    def stamp(self, item: Any, now: float) -> Envelope:
        """The message, with the time of its end."""
        envelope = item if type(item) is Envelope else Envelope(self._mailbox.dispatcher, item, is_ask=False)
        if hasattr(envelope, "expires"):
            self._in_order = False
        else:
            envelope.expires = now + self._seconds
        self._wait_until(envelope.expires)
        return envelope

    def look(self, envelope: Envelope) -> Envelope:
        """What was taken out to be handled: itself, or NOTHING if it is too late for that."""
        cell = self._mailbox.cell
        if envelope.expires <= cell.kernel.dispatcher.time() and not envelope.gone:
            cell.recovery.dead_letter(self._mailbox, envelope, DeadLetterReason.EXPIRED)
            return NOTHING
        envelope.expires = inf
        return envelope

    def _wait_until(self, time: float) -> None:
        """Has what expires then given up, too."""
        if time >= (inf if self._alarm is None else self._alarm.deadline):
            return
        kernel = self._mailbox.cell.kernel
        if self._alarm is not None:
            kernel.repeating -= kernel.timers.remove(self._alarm)
        self._alarm = Alarm(time, self._time_is_up)
        kernel.timers.add(self._alarm)
        kernel.repeating += 1

    def _time_is_up(self) -> None:
        """Gives up what has expired, even if its turn is far off, so that nobody waits for its answer in vain."""
        mailbox, cell = self._mailbox, self._mailbox.cell
        kernel, now, place = cell.kernel, cell.kernel.now(), 0
        kernel.repeating -= 1
        self._alarm = None
        in_order, self._in_order, last = self._in_order, True, now
        while place < len(mailbox.queue):
            envelope: Envelope = mailbox.queue[place]
            if envelope.expires > now:
                self._wait_until(envelope.expires)
                if envelope.expires < inf:
                    if in_order:
                        break
                    self._in_order = self._in_order and last <= envelope.expires
                    last = envelope.expires
                place += 1
            elif envelope.gone:
                mailbox.take_out(place)
                mailbox.skip("asker_gone")
            else:
                mailbox.take_out(place)
                cell.recovery.dead_letter(mailbox, envelope, DeadLetterReason.EXPIRED)
        mailbox.make_room()
        cell.look_again()
        kernel.look()
