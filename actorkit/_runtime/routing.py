"""Which of several receivers gets a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorkit._runtime.mailbox import Mailbox


class Route:
    """How the receivers of a wire share its messages."""

    def __init__(self, name: str, picker: Callable[[list[Mailbox]], Callable[[Any], Mailbox]]) -> None:
        self._name = name
        self._picker = picker

    def picker(self, mailboxes: list[Mailbox]) -> Callable[[Any], Mailbox]:
        """A function that picks one of `mailboxes` for a message; each wire has one of its own."""
        return self._picker(mailboxes)

    def __repr__(self) -> str:
        return self._name


def _in_turn(mailboxes: list[Mailbox]) -> Callable[[Any], Mailbox]:
    turn = -1

    def pick(_: Any) -> Mailbox:
        nonlocal turn
        turn = (turn + 1) % len(mailboxes)
        return mailboxes[turn]

    return pick


def _shortest_queue(mailboxes: list[Mailbox]) -> Callable[[Any], Mailbox]:
    def pick(_: Any) -> Mailbox:
        return min(mailboxes, key=lambda each: len(each.queue) + len(each.room) + (each.cell.port is not None))

    return pick


round_robin = Route("round_robin", _in_turn)
"""Each receiver in turn."""
least_loaded = Route("least_loaded", _shortest_queue)
"""The receiver with the fewest messages waiting or in hand; of equals, the first named."""
