"""The tables of a store in PostgreSQL, and how those of an older version become ours."""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Identifier

from actorkit.errors import StorageError
from actorkit.storage.postgres_session import Session

STORE: Final = "actorkit_store"
"""Has one row. `incarnation` grows whenever somebody begins to write, and every write asks whether it is still the same."""
SPACES: Final = "actorkit_spaces"
"""Has the name of every space, as UTF-8, under the beginning of its SHA-256: a name can be too long for an index."""
ENTRIES: Final = "actorkit_entries"
"""Has all entries, by the space's id and the key. All is bytes: no collation orders them, and the database may have any encoding."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE {store} (is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), version integer NOT NULL,"
        " incarnation bigint NOT NULL, owner bytea, is_clean boolean NOT NULL)",
        "INSERT INTO {store} (version, incarnation, is_clean) VALUES (0, 0, true)",
        "CREATE TABLE {spaces} (id bytea PRIMARY KEY, name bytea NOT NULL)",
        "CREATE INDEX ON {spaces} (substring(name FROM 1 FOR 200))",
        # Most entries are deleted soon, from the front: what is left of them is in the way of whoever reads there.
        "CREATE TABLE {entries} (space bytea, key bytea, body bytea NOT NULL, checksum bigint NOT NULL, PRIMARY KEY (space, key))"
        " WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)",
    ),
)
"""What makes version 1 out of nothing, version 2 out of 1, and so on: each in one transaction."""


def statement(template: str, schema: str) -> bytes:
    """The statement for the tables of this schema."""
    names = {each: Identifier(schema, table) for each, table in (("store", STORE), ("spaces", SPACES), ("entries", ENTRIES))}
    return SQL(template).format(**names, schema=Identifier(schema)).as_bytes()  # pyright: ignore[reportArgumentType]  # no literal any more


def migrate(session: Session, schema: str) -> None:
    """Makes the schema and its tables, or brings them up to date.

    Raises:
        StorageError: they are of a newer version, or there is no right to make them.
    """
    [(has_schema, has_store)] = session.rows(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s), EXISTS (SELECT FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s AND relname = %s)",
        [schema, schema, STORE],
    )
    version = session.rows(statement("SELECT version FROM {store}", schema))[0][0] if has_store else 0
    if version > len(MIGRATIONS):
        raise StorageError(f"made by a newer actorkit: its version is {version}, this one knows up to {len(MIGRATIONS)}; upgrade actorkit")
    for number, steps in enumerate(MIGRATIONS[version:], version + 1):
        with session.transaction():
            if not has_schema:  # asked first: without the right to make schemas one can still use one that is there
                session.rows(statement("CREATE SCHEMA {schema}", schema))
                has_schema = True
            for each in steps:
                session.rows(statement(each, schema))
            session.rows(statement("UPDATE {store} SET version = %s", schema), [number])
