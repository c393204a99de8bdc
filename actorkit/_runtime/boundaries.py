"""Doing something with an actor between two of its messages, and not inside of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.cell import Cell


def between_messages(cell: Cell, do: Callable[[], None]) -> None:
    """Calls `do` as soon as no message is in hand, now or later."""
    _when(cell, lambda: cell.port is None, do)


def at_boundary(cell: Cell, do: Callable[[], None]) -> None:
    """Calls `do` as soon as no handler is at work, now or later, or when the present life has ended.

    A message may be in hand all the same, which waits to be tried again: the actor's state is said to be fine then.
    """
    _when(cell, lambda: is_between(cell) or cell.life is None, do)


def is_between(cell: Cell) -> bool:
    """Whether no handler of this actor is at work: no message is in hand, or it only waits to be tried again."""
    return cell.port is None or (cell.failures is not None and cell.failures.is_holding)


def life_is_over(cell: Cell) -> None:
    """A life of this actor has ended: nobody need wait for its next boundary."""
    if cell.meanwhile is not None:
        cell.meanwhile()


def _when(cell: Cell, is_time: Callable[[], bool], do: Callable[[], None]) -> None:
    if is_time():
        do()
        return
    others = cell.meanwhile

    def meanwhile() -> None:
        """Called by `settle`; those before this one first, as long as they wait."""
        cell.meanwhile = None
        if others is not None:
            others()
        if is_time():
            do()
        else:
            _when(cell, is_time, do)

    cell.meanwhile = meanwhile
    cell.stop = True
