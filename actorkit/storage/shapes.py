"""How the classes of messages are written and read: attrs classes, dataclasses, NamedTuples and enums.

An instance is written as an array: a mark with the class's name, its version and the names of its fields, then the
fields' values. It is read back without calling the class: the fields are set as they were, so that no converter
converts twice and no `__post_init__` runs again; the validators of attrs fields do run. A class can say about itself:

    message_name = "Order"     what it is called in stored data; its qualified name, unless it says otherwise
    message_version = 2        raised when old data no longer fits; 1, unless it says otherwise

    @classmethod
    def upgrade(cls, fields: dict[str, object], version: int) -> dict[str, object]: ...

`upgrade` makes fields of this version from those of an older one. A field that was added with a default needs neither.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from enum import Enum, Flag
from itertools import repeat
from typing import Any

import attrs

from actorkit.errors import DecodingError, EncodingError
from actorkit.storage.kinds import MARK, Build, Take
from actorkit.storage.messagepack import extension, pack

PLAIN_DATA = (BaseException, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)
"""An instance of a class that is one of these as well holds more than its fields."""

HASH = "_attrs_cached_hash"
"""Where an attrs class with `cache_hash=True` keeps its hash, which holds for one process only."""

Default = Callable[[Any], object]
"""Makes the value of a field that old data lacks, for this instance."""

_new = object.__new__
_set = object.__setattr__

UNRESOLVABLE = (NameError, TypeError, AttributeError, SyntaxError)
"""What `get_type_hints` raises over an annotation that names what is not there at run time."""


class Shape:
    """How one class is written and read.

    Args:
        cls: the class.
        fields: the names of what is written of an instance, in order.
    """

    def __init__(self, cls: Any, fields: tuple[str, ...]) -> None:
        self.cls = cls
        self.fields = fields
        self.name = message_name(cls)
        self.version = 1 if "message_version" in fields else _version(cls)
        self.mark = extension(MARK, pack([self.name, self.version, *fields]))
        self.unresolved: dict[str, str] = {}
        """Annotations that name what is not there at run time, by field, and the complaint."""

    def taker(self) -> Take:
        """Takes instances of exactly this class apart."""
        raise NotImplementedError

    def build(self, names: Sequence[str], values: Sequence[Any]) -> object:
        """An instance with these fields, which were checked, and its defaults for the others."""
        raise NotImplementedError

    @functools.cached_property
    def defaults(self) -> dict[str, Default]:
        """The fields that old data may lack."""
        return {}

    def nested(self) -> Iterator[type]:
        """Every class that the annotations of the fields name."""
        try:
            hints = typing.get_type_hints(self.cls)
        except UNRESOLVABLE:
            hints = {name: hint for base in reversed(self.cls.__mro__) for name, hint in self._hints_one_by_one(base)}
        for name in self.fields:
            yield from classes_in(hints.get(name))

    def _hints_one_by_one(self, base: type) -> Iterator[tuple[str, object]]:
        for name, annotation in vars(base).get("__annotations__", {}).items():
            alone = type(base.__name__, (), {"__module__": base.__module__, "__annotations__": {name: annotation}})
            try:
                yield from typing.get_type_hints(alone).items()
            except UNRESOLVABLE as error:
                self.unresolved[name] = f"its annotation {annotation!r} names what is not there at run time ({error})"

    def builder(self, version: int, names: tuple[str, ...]) -> Build:
        """Builds instances from the values of these fields, as a program with this version of the class has written them.

        Raises:
            DecodingError: it never could.
        """
        if version > self.version:
            raise DecodingError(f"{self.name} is of version {version}, newer than this program's {self.version}; run the newer program")
        if version == self.version:
            self._check(names)
            return functools.partial(self.build, names)
        upgrade = getattr(self.cls, "upgrade", None)
        if upgrade is None:
            raise DecodingError(f"{self.name} is of version {version}, now it is {self.version}: give the class a classmethod `upgrade`")

        def build_old(values: list[Any]) -> object:
            fields: dict[str, object] = upgrade(dict(zip(names, values, strict=True)), version)
            self._check(fields)
            return self.build(tuple(fields), tuple(fields.values()))

        return build_old

    def _check(self, names: Iterable[str]) -> None:
        given = set(names)
        unknown = given - set(self.fields)
        missing = set(self.fields) - given - self.defaults.keys()
        if unknown or missing:
            what = "has no field" if unknown else "now needs a field"
            field = min(unknown or missing)
            way_out = "raise its message_version, and give it a classmethod `upgrade`"
            raise DecodingError(f"{self.name} {what} {field!r}, unlike the data of version {self.version}; {way_out}")


class RecordShape(Shape):
    """An attrs class or a dataclass."""

    def __init__(self, cls: Any) -> None:
        fields: Sequence[Any] = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
        super().__init__(cls, tuple(field.name for field in fields))
        self._declared = fields
        self._validated = any(getattr(field, "validator", None) for field in fields)
        self._caches_hash = HASH in getattr(getattr(cls.__hash__, "__code__", None), "co_names", ())
        members = (member for base in cls.__mro__ for member in dict(vars(base)).items())
        computed = {name for name, value in members if isinstance(value, functools.cached_property)}
        self._expected = frozenset((*self.fields, *computed, HASH))
        for base in cls.__mro__:
            self._refuse_other_contents(base)

    def _refuse_other_contents(self, base: type) -> None:
        if base in PLAIN_DATA:
            raise EncodingError(f"{self.name} is a {base.__name__} too, and would lose what it holds as one; keep it in a field")
        if "__attrs_attrs__" not in vars(base):  # the slots of an attrs class are its fields, and what it has computed
            slots: Any = vars(base).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in (*self.fields, "__dict__", "__weakref__"):
                    raise EncodingError(f"its slot {slot!r} is no field of {self.name}, and would be lost; declare it as a field")

    def taker(self) -> Take:
        mark = self.mark
        if len(self.fields) > 1:
            values: Callable[[Any], Iterable[object]] = operator.attrgetter(*self.fields)
        else:
            values = functools.partial(_few, self.fields)
        if not self.cls.__dictoffset__:
            return lambda instance: [mark, *values(instance)]

        def take(instance: Any) -> list[Any]:
            attributes = _attributes(instance)
            for name in attributes.keys() - self._expected:
                if not name.startswith("__"):
                    raise EncodingError(f"its attribute {name!r} is no field of {self.name}, and would be lost; declare it as a field")
            return [mark, *values(instance)]

        return take

    def build(self, names: Sequence[str], values: Sequence[Any]) -> object:
        instance: Any = _new(self.cls)
        if len(values) != len(names):
            raise DecodingError(f"the message is damaged: {self.name} has {len(names)} fields, and {len(values)} values")
        any(map(_set, repeat(instance), names, values))  # a loop in C: each gives None
        if len(names) < len(self.fields):
            for name in self.fields:
                if name not in names:
                    _set(instance, name, self.defaults[name](instance))
        if self._caches_hash:
            _set(instance, HASH, None)
        if self._validated:
            attrs.validate(instance)
        return instance

    @functools.cached_property
    def defaults(self) -> dict[str, Default]:
        if attrs.has(self.cls):
            return {field.name: _attrs_default(field) for field in self._declared if field.default is not attrs.NOTHING}
        constants = {each.name: _constant(each.default) for each in self._declared if each.default is not dataclasses.MISSING}
        factories = {each.name: each.default_factory for each in self._declared if each.default_factory is not dataclasses.MISSING}
        return constants | {name: functools.partial(_made, factory) for name, factory in factories.items()}


class TupleShape(Shape):
    """A NamedTuple."""

    def __init__(self, cls: Any) -> None:
        super().__init__(cls, tuple(cls._fields))

    def taker(self) -> Take:
        def take(instance: Any) -> list[Any]:
            if has_dict and _attributes(instance):
                raise EncodingError(f"its attribute {min(_attributes(instance))!r} is no field of {self.name}, and would be lost")
            return [mark, *instance]

        mark, has_dict = self.mark, bool(self.cls.__dictoffset__)
        return take

    def build(self, names: Sequence[str], values: Sequence[Any]) -> object:
        given = dict(zip(names, values, strict=True))
        return self.cls._make(given[name] if name in given else self.defaults[name](None) for name in self.fields)

    @functools.cached_property
    def defaults(self) -> dict[str, Default]:
        return {name: _constant(value) for name, value in self.cls._field_defaults.items()}


class EnumShape(Shape):
    """An enum, whose members are written by name; of a flag, the value is, since a combination has no name."""

    def __init__(self, cls: Any) -> None:
        self._by_value = issubclass(cls, Flag)
        super().__init__(cls, ("value",) if self._by_value else ("name",))

    def nested(self) -> Iterator[type]:
        return iter(())

    def taker(self) -> Take:
        mark = self.mark
        return (lambda member: [mark, member.value]) if self._by_value else (lambda member: [mark, member.name])

    def build(self, names: Sequence[str], values: Sequence[Any]) -> object:
        (value,) = values
        member: object = self.cls(value) if self._by_value else self.cls[value]
        return member


# ---- what kind of class it is


def has_shape(cls: type) -> bool:
    """Whether instances of the class can be written, as those of a subclass of `object` in general can't."""
    return _shape_class(cls) is not None


def shape_of(cls: type) -> Shape:
    """How instances of a class are written and read.

    Raises:
        EncodingError: they can't be, or what the class says about itself makes no sense.
    """
    shape = _shape_class(cls)
    if shape is None:
        zone = issubclass(cls, tzinfo)
        way_out = "datetime.timezone or zoneinfo.ZoneInfo" if zone else "plain data, an attrs class, a dataclass, a NamedTuple or an Enum"
        raise EncodingError(f"{described(cls)} can't be encoded; use {way_out}")
    return shape(cls)


def _shape_class(cls: Any) -> Callable[[type], Shape] | None:
    bases: tuple[type, ...] = cls.__mro__
    if Enum in bases:
        return EnumShape
    if tuple in bases:
        return TupleShape if hasattr(cls, "_fields") and hasattr(cls, "_field_defaults") else None
    return RecordShape if attrs.has(cls) or dataclasses.is_dataclass(cls) else None


def message_name(cls: type) -> str:
    """What a class is called in stored data."""
    own = vars(cls).get("message_name")
    return own if isinstance(own, str) else cls.__qualname__


def described(cls: type) -> str:
    """The class with its article: "a Widget", "an Order"."""
    return f"{'an' if cls.__name__[:1] in 'AEIOUaeiou' else 'a'} {cls.__qualname__}"


def classes_in(annotation: object) -> Iterator[type]:
    """Every class that an annotation names, however deep."""
    if isinstance(annotation, type):
        yield annotation
    elif isinstance(annotation, typing.NewType):
        yield from classes_in(annotation.__supertype__)
    elif isinstance(annotation, typing.TypeVar):
        for each in annotation.__constraints__ or (annotation.__bound__,):
            yield from classes_in(each)
    elif typing.get_origin(annotation) is typing.Literal:
        yield from map(type, typing.get_args(annotation))
    elif annotation is not None:
        for each in (typing.get_origin(annotation), getattr(annotation, "__value__", None), *typing.get_args(annotation)):
            yield from classes_in(each)


# ---- what the classes say about themselves


def _version(cls: Any) -> int:
    version: object = 1 if issubclass(cls, Enum) else getattr(cls, "message_version", 1)
    if type(version) is not int or version < 1:
        raise EncodingError(f"{cls.__qualname__}.message_version = {version!r}: expected a whole number, 1 or more")
    return version


def _attributes(instance: object) -> dict[str, object]:
    return vars(instance)


def _few(names: tuple[str, ...], instance: object) -> list[object]:
    return [getattr(instance, name) for name in names]


def _constant(value: object) -> Default:
    return lambda _: value


def _made(factory: Callable[[], object], _: object) -> object:
    return factory()


def _attrs_default(field: Any) -> Default:
    def make(instance: Any) -> object:
        value = field.default
        if hasattr(value, "takes_self"):  # an attrs.Factory
            value = value.factory(instance) if value.takes_self else value.factory()
        converter = field.converter
        if hasattr(converter, "takes_self"):  # an attrs.Converter, of attrs 24.1 and later
            value = converter.__call__(value, instance, field)
        elif converter is not None:
            value = converter(value)
        made: object = value
        return made

    return make
