"""Supervisors, as `system.supervisor(path)` and `self.supervisor`: their children are started, stopped and listed by hand."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from actorkit._runtime.actor_child import ActorChild
from actorkit._runtime.cells import make_cell
from actorkit._runtime.child import Child, ChildCounts, ChildInfo, SupervisorChild
from actorkit._runtime.ref import ActorRef
from actorkit._runtime.specs import ChildSpec, Spec, SupervisorSpec, check_wires
from actorkit._runtime.supervision import Supervision
from actorkit._runtime.timers import Alarm
from actorkit._runtime.wiring import check_required, connect, disconnect
from actorkit.errors import SpecError, SpecTypeError, SupervisionError, UnknownActor
from actorkit.messages import Exit, ExitReason
from actorkit.policy.checks import check_seconds, check_significant
from actorkit.policy.restart import Restart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.ports import Wire
    from actorkit._runtime.wiring import Connections

A = TypeVar("A", bound="Actor")

START_COST = 8
"""What starting a child takes from the budget of things in a row that need not wait: a checkpoint every 32 of them."""


class Supervisor(Supervision):
    """A supervisor at work, as `system.supervisor(path)` or `self.supervisor`: administers its children."""

    def __init__(self, kernel: Kernel, spec: SupervisorSpec, path: str, parent: Supervisor | None) -> None:
        super().__init__(kernel, spec, path, parent)
        self._last_numbers: Counter[str] = Counter()  # of dynamic children, by the name that is numbered
        kernel.supervisors[path] = self
        for each in spec.children:
            self._add(each, each.name)

    def _add(self, spec: Spec, name: str) -> Child:
        path = f"{self.path}/{name}"
        child: Child
        maker = self.kernel.makers.get(type(spec))
        if maker is not None:
            child = maker(self.kernel, spec, path, self)
        elif isinstance(spec, SupervisorSpec):
            child = SupervisorChild(Supervisor(self.kernel, spec, path, self), spec)
        elif isinstance(spec, ChildSpec):
            cell = make_cell(self.kernel, spec, path, self)
            self.kernel.cells.add(cell)
            child = ActorChild(cell, spec)
        else:
            raise SpecTypeError(f"{self.path}: {spec!r} is not a child: expected child(Class, …) or supervisor(…)")
        self.children[name] = child
        return child

    @overload
    async def start_child(self, spec: ChildSpec[A], wires: Sequence[Wire] = ()) -> ActorRef[A]: ...
    @overload
    async def start_child(self, spec: SupervisorSpec, wires: Sequence[Wire] = ()) -> Supervisor: ...
    async def start_child(self, spec: Any, wires: Sequence[Wire] = ()) -> Any:
        """Adds a child and starts it; returns its address (of a supervisor: the supervisor).

        Under a dynamic supervisor a child without a name of its own gets a number: `worker-1`, `worker-2`, …

        Raises:
            SpecError: the name is taken, or there are `max_children` already.
            WiringError: a wire does not fit; nothing was started.
            SupervisionError: it could not be started, and was not added; `__cause__` says why.
        """
        if wires != ():
            check_wires(self.path, wires)
        if isinstance(spec, Spec) and not spec.waits_to_start and not self._has_to_wait:
            await (self.kernel.dispatcher.breathe_now_and_then(START_COST) or checkpoint_if_cancelled())
            if self._turns.are_free:
                return await self._start_new(spec, wires)
        return await self._turns.ask(partial(self._start_new, spec, wires), breakable=True)

    @property
    def _has_to_wait(self) -> bool:
        return self.kernel.checkpoints.may_have_to_read or self.kernel.erasing.is_busy

    @enable_ki_protection
    async def _start_new(self, spec: Spec, wires: Sequence[Wire]) -> Any:
        await self.kernel.erasing.wait_done()
        all_wires = [*wires, *(spec.all_wires() if isinstance(spec, SupervisorSpec) else ())]
        self.kernel.note_wires(all_wires)
        child = self._add_new(spec)
        made: Connections = []
        try:
            new = child.cells().values()
            made = connect(self.kernel.cells, all_wires, new)
            check_required(new)
            await self._bring_up(child)
        except BaseException:
            disconnect(made)
            self._remove(child, ExitReason.FAILED, None)
            raise
        self._start_new_sources([child])
        return child.ref or child.unit

    def _add_new(self, spec: Spec) -> Child:
        """Adds a child at run time, or raises because it can't be."""
        if not isinstance(spec, Spec):
            raise SpecTypeError(f"{self.path}: {spec!r} is not a child: expected child(Class, …) or supervisor(…)")
        if self.spec.max_children is not None and len(self.children) >= self.spec.max_children:
            raise SpecError(f"{self.path} has {self.spec.max_children} children, its max_children: stop one first, or raise max_children")
        check_significant(spec.title, spec.significant, spec.restart, self.spec.auto_shutdown)
        name = spec.name
        if self.spec.dynamic and isinstance(spec, ChildSpec) and not spec.named:
            while name == spec.name or name in self.children:
                self._last_numbers[spec.name] += 1
                name = f"{spec.name}-{self._last_numbers[spec.name]}"
        elif name in self.children:
            raise SpecError(f"{self.path} has a child {name!r} already: give this one another name by .options(name=…)")
        elif not self.spec.dynamic:
            self._check_is_new(spec)
        child = self._add(spec, name)
        child.added = True
        return child

    def _check_is_new(self, spec: Spec) -> None:
        supervisors = {each.spec for each in self.kernel.supervisors.values()}
        for each in spec.walk():
            if each in supervisors or self.kernel.cells.has(each):
                raise SpecError(f"{self.path}: {each.title} is in this tree already: make another with child(…), or with .options(name=…)")

    async def stop_child(self, name: str) -> None:
        """Stops a child. What is queued waits until it is restarted; what is sent to it meanwhile becomes dead letters.

        A TEMPORARY child, and one of a dynamic supervisor, is forgotten as well.

        Raises:
            UnknownActor: there is no such child; the text lists those there are.
            DeadlockError: the child is, or waits for, the one who calls, so that one can't wait for it; it is stopped all the same.
        """

        async def stop() -> None:
            child = self._child(name)
            was_waiting = child.alarm is not None
            child.wanted = False
            self._cancel_alarm(child)
            await self._bring_down(child, ExitReason.SHUTDOWN)
            if child.quarantined:
                child.release()  # now it is down since somebody stopped it
            if child.spec.restart is Restart.TEMPORARY or self.spec.dynamic:
                self._remove(child, ExitReason.SHUTDOWN, None)
            elif not child.completed:
                child.set_aside(ExitReason.SHUTDOWN, None)
            if was_waiting and name in self.children:
                await self._restart(child)  # the bystanders that waited with it

        await self._turns.ask(stop, stops=list(self.children[name].cells().values()) if name in self.children else ())

    async def restart_child(self, name: str) -> None:
        """Starts a child again that was stopped, or has ended.

        Raises:
            UnknownActor: there is no such child; the text lists those there are.
            SpecError: it is running, or about to be restarted.
            SupervisionError: it could not be started, and stays stopped; `__cause__` says why.
        """

        async def restart() -> None:
            child = self._child(name)
            self._check_is_stopped(child)
            await self._bring_up(child)
            child.begin()
            self._start_new_sources([child])

        await self._turns.ask(restart, breakable=True)

    async def release(self, name: str, *, after: float = 0.0) -> None:
        """Brings back a child that was set aside because its restarts were used up.

        Until it has handled three messages it is on probation: one more failure sets it aside again.

        Args:
            name: the child's.
            after: seconds to wait; the call returns at once all the same.

        Raises:
            UnknownActor: there is no such child; the text lists those there are.
            SpecError: it was not set aside.
            SupervisionError: it could not be started, and stays set aside; `__cause__` says why.
        """
        seconds = check_seconds(self.path, "after", after)

        async def release() -> None:
            child = self._child(name)
            if not child.quarantined:
                raise SpecError(f"{child.path} is not quarantined, so there is nothing to release it from")
            self._cancel_alarm(child)
            if seconds:
                child.alarm = Alarm(trio.current_time() + seconds, lambda: self._turns.add(partial(self._release, child)))
                self.kernel.timers.add(child.alarm)
            elif (failure := await self._release(child)) is not None:
                raise failure

        await self._turns.ask(release, breakable=True)

    async def _release(self, child: Child) -> SupervisionError | None:
        child.alarm = None
        if child.quarantined:
            child.begin()
            try:
                await self._bring_up(child)
            except SupervisionError as failure:
                self._quarantine(child, Exit(child.number, ExitReason.FAILED, failure.error))
                return failure
            self._start_new_sources([child])
        return None

    async def delete_child(self, name: str) -> None:
        """Forgets a child that was stopped, or has ended; what it had queued becomes dead letters.

        It is gone for good: its state, its checkpoints and the keys of its ports go from the store too.

        Raises:
            UnknownActor: there is no such child; the text lists those there are.
            SpecError: it is running, or about to be restarted.
        """

        async def delete() -> None:
            child = self._child(name)
            self._check_is_stopped(child)
            self._remove(child, ExitReason.SHUTDOWN, None, for_good=True)

        await self._turns.ask(delete)

    async def resize(self, size: int | tuple[int, int]) -> None:
        """Gives a pool so many members, or limits between which their number follows the work: `resize((2, 8))`.

        Messages that wait at a member that goes, and keys that move, lose neither a message nor their order.

        Raises:
            SpecError: this is no pool, or `size` is out of range.
            SupervisionError: a new member could not be started; those before it stay.
        """
        raise SpecError(f"{self.path} is a supervisor and has no size: only a pool can be resized; add children with start_child")

    def which_children(self) -> list[ChildInfo]:
        """Its children, in order."""
        return [each.info() for each in self.children.values()]

    def count_children(self) -> ChildCounts:
        """How many children it has."""
        supervisors = sum(each.kind == "supervisor" for each in self.children.values())
        return ChildCounts(
            specs=len(self.children),
            active=sum(each.is_running for each in self.children.values()),
            supervisors=supervisors,
            actors=len(self.children) - supervisors,
        )

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise UnknownActor(f"{self.path} has no child {name!r}; its children are: {', '.join(self.children) or 'none'}")
        return self.children[name]

    def _check_is_stopped(self, child: Child) -> None:
        if child.is_running or child.wanted:
            state = "running" if child.is_running else "about to be restarted"
            raise SpecError(f"{child.path} is {state}: stop it first, with stop_child({child.name!r})")

    def __repr__(self) -> str:
        return f"<Supervisor {self.path}>"
