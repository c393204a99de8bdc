"""One address for several actors: the doors that messages go through, and the cells of the group and of its members.

A message sent to a group is accepted by the mailbox of the member that is to handle it: its *door*, the mailbox that the
group shows for each port, only picks that one and calls the same method there. So order, capacity, overflow, asks and
the books work as for any actor, and a message costs one call more. A door's numbers are the sum over its members, so the
ledger has one entry for each port of the group; a message that moves from one member to another is no event there.

Members hang on no wire themselves: what is wired is the group's port. They share the group's outgoing wires, and say the
last words of their streams together, when all of them have worked off what came.
"""

from __future__ import annotations

import sys
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve

from actorkit._runtime.cell import Cell
from actorkit._runtime.incarnation import Incarnation
from actorkit._runtime.ledger import PortCounts, total
from actorkit._runtime.mailbox import Mailbox
from actorkit._runtime.outlets import Outlet
from actorkit._runtime.ports import PortSettings
from actorkit._runtime.states import CLOSED
from actorkit._runtime.waits import Envelope, handling
from actorkit.errors import DeadlockError
from actorkit.events import ActorDrained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.ports import InPort
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.supervisor import Supervisor
    from actorkit.policy.recovery import DeadLetterReason


class Keeper(Protocol):
    """Who has the members of a group, and knows which of them gets a message."""

    number: int

    def members(self) -> Collection[MemberCell]:
        """All that exist."""
        ...

    def active(self) -> list[MemberCell]:
        """Those that messages go to."""
        ...

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """A function that picks the mailbox for a message to this door."""
        ...

    def another(self, door: Door, mailbox: Mailbox, message: Any) -> Mailbox:
        """A mailbox that would do as well as this one, or this one if there is none."""
        ...

    def has_drained(self) -> None:
        """The streams of the group have ended, and it is not needed any more."""
        ...


class Door(Mailbox):
    """One in-port of a group: passes each message on to the mailbox of a member."""

    __slots__ = ("absorbed", "group", "pick")

    is_door = True

    def __init__(self, group: GroupCell, port: InPort[Any, Any, Any]) -> None:
        plain: InPort[Any, Any, Any] = copy(port)
        plain.settings = PortSettings(capacity=port.settings.capacity)  # nothing ever waits here
        super().__init__(group, plain)
        self.group = group
        self.limit = 0
        self.absorbed = PortCounts()  # what members that exist no more have dealt with
        self.pick: Callable[[Any], Mailbox]  # once it is known where to find this door

    def _checked(self, message: Any) -> Mailbox:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        return self.pick(message)

    def receiver(self, message: Any) -> Mailbox:
        return self.pick(message)

    def send(self, message: Any) -> Awaitable[None]:
        return self._checked(message).send(message)

    def send_again(self, envelope: Envelope) -> Awaitable[None]:
        return self._checked(envelope.message).send_again(envelope)

    def send_nowait(self, message: Any) -> None:
        self._checked(message).send_nowait(message)

    def emit(self, message: Any, emitter: Cell) -> None:
        self._checked(message).emit(message, emitter)

    def ask(self, envelope: Envelope) -> None:
        mailbox, asker = self._checked(envelope.message), handling.get()
        if asker is not None and mailbox.cell is asker:
            mailbox = self.group.keeper.another(self, mailbox, envelope.message)
            if mailbox.cell is asker:
                raise DeadlockError(
                    f"{asker.path} asks {self.path}, where it would be the one to answer: {asker.path} → {self.path} → {asker.path} would"
                    " wait for ever, as it handles one message at a time; call the method directly, or ask from a background task"
                )
        mailbox.ask(envelope)

    def admit(self, message: Any) -> None:
        self.pick(message.message if type(message) is Envelope else message).admit(message)

    @property
    def load(self) -> int:
        return min((each.mailbox(self.name).load for each in self.group.keeper.active()), default=0)

    def absorb(self, counts: PortCounts) -> None:
        """A member is no more: its numbers stay."""
        self.absorbed = total([self.absorbed, counts])

    def counts(self) -> PortCounts:
        of_members = [each.mailboxes[self.name].counts() for each in self.group.keeper.members() if self.name in each.mailboxes]
        return total([super().counts(), self.absorbed, *of_members])


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

    def counts(self) -> PortCounts:
        counts = super().counts()
        return evolve(counts, accepted=counts.accepted - self._moved)

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
            to = owner(self, _payload(waiter.item))
            if to is not self:
                self.room.remove(waiter)
                self.overflow.waits_no_more(self, waiter)
                to.take_over(waiter)
        self.make_room()


def _payload(item: Any) -> Any:
    return item.message if type(item) is Envelope else item


class MemberCell(Cell):
    """One member of a group."""

    __slots__ = ("group", "meanwhile")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor, group: GroupCell) -> None:
        super().__init__(kernel, spec, path, supervisor)
        self.group = group
        self.meanwhile: Callable[[], None] | None = None  # to be called when no message is in hand

    def mailbox(self, name: str) -> Mailbox:
        door = self.group.door(name)  # a new one asks each member for its mailbox
        mailbox = self.mailboxes.get(name)
        if mailbox is None:
            port = self.in_ports[name]
            mailbox = self.mailboxes[name] = MemberMailbox(self, port, door)
            if self.life is not None:
                mailbox.handler = port.bound_to(self.life.actor)
        return mailbox

    def outlet(self, name: str) -> Outlet:
        outlet = self.outlets.get(name)
        if outlet is None:
            shared = self.group.outlet(name)
            outlet = super().outlet(name)
            outlet.lines, outlet.targets = shared.lines, shared.targets
        return outlet

    def close_wires(self) -> None:
        """They are the group's."""

    @property
    def ready_to_drain(self) -> bool:
        return self.group.ready_to_drain

    @property
    def in_streams(self) -> bool:
        return self.group.in_streams

    def worked_off(self, life: Incarnation) -> None:
        self.group.drain_together()

    def between_messages(self, do: Callable[[], None]) -> None:
        """Calls `do` as soon as no message is in hand."""
        if self.port is None:
            do()
        else:
            self.meanwhile, self.stop = do, True

    def settle(self) -> None:
        if self.meanwhile is not None and self.port is None:
            do, self.meanwhile = self.meanwhile, None
            do()
        super().settle()

    def fetch(self) -> bool:
        """Reads back what waits on disk, whatever the capacity; says whether all could be read."""
        for mailbox in self.mailboxes.values():
            mailbox.capacity, capacity = sys.maxsize, mailbox.capacity
            mailbox.overflow.refill(mailbox)
            mailbox.capacity = capacity
        return not any(mailbox.overflow.spilled for mailbox in self.mailboxes.values())

    def move_mail(self, owner: Callable[[Mailbox, Any], Mailbox], *, keep_tried: bool = False) -> None:
        """Gives what waits here to the mailboxes that `owner` names, in order.

        Args:
            owner: for a message of a mailbox, where it belongs.
            keep_tried: whether what has failed before stays here.
        """
        self._move_queued(owner, keep_tried)
        for mailbox in list(self.mailboxes.values()):
            if isinstance(mailbox, MemberMailbox):
                mailbox.move_waiting(owner)

    def _move_queued(self, owner: Callable[[Mailbox, Any], Mailbox], keep_tried: bool) -> None:
        arrivals = self.arrivals
        for _ in range(len(arrivals)):
            mailbox = arrivals.popleft()
            item = mailbox.queue.popleft()
            stays = keep_tried and type(item) is Envelope and item.attempts
            to = mailbox if stays else owner(mailbox, _payload(item))
            if to is not mailbox and isinstance(mailbox, MemberMailbox):
                mailbox.move(item, to)
            else:
                mailbox.queue.append(item)
                arrivals.append(mailbox)


class GroupCell(Cell):
    """What others see of a group: one actor of its class. It handles nothing itself."""

    __slots__ = ("_stop_by", "keeper")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor, keeper: Keeper) -> None:
        self.keeper = keeper
        super().__init__(kernel, spec, path, supervisor)

    def door(self, name: str) -> Door:
        """The door of one of its in-ports, made when first needed."""
        door = self.mailboxes.get(name)
        if not isinstance(door, Door):
            door = self.mailboxes[name] = Door(self, self.in_ports[name])
            door.pick = self.keeper.picker(door)
        return door

    def mailbox(self, name: str) -> Mailbox:
        return self.door(name)

    def outlet(self, name: str) -> Outlet:
        outlet = self.outlets.get(name)
        if outlet is None:
            outlet = self.outlets[name] = GroupOutlet(self, self.actor_class.actorkit_blueprint.out_ports[name])
        return outlet

    @property
    def has_mail(self) -> bool:
        return any(member.has_mail for member in self.keeper.members())

    @property
    def is_busy(self) -> bool:
        return any(member.is_busy for member in self.keeper.members())

    @property
    def stop_by(self) -> float:
        """When its members' shutdown time ends, if the end of the system found one at work."""
        return self._stop_by

    @stop_by.setter
    def stop_by(self, time: float) -> None:
        self._stop_by = time
        for member in self.keeper.members():
            member.stop_by = time

    def drain_together(self) -> None:
        """Once all members have worked off what came, each says its last words; then the group's streams end."""
        if isinstance(self.life, GroupLife):
            self.life.drain_together()


class GroupOutlet(Outlet):
    """One out-port of a group: its members share the wires."""

    __slots__ = ()

    cell: GroupCell

    def renew(self) -> None:
        name = self.path.rpartition(".")[2]
        for member in self.cell.keeper.members():
            if name in member.outlets:
                member.outlets[name].renew()


class GroupLife(Incarnation):
    """One life of a group, for those who deal with the ends of streams and of runs: what they ask of it, its members do."""

    __slots__ = ("_group", "_said")

    def __init__(self, group: GroupCell, number: int) -> None:
        super().__init__(group, number)
        self._group = group
        self._said: dict[Incarnation, bool] = {}  # members whose last words were asked for, and whether they were said

    def _lives(self) -> list[Incarnation]:
        return [member.life for member in self._group.keeper.members() if member.life is not None]

    def start_source(self) -> None:
        """Its members' sources are started by their supervisor."""

    def stop_source(self) -> None:
        for life in self._lives():
            life.stop_source()

    def check_ending(self) -> None:
        for life in self._lives():
            life.check_ending()

    def check_drained(self) -> None:
        self.drain_together()

    def drain_together(self) -> None:
        """See `GroupCell.drain_together`."""
        if self._group.drained:
            return
        lives = [member.life for member in self._group.keeper.active()]
        present = [life for life in lives if life is not None and (life in self._said or life.is_worked_off)]
        if not lives or len(present) < len(lives):
            return
        for life in present:
            if life not in self._said:
                self._said[life] = False
                life.cell.close()
        for life in present:
            if not self._said[life]:
                life.tell_drained(partial(self._has_said, life))

    def _has_said(self, life: Incarnation, _: object = None) -> None:
        self._said[life] = True
        lives = [member.life for member in self._group.keeper.active()]
        if not self._group.drained and all(each is not None and self._said.get(each) for each in lives):
            self.end_streams()

    def tell_drained(self, then: Callable[[Any], None]) -> None:
        for life in self._lives():
            life.tell_drained(lambda _: None)

    def end_streams(self, _: object = None) -> None:
        group = self._group
        group.drained = True
        for life in self._lives():
            life.cell.ending, life.cell.drained = False, True
        group.kernel.events.publish(ActorDrained(group.path))
        group.close_wires()
        if any(name not in group.mailboxes or not group.mailboxes[name].wired for name in group.in_ports):
            for life in self._lives():
                if life.cell.state == CLOSED:
                    life.cell.open()
        else:
            group.keeper.has_drained()
