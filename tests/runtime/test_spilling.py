"""SPILL_TO_DISK: what finds no room waits on disk, in its order."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import Actor, OverflowStrategy, SupervisionError, child, dynamic_supervisor, in_port, open_system


@frozen
class Row:
    number: int
    text: str


class Slow(Actor):
    """Takes a second for each row."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    @in_port(capacity=4, overflow=OverflowStrategy.SPILL_TO_DISK)
    async def in_row(self, row: Row) -> int:
        await trio.sleep(1)
        self.seen.append(row.number)
        return row.number


def modes_of_files(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.rglob("*") if file.is_file()}


async def test_what_finds_no_room_waits_on_disk_and_comes_back_in_order(tmp_path: Path) -> None:
    seen: list[int] = []
    async with open_system(child(Slow, seen).options(shutdown=1000), spill_to=tmp_path) as system:
        for number in range(50):
            await system.ref(Slow).send(Slow.in_row, Row(number, "ä" * number))
        await trio.testing.wait_all_tasks_blocked()

        ledger = system.ledger()
        ledger.check()
        assert (ledger.accepted, ledger.in_flight, ledger.queued, ledger.spilled) == (50, 1, 4, 45)
        assert system.ledger().ports["root/supervisor/slow.in_row"].spilled == 45
        assert modes_of_files(tmp_path) == {0o600}

        await system.settle()

        system.ledger().check()
        assert seen == list(range(50))
        assert system.ledger().spilled == 0


async def test_a_request_waits_for_room_behind_what_is_on_disk() -> None:
    seen: list[int] = []
    async with open_system(child(Slow, seen).options(shutdown=1000)) as system:
        for number in range(10):
            await system.ref(Slow).send(Slow.in_row, Row(number, ""))

        answer = await system.ref(Slow).ask(Slow.in_row, Row(10, ""), timeout=60)

        assert answer == 10
        assert seen == list(range(11))


async def test_what_is_still_on_disk_at_the_end_becomes_dead_letters() -> None:
    seen: list[int] = []
    async with open_system(child(Slow, seen).options(shutdown=2.5)) as system:
        for number in range(20):
            await system.ref(Slow).send(Slow.in_row, Row(number, ""))

    ledger = system.ledger()
    ledger.check()
    assert ledger.processed == len(seen)
    assert ledger.dead_lettered_by == {"shutdown": 20 - len(seen)}
    assert [letter.message.number for letter in await system.dead_letters.inspect()] == list(range(len(seen), 20))


KILLED = """
import os, signal, sys
from pathlib import Path
import trio
from actorkit import child, open_system
from tests.runtime.test_spilling import Row, Slow

async def main() -> None:
    async with open_system(child(Slow, []), spill_to=Path(sys.argv[1])) as system:
        for number in range(20):
            await system.ref(Slow).send(Slow.in_row, Row(number, "x"))
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


async def test_what_a_killed_process_left_on_disk_is_read_back(tmp_path: Path) -> None:
    killed = await trio.run_process([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9

    seen: list[int] = []
    async with open_system(child(Slow, seen).options(shutdown=1000), spill_to=tmp_path) as system:
        await system.settle()

        system.ledger().check()
        assert seen == list(range(seen[0], 20))  # what was in memory is gone, what was on disk is not
        assert len(seen) >= 15
        assert system.ledger().accepted == len(seen)


async def test_files_that_cannot_be_used_are_a_failed_start_that_leaves_nothing_half_begun(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    begun: list[str] = []

    class Starting(Slow):
        async def on_start(self) -> None:
            begun.append("on_start")

    async with open_system(dynamic_supervisor(name="archives"), spill_to=no_folder) as system:
        with pytest.raises(SupervisionError, match=r"root/archives/starting-1 could not be started: FileExistsError") as failed:
            await system.supervisor("root/archives").start_child(child(Starting, []))

    assert isinstance(failed.value.__cause__, FileExistsError)
    assert begun == []


async def test_a_folder_is_named_by_a_path() -> None:
    wrong: Any = 5

    with pytest.raises(TypeError, match="spill_to = 5: expected a folder's path, or None"):
        async with open_system(child(Slow, []), spill_to=wrong):
            pass
