"""What the store has of actors that are gone for good, state, keys and checkpoints, is taken out of it, a space at a time.

Which spaces are to be emptied is in the store first. So if the process ends meanwhile, the next one goes on with it before
its tree starts; and nobody is started under such a path before it is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from actorkit.storage.store import Changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.kernel import Kernel

SPACE: Final = "gone"
"""Of the names of spaces that are to be emptied: each is a key."""
PAGE: Final = 1_000
"""Entries that are deleted in one transaction."""
MOST: Final = 1_000_000
"""Such spaces are few: those of a moment."""


class Erasing:
    """The spaces of one system that are being emptied."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._spaces: dict[str, None] = {}
        self._over = trio.Event()

    async def go_on(self) -> None:
        """Finishes what an earlier process has begun, before anybody writes.

        Raises:
            StorageError: the store can't be used.
        """
        writer = self._kernel.writer
        spaces = [key.decode() for key, _ in await writer.call(partial(writer.store.scan, SPACE, limit=MOST)) if isinstance(key, bytes)]
        if spaces:
            await self._empty(spaces)

    @property
    def is_busy(self) -> bool:
        """Whether something is still there that is to go."""
        return bool(self._spaces)

    async def wait_done(self) -> None:
        """Waits until nothing is."""
        while self._spaces:
            await self._over.wait()

    def erase(self, spaces: Iterable[str]) -> None:
        """Empties these spaces; does not wait for it. What is on its way to them goes too."""
        is_at_work = self.is_busy
        self._spaces.update(dict.fromkeys(spaces))
        if self._spaces and not is_at_work:
            self._over = trio.Event()
            self._kernel.begin()
            self._kernel.launch(self._work)

    async def _work(self) -> None:
        writer = self._kernel.writer
        try:
            while self._spaces:
                spaces = list(self._spaces)
                noted = [(SPACE, each.encode(), b"") for each in spaces]
                await writer.commit(Changes(noted, drains=True))
                await self._empty(spaces)
                if writer.is_stuck:  # what waits for room would come after this, so this has to come once more after that
                    await writer.commit(Changes(noted))
                    await self._empty(spaces)
                for each in spaces:
                    del self._spaces[each]
        finally:
            self._spaces.clear()  # if this was cut short, the next process goes on
            self._over.set()
            self._kernel.done()

    async def _empty(self, spaces: Iterable[str]) -> None:
        writer = self._kernel.writer
        for space in spaces:
            while entries := await writer.call(partial(writer.store.scan, space, limit=PAGE)):
                await writer.commit(Changes(deletes=[(space, key) for key, _ in entries]))
        await writer.commit(Changes(deletes=[(SPACE, each.encode()) for each in spaces]))
