"""What a store is: entries by space and key, and changes to them that are made together or not at all.

A *space* is a text that says what its entries are, and whose: `"message root/shop/till.in_order"`. Within it a *key* is a
whole number from 0 to 2**63 - 1, or bytes; numbers come before bytes, and each sort has its usual order. The *body* is
bytes that the store does not look into. All that actorkit keeps, messages, states, dead letters, checkpoints, reminders,
is kept so; so a store can be small, and every change, whatever it is made of, can be one transaction.

A store's methods may block. The runtime calls them in a thread, one at a time, or, under a virtual clock, inline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from attrs import field, frozen

Key = int | bytes
"""Of an entry within its space."""

LARGEST_BODY: Final = 32 * 2**20
"""Bytes of one entry's body that every store takes."""


class Changes:
    """Entries to put and to delete, all of them or none.

    Attributes:
        puts: space, key and body of each entry to put, whether it is there already or not.
        deletes: space and key of each entry to delete, whether it is there or not. What is put here too, is put.

    Args:
        drains: see there, where what is deleted does not tell.
    """

    __slots__ = ("_drains", "deletes", "puts")

    def __init__(
        self, puts: Iterable[tuple[str, Key, bytes]] = (), deletes: Iterable[tuple[str, Key]] = (), *, drains: bool | None = None
    ) -> None:
        self.puts = list(puts)
        self.deletes = list(deletes)
        self._drains = drains

    @property
    def drains(self) -> bool:
        """Whether they take something out, or have to be made before that can be: such go on on a full disk, so that it can be emptied."""
        return bool(self.deletes) if self._drains is None else self._drains

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


@frozen
class DamagedEntry:
    """What is read instead of a body that is not what was written."""

    reason: str
    data: bytes = field(default=b"", repr=False)
    """What is there, up to 64 KiB of it."""


Entry = tuple[Key, "bytes | DamagedEntry"]


@frozen
class Opening:
    """How a store was found when it was opened.

    Attributes:
        is_clean: whether it was closed in order the last time, or is new. If not, whoever had it was killed.
        repairs: what was found wrong and set right, one sentence each, for people.
    """

    is_clean: bool
    repairs: tuple[str, ...] = ()


class Store(Protocol):
    """Where a system keeps what is to survive it. One system at a time has it open.

    All methods raise `StorageError` when the store is closed, damaged beyond reading, or somebody else's.
    """

    @property
    def title(self) -> str:
        """What it is called in messages for people: `SqliteStore('app.db')`, without a secret."""
        ...

    @property
    def may_block(self) -> bool:
        """Whether its methods wait for a disk or a network; if not, the runtime calls them without a thread."""
        ...

    def open(self) -> Opening:
        """Makes it ready, and keeps others out; made if it is not there.

        Raises:
            StorageError: another system has it open, it is no store, of a newer version, or can't be read or written. It
                was not changed.
        """
        ...

    def write(self, changes: Sequence[Changes]) -> None:
        """Makes all these changes, in order, in one transaction; when it returns they are kept, come what may.

        To write them once more does no harm: after an error nobody need know whether they were made.

        Raises:
            StoreBlocked: not now: the disk is full, or somebody locks the file. Nothing was changed; try again.
            StorageError: it can't be written any more, or has been opened by somebody else. Nothing was changed.
        """
        ...

    def has_room(self) -> bool:
        """After a `StoreBlocked`: whether all kinds of changes can be written again, and not only those that drain."""
        ...

    def get(self, space: str, key: Key) -> bytes | DamagedEntry | None:
        """One entry's body; None if there is none."""
        ...

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        """Entries of a space in order, from the first one, or the first after that key; fewer than `limit` only at the end."""
        ...

    def spaces(self, kind: str) -> list[str]:
        """The names of all spaces that begin with this kind and a blank, or are called so; those without entries may be missing."""
        ...

    def close(self, *, clean: bool) -> None:
        """Lets go of it. `clean`: in order, so that the next opening has no reason to doubt anything."""
        ...
