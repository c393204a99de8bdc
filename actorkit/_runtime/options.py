"""The options of a system, checked when they are given."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from actorkit._runtime.dead_letters import DeadLetterQueue
from actorkit.errors import SpecTypeError
from actorkit.policy.cascade import CascadeSettings
from actorkit.policy.checks import check_type, complaint
from actorkit.storage.store import Store

OWNER = "the system"


def checked_letters(dead_letters: DeadLetterQueue | None) -> DeadLetterQueue:
    """The queue that was given, or a new one."""
    return (
        DeadLetterQueue()
        if dead_letters is None
        else check_type(OWNER, "dead_letters", dead_letters, DeadLetterQueue, "a DeadLetterQueue(…)")
    )


def checked_cascade(cascade: object) -> CascadeSettings | None:
    """The settings of the cascade manager; None: it does not watch."""
    if cascade is None:
        return CascadeSettings()
    expected = "CascadeManager.settings(…), None for the default, or False"
    return None if cascade is False else check_type(OWNER, "cascade", cascade, CascadeSettings, expected)


def check_store(store: object) -> None:
    """Raises SpecTypeError if this is no store."""
    missing = [name for name in vars(Store) if not name.startswith("_") and not hasattr(store, name)]
    if store is not None and missing:
        raise SpecTypeError(complaint(OWNER, "store", store, 'a store, such as SqliteStore("app.db"), or None'))


def check_seed(seed: object) -> None:
    """Raises SpecTypeError if this is no seed."""
    if isinstance(seed, bool) or not isinstance(seed, int | None):  # True is a slip of the pen for "seeded", and means 1 to Python
        raise SpecTypeError(complaint(OWNER, "seed", seed, "a whole number, or None"))


def suggest(wanted: str, known: Iterable[str]) -> str:
    """The names there are, those like `wanted` first."""
    names = sorted(known)
    close = get_close_matches(wanted, names, n=3, cutoff=0.4) if wanted else []
    listed = [*close, *(name for name in names if name not in close)][:20]
    return f"there are: {', '.join(listed)}{', …' if len(names) > len(listed) else ''}" if names else "there is none"
