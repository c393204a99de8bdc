"""What do failures cost: how many messages a second when some of them are bad, compared with none?

Each bad message fails once, becomes an `ErrorContext`, meets the recovery policy, and ends as a dead letter.
"""

from __future__ import annotations

import time

from actorkit import Actor, DeadLetterQueue, DeadLetterReason, OutPort, child, in_port, run, supervisor

TITLE = "Errors: of a hundred messages some are bad, and become dead letters; the ratio is to none"
BASE = "0 %"


class Source(Actor):
    """Sends numbers."""

    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """Sends them all."""
        out = self.out_number
        for number in range(self.count):
            await out.send(number)


class Picky(Actor):
    """Finds `percent` of all numbers bad."""

    def __init__(self, percent: int) -> None:
        self.percent = percent

    @in_port
    async def in_number(self, number: int) -> None:
        """Handles a number."""
        if number % 100 < self.percent:
            raise ValueError(number)


def with_errors(percent: int, count: int, letters: int = 0) -> float:
    """Messages a second, `percent` of them bad, when there are so many dead letters already."""
    queue = DeadLetterQueue(max_size=max(1, letters + count))
    for number in range(letters):
        queue.put(number, "root/supervisor/picky.in_number", DeadLetterReason.VALIDATION)
    tree = supervisor(child(Picky, percent), child(Source, count), wires=[Source.out_number >> Picky.in_number])
    began = time.perf_counter()
    report = run(tree, dead_letters=queue)
    took = time.perf_counter() - began
    report.ledger.check()
    if report.ledger.dead_lettered != count * percent // 100:
        raise AssertionError(f"{report.ledger.dead_lettered} dead letters of {count} messages")
    return count / took
