"""Ports that get their messages in batches (`@in_batch`), and the cell of an actor that has one.

Messages of a batch port are collected as their turns come, up to `size`, for up to `wait` seconds since the first came.
A message at another port of the actor ends the batch, so order holds across its ports, and so does the end of its
streams. While they are collected they count as queued, in hand as in flight, all of them.

A batch that fails is split in halves, again and again, until what fails is alone: only that message meets the recovery
policy. The parts that are to be tried next are in flight like that one, in `_parts`, and come before all else. When the
actor's life ends they go back to the queue; `_plan` has their sizes, so that they are taken again as they were.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actorkit._runtime.answers import check_answer
from actorkit._runtime.attentive import AttentiveQueue
from actorkit._runtime.cell import Cell
from actorkit._runtime.states import IDLE
from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import Envelope

if TYPE_CHECKING:
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.port_settings import BatchSettings
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.supervisor import Supervisor


class Batch:
    """Several messages in hand."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class BatchCell(Cell):
    """The cell of an actor that has a batch port."""

    __slots__ = ("_alarm", "_collected", "_collecting", "_divided", "_is_due", "_parts", "_plan")

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor) -> None:
        super().__init__(kernel, spec, path, supervisor)
        self.is_plain = False
        self._collecting: Mailbox | None = None  # whose messages are being collected, and how many of them
        self._collected = 0
        self._is_due = False  # whether they are to be handled although there are few
        self._alarm: Alarm | None = None
        self._divided: Mailbox | None = None  # whose messages are in the parts
        self._parts: deque[list[Any]] = deque()  # batches in flight that are to be tried (again) before all else
        self._plan: dict[Mailbox, deque[int]] = {}

    # Handling

    async def handle(self, limit: int) -> None:
        """As of any cell, a batch counting as one message."""
        life = self.life
        while limit and not self.stop and self.life is life:
            limit -= 1
            if self._collecting is not None and self._must_wait(self._collecting):
                self._return_collected()
            port = self.arrivals[0] if self.arrivals else None
            if self._divided is not None and self._parts:
                await self._handle_part(self._divided, life)
            elif self._collecting is not None and self._is_complete(self._collecting, port):
                await self._handle_collected(self._collecting, life)
            elif port is None:
                break
            elif port.is_paused:
                self.arrivals.popleft().queue.popleft()  # sets that entry aside
            elif self._must_wait(port):
                self.set_aside().shelve(self.arrivals.popleft())
            elif port.settings.batch is None:
                await super().handle(1)
            else:
                self.arrivals.popleft()
                self._collecting, self._collected = port, self._collected + 1
                limit += 1
        if not self.stop and self.life is life:
            if self._has_batch:
                self.stop = True  # so that `settle` makes it ready again
            elif self._collecting is not None and not self.arrivals:
                self._wait_for_more(self._collecting)

    @property
    def _has_batch(self) -> bool:
        """Whether there is a batch to be handled now, if nothing comes before it."""
        return bool(self._parts) or (self._collecting is not None and self._is_complete(self._collecting, None))

    def _is_complete(self, port: Mailbox, then: Mailbox | None) -> bool:
        """Whether what is collected is a batch; `then` is the port whose message is next."""
        if self._collected >= self._size(port):
            return True
        return then is not port and (then is not None or self._is_due or self._awaits_no_more)

    @property
    def _awaits_no_more(self) -> bool:
        """Whether a batch is not to wait to be filled: nobody sends any more, or the system is being stopped."""
        return self.ending or self.kernel.is_closing

    def _size(self, port: Mailbox) -> int:
        plan = self._plan.get(port)
        return plan[0] if plan else batch_settings(port).size

    async def _handle_collected(self, port: Mailbox, life: Incarnation | None) -> None:
        size = min(self._collected, self._size(port))
        if not (port.is_paused or self._is_admitted(port, size)):
            return
        if plan := self._plan.get(port):
            plan.popleft()
        items = [port.queue.popleft() for _ in range(size)]
        self._collected -= size
        if not self._collected:
            self._end_collecting()
        if not port.limit:
            port.make_room()
        await self._handle_items(port, items, life)

    async def _handle_part(self, port: Mailbox, life: Incarnation | None) -> None:
        if port.is_paused:
            self._return_parts()
        elif self._is_admitted(port, len(self._parts[0])):
            await self._handle_items(port, self._parts.popleft(), life)

    def _must_wait(self, port: Mailbox) -> bool:
        """Whether messages of this port step aside for now, so that those of others pass."""
        return self.gates is not None and self.gates.must_wait(port)

    def _is_admitted(self, port: Mailbox, messages: int) -> bool:
        """Whether these may be handled now: see `Gates`."""
        return self.gates is None or self.gates.admit_from(port, messages)

    async def _handle_items(self, port: Mailbox, items: list[Any], life: Incarnation | None) -> None:
        wanted: list[Any] = []
        for item in items:
            if type(item) is Envelope and item.gone:
                port.pass_over(item)
            else:
                wanted.append(item)
        if wanted:
            await self._handle_wanted(port, wanted, life)
        if self.life is life:
            self._batch_done()

    async def _handle_wanted(self, port: Mailbox, items: list[Any], life: Incarnation | None) -> None:
        self.port, self.message = port, items[0] if len(items) == 1 else Batch(items)
        try:
            answer = port.handler([item.message if type(item) is Envelope else item for item in items])
            if port.is_async:
                answer = await answer
                if self.life is not life:
                    return
            elif answer is not None:
                check_answer(answer)
            self._answer(port, items, answer)
            port.processed += len(items)
            self.port = None
        except Exception as error:  # here the failure path of a batch begins; trio.Cancelled passes
            if len(items) == 1 or self.killed or self.life is not life:
                self.recovery.message_failed(error, life)
            else:
                self._split(port, items, error)

    def _answer(self, port: Mailbox, items: list[Any], answer: Any) -> None:
        answers: list[Any] = [None] * len(items) if answer is None else answer
        if not isinstance(answers, list) or len(answers) != len(items):
            raise TypeError(f"{port.path} answered {answer!r} to {len(items)} messages: a batch's answer is None, or a list of as many")
        for item, its_answer in zip(items, answers, strict=True):
            if type(item) is Envelope:
                item.wake(its_answer)
                if item.attempts or item.letter is not None:
                    self.recovery.handled_after_all(item)

    def _split(self, port: Mailbox, items: list[Any], error: Exception) -> None:
        """One of these messages makes their batch fail: each half is tried by itself."""
        half = len(items) // 2
        self._divided, self.port = port, None
        self._parts.extendleft((items[half:], items[:half]))
        if self.gates is not None:
            self.gates.heard_error(error, self.recovery.category_of(error))

    def _return_parts(self) -> None:
        """Batches that are in flight without being in hand go back to the head of their queue."""
        self._return_collected()
        while self._divided is not None and self._parts:
            items = self._parts.pop()
            self._plan.setdefault(self._divided, deque()).appendleft(len(items))
            for item in reversed(items):
                self._divided.put_back(item)
        self._divided = None

    @property
    def in_parts(self) -> list[tuple[Mailbox, Any]]:
        """What is in flight, in order: the batch in hand, and those that are to be tried next."""
        items: list[tuple[Mailbox, Any]] = []
        if self.port is not None:
            items += [(self.port, each) for each in (self.message.items if type(self.message) is Batch else [self.message])]
        if self._divided is not None:
            items += [(self._divided, each) for part in self._parts for each in part]
        return items

    @property
    def collected(self) -> list[Mailbox]:
        """An entry for each message that is collected for the next batch."""
        return [] if self._collecting is None else [self._collecting] * self._collected

    # Collecting

    def _wait_for_more(self, port: Mailbox) -> None:
        if self._alarm is None:
            # Since the first one came, which may be long ago: the actor was busy, or stood still.
            since = port.queue.waits_since if isinstance(port.queue, AttentiveQueue) else self.kernel.now()
            if (until := since + batch_settings(port).wait) < self.kernel.now():
                self._is_due = self.stop = True
            else:
                self._alarm = Alarm(until, self.flush)
                self.kernel.timers.add(self._alarm)

    def flush(self) -> None:
        """What is collected is to be handled now."""
        if self._collecting is not None:
            self._is_due = True
            if self.state == IDLE:
                self.kernel.dispatcher.make_ready(self)

    def _end_collecting(self) -> None:
        if self._alarm is not None:
            self.kernel.timers.remove(self._alarm)
        self._collecting = self._alarm = None
        self._collected, self._is_due = 0, False

    def _return_collected(self) -> None:
        """What is collected goes back to its place at the head of the arrivals."""
        if self._collecting is not None:
            self.arrivals.extendleft([self._collecting] * self._collected)
            self._end_collecting()

    # What a cell is asked

    def step_failed(self, failure: Exception) -> None:
        if self.port is not None and type(self.message) is Batch and not self.killed:
            self._split(self.port, self.message.items, failure)
        else:
            super().step_failed(failure)

    @property
    def has_mail(self) -> bool:
        return self._collected > 0 or bool(self._parts) or super().has_mail

    def in_hand_of(self, port: Mailbox) -> int:
        waiting = sum(map(len, self._parts)) if self._divided is port else 0
        if self.port is port and type(self.message) is Batch:
            return waiting + len(self.message.items)
        return waiting + super().in_hand_of(port)

    def _keep_in_hand(self) -> None:
        """What is in hand is the next part to be tried."""
        port, message = self.port, self.message
        if port is not None and port.settings.batch is not None:
            self._divided, self.port, self.message = port, None, None
            self._parts.appendleft(message.items if type(message) is Batch else [message])
        else:
            super().put_back()

    def open(self) -> None:
        self._keep_in_hand()
        self.closing = self.killed = False
        self.settle()

    def put_back(self) -> None:
        self._keep_in_hand()
        self._return_parts()

    def gather(self) -> None:
        self._return_collected()
        super().gather()

    def settle(self) -> None:
        super().settle()
        if self.state == IDLE and self._has_batch:
            self.kernel.dispatcher.make_ready(self)

    def look_again(self) -> None:
        super().look_again()
        if self._awaits_no_more:
            self.flush()


def batch_settings(port: Mailbox) -> BatchSettings:
    """The settings of a port that is a batch port."""
    if port.settings.batch is None:
        raise AssertionError(f"{port.path} is no batch port")
    return port.settings.batch
