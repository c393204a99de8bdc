"""A source that never ends, and an actor that takes its time, for tests."""

from __future__ import annotations

import trio

from actorkit import Actor, ExitReason, OutPort, in_port


class Ticker(Actor):
    """A source that sends a number a second, for ever."""

    out_number = OutPort(int)

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    async def run(self) -> None:
        number = 0
        try:
            while True:
                await self.out_number.send(number)
                number += 1
                await trio.sleep(1)
        finally:
            self.lines.append("source ended")

    async def on_stop(self, reason: ExitReason) -> None:
        self.lines.append(f"source stopped: {reason.value}")


class Slow(Actor):
    """Takes its time over each number."""

    def __init__(self, lines: list[str], takes: float = 1.0) -> None:
        self.lines = lines
        self.takes = takes

    @in_port
    async def in_number(self, number: int) -> None:
        await trio.sleep(self.takes)
        self.lines.append(f"{self.name} did {number}")

    async def on_stop(self, reason: ExitReason) -> None:
        self.lines.append(f"{self.name} stopped: {reason.value}")
