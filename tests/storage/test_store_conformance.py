"""What every store has to do, whatever it is made of: one more maker in `MAKERS`, and a store is tested with all of this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from actorkit import MemoryStore, PostgresStore, SqliteStore, StorageError, Store
from actorkit.storage.store import LARGEST_BODY, Changes, Key, Opening
from tests.storage.postgres_server import Server, unused_name

LARGEST_KEY = 2**63 - 1

Maker = Callable[[], Store]
"""Makes a store that has what the one before it had, after that was closed."""


def memory(request: pytest.FixtureRequest) -> Maker:
    """The same object each time: there is nothing else that could keep it."""
    store = MemoryStore()
    return lambda: store


def sqlite(request: pytest.FixtureRequest) -> Maker:
    folder: Path = request.getfixturevalue("tmp_path")
    return lambda: SqliteStore(folder / "a store.db")


def sqlite_normal(request: pytest.FixtureRequest) -> Maker:
    folder: Path = request.getfixturevalue("tmp_path")
    return lambda: SqliteStore(folder / "a store.db", synchronous="NORMAL")


def postgres(request: pytest.FixtureRequest) -> Maker:
    server: Server = request.getfixturevalue("postgres_server")
    name = unused_name()
    return lambda: PostgresStore(server.dsn(), name=name)


MAKERS: list[Callable[[pytest.FixtureRequest], Maker]] = [memory, sqlite, sqlite_normal, postgres]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def make_store(request: pytest.FixtureRequest) -> Maker:
    maker: Maker = request.param(request)
    return maker


@pytest.fixture
def store(make_store: Maker) -> Iterator[Store]:
    store = make_store()
    store.open()
    yield store
    store.close(clean=True)


def put(space: str, key: Key, body: bytes = b"body") -> Changes:
    return Changes([(space, key, body)])


def everything(store: Store, space: str, page: int = 1_000) -> list[tuple[Key, object]]:
    """All entries of a space, read page by page."""
    found: list[tuple[Key, object]] = []
    while True:
        entries = store.scan(space, after=found[-1][0] if found else None, limit=page)
        assert len(entries) <= page
        found += entries
        if len(entries) < page:
            return found


# ---- entries


def test_what_was_put_is_there_and_nothing_else(store: Store) -> None:
    store.write([put("message a", 1, b"one")])

    assert store.get("message a", 1) == b"one"
    assert store.get("message a", 2) is None
    assert store.get("message a", b"1") is None
    assert store.get("message b", 1) is None
    assert store.scan("message b") == []


def test_numbers_come_before_bytes_and_each_sort_has_its_order(store: Store) -> None:
    keys: list[Key] = [0, 1, 2, 9, 10, 255, 256, 2**31, 2**32, LARGEST_KEY - 1, LARGEST_KEY]
    keys += [b"", b"\0", b"\0\0", b"\0\1", b"1", b"10", b"9", b"a", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]

    store.write([Changes([("state", key, repr(key).encode()) for key in reversed(keys)])])

    assert everything(store, "state") == [(key, repr(key).encode()) for key in keys]
    assert [store.get("state", key) for key in keys] == [repr(key).encode() for key in keys]
    for place, key in enumerate(keys):
        assert [found for found, _ in store.scan("state", after=key)] == keys[place + 1 :]


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
def test_a_space_is_read_page_by_page(store: Store, page: int) -> None:
    keys: list[Key] = [*range(0, 20, 3), *(bytes([each]) for each in range(0, 20, 3))]
    store.write([put("state", key) for key in keys] + [put("state x", 4), put("stat", 4)])

    assert [key for key, _ in everything(store, "state", page)] == keys


def test_a_page_begins_after_a_key_that_need_not_be_there(store: Store) -> None:
    store.write([put("state", key) for key in (1, 5, b"b")])

    assert [key for key, _ in store.scan("state", after=3)] == [5, b"b"]
    assert [key for key, _ in store.scan("state", after=LARGEST_KEY)] == [b"b"]
    assert [key for key, _ in store.scan("state", after=b"a")] == [b"b"]
    assert store.scan("state", after=b"b") == []


@pytest.mark.parametrize("body", [b"", b"\0", bytes(range(256)), b"x" * 70_000], ids=["none", "zero", "all", "long"])
def test_a_body_is_any_bytes(store: Store, body: bytes) -> None:
    store.write([put("state", 1, body)])

    assert store.get("state", 1) == body
    assert store.scan("state") == [(1, body)]


def test_the_largest_body_is_taken(store: Store) -> None:
    body = b"0123456789abcdef" * (LARGEST_BODY // 16)

    store.write([put("state", 1, body), put("state", 2, b"small")])

    assert store.get("state", 1) == body
    assert store.get("state", 2) == b"small"


@pytest.mark.parametrize("name", ["", " ", "état größe 状態 😀", "a'b\"; --", "%_?*", "tab\tline\nnull\0end", "x" * 5_000])
def test_a_space_has_any_name(store: Store, name: str) -> None:
    store.write([put(f"state {name}", 1, b"this"), put("state", 1, b"other")])

    assert store.get(f"state {name}", 1) == b"this"
    assert f"state {name}" in store.spaces("state")


def test_spaces_are_found_by_their_kind(store: Store) -> None:
    names = ["message", "message a", "message a b", "message é", "messages a", "messag", "message!", "message\x1fa", "Message a", "state a"]
    store.write([put(name, 1) for name in names])

    assert sorted(store.spaces("message")) == ["message", "message a", "message a b", "message é"]
    assert store.spaces("state") == ["state a"]
    assert store.spaces("mess") == []
    assert store.spaces("%") == []


# ---- changes


def test_what_is_put_again_has_the_new_body(store: Store) -> None:
    store.write([put("state", 1, b"old")])
    store.write([put("state", 1, b"new")])

    assert store.scan("state") == [(1, b"new")]


def test_what_is_deleted_is_gone_whether_it_was_there_or_not(store: Store) -> None:
    store.write([put("state", 1), put("state", 2)])

    store.write([Changes(deletes=[("state", 1), ("state", 3), ("nowhere", 1)])])

    assert [key for key, _ in store.scan("state")] == [2]


def test_what_changes_put_and_delete_is_put(store: Store) -> None:
    store.write([Changes([("state", 1, b"put")], [("state", 1)])])

    assert store.get("state", 1) == b"put"


def test_of_several_changes_the_last_holds(store: Store) -> None:
    delete = Changes(deletes=[("state", 1), ("state", 2)])

    store.write([put("state", 1, b"a"), put("state", 2, b"a"), delete, put("state", 2, b"b"), put("state", 3, b"a"), put("state", 3, b"b")])

    assert store.scan("state") == [(2, b"b"), (3, b"b")]


def test_changes_can_be_made_once_more(store: Store) -> None:
    changes = [put("state", 1), Changes([("state", 2, b"two")], [("state", 1)]), put("other", b"k")]

    store.write(changes)
    store.write(changes)

    assert store.scan("state") == [(2, b"two")]
    assert store.scan("other") == [(b"k", b"body")]


def test_no_changes_change_nothing(store: Store) -> None:
    store.write([])
    store.write([Changes()])

    assert store.spaces("state") == []


@pytest.mark.parametrize("count", [1, 3, 4, 5, 63, 64, 65, 255, 256, 257, 1_000])
def test_any_number_of_entries_is_changed_at_once(store: Store, count: int) -> None:
    store.write([put(f"state {number % 3}", number, b"%d" % number) for number in range(count)])
    assert sum(len(store.scan(f"state {each}")) for each in range(3)) == count

    store.write([Changes(deletes=[(f"state {number % 3}", number)]) for number in range(1, count)])

    assert store.scan("state 0") == [(0, b"0")]
    assert store.scan("state 1") == store.scan("state 2") == []


def test_a_store_that_is_not_full_has_room(store: Store) -> None:
    assert store.has_room()


# ---- opening and closing


def test_what_was_kept_is_there_when_it_is_opened_again(make_store: Maker) -> None:
    store = make_store()
    store.open()
    store.write([put("state", 1, b"one"), put("state", b"two", b"two"), put("message a", 5)])
    store.close(clean=True)

    again = make_store()
    again.open()

    assert again.scan("state") == [(1, b"one"), (b"two", b"two")]
    assert again.spaces("message") == ["message a"]
    again.close(clean=True)


def test_it_says_whether_it_was_closed_in_order(make_store: Maker) -> None:
    openings = []
    for clean in (True, False, True, True):
        store = make_store()
        openings.append(store.open())
        store.close(clean=clean)

    assert openings == [Opening(is_clean) for is_clean in (True, True, False, True)]


def test_only_one_has_it_open(make_store: Maker) -> None:
    store, other = make_store(), make_store()
    store.open()
    store.write([put("state", 1)])

    with pytest.raises(StorageError, match=r"open|in use"):
        other.open()

    store.write([put("state", 2)])
    assert len(store.scan("state")) == 2
    store.close(clean=True)
    assert other.open() == Opening(is_clean=True)
    other.close(clean=True)


USES: list[Callable[[Store], Any]] = [
    lambda store: store.get("state", 1),
    lambda store: store.scan("state"),
    lambda store: store.spaces("state"),
    lambda store: store.write([put("state", 2)]),
]


@pytest.mark.parametrize("use", USES, ids=["get", "scan", "spaces", "write"])
def test_a_closed_store_says_so(make_store: Maker, use: Callable[[Store], Any]) -> None:
    store = make_store()
    with pytest.raises(StorageError, match="is closed"):
        use(store)
    store.open()
    store.close(clean=True)
    store.close(clean=True)

    with pytest.raises(StorageError, match="is closed"):
        use(store)


def test_it_has_a_title_for_people(make_store: Maker) -> None:
    assert make_store().title.endswith(")")


# ---- compared with a dict

SPACES = st.sampled_from(["message a", "message b", "message", "state é"])
KEYS = st.one_of(st.integers(0, 5), st.sampled_from([LARGEST_KEY, 2**40]), st.binary(max_size=2))
PUTS = st.lists(st.tuples(SPACES, KEYS, st.binary(max_size=10)), max_size=8)
CHANGES = st.builds(Changes, PUTS, st.lists(st.tuples(SPACES, KEYS), max_size=8))


class Comparison(RuleBasedStateMachine):
    """Does the same to a store and to a dict."""

    make: Maker

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[tuple[str, Key], bytes] = {}
        self.closed_in_order = True
        self.is_open = False
        self.store = self.make()

    @initialize()
    def begin(self) -> None:
        self.open()
        self.store.write([Changes(deletes=[(space, key) for space in self.store.spaces("message") for key, _ in self.store.scan(space)])])
        self.store.write([Changes(deletes=[("state é", key) for key, _ in self.store.scan("state é")])])

    @precondition(lambda self: not self.is_open)
    @rule()
    def open(self) -> None:
        self.store = self.make()
        assert self.store.open() == Opening(self.closed_in_order)
        self.is_open = True

    @precondition(lambda self: self.is_open)
    @rule(clean=st.booleans())
    def close(self, clean: bool) -> None:
        self.store.close(clean=clean)
        self.is_open, self.closed_in_order = False, clean

    @precondition(lambda self: self.is_open)
    @rule(batch=st.lists(CHANGES, max_size=4))
    def write(self, batch: list[Changes]) -> None:
        self.store.write(batch)
        for changes in batch:
            for space, key in changes.deletes:
                self.model.pop((space, key), None)
            for space, key, body in changes.puts:
                self.model[space, key] = body

    @precondition(lambda self: self.is_open)
    @rule(space=SPACES, key=KEYS, limit=st.integers(1, 4))
    def look(self, space: str, key: Key, limit: int) -> None:
        assert self.store.get(space, key) == self.model.get((space, key))
        assert self.store.scan(space, after=key, limit=limit) == [entry for entry in self.expected(space) if later(entry[0], key)][:limit]

    @precondition(lambda self: self.is_open)
    @invariant()
    def they_agree(self) -> None:
        for space in ("message a", "message b", "message", "state é"):
            assert self.store.scan(space) == self.expected(space)
        found = self.store.spaces("message")
        assert {space for space in found if self.store.scan(space)} == {space for space, _ in self.model if space.startswith("message")}

    def teardown(self) -> None:
        if not self.is_open:
            self.open()
        self.store.close(clean=True)

    def expected(self, space: str) -> list[tuple[Key, bytes]]:
        entries = [(key, body) for (name, key), body in self.model.items() if name == space]
        return sorted(entries, key=lambda entry: place(entry[0]))


def place(key: Key) -> tuple[bool, Key]:
    return isinstance(key, bytes), key


def later(key: Key, than: Key) -> bool:
    return place(key) > place(than)


def test_it_does_what_a_dict_does(make_store: Maker) -> None:
    machine = type("Machine", (Comparison,), {"make": staticmethod(make_store)})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
        ),
    )
