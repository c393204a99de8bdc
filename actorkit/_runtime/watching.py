"""Who is told when an actor goes down, and what a link makes of that: a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from actorkit._runtime.ref import ActorRef
from actorkit.errors import DependencyError
from actorkit.messages import Down, ExitReason
from actorkit.policy.checks import check_type

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit.policy.taxonomy import ErrorContext


class Watcher(Protocol):
    """Who is told when an actor goes down: a mailbox, or a `Link`."""

    @property
    def cell(self) -> Cell:
        """The actor that watches."""
        ...

    def admit(self, notice: Down, /) -> None:
        """Tells it."""
        ...


@frozen
class Link:
    """The end of a link that belongs to one life of an actor; two of one life are one."""

    life: Incarnation

    @property
    def cell(self) -> Cell:
        """The actor that fails with the other one."""
        return self.life.cell

    def admit(self, notice: Down, /) -> None:
        """The other one has gone down; if that was abnormal, so does this one."""
        if not notice.reason.is_abnormal or self.life.ended:
            return
        why = f": {notice.error.summary}" if notice.error is not None else ""
        error = DependencyError(f"{notice.ref.path}, to which {self.cell.path} is linked, went down ({notice.reason.value}){why}")
        error.__cause__ = None if notice.error is None else notice.error.exception
        self.cell.recovery.life_failed("link", error)


def watch(cell: Cell, watcher: Watcher, *, restarts: bool) -> None:
    """From now on `watcher` is told when `cell` goes down; `restarts`: also when it is restarted."""
    if cell.watchers is None:
        cell.watchers = {}
    cell.watchers[watcher] = restarts


def begin_watching(life: Incarnation, used: str, ref: ActorRef[Any], watcher: Watcher, *, restarts: bool) -> None:
    """The same for one life, with which it ends; `used`: what it was called by.

    Raises:
        SpecTypeError: `ref` is no address.
    """
    owner = f"{life.cell.path}: {used}"
    target = check_type(owner, "ref", ref, ActorRef, "the address of an actor, such as self.system.ref(Class)").cell
    if target.refuses:
        watcher.admit(Down(ref, *(target.farewell or (ExitReason.SHUTDOWN, None))))
    elif not life.ended:
        watch(target, watcher, restarts=restarts)
        if life.watching is None:
            life.watching = []
        life.watching.append((target, watcher))


def unwatch(cell: Cell, watcher: Watcher) -> None:
    """It is not, any more."""
    if cell.watchers is not None:
        cell.watchers.pop(watcher, None)


def down(cell: Cell, reason: ExitReason, error: ErrorContext | None, *, restarting: bool) -> None:
    """Tells the watchers of `cell`; all of them, once, unless it is only being restarted."""
    if cell.watchers:
        notice = Down(cell.ref, reason, error)
        for watcher, restarts in list(cell.watchers.items()):
            if restarts or not restarting:
                watcher.admit(notice)
    if not restarting:
        cell.watchers, cell.farewell = None, (reason, error)
