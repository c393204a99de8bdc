"""Spill files after crashes, on bad disks and on full ones: what can be read is, and what can't is accounted for."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from actorkit.storage.segments import HEADER_SIZE, Damaged, with_header
from actorkit.storage.spill import SpillFiles

MESSAGES = [b"zero", b"", b"two" * 10, b"\xabREC four", b"four", b"five five"]  # one has in it what a header starts with


def opened(root: Path, *, segment_size: int = 100) -> SpillFiles:
    return SpillFiles(root, "port", max_bytes=10**6, segment_size=segment_size)


def left_by_a_crash(root: Path, messages: Iterable[bytes] = MESSAGES, *, taken: int = 0, segment_size: int = 100) -> Path:
    """The files as a process leaves them that is killed after it has spilled these messages and taken some of them."""
    spill = opened(root / "live", segment_size=segment_size)
    for message in messages:
        spill.append(message)
    for _ in range(taken):
        spill.popleft()
    shutil.copytree(root / "live", root / "left")
    spill.close(delete=True)
    return root / "left"


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("*/*.spill"))


def drained(spill: SpillFiles) -> list[bytes | Damaged]:
    found = []
    while spill:
        found.append(spill.popleft())
    return found


def whole(found: Iterable[bytes | Damaged]) -> list[bytes]:
    return [each for each in found if isinstance(each, bytes)]


def accounted(found: Iterable[bytes | Damaged]) -> int:
    return sum(each.messages if isinstance(each, Damaged) else 1 for each in found)


def in_order(some: list[bytes], of: list[bytes]) -> bool:
    """Whether all of some stand in the other list, in that order."""
    rest = iter(of)
    return all(each in rest for each in some)


# ---- damage


@pytest.mark.parametrize("segment", [0, 1])
def test_a_flipped_bit_costs_one_message_and_is_reported(tmp_path: Path, segment: int) -> None:
    left = left_by_a_crash(tmp_path)
    path = segments(left)[segment]
    assert len(segments(left)) == 2
    sound = path.read_bytes()

    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        root = Path(shutil.copytree(left, tmp_path / "flipped"))
        segments(root)[segment].write_bytes(damaged)
        spill = opened(root)
        expected = len(spill)
        found = drained(spill)
        spill.close()
        shutil.rmtree(root)

        assert expected == accounted(found) == len(MESSAGES), place
        assert len(whole(found)) == len(MESSAGES) - 1, place
        assert in_order(whole(found), MESSAGES), place


def test_a_damaged_message_says_what_is_left_of_it(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path)
    path = segments(left)[0]
    path.write_bytes(path.read_bytes().replace(b"zero", b"zerO"))

    found = opened(left).popleft()

    assert found == Damaged(1, 4, "the checksum of a message is wrong", b"zerO")


def test_a_damaged_region_counts_the_messages_that_were_in_it(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path, segment_size=10**6)
    path = segments(left)[0]
    data = bytearray(path.read_bytes())
    start, end = 2, 2 * HEADER_SIZE + 6  # from the first header into the third
    data[start:end] = bytes(end - start)
    path.write_bytes(data)

    found = drained(opened(left))

    assert [each if isinstance(each, bytes) else (each.messages, each.reason) for each in found] == [
        (3, "the header of a message is damaged"),
        *MESSAGES[3:],
    ]


def test_a_damaged_file_in_the_middle_counts_its_messages(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path, [b"x" * 30] * 8)
    path = segments(left)[1]
    path.write_bytes(bytes(path.stat().st_size))

    found = drained(opened(left))

    assert [each if isinstance(each, bytes) else (each.messages, each.size) for each in found] == [
        *[b"x" * 30] * 2,
        (2, 2 * (HEADER_SIZE + 30)),
        *[b"x" * 30] * 4,
    ]


@pytest.mark.parametrize("missing", [0, 1, 3], ids=["first", "middle", "last"])
def test_messages_of_a_file_that_is_missing_are_reported(tmp_path: Path, missing: int) -> None:
    spill = opened(tmp_path)
    messages = [bytes([n]) * 30 for n in range(8)]
    for message in messages:
        spill.append(message)
    spill.close()
    segments(tmp_path)[missing].unlink()

    spill = opened(tmp_path)
    found = drained(spill)

    first = 2 * missing
    assert found == [*messages[:first], Damaged(2, 0, "messages are missing from the files"), *messages[first + 2 :]]
    assert spill.append(b"more")
    assert drained(spill) == [b"more"]


def test_a_file_that_is_removed_under_way_is_reported_and_the_rest_read(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    messages = [bytes([n]) * 30 for n in range(8)]
    for message in messages:
        spill.append(message)
    segments(tmp_path)[2].unlink()

    found = drained(spill)

    assert found == [*messages[:4], Damaged(2, 0, "messages are missing from the files"), *messages[6:]]


def test_damage_that_comes_while_the_files_are_open_is_found(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for message in MESSAGES:
        spill.append(message)
    path = segments(tmp_path)[0]
    with path.open("r+b") as file:
        file.truncate(HEADER_SIZE + 4 + 10)

    found = drained(spill)

    assert found[0] == MESSAGES[0]
    assert accounted(found) == len(MESSAGES)
    assert whole(found) == [MESSAGES[0], *MESSAGES[-len(whole(found)) + 1 :]]


@pytest.mark.parametrize("number", [0, 2**63])
def test_a_message_that_looks_like_spilled_ones_is_not_taken_for_them(tmp_path: Path, number: int) -> None:
    left = left_by_a_crash(tmp_path, [b"a", b"b", with_header(b"forged", number)], segment_size=10**6)
    path = segments(left)[0]
    data = bytearray(path.read_bytes())
    data[2 * (HEADER_SIZE + 1)] ^= 1
    path.write_bytes(data)

    spill = opened(left, segment_size=10**6)
    assert len(spill) == 3
    spill.append(b"goes on")
    found = drained(spill)

    assert whole(found) == [b"a", b"b", b"goes on"]
    assert accounted(found) == 4


def test_a_file_that_is_replaced_by_a_link_under_way_is_not_followed(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for n in range(8):
        spill.append(bytes([n]) * 30)
    second = segments(tmp_path)[1]
    second.rename(tmp_path / "elsewhere")
    second.symlink_to(tmp_path / "elsewhere")

    assert [spill.popleft(), spill.popleft()] == [bytes(30), bytes([1]) * 30]
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        spill.popleft()


# ---- crashes


def test_a_message_that_was_cut_short_is_cut_off_and_reported(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path, segment_size=10**6)
    size = segments(left)[0].stat().st_size
    ends = [sum(HEADER_SIZE + len(each) for each in MESSAGES[:n]) for n in range(len(MESSAGES) + 1)]

    for length in range(size):
        root = Path(shutil.copytree(left, tmp_path / "cut"))
        os.truncate(segments(root)[0], length)
        spill = opened(root, segment_size=10**6)
        complete = sum(end <= length for end in ends) - 1

        assert len(spill) == complete
        assert [(each.messages, each.size) for each in spill.repairs] == ([(0, length - ends[complete])] if length > ends[complete] else [])
        assert spill.append(b"goes on")
        spill.close()
        again = opened(root, segment_size=10**6)
        assert again.repairs == ()
        assert drained(again) == [*MESSAGES[:complete], b"goes on"]
        again.close()
        shutil.rmtree(root)


def test_a_tail_that_vanished_after_an_orderly_end_is_missed(tmp_path: Path) -> None:
    spill = opened(tmp_path, segment_size=10**6)
    for message in MESSAGES:
        spill.append(message)
    spill.close()
    os.truncate(segments(tmp_path)[0], HEADER_SIZE + 4 + HEADER_SIZE)

    spill = opened(tmp_path, segment_size=10**6)
    assert len(spill) == 6
    spill.append(b"goes on")

    assert drained(spill) == [b"zero", b"", Damaged(4, 0, "messages are missing from the files"), b"goes on"]


def test_what_is_spilled_after_a_file_was_cut_before_the_position_is_read(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path, taken=5, segment_size=10**6)
    os.truncate(segments(left)[0], HEADER_SIZE + 4)

    spill = opened(left, segment_size=10**6)
    spill.append(b"goes on")

    assert drained(spill) == [Damaged(1, 0, "messages are missing from the files"), b"goes on"]


def test_after_a_power_failure_left_zeros_the_rest_is_read(tmp_path: Path) -> None:
    left = left_by_a_crash(tmp_path, segment_size=10**6)
    with segments(left)[0].open("ab") as file:
        file.write(bytes(100))

    spill = opened(left, segment_size=10**6)
    spill.append(b"goes on")
    found = drained(spill)

    assert found == [*MESSAGES, Damaged(1, 100, "the header of a message is damaged", bytes(100)), b"goes on"]


@pytest.mark.parametrize("taken", [0, 1, 2, 5, 6])
def test_a_damaged_position_makes_the_last_message_come_again_at_most(tmp_path: Path, taken: int) -> None:
    left = left_by_a_crash(tmp_path, taken=taken, segment_size=10**6)
    sound = next(left.glob("*/position")).read_bytes()

    for place in (*range(50), *range(512, 562)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        root = Path(shutil.copytree(left, tmp_path / "flipped"))
        next(root.glob("*/position")).write_bytes(damaged)
        spill = opened(root, segment_size=10**6)
        found = drained(spill)
        spill.close()
        shutil.rmtree(root)

        assert found in (MESSAGES[taken:], MESSAGES[max(taken - 1, 0) :])


@pytest.mark.parametrize("data", [b"", b"\0" * 1_024, b"x" * 10_000], ids=["empty", "zeros", "text"])
def test_without_a_position_the_oldest_messages_come_again_and_it_is_said(tmp_path: Path, data: bytes) -> None:
    left = left_by_a_crash(tmp_path, taken=2, segment_size=10**6)
    next(left.glob("*/position")).write_bytes(data)

    spill = opened(left, segment_size=10**6)

    assert [(each.messages, each.reason) for each in spill.repairs] == [
        (0, "the position could not be read: starts at the oldest message, and some may come again")
    ]
    assert drained(spill) == MESSAGES
    assert drained(spill) == []


def test_a_segment_that_a_crash_has_kept_from_being_removed_does_not_come_again(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    for message in MESSAGES:
        spill.append(message)
    first = segments(tmp_path)[0]
    kept = first.read_bytes()
    while first.exists():
        spill.popleft()
    expected = len(spill)
    spill.close()
    first.write_bytes(kept)

    spill = opened(tmp_path)

    assert not first.exists()
    assert drained(spill) == MESSAGES[-expected:]


@pytest.mark.parametrize("name", ["00000000000000000009.spill", "1.spill", "x.spill", "00000000000000000000.spill.bak"])
def test_what_is_no_segment_is_left_alone(tmp_path: Path, name: str) -> None:
    left = left_by_a_crash(tmp_path)
    stranger = segments(left)[0].parent / name
    stranger.symlink_to("/dev/zero") if name.startswith("0" * 19 + "9") else stranger.write_text("mine")

    assert drained(opened(left)) == MESSAGES
    assert stranger.is_symlink() or stranger.read_text() == "mine"


# ---- full disks


class Disk:
    """A disk with so many free bytes. To write over what is there needs none."""

    def __init__(self, free: int) -> None:
        self.free = free

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        size = os.fstat(descriptor).st_size
        fits = max(size - offset, 0) + self.free
        if not fits:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.pwrite(descriptor, data[:fits], offset)
        self.free -= max(offset + written - size, 0)
        return written


@pytest.mark.parametrize("segment_size", [60, 10**6])
def test_a_full_disk_refuses_a_message_whole_and_keeps_the_others(tmp_path: Path, segment_size: int) -> None:
    needed = sum(HEADER_SIZE + len(each) for each in MESSAGES)
    for free in range(needed):
        disk = Disk(10**6)
        root = tmp_path / str(free)
        spill = SpillFiles(root / "live", "port", max_bytes=10**6, segment_size=segment_size, write=disk.write)
        disk.free = free
        accepted = []
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            for message in MESSAGES:
                spill.append(message)
                accepted.append(message)

        assert len(spill) == len(accepted) < len(MESSAGES)
        left = Path(shutil.copytree(root / "live", root / "left"))
        found = opened(left, segment_size=segment_size)
        assert found.repairs == ()
        assert drained(found) == accepted
        found.close()

        disk.free = 10**6
        spill.append(b"again")
        assert drained(spill) == [*accepted, b"again"]
        spill.close(delete=True)


def test_messages_can_be_taken_from_a_full_disk(tmp_path: Path) -> None:
    disk = Disk(10**6)
    spill = SpillFiles(tmp_path, "port", max_bytes=10**6, segment_size=100, write=disk.write)
    for message in MESSAGES:
        spill.append(message)
    disk.free = 0

    first = spill.popleft()
    spill.close()
    spill = SpillFiles(tmp_path, "port", max_bytes=10**6, segment_size=100, write=disk.write)

    assert [first, *drained(spill)] == MESSAGES


def test_a_message_stays_when_the_position_cannot_be_written(tmp_path: Path) -> None:
    broken = False

    def write(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pwrite(descriptor, data, offset)

    spill = SpillFiles(tmp_path, "port", max_bytes=10**6, segment_size=100, write=write)
    spill.append(b"x")
    broken = True
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        spill.popleft()
    assert len(spill) == 1

    broken = False

    assert drained(spill) == [b"x"]


def test_files_that_could_not_be_made_are_not_held(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        SpillFiles(tmp_path, "port", max_bytes=10**6, write=Disk(0).write)

    assert len(opened(tmp_path)) == 0
