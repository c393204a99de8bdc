"""Taking cuts of a whole system, and putting it back to one."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from actorkit._runtime.cell import Cell
from actorkit._runtime.cuts import ActorInCut, Cut, CutForm, begin_as, paths_that_differ, read_head, replace_mail, write_head
from actorkit._runtime.group_specs import KeyedSpec
from actorkit._runtime.groups import GroupCell
from actorkit._runtime.pauses import Pause
from actorkit._runtime.recoveries import Patient, child_of
from actorkit._runtime.restoring import HandedOn
from actorkit.errors import CheckpointError, DeadlockError, DecodingError, NoCheckpointError
from actorkit.events import CutFailed, CutRecovered, CutTaken, StateNotRestored
from actorkit.policy.checkpoint import CUTS_KEPT, next_id, to_forget, to_try
from actorkit.storage.store import LARGEST_BODY, Changes, DamagedEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.recoveries import Recoveries

KIND: Final = "cut"
WHERE: Final = "root"
"""What events about cuts have as their path."""


class CutManager:
    """The cuts of one system."""

    def __init__(self, kernel: Kernel, recoveries: Recoveries) -> None:
        self._kernel = kernel
        self._recoveries = recoveries
        self._form = CutForm()
        self._one_at_a_time = trio.Lock()
        self._last_id = 0

    def _actors(self) -> Iterator[Cell]:
        """All actors, members of pools and not the pools."""
        for cell in list(self._kernel.cells.values()):
            if isinstance(cell, GroupCell):
                yield from cell.keeper.members()
            else:
                yield cell

    def _check(self) -> None:
        for cell in self._kernel.cells.values():
            if isinstance(cell.spec, KeyedSpec):
                raise CheckpointError(f"{cell.path}: a system with keyed actors can't be cut, as some of them sleep")
            if cell.step is not None or cell.actor_class.actorkit_blueprint.is_durable:
                raise CheckpointError(
                    f"{cell.path}: a system with durable ports needs no cut: at each commit, what its store has is consistent"
                )

    # Taking one

    async def create(self, within: float) -> Cut:
        """See `CheckpointRecoveryManager.create_cut`."""
        self._check()
        cell = self._kernel.deadlocks.waiting_one()
        if isinstance(cell, Cell):
            raise DeadlockError(
                f"{cell.path}: create_cut would wait for ever, as it waits for the end of the message in hand; take it in a background"
                " task (self.start_soon), or outside of the actors"
            )
        async with self._one_at_a_time:
            ids = await self._ids()
            number = self._last_id = next_id([self._last_id, *ids])
            try:
                cut, entries = await self._take(number, within)
            except CheckpointError as error:
                self._kernel.events.publish(CutFailed(WHERE, str(error)))
                raise
            gone = [
                (space, key)
                for each in to_forget([*ids, number], CUTS_KEPT)
                for space, key in [(KIND, each), *((f"{KIND} {each}", key) for key in range(ids[each].actors))]
            ]
            puts = [(f"{KIND} {number}", key, body) for key, body in enumerate(entries)]
            await self._kernel.writer.commit(Changes([*puts, (KIND, number, write_head(cut))], gone))
        self._kernel.events.publish(CutTaken(WHERE, cut.id, cut.actors, cut.messages))
        return cut

    async def _take(self, number: int, within: float) -> tuple[Cut, list[bytes]]:
        kernel = self._kernel
        with Pause(kernel, self._actors) as pause:
            with trio.move_on_after(within) as limit:
                await pause.wait_between_messages()
            if limit.cancelled_caught or kernel.is_closing:
                late = ", ".join(pause.late[:5]) or "somebody"
                why = "the system is being stopped" if kernel.is_closing else f"after {within:g} s, not between two messages: {late}"
                raise CheckpointError(f"{why}; the cuts before this one stay")
            return self._taken_now(number)

    def _taken_now(self, number: int) -> tuple[Cut, list[bytes]]:
        """What everything is like at this moment: nobody else has a turn before this returns."""
        entries: list[bytes] = []
        total = 0
        for cell in self._actors():
            body, messages = self._form.write(cell)
            if len(body) > LARGEST_BODY:
                raise CheckpointError(f"{cell.path} has {len(body):,} bytes of state and messages, more than {LARGEST_BODY:,}")
            entries.append(body)
            total += messages
        return Cut(number, self._kernel.moment()[1], len(entries), total), entries

    # What is there

    async def all(self) -> tuple[Cut, ...]:
        """The cuts that are kept, the oldest first."""
        return tuple((await self._ids()).values())

    async def _ids(self) -> dict[int, Cut]:
        writer, found = self._kernel.writer, dict[int, Cut]()
        for key, body in await writer.call(writer.store.scan, KIND):
            if isinstance(key, int) and isinstance(body, bytes):
                with suppress(DecodingError):  # one that can't be read is none
                    found[key] = read_head(key, body)
        return found

    async def _read(self, cut: Cut) -> dict[Cell, ActorInCut]:
        """A cut, by actor.

        Raises:
            CheckpointError: the actors of the cut are not those there are.
            DecodingError: it is damaged, or from a newer program.
        """
        writer = self._kernel.writer
        entries = await writer.call(partial(writer.store.scan, f"{KIND} {cut.id}", limit=cut.actors + 1))
        bodies: dict[str, bytes] = {}
        for _, body in entries:
            if isinstance(body, DamagedEntry):
                raise DecodingError(f"cut {cut.id} is damaged: {body.reason}")
            bodies[self._form.path(body)] = body
        if len(bodies) != cut.actors:
            raise DecodingError(f"cut {cut.id} is damaged: it has {len(bodies)} of {cut.actors} actors")
        cells = {cell.path: cell for cell in self._actors()}
        if difference := paths_that_differ([*cells], [*bodies]):
            raise CheckpointError(f"cut {cut.id} was taken of another tree ({difference}); run the tree that it was taken of")
        return {cell: self._form.read(cell, bodies[path]) for path, cell in cells.items()}

    async def _choose(self, cut_id: int | None) -> tuple[Cut, dict[Cell, ActorInCut]]:
        ids = await self._ids()
        if not ids or (cut_id is not None and cut_id not in ids):
            there = f"there are: {', '.join(map(str, ids))}" if ids else "take one with system.checkpoints.create_cut()"
            raise NoCheckpointError(f"there is no cut{'' if cut_id is None else f' {cut_id}'} of this system; {there}")
        for number in to_try(ids) if cut_id is None else [cut_id]:
            try:
                return ids[number], await self._read(ids[number])
            except DecodingError as error:
                if cut_id is not None:
                    raise CheckpointError(f"cut {number} can't be read: {error}") from error
                self._kernel.events.publish(StateNotRestored(WHERE, f"cut {number}", error))
        raise NoCheckpointError("none of the cuts of this system can be read; see StateNotRestored")

    # Back to one

    async def recover(self, cut_id: int | None) -> Cut:
        """See `CheckpointRecoveryManager.recover_from_cut`."""
        self._check()
        return await self._recoveries.do("the recovery from a cut", list(self._actors()), partial(self._recover, cut_id))

    async def _recover(self, cut_id: int | None) -> Cut:
        cut, entries = await self._choose(cut_id)
        patients = {cell: Patient(cell, child_of(cell), _states(cut, entry)) for cell, entry in entries.items()}
        for cell, entry in entries.items():
            if entry.is_up and not cell.supervisor.is_running:
                raise CheckpointError(f"{cell.path} was up at cut {cut.id}, and its supervisor is not running now; restart that first")
        ups = [patients[cell] for cell, entry in entries.items() if entry.is_up]
        async with AsyncExitStack() as stack:
            await self._recoveries.hold([each for each in self._kernel.supervisors.values() if each.is_running], stack)
            for patient in reversed(patients.values()):
                if patient.supervisor.is_running:
                    await self._recoveries.take_down(patient, deadline=float("-inf"))
            dropped = sum(replace_mail(cell, entry) for cell, entry in entries.items())
            for patient in ups:
                patient.cell.drained = False
                await self._recoveries.take_up(patient)
                if patient.cell.life is not None:
                    begin_as(patient.cell.life, entries[patient.cell])
            for patient in ups:
                patient.supervisor.start_sources_of([patient.child])
        self._kernel.events.publish(CutRecovered(WHERE, cut.id, cut.messages, dropped))
        self._check_all_are_back(cut, ups)
        return cut

    def _check_all_are_back(self, cut: Cut, ups: list[Patient]) -> None:
        lost = [each.cell.path for each in ups if each.failure is not None or (each.states and each.restored_from is None)]
        if lost:
            raise CheckpointError(
                f"{', '.join(lost)} could not be restored from cut {cut.id}, though all others are; see StateNotRestored and StartFailed"
            )


def _states(cut: Cut, entry: ActorInCut) -> list[HandedOn]:
    return [] if entry.state is None else [HandedOn(f"cut {cut.id}", entry.state)]
