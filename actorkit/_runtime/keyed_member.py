"""One key's actor: its cell, and how the group sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from actorkit._runtime.actor_child import ActorChild
from actorkit._runtime.durable_doors import StepMemberCell
from actorkit._runtime.groups import MemberCell
from actorkit._runtime.key_states import StoredKeyStates
from actorkit._runtime.restoring import HandedOn
from actorkit._runtime.states import IDLE

if TYPE_CHECKING:
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.key_states import Record
    from actorkit._runtime.keyed import Keyed
    from actorkit._runtime.restoring import KeptState
    from actorkit._runtime.specs import ChildSpec
    from actorkit.messages import ExitReason
    from actorkit.policy.taxonomy import ErrorContext
    from actorkit.storage.store import Key


class KeyedCell(MemberCell):
    """The member of one key.

    Attributes:
        kept: its state after the last message, and the version of that.
        record: what the store has of it; None if nothing is kept there.
    """

    __slots__ = ("_steps", "keeper", "kept", "key", "record", "used_at")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, keeper: Keyed, key: Hashable) -> None:
        super().__init__(kernel, spec, path, keeper, keeper.group)
        self.keeper = keeper
        self.key = key
        self.kept: tuple[object, int] | None = None
        self.record: Record | None = None
        self._steps = 1 if "snapshot" in spec.actor.actorkit_blueprint.hooks else sys.maxsize  # messages in a row
        self.used_at = self.began

    async def handle(self, limit: int) -> None:
        await super().handle(min(limit, self._steps))
        self._step_done()

    def handle_plain(self, limit: int) -> None:
        super().handle_plain(min(limit, self._steps))
        self._step_done()

    def _step_done(self) -> None:
        if self.port is None and self.life is not None and not (self.closing and self._has_failed):
            kept = self.life.snapshot()
            if kept is not None:
                self.kept = kept
                if self.record is not None and not self.record.is_changed:
                    self.keeper.states.changed(self)
        if self.keeper.is_crowded:
            self.stop = True  # settle() is to have a look whether another can have its place

    @property
    def _has_failed(self) -> bool:
        child = self.keeper.children.get(self.name)
        return child is None or child.has_failed

    def state_entry(self) -> tuple[str, Key] | None:
        """Where the store has its state: space and key. None: it has none there.

        Who writes it together with something else, `pack_state(cell.actor_class, cell.kept[0])`, tells the group by `promise`.
        """
        states = self.keeper.states
        return (states.space, self.record.key) if self.record is not None and isinstance(states, StoredKeyStates) else None

    def settle(self) -> None:
        super().settle()
        if self.state == IDLE and self.keeper.is_crowded:
            self.keeper.make_place(self)

    def notice_rest(self) -> None:
        super().notice_rest()
        if self.keeper.is_crowded:  # a background task may have been all that it had to do
            self.keeper.make_place(self)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do, now or later, and nobody holds on to it."""
        life = self.life
        if life is None or self.state != IDLE or self.has_mail:
            return False
        return not (life.tasks or life.timers or life.watching or self.watchers)


class StepKeyedCell(StepMemberCell, KeyedCell):  # pyright: ignore[reportUnsafeMultipleInheritance, reportIncompatibleVariableOverride]
    """The same for an actor that steps: its state is committed with what it has handled."""

    __slots__ = ()

    def state_entry(self) -> tuple[str, Key] | None:
        return KeyedCell.state_entry(self)

    def promise(self, state: bytes) -> Callable[[], None] | None:
        states = self.keeper.states
        return states.promise(self, state) if self.record is not None and isinstance(states, StoredKeyStates) else None


class KeyedChild(ActorChild):
    """One key's actor as its supervisor sees it."""

    __slots__ = ("_keeper",)

    cell: KeyedCell

    def __init__(self, cell: KeyedCell, spec: ChildSpec[Any], keeper: Keyed) -> None:
        super().__init__(cell, spec)
        self._keeper = keeper

    def start_now(self) -> bool:
        record = self.cell.record
        return (record is None or record.is_read) and super().start_now()

    async def start(self) -> None:
        await self._keeper.states.read(self.cell)
        await super().start()

    async def states_to_try(self) -> Sequence[KeptState]:
        kept = self._kept_state()
        return () if kept is None else (HandedOn("what is kept of its key", kept, required=True),)

    def _kept_state(self) -> tuple[object, int] | None:
        cell, states = self.cell, self._keeper.states
        if cell.step is not None and cell.step.kept is not None:
            return cell.step.carried
        if cell.record is not None and cell.record.body is not None and isinstance(states, StoredKeyStates):
            states.take_over(cell, cell.record)
            if cell.step is not None:
                cell.step.begin_with(cell.record.saved)
        return cell.kept

    def is_refused(self, error: ErrorContext | None) -> bool:
        """Whether it could not start because of the state that the store has."""
        record = self.cell.record
        if record is None or error is None:
            return False
        return record.is_refused or (record.is_from_store and error.metadata.get("where") == "restore")

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self._keeper.out += not self.quarantined
        if self.is_refused(error):
            self._keeper.states.give_back(self.cell)
        super().quarantine(reason, error)
        self._keeper.fill_places()

    def release(self) -> None:
        self._keeper.out -= self.quarantined
        super().release()

    def depart(self, *, for_good: bool) -> None:
        """What is kept of a key is the group's: see key_states.py."""

    def forget(self) -> None:
        self._keeper.out -= self.quarantined
        for name, mailbox in self.cell.mailboxes.items():
            self._keeper.group.door(name).absorb(mailbox)
        self.cell.forget()
