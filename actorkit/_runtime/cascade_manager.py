"""The root of every tree: the supervisor that sees the whole, and keeps one failing part from taking the rest down.

At each poll it judges all components (health_monitor.py). A pure machine (policy/cascade.py) says in which phase the
system is; here that is done:

    EMERGENCY    sources at a fraction of their recent rate, mail for unhealthy components waits      emergency.py
                 one event with the likely cause and whom it reaches; what crashes is restarted in order of dependency
    RECOVERING   mail is let through, and sources speed up step by step
    NORMAL       all is as ever, and the incident is reported

A defect of this watch ends nothing: it is reported, and the watch begins anew. If it stays down, what is slowed down and held
is let go after one stabilisation time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import checkpoint

from actorkit._runtime.dependencies import all_needs, needs_of
from actorkit._runtime.emergency import Emergency
from actorkit._runtime.graph import DependencyGraph, graph_of
from actorkit._runtime.groups import GroupCell, actors_of
from actorkit._runtime.health_monitor import HealthMonitor, SystemHealth
from actorkit._runtime.incident import Incident
from actorkit._runtime.restart_spacing import RestartSpacing
from actorkit._runtime.supervisor import Supervisor
from actorkit.errors import ActorkitError, SupervisionError
from actorkit.events import (
    MOST_NAMED,
    CascadeWatchFailed,
    EmergencyBegan,
    EmergencyEnded,
    EmergencyEscalated,
    EmergencyRelapsed,
    Event,
    HealthRuleApplied,
    RecoveryStepped,
    named,
)
from actorkit.policy.cascade import (
    BeganRecovery,
    Cascade,
    CascadePhase,
    CascadeSettings,
    Change,
    EnteredEmergency,
    Escalated,
    Relapsed,
    Resolved,
    SteppedUp,
)
from actorkit.policy.dependencies import SPREADING_FROM, blast_radius, likely_causes, spreading
from actorkit.policy.health import HealthThresholds
from actorkit.policy.health_rules import HealthAction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.child import Child
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.specs import SupervisorSpec
    from actorkit.messages import Exit
    from actorkit.policy.recovery import DeadLetterReason

AT_ONCE: Final = 50
"""Components whose dependencies are looked up in a row; then others have their turn."""
WATCH_AGAIN: Final = (0.1, 60.0)
"""Seconds until a watch that failed begins anew: at first, doubled each time, and at most."""


class CascadeManager(Supervisor):
    """The root supervisor, as `system.cascade`. It does not restart the tree below: when that gives up, the run ends with the cause."""

    def __init__(self, kernel: Kernel, spec: SupervisorSpec, settings: CascadeSettings | None) -> None:
        super().__init__(kernel, spec, "root", None)
        self.is_watching = settings is not None  # False: a plain root
        self._settings = settings or CascadeSettings()
        self._cascade = Cascade(self._settings, 0.0)
        self.monitor = HealthMonitor(kernel, HealthThresholds(answer_within=self._settings.poll / 2))
        self._emergency = Emergency(kernel)
        self._unhealthy: dict[Cell, None] = {}  # at the last poll
        self._incident: Incident | None = None
        self._let_go_at = math.inf  # while the watch is down
        if self.is_watching:
            kernel.restart_delay = RestartSpacing(kernel).delay
            kernel.has_held_work = lambda: self._emergency.has_held_work

    @staticmethod
    def settings(
        *,
        poll: float = 5.0,
        unhealthy_fraction: float = 0.3,
        emergency_rate: float = 0.1,
        stabilise: float = 30.0,
        steps: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0),
        step_time: float = 30.0,
    ) -> CascadeSettings:
        """Settings for `run(tree, cascade=CascadeManager.settings(…))`; times in seconds.

        Args:
            poll: between two looks at all components.
            unhealthy_fraction: when more of those that count are unhealthy, and they are three at least, there is an emergency. It
                ends when no more than a third of that are.
            emergency_rate: the share of their recent rate that sources go on at.
            stabilise: how long it has to be calm before recovery begins; twice as long after each relapse, up to eight times.
            steps: the shares of their rate at which sources come back.
            step_time: how long it has to be calm on each step.

        Raises:
            SpecError: a value is out of range (of a wrong type: SpecTypeError).
        """
        return CascadeSettings(
            poll=poll,
            unhealthy_fraction=unhealthy_fraction,
            emergency_rate=emergency_rate,
            stabilise=stabilise,
            steps=steps,
            step_time=step_time,
        )

    # ------------------------------------------------------------------------------------------------ what is known

    @property
    def phase(self) -> CascadePhase:
        """NORMAL, EMERGENCY or RECOVERING."""
        return self._cascade.phase

    @property
    def rate(self) -> float:
        """The share of their own rate that sources have now."""
        return self._cascade.rate

    def health(self) -> SystemHealth:
        """How all components did at the last poll."""
        return self.monitor.of_all()

    @property
    def dependency_graph(self) -> DependencyGraph:
        """Who needs whom, as it is now: by wires, topics and `depends_on`."""
        return graph_of(self.kernel)

    # ------------------------------------------------------------------------------------------------ for operators

    def force(self) -> None:
        """Has the system go into an emergency now, whatever the health of its components; does nothing if it is being stopped.

        Raises:
            ActorkitError: the system runs with `cascade=False`.
        """
        if not self.is_watching:
            raise ActorkitError("cascade=False: nothing watches this system, so it would not come back from an emergency by itself")
        if not self.kernel.is_closing:
            self._apply(self._cascade.force(self.kernel.now()))

    def abort(self) -> None:
        """Ends an emergency now: all goes on at its own rate. The next begins only after a poll has found no reason for one."""
        self._apply(self._cascade.abort(self.kernel.now()))

    # ------------------------------------------------------------------------------------------------ the watch

    async def start(self) -> None:
        """Starts the tree, and begins to watch it."""
        await super().start()
        if self.is_watching:
            if self.phase is CascadePhase.NORMAL:  # nobody has forced an emergency while it started
                self._cascade = Cascade(self._settings, self.kernel.now())
            self._emergency.look()
            self.kernel.launch(self._watch)

    async def _watch(self) -> None:
        shortest, longest = WATCH_AGAIN
        due, wait = self.kernel.now() + self._settings.poll, shortest
        while not self.kernel.is_closing:
            if self._let_go_at <= due:
                await trio.sleep_until(self._let_go_at)
                self._let_go_at = math.inf
                self._emergency.end()
            await trio.sleep_until(due)
            try:
                await self._poll()
            except Exception as error:  # a defect here must not end what it guards
                self._failed(error)
                due, wait = self.kernel.now() + wait, min(longest, 2 * wait)
            else:
                self._let_go_at, wait = math.inf, shortest
                due += self._settings.poll * max(1, math.ceil((self.kernel.now() - due) / self._settings.poll))  # without drift

    def _failed(self, error: Exception) -> None:
        self.kernel.events.publish(CascadeWatchFailed(self.path, error))
        if self._emergency.is_on:
            self._let_go_at = min(self._let_go_at, self.kernel.now() + self._cascade.stabilisation)

    async def _poll(self) -> None:
        self._emergency.look()
        before = self._unhealthy
        self._unhealthy, eligible = await self.monitor.look()
        spreads = len(self._unhealthy) >= SPREADING_FROM and await self._spreads(before)
        if self.kernel.is_closing:
            return
        if self._incident is not None:
            self._incident.note_health(before, self._unhealthy)
        self._apply(self._cascade.tick(self.kernel.now(), len(self._unhealthy), eligible, spreading=spreads))
        self._obey_rules()

    def _obey_rules(self) -> None:
        """Does what users want to be done about those that do badly."""
        for cell, action in self.monitor.due.items():
            health = self.monitor.of(cell)
            self.kernel.events.publish(HealthRuleApplied(cell.path, action, health.status, health.reasons))
            if action is HealthAction.THROTTLE:
                for each in actors_of(cell):
                    each.gated().slow_down()
            else:
                cell.recovery.actor_is_unwell("; ".join(health.reasons), set_aside=action is HealthAction.SET_ASIDE)

    async def _spreads(self, before: dict[Cell, None]) -> bool:
        needs: dict[Cell, Sequence[Cell]] = {}
        looked_up: dict[Any, list[Cell]] = {}
        for number, cell in enumerate(list(self._unhealthy), 1):
            needs[cell] = needs_of(self.kernel, cell, looked_up)
            if number % AT_ONCE == 0:
                await checkpoint()
        return spreading(self._unhealthy, before, needs)

    # ------------------------------------------------------------------------------------------------ what is done

    def _apply(self, changes: Iterable[Change]) -> None:
        if self._incident is not None:
            self._incident.most_held = max(self._incident.most_held, self._emergency.held_messages)
        self._put_in_force()  # first of all: what is told about it may fail
        for change in changes:
            match change:
                case EnteredEmergency():
                    self._enter(change)
                    self._restart_in_order()
                case Relapsed():
                    how_many = change.unhealthy, change.eligible, change.relapses, self._cascade.stabilisation
                    self._tell(EmergencyRelapsed(self.path, change.trigger.value, change.step, *how_many))
                    self._restart_in_order()
                case BeganRecovery():
                    self._tell(RecoveryStepped(self.path, 0, change.rate))
                case SteppedUp():
                    self._tell(RecoveryStepped(self.path, change.step, change.rate))
                case Escalated():
                    self._tell(EmergencyEscalated(self.path, change.phase, change.lasted, change.unhealthy, change.eligible))
                case Resolved():
                    self._report_incident("ended by an operator" if change.aborted else "back to normal", change.relapses)

    def _put_in_force(self) -> None:
        """Does what the present phase asks for: what its beginning did, if that was made undone since, too."""
        if self.phase is CascadePhase.NORMAL or self.kernel.is_closing:
            self._emergency.end()
            return
        self._emergency.put_in_force(self.rate)
        if self.phase is CascadePhase.EMERGENCY:
            self._emergency.hold(self._unhealthy)
        else:
            self._emergency.let_go()

    def _enter(self, change: EnteredEmergency) -> None:
        needs = all_needs(self.kernel)
        circles = likely_causes(self._unhealthy, needs)
        causes = [" and ".join(cell.path for cell in circle) for circle in circles]
        reached = [cell.path for cell in blast_radius((cell for circle in circles for cell in circle), needs)]
        self._incident = Incident(self.kernel, causes, reached)
        reasons = tuple(f"{cell.path}: {'; '.join(self.monitor.of(cell).reasons)}" for cell in list(self._unhealthy)[:MOST_NAMED])
        who = tuple(causes), tuple(reached), reasons
        self._tell(EmergencyBegan(self.path, change.trigger.value, change.unhealthy, change.eligible, change.relapses, *who))

    def _report_incident(self, outcome: str, relapses: int) -> None:
        if self._incident is not None:
            report = self._incident.report(outcome, relapses)
            self._incident = None
            self.kernel.events.publish(EmergencyEnded(self.path, report))

    def _tell(self, event: Event) -> None:
        """Publishes it, and puts its first line into the report."""
        self._note(str(event).partition("\n")[0])
        self.kernel.events.publish(event)

    def _note(self, what: str) -> None:
        if self._incident is not None:
            self._incident.note(what)

    def _restart_in_order(self) -> None:
        """Those that keep crashing are restarted in order of dependency: the others are not to meet them half up.

        Pools and keyed actors have members that come and go by themselves.
        """
        failed = [cell for cell in self._unhealthy if self.monitor.has_restarted(cell) and not isinstance(cell, GroupCell)]
        if failed:
            self.kernel.launch(self._restart_all, failed)

    async def _restart_all(self, failed: list[Cell]) -> None:
        self._note(f"restarts in order of dependency: {named([cell.path for cell in failed])}")
        try:
            await self.kernel.system.checkpoints.restart_in_order(failed)
        except ActorkitError as error:  # one could not be started: its supervisor goes on with that
            self._note(f"could not restart all: {error}")
        except Exception as error:
            self._failed(error)

    def let_go(self) -> None:
        """The system is being stopped: what is queued is worked off at full speed."""
        self._emergency.end()

    async def stop(self, reason: Any, deadline: float) -> None:
        self.let_go()
        await super().stop(reason, deadline)

    def retire_all(self, why: DeadLetterReason) -> None:
        """The system has ended, also in the middle of an emergency."""
        super().retire_all(why)
        self._report_incident("the system was stopped", self._cascade.relapses)

    # ------------------------------------------------------------------------------------------------ the root of the tree

    async def child_exited(self, child: Child, exit: Exit) -> None:
        """The top tree has ended by itself, or given up."""
        if not child.is_running or exit.incarnation != child.number:
            return
        await child.stop(exit.reason, math.inf)
        if exit.reason.is_abnormal:
            cause = None if exit.error is None else exit.error.exception
            what = "" if exit.error is None else f": {exit.error.component_name}: {exit.error.summary}"
            error = SupervisionError(f"{child.path} gave up, and nobody is left to recover it{what}", exit)
            error.__cause__ = cause
            self.kernel.crash(error)
        else:
            await self._ended(child, exit)
            self.kernel.system.top_ended()
