"""Where messages go that nobody could handle: kept, with the reason, to be looked at, sent again or discarded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import evolve

from actorkit._runtime.letters import DeadLetter, DeadLetters, Filter, UnreadableMessage, fields_of
from actorkit._runtime.waits import Envelope
from actorkit.errors import DecodingError, SpecError, StorageError, UnknownActor
from actorkit.events import DeadLettersDiscarded, DeadLettersEvicted, DeadLettersNearlyFull, MessageDeadLettered
from actorkit.policy.checks import check_count, check_flag, check_number
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorkit._runtime.event_stream import EventStream
    from actorkit._runtime.kept_letters import Form, KeptLetters
    from actorkit._runtime.letters import Record
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext
    from actorkit.storage.store import Changes, Key

MAX_REPROCESSINGS = 3
"""How often a dead letter is sent again, unless it is forced: what failed so often needs a look, not another try."""
NEARLY_FULL, RELIEVED = 0.8, 0.7
"""The share of `max_size` at which an alert goes out, and that below which the next one may."""
PAGE: Final = 100
"""Letters that are read from a store at a time."""
UNKNOWN: Final = -1
"""How often a letter that nobody has looked at yet was sent again."""
FAILURES_KEPT = 10
"""How many failures of one message its dead letter has."""


class DeadLetterQueue:
    """The dead letters of a system, oldest first, as `system.dead_letters`; `len()` says how many.

    At 80 % of `max_size` an alert event goes out; beyond it the oldest are evicted, counted in `evicted`, with a
    CRITICAL event.

    In a system with a store, the store has them all: each is written as it comes, none is evicted, and the next system
    with that store goes on with them. The newest `max_size` are in memory as well, and that is what the queue has once
    its system has ended. Given to another system, it takes along only what is in no store.

    Args:
        max_size: how many to keep; in a store, how many there should be at most.

    Raises:
        ValueError: `max_size` is below 1 (a wrong type: TypeError).
    """

    def __init__(self, max_size: int = 100_000) -> None:
        check_count("DeadLetterQueue", "max_size", max_size, 1)
        self.max_size = max_size
        self.evicted = 0
        # By id; what `DeadLetter` is made of, until somebody looks at it: making one takes longer than all else that is done
        # for it. Ordered, as a dict takes long to find its first when many were before it.
        self._letters: OrderedDict[int, Record | DeadLetter] = OrderedDict()
        self._older: dict[int, int] = {}  # those that only the store has: how often each was sent again
        # Sent again; they stay until their fate is known. With what was written of the message, before its handler could change it.
        self._claimed: dict[int, Form | None] = {}
        self._last_id = 0
        self._alerted = False
        self._events: EventStream | None = None
        self._find: Callable[[str], Mailbox | None] = lambda _: None
        self._kept: KeptLetters | None = None
        self._elsewhere: set[int] = set()  # those of a system that has ended which are in its store
        self._title = ""  # of that store

    def attach(self, events: EventStream, find: Callable[[str], Mailbox | None]) -> None:
        """Makes it the queue of a running system: where its events go, and how a port's path is found again.

        Raises:
            SpecError: it is that of a system that runs, and has a store.
        """
        self._check_free()
        self._events, self._find = events, find
        self._claimed.clear()  # by a system that has ended
        for id in self._elsewhere:
            self._letters.pop(id, None)
        self._elsewhere.clear()

    async def open(self, kept: KeptLetters, claimed: Iterable[int] = ()) -> None:
        """Takes up what is in the system's store, and puts there what is in none.

        `claimed`: the ids of those whose message is queued at a durable port, so that their fate will become known.
        Raises as `attach` does.
        """
        self._check_free()
        ids = await kept.ids()
        self._check_free()
        homeless, self._letters = self.now().all(), OrderedDict()
        self._older = dict.fromkeys(ids, UNKNOWN)
        self._claimed = {id: None for id in claimed if id in self._older}
        self._last_id = max([self._last_id, *ids[-1:]])
        self._kept = kept
        kept.when_written = self._forget_oldest
        for letter in homeless:
            id = letter.id
            if id in self._older:
                self._last_id = id = self._last_id + 1
            self._letters[id] = mine = evolve(letter, id=id)
            kept.put(mine, kept.encode(mine.message, mine.port))
        self._forget_oldest()
        self._look_at_level()

    def _check_free(self) -> None:
        if self._kept is not None:
            raise SpecError("this DeadLetterQueue is in use by a running system with a store: give each system a queue of its own")

    def close(self, kept: KeptLetters) -> None:
        """A system has ended, and its store is closed: from now on its queue has what is in memory."""
        if self._kept is kept:
            self._kept, self._title = None, kept.title
            self._elsewhere = {id for id in self._letters if not kept.has_nothing_of(id)}
            self._older.clear()

    # ------------------------------------------------------------------------------------------------ in

    def put(
        self,
        message: Any,
        port: str,
        reason: DeadLetterReason,
        error: ErrorContext | None = None,
        attempts: int = 0,
        earlier: tuple[ErrorContext, ...] = (),
        *,
        source: Mailbox | None = None,
        removes: tuple[tuple[str, Key], ...] = (),
    ) -> None:
        """Keeps a message, with its last failure and those before; never waits, never fails.

        `source`: the mailbox that it comes from. `removes`: the entries of the store that are its, and go as the letter comes.
        """
        self._last_id = id = self._last_id + 1
        since = (error.last_seen if error is not None else None) or datetime.now(UTC)
        self._letters[id] = record = (id, message, port, reason, error, attempts, since, earlier, 0)
        if self._kept is not None:
            self._kept.put(record, self._kept.encode(message, port, source), removes)
        self._came_in(id, port)

    def put_back(
        self,
        letter: DeadLetter,
        reason: DeadLetterReason,
        failures: tuple[ErrorContext, ...],
        attempts: int,
        *,
        removes: tuple[tuple[str, Key], ...] = (),
    ) -> None:
        """A dead letter that was sent again has been given up again. `removes`: see `put`."""
        message = self._claimed.pop(letter.id, None)
        kept = self._kept
        if kept is None and letter.id not in self._letters:
            return
        all_failures = (*letter.failures, *failures)[-FAILURES_KEPT:]
        self._older.pop(letter.id, None)
        self._letters[letter.id] = again = evolve(
            letter,
            reason=reason,
            error=all_failures[-1] if all_failures else None,
            attempts=letter.attempts + attempts,
            earlier=all_failures[:-1],
            reprocessings=letter.reprocessings + 1,
        )
        if kept is not None:
            kept.put_again(again, message or kept.encode(letter.message, letter.port), removes)
        self._came_in(letter.id, letter.port)

    def keep(self, letter: DeadLetter) -> None:
        """A dead letter that was sent again has not come in, or was dropped on its way: it may be sent another time."""
        self._claimed.pop(letter.id, None)

    def resolved(self, letter: DeadLetter, changes: Changes | None = None) -> None:
        """A dead letter that was sent again has been handled: it is one no more. `changes`: of the store, and made for the same reason."""
        self._remove(letter.id)
        if self._kept is not None:
            self._kept.delete(letter.id, changes)
        self._look_at_level()

    def _remove(self, id: int) -> None:
        self._claimed.pop(id, None)
        self._letters.pop(id, None)
        self._older.pop(id, None)

    def _came_in(self, id: int, port: str) -> None:
        events, count = self._events, len(self._letters)
        if events is not None and events.hears(MessageDeadLettered.level):
            events.publish(MessageDeadLettered(port, self._letter(id)))
        if count > self.max_size:
            if self._kept is not None:
                self._forget_oldest()
            elif (oldest := self._oldest()) is not None:
                self._evict(oldest, port)
        if self._alerted or count + len(self._older) >= NEARLY_FULL * self.max_size:
            self._look_at_level()

    def _oldest(self) -> int | None:
        return next((one for one in self._letters if one not in self._claimed), None)

    def _evict(self, id: int, port: str) -> None:
        del self._letters[id]
        self.evicted += 1
        if self._events is not None and self.evicted & (self.evicted - 1) == 0:  # the 1st, 2nd, 4th, 8th, … time
            self._events.publish(DeadLettersEvicted(port, self.evicted, self.max_size))

    def _forget_oldest(self) -> None:
        """Leaves to the store what memory has no room for, once it is there. While the store can't be written, the oldest are evicted."""
        while self._kept is not None and len(self._letters) > self.max_size:
            oldest = self._oldest()
            if oldest is None:
                break
            if self._kept.has(oldest):
                self._older[oldest] = fields_of(self._letters.pop(oldest))[-1]
            elif self._kept.take_back(oldest):
                self._evict(oldest, "dead letters")
            else:
                break

    def _letter(self, id: int) -> DeadLetter:
        letter = self._letters[id]
        if isinstance(letter, tuple):
            letter = self._letters[id] = DeadLetter(*letter)
        return letter

    def _look_at_level(self) -> None:
        count = len(self)
        if self._alerted:
            self._alerted = count >= RELIEVED * self.max_size
        elif count >= NEARLY_FULL * self.max_size:
            self._alerted = True
            if self._events is not None:
                self._events.publish(DeadLettersNearlyFull("dead letters", count, self.max_size))

    # ------------------------------------------------------------------------------------------------ for people

    async def add(self, message: Any, port: str, reason: DeadLetterReason, error: ErrorContext | None = None) -> None:
        """Keeps a message that was given up outside the runtime; it is not in the ledger. In a store, it is when this returns."""
        reason = DeadLetterReason(reason)
        if self._kept is None:
            self.put(message, port, reason, error)
            return
        self._last_id = id = self._last_id + 1
        letter = DeadLetter(id, message, port, reason, error)
        await self._kept.commit(letter, self._kept.encode(message, port))
        self._letters[id] = letter
        self._came_in(id, port)

    def now(self) -> DeadLetters:
        """Those in memory now."""
        return DeadLetters(self._letters[id] for id in sorted(self._letters))

    async def inspect(self, filter: Filter | None = None, *, offset: int = 0, limit: int | None = None) -> list[DeadLetter]:
        """The dead letters that `filter` picks, all without one; oldest first.

        Args:
            filter: says of a dead letter whether it is wanted.
            offset: how many of those to pass over.
            limit: how many to return at most; None for all.
        """
        check_count("inspect", "offset", offset)
        end = None if limit is None else offset + check_count("inspect", "limit", limit)
        picked: list[DeadLetter] = []
        for ids in self._pages():
            picked += [letter for letter in await self.read(ids) if filter is None or filter(letter)]
            if end is not None and len(picked) >= end:
                break
        return picked[offset:end]

    def _pages(self) -> Iterator[Sequence[int]]:
        """The ids of all letters there are now, oldest first, as many at a time as are read together: all, if none has to be read."""
        ids = sorted([*self._older, *self._letters])
        size = PAGE if self._older else max(len(ids), 1)
        return (ids[start : start + size] for start in range(0, len(ids), size))

    async def read(self, ids: Sequence[int]) -> list[DeadLetter]:
        """The letters with these ids, in order, as far as they are still there."""
        kept, older = self._kept, [id for id in ids if id in self._older]
        found = await kept.read(older) if kept is not None and older else {}
        letters: list[DeadLetter] = []
        for id in ids:
            if id in self._letters:
                letters.append(self._letter(id))
            elif id in found and id in self._older:
                if self._older[id] not in (UNKNOWN, found[id].reprocessings):  # it has been sent, and put back, since it was read
                    letters += await self.read([id])
                else:
                    self._older[id] = found[id].reprocessings
                    letters.append(found[id])
        return letters

    async def reprocess(
        self, filter: Filter | None = None, max_messages: int = 100, *, rate: float | None = None, force: bool = False
    ) -> int:
        """Sends dead letters to their ports again, oldest first; says how many. Each is a new acceptance there.

        It waits while a port is full, and passes over letters to actors that are stopped, and those with an
        `UnreadableMessage`. A letter stays here until its message has been handled. When it fails again it is kept, with its
        attempts raised, and after its third reprocessing it is left alone, unless forced.

        Args:
            filter: says of a dead letter whether to send it; None for all.
            max_messages: how many to send at most.
            rate: how many to send a second; None for as fast as they are accepted.
            force: also those that were sent again three times already.

        Raises:
            UnknownActor: a picked letter's port does not exist (any more); nothing more is sent.
            MessageTypeError: its port does not take it (it was `add`ed by hand, or the port has changed); nothing more is sent.
            DecodingError: every picked letter has an `UnreadableMessage`.
        """
        check_count("reprocess", "max_messages", max_messages)
        check_flag("reprocess", "force", force)
        if rate is not None:
            check_number("reprocess", "rate", rate, "dead letters a second, more than 0, or None")
        sent = 0
        unreadable: DeadLetter | None = None
        is_any_readable = False
        for ids in self._pages():
            for letter in [each for each in await self.read(ids) if filter is None or filter(each)]:
                if sent >= max_messages:
                    return sent
                if self._is_hopeless(letter):
                    unreadable = unreadable or letter
                    continue
                is_any_readable = True
                if letter.reprocessings >= MAX_REPROCESSINGS and not force:
                    continue
                if rate is not None and sent and self._is_unclaimed(letter):
                    await trio.sleep(1 / rate)
                if not self._is_unclaimed(letter):  # somebody else has sent or discarded it meanwhile
                    continue
                mailbox = self._find(letter.port)
                if mailbox is None:
                    raise UnknownActor(
                        f"dead letter {letter.id}: there is no port {letter.port!r} (any more); discard it, or start that actor"
                    )
                if not mailbox.cell.refuses:
                    await self._send_again(letter, mailbox)
                    sent += 1
        if unreadable is not None and not is_any_readable:
            raise DecodingError(f"dead letter {unreadable.id} can't be sent: {unreadable.message.reason}; look at it, and discard it")
        return sent

    def _is_hopeless(self, letter: DeadLetter) -> bool:
        """Whether its message can't be read, and that is not just because its port is gone."""
        return isinstance(letter.message, UnreadableMessage) and (not letter.port or self._find(letter.port) is not None)

    def _is_unclaimed(self, letter: DeadLetter) -> bool:
        here = self._letters.get(letter.id)
        is_same = here is letter if here is not None else self._older.get(letter.id) == letter.reprocessings
        return is_same and letter.id not in self._claimed

    async def _send_again(self, letter: DeadLetter, mailbox: Mailbox) -> None:
        envelope = Envelope(mailbox.dispatcher, letter.message, is_ask=False)
        envelope.letter = letter
        self._claimed[letter.id] = None if self._kept is None else self._kept.encode(letter.message, letter.port)
        try:
            await mailbox.send_again(envelope)
        except BaseException:
            self.keep(letter)  # of another type, or cancelled while it waited for room: never accepted
            raise

    async def discard(self, filter: Filter, reason: str) -> int:
        """Removes the dead letters that `filter` picks; says how many. The event of it carries `reason`, for the record.

        Raises:
            StorageError: some of them are in the store of a system that has ended; nothing was removed.
        """
        picked: list[int] = []
        try:
            for ids in self._pages():
                for letter in await self.read(ids):
                    if letter.id not in self._claimed and filter(letter):
                        picked.append(letter.id)
                        self._claimed[letter.id] = None  # so that nobody sends it while this waits
            if not self._elsewhere.isdisjoint(picked):
                raise StorageError(f"these dead letters are in {self._title}, whose system has ended: discard them in one with that store")
            if picked and self._kept is not None:
                await self._kept.delete_all(picked)
        finally:
            for id in picked:
                self._claimed.pop(id, None)
        for id in picked:
            self._remove(id)
        if picked and self._events is not None:
            self._events.publish(DeadLettersDiscarded("dead letters", len(picked), reason))
        self._look_at_level()
        return len(picked)

    def __len__(self) -> int:
        return len(self._letters) + len(self._older)
