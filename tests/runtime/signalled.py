"""A program for test_signals.py: runs a tree that does not end by itself, and prints what happens.

Its arguments: the class of the actor that gets numbers, or of the only one; then `keep`, `unhandled`, as asked of `run`.
"""

from __future__ import annotations

import logging
import sys

import trio

from actorkit import Actor, ExitReason, OutPort, Shutdown, child, in_port, run, supervisor


class Ticker(Actor):
    """A source that never ends."""

    out_number = OutPort(int)

    async def run(self) -> None:
        print("ready", flush=True)
        while True:
            await self.out_number.send(1)
            await trio.sleep(0.001)

    async def on_stop(self, reason: ExitReason) -> None:
        print(f"ticker stopped: {reason.value}", flush=True)


class Sink(Actor):
    """Takes numbers."""

    @in_port
    async def in_number(self, number: int) -> None:
        await self.work()

    async def work(self) -> None:
        """Nothing."""


class Draining(Sink):
    """Says something at the end of its streams."""

    async def on_drained(self) -> None:
        print(f"{self.name} drained", flush=True)


class Stuck(Sink):
    """Waits for ever."""

    async def work(self) -> None:
        await trio.sleep_forever()


class Busy(Sink):
    """Never lets go."""

    async def work(self) -> None:
        while True:
            pass


class BusyPlain(Sink):
    """Never lets go, in a plain handler."""

    @in_port
    def in_number(self, number: int) -> None:
        while True:
            pass


class HangingStop(Sink):
    """Never says its last words."""

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep_forever()


class BusySource(Actor):
    """A source that never lets go."""

    async def run(self) -> None:
        print("ready", flush=True)
        while True:
            pass


class HangingStart(Actor):
    """Never starts."""

    async def on_start(self) -> None:
        print("ready", flush=True)
        await trio.sleep_forever()


SINKS = {each.__name__: each for each in (Sink, Draining, Stuck, Busy, BusyPlain, HangingStop)}
ALONE = {each.__name__: each for each in (BusySource, HangingStart)}

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    name = sys.argv[1]
    if name in ALONE:
        tree = supervisor(child(ALONE[name]))
    else:
        sink = child(SINKS[name]).options(shutdown=Shutdown.INFINITY)
        tree = supervisor(sink, child(Ticker), wires=[Ticker.out_number >> sink[SINKS[name].in_number]])
    report = run(tree, keep="keep" in sys.argv, handle_signals="unhandled" not in sys.argv)
    report.ledger.check()
    print(report.outcome, flush=True)
