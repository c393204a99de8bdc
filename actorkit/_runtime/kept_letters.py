"""Dead letters in a store: what is written of one, and how it is read back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actorkit._runtime.letters import DeadLetter, Record, UnreadableMessage, fields_of
from actorkit._runtime.port_codecs import codec_of
from actorkit._runtime.wording import shown
from actorkit.errors import DecodingError, EncodingError
from actorkit.policy.recovery import DeadLetterReason
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.traces import LONGEST_TRACE
from actorkit.policy.wording import LONGEST_MESSAGE, cut
from actorkit.storage.codec import Codec
from actorkit.storage.messagepack import packer, unpack
from actorkit.storage.segments import Damaged
from actorkit.storage.store import Changes, DamagedEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort
    from actorkit._runtime.writer import Writer
    from actorkit.storage.store import Key

SPACE: Final = "dead letter"
"""Of the entries; the key is the letter's id."""
FORMAT: Final = 1
"""The version of the form: see `pack_letter`."""
LONGEST_TEXT: Final = 4_096
"""Characters that are kept of the `repr` of a message that can't be encoded."""
LARGEST_DATA: Final = 64 * 2**10
"""Bytes that are kept of what can't be read."""
NOT_KNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a letter died of which only damaged bytes are left."""

Form = list[Any]
"""What is written of a message: `[data]`, or `[reason, text, data]` of one that can't be read back."""

_pack = packer(unicode_errors="surrogatepass").pack  # the texts of errors may be anything


# ---- one letter


def pack_letter(letter: Record | DeadLetter, message: Form) -> bytes:
    """A dead letter as the body of its entry: the array of its fields but the id, after the version of the form."""
    _, _, port, reason, error, attempts, since, earlier, reprocessings = fields_of(letter)
    failures = [_failure(each) for each in earlier]
    last = None if error is None else _failure(error)
    return _pack([FORMAT, port, str(reason.value), attempts, since.isoformat(), reprocessings, message, last, failures])


def unpack_letter(id: int, body: bytes | DamagedEntry, codec_for: Callable[[str], Codec]) -> DeadLetter:
    """A dead letter from the body of its entry. What can't be read back is an `UnreadableMessage` in its place."""
    if isinstance(body, DamagedEntry):
        return _damaged(id, body.reason, body.data)
    try:
        form, *fields = unpack(body, unicode_errors="surrogatepass")
        if form != FORMAT:
            return _damaged(id, f"the entry is of format {form!r}, and this actorkit reads {FORMAT}", body)
        port, reason, attempts, since, reprocessings, message, last, failures = fields
        error = None if last is None else _restored(last)
        earlier = tuple(_restored(each) for each in failures)
        cause, moment = DeadLetterReason(reason), datetime.fromisoformat(since)
        found = UnreadableMessage(*message) if len(message) > 1 else _decoded(message[0], codec_for(port))
    except Exception as wrong:
        return _damaged(id, f"the entry is damaged: {type(wrong).__name__}: {wrong}", body)
    return DeadLetter(id, found, port, cause, error, attempts, moment, earlier, reprocessings)


def _decoded(data: bytes, codec: Codec) -> object:
    try:
        return codec.decode(data)
    except DecodingError as error:
        return UnreadableMessage(str(error), data=data)


def _damaged(id: int, reason: str, data: bytes) -> DeadLetter:
    return DeadLetter(id, UnreadableMessage(reason, data=data[:LARGEST_DATA]), "", DeadLetterReason.CORRUPT, dead_since=NOT_KNOWN)


def _failure(error: ErrorContext) -> list[object]:
    return [
        error.error_id,
        str(error.severity.value),
        str(error.category.value),
        error.component_name,
        error.port_name,
        error.message_id,
        cut(error.error_message, LONGEST_MESSAGE),
        cut(error.print_trace(), LONGEST_TRACE),
        error.occurrence_count,
        None if error.first_seen is None else error.first_seen.isoformat(),
        None if error.last_seen is None else error.last_seen.isoformat(),
        error.recovery_attempts,
        error.fingerprint,
        error.exception_type,
    ]


def _restored(fields: list[Any]) -> ErrorContext:
    id, severity, category, component, port, message, text, trace, count, first, last, attempts, fingerprint, raised = fields
    return ErrorContext(
        error_id=id,
        severity=ErrorSeverity(severity),
        category=ErrorCategory(category),
        component_name=component,
        port_name=port,
        message_id=message,
        error_message=text,
        stack_trace=trace,
        occurrence_count=count,
        first_seen=None if first is None else datetime.fromisoformat(first),
        last_seen=None if last is None else datetime.fromisoformat(last),
        recovery_attempts=attempts,
        metadata={"exception_type": raised} if raised else {},
        fingerprint=fingerprint,
    )


# ---- those of a system


class KeptLetters:
    """The dead letters of one system in its store.

    Args:
        writer: the way to the store.
        port_of: finds a port by its path, which says what its messages are made of.
    """

    def __init__(self, writer: Writer, port_of: Callable[[str], InPort[Any, Any, Any] | None]) -> None:
        self._writer = writer
        self._port_of = port_of
        self._codecs: dict[InPort[Any, Any, Any] | None, Codec] = {None: Codec()}  # plain data needs no port to be read back
        self._pending: dict[int, Changes] = {}  # what of each letter is not written yet: the last of it
        self._new: set[int] = set()  # of which nothing is in the store yet
        self._deleted: set[int] = set()  # while something of them is pending
        self.when_written: Callable[[], None] = lambda: None

    @property
    def title(self) -> str:
        """The store, for people."""
        return self._writer.store.title

    # Messages

    def encode(self, message: object, path: str, source: Mailbox | None = None) -> Form:
        """What is to be written of a message for the port with this path, or for `source`, if that is at hand."""
        if isinstance(message, UnreadableMessage):
            return [message.reason, message.text, message.data]
        if isinstance(message, Damaged):
            return [message.reason, "", message.data]
        try:
            return [self._codec(self._port_of(path) if source is None else source.cell.in_ports[source.name]).encode(message)]
        except EncodingError as error:
            return [f"it could not be written: {error}", shown(message, LONGEST_TEXT), b""]

    def _codec(self, port: InPort[Any, Any, Any] | None) -> Codec:
        codec = self._codecs.get(port)
        if codec is None and port is not None:
            codec = self._codecs[port] = codec_of(port)
        return codec or self._codecs[None]

    # Writing

    def put(self, letter: Record | DeadLetter, message: Form, removes: Iterable[tuple[str, Key]] = ()) -> None:
        """Writes a letter, and takes these entries out, in one transaction; does not wait for it."""
        id = fields_of(letter)[0]
        changes = Changes([(SPACE, id, pack_letter(letter, message))], removes)
        if not changes.deletes:  # else its message is in the store as it is
            self._new.add(id)
        self._withdraw(id)  # what was known before: on a full disk it might be written afterwards
        self._pending[id] = changes
        self._writer.submit(changes, lambda: self._written(id, changes))

    async def commit(self, letter: DeadLetter, message: Form) -> None:
        """Writes a letter, and waits for that."""
        await self._writer.commit(Changes([(SPACE, letter.id, pack_letter(letter, message))]))

    def put_again(self, letter: DeadLetter, message: Form, removes: Iterable[tuple[str, Key]] = ()) -> None:
        """As `put`, for a letter that is there already."""
        was_new = letter.id in self._new
        self.put(letter, message, removes)
        if not was_new:
            self._new.discard(letter.id)

    def delete(self, id: int, changes: Changes | None = None) -> None:
        """Deletes a letter's entry, together with these changes if somebody is to submit them; else now, and does not wait for it."""
        self._forget(id)
        if changes is None:
            self._writer.submit(Changes(deletes=[(SPACE, id)]))
        else:
            changes.deletes.append((SPACE, id))

    async def delete_all(self, ids: Sequence[int]) -> None:
        """Deletes the entries of these letters, and waits for that."""
        await self._writer.commit(Changes(deletes=[(SPACE, id) for id in ids]))
        for id in ids:
            self._forget(id)

    def _forget(self, id: int) -> None:
        if self._withdraw(id):
            self._new.discard(id)
        elif id in self._pending:  # a full disk may yet take the deletion first: then it is deleted once more
            self._deleted.add(id)

    def _withdraw(self, id: int) -> bool:
        changes = self._pending.get(id)
        if changes is None or changes.deletes or not self._writer.withdraw(changes):
            return False
        del self._pending[id]
        return True

    def _written(self, id: int, changes: Changes) -> None:
        self._new.discard(id)
        if self._pending.get(id) is changes:
            del self._pending[id]
            if id in self._deleted:
                self._deleted.discard(id)
                self._writer.submit(Changes(deletes=[(SPACE, id)]))
        self.when_written()

    def has(self, id: int) -> bool:
        """Whether the store has all that is known about a letter."""
        return id not in self._pending

    def has_nothing_of(self, id: int) -> bool:
        """Whether neither this letter nor its message is in the store."""
        return id in self._new

    def take_back(self, id: int) -> bool:
        """Gives up to write a letter if nothing of it is in the store, and that can't be written now; says whether it did."""
        if not (self._writer.is_stuck and id in self._new and self._withdraw(id)):
            return False
        self._new.discard(id)
        return True

    # Reading

    async def ids(self) -> list[int]:
        """The ids of all letters, in order."""
        return [key async for page in self._writer.pages(SPACE) for key, _ in page if isinstance(key, int)]

    async def read(self, ids: Sequence[int]) -> dict[int, DeadLetter]:
        """What the store has of these letters, which are in order and lie close together."""
        bodies: dict[Key, bytes | DamagedEntry] = {}
        for id in ids:
            if id not in bodies:
                page = await self._writer.call(partial(self._writer.store.scan, SPACE, after=id - 1 if id else None, limit=len(ids)))
                bodies.update(page)
        return {id: unpack_letter(id, bodies[id], self._codec_for) for id in ids if id in bodies}

    def _codec_for(self, path: str) -> Codec:
        return self._codec(self._port_of(path))
