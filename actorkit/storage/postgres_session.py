"""Sessions on a PostgreSQL server: none hangs for ever, and every failure says whether to try again.

What `psycopg` raises never leaves this file. What can be over in a while is a `StoreBlocked`: no connection, a server that
starts or stops, a full disk, a deadlock, too many sessions. Anything else is a `StorageError`: no right to be there, say.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from attrs import field, frozen

from actorkit.errors import StorageError, StoreBlocked

if TYPE_CHECKING:
    import psycopg

CONNECT_WITHIN: Final = 10
"""Seconds for a new session, if the connection string does not say `connect_timeout`."""
ANSWER_WITHIN: Final = 30.0
"""Seconds for the server's work on one statement; it gives up by itself then."""
CUT_AFTER: Final = 40.0
"""Seconds after which a server that has not even said that it gave up is hung up on."""

LOCK_NOT_AVAILABLE: Final = "55P03"
_CAN_PASS: Final = frozenset({"25006", "25P03", LOCK_NOT_AVAILABLE, "57014", "57P01", "57P02", "57P03", "57P05"})
_CLASSES_THAT_CAN_PASS: Final = frozenset({"08", "40", "53"})  # no connection, rolled back, out of something
_REFUSED: Final = (  # a session that could not begin has no code: libpq keeps only the text
    "authentication failed",
    "certificate",
    "does not exist",
    "does not support ssl",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
)
_SETTINGS: Final = {
    "synchronous_commit": "on",
    "statement_timeout": f"{ANSWER_WITHIN:.0f}s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",  # else a process that was stopped holds the row that its successor needs
    "tcp_keepalives_idle": "10",  # the server's side: the lock of a machine that is gone is free after half a minute
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "jit": "off",
    "enable_seqscan": "off",  # entries come and go too fast for the planner's statistics; an index is always right
}


@frozen
class Server:
    """A connection string that was read. `place` is for people: host and database. `secrets` must not get into any text."""

    place: str
    _parameters: dict[str, Any] = field(repr=False)
    _secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, dsn: str) -> Server:
        """Reads it.

        Raises:
            StorageError: psycopg is not installed, or this is no connection string.
        """
        try:
            from psycopg import Error, conninfo
        except ImportError as error:
            raise StorageError(f"needs psycopg: pip install 'actorkit[postgres]' ({error})") from error
        try:
            parameters: dict[str, Any] = conninfo.conninfo_to_dict(dsn)
        except Error:  # whose text quotes the string, with the password
            raise StorageError("its connection string can't be read; it looks like postgresql://user:password@host/database") from None
        host, database = (str(parameters.get(each) or "") for each in ("host", "dbname"))
        if "@" in host or "@" in database:
            raise StorageError("the host or database in its connection string has an '@': write one in a password as %40")
        where = host or str(parameters.get("hostaddr") or parameters.get("service") or "")
        secrets = tuple(str(parameters[each]) for each in ("password", "sslpassword") if parameters.get(each))
        place = "/".join(each for each in (where, database or str(parameters.get("user") or "")) if each)
        return cls(place, parameters, secrets)

    def connect(self) -> Session:
        """A new session.

        Raises:
            StoreBlocked: there is no connection for now.
            StorageError: the server does not let us in.
        """
        import psycopg
        from psycopg.conninfo import make_conninfo

        ours: dict[str, Any] = {
            "connect_timeout": CONNECT_WITHIN,
            "fallback_application_name": f"actorkit process {os.getpid()}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": int(ANSWER_WITHIN * 1000),
        }
        with self.failures():
            text = make_conninfo(**{**ours, **self._parameters, "client_encoding": "utf8"})
            connection = psycopg.connect(text, autocommit=True)
        session = Session(self, connection)
        try:
            session.set_up()
        except StorageError:
            session.close()
            raise
        return session

    @contextmanager
    def failures(self) -> Generator[None]:
        """Turns what psycopg raises into our errors."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            text = " ".join(str(error).split()) or type(error).__name__
            for secret in self._secrets:
                text = text.replace(secret, "***")
            if error.sqlstate is not None:
                text = f"{text} [{error.sqlstate}]"
            raise (StoreBlocked if _can_pass(error) else StorageError)(text) from error


class Session:
    """One session on the server, outside of a transaction unless in `transaction`. For one thread at a time."""

    def __init__(self, server: Server, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._server = server
        self._connection = connection
        self._asked_at: float | None = None  # by `monotonic`, while the server is to answer
        self._ended = Event()
        Thread(target=_watch, args=[ref(self), self._ended], name="actorkit-postgres", daemon=True).start()

    def set_up(self) -> None:
        """Its timeouts, and that a commit is on the disk when it is reported; what waits for a standby as well, stays."""
        self.rows(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS wanted(name, value)"
            " WHERE name <> 'synchronous_commit' OR current_setting(name) IN ('off', 'local', 'remote_write')",
            [list(_SETTINGS), list(_SETTINGS.values())],
        )

    @property
    def is_lost(self) -> bool:
        """Whether the connection is known to have ended."""
        return self._connection.closed

    def rows(self, query: str | bytes, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Executes a statement, with values in binary, and gives all its rows.

        Raises:
            StoreBlocked: not now. If it is lost since, nobody knows whether the statement was carried out.
            StorageError: it can't be done.
        """
        with self._server.failures():
            self._asked_at = monotonic()
            try:
                cursor = self._connection.cursor(binary=True)
                cursor.execute(query.encode() if isinstance(query, str) else query, parameters or None)
                return cursor.fetchall() if cursor.description is not None else []
            finally:
                self._asked_at = None

    @contextmanager
    def transaction(self, *, undo: bool = False) -> Generator[None]:
        """Makes what is done in it one transaction; `undo`: only to see whether it could be.

        Raises:
            StorageError: as `rows`.
        """
        self.rows("BEGIN")
        try:
            yield
        except BaseException:
            try:
                self.rows("ROLLBACK")
            except StorageError:
                self.close()
            raise
        self.rows("ROLLBACK" if undo else "COMMIT")

    def look(self) -> None:
        """Finds out whether an idle session's connection has ended: it is silent, else, so this costs no round trip.

        Raises:
            StorageError: as `rows`.
        """
        if self.is_lost or not self._hears_something():
            return
        with suppress(StoreBlocked):  # the end, or a setting of the server's that has changed
            self.rows("SELECT 1")

    def close(self) -> None:
        """Ends it."""
        self._ended.set()
        self._connection.close()

    def _hears_something(self) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.fileno(), selectors.EVENT_READ)
            return bool(selector.select(0))

    def hang_up_if_overdue(self) -> None:
        """Ends the connection under whoever has waited for an answer for too long. For any thread."""
        import psycopg

        asked_at = self._asked_at
        if asked_at is None or monotonic() - asked_at < CUT_AFTER:
            return
        with suppress(OSError, psycopg.Error), socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as ours:
            ours.shutdown(socket.SHUT_RDWR)


def _watch(watched: ref[Session], ended: Event) -> None:
    while not ended.wait(CUT_AFTER / 8):  # a thread for all the session's time: one for each statement would cost more than the statement
        session = watched()
        if session is None:
            return
        session.hang_up_if_overdue()
        del session


def code_of(error: StorageError) -> str | None:
    """The server's code for what went wrong, its SQLSTATE, if it has said one."""
    return getattr(error.__cause__, "sqlstate", None)


def _can_pass(error: psycopg.Error) -> bool:
    from psycopg import InterfaceError, OperationalError

    code = error.sqlstate
    if code is not None:
        return code in _CAN_PASS or code[:2] in _CLASSES_THAT_CAN_PASS
    text = str(error).lower()
    return isinstance(error, InterfaceError | OperationalError) and not any(each in text for each in _REFUSED)
