"""The books: what became of every message that a port accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import add, attrgetter
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from actorkit.errors import LedgerImbalance

EMPTY: Mapping[str, int] = MappingProxyType({})


@frozen
class PortCounts:
    """One port's numbers at one instant. `queued` and `in_flight` are read off the real queue and the message in hand.

    Attributes:
        accepted: messages that entered.
        processed: handled to the end.
        skipped: passed over (see `skipped_by`).
        dead_lettered: given up and kept as dead letters (see `dead_lettered_by`).
        dropped: given up by an overflow strategy that was asked to (see `dropped_by`).
        spilled: waiting on disk.
        queued: waiting in memory.
        in_flight: being handled, or waiting to be tried again.
    """

    accepted: int = 0
    processed: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    spilled: int = 0
    queued: int = 0
    in_flight: int = 0
    dropped_by: Mapping[str, int] = EMPTY
    skipped_by: Mapping[str, int] = EMPTY
    dead_lettered_by: Mapping[str, int] = EMPTY

    @property
    def balance(self) -> int:
        """What entered less what is accounted for: 0, always."""
        known = self.processed + self.skipped + self.dead_lettered + self.dropped + self.spilled + self.queued + self.in_flight
        return self.accepted - known

    def check(self, name: str) -> None:
        """Raises `LedgerImbalance`, naming the port, when the numbers don't add up."""
        reasons = (
            ("dead_lettered", self.dead_lettered, self.dead_lettered_by),
            ("skipped", self.skipped, self.skipped_by),
            ("dropped", self.dropped, self.dropped_by),
        )
        wrong = [f"{what} = {count}, but by reason {dict(by)}" for what, count, by in reasons if sum(by.values()) != count]
        if self.balance:
            wrong.append(
                f"accepted {self.accepted} != processed {self.processed} + skipped {self.skipped} + dead-lettered {self.dead_lettered}"
                f" + dropped {self.dropped} + spilled {self.spilled} + queued {self.queued} + in flight {self.in_flight}"
            )
        if wrong:
            raise LedgerImbalance(f"{name}: {'; '.join(wrong)}")


@frozen
class Ledger(PortCounts):
    """The numbers of a whole system: totals, and per port under `ports["root/tree/actor.in_port"]`.

    The totals include ports of actors that no longer exist.
    """

    ports: Mapping[str, PortCounts] = field(factory=dict[str, PortCounts])

    def check(self, name: str = "the system") -> None:
        """Raises `LedgerImbalance`, naming the port, when the books of one port, or the totals, don't balance."""
        for port, counts in self.ports.items():
            counts.check(port)
        super().check(name)


NUMBERS = ("accepted", "processed", "skipped", "dead_lettered", "dropped", "spilled", "queued", "in_flight")
REASONS = ("dropped_by", "skipped_by", "dead_lettered_by")


def counted(numbers: Iterable[int], reasons: Iterable[Mapping[str, int] | None]) -> PortCounts:
    """Numbers and reasons, in the order of `NUMBERS` and `REASONS`, as a value."""
    by = [Counter(each) if each else EMPTY for each in reasons]
    named: dict[str, Any] = dict(zip((*NUMBERS, *REASONS), (*numbers, *by), strict=True))
    return PortCounts(**named)


def total(counts: Iterable[PortCounts]) -> PortCounts:
    """The sum of several ports' numbers."""
    sums = Sums()
    for each in counts:
        sums.add(_numbers_of(each), _reasons_of(each))
    return sums.counts()


_numbers_of, _reasons_of = attrgetter(*NUMBERS), attrgetter(*REASONS)


class Sums:
    """The sum of ports' numbers, as it grows: of ports that exist no more, so that each costs little when it goes.

    Attributes:
        numbers: the sums of `NUMBERS`.
        reasons: the sums of `REASONS`.
    """

    __slots__ = ("numbers", "reasons")

    def __init__(self) -> None:
        self.numbers: tuple[int, ...] = (0,) * len(NUMBERS)
        self.reasons: tuple[Counter[str], ...] = tuple(Counter() for _ in REASONS)

    def add(self, numbers: Iterable[int], reasons: Iterable[Mapping[str, int] | None]) -> None:
        """Adds one port's, in the order of `NUMBERS` and `REASONS`."""
        self.numbers = tuple(map(add, self.numbers, numbers))
        for sums, by in zip(self.reasons, reasons, strict=True):
            if by:
                sums.update(by)

    def counts(self) -> PortCounts:
        """The sum so far."""
        return counted(self.numbers, self.reasons)
