"""What the type checkers know of handlers that stream their answer. Checked, not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import assert_type

from actorkit import Actor, ActorRef, InPort, PortRef, ReplyStream, in_port
from tests.typing.greeting import Greet, Greeter, HowMany


class Names(Actor):
    """Streams them."""

    @in_port
    async def in_all(self, question: HowMany) -> AsyncIterator[str]:
        yield "Ada"

    @in_port(capacity=3)
    async def in_lengths(self, question: HowMany) -> AsyncGenerator[int, None]:
        yield 3


assert_type(Names.in_all, InPort[Names, HowMany, AsyncIterator[str]])


async def read(names: ActorRef[Names], greeter: ActorRef[Greeter]) -> None:
    assert_type(names.stream(Names.in_all, HowMany()), ReplyStream[str])
    async for name in names.stream(Names.in_all, HowMany(), timeout=None):
        assert_type(name, str)
    async with names.stream(Names.in_lengths, HowMany()) as lengths:
        assert_type(await anext(lengths), int)
    names.stream(Names.in_all, Greet("Ada"))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    greeter.stream(Names.in_all, HowMany())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    greeter.stream(Greeter.in_names, HowMany())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def one_port(names: ActorRef[Names], greeter: ActorRef[Greeter]) -> None:
    port = names.port(Names.in_all)
    assert_type(port, PortRef[HowMany, AsyncIterator[str]])
    assert_type(port.stream(HowMany()), ReplyStream[str])
    port.stream(Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    greeter.port(Greeter.in_names).stream(HowMany())  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
