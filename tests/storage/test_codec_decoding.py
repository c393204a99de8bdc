"""Bytes that no codec of ours has written, or one of an older or newer program."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from itertools import islice, permutations
from typing import Any, NamedTuple

import attrs
import msgpack
import pytest
from attrs import frozen
from hypothesis import example, given, settings, strategies as st

from actorkit.errors import DecodingError
from actorkit.storage.codec import Codec
from tests.storage.orders import Anything, Event, Item, Order, Shipped
from tests.storage.test_codec import MESSAGES

pack = msgpack.packb


def forged(*items: object) -> bytes:
    """What a codec would write for a message that MessagePack makes of these items."""
    data: bytes = pack([1, list(items)])
    return data


def mark(name: object, version: object = 1, *fields: object) -> msgpack.ExtType:
    return msgpack.ExtType(1, pack([name, version, *fields]))


# ---- damaged and hostile data


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_that_was_cut_off_is_refused(message: object) -> None:
    codec = Codec(type(message))
    data = codec.encode(message)

    for length in range(len(data)):
        with pytest.raises(DecodingError):
            codec.decode(data[:length])
    with pytest.raises(DecodingError):
        codec.decode(data + b"\x00")


def test_a_flipped_bit_never_raises_anything_else() -> None:
    codec = Codec(Order)
    data = codec.encode(MESSAGES[1])
    refused = 0

    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            try:
                codec.decode(bytes(damaged))
            except DecodingError:
                refused += 1

    assert refused > len(data)


@settings(deadline=None)
@example(b"\xdd\xff\xff\xff\xff")  # an array of four billion
@example(b"\xdf\xff\xff\xff\xff")  # a map of as many
@example(b"\xc6\xff\xff\xff\xff")  # 4 GiB of bytes
@example(b"\xc1")  # the one byte that MessagePack never uses
@example(b"\x91" * 10_000)
@example(b"\xd6\xff\x00\x00\x00\x00")  # a timestamp
@example(pack({(): 1}, use_bin_type=True) + b"\x00")
@example(b"\x81\x80\x01")  # a map whose key is a map
@example(pack("\ud800", unicode_errors="surrogatepass"))
@example(pack(msgpack.ExtType(1, b"t")))
@example(pack(msgpack.ExtType(1, b"")))
@example(pack(msgpack.ExtType(1, pack([["not a name"], 1]))))
@example(pack(msgpack.ExtType(1, pack(["Shipped"]))))
@example(pack(msgpack.ExtType(1, pack(["Shipped", True, "order"]))))
@example(pack(msgpack.ExtType(1, pack(["Shipped", 1, "order", "order"]))))
@example(pack(msgpack.ExtType(1, pack(["Shipped", 1, {}]))))
@example(pack([1, msgpack.ExtType(1, b"t")]))
@example(pack([msgpack.ExtType(1, b"t"), msgpack.ExtType(1, b"t")]))
@example(pack([msgpack.ExtType(1, b"D"), 10**9]))
@example(pack([msgpack.ExtType(1, b"D")]))
@example(pack([msgpack.ExtType(1, b"Z"), "../../etc/passwd"]))
@example(pack([msgpack.ExtType(1, b"Z"), "os"]))
@example(pack([msgpack.ExtType(1, b"d"), "one"]))
@example(pack([msgpack.ExtType(1, b"s"), {}]))
@example(pack([msgpack.ExtType(1, b"p"), 10**18, 0, 0]))
@example(pack(msgpack.ExtType(2, b"")))
@given(st.binary())
def test_bytes_of_any_kind_are_a_message_or_refused(data: bytes) -> None:
    codec = Codec(Event)

    try:
        message = codec.decode(b"\x92\x01" + data)
    except DecodingError:
        return

    assert codec.decode(codec.encode(message)) == message or message != message  # a NaN


@pytest.mark.parametrize("data", [b"", b"\x92", b"\x01", b"{}", b"\x92\x00\x01"], ids=repr)
def test_what_is_no_message_at_all_says_so(data: bytes) -> None:
    with pytest.raises(DecodingError, match="no encoded message"):
        Codec(int).decode(data)


def test_a_newer_format_says_so() -> None:
    with pytest.raises(DecodingError, match="format 2, newer than 1"):
        Codec(int).decode(b"\x92\x02\x01")


@pytest.mark.parametrize("name", ["os.system", "wave", "Wave_read", "__class__", "Order", "", "subprocess.Popen", "Anything.__init__"])
def test_a_class_that_was_not_given_is_neither_made_nor_imported(name: str) -> None:
    before = set(sys.modules)

    with pytest.raises(DecodingError, match=r"is not expected here \(expected: .*Shipped"):
        Codec(Shipped, Event).decode(forged(mark(name, 1, "x"), 1))

    assert set(sys.modules) == before


def test_a_class_deep_inside_is_checked_as_well() -> None:
    data = Codec(Anything, Item).encode(Anything([Item("pen", 1)]))  # type: ignore[arg-type]

    with pytest.raises(DecodingError, match="class 'Item' is not expected here"):
        Codec(Anything).decode(data)


@pytest.mark.parametrize("values", [(), (1, 2)], ids=str)
def test_too_few_or_too_many_values_for_the_fields_are_refused(values: tuple[int, ...]) -> None:
    with pytest.raises(DecodingError, match="damaged"):
        Codec(Shipped).decode(forged(mark("Shipped", 1, "order"), *values))


def test_a_message_that_is_too_large_to_read_is_refused_unread() -> None:
    data = Codec(bytes).encode(b"x" * 1_000)

    with pytest.raises(DecodingError, match="has 1,005 bytes, more than 100"):
        Codec(bytes, max_bytes=100).decode(data)


@pytest.mark.parametrize(
    "data",
    [forged(*[[]] * 10_000), forged(*[{}] * 10_000), forged(*range(10_000)), forged(dict.fromkeys(range(10_000))), forged(*[[[]]] * 3_000)],
    ids=["arrays", "maps", "an array", "a map", "arrays in arrays"],
)
def test_a_message_of_few_bytes_and_many_items_is_refused(data: bytes) -> None:
    with pytest.raises(DecodingError, match=r"10,?00"):
        Codec(list, max_items=1_000 if len(data) < 1_000 else 10_000 if b"\x91\x90" not in data else 10_001).decode(data)


def test_a_peer_cannot_make_a_codec_remember_ever_more() -> None:
    names = [f"f{n}" for n in range(8)]
    many = attrs.make_class("Many", {name: attrs.field(default=0) for name in names}, frozen=True)
    codec = Codec(many)

    for order in islice(permutations(names), 2_000):
        assert codec.decode(forged(mark("Many", 1, *order), *range(8))) == many(**{name: value for value, name in enumerate(order)})

    assert len(codec._builders) <= 1_000


# ---- older and newer programs


def other(cls: type, codec_of: type, message: object) -> object:
    """What the program with `codec_of` reads of a message that the one with `cls` has written."""
    return Codec(codec_of).decode(Codec(cls).encode(message))


@frozen
class Trip:
    message_name = "Trip"
    start: str
    end: str


def as_list(stops: Iterable[str]) -> list[str]:
    return list(stops)


@frozen
class TripWithDefaults:
    message_name = "Trip"
    end: str
    start: str
    stops: list[str] = attrs.field(converter=as_list, default=("none",))
    length: int = attrs.field()

    @length.default
    def _measured(self) -> int:
        return len(self.start) + len(self.end)


@frozen
class TripInTwo:
    message_name = "Trip"
    message_version = 2
    ends: tuple[str, str]

    @classmethod
    def upgrade(cls, fields: dict[str, Any], version: int) -> dict[str, Any]:
        assert version == 1
        return {"ends": (fields["start"], fields["end"])}


@frozen
class TripWithoutUpgrade:
    message_name = "Trip"
    message_version = 2
    start: str
    end: str


@frozen
class TripBadlyUpgraded:
    message_name = "Trip"
    message_version = 2
    start: str

    @classmethod
    def upgrade(cls, fields: dict[str, Any], version: int) -> dict[str, Any]:
        return fields


@frozen
class TripFailing:
    message_name = "Trip"
    message_version = 2
    start: str

    @classmethod
    def upgrade(cls, fields: dict[str, Any], version: int) -> dict[str, Any]:
        raise KeyError("start")


@frozen
class TripLess:
    message_name = "Trip"
    start: str


@frozen
class TripMore:
    message_name = "Trip"
    start: str
    end: str
    seats: int


@frozen
class TripChecked:
    message_name = "Trip"
    start: str
    end: str = attrs.field(validator=attrs.validators.min_len(3))


class Place(NamedTuple):
    x: int
    y: int = 7
    name: str = "?"


Place.message_name = "Place"  # type: ignore[attr-defined]


def test_fields_that_were_moved_or_added_with_defaults_need_nothing() -> None:
    read = other(Trip, TripWithDefaults, Trip("LIS", "OPO"))

    assert read == TripWithDefaults(stops=("none",), end="OPO", start="LIS")
    assert isinstance(read, TripWithDefaults)
    assert (read.stops, read.length) == (["none"], 6)


def test_a_named_tuple_may_gain_fields_with_defaults() -> None:
    read = Codec(Place).decode(forged(mark("Place", 1, "x"), 1))

    assert read == Place(1, 7, "?")
    assert type(read) is Place


def test_an_older_version_is_upgraded_by_its_class() -> None:
    assert other(Trip, TripInTwo, Trip("LIS", "OPO")) == TripInTwo(("LIS", "OPO"))


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (TripWithoutUpgrade, "Trip is of version 1, now it is 2: give the class a classmethod `upgrade`"),
        (TripBadlyUpgraded, "Trip has no field 'end'"),
        (TripFailing, "its class refuses it: KeyError: 'start'"),
        (TripLess, "Trip has no field 'end', unlike the data of version 1; raise its message_version"),
        (TripMore, "Trip now needs a field 'seats'"),
        (TripChecked, "its class refuses it: ValueError: Length of 'end'"),
    ],
)
def test_data_that_no_longer_fits_is_refused_with_the_way_out(cls: type, words: str) -> None:
    with pytest.raises(DecodingError) as caught:
        other(Trip, cls, Trip("LIS", ""))

    assert words in str(caught.value)


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(DecodingError, match="Trip is of version 2, newer than this program's 1"):
        other(TripInTwo, Trip, TripInTwo(("LIS", "OPO")))


def test_a_class_found_by_its_old_name_is_read() -> None:
    assert other(Trip, TripChecked, Trip("LIS", "OPO")) == TripChecked("LIS", "OPO")


def test_an_enum_without_the_member_is_refused() -> None:
    Now = Enum("Now", ["GREEN"])

    assert Codec(Now).decode(forged(mark("Now", 1, "name"), "GREEN")) is Now.GREEN
    with pytest.raises(DecodingError, match="KeyError: 'RED'"):
        Codec(Now).decode(forged(mark("Now", 1, "name"), "RED"))
