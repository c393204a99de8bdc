"""What the type checkers know of ports, on the class and inside an actor. Checked, not run."""

from __future__ import annotations

from typing import Any, assert_type

import trio

from actorkit import (
    Actor,
    ActorLog,
    ActorRef,
    Down,
    ErrorContext,
    ExitReason,
    InPort,
    OutEnd,
    OutPort,
    Sender,
    Supervisor,
    System,
    Timer,
    in_port,
)
from tests.typing.greeting import Counter, Greet, Greeter, HowMany, Polite, Printer

# A port says whose it is, what it takes and what it answers; for `async def` that is the answer, not the coroutine.
assert_type(Greeter.in_greet, InPort[Greeter, Greet, None])
assert_type(Greeter.in_how_many, InPort[Greeter, HowMany, int])
assert_type(Greeter.in_names, InPort[Greeter, HowMany, list[str]])
assert_type(Greeter.in_salute, InPort[Greeter, str | None, str])
assert_type(Polite.in_bow, InPort[Polite, float, None])
assert_type(Greeter.out_line, OutEnd[Greeter, str])
assert_type(Polite.out_line, OutEnd[Polite, str])
assert_type(Greeter.err_errors, OutEnd[Greeter, ErrorContext])


async def as_a_plain_object() -> None:
    greeter = Greeter("Hej")
    assert_type(greeter.out_line, Sender[str])
    greeter.in_how_many(HowMany())
    await greeter.in_greet(Greet("Ada"))
    greeter.in_how_many(Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    greeter.out_line = 3  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


class Busy(Actor):
    """Uses all that an actor has."""

    out_line = OutPort(str, required=True)

    async def on_start(self) -> None:
        assert_type(self.ref, ActorRef[Any])
        assert_type(self.name, str)
        assert_type(self.path, str)
        assert_type(self.system, System)
        assert_type(self.log, ActorLog)
        assert_type(self.supervisor, Supervisor)

    async def run(self) -> None:
        assert_type(await self.out_line.send("a line"), None)
        self.out_line.send_nowait("a line")
        self.out_line.emit("a line")
        await self.out_line.send(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.out_line.send_nowait(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.out_line.emit(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def on_drained(self) -> None: ...

    async def on_stop(self, reason: ExitReason) -> None: ...

    def snapshot(self) -> object:
        return {"position": 3}

    def restore(self, state: object, version: int) -> None: ...

    @in_port
    def in_tick(self, tick: int) -> None:
        assert_type(self.after(1.0, Busy.in_tick, 3), Timer)
        assert_type(self.every(1.0, Busy.in_tick, 3), Timer)
        self.after(1.0, Busy.in_tick, 3).cancel()
        self.after(1.0, Busy.in_tick, "3")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
        self.every(1.0, Busy.in_tick, "3")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
        self.after(1.0, Counter.in_add, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @in_port
    def in_down(self, down: Down) -> None:
        self.watch(down.ref, Busy.in_down)
        self.watch(down.ref, Busy.in_down, restarts=True)
        self.watch(down.ref, Busy.in_tick)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.stop()

    @in_port
    async def in_go(self, go: str) -> None:
        self.start_soon(trio.sleep, 1.0)
        self.start_soon(measure, "here", to=Busy.in_tick)
        self.start_soon(measure, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.start_soon(measure, "here", to=Busy.in_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.start_soon(measure, "here", to=Counter.in_add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def measure(place: str) -> int:
    return len(place)


class Loud(Printer):
    """Its port takes less than its base's: whoever holds a printer would be let down."""

    @in_port
    def in_anything(self, thing: str) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]


in_port(capacity="256")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
in_port(capasity=256)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
OutPort("str")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
OutPort(str, needed=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
