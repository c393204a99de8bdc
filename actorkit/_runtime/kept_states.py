"""An actor's state as bytes for a store, and back: with its version, and brought up to date by the class's migrations."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from actorkit.errors import DecodingError, EncodingError, StateVersionError
from actorkit.storage.codec import Codec
from actorkit.storage.messagepack import packer, unpack

if TYPE_CHECKING:
    from actorkit._runtime.actor import Actor

FORMAT: Final = 1
"""The version of the form: the array `[FORMAT, state_version, state]`, the state encoded by itself."""

_pack = packer().pack


def pack_state(actor_class: type[Actor], state: object) -> bytes:
    """What `snapshot` has returned, with the class's `state_version`.

    Raises:
        EncodingError: it has something in it that could not be read back.
    """
    try:
        data = _codec(actor_class).encode(state)
    except EncodingError as error:
        raise EncodingError(
            f"{actor_class.__qualname__}.snapshot() returned what can't be kept: {error}; return plain data, or name the classes in"
            " the annotation of what it returns"
        ) from error
    packed: bytes = _pack([FORMAT, actor_class.state_version, data])
    return packed


def unpack_state(actor_class: type[Actor], data: bytes) -> tuple[object, int]:
    """The state and its version, for `restore`; brought up to date by the class's `migrations`, as far as there are any.

    Raises:
        StateVersionError: it was made by a newer version of the class.
        DecodingError: it is damaged, or has classes in it that are not expected.
        Exception: what a migration raises.
    """
    try:
        form, version, body = unpack(data)
    except Exception as error:
        raise DecodingError(f"the kept state of {actor_class.__qualname__} is damaged: {error}") from error
    if form != FORMAT or type(version) is not int or type(body) is not bytes:
        raise DecodingError(f"the kept state of {actor_class.__qualname__} is damaged, or of a newer actorkit")
    if version > actor_class.state_version:
        raise StateVersionError(
            f"the kept state of {actor_class.__qualname__} has version {version}, and its state_version is {actor_class.state_version}:"
            " it was kept by a newer program; run that one"
        )
    state: object = _codec(actor_class).decode(body)
    while version in actor_class.migrations and version < actor_class.state_version:
        state, version = actor_class.migrations[version](state), version + 1
    return state, version


_codecs: WeakKeyDictionary[type[Actor], Codec] = WeakKeyDictionary()


def _codec(actor_class: type[Actor]) -> Codec:
    codec = _codecs.get(actor_class)
    if codec is None:
        codec = Codec(*_annotation(actor_class.snapshot, "return"), *_annotation(actor_class.restore, "state"))
        _codecs[actor_class] = codec
    return codec


def _annotation(function: Any, name: str) -> list[object]:
    """The classes that a state may be made of, where they can be had; plain data needs none."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return []
    return [hints[name]] if hints.get(name, object) is not object else []
