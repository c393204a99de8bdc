"""Who waits for the store waits for nobody, so no circle of waits goes through it."""

from __future__ import annotations

from pathlib import Path

import trio

from actorkit import Actor, SqliteStore, System, child, in_port, open_system, supervisor

HEARD: list[str] = []


class Desk(Actor):
    """Asks a clerk, who leaves a note on the desk before he answers."""

    def __init__(self, systems: list[System]) -> None:
        self.systems = systems

    @in_port(durable=True)
    async def in_visitor(self, name: str) -> None:
        HEARD.append(await self.systems[0].ref(Clerk).ask(Clerk.in_question, name))

    @in_port(durable=True)
    def in_note(self, text: str) -> None:
        HEARD.append(text)


class Clerk(Actor):
    def __init__(self, systems: list[System]) -> None:
        self.systems = systems

    @in_port
    async def in_question(self, name: str) -> str:
        await self.systems[0].ref(Desk).send(Desk.in_note, f"note of {name}")
        return f"answer to {name}"


def test_a_send_that_waits_for_the_store_only_closes_no_circle(tmp_path: Path) -> None:
    HEARD.clear()

    async def main() -> int:
        systems: list[System] = []
        tree = supervisor(child(Desk, systems), child(Clerk, systems))
        async with open_system(tree, store=SqliteStore(tmp_path / "store.db")) as system:
            systems.append(system)
            await system.ref(Desk).send(Desk.in_visitor, "Ada")
            await system.settle()
            return len(system.dead_letters)

    dead_letters = trio.run(main)  # by the real clock: under a virtual one, nobody waits for a store

    assert HEARD == ["answer to Ada", "note of Ada"]
    assert dead_letters == 0
