"""What a plain handler may not answer."""

from __future__ import annotations

from types import CoroutineType

COROUTINE: type = CoroutineType


def check_answer(answer: object) -> None:
    """A plain handler that returns a coroutine would lose it in silence: raises TypeError.

    Where each call counts, ask first whether the answer's type is COROUTINE.
    """
    if type(answer) is CoroutineType:
        name = answer.__qualname__
        answer.close()
        raise TypeError(f"a plain handler returned the coroutine {name!r}, which nobody would await; write the handler as `async def`")
