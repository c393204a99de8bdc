"""What the type checkers accept and reject of stashing, pausing, linking, priorities and deadlines. Checked, not run."""

from __future__ import annotations

from typing import assert_type

from actorkit import Actor, ActorRef, InPort, PortRef, in_port
from tests.typing.greeting import Greeter, Polite


class Picky(Actor):
    """Sets messages aside, and hands addresses on."""

    @in_port(priority=1, deadline=2.5)
    def in_number(self, number: int) -> str:
        assert_type(self.stash(), None)
        assert_type(self.unstash_all(), None)
        self.stash(number)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        return ""

    @in_port(deadline=None)
    async def in_other(self, greeter: ActorRef[Greeter]) -> None:
        assert_type(self.pause(Picky.in_number), None)
        assert_type(self.resume(Picky.in_number), None)
        assert_type(self.link(greeter), None)
        self.link(Greeter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.pause(Greeter.in_greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.resume(Greeter.in_greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.pause("in_number")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @in_port
    async def in_port_ref(self, port: PortRef[int, str]) -> None:
        assert_type(await port.ask(3), str)
        await port.send("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Pickier(Picky):
    """May pause what it has inherited."""

    async def on_start(self) -> None:
        self.pause(Picky.in_number)
        self.pause(Pickier.in_number)


assert_type(Picky.in_number, InPort[Picky, int, str])

in_port(priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
in_port(deadline="soon")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def addresses(picky: ActorRef[Picky], polite: ActorRef[Polite]) -> None:
    await picky.send(Picky.in_other, polite)  # an address of a special greeter is one of a greeter
    await picky.send(Picky.in_other, picky)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await picky.send(Picky.in_port_ref, picky.port(Picky.in_number))
    await picky.send(Picky.in_port_ref, polite.port(Polite.in_bow))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
