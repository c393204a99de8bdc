"""Supervision: starts children in order, acts on their exits, stops them in reverse order.

The rules are Erlang/OTP's (`policy/restart.py` decides); tests/conformance says them one by one. A supervisor deals with
one thing at a time (turns.py): exits, ends of back-offs, requests. A start that fails during a restart takes a new turn,
so that in between it can be asked, and stopped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

import trio
from attrs import evolve
from trio.lowlevel import cancel_shielded_checkpoint

from actorkit._runtime.timers import Alarm
from actorkit._runtime.turns import Turns
from actorkit.errors import SupervisionError
from actorkit.events import ChildExited, ChildQuarantined, SupervisorGaveUp, SupervisorStarted, SupervisorStopped
from actorkit.messages import Exit, ExitReason
from actorkit.policy.recovery import DeadLetterReason, RecoveryPolicy
from actorkit.policy.restart import OnExhausted, Restart, RestartPlan, RestartWindow, Strategy, auto_shuts_down, plan, wants_restart

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.child import Child
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.specs import Spec, SupervisorSpec
    from actorkit._runtime.supervisor import Supervisor
    from actorkit.policy.taxonomy import ErrorContext

AT_A_TIME = 64
"""Children of a tree that are started or stopped in a row, if that takes no wait."""


class Supervision(ABC):
    """What a supervisor does by itself: the part of `Supervisor` that nobody calls by hand."""

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

    @abstractmethod
    def _add(self, spec: Spec, name: str) -> Child:
        """One more child, not started yet."""

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
                    await self._bring_up_or_set_aside(child)
                await let_others_go_on(number)
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

    async def _bring_up_or_set_aside(self, child: Child) -> None:
        """The same, but one that could neither be restored nor start afresh is set aside: it is nobody else's fault."""
        try:
            await self._bring_up(child)
        except SupervisionError as failure:
            if failure.exit is None or not failure.exit.hopeless:
                raise
            self._quarantine(child, failure.exit)

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
                await let_others_go_on(number)

    async def _stop_together(self, children: Iterable[Child], reason: ExitReason, deadline: float) -> None:
        """Stops them all at the same time: a task for each that has to be waited for."""
        async with trio.open_nursery() as nursery:
            for number, child in enumerate(children, 1):
                if child.stop_now(reason) is None:
                    nursery.start_soon(child.stop, reason, deadline)
                await let_others_go_on(number)

    # ------------------------------------------------------------------------------------------------ reminders

    def owner_of(self, cell: Cell) -> tuple[str, bytes]:
        """Whose a child's reminders are: its path; with keyed actors, the group's, and the key as bytes."""
        return cell.path, b""

    def mailbox_of(self, key: bytes, port: str) -> Mailbox | None:
        """The mailbox of a keyed actor, which is woken if need be."""
        return None

    # ------------------------------------------------------------------------------------------------ exits

    def on_exit(self, unit: Cell | Supervision, exit: Exit) -> None:
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
        elif exit.hopeless:
            self._report(child, exit, restarting=False)
            self._quarantine(child, exit)
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
        if exit.hopeless:
            self._quarantine(child, exit)
        elif exit.escalate:
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
            delay = max(delay, child.back_off(now, self._window.within, self.kernel.rng), self.kernel.restart_delay(now))
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

    # ------------------------------------------------------------------------------------------------ recovery by hand: checkpoints.py

    def on_hold(self) -> AbstractAsyncContextManager[None]:
        """The block has this supervisor's turn: see `Turns.hold`."""
        return self._turns.hold()

    async def take_down(self, child: Child, deadline: float = math.inf) -> bool:
        """Ends the present life of a child, for who has this turn; says whether it was to be started by itself later."""
        was_waiting = child.alarm is not None
        self._cancel_alarm(child)
        child.restarting(ExitReason.SHUTDOWN, None)
        await self._bring_down(child, ExitReason.SHUTDOWN, deadline)
        return was_waiting

    async def take_up(self, child: Child, *, was_waiting: bool = False) -> None:
        """Starts a child, for who has this turn, all but its `run`; `was_waiting`: with the bystanders that waited with it.

        Raises:
            SupervisionError: it can't be started now, and is dealt with as any child that can't.
        """
        failure: SupervisionError | None = None
        try:
            await self._bring_up(child)
        except SupervisionError as error:
            failure = error
        child.begin()
        if failure is not None:
            self._turns.add(partial(self._start_failed, child, failure))
            raise failure
        if was_waiting:
            await self._restart(child)

    def start_sources_of(self, children: Iterable[Child]) -> None:
        """Starts `run` of these that have one, for who has this turn."""
        self._start_new_sources(children)

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
                await self._bring_up_or_set_aside(each)
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

    def _remove(self, child: Child, reason: ExitReason, error: ErrorContext | None, *, for_good: bool = False) -> None:
        """Removes a child from the tree. One that was added, and was up, is gone for good; one of the spec is there in the next process."""
        child.wanted = False
        self._cancel_alarm(child)
        child.retire(reason, error)
        if not self.kernel.is_closing:
            was_up = reason is not ExitReason.FAILED or error is not None
            child.depart(for_good=for_good or (child.added and was_up))
        child.forget()
        self.children.pop(child.name, None)

    def _cancel_alarm(self, child: Child) -> None:
        if child.alarm is not None:
            self.kernel.timers.remove(child.alarm)
            child.alarm = None

    def retire_all(self, why: DeadLetterReason) -> None:
        """The system has ended: whatever is still queued below becomes dead letters."""
        for child in self.children.values():
            child.retire(ExitReason.SHUTDOWN, None, why)


async def let_others_go_on(number: int) -> None:
    """Among very many children that start or stop without a wait, others have a turn now and then; no cancel comes in between."""
    if number % AT_A_TIME == 0:
        await cancel_shielded_checkpoint()
