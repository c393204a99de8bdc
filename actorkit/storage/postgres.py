"""A store in a PostgreSQL database, for systems that share a server, or whose machine may be lost."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from threading import Lock
from typing import Any, Final
from zlib import crc32

from attrs import define, field

from actorkit.errors import SpecError, StorageError, StoreBlocked
from actorkit.storage.postgres_session import LOCK_NOT_AVAILABLE, Server, Session, code_of
from actorkit.storage.store import Changes, DamagedEntry, Entry, Key, Opening

LONGEST_KEY: Final = 2_600
"""Bytes: a page of PostgreSQL's index has to hold three."""
_NAME = re.compile(r"(?!pg_)[A-Za-z0-9_.-]{1,63}")
_MOST_BYTES: Final = 32 * 2**20  # of bodies in one statement
_HEAD: Final = 200  # bytes of a space's name in the index of names: 200 there, and in `_SPACES`
_Place = tuple[str, bytes]
_Part = list[tuple[_Place, "bytes | None"]]

_NUMBER, _BYTES = b"\x01", b"\x02"  # what a key begins with
_ANY_TEXT = "surrogatepass"
_TAKEN = "another system has opened it since; this one has lost it, and has to be started again"
_SHOWN: Final = 64 * 1024
_TRIAL: Final = 64 * 1024  # bytes that are written to see whether there is room
_PREDECESSOR = "1s"  # how long a process that was just killed may take to be noticed

# The first part makes it a lock and a question in one: whoever takes the store over waits until this is done, and whoever has
# lost it finds no owner, and so changes nothing, also in a transaction that its network brings here long after.
_OWNER = "WITH owner AS (SELECT 1 FROM {store} WHERE is_only AND incarnation = %s FOR SHARE)"
_DELETE = (
    ", gone AS (DELETE FROM {entries} AS entry USING owner, unnest(%b::bytea[], %b::bytea[]) AS item(space, key)"
    " WHERE entry.space = item.space AND entry.key = item.key)"
)
_PUT = (
    ", put AS (INSERT INTO {entries} (space, key, body, checksum) SELECT item.* FROM owner,"
    " unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::bigint[]) AS item(space, key, body, checksum)"
    " ON CONFLICT (space, key) DO UPDATE SET body = excluded.body, checksum = excluded.checksum)"
)
_NAME_SPACES = (
    ", named AS (INSERT INTO {spaces} (id, name) SELECT item.* FROM owner, unnest(%b::bytea[], %b::bytea[]) AS item(id, name)"
    " ON CONFLICT DO NOTHING)"
)
_IS_OWNER = " SELECT count(*) FROM owner"

_TAKE = (
    "WITH last AS (SELECT is_clean FROM {store} FOR UPDATE) UPDATE {store} SET incarnation = incarnation + 1, owner = %s, is_clean = false"
    " FROM last RETURNING incarnation, last.is_clean"
)
_RENEW = "UPDATE {store} SET incarnation = incarnation + 1 WHERE owner = %s RETURNING incarnation"
_LEAVE = "UPDATE {store} SET is_clean = true WHERE owner = %s"
_GET = "SELECT body, checksum FROM {entries} WHERE space = %s AND key = %s"
_SCAN = "SELECT key, body, checksum FROM {entries} WHERE space = %s AND key > %s ORDER BY key LIMIT %s"
_SPACES = "SELECT name FROM {spaces} WHERE substring(name FROM 1 FOR 200) BETWEEN %s AND %s AND (name = %s OR name >= %s AND name < %s)"
_DAMAGED = "SELECT name FROM {spaces} WHERE id <> substring(sha256(name) FROM 1 FOR 16) LIMIT 1"
_TIDY = "DELETE FROM {spaces} WHERE NOT EXISTS (SELECT FROM {entries} WHERE space = id)"
_HOLDER = (
    "SELECT pid, application_name, coalesce(host(client_addr), 'this machine') FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = %s AND objid::bigint = %s"
    " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@define
class _Holding:
    """What an open store has. Reads and writes have a session each, so that neither waits for the other."""

    owner: bytes
    lock: Session  # has the advisory lock, and does nothing else
    writer: Session
    reader: Session
    incarnation: int
    known: set[bytes] = field(factory=set)  # spaces whose names are there
    is_ours: bool = True  # not from when a session was replaced until it is known that nobody else was here, and has a new incarnation


class PostgresStore:
    """Keeps everything in a schema of a PostgreSQL database: `run(tree, store=PostgresStore("postgresql://app@db.example/app"))`.

    Systems that share a database have a name each. A name is a schema, made if it is not there: its tables are backed up, given
    rights to, and dropped, together. Not for a connection pooler that hands a session on after each transaction, since the
    lock that keeps others out is a session's.

    A write whose outcome is unknown, since the connection broke, is made again, which does no harm: the first one then comes to
    nothing, even if the server gets to it later.

    Args:
        dsn: a connection string of PostgreSQL's, either sort. What it leaves out is taken from `PGHOST` and the like.
        name: of this system's store within the database.

    Raises:
        SpecError: a name that is not 1 to 63 letters, digits, `_`, `.` or `-`, or begins with `pg_`.
    """

    def __init__(self, dsn: str, *, name: str = "actorkit") -> None:
        if not _NAME.fullmatch(name):
            raise SpecError(f"PostgresStore: name={name!r}: 1 to 63 letters, digits, '_', '.' or '-', and not pg_… at the beginning")
        self._dsn = dsn
        self._name = name
        self._lock_key = int.from_bytes(hashlib.blake2b(b"actorkit " + name.encode(), digest_size=8).digest(), "big", signed=True)
        self._server: Server | None = None
        self._holding: _Holding | None = None
        self._reading = Lock()
        self._statements: dict[str, bytes] = {}

    may_block = True

    @property
    def title(self) -> str:
        """See `Store`."""
        with suppress(StorageError):
            return f"PostgresStore({self._server_of_dsn().place!r}, name={self._name!r})"
        return f"PostgresStore(name={self._name!r})"

    def __repr__(self) -> str:
        return self.title

    # Opening and closing

    def open(self) -> Opening:
        """See `Store`."""
        with self._naming(), ExitStack() as sessions:
            if self._holding is not None:
                raise StorageError("another system has it open; give each system a store with a name of its own, or end that one first")
            server = self._server_of_dsn()
            from actorkit.storage.postgres_schema import migrate

            lock, writer, reader = (sessions.enter_context(closing(server.connect())) for _ in range(3))
            self._lock(lock)
            migrate(lock, self._name)
            for (name,) in lock.rows(self._sql(_DAMAGED)):
                raise StorageError(f"the name of a space is damaged, and so what is in it can't be found: {name[:100]!r}; restore a backup")
            owner = os.urandom(16)
            with lock.transaction():
                [(incarnation, is_clean)] = lock.rows(self._sql(_TAKE), [owner])
                lock.rows(self._sql(_TIDY))
            self._holding = _Holding(owner, lock, writer, reader, incarnation)
            sessions.pop_all()
            return Opening(is_clean)

    def close(self, *, clean: bool) -> None:
        """See `Store`."""
        if self._holding is None:
            return
        if clean:
            with suppress(StorageError):  # else it does not count as closed in order, which does no harm
                holding = self._renew()
                holding.writer.rows(self._sql(_LEAVE), [holding.owner])
        with self._reading:
            holding, self._holding = self._holding, None
        for each in (holding.writer, holding.reader, holding.lock):
            each.close()

    def _lock(self, session: Session) -> None:
        try:
            with session.transaction():  # the lock outlives it, the setting does not
                session.rows("SELECT set_config('lock_timeout', %s, true)", [_PREDECESSOR])
                session.rows("SELECT pg_advisory_lock(%s::bigint)", [self._lock_key])
        except StoreBlocked as error:
            if code_of(error) != LOCK_NOT_AVAILABLE:
                raise
            unsigned = self._lock_key % 2**64
            holders = session.rows(_HOLDER, [unsigned >> 32, unsigned % 2**32])
            who = "".join(f" ({program!r} at {place}, server process {pid})" for pid, program, place in holders)
            raise StorageError(
                f"another system has it open{who}; give each system a store with a name of its own, or end that one first"
            ) from None

    # Writing

    def write(self, changes: Sequence[Changes]) -> None:
        """See `Store`."""
        with self._naming():
            holding = self._renew()
            parts = list(_in_parts(_merged(changes)))
            if len(parts) == 1:  # a transaction by itself: one round trip
                known = self._write(holding, parts[0])
            else:
                with holding.writer.transaction() if parts else nullcontext():
                    known = {space for each in parts for space in self._write(holding, each)}
            holding.known |= known

    def has_room(self) -> bool:
        """See `Store`."""
        with self._naming():
            try:
                holding = self._renew()
                holding.lock.rows("SELECT 1")
                with holding.writer.transaction(undo=True):
                    self._write(holding, [(("", b""), os.urandom(_TRIAL))])
            except StoreBlocked:
                return False
            return True

    def _write(self, holding: _Holding, part: _Part) -> set[bytes]:
        """Writes this; gives the spaces whose names are there once it is committed."""
        gone: list[tuple[bytes, bytes]] = []
        put: list[tuple[bytes, bytes, bytes, int]] = []
        names: dict[bytes, bytes] = {}
        for (name, key), body in part:
            space = _id_of(name)
            if body is None:
                gone.append((space, key))
            else:
                put.append((space, key, body, _checksum(space, key, body)))
                if space not in holding.known:
                    names[space] = _encoded(name)
        template = _OWNER
        parameters: list[Any] = [holding.incarnation]
        for what, rows in ((_DELETE, gone), (_PUT, put), (_NAME_SPACES, list(names.items()))):
            if rows:
                template += what
                parameters += map(list, zip(*rows, strict=True))
        [(owners,)] = holding.writer.rows(self._sql(template + _IS_OWNER), parameters)
        if not owners:
            raise StorageError(_TAKEN)
        return set(names)

    def _renew(self) -> _Holding:
        """What this store has, with new sessions for lost ones. Those that were lost can't write any more, whatever they have sent."""
        holding = self._held()
        for each in (holding.lock, holding.writer):
            each.look()
        if holding.is_ours and not holding.lock.is_lost and not holding.writer.is_lost:
            return holding
        holding.is_ours = False
        server = self._server_of_dsn()
        if holding.lock.is_lost:
            with ExitStack() as undo:
                session = undo.enter_context(closing(server.connect()))
                self._lock(session)
                undo.pop_all()
            holding.lock.close()
            holding.lock = session
        if holding.writer.is_lost:
            holding.writer.close()
            holding.writer = server.connect()
        found = holding.writer.rows(self._sql(_RENEW), [holding.owner])
        if not found:
            raise StorageError(_TAKEN)
        holding.incarnation, holding.is_ours = found[0][0], True
        return holding

    # Reading

    def get(self, space: str, key: Key) -> bytes | DamagedEntry | None:
        """See `Store`."""
        place = _id_of(space), _encoded_key(key)
        for body, checksum in self._read(_GET, place):
            return _checked(*place, body, checksum)
        return None

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        """See `Store`."""
        id = _id_of(space)
        rows = self._read(_SCAN, [id, b"" if after is None else _encoded_key(after), limit])
        return [(self._decoded_key(space, key), _checked(id, key, body, checksum)) for key, body, checksum in rows]

    def spaces(self, kind: str) -> list[str]:
        """See `Store`."""
        name = _encoded(kind)
        end = name + b"!"  # which comes after a blank
        rows = self._read(_SPACES, [name[:_HEAD], end[:_HEAD], name, name + b" ", end])
        return sorted(space.decode(errors=_ANY_TEXT) for (space,) in rows)

    def _read(self, template: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._naming(), self._reading:
            holding = self._held()
            try:
                return holding.reader.rows(self._sql(template), parameters)
            except StoreBlocked:
                if not holding.reader.is_lost:
                    raise
            holding.reader.close()
            holding.reader = self._server_of_dsn().connect()
            return holding.reader.rows(self._sql(template), parameters)

    def _decoded_key(self, space: str, key: bytes) -> Key:
        if key[:1] == _BYTES:
            return key[1:]
        if key[:1] == _NUMBER and len(key) == 9:
            return int.from_bytes(key[1:], "big")
        with self._naming():
            raise StorageError(f"a key in the space {space!r} is damaged: {key[:100]!r}; restore a backup, or delete that row")

    # What they have in common

    def _held(self) -> _Holding:
        if self._holding is None:
            raise StorageError("it is closed")
        return self._holding

    def _server_of_dsn(self) -> Server:
        if self._server is None:
            self._server = Server.of(self._dsn)
        return self._server

    def _sql(self, template: str) -> bytes:
        if template not in self._statements:
            from actorkit.storage.postgres_schema import statement

            self._statements[template] = statement(template, self._name)
        return self._statements[template]

    @contextmanager
    def _naming(self) -> Generator[None]:
        try:
            yield
        except StorageError as error:
            raise type(error)(f"{self.title}: {error}") from error.__cause__


# Encoding


def _encoded(name: str) -> bytes:
    return name.encode(errors=_ANY_TEXT)


@lru_cache(10_000)
def _id_of(space: str) -> bytes:
    return hashlib.sha256(_encoded(space)).digest()[:16]


def _encoded_key(key: Key) -> bytes:
    return _BYTES + key if isinstance(key, bytes) else _NUMBER + key.to_bytes(8, "big")


def _checksum(space: bytes, key: bytes, body: bytes) -> int:
    return crc32(body, crc32(key, crc32(space)))


def _checked(space: bytes, key: bytes, body: bytes, checksum: int) -> bytes | DamagedEntry:
    if checksum == _checksum(space, key, body):
        return body
    return DamagedEntry("its checksum is wrong", body[:_SHOWN])


def _merged(changes: Sequence[Changes]) -> dict[_Place, bytes | None]:
    """What is left of them when all are made, in order: the body at each place, or None where nothing is to be."""
    merged: dict[_Place, bytes | None] = {}
    for each in changes:
        for space, key in each.deletes:
            merged[_place(space, key)] = None
        for space, key, body in each.puts:
            merged[_place(space, key)] = body
    return merged


def _place(space: str, key: Key) -> _Place:
    encoded = _encoded_key(key)
    if len(encoded) > LONGEST_KEY:
        raise StorageError(f"the key {key!r:.100} in the space {space!r:.200} has more than {LONGEST_KEY - 1:,} bytes")
    return space, encoded


def _in_parts(merged: dict[_Place, bytes | None]) -> Iterator[_Part]:
    """The same in parts that are not too large for one statement."""
    part: _Part = []
    room = _MOST_BYTES
    for place, body in merged.items():
        size = len(body or b"")
        if part and size > room:
            yield part
            part, room = [], _MOST_BYTES
        part.append((place, body))
        room -= size
    if part:
        yield part
