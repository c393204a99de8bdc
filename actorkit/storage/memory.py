"""A store in memory: for tests, and for what need not survive the process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from actorkit.errors import StorageError
from actorkit.storage.store import Changes, Entry, Key, Opening


class MemoryStore:
    """Keeps everything in this object: `run(tree, store=MemoryStore())`.

    It survives a system, not the process: the next system that is given the same object finds what the last one left.
    """

    def __init__(self) -> None:
        self._spaces: dict[str, dict[Key, bytes]] = {}
        self._is_open = False
        self._was_clean = True

    title = "MemoryStore()"
    may_block = False

    def __repr__(self) -> str:
        return self.title

    def open(self) -> Opening:
        """See `Store`."""
        if self._is_open:
            raise StorageError("MemoryStore(): another system has it open; give each system a store of its own, or end that one first")
        was_clean, self._was_clean, self._is_open = self._was_clean, False, True
        return Opening(was_clean)

    def write(self, changes: Sequence[Changes]) -> None:
        """See `Store`."""
        self._check_open()
        for each in changes:
            for space, key in each.deletes:
                self._spaces.get(space, {}).pop(key, None)
            for space, key, body in each.puts:
                self._spaces.setdefault(space, {})[key] = body

    def has_room(self) -> bool:
        """See `Store`."""
        return True

    def get(self, space: str, key: Key) -> bytes | None:
        """See `Store`."""
        self._check_open()
        return self._spaces.get(space, {}).get(key)

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        """See `Store`."""
        self._check_open()
        entries = self._spaces.get(space, {})
        keys = sorted(entries, key=_place)
        start = 0 if after is None else bisect_right(keys, _place(after), key=_place)
        return [(key, entries[key]) for key in keys[start : start + limit]]

    def spaces(self, kind: str) -> list[str]:
        """See `Store`."""
        self._check_open()
        return sorted(space for space, entries in self._spaces.items() if entries and (space == kind or space.startswith(f"{kind} ")))

    def close(self, *, clean: bool) -> None:
        """See `Store`."""
        self._is_open, self._was_clean = False, clean

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageError("MemoryStore() is closed")


def _place(key: Key) -> tuple[bool, Key]:
    return isinstance(key, bytes), key
