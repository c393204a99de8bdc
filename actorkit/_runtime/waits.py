"""Waiting for something of ours: room in a mailbox, or the answer to a request.

A coroutine that the dispatcher drives *parks*: it yields PARKED, its cell is left with it, and no task is tied up. Any
other coroutine waits in trio as usual. `Dispatcher.parkable` tells the two apart.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import ContextVar
from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, Any, cast

import trio
from trio.lowlevel import Abort, cancel_shielded_checkpoint, checkpoint, current_task, reschedule, wait_task_rescheduled

from actorkit._runtime.compiling import mypyc_attr, protected
from actorkit._runtime.states import PARKED as PARKED_STATE, RUNNING
from actorkit.errors import AskFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextvars import Token
    from types import TracebackType

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.dispatcher import Dispatcher
    from actorkit._runtime.letters import DeadLetter
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.reply_streams import Rows
    from actorkit._runtime.steps import Stage
    from actorkit._runtime.timers import Alarm, Timers
    from actorkit.policy.taxonomy import ErrorContext
    from actorkit.storage.store import Changes

PARKED = object()
"""What a coroutine yields when it waits for something of ours."""
DIE = object()
"""What a parked coroutine is resumed with when its actor has been killed meanwhile."""

handling: ContextVar[Cell | None] = ContextVar("actorkit_handling", default=None)
"""The cell whose handler this code is part of, nurseries inside the handler included."""
acting: ContextVar[Cell | None] = ContextVar("actorkit_acting", default=None)
"""The cell that this code acts for: also in its `run`, hooks and background tasks."""
staging: ContextVar[Stage | None] = ContextVar("actorkit_staging", default=None)
"""What this code sends to durable ports is part of this step, and committed with it; None: each such send is a commit of its own."""


class Acting:
    """The block acts for this actor, and keeps it from handling messages meanwhile: a constructor, or a hook."""

    __slots__ = ("_cell", "_tokens")

    _tokens: tuple[Token[Cell | None], Token[Cell | None], Token[Stage | None]]

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __enter__(self) -> None:
        self._tokens = acting.set(self._cell), handling.set(self._cell), staging.set(None)

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        acting.reset(self._tokens[0])
        handling.reset(self._tokens[1])
        staging.reset(self._tokens[2])


class Done:
    """An awaitable that is done already: where there is room, `await port.send(m)` makes no coroutine."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return _NOTHING


_NOTHING = cast("Generator[Any, Any, None]", iter(()))  # an empty iterator is all that `await` needs
if hasattr(Done.__await__, "__code__"):  # not compiled: a function of C's hands it out sooner, without a Python frame
    setattr(Done, "__await__", repeat(_NOTHING).__next__)  # noqa: B010 - type checkers need not know
DONE = Done()


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiter:
    """Somebody waiting for one thing. Only whoever still waits for exactly this is ever woken by it.

    `item`: the message that goes in when there is room for it; None once it is in.
    `gone`: the one who waited was killed or cancelled, or its deadline has passed; nobody needs the answer any more.
    """

    # What is seldom set has its default in the class, and its place in __dict__, so that making one costs less.
    __slots__ = ("__dict__", "cell", "dispatcher", "done", "item", "mailbox", "port", "task", "value")

    port: Mailbox  # whose actor has to do something for this wait to end
    error: BaseException | None = None
    gone: bool = False
    patience: float = 0.0  # seconds that it goes on waiting for room, where that is limited, and the end of them
    clock: Alarm | None = None
    body: bytes | None = None  # of a message for a durable port: as it is written, and the key that its sender gave it
    key: str | None = None
    changes: Changes | None = None  # that it is part of, while it is being written
    is_out: bool = False  # whether a wait that is cut short returns all the same: see Broadcast, and durable_mailbox.py

    def __init__(self, dispatcher: Dispatcher, item: Any) -> None:
        self.dispatcher = dispatcher
        self.item = item
        self.value: Any = None
        self.done = False
        self.cell: Cell | None = None
        self.task: trio.lowlevel.Task | None = None
        self.mailbox: Mailbox | None = None  # where it waits for room, while it does

    @protected  # Ctrl-C between these lines would leave a waiter behind that wakes a task which waits for something else
    def __await__(self) -> Generator[Any, Any, Any]:
        if self.done:
            if (breath := self.dispatcher.breathe_now_and_then()) is not None:
                yield from breath.__await__()
        else:
            deadlocks = self.dispatcher.deadlocks
            cell = self.dispatcher.parkable()
            if cell is not None:
                if self.may_last:
                    deadlocks.check(cell, self)
                self.cell = cell
                cell.waiter = self
                if (yield PARKED) is DIE:  # under a cancelled scope: here trio raises Cancelled, unless it is shielded
                    yield from (cancel_shielded_checkpoint() if self.is_out else checkpoint()).__await__()
            else:
                owner = deadlocks.begin(self)
                self.task = current_task()
                try:
                    yield from wait_task_rescheduled(self._abort).__await__()
                finally:
                    deadlocks.end(owner, self)
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def may_last(self) -> bool:
        """Whether somebody that it waits for does not just have a turn coming."""
        return self.port.cell.state >= RUNNING and self.changes is None

    @property
    def parts(self) -> Sequence[Waiter]:
        """The waits for somebody that have to end for this one to end: see deadlocks.py. Who waits for the store waits for nobody."""
        return (self,) if self.changes is None else ()

    @property
    def awaited(self) -> tuple[object, ...]:
        """Who has to go on for this wait to end; any of them will do: see deadlocks.py."""
        return (self.port.cell,) if self.mailbox is None else self.mailbox.servers

    @property
    def description(self) -> str:
        """The wait for people, after who waits."""
        return f"waits for room at {self.port.address}"

    def wake(self, value: Any = None, error: BaseException | None = None) -> None:
        """Ends the wait with a value, or with an error; does nothing if it has ended already."""
        if self.done or self.gone:
            return
        self.done, self.value = True, value
        if error is not None:
            self.error = error
        if self.cell is not None:
            self.cell.wake(self)
        elif self.task is not None:
            task, self.task = self.task, None
            reschedule(task)

    def admitted(self) -> Any:
        """Hands over the message, for which there is room now."""
        item = self._hand_over()
        self.wake()
        return item

    def _hand_over(self) -> Any:
        item, self.item, self.mailbox = self.item, None, None
        return item

    def abandon(self) -> None:
        """Whoever waited has gone: a message of theirs still outside is not accepted any more."""
        self.gone = True
        if self.mailbox is not None:
            self.mailbox.leave_room(self)

    def _abort(self, _: object) -> Abort:
        task, self.task = self.task, None
        self.abandon()
        if self.is_out:  # its message is being written to a store, so it is as good as sent: this waits for that, and returns
            self.task, self.gone = task, False
            return Abort.FAILED
        return Abort.SUCCEEDED


@mypyc_attr(allow_interpreted_subclasses=True)
class Envelope(Waiter):
    """A message that carries something: somebody waiting for its answer, or a history of failures.

    All other messages are queued bare (an envelope costs more than handling a message).
    """

    __slots__ = ("deadline", "expires", "is_ask", "message", "timers")

    expires: float  # at a port with a deadline: when it has waited there for too long
    attempts: int = 0  # failed ones
    restarted: bool = False  # whether a restart because of it was charged already
    message_id: str | None = None
    failures: tuple[ErrorContext, ...] = ()  # the last ones
    kept: bool = False  # whether no overflow strategy may drop it
    letter: DeadLetter | None = None  # the dead letter that was sent again by this
    number: int | None = None  # its entry in the journal of a durable port
    is_suspect: bool = False  # whether it may have killed an earlier process: see suspects.py
    rows: Rows | None = None  # where the answer goes, if it is a stream

    def __init__(self, dispatcher: Dispatcher, message: Any, *, is_ask: bool) -> None:  # pyright: ignore[reportMissingSuperCall]
        # What `Waiter` sets, but without a call: an ask is to be cheap.
        self.dispatcher = dispatcher
        self.item: Any = None  # not itself: that would be a cycle, left to the garbage collector
        self.value = self.cell = self.task = self.mailbox = None
        self.done = False
        self.message = message
        self.is_ask = is_ask
        self.deadline = inf
        self.timers: Timers | None = None

    @property
    def description(self) -> str:
        return f"asks {self.port.path}"

    def expire_at(self, deadline: float) -> None:
        """Ends the ask in `trio.TooSlowError` at `deadline`."""
        self.deadline = deadline
        dispatcher = self.dispatcher
        if dispatcher.current is not None or dispatcher.ready:  # so somebody drives cells, and will come to the end of a slice
            dispatcher.new_asks.append(self)
        else:
            self.arm()

    def arm(self) -> None:
        """Has itself called at its deadline, if it is not over already."""
        if not (self.done or self.gone):
            self.timers = self.port.cell.kernel.timers
            self.timers.add(self)

    def fire(self) -> None:
        """The deadline has passed."""
        self.timers = None
        super().wake(error=trio.TooSlowError(f"{self.port.path} has not answered by the deadline of this ask; timeout= gives it more time"))
        self.abandon()

    def wake(self, value: Any = None, error: BaseException | None = None) -> None:
        """Answers the ask."""
        if self.timers is not None:
            self.timers.remove(self)
            self.timers = None
        if self.rows is not None:
            self.rows.end(error)
        # The rest is as in `Waiter`, without its calls, which would make an ask 5 % slower.
        if self.done or self.gone:
            return
        self.done, self.value = True, value
        if error is not None:
            self.error = error
        cell = self.cell
        if cell is not None:
            if cell.state == PARKED_STATE and cell.waiter is self:  # as in `Cell.wake`
                cell.waiter = None
                self.dispatcher.make_ready(cell)
        elif self.task is not None:
            task, self.task = self.task, None
            reschedule(task)

    def fail(self, text: str, error: ErrorContext | None = None) -> None:
        """Tells the asker that there will be no answer."""
        if self.is_ask:
            self.wake(error=AskFailed(text, error))

    def admitted(self) -> Any:
        """Hands over itself; its asker goes on waiting, for the answer."""
        return self._hand_over()

    def abandon(self) -> None:
        """The asker has gone: the request is skipped when its turn comes."""
        if self.timers is not None:
            self.timers.remove(self)
            self.timers = None
        super().abandon()


# `nursery.start_soon(ref.send, port, message)`: trio insists on a coroutine, and then only awaits it.
for _awaitable in (Done, Waiter):
    cast("Any", Coroutine).register(_awaitable)


def payload(item: Any) -> Any:
    """A queued message, bare."""
    return item.message if type(item) is Envelope else item
