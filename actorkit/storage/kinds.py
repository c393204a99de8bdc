"""The plain values that MessagePack has no type for: tuples, sets, dates, decimals and their like.

Such a value is written as an array whose first element is a mark, an extension of one letter that no message can
contain; what follows are its parts, values themselves. So nothing is nested in bytes, and both directions take one
pass. The letters are part of the format: never give one a new meaning.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from attrs import frozen

from actorkit.errors import EncodingError
from actorkit.storage.messagepack import extension

MARK = 1
"""The code of the extension that marks an array as something else than a list."""

Take = Callable[[Any], list[Any]]
"""Takes a value apart: its mark, then its parts."""
Build = Callable[[list[Any]], object]
"""Puts a value together again from its parts, without the mark."""


@frozen
class Builder:
    """What a mark is decoded to: it knows how to build the value from the elements after it."""

    build: Build


KINDS: dict[type, Take] = {}
"""How to take a value of exactly this type apart."""
BUILDERS: dict[bytes, Builder] = {}
"""What stands behind a mark's letter."""


def _kind(letter: bytes, of: type, parts: Callable[[Any], Any], build: Build) -> None:
    mark = extension(MARK, letter)
    KINDS[of] = lambda value: [mark, *parts(value)]
    BUILDERS[letter] = Builder(build)


def _zone_parts(zone: timezone) -> list[object]:
    if zone is UTC:
        return []
    offset = zone.utcoffset(None)
    name = zone.tzname(None)
    # A zone without a name of its own is named after its offset.
    return [offset] if timezone(offset).tzname(None) == name else [offset, name]


def _region_parts(region: ZoneInfo) -> list[object]:
    key: object = region.key
    if not isinstance(key, str):
        raise EncodingError("this ZoneInfo was read from a file and has no key; use ZoneInfo('Region/City')")
    return [key]


def _moment_parts(moment: datetime) -> list[object]:
    calendar = (moment.year, moment.month, moment.day)
    return [*calendar, moment.hour, moment.minute, moment.second, moment.microsecond, moment.fold, moment.tzinfo]


def _moment(parts: list[Any]) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold, zone = parts
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _clock_time(parts: list[Any]) -> time:
    hour, minute, second, microsecond, fold, zone = parts
    return time(hour, minute, second, microsecond, zone, fold=fold)


# MessagePack's own integers have 64 bits; a larger one comes here.
_kind(b"i", int, lambda n: [n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True)], lambda p: int.from_bytes(p[0], "big", signed=True))
_kind(b"c", complex, lambda number: [number.real, number.imag], lambda parts: complex(*parts))
_kind(b"d", Decimal, lambda number: [str(number)], lambda parts: Decimal(*parts))
_kind(b"t", tuple, lambda items: items, tuple)
_kind(b"s", set, lambda items: items, set)
_kind(b"f", frozenset, lambda items: items, frozenset)
_kind(b"u", UUID, lambda uuid: [uuid.bytes], lambda parts: UUID(bytes=parts[0]))
_kind(b"D", date, lambda day: [day.toordinal()], lambda parts: date.fromordinal(*parts))
_kind(b"T", datetime, _moment_parts, _moment)
_kind(b"h", time, lambda at: [at.hour, at.minute, at.second, at.microsecond, at.fold, at.tzinfo], _clock_time)
_kind(b"p", timedelta, lambda period: [period.days, period.seconds, period.microseconds], lambda parts: timedelta(*parts))
_kind(b"z", timezone, _zone_parts, lambda parts: timezone(*parts) if parts else UTC)
_kind(b"Z", ZoneInfo, _region_parts, lambda parts: ZoneInfo(*parts))
# fsencode: a file's name need not be valid Unicode.
_kind(b"P", type(Path()), lambda path: [os.fsencode(path)], lambda parts: Path(os.fsdecode(*parts)))
_kind(b"q", PurePosixPath, lambda path: [os.fsencode(path)], lambda parts: PurePosixPath(os.fsdecode(*parts)))
_kind(b"w", PureWindowsPath, lambda path: [os.fsencode(path)], lambda parts: PureWindowsPath(os.fsdecode(*parts)))
