"""What pools and keyed actors have in common: a supervisor whose children are members of one group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from actorkit._runtime.cells import check_store
from actorkit._runtime.child import Child, SupervisorChild
from actorkit._runtime.doors import Door
from actorkit._runtime.durable_doors import DurableGroupCell
from actorkit._runtime.groups import GroupCell, GroupLife, MemberCell
from actorkit._runtime.specs import ChildSpec, SupervisorSpec
from actorkit._runtime.supervisor import Supervisor
from actorkit._runtime.watching import down
from actorkit.errors import SpecError
from actorkit.messages import Exit, ExitReason
from actorkit.policy.recovery import DeadLetterReason
from actorkit.policy.restart import OnExhausted, Shutdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ref import ActorRef
    from actorkit.policy.taxonomy import ErrorContext


class Group(Supervisor):
    """The supervisor of a group's members, and the keeper of its address."""

    kind = "group"
    asks_members = True

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, parent: Supervisor, members: Sequence[ChildSpec[Any]]) -> None:
        self.children = {}
        check_store(kernel, spec, path)
        kind = DurableGroupCell if spec.actor.actorkit_blueprint.is_durable else GroupCell
        self.group = kind(kernel, spec, path, parent, self)
        kernel.cells.add(self.group)
        super().__init__(
            kernel,
            SupervisorSpec(
                name=spec.name,
                restart=spec.restart,
                shutdown=Shutdown.INFINITY,
                children=tuple(members),
                max_restarts=3,
                within=5.0,
                recovery=spec.recovery,
                when_exhausted=OnExhausted.QUARANTINE,
            ),
            path,
            parent,
        )

    # ------------------------------------------------------------------------------------------------ who gets a message

    def _cells(self, *, all_of_them: bool) -> list[MemberCell]:
        return [
            child.unit
            for child in self.children.values()
            if isinstance(child.unit, MemberCell) and (all_of_them or (child.wanted and not child.quarantined and not child.unit.gone))
        ]

    def members(self) -> list[MemberCell]:
        """See `Keeper`."""
        return self._cells(all_of_them=True)

    def active(self) -> list[MemberCell]:
        """See `Keeper`."""
        return self._cells(all_of_them=False)

    def picker(self, door: Door) -> Callable[[Any], Mailbox]:
        """See `Keeper`."""
        raise NotImplementedError

    def another(self, door: Door, mailbox: Mailbox, message: Any) -> Mailbox:
        """See `Keeper`."""
        return mailbox

    def pick_anyway(self, door: Door, message: Any) -> Mailbox:
        """See `Keeper`."""
        return door.pick(message)

    def exit(self, exit: Exit) -> None:
        """See `Keeper`."""
        if self.parent is not None:
            self.parent.on_exit(self, exit)

    # ------------------------------------------------------------------------------------------------ its life

    async def start(self) -> None:
        group = self.group
        group.accept()
        group.status = "starting"
        try:
            await super().start()
        except BaseException:
            group.status = "stopped"
            raise
        group.number, group.status = self.number, "running"
        group.life = GroupLife(group, self.number)
        if isinstance(group, DurableGroupCell):
            group.recover()
        self.kernel.reminders.started(self.path)
        group.life.check_ending()

    async def stop(self, reason: ExitReason, deadline: float) -> None:
        await super().stop(reason, deadline)
        self.group.life, self.group.status = None, "stopped"

    async def _stop_children(self, reason: ExitReason, deadline: float) -> None:
        children = list(self.children.values())
        for child in children:
            self._cancel_alarm(child)
        await self._stop_together(children, reason, deadline)

    async def _count_and_restart(self, child: Child, exit: Exit) -> None:
        await super()._count_and_restart(child, exit)
        out = self._count_out()
        if self._turns.is_open and self._is_failing(out):
            await self._give_up(f"{out} of its {len(self.children)} members are set aside", exit.error)

    def _count_out(self) -> int:
        """How many members are set aside."""
        return sum(each.quarantined for each in self.children.values())

    def _is_failing(self, out: int) -> bool:
        return 2 * out > len(self.children)

    async def start_child(self, spec: Any, wires: Any = ()) -> Any:
        """A group makes its members itself: raises SpecError."""
        raise SpecError(f"{self.path} is a {self.kind} and makes its members itself: give {spec!r} to the supervisor above it")


class GroupChild(SupervisorChild):
    """A group as its supervisor sees it."""

    __slots__ = ("group", "kind")

    def __init__(self, group: Group, spec: ChildSpec[Any]) -> None:
        # The options are its members'; what is asked of the group itself is asked of a supervisor.
        own = evolve(spec, shutdown=Shutdown.INFINITY, on_exhausted=None, max_restarts=None, within=None, backoff=None)
        super().__init__(group, own)
        self.kind = group.kind
        self.group = group.group

    @property
    def ref(self) -> ActorRef[Any]:
        return self.group.ref

    @property
    def is_drained(self) -> bool:
        return self.group.drained

    def cells(self) -> dict[str, Any]:
        return {self.path: self.group}

    async def start(self) -> None:
        if self.completed:  # started by hand: its streams begin anew
            self.group.drained = False
        await super().start()

    def set_aside(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.group.refuse()
        super().set_aside(reason, error)
        down(self.group, reason, error, restarting=False)

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.group.quarantined, self.group.status = True, "quarantined"
        super().quarantine(reason, error)
        down(self.group, reason, error, restarting=False)

    def release(self) -> None:
        self.group.quarantined = False
        super().release()

    def retire(self, reason: ExitReason, error: ErrorContext | None, why: DeadLetterReason = DeadLetterReason.RECEIVER_STOPPED) -> None:
        if not self.group.gone:
            self.group.gone = True
            self.group.status = "ended"
            self.group.refuse()
            if reason is not ExitReason.FAILED or error is not None:
                self.group.kernel.reminders.forget_group(self.path)
            super().retire(reason, error, why)
            self.group.close_wires()
            down(self.group, reason, error, restarting=False)

    def depart(self, *, for_good: bool) -> None:
        super().depart(for_good=for_good)
        if for_good:
            self.group.kernel.erase(self.group)
        else:
            self.group.kernel.leave(self.group)

    def restarting(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.group.restarts, self.group.status = self.restarts, "restarting"
        super().restarting(reason, error)
        down(self.group, reason, error, restarting=True)

    def forget(self) -> None:
        self.group.kernel.supervisors.pop(self.path, None)
        self.group.kernel.remove(self.group)  # the members' numbers are the group's
