"""The form of a spill file: records after one another, each with a number, a length and checksums.

A record is a header of 24 bytes and its content. The header has a checksum of its own, so that a damaged content costs
one record, and a damaged header no more than what lies before the next sound one; the number tells how many that were.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from zlib import crc32

from attrs import field, frozen

Write = Callable[[int, "bytes | memoryview", int], int]
"""Writes bytes to a file descriptor at an offset, as `os.pwrite` does, and says how many."""

HEADER_SIZE = 24

# Windows has neither flag; that a module can be imported there does not mean that one can spill there.
OPENING: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
"""How all files are opened: no symbolic link is followed, and no child process gets them."""

_MAGIC = b"\xabREC"
_BODY = struct.Struct(">4sIQI")  # magic, length and number of the content, its checksum
_CHECKSUM = struct.Struct(">I")  # of the body
_WINDOW = 64 * 1024  # read at once
_KEPT = 64 * 1024  # of damaged data


@frozen
class Header:
    """What the header of a record says about its content."""

    length: int
    number: int
    checksum: int


@frozen
class Damaged:
    """Messages that can't be read any more."""

    messages: int
    """How many messages are lost: none, if nobody was ever told that they were kept."""
    size: int
    """The bytes that stand in their place."""
    reason: str
    data: bytes = field(default=b"", repr=False)
    """Those bytes, up to 64 KiB of them."""


def damaged(messages: int, data: bytes, reason: str) -> Damaged:
    """What is left of messages."""
    return Damaged(messages, len(data), reason, data[:_KEPT])


def with_header(content: bytes, number: int) -> bytes:
    """The content as a record, ready to be written."""
    body = _BODY.pack(_MAGIC, len(content), number, crc32(content))
    return b"".join((body, _CHECKSUM.pack(crc32(body)), content))


def header_at(data: bytes, offset: int) -> Header | None:
    """The header at this place, or None if there is none, or a damaged one."""
    if not data.startswith(_MAGIC, offset) or len(data) - offset < HEADER_SIZE:
        return None
    body = data[offset : offset + _BODY.size]
    if _CHECKSUM.unpack_from(data, offset + _BODY.size) != (crc32(body),):
        return None
    _, length, number, checksum = _BODY.unpack(body)
    return Header(length, number, checksum)


def write_all(write: Write, descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of the data, in as many steps as it takes.

    Raises:
        OSError: not all of it could be written.
    """
    rest = memoryview(data)
    while rest:
        written = write(descriptor, rest, offset)
        if not written:
            raise OSError(f"wrote nothing of {len(rest)} bytes")
        rest = rest[written:]
        offset += written


class Segment:
    """One spill file, named after the number of its first record.

    Args:
        directory: the descriptor of its directory.
        first: the number of its first record.
        write: what to write with.
        size: of the file; None makes a new one.
    """

    def __init__(self, directory: int, first: int, write: Write, *, size: int | None = None) -> None:
        self.first = first
        self.end = size or 0
        self._directory = directory
        self._write = write
        self._window = b""  # what was read last, and from where
        self._window_start = 0
        self._descriptor: int | None = None
        if size is None:
            self._descriptor = os.open(self.name, OPENING | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)

    @property
    def name(self) -> str:
        """Of the file, in its directory."""
        return f"{self.first:020d}.spill"

    def append(self, record: bytes) -> None:
        """Adds a record; what could not be written whole leaves nothing behind.

        Raises:
            OSError: the disk is full, say.
        """
        descriptor = self._opened()
        try:
            write_all(self._write, descriptor, record, self.end)
        except BaseException:
            with suppress(OSError):  # then the next record is written over the rest, or it is cut off at the next start
                os.ftruncate(descriptor, self.end)
            raise
        self.end += len(record)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from a place on, fewer if the file has no more."""
        size = min(size, self.end - offset)
        start = offset - self._window_start
        if start < 0 or start + size > len(self._window):
            self._window = os.pread(self._opened(), min(max(size, _WINDOW), self.end - offset), offset)
            self._window_start = offset
            start = 0
        return self._window[start : start + size]

    def header(self, offset: int) -> Header | None:
        """The sound header of a whole record at this place, or None."""
        header = header_at(self.read(offset, HEADER_SIZE), 0)
        return header if header is not None and offset + HEADER_SIZE + header.length <= self.end else None

    def find_header(self, offset: int, numbers: range) -> int:
        """The place of the next sound header of a whole record with one of these numbers; the end, if there is none."""
        data = self.read(offset, self.end - offset)
        at = data.find(_MAGIC)
        while at >= 0:
            header = self.header(offset + at)
            if header is not None and header.number in numbers:
                return offset + at
            at = data.find(_MAGIC, at + 1)
        return self.end

    def cut(self, offset: int) -> bytes:
        """Cuts off all from this place on, and gives it back."""
        data = self.read(offset, self.end - offset)
        os.ftruncate(self._opened(), offset)
        self.end = offset
        self._window = b""
        return data

    def close(self) -> None:
        """Closes the file until it is used again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._window = b""

    def delete(self) -> None:
        """Closes the file and removes it, or leaves that to who opens the directory next."""
        with suppress(OSError):
            self.close()
            os.unlink(self.name, dir_fd=self._directory)

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.name, OPENING, dir_fd=self._directory)
        return self._descriptor
