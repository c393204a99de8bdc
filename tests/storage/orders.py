"""Messages of every shape that the codec takes."""

from __future__ import annotations

import enum
from abc import ABC
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import attrs
from attrs import frozen

T = TypeVar("T")


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    GREEN = "green"


class Size(enum.IntEnum):
    """An enum whose members are ints."""

    SMALL = 1
    LARGE = 2


class Extras(enum.Flag):
    """A flag, whose members can be combined."""

    GIFT = enum.auto()
    RUSH = enum.auto()


class Point(NamedTuple):
    """A NamedTuple with a default."""

    x: float
    y: float = 0.0


@frozen
class Item:
    """A frozen, slotted attrs class."""

    name: str
    price: Decimal
    colour: Colour | None = None


Items = NewType("Items", tuple[Item, ...])


@frozen
class Order:
    """An attrs class with a bit of everything in it."""

    id: UUID
    items: Items
    at: datetime
    due: date | None = None
    size: Size = Size.SMALL
    extras: Extras = Extras(0)
    place: Point | tuple[float, float] = (0.0, 0.0)
    tags: frozenset[str] = frozenset()
    notes: dict[tuple[int, str], list[str | None]] = attrs.Factory(dict)
    invoice: Path | None = None
    anything: object = None
    mode: Literal[Colour.RED, "none"] = "none"


class Event(ABC):  # noqa: B024  # it has no methods, as a mere family of messages
    """A base class that is no message itself."""


@frozen
class Shipped(Event):
    """One of a family."""

    order: int


@frozen
class ShippedAbroad(Shipped):
    """A subclass with a field more, whose class only it names."""

    first: Item
    country: str = "PT"


@dataclass(frozen=True, slots=True)
class Paid(Event):
    """A slotted dataclass."""

    amount: Decimal
    history: list[int] = field(default_factory=list)


@dataclass
class Account:
    """A dataclass that computes when it is made."""

    opening: InitVar[int]
    balance: int = 0
    made: int = field(default=0, init=False)

    def __post_init__(self, opening: int) -> None:
        self.balance += opening
        self.made += 1


@frozen(slots=False)
class Box(Generic[T]):
    """A generic attrs class with a `__dict__`."""

    content: T

    @cached_property
    def twice(self) -> tuple[T, T]:
        """Computed once, and not part of the message."""
        return (self.content, self.content)


def in_cents(euros: float) -> int:
    """Not to be done twice."""
    return round(euros * 100)


@frozen
class Cents:
    """Its converter does something else to a value that was converted."""

    value: int = attrs.field(converter=in_cents)


@frozen(cache_hash=True)
class Key:
    """Keeps its hash, which differs from process to process."""

    _text: str


@frozen
class Tree:
    """Contains its like."""

    leaves: tuple[Tree, ...] = ()


@frozen
class Nothing:
    """Has no fields."""


@frozen
class Anything:
    """Holds whatever it is given."""

    value: object
