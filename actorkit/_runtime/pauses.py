"""Bringing all actors between two messages at the same time, for one moment.

No actor begins with a message any more; those that have one in hand go on to its end. Whatever they need for that they
get: room at full ports, and the actors that they ask may handle what is before their question, one message at a time. So
neither full ports nor circles hold it up. What `run` and background tasks do is not held up either, but a full port, or an
actor that they ask, is no help to them: their message has not been accepted, and what they know of that is right.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import trio

from actorkit._runtime.boundaries import is_between
from actorkit._runtime.broadcast import Copy
from actorkit._runtime.cell import Cell
from actorkit._runtime.holds import release_holds
from actorkit._runtime.states import HELD, READY
from actorkit._runtime.waits import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox

LOOK_EVERY: Final = 0.01
"""Seconds after which is looked again, if nothing has been heard meanwhile."""


class Pause:
    """A block in which no actor begins with a message, but those that others need to come to the end of theirs."""

    def __init__(self, kernel: Kernel, actors: Callable[[], Iterable[Cell]]) -> None:
        self._kernel = kernel
        self._actors = actors
        self._may_begin: set[Cell] = set()
        self._held_back: list[Cell] = []
        self.late: list[str] = []
        """The paths of those that were not between two messages at the last look."""

    def __enter__(self) -> Pause:
        self._kernel.dispatcher.pause = self
        for cell in self._actors():
            if not is_between(cell):
                cell.stop = True  # the rest of its batch waits
        return self

    def __exit__(self, *_: object) -> None:
        dispatcher = self._kernel.dispatcher
        dispatcher.pause = None
        for cell in self._held_back:
            dispatcher.make_ready(cell)
        self._kernel.look()

    def holds_back(self, cell: Cell) -> bool:
        """Whether an actor that would begin with a message now is not to."""
        if cell in self._may_begin or cell.batch is not None:
            cell.batch_size = 1
            return False
        cell.state = READY
        self._held_back.append(cell)
        return True

    async def wait_between_messages(self) -> None:
        """Returns when all are between two messages, or the system is being stopped.

        Until it waits again for something, the caller has that moment to itself.
        """
        for _ in range(2):  # who was answered at once and gives others their turn goes on: in this round of trio's, or in the next one
            await trio.lowlevel.checkpoint()
        while True:
            late = [cell for cell in self._actors() if _is_late(cell)]
            self.late = [cell.path for cell in late]
            for cell in self._actors():
                for mailbox in cell.mailboxes.values():
                    if any(isinstance(each, Copy) and each.is_promised for each in mailbox.room):
                        let_all_in(mailbox)
            if self._kernel.is_closing or not (late or self._kernel.deadlocks.are_woken):
                return
            self._help(late)
            with trio.move_on_after(LOOK_EVERY):
                await self._kernel.wait_for_a_look()

    def _help(self, late: list[Cell]) -> None:
        self._may_begin = set()
        for cell in late:
            for wait in list(self._kernel.deadlocks.waits_of(cell)):
                if isinstance(wait.token, Waiter):
                    for part in list(wait.token.parts):
                        if part.mailbox is not None:
                            let_all_in(part.mailbox)
                self._may_begin.update(each for each in wait.on if isinstance(each, Cell))
        for cell in self._may_begin:
            if cell.state == HELD:
                release_holds(cell)
        held_back, self._held_back = self._held_back, []
        for cell in held_back:
            if cell in self._may_begin or cell.stop:
                self._kernel.dispatcher.make_ready(cell)
            else:
                self._held_back.append(cell)


def let_all_in(mailbox: Mailbox) -> None:
    """Lets in whoever waits for room, and reads back what waits on disk, whatever the capacity."""
    mailbox.capacity, capacity = sys.maxsize, mailbox.capacity
    mailbox.make_room()
    mailbox.capacity = capacity
    mailbox.make_room()  # from now on, newcomers wait again


def _is_late(cell: Cell) -> bool:
    """Whether its state is not one between two messages: one is in hand, or a life begins, ends or says its last words."""
    life = cell.life
    if life is None:
        return not (cell.refuses or cell.quarantined or cell.gone)
    child: Any = cell.supervisor.children.get(cell.name)
    if not is_between(cell) or (child is not None and child.unit is cell and child.has_failed):
        return True
    return life.told_drained is not None and life.told_drained in (life.tasks or ())
