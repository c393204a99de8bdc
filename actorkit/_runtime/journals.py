"""The journals of durable ports: what each has accepted and not dealt with yet, as entries of the store.

An entry of the space `"message <port>"` is one message; its key is a number that counts up, over all ports. It is there from
the moment a sender is told that the message was accepted until the transaction that has its effect.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import field, frozen

from actorkit._runtime.port_codecs import codec_of
from actorkit.errors import DecodingError
from actorkit.storage.store import DamagedEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.letters import DeadLetter
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.writer import Writer
    from actorkit.storage.store import Changes, Entry, Key

MESSAGE: Final = "message"
KEY: Final = "key"
STATE: Final = "state"
PAGE: Final = 10_000
"""Entries read at once."""

_PLAIN, _REPROCESSED = b"\x00", b"\x01"  # the first byte of a record; after the second one stands the number of a dead letter
_LETTER: Final = 8  # bytes of that


@frozen
class Arriving:
    """A key whose message is being written: its number, the key that is forgotten for it, and what is set when that is over."""

    number: int
    oldest: tuple[str, int] | None
    over: trio.Event = field(factory=trio.Event)


class Journal:
    """The journal of one durable port; of a group's port, whichever member handles a message.

    Attributes:
        address: the port's path.
        space: where its messages are in the store.
        key_space: where its keys are.
        is_over: whether its actor is gone, and a late sender has come: then no key is remembered.
        arriving: keys of messages that are being written: who sends one of them again waits for that.
        relied_on: those among them of which a step that is being written has another message, which it leaves out: they are not withdrawn.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.address = mailbox.address
        self.space = f"{MESSAGE} {self.address}"
        self.arriving: dict[str, Arriving] = {}
        self.relied_on: set[str] = set()
        self._codec = codec_of(mailbox.cell.in_ports[mailbox.name])
        self._kept = mailbox.cell.kernel.kept
        self._window = mailbox.settings.dedupe_window
        self.key_space = f"{KEY} {self.address}"
        self._keys: OrderedDict[str, int] = OrderedDict()  # those of the last messages that had one, and the numbers of these keys
        self.is_over = mailbox.cell.gone

    def encode(self, message: object) -> bytes:
        """A message as bytes.

        Raises:
            EncodingError: it can't be; the text says why.
        """
        return self._codec.encode(message)

    def decode(self, record: bytes | DamagedEntry) -> tuple[Any, int | None]:
        """The message of a record, and the number of the dead letter that it is again, if any.

        Raises:
            DecodingError: it can't be read.
        """
        if isinstance(record, DamagedEntry):
            raise DecodingError(f"its entry in the store is damaged: {record.reason}")
        letter = letter_of(record)
        return self._codec.decode(record[1 if letter is None else 1 + _LETTER :]), letter

    # Messages in and out

    def post(self, changes: Changes, body: bytes, key: str | None = None, letter: int | None = None) -> int:
        """Adds a message to what is to be written, and returns its number."""
        number = self._kept.next_number()
        record = _PLAIN + body if letter is None else _REPROCESSED + letter.to_bytes(_LETTER) + body
        changes.puts.append((self.space, number, record))
        if key is not None and not self.is_over:
            oldest = self._keys.popitem(last=False) if len(self._keys) >= self._window else None
            self.arriving[key] = Arriving(number, oldest)
            changes.puts.append((self.key_space, number, key.encode()))
            if oldest is not None:
                changes.deletes.append((self.key_space, oldest[1]))
        return number

    def entry(self, number: int) -> tuple[str, Key]:
        """What to delete when that message has been dealt with."""
        return self.space, number

    # Keys

    def knows(self, key: str) -> bool:
        """Whether a message with this key was accepted lately."""
        return key in self._keys

    def is_taken(self, key: str) -> bool:
        """Whether a message with this key is in, or is going to be whatever happens."""
        if key in self.arriving:
            self.relied_on.add(key)
        return key in self._keys or key in self.arriving

    def arrived(self, key: str) -> None:
        """The message with this key is in."""
        arriving = self.arriving.pop(key, None)
        if arriving is None:  # its actor is gone for good
            return
        self._keys[key] = arriving.number
        self.relied_on.discard(key)
        arriving.over.set()

    def withdrawn(self, key: str) -> None:
        """The message with this key was not written."""
        arriving = self.arriving.pop(key, None)
        if arriving is None:
            return
        if arriving.oldest is not None:
            self._keys[arriving.oldest[0]] = arriving.oldest[1]
            self._keys.move_to_end(arriving.oldest[0], last=False)
        arriving.over.set()

    def end(self) -> None:
        """Its actor is gone for good: no key is remembered any more."""
        self.is_over = True
        self._keys.clear()
        arriving, self.arriving = self.arriving, {}
        for each in arriving.values():
            each.over.set()

    @property
    def keys(self) -> list[Entry]:
        """Those that are remembered, as entries."""
        return [(number, key.encode()) for key, number in self._keys.items()]

    # What an earlier process has left

    def take_up(self, keys: list[Entry]) -> None:
        """Goes on where that has ended."""
        for number, key in keys:
            if isinstance(number, int) and isinstance(key, bytes):
                self._keys[key.decode()] = number


class Kept:
    """What was in the store when the system began, and nobody has asked for yet; and what is left of who was removed, but not for good."""

    def __init__(self) -> None:
        self.is_read = False
        self._last = 0
        self.claimed: set[int] = set()  # dead letters that were on their way to be handled again
        self.letters: dict[int, DeadLetter] = {}
        self._messages: dict[str, list[Entry]] = {}
        self._keys: dict[str, list[Entry]] = {}
        self._states: dict[str, bytes | DamagedEntry] = {}

    async def read(self, writer: Writer) -> None:
        """Reads it."""
        for space in await writer.call(writer.store.spaces, MESSAGE):
            entries = self._messages[space.partition(" ")[2]] = await _entries(writer, space)
            self.claimed.update(letter for _, record in entries if (letter := letter_of(record)) is not None)
        for space in await writer.call(writer.store.spaces, KEY):
            self._keys[space.partition(" ")[2]] = await _entries(writer, space)
        for space in await writer.call(writer.store.spaces, STATE):
            state = await writer.call(writer.store.get, space, b"")
            if state is not None:
                self._states[space.partition(" ")[2]] = state
        used = (number for some in (self._messages, self._keys) for entries in some.values() for number, _ in entries)
        self._last = max((number for number in used if isinstance(number, int)), default=0)
        self.is_read = True

    def next_number(self) -> int:
        """For what is accepted next: none that the store has yet, or has had in this process."""
        self._last += 1
        return self._last

    def messages(self, journal: Journal) -> list[Entry]:
        """What waits at this port, in order; once."""
        found = self._messages.pop(journal.address, [])
        journal.take_up(self._keys.pop(journal.address, []))
        return found

    def state(self, path: str) -> bytes | DamagedEntry | None:
        """The last state that this actor has committed."""
        return self._states.pop(path, None)

    def leave(self, path: str, state: bytes | DamagedEntry | None) -> None:
        """An actor was removed, but not for good: this is what the next one with this path begins with."""
        if state is not None:
            self._states[path] = state

    def leave_keys(self, journal: Journal) -> None:
        """A port was removed, but not for good."""
        if journal.keys:
            self._keys[journal.address] = journal.keys

    def forget(self, path: str, ports: Iterable[str]) -> list[str]:
        """An actor, or a group, is gone for good. Returns the spaces in which it may have something."""
        self._states.pop(path, None)
        addresses = [f"{path}.{each}" for each in ports]
        for each in addresses:
            self._keys.pop(each, None)
        return [f"{STATE} {path}", *(f"{KEY} {each}" for each in addresses)]

    @property
    def unclaimed(self) -> dict[str, int]:
        """How many messages there are for ports that do not exist."""
        return {address: len(entries) for address, entries in self._messages.items()}


def letter_of(record: bytes | DamagedEntry) -> int | None:
    """The number of the dead letter that a record is again, if any."""
    if isinstance(record, bytes) and record.startswith(_REPROCESSED):
        return int.from_bytes(record[1 : 1 + _LETTER])
    return None


async def _entries(writer: Writer, space: str) -> list[Entry]:
    return [entry async for page in writer.pages(space, PAGE) for entry in page]
