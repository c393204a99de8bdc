"""A PostgreSQL server of the tests' own: in a temporary directory, reached through a socket there, and gone in the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

PLACES = ["/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql*", "/usr/local/opt/postgresql*", "/usr/local"]
WANTED = "needs a PostgreSQL server to start: install one (Debian and Ubuntu: apt install postgresql; macOS: brew install postgresql)"
SECRET = "it is a secret"  # of the role `guest`, the only one that needs a password
SETTINGS = "-c listen_addresses='' -c shared_buffers=16MB -c max_connections=30 -c superuser_reserved_connections=0 -c lc_messages=C"

_numbers = count(1)


def unused_name() -> str:
    """For a store that nobody else has."""
    return f"store-{next(_numbers)}"


class Server:
    """It runs when it is made. Root may not run one: then it belongs to the user `postgres`, or to nobody."""

    def __init__(self, programs: Path, root: Path) -> None:
        self._programs = programs
        self._root = root
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(each for name in ("postgres", "nobody") for each in pwd.getpwall() if each.pw_name == name)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(root, user.pw_uid, user.pw_gid)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=owner", "--encoding=UTF8", "--locale=C")
        access = self._root / "data" / "pg_hba.conf"
        access.write_text("local all guest scram-sha-256\nlocal all all trust\n")
        self.start()
        self.execute(f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")

    def dsn(self, **more: str) -> str:
        """For anybody, to the database that every server has."""
        return psycopg.conninfo.make_conninfo(**{"host": str(self._root), "user": "owner", "dbname": "postgres", **more})

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Executes a statement in a session of its own, and gives its rows."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    def start(self) -> None:
        """Starts it, and waits for it."""
        self._run("pg_ctl", "start", "--wait", f"--log={self._root}/log", f"--options=-k {self._root} {SETTINGS}")

    def stop(self) -> None:
        """Stops it as if its machine had lost power."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._root}/data", *arguments]
        with tempfile.TemporaryFile() as said:  # a pipe would not end before the server that inherits it
            if subprocess.run(command, cwd=self._root, stdin=subprocess.DEVNULL, stdout=said, stderr=said, **self._user).returncode:
                said.seek(0)
                pytest.fail(f"{program}: {said.read().decode()}")


def programs() -> Path | None:
    """Where the server's programs are, if there are any."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    for place in PLACES:
        found += [each.parent for each in sorted(Path("/").glob(f"{place[1:]}/**/bin/initdb"), reverse=True)]
    return next((each for each in found if (each / "postgres").exists() and (each / "pg_ctl").exists()), None)


@contextmanager
def running_server() -> Generator[Server]:
    """A server; it is stopped in the end. Skips the test where there is none."""
    where = programs()
    if where is None:
        pytest.skip(WANTED)
    root = Path(tempfile.mkdtemp(prefix="actorkit-pg-", dir="/tmp"))  # a short path, for the socket, that another user may enter
    server = None
    try:
        server = Server(where, root)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(root, ignore_errors=True)
