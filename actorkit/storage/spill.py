"""Where a port's messages wait that have no room in memory: files that are read in the order in which they were written.

What `append` took survives the end of the process, also by `kill -9`, until `popleft` has given it back: then it is gone
for good. A power failure may lose the most recent; nothing is ever written through to the disk itself. Needs a POSIX
system: Linux, macOS, a BSD.

In the port's directory there are segments of records (`segments`), `position`, and `lock`. The position is written
before a record is given back, in turn to one of two places, so that one of them is always whole; it also has the number
of the next record to be appended, as a witness against a tail that has vanished. A segment that is fully read is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from attrs import frozen

from actorkit.errors import StorageError
from actorkit.storage.segments import HEADER_SIZE, OPENING, Damaged, Segment, Write, damaged, header_at, with_header, write_all

SEGMENT_SIZE = 8 * 2**20
"""Bytes after which a new segment is begun."""

_NAME = re.compile(r"([0-9]{20})\.spill")
_POSITION = struct.Struct(">5Q")  # turn, segment, offset, number to read, number to append
_CHECKSUM = struct.Struct(">I")
_SLOT = 512  # a sector: what a disk writes whole


@frozen
class _Position:
    """Where to read on: the segment's first number, the offset in it, the number there; and the number to append next."""

    segment: int
    offset: int
    read: int
    next: int


class SpillFiles:
    """A queue of encoded messages in files, for one port. Plain, blocking I/O, for one thread at a time.

    Args:
        root: the directory for all ports; each has its own in it.
        port: the name of the port, in any characters.
        max_bytes: of what waits here, headers included. The disk has one segment more at most.
        segment_size: bytes after which a new segment is begun.
        write: what to write with; `os.pwrite` unless told otherwise.

    Raises:
        StorageError: another process, or another object, uses the port's directory; it belongs to somebody else; or this
            is no POSIX system.
        OSError: the files can't be made or read.
    """

    def __init__(self, root: Path, port: str, *, max_bytes: int, segment_size: int = SEGMENT_SIZE, write: Write | None = None) -> None:
        if sys.platform == "win32":
            raise StorageError("messages can be spilled on POSIX systems only: choose another overflow strategy")
        self.directory = root / directory_name(port)
        self.repairs: tuple[Damaged, ...] = ()
        """What was found broken when the files were opened, and mended: the end of a record that a crash had cut short, say."""
        self._max_bytes = max_bytes
        self._segment_size = segment_size
        self._write = write or os.pwrite
        self._descriptors: list[int] = []
        self._segments: deque[Segment] = deque()
        self._turn = 0
        self._offset = 0  # in the first segment
        self._read = 0  # number of the next record to be read
        self._next = 0  # number of the next record to be appended
        self._used = 0
        try:
            self._folder = self._own_directory(port)
            self._position_file = self._hold(os.open("position", OPENING | os.O_CREAT, 0o600, dir_fd=self._folder))
            self._recover()
        except BaseException:
            self._let_go()
            raise

    def __len__(self) -> int:
        """Messages that wait here."""
        return self._next - self._read

    @property
    def bytes_used(self) -> int:
        """Bytes of the messages that wait here, with their headers."""
        return self._used

    def append(self, record: bytes) -> bool:
        """Adds a message at the end. False says that there is no room for it, and that nothing was done.

        Raises:
            OSError: it could not be written, since the disk is full, say. The files are as they were.
        """
        self._check_open()
        size = HEADER_SIZE + len(record)
        if self._used + size > self._max_bytes:
            return False
        if not self._segments or self._segments[-1].end >= self._segment_size:
            self._begin_segment()
        self._segments[-1].append(with_header(record, self._next))
        self._next += 1
        self._used += size
        return True

    def popleft(self) -> bytes | Damaged:
        """Takes the oldest message out, or what is left of it and of others that were damaged with it.

        Raises:
            IndexError: there is none.
            OSError: the files could not be read, or the new position not be written. The message is still there.
        """
        self._check_open()
        if not self:
            raise IndexError(f"no message is spilled in {self.directory}")
        found, passed, offset, number = self._look()
        self._move(passed, offset, number)
        return found

    def close(self, delete: bool = False) -> None:
        """Closes the files. The messages in them are there again when they are opened the next time, unless `delete`."""
        if not self._descriptors:
            return
        try:
            if delete:
                self._delete()
            elif not self:
                self._move(len(self._segments), 0, self._next)
            else:
                self._move(0, self._offset, self._read)
        finally:
            self._let_go()

    # ---- reading

    def _look(self) -> tuple[bytes | Damaged, int, int, int]:
        """What comes next, and where to read on: how many segments are passed, the offset after them, the number there."""
        passed, offset = 0, self._offset
        lost = b""
        while passed < len(self._segments):
            segment = self._segments[passed]
            if offset >= segment.end:
                passed, offset = passed + 1, 0
                continue
            try:
                header = segment.header(offset)
            except FileNotFoundError:  # somebody has removed it
                passed, offset = passed + 1, 0
                continue
            if header is None or not self._read <= header.number < self._next:
                sound = segment.find_header(offset + 1, range(self._read, self._next))
                lost += segment.read(offset, sound - offset)
                offset = sound
            elif lost or header.number > self._read:
                return self._gap(header.number, lost), passed, offset, header.number
            else:
                content = segment.read(offset + HEADER_SIZE, header.length)
                end = offset + HEADER_SIZE + header.length
                if crc32(content) == header.checksum:
                    return content, passed, end, header.number + 1
                return damaged(1, content, "the checksum of a message is wrong"), passed, end, header.number + 1
        return self._gap(self._next, lost), passed, 0, self._next

    def _gap(self, number: int, lost: bytes) -> Damaged:
        return damaged(number - self._read, lost, "the header of a message is damaged" if lost else "messages are missing from the files")

    def _move(self, passed: int, offset: int, number: int) -> None:
        """Reads on from there: writes it down, and removes the segments that are passed."""
        while passed < len(self._segments):
            end = self._segments[passed].end
            if offset < end or (passed == len(self._segments) - 1 and end < self._segment_size):
                break
            passed, offset = passed + 1, 0
        following = self._segments[passed].first if passed < len(self._segments) else self._next
        self._save(_Position(following, offset, number, self._next))
        self._used += self._offset - offset
        self._offset, self._read = offset, number
        for _ in range(passed):
            segment = self._segments.popleft()
            self._used -= segment.end
            segment.delete()

    # ---- writing

    def _begin_segment(self) -> None:
        if len(self._segments) > 1:
            self._segments[-1].close()  # until it is its turn to be read
        self._segments.append(Segment(self._folder, self._next, self._write))

    def _save(self, position: _Position) -> None:
        turn = self._turn + 1
        body = _POSITION.pack(turn, position.segment, position.offset, position.read, position.next)
        write_all(self._write, self._position_file, body + _CHECKSUM.pack(crc32(body)), turn % 2 * _SLOT)
        self._turn = turn

    def _load(self) -> _Position | None:
        """The position that was saved last, or None if none can be read."""
        found: dict[int, _Position] = {}
        for slot in (0, _SLOT):
            data = os.pread(self._position_file, _POSITION.size + _CHECKSUM.size, slot)
            body = data[: _POSITION.size]
            if len(data) == _POSITION.size + _CHECKSUM.size and _CHECKSUM.unpack_from(data, _POSITION.size) == (crc32(body),):
                turn, *fields = _POSITION.unpack(body)
                found[turn] = _Position(*fields)
        if not found:
            return None
        self._turn = max(found)
        return found[self._turn]

    # ---- opening and closing

    def _own_directory(self, port: str) -> int:
        """Makes the port's directory, locks it, and gives its descriptor."""
        import fcntl  # not there on Windows, where this module is imported all the same

        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            folder = self._hold(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            if os.fstat(folder).st_uid != os.geteuid():
                raise StorageError(f"{self.directory} belongs to another user: choose another directory for spilled messages")
            os.fchmod(folder, 0o700)
            try:
                lock = self._hold(os.open("lock", OPENING | os.O_CREAT, 0o600, dir_fd=folder))
            except FileNotFoundError:  # its last user has just removed the directory
                self._let_go()
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 20, 0).decode("ascii", "replace").partition("\n")[0] or "unknown"
                raise StorageError(f"{self.directory} is in use (process {owner}): two cannot spill port {port!r} to one place") from None
            if os.fstat(lock).st_nlink:
                with suppress(OSError):  # for people only; a full disk must not keep anyone from what is there
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"{os.getpid()}\n{port!a}\n".encode(), 0)
                return folder
            self._let_go()

    def _recover(self) -> None:
        """Finds where reading and writing go on."""
        position = self._load()
        for first, size in sorted(self._sizes().items()):
            segment = Segment(self._folder, first, self._write, size=size)
            if position is not None and first < position.segment:
                segment.delete()
            else:
                self._segments.append(segment)
        if position is None:
            position = self._start_over()
        found = self._mend_tail() if self._segments else position.read
        self._read, self._next = position.read, max(found, position.next)
        if self._segments and self._segments[0].first == position.segment:
            self._offset = min(position.offset, self._segments[0].end)
        self._used = sum(segment.end for segment in self._segments) - self._offset

    def _sizes(self) -> dict[int, int]:
        """The segments in the directory. What is no regular file is none."""
        sizes: dict[int, int] = {}
        for name in os.listdir(self._folder):
            match = _NAME.fullmatch(name)
            if match:
                status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    sizes[int(match[1])] = status.st_size
        return sizes

    def _start_over(self) -> _Position:
        """The position when none can be read: at the oldest record there is, rather to read some again than to lose one."""
        first = self._segments[0].first if self._segments else 0
        if self._segments:
            reason = "the position could not be read: starts at the oldest message, and some may come again"
            self.repairs += (damaged(0, os.pread(self._position_file, 2 * _SLOT, 0), reason),)
        # Both places are written at once, so that moving on needs no room on a full disk.
        write_all(self._write, self._position_file, bytes(2 * _SLOT), 0)
        position = _Position(first, 0, first, first)
        self._save(position)
        return position

    def _mend_tail(self) -> int:
        """Cuts off the end of a record that a crash has cut short. The number of the next record."""
        segment = self._segments[-1]
        data = segment.read(0, segment.end)
        offset, number = 0, segment.first
        while offset < len(data):
            header = header_at(data, offset)
            rest = len(data) - offset
            if rest < HEADER_SIZE or (header is not None and rest < HEADER_SIZE + header.length):
                number = header.number if header is not None else number
                self.repairs += (damaged(0, segment.cut(offset), "the last message was not written whole, and never accepted"),)
                break
            if header is not None:
                offset, number = offset + HEADER_SIZE + header.length, header.number + 1
            else:
                most = number + rest // HEADER_SIZE  # so many messages fit in there
                offset = segment.find_header(offset + 1, range(number, most + 1))
                number += offset == len(data)  # damaged to its end: one message at least
        return number

    def _delete(self) -> None:
        while self._segments:
            self._segments.popleft().delete()
        for name in ("position", "lock"):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)
        with suppress(OSError):  # a file of somebody else's is in it
            self.directory.rmdir()

    def _hold(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def _let_go(self) -> None:
        for segment in self._segments:
            segment.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _check_open(self) -> None:
        if not self._descriptors:
            raise StorageError(f"the spill files in {self.directory} are closed")


def directory_name(port: str) -> str:
    """A directory's name for a port: readable, different for different ports, and safe, whatever characters the port's has."""
    readable = re.sub(r"[^a-z0-9]+", "-", port.lower())[:60].strip("-")
    return f"{readable}-{hashlib.sha256(port.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}".lstrip("-")
