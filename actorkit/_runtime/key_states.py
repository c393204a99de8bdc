"""What is kept of keyed actors that sleep: the state of each key, in memory, or in the user's store.

With a store, memory has the states of those awake only, and what is on its way to the store. A state that has changed is
written within a second, with all others of its group that have, and when its actor is put aside, or stopped; until that is
done, the actor comes back with what is to be written. So a key never gets an older state than it has had.

    wake      what is on its way to the store, else what the store has; where reading it may block, in a turn of the group
    step      changed: to be written with the next flush
    sleep     the same; then memory lets go of it
    forget    the actor has ended: nothing of it is to be found any more
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from actorkit._runtime.kept_states import pack_state, unpack_state
from actorkit._runtime.timers import Alarm
from actorkit.errors import DecodingError, EncodingError, StorageError
from actorkit.events import StateNotKept
from actorkit.storage.codec import Codec
from actorkit.storage.store import Changes, DamagedEntry, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.keyed_member import KeyedCell

FLUSH_AFTER: Final = 1.0
"""Seconds after which a changed state is written, at the latest."""
AT_A_TIME: Final = 1_000
"""States that are written in one transaction, or read in one go."""
BREATH: Final = 0.01
"""Seconds until the next of so many states are written: others have their turn."""

NOTHING_KEPT: Final = object()
KEYS: Final = Codec()


class Record:
    """What is known of one key's entry in the store, while its actor is awake.

    Attributes:
        key: the entry's.
        is_read: whether what the store has is known.
        body: what was read and has not been taken over.
        saved: what the store has, or will have.
        is_changed: whether the actor has another state by now, to be written.
        is_held: whether it has one that can't be written.
        is_refused: whether the state could not be made of what was read.
        is_from_store: whether the actor's state is still the one that was read.
    """

    __slots__ = ("body", "is_changed", "is_from_store", "is_held", "is_read", "is_refused", "key", "saved")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.is_read = self.is_changed = self.is_held = self.is_refused = self.is_from_store = False
        self.body: bytes | DamagedEntry | None = None
        self.saved: bytes | None = None

    def found(self, body: bytes | DamagedEntry | None) -> None:
        """This is what there is."""
        self.is_read, self.body = True, body


class KeyStates:
    """The states of one group's sleeping keys, in memory: the bare states of those that have one, as there may be millions."""

    def __init__(self, actor_class: type[Actor]) -> None:
        self._actor_class = actor_class
        self._asleep: dict[Hashable, object] = {}

    def check(self, key: Hashable) -> None:
        """Raises EncodingError if nothing can be kept for such a key."""

    def wake(self, cell: KeyedCell) -> None:
        """A key gets an actor: it takes over what is kept of it, now, or once it was read.

        Raises:
            EncodingError: nothing can be kept for such a key.
        """
        state = self._asleep.pop(cell.key, NOTHING_KEPT)
        if state is not NOTHING_KEPT:
            cell.kept = (state, self._actor_class.state_version)

    async def read(self, cell: KeyedCell) -> None:
        """Reads what its actor has to have before it starts."""

    def give_back(self, cell: KeyedCell) -> None:
        """Its actor could not start with what was read: a new try begins with what there is then."""

    def changed(self, cell: KeyedCell) -> None:
        """Its state is another one now."""

    def sleep(self, cell: KeyedCell) -> None:
        """Its actor is put aside."""
        if cell.kept is not None:
            self._asleep[cell.key] = cell.kept[0]

    def forget(self, cell: KeyedCell) -> None:
        """Its actor is gone for good."""

    def close(self) -> None:
        """All actors were stopped."""


class StoredKeyStates(KeyStates):
    """The same, in the store."""

    def __init__(self, kernel: Kernel, actor_class: type[Actor], path: str) -> None:
        super().__init__(actor_class)
        self._kernel = kernel
        self._path = path
        self.space = f"state {path}"
        self._changed: dict[KeyedCell, None] = {}
        self._unread: dict[bytes, KeyedCell] = {}
        # What is not in the store yet, by key: a body, or None for nothing. Of the kernel, as another group may have this path soon.
        self._unwritten: dict[bytes, tuple[bytes | None]] = kernel.unwritten.setdefault(self.space, {})
        self._new: dict[bytes, None] = {}  # those of them that were not handed to the writer yet
        self._handed: dict[Changes, None] = {}
        self._alarm: Alarm | None = None
        self._refused: set[type] = set()  # states of these classes could not be encoded, and were reported

    def check(self, key: Hashable) -> None:
        key_bytes(self._path, key)

    # ---- to an actor

    def wake(self, cell: KeyedCell) -> None:
        record = cell.record = Record(key_bytes(self._path, cell.key))
        unwritten = self._unwritten.get(record.key)
        if unwritten is not None:
            record.found(unwritten[0])
        elif cell.key in self._asleep:  # it could not be encoded
            super().wake(cell)
            record.found(None)
            record.is_held, record.saved = True, b""  # whatever the store has is older
        else:
            self._unread[record.key] = cell
            if self._kernel.writer.is_inline:
                self._read_now(cell, record)

    def _read_now(self, cell: KeyedCell, record: Record) -> None:
        try:
            body = self._kernel.writer.store.get(self.space, record.key)
        except StorageError:
            return  # and again in a turn, which can fail
        self._found(cell, record, body)

    async def read(self, cell: KeyedCell) -> None:
        """Reads what its actor has to have before it starts, and what others wait for that are to start next."""
        if cell.record is None or cell.record.is_read:
            return
        self._unread.pop(cell.record.key, None)
        cells = [cell, *islice(self._unread.values(), AT_A_TIME - 1)]
        records = [(each, each.record) for each in cells if each.record is not None]
        writer = self._kernel.writer
        bodies = await writer.call(_read_all, writer.store, self.space, [record.key for _, record in records])
        for (each, record), body in zip(records, bodies, strict=True):
            self._found(each, record, body)

    def _found(self, cell: KeyedCell, record: Record, body: bytes | DamagedEntry | None) -> None:
        if self._unread.get(record.key) is cell:
            del self._unread[record.key]
        record.found(body)

    def take_over(self, cell: KeyedCell, record: Record) -> None:
        """Makes the actor's state of what was read.

        Raises:
            StateVersionError: it was kept by a newer version of the class.
            DecodingError: it is damaged, or has classes in it that are not expected.
            Exception: what a migration raises.
        """
        body = record.body
        record.is_refused = True
        if isinstance(body, DamagedEntry):
            raise DecodingError(f"the kept state of {cell.path} is damaged: {body.reason}")
        if body is not None:
            cell.kept = unpack_state(self._actor_class, body)
            record.is_from_store = True
        record.is_refused, record.saved, record.body = False, body, None

    def give_back(self, cell: KeyedCell) -> None:
        if cell.record is not None:
            cell.kept, cell.record = None, Record(cell.record.key)

    # ---- to the store

    def changed(self, cell: KeyedCell) -> None:
        if cell.record is not None:
            cell.record.is_changed, cell.record.is_from_store = True, False
            self._changed[cell] = None
            self._flush_later(FLUSH_AFTER)

    def sleep(self, cell: KeyedCell) -> None:
        record = cell.record
        if record is not None:
            self._unread.pop(record.key, None)
            if record.is_changed:
                self._renew(cell, record)
            if record.is_held:
                super().sleep(cell)

    def _renew(self, cell: KeyedCell, record: Record) -> None:
        """Has its state written, if that is another one than the store has."""
        self._changed.pop(cell, None)
        record.is_changed = record.is_held = False
        if cell.kept is None:
            return
        try:
            body = pack_state(self._actor_class, cell.kept[0])
        except EncodingError as error:
            kind = type(cell.kept[0])
            if kind not in self._refused:
                self._refused.add(kind)
                self._kernel.events.publish(StateNotKept(cell.path, error))
            record.is_held = True
            return
        if body != record.saved:
            record.saved = body
            self._unwritten[record.key] = (body,)
            self._new[record.key] = None
            self._flush_later(FLUSH_AFTER)

    def promise(self, cell: KeyedCell, body: bytes) -> Callable[[], None]:
        """Somebody else is about to write its state, with changes of their own. Returns what to call when that is done.

        Until then it is what its actor comes back with.
        """
        record = cell.record
        assert record is not None
        self._changed.pop(cell, None)
        self._new.pop(record.key, None)
        record.is_changed, record.saved = False, body
        unwritten = self._unwritten[record.key] = (body,)
        return partial(self._written, [(record.key, unwritten)])

    def _written(self, entries: Iterable[tuple[bytes, tuple[bytes | None]]], changes: Changes | None = None) -> None:
        for key, unwritten in entries:
            if self._unwritten.get(key) is unwritten:
                del self._unwritten[key]
        if changes is not None:
            self._handed.pop(changes, None)

    def forget(self, cell: KeyedCell) -> None:
        record = cell.record
        if record is None:
            return
        self._asleep.pop(cell.key, None)
        self._changed.pop(cell, None)
        self._unread.pop(record.key, None)
        self._new.pop(record.key, None)
        if record.is_read and record.saved is None and record.body is None:
            return  # the store has nothing of it
        for changes in self._handed:  # what deletes may overtake what puts: see `Changes.drains`
            if any(key == record.key for _, key, _ in changes.puts):
                changes.puts = [each for each in changes.puts if each[1] != record.key]  # a new list: a thread may be at the old one
        unwritten = self._unwritten[record.key] = (None,)
        self._kernel.writer.submit(Changes(deletes=[(self.space, record.key)]), partial(self._written, [(record.key, unwritten)]))

    def close(self) -> None:
        if self._alarm is not None:
            self._kernel.repeating -= self._kernel.timers.remove(self._alarm)
            self._alarm = None
        while self._changed or self._new:
            self._flush()

    def _flush_later(self, seconds: float) -> None:
        if self._alarm is None:
            self._alarm = Alarm(self._kernel.now() + seconds, self._flush_in_time)
            self._kernel.timers.add(self._alarm)
            self._kernel.repeating += 1  # it keeps no run alive

    def _flush_in_time(self) -> None:
        self._alarm = None
        self._kernel.repeating -= 1
        self._flush()
        if self._changed or self._new:
            self._flush_later(BREATH)

    def _flush(self) -> None:
        """Hands the states to the writer that have changed: so many of them."""
        for cell in list(islice(self._changed, AT_A_TIME)):
            if cell.record is not None:
                self._renew(cell, cell.record)
        entries = [(key, self._unwritten[key]) for key in islice(self._new, AT_A_TIME)]
        for key, _ in entries:
            del self._new[key]
        changes = Changes([(self.space, key, body) for key, (body,) in entries if body is not None])
        if changes:
            self._handed[changes] = None
            self._kernel.writer.submit(changes, partial(self._written, entries, changes))


def _read_all(store: Store, space: str, keys: list[bytes]) -> list[bytes | DamagedEntry | None]:
    return [store.get(space, key) for key in keys]


def key_bytes(path: str, key: Hashable) -> bytes:
    """A key as bytes: keys that are equal have the same ones, in every process; `path` is the group's.

    Raises:
        EncodingError: nothing can be kept for such a key.
    """
    try:
        return KEYS.encode(key if type(key) is str else _in_one_form(key))
    except EncodingError as error:
        raise EncodingError(
            f"{path}: nothing can be kept for the key {key!r:.200}: {error}; let by= return plain data: a text, a number, bytes, a UUID,"
            " a date, or a tuple of these"
        ) from error


def key_of(data: bytes) -> Hashable:
    """The key that these bytes were made of, or one that is equal to it."""
    return KEYS.decode(data)


def _in_one_form(key: Any) -> object:
    """What is equal to others of its kind, in the one form that stands for all of them."""
    match key:
        case bool():
            return int(key)
        case float() if key.is_integer():
            return int(key)
        case Decimal() if key.is_finite() and key == key.to_integral_value():
            return int(key)
        case datetime() if key.tzinfo is not None:
            return key.astimezone(UTC)
        case frozenset():
            raise EncodingError("the elements of a set have no fixed order")
        case tuple() if type(cast("object", key)) is tuple:
            return tuple(map(_in_one_form, cast("tuple[object, ...]", key)))
        case _:
            return cast("object", key)
