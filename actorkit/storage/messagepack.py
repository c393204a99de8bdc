"""The compiled msgpack library, which has no type annotations, as the codec uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgpack

_untyped: Any = msgpack


class Packer(Protocol):
    """Packs one value after the other, and starts anew after one that could not be packed."""

    def pack(self, value: object, /) -> bytes:
        """The value as MessagePack."""
        ...


class Extension(Protocol):
    """A value of a type of our own: its code and its bytes."""

    code: int
    data: bytes


packer: Callable[..., Packer] = _untyped.Packer
extension: Callable[[int, bytes], Extension] = _untyped.ExtType
pack: Callable[[object], bytes] = _untyped.packb
unpack: Callable[..., Any] = _untyped.unpackb
