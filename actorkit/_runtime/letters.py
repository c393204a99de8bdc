"""A message that was given up, and all that is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from attrs import astuple, field, frozen

from actorkit.policy.recovery import DeadLetterReason

if TYPE_CHECKING:
    from actorkit.policy.taxonomy import ErrorContext

Record = tuple[int, Any, str, DeadLetterReason, "ErrorContext | None", int, datetime, "tuple[ErrorContext, ...]", int]
"""The fields of a `DeadLetter`, in order."""


@frozen
class UnreadableMessage:
    """Stands for the message of a dead letter that can't be read back from the store. Such a letter can be looked at and discarded.

    Attributes:
        reason: why: it could not be written, its class or its port is gone, its entry is damaged.
        text: its `repr`, up to 4,096 characters of it, if it could not be written; else "".
        data: its bytes, if it was written and can't be read; what is left of them if they are damaged.
    """

    reason: str
    text: str = ""
    data: bytes = field(default=b"", repr=False)


@frozen(weakref_slot=False)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: counts up from 1 within the queue.
        message: the message itself; an `UnreadableMessage` if it was read from a store and can't be understood.
        port: the path of the port that it was sent to: `"root/flights/parser.in_row"`.
        reason: why it was given up.
        error: the failure behind it, if any.
        attempts: how often its handling failed, over all its reprocessings.
        dead_since: when it was given up first (UTC).
        earlier: its last failures before `error`, oldest first (9 at most).
        reprocessings: how often it was sent again.
    """

    id: int
    message: Any
    port: str
    reason: DeadLetterReason
    error: ErrorContext | None = None
    attempts: int = 0
    dead_since: datetime = field(factory=lambda: datetime.now(UTC))
    earlier: tuple[ErrorContext, ...] = ()
    reprocessings: int = 0

    @property
    def failures(self) -> tuple[ErrorContext, ...]:
        """Its last failures, with their tracebacks, oldest first (10 at most)."""
        return self.earlier if self.error is None else (*self.earlier, self.error)


Filter = Callable[["DeadLetter"], bool]


class DeadLetters:
    """The dead letters that a queue had at one instant, made when somebody looks."""

    def __init__(self, letters: Iterable[Record | DeadLetter]) -> None:
        self._letters = tuple(letters)

    def all(self) -> tuple[DeadLetter, ...]:
        """Those, oldest first; the same ones each time."""
        self._letters = letters = tuple(DeadLetter(*one) if isinstance(one, tuple) else one for one in self._letters)
        return letters


def fields_of(letter: Record | DeadLetter) -> Record:
    """What a letter is made of."""
    return letter if isinstance(letter, tuple) else cast("Record", astuple(letter, recurse=False))
