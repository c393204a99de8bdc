"""What SQLite's errors mean to a store: not now, never again, or something else."""

from __future__ import annotations

import sqlite3
from typing import Final

from actorkit.errors import StorageError, StoreBlocked

_FULL: Final = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"}
_LOCKED: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def says_full(error: BaseException) -> bool:
    """Whether there was no room on the disk."""
    return _name(error) in _FULL


def ends_writing(error: sqlite3.Error) -> bool:
    """Whether nothing may be written any more: a disk that has once failed to write may say, the next time, that it has written."""
    return _name(error).startswith(("SQLITE_IOERR", *_DAMAGED)) and not says_full(error)


def explained(error: sqlite3.Error, title: str) -> StorageError:
    """The error in our words, with the way out, and with SQLite's."""
    name = _name(error)
    said = f"SQLite says: {error}{name and f', {name}'}"
    if says_full(error):
        return StoreBlocked(f"{title} can't be written for now: make room on its disk ({said})")
    if name.startswith(_LOCKED):
        return StoreBlocked(f"{title} can't be written for now: somebody locks the file; end what else has it open ({said})")
    if name.startswith(_DAMAGED):
        return StorageError(f"{title} is damaged: restore a backup ({said})")
    if name.startswith("SQLITE_IOERR"):
        return StorageError(f"{title}: its disk fails; see to it, then start again, and what was kept is there ({said})")
    return StorageError(f"{title} can't be used: see to its directory, disk and permissions ({said})")


def _name(error: BaseException) -> str:
    """What SQLite calls it: `SQLITE_FULL`; nothing if it is none of its errors."""
    name: str = getattr(error, "sqlite_errorname", "")
    return name
