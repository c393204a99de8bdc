"""Decides who may be inside at once, who waits, and who is sent away."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from actorkit.policy.checks import check_count


@frozen(kw_only=True)
class BulkheadSettings:
    """How many may be inside, and wait. `Bulkhead` describes them.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    max_concurrent: int = 10
    max_queued: int | None = None

    def __attrs_post_init__(self) -> None:
        owner = "Bulkhead"
        check_count(owner, "max_concurrent", self.max_concurrent, 1)
        if self.max_queued is not None:
            check_count(owner, "max_queued", self.max_queued)


class Admission(Enum):
    """What becomes of someone who arrives."""

    ENTERED = "entered"
    """It is inside."""
    QUEUED = "queued"
    """It waits, behind those who wait already."""
    REFUSED = "refused"
    """It is neither: nobody more may wait."""


class Places:
    """How many are inside and how many wait. Nobody waits while a place is free.

    Whoever keeps the queue lets its first ones in, as many as `leave` and `resize` say.

    Attributes:
        in_flight: how many are inside. After `resize` it may be more than `settings.max_concurrent`, until they leave.
        waiting: how many wait.
    """

    def __init__(self, settings: BulkheadSettings) -> None:
        self.settings: BulkheadSettings = settings
        self.in_flight: int = 0
        self.waiting: int = 0

    @property
    def utilization(self) -> float:
        """How full it is: 1.0 is full, and more than that is possible after `resize`."""
        return self.in_flight / self.settings.max_concurrent

    def arrive(self) -> Admission:
        """Someone wants to enter."""
        if self.in_flight < self.settings.max_concurrent:
            self.in_flight += 1
            return Admission.ENTERED
        if self.settings.max_queued is not None and self.waiting >= self.settings.max_queued:
            return Admission.REFUSED
        self.waiting += 1
        return Admission.QUEUED

    def leave(self) -> int:
        """Someone inside has left; how many of those who wait enter now."""
        if not self.in_flight:
            raise ValueError("nobody is inside, so nobody can leave")
        self.in_flight -= 1
        return self._admit()

    def give_up(self) -> None:
        """Someone who waited has gone."""
        if not self.waiting:
            raise ValueError("nobody waits, so nobody can give up")
        self.waiting -= 1

    def resize(self, settings: BulkheadSettings) -> int:
        """Other limits hold from now on; how many of those who wait enter now. Nobody inside or waiting is sent away."""
        self.settings = settings
        return self._admit()

    def _admit(self) -> int:
        entering = max(0, min(self.waiting, self.settings.max_concurrent - self.in_flight))
        self.waiting -= entering
        self.in_flight += entering
        return entering
