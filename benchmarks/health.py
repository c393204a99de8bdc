"""What does it cost to look at the health of all actors at each poll, and for how long does that hold others up?

Counted in time that this process really had: what else runs on the machine is not actorkit's doing.
"""

from __future__ import annotations

import time

import trio

from actorkit import Actor, CascadeManager, HealthStatus, child, in_port, open_system, supervisor
from benchmarks.fairness import note_turns

POLL = 0.5
"""Seconds; the cost is told for the default of 5 s."""
POLLS = 6


class Idle(Actor):
    """Has nothing to do."""

    @in_port
    def in_number(self, number: int) -> None:
        """Takes a number."""


class Asked(Idle):
    """Says that it is well."""

    async def health(self) -> HealthStatus:
        return HealthStatus.HEALTHY


class Ill(Idle):
    """Says that it is not, but for two in three."""

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if self.name.endswith(("0", "1", "2")) else HealthStatus.HEALTHY


def polls(actor: type[Idle], count: int) -> dict[str, float]:
    """So many actors of this class: percent of one core by polls each 5 s, and milliseconds between two turns of another task."""
    tree = supervisor(*(child(actor).options(name=f"actor-{number}") for number in range(count)), name="top")
    gaps: list[float] = []

    async def main() -> float:
        async with open_system(tree, cascade=CascadeManager.settings(poll=POLL)) as system:
            for number in range(count):
                system.ref(f"root/top/actor-{number}", actor).send_nowait(actor.in_number, number)
            await trio.sleep(2.5 * POLL)
            began = time.process_time()
            await trio.sleep(POLLS * POLL)
            seconds = time.process_time() - began
            with trio.move_on_after(POLLS * POLL):
                await note_turns(gaps)
        return seconds / POLLS

    return {"% of a core": trio.run(main) / 5 * 100, "longest ms": max(gaps) * 1e3}
