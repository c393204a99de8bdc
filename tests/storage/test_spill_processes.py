"""Spill files and the processes that use them, killed for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actorkit.errors import StorageError
from actorkit.storage.spill import SpillFiles
from tests.storage.spiller import ROOMY, content

PROJECT = Path(__file__).parents[2]


@contextmanager
def spiller(what: str, root: Path) -> Iterator[tuple[subprocess.Popen[str], Iterator[list[str]]]]:
    """The process, and what it says; it is killed in the end."""
    command = [sys.executable, "-m", "tests.storage.spiller", what, str(root)]
    with subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, (line.split() for line in process.stdout)
        finally:
            process.kill()


def drained(spill: SpillFiles) -> list[object]:
    return [spill.popleft() for _ in range(len(spill))]


@pytest.mark.parametrize("lines", [1, 2, 3, 10, 57, 200, 1_001, 2_000])
def test_after_a_kill_exactly_what_was_not_taken_is_there_in_order(tmp_path: Path, lines: int) -> None:
    done = {"appended": 0, "taken": 0}
    with spiller("turn_over", tmp_path) as (process, said):
        for _, (what, count) in zip(range(lines), said, strict=False):
            done[what] = int(count)
        process.kill()
        for what, count in said:  # what it did before the kill reached it
            done[what] = int(count)
    assert sum(done.values()) >= lines

    spill = SpillFiles(tmp_path, "port", max_bytes=ROOMY)
    found = drained(spill)

    # Of the one step in hand it may have done the writing, and not got to say so.
    ends = (done["appended"], done["appended"] + 1)
    starts = (done["taken"], done["taken"] + 1)
    assert found in [[content(number) for number in range(start, end)] for start in starts for end in ends]


def test_a_file_that_may_not_grow_keeps_what_it_has(tmp_path: Path) -> None:
    with spiller("fill_up", tmp_path) as (process, said):
        ((what, number, error),) = said
        assert process.wait() == -9
    assert (what, error) == ("failed", "OSError")

    spill = SpillFiles(tmp_path, "port", max_bytes=ROOMY)

    assert spill.repairs == ()
    assert drained(spill) == [content(each) for each in range(int(number))]
    assert int(number) > 3


def test_files_in_use_are_refused_until_their_process_is_dead(tmp_path: Path) -> None:
    with spiller("hold", tmp_path) as (process, said):
        assert next(said) == ["open"]

        with pytest.raises(StorageError, match=rf"is in use \(process {process.pid}\)"):
            SpillFiles(tmp_path, "port", max_bytes=ROOMY)

        process.kill()
        process.wait()
        assert drained(SpillFiles(tmp_path, "port", max_bytes=ROOMY)) == [b"mine"]


def test_actorkit_can_be_imported_where_messages_cannot_be_spilled() -> None:
    script = """
import os, sys
import trio  # its own parts for Windows need Windows
sys.modules["fcntl"] = None
del os.O_NOFOLLOW, os.pread, os.pwrite, os.fchmod
from pathlib import Path
import actorkit
from actorkit.storage.spill import SpillFiles
sys.platform = "win32"
try:
    SpillFiles(Path("nowhere"), "port", max_bytes=1)
except actorkit.StorageError as error:
    print(error)
"""

    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, text=True, capture_output=True, check=False)

    assert (done.stdout, done.stderr) == ("messages can be spilled on POSIX systems only: choose another overflow strategy\n", "")
