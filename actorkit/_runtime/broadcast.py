"""One message for several receivers: all of them get it or none, also when its sender is cancelled while it waits.

Each receiver that has room gets its copy at once; at each of the others a copy waits at the door, so nobody is held up by
anybody else. The sender waits until all are in. If it is cancelled before any is, all are withdrawn. Once one is, the message
is *out*: the copies stay at their doors, and the cancelled send returns as if it had not been cancelled (the sender meets its
cancellation at its next wait). Else a source that starts again where it was would send to some receivers twice.

A sender that left copies behind so sends to nobody before they are in: it never has more than one at a door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio.lowlevel import Abort, enable_ki_protection, reschedule

from actorkit._runtime.waits import DONE, Waiter, staging
from actorkit._runtime.wording import shown
from actorkit.errors import MailboxFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from actorkit._runtime.dispatcher import Dispatcher
    from actorkit._runtime.mailbox import Mailbox


class Voice:
    """One sender of broadcasts: an out-port, or somebody who publishes to a topic."""

    __slots__ = ("_behind", "_dispatcher", "_later")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._behind = 0  # messages of which copies were left at doors
        self._later: list[Waiter] = []  # who waits until those are in

    @enable_ki_protection
    def send(self, message: Any, receivers: list[Mailbox]) -> Awaitable[None]:
        """Sends to all of them; await what it returns."""
        dispatcher = self._dispatcher
        if self._behind or dispatcher.budget <= 0:
            return self._send_later(message, receivers)
        dispatcher.budget -= max(1, len(receivers))
        if not all(each.has_room and not each.is_durable for each in receivers):
            stage = staging.get()
            catching_up = None if stage is None else stage.slow_down(receivers)
            if catching_up is not None:
                return self._send_after(catching_up, message, receivers)
            broadcast = Broadcast(dispatcher, self)
            for each in receivers:
                broadcast.give(each, message)
            return broadcast if broadcast.copies else DONE
        for each in receivers:
            each.put(message)
        return DONE

    async def _send_later(self, message: Any, receivers: list[Mailbox]) -> None:
        while self._behind:
            waiter = _Later(self._dispatcher, None)
            self._later.append(waiter)
            await waiter
        if self._dispatcher.budget <= 0:
            await self._dispatcher.breathe()  # before anything is accepted: see Mailbox
        await self.send(message, receivers)

    async def _send_after(self, catching_up: Awaitable[None], message: Any, receivers: list[Mailbox]) -> None:
        await catching_up
        await self.send(message, receivers)

    def left_behind(self) -> None:
        """The sender has gone, and its copies stay at their doors."""
        self._behind += 1

    def caught_up(self) -> None:
        """They are in."""
        self._behind -= 1
        if not self._behind:
            later, self._later = self._later, []
            for waiter in later:
                waiter.wake()


class _Later(Waiter):
    """Waits until the copies of an earlier message are in. Whoever keeps those waiting is not looked for."""

    __slots__ = ()

    @property
    def may_last(self) -> bool:
        return False

    @property
    def parts(self) -> Sequence[Waiter]:
        return ()


class Broadcast(Waiter):
    """A message on its way to several receivers, not all of whom have room. `is_out`: one of them has it."""

    __slots__ = ("_missing", "_voice", "copies")

    def __init__(self, dispatcher: Dispatcher, voice: Voice) -> None:
        super().__init__(dispatcher, None)
        self.copies: list[Copy] = []
        self.is_out = False
        self._voice = voice
        self._missing = 0

    @property
    def may_last(self) -> bool:
        return any(part.may_last for part in self.parts)

    @property
    def parts(self) -> Sequence[Waiter]:
        return [part for copy in self.copies if not copy.done for part in copy.parts]

    def give(self, mailbox: Mailbox, message: Any) -> None:
        """One more receiver: it takes the message, or a copy waits at its door."""
        copy = Copy(self, message)
        if mailbox.knock(copy):
            self.is_out = True
        else:
            copy.is_waited_for = True
            self.copies.append(copy)
            self._missing += 1

    def one_more_is_in(self) -> None:
        """A copy was accepted."""
        self.is_out = True
        self._missing -= 1
        if not self._missing and self.gone:
            self._voice.caught_up()
        elif not self._missing:
            self.wake()

    def abandon(self) -> None:
        """The sender has gone: see the head of this module."""
        self.gone = True
        if not self.is_out:
            for copy in self.copies:
                copy.abandon()
        elif self._missing:
            self._voice.left_behind()

    def _abort(self, _: object) -> Abort:
        task, self.task = self.task, None
        self.abandon()
        if not self.is_out or task is None:
            return Abort.SUCCEEDED
        reschedule(task)  # the send has happened, so it returns
        return Abort.FAILED


class Copy(Waiter):
    """A message at the door of one of its receivers."""

    __slots__ = ("_broadcast", "is_waited_for")

    def __init__(self, broadcast: Broadcast, message: Any) -> None:
        super().__init__(broadcast.dispatcher, message)
        self._broadcast = broadcast
        self.is_waited_for = False  # a durable port may have it in at once

    @property
    def is_promised(self) -> bool:
        """Whether another receiver has the message already, so that this one is to get it, come what may."""
        return self._broadcast.is_out

    @property
    def is_left_behind(self) -> bool:
        """Whether its sender has gone."""
        return self._broadcast.gone

    def wake(self, value: Any = None, error: BaseException | None = None) -> None:
        """It is in."""
        if not self.done:
            self.done = True
            if self.is_waited_for:
                self._broadcast.one_more_is_in()


def send_to_all_nowait(path: str, message: Any, receivers: list[Mailbox]) -> None:
    """Sends to all of them, or raises `MailboxFull`, and nobody gets it."""
    full = [each.path for each in receivers if not each.takes_at_once]
    if full:
        raise MailboxFull(f"{path}: {', '.join(full)} has no room: {shown(message)} was not accepted; await send() to wait for room")
    for each in receivers:
        each.send_nowait(message)
