"""A store in an SQLite file: `run(tree, store=SqliteStore("app.db"))`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock as ThreadLock
from typing import Any, Final, Literal
from uuid import uuid4
from zlib import crc32

from actorkit.errors import StorageError, StoreBlocked
from actorkit.storage import sqlite_schema as schema
from actorkit.storage.sqlite_errors import ends_writing, explained, says_full
from actorkit.storage.sqlite_files import Ballast, Lock, Witness, Witnessed
from actorkit.storage.sqlite_rows import ROW, Rows, merged, readable, sound
from actorkit.storage.store import Changes, DamagedEntry, Entry, Key, Opening

_PAGES: Final = 1_000  # in the write-ahead log, after which they are moved to the database
_LEAST: Final = 64 * ROW  # bytes of changes, roughly, before which that is not done
_GROWTH: Final = _PAGES * 4_096  # bytes of growth of the log's file, after which that is done as well
_LARGE_LOG: Final = 64 * 2**20  # bytes of the log's file, after which it is cut off
_LEFT_FREE: Final = 2**20  # bytes of a full disk that moving the log must not fill

_COMMITS = "UPDATE meta SET commits = ? WHERE incarnation = ?"
_OPENED = "UPDATE meta SET commits = ?, incarnation = ?, is_clean = 0"
_CLEAN = "UPDATE meta SET commits = ?, is_clean = 1 WHERE incarnation = ?"
_EMPTY = "DELETE FROM space WHERE NOT EXISTS (SELECT 1 FROM entry WHERE space = space.id)"
_GET = "SELECT body, crc FROM entry WHERE space = (SELECT id FROM space WHERE name = ?) AND key = ?"
_SCAN = "SELECT key, body, crc FROM entry WHERE space = (SELECT id FROM space WHERE name = ?) ORDER BY key LIMIT ?"
_SCAN_AFTER = _SCAN.replace(" ORDER", " AND key > ? ORDER")
_SPACES = (
    "SELECT name FROM space WHERE (name = ?1 OR (name >= ?1 || ' ' AND name < ?1 || '!'))"
    " AND EXISTS (SELECT 1 FROM entry WHERE space = space.id) ORDER BY name"
)


class SqliteStore:
    """Keeps everything in one SQLite file, which is made if it is not there, for its owner only.

    Beside it there are SQLite's own `-wal` and `-shm` while it is open, and `.lock`, `.hw` (how many commits there were: finds losses
    that SQLite itself does not notice) and `.ballast` (8 MiB of room for when the disk is full). A copy comes from `backup`, or is the
    file alone once the store is closed. After a kill the opening checks the whole file.

    A damaged entry is read as a `DamagedEntry`; a file that is damaged beyond that is refused, and never made anew.

    Args:
        path: the file. Its directory is there already, on a local disk.
        synchronous: "FULL" waits for the disk at each commit. "NORMAL" is faster: it survives a kill of the process, but a power loss
            may take the last second with it.
        accept_loss: opens also if commits are missing that were kept once; the opening's repairs say how many.
        read_only: opens what another process may have open, to look into it: it can't be written, and keeps nobody out.

    Raises:
        ValueError: `synchronous` is neither.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        accept_loss: bool = False,
        read_only: bool = False,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f'synchronous is {synchronous!r}: it can be "FULL" or "NORMAL"')
        self.path = os.path.abspath(path)
        self.title = f"SqliteStore({os.fspath(path)!r})"
        self._synchronous = synchronous
        self._accepts_loss = accept_loss
        self._is_read_only = read_only
        self._lock = Lock(self.path, self.title)
        self._witness = Witness(self.path)
        self._ballast = Ballast(self.path)
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = ThreadLock()  # of the two, this one first
        self._reading = ThreadLock()
        self._failure = ""  # after which nothing is written any more
        self._database = self._incarnation = b""
        self._commits = 0
        self._log = f"{self.path}-wal"
        self._log_size = 0  # of its file, when it was moved; the file is written from its start then, and does not shrink
        self._most = _PAGES * ROW  # bytes after which it is moved: learned from how many pages they were the last time

    may_block = True

    def __repr__(self) -> str:
        return self.title

    # ---- opening and closing

    def open(self) -> Opening:
        """See `Store`."""
        with self._writing, self._reading:
            if self._reader is not None:
                raise StorageError(f"{self.title} is open already: give each system a store of its own")
            if sqlite3.sqlite_version_info < schema.OLDEST_SQLITE:
                raise StorageError(f"SQLite {sqlite3.sqlite_version} is too old for a store: it takes 3.37 or later")
            self._failure = ""
            with self._explaining():
                exists = schema.look(self.path, self.title)
                try:
                    return self._open_to_read(exists) if self._is_read_only else self._open(exists)
                except BaseException:
                    self._let_go(in_order=False)
                    raise

    def _open(self, exists: bool) -> Opening:
        self._lock.take()
        repairs: list[str] = []
        if exists and schema.is_store(self.path, self.title):
            repairs += schema.tighten(self.path)
        else:
            schema.create(self.path)
        # Looked at through a connection that can't write: if it is refused, then with its log just as it was.
        is_clean, commits = self._look()
        seen = self._compare(commits, repairs)
        self._writer = writer = schema.connect(self.path, "rw", self._synchronous)
        self._rows = Rows(writer)
        if schema.pragma(writer, "journal_mode = WAL") != "wal":
            raise StorageError(f"{self.title} is on a file system where SQLite can't have a write-ahead log: choose a local disk")
        repairs += schema.migrate(writer)
        if not self._ballast.take():
            repairs.append("there is no room on its disk for the ballast that is needed once the disk is full")
        self._incarnation, self._commits = uuid4().bytes, max(commits, seen)
        try:
            self._transact(lambda: writer.execute(_EMPTY), first=_OPENED)
        except StoreBlocked:  # on a full disk, what is there can still be read and worked off, in the ballast's place
            self._transact(lambda: writer.execute(_EMPTY), first=_OPENED)
        self._write_witness(self._checkpoint())
        return Opening(is_clean, tuple(repairs))

    def _open_to_read(self, exists: bool) -> Opening:
        if not exists:
            raise StorageError(f"{self.title} is not there to be read: see to its name")
        is_clean, _ = self._look()
        return Opening(is_clean)

    def _look(self) -> tuple[bool, int]:
        """Whether it was closed in order, and how many commits it has had."""
        self._reader = reader = schema.connect(self.path, "ro")
        reader.text_factory = bytearray  # so that bytes which have become a text are seen, and need not be UTF-8
        schema.check(self.title, schema.pragma(reader, "application_id"), schema.pragma(reader, "user_version"))
        row: object = reader.execute("SELECT database, is_clean, commits FROM meta").fetchone()
        match row:
            case (bytes() as database, int() as is_clean, int() as commits):
                self._database = database
            case _:
                raise StorageError(f"{self.title} is damaged: restore a backup (it does not say what it is: {row})")
        if not self._is_read_only and not is_clean:
            for check in ("quick_check(1)", "integrity_check(space)"):  # of the names, also whether their index agrees
                found = schema.pragma(reader, check)
                if found != bytearray(b"ok"):
                    raise StorageError(f"{self.title} is damaged: restore a backup (SQLite says: {readable(found)})")
        return bool(is_clean), commits

    def _compare(self, commits: int, repairs: list[str]) -> int:
        """How many commits the witness has seen; refuses a store that has fewer, unless that is accepted."""
        try:
            seen = self._witness.read()
        except ValueError as error:
            repairs.append(f"the file that says how many commits there were can't be read ({error}): whether any are missing is not known")
            return 0
        if seen is None or seen.database != self._database or seen.commits <= commits:
            return 0
        loss = f"{seen.commits - commits} or more commits are missing: it has {commits}, and had {seen.commits}"
        if not self._accepts_loss:
            raise StorageError(
                f"{self.title}: {loss}. Its -wal file is damaged or gone, or an older copy was put in its place."
                " Restore what is missing, or go on without: SqliteStore(…, accept_loss=True)"
            )
        repairs.append(loss)
        return seen.commits

    def close(self, *, clean: bool) -> None:
        """See `Store`."""
        with self._writing, self._reading:
            if self._reader is None:
                return
            try:
                if self._writer is not None and not self._failure:
                    with suppress(StoreBlocked):  # then the next opening doubts it, with reason
                        if clean:
                            self._transact(None, first=_CLEAN)
                        self._write_witness(self._checkpoint("TRUNCATE"))
            finally:
                self._let_go(in_order=not self._failure)

    def _let_go(self, *, in_order: bool) -> None:
        """Closes it. If the connection that writes is closed last, SQLite moves the log to the database, and removes it."""
        connections = [self._reader, self._writer] if in_order else [self._writer, self._reader]
        self._reader = self._writer = None
        for connection in connections:
            if connection is not None:
                connection.close()
        self._lock.release(unused=not in_order)

    # ---- writing

    def write(self, changes: Sequence[Changes]) -> None:
        """See `Store`."""
        together = merged(changes)
        with self._writing:
            self._check_writable()
            self._transact(lambda: self._rows.change(together))
            self._follow_up()

    def has_room(self) -> bool:
        """See `Store`."""
        with self._writing:
            self._check_writable()
            if not self._ballast.take():
                self._shrink()
                if not self._ballast.take():
                    return False
            try:
                self._transact(None)
            except StoreBlocked:
                return False
            return True

    def _check_writable(self) -> None:
        if self._failure:
            raise StorageError(self._failure)
        if self._reader is None:
            raise StorageError(f"{self.title} is closed")
        if self._writer is None:
            raise StorageError(f"{self.title} is open for reading only")

    def _transact(self, change: Callable[[], object] | None, *, first: str = _COMMITS) -> None:
        """Makes a change and counts it, all or nothing, if it is still we who have it open.

        Raises:
            StoreBlocked: not now.
            StorageError: never.
        """
        assert self._writer is not None
        writer = self._writer
        with self._explaining():
            try:
                writer.execute("BEGIN IMMEDIATE")
                if writer.execute(first, (self._commits + 1, self._incarnation)).rowcount != 1:
                    self._failure = f"{self.title} has been opened by somebody else since, and is theirs: end one of the two"
                    raise StorageError(self._failure)
                if change is not None:
                    change()
                writer.execute("COMMIT")
            except BaseException as error:
                self._rows.forget()
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                if says_full(error):
                    self._make_room()
                raise
        self._commits += 1

    # ---- after a commit, or instead of one

    def _make_room(self) -> None:
        """On a full disk: lets the ballast go, and moves the log if there then is room for what it adds to the database.

        The log is then written from its start, and what drains can go on for ever. Without that room it goes on in the ballast's place.
        """
        assert self._writer is not None
        self._ballast.release()
        with suppress(StorageError), self._explaining():
            pages, size = (int(str(schema.pragma(self._writer, name))) for name in ("page_count", "page_size"))
            if pages * size - os.stat(self.path).st_size < self._ballast.free() - _LEFT_FREE:
                self._checkpoint("TRUNCATE")
        self._most = _LEAST

    def _shrink(self) -> None:
        """Gives some of what has been deleted back to the disk: a store that was drained has then made room for itself."""
        writer = self._writer
        assert writer is not None

        def change() -> None:
            for _ in range(_PAGES):  # one page each: Python takes one step of this statement, and no more
                writer.execute("PRAGMA incremental_vacuum(1)")

        with suppress(StorageError):
            self._transact(change)
            self._checkpoint("TRUNCATE")

    def _follow_up(self) -> None:
        """Moves the log if it is long, and writes the witness if it is time. The next write finds out if that went wrong."""
        is_due = self._witness.is_due
        try:
            is_long = self._rows.written >= self._most or os.stat(self._log).st_size > self._log_size + _GROWTH
        except OSError as error:  # what is in it is safe once it is moved, but nothing more would be
            self._checkpoint()
            self._failure = f"{self.title}: somebody has taken its -wal file away; start again, and all that was kept is there"
            raise StorageError(self._failure) from error
        is_moved = False
        if is_long or (is_due and self._synchronous == "NORMAL"):
            with suppress(StorageError):
                is_moved = self._checkpoint()
        if is_due:
            self._write_witness(is_moved)

    def _checkpoint(self, mode: str = "PASSIVE") -> bool:
        """Moves the write-ahead log to the database; whether all of it could be."""
        assert self._writer is not None
        with self._explaining():
            _, pages, moved = self._writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            with suppress(FileNotFoundError):
                self._log_size = os.stat(self._log).st_size
            if mode == "PASSIVE" and pages == moved and self._log_size > _LARGE_LOG:
                return self._checkpoint("TRUNCATE")
        if mode == "PASSIVE" and pages > 0 and self._rows.written:
            self._most = min(max(_PAGES * self._rows.written // pages, _LEAST), _GROWTH)
        self._rows.written = 0
        return bool(pages == moved)

    def _write_witness(self, is_moved: bool) -> None:
        if is_moved or self._synchronous == "FULL":  # with NORMAL, only what has been moved is on the disk for certain
            self._witness.write(Witnessed(self._database, self._incarnation, self._commits))

    # ---- reading

    def get(self, space: str, key: Key) -> bytes | DamagedEntry | None:
        """See `Store`."""
        for body, crc in self._read(_GET, space, key):
            return sound(crc32(space.encode()), key, body, crc)
        return None

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        """See `Store`."""
        rows = self._read(_SCAN, space, limit) if after is None else self._read(_SCAN_AFTER, space, after, limit)
        name = crc32(space.encode())
        for key, _, _ in rows:
            if not isinstance(key, int | bytes):  # where such a key stands in the order, nobody could go on from it
                raise StorageError(f"{self.title} is damaged: restore a backup (a key in {space!r} is {readable(key)})")
        return [(key, sound(name, key, body, crc)) for key, body, crc in rows]

    def spaces(self, kind: str) -> list[str]:
        """See `Store`."""
        return [readable(name) for (name,) in self._read(_SPACES, kind)]

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._reading, self._explaining():
            if self._reader is None:
                raise StorageError(f"{self.title} is closed")
            return self._reader.execute(statement, values).fetchall()

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copies all that is kept now to a new file, which is a store, while the system goes on. It takes its time; any thread may call it.

        Raises:
            StorageError: there is something at that path already, or it can't be written.
        """
        target = os.path.abspath(path)
        if self._reader is None:
            raise StorageError(f"{self.title} is closed")
        if os.path.lexists(target) or os.path.lexists(f"{target}-wal"):
            raise StorageError(f"{self.title} is not copied over {target!r}, which is there already: choose a new name, or remove it")
        try:
            with schema.new_file(target) as new:
                source, copy = schema.connect(self.path, "ro"), schema.connect(new, "rw")
                try:
                    source.backup(copy)
                finally:
                    copy.close()
                    source.close()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self.title} can't be copied to {target!r}: {error}; see to the disk there, and call again") from error

    # ---- what goes wrong

    @contextmanager
    def _explaining(self) -> Generator[None]:
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            what = f" {error.filename!r}" if error.filename else ""
            raise StorageError(f"{self.title} can't be used:{what} {error.strerror}; see to its directory and permissions") from error
        except sqlite3.Error as error:
            problem = explained(error, self.title)
            if ends_writing(error):
                self._failure = str(problem)
            raise problem from error
