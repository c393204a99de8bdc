"""What turns the messages of a port into bytes and back."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any

from actorkit.storage.codec import Codec

if TYPE_CHECKING:
    from actorkit._runtime.ports import InPort


def codec_of(port: InPort[Any, Any, Any]) -> Codec:
    """A codec for the messages of this port."""
    return Codec(*_carried(port))


def _carried(port: InPort[Any, Any, Any]) -> tuple[object, ...]:
    """What the port's messages are made of: the whole annotation, `list[Row]`, where it can be had; else the classes it stands for."""
    function = inspect.unwrap(port.function)
    try:
        hints = typing.get_type_hints(function)
        return (hints[list(inspect.signature(function).parameters)[1]],)
    except (NameError, TypeError, AttributeError, SyntaxError, KeyError):  # of a class that is local to a function, say
        return port.types if isinstance(port.types, tuple) else (port.types,)
