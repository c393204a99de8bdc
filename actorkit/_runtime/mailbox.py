"""A port's queue: bounded, counted, and the same across all lives of its actor."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from actorkit._runtime.arrivals import NO_ARRIVALS, arrivals_of
from actorkit._runtime.attentive import NOTHING, AttentiveQueue
from actorkit._runtime.compiling import mypyc_attr, protected
from actorkit._runtime.holds import hold, let_go
from actorkit._runtime.ledger import PortCounts, counted
from actorkit._runtime.overflow import overflow_of
from actorkit._runtime.states import IDLE
from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import DONE, Envelope, Waiter, acting
from actorkit._runtime.wording import shown, type_names
from actorkit.errors import ActorNotRunning, MailboxFull, MessageTypeError, SpecError
from actorkit.events import MessageSkipped
from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.ports import InPort
    from actorkit.storage.store import Key

NOBODY: Final[deque[Waiter]] = cast("Any", ())
"""Who waits for room where nobody does, as nearly always: then none is kept for them."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Mailbox:
    """The queue of one in-port of one actor.

    Messages wait bare; `cell.arrivals` has one entry per queued message and says from which port the next one comes,
    so that an actor serves its ports in order of arrival. (An actor with a sole port needs none: see `Cell.sole`.)
    `limit` is the capacity while a sender may just put its message in, and 0 while there is anything to look at first:
    senders waiting, emitters held, a stopped actor.
    """

    __slots__ = (
        "accepted", "capacity", "cell", "dead_lettered", "dead_lettered_by", "dispatcher", "dropped", "dropped_by", "handler", "held",
        "is_async", "limit", "name", "named", "open_wires", "overflow", "parked", "processed", "queue", "room", "runs_here", "settings",
        "skipped", "skipped_by", "streams", "subscriptions", "types", "wired",
    )  # fmt: skip

    def __init__(self, cell: Cell, port: InPort[Any, Any, Any]) -> None:
        self.cell = cell
        self.dispatcher = cell.kernel.dispatcher
        self.name = port.name
        self.types = port.types
        self.is_async = port.is_async
        self.runs_here = not (port.is_async or cell.actor_class.actorkit_blueprint.has_batches)  # where who asks may run it
        self.streams = port.is_stream
        self.settings = port.settings
        self.capacity: int = port.settings.capacity
        self.limit = 0
        self.queue: deque[Any] = AttentiveQueue(self) if self.settings.is_attentive else deque()
        if cell.arrivals is NO_ARRIVALS:
            if len(cell.in_ports) == 1 and not (self.settings.is_attentive or self.is_door):
                cell.sole, cell.arrivals = self, self.queue
            else:
                cell.arrivals = arrivals_of(cell.actor_class.actorkit_blueprint.priorities)
        self.room: deque[Waiter] = NOBODY
        self.named = 0  # the last number by which a message was named: see Recovery
        self.held: list[Cell] | None = None  # emitters that wait until this port is back within its capacity
        self.parked: dict[Envelope, Alarm] = {}  # messages that wait to be tried again while others pass them
        self.handler: Any = None
        self.wired = False
        self.subscriptions = 0  # to topics
        self.open_wires = 0  # and open subscriptions
        self.accepted = self.processed = self.skipped = self.dead_lettered = self.dropped = 0
        self.skipped_by: Counter[str] | None = None
        self.dropped_by: Counter[str] | None = None
        self.dead_lettered_by: Counter[str] | None = None
        self.overflow = overflow_of(self)
        self.accepted = self.overflow.spilled  # what an earlier process left behind
        self.make_room()

    is_door: ClassVar[bool] = False
    """Whether it only passes messages on to others: see groups.py."""
    is_durable: ClassVar[bool] = False
    """Whether it keeps its messages in the system's store: see durable_mailbox.py."""

    def receiver(self, message: Any) -> Mailbox:
        """The mailbox that a message sent here goes into."""
        return self

    @property
    def path(self) -> str:
        """`"root/flights/parser.in_row"`."""
        return f"{self.cell.path}.{self.name}"

    @property
    def address(self) -> str:
        """What others call it by: where a dead letter of it is sent again."""
        return self.path

    def entries_of(self, item: Any) -> tuple[tuple[str, Key], ...]:
        """The entries of the store that keep a message of this port, by space and key: none, as it is in memory only."""
        return ()

    @property
    def servers(self) -> tuple[Cell, ...]:
        """Who makes room for those who wait for it here; any of them will do."""
        return (self.cell,)

    @property
    def load(self) -> int:
        """How much there is to do before a message that came now would be handled."""
        return len(self.queue) + len(self.room) + (self.cell.port is not None)

    # Messages enter here, the books balanced, safe from Ctrl-C. What `send`, `emit` and `ask` do first is `put`, without its calls.

    @protected
    def send(self, message: Any) -> Awaitable[None]:
        """Puts `message` in, now if there is room, else when there is: await what it returns."""
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        dispatcher = self.dispatcher
        budget = dispatcher.budget
        if budget <= 0:
            return self._send_after_a_breath(message)
        dispatcher.budget = budget - 1
        queue = self.queue
        if len(queue) >= self.limit:
            return self._send_when_full(message)
        queue.append(message)
        self.accepted += 1
        cell = self.cell
        if cell.sole is None:
            cell.arrivals.append(self)
        if cell.state == IDLE:
            dispatcher.make_ready(cell)
        return DONE

    def send_with_key(self, message: Any, key: str | None) -> Awaitable[None]:
        """As `send`, but for a durable port: see there."""
        raise SpecError(f"{self.path}: a message with the key {key!r} was not accepted, as only durable ports remember keys")

    @protected
    def send_again(self, envelope: Envelope) -> Awaitable[None]:
        """As `send`, for a message that carries its history."""
        if not isinstance(envelope.message, self.types):
            raise self.wrong_type(envelope.message)
        return self._send_when_full(envelope)

    @protected
    def send_nowait(self, message: Any) -> None:
        """Puts `message` in, or raises `MailboxFull`."""
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        if not self._offer(message):
            raise MailboxFull(
                f"{self.path} is full ({self.capacity} queued): {shown(message)} was not accepted; await send() to wait for room"
            ).at(self.path)

    @protected
    def emit(self, emitter: Cell, message: Any) -> None:
        """Puts `message` in, above capacity if need be; then `emitter` takes no message until there is room again."""
        if not isinstance(message, self.types):
            raise self.wrong_type(message)
        queue, dispatcher = self.queue, self.dispatcher
        if len(queue) < self.limit and not dispatcher.is_fenced:
            queue.append(message)
            self.accepted += 1
            cell = self.cell
            if cell.sole is None:
                cell.arrivals.append(self)
            if cell.state == IDLE:
                dispatcher.make_ready(cell)
        elif not self._offer(message):
            self.put(message)
            self.hold_back(emitter)

    def hold_back(self, emitter: Cell) -> None:
        """It has put in more than there is room for: it takes no message until there is room again."""
        if self.held is None:
            self.held = []
        if emitter not in self.held:
            self.held.append(emitter)
            self.limit = 0
            hold(emitter, self)

    @protected
    def ask(self, envelope: Envelope) -> None:
        """Puts a request in; when the port is full it waits for room, within its deadline. A quarantined actor answers nobody."""
        if not isinstance(envelope.message, self.types):
            raise self.wrong_type(envelope.message)
        cell, dispatcher, queue = self.cell, self.dispatcher, self.queue
        if len(queue) < self.limit and not (dispatcher.is_fenced or cell.quarantined):
            self.accepted += 1
            queue.append(envelope)
            if cell.sole is None:
                cell.arrivals.append(self)
            if cell.state == IDLE:
                if self.runs_here and cell.gates is None and dispatcher.may_run_here:
                    dispatcher.run_here(cell)
                else:
                    dispatcher.make_ready(cell)
        elif cell.quarantined:
            self.check_fence(envelope)
            farewell = cell.farewell
            envelope.fail(f"{self.path} does not answer: the actor is quarantined", None if farewell is None else farewell[1])
        elif not self._offer(envelope):
            envelope.item = envelope
            self._wait_for_room(envelope)

    @protected
    def admit(self, message: Any) -> None:
        """Puts in what is always admitted: timers, notices, results, what an actor sends to itself."""
        if self.cell.refuses:
            self.dead_letter_arrival(message, DeadLetterReason.RECEIVER_STOPPED)
        else:
            self.put(self.overflow.keep(self, message))

    @property
    def takes_at_once(self) -> bool:
        """Whether a message can be dealt with now: there is room, or no need to wait for any."""
        if self.has_room or self.cell.refuses or acting.get() is self.cell:
            return True
        return self.overflow.takes_at_once(self)

    @property
    def has_room(self) -> bool:
        """Whether a message can just be put in."""
        return len(self.queue) < self.limit

    @property
    def is_paused(self) -> bool:
        """Whether its actor leaves its messages alone."""
        return isinstance(self.queue, AttentiveQueue) and self.queue.shelf is not None

    @property
    def stands_still(self) -> bool:
        """Whether no message is taken at no fault of the senders: see `block_timeout`."""
        return self.cell.stands_still or self.cell.kernel.is_emergency or self.is_paused

    def put(self, item: Any) -> None:
        """Queues a message, whatever the capacity, and counts it."""
        self.accepted += 1
        self.queue_up(item)

    def queue_up(self, item: Any) -> None:
        """Queues a message that is counted already."""
        self.queue.append(item)
        if self.cell.sole is None:
            self.cell.arrivals.append(self)
        if self.cell.state == IDLE:
            self.dispatcher.make_ready(self.cell)

    def _offer(self, item: Any) -> bool:
        """Deals with a message if that needs no waiting; says whether it did."""
        self.check_fence(item)
        if len(self.queue) < self.limit:
            self.put(item)
        elif self.cell.refuses:
            self.dead_letter_arrival(item, DeadLetterReason.RECEIVER_STOPPED)
        elif acting.get() is self.cell:
            self.admit(item)
        else:
            return self.overflow.take(self, item)
        return True

    async def _send_after_a_breath(self, message: Any) -> None:
        # Not the other way round: a sender that is cancelled at the breath may rely on it that its message was not accepted.
        self.check_fence(message)
        await self.dispatcher.breathe()
        await self.send(message)

    def check_fence(self, item: Any) -> None:
        """Raises `ActorNotRunning` if who sends was left behind."""
        if self.dispatcher.is_fenced:
            message = item.message if type(item) is Envelope else item
            raise ActorNotRunning(
                f"{self.path}: {shown(message)} was not accepted: the actor that sends it was cancelled, did not end, and was fenced off;"
                " a handler that is cancelled must let trio.Cancelled pass"
            )

    def _send_when_full(self, message: Any) -> Awaitable[None]:
        if self._offer(message):
            return DONE
        waiter = Waiter(self.dispatcher, message)
        waiter.port = self
        self._wait_for_room(waiter)
        return waiter

    # Waiting for room

    def knock(self, waiter: Waiter) -> bool:
        """Deals with the message of `waiter` at once, or lets it wait for room; says which."""
        if self._offer(waiter.item):
            return True
        waiter.port = self
        self._wait_for_room(waiter)
        return False

    def _wait_for_room(self, waiter: Waiter) -> None:
        waiter.mailbox = self
        if self.room is NOBODY:
            self.room = deque()
        self.room.append(waiter)
        self.limit = 0  # newcomers queue behind
        self.overflow.waits(self, waiter)

    def take_over(self, waiter: Waiter) -> None:
        """A sender that waited at another port waits here from now on."""
        self._wait_for_room(waiter)
        self.make_room()

    def _admit_waiting(self, waiter: Waiter) -> Any:
        self.overflow.waits_no_more(self, waiter)
        return self._item_of(waiter)

    def _item_of(self, waiter: Waiter) -> Any:
        return waiter.admitted()

    def leave_room(self, waiter: Waiter) -> None:
        """A sender that waited has gone; its message was never accepted."""
        self.room.remove(waiter)
        self.overflow.waits_no_more(self, waiter)
        waiter.mailbox = waiter.item = None
        self.make_room()

    def give_up_waiting(self, waiter: Waiter) -> None:
        """A sender has waited long enough: its message becomes a dead letter, and it goes on."""
        self.room.remove(waiter)
        self.dead_letter_arrival(self._admit_waiting(waiter), DeadLetterReason.OVERFLOW_TIMEOUT)
        self.make_room()

    def make_room(self) -> None:
        """Moves messages in, those on disk first, then those of waiting senders, as far as there is room; lets held emitters go."""
        self.overflow.refill(self)
        while self.room and len(self.queue) < self.capacity:
            waiter = self.room.popleft()
            self.put(self._admit_waiting(waiter))
        if self.held and (len(self.queue) <= self.capacity or self.cell.refuses):
            held, self.held = self.held, None
            for emitter in held:
                let_go(emitter, self)
        if not (self.room or self.held or self.overflow.spilled or self.cell.refuses):
            self.limit = self.overflow.limit(self)

    # Messages that wait to be tried again, while others pass them (ordered=False). They count as in flight.

    def park(self, envelope: Envelope, seconds: float) -> None:
        """The message in hand is to be tried again in so many seconds."""
        kernel = self.cell.kernel
        self.parked[envelope] = alarm = Alarm(kernel.now() + seconds, lambda: self.unpark(envelope))
        kernel.timers.add(alarm)

    def unpark(self, envelope: Envelope) -> None:
        """Its time has come: it is the next."""
        self.cell.kernel.timers.remove(self.parked.pop(envelope))
        self.put_back(envelope)
        if self.cell.state == IDLE:
            self.dispatcher.make_ready(self.cell)

    # Messages leave here, or by `processed += 1` in the cell.

    def put_back(self, item: Any) -> None:
        """The message in hand is to be handled again: it goes back to the head of the queue (it was counted when it came)."""
        self.queue.appendleft(item)
        if self.cell.sole is None:
            self.cell.arrivals.appendleft(self)

    def pass_over(self, envelope: Envelope) -> None:
        """What was taken out is not to be handled: its asker has gone, or it is no message at all."""
        if envelope is not NOTHING:
            self.skip("asker_gone")

    def skip(self, reason: str, item: Any = None) -> None:
        """Passes over a message that was taken out: counts it as skipped, and reports that."""
        self.skipped += 1
        if self.skipped_by is None:
            self.skipped_by = Counter()
        self.skipped_by[reason] += 1
        events = self.cell.kernel.events
        if events.hears(MessageSkipped.level):
            events.publish(MessageSkipped(self.path, reason))

    def count_dead_letter(self, reason: DeadLetterReason) -> None:
        """Counts a message as dead-lettered."""
        self.dead_lettered += 1
        if self.dead_lettered_by is None:
            self.dead_lettered_by = Counter()
        self.dead_lettered_by[reason] += 1

    def drop(self, reason: str) -> None:
        """Counts a message as dropped."""
        self.dropped += 1
        if self.dropped_by is None:
            self.dropped_by = Counter()
        self.dropped_by[reason] += 1

    def take_out(self, place: int) -> Any:
        """Takes the message at this place out of the queue; what becomes of it is for the caller to count."""
        item = self.queue[place]
        del self.queue[place]
        if self.cell.sole is not None:
            return item
        aside, arrivals = self.cell.aside, self.cell.arrivals
        if aside is not None and aside.take_off(self):
            return item
        del arrivals[[n for n, mailbox in enumerate(arrivals) if mailbox is self][place] if place else arrivals.index(self)]
        return item

    def refuse(self) -> None:
        """The actor has been stopped: what arrives from now on, or waits for room, becomes a dead letter."""
        self.limit = 0
        room, self.room = self.room, NOBODY
        for waiter in room:
            self.dead_letter_arrival(self._admit_waiting(waiter), DeadLetterReason.RECEIVER_STOPPED)
        self.make_room()

    def dead_letter_all(self, reason: DeadLetterReason) -> None:
        """The actor is gone for good: what waits becomes dead letters."""
        items = list(self.queue)
        self.queue.clear()
        for item in items:
            self.cell.recovery.dead_letter(self, item, reason)
        self.overflow.close(self, reason)

    def dead_letter_arrival(self, item: Any, reason: DeadLetterReason) -> None:
        """A message is given up on arrival: it was accepted, and never queued."""
        self.accepted += 1
        self.cell.recovery.dead_letter(self, item, reason)
        self.cell.kernel.note_arrival(self.cell)

    # What is known about it

    @property
    def is_in_stream(self) -> bool:
        """Whether messages come to it by wires or topics, and not only by its address."""
        return self.wired or self.subscriptions > 0

    def numbers(self) -> tuple[int, ...]:
        """Its `NUMBERS`, now. What is queued and in flight is counted afresh, not derived."""
        queued = len(self.queue) + (0 if self.cell.aside is None else self.cell.aside.stashed(self))
        in_flight = self.cell.in_hand_of(self) + len(self.parked)
        return self.accepted, self.processed, self.skipped, self.dead_lettered, self.dropped, self.overflow.spilled, queued, in_flight

    def reasons(self) -> tuple[Mapping[str, int] | None, ...]:
        """Its `REASONS`; None: there are none."""
        return self.dropped_by, self.skipped_by, self.dead_lettered_by

    def counts(self) -> PortCounts:
        """Its numbers and reasons, now."""
        return counted(self.numbers(), self.reasons())

    def wrong_type(self, message: object) -> MessageTypeError:
        """The error for a message that this port does not take."""
        return MessageTypeError(
            f"{self.path} takes {type_names(self.types)}, not {type(message).__name__}: {shown(message)} was not accepted;"
            " send what the port takes, or widen the annotation of its handler"
        ).at(self.path)
