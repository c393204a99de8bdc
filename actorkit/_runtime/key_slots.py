"""Who is responsible for a key, so that a change in their number moves few keys (rendezvous hashing, Thaler and Ravishankar, 1998)."""

from __future__ import annotations

import zlib
from datetime import date, datetime
from enum import Enum
from functools import lru_cache
from numbers import Number
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from actorkit.errors import SpecTypeError

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOTS: Final = 1_024
"""Keys are spread over so many slots, and slots over members: then a message costs one hash, however many members there are."""


def slot_of(key: object) -> int:
    """The slot of a key: equal keys have the same one, in every process (Python's own `hash` of a text differs from run to run).

    Raises:
        SpecTypeError: nothing is known about keys of this type.
    """
    return _stable_hash(key) % SLOTS


def _stable_hash(key: object) -> int:
    match key:
        case str():
            return zlib.crc32(key.encode("utf-8", "surrogatepass"))
        case Number():  # 1, 1.0 and True are equal, and Python's hash of numbers has no salt
            return _mixed(hash(key))
        case bytes() | bytearray():
            return zlib.crc32(key)
        case None:
            return 0
        case Enum():
            return zlib.crc32(key.name.encode())
        case UUID():
            return _mixed(key.int)
        case tuple():
            parts = cast("tuple[object, ...]", key)
            total = len(parts)
            for part in parts:
                total = _mixed(total ^ _stable_hash(part))
            return total
        case datetime() if key.tzinfo is not None:  # equal if they mean the same instant
            return _mixed(hash(key.timestamp()))
        case date():
            return zlib.crc32(repr(key).encode())
        case _:
            expected = "a str, bytes, a number, an Enum, a UUID, a date, None, or a tuple of these"
            raise SpecTypeError(f"by_key: {key!r} is no key that has the same place in every run: expected {expected}")


def _mixed(number: int) -> int:
    """Spreads neighbours far apart: the finisher of SplitMix64 (Steele, Lea and Flood, 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return number ^ (number >> 31)


def owners(members: Sequence[int]) -> list[int]:
    """For each slot, the member that it belongs to: when one more comes or one goes, only its own share of the slots moves.

    Args:
        members: their numbers, which must stay the same for as long as they live; at least one.
    """
    return list(_owners(tuple(sorted(members))))


@lru_cache(maxsize=64)
def _owners(members: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(members, key=lambda member: _mixed(slot << 20 | member)) for slot in range(SLOTS))
