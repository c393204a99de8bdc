"""Puts an exception into words of a bounded length, whatever the exception is like."""

from __future__ import annotations

from contextlib import suppress

from actorkit.errors import RetryExhausted

LONGEST_MESSAGE = 4_000
"""Characters that are kept of an exception's text."""

LONGEST_LINE = 300
"""Characters that are kept of what has to fit one line."""

_ROOM_FOR_NOTE = 60


def text_of(exception: BaseException) -> str:
    """An exception's text, at most `LONGEST_MESSAGE` characters; its type's name when it has none.

    An exception group of one speaks with its member's voice. Where making the text fails, the type's name and a
    note to that effect stand for it.
    """
    exception = only_member(exception)
    name = type(exception).__name__
    # Anything may go wrong in a user's __str__, and the failure has to be told all the same.
    with suppress(Exception):
        return cut(str(exception), LONGEST_MESSAGE) or name
    return f"{name} (its text could not be made)"


def one_line(text: str) -> str:
    """The text on one line of at most `LONGEST_LINE` characters, without anything a terminal might obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:LONGEST_LINE]).split())


def only_member(exception: BaseException) -> BaseException:
    """What a group of one holds, however deep; anything else is itself."""
    while isinstance(exception, BaseExceptionGroup):
        members: tuple[BaseException, ...] = exception.exceptions
        if len(members) != 1:
            break
        exception = members[0]
    return exception


def leaves(exception: BaseException) -> list[BaseException]:
    """The exceptions in a group and in the groups in it, in order; a plain exception is its own only leaf.

    An exhausted retry stands for what its last try raised.
    """
    found: list[BaseException] = []
    left: list[BaseException] = [exception]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            members: tuple[BaseException, ...] = one.exceptions
            left.extend(reversed(members))
        elif isinstance(one, RetryExhausted) and one.__cause__ is not None:
            left.append(one.__cause__)
        else:
            found.append(one)
    return found


def cut(text: str, limit: int) -> str:
    """The text, at most so long. Both ends say something: a traceback ends with the exception, a message starts with what happened."""
    if len(text) <= limit:
        return text
    half = (limit - _ROOM_FOR_NOTE) // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
