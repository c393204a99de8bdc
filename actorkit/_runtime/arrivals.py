"""In which order an actor serves its ports: in order of arrival, or, where they differ in priority, the higher first."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actorkit.policy.priority import PriorityTurns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from actorkit._runtime.mailbox import Mailbox


class PriorityArrivals:
    """The arrivals of an actor whose ports differ in priority. Used like a deque of mailboxes, one entry for each queued message.

    What was put back at its head comes first, whatever its priority. Within a priority, order is that of arrival.
    """

    __slots__ = ("_first", "_levels", "_turns")

    def __init__(self, priorities: Iterable[int]) -> None:
        self._first: deque[Mailbox] = deque()
        self._levels: dict[int, deque[Mailbox]] = {each: deque() for each in sorted(set(priorities), reverse=True)}
        self._turns = PriorityTurns(self._levels)

    def append(self, mailbox: Mailbox) -> None:
        """A message has come."""
        self._levels[mailbox.settings.priority].append(mailbox)

    def appendleft(self, mailbox: Mailbox) -> None:
        """A message was put back: it is the next."""
        self._first.appendleft(mailbox)

    def extendleft(self, mailboxes: Iterable[Mailbox]) -> None:
        """Messages of a port that was paused come back: they are the next of their priority."""
        for each in mailboxes:
            self._levels[each.settings.priority].appendleft(each)

    def popleft(self) -> Mailbox:
        """Takes out the next entry."""
        return self._first.popleft() if self._first else self._levels[self._turns.take(self._waiting)].popleft()

    def __getitem__(self, place: int) -> Mailbox:
        if place:
            raise IndexError("of these arrivals, only the next one, 0, is known")
        return self._first[0] if self._first else self._levels[self._turns.next(self._waiting)][0]

    @property
    def _waiting(self) -> list[int]:
        return [priority for priority, level in self._levels.items() if level]

    def __bool__(self) -> bool:
        return bool(self._first) or any(self._levels.values())

    def __len__(self) -> int:
        return len(self._first) + sum(map(len, self._levels.values()))

    def __iter__(self) -> Iterator[Mailbox]:
        return chain(self._first, *self._levels.values())

    def index(self, mailbox: Mailbox) -> int:
        """The place of this mailbox's next entry, in the order of iteration."""
        return list(self).index(mailbox)

    def __delitem__(self, place: int) -> None:
        for level in (self._first, *self._levels.values()):
            if place < len(level):
                del level[place]
                return
            place -= len(level)
        raise IndexError(place)

    def clear(self) -> None:
        """Forgets all entries."""
        for level in (self._first, *self._levels.values()):
            level.clear()


Arrivals: TypeAlias = "deque[Mailbox] | PriorityArrivals"


NO_ARRIVALS: Final[Arrivals] = cast("Any", ())
"""Of an actor that has no mailbox yet: nothing can be put in."""


def arrivals_of(priorities: Collection[int]) -> Arrivals:
    """The arrivals of an actor with ports of these priorities: a plain deque, unless they differ."""
    return PriorityArrivals(priorities) if len(priorities) > 1 else deque()
