"""An SQLite store as files: who may read them, what is refused, full disks, other processes, copies."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from actorkit import SqliteStore, StorageError, StoreBlocked
from actorkit.storage import sqlite_files, sqlite_schema
from actorkit.storage.store import Changes, Key, Opening
from tests.storage.keeper import SPACE, content

PROJECT = Path(__file__).parents[2]


def put(key: int, body: bytes = b"body") -> Changes:
    return Changes([(SPACE, key, body)])


def delete(*keys: int) -> Changes:
    return Changes(deletes=[(SPACE, key) for key in keys])


@contextmanager
def opened(path: Path, **options: bool) -> Iterator[SqliteStore]:
    store = SqliteStore(path, accept_loss=options.get("accept_loss", False), read_only=options.get("read_only", False))
    store.open()
    try:
        yield store
    finally:
        store.close(clean=True)


def keys(store: SqliteStore) -> list[Key]:
    return [key for key, _ in store.scan(SPACE, limit=100_000)]


def contents(folder: Path) -> dict[str, bytes]:
    """Of every regular file that is there."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not path.is_symlink()}


def in_sqlite(path: Path, *statements: str) -> None:
    """What somebody else does with the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# ---- names and permissions


@pytest.mark.parametrize(
    "name", ["a b.db", "größe 状態 😀.db", "what?mode=ro", "#1.db", "100%41.db", "it's", '"', ":memory:", "-x", "no\nline"]
)
def test_a_file_has_any_name(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / name) as store:
        store.write([put(1)])
        assert keys(store) == [1]

    assert (tmp_path / name).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.lock", f"{name}.hw", f"{name}.ballast"}


def test_a_path_stays_the_same_when_the_process_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("app.db")
    monkeypatch.chdir("/")

    store.open()
    store.close(clean=True)

    assert (tmp_path / "app.db").is_file()
    assert store.title == "SqliteStore('app.db')"


def test_all_files_are_their_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "app.db") as store:
            store.write([put(1)])
            store.backup(tmp_path / "copy.db")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)

    assert len(modes) == 7
    assert set(modes.values()) == {0o600}


def test_a_file_that_others_can_read_is_taken_from_them(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with opened(path):
        pass
    path.chmod(0o644)

    store = SqliteStore(path)
    (repair,) = store.open().repairs
    store.close(clean=True)

    assert "mode 644" in repair
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.touch()

    with opened(path) as store:
        store.write([put(1)])
        assert keys(store) == [1]


# ---- what is refused


def a_text(path: Path) -> None:
    path.write_text("Dear diary, " * 100)


def a_short_text(path: Path) -> None:
    path.write_text("x")


def a_directory(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    with opened(path.with_name("real.db")):
        pass
    path.symlink_to("real.db")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere.db")


def a_foreign_database(path: Path) -> None:
    in_sqlite(path, "CREATE TABLE account (id)", "INSERT INTO account VALUES (1)")


def a_foreign_database_with_a_log(path: Path) -> None:
    in_sqlite(path, "PRAGMA journal_mode = WAL", "PRAGMA application_id = 7", "CREATE TABLE account (id)")


def a_newer_store(path: Path) -> None:
    with opened(path):
        pass
    in_sqlite(path, "PRAGMA user_version = 2")


def a_store_with_nothing_but_a_header(path: Path) -> None:
    with opened(path):
        pass
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 20_000)


def a_store_without_its_tables(path: Path) -> None:
    in_sqlite(path, f"PRAGMA application_id = {sqlite_schema.APPLICATION_ID}", "PRAGMA user_version = 1", "PRAGMA journal_mode = WAL")


def a_log_without_its_database(path: Path) -> None:
    path.with_name("app.db-wal").write_bytes(b"7" * 5_000)


BAD = [
    (a_text, "no store"),
    (a_short_text, "no store"),
    (a_directory, "a directory"),
    (a_pipe, "no regular file"),
    (a_link, "symbolic link"),
    (a_dangling_link, "symbolic link"),
    (a_foreign_database, "another application"),
    (a_foreign_database_with_a_log, "another application"),
    (a_newer_store, "version 2"),
    (a_store_with_nothing_but_a_header, "damaged"),
    (a_store_without_its_tables, "no such table"),
    (a_log_without_its_database, "-wal"),
]


@pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_what_is_no_store_is_refused_and_left_as_it_was(tmp_path: Path, make: object, reason: str) -> None:
    assert callable(make)
    path = tmp_path / "app.db"
    make(path)
    before = contents(tmp_path)

    for _ in range(2):
        with pytest.raises(StorageError, match=rf"app\.db.*{reason}"):
            SqliteStore(path).open()

    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() <= {"app.db-wal", "app.db-shm"}


def test_a_directory_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no directory"):
        SqliteStore(tmp_path / "nowhere" / "app.db").open()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
@pytest.mark.parametrize("what", ["folder", "file", "somebody else's"])
def test_what_may_not_be_written_is_refused(what: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # which, other than tmp_path, another user can get at
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "app.db"
        user = os.geteuid()
        nobody = user or 65534
        if user == 0:
            os.chown(folder, nobody, -1)
        try:
            os.seteuid(nobody)
            if what != "folder":
                with opened(path) as store:
                    store.write([put(1)])
            if what == "folder":
                folder.chmod(0o555)
            elif what == "file":
                path.chmod(0o400)
            else:
                os.seteuid(user)
                if user != 0:
                    pytest.skip("only root can give a file away")
            before = contents(folder)

            with pytest.raises(StorageError, match=r"app\.db.*(permissions|another user)"):
                SqliteStore(path).open()

            assert contents(folder) == before
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_only_two_ways_to_be_synchronous() -> None:
    with pytest.raises(ValueError, match="OFF"):
        SqliteStore("app.db", synchronous="OFF")  # type: ignore[arg-type]


# ---- its form


def test_an_older_form_is_brought_up_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.db"
    with opened(path) as store:
        store.write([put(1)])
    steps = [*sqlite_schema.MIGRATIONS, lambda connection: connection.execute("ALTER TABLE meta ADD COLUMN extra TEXT")]
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", steps)

    again = SqliteStore(path)
    (repair,) = again.open().repairs

    assert "from version 1 to 2" in repair
    assert keys(again) == [1]
    again.close(clean=True)


def test_a_step_that_fails_leaves_the_older_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.db"
    with opened(path) as store:
        store.write([put(1)])

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE meta ADD COLUMN extra TEXT")
        connection.execute("nonsense")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_schema, "MIGRATIONS", [*sqlite_schema.MIGRATIONS, fail])
        with pytest.raises(StorageError, match="nonsense"):
            SqliteStore(path).open()

    with opened(path) as store:
        assert keys(store) == [1]


# ---- others


@contextmanager
def keeper(what: str, path: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[list[str]]]]:
    """The process, and what it says; it is killed in the end."""
    command = [sys.executable, "-m", "tests.storage.keeper", what, str(path), *more]
    with subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, (line.split() for line in process.stdout)
        finally:
            process.kill()


def test_a_store_in_use_is_refused_until_its_process_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with keeper("hold", path) as (process, said):
        assert next(said) == ["open"]

        with pytest.raises(StorageError, match=rf"app\.db.* is in use \(process {process.pid}\)"):
            SqliteStore(path).open()

        process.kill()
        process.wait()
        store = SqliteStore(path)
        assert store.open() == Opening(is_clean=False)
        store.close(clean=True)


@pytest.mark.parametrize(("steps", "more"), [(1, ()), (7, ()), (100, ()), (400, ()), (400, ("NORMAL",))])
def test_after_a_kill_exactly_what_was_kept_is_there(tmp_path: Path, steps: int, more: tuple[str, ...]) -> None:
    path = tmp_path / "app.db"
    done = -1
    with keeper("keep", path, *more) as (process, said):
        for _, (_, step) in zip(range(steps), said, strict=False):
            done = int(step)
        process.kill()
        for _, step in said:  # what it did before the kill reached it
            done = int(step)
    assert done >= steps - 1

    with opened(path) as store:
        found = store.scan(SPACE, limit=100_000)

    # The step in hand may have been committed, without a word.
    assert found in [[(number, content(number)) for number in range(2 * last + 2, 5 * last + 5)] for last in (done, done + 1)]


@pytest.mark.parametrize("can_lock", [True, False])
def test_whoever_is_pushed_out_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_lock: bool) -> None:
    if not can_lock:
        monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    path = tmp_path / "app.db"
    first, second = SqliteStore(path), SqliteStore(path)
    first.open()
    (tmp_path / "app.db.lock").unlink(missing_ok=True)
    second.open()
    second.write([put(2)])

    for _ in range(2):
        with pytest.raises(StorageError, match="opened by somebody else"):
            first.write([put(1)])
    first.close(clean=True)

    assert keys(second) == [2]
    second.close(clean=True)
    with opened(path) as third:
        assert keys(third) == [2]


def test_while_somebody_locks_the_file_writing_is_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_schema, "PATIENCE", 0.0)
    with opened(tmp_path / "app.db") as store:
        store.write([put(1)])
        with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            with pytest.raises(StoreBlocked, match="locks the file"):
                store.write([put(2)])
            assert not store.has_room()
            assert keys(store) == [1]

            other.execute("ROLLBACK")

        assert store.has_room()
        store.write([put(2)])
        assert keys(store) == [1, 2]


def test_somebody_can_look_in_while_it_is_open_and_after(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with opened(path) as store, opened(path, read_only=True) as reader:
        store.write([put(1, b"seen")])

        assert reader.scan(SPACE) == [(1, b"seen")]
        with pytest.raises(StorageError, match="for reading only"):
            reader.write([put(2)])
        with pytest.raises(StorageError, match="for reading only"):
            reader.has_room()

    with opened(path, read_only=True) as reader:
        assert reader.get(SPACE, 1) == b"seen"
    with opened(path) as store:
        assert keys(store) == [1]


def test_other_threads_read_and_copy_while_one_writes(tmp_path: Path) -> None:
    with opened(tmp_path / "app.db") as store, ThreadPoolExecutor(1) as other:
        writing = [other.submit(store.write, [put(key) for key in range(start, start + 5)]) for start in range(0, 1_000, 5)]
        seen, copies = [0], 0
        while not all(each.done() for each in writing):
            seen.append(len(keys(store)))
            if copies < 3:
                copies += 1
                store.backup(tmp_path / f"copy {copies}.db")
        for each in writing:
            each.result()
        assert len(keys(store)) == 1_000

    assert seen == sorted(seen)
    assert {count % 5 for count in seen} == {0}
    for number in range(copies):
        with opened(tmp_path / f"copy {number + 1}.db") as copy:
            assert len(keys(copy)) % 5 == 0


def test_what_is_not_there_is_not_made_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not there"):
        SqliteStore(tmp_path / "app.db", read_only=True).open()

    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_taken_away_meanwhile_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = SqliteStore(path)
    store.open()
    store.write([put(1)])
    (tmp_path / "app.db-wal").unlink()

    for _ in range(2):
        with pytest.raises(StorageError, match="taken its -wal file away"):
            store.write([put(2)])
    store.close(clean=True)

    with opened(path) as again:
        assert keys(again) == [1, 2]


# ---- a full disk


class Usage(NamedTuple):
    free: int


def test_a_full_disk_blocks_what_fills_it_and_not_what_drains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = tmp_path / "app.db.ballast"
    free = 2**30
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free))
    with opened(tmp_path / "app.db") as store:
        assert ballast.stat().st_size == sqlite_files.BALLAST_SIZE
        store.write([put(key, b"x" * 1_000) for key in range(100)])
        assert store._writer is not None
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count = {pages}")
        free = 0

        with pytest.raises(StoreBlocked, match="make room on its disk"):
            store.write([put(100, b"x" * 100_000), delete(0)])
        assert not ballast.exists()
        assert not store.has_room()
        store.write([delete(*range(99))])
        assert keys(store) == [99]

        store._writer.execute("PRAGMA max_page_count = 1000000")
        assert not store.has_room()
        free = 2 * sqlite_files.BALLAST_SIZE
        assert store.has_room()
        assert ballast.exists()
        store.write([put(100, b"x" * 100_000)])
        assert keys(store) == [99, 100]


def test_what_was_kept_before_a_file_could_not_grow_is_there(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with keeper("fill", path) as (process, said):
        ((_, number),) = said
        assert process.wait() == -9

    with opened(path) as store:
        assert store.scan(SPACE, limit=100_000) == [(each, content(each)) for each in range(int(number))]
    assert int(number) > 100


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs to make a small disk")
@pytest.mark.parametrize("size", [1_000, 50_000, 1_000_000])
def test_a_disk_that_is_really_full_can_be_drained_and_filled_again(tmp_path: Path, size: int) -> None:
    body = b"x" * size
    with small_disk(tmp_path, "40m"), opened(tmp_path / "app.db") as store:
        for _ in range(2):
            number = 0
            with pytest.raises(StoreBlocked):
                while True:
                    store.write([put(key, body) for key in range(number, number + 10)])
                    number += 10
            assert not store.has_room()

            for key in keys(store):
                store.write([Changes(deletes=[(SPACE, key)])])

            assert keys(store) == []
            assert any(store.has_room() for _ in range(10))  # each time, it gives some of its own back


def test_without_room_for_ballast_it_opens_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0))
    store = SqliteStore(tmp_path / "app.db")

    (repair,) = store.open().repairs

    assert "ballast" in repair
    store.write([put(1)])
    store.close(clean=True)


class FailingDisk:
    """A connection whose commits fail."""

    def __init__(self, connection: sqlite3.Connection, error: str) -> None:
        self.connection = connection
        self.error = error
        self.attempts = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.connection, name)

    def execute(self, statement: str, values: object = ()) -> object:
        if statement == "COMMIT":
            self.attempts += 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = self.error
            raise error
        return self.connection.execute(statement, values)  # type: ignore[arg-type]


def test_a_disk_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    store = SqliteStore(path)
    store.open()
    store.write([put(1)])
    assert store._writer is not None
    disk = FailingDisk(store._writer, "SQLITE_IOERR_FSYNC")
    store._writer = disk  # type: ignore[assignment]

    for _ in range(3):
        with pytest.raises(StorageError, match="its disk fails"):
            store.write([put(2)])
    assert keys(store) == [1]
    store.close(clean=True)

    assert disk.attempts == 1
    again = SqliteStore(path)
    assert again.open() == Opening(is_clean=False)
    assert keys(again) == [1]
    again.close(clean=True)


# ---- copies


def test_a_copy_is_a_store_with_what_was_there(tmp_path: Path) -> None:
    with opened(tmp_path / "app.db") as store:
        store.write([put(key, content(key)) for key in range(500)])
        store.backup(tmp_path / "copy.db")
        store.write([delete(*range(500))])

    assert {path.name for path in tmp_path.glob("copy*")} == {"copy.db"}
    with opened(tmp_path / "copy.db") as copy:
        assert copy.scan(SPACE) == [(key, content(key)) for key in range(500)]


def test_nothing_is_copied_over_what_is_there_or_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with opened(tmp_path / "app.db") as store:
        with pytest.raises(StorageError, match="there already"):
            store.backup(tmp_path / "mine.txt")
        with pytest.raises(StorageError, match="there already"):
            store.backup(tmp_path / "app.db")
        with pytest.raises(StorageError, match="can't be copied"):
            store.backup(tmp_path / "nowhere" / "copy.db")
    with pytest.raises(StorageError, match="is closed"):
        store.backup(tmp_path / "copy.db")

    assert (tmp_path / "mine.txt").read_text() == "mine"
