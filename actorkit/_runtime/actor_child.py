"""An actor as its supervisor sees it: how it is started, stopped, set aside, and let go for good."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve

from actorkit._runtime.boundaries import life_is_over
from actorkit._runtime.child import Child, at_once
from actorkit._runtime.deadlocks import engages
from actorkit._runtime.holds import release_holds
from actorkit._runtime.incarnation import FENCE_AFTER, Incarnation
from actorkit._runtime.restoring import HandedOn
from actorkit._runtime.waits import Envelope
from actorkit._runtime.watching import down
from actorkit.errors import SupervisionError
from actorkit.events import ActorStarted, ActorStopped, ActorUnresponsive, StartFailed
from actorkit.messages import Exit, ExitReason
from actorkit.policy.recovery import DeadLetterReason
from actorkit.policy.restart import CANARIES, RestartWindow
from actorkit.policy.rules import RecoveryAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.restoring import KeptState
    from actorkit._runtime.specs import ChildSpec
    from actorkit.policy.taxonomy import ErrorContext


class ActorChild(Child):
    """An actor as its supervisor sees it."""

    __slots__ = ("_carried", "_trusted_from", "_window", "cell", "given")

    spec: ChildSpec[Any]

    def __init__(self, cell: Cell, spec: ChildSpec[Any]) -> None:
        super().__init__(spec, cell)
        self.cell = cell
        self._carried: tuple[object, int] | None = None
        self.given: Sequence[KeptState] | None = None  # what its next life is to be restored from, whatever else there is
        self._trusted_from = 0  # how many messages it has to have handled, since it was released from quarantine
        self._window: RestartWindow | None = None

    @property
    def budget(self) -> RestartWindow | None:
        if self._window is None and self.spec.max_restarts is not None and self.spec.within is not None:
            self._window = RestartWindow(self.spec.max_restarts, self.spec.within)
        return self._window

    def begin(self) -> None:
        super().begin()
        if self._window is not None:
            self._window.clear()

    @property
    def is_running(self) -> bool:
        return self.cell.life is not None

    @property
    def number(self) -> int:
        return self.cell.number

    @property
    def is_drained(self) -> bool:
        return self.cell.drained

    def cells(self) -> dict[str, Cell]:
        return {self.path: self.cell}

    def start_now(self) -> bool:
        if self.spec.waits_to_start or self.cell.kernel.checkpoints.has_to_read(self.cell):
            return False
        at_once(self._start())
        return True

    @engages
    async def start(self) -> None:
        await self._start()

    async def states_to_try(self) -> Sequence[KeptState]:
        """What its next life could be restored from, the best first: what it has committed, what a source has handed on, its checkpoints.

        Raises:
            DecodingError: it has committed a state that can't be read.
        """
        if self.given is not None:
            return self.given
        step = self.cell.step
        if step is not None and step.keeps_state:
            return () if step.carried is None else (HandedOn("what it has committed", step.carried, required=True),)
        kept = await self.cell.kernel.checkpoints.states_of(self.cell)
        return kept if self._carried is None else [HandedOn("what its last life handed on", self._carried), *kept]

    async def _start(self) -> None:
        cell = self.cell
        cell.number += 1
        cell.status = "starting"
        if self.completed:  # started by hand: its streams begin anew
            cell.drained = False
        life = Incarnation(cell, cell.number)
        started = False
        states: Sequence[KeptState] = ()
        try:
            cell.make_eager_mailboxes()
            if "snapshot" in life.hooks:
                states = await self.states_to_try()
            await life.start(states)
            started = True
        except Exception as error:
            context, action, delay = cell.recovery.start_failed(error, "restore" if life.restoring else "start")
            if action is not RecoveryAction.LOG_AND_CONTINUE or not life.constructed:
                cell.kernel.events.publish(StartFailed(cell.path, context))
                exit = Exit(cell.number, ExitReason.FAILED, context, delay=delay, escalate=action is RecoveryAction.ESCALATE)
                if any(each.error is not None for each in states) and not any(each.is_restored for each in states):
                    exit = evolve(exit, escalate=False, hopeless=True)
                raise SupervisionError(f"{cell.path} could not be started: {context.summary}", exit) from error
            started = life.started = True
        finally:
            if not started:  # also when the start was cancelled
                life.cancel_tasks()
                await life.finish(ExitReason.FAILED, -inf)
                cell.gather()
                cell.status = "stopped"
        cell.live(life)
        if self.given is not None and cell.step is not None:
            cell.step.adopt()
        self.given = None
        cell.accept()
        cell.status = "running"
        events = cell.kernel.events
        if events.hears(ActorStarted.level):
            events.publish(ActorStarted(cell.path, cell.number))
        cell.open()
        cell.go_on()
        life.watch_silence()
        if cell.kernel.reminders.late:
            cell.kernel.reminders.started(cell.path)
        if cell.actor_class.checkpoint_every is not None:
            cell.kernel.checkpoints.begin(cell)
        life.check_ending()

    def start_sources(self) -> None:
        if self.cell.life is not None:
            self.cell.life.start_source()

    def stop_now(self, reason: ExitReason) -> ExitReason | None:
        life = self.cell.life
        if life is None:
            return reason
        if self.cell.is_at_work or life.tasks or "on_stop" in life.hooks:
            return None
        return at_once(self._stop(life, reason, -inf))

    async def stop(self, reason: ExitReason, deadline: float) -> ExitReason:
        if self.cell.life is not None:
            reason = await self._stop_in_time(self.cell.life, reason, self.stops_by(min(deadline, self.cell.stop_by)))
        return reason

    @engages
    async def _stop_in_time(self, life: Incarnation, reason: ExitReason, until: float) -> ExitReason:
        return await self._stop(life, reason, until)

    async def _stop(self, life: Incarnation, reason: ExitReason, until: float) -> ExitReason:
        cell = self.cell
        cell.status = "stopping"
        cell.cancel_retry()
        cell.close()
        release_holds(cell)
        life.cancel_tasks()
        has_time = until > trio.current_time()
        # Without time, what counts is the message in hand. Tasks were cancelled, as by any stop, but had no chance to end yet.
        is_in_time = await cell.wait_at_rest(until) if has_time else not (cell.is_at_work and cell.port is not None)
        if not is_in_time and reason is not ExitReason.FAILED:
            reason = ExitReason.KILLED
        if not cell.is_at_rest:
            cell.kill()
            if not await cell.wait_at_rest(trio.current_time() + FENCE_AFTER):
                cell.kernel.events.publish(ActorUnresponsive(cell.path, cell.number, FENCE_AFTER))
                cell.fence()
                life.abandon_tasks()
        if reason is ExitReason.NORMAL and self.has_failed:
            reason = ExitReason.FAILED  # after it had asked to be stopped, in the same step
        if cell.step is None:
            self._carried = None if self.given is not None else life.carry() or self._carried
        if not reason.is_abnormal and self.given is None and cell.actor_class.checkpoint_every is not None:
            cell.kernel.checkpoints.take_last(cell)
        await life.finish(reason, until)
        cell.gather()
        cell.stand_still()
        cell.life, cell.ending, cell.status = None, False, "stopped"
        life_is_over(cell)
        events = cell.kernel.events
        if events.hears(ActorStopped.level):
            events.publish(ActorStopped(cell.path, cell.number, reason))
        return reason

    def set_aside(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.cell.refuse()
        self._fail_requests(error)
        down(self.cell, reason, error, restarting=False)

    def _fail_requests(self, error: ErrorContext | None) -> None:
        for mailbox in self.cell.mailboxes.values():
            for item in mailbox.queue:
                if type(item) is Envelope:
                    item.fail(f"{mailbox.path} will not answer: the actor was {self.cell.status}", error)
                    item.gone = item.is_ask

    @property
    def is_on_probation(self) -> bool:
        return self._handled < self._trusted_from

    @property
    def _handled(self) -> int:
        return sum(mailbox.processed for mailbox in self.cell.mailboxes.values())

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        super().quarantine(reason, error)
        self.cell.quarantined, self.cell.status = True, "quarantined"
        self._fail_requests(error)
        down(self.cell, reason, error, restarting=False)

    def release(self) -> None:
        super().release()
        self.cell.quarantined = False
        self._trusted_from = self._handled + CANARIES

    def retire(self, reason: ExitReason, error: ErrorContext | None, why: DeadLetterReason = DeadLetterReason.RECEIVER_STOPPED) -> None:
        cell = self.cell
        if cell.gone:
            return
        cell.gone = True
        cell.status = "ended"
        cell.refuse()
        if reason is not ExitReason.FAILED or error is not None:  # else it was never up: another one may still have this path
            cell.kernel.reminders.forget(cell.path)
        cell.gather()
        if cell.arrivals and cell.sole is None:
            cell.arrivals.clear()
        for mailbox in cell.mailboxes.values():
            mailbox.dead_letter_all(why)
        cell.close_wires()
        down(cell, reason, error, restarting=False)

    def depart(self, *, for_good: bool) -> None:
        if for_good:
            self.cell.kernel.erase(self.cell)
        else:
            self.cell.kernel.leave(self.cell)

    def restarting(self, reason: ExitReason, error: ErrorContext | None) -> None:
        self.cell.restarts = self.restarts
        self.cell.status = "restarting"
        down(self.cell, reason, error, restarting=True)

    def forget(self) -> None:
        self.cell.kernel.remove(self.cell)
