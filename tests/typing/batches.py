"""Batch ports, as type checkers see them: senders send single messages, the handler gets a list."""

from __future__ import annotations

from typing import assert_type

from actorkit import Actor, ActorRef, InPort, OutPort, in_batch


class Archive(Actor):
    out_row = OutPort(str)

    @in_batch(size=10)
    async def in_row(self, rows: list[str]) -> None: ...

    @in_batch(wait=1.0)
    def in_number(self, numbers: list[int]) -> list[bool]:
        return [number > 0 for number in numbers]


assert_type(Archive.in_row, InPort[Archive, str, None])
assert_type(Archive.in_number, InPort[Archive, int, bool])

Archive.out_row >> Archive.in_row
Archive.out_row >> Archive.in_number  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


async def talk(archive: ActorRef[Archive]) -> None:
    await archive.send(Archive.in_row, "a row")
    await archive.send(Archive.in_row, ["a row"])  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    assert_type(await archive.ask(Archive.in_number, 3), bool)


in_batch(size="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
