"""How the messages of a port are written: by a codec that knows the classes in the annotation of its handler."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING

from actorkit.storage.codec import Codec

if TYPE_CHECKING:
    from actorkit._runtime.mailbox import Mailbox


def port_codec(mailbox: Mailbox) -> Codec:
    """A codec for the messages of this port."""
    return Codec(*_carried(mailbox))


def _carried(mailbox: Mailbox) -> tuple[object, ...]:
    """What the port's messages are made of: the whole annotation, `list[Row]`, where it can be had; else the classes it stands for."""
    function = inspect.unwrap(mailbox.cell.in_ports[mailbox.name].function)
    try:
        hints = typing.get_type_hints(function)
        return (hints[list(inspect.signature(function).parameters)[1]],)
    except (NameError, TypeError, AttributeError, SyntaxError, KeyError):  # of a class that is local to a function, say
        return mailbox.types if isinstance(mailbox.types, tuple) else (mailbox.types,)
