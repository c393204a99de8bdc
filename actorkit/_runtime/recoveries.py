"""Recoveries that somebody asked for: their work, one at a time, which goes on although who asked has gone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from attrs import define

from actorkit.errors import CheckpointError, SupervisionError
from actorkit.events import RecoveryStep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from actorkit._runtime.actor_child import ActorChild
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.restoring import KeptState
    from actorkit._runtime.supervisor import Supervisor

T = TypeVar("T")


@define(eq=False)
class Patient:
    """An actor that is being recovered.

    Attributes:
        cell: the actor.
        child: the same, as its supervisor sees it.
        states: what it is to be restored from, the best first; None: it is restarted as ever.
        was_waiting: whether it waited for its restart, and its bystanders with it.
        failure: why it could not be started, if it could not.
    """

    cell: Cell
    child: ActorChild
    states: Sequence[KeptState] | None
    was_waiting: bool = False
    failure: SupervisionError | None = None

    @property
    def supervisor(self) -> Supervisor:
        """Whose child it is."""
        return self.cell.supervisor

    @property
    def restored_from(self) -> KeptState | None:
        """What it has been restored from."""
        return next((each for each in self.states or () if each.is_restored), None)

    @property
    def is_there(self) -> bool:
        """Whether it is still to be recovered: one that is restarted as ever has not been stopped, set aside or deleted meanwhile."""
        if self.states is not None:
            return True
        is_child = self.supervisor.children.get(self.child.name) is self.child
        return is_child and self.child.wanted and not self.child.quarantined


class Recoveries:
    """Those of one system."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._one_at_a_time = trio.Lock()

    async def do(self, what: str, stops: Sequence[Cell], work: Callable[[], Awaitable[T]]) -> T:
        """Has this done as soon as no other recovery is under way. Who is cancelled meanwhile leaves it to be done.

        Args:
            what: for people, after "waits for".
            stops: the actors whose lives it ends.
            work: what to do.

        Raises:
            DeadlockError: who asks is one of these actors, or somebody that they wait for; nothing is done.
            SupervisionError: the system ended before.
            Exception: what `work` raised.
        """
        over = trio.Event()
        values: list[T] = []
        failure: Exception | None = None

        async def do() -> None:
            nonlocal failure
            try:
                async with self._one_at_a_time:
                    values.append(await work())
            except Exception as error:
                failure = error
            finally:
                over.set()
                self._kernel.done()

        with self._kernel.deadlocks.waiting(f"for {what}", stops):
            self._kernel.begin()
            self._kernel.launch(do)
            await over.wait()
        if failure is not None:
            raise failure
        if not values:
            raise SupervisionError(f"the system ended before {what} was done")
        return values[0]

    async def recover(self, units: Iterable[Sequence[Patient]]) -> None:
        """All of them pause, the last first; then one unit after the other is restored, and resumes."""
        units = list(units)
        patients = [each for unit in units for each in unit]
        async with AsyncExitStack() as stack:
            await self.hold({each.supervisor for each in patients}, stack)
            units = [[each for each in unit if each.is_there] for unit in units]
            for each in [each for unit in reversed(units) for each in reversed(unit)]:
                await self.take_down(each)
            for unit in units:
                for each in unit:
                    await self.take_up(each)
                for each in unit:
                    each.supervisor.start_sources_of([each.child])

    async def hold(self, supervisors: Iterable[Supervisor], stack: AsyncExitStack) -> None:
        """Takes the turns of these supervisors, until the end of `stack`."""
        for supervisor in sorted(supervisors, key=lambda each: each.path):
            await stack.enter_async_context(supervisor.on_hold())

    async def take_down(self, patient: Patient, **options: Any) -> None:
        """It pauses: its present life ends, and its messages wait."""
        patient.child.given = patient.states
        patient.was_waiting = await patient.supervisor.take_down(patient.child, **options)
        self._tell(patient, "paused")

    async def take_up(self, patient: Patient) -> None:
        """It is restored, and resumes; or that fails, and `failure` is why."""
        try:
            await patient.supervisor.take_up(patient.child, was_waiting=patient.was_waiting)
        except SupervisionError as failure:
            patient.failure = failure
            self._tell(patient, "not resumed: it could not be started")
        else:
            kept = patient.restored_from
            how = "" if patient.states is None else " afresh" if kept is None else f" from {kept.title}"
            self._tell(patient, f"resumed{how}")
        finally:
            patient.child.given = None

    def _tell(self, patient: Patient, step: str) -> None:
        self._kernel.events.publish(RecoveryStep(patient.cell.path, step))


def child_of(cell: Cell) -> ActorChild:
    """An actor as its supervisor sees it.

    Raises:
        CheckpointError: it has none any more.
    """
    child: Any = cell.supervisor.children.get(cell.name)
    if child is None or child.unit is not cell:
        raise CheckpointError(f"{cell.path} has ended and is forgotten; start it again")
    actor_child: ActorChild = child
    return actor_child
