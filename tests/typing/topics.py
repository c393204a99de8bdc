"""What the type checkers accept and reject around topics. Checked, not run."""

from __future__ import annotations

from typing import assert_type

from actorkit import Actor, OutPort, System, Topic, Wire, in_port
from tests.typing.greeting import Counter, Greeter, Printer

LINES = Topic("lines", str)
NUMBERS = Topic("numbers", int)
assert_type(LINES, Topic[str])
Topic(3, str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Topic("lines", "str")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# An out-port publishes to a topic of its type; a port may subscribe that takes all that is published.
assert_type(Greeter.out_line >> LINES, Wire)
assert_type(LINES >> Printer.in_line, Wire)
assert_type(LINES >> Printer.in_anything, Wire)
Greeter.out_line >> NUMBERS  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
NUMBERS >> Printer.in_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
LINES >> Counter.in_add  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
LINES >> NUMBERS  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
LINES >> Greeter.out_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


class Member(Actor):
    """Comes and goes."""

    out_line = OutPort(str)

    @in_port
    async def in_line(self, line: str) -> None:
        self.subscribe(LINES, Member.in_line)
        self.unsubscribe(LINES, Member.in_line)
        self.subscribe(NUMBERS, Member.in_line)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
        self.subscribe(LINES, Printer.in_line)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.unsubscribe(NUMBERS, Member.in_line)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


async def publish(system: System) -> None:
    assert_type(await system.publish(LINES, "a line"), None)
    system.publish_nowait(LINES, "a line")
    await system.publish(LINES, 3)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    system.publish_nowait(NUMBERS, "a line")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
