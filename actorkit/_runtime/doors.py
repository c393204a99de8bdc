"""The mailboxes of a group: a door for each of its ports, and behind it one mailbox for each member."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

from actorkit._runtime.ledger import Sums
from actorkit._runtime.mailbox import Mailbox
from actorkit._runtime.port_settings import PortSettings
from actorkit._runtime.waits import Envelope, handling, payload
from actorkit.errors import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.groups import GroupCell, MemberCell
    from actorkit._runtime.ports import InPort
    from actorkit._runtime.waits import Waiter
    from actorkit.messages import Exit
    from actorkit.policy.recovery import DeadLetterReason


class Keeper(Protocol):
    """Who has the members of a group, and knows which of them gets a message."""

    number: int
    asks_members: bool
    """Whether its members' `health` is asked for."""

    def members(self) -> Collection[MemberCell]:
        """All that exist."""
        ...

    def active(self) -> list[MemberCell]:
        """Those that messages go to."""
        ...

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """A function that picks the mailbox for a message to this door; the door itself, if the message has to wait there."""
        ...

    def pick_anyway(self, door: Door, message: Any) -> Mailbox:
        """The mailbox of a member, for a message that can't wait; the door itself, if the group has ended."""
        ...

    def another(self, door: Door, mailbox: Mailbox, message: Any) -> Mailbox:
        """A mailbox that would do as well as this one, or this one if there is none."""
        ...

    def exit(self, exit: Exit) -> None:
        """The group has ended, or has to."""
        ...


class Door(Mailbox):
    """One in-port of a group: passes each message on to the mailbox of a member."""

    __slots__ = ("absorbed", "group", "line", "pick")

    is_door = True

    def __init__(self, group: GroupCell, port: InPort[Any, Any, Any]) -> None:
        plain: InPort[Any, Any, Any] = copy(port)
        plain.settings = PortSettings(capacity=port.settings.capacity)  # nothing ever waits here
        super().__init__(group, plain)
        self.group = group
        self.limit = 0
        self.absorbed = Sums()  # what members that exist no more have dealt with
        self.line: dict[Waiter, None] | None = None  # where any member will do: the senders that wait for room, in order
        self.pick: Callable[[Any], Mailbox]  # once it is known where to find this door

    def _checked(self, message: Any) -> Mailbox:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        return self.pick(message)

    def receiver(self, message: Any) -> Mailbox:
        return self.pick(message)

    def send(self, message: Any) -> Awaitable[None]:
        mailbox = self._checked(message)
        return mailbox.send(message) if mailbox is not self else super().send(message)

    def send_again(self, envelope: Envelope) -> Awaitable[None]:
        mailbox = self._checked(envelope.message)
        return mailbox.send_again(envelope) if mailbox is not self else super().send_again(envelope)

    def send_nowait(self, message: Any) -> None:
        mailbox = self._checked(message)
        if mailbox is self:
            super().send_nowait(message)
        else:
            mailbox.send_nowait(message)

    def emit(self, emitter: Cell, message: Any) -> None:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        mailbox = self.group.keeper.pick_anyway(self, message)
        if mailbox is self:
            super().emit(emitter, message)
        else:
            mailbox.emit(emitter, message)

    def ask(self, envelope: Envelope) -> None:
        mailbox, asker = self._checked(envelope.message), handling.get()
        if mailbox is self:
            super().ask(envelope)
            return
        if asker is not None and mailbox.cell is asker:
            mailbox = self.group.keeper.another(self, mailbox, envelope.message)
            if mailbox.cell is asker:
                raise DeadlockError(
                    f"{asker.path} asks {self.path}, where it would be the one to answer: {asker.path} → {self.path} → {asker.path} would"
                    " wait for ever, as it handles one message at a time; call the method directly, or ask from a background task"
                )
        envelope.port = mailbox  # who asks waits for this member
        mailbox.ask(envelope)

    def admit(self, message: Any) -> None:
        mailbox = self.group.keeper.pick_anyway(self, payload(message))
        if mailbox is self:
            super().admit(message)
        else:
            mailbox.admit(message)

    @property
    def load(self) -> int:
        return min((each.mailbox(self.name).load for each in self.group.keeper.active()), default=0)

    def let_in(self) -> None:
        """Whoever has waited longest at the door waits at a member from now on, if need be above the number that may be awake."""
        waiter = self.room.popleft()
        self.overflow.waits_no_more(self, waiter)
        self.group.keeper.pick_anyway(self, payload(waiter.item)).take_over(waiter)

    # Where any member will do, senders wait in one line: whichever member has room first takes the message of the first of
    # them. Each waits at a mailbox as well, the one that was picked, by whose clock its patience runs. As long as there is a
    # line, no member takes a message past it: their `limit` is 0.

    def stand_in_line(self, waiter: Waiter) -> None:
        """A sender begins to wait, or goes on with that at another member: then it keeps its place."""
        if self.line is not None:
            self.line.setdefault(waiter)
            for mailbox in self._mailboxes():
                mailbox.limit = 0

    def leave_line(self, waiter: Waiter) -> None:
        """A sender's wait is over, whatever ended it."""
        if self.line and waiter in self.line:
            del self.line[waiter]
            if not self.line:
                for mailbox in self._mailboxes():
                    mailbox.make_room()

    def _mailboxes(self) -> list[Mailbox]:
        return [each.mailboxes[self.name] for each in self.group.keeper.members() if self.name in each.mailboxes]

    def absorb(self, mailbox: Mailbox) -> None:
        """A member is no more: its numbers stay."""
        self.absorbed.add(mailbox.numbers(), mailbox.reasons())

    def _sums(self) -> Sums:
        sums = Sums()
        sums.add(super().numbers(), super().reasons())
        sums.add(self.absorbed.numbers, self.absorbed.reasons)
        for mailbox in self._mailboxes():
            sums.add(mailbox.numbers(), mailbox.reasons())
        return sums

    def numbers(self) -> tuple[int, ...]:
        return self._sums().numbers

    def reasons(self) -> tuple[Mapping[str, int] | None, ...]:
        return self._sums().reasons


class MemberMailbox(Mailbox):
    """One port of one member. Messages may move to other members."""

    __slots__ = ("_moved", "door")

    cell: MemberCell

    def __init__(self, member: MemberCell, port: InPort[Any, Any, Any], door: Door) -> None:
        self.door = door
        self._moved = 0  # accepted here, and then handed to another member
        super().__init__(member, port)

    @property
    def address(self) -> str:
        return self.door.path

    def numbers(self) -> tuple[int, ...]:
        accepted, *others = super().numbers()
        return accepted - self._moved, *others

    def put(self, item: Any) -> None:
        if type(item) is Envelope:
            item.port = self  # whoever waits for its answer waits for this member from now on
        super().put(item)

    def _offer(self, item: Any) -> bool:
        if self.cell.passive:  # somebody has kept the address of one that sleeps: it may be awake again, elsewhere
            return self._awake(item)._offer(item)
        return super()._offer(item)

    def _wait_for_room(self, waiter: Waiter) -> None:
        if self.cell.passive:
            self._awake(waiter.item)._wait_for_room(waiter)
        else:
            waiter.port = self
            super()._wait_for_room(waiter)
            self.door.stand_in_line(waiter)

    def _admit_waiting(self, waiter: Waiter) -> Any:
        self.door.leave_line(waiter)
        return super()._admit_waiting(waiter)

    def leave_room(self, waiter: Waiter) -> None:
        self.door.leave_line(waiter)
        super().leave_room(waiter)

    def make_room(self) -> None:
        line = self.door.line
        if line:
            self.overflow.refill(self)
            while line and self._takes_more:
                waiter = next(iter(line))
                at = waiter.mailbox
                if at is None:
                    raise AssertionError(f"{self.path}: somebody in line does not wait")
                at.room.remove(waiter)
                self.put(at._admit_waiting(waiter))
        super().make_room()
        if line:
            self.limit = 0

    @property
    def _takes_more(self) -> bool:
        if len(self.queue) >= self.capacity or self.overflow.spilled or self.cell.refuses:
            return False
        return self.cell in self.door.group.keeper.active()

    @property
    def servers(self) -> tuple[Cell, ...]:
        return (tuple(self.door.group.keeper.active()) if self.door.line is not None else ()) or (self.cell,)

    def _awake(self, item: Any) -> Mailbox:
        return self.door.group.keeper.pick_anyway(self.door, payload(item))

    def dead_letter_arrival(self, item: Any, reason: DeadLetterReason) -> None:
        if self.cell.gone and self.cell not in self.door.group.keeper.members():
            self.door.dead_letter_arrival(item, reason)
        else:
            self.accepted += 1
            self.cell.recovery.dead_letter(self, item, reason)
            self.cell.kernel.note_arrival(self.door.cell)

    def move(self, item: Any, to: Mailbox) -> None:
        """A message that was taken out of the queue here is queued there."""
        self._moved += 1
        to.put(item)

    def move_waiting(self, owner: Callable[[Mailbox, Any], Mailbox]) -> None:
        """Senders that wait for room here wait there instead, if their message is another's."""
        for waiter in list(self.room):
            to = owner(self, payload(waiter.item))
            if to is not self:
                self.room.remove(waiter)
                self.overflow.waits_no_more(self, waiter)
                to.take_over(waiter)
        self.make_room()
