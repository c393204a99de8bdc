"""Who is responsible for a key: the same everywhere, evenly, and with few changes when members come or go."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from actorkit import SpecTypeError
from actorkit._runtime.key_slots import SLOTS, owners, slot_of


class Colour(Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("customer-17", 223),
        ("Å", 477),
        (b"raw", 853),
        (17, 867),
        (None, 0),
        (Colour.RED, 261),
        (UUID(int=5), 858),
        (date(2024, 2, 29), 948),
        (("eu", 17), 121),
    ],
    ids=repr,
)
def test_a_key_has_the_same_slot_in_every_process(key: object, slot: int) -> None:
    assert slot_of(key) == slot


@given(st.integers())
def test_equal_numbers_have_one_slot(number: int) -> None:
    assert slot_of(number) == slot_of(number + 0)
    assert slot_of(True) == slot_of(1) == slot_of(1.0)


def test_equal_instants_have_one_slot() -> None:
    east = timezone(timedelta(hours=2))

    assert slot_of(datetime(2024, 1, 1, 12, tzinfo=UTC)) == slot_of(datetime(2024, 1, 1, 14, tzinfo=east))


@pytest.mark.parametrize("key", [object(), [1], {"a": 1}, ("a", [1])], ids=["object", "list", "dict", "list inside"])
def test_a_key_without_a_fixed_place_is_refused(key: object) -> None:
    with pytest.raises(SpecTypeError, match="expected a str, bytes, a number"):
        slot_of(key)


@given(st.sets(st.integers(1, 1000), min_size=1, max_size=12), st.integers(1, 1000))
def test_a_newcomer_takes_its_share_and_nothing_else_moves(members: set[int], newcomer: int) -> None:
    before, after = owners(sorted(members)), owners(sorted({*members, newcomer}))

    assert all(new in (old, newcomer) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("size", [2, 3, 4, 8, 16])
def test_members_have_about_the_same_share(size: int) -> None:
    shares = Counter(owners(range(1, size + 1)))

    assert len(shares) == size
    assert all(0.6 < share * size / SLOTS < 1.5 for share in shares.values())


def test_neighbouring_numbers_are_spread_over_the_slots() -> None:
    assert len({slot_of(number) for number in range(1000)}) > 550
