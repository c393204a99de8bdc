"""Everything that is to happen later: timers of actors, retries, back-offs, deadlines of asks."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.mailbox import Mailbox

SPENT = 1_000
"""Instants kept, at least, although most of them have nothing left to do."""


class Timed(Protocol):
    """Something with a time."""

    deadline: float

    def fire(self) -> None:
        """Called once when `deadline` has come; must neither wait nor raise."""


class Alarm:
    """Calls a function at a time."""

    __slots__ = ("_call", "deadline")

    def __init__(self, deadline: float, call: Callable[[], None]) -> None:
        self.deadline = deadline
        self._call = call

    def fire(self) -> None:
        """Calls it."""
        self._call()


class Timers:
    """One task and one heap for all of a system's times.

    Entries of the same instant share a bucket, in order of arrival; the heap has one number per instant. So what is
    removed again before its time (the deadline of nearly every ask) costs two dictionary operations and leaves
    no dead entry behind but that number, and those are tidied away when they are the most part.
    """

    def __init__(self, at_rest: Callable[[], None]) -> None:
        self.count = 0
        self._at_rest = at_rest
        self._heap: list[float] = []
        self._buckets: dict[float, dict[Timed, None]] = {}
        self._sleeper: trio.lowlevel.Task | None = None
        self._sleeps_until = 0.0

    def add(self, timed: Timed) -> None:
        """Will call `timed.fire()` at `timed.deadline` (`trio.current_time()`)."""
        deadline = timed.deadline
        bucket = self._buckets.get(deadline)
        if bucket is None:
            if len(self._heap) > SPENT and len(self._heap) > 4 * self.count:
                self._tidy()
            bucket = self._buckets[deadline] = {}
            heappush(self._heap, deadline)
            if self._sleeper is not None and deadline < self._sleeps_until:
                task, self._sleeper = self._sleeper, None
                reschedule(task)
        bucket[timed] = None
        self.count += 1

    def remove(self, timed: Timed) -> bool:
        """Forgets `timed`; says whether it was still to come."""
        bucket = self._buckets.get(timed.deadline)
        was_there = bucket is not None and bucket.pop(timed, self) is None
        self.count -= was_there
        return was_there

    @enable_ki_protection
    async def run(self) -> None:
        """Fires what is due, for ever."""
        heap = self._heap
        while True:
            now = trio.current_time()
            while heap and heap[0] <= now:
                self._fire(heappop(heap))
            self._sleeps_until = heap[0] if heap else float("inf")
            with trio.CancelScope(deadline=self._sleeps_until):
                self._sleeper = current_task()
                await wait_task_rescheduled(self._wake_to_cancel)

    def _fire(self, deadline: float) -> None:
        bucket = self._buckets.get(deadline, {})
        while bucket:
            timed = next(iter(bucket))
            del bucket[timed]
            self.count -= 1
            timed.fire()
        if self._buckets.get(deadline) is bucket:
            del self._buckets[deadline]

    def _tidy(self) -> None:
        """Forgets instants at which nothing is left to do."""
        self._buckets = {deadline: bucket for deadline, bucket in self._buckets.items() if bucket}
        self._heap[:] = sorted(self._buckets)
        self._at_rest()

    def _wake_to_cancel(self, _: object) -> Abort:
        self._sleeper = None
        return Abort.SUCCEEDED


class Timer:
    """A message that is to come, made by `after` or `every`; `cancel()` takes it back."""

    __slots__ = ("_life", "_mailbox", "_message", "deadline", "period")

    def __init__(self, life: Incarnation, deadline: float, period: float | None, mailbox: Mailbox, message: Any) -> None:
        self._life = life
        self._mailbox = mailbox
        self._message = message
        self.deadline = deadline
        self.period = period

    def arm(self) -> None:
        """Starts it."""
        kernel = self._life.cell.kernel
        kernel.timers.add(self)
        kernel.repeating += self.period is not None

    def fire(self) -> None:
        """Delivers the message."""
        if self.period is None:
            if self._life.timers is not None:
                del self._life.timers[self]
        else:
            self._life.cell.kernel.repeating -= 1
            self.deadline += self.period
            self.arm()
        self._mailbox.admit(self._message)

    def cancel(self) -> None:
        """Takes it back; does nothing if it has fired or was cancelled already."""
        if self._life.timers is not None and self in self._life.timers:
            del self._life.timers[self]
            kernel = self._life.cell.kernel
            kernel.timers.remove(self)
            kernel.repeating -= self.period is not None
            self._life.check_drained()
            kernel.look()


def content_of(timer: Timer) -> tuple[Mailbox, Any]:
    """Where a timer's message is to go, and the message."""
    return timer._mailbox, timer._message  # users see no more of it than `cancel`


def set_timer(life: Incarnation, delay: float, period: float | None, mailbox: Mailbox, message: Any) -> Timer:
    """A timer of this life, armed unless that has ended.

    Raises:
        MessageTypeError: the mailbox does not take this message.
    """
    if not isinstance(message, mailbox.types):
        raise mailbox.wrong_type(message)
    timer = Timer(life, trio.current_time() + delay, period, mailbox, message)
    if not life.ended:
        if life.timers is None:
            life.timers = {}
        life.timers[timer] = None
        timer.arm()
    return timer
