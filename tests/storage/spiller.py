"""A process that spills and reads back without end, and says what it has done; for tests that kill it."""

from __future__ import annotations

import itertools
import os
import resource
import sys
from pathlib import Path

from actorkit.storage.spill import SpillFiles

ROOMY = 2**30


def content(number: int) -> bytes:
    """The message of this number: of every length up to some thousand bytes."""
    return f"{number} ".encode() + b"x" * (number * 997 % 5_000)


def say(*words: object) -> None:
    """Tells the test, at once: what was said is heard even if the process is killed now."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def turn_over(root: Path) -> None:
    """Appends three messages for every two it takes out, in changing order, for ever."""
    spill = SpillFiles(root, "port", max_bytes=ROOMY, segment_size=20_000)
    appended = taken = 0
    for step in itertools.count():
        if step * 7 % 5 < 3:
            spill.append(content(appended))
            appended += 1
            say("appended", appended)
        elif spill:
            found = spill.popleft()
            if found != content(taken):
                sys.exit(f"wrong message {taken}: {found!r:.80}")
            taken += 1
            say("taken", taken)


def fill_up(root: Path) -> None:
    """Appends until the system does not let a file grow any more."""
    spill = SpillFiles(root, "port", max_bytes=ROOMY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    for number in itertools.count():
        try:
            spill.append(content(number))
        except OSError as error:
            say("failed", number, type(error).__name__)
            os.kill(os.getpid(), 9)


def hold(root: Path) -> None:
    """Has the files open until it is killed."""
    spill = SpillFiles(root, "port", max_bytes=ROOMY)
    spill.append(b"mine")
    say("open")
    sys.stdin.read()


if __name__ == "__main__":
    {"turn_over": turn_over, "fill_up": fill_up, "hold": hold}[sys.argv[1]](Path(sys.argv[2]))
