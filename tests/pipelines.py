"""A source, a stage and a sink, for tests of streams."""

from __future__ import annotations

from actorkit import Actor, ExitReason, OutPort, SupervisorSpec, child, in_port, supervisor


class Numbers(Actor):
    """A source: sends the numbers below `count`."""

    out_number = OutPort(int)

    def __init__(self, count: int = 3, lines: list[str] | None = None) -> None:
        self.count = count
        self.lines = [] if lines is None else lines

    async def run(self) -> None:
        self.lines.append("run")
        for number in range(self.count):
            await self.out_number.send(number)


class Doubler(Actor):
    """A stage: sends on twice what it gets, and at the end a last word."""

    out_number = OutPort(int)

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    @in_port
    async def in_number(self, number: int) -> None:
        await self.handle(number)
        await self.out_number.send(2 * number)

    async def handle(self, number: int) -> None:
        """What else is to be done with a number."""

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")
        await self.out_number.send(-1)

    async def on_stop(self, reason: ExitReason) -> None:
        self.lines.append(f"{self.name} stopped: {reason.value}")


class Sink(Actor):
    """Writes down what it gets."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    @in_port
    def in_number(self, number: int) -> None:
        self.lines.append(str(number))

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")


class Memory(Sink):
    """A sink that others may ask, too."""

    @in_port
    def in_how_many(self, _: None) -> int:
        return len([line for line in self.lines if line.isdigit()])

    @in_port
    def in_bug(self, _: str) -> None:
        raise KeyError


def pipeline(lines: list[str], source: type[Numbers] = Numbers, stage: type[Doubler] = Doubler, sink: type[Sink] = Sink) -> SupervisorSpec:
    """A source, a stage and a sink."""
    return supervisor(
        child(source),
        child(stage, lines).options(name="stage"),
        child(sink, lines).options(name="sink"),
        wires=[source.out_number >> stage.in_number, stage.out_number >> sink.in_number],
    )
