"""The scheduler: many actors, few tasks. Reads from the top.

A trio task switch costs about 4 µs and a trio task about 4.6 kB. So an actor is a cell, not a task. A few worker tasks
share one queue of cells that have messages; exactly one worker at a time holds the *role* and drives cells by hand, a
batch of messages each. A handler that ends without waiting, as most do, costs no scheduling at all. One that *parks*
(waits for something of ours: see waits.py) is left with its cell. One that *waits* in trio keeps its worker, which sees
it through to its end, and the role moves on to another worker.

What always holds (tests/runtime/test_dispatcher.py, and a fuzzer beside it):

- A cell is in exactly one state (states.py), and on the ready queue at most once. One message of an actor at a time.
- Waking takes effect only on a cell that is parked on that very waiter.
- A kill is honoured in every state, once. A killed step ends by trio's own `Cancelled`, in a task, and may clean up.
- A coroutine never changes task once it has yielded to trio, so scopes, nurseries and locks in handlers work as always.
- The role is never lost: whoever leaves it hands it over first.
- Others get their turn: the role's holder checkpoints about every half millisecond, and senders that never wait do so now and then.
- This code runs under trio's protection from KeyboardInterrupt, handlers run without it: Ctrl-C never splits the books.
"""

from __future__ import annotations

import time
import types
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import Abort, checkpoint, checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from actorkit._runtime.cancellation import failure_in, split
from actorkit._runtime.compiling import protected
from actorkit._runtime.states import IDLE, PARKED, READY, RUNNING, WAITING
from actorkit._runtime.waits import DIE, PARKED as PARKED_MARK
from actorkit.events import CleanupFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.deadlocks import Deadlocks
    from actorkit._runtime.pauses import Pause
    from actorkit._runtime.waits import Envelope

BATCH: Final = 128
"""Messages of one cell in a row, at most. Measured: 1 → 0.2 M messages/s, 64 → 2.9 M, 128 → 3.3 M, 1,024 → 3.6 M."""
SLICE: Final = 0.0005
"""Seconds between checkpoints of the role's holder. Other tasks then wait for 2 ms, or 3 at worst: others have their turns in between."""
BUDGET: Final = 256
"""Sends in a row that need not wait; then the sender checkpoints."""
ASK_COST: Final = 4
"""What an ask that ran its handler itself takes from that budget: a checkpoint every 64 of them."""
IDLE_WORKERS: Final = 64
"""Workers kept for the next handler that waits in trio."""


class Worker:
    """One task that drives cells, or stays with one that waits in trio."""

    __slots__ = ("base_status", "cell", "fenced", "scope", "task")

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.scope = trio.CancelScope()  # cancelled to kill the step that it stays with; then the worker is spent
        self.cell: Cell | None = None  # whose step it stays with
        self.fenced = False  # that step was left behind: its cell has gone on without it
        self.base_status: object = None


class Dispatcher:
    """The ready queue, the role, and the workers."""

    def __init__(self, at_rest: Callable[[], None], crash: Callable[[BaseException], None], deadlocks: Deadlocks) -> None:
        self.nursery: trio.Nursery | None = None
        self.ready: deque[Cell] = deque()
        self.current: Cell | None = None  # whose step the role's holder is driving right now
        self.holder: Worker | None = None
        self.budget = BUDGET
        self.new_asks: list[Envelope] = []  # those of this slice; most are answered before it ends, and never get a timer
        self.waiting = 0  # steps that wait in trio
        self.is_fenced = False  # whether the step that runs right now was left behind: what it sends is refused
        self.now = 0.0  # the time at which the present slice began
        self._slice_end = 0.0
        self._runs_here = False  # whether `run_here` is at it
        self._asleep: trio.lowlevel.Task | None = None  # the role's holder, when there is nothing to do
        self._is_vacant = False  # whether nobody holds the role, since there was nothing to do when its holder began to wait in trio
        self._idle: list[trio.lowlevel.Task] = []
        self._at_rest = at_rest
        self._crash = crash
        self.deadlocks = deadlocks
        self.pause: Pause | None = None  # while there is one, only who it lets begin begins with a message

    def start(self, nursery: trio.Nursery) -> None:
        """Begins, with one worker in `nursery`."""
        self.nursery = nursery
        nursery.start_soon(self._work)

    @property
    def may_run_here(self) -> bool:
        """Whether who asks right now may run the one who is asked itself: see `run_here`."""
        if self.pause is not None:
            return False
        if self.current is None:
            return self._is_vacant or self._asleep is not None
        return not self._runs_here

    @property
    def at(self) -> object:
        """What it is at: the same as before, if a message has not ended meanwhile; None, if at nothing. For another thread to compare."""
        cell = self.current
        port = None if cell is None else cell.port
        return None if cell is None or port is None else (id(cell), id(cell.message), port.processed)

    @property
    def is_quiet(self) -> bool:
        """Whether no cell is ready and no step is under way, parked ones aside."""
        return (self._is_vacant or self._asleep is not None) and not self.ready and not self.waiting and self.pause is None

    def make_ready(self, cell: Cell) -> None:
        """Puts `cell` on the ready queue; it must not be there."""
        cell.state = READY
        self.ready.append(cell)
        if self._asleep is not None:
            task, self._asleep = self._asleep, None
            reschedule(task)
        elif self._is_vacant:
            self._hand_over()

    def parkable(self) -> Cell | None:
        """The cell that may park here: in a handler driven by the role's holder that has entered no scope or nursery.

        (A parked coroutine may be resumed by another worker, and trio's scopes belong to a task.) This is the one look
        at something private of trio's: a task's cancel status. Where that is missing, nothing ever parks.
        """
        cell, holder = self.current, self.holder
        if cell is None or holder is None or cell.killed or self._runs_here:
            return None
        return cell if getattr(holder.task, "_cancel_status", None) is holder.base_status else None

    def time(self) -> float:
        """The present time; read once per slice while cells are driven (a reading costs more than an ask's books)."""
        if self.current is None or time.perf_counter() > self._slice_end:
            self.now = trio.current_time()
        return self.now

    async def breathe(self) -> None:
        """A sender that never has to wait still gives others their turn, before it sends on."""
        await checkpoint()
        self.budget = BUDGET

    def breathe_now_and_then(self, cost: int = 1) -> Awaitable[None] | None:
        """For a wait that was over before it began: what gives others their turn every so often, and a task's cancellation its."""
        self.budget -= cost
        if self.budget < 0:
            return self.breathe()
        return checkpoint_if_cancelled() if self.current is None else None

    def run_here(self, cell: Cell) -> None:
        """Handles one message, by a plain handler, of an idle cell in the task of who asks: a trio task, while nobody drives, or an actor.

        That spares two task switches, ten times the cost of the ask, or the asker's parking, twice its cost. (Never an async
        handler: a cancel of this task would hit it. And not one inside another: who asks has a turn, not a whole chain of them.)
        """
        asker, self.current, self._runs_here = self.current, cell, True
        cell.state = RUNNING
        slice_end = time.perf_counter() + SLICE if asker is None else self._slice_end
        try:
            (cell.context or cell.own_context()).run(cell.handle_plain, 1)
        except BaseException as error:  # kept by whoever ends the system, and raised there
            # No scope is asked whether it was cancelled: a plain handler meets none, so a cancellation it raises was kept.
            if (failure := failure_in(error)) is not None:
                cell.step_failed(failure)
            else:
                cell.close()
                self._crash(error)
        finally:
            self.current, self._runs_here = asker, False
        if cell.stop or cell.arrivals or cell.ending:
            cell.settle()
        else:
            cell.state = IDLE
        self.budget -= ASK_COST if time.perf_counter() < slice_end else BUDGET

    # ------------------------------------------------------------------------------------------------ workers

    @protected
    async def _work(self) -> None:
        worker = Worker(current_task())
        try:
            with worker.scope:
                worker.base_status = getattr(worker.task, "_cancel_status", object())
                while await self._drive(worker):
                    pass
        except BaseException as error:
            self._step_raised(worker, error)
        finally:
            self._leave(worker)

    def _step_raised(self, worker: Worker, error: BaseException) -> None:
        """A step has ended by what is no handler's failure. A cancellation goes on its way."""
        cancelled, rest = split(error)
        cell = worker.cell or (self.current if self.holder is worker else None)
        scopes = [worker.scope] if self.nursery is None else [worker.scope, self.nursery.cancel_scope]
        if cell is not None and not worker.fenced and (failure := failure_in(error, *scopes)) is not None:
            cell.step_failed(failure)
            return
        if rest is not None and cell is not None and worker.scope.cancel_called and isinstance(rest, Exception):
            # What a killed handler's cleanup raised is the dying life's own; it harms nobody else.
            cell.kernel.events.publish(CleanupFailed(cell.path, "a cancelled handler", rest))
        elif rest is not None:
            if cell is not None and not worker.fenced:
                cell.close()  # the message stays in hand until the system has ended
            self._crash(rest)  # kept by whoever ends the system, and raised there
        if cancelled is not None:
            raise cancelled

    @protected
    async def _drive(self, worker: Worker) -> bool:
        """Holds the role until a cell's step waits in trio; stays with that; comes back with the role. False: this worker is to end."""
        ready, clock = self.ready, time.perf_counter
        now = self._begin_slice(worker)
        while True:
            while ready:
                cell = ready.popleft()
                cell.state = RUNNING
                if cell.stop and cell.batch is None:
                    cell.settle()
                    continue
                if self.pause is not None and self.pause.holds_back(cell):
                    continue
                self.current = cell
                self.budget = BUDGET
                context = cell.context or cell.own_context()
                if cell.is_plain:
                    context.run(cell.handle_plain, cell.batch_size)
                else:
                    coroutine, cell.batch = cell.batch, None
                    message = None
                    if coroutine is None:
                        coroutine = cell.handle(cell.batch_size)
                    elif cell.killed:
                        worker.scope.cancel()
                        message = DIE
                    try:
                        trap = context.run(coroutine.send, message)
                    except StopIteration:
                        pass
                    else:
                        if trap is not PARKED_MARK:
                            return await self._stay_with(worker, cell, coroutine, trap)
                        cell.batch, cell.state, self.current = coroutine, PARKED, None
                        continue
                self.current = None
                if cell.stop:
                    cell.settle()
                elif cell.arrivals:
                    cell.state = READY
                    ready.append(cell)
                else:
                    cell.state = IDLE
                    if cell.ending:
                        cell.settle()
                began, now = now, clock()
                if now - began > SLICE:  # the next batch of this cell is to last one slice
                    cell.batch_size = max(1, int(cell.batch_size * SLICE / (now - began)))
                elif cell.batch_size < BATCH:
                    cell.batch_size = min(BATCH, cell.batch_size * 2)
                if now > self._slice_end:
                    self._arm_asks()
                    self.holder = None
                    await checkpoint()
                    now = self._begin_slice(worker)
            self._arm_asks()
            self.holder = None
            self._asleep = worker.task
            self._at_rest()
            await wait_task_rescheduled(self._cancelled_asleep)
            now = self._begin_slice(worker)

    def _arm_asks(self) -> None:
        """A slice is over: the asks that it has not answered get their timers."""
        if self.new_asks:
            for envelope in self.new_asks:
                envelope.arm()
            self.new_asks.clear()

    def _begin_slice(self, worker: Worker) -> float:
        """This worker takes the role (again); others have had their turn."""
        now = time.perf_counter()
        self.holder, self.now, self._slice_end = worker, trio.current_time(), now + SLICE
        return now

    async def _stay_with(self, worker: Worker, cell: Cell, coroutine: Coroutine[Any, Any, None], trap: Any) -> bool:
        """This step really waits in trio: gives the role away and sees the step through. True when the role has come back."""
        self._arm_asks()
        self.current = self.holder = None
        cell.state, cell.worker, worker.cell, cell.stop = WAITING, worker, cell, True
        self.waiting += 1
        if cell.killed:
            worker.scope.cancel()
        if self.ready:
            self._hand_over()
        else:
            self._is_vacant = True  # a switch of tasks less, if nothing comes meanwhile
        await _forward(coroutine, trap, partial(self._step, worker, cell.own_context().run))
        if worker.scope.cancel_called:
            return False  # this worker is spent; the rest is done in _leave
        has_role, self._is_vacant = self._is_vacant, False
        self._step_over(worker, cell)
        if has_role:
            return True
        if len(self._idle) >= IDLE_WORKERS:
            return False
        self._idle.append(worker.task)

        def cancelled(_: object) -> Abort:
            self._idle.remove(worker.task)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(cancelled)
        return True

    def _hand_over(self) -> None:
        self._is_vacant = False
        if self._idle:
            reschedule(self._idle.pop())
        elif self.nursery is not None:
            self.nursery.start_soon(self._work)

    def _step(self, worker: Worker, run: Callable[..., Any], resume: Callable[[Any], Any], value: Any) -> Any:
        """One more step of a coroutine that waits in trio."""
        if not worker.fenced:
            return run(resume, value)
        budget, self.budget, self.is_fenced = self.budget, 0, True  # without a budget, every send looks at is_fenced
        try:
            return run(resume, value)
        finally:
            self.budget, self.is_fenced = budget, False

    def fence(self, worker: Worker) -> None:
        """The step that this worker stays with does not end: nothing more is expected of it."""
        worker.fenced = True
        self.waiting -= 1

    def _step_over(self, worker: Worker, cell: Cell) -> None:
        """The step that this worker stayed with has ended."""
        worker.cell = cell.worker = None
        self.waiting -= 1
        cell.settle()
        self._at_rest()

    def _leave(self, worker: Worker) -> None:
        """A worker ends. If it was killed, its step is over; if a handler crashed the system, another takes the role for the rest."""
        if worker.cell is not None and not worker.fenced:
            self._step_over(worker, worker.cell)
        if self.holder is worker:
            cell, self.current, self.holder = self.current, None, None
            if cell is not None:
                cell.settle()
            self._hand_over()

    def _cancelled_asleep(self, _: object) -> Abort:
        self._asleep = None
        return Abort.SUCCEEDED


@types.coroutine
def _forward(coroutine: Coroutine[Any, Any, None], trap: Any, run: Callable[..., Any]) -> Generator[Any, Any, None]:
    """Sees a coroutine that waits in trio through to its end, passing trio's traps on unread."""
    while True:
        try:
            value = yield trap
        except BaseException as error:  # thrown on into the coroutine, whatever it is
            try:
                trap = run(coroutine.throw, error)
            except StopIteration:
                return
        else:
            try:
                trap = run(coroutine.send, value)
            except StopIteration:
                return
