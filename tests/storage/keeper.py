"""A process that writes to an SQLite store, and says what it has done; for tests that kill it."""

from __future__ import annotations

import itertools
import os
import resource
import sys
from pathlib import Path

from actorkit import SqliteStore, StoreBlocked
from actorkit.storage.store import Changes

SPACE = "message root/shop/till.in_order"


def content(number: int) -> bytes:
    """The body of this number: of every length up to some thousand bytes."""
    return f"{number} ".encode() + b"x" * (number * 997 % 3_000)


def say(*words: object) -> None:
    """Tells the test, at once: what was said is heard even if the process is killed now."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def keep(store: SqliteStore) -> None:
    """Puts five numbers and deletes the two oldest, again and again."""
    for step in itertools.count():
        puts = [Changes([(SPACE, number, content(number))]) for number in range(5 * step, 5 * step + 5)]
        store.write([*puts, Changes(deletes=[(SPACE, 2 * step), (SPACE, 2 * step + 1)])])
        say("kept", step)


def fill(store: SqliteStore) -> None:
    """Puts until the system does not let a file grow any more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    for number in itertools.count():
        try:
            store.write([Changes([(SPACE, number, content(number))])])
        except StoreBlocked:
            say("blocked", number)
            os.kill(os.getpid(), 9)


def hold(_: SqliteStore) -> None:
    """Has the store open until it is killed."""
    say("open")
    sys.stdin.read()


if __name__ == "__main__":
    opened = SqliteStore(Path(sys.argv[2]), synchronous="NORMAL" if sys.argv[3:] else "FULL")
    opened.open()
    {"keep": keep, "fill": fill, "hold": hold}[sys.argv[1]](opened)
