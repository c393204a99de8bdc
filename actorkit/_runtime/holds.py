"""Actors that emitted more than a port can hold take no new message until it is back within its capacity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorkit._runtime.states import IDLE

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox


def hold(emitter: Cell, mailbox: Mailbox) -> None:
    """It has emitted into a full port: it takes no new message until that is back within its capacity."""
    if not emitter.holds:
        emitter.held_since = emitter.kernel.next_hold()
    emitter.holds = (*emitter.holds, mailbox)
    emitter.stop = True
    if emitter.state == IDLE:
        emitter.settle()


def let_go(emitter: Cell, mailbox: Mailbox) -> None:
    """That port is back within its capacity."""
    emitter.holds = tuple(each for each in emitter.holds if each is not mailbox)
    if not emitter.holds:
        emitter.released()


def release_holds(emitter: Cell) -> None:
    """It need not wait for anybody any more."""
    for mailbox in emitter.holds:
        if mailbox.held is not None:
            mailbox.held.remove(emitter)
    emitter.holds = ()
    emitter.released()
