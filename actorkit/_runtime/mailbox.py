"""A port's queue: bounded, counted, and the same across all lives of its actor."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from trio.lowlevel import enable_ki_protection

from actorkit._runtime.ledger import EMPTY, PortCounts
from actorkit._runtime.states import IDLE
from actorkit._runtime.waits import DONE, Envelope, Waiter, acting
from actorkit.errors import MailboxFull, MessageTypeError
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.ports import InPort


def shown(value: object, limit: int = 120) -> str:
    """`value` for an error text: its repr, cut to `limit` characters, even if `__repr__` raises."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class Mailbox:
    """The queue of one in-port of one actor.

    Messages wait bare; `cell.arrivals` has one entry per queued message and says from which port the next one comes,
    so that an actor serves its ports in order of arrival. `limit` is the capacity while a sender may just put its
    message in, and 0 while there is anything to look at first: senders waiting, emitters held, a stopped actor.
    """

    __slots__ = (
        "accepted", "capacity", "cell", "dead_lettered", "dead_lettered_by", "dispatcher", "dropped", "handler", "held", "is_async",
        "limit", "name", "open_wires", "path", "processed", "queue", "room", "skipped", "skipped_by", "types", "wired",
    )  # fmt: skip

    def __init__(self, cell: Cell, port: InPort[Any, Any, Any]) -> None:
        self.cell = cell
        self.dispatcher = cell.kernel.dispatcher
        self.name = port.name
        self.path = f"{cell.path}.{port.name}"
        self.types = port.types
        self.is_async = port.is_async
        self.capacity = port.capacity
        self.limit = 0 if cell.refuses else port.capacity
        self.queue: deque[Any] = deque()
        self.room: deque[Waiter] = deque()
        self.held: list[Cell] = []  # emitters that wait until this port is back within its capacity
        self.handler: Any = None
        self.wired = False
        self.open_wires = 0
        self.accepted = self.processed = self.skipped = self.dead_lettered = self.dropped = 0
        self.skipped_by: Counter[str] | None = None
        self.dead_lettered_by: Counter[str] | None = None

    # Messages enter here. Each of these leaves the books balanced; Ctrl-C cannot come in between.

    @enable_ki_protection
    def send(self, message: Any) -> Awaitable[None]:
        """Puts `message` in, now if there is room, else when there is: await what it returns."""
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        dispatcher = self.dispatcher
        if dispatcher.budget <= 0:
            return self._send_after_a_breath(message)
        dispatcher.budget -= 1
        queue = self.queue
        if len(queue) >= self.limit:
            return self._send_when_room(message)
        queue.append(message)
        self.accepted += 1
        cell = self.cell
        cell.arrivals.append(self)
        if cell.state == IDLE:
            dispatcher.make_ready(cell)
        return DONE

    @enable_ki_protection
    def send_nowait(self, message: Any) -> None:
        """Puts `message` in, or raises `MailboxFull`."""
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        if self.has_room:
            self.put(message)
        elif self.cell.refuses:
            self._dead_letter_arrival(message)
        elif acting.get() is self.cell:
            self.put(message)
        else:
            raise MailboxFull(
                f"{self.path} is full ({self.capacity} queued): {shown(message)} was not accepted; await send() to wait for room"
            )

    @enable_ki_protection
    def emit(self, message: Any, emitter: Cell) -> None:
        """Puts `message` in, above capacity if need be; then `emitter` takes no message until there is room again."""
        if self.has_room:
            self.put(message)
        elif self.cell.refuses:
            self._dead_letter_arrival(message)
        else:
            self.put(message)
            if emitter is not self.cell and emitter not in self.held:
                self.held.append(emitter)
                self.limit = 0
                emitter.hold(self)

    @enable_ki_protection
    def ask(self, envelope: Envelope) -> None:
        """Puts a request in; when the port is full it waits for room, within its deadline."""
        if not isinstance(envelope.message, self.types):
            raise self.wrong_type(envelope.message)
        if self.has_room:
            if self.cell.is_plain and self.cell.state == IDLE and self.dispatcher.is_asleep:
                self._queue(envelope)
                self.dispatcher.run_here(self.cell)
            else:
                self.put(envelope)
        elif self.cell.refuses:
            self._dead_letter_arrival(envelope)
        else:
            envelope.item = envelope
            self._wait_for_room(envelope)

    @enable_ki_protection
    def admit(self, message: Any) -> None:
        """Puts in what is always admitted: timers, notices, results, what an actor sends to itself."""
        if self.cell.refuses:
            self._dead_letter_arrival(message)
        else:
            self.put(message)

    @property
    def has_room(self) -> bool:
        """Whether a message can just be put in."""
        return len(self.queue) < self.limit

    def put(self, item: Any) -> None:
        """Queues a message, whatever the capacity, and counts it."""
        self._queue(item)
        if self.cell.state == IDLE:
            self.dispatcher.make_ready(self.cell)

    def _queue(self, item: Any) -> None:
        self.queue.append(item)
        self.accepted += 1
        self.cell.arrivals.append(self)

    async def _send_after_a_breath(self, message: Any) -> None:
        # Not the other way round: a sender that is cancelled at the breath may rely on it that its message was not accepted.
        await self.dispatcher.breathe()
        await self.send(message)

    def _send_when_room(self, message: Any) -> Awaitable[None]:
        if self.cell.refuses:
            self._dead_letter_arrival(message)
            return DONE
        if acting.get() is self.cell:
            self.put(message)
            return DONE
        waiter = Waiter(self.dispatcher, message)
        self._wait_for_room(waiter)
        return waiter

    def _wait_for_room(self, waiter: Waiter) -> None:
        waiter.mailbox = self
        self.room.append(waiter)
        self.limit = 0  # newcomers queue behind

    def leave_room(self, waiter: Waiter) -> None:
        """A sender that waited has gone; its message was never accepted."""
        waiter.mailbox = waiter.item = None
        self.room.remove(waiter)
        self.make_room()

    def make_room(self) -> None:
        """Moves messages of waiting senders in, oldest first, as far as there is room, and lets held emitters go."""
        while self.room and len(self.queue) < self.capacity:
            waiter = self.room.popleft()
            self.put(waiter.admitted())
        if self.held and (len(self.queue) <= self.capacity or self.cell.refuses):
            held, self.held = self.held, []
            for emitter in held:
                emitter.let_go(self)
        if not (self.room or self.held or self.cell.refuses):
            self.limit = self.capacity

    # Messages leave here, or by `processed += 1` in the cell.

    def put_back(self, item: Any) -> None:
        """The message in hand is to be handled again: it goes back to the head of the queue (it was counted when it came)."""
        self.queue.appendleft(item)
        self.cell.arrivals.appendleft(self)

    def skip(self, reason: str) -> None:
        """Counts the message in hand as skipped."""
        self.skipped += 1
        if self.skipped_by is None:
            self.skipped_by = Counter()
        self.skipped_by[reason] += 1

    def count_dead_letter(self, reason: DeadLetterReason) -> None:
        """Counts a message as dead-lettered."""
        self.dead_lettered += 1
        if self.dead_lettered_by is None:
            self.dead_lettered_by = Counter()
        self.dead_lettered_by[reason] += 1

    def refuse(self) -> None:
        """The actor has been stopped: what arrives from now on, or waits for room, becomes a dead letter."""
        self.limit = 0
        room, self.room = self.room, deque()
        for waiter in room:
            self._dead_letter_arrival(waiter.admitted())
        self.make_room()

    def dead_letter_all(self, reason: DeadLetterReason) -> None:
        """The actor is gone for good: its queue becomes dead letters."""
        queue, self.queue = self.queue, deque()
        for item in queue:
            self.cell.recovery.dead_letter(self, item, reason)
        self.make_room()

    def _dead_letter_arrival(self, item: Any) -> None:
        self.accepted += 1
        self.cell.recovery.dead_letter(self, item, DeadLetterReason.RECEIVER_STOPPED)
        self.cell.kernel.note_arrival(self.cell)

    # What is known about it

    def counts(self) -> PortCounts:
        """Its numbers, now. What is queued and in flight is counted afresh, not derived."""
        return PortCounts(
            accepted=self.accepted,
            processed=self.processed,
            skipped=self.skipped,
            dead_lettered=self.dead_lettered,
            dropped=self.dropped,
            queued=len(self.queue),
            in_flight=1 if self.cell.port is self else 0,
            skipped_by=EMPTY if self.skipped_by is None else dict(self.skipped_by),
            dead_lettered_by=EMPTY if self.dead_lettered_by is None else dict(self.dead_lettered_by),
        )

    def wrong_type(self, message: object) -> MessageTypeError:
        """The error for a message that this port does not take."""
        return MessageTypeError(
            f"{self.path} takes {type_names(self.types)}, not {type(message).__name__}: {shown(message)} was not accepted;"
            " send what the port takes, or widen the annotation of its handler"
        )


def type_names(types: type | tuple[type, ...]) -> str:
    """Types as a reader would write them: `int | str`."""
    return " | ".join(each.__name__ for each in (types if isinstance(types, tuple) else (types,)))
