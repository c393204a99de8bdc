"""Who is in the chat: members, those who come by phone, the archive, and the host who lets them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import trio

from actorkit import Actor, OutPort, OverflowStrategy, child, in_batch, in_port
from examples.chat.messages import EVERYTHING, Come, Deed, Go, Join, Leave, Line, Step, room


class Member(Actor):
    """Joins rooms, hears what is said there, and says something."""

    out_said = OutPort(Line)

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self.heard: list[Line] = []

    @in_port
    async def in_deed(self, deed: Deed) -> None:
        match deed:
            case Join():
                self.subscribe(room(deed.room), type(self).in_line)
            case Leave():
                self.unsubscribe(room(deed.room), type(self).in_line)
            case _:
                line = Line(deed.room, deed.name, deed.text)
                await self.system.publish(room(deed.room), line)
                await self.out_said.send(line)

    @in_port
    async def in_line(self, line: Line) -> None:
        self.heard.append(line)

    async def on_drained(self) -> None:
        for line in self.heard:
            self.show(f"{self.name} heard in {line.room}: {line.author}: {line.text}")


class Phone(Member):
    """A member with a slow line. It keeps up to two lines waiting, the newest, and holds up nobody."""

    @in_port(capacity=2, overflow=OverflowStrategy.DROP_OLDEST)
    async def in_line(self, line: Line) -> None:
        await trio.sleep(0.02)
        self.heard.append(line)


class Archive(Actor):
    """Files all that is said, a batch at a time, as one would write it to a database."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show
        self.lines = Counter[str]()

    @in_batch(size=5, wait=0.5)
    def in_line(self, lines: list[Line]) -> None:
        self.lines.update(line.room for line in lines)

    async def on_drained(self) -> None:
        self.show(f"archive: lines said: {', '.join(f'{name} {count}' for name, count in sorted(self.lines.items()))}")


class Host(Actor):
    """Lets people in and out, and has them do what is in the script, one thing after the other."""

    def __init__(self, steps: Sequence[Step], show: Callable[[str], None]) -> None:
        self.steps = steps
        self.show = show
        self.done = 0

    async def run(self) -> None:
        while self.done < len(self.steps):
            await self.do(self.steps[self.done])
            self.done += 1

    async def do(self, step: Step) -> None:
        """Sees to one step, and waits until it is done."""
        members = self.system.supervisor("root/chat/members")
        match step:
            case Come():
                spec = child(Phone if step.by_phone else Member, self.show).options(name=step.name)
                await members.start_child(spec, wires=[spec[Member.out_said] >> EVERYTHING])
            case Go():
                await members.stop_child(step.name)
            case _:
                await self.system.ref(f"{members.path}/{step.name}", Member).ask(Member.in_deed, step)

    def snapshot(self) -> object:
        return self.done

    def restore(self, state: object, version: int) -> None:
        if isinstance(state, int):
            self.done = state
