"""An SQLite store whose files were damaged: what it reads is what was written, or is said to be damaged, or it is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from actorkit import SqliteStore, StorageError
from actorkit.storage import sqlite_files
from actorkit.storage.store import Changes, DamagedEntry, Key, Opening
from tests.storage.keeper import SPACE, content

KEYS: list[Key] = [*range(300), *(b"key %02d" % number for number in range(100))]
FILES = ("app.db", "app.db-wal", "app.db.hw")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that is killed: half of all is in the database, all of it in its log, the witness is up to date."""
    folder = tmp_path_factory.mktemp("left")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_files, "PERIOD", 0.0)
        store = SqliteStore(folder / "app.db")
        store.open()
        for start in range(0, len(KEYS), 20):
            store.write([Changes([(SPACE, key, body(key))]) for key in KEYS[start : start + 20]])
            if start == 200:
                store._checkpoint("TRUNCATE")
        (folder / "left").mkdir()
        for name in FILES:
            shutil.copy(folder / name, folder / "left")
        store.close(clean=True)
    return folder / "left"


def body(key: Key) -> bytes:
    return content(key) if isinstance(key, int) else key * 20


def copied(left: Path, tmp_path: Path) -> Path:
    """The file of a new copy of what was left."""
    for name in FILES:
        shutil.copy(left / name, tmp_path)
    return tmp_path / "app.db"


def outcome(path: Path) -> str:
    """What became of the store; it fails if anything is wrong that it did not say."""
    store = SqliteStore(path)
    try:
        store.open()
        entries = dict(store.scan(SPACE, limit=10_000))
        single = {key: store.get(SPACE, key) for key in KEYS}
    except StorageError:
        return "refused"
    finally:
        with suppress(StorageError):
            store.close(clean=False)
    damaged = [key for key, found in entries.items() if isinstance(found, DamagedEntry)]
    assert {key: found for key, found in entries.items() if key not in damaged and found != body(key)} == {}
    assert {key: found for key, found in single.items() if found is not None and found != body(key) and key not in damaged} == {}
    missing = KEYS if not entries else [key for key in KEYS if key not in entries]
    assert len(missing) <= len(damaged)  # a key that was damaged is another key now, and its entry is known to be damaged
    return "damaged" if damaged else "whole"


def test_after_a_kill_all_is_there(left: Path, tmp_path: Path) -> None:
    store = SqliteStore(copied(left, tmp_path))

    assert store.open() == Opening(is_clean=False)
    assert store.scan(SPACE, limit=10_000) == [(key, body(key)) for key in KEYS]
    store.close(clean=True)
    assert store.open() == Opening(is_clean=True)
    store.close(clean=True)


def flip_bit(path: Path, chance: Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def cut_off(path: Path, chance: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def blank_sector(path: Path, chance: Random) -> None:
    data = bytearray(path.read_bytes())
    start = chance.randrange(len(data) // 512) * 512
    data[start : start + 512] = bytes(512)
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [flip_bit, cut_off, blank_sector])
@pytest.mark.parametrize("name", ["app.db", "app.db-wal"])
def test_no_damage_goes_unnoticed(left: Path, tmp_path: Path, name: str, harm: Callable[[Path, Random], None]) -> None:
    outcomes = []
    for seed in range(40):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = copied(left, folder)
        harm(folder / name, Random(seed))
        outcomes.append(outcome(path))
        shutil.rmtree(folder)

    assert "refused" in outcomes or "damaged" in outcomes


def test_commits_that_are_missing_are_told_and_nothing_is_changed(left: Path, tmp_path: Path) -> None:
    path = copied(left, tmp_path)
    log = tmp_path / "app.db-wal"
    log.write_bytes(log.read_bytes()[:-10_000])
    before = {name: (tmp_path / name).read_bytes() for name in FILES}

    for _ in range(2):
        with pytest.raises(StorageError, match=r"app\.db.*\d+ or more commits are missing.*accept_loss=True"):
            SqliteStore(path).open()
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == before

    store = SqliteStore(path, accept_loss=True)
    opening = store.open()
    found = store.scan(SPACE, limit=10_000)
    store.close(clean=True)

    assert not opening.is_clean
    assert "commits are missing" in opening.repairs[0]
    assert found == [(key, body(key)) for key in KEYS[: len(found)]]
    assert 200 <= len(found) < len(KEYS)
    again = SqliteStore(path)
    assert again.open() == Opening(is_clean=True)
    again.close(clean=True)


def test_a_log_that_is_gone_is_missed(left: Path, tmp_path: Path) -> None:
    path = copied(left, tmp_path)
    (tmp_path / "app.db-wal").unlink()

    with pytest.raises(StorageError, match="commits are missing"):
        SqliteStore(path).open()


def test_without_a_witness_there_is_nothing_to_compare(left: Path, tmp_path: Path) -> None:
    path = copied(left, tmp_path)
    (tmp_path / "app.db.hw").unlink()

    store = SqliteStore(path)

    assert store.open() == Opening(is_clean=False)
    store.close(clean=True)
    assert (tmp_path / "app.db.hw").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"00 00 99 00000000", b"\xff" * 1_000])
def test_a_damaged_witness_is_reported_and_replaced(left: Path, tmp_path: Path, content: bytes) -> None:
    path = copied(left, tmp_path)
    (tmp_path / "app.db.hw").write_bytes(content)

    store = SqliteStore(path)
    (repair,) = store.open().repairs
    store.close(clean=True)

    assert "can't be read" in repair
    assert store.open() == Opening(is_clean=True)
    store.close(clean=True)


def test_the_witness_of_another_store_says_nothing(left: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = SqliteStore(path)
    store.open()
    store.close(clean=True)
    shutil.copy(left / "app.db.hw", tmp_path)

    assert store.open() == Opening(is_clean=True)
    store.close(clean=True)


def test_one_damaged_entry_does_not_stop_the_others_and_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = SqliteStore(path)
    store.open()
    store.write([Changes([(SPACE, key, b"content number %d" % key) for key in range(3)])])
    store.close(clean=True)
    path.write_bytes(path.read_bytes().replace(b"content number 1", b"contend number 1"))

    store.open()
    damaged = DamagedEntry("its checksum is wrong", b"contend number 1")
    assert store.scan(SPACE) == [(0, b"content number 0"), (1, damaged), (2, b"content number 2")]
    assert store.get(SPACE, 1) == damaged

    store.write([Changes([(SPACE, 1, b"new")])])
    assert store.get(SPACE, 1) == b"new"
    store.close(clean=True)


def test_an_entry_that_has_got_to_another_place_is_found(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "app.db")
    store.open()
    store.write([Changes([("state a", 1, b"one"), ("state b", 2, b"two"), ("state c", b"1", b"three")])])
    assert store._writer is not None
    for statement in (
        "UPDATE entry SET space = 2 WHERE key = 1",
        "UPDATE entry SET key = 7 WHERE key = 2",
        "UPDATE entry SET key = 1 WHERE space = 3",
    ):
        store._writer.execute(statement)

    found = [entry for space in ("state b", "state c") for entry in store.scan(space)]
    store.close(clean=True)

    assert [key for key, _ in found] == [1, 7, 1]
    assert all(isinstance(each, DamagedEntry) for _, each in found[:2])


def test_a_key_that_is_no_key_any_more_is_not_passed_over(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "app.db")
    store.open()
    store.write([Changes([(SPACE, 1, b"one"), (SPACE, b"2", b"two")])])
    assert store._writer is not None
    store._writer.execute("UPDATE entry SET key = 1.5 WHERE key = 1")

    with pytest.raises(StorageError, match=r"damaged.*1\.5"):
        store.scan(SPACE)
    store.close(clean=True)
