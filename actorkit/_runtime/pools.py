"""Pools: a supervisor whose children are alike, and share the messages of one address.

Who gets a message is decided when it is sent. With `by_key` each key has its owner (key_slots.py). When members
come or go, a key's new owner gets what waits for it, in order, at a moment when its old owner has no message in hand;
until then the old owner has the key. So no key ever has two owners, and its messages keep their order. With the
other routes, what waits at a member that is set aside or goes is given to the others.

    member fails        restarted, on a budget of its own; its messages wait for it
    budget used up      QUARANTINE: set aside with the messages that it failed on; the rest goes to the others
    more than half out  the pool fails, and its own supervisor decides
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from actorkit._runtime.actor_child import ActorChild
from actorkit._runtime.child import Child
from actorkit._runtime.doors import Door
from actorkit._runtime.durable_doors import StepMemberCell
from actorkit._runtime.group_specs import PoolSpec, limits
from actorkit._runtime.grouping import Group, GroupChild
from actorkit._runtime.groups import MemberCell
from actorkit._runtime.reminders import no_reminders
from actorkit._runtime.routing import KeyRoute
from actorkit._runtime.sharing import Owning, Sharing
from actorkit._runtime.specs import ChildSpec, Spec
from actorkit._runtime.supervisor import Supervisor
from actorkit._runtime.timers import Alarm
from actorkit.messages import Exit, ExitReason
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext

BACKLOG: Final = 16
"""Messages waiting at the member that a message goes to, from which on a pool with limits grows."""
QUIET: Final = 10.0
"""Seconds after which a pool with limits that has nothing waiting gives one member up."""


class MemberChild(ActorChild):
    """A member as its pool sees it."""

    cell: MemberCell

    def __init__(self, cell: MemberCell, spec: ChildSpec[Any], pool: Pool) -> None:
        super().__init__(cell, spec)
        self._pool = pool

    def begin(self) -> None:
        super().begin()
        self._pool.changed()

    def set_aside(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self._pool.leave(self)
        super().set_aside(reason, error)

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.quarantined = True
        self._pool.leave(self, keep_tried=True)
        super().quarantine(reason, error)

    def retire(self, reason: ExitReason, error: ErrorContext | None, why: DeadLetterReason = DeadLetterReason.RECEIVER_STOPPED) -> None:
        if not self.cell.gone:
            self._pool.leave(self)
        super().retire(reason, error, why)

    def depart(self, *, for_good: bool) -> None:
        if for_good:  # else its number is not given to another one, and memory is not to keep its state
            super().depart(for_good=True)

    def forget(self) -> None:
        for name, mailbox in self.cell.mailboxes.items():
            self._pool.group.door(name).absorb(mailbox)


class Pool(Group):
    """A pool at work: `system.supervisor(path)` of a pool, or `self.supervisor` of a member."""

    kind = "pool"

    def __init__(self, kernel: Kernel, spec: PoolSpec[Any], path: str, parent: Supervisor) -> None:
        self.pool_spec = spec
        self._least, self._most = limits(spec.title, spec.size)
        self._last = self._least  # the highest number that a member has had
        self._growing = False
        self._shrink_alarm: Alarm | None = None
        super().__init__(kernel, spec, path, parent, [spec.member(number) for number in range(1, self._least + 1)])
        route = spec.route
        self._who = Owning(self.group, route.key) if isinstance(route, KeyRoute) else Sharing(self.group, route)

    def _add(self, spec: Spec, name: str) -> Child:
        assert isinstance(spec, ChildSpec)
        kind = StepMemberCell if self.kernel.steps(spec.actor) else MemberCell
        cell = kind(self.kernel, spec, f"{self.path}/{name}", self, self.group)
        child = self.children[name] = MemberChild(cell, spec, self)
        return child

    # ------------------------------------------------------------------------------------------------ who gets a message

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """See `Keeper`."""
        pick = self._who.picker(door)
        if self._most == self._least:
            return pick

        def pick_and_grow(message: Any) -> Mailbox:
            mailbox = pick(message)
            if len(mailbox.queue) >= BACKLOG and not self._growing:
                self._grow_soon()
            return mailbox

        return pick_and_grow

    def owner_of(self, cell: Cell) -> tuple[str, bytes]:
        """No member has reminders: raises SpecError."""
        raise no_reminders(cell.path)

    def another(self, door: Door, mailbox: Mailbox, message: Any) -> Mailbox:
        """See `Keeper`."""
        return self._who.another(mailbox)

    def changed(self) -> None:
        """Members have come or gone."""
        self._who.changed()
        self.group.drain_together()

    def leave(self, child: MemberChild, *, keep_tried: bool = False) -> None:
        """A member is out: the others get what waits at it, while the pool is up."""
        self._who.changed()
        if self.is_running and self.active():
            self._who.leave(child.cell, keep_tried=keep_tried)
            self.group.drain_together()

    # ------------------------------------------------------------------------------------------------ its life

    async def stop(self, reason: ExitReason, deadline: float) -> None:
        if self._shrink_alarm is not None:
            self._cancel_shrinking(self._shrink_alarm)
        await super().stop(reason, deadline)

    async def _ended(self, child: Child, exit: Exit) -> None:
        await super()._ended(child, exit)
        if not self.active():
            await self._end(exit.reason, exit.error)

    # ------------------------------------------------------------------------------------------------ its size

    async def resize(self, size: int | tuple[int, int]) -> None:
        self._least, self._most = limits(self.path, size)
        for name in self.group.mailboxes:
            self.group.door(name).pick = self.picker(self.group.door(name))
        await self._turns.ask(self._fit, breakable=True)

    async def _fit(self) -> None:
        while len(self.children) < self._least:
            await self._grow()
        while len(self.children) > self._most:
            await self._shrink()
        self._shrink_later()

    async def _grow(self) -> None:
        self._last += 1
        spec = self.pool_spec.member(self._last)
        child = self._add(spec, spec.name)
        try:
            await child.start()
        except BaseException:
            self._remove(child, ExitReason.FAILED, None)
            raise
        self.changed()
        self._who.spread(self.members()[-1])
        self._start_new_sources([child])

    async def _shrink(self) -> None:
        child = list(self.children.values())[-1]
        child.wanted = False
        self._cancel_alarm(child)
        self._who.changed()
        await child.stop(ExitReason.SHUTDOWN, math.inf)
        self._remove(child, ExitReason.SHUTDOWN, None)

    def _grow_soon(self) -> None:
        is_held = self.group.hold is not None  # then more members would handle no more
        if len(self.children) < self._most and self._turns.is_open and not is_held:
            self._growing = True
            self._turns.add(self._grow_by_one)

    async def _grow_by_one(self) -> None:
        self._growing = False
        if len(self.children) < self._most:
            await self._grow()
            self._shrink_later()
            if sum(each.waiting for each in self.members()) >= BACKLOG * len(self.children):
                self._grow_soon()

    def _shrink_later(self) -> None:
        if self._shrink_alarm is None and len(self.children) > self._least and self._turns.is_open:
            self._shrink_alarm = Alarm(self.kernel.now() + QUIET, self._look_for_quiet)
            self.kernel.timers.add(self._shrink_alarm)
            self.kernel.repeating += 1  # it keeps no run alive

    def _cancel_shrinking(self, alarm: Alarm) -> None:
        self._shrink_alarm = None
        self.kernel.repeating -= self.kernel.timers.remove(alarm)

    def _look_for_quiet(self) -> None:
        self._shrink_alarm = None
        self.kernel.repeating -= 1
        is_quiet = not any(each.waiting for each in self.members())
        if is_quiet and len(self.children) > self._least:
            self._turns.add(self._shrink_by_one)
        else:
            self._shrink_later()

    async def _shrink_by_one(self) -> None:
        if len(self.children) > self._least:
            await self._shrink()
        self._shrink_later()


def make_pool(kernel: Kernel, spec: PoolSpec[Any], path: str, parent: Supervisor) -> GroupChild:
    """A pool, as a child of `parent`."""
    return GroupChild(Pool(kernel, spec, path, parent), spec)
