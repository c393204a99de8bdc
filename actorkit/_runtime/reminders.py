"""Reminders: messages that come later, also to a later life of the actor, and in a later process.

Each is an entry in the store, with the time in UTC at which it is due, and, in this process, an alarm on trio's clock. It
belongs to the actor's path; to a keyed actor's group and key, as that actor may sleep. One that is due while there is
no such actor, or it is stopped, is *late*: it waits for a start.

    remind                     entry put, alarm set
    due, the actor is there    message admitted; entry deleted, or put with the next time
    due, it is not             late, until an actor with that path has started
    gone for good              entry deleted
    next process               alarms set anew when the tree is up: for what is left, the whole time at most
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actorkit._runtime.durable_mailbox import Durable
from actorkit._runtime.port_codecs import codec_of
from actorkit.errors import ActorNotRunning, DecodingError, EncodingError, SpecError
from actorkit.events import ReminderLost
from actorkit.policy.checks import check_flag, check_seconds, check_type
from actorkit.policy.recovery import DeadLetterReason
from actorkit.storage.messagepack import pack, unpack
from actorkit.storage.store import Changes, DamagedEntry, Key

if TYPE_CHECKING:
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort
    from actorkit.storage.codec import Codec

SPACE: Final = "reminder"
FORMAT: Final = 1
"""The version of an entry's body: `[FORMAT, due, seconds, repeats, port, message]`; due in microseconds since 1970, UTC."""
LAST: Final = 2**63 - 1

Owner = tuple[str, bytes]
"""Whose a reminder is: an actor's path; or a keyed group's, and the key as bytes."""


class Reminder:
    """One reminder, in this process."""

    __slots__ = ("_reminders", "deadline", "handed", "message", "name", "owner", "port", "repeats", "seconds")

    def __init__(self, reminders: Reminders, owner: Owner, name: str, *, seconds: float, repeats: bool, port: str, message: bytes) -> None:
        self._reminders = reminders
        self.owner = owner
        self.name = name
        self.seconds = seconds
        self.repeats = repeats
        self.port = port
        self.message = message
        self.deadline = 0.0
        self.handed: Changes | None = None  # to the writer, and not written yet

    @property
    def key(self) -> bytes:
        """Its entry's."""
        path, key = self.owner
        return pack([path, self.name, key] if key else [path, self.name])

    def fire(self) -> None:
        """It is due."""
        self._reminders.due(self)


class Reminders:
    """All reminders of one system.

    Attributes:
        late: those that are due and whose actor is not there, by its path.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._by_owner: dict[Owner, dict[str, Reminder]] = {}
        self._to_come: Counter[str] = Counter()  # those that come once, by path
        self._loaded: dict[Reminder, None] = {}  # whose alarms are set when the tree is up
        self._codecs: dict[InPort[Any, Any, Any], Codec] = {}
        self.late: dict[str, dict[Reminder, None]] = {}

    # ---- what actors ask for

    def remind(self, life: Incarnation, name: str, seconds: float, port: InPort[Any, Any, Any], message: Any, repeat: bool) -> None:
        """See `Actor.remind`."""
        cell = life.cell
        where = f"{cell.path}: remind"
        check_type(where, "name", name, str, "a text")
        check_flag(where, "repeat", repeat)
        check_seconds(where, "seconds", seconds, positive=repeat)
        mailbox = self._own_mailbox(life, port)
        if not isinstance(message, mailbox.types):
            raise mailbox.wrong_type(message)
        owner, codec = cell.supervisor.owner_of(cell), self._codec(mailbox)
        try:
            data = codec.encode(message)
        except EncodingError as error:
            raise EncodingError(f"{mailbox.path}: the reminder {name!r} can't be kept: {error}") from error
        before = self._by_owner.get(owner, {}).get(name)
        if before is not None:
            same = before.seconds == seconds and before.repeats is repeat and before.port == mailbox.name
            if same and (before.message == data or _is_equal(codec, before.message, message)):
                return
            self._drop(before)
        reminder = Reminder(self, owner, name, seconds=float(seconds), repeats=repeat, port=mailbox.name, message=data)
        reminder.deadline = self._kernel.now() + seconds
        self._add(reminder)
        self._arm(reminder)
        self._submit(reminder, self._entry(reminder))

    def cancel(self, life: Incarnation, name: str) -> bool:
        """See `Actor.cancel_reminder`."""
        if life.ended:
            raise _has_ended(life)
        reminder = self._by_owner.get(life.cell.supervisor.owner_of(life.cell), {}).get(name)
        if reminder is not None:
            self._delete(reminder)
        return reminder is not None

    def _own_mailbox(self, life: Incarnation, port: InPort[Any, Any, Any]) -> Mailbox:
        if life.ended:
            raise _has_ended(life)
        return life.own_mailbox(port)

    def _codec(self, mailbox: Mailbox) -> Codec:
        port = mailbox.cell.in_ports[mailbox.name]
        codec = self._codecs.get(port)
        if codec is None:
            codec = self._codecs[port] = codec_of(port)
        return codec

    # ---- what the tree tells

    def holds(self, path: str) -> bool:
        """Whether one is to come, once, to this actor or group, which is not at its end before that."""
        return path in self._to_come

    @property
    def are_none(self) -> bool:
        """Whether there is none."""
        return not self._by_owner

    def started(self, path: str) -> None:
        """An actor with this path, or a group, is up: it gets what is late."""
        for reminder in self.late.pop(path, ()):
            self._deliver(reminder)

    def forget(self, path: str, key: bytes = b"") -> None:
        """This actor is gone for good, and its reminders with it; not those of all who end with the system."""
        if self._by_owner and not self._kernel.is_closing:
            for reminder in list(self._by_owner.get((path, key), {}).values()):
                self._delete(reminder)

    def forget_group(self, path: str) -> None:
        """A group is gone for good, with all its keys."""
        for owner in [owner for owner in self._by_owner if owner[0] == path]:
            self.forget(*owner)

    # ---- from process to process

    async def load(self) -> None:
        """Reads what an earlier process has left.

        Raises:
            StorageError: it can't be read.
        """
        async for page in self._kernel.writer.pages(SPACE):
            for key, body in page:
                self._found(key, body)

    def _found(self, key: Key, body: bytes | DamagedEntry) -> None:
        path, name = "", ""
        try:
            path, name, *rest = unpack(key)
            if isinstance(body, DamagedEntry):
                raise ValueError(body.reason)
            form, due, seconds, repeats, port, message = unpack(body)
            if form != FORMAT:
                raise ValueError(f"it is of format {form}, and this program knows {FORMAT}")
            owner = (path, rest[0] if rest else b"")
            reminder = Reminder(self, owner, name, seconds=seconds, repeats=repeats, port=port, message=message)
            now, moment = self._kernel.moment()
            reminder.deadline = now + min(due / 1e6 - moment.timestamp(), seconds)  # the wall clock may have been set back meanwhile
        except (ValueError, TypeError) as error:
            self._kernel.events.publish(ReminderLost(str(path), str(name), f"its entry is damaged: {error}"))
            return
        self._add(reminder)
        self._loaded[reminder] = None

    def begin(self) -> None:
        """The tree is up: what an earlier process has left goes on; what is overdue comes now, in order."""
        loaded, self._loaded = self._loaded, {}
        for reminder in sorted(loaded, key=lambda each: each.deadline):
            self._arm(reminder)

    # ---- when it is due

    def due(self, reminder: Reminder) -> None:
        """Its time has come."""
        self._kernel.repeating -= reminder.repeats
        self._came(reminder)
        self._deliver(reminder)

    def _deliver(self, reminder: Reminder) -> None:
        path = reminder.owner[0]
        cell = self._kernel.cells.get(path)
        if cell is None or cell.refuses:
            self.late.setdefault(path, {})[reminder] = None
        elif (mailbox := self._receiver(reminder)) is None:
            self._kernel.events.publish(ReminderLost(path, reminder.name, f"there is no port {reminder.port!r} that could take it"))
        else:
            self._admit(mailbox, reminder, self._next(reminder))
        self._settled(path)

    def _receiver(self, reminder: Reminder) -> Mailbox | None:
        path, key = reminder.owner
        cell = self._kernel.cells.get(path)
        if cell is None or reminder.port not in cell.in_ports:
            return None
        if key:
            group = self._kernel.supervisors.get(path)
            try:
                return None if group is None else group.mailbox_of(key, reminder.port)
            except DecodingError:
                return None
        mailbox = cell.mailbox(reminder.port)
        return None if mailbox.is_door else mailbox

    def _next(self, reminder: Reminder) -> Changes:
        """What becomes of its entry now that it has come; sets its next alarm."""
        if not reminder.repeats:
            self._drop(reminder)
            return Changes(deletes=[(SPACE, reminder.key)])
        periods = max(0, math.floor((self._kernel.now() - reminder.deadline) / reminder.seconds)) + 1  # those it has missed come as one
        reminder.deadline += periods * reminder.seconds
        self._arm(reminder)
        return self._entry(reminder)

    def _admit(self, mailbox: Mailbox, reminder: Reminder, changes: Changes) -> None:
        """The message goes in, and what becomes of the entry to the store. In memory it may so come once more after a kill."""
        try:
            message = self._codec(mailbox).decode(reminder.message)
        except DecodingError:
            mailbox.dead_letter_arrival(reminder.message, DeadLetterReason.UNDECODABLE)
        else:
            if isinstance(message, mailbox.types) and isinstance(mailbox, Durable):
                self._recall(reminder)
                mailbox.admit_with(message, changes)  # in one transaction: it comes once
                return
            elif isinstance(message, mailbox.types):
                mailbox.admit(message)
            else:
                mailbox.dead_letter_arrival(message, DeadLetterReason.UNDECODABLE)
        self._submit(reminder, changes)

    # ---- alarms and entries

    def _add(self, reminder: Reminder) -> None:
        self._by_owner.setdefault(reminder.owner, {})[reminder.name] = reminder
        self._to_come[reminder.owner[0]] += not reminder.repeats

    def _arm(self, reminder: Reminder) -> None:
        self._kernel.timers.add(reminder)
        self._kernel.repeating += reminder.repeats

    def _came(self, reminder: Reminder) -> None:
        """It is not to come any more, if it was to come once."""
        path = reminder.owner[0]
        self._to_come[path] -= not reminder.repeats
        if not self._to_come[path]:
            del self._to_come[path]

    def _drop(self, reminder: Reminder) -> None:
        """It is no more."""
        path = reminder.owner[0]
        if reminder in self._loaded:
            del self._loaded[reminder]
            self._came(reminder)
        elif self._kernel.timers.remove(reminder):
            self._kernel.repeating -= reminder.repeats
            self._came(reminder)
        late = self.late.get(path, {})
        if reminder in late:
            del late[reminder]
            if not late:
                del self.late[path]
        names = self._by_owner[reminder.owner]
        del names[reminder.name]
        if not names:
            del self._by_owner[reminder.owner]
        self._recall(reminder)

    def _delete(self, reminder: Reminder) -> None:
        self._drop(reminder)
        self._submit(reminder, Changes(deletes=[(SPACE, reminder.key)]))
        self._settled(reminder.owner[0])

    def _entry(self, reminder: Reminder) -> Changes:
        now, moment = self._kernel.moment()
        due = min(int((moment.timestamp() + reminder.deadline - now) * 1e6), LAST)
        body = pack([FORMAT, due, reminder.seconds, reminder.repeats, reminder.port, reminder.message])
        return Changes([(SPACE, reminder.key, body)])

    def _submit(self, reminder: Reminder, changes: Changes) -> None:
        self._recall(reminder)
        if changes.puts:
            reminder.handed = changes
        self._kernel.writer.submit(changes, partial(self._written, reminder, changes))

    def _written(self, reminder: Reminder, changes: Changes) -> None:
        if reminder.handed is changes:
            reminder.handed = None

    def _recall(self, reminder: Reminder) -> None:
        """What was to be written of it is out of date; on a full disk, what deletes it would overtake that."""
        if reminder.handed is not None:
            reminder.handed.puts = []  # a new list: a thread may be at the old one
            reminder.handed = None

    def _settled(self, path: str) -> None:
        """One is not to come any more: that may have been all that somebody waited for."""
        cell = self._kernel.cells.get(path)
        if cell is not None and cell.life is not None:
            cell.life.check_drained()
        self._kernel.look()


def no_reminders(path: str) -> SpecError:
    """The error for a member of a pool that asks to be reminded."""
    return SpecError(
        f"{path}: a member of a pool has no reminders, as it comes and goes with the pool's size; let an actor beside the pool be"
        " reminded, and send to the pool"
    )


def _has_ended(life: Incarnation) -> ActorNotRunning:
    return ActorNotRunning(f"{life.cell.path}: incarnation {life.number} of this actor has ended, and has no more to do with its reminders")


def _is_equal(codec: Codec, data: bytes, message: Any) -> bool:
    """Whether this is the same message: a set, say, may be written in another order."""
    try:
        return bool(codec.decode(data) == message)
    except DecodingError:
        return False
