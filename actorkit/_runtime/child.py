"""What a supervisor knows of a child, and does with it. A child is an actor (actor_child.py) or another supervisor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from attrs import frozen

from actorkit._runtime.cell import Cell
from actorkit._runtime.deadlocks import engages
from actorkit.policy.recovery import DeadLetterReason
from actorkit.policy.restart import Restart, RestartWindow, grace

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from random import Random

    from actorkit._runtime.ref import ActorRef
    from actorkit._runtime.specs import Spec
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.timers import Alarm
    from actorkit.messages import Exit, ExitReason
    from actorkit.policy.taxonomy import ErrorContext

T = TypeVar("T")


@frozen
class ChildInfo:
    """One child, as `which_children` lists it.

    Attributes:
        name: its name.
        path: its path.
        kind: "actor", "supervisor", "pool" or "keyed".
        is_running: whether it is up.
        is_quarantined: whether it was set aside; `release` brings it back.
        incarnation: its present or last life.
        restarts: how often it was restarted.
        restart: its restart type.
        ref: its address; None for a supervisor.
    """

    name: str
    path: str
    kind: str
    is_running: bool
    is_quarantined: bool
    incarnation: int
    restarts: int
    restart: Restart
    ref: ActorRef[Any] | None


@frozen
class ChildCounts:
    """How many children a supervisor has: specs in all, those that are up, and how many are supervisors and actors."""

    specs: int
    active: int
    supervisors: int
    actors: int


class Child(ABC):
    """One child, and what its supervisor knows of it.

    Attributes:
        unit: the actor's cell, or the supervisor.
        exit: how its present or last life ended, or has to.
        wanted: whether it is to be up; False once it has ended by itself, or was stopped by hand.
        completed: whether it has ended by itself; then it is not started again, not even as a bystander.
        added: whether it was started at run time, and is not part of its supervisor's spec.
        restarts: how often it was restarted.
        attempt: restarts in a row, for the back-off; `backed_off` is the last one's, in seconds, `up_since` its end.
        alarm: the end of a back-off that it waits for, or of a quarantine.
        quarantined: whether it was set aside, because its restarts were used up.
    """

    __slots__ = (
        "added", "alarm", "attempt", "backed_off", "completed", "exit", "name", "quarantined", "restarts", "spec", "unit", "up_since",
        "wanted",
    )  # fmt: skip

    def __init__(self, spec: Spec, unit: Cell | Supervisor) -> None:
        self.spec = spec
        self.unit = unit
        self.name = unit.path.rpartition("/")[2]  # the spec's, or one with a number
        self.exit: Exit | None = None
        self.wanted = True
        self.completed = False
        self.quarantined = False
        self.added = False
        self.restarts = 0
        self.attempt = 0
        self.backed_off = 0.0
        self.up_since = float("-inf")
        self.alarm: Alarm | None = None

    kind = "actor"

    @property
    def path(self) -> str:
        """Where it stands in the tree."""
        return self.unit.path

    @property
    def ref(self) -> ActorRef[Any] | None:
        """Its address; None for a supervisor."""
        return self.unit.ref if isinstance(self.unit, Cell) else None

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it is up."""

    @property
    @abstractmethod
    def number(self) -> int:
        """Its present or last incarnation."""

    @property
    def is_drained(self) -> bool:
        """Whether its streams have ended: then it is left alone as a bystander, and its `run` never starts again."""
        return False

    def note(self, exit: Exit) -> None:
        """Its life has ended, or has to: for the first reason there was, but that it failed outweighs that it wanted to end."""
        before = self.exit
        if before is None or before.incarnation != exit.incarnation or (exit.reason.is_abnormal and not before.reason.is_abnormal):
            self.exit = exit

    @property
    def has_failed(self) -> bool:
        """Whether its present life has to end because it failed."""
        return self.exit is not None and self.exit.incarnation == self.number and self.exit.reason.is_abnormal

    def begin(self) -> None:
        """It is to be up, whatever has been."""
        self.wanted, self.completed = True, False
        if self.quarantined:
            self.release()

    @property
    def budget(self) -> RestartWindow | None:
        """A restart budget of its own, apart from its supervisor's."""
        return None

    @property
    def is_on_probation(self) -> bool:
        """Whether it was released from quarantine, and has not proved itself yet."""
        return False

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        """It is set aside, with its mailboxes, until it is released."""
        self.wanted, self.quarantined = False, True

    def release(self) -> None:
        """It is no longer set aside."""
        self.quarantined = False

    def back_off(self, now: float, within: float, rng: Random) -> float:
        """Seconds to wait before its next restart; the count begins anew when it has been up for a while."""
        if self.spec.backoff is None:
            return 0.0
        self.attempt = 1 if now - self.up_since > max(within, self.backed_off) else self.attempt + 1
        self.backed_off = self.spec.backoff.delay(self.attempt, rng)
        self.up_since = now + self.backed_off
        return self.backed_off

    @abstractmethod
    def cells(self) -> dict[str, Cell]:
        """The actors that it is, or has below it, by path."""

    @abstractmethod
    async def start(self) -> None:
        """Starts it, or raises `SupervisionError`."""

    def start_now(self) -> bool:
        """Starts it if that takes no wait, and says whether it did; or raises `SupervisionError`."""
        return False

    @abstractmethod
    def start_sources(self) -> None:
        """Starts `run` where there is one that has not begun, once all that belongs together is up."""

    @abstractmethod
    async def stop(self, reason: ExitReason, deadline: float) -> ExitReason:
        """Ends its present life, by `deadline` and within its shutdown time; does nothing if it is down.

        Returns `reason`, or KILLED if it did not end by itself in that time.
        """

    def stop_now(self, reason: ExitReason) -> ExitReason | None:
        """Ends its present life if that takes no wait, and says how it ended, as `stop` does; None: it takes one."""
        return None

    @abstractmethod
    def set_aside(self, reason: ExitReason, error: ErrorContext | None) -> None:
        """It was stopped by hand: what is queued waits for a restart, what comes from now on is refused."""

    @abstractmethod
    def retire(self, reason: ExitReason, error: ErrorContext | None, why: DeadLetterReason = DeadLetterReason.RECEIVER_STOPPED) -> None:
        """It is gone for good: what is queued becomes dead letters."""

    @abstractmethod
    def depart(self, *, for_good: bool) -> None:
        """It is removed from the tree. For good: what the store has of it goes too; else another one with its path goes on from there."""

    @abstractmethod
    def restarting(self, reason: ExitReason, error: ErrorContext | None) -> None:
        """Tells those who want to know about restarts."""

    @abstractmethod
    def forget(self) -> None:
        """It is no longer part of the tree."""

    def info(self) -> ChildInfo:
        """What is known of it, for people."""
        return ChildInfo(
            name=self.name,
            path=self.path,
            kind=self.kind,
            is_running=self.is_running,
            is_quarantined=self.quarantined,
            incarnation=self.number,
            restarts=self.restarts,
            restart=self.spec.restart,
            ref=self.ref,
        )

    def stops_by(self, deadline: float) -> float:
        """When it has to have stopped, if that begins now."""
        now = trio.current_time()
        return max(now, min(now + grace(self.spec.shutdown), deadline))


class SupervisorChild(Child):
    """A supervisor as its own supervisor sees it."""

    __slots__ = ("supervisor",)

    kind = "supervisor"

    def __init__(self, supervisor: Supervisor, spec: Spec) -> None:
        super().__init__(spec, supervisor)
        self.supervisor = supervisor

    @property
    def is_running(self) -> bool:
        return self.supervisor.is_running

    @property
    def number(self) -> int:
        return self.supervisor.number

    def cells(self) -> dict[str, Cell]:
        return {path: cell for child in self.supervisor.children.values() for path, cell in child.cells().items()}

    @engages
    async def start(self) -> None:
        await self.supervisor.start()

    def start_sources(self) -> None:
        self.supervisor.start_sources()

    @engages
    async def stop(self, reason: ExitReason, deadline: float) -> ExitReason:
        await self.supervisor.stop(reason, self.stops_by(deadline))
        return reason

    def set_aside(self, reason: ExitReason, error: ErrorContext | None) -> None:
        for child in self.supervisor.children.values():
            child.set_aside(reason, error)

    def quarantine(self, reason: ExitReason, error: ErrorContext | None) -> None:
        super().quarantine(reason, error)
        for child in self.supervisor.children.values():
            child.quarantine(reason, error)

    def release(self) -> None:
        super().release()
        for child in self.supervisor.children.values():
            child.release()

    def retire(self, reason: ExitReason, error: ErrorContext | None, why: DeadLetterReason = DeadLetterReason.RECEIVER_STOPPED) -> None:
        for child in self.supervisor.children.values():
            child.retire(reason, error, why)

    def depart(self, *, for_good: bool) -> None:
        for child in self.supervisor.children.values():
            child.depart(for_good=for_good)

    def restarting(self, reason: ExitReason, error: ErrorContext | None) -> None:
        for child in self.supervisor.children.values():
            child.restarting(reason, error)

    def forget(self) -> None:
        for child in self.supervisor.children.values():
            child.forget()
        self.supervisor.kernel.supervisors.pop(self.supervisor.path, None)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What comes of work that is known to wait for nothing: done here and now, without a task."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError(f"{work} was not to wait")
