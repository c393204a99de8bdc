"""Stores for tests: one as a killed process leaves it, one that writes down its changes, one whose disk is full, one that blocks."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from actorkit.errors import StoreBlocked
from actorkit.storage.memory import MemoryStore
from actorkit.storage.store import Changes, Entry, Key, Store

LETTERS = "dead letter"


def as_if_killed(store: Store) -> MemoryStore:
    """What a store has now, for a system that begins after this process was killed."""
    copy = MemoryStore()
    copy.open()
    copy.write([Changes([(LETTERS, key, body) for key, body in store.scan(LETTERS) if isinstance(body, bytes)])])
    copy.close(clean=False)
    return copy


class ToldStore(MemoryStore):
    """Writes down what is changed, and may have a full disk."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Changes] = []
        self.is_full = False

    def write(self, changes: Sequence[Changes]) -> None:
        if self.is_full and not all(each.drains for each in changes):
            raise StoreBlocked("no room on this disk")
        self.told += changes
        super().write(changes)

    def has_room(self) -> bool:
        return not self.is_full

    @property
    def keys(self) -> list[Key]:
        """Of the letters in it."""
        return [key for key, _ in self.scan(LETTERS)]


class SlowStore(MemoryStore):
    """Is used in threads, and by one at a time: else it fails."""

    may_block = True

    def __init__(self) -> None:
        super().__init__()
        self._used = Lock()

    def write(self, changes: Sequence[Changes]) -> None:
        assert self._used.acquire(blocking=False)
        super().write(changes)
        self._used.release()

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        assert self._used.acquire(blocking=False)
        entries = super().scan(space, after=after, limit=limit)
        self._used.release()
        return entries
