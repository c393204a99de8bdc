"""Does a system that runs for long take more and more memory? A bit of everything, all the time, with failures and restarts."""

from __future__ import annotations

import time

import trio

from actorkit import Actor, ActorkitError, DeadLetterQueue, OutPort, System, TransientError, child, in_port, keyed, open_system, supervisor
from benchmarks.resident import resident_bytes

KEYS = 10_000


class Faulty(Actor):
    """Sends on what it gets, and fails now and then, in each of the ways that actors fail."""

    out_number = OutPort(int)

    def __init__(self) -> None:
        self.retried = False

    @in_port
    async def in_number(self, number: int) -> None:
        """Sends it on."""
        if number % 1000 == 1:
            raise ValueError(number)
        if number % 10_000 == 4:
            raise RuntimeError(number)
        if number % 1000 == 2:
            self.retried = not self.retried
            if self.retried:
                raise TransientError("not now", retry_after=0.001)
        if number % 10_000 == 3:
            await trio.sleep(0.001)
        await self.out_number.send(number)


class Tally(Actor):
    """One for each of ten thousand keys, put aside when there are more than a thousand."""

    def __init__(self) -> None:
        self.total = 0

    @in_port
    def in_number(self, number: int) -> None:
        """Counts."""
        self.total += 1


class Teller(Actor):
    """Answers."""

    @in_port
    def in_question(self, number: int) -> int:
        """The same number."""
        return number


def soak(seconds: int) -> dict[str, float]:
    """Messages a second, and memory after a tenth of the time, when everything has been made that is made once, and at the end."""
    resident: list[int] = []

    async def main() -> float:
        tree = supervisor(
            keyed(Tally, by=lambda number: number % KEYS, max_active=KEYS // 10),
            child(Teller),
            child(Faulty),
            wires=[Faulty.out_number >> Tally.in_number],
            max_restarts=1_000_000,
        )
        async with open_system(tree, dead_letters=DeadLetterQueue(max_size=1000)) as system, trio.open_nursery() as nursery:
            began = time.perf_counter()
            nursery.start_soon(_talk, system)
            for _ in range(seconds * 10):
                await trio.sleep(0.1)
                resident.append(resident_bytes())
            nursery.cancel_scope.cancel()
        ledger = system.ledger()
        ledger.check()
        return ledger.processed / (time.perf_counter() - began)

    rate = trio.run(main)
    early = max(resident[: max(1, len(resident) // 10)])
    late = max(resident[-max(1, len(resident) // 10) :])
    return {"messages/s": rate, "MiB early": early / 2**20, "MiB late": late / 2**20, "growth in %": (late / early - 1) * 100}


async def _talk(system: System) -> None:
    faulty, teller = system.ref(Faulty), system.ref(Teller)
    number = 0
    while True:
        for _ in range(100):
            number += 1
            await faulty.send(Faulty.in_number, number)
        if await teller.ask(Teller.in_question, number) != number:
            raise ActorkitError(f"another answer than {number}")
