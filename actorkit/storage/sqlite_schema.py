"""The form of an SQLite store: its tables, how an older form becomes the present one, and how one tells that a file is one.

space   a space's name, and the number that stands for it in `entry`
entry   space, key, body, and a checksum over all three, with the space's name: a row that has got to another place is found
meta    one row: which database this is, who has opened it last, whether it was closed in order, how many commits it has had
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from actorkit.errors import StorageError
from actorkit.storage.segments import OPENING

APPLICATION_ID: Final = int.from_bytes(b"akit")
"""In the header of each file: what tells a store from other databases."""
OLDEST_SQLITE: Final = (3, 37, 0)
"""Has STRICT tables."""
PATIENCE: float = 2.0
"""Seconds to wait for somebody who locks the file."""

_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_VERSION_AT = 60
_APPLICATION_AT = 68


def _first(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE space (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT")
    connection.execute(
        "CREATE TABLE entry (space INTEGER NOT NULL, key ANY NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (space, key))"
        " STRICT, WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), created TEXT NOT NULL, database BLOB NOT NULL,"
        " incarnation BLOB NOT NULL, is_clean INTEGER NOT NULL, commits INTEGER NOT NULL) STRICT"
    )
    row = (datetime.now(UTC).isoformat(), uuid4().bytes, b"", 1, 0)
    connection.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?)", row)


MIGRATIONS: Final[list[Callable[[sqlite3.Connection], None]]] = [_first]
"""What makes of each version the next one, from version 0, an empty file, on."""


def connect(path: str, mode: Literal["ro", "rw"], synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection to a file that is there. Only one with "rw" at a time, and only that one moves the write-ahead log.

    SQLite from 3.7.0 to 3.51.2 can damage a file when two connections write or checkpoint at once. There never are two here.
    """
    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode={mode}", PATIENCE, uri=True, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "mmap_size = 0",
            "secure_delete = OFF",  # where it is on (Debian), every page of a large body is written once more when that is deleted
            "wal_autocheckpoint = 0",
            f"synchronous = {synchronous}",
            "fullfsync = ON",  # macOS: without it, FULL would not survive a power loss
            "checkpoint_fullfsync = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def pragma(connection: sqlite3.Connection, name: str) -> object:
    """The value of a PRAGMA, or what it has to say first."""
    row: tuple[object, ...] = connection.execute(f"PRAGMA {name}").fetchone()
    return row[0]


def look(path: str, title: str) -> bool:
    """Whether there is a file at this path. Opens none: that would let go of locks that this process has in it.

    Raises:
        StorageError: there is something else.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise StorageError(f"{title}: there is no directory {os.path.dirname(path)!r}; make it first") from None
        if os.path.lexists(f"{path}-wal"):  # SQLite would play it into a new file
            raise StorageError(f"{title} is gone, and its -wal file is there: restore it, or move that away as well") from None
        return False
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise StorageError(f"{title} is {kind}: a store needs a file of its own")
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise StorageError(f"{title} belongs to another user: choose another file, or run as its owner")
    return True


def is_store(path: str, title: str) -> bool:
    """Whether this file is a store; False if it is empty. Changes nothing.

    Raises:
        StorageError: it is something else, or a store of a newer version.
        OSError: it can't be read, or not be written.
    """
    descriptor = os.open(path, OPENING)
    try:
        header = os.read(descriptor, _HEADER_SIZE)
    finally:
        os.close(descriptor)
    if not header and not os.path.lexists(f"{path}-wal"):
        return False
    if len(header) < _HEADER_SIZE or not header.startswith(_MAGIC):
        raise StorageError(f"{title} is no store, or is damaged at its very start: choose another file, or restore a backup of this one")
    check(title, int.from_bytes(header[_APPLICATION_AT:][:4]), int.from_bytes(header[_VERSION_AT:][:4]))
    return True


def check(title: str, application: object, version: object) -> None:
    """Refuses what this program can't use, by the two numbers in its header.

    Raises:
        StorageError: another application's database, or a store of a newer version.
    """
    if application != APPLICATION_ID:
        raise StorageError(f"{title} is the database of another application: choose another file")
    if not isinstance(version, int) or version > len(MIGRATIONS):
        raise StorageError(f"{title} has version {version}, and this actorkit knows up to {len(MIGRATIONS)}: upgrade actorkit")


def create(path: str) -> None:
    """Makes a new store, all of it or nothing."""
    with new_file(path) as new:
        connection = connect(new, "rw")
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # lets the file be made smaller
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Makes an older form the present one, step by step, each in a transaction; says what it did."""
    version = start = int(str(pragma(connection, "user_version")))
    while version < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[version](connection)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        version += 1
    return [f"its form was brought from version {start} to {version}"] if version > start else []


@contextmanager
def new_file(path: str) -> Generator[str]:
    """A new file, for its owner only, which gets this path once it is complete and on the disk, or else is removed.

    It is there before SQLite sees it, since what SQLite makes beside it takes over its permissions.
    """
    descriptor, new = tempfile.mkstemp(prefix=f"{os.path.basename(path)}.", suffix=".new", dir=os.path.dirname(path))
    os.close(descriptor)
    try:
        yield new
        _sync(new, OPENING)
        os.replace(new, path)
        if os.name == "posix":
            _sync(os.path.dirname(path), os.O_RDONLY)
    finally:
        for name in (new, f"{new}-journal", f"{new}-wal", f"{new}-shm"):
            with suppress(FileNotFoundError):
                os.unlink(name)


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tighten(path: str) -> list[str]:
    """Takes a store's files away from everybody but their owner; says whether it had to."""
    loose: list[str] = []
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(os.lstat(name).st_mode)
            if mode & 0o077 and os.name == "posix":
                os.chmod(name, mode & 0o700)
                loose.append(f"{name!r} could be read by others (mode {mode:03o}), and now can't")
    return loose
