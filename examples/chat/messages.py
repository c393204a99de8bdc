"""What the actors of the chat send each other, and the lines of a script that stand for it."""

from __future__ import annotations

import re

from attrs import frozen

from actorkit import Topic


@frozen
class Line:
    """What somebody said in a room."""

    room: str
    author: str
    text: str


@frozen
class Come:
    """Somebody comes, perhaps by phone."""

    name: str
    by_phone: bool


@frozen
class Go:
    """Somebody goes."""

    name: str


@frozen
class Join:
    """Somebody wants to hear what is said in a room."""

    name: str
    room: str


@frozen
class Leave:
    """Somebody does not want to hear it any more."""

    name: str
    room: str


@frozen
class Say:
    """Somebody says something in a room."""

    name: str
    room: str
    text: str


Deed = Join | Leave | Say
"""What a member does."""
Step = Come | Go | Deed
"""What happens next in a script."""

EVERYTHING = Topic("everything", Line)
"""All that is said, in whatever room."""


def room(name: str) -> Topic[Line]:
    """The topic of a room. Nobody has to open a room: it is there as soon as somebody names it."""
    return Topic(f"room {name}", Line)


def read(line: str) -> Step:
    """The step that a line of a script stands for: `ada joins tea`, `ada says in tea: Milk?`.

    Raises:
        ValueError: it stands for none.
    """
    match re.fullmatch(r"(\w+) (comes|goes|joins|leaves|says in)(?: (\w+(?: phone)?))?(?:: (.*))?", line.strip()):
        case None:
            raise ValueError(f"{line!r} is no step of an evening; write for instance: ada says in tea: Milk?")
        case found:
            name, verb, where, text = found.groups()
    match verb, where, text:
        case "comes", None | "by phone", None:
            return Come(name, by_phone=where is not None)
        case "goes", None, None:
            return Go(name)
        case "joins", str(), None:
            return Join(name, where)
        case "leaves", str(), None:
            return Leave(name, where)
        case "says in", str(), str():
            return Say(name, where, text)
        case _:
            raise ValueError(f"{line!r} is no step of an evening: {verb!r} is followed by something else")
