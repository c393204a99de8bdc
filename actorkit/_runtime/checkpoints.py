"""Checkpoints, and recovery from them, as `system.checkpoints`: the shell around `policy/checkpoint.py` and the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from actorkit._runtime.boundaries import at_boundary, is_between
from actorkit._runtime.checkpoint_store import Checkpoint, CheckpointStore, KeptCheckpoint
from actorkit._runtime.cut_manager import CutManager
from actorkit._runtime.dependencies import needs_of, node_of
from actorkit._runtime.group_specs import KeyedSpec
from actorkit._runtime.groups import GroupCell
from actorkit._runtime.recoveries import Patient, Recoveries, child_of
from actorkit._runtime.ref import ActorRef
from actorkit.errors import CheckpointError, NoCheckpointError, SupervisionError
from actorkit.policy.checkpoint import recovery_order
from actorkit.policy.checks import check_seconds, check_type

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.cuts import Cut
    from actorkit._runtime.kernel import Kernel


class CheckpointRecoveryManager:
    """Takes checkpoints of actors that have a `snapshot`, and recovers actors from them.

    The last ten of each actor are kept: in the system's store, or, without one, in memory, as long as the system lasts.
    An actor that starts again after a crash, or in a new process, is restored from its latest one by itself.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._kept: CheckpointStore = kernel.checkpoints
        self._recoveries = Recoveries(kernel)
        self._cuts = CutManager(kernel, self._recoveries)

    async def create_checkpoint(self, ref: ActorRef[Any]) -> Checkpoint:
        """Keeps the state of an actor as it is between two messages: now, or when the one in hand has been handled.

        Raises:
            CheckpointError: it has no `snapshot`, or that raised, or returned what can't be kept; it is not running, or its life
                ended before. The actor goes on.
            DeadlockError: called in a handler of this actor, or of one that it waits for; its message ends only after that.
        """
        cell = self._cell("create_checkpoint", ref)
        await self._kept.ids(cell.path)
        taken = await self._take_between(cell)
        changes = self._kept.changes(*taken)
        await self._kernel.writer.commit(changes)
        self._kept.is_kept(taken[0], changes)
        return taken[0]

    async def list(self, ref: ActorRef[Any]) -> tuple[Checkpoint, ...]:
        """The checkpoints of an actor that are kept, the oldest first."""
        return await self._kept.all_of(self._cell("list", ref).path)

    async def recover_from_checkpoint(self, ref: ActorRef[Any], checkpoint_id: int | None = None) -> Checkpoint:
        """Ends the present life of an actor, and starts a new one with the state of a checkpoint; returns that.

        Its message in hand has the shutdown time to end; its messages wait meanwhile. An actor that was stopped or set
        aside is brought back. A checkpoint that does not restore is passed over for the one before it.

        Args:
            ref: the actor's address.
            checkpoint_id: the number of the checkpoint; by default the latest one.

        Raises:
            NoCheckpointError: there is none, or none of this number: nothing was done. Or none that restores: it was started
                afresh.
            CheckpointError: it has no `snapshot`, or is no actor.
            SupervisionError: it could not be started; its supervisor deals with that as with any such failure.
            DeadlockError: called in a handler of this actor, or of one that it waits for; nothing was done. Who is cancelled
                while waiting leaves it to be done.
        """
        cell = self._cell("recover_from_checkpoint", ref)
        ids = await self._kept.ids(cell.path)
        if not ids or (checkpoint_id is not None and checkpoint_id not in ids):
            raise _none_there(cell, ids, checkpoint_id)
        patient = Patient(cell, child_of(cell), await self._kept.states_of(cell, checkpoint_id))
        await self._recoveries.do(f"the recovery of {cell.path}", [cell], partial(self._recoveries.recover, [[patient]]))
        if patient.failure is not None:
            raise patient.failure
        checkpoint = _restored_from(patient)
        if checkpoint is None:
            tried = ", ".join(each.title for each in patient.states or ())
            raise NoCheckpointError(f"{cell.path} could be restored from none of {tried}, and was started afresh; see StateNotRestored")
        return checkpoint

    async def coordinated_recovery(self, refs: Iterable[ActorRef[Any]]) -> dict[str, Checkpoint | None]:
        """Recovers several actors together: all pause, and then each resumes after those that it depends on.

        Who sends over a wire depends on who receives; `depends_on` of a child or supervisor says the rest. Actors that depend
        on each other are restored before one of them resumes. One without a checkpoint starts afresh.

        Returns:
            By path, in the order in which they resumed, the checkpoint of each; None: it was started afresh.

        Raises:
            CheckpointError: one of them is no actor, but a pool or keyed actors; nothing was done.
            SupervisionError: some could not be started, and their supervisors deal with that; all others were recovered.
            DeadlockError: as in `recover_from_checkpoint`.
        """
        cells = [self._cell("coordinated_recovery", ref, stateful=False) for ref in refs]
        patients = {cell: Patient(cell, child_of(cell), await self._kept.states_of(cell)) for cell in dict.fromkeys(cells)}
        return {each.cell.path: _restored_from(each) for each in await self._recover(patients)}

    async def restart_in_order(self, cells: Iterable[Cell]) -> None:
        """Restarts these actors together, each after those that it depends on, with the states that any restart gives them.

        Who has been stopped, set aside or deleted meanwhile is left alone.

        Raises:
            SupervisionError: some could not be started, and their supervisors deal with that; all others were.
        """
        patients: dict[Cell, Patient] = {}
        for cell in cells:
            with suppress(CheckpointError):  # it is gone
                patients[cell] = Patient(cell, child_of(cell), None)
        await self._recover(patients)

    async def _recover(self, patients: Mapping[Cell, Patient]) -> tuple[Patient, ...]:
        """Does it, and says in which order."""
        order = recovery_order([node_of(cell) for cell in patients], lambda node: needs_of(self._kernel, node))
        units = [tuple(each for cell, each in patients.items() if node_of(cell) in nodes) for nodes in order]
        await self._recoveries.do("a coordinated recovery", list(patients), partial(self._recoveries.recover, units))
        recovered = tuple(each for unit in units for each in unit)
        failed = [each for each in recovered if each.failure is not None]
        if failed:
            paths = ", ".join(each.cell.path for each in failed)
            raise SupervisionError(f"{paths} could not be started again; all others were recovered") from failed[0].failure
        return recovered

    async def create_cut(self, timeout: float = 30.0) -> Cut:
        """Keeps the states of all actors, their messages, timers and sources' positions, all as they are at one moment.

        For that moment, all actors are between two messages: none begins with another one, and those in hand are handled to
        their end. The last three cuts are kept.

        Args:
            timeout: seconds that messages in hand may take; then there is no cut, and nothing was changed.

        Raises:
            CheckpointError: it took too long; a message or a state can't be kept; there are keyed actors. The text names them.
            DeadlockError: called in a handler, whose message ends only after that.
        """
        return await self._cuts.create(check_seconds("system.checkpoints.create_cut", "timeout", timeout))

    async def recover_from_cut(self, cut_id: int | None = None) -> Cut:
        """Puts all actors back to a cut, and returns that: new lives, with the states, messages and timers that it has.

        What is queued before is dropped, with the reason "replaced"; what comes back is accepted again. A request in the cut
        is skipped, as nobody waits for its answer any more. Actors that were not running at the cut stay down.

        Args:
            cut_id: the number of the cut; by default the latest one that can be read.

        Raises:
            NoCheckpointError: there is none, or none of this number; nothing was done.
            CheckpointError: it was taken of another tree, or can't be read; nothing was done. Or some actors could not be
                restored, while all others were.
            DeadlockError: called in a handler; nothing was done.
        """
        return await self._cuts.recover(cut_id)

    async def cuts(self) -> tuple[Cut, ...]:
        """The cuts that are kept, the oldest first."""
        return await self._cuts.all()

    # How it is done

    def _cell(self, used: str, ref: ActorRef[Any], *, stateful: bool = True) -> Cell:
        """The actor with this address."""
        owner = f"system.checkpoints.{used}"
        cell = check_type(owner, "ref", ref, ActorRef, "the address of an actor, such as system.ref(Class)").cell
        name = cell.actor_class.__qualname__
        if isinstance(cell, GroupCell):
            raise CheckpointError(f"{cell.path} is a group of {name}, not one actor; give the address of a member: system.ref(path)")
        if isinstance(node_of(cell).spec, KeyedSpec):
            raise CheckpointError(f"{cell.path}: a keyed actor's state is kept for it after each message; it has no checkpoints")
        if stateful and "snapshot" not in cell.actor_class.actorkit_blueprint.hooks:
            raise CheckpointError(f"{cell.path} has no state to keep: define snapshot() and restore(state, version) in {name}")
        return cell

    async def _take_between(self, cell: Cell) -> tuple[Checkpoint, bytes]:
        """Its state, between two messages."""
        over, is_wanted = trio.Event(), True
        taken: tuple[Checkpoint, bytes] | None = None
        failure: CheckpointError | None = None

        def take() -> None:
            nonlocal taken, failure
            if is_wanted:
                try:
                    taken = self._kept.take(cell)
                except CheckpointError as error:
                    failure = error
                over.set()

        if is_between(cell):
            take()
        else:
            try:
                with self._kernel.deadlocks.waiting(f"for the message in hand of {cell.path}", (cell,)):
                    at_boundary(cell, take)
                    await over.wait()
            finally:
                is_wanted = False
        if taken is None:
            raise failure or CheckpointError(f"{cell.path}: no checkpoint could be taken")
        return taken


def _restored_from(patient: Patient) -> Checkpoint | None:
    kept = patient.restored_from
    return kept.checkpoint if isinstance(kept, KeptCheckpoint) else None


def _none_there(cell: Cell, ids: Iterable[int], wanted: int | None) -> NoCheckpointError:
    there = ", ".join(map(str, ids))
    if wanted is not None and there:
        return NoCheckpointError(f"{cell.path} has no checkpoint {wanted}; there are: {there}")
    way_out = f"take one with system.checkpoints.create_checkpoint(ref), or give {cell.actor_class.__qualname__} a checkpoint_every"
    return NoCheckpointError(f"{cell.path} has no checkpoint: {way_out}")
