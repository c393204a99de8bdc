"""Supervisors: start children in order, act on their exits, stop them in reverse order.

The rules are Erlang/OTP's (`policy/restart.py` decides); tests/conformance says them one by one. A supervisor deals with
one thing at a time (turns.py): exits, ends of back-offs, requests. A start that fails during a restart takes a new turn,
so that in between it can be asked, and stopped.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio
from attrs import evolve
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, enable_ki_protection

from actorkit._runtime.actor_child import ActorChild
from actorkit._runtime.batches import make_cell
from actorkit._runtime.cell import Cell
from actorkit._runtime.child import Child, ChildCounts, ChildInfo, SupervisorChild
from actorkit._runtime.ref import ActorRef
from actorkit._runtime.specs import ChildSpec, Spec, SupervisorSpec, check_wires
from actorkit._runtime.timers import Alarm
from actorkit._runtime.turns import Turns
from actorkit._runtime.wiring import check_required, connect, disconnect
from actorkit.errors import SpecError, SpecTypeError, SupervisionError, UnknownActor
from actorkit.events import ChildExited, ChildQuarantined, SupervisorGaveUp, SupervisorStarted, SupervisorStopped
from actorkit.messages import Exit, ExitReason
from actorkit.policy.checks import check_seconds, check_significant
from actorkit.policy.recovery import DeadLetterReason, RecoveryPolicy
from actorkit.policy.restart import OnExhausted, Restart, RestartPlan, RestartWindow, Strategy, auto_shuts_down, plan, wants_restart

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.ports import Wire
    from actorkit._runtime.wiring import Connections
    from actorkit.policy.taxonomy import ErrorContext

A = TypeVar("A", bound="Actor")

START_COST = 8
"""What starting a child takes from the budget of things in a row that need not wait: a checkpoint every 32 of them."""
AT_A_TIME = 64
"""Children of a tree that are started or stopped in a row, if that takes no wait."""


class Supervisor:
    """A supervisor at work, as `system.supervisor(path)` or `self.supervisor`: administers its children."""

    def __init__(self, kernel: Kernel, spec: SupervisorSpec, path: str, parent: Supervisor | None) -> None:
        self.kernel = kernel
        self.spec = spec
        self.path = path
        self.parent = parent
        self.recovery: RecoveryPolicy = spec.recovery or (RecoveryPolicy() if parent is None else parent.recovery)
        self.children: dict[str, Child] = {}
        self.number = 0
        self.is_running = False
        self.engaged: dict[Cell | Supervisor, int] = {}  # the children that it waits for, as they start or stop: how many times
        self._window = RestartWindow(spec.max_restarts or 0, spec.within or 1.0)
        self._turns = Turns(kernel, path)
        self._one_stop = trio.Lock()
        self._sources_on = False
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

    # ------------------------------------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Starts all children in order; when one cannot be started, stops those before it and raises `SupervisionError`."""
        self.number += 1
        self._sources_on = False
        self._window.clear()
        for child in [each for each in self.children.values() if each.added]:
            self._remove(child, ExitReason.SHUTDOWN, None)  # as in OTP, a restart goes back to the children of the spec
        self._turns.open()
        try:
            for number, child in enumerate(list(self.children.values()), 1):
                if not child.completed:
                    child.begin()
                    await self._bring_up(child)
                await _let_others_go_on(number)
        except BaseException as error:
            self._turns.close()
            try:
                if isinstance(error, SupervisionError):
                    await self._stop_children(ExitReason.SHUTDOWN, math.inf)
            finally:
                with trio.CancelScope(shield=True):
                    await self._stop_children(ExitReason.SHUTDOWN, -math.inf)
            raise
        self.is_running = True
        self._turns.serve()
        self.kernel.events.publish(SupervisorStarted(self.path))

    async def _bring_up(self, child: Child) -> None:
        """Starts one child, or raises `SupervisionError`."""
        if not child.start_now():
            await child.start()

    async def _bring_down(self, child: Child, reason: ExitReason, deadline: float = math.inf) -> ExitReason:
        """Stops one child; says how that ended: `reason`, or KILLED."""
        ended = child.stop_now(reason)
        return await child.stop(reason, deadline) if ended is None else ended

    def start_sources(self) -> None:
        """Starts `run` of all sources below, and from now on whenever a child has been restarted."""
        if not self._sources_on:
            self._sources_on = True
            self._start_new_sources(self.children.values())

    def _start_new_sources(self, children: Iterable[Child]) -> None:
        if self._sources_on:
            for child in children:
                child.start_sources()

    async def stop(self, reason: ExitReason, deadline: float) -> None:
        """Stops all children in reverse order, and itself. What it is dealing with is broken off."""
        async with self._one_stop:
            await self._turns.end()
            await self._stop_children(reason, deadline)
            if self.is_running:
                self.is_running = False
                self.kernel.events.publish(SupervisorStopped(self.path, reason))

    async def _stop_children(self, reason: ExitReason, deadline: float) -> None:
        children = list(reversed(self.children.values()))
        for child in children:
            self._cancel_alarm(child)
        if self.spec.dynamic:
            await self._stop_together(children, reason, deadline)
        else:
            for number, child in enumerate(children, 1):
                await self._bring_down(child, reason, deadline)
                await _let_others_go_on(number)

    async def _stop_together(self, children: Iterable[Child], reason: ExitReason, deadline: float) -> None:
        """Stops them all at the same time: a task for each that has to be waited for."""
        async with trio.open_nursery() as nursery:
            for number, child in enumerate(children, 1):
                if child.stop_now(reason) is None:
                    nursery.start_soon(child.stop, reason, deadline)
                await _let_others_go_on(number)

    # ------------------------------------------------------------------------------------------------ exits

    def on_exit(self, unit: Cell | Supervisor, exit: Exit) -> None:
        """A child's life has ended, or has to. Dealt with soon, in order."""
        child = self.children.get(unit.path.rpartition("/")[2])
        if child is not None and child.unit is unit:
            child.note(exit)
            self._turns.add(partial(self.child_exited, child, exit))

    async def child_exited(self, child: Child, exit: Exit) -> None:
        """What to do about one exit: nothing, a restart, or to give up."""
        if not child.is_running or exit.incarnation != child.number:
            return  # of an earlier life
        if not exit.escalate:
            reason = await self._bring_down(child, exit.reason)
            exit = evolve(child.exit or exit, reason=reason)
        if exit.escalate:
            self._report(child, exit, restarting=False)
            await self._give_up(f"child {child.name!r} escalated a failure", exit.error)
        elif exit.drained or not wants_restart(child.spec.restart, exit.reason):
            await self._ended(child, exit)
        else:
            await self._count_and_restart(child, exit)

    async def _start_failed(self, child: Child, failure: SupervisionError) -> None:
        """A start during a restart failed: that counts like one more exit."""
        if not child.wanted:  # stopped by hand meanwhile; its bystanders waited with it
            if self.children.get(child.name) is child:
                await self._restart(child)
            return
        exit = failure.exit or Exit(child.number, ExitReason.FAILED)
        if exit.escalate:
            await self._give_up(f"child {child.name!r} escalated a failure to start", exit.error)
        else:
            await self._count_and_restart(child, evolve(exit, incarnation=child.number))

    async def _due(self, child: Child) -> None:
        """A child's back-off is over."""
        child.alarm = None
        if child.wanted:
            await self._restart(child)

    async def _ended(self, child: Child, exit: Exit) -> None:
        """A child has ended and is not restarted."""
        if exit.reason.is_abnormal:
            self._report(child, exit, restarting=False)
        child.wanted, child.completed = False, True
        if child.spec.restart is Restart.TEMPORARY or self.spec.dynamic:
            self._remove(child, exit.reason, exit.error)
        else:
            child.retire(exit.reason, exit.error)
        if child.spec.significant:
            left = sum(each.spec.significant and each.wanted for each in self.children.values())
            if auto_shuts_down(self.spec.auto_shutdown, child.spec.significant, left):
                await self._end(ExitReason.SHUTDOWN, None)

    async def _count_and_restart(self, child: Child, exit: Exit) -> None:
        now, budget, delay = trio.current_time(), child.budget or self._window, exit.delay
        allowed = not child.is_on_probation and (not exit.charged or budget.allows(now))
        if allowed:
            child.restarts += 1
            self.kernel.restarts += 1
            delay = max(delay, child.back_off(now, self._window.within, self.kernel.rng))
        self._report(child, exit, restarting=allowed, delay=delay)
        if not allowed and (child.spec.on_exhausted or self.spec.when_exhausted) is OnExhausted.QUARANTINE:
            self._quarantine(child, exit)
            return
        if not allowed:
            used_up = f"{budget.max_restarts} restarts in {budget.within:g} s are used up"
            await self._give_up(f"child {child.name!r} ended ({exit.reason.value}), and {used_up}", exit.error)
            return
        child.restarting(exit.reason, exit.error)
        await self._stop_bystanders(child)
        if delay:
            child.alarm = Alarm(now + delay, lambda: self._turns.add(partial(self._due, child)))
            self.kernel.timers.add(child.alarm)
        else:
            await self._restart(child)

    def _report(self, child: Child, exit: Exit, *, restarting: bool, delay: float = 0.0) -> None:
        self.kernel.events.publish(
            ChildExited(child.path, self.path, exit.reason, child.restarts, restarting=restarting, delay=delay, error=exit.error)
        )
        if restarting and exit.error is not None:
            exit.error.let_go()

    def _plan(self, child: Child) -> RestartPlan:
        alone = self.spec.strategy is Strategy.ONE_FOR_ONE  # then nobody looks through its siblings, of which there may be very many
        return plan(self.spec.strategy, [child.name] if alone else list(self.children), child.name)

    async def _stop_bystanders(self, child: Child) -> None:
        for name in self._plan(child).stop:
            other = self.children[name]
            if other.is_running and not other.is_drained:
                await self._bring_down(other, ExitReason.SHUTDOWN)
                if other.spec.restart is Restart.TEMPORARY:
                    self._remove(other, ExitReason.SHUTDOWN, None)
                else:
                    other.restarting(ExitReason.SHUTDOWN, None)

    async def _restart(self, child: Child) -> None:
        """Starts the child and the bystanders that were stopped with it, in order."""
        await self._stop_bystanders(child)  # those that came up in a try before
        group = [self.children[name] for name in self._plan(child).start]
        group = [each for each in group if each.wanted and not each.is_running]
        for each in group:
            self._cancel_alarm(each)
            try:
                await self._bring_up(each)
            except SupervisionError as failure:
                self._turns.add(partial(self._start_failed, each, failure))  # not here and now: in between, it can be stopped
                return
        # Of a group also those that came up in a try before.
        self._start_new_sources(group if self.spec.strategy is Strategy.ONE_FOR_ONE else self.children.values())

    def _quarantine(self, child: Child, exit: Exit) -> None:
        """Sets a child aside; its mailboxes stay, and take messages, until it is released."""
        child.quarantine(exit.reason, exit.error)
        self.kernel.events.publish(ChildQuarantined(child.path, self.path, exit.error))
        self.kernel.look()

    async def _give_up(self, why: str, error: ErrorContext | None) -> None:
        self.kernel.events.publish(SupervisorGaveUp(self.path, why, error))
        await self._end(ExitReason.FAILED, error, why)

    async def _end(self, reason: ExitReason, error: ErrorContext | None, why: str = "") -> None:
        """Ends itself: stops its children and tells its own supervisor."""
        self._turns.close()
        await self._stop_children(ExitReason.SHUTDOWN, math.inf)
        if self.parent is not None:
            self.parent.on_exit(self, Exit(self.number, reason, error))

    def _remove(self, child: Child, reason: ExitReason, error: ErrorContext | None) -> None:
        child.wanted = False
        self._cancel_alarm(child)
        child.retire(reason, error)
        child.forget()
        self.children.pop(child.name, None)

    def _cancel_alarm(self, child: Child) -> None:
        if child.alarm is not None:
            self.kernel.timers.remove(child.alarm)
            child.alarm = None

    # ------------------------------------------------------------------------------------------------ administration

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
        if isinstance(spec, Spec) and not spec.waits_to_start:
            await (self.kernel.dispatcher.breathe_now_and_then(START_COST) or checkpoint_if_cancelled())
            if self._turns.are_free:
                return await self._start_new(spec, wires)
        return await self._turns.ask(partial(self._start_new, spec, wires), breakable=True)

    @enable_ki_protection
    async def _start_new(self, spec: Spec, wires: Sequence[Wire]) -> Any:
        child = self._add_new(spec)
        made: Connections = []
        try:
            new = child.cells().values()
            made = connect(self.kernel.cells, [*wires, *(spec.all_wires() if isinstance(spec, SupervisorSpec) else ())], new)
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

        Raises:
            UnknownActor: there is no such child; the text lists those there are.
            SpecError: it is running, or about to be restarted.
        """

        async def delete() -> None:
            child = self._child(name)
            self._check_is_stopped(child)
            self._remove(child, ExitReason.SHUTDOWN, None)

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

    def retire_all(self, why: DeadLetterReason) -> None:
        """The system has ended: whatever is still queued below becomes dead letters."""
        for child in self.children.values():
            child.retire(ExitReason.SHUTDOWN, None, why)

    def __repr__(self) -> str:
        return f"<Supervisor {self.path}>"


async def _let_others_go_on(number: int) -> None:
    """Among very many children that start or stop without a wait, others have a turn now and then; no cancel comes in between."""
    if number % AT_A_TIME == 0:
        await cancel_shielded_checkpoint()
