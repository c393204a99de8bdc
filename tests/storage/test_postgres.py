"""A store in PostgreSQL, on a real server: its failures are made, not played."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import actorkit
from actorkit.errors import SpecError, StorageError, StoreBlocked
from actorkit.storage import postgres, postgres_schema, postgres_session
from actorkit.storage.postgres import PostgresStore
from actorkit.storage.store import Changes, DamagedEntry, Entry, Key, Opening
from tests.storage.postgres_server import SECRET, Server, unused_name
from tests.storage.postgres_writer import GROUP, body

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def name() -> str:
    return unused_name()


@pytest.fixture
def store(postgres_server: Server, name: str) -> Iterator[PostgresStore]:
    """An open store that nobody has used."""
    store = PostgresStore(postgres_server.dsn(), name=name)
    store.open()
    yield store
    store.close(clean=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken is not waited for."""
    monkeypatch.setattr(postgres, "_PREDECESSOR", "50ms")


def put(store: PostgresStore, *entries: tuple[Key, bytes], space: str = "message a") -> None:
    store.write([Changes([(space, key, body) for key, body in entries])])


def all_of(store: PostgresStore, space: str = "message a") -> list[Entry]:
    return store.scan(space)


def lose_lock(server: Server) -> None:
    """Ends every session that has the lock of a store."""
    server.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")


# ---- entries


def test_what_is_too_much_for_one_statement_is_still_one_transaction(
    postgres_server: Server, name: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_MOST_BYTES", 1_000)
    put(store, *((number, b"x" * 300) for number in range(20)))
    entries = all_of(store)
    postgres_server.execute(f"ALTER TABLE \"{name}\".actorkit_entries ADD CHECK (body <> 'refused')")

    with pytest.raises(StorageError, match="violates check constraint"):
        put(store, *((number, b"y" * 300 if number != 15 else b"refused") for number in range(20)))

    assert len(entries) == 20
    assert all_of(store) == entries


def test_a_key_that_no_index_takes_is_refused_and_nothing_is_changed(store: PostgresStore) -> None:
    longest = os.urandom(postgres.LONGEST_KEY - 1)
    put(store, (longest, b"fits"))

    with pytest.raises(StorageError, match="has more than 2,599 bytes") as caught:
        put(store, (1, b""), (longest + b"!", b""))

    assert not isinstance(caught.value, StoreBlocked)
    assert all_of(store) == [(longest, b"fits")]


@pytest.mark.parametrize("space", ["state " + "long " * 2_000, 'state x/"y".\\;--%s {} \0 \n \ud800'])
def test_a_space_has_any_name(store: PostgresStore, space: str) -> None:
    put(store, (1, b"one"), space=space)

    assert store.spaces("state") == store.spaces(space) == [space]
    assert all_of(store, space) == [(1, b"one")]


def test_spaces_without_entries_are_forgotten_when_it_is_opened_again(store: PostgresStore) -> None:
    put(store, (1, b"one"), space="state a")
    put(store, (1, b"one"), space="state b")
    store.write([Changes(deletes=[("state a", 1)])])
    store.close(clean=True)
    store.open()

    assert store.spaces("state") == ["state b"]
    put(store, (1, b"one"), space="state a")
    assert store.spaces("state") == ["state a", "state b"]


# ---- opening and closing


def test_systems_with_different_names_share_a_database(postgres_server: Server, name: str, store: PostgresStore) -> None:
    other = PostgresStore(postgres_server.dsn(), name=f"{name}.Other")
    other.open()

    put(store, (1, b"mine"))
    put(other, (1, b"yours"))

    assert (all_of(store), all_of(other)) == ([(1, b"mine")], [(1, b"yours")])
    other.close(clean=True)


@pytest.mark.usefixtures("impatient")
def test_a_name_is_one_system_s_at_a_time(postgres_server: Server, name: str, store: PostgresStore) -> None:
    put(store, (1, b"mine"))

    with pytest.raises(StorageError, match=rf"another system has it open \('actorkit process {os.getpid()}' at this machine"):
        PostgresStore(postgres_server.dsn(), name=name).open()
    with pytest.raises(StorageError, match="another system has it open"):
        store.open()

    put(store, (2, b"mine"))
    assert len(all_of(store)) == 2


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(postgres_server: Server, name: str, store: PostgresStore) -> None:
    store.close(clean=True)
    postgres_server.execute(f'UPDATE "{name}".actorkit_store SET version = 99')

    with pytest.raises(StorageError, match="made by a newer actorkit: its version is 99, this one knows up to 1"):
        store.open()

    assert postgres_server.execute(f'SELECT version, is_clean FROM "{name}".actorkit_store') == [(99, True)]


def test_an_older_version_is_migrated_whole_or_not_at_all(
    postgres_server: Server, name: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, (1, b"kept"))
    store.close(clean=True)
    step = "ALTER TABLE {entries} ADD COLUMN more integer"
    version = f'SELECT version FROM "{name}".actorkit_store'

    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, (step, "SELECT 1 / 0")))
    with pytest.raises(StorageError, match="division by zero"):
        store.open()
    assert postgres_server.execute(version) == [(1,)]

    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS[:1], (step,)))
    assert store.open() == Opening(True)
    assert postgres_server.execute(version) == [(2,)]
    assert all_of(store) == [(1, b"kept")]


@pytest.mark.parametrize("wrong", ["", "pg_mine", "a b", 'a"b', "50%", "ä", "x" * 64])
def test_a_name_that_is_no_schema_s_is_refused(wrong: str) -> None:
    with pytest.raises(SpecError, match=r"1 to 63 letters"):
        PostgresStore("", name=wrong)


# ---- servers that refuse, and secrets


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"user": "guest", "password": "wrong guess"}, "password authentication failed"),
        ({"user": "guest"}, "no password supplied"),
        ({"user": "stranger"}, 'role "stranger" does not exist'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"user": "guest", "password": SECRET}, "permission denied for database"),
    ],
)
def test_who_may_not_enter_is_told_so_for_good(postgres_server: Server, wrong: dict[str, str], text: str) -> None:
    store = PostgresStore(postgres_server.dsn(**wrong))

    with pytest.raises(StorageError, match=text) as caught:
        store.open()

    assert not isinstance(caught.value, StoreBlocked)
    assert wrong.get("password", "-none-") not in f"{caught.value} {caught.value.__cause__} {store!r} {store.title}"


def test_a_role_needs_no_more_than_a_schema_of_its_own(postgres_server: Server, name: str) -> None:
    postgres_server.execute(f'CREATE SCHEMA "{name}" AUTHORIZATION guest')
    store = PostgresStore(postgres_server.dsn(user="guest", password=SECRET), name=name)

    assert store.open() == Opening(True)
    put(store, (1, b"a"))

    assert store.has_room()
    assert SECRET not in store.title
    store.close(clean=True)


@pytest.mark.parametrize("dsn", ["me:secret@host", "host=x password=secret oops", "postgresql://me:se@secret@host/db"])
def test_a_connection_string_that_is_wrong_is_not_shown(dsn: str) -> None:
    store = PostgresStore(dsn)

    with pytest.raises(StorageError, match="connection string") as caught:
        store.open()

    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r} {store.title}"


@pytest.mark.parametrize("dsn", ["postgresql://me:secret@db.example:5433/orders", "host=db.example dbname=orders password=secret"])
def test_a_title_has_the_host_and_the_database(dsn: str) -> None:
    assert PostgresStore(dsn, name="shop").title == "PostgresStore('db.example/orders', name='shop')"


def test_no_server_may_be_one_soon(tmp_path: Path) -> None:
    for place in (f"host={tmp_path}", "host=127.0.0.1 port=1"):
        with pytest.raises(StoreBlocked, match=r"Connection refused|No such file"):
            PostgresStore(place).open()


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    store = actorkit.PostgresStore("host=x", name="shop")

    with pytest.raises(StorageError, match=r"^PostgresStore\(name='shop'\): needs psycopg: pip install 'actorkit\[postgres\]'"):
        store.open()


def test_psycopg_is_imported_by_nobody_who_does_not_open_a_store() -> None:
    program = "import sys; from actorkit import PostgresStore; PostgresStore('host=x'); sys.exit('psycopg' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT).returncode == 0


# ---- what is lost, and taken by others


@pytest.mark.usefixtures("impatient")
def test_a_store_whose_lock_was_lost_and_taken_writes_no_more(postgres_server: Server, name: str, store: PostgresStore) -> None:
    put(store, (1, b"mine"))
    lose_lock(postgres_server)
    other = PostgresStore(postgres_server.dsn(), name=name)
    assert other.open() == Opening(False)

    for call in (lambda: put(store, (2, b"late")), store.has_room):
        with pytest.raises(StorageError, match="another system has it open") as caught:
            call()
        assert not isinstance(caught.value, StoreBlocked)

    store.close(clean=True)
    assert all_of(other) == [(1, b"mine")]
    other.close(clean=False)
    assert other.open() == Opening(False)
    other.close(clean=True)


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_was_lost_is_taken_again_at_the_next_write(postgres_server: Server, name: str, store: PostgresStore) -> None:
    lose_lock(postgres_server)

    put(store, (1, b"mine"))

    with pytest.raises(StorageError, match="another system has it open"):
        PostgresStore(postgres_server.dsn(), name=name).open()


def test_a_store_that_others_have_used_meanwhile_is_not_ours_any_more(postgres_server: Server, name: str, store: PostgresStore) -> None:
    lose_lock(postgres_server)
    other = PostgresStore(postgres_server.dsn(), name=name)
    other.open()
    other.close(clean=True)

    with pytest.raises(StorageError, match="another system has opened it since"):
        put(store, (1, b"late"))


def test_a_write_that_reaches_the_server_after_its_successor_changes_nothing(
    postgres_server: Server, name: str, store: PostgresStore
) -> None:
    put(store, (1, b"mine"))
    postgres_server.execute(f'UPDATE "{name}".actorkit_store SET incarnation = incarnation + 1')  # as a successor's opening does

    for late in (b"late", os.urandom(postgres._MOST_BYTES // 2 + 1)):
        with pytest.raises(StorageError, match="another system has opened it since") as caught:
            put(store, (1, late), (2, late))
        assert not isinstance(caught.value, StoreBlocked)

    assert all_of(store) == [(1, b"mine")]


def test_a_server_that_is_restarted_blocks_and_loses_nothing(postgres_server: Server, store: PostgresStore) -> None:
    put(store, (1, b"before"))
    postgres_server.stop()
    try:
        for call in (lambda: put(store, (2, b"meanwhile")), lambda: all_of(store)):
            with pytest.raises(StoreBlocked):
                call()
        assert not store.has_room()
    finally:
        postgres_server.start()

    assert store.has_room()
    put(store, (2, b"after"))

    assert all_of(store) == [(1, b"before"), (2, b"after")]


def test_a_restart_between_two_calls_is_not_noticed_by_who_reads(postgres_server: Server, store: PostgresStore) -> None:
    put(store, (1, b"before"))
    postgres_server.stop()
    postgres_server.start()

    assert all_of(store) == [(1, b"before")]
    assert store.has_room()


def test_what_blocks_the_row_of_the_store_for_long_ends_in_a_timeout(
    postgres_server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_session._SETTINGS, "lock_timeout", "100ms")
    store = PostgresStore(postgres_server.dsn(), name=name)
    store.open()
    with psycopg.connect(postgres_server.dsn()) as connection:
        connection.execute(f'SELECT * FROM "{name}".actorkit_store FOR UPDATE'.encode())
        with pytest.raises(StoreBlocked, match="lock timeout"):
            put(store, (1, b"waits"))
        assert not store.has_room()
    put(store, (1, b"goes on"))

    assert all_of(store) == [(1, b"goes on")]
    store.close(clean=True)


def test_a_server_that_says_nothing_is_hung_up_on(postgres_server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_session, "CUT_AFTER", 0.2)
    store = PostgresStore(postgres_server.dsn(), name=name)
    store.open()
    held = store._held()

    with pytest.raises(StoreBlocked):
        held.writer.rows("SELECT pg_sleep(20)")

    put(store, (1, b"goes on"))
    assert all_of(store) == [(1, b"goes on")]
    store.close(clean=True)


def test_a_write_that_was_given_up_comes_to_nothing_when_the_server_gets_to_it(
    postgres_server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "CUT_AFTER", 0.3)
    store = PostgresStore(postgres_server.dsn(), name=name)
    store.open()
    [(process,)] = store._held().writer.rows("SELECT pg_backend_pid()")

    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(StoreBlocked):
            put(store, (1, b"old"), (2, b"old"))
        put(store, (1, b"new"))
    finally:
        os.kill(process, signal.SIGCONT)
    while postgres_server.execute("SELECT FROM pg_stat_activity WHERE pid = %s", process):
        pass

    assert all_of(store) == [(1, b"new")]
    store.close(clean=True)


def test_one_reads_while_a_write_waits(postgres_server: Server, name: str, store: PostgresStore) -> None:
    put(store, (1, b"there"))
    with psycopg.connect(postgres_server.dsn()) as connection:
        connection.execute(f'SELECT * FROM "{name}".actorkit_store FOR UPDATE'.encode())
        writing = threading.Thread(target=put, args=[store, (2, b"new")])
        writing.start()

        assert all_of(store) == [(1, b"there")]
        assert writing.is_alive()
    writing.join()

    assert all_of(store) == [(1, b"there"), (2, b"new")]


def test_a_server_without_a_session_to_spare_blocks(postgres_server: Server, name: str) -> None:
    taken = []
    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        while True:
            taken.append(psycopg.connect(postgres_server.dsn()))
    try:
        with pytest.raises(StoreBlocked, match="too many clients"):
            PostgresStore(postgres_server.dsn(), name=name).open()
    finally:
        for each in taken:
            each.close()


@pytest.mark.parametrize(
    ("code", "can_pass"), [("53100", True), ("40001", True), ("40P01", True), ("57P01", True), ("42501", False), ("XX001", False)]
)
def test_the_server_s_code_says_whether_to_try_again(store: PostgresStore, code: str, can_pass: bool) -> None:
    with pytest.raises(StorageError) as caught:
        store._held().writer.rows(f"DO $$ BEGIN RAISE EXCEPTION 'made' USING ERRCODE = '{code}'; END $$")

    assert isinstance(caught.value, StoreBlocked) == can_pass
    assert str(caught.value).endswith(f"[{code}]")


# ---- damage


@pytest.mark.parametrize(
    "damage",
    [
        "body = set_bit(body, 9, 1 - get_bit(body, 9))",
        "key = set_bit(key, 60, 1 - get_bit(key, 60))",
        "space = substring(sha256('message b') FROM 1 FOR 16)",
        "checksum = 0",
    ],
)
def test_a_bit_that_has_changed_is_found(postgres_server: Server, name: str, store: PostgresStore, damage: str) -> None:
    put(store, (1, b"a body"), (2, b"whole"))
    postgres_server.execute(f"UPDATE \"{name}\".actorkit_entries SET {damage} WHERE body = 'a body'")

    found = [body for space in ("message a", "message b") for _, body in store.scan(space)]

    [damaged] = [each for each in found if isinstance(each, DamagedEntry)]
    assert damaged.reason == "its checksum is wrong"
    assert len(damaged.data) == len(b"a body")
    assert b"whole" in found


def test_a_name_that_has_changed_is_found_when_it_is_opened(postgres_server: Server, name: str, store: PostgresStore) -> None:
    put(store, (1, b"a body"))
    store.close(clean=True)
    postgres_server.execute(f"UPDATE \"{name}\".actorkit_spaces SET name = 'massage a'")

    with pytest.raises(StorageError, match=r"the name of a space is damaged.*b'massage a'"):
        store.open()


def test_a_key_that_is_none_is_an_error_that_says_where(postgres_server: Server, name: str, store: PostgresStore) -> None:
    put(store, (1, b"a body"))
    postgres_server.execute(f"UPDATE \"{name}\".actorkit_entries SET key = '\\x03'")

    with pytest.raises(StorageError, match="a key in the space 'message a' is damaged"):
        store.scan("message a")


# ---- processes


@pytest.mark.parametrize("lines", [1, 20, 150])
def test_what_a_process_was_told_is_written_is_there_after_a_kill(postgres_server: Server, name: str, lines: int) -> None:
    command = [sys.executable, "-m", "tests.storage.postgres_writer", postgres_server.dsn(), name]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [int(line) for line in itertools.islice(process.stdout, lines)]
        process.kill()
        said += [int(line) for line in process.stdout]

    store = PostgresStore(postgres_server.dsn(), name=name)
    assert store.open() == Opening(False)
    found = store.scan("message root/a.in_b", limit=100_000)
    store.close(clean=True)

    rounds = len(said)
    assert said == list(range(rounds))
    assert rounds >= lines
    # The last round may have been written without being told; whole, or not at all.
    assert [key for key, _ in found] in [
        [number for number in range(each * GROUP) if number % GROUP or number == (each - 1) * GROUP] for each in (rounds, rounds + 1)
    ]
    assert all(what == body(int(key)) for key, what in found)
