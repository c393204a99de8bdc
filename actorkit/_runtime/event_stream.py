"""The one stream of everything that happens; logs, reports, tests and views read it."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import ref

import trio

from actorkit.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound=Event)

logger = logging.getLogger("actorkit")
BUFFER = 10_000
"""Events that a subscriber may lag behind before its oldest are dropped (and counted)."""
IN_A_ROW = 256
"""Events that a subscriber gets without a checkpoint; with one for each it would get one a millisecond, when there is much to do."""


class EventStream:
    """Publishes events to the log and to subscribers. Publishing never waits and never raises into the runtime."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        # Weak, as who leaves an `async for` need not close it. Not a WeakSet, which takes a microsecond to say that it is empty.
        self._subscriptions: dict[int, ref[Subscription[Any]]] = {}
        self._is_closed = False

    def hears(self, level: int) -> bool:
        """Whether anybody would notice an event of this level: lets hot paths skip making one."""
        return bool(self._listeners or self._subscriptions) or logger.isEnabledFor(level)

    def publish(self, event: Event) -> None:
        """Delivers `event` to all, in the order of publication."""
        if logger.isEnabledFor(event.level):
            error = event.exception
            logger.log(event.level, "%s", event, exc_info=error if error is None else (type(error), error, error.__traceback__))
        for listener in self._listeners:
            listener(event)
        for subscription in self._all():
            subscription.offer(event)

    def _all(self) -> list[Subscription[Any]]:
        return [subscription for each in self._subscriptions.values() if (subscription := each()) is not None]

    def publish_from_thread(self, event: Event, token: trio.lowlevel.TrioToken) -> None:
        """Delivers `event` from another thread, as soon as trio's comes to it."""
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self.publish, event)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls `listener` with each event from now on; it must be quick and must not raise."""
        self._listeners.append(listener)

    def subscribe(self, types: tuple[type[E], ...]) -> Subscription[E]:
        """An async iterator over the events of these types from now on; over all events, if none are named."""
        subscription = Subscription(self, types)
        if self._is_closed:
            subscription.finish()
        else:
            key, subscriptions = id(subscription), self._subscriptions
            subscriptions[key] = ref(subscription, lambda _: subscriptions.pop(key, None))
        return subscription

    def unsubscribe(self, subscription: Subscription[E]) -> None:
        """Forgets `subscription`."""
        self._subscriptions.pop(id(subscription), None)

    def close(self) -> None:
        """Ends all subscriptions, once they have delivered what they hold; also those made from now on."""
        self._is_closed = True
        for subscription in self._all():
            subscription.finish()
        self._subscriptions.clear()


class Subscription(Generic[E]):
    """One subscriber's events: `async for event in system.events(ActorStarted): …`. Ends with the system, or by `close()`.

    Attributes:
        missed: how many events this subscriber has not got, because it lagged more than 10,000 behind.
    """

    def __init__(self, stream: EventStream, types: tuple[type[E], ...]) -> None:
        self._stream = stream
        self._types = types
        self._buffer: deque[E] = deque()
        self.missed = 0
        self._in_a_row = 0
        self._finished = False
        self._news = trio.Event()

    def offer(self, event: Event) -> None:
        """Takes `event` in if it is of a wanted type; drops the oldest when the subscriber lags too far behind."""
        if self._types and not isinstance(event, self._types):
            return
        if len(self._buffer) >= BUFFER:
            self._buffer.popleft()
            self.missed += 1
            if self.missed == 1:
                logger.warning("a subscriber lags %d events behind: its oldest are dropped (and counted in .missed)", BUFFER)
        self._buffer.append(cast("E", event))  # of one of the wanted types
        self._news.set()

    def finish(self) -> None:
        """No more events will come."""
        self._finished = True
        self._news.set()

    def close(self) -> None:
        """Ends the subscription."""
        self._stream.unsubscribe(self)
        self.finish()

    def __aiter__(self) -> Subscription[E]:
        return self

    async def __anext__(self) -> E:
        if self._in_a_row == IN_A_ROW:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._finished:
                raise StopAsyncIteration
            if self._news.is_set():
                self._news = trio.Event()
            await self._news.wait()
            self._in_a_row = 0
        self._in_a_row += 1
        return self._buffer.popleft()
