"""The kinds of failures that an actor has had, by fingerprint: one bug is one kind, however many messages meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    from datetime import datetime

MOST: Final = 1_000
"""Kinds that are remembered per actor; beyond, the oldest is forgotten."""


@define
class Kind:
    """Failures of one fingerprint: when the first one was seen, and how many there were."""

    first_occurrence: float
    first_seen: datetime
    count: int = 0


def count_one(kinds: dict[str, Kind], fingerprint: str, now: float, moment: datetime) -> Kind:
    """One more failure of this kind, which is returned."""
    kind = kinds.get(fingerprint)
    if kind is None:
        if len(kinds) >= MOST:
            del kinds[next(iter(kinds))]
        kind = kinds[fingerprint] = Kind(now, moment)
    kind.count += 1
    return kind
