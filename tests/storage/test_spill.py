"""Spilled messages come back in order, within their budget, from one opening of the files to the next."""

from __future__ import annotations

import os
import shutil
import stat
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import StorageError
from actorkit.storage.segments import HEADER_SIZE
from actorkit.storage.spill import SpillFiles, directory_name


def opened(root: Path, port: str = "root/s/counter.in_add", *, max_bytes: int = 10**6, segment_size: int = 100) -> SpillFiles:
    return SpillFiles(root, port, max_bytes=max_bytes, segment_size=segment_size)


def drained(spill: SpillFiles) -> list[object]:
    return [spill.popleft() for _ in range(len(spill))]


def segments(spill: SpillFiles) -> list[Path]:
    return sorted(spill.directory.glob("*.spill"))


# ---- a queue


def test_messages_come_back_in_the_order_in_which_they_were_spilled(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    messages = [bytes([n]) * n for n in range(50)]

    assert [spill.append(message) for message in messages] == [True] * 50
    assert len(spill) == 50
    assert drained(spill) == messages
    assert (len(spill), spill.bytes_used) == (0, 0)


def test_nothing_can_be_taken_from_an_empty_queue(tmp_path: Path) -> None:
    spill = opened(tmp_path)

    with pytest.raises(IndexError, match="no message is spilled"):
        spill.popleft()


_steps = st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(["pop", "pop", "reopen", "crash"])), max_size=60)


@settings(deadline=None, max_examples=100)
@given(_steps, st.sampled_from([1, 80, 10_000]))
def test_it_is_a_queue_whatever_happens_to_its_process(steps: list[bytes | str], segment_size: int) -> None:
    model: deque[bytes] = deque()
    budget = 20 * (HEADER_SIZE + 10)
    with TemporaryDirectory() as folder:
        root = Path(folder) / "0"
        spill = opened(root, max_bytes=budget, segment_size=segment_size)

        for step, action in enumerate(steps):
            if isinstance(action, bytes):
                fits = sum(HEADER_SIZE + len(each) for each in (*model, action)) <= budget
                assert spill.append(action) == fits
                if fits:
                    model.append(action)
            elif action == "pop":
                if model:
                    assert spill.popleft() == model.popleft()
            else:
                if action == "reopen":
                    spill.close()
                else:
                    # What a process leaves behind that is killed now.
                    root = Path(shutil.copytree(root, Path(folder) / str(step + 1)))
                    spill.close()
                spill = opened(root, max_bytes=budget, segment_size=segment_size)
                assert spill.repairs == ()
            assert len(spill) == len(model)
            assert spill.bytes_used == sum(HEADER_SIZE + len(each) for each in model)

        assert drained(spill) == list(model)
        spill.close(delete=True)
        assert list(root.iterdir()) == []


# ---- room


def test_a_message_beyond_the_budget_is_not_taken(tmp_path: Path) -> None:
    spill = opened(tmp_path, max_bytes=3 * (HEADER_SIZE + 10))
    assert [spill.append(b"x" * 10) for _ in range(4)] == [True, True, True, False]
    assert len(spill) == 3

    spill.popleft()

    assert spill.append(b"y" * 10)
    assert not spill.append(b"")


def test_a_segment_is_removed_when_all_of_it_is_read(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for _ in range(12):
        spill.append(b"x" * 26)  # two to a segment
    assert len(segments(spill)) == 6

    left = []
    while spill:
        spill.popleft()
        left.append(len(segments(spill)))

    assert left == [6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0]


def test_a_queue_that_stays_short_does_not_make_its_file_anew_each_time(tmp_path: Path) -> None:
    spill = opened(tmp_path, segment_size=1_000)

    for _ in range(10):
        spill.append(b"x")
        spill.popleft()

    assert [path.stat().st_size for path in segments(spill)] == [10 * (HEADER_SIZE + 1)]


# ---- opening and closing


def test_closing_keeps_the_messages_unless_they_are_to_be_deleted(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for n in range(5):
        spill.append(bytes([n]))
    spill.popleft()
    spill.close()

    again = opened(tmp_path)
    assert drained(again) == [b"\x01", b"\x02", b"\x03", b"\x04"]
    again.append(b"more")
    again.close(delete=True)

    assert list(tmp_path.iterdir()) == []
    assert len(opened(tmp_path)) == 0


def test_closing_an_empty_queue_leaves_no_segment(tmp_path: Path) -> None:
    spill = opened(tmp_path, segment_size=10**6)
    spill.append(b"x")
    spill.popleft()

    spill.close()

    assert segments(spill) == []
    assert len(opened(tmp_path)) == 0


def test_a_file_of_somebody_else_survives_the_deletion(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    (spill.directory / "notes").write_text("keep")

    spill.close(delete=True)

    assert [path.name for path in spill.directory.iterdir()] == ["notes"]


def test_closed_files_say_that_they_are_closed(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    spill.append(b"x")
    spill.close()
    spill.close()

    with pytest.raises(StorageError, match="are closed"):
        spill.append(b"y")
    with pytest.raises(StorageError, match="are closed"):
        spill.popleft()


def test_two_cannot_use_the_same_files(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    spill.append(b"x")

    with pytest.raises(StorageError, match=rf"is in use \(process {os.getpid()}\): two cannot spill port 'root/s/counter.in_add'"):
        opened(tmp_path)

    assert spill.popleft() == b"x"
    spill.close()
    opened(tmp_path).close()


def test_ports_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = opened(tmp_path, "one"), opened(tmp_path, "other")

    one.append(b"1")
    other.append(b"2")

    assert (drained(one), drained(other)) == ([b"1"], [b"2"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    os.chown(tmp_path / directory_name("root/s/counter.in_add"), 65534, -1)

    with pytest.raises(StorageError, match="belongs to another user"):
        opened(tmp_path)


# ---- names and permissions


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a\0b",
    "x" * 4_000,
    "con",
    "\u202eevil",
    "a/b",
    "a\\b",
    "\udcff",
    "a\nb",
    "~",
    "A",
    "a",
]


@pytest.mark.parametrize("port", HOSTILE, ids=lambda port: ascii(port)[:20])
def test_a_port_of_any_name_has_its_files_inside_the_root(tmp_path: Path, port: str) -> None:
    spill = opened(tmp_path / "deep" / "root", port)
    spill.append(b"x")

    assert spill.directory.resolve().parent == (tmp_path / "deep" / "root").resolve()
    assert len(os.fsencode(spill.directory.name)) < 100
    spill.close()
    assert drained(opened(tmp_path / "deep" / "root", port)) == [b"x"]


def test_different_ports_have_different_directories_on_any_file_system() -> None:
    assert len({directory_name(port).lower() for port in HOSTILE}) == len(HOSTILE)
    assert directory_name("root/s/counter.in_add").startswith("root-s-counter-in-add-")


def test_nobody_else_can_read_what_is_spilled(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spill = opened(tmp_path / "spill")
        spill.append(b"x")
    finally:
        os.umask(before)

    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in spill.directory.iterdir()} == {
        "lock": 0o600,
        "position": 0o600,
        "00000000000000000000.spill": 0o600,
    }
    assert stat.S_IMODE(spill.directory.stat().st_mode) == stat.S_IMODE(spill.directory.parent.stat().st_mode) == 0o700


def test_a_directory_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / directory_name("p")).mkdir(mode=0o755)

    spill = opened(tmp_path, "p")

    assert stat.S_IMODE(spill.directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["lock", "position", ""])
def test_a_symbolic_link_is_not_followed(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    directory = tmp_path / directory_name("p")
    if name:
        directory.mkdir()
        elsewhere.write_text("precious")
    else:
        elsewhere.mkdir()
    (directory / name if name else directory).symlink_to(elsewhere)

    with pytest.raises(OSError, match=r"symbolic|directory"):
        opened(tmp_path, "p")

    assert not name or elsewhere.read_text() == "precious"
