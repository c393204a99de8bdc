"""Where messages go that nobody could handle: kept, with the reason, to be looked at, sent again or discarded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from actorkit.errors import UnknownActor
from actorkit.events import DeadLettersDiscarded, DeadLettersEvicted, MessageDeadLettered
from actorkit.policy.checks import check_count
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from actorkit._runtime.event_stream import EventStream
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext

Filter = Callable[["DeadLetter"], bool]


@frozen
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: counts up from 1 within the queue.
        message: the message itself.
        port: the path of the port that it was sent to: `"root/flights/parser.in_row"`.
        reason: why it was given up.
        error: the failure behind it, if any.
        attempts: how often its handling failed.
        dead_since: when it was given up (UTC).
    """

    id: int
    message: Any
    port: str
    reason: DeadLetterReason
    error: ErrorContext | None = None
    attempts: int = 0
    dead_since: datetime = field(factory=lambda: datetime.now(UTC))


class DeadLetterQueue:
    """The dead letters of a system, oldest first, as `system.dead_letters`; `len()` says how many.

    Beyond `max_size` the oldest are evicted: counted in `evicted`, with a CRITICAL event.

    Args:
        max_size: how many to keep.

    Raises:
        ValueError: `max_size` is below 1 (a wrong type: TypeError).
    """

    def __init__(self, max_size: int = 100_000) -> None:
        check_count("DeadLetterQueue", "max_size", max_size, 1)
        self.max_size = max_size
        self.evicted = 0
        self._letters: deque[DeadLetter] = deque()
        self._last_id = 0
        self._events: EventStream | None = None
        self._find: Callable[[str], Mailbox | None] = lambda _: None

    def attach(self, events: EventStream, find: Callable[[str], Mailbox | None]) -> None:
        """Makes it the queue of a running system: where its events go, and how a port's path is found again."""
        self._events, self._find = events, find

    def put(self, message: Any, port: str, reason: DeadLetterReason, error: ErrorContext | None = None, attempts: int = 0) -> DeadLetter:
        """Keeps a message; never waits, never fails."""
        self._last_id += 1
        letter = DeadLetter(self._last_id, message, port, reason, error, attempts)
        self._letters.append(letter)
        events = self._events
        if events is not None and events.hears(MessageDeadLettered.level):
            events.publish(MessageDeadLettered(port, letter))
        if len(self._letters) > self.max_size:
            self._letters.popleft()
            self.evicted += 1
            if events is not None and self.evicted & (self.evicted - 1) == 0:  # the 1st, 2nd, 4th, 8th, … time
                events.publish(DeadLettersEvicted(port, self.evicted, self.max_size))
        return letter

    async def add(self, message: Any, port: str, reason: DeadLetterReason, error: ErrorContext | None = None) -> None:
        """Keeps a message that was given up outside the runtime; it is not in the ledger."""
        self.put(message, port, DeadLetterReason(reason), error)

    async def inspect(self, filter: Filter | None = None) -> list[DeadLetter]:
        """The dead letters that `filter` picks, all without one; oldest first."""
        return [letter for letter in self._letters if filter is None or filter(letter)]

    async def reprocess(self, filter: Filter | None = None, max_messages: int = 100) -> int:
        """Sends dead letters to their ports again, oldest first; says how many. Each is a new acceptance there.

        What its port does not take at once (it is full, or its actor has ended) stays here.

        Raises:
            UnknownActor: a picked letter's port does not exist any more; nothing more is sent.
            MessageTypeError: its port does not take it (it was `add`ed by hand, or the port has changed); nothing more is sent.
        """
        sent = 0
        for letter in await self.inspect(filter):
            if sent >= max_messages:
                break
            mailbox = self._find(letter.port)
            if mailbox is None:
                raise UnknownActor(f"dead letter {letter.id}: there is no port {letter.port!r} (any more); discard it, or start that actor")
            if not isinstance(letter.message, mailbox.types):
                raise mailbox.wrong_type(letter.message)
            if mailbox.has_room and letter in self._letters:
                self._letters.remove(letter)
                mailbox.put(letter.message)
                sent += 1
        return sent

    async def discard(self, filter: Filter, reason: str) -> int:
        """Removes the dead letters that `filter` picks; says how many. `reason` is for the record: it goes into an event."""
        keep = deque(letter for letter in self._letters if not filter(letter))
        discarded = len(self._letters) - len(keep)
        self._letters = keep
        if discarded and self._events is not None:
            self._events.publish(DeadLettersDiscarded("root", discarded, reason))
        return discarded

    def __len__(self) -> int:
        return len(self._letters)
