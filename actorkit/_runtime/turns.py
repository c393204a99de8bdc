"""One thing at a time: what a supervisor deals with, in the order in which it came."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from actorkit.errors import DeadlockError, SupervisionError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel

T = TypeVar("T")


class _Turn:
    """Something to do. If somebody asked for it, what comes of it is theirs, failures included."""

    __slots__ = ("asked", "do", "error", "is_done", "over", "scope", "value")

    def __init__(self, do: Callable[[], Awaitable[Any]], *, asked: bool) -> None:
        self.do = do
        self.asked = asked
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.is_done = False
        self.value: Any = None
        self.error: Exception | None = None


class Turns:
    """A queue of things to do, and the task that does them; each life of a supervisor opens and ends it.

    Attributes:
        is_open: whether anything more is dealt with.
    """

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._kernel = kernel
        self._path = path
        self._queue: deque[_Turn] = deque()
        self._news = trio.Event()
        self._serving: trio.CancelScope | None = None
        self._gone = trio.Event()
        self._in_hand = False
        self.is_open = False

    def open(self) -> None:
        """From now on things may come; they wait until `serve`."""
        self.is_open = True

    def serve(self) -> None:
        """Begins to deal with them."""
        self._serving, self._gone = trio.CancelScope(), trio.Event()
        self._kernel.launch(self._serve, self._serving, self._gone)

    @property
    def are_free(self) -> bool:
        """Whether it is nobody's turn, so that what does not wait can be done without taking one."""
        return self.is_open and self._serving is not None and not self._in_hand and not self._queue

    def add(self, do: Callable[[], Awaitable[Any]]) -> None:
        """Has something done in its turn; drops it when closed."""
        if self.is_open:
            self._put(_Turn(do, asked=False))

    async def ask(self, do: Callable[[], Awaitable[T]], *, breakable: bool = False, stops: Sequence[Cell] = ()) -> T:
        """Has something done in its turn, and hands back what comes of it.

        Who is cancelled while waiting, or must not wait, leaves it to be done; what is `breakable` is broken off with them.

        Raises:
            SupervisionError: closed, now or before it was done.
            DeadlockError: it waits for who asks, so that one cannot wait for it; `stops` are the actors that it ends.
            Exception: whatever `do` raised.
        """
        turn = _Turn(do, asked=True)
        if self.is_open:
            self._put(turn)
            try:
                with self._kernel.deadlocks.waiting_for(self._kernel.supervisors[self._path], stops):
                    await turn.over.wait()
            except (trio.Cancelled, DeadlockError):
                if breakable:
                    await self._break_off(turn)
                raise
        if turn.error is not None:
            raise turn.error
        if not turn.is_done:
            raise self._refusal()
        return cast("T", turn.value)

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """It is the block's turn. If it is broken off, the block is cancelled, and waited for.

        Raises:
            SupervisionError: closed, now or before its end.
        """
        began, left, scope, is_in = trio.Event(), trio.Event(), trio.CancelScope(), False

        async def hold() -> None:
            nonlocal is_in
            is_in = True
            began.set()
            try:
                await left.wait()
            finally:
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await left.wait()

        turn = _Turn(hold, asked=True)
        turn.over = began  # who waits for its beginning waits for an end before that as well
        if not self.is_open:
            raise self._refusal()
        self._put(turn)
        try:
            with self._kernel.deadlocks.waiting_for(self._kernel.supervisors[self._path], ()):
                await began.wait()
            if not is_in:
                raise self._refusal()
            with scope:
                yield
        finally:
            left.set()
            if turn in self._queue:
                self._queue.remove(turn)
                self._over(turn)
        if scope.cancelled_caught:
            raise self._refusal()

    def _refusal(self) -> SupervisionError:
        return SupervisionError(f"{self._path} is not running (any more), so it can't do this; start it, or ask the one above it")

    def close(self) -> None:
        """Drops what waits, and whatever comes from now on; what is in hand is finished."""
        self.is_open = False
        while self._queue:
            self._over(self._queue.popleft())

    async def end(self) -> None:
        """Closes, breaks off what is in hand, and waits until that is over."""
        self.close()
        if self._serving is not None:
            self._serving.cancel()
            await self._gone.wait()
            self._serving = None

    def _put(self, turn: _Turn) -> None:
        self._kernel.begin()
        self._queue.append(turn)
        self._news.set()

    def _over(self, turn: _Turn) -> None:
        turn.over.set()
        self._kernel.done()

    async def _break_off(self, turn: _Turn) -> None:
        if turn in self._queue:
            self._queue.remove(turn)
            self._over(turn)
        else:
            turn.scope.cancel()
            with trio.CancelScope(shield=True):
                await turn.over.wait()

    async def _serve(self, serving: trio.CancelScope, gone: trio.Event) -> None:
        try:
            with serving:
                while True:
                    while not self._queue:
                        self._news = trio.Event()
                        await self._news.wait()
                    await self._take(self._queue.popleft())
                    await trio.lowlevel.checkpoint()  # a child that never starts, tried for ever, is no reason to stop the world
        finally:
            gone.set()

    async def _take(self, turn: _Turn) -> None:
        self._in_hand = True
        try:
            with turn.scope:
                turn.value = await turn.do()
                turn.is_done = True
        except Exception as error:
            if not turn.asked:
                raise
            turn.error = error
        finally:
            self._in_hand = False
            self._over(turn)
