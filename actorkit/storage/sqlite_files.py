"""The files beside an SQLite store: a lock, a witness against losses that SQLite does not notice, ballast for a full disk."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from typing import Final
from zlib import crc32

from attrs import frozen

from actorkit.errors import StorageError
from actorkit.storage.segments import OPENING

BALLAST_SIZE: Final = 8 * 2**20
"""Bytes that are given back to a full disk: twice what the write-ahead log usually is, which can then be moved."""
PERIOD: float = 1.0
"""Seconds between two writings of the witness."""


class Lock:
    """Keeps other processes, and other objects of this one, away: `<path>.lock`, locked for as long as somebody has the store open.

    Where there are no such locks (Windows), only the store's incarnation keeps two apart: the older one notices at its next write.

    Args:
        path: of the store.
        title: what the store is called in messages.
    """

    def __init__(self, path: str, title: str) -> None:
        self._path = f"{path}.lock"
        self._title = title
        self._descriptor: int | None = None
        self._is_new = False

    def take(self) -> None:
        """Takes it.

        Raises:
            StorageError: somebody has it.
            OSError: the file can't be made or locked.
        """
        try:
            import fcntl
        except ImportError:
            return
        while True:
            self._is_new = not os.path.lexists(self._path)
            descriptor = os.open(self._path, OPENING | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").partition("\n")[0] or "unknown"
                os.close(descriptor)
                raise StorageError(
                    f"{self._title} is in use (process {owner}): give each system a file of its own, or end that one first"
                ) from None
            except OSError:
                os.close(descriptor)
                raise
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # its last user has just removed it
        self._descriptor = descriptor
        with suppress(OSError):  # for people only; a full disk must not keep anyone from what is there
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self, *, unused: bool = False) -> None:
        """Gives it back. `unused`: nothing came of it, and a file that was made for it goes again."""
        if self._descriptor is not None:
            if unused and self._is_new:
                with suppress(OSError):
                    os.unlink(self._path)
            os.close(self._descriptor)
            self._descriptor = None


@frozen
class Witnessed:
    """What a witness has seen: of which database, opened as which incarnation, how many commits."""

    database: bytes
    incarnation: bytes
    commits: int


class Witness:
    """A note beside the store, `<path>.hw`, of how many commits there were, written now and then.

    SQLite takes the first damaged byte of a write-ahead log for its end, and opens without a word with all that is before it.
    A store that has fewer commits than its witness has seen has lost some.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}.hw"
        self._due = 0.0

    def read(self) -> Witnessed | None:
        """What it has seen; None if there is none.

        Raises:
            ValueError: it is damaged.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | (OPENING & ~os.O_RDWR))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(error.strerror) from error
        try:
            text, _, checksum = os.read(descriptor, 500).rpartition(b" ")
        except OSError as error:
            raise ValueError(error.strerror) from error
        finally:
            os.close(descriptor)
        if checksum != _checksum(text):
            raise ValueError("its checksum is wrong")
        database, incarnation, commits = text.decode("ascii").split()
        return Witnessed(bytes.fromhex(database), bytes.fromhex(incarnation), int(commits))

    @property
    def is_due(self) -> bool:
        """Whether it was not written for a while."""
        return time.monotonic() >= self._due

    def write(self, seen: Witnessed) -> None:
        """Writes down what is kept for certain. On a full disk the old note stays, which is true as well."""
        self._due = time.monotonic() + PERIOD
        text = f"{seen.database.hex()} {seen.incarnation.hex()} {seen.commits}".encode()
        with suppress(OSError):
            with os.fdopen(os.open(f"{self._path}.new", OPENING | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(text + b" " + _checksum(text))
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{self._path}.new", self._path)


class Ballast:
    """Room on the disk that is kept for the day when there is no other: `<path>.ballast`.

    On a full disk not even a deletion can be committed; so the ballast goes, and in its place deletions can be written.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}.ballast"

    def take(self) -> bool:
        """Makes sure that it is there; False if there is not as much room again beside it."""
        with suppress(OSError):
            if os.lstat(self._path).st_size == BALLAST_SIZE:
                return True
        try:
            if self.free() < 2 * BALLAST_SIZE:
                return False
            with os.fdopen(os.open(self._path, OPENING | os.O_CREAT, 0o600), "wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, BALLAST_SIZE)
                else:
                    file.write(bytes(BALLAST_SIZE))
        except OSError:
            self.release()
            return False
        return True

    def free(self) -> int:
        """Bytes that the disk has beside it."""
        return shutil.disk_usage(os.path.dirname(self._path)).free

    def release(self) -> None:
        """Gives the room back to the disk."""
        with suppress(OSError):
            os.unlink(self._path)


def _checksum(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
