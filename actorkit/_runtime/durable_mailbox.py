"""Durable ports: what is sent to one is written to the store first, and is accepted once it is there.

    send, outside of a step    room? → the journal, by the writer → `_written`: accepted, queued, and the sender goes on
    send, in a step            staged: it is written in the transaction that commits the step (steps.py), and arrives then
    ask                        as at any port: whoever asks is gone when the process is, so the request is not written

What is on its way to the store takes up room: `capacity` is less by as much meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import evolve

from actorkit._runtime.journals import Journal
from actorkit._runtime.letters import UnreadableMessage
from actorkit._runtime.mailbox import Mailbox
from actorkit._runtime.waits import Envelope, Waiter, acting, payload, staging
from actorkit.errors import CommitNeeded, DecodingError, EncodingError
from actorkit.policy.recovery import DeadLetterReason
from actorkit.storage.store import Changes, DamagedEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.ports import InPort
    from actorkit.storage.store import Key

TAKEN: Final = object()
"""What a send that waited for room comes back with when its key was taken meanwhile."""


class Durable(Mailbox):
    """What makes a mailbox durable."""

    __slots__ = ()

    journal: Journal
    is_durable: ClassVar[bool] = True

    # In

    def send(self, message: Any) -> Awaitable[None]:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        stage = staging.get()
        if stage is not None:
            return stage.stage(self, message, None)
        return self.post(Waiter(self.dispatcher, message))

    def send_with_key(self, message: Any, key: str | None) -> Awaitable[None]:
        """As `send`; a message with a key that was accepted lately is not accepted again."""
        if key is None:
            return self.send(message)
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        stage = staging.get()
        return self._send_once(message, key) if stage is None else stage.stage(self, message, key)

    async def _send_once(self, message: Any, key: str) -> None:
        journal, is_settled = self.journal, False
        while not is_settled:
            while key in journal.arriving:
                await journal.arriving[key].over.wait()
            if journal.knows(key):
                return
            waiter = Waiter(self.dispatcher, message)
            waiter.key = key
            is_settled = await self.post(waiter) is not TAKEN

    def send_again(self, envelope: Envelope) -> Awaitable[None]:
        if not isinstance(envelope.message, self.types):
            raise self.wrong_type(envelope.message)
        return self.post(Waiter(self.dispatcher, envelope))

    def send_nowait(self, message: Any) -> None:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        self._stage_nowait(message, "send_nowait")

    def emit(self, emitter: Cell, message: Any) -> None:
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        self._stage_nowait(message, "emit")

    def _stage_nowait(self, message: Any, how: str) -> None:
        stage = staging.get()
        if stage is None:
            raise self._needs_commit(how)
        stage.stage_nowait(self, message)

    def _needs_commit(self, how: str) -> CommitNeeded:
        return CommitNeeded(
            f"{self.path} is durable, and {how} can't wait until a message is written to the store, so it was not accepted; await send(),"
            " or send it in a handler of an actor that is wired to this port"
        ).at(self.path)

    def post(self, waiter: Waiter) -> Waiter:
        """Writes the message of `waiter` to the journal, now if there is room, else when there is: await it."""
        self.check_fence(waiter.item)
        waiter.body = self.journal.encode(payload(waiter.item))
        waiter.port = self
        if self.has_room or (acting.get() is self.cell and not self.cell.refuses):
            self.put(waiter)
        elif self.cell.refuses:
            self.dead_letter_arrival(waiter, DeadLetterReason.RECEIVER_STOPPED)
        else:
            self._wait_for_room(waiter)
        return waiter

    def knock(self, waiter: Waiter) -> bool:
        stage = staging.get()
        if stage is not None:
            stage.stage_nowait(self, waiter.item)
            return True
        return self.post(waiter).done

    @property
    def takes_at_once(self) -> bool:
        if staging.get() is None:
            raise self._needs_commit("send_nowait")
        return True

    @property
    def has_room(self) -> bool:
        return len(self.queue) < self.capacity and not (self.room or self.held or self.cell.refuses)

    def _item_of(self, waiter: Waiter) -> Any:
        return waiter.admitted() if type(waiter) is Envelope else waiter

    def admit_with(self, message: Any, changes: Changes) -> None:
        """Admits a message in one transaction with these changes, whatever the capacity."""
        waiter = Waiter(self.dispatcher, message)
        waiter.body = self.journal.encode(message)
        self._write(waiter, changes)

    def put(self, item: Any) -> None:
        """Writes a message to the journal, and queues it when it is there. A request, and what is there already, is queued at once."""
        if type(item) is Envelope and (item.is_ask or item.number is not None):
            super().put(item)
            return
        waiter = item if isinstance(item, Waiter) and type(item) is not Envelope else Waiter(self.dispatcher, item)
        if waiter.body is None:  # the runtime's own: a timer's, a notice
            try:
                waiter.body = self.journal.encode(payload(waiter.item))
            except EncodingError:
                self.dead_letter_arrival(item, DeadLetterReason.UNDECODABLE)
                return
        self._write_once(waiter)

    def _write_once(self, waiter: Waiter, fate: DeadLetterReason | None = None) -> None:
        if waiter.key is not None and (waiter.key in self.journal.arriving or self.journal.knows(waiter.key)):
            waiter.item = waiter.mailbox = None  # while it waited for room, another one with this key came in
            waiter.wake(TAKEN)
        else:
            self._write(waiter, Changes(drains=False), fate)  # but for the key that may be forgotten for another one

    def _write(self, waiter: Waiter, changes: Changes, fate: DeadLetterReason | None = None) -> None:
        message, body = waiter.item, waiter.body
        assert body is not None
        letter = message.letter.id if type(message) is Envelope and message.letter is not None else None
        number = self.journal.post(changes, body, waiter.key, letter)
        waiter.mailbox = self  # so that whoever gives up can take it back
        waiter.changes = changes
        self.capacity -= 1
        self.cell.kernel.writer.submit(changes, partial(self._written, waiter, number, fate))

    def _written(self, waiter: Waiter, number: int, fate: DeadLetterReason | None) -> None:
        waiter.changes = None
        self.capacity += 1
        if waiter.key is not None:
            self.journal.arrived(waiter.key)
        item, waiter.item, waiter.mailbox = waiter.item, None, None
        if fate is None:
            self.arrive(item, number)
        else:
            self.dead_letter_arrival(self._in_store(item, number), fate)
        waiter.wake()

    def arrive(self, item: Any, number: int) -> Mailbox:
        """A message that is in the store now is accepted; returns the mailbox that it is queued in."""
        envelope = self._in_store(item, number)
        if self.cell.refuses:
            self.dead_letter_arrival(envelope, DeadLetterReason.RECEIVER_STOPPED)
        else:
            super().put(envelope)
        return self

    def _in_store(self, item: Any, number: int) -> Envelope:
        envelope = item if type(item) is Envelope else Envelope(self.dispatcher, item, is_ask=False)
        envelope.number = number
        return envelope

    def leave_room(self, waiter: Waiter) -> None:
        changes = waiter.changes
        if changes is None:
            super().leave_room(waiter)
        elif waiter.key not in self.journal.relied_on and self.cell.kernel.writer.withdraw(changes):
            waiter.changes = None
            self.capacity += 1
            waiter.mailbox = waiter.item = None
            if waiter.key is not None:
                self.journal.withdrawn(waiter.key)
            self.make_room()
        else:
            waiter.is_out = True

    def dead_letter_arrival(self, item: Any, reason: DeadLetterReason) -> None:
        if isinstance(item, Waiter) and type(item) is not Envelope:
            if item.key is not None and not self.journal.is_over:
                self._write_once(item, reason)  # with its key, which is remembered: it was accepted; the letter then takes its place
                return
            waiter, item = item, item.item
            waiter.item = waiter.mailbox = None
            super().dead_letter_arrival(item, reason)
            waiter.wake()
        else:
            super().dead_letter_arrival(item, reason)

    # Out

    def entries_of(self, item: Any) -> tuple[tuple[str, Key], ...]:
        if type(item) is not Envelope or item.number is None:
            return ()
        return (self.journal.entry(item.number), *self.cell.kernel.suspects.entries_of(self.journal, item))

    def skip(self, reason: str, item: Any = None) -> None:
        super().skip(reason, item)
        if entries := self.entries_of(item):
            self.cell.kernel.writer.submit(Changes(deletes=entries))

    def dead_letter_all(self, reason: DeadLetterReason) -> None:
        if reason is not DeadLetterReason.SHUTDOWN:
            super().dead_letter_all(reason)
            return
        kept = [item for item in self.queue if type(item) is Envelope and item.number is not None]
        others = [item for item in self.queue if not (type(item) is Envelope and item.number is not None)]
        self.queue.clear()
        for item in others:
            self.cell.recovery.dead_letter(self, item, reason)
        self.queue.extend(kept)  # for the next system that has this store


class DurableMailbox(Durable):
    """The queue of a durable port."""

    __slots__ = ("journal",)

    def __init__(self, cell: Cell, port: InPort[Any, Any, Any]) -> None:
        super().__init__(cell, port)
        self.journal = Journal(self)
        if cell.kernel.kept.is_read and not cell.gone:
            self.recover()

    def recover(self) -> None:
        """Takes up what an earlier system has left in the store."""
        suspects = self.cell.kernel.suspects
        for place, (number, record) in enumerate(self.cell.kernel.kept.messages(self.journal)):
            envelope = read_back(self, number, record)
            if envelope is not None and suspects.look_at(self, envelope, place):
                super().put(envelope)


def read_back(mailbox: Durable, number: Key, record: bytes | DamagedEntry) -> Envelope | None:
    """A message out of the store; None if it can't be read, and has become a dead letter."""
    envelope = Envelope(mailbox.dispatcher, None, is_ask=False)
    envelope.number = int(number) if isinstance(number, int) else None
    try:
        envelope.message, letter = mailbox.journal.decode(record)
    except DecodingError as error:
        is_damaged = isinstance(record, DamagedEntry)
        envelope.message = UnreadableMessage(str(error), data=record.data if isinstance(record, DamagedEntry) else record)
        mailbox.dead_letter_arrival(envelope, DeadLetterReason.CORRUPT if is_damaged else DeadLetterReason.UNDECODABLE)
        return None
    claimed = None if letter is None else mailbox.cell.kernel.kept.letters.get(letter)
    if claimed is not None:
        envelope.letter = evolve(claimed, message=envelope.message)
    return envelope
