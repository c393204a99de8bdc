"""The event stream, as those see it who subscribe."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actorkit import Actor, OutPort, PermanentError, SpecTypeError, child, in_port, open_system, supervisor
from actorkit.events import HandlerFailed


class Numbers(Actor):
    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self._count = count

    async def run(self) -> None:
        for number in range(self._count):
            await self.out_number.send(number)


class Refuses(Actor):
    @in_port
    def in_number(self, number: int) -> None:
        raise PermanentError(str(number))


async def test_a_subscriber_keeps_up_while_failures_come_as_fast_as_messages_are_handled() -> None:
    tree = supervisor(child(Refuses), child(Numbers, 20_000), wires=[Numbers.out_number >> Refuses.in_number])
    heard: list[str] = []

    async with open_system(tree) as system:
        failures = system.events(HandlerFailed)

        async def listen() -> None:
            async for failure in failures:
                heard.append(failure.error.error_message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await system.wait()
            failures.close()

    assert failures.missed == 0
    assert heard == [str(number) for number in range(20_000)]


async def test_only_events_can_be_subscribed_to() -> None:
    kind: Any = "HandlerFailed"

    async with open_system(supervisor()) as system:
        with pytest.raises(SpecTypeError, match=r"^system\.events: types = 'HandlerFailed': expected classes from actorkit\.events"):
            system.events(kind)


async def test_a_subscriber_with_much_to_read_lets_others_have_their_turn() -> None:
    tree = supervisor(child(Refuses), child(Numbers, 500), wires=[Numbers.out_number >> Refuses.in_number])

    async with open_system(tree) as system:
        failures = system.events(HandlerFailed)
        await system.wait()
        heard = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            async for _ in failures:
                heard += 1

    assert heard < 500
