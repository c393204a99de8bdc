"""The actors of these files, written as a user writes them: the contract's greeter, and a few beside it."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from actorkit import Actor, OutPort, in_port

T = TypeVar("T")


@frozen
class Greet:
    """A request to greet somebody."""

    name: str


@frozen
class HowMany:
    """A question."""


class Greeter(Actor):
    """Greets people, and counts them."""

    out_line = OutPort(str)

    def __init__(self, salute: str = "Hello", *, loud: bool = False) -> None:
        self.salute = salute
        self.loud = loud
        self.greeted = 0

    @in_port(capacity=256)
    async def in_greet(self, greet: Greet) -> None:
        self.greeted += 1
        await self.out_line.send(f"{self.salute}, {greet.name}!")

    @in_port
    def in_how_many(self, question: HowMany) -> int:
        return self.greeted

    @in_port
    async def in_names(self, question: HowMany) -> list[str]:
        return []

    @in_port(capacity=1)
    def in_salute(self, salute: str | None) -> str:
        return self.salute


class Polite(Greeter):
    """A greeter of a special kind."""

    @in_port
    def in_bow(self, depth: float) -> None: ...


class Printer(Actor):
    """Prints lines."""

    @in_port
    def in_line(self, line: str) -> None: ...

    @in_port
    def in_anything(self, thing: object) -> None: ...


class Counter(Actor):
    """Counts, and tells."""

    out_count = OutPort(int)

    @in_port
    def in_add(self, number: int) -> None:
        self.out_count.emit(number)


class Box(Actor, Generic[T]):
    """Keeps one thing of any type."""

    def __init__(self, thing: T) -> None:
        self.thing = thing

    @in_port
    def in_swap(self, thing: T) -> T:
        self.thing, thing = thing, self.thing
        return thing
