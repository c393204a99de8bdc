"""What goes into the codec comes out again, exactly, or is refused with the place and the way out."""

from __future__ import annotations

import io
import math
import struct
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from attrs import frozen
from hypothesis import given, settings, strategies as st

from actorkit.errors import EncodingError
from actorkit.storage.codec import Codec
from tests.storage.orders import (
    Account,
    Anything,
    Box,
    Cents,
    Colour,
    Event,
    Extras,
    Item,
    Items,
    Key,
    Nothing,
    Order,
    Paid,
    Point,
    Shipped,
    ShippedAbroad,
    Size,
    Tree,
)

UUID_1 = UUID(int=1)
LISBON = ZoneInfo("Europe/Lisbon")
ITEM = Item("pen", Decimal("1.50"), Colour.GREEN)

PLAIN: list[object] = [
    *(None, True, False, 0, -1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**1000, -(2**1000), 2**127, -(2**127), -(2**71)),
    *(0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 1e308, 5e-324, 3 + 4j),
    *("", "text", "żółw \U0001f422 \x00", b"", b"\x00\xff"),
    *(Decimal("1.50"), Decimal("1.5"), Decimal("-0"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+400")),
    *([], (), set(), frozenset(), {}, [()], ([],), ((),), [[1], (2,), {3}, frozenset({4}), {5: 6}]),
    {1: "int", "1": "str", (1, 2): "tuple", None: "none", b"1": "bytes", 1.5: "float", frozenset({1}): "frozenset", False: "bool"},
    *(UUID_1, timedelta(days=-1, microseconds=1), date(1, 1, 1), date(9999, 12, 31), time(1, 2, 3, 4), time(1, tzinfo=UTC)),
    *(Path("/a/b"), Path(), PurePosixPath("a"), PureWindowsPath("C:\\a"), Path("/not \udcff unicode")),
    *(datetime(2013, 1, 1, 5, 17), datetime(2013, 1, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, fold=1, tzinfo=LISBON)),  # noqa: DTZ001
    *(
        datetime(2013, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=1))),
        timezone(timedelta(0), "Z"),
        timezone(timedelta(hours=1), "CET"),
    ),
    *(LISBON, UTC),
]
MESSAGES = [
    Order(UUID_1, Items(()), datetime(2026, 1, 1, tzinfo=UTC)),
    Order(
        id=UUID_1,
        items=Items((ITEM, ITEM)),
        at=datetime(2026, 1, 1, tzinfo=LISBON),
        due=date(2026, 2, 1),
        size=Size.LARGE,
        extras=Extras.GIFT | Extras.RUSH,
        place=Point(1, 2.5),
        tags=frozenset({"a", "b"}),
        notes={(1, "x"): ["y", None]},
        invoice=Path("/tmp/invoice"),
        anything={"deep": [(ITEM, {ITEM: {1}})]},
        mode=Colour.RED,
    ),
    *(Colour.GREEN, Size.LARGE, Extras(0), Extras.GIFT, Extras.GIFT | Extras.RUSH, Point(1), Point(math.inf, -0.0)),
    *(Shipped(1), ShippedAbroad(2, ITEM), Paid(Decimal(1), [1]), Nothing(), Key("k"), Tree((Tree(), Tree((Tree(),))))),
]


def exact(value: Any) -> object:
    """A form of a value that is equal only to that of a value with the same types, however deep."""
    parts: object
    if attrs.has(type(value)):
        parts = [exact(getattr(value, field.name)) for field in attrs.fields(type(value))]
    elif isinstance(value, dict):
        parts = [(exact(key), exact(each)) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        parts = [exact(each) for each in value]
    elif isinstance(value, set | frozenset):
        parts = sorted(repr(exact(each)) for each in value)
    else:
        parts = repr(value)
    return type(value), parts


def there_and_back(message: object, *types: object) -> object:
    data = Codec(*types or [type(message)]).encode(message)
    return Codec(*types or [type(message)]).decode(data)


# ---- exactly


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert exact(there_and_back(value)) == exact(value)
    assert exact(there_and_back(Anything([value, {"key": value}]))) == exact(Anything([value, {"key": value}]))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_were(message: object) -> None:
    back = there_and_back(message)

    assert exact(back) == exact(message)
    assert back == message


_keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.decimals(allow_nan=False) | st.uuids() | st.dates()
_leaves = _keys | st.floats() | st.decimals() | st.complex_numbers() | st.datetimes(timezones=st.none() | st.timezones()) | st.timedeltas()
_values = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(_keys)
        | st.sets(_keys)
        | st.dictionaries(_keys | st.tuples(_keys), inner)
        | st.builds(Anything, inner)
        | st.builds(Point, st.floats())
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(_values)
def test_whatever_a_message_holds_comes_back_as_it_was(value: object) -> None:
    assert exact(there_and_back(value, Anything, Point)) == exact(value)


@pytest.mark.parametrize("message", [ShippedAbroad(1, ITEM), Paid(Decimal(1))])
def test_a_subclass_comes_back_where_its_base_is_declared(message: Event) -> None:
    assert there_and_back(message, Event) == message
    assert type(there_and_back(message, Event)) is type(message)
    assert there_and_back(Box[Event](message), Box, Event) == Box(message)


def test_types_that_only_an_annotation_names_come_back() -> None:
    message = [{"first": (ITEM, Point(1))}]

    assert there_and_back(message, list[dict[str, tuple[Item, Point]]]) == message


def test_a_value_that_differs_from_its_annotation_is_not_converted() -> None:
    message = Shipped("17")  # type: ignore[arg-type]

    assert there_and_back(message) == message


def test_a_class_is_not_called_again_when_its_message_comes_back() -> None:
    account = Account(opening=5, balance=1)

    assert there_and_back(account) == account
    assert vars(account) == {"balance": 6, "made": 1}
    assert there_and_back(Cents(1.5)) == Cents(1.5)


def test_a_kept_hash_is_made_anew_in_the_process_that_reads() -> None:
    key = Key("k")
    assert hash(key)

    assert there_and_back({key: 1}, Key) == {key: 1}


def test_what_a_cached_property_has_computed_is_left_behind() -> None:
    box = Box(1)
    assert box.twice == (1, 1)

    back = there_and_back(box)

    assert isinstance(back, Box)
    assert "twice" not in vars(back)
    assert back.twice == (1, 1)


def test_views_of_bytes_come_back_as_equal_bytes() -> None:
    assert there_and_back([bytearray(b"ab"), memoryview(b"cd")]) == [b"ab", b"cd"]


def test_one_codec_serves_any_number_of_messages_in_any_order() -> None:
    codec = Codec(Event, Order)
    data = [codec.encode(message) for message in (Shipped(1), MESSAGES[1], Paid(Decimal(1)), Shipped(2))]

    assert [codec.decode(each) for each in reversed(data)] == [Shipped(2), Paid(Decimal(1)), MESSAGES[1], Shipped(1)]


# ---- or not at all


class Unknown:
    """No message."""


class Slotted:
    """A base class with a slot that no field knows."""

    __slots__ = ("hidden",)


@frozen
class WithHidden(Slotted):
    visible: int


@attrs.define(slots=False)
class Open:
    field: int


@attrs.define
class Unset:
    field: int = attrs.field(init=False)


@frozen
class Numbers(dict[str, int]):
    total: int


@frozen
class Versionless:
    message_version = "two"


def opened() -> Open:
    message = Open(1)
    message.extra = 2  # type: ignore[attr-defined]
    return message


class Zone(tzinfo):
    """As in libraries older than zoneinfo."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(0)

    def dst(self, moment: datetime | None, /) -> None:
        return None

    def tzname(self, moment: datetime | None, /) -> str:
        return "Z"


def zone_from_a_file() -> ZoneInfo:
    nothing_but_utc = b"TZif" + bytes(16) + struct.pack(">6I", 0, 0, 0, 0, 1, 4) + struct.pack(">IBB", 0, 0, 0) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO(nothing_but_utc))


REFUSED: dict[str, tuple[object, list[str]]] = {
    "a class of no known shape": (
        Anything([1, {"k": Unknown()}]),
        ["Anything.value[1]['k'] = <", "an Unknown can't be encoded; use plain data"],
    ),
    "a function": (Anything(len), ["Anything.value = <built-in function len>", "a builtin_function_or_method can't"]),
    "a lock": (Anything({"lock": threading.Lock()}), ["Anything.value['lock'] = ", "can't be encoded"]),
    "a class itself": (Anything(int), ["Anything.value = <class 'int'>"]),
    "an exception": (Anything(ValueError("no")), ["Anything.value = ValueError('no')"]),
    "a subclass of dict": (Anything(OrderedDict(a=1)), ["an OrderedDict can't be encoded"]),
    "a key": (Anything({Unknown(): 1}), ["Anything.value, key <", "an Unknown can't be encoded"]),
    "a member of an enum that is named nowhere": (
        Anything(Colour.RED),
        ["Anything.value = <Colour.RED", "is not expected here: name the class"],
    ),
    "a class that is named nowhere": (Anything((1, ITEM)), ["Anything.value[1] = Item(", "an Item is not expected here"]),
    "text that is no Unicode": (Anything("\udcff"), ["Anything.value = '\\udcff'", "lone surrogates", "as bytes"]),
    "a slot that is no field": (WithHidden(1), ["slot 'hidden' is no field of WithHidden"]),
    "an attribute that is no field": (opened(), ["attribute 'extra' is no field of Open"]),
    "a field without a value": (Unset(), ["Unset", "field"]),
    "a dict with fields": (Numbers(1), ["Numbers is a dict too"]),
    "a version that is no number": (Versionless(), ["Versionless.message_version = 'two'"]),
    "a zone of another library": (Anything(datetime(2026, 1, 1, tzinfo=Zone())), ["use datetime.timezone or zoneinfo.ZoneInfo"]),
    "a zone without a key": (Anything(zone_from_a_file()), ["Anything.value = zoneinfo.ZoneInfo.from_file(", "has no key; use ZoneInfo("]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused_with_its_place(name: str) -> None:
    message, words = REFUSED[name]

    with pytest.raises(EncodingError) as caught:
        Codec(type(message)).encode(message)

    assert [word for word in words if word not in str(caught.value)] == []


def test_a_value_whose_repr_fails_is_refused_like_any_other() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(EncodingError, match="Mute can't be encoded"):
        Codec(Anything).encode(Anything(Mute()))


def test_what_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(EncodingError, match="nested too deep"):
        Codec(list).encode(endless)


def test_a_codec_works_on_after_a_refusal() -> None:
    codec = Codec(Anything)
    with pytest.raises(EncodingError):
        codec.encode(Anything([1, 2, Unknown()]))

    assert codec.decode(codec.encode(Anything(1))) == Anything(1)


def test_an_annotation_that_is_missing_at_run_time_is_named() -> None:
    @frozen
    class Outer:
        number: int
        inner: Inner  # only this function knows it

    @frozen
    class Inner:
        text: str

    with pytest.raises(EncodingError, match=r"an .*Inner is not expected here.*; inner: its annotation 'Inner' names what is not there"):
        Codec(Outer).encode(Outer(1, Inner("x")))


def test_two_classes_of_one_name_are_told_apart_before_anything_is_stored() -> None:
    def make(name: str | None) -> Any:
        @frozen
        class Twin(Shipped):
            if name is not None:
                message_name = name

        return Twin

    first, second = make(None), make(None)
    with pytest.raises(EncodingError, match=r"two classes are called .*Twin.*message_name"):
        Codec(Shipped).encode(first(1))
    assert type(there_and_back(second(1), Shipped)) is second
    assert type(there_and_back(first(1), Shipped, first)) is first  # it was named, the other is a mere subclass

    left, right = make("left"), make("right")

    assert type(there_and_back(left(1), Shipped)) is left
    assert type(there_and_back(right(1), Shipped)) is right


def test_what_a_codec_takes_does_not_depend_on_what_it_has_seen() -> None:
    holding_an_item = Box(ITEM)  # a class that only a subclass of Event names
    seasoned = Codec(Box, Event)
    seasoned.encode(ShippedAbroad(1, ITEM))

    assert Codec(Box, Event).decode(seasoned.encode(holding_an_item)) == holding_an_item
    assert seasoned.decode(Codec(Box, Event).encode(holding_an_item)) == holding_an_item


def test_a_subclass_that_is_defined_later_is_found() -> None:
    reading, writing = Codec(Shipped), Codec(Shipped)

    @frozen
    class ShippedLater(Shipped):
        days: int

    assert reading.decode(writing.encode(ShippedLater(1, 2))) == ShippedLater(1, 2)


@pytest.mark.parametrize("types", [(Paid, Event), (Event, Paid), (Event,)], ids=str)
def test_the_twin_that_a_slotted_class_has_until_it_is_garbage_is_never_made(types: tuple[type, ...]) -> None:
    @dataclass(frozen=True, slots=True)
    class Refunded(Event):
        amount: int

    back = there_and_back(Refunded(1), *types, Refunded)

    assert type(back) is Refunded
    assert type(there_and_back(Refunded(1), Refunded, *types)) is Refunded
    assert type(there_and_back(Refunded(1), Event)) is Refunded


def test_a_message_that_is_too_large_is_refused() -> None:
    with pytest.raises(EncodingError, match="bytes has 1,005 bytes, more than 1,000"):
        Codec(bytes, max_bytes=1_000).encode(b"x" * 1_000)


@pytest.mark.parametrize("message", [[[]] * 50, {(n,): () for n in range(30)}, [1] * 101, dict.fromkeys(range(60))], ids=str)
def test_a_message_with_more_items_than_may_be_read_is_refused(message: object) -> None:
    with pytest.raises(EncodingError, match=r"could not be read back.*100"):
        Codec(list, dict, max_items=100).encode(message)


def test_what_is_nested_as_deep_as_can_be_comes_back() -> None:
    message: list[Any] = []
    deepest: list[Any] | None = None
    codec = Codec(list)
    try:
        while sys.getrecursionlimit():
            codec.encode(message)
            deepest = message
            message = [message]
    except EncodingError:
        pass

    assert deepest is not None
    back = codec.decode(codec.encode(deepest))
    depth = 0
    while isinstance(back, list) and back:
        back = back[0]
        depth += 1
    assert depth > 300
