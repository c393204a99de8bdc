"""Stores for tests of what a new process finds: what one that was killed leaves behind, and a store that is full."""

from __future__ import annotations

from collections.abc import Sequence

from actorkit.errors import StoreBlocked
from actorkit.storage.memory import MemoryStore
from actorkit.storage.store import Changes, Key


def entries(store: MemoryStore, *spaces: str) -> dict[tuple[str, Key], bytes]:
    """All that an open store has in these spaces."""
    found: dict[tuple[str, Key], bytes] = {}
    for space in spaces:
        for key, body in store.scan(space):
            assert isinstance(body, bytes)
            found[space, key] = body
    return found


def left_behind(store: MemoryStore, *spaces: str) -> MemoryStore:
    """A store with what this one, open, has in these spaces now: what a new process finds after a kill."""
    copy = MemoryStore()
    copy.open()
    copy.write([Changes([(space, key, body) for (space, key), body in entries(store, *spaces).items()])])
    copy.close(clean=False)
    return copy


class FullStore(MemoryStore):
    """While `is_full`, it takes only what drains."""

    is_full = False

    def write(self, changes: Sequence[Changes]) -> None:
        """As a disk that is full."""
        if self.is_full and not all(each.drains for each in changes):
            raise StoreBlocked("the disk is full")
        super().write(changes)

    def has_room(self) -> bool:
        """Whether it is not full."""
        return not self.is_full
