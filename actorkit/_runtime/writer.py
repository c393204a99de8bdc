"""What writes to the store: whatever is to be written meanwhile goes into one transaction with the next (group commit)."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from trio.lowlevel import Abort, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from actorkit._runtime.threads import lock_is_handed_over_soon, time_stands_still
from actorkit.errors import StorageError, StoreBlocked
from actorkit.events import StoreRecovered, StoreStuck, StoreUnwritten

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actorkit._runtime.kernel import Kernel
    from actorkit.storage.store import Changes, Entry, Opening, Store

T = TypeVar("T")

MOST: Final = 512
"""Changes in one transaction."""
RETRY_AFTER: Final = 0.5
"""Seconds after which a store that could not write is tried again."""
PATIENCE: Final = 5.0
"""Seconds that the end of a system waits for a store that can't write."""


class Writer:
    """One system's way to its store. Changes are made in the order of `submit`, but for a full disk: see `Changes.drains`.

    Attributes:
        store: the store; only `write` goes past nobody but this.
        was_clean: whether whoever had it before has closed it in order.
        is_broken: whether it has failed for good: nothing more is written, and the system ends.
    """

    def __init__(self, kernel: Kernel, store: Store) -> None:
        self.store = store
        self.was_clean = True
        self.is_broken = False
        self._kernel = kernel
        self._waiting: deque[tuple[Changes, Callable[[], None] | None]] = deque()
        self._writing = False
        self._is_stuck = False  # since it was blocked: only what drains is written
        self._is_inline = True
        self._is_open = False
        self._sleeper: trio.lowlevel.Task | None = None
        self._idle = trio.Event()
        self._one_at_a_time = trio.Lock()

    async def open(self) -> Opening:
        """Opens the store.

        Raises:
            StorageError: it can't be used.
        """
        self._is_inline = not self.store.may_block or hasattr(trio.lowlevel.current_clock(), "autojump_threshold")
        opening = await self.call(self.store.open)
        self.was_clean, self._is_open = opening.is_clean, True
        return opening

    @property
    def is_inline(self) -> bool:
        """Whether the store is called here and now, without a thread."""
        return self._is_inline

    async def call(self, method: Callable[..., T], *args: Any) -> T:
        """Calls a method of the store's: in a thread if it may block, but inline under a virtual clock, which would run on meanwhile."""
        if self._is_inline:
            return method(*args)
        async with self._one_at_a_time:
            with time_stands_still(), lock_is_handed_over_soon():
                return await trio.to_thread.run_sync(method, *args)

    async def pages(self, space: str, size: int = 1_000) -> AsyncIterator[list[Entry]]:
        """All entries of a space, in order, so many at a time."""
        page = await self.call(partial(self.store.scan, space, limit=size))
        while page:
            yield page
            page = await self.call(partial(self.store.scan, space, after=page[-1][0], limit=size)) if len(page) == size else []

    # Writing

    @property
    def is_stuck(self) -> bool:
        """Whether the store can't be written for now; what drains is written all the same."""
        return self._is_stuck

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written, or waits for that."""
        return not self._waiting and not self._writing

    def submit(self, changes: Changes, then: Callable[[], None] | None = None) -> None:
        """Makes these changes, and then calls `then`, which must neither wait nor raise: perhaps before this returns."""
        if self._is_inline and not (self._is_stuck or self.is_broken) and self.is_idle and self._write_inline(changes):
            if then is not None:
                then()
            return
        self._waiting.append((changes, then))
        if self._sleeper is not None:
            task, self._sleeper = self._sleeper, None
            reschedule(task)

    def _write_inline(self, changes: Changes) -> bool:
        try:
            self.store.write([changes])
        except StoreBlocked as error:
            self._stuck(error)
            return False
        except StorageError as error:
            self._has_failed(error)
            return False
        return True

    def _has_failed(self, error: StorageError) -> None:
        self.is_broken = True
        self._kernel.crash(error)

    def withdraw(self, changes: Changes) -> bool:
        """Takes changes back that nobody has begun to write; says whether it could."""
        for entry in self._waiting:
            if entry[0] is changes:
                self._waiting.remove(entry)
                return True
        return False

    async def commit(self, changes: Changes) -> None:
        """Makes these changes, and waits for that. If it is cancelled, they are taken back, or it returns when they are made."""
        done = trio.Event()
        self.submit(changes, done.set)
        try:
            await done.wait()
        except trio.Cancelled:
            if self.withdraw(changes):
                raise
            with trio.CancelScope(shield=True):
                await done.wait()

    @enable_ki_protection
    async def run(self) -> None:
        """Writes what is submitted, for ever, or until that fails for good."""
        while not self.is_broken:
            batch = self._take()
            if batch:
                await self._write(batch)
            elif self._is_stuck:
                await trio.sleep(RETRY_AFTER)
                await self._look_for_room()
            else:
                self._idle.set()
                self._kernel.look()
                self._sleeper = current_task()
                await wait_task_rescheduled(self._wake_to_cancel)

    async def _look_for_room(self) -> None:
        try:
            has_room = await self.call(self.store.has_room)
        except StorageError as error:
            self._has_failed(error)
            return
        if has_room:
            self._is_stuck = False
            self._kernel.events.publish(StoreRecovered(self.store.title))

    def _take(self) -> list[tuple[Changes, Callable[[], None] | None]]:
        if not self._is_stuck:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
        batch = [each for each in self._waiting if each[0].drains][:MOST]
        for each in batch:
            self._waiting.remove(each)
        return batch

    async def _write(self, batch: list[tuple[Changes, Callable[[], None] | None]]) -> None:
        self._writing = True
        try:
            await self.call(self.store.write, [changes for changes, _ in batch])
        except StoreBlocked as error:
            self._waiting.extendleft(reversed(batch))
            if self._is_stuck:  # even what drains can't be written
                await trio.sleep(RETRY_AFTER)
            self._stuck(error)
            return
        except StorageError as error:
            self._waiting.extendleft(reversed(batch))  # whoever waits for it may go
            self._has_failed(error)
            return
        finally:
            self._writing = False
        for _, then in batch:
            if then is not None:
                then()

    def _stuck(self, error: StoreBlocked) -> None:
        if not self._is_stuck:
            self._is_stuck = True
            self._kernel.events.publish(StoreStuck(self.store.title, error))
            if self._sleeper is not None:
                task, self._sleeper = self._sleeper, None
                reschedule(task)

    def _wake_to_cancel(self, _: object) -> Abort:
        self._sleeper = None
        return Abort.SUCCEEDED

    # The end

    async def close(self) -> None:
        """Writes what is still to be written, if that can be, and closes the store."""
        if not self._is_open:
            return
        with trio.CancelScope(shield=True), trio.move_on_after(PATIENCE):
            while not (self.is_idle or self.is_broken):
                self._idle = trio.Event()
                await self._idle.wait()
        left = len(self._waiting)
        if left:
            self._kernel.events.publish(StoreUnwritten(self.store.title, left))
        self._is_open = False
        with trio.CancelScope(shield=True):
            await self.call(lambda: self.store.close(clean=not left))
