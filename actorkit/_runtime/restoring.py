"""How a new life of an actor gets its state: the first of those kept for it that it can be restored from, or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from trio.lowlevel import disable_ki_protection

from actorkit.errors import StorageError
from actorkit.events import StateNotRestored, StateRestored

if TYPE_CHECKING:
    from actorkit._runtime.incarnation import Incarnation

T = TypeVar("T")


@disable_ki_protection
def call(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Calls a function of the user's, so that Ctrl-C can end one that never returns."""
    return fn(*args, **kwargs)


class KeptState(ABC):
    """A state that a new life could take over.

    Attributes:
        title: what it is, for people: "checkpoint 7".
        required: whether the actor is not to start without it, if it is there.
        is_restored: whether a life has taken it over.
        error: why that failed, if it did.
    """

    __slots__ = ("error", "is_restored", "required", "title")

    def __init__(self, title: str, *, required: bool = False) -> None:
        self.title = title
        self.required = required
        self.is_restored = False
        self.error: Exception | None = None

    @abstractmethod
    async def read(self) -> tuple[object, int]:
        """The state, and its version.

        Raises:
            DecodingError: it can't be read.
            StorageError: the store can't be used.
        """


class HandedOn(KeptState):
    """A state that is at hand."""

    __slots__ = ("_state",)

    def __init__(self, title: str, state: tuple[object, int], *, required: bool = False) -> None:
        super().__init__(title, required=required)
        self._state = state

    async def read(self) -> tuple[object, int]:
        return self._state


async def make_actor(life: Incarnation, states: Iterable[KeptState]) -> None:
    """Makes the actor object, restored from the first of these states that will do; afresh if none does.

    Raises:
        Exception: what the constructor raised.
        StorageError: the store can't be used.
    """
    for state in states:
        if await _is_restored(life, state):
            return
    life.construct()


async def _is_restored(life: Incarnation, kept: KeptState) -> bool:
    events, path = life.cell.kernel.events, life.cell.path
    try:
        state, version = await kept.read()
    except StorageError:
        raise  # that says nothing about the state
    except Exception as error:
        if kept.required:
            raise
        kept.error = error
    else:
        life.construct()
        life.restoring = True
        try:
            call(type(life.actor).restore, life.actor, state, version)
            life.restoring = False
        except Exception as error:
            if kept.required:
                raise
            kept.error = error
    if kept.error is not None:
        events.publish(StateNotRestored(path, kept.title, kept.error))
        return False
    kept.is_restored = True
    if events.hears(StateRestored.level):
        events.publish(StateRestored(path, kept.title, life.number))
    return True
