"""Keyed actors: one for each key, made by its first message, put aside when idle, back with the next message.

A key is asleep (nothing of it is there but its state), or it has a member of the group: a cell with mailboxes, whose actor
handles, waits for a place among `max_active`, or was set aside after failures. A message for a key that is asleep makes
the member and starts it at once, in the step of the sender: no turn of the supervisor, no task. Only an actor with
an `on_start` or an `on_stop`, which may wait, starts or ends in a turn; its messages wait in its mailbox meanwhile.

What is kept of an actor with a `snapshot` is taken after each message that it has handled. So putting it aside costs
nothing, and after a crash it goes on from the last message before the one that failed. Where it is kept, key_states.py says.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actorkit._runtime.child import Child, at_once
from actorkit._runtime.doors import Door
from actorkit._runtime.grouping import Group, GroupChild
from actorkit._runtime.key_states import KeyStates, StoredKeyStates, key_bytes, key_of
from actorkit._runtime.keyed_member import KeyedCell, KeyedChild, StepKeyedCell
from actorkit._runtime.supervision import let_others_go_on
from actorkit._runtime.timers import Alarm
from actorkit.errors import EncodingError, SupervisionError
from actorkit.events import ActorStopped
from actorkit.messages import Exit, ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.group_specs import KeyedSpec
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.supervisor import Supervisor
    from actorkit.policy.taxonomy import ErrorContext

FAILING: Final = 3
"""Keys set aside, at least, when the group fails because they are more than half of those awake."""


class Keyed(Group):
    """Keyed actors at work: `system.supervisor(path)` of them, or `self.supervisor` of one. Its children are those awake."""

    kind = "keyed"

    def __init__(self, kernel: Kernel, spec: KeyedSpec[Any], path: str, parent: Supervisor) -> None:
        self._by = spec.by
        self._member = spec.member()
        self._passivate_after = spec.passivate_after
        self._max_active = math.inf if spec.max_active is None else spec.max_active
        hooks = spec.actor.actorkit_blueprint.hooks
        self._ends_at_once = "on_stop" not in hooks
        self._awake: OrderedDict[Hashable, KeyedChild] = OrderedDict()  # by key; the one used last comes last
        self._waiting: OrderedDict[Hashable, KeyedChild] = OrderedDict()  # awake, but without a place yet
        self.states = KeyStates(spec.actor)
        if kernel.is_durable and "snapshot" in hooks:
            self.states = StoredKeyStates(kernel, spec.actor, path)
        self.out = 0  # how many were set aside after failures; they take no place
        self._unread: list[KeyedChild] = []  # awake, to be started when their states were read
        self._alarm: Alarm | None = None
        super().__init__(kernel, spec, path, parent, [])

    # ------------------------------------------------------------------------------------------------ who gets a message

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        by, awake, name, dispatcher, states = self._by, self._awake, door.name, self.kernel.dispatcher, self.states

        def pick(message: Any) -> Mailbox:
            key = by(message)
            child = awake.get(key)
            if child is None:
                if len(self._waiting) >= door.capacity or door.room or self.group.refuses:
                    states.check(key)  # where it can still be refused
                    return door
                child = self._wake(key)
            else:
                awake.move_to_end(key)
                child.cell.used_at = dispatcher.time()
            cell = child.cell
            return cell.mailboxes.get(name) or cell.mailbox(name)

        return pick

    def pick_anyway(self, door: Door, message: Any) -> Mailbox:
        """See `Keeper`."""
        key = self._by(message)
        if self.group.refuses:
            return door
        cell = (self._awake.get(key) or self._wake(key)).cell
        cell.used_at = self.kernel.dispatcher.time()
        return cell.mailbox(door.name)

    def owner_of(self, cell: Cell) -> tuple[str, bytes]:
        assert isinstance(cell, KeyedCell)
        return self.path, key_bytes(self.path, cell.key)

    def mailbox_of(self, key: bytes, port: str) -> Mailbox | None:
        found = key_of(key)
        cell = (self._awake.get(found) or self._wake(found)).cell
        cell.used_at = self.kernel.dispatcher.time()
        return cell.mailbox(port)

    def _wake(self, key: Hashable) -> KeyedChild:
        name = self._name(key)
        kind = StepKeyedCell if self.kernel.steps(self._member.actor) else KeyedCell
        cell = kind(self.kernel, self._member, f"{self.path}/{name}", self, key)
        self.states.wake(cell)
        child = self._awake[key] = KeyedChild(cell, self._member, self)
        self.children[name] = child
        if self.is_running:
            self._start_or_wait(child)
        return child

    def _name(self, key: Hashable) -> str:
        """The name of a key's actor: the key, as far as a name can have it."""
        name = text = str(key)
        if not text.isalnum():
            name = text = text.translate({ord("/"): "_", ord("."): "_"}).strip() or "_"
        number = 1
        while name in self.children:
            number += 1
            name = f"{text}-{number}"
        return name

    # ------------------------------------------------------------------------------------------------ places

    @property
    def is_crowded(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    def _start_or_wait(self, child: KeyedChild) -> None:
        # While others wait, nobody is idle: whoever becomes idle makes place at once.
        if not self._waiting and (self._has_place() or self._free_a_place()):
            self._start(child)
        else:
            self._waiting[child.cell.key] = child

    def _has_place(self) -> bool:
        return len(self._awake) - len(self._waiting) - self.out <= self._max_active

    def _free_a_place(self) -> bool:
        """Puts the one aside that was used least recently, of those that are idle; says whether that is done."""
        for child in self._awake.values():
            if child.cell.is_idle:
                return self._put_aside(child)
        return False

    def make_place(self, cell: KeyedCell) -> None:
        """An actor has become idle, and others wait for a place."""
        child = self._awake.get(cell.key)
        if child is not None and child.cell is cell and cell.is_idle:
            self._put_aside(child)

    def fill_places(self) -> None:
        """Lets those in that wait, as far as there are places."""
        while self._waiting and len(self._awake) - len(self._waiting) - self.out < self._max_active and self.is_running:
            self._start(self._waiting.popitem(last=False)[1])
        for name in self.group.mailboxes:
            door = self.group.door(name)
            while door.room and len(self._waiting) < door.capacity:
                door.let_in()

    # ------------------------------------------------------------------------------------------------ from asleep to awake, and back

    def _start(self, child: KeyedChild) -> None:
        try:
            if not child.start_now():
                self._start_soon(child)
                return
        except SupervisionError as failure:
            self._turns.add(partial(self._start_failed, child, failure))
        self._look_later()

    def _start_soon(self, child: KeyedChild) -> None:
        if self._member.waits_to_start:
            self._turns.add(partial(self._start_in_turn, child))
            return
        if not self._unread:
            self._turns.add(self._start_those_read)
        self._unread.append(child)

    async def _start_those_read(self) -> None:
        """Starts many in one turn, as what they wait for is read for many at once, and nothing else takes a wait."""
        unread, self._unread = self._unread, []
        for number, child in enumerate(unread, 1):
            await self._start_in_turn(child)
            await let_others_go_on(number)

    async def _start_in_turn(self, child: KeyedChild) -> None:
        if self._awake.get(child.cell.key) is child and child.wanted and not child.is_running:
            try:
                await self._bring_up(child)
            except SupervisionError as failure:
                await self._start_failed(child, failure)
            self._look_later()

    def _put_aside(self, child: KeyedChild) -> bool:
        """Ends an idle actor, and keeps its state; False: that takes a while."""
        if not self._ends_at_once:
            child.cell.close()
            self._turns.add(partial(self._put_aside_in_turn, child))
            return False
        cell, life = child.cell, child.cell.life
        if life is not None:
            cell.close()
            at_once(life.finish(ExitReason.SHUTDOWN, -math.inf))
            cell.life, cell.status = None, "asleep"
            if self.kernel.events.hears(ActorStopped.level):
                self.kernel.events.publish(ActorStopped(cell.path, cell.number, ExitReason.SHUTDOWN))
        self._sleep(child)
        return True

    async def _put_aside_in_turn(self, child: KeyedChild) -> None:
        cell = child.cell
        await child.stop(ExitReason.SHUTDOWN, math.inf)
        if cell.has_mail or any(mailbox.room for mailbox in cell.mailboxes.values()):
            await self._start_in_turn(child)  # it is wanted again
        elif self._awake.get(cell.key) is child:
            self._sleep(child)

    def _sleep(self, child: KeyedChild) -> None:
        cell = child.cell
        self.states.sleep(cell)
        cell.passive = True
        self._remove(child, ExitReason.SHUTDOWN, None)
        self.fill_places()

    def _look_later(self) -> None:
        """Has idle actors looked for when the time of the one used least recently may have come."""
        if self._alarm is None and self._awake and self._passivate_after != math.inf and self._turns.is_open:
            used_at = next(iter(self._awake.values())).cell.used_at
            self._alarm = Alarm(used_at + self._passivate_after, self._look_for_idle)
            self.kernel.timers.add(self._alarm)
            self.kernel.repeating += 1  # it keeps no run alive

    def _look_for_idle(self) -> None:
        """Puts all aside that have been idle for long enough."""
        self._alarm = None
        self.kernel.repeating -= 1
        now = self.kernel.now()
        for child in list(self._awake.values()):
            if child.cell.used_at + self._passivate_after > now:
                break
            if child.cell.ending or not (child.cell.is_idle and self._put_aside(child)):  # at the end, all say their last words together
                child.cell.used_at = now
                self._awake.move_to_end(child.cell.key)
        self._look_later()

    # ------------------------------------------------------------------------------------------------ a state that is none

    async def _bring_up(self, child: Child) -> None:
        try:
            await super()._bring_up(child)
        except SupervisionError as failure:
            if self.is_running or not self._set_aside_unread(child, failure):
                raise

    async def _start_failed(self, child: Child, failure: SupervisionError) -> None:
        if not self._set_aside_unread(child, failure):
            await super()._start_failed(child, failure)

    def _set_aside_unread(self, child: Child, failure: SupervisionError) -> bool:
        """Sets a key aside whose kept state nobody can read, as no restart can: until it is released, perhaps in another program."""
        exit = failure.exit
        if exit is None or exit.escalate or not child.wanted or not (isinstance(child, KeyedChild) and child.is_refused(exit.error)):
            return False
        self._report(child, exit, restarting=False)
        self._quarantine(child, exit)
        return True

    # ------------------------------------------------------------------------------------------------ its life

    async def start(self) -> None:
        self._waiting.clear()
        self._unread.clear()
        for child in list(self._awake.values()):
            if not child.cell.has_mail:
                self._sleep(child)  # until somebody wants it
        await super().start()
        for child in list(self._awake.values()):
            if child.wanted and not child.is_running and not child.quarantined:
                await self._start_in_turn(child)

    async def stop(self, reason: ExitReason, deadline: float) -> None:
        if self._alarm is not None:
            self.kernel.repeating -= self.kernel.timers.remove(self._alarm)
            self._alarm = None
        try:
            await super().stop(reason, deadline)
        finally:
            self.states.close()

    def _remove(self, child: Child, reason: ExitReason, error: ErrorContext | None, *, for_good: bool = False) -> None:
        if isinstance(child, KeyedChild) and self._awake.get(child.cell.key) is child:
            del self._awake[child.cell.key]
            self._waiting.pop(child.cell.key, None)
            if not child.cell.passive:
                self._forget(child.cell)
        super()._remove(child, reason, error, for_good=for_good)

    async def _ended(self, child: Child, exit: Exit) -> None:
        """A key's actor has ended itself: it is forgotten, with its state; what waits for it makes a new one."""
        assert isinstance(child, KeyedChild)
        cell = child.cell
        if exit.reason.is_abnormal:
            self._report(child, exit, restarting=False)
        child.wanted, child.completed = False, True
        del self._awake[cell.key]
        del self.children[child.name]  # before there may be another of this name
        cell.passive = True
        self._forget(cell)
        if cell.has_mail or any(mailbox.room for mailbox in cell.mailboxes.values()):
            cell.move_mail(lambda mailbox, message: self.pick_anyway(self.group.door(mailbox.name), message))
        child.retire(exit.reason, exit.error)
        child.forget()
        self.fill_places()

    def _forget(self, cell: KeyedCell) -> None:
        """This key's actor is gone for good."""
        self.states.forget(cell)
        if not self.kernel.reminders.are_none:
            with suppress(EncodingError):  # such a key has none
                self.kernel.reminders.forget(*self.owner_of(cell))

    def _count_out(self) -> int:
        return self.out

    def _is_failing(self, out: int) -> bool:
        return out >= FAILING and 2 * out > len(self.children)


def make_keyed(kernel: Kernel, spec: KeyedSpec[Any], path: str, parent: Supervisor) -> GroupChild:
    """Keyed actors, as a child of `parent`."""
    return GroupChild(Keyed(kernel, spec, path, parent), spec)
