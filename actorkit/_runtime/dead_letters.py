"""Where messages go that nobody could handle: kept, with the reason, to be looked at, sent again or discarded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve, field, frozen

from actorkit._runtime.waits import Envelope
from actorkit.errors import UnknownActor
from actorkit.events import DeadLettersDiscarded, DeadLettersEvicted, DeadLettersNearlyFull, MessageDeadLettered
from actorkit.policy.checks import check_count, check_flag, check_number
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from actorkit._runtime.event_stream import EventStream
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext

Filter = Callable[["DeadLetter"], bool]

MAX_REPROCESSINGS = 3
"""How often a dead letter is sent again, unless it is forced: what failed so often needs a look, not another try."""
NEARLY_FULL, RELIEVED = 0.8, 0.7
"""The share of `max_size` at which an alert goes out, and that below which the next one may."""


@frozen(weakref_slot=False)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: counts up from 1 within the queue.
        message: the message itself.
        port: the path of the port that it was sent to: `"root/flights/parser.in_row"`.
        reason: why it was given up.
        error: the failure behind it, if any.
        attempts: how often its handling failed, over all its reprocessings.
        dead_since: when it was given up first (UTC).
        earlier: its last failures before `error`, oldest first (9 at most).
        reprocessings: how often it was sent again.
    """

    id: int
    message: Any
    port: str
    reason: DeadLetterReason
    error: ErrorContext | None = None
    attempts: int = 0
    dead_since: datetime = field(factory=lambda: datetime.now(UTC))
    earlier: tuple[ErrorContext, ...] = ()
    reprocessings: int = 0

    @property
    def failures(self) -> tuple[ErrorContext, ...]:
        """Its last failures, with their tracebacks, oldest first (10 at most)."""
        return self.earlier if self.error is None else (*self.earlier, self.error)


Record = tuple[int, Any, str, DeadLetterReason, "ErrorContext | None", int, datetime, "tuple[ErrorContext, ...]", int]
FAILURES_KEPT = 10
"""How many failures of one message its dead letter has."""


class DeadLetters:
    """The dead letters that a queue had at one instant, made when somebody looks."""

    def __init__(self, letters: Iterable[Record | DeadLetter]) -> None:
        self._letters = tuple(letters)

    def all(self) -> tuple[DeadLetter, ...]:
        """Those, oldest first; the same ones each time."""
        self._letters = letters = tuple(DeadLetter(*one) if isinstance(one, tuple) else one for one in self._letters)
        return letters


class DeadLetterQueue:
    """The dead letters of a system, oldest first, as `system.dead_letters`; `len()` says how many.

    At 80 % of `max_size` an alert event goes out; beyond it the oldest are evicted, counted in `evicted`, with a
    CRITICAL event.

    Args:
        max_size: how many to keep.

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
        self._claimed: set[int] = set()  # sent again; they stay until their fate is known
        self._last_id = 0
        self._alerted = False
        self._events: EventStream | None = None
        self._find: Callable[[str], Mailbox | None] = lambda _: None

    def attach(self, events: EventStream, find: Callable[[str], Mailbox | None]) -> None:
        """Makes it the queue of a running system: where its events go, and how a port's path is found again."""
        self._events, self._find = events, find
        self._claimed.clear()  # by a system that has ended

    # ------------------------------------------------------------------------------------------------ in

    def put(
        self,
        message: Any,
        port: str,
        reason: DeadLetterReason,
        error: ErrorContext | None = None,
        attempts: int = 0,
        earlier: tuple[ErrorContext, ...] = (),
    ) -> None:
        """Keeps a message, with its last failure and those before; never waits, never fails."""
        self._last_id = id = self._last_id + 1
        since = (error.last_seen if error is not None else None) or datetime.now(UTC)
        self._letters[id] = (id, message, port, reason, error, attempts, since, earlier, 0)
        self._kept(id, port)

    def put_back(self, letter: DeadLetter, reason: DeadLetterReason, failures: tuple[ErrorContext, ...], attempts: int) -> None:
        """A dead letter that was sent again has been given up again."""
        self._claimed.discard(letter.id)
        if letter.id in self._letters:
            all_failures = (*letter.failures, *failures)[-FAILURES_KEPT:]
            self._letters[letter.id] = evolve(
                letter,
                reason=reason,
                error=all_failures[-1] if all_failures else None,
                attempts=letter.attempts + attempts,
                earlier=all_failures[:-1],
                reprocessings=letter.reprocessings + 1,
            )
            self._kept(letter.id, letter.port)

    def keep(self, letter: DeadLetter) -> None:
        """A dead letter that was sent again has not come in, or was dropped on its way: it may be sent another time."""
        self._claimed.discard(letter.id)

    def resolved(self, letter: DeadLetter) -> None:
        """A dead letter that was sent again has been handled: it is one no more."""
        self._claimed.discard(letter.id)
        self._letters.pop(letter.id, None)
        self._look_at_level()

    def _kept(self, id: int, port: str) -> None:
        events, count = self._events, len(self._letters)
        if events is not None and events.hears(MessageDeadLettered.level):
            events.publish(MessageDeadLettered(port, self._letter(id)))
        if count > self.max_size:
            oldest = next((one for one in self._letters if one not in self._claimed), None)
            if oldest is not None:
                del self._letters[oldest]
                self.evicted += 1
                if events is not None and self.evicted & (self.evicted - 1) == 0:  # the 1st, 2nd, 4th, 8th, … time
                    events.publish(DeadLettersEvicted(port, self.evicted, self.max_size))
        if self._alerted or count >= NEARLY_FULL * self.max_size:
            self._look_at_level()

    def _letter(self, id: int) -> DeadLetter:
        letter = self._letters[id]
        if isinstance(letter, tuple):
            letter = self._letters[id] = DeadLetter(*letter)
        return letter

    def _look_at_level(self) -> None:
        count = len(self._letters)
        if self._alerted:
            self._alerted = count >= RELIEVED * self.max_size
        elif count >= NEARLY_FULL * self.max_size:
            self._alerted = True
            if self._events is not None:
                self._events.publish(DeadLettersNearlyFull("dead letters", len(self._letters), self.max_size))

    # ------------------------------------------------------------------------------------------------ for people

    async def add(self, message: Any, port: str, reason: DeadLetterReason, error: ErrorContext | None = None) -> None:
        """Keeps a message that was given up outside the runtime; it is not in the ledger."""
        self.put(message, port, DeadLetterReason(reason), error)

    def now(self) -> DeadLetters:
        """Those there are now."""
        return DeadLetters(self._letters.values())

    async def inspect(self, filter: Filter | None = None, *, offset: int = 0, limit: int | None = None) -> list[DeadLetter]:
        """The dead letters that `filter` picks, all without one; oldest first.

        Args:
            filter: says of a dead letter whether it is wanted.
            offset: how many of those to pass over.
            limit: how many to return at most; None for all.
        """
        check_count("inspect", "offset", offset)
        picked = [letter for letter in map(self._letter, self._letters) if filter is None or filter(letter)]
        return picked[offset:] if limit is None else picked[offset : offset + check_count("inspect", "limit", limit)]

    async def reprocess(
        self, filter: Filter | None = None, max_messages: int = 100, *, rate: float | None = None, force: bool = False
    ) -> int:
        """Sends dead letters to their ports again, oldest first; says how many. Each is a new acceptance there.

        It waits while a port is full, and passes over letters to actors that are stopped. A letter stays here until its
        message has been handled. When it fails again it is kept, with its attempts raised, and after its third
        reprocessing it is left alone, unless forced.

        Args:
            filter: says of a dead letter whether to send it; None for all.
            max_messages: how many to send at most.
            rate: how many to send a second; None for as fast as they are accepted.
            force: also those that were sent again three times already.

        Raises:
            UnknownActor: a picked letter's port does not exist (any more); nothing more is sent.
            MessageTypeError: its port does not take it (it was `add`ed by hand, or the port has changed); nothing more is sent.
        """
        check_count("reprocess", "max_messages", max_messages)
        check_flag("reprocess", "force", force)
        if rate is not None:
            check_number("reprocess", "rate", rate, "dead letters a second, more than 0, or None")
        sent = 0
        for letter in await self.inspect(filter):
            if sent >= max_messages:
                break
            if letter.reprocessings >= MAX_REPROCESSINGS and not force:
                continue
            if rate is not None and sent and self._is_unclaimed(letter):
                await trio.sleep(1 / rate)
            if not self._is_unclaimed(letter):  # somebody else has sent or discarded it meanwhile
                continue
            mailbox = self._find(letter.port)
            if mailbox is None:
                raise UnknownActor(f"dead letter {letter.id}: there is no port {letter.port!r} (any more); discard it, or start that actor")
            if not mailbox.cell.refuses:
                await self._send_again(letter, mailbox)
                sent += 1
        return sent

    def _is_unclaimed(self, letter: DeadLetter) -> bool:
        return self._letters.get(letter.id) is letter and letter.id not in self._claimed

    async def _send_again(self, letter: DeadLetter, mailbox: Mailbox) -> None:
        envelope = Envelope(mailbox.dispatcher, letter.message, is_ask=False)
        envelope.letter = letter
        self._claimed.add(letter.id)
        try:
            await mailbox.send_again(envelope)
        except BaseException:
            self.keep(letter)  # of another type, or cancelled while it waited for room: never accepted
            raise

    async def discard(self, filter: Filter, reason: str) -> int:
        """Removes the dead letters that `filter` picks; says how many. The event of it carries `reason`, for the record."""
        picked = [letter for letter in map(self._letter, self._letters) if letter.id not in self._claimed and filter(letter)]
        for letter in picked:
            del self._letters[letter.id]
        if picked and self._events is not None:
            self._events.publish(DeadLettersDiscarded("dead letters", len(picked), reason))
        self._look_at_level()
        return len(picked)

    def __len__(self) -> int:
        return len(self._letters)
