"""Which of several receivers gets a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actorkit._runtime.key_slots import owners, slot_of
from actorkit.errors import SpecTypeError
from actorkit.policy.checks import complaint

if TYPE_CHECKING:
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
        return min(mailboxes, key=lambda each: each.load)

    return pick


class KeyRoute(Route):
    """Messages with the same key go to the same receiver: made by `by_key`."""

    def __init__(self, key: Callable[[Any], object]) -> None:
        super().__init__(f"by_key({getattr(key, '__name__', repr(key))})", self._by_slot)
        self.key = key

    def _by_slot(self, mailboxes: list[Mailbox]) -> Callable[[Any], Mailbox]:
        by_slot = [mailboxes[place] for place in owners(range(len(mailboxes)))]
        key = self.key

        def pick(message: Any) -> Mailbox:
            return by_slot[slot_of(key(message))]

        return pick


def by_key(key: Callable[[Any], object]) -> Route:
    """A route: all messages with the same key go to the same receiver, in order.

    Args:
        key: tells the key of a message: a str, bytes, a number, an Enum, a UUID, a date, None, or a tuple of these.
            What it raises is raised at the sender, and the message was not accepted.

    Raises:
        SpecTypeError: `key` is not a function.
    """
    if not callable(key):
        raise SpecTypeError(complaint("by_key", "key", key, "a function that tells the key of a message"))
    return KeyRoute(key)


round_robin = Route("round_robin", _in_turn)
"""Each receiver in turn."""
least_loaded = Route("least_loaded", _shortest_queue)
"""The receiver with the fewest messages waiting or in hand; of equals, the first named."""
