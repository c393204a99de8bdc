"""Durable ports of groups: one journal for the door, whichever member handles a message; and the members that step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorkit._runtime.doors import Door, MemberMailbox
from actorkit._runtime.durable_mailbox import Durable, read_back
from actorkit._runtime.groups import GroupCell, MemberCell
from actorkit._runtime.journals import Journal
from actorkit._runtime.stepping import Stepping
from actorkit._runtime.waits import Waiter, payload
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort


class DurableDoor(Durable, Door):  # pyright: ignore[reportUnsafeMultipleInheritance] - each calls the next
    """The door of a group's durable port."""

    __slots__ = ("journal",)

    def __init__(self, group: GroupCell, port: InPort[Any, Any, Any]) -> None:
        super().__init__(group, port)
        self.journal = Journal(self)

    def post(self, waiter: Waiter) -> Waiter:
        mailbox = self.pick(payload(waiter.item))
        if isinstance(mailbox, Durable) and mailbox is not self:
            return mailbox.post(waiter)
        self.check_fence(waiter.item)
        waiter.body = self.journal.encode(payload(waiter.item))
        waiter.port = self
        if self.cell.refuses:
            self.dead_letter_arrival(waiter, DeadLetterReason.RECEIVER_STOPPED)
        else:
            self._wait_for_room(waiter)
        return waiter

    def arrive(self, item: Any, number: int) -> Mailbox:
        mailbox = self.group.keeper.pick_anyway(self, payload(item))
        if isinstance(mailbox, Durable) and mailbox is not self:
            return mailbox.arrive(item, number)
        return super().arrive(item, number)

    def recover(self) -> None:
        """Hands on to the members what an earlier system has left in the store."""
        suspects = self.cell.kernel.suspects
        for place, (number, record) in enumerate(self.cell.kernel.kept.messages(self.journal)):
            envelope = read_back(self, number, record)
            if envelope is not None and envelope.number is not None and suspects.look_at(self, envelope, place):
                self.arrive(envelope, envelope.number)


class DurableMember(Durable, MemberMailbox):  # pyright: ignore[reportUnsafeMultipleInheritance] - each calls the next
    """One durable port of one member."""

    __slots__ = ("journal",)

    def __init__(self, member: MemberCell, port: InPort[Any, Any, Any], door: DurableDoor) -> None:
        self.journal = door.journal
        super().__init__(member, port, door)

    def post(self, waiter: Waiter) -> Waiter:
        if self.cell.passive:  # it sleeps, and may be awake again, elsewhere
            mailbox = self._awake(waiter.item)
            if isinstance(mailbox, Durable):
                return mailbox.post(waiter)
        return super().post(waiter)

    def arrive(self, item: Any, number: int) -> Mailbox:
        if (self.cell.passive or self.cell.refuses) and isinstance(self.door, DurableDoor):
            to = self.door.group.keeper.pick_anyway(self.door, payload(item))
            if to is not self and isinstance(to, Durable):
                return to.arrive(item, number)
        return super().arrive(item, number)


class StepMemberCell(Stepping, MemberCell):  # pyright: ignore[reportUnsafeMultipleInheritance, reportIncompatibleVariableOverride]
    """The cell of a member that steps."""

    __slots__ = ()

    def mailbox(self, name: str) -> Mailbox:
        door = self.group.door(name)
        if name in self.mailboxes or not isinstance(door, DurableDoor):
            return super().mailbox(name)
        return self.add_mailbox(DurableMember(self, self.in_ports[name], door))


class DurableGroupCell(GroupCell):
    """What others see of a group that has durable ports."""

    __slots__ = ()

    def door(self, name: str) -> Door:
        if name in self.mailboxes or not self.in_ports[name].settings.durable:
            return super().door(name)
        door = DurableDoor(self, self.in_ports[name])
        self.mailboxes = {**self.mailboxes, name: door}
        door.pick = self.keeper.picker(door)
        return door

    def recover(self) -> None:
        """Its members are there: they get what the store has for them."""
        for name in self.actor_class.actorkit_blueprint.eager:
            door = self.door(name)
            if isinstance(door, DurableDoor):
                door.recover()
