"""Stores that don't keep what a store promises, or can't for a while, around one that does; for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from actorkit import Store
from actorkit.storage.store import Changes, DamagedEntry, Entry, Key, Opening


class Wrapped:
    """A store that is another one."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def title(self) -> str:
        """See `Store`."""
        return self.store.title

    @property
    def may_block(self) -> bool:
        """See `Store`."""
        return self.store.may_block

    def open(self) -> Opening:
        """See `Store`."""
        return self.store.open()

    def write(self, changes: Sequence[Changes]) -> None:
        """See `Store`."""
        self.store.write(changes)

    def has_room(self) -> bool:
        """See `Store`."""
        return self.store.has_room()

    def get(self, space: str, key: Key) -> bytes | DamagedEntry | None:
        """See `Store`."""
        return self.store.get(space, key)

    def scan(self, space: str, *, after: Key | None = None, limit: int = 1_000) -> list[Entry]:
        """See `Store`."""
        return self.store.scan(space, after=after, limit=limit)

    def spaces(self, kind: str) -> list[str]:
        """See `Store`."""
        return self.store.spaces(kind)

    def close(self, *, clean: bool) -> None:
        """See `Store`."""
        self.store.close(clean=clean)


class Deadly(Wrapped):
    """Kills the process at the so-manieth chance that `chance` gives it; 0: never."""

    def __init__(self, store: Store, kills: int) -> None:
        super().__init__(store)
        self._left = kills

    def chance(self) -> None:
        """The process may be killed here."""
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class Sound(Deadly):
    """Does what it should, and kills between two writes."""

    def write(self, changes: Sequence[Changes]) -> None:
        super().write(changes)
        self.chance()


class EffectsFirst(Deadly):
    """Commits the effects first, and the removal of the messages in another transaction; kills between the two."""

    def write(self, changes: Sequence[Changes]) -> None:
        for each in changes:
            removal, effects = self.halves(each)
            self.store.write([effects])
            if removal and effects:
                self.chance()
            self.store.write([removal])

    def halves(self, changes: Changes) -> tuple[Changes, Changes]:
        """Which messages are removed; all else."""
        messages = [entry for entry in changes.deletes if entry[0].startswith("message ")]
        return Changes(deletes=messages), Changes(changes.puts, [entry for entry in changes.deletes if entry not in messages])


class RemovalFirst(EffectsFirst):
    """The same, the other way round: messages are acknowledged before they have had their effect."""

    def halves(self, changes: Changes) -> tuple[Changes, Changes]:
        removal, effects = super().halves(changes)
        return effects, removal


class Forgetful(Deadly):
    """Keeps no keys; kills after a message that came with one."""

    def write(self, changes: Sequence[Changes]) -> None:
        without = [Changes([put for put in each.puts if not put[0].startswith("key ")], each.deletes) for each in changes]
        super().write(without)
        if any(len(before.puts) > len(after.puts) for before, after in zip(changes, without, strict=True)):
            self.chance()


class Failing(Wrapped):
    """Raises what `fault` says, for the number of each write, counted from 1; and knows no room while `is_full`."""

    def __init__(self, store: Store, fault: Callable[[int], Exception | None]) -> None:
        super().__init__(store)
        self._fault = fault
        self.writes = 0

    def write(self, changes: Sequence[Changes]) -> None:
        self.writes += 1
        error = self._fault(self.writes)
        if error is not None:
            raise error
        self.store.write(changes)


def content(store: Store) -> dict[tuple[str, Key], Any]:
    """All that is in an open store, but for what `spaces` does not find."""
    kinds = ("message", "key", "state", "claim")
    return {(space, key): body for kind in kinds for space in store.spaces(kind) for key, body in store.scan(space, limit=10**6)}
