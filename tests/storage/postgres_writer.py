"""A process that writes to a store without end, and says what is written; for tests that kill it."""

from __future__ import annotations

import itertools
import os
import sys

from actorkit.storage.postgres import PostgresStore
from actorkit.storage.store import Changes

GROUP = 7  # entries that are put, and all but one deleted, together


def body(number: int) -> bytes:
    """What is written at this number."""
    return f"{number} ".encode() * (number % 400 + 1)


def main(dsn: str, name: str) -> None:
    """In each round: puts a group of entries, and deletes the first of the group before; then says the round."""
    store = PostgresStore(dsn, name=name)
    store.open()
    for turn in itertools.count():
        numbers = range(turn * GROUP, (turn + 1) * GROUP)
        puts = [("message root/a.in_b", number, body(number)) for number in numbers]
        store.write([Changes([each]) for each in puts] + [Changes(deletes=[("message root/a.in_b", (turn - 1) * GROUP)])] * (turn > 0))
        os.write(1, f"{turn}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
