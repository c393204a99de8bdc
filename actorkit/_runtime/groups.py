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
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from actorkit._runtime.cell import Cell
from actorkit._runtime.doors import Door, Keeper, MemberMailbox
from actorkit._runtime.incarnation import Incarnation
from actorkit._runtime.outlets import Outlet
from actorkit._runtime.states import CLOSED
from actorkit._runtime.waits import Envelope, payload
from actorkit.events import ActorDrained
from actorkit.messages import Exit, ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.gates import Hold
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.supervisor import Supervisor


class MemberCell(Cell):
    """One member of a group."""

    __slots__ = ("group", "passive")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor, group: GroupCell) -> None:
        super().__init__(kernel, spec, path, supervisor)
        self.group = group
        self.passive = False  # whether its actor sleeps, and another cell will have it
        if group.hold is not None:
            self.gated().hold(group.hold)

    def mailbox(self, name: str) -> Mailbox:
        door = self.group.door(name)  # a new one asks each member for its mailbox
        return self.mailboxes.get(name) or self.add_mailbox(MemberMailbox(self, self.in_ports[name], door))

    def outlet(self, name: str) -> Outlet:
        return self.outlets.get(name) or self.add_outlet(MemberOutlet(self, self.group.outlet(name)))

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

    def note_failures(self, messages: int) -> None:
        super().note_failures(messages)
        self.group.failed += messages

    @property
    def waiting(self) -> int:
        """How many messages are queued; in paused ports, too."""
        return len(self.arrivals) + (0 if self.aside is None else self.aside.shelved)

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
        gaining: dict[Cell, None] = {}

        def noting(mailbox: Mailbox, message: Any) -> Mailbox:
            to = owner(mailbox, message)
            gaining.setdefault(to.cell)
            return to

        self._move_queued(noting, keep_tried)
        for mailbox in list(self.mailboxes.values()):
            if isinstance(mailbox, MemberMailbox):
                mailbox.move_waiting(noting)
        for cell in gaining:
            if cell is not self:
                self.kernel.deadlocks.took_over(cell)

    def _move_queued(self, owner: Callable[[Mailbox, Any], Mailbox], keep_tried: bool) -> None:
        plain: type[deque[Any]] = deque  # without a look at what is moved: a pause is this member's own, and what stays has not come anew
        if self.aside is not None:
            self.aside.unshelve()
        arrivals = self.arrivals
        for _ in range(len(arrivals)):
            mailbox = self.sole or arrivals.popleft()
            item = plain.popleft(mailbox.queue)
            stays = keep_tried and type(item) is Envelope and item.attempts
            to = mailbox if stays else owner(mailbox, payload(item))
            if to is not mailbox and isinstance(mailbox, MemberMailbox):
                mailbox.move(item, to)
            else:
                plain.append(mailbox.queue, item)
                if self.sole is None:
                    arrivals.append(mailbox)


class GroupCell(Cell):
    """What others see of a group: one actor of its class. It handles nothing itself."""

    __slots__ = ("_stop_by", "hold", "keeper")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor, keeper: Keeper) -> None:
        self.keeper = keeper
        self.hold: Hold | None = None  # what an emergency holds back of its members, those to come as well
        super().__init__(kernel, spec, path, supervisor)

    def door(self, name: str) -> Door:
        """The door of one of its in-ports, made when first needed."""
        door = self.mailboxes.get(name)
        if not isinstance(door, Door):
            door = Door(self, self.in_ports[name])
            self.mailboxes = {**self.mailboxes, name: door}
            door.pick = self.keeper.picker(door)
        return door

    def mailbox(self, name: str) -> Mailbox:
        return self.door(name)

    def outlet(self, name: str) -> Outlet:
        return self.outlets.get(name) or self.add_outlet(GroupOutlet(self, self.actor_class.actorkit_blueprint.out_ports[name]))

    def forget(self) -> None:
        """Its doors stay: they know what becomes of what is still sent here."""

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

    def exit(self, reason: ExitReason, **details: Any) -> None:
        self.keeper.exit(Exit(self.number, reason, **details))

    def drain_together(self) -> None:
        """Once all members have worked off what came, each says its last words; then the group's streams end."""
        if isinstance(self.life, GroupLife):
            self.life.drain_together()


class MemberOutlet(Outlet):
    """One out-port of one member: the group's wires."""

    __slots__ = ("_shared",)

    def __init__(self, member: MemberCell, shared: Outlet) -> None:
        super().__init__(member, member.actor_class.actorkit_blueprint.out_ports[shared.name])
        self._shared = shared
        self.lines, self.targets, self.channels = shared.lines, shared.targets, shared.channels

    def discard(self) -> None:
        self.discarded += 1
        self._shared.discard()


class GroupOutlet(Outlet):
    """One out-port of a group: its members share the wires."""

    __slots__ = ()

    cell: GroupCell

    def renew(self) -> None:
        for member in self.cell.keeper.members():
            if self.name in member.outlets:
                member.outlets[self.name].renew()


class GroupLife(Incarnation):
    """One life of a group, for those who deal with the ends of streams and of runs: what they ask of it, its members do."""

    __slots__ = ("_group", "_late", "_said")

    def __init__(self, group: GroupCell, number: int) -> None:
        super().__init__(group, number)
        self._group = group
        self._late: Incarnation | None = None  # one that the others wait for
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
        self.drain_together()

    def check_drained(self) -> None:
        self.drain_together()

    def drain_together(self) -> None:
        """See `GroupCell.drain_together`."""
        if self._group.drained or self._group.kernel.reminders.holds(self._group.path):
            return
        late = self._late
        if late is not None and late.cell.life is late and not late.is_worked_off:
            return  # as before: so all of them together are looked at a few times only, not each time that one is done
        present: list[Incarnation] = []
        for member in self._group.keeper.active():
            life = member.life
            if life is None or not (life in self._said or life.is_worked_off):
                self._late = life
                return
            present.append(life)
        if not present and self._group.in_streams and self._group.ready_to_drain:
            self.end_streams()
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

    @property
    def is_winding_up(self) -> bool:
        return any(life.is_winding_up for life in self._lives())

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
        if any(name not in group.mailboxes or not group.mailboxes[name].is_in_stream for name in group.in_ports):
            for life in self._lives():
                if life.cell.state == CLOSED:
                    life.cell.open()
        else:
            group.exit(ExitReason.NORMAL, drained=True)


def actors_of(cell: Cell) -> list[Cell]:
    """An actor itself, or the members of a group: where messages wait and are handled."""
    return [*cell.keeper.members()] if isinstance(cell, GroupCell) else [cell]
