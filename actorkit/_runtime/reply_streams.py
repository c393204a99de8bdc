"""Replies of many rows: a handler that is an async generator, and whoever reads what it yields.

The request travels as an ask does. The generator runs in its actor's handler, a few rows ahead at most, and waits there
until rows are taken. So a stream occupies its actor as long as it lasts. When the reader has gone, the generator is
closed where it waits to go on, or cancelled where it waits for something else; either way its `finally` blocks run.

A failure before the first row is met as any other: the request may be tried again, and the reader knows nothing of it.
After that the stream has failed for its reader, who gets the rows that came before and then `AskFailed`. The request is
not tried again, since rows would come twice: what the policy puts back is skipped (its asker has gone).
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast

import trio
from trio.lowlevel import enable_ki_protection

from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import Envelope, Waiter, handling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext

R_co = TypeVar("R_co", covariant=True)

AHEAD: Final = 16
"""Rows that a generator may be ahead of its reader; it goes on when half of them are taken."""


class RowWait(Waiter):
    """A reader waits for the next row: for whoever has its request."""

    __slots__ = ("request",)

    request: Envelope

    @property
    def may_last(self) -> bool:
        return self.request.may_last

    @property
    def awaited(self) -> tuple[object, ...]:
        return self.request.awaited

    @property
    def description(self) -> str:
        return f"waits for rows from {self.request.port.path}"


class DemandWait(Waiter):
    """A generator is far enough ahead, and waits for its reader."""

    __slots__ = ("rows",)

    rows: Rows

    @property
    def awaited(self) -> tuple[object, ...]:
        return (self.rows.reader,)

    @property
    def description(self) -> str:
        return f"waits until its rows from {self.port.path} are taken"


class Rows:
    """What has been yielded, and not been taken yet: between the generator and its reader.

    Attributes:
        reader: who takes the rows: an actor in its handler, or a task.
        begun: whether any was yielded; then the request is not tried again.
        left: whether the reader has gone.
        ended: whether no more will come; `error` says why, if that was not the end of the generator.
    """

    __slots__ = ("_demand", "_generator", "_inside", "_scope", "_wanted", "begun", "ended", "error", "left", "mailbox", "queue", "reader")

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.reader: object = mailbox.dispatcher.deadlocks.waiting_one()
        self.queue: deque[Any] = deque()
        self.begun = self.left = self.ended = False
        self.error: BaseException | None = None
        self._wanted: RowWait | None = None
        self._demand: DemandWait | None = None
        self._generator: AsyncGenerator[Any, None] | None = None  # the one whose rows count
        self._scope: trio.CancelScope | None = None  # around that
        self._inside = False  # whether that is at work, or waits for something of its own

    # ------------------------------------------------------------------------------------------------ the generator's side

    async def serve(self, generator: AsyncGenerator[Any, None], envelope: Envelope, cell: Cell) -> None:
        """Runs the generator to its end, or until the reader has gone."""
        self._generator = generator
        try:
            with trio.CancelScope() as self._scope:
                await self._run(generator)
        except BaseException:
            if self.begun:
                envelope.gone = True
                if cell.killed:  # else what failed is still to be told: see `failed`
                    self.stopped(envelope)
            raise
        finally:
            self._scope = None

    async def _run(self, generator: AsyncGenerator[Any, None]) -> None:
        thrown: BaseException | None = None
        while not self.left and self._generator is generator:
            self._inside = True
            try:
                row = await (generator.__anext__() if thrown is None else generator.athrow(thrown))
            except StopAsyncIteration:
                return
            finally:
                self._inside = False
            thrown = None
            if self._put(row, generator):
                try:
                    await self._wait_for_demand()
                except BaseException as error:  # thrown on into the generator: it may be for a scope that is open there
                    thrown = error
        await generator.aclose()

    def _put(self, row: Any, generator: AsyncGenerator[Any, None]) -> bool:
        """Hands a row over; says whether the generator is far enough ahead."""
        if self.left or self._generator is not generator:
            return False
        self.begun = True
        self.queue.append(row)
        if self._wanted is not None:
            self._wanted.wake()
        return len(self.queue) >= AHEAD

    async def _wait_for_demand(self) -> None:
        self._demand = demand = DemandWait(self.mailbox.dispatcher, None)
        demand.port, demand.rows = self.mailbox, self
        try:
            await demand
        finally:
            self._demand = None

    def failed(self, envelope: Envelope, error: ErrorContext) -> None:
        """The generator has raised: if rows came before, that is the end for the reader, whatever the policy decides."""
        if self.begun:
            envelope.fail(f"{self.mailbox.path} failed in the middle of this stream: {error.summary}", error)

    def stopped(self, envelope: Envelope) -> None:
        """The actor was stopped, or left behind, in the middle."""
        envelope.fail(f"{self.mailbox.path} was stopped in the middle of this stream")

    def end(self, error: BaseException | None) -> None:
        """No more rows will come."""
        if not self.ended:
            self.ended, self.error = True, error
            if self._wanted is not None:
                self._wanted.wake()

    # ------------------------------------------------------------------------------------------------ the reader's side

    @enable_ki_protection
    def take(self) -> Any:
        """The next row, which there must be."""
        row = self.queue.popleft()
        if self._demand is not None and len(self.queue) <= AHEAD // 2:
            self._demand.wake()
        return row

    async def wait(self, request: Envelope, seconds: float, until: float) -> None:
        """Waits until there is a row, or the end; for so many seconds, and until then, at most."""
        if self._wanted is not None:
            raise trio.BusyResourceError(f"another task waits for rows from {self.mailbox.path} already: one stream has one reader")
        dispatcher, timers = self.mailbox.dispatcher, self.mailbox.cell.kernel.timers
        self.reader = dispatcher.deadlocks.waiting_one()
        self._wanted = wanted = RowWait(dispatcher, None)
        wanted.port, wanted.request = self.mailbox, request
        alarm = Alarm(min(dispatcher.time() + seconds, until), lambda: wanted.wake(error=self._too_slow()))
        if alarm.deadline != math.inf:
            timers.add(alarm)
        try:
            await wanted
        finally:
            timers.remove(alarm)
            self._wanted = None

    def _too_slow(self) -> trio.TooSlowError:
        return trio.TooSlowError(f"{self.mailbox.path} has not sent the next row in time; timeout= gives it more")

    def leave(self, envelope: Envelope) -> None:
        """The reader goes."""
        if not (self.left or self.ended):
            self.left = True
            self.close(envelope)

    @enable_ki_protection
    def close(self, envelope: Envelope) -> None:
        """The reader has gone: the generator is closed, or the request skipped when its turn comes."""
        self.queue.clear()
        envelope.abandon()
        if self._demand is not None:
            self._demand.wake()
        elif self._inside and self._scope is not None:
            self._scope.cancel()


class ReplyStream(Generic[R_co]):
    """The rows that an actor streams: `async for row in ref.stream(Cls.in_query, query): …`.

    It ends with the generator, and closes that when the loop is left early: by `break`, `return`, an exception or a cancellation.
    Where a variable keeps it alive after the loop, say so: `async with ref.stream(…) as rows:`, or `await rows.aclose()`.
    """

    __slots__ = ("_envelope", "_rows", "_seconds", "_until")

    def __init__(self, rows: Rows, envelope: Envelope, seconds: float, until: float) -> None:
        self._rows = rows
        self._envelope = envelope
        self._seconds = seconds
        self._until = until

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R_co:
        rows = self._rows
        while not rows.queue:
            if rows.left or rows.ended:
                if rows.error is not None:
                    error, rows.error = rows.error, None
                    raise error
                raise StopAsyncIteration
            try:
                await rows.wait(self._envelope, self._seconds, self._until)
            except trio.BusyResourceError:
                raise
            except BaseException:
                rows.leave(self._envelope)
                raise
        return cast("R_co", rows.take())

    async def aclose(self) -> None:
        """Ends it: the generator is closed, and its `finally` blocks run, in its own actor. Does not wait for that."""
        self._rows.leave(self._envelope)
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.leave(self._envelope)

    def __del__(self) -> None:
        rows = self._rows
        if not (rows.left or rows.ended):
            rows.left = True
            with suppress(trio.RunFinishedError):  # the rest not here and now: this may run anywhere, in another thread too
                rows.mailbox.cell.kernel.token.run_sync_soon(rows.close, self._envelope)

    def __repr__(self) -> str:
        return f"<ReplyStream from {self._rows.mailbox.path}>"


async def stream_rows(handler: Callable[[Any], AsyncGenerator[Any, None]], message: Any) -> None:
    """Handles a message with a generator: streams to who asked for rows; of a message that was just sent, nobody wants them."""
    cell = handling.get()
    envelope = None if cell is None else cell.message
    if cell is None or type(envelope) is not Envelope or envelope.rows is None:
        async for _ in handler(message):
            pass
    elif envelope.rows.begun:  # in a life that was left behind
        envelope.rows.stopped(envelope)
    else:
        await envelope.rows.serve(handler(message), envelope, cell)
