"""How checkpoints are taken, between two messages of an actor, and kept in the store: a space for each actor, a number for each."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from actorkit._runtime.boundaries import at_boundary
from actorkit._runtime.kept_states import pack_state, unpack_state
from actorkit._runtime.restoring import KeptState, call
from actorkit.errors import CheckpointError, DecodingError
from actorkit.events import CheckpointFailed, CheckpointTaken
from actorkit.policy.checkpoint import KEPT, next_id, next_time, to_forget, to_try
from actorkit.storage.messagepack import packer, unpack
from actorkit.storage.store import Changes, DamagedEntry

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit.storage.store import Entry

KIND: Final = "checkpoint"
FORMAT: Final = 1
"""The version of the form of an entry: the array `[FORMAT, state_version, taken_at, incarnation, state]`."""

_pack = packer().pack


@frozen
class Checkpoint:
    """The state of an actor as it was between two messages.

    Attributes:
        id: its number; an actor's are counted up from 1.
        path: whose it is.
        state_version: the `state_version` of the class that it was taken with.
        taken_at: when, in UTC.
        incarnation: in which life of the actor.
        size: of the state, in bytes.
    """

    id: int
    path: str
    state_version: int
    taken_at: datetime
    incarnation: int
    size: int


class KeptCheckpoint(KeptState):
    """A checkpoint that a new life could take over.

    Attributes:
        checkpoint: what is known of it, once it has been read.
    """

    __slots__ = ("_cell", "_number", "_store", "checkpoint")

    def __init__(self, store: CheckpointStore, cell: Cell, number: int) -> None:
        super().__init__(f"checkpoint {number}")
        self._store = store
        self._cell = cell
        self._number = number
        self.checkpoint: Checkpoint | None = None

    async def read(self) -> tuple[object, int]:
        self.checkpoint, data = await self._store.get(self._cell.path, self._number)
        return unpack_state(self._cell.actor_class, data)


class CheckpointStore:
    """The checkpoints of one system, and what takes them by itself.

    Attributes:
        kernel: the system's.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._unread: set[str] = set()  # the paths of actors of which an earlier process has left some
        self._ids: dict[str, list[int]] = {}  # by path, those that are kept, in order
        self._last_ids: dict[str, int] = {}
        self._periodic: dict[Cell, _Periodic] = {}

    # What is there

    async def open(self) -> None:
        """Finds out which actors have some."""
        writer = self.kernel.writer
        self._unread = {space.partition(" ")[2] for space in await writer.call(writer.store.spaces, KIND)}

    @property
    def may_have_to_read(self) -> bool:
        """Whether starting an actor may take a wait for the store."""
        return bool(self._unread or self._ids) and not self.kernel.writer.is_inline

    def has_to_read(self, cell: Cell) -> bool:
        """Whether starting this actor takes a wait for the store."""
        return self.may_have_to_read and (cell.path in self._unread or bool(self._ids.get(cell.path)))

    async def ids(self, path: str) -> list[int]:
        """The numbers of an actor's checkpoints, in order."""
        if path in self._unread:
            found = [key for key, _ in await self._scan(path) if isinstance(key, int)]
            if path in self._unread:  # nobody else has read them meanwhile
                self._unread.discard(path)
                self._ids[path] = found
        return self._ids.setdefault(path, [])

    async def all_of(self, path: str) -> tuple[Checkpoint, ...]:
        """An actor's checkpoints, in order, but for damaged ones."""
        found: list[Checkpoint] = []
        for key, body in await self._scan(path):
            try:
                found.append(_read_entry(path, key, body)[0])
            except DecodingError:
                continue  # told when somebody wants to be restored from it
        return tuple(found)

    async def _scan(self, path: str) -> list[Entry]:
        writer = self.kernel.writer
        return await writer.call(partial(writer.store.scan, f"{KIND} {path}"))

    async def get(self, path: str, number: int) -> tuple[Checkpoint, bytes]:
        """A checkpoint, and the state in it as `pack_state` has made it.

        Raises:
            DecodingError: it is damaged, or gone.
            StorageError: the store can't be used.
        """
        writer = self.kernel.writer
        return _read_entry(path, number, await writer.call(writer.store.get, f"{KIND} {path}", number))

    async def states_of(self, cell: Cell, first: int | None = None) -> list[KeptCheckpoint]:
        """What this actor can be restored from: the latest, or the one with the number `first`, then those before it."""
        path = cell.path
        if path not in self._unread and not self._ids.get(path):
            return []
        return [KeptCheckpoint(self, cell, number) for number in to_try(await self.ids(path), first)]

    def forget_all(self, path: str) -> list[str]:
        """This actor is gone for good. Returns the space in which it may have some, if it may."""
        may_have_some = path in self._unread or path in self._last_ids or bool(self._ids.get(path))
        self._unread.discard(path)
        self._ids.pop(path, None)
        self._last_ids.pop(path, None)
        return [f"{KIND} {path}"] if may_have_some else []

    # Taking them

    def take(self, cell: Cell, unless: bytes | None = None) -> tuple[Checkpoint, bytes] | None:
        """The state of an actor, now, between two messages, as bytes; None: it is as `unless`.

        Raises:
            CheckpointError: it is not running, or about to end; `snapshot` has raised, or returned what can't be kept.
        """
        life = cell.life
        child = cell.supervisor.children.get(cell.name)
        if life is None or not life.started or (child is not None and child.unit is cell and child.has_failed):
            status = cell.status if life is None else "about to end, as it has failed"
            raise CheckpointError(f"{cell.path} is {status}, so there is no state to take; take a checkpoint when it is running")
        try:
            state = pack_state(cell.actor_class, call(type(life.actor).snapshot, life.actor))
        except Exception as error:
            self.kernel.events.publish(CheckpointFailed(cell.path, error))
            raise CheckpointError(f"{cell.path}: no checkpoint could be taken: {type(error).__name__}: {error}") from error
        if state == unless:
            return None
        number = self._last_ids[cell.path] = next_id([self._last_ids.get(cell.path, 0), *self._ids.get(cell.path, ())])
        moment = self.kernel.moment()[1]
        return Checkpoint(number, cell.path, cell.actor_class.state_version, moment, life.number, len(state)), state

    def changes(self, checkpoint: Checkpoint, state: bytes) -> Changes:
        """What keeps it, and forgets those that are too many then."""
        it, space = checkpoint, f"{KIND} {checkpoint.path}"
        body = _pack([FORMAT, it.state_version, it.taken_at.isoformat(), it.incarnation, state])
        gone = to_forget([*self._ids.get(it.path, ()), it.id], KEPT)
        return Changes([(space, it.id, body)], [(space, each) for each in gone])

    def is_kept(self, checkpoint: Checkpoint, changes: Changes) -> None:
        """It has been written."""
        if checkpoint.path not in self._last_ids:
            return  # the actor is gone for good, and it is about to be
        ids, gone = self._ids.setdefault(checkpoint.path, []), {key for _, key in changes.deletes}
        ids[:] = sorted({*ids, checkpoint.id} - gone)
        if self.kernel.events.hears(CheckpointTaken.level):
            self.kernel.events.publish(CheckpointTaken(checkpoint.path, checkpoint.id, checkpoint.size))

    # Those that are taken by themselves

    def begin(self, cell: Cell) -> None:
        """A life of an actor with a `checkpoint_every` has begun."""
        period = cell.actor_class.checkpoint_every
        if cell not in self._periodic and period is not None and "snapshot" in cell.actor_class.actorkit_blueprint.hooks:
            self._periodic[cell] = _Periodic(self, cell, period)

    def take_last(self, cell: Cell) -> None:
        """A life of such an actor ends in order: what it knows is not to be lost."""
        if cell in self._periodic and cell.port is None:
            self._periodic[cell].take()

    def forget(self, cell: Cell) -> None:
        """This actor has ended for good."""
        self._periodic.pop(cell, None)


class _Periodic:
    """Takes the checkpoints of one actor every so often, if its state has changed. Keeps no run alive."""

    __slots__ = ("_cell", "_last", "_period", "_store", "_waits", "_writes", "deadline")

    def __init__(self, store: CheckpointStore, cell: Cell, period: float) -> None:
        self._store = store
        self._cell = cell
        self._period = period
        self._last: bytes | None = None
        self._waits = False  # for the message in hand
        self._writes = False
        self._arm(store.kernel.now() + period)

    def _arm(self, deadline: float) -> None:
        kernel = self._store.kernel
        self.deadline = deadline
        kernel.timers.add(self)
        kernel.repeating += 1

    def fire(self) -> None:
        """It is time for the next one."""
        kernel, cell = self._store.kernel, self._cell
        kernel.repeating -= 1
        if cell.gone:
            self._store.forget(cell)
            return
        began = kernel.now()
        if not self._waits:
            self._waits = True
            at_boundary(cell, self._is_between)
        self._arm(next_time(began, self._period, kernel.now() - began))

    def _is_between(self) -> None:
        self._waits = False
        if self._cell.life is not None:
            self.take()

    def take(self) -> None:
        """Takes one, unless the last one is still being written, or was the same; that it fails is told by an event."""
        if self._writes:
            return
        try:
            taken = self._store.take(self._cell, self._last)
        except CheckpointError:
            return
        if taken is not None:
            checkpoint, self._last = taken
            self._writes = True
            changes = self._store.changes(checkpoint, self._last)
            self._store.kernel.writer.submit(changes, partial(self._written, checkpoint, changes))

    def _written(self, checkpoint: Checkpoint, changes: Changes) -> None:
        self._writes = False
        self._store.is_kept(checkpoint, changes)


def _read_entry(path: str, key: Any, body: bytes | DamagedEntry | None) -> tuple[Checkpoint, bytes]:
    if not isinstance(body, bytes):
        raise DecodingError(f"{path}: checkpoint {key!r} is {'gone' if body is None else f'damaged: {body.reason}'}")
    try:
        form, version, taken_at, incarnation, state = unpack(body)
        if form == FORMAT:
            return Checkpoint(key, path, version, datetime.fromisoformat(taken_at), incarnation, len(state)), state
    except Exception as error:
        raise DecodingError(f"{path}: checkpoint {key!r} is damaged: {error}") from error
    raise DecodingError(f"{path}: checkpoint {key!r} is of a newer actorkit")
