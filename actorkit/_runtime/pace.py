"""The pace of a source that the cascade manager slows down, or measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from actorkit._runtime.waits import handling
from actorkit.policy.throttle import ThrottleSettings, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Pace:
    """So many messages a second: what `run` sends waits for its turn; what handlers of the same actor send does not."""

    def __init__(self, rate: float) -> None:
        self._bucket: TokenBucket | None = TokenBucket(ThrottleSettings(rate=rate))
        self._changed = trio.Event()

    def change(self, rate: float | None) -> None:
        """Goes on at another pace; None: at its own, and whoever waits goes on."""
        if self._bucket is None or rate != self._bucket.settings.rate:
            self._bucket = None if rate is None else TokenBucket(ThrottleSettings(rate=rate))
            self._changed.set()
            self._changed = trio.Event()

    async def send(self, send: Callable[[Any], Awaitable[None]], message: Any) -> None:
        """Sends a message by this function, when it is its turn."""
        if handling.get() is None:
            while self._bucket is not None and (ready := self._bucket.ready_at(1)) > trio.current_time():
                with trio.move_on_at(ready):
                    await self._changed.wait()
            if self._bucket is not None:
                self._bucket.take(1, trio.current_time())
        await send(message)


class Tally:
    """Counts what `run` sends, up to `most`; then it says so, once."""

    def __init__(self, since: float, most: int, is_full: Callable[[], None]) -> None:
        self.since = since
        self.sent = 0
        self._most = most
        self._is_full = is_full

    def send(self, send: Callable[[Any], Awaitable[None]], message: Any) -> Awaitable[None]:
        """Sends a message by this function."""
        if handling.get() is None:
            self.sent += 1
            if self.sent == self._most:
                self._is_full()
        return send(message)
