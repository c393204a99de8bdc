"""Entries as rows of an SQLite store: many changes become few statements, and a row that is not what was written is found."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from actorkit.storage.store import Changes, DamagedEntry, Key

ROW: Final = 64
"""Bytes of a row without its body, roughly."""

_KEPT = 64 * 1024  # of a damaged body
_MOST_SPACES = 10_000  # remembered

# Few statements with many rows: each step of one lets other threads run, and to get back from a busy one can take 5 ms.
_SIZES: Final = (256, 64, 16, 4, 1)
_PUT: Final = {size: f"INSERT OR REPLACE INTO entry VALUES {', '.join(['(?, ?, ?, ?)'] * size)}" for size in _SIZES}
_DELETE: Final = {size: f"DELETE FROM entry WHERE space = ? AND key IN ({', '.join('?' * size)})" for size in _SIZES}

Merged = dict[str, dict[Key, "bytes | None"]]
"""By space and key, what is there in the end: a body, or nothing."""


def merged(changes: Sequence[Changes]) -> Merged:
    """What all these changes come to, made in order."""
    spaces: defaultdict[str, dict[Key, bytes | None]] = defaultdict(dict)
    for each in changes:
        for space, key in each.deletes:
            spaces[space][key] = None
        for space, key, body in each.puts:
            spaces[space][key] = body
    return spaces


class Rows:
    """Writes rows through one connection, in transactions that are somebody else's.

    Attributes:
        written: bytes, roughly, since it was set to 0.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.written = 0
        self._connection = connection
        self._spaces: dict[str, tuple[int, int]] = {}  # a space's number, and the CRC-32 of its name

    def change(self, changes: Merged) -> None:
        """Makes the changes."""
        rows: list[object] = []
        for space, entries in changes.items():
            number, name = self._spaces.get(space) or self._space(space)
            gone: list[Key] = []
            for key, body in entries.items():
                if body is None:
                    gone.append(key)
                else:
                    self.written += len(body)
                    rows += (number, key, body, checksum(name, key, body))
            self.written += ROW * len(entries)
            for start, size in _in_sizes(len(gone)):
                self._connection.execute(_DELETE[size], (number, *gone[start : start + size]))
        for start, size in _in_sizes(len(rows) // 4):
            self._connection.execute(_PUT[size], rows[4 * start : 4 * (start + size)])

    def forget(self) -> None:
        """Forgets the spaces that it knows: a transaction that made some was rolled back."""
        self._spaces.clear()

    def _space(self, space: str) -> tuple[int, int]:
        if len(self._spaces) >= _MOST_SPACES:
            self.forget()
        name = space.encode()
        row: tuple[int] | None = self._connection.execute("SELECT id FROM space WHERE name = ?", (space,)).fetchone()
        if row is None:
            row = self._connection.execute("INSERT INTO space (name) VALUES (?) RETURNING id", (space,)).fetchone()
        assert row is not None
        self._spaces[space] = found = (row[0], crc32(name))
        return found


def checksum(name: int, key: Key, body: bytes) -> int:
    """Of an entry; `name` is the CRC-32 of its space's name."""
    return crc32(body, crc32(key if isinstance(key, bytes) else b"%d" % key, name))


def sound(name: int, key: Key, body: object, crc: object) -> bytes | DamagedEntry:
    """A body, if it is what was written under this key."""
    if isinstance(body, bytes) and checksum(name, key, body) == crc:
        return body
    return DamagedEntry("its checksum is wrong", body[:_KEPT] if isinstance(body, bytes) else readable(body).encode()[:_KEPT])


def readable(found: object) -> str:
    """A value for people; a text is read as a bytearray."""
    return found.decode(errors="replace") if isinstance(found, bytearray) else repr(found)


def _in_sizes(count: int) -> Iterator[tuple[int, int]]:
    """Divides so many rows among few statements: where each begins, and how many rows it takes."""
    start = 0
    for size in _SIZES:
        while count - start >= size:
            yield start, size
            start += size
