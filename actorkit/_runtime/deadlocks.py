"""Finds actors and tasks that wait for each other, at the moment when their circle closes. policy/deadlock.py has the graph.

There is no graph kept: who begins to wait follows those that it waits for, as far as these wait themselves. So what
never waits pays nothing, and a wait for an actor that has a turn coming costs one comparison. A wait ends a walk when
its receiver can go on by itself: when it restarts, is throttled, held by a breaker, or waits to try again.

The youngest wait of a circle is the one that closes it. It never begins: it fails with `DeadlockError`. Two kinds are
spared, as nothing has to fail for them: emitters that are held (the one held longest goes on), and an actor that is
being stopped (it is cut short, as at the end of its shutdown time, and its message waits for its next life).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from trio.lowlevel import Task, current_task

from actorkit._runtime.cell import Cell
from actorkit._runtime.holds import release_holds
from actorkit._runtime.states import CLOSED, HELD, IDLE, PARKED, READY, WAITING
from actorkit._runtime.waits import Waiter, acting, handling
from actorkit.errors import DeadlockError
from actorkit.events import DeadlockFound
from actorkit.policy.deadlock import Wait, find_circle

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence

    from actorkit._runtime.child import Child
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.supervisor import Supervisor

    Node: TypeAlias = Cell | Supervisor | Task
    """Who can wait: an actor in a handler or hook, a supervisor at work, or a trio task (a `run`, a background task, one outside)."""

F = TypeVar("F", bound="Callable[..., Coroutine[Any, Any, Any]]")

WAY_OUT = "ask from a background task (self.start_soon), or send a message and be answered by a message"


class Deadlocks:
    """What waits in one system, as far as cells don't know it themselves."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waits: dict[Any, list[Waiter | Wait[Any]]] = {}  # of those that wait in trio

    def waiting_one(self) -> Cell | Task:
        """Who waits when this code does: the actor whose handler or hook it is part of, nurseries inside included, or else this task."""
        task, cell = current_task(), handling.get()
        if cell is None or cell.state in (IDLE, READY, PARKED, HELD):
            return task  # begun in a handler, in a nursery from outside: that handler is over
        return cell if cell.worker is None or _is_below(task, cell.worker.task) else task

    # ------------------------------------------------------------------------------------------------ a wait begins

    def check(self, owner: Node, waiter: Waiter) -> None:
        """Raises `DeadlockError` if this wait would never end; then it has not begun, and its message is not wanted any more."""
        try:
            for wait in _waits(owner, waiter):
                self._check(wait)
        except DeadlockError:
            waiter.abandon()
            raise

    def begin(self, waiter: Waiter) -> Node:
        """A task begins to wait, for itself or for the handler that it is part of; says which, for `end`. Raises as `check`."""
        owner = self.waiting_one()
        if waiter.may_last:
            self.check(owner, waiter)
        self._waits.setdefault(owner, []).append(waiter)
        return owner

    def end(self, owner: Node, wait: Waiter | Wait[Any]) -> None:
        """Its wait is over, whatever ended it."""
        waits = self._waits[owner]
        waits.remove(wait)
        if not waits:
            del self._waits[owner]

    @contextmanager
    def waiting_for(self, supervisor: Supervisor, stops: Sequence[Cell]) -> Generator[None]:
        """The block waits for a supervisor's turn, and for these actors to stop. Raises as `check`, before it begins."""
        what = f"for supervisor {supervisor.path}" + (f" to stop {', '.join(each.path for each in stops)}" if stops else "")
        with self.waiting(what, (supervisor, *stops)):
            yield

    @contextmanager
    def waiting(self, what: str, nodes: Sequence[Node]) -> Generator[None]:
        """The block waits for all of these to go on; `what` for is for people. Raises as `check`, before it begins."""
        owner = self.waiting_one()
        waits: list[Wait[Any]] = [Wait(owner, (node,), f"{name_of(owner)} waits {what}") for node in nodes]
        for wait in waits:
            self._check(wait)
        for wait in waits:
            self._waits.setdefault(owner, []).append(wait)
        try:
            yield
        finally:
            for wait in waits:
                self.end(owner, wait)

    def _check(self, new: Wait[Any]) -> None:
        while circle := self._find(new):
            if not _let_one_go(circle):
                raise self._report(circle)

    # ------------------------------------------------------------------------------------------------ what else may close a circle

    def held(self, cell: Cell) -> None:
        """An emitter is held from now on: if by those that wait for it, the one held longest goes on."""
        for wait in _holds(cell):
            if cell.state == HELD and (circle := self._find(wait)):
                _let_one_go(circle)

    def stopping(self, cell: Cell) -> None:
        """An actor is to be stopped: if whoever waits for that is whom it waits for in the end, its message is cut short."""
        for wait in self._waits_of(cell):
            if circle := self._find(wait):
                self._report(circle)
                cell.kill()
                return

    def exiting(self, cell: Cell) -> None:
        """An actor needs its supervisor to go on, which may be busy with somebody who waits for this actor."""
        if cell.supervisor.engaged and (circle := self._find(_needs(cell))):
            self._cut(circle)

    def took_over(self, cell: Cell) -> None:
        """A member of a group got messages that waited at another: who waits for it now may be whom it waits for itself."""
        while circle := next((found for wait in self._waits_of(cell) if (found := self._find(wait))), None):
            if not (_let_one_go(circle) or self._cut(circle)):
                break

    def _cut(self, circle: tuple[Wait[Any], ...]) -> bool:
        """The last in this circle who waits for an answer, or for room, fails; says whether there was one."""
        waiters = [wait.token for wait in circle if isinstance(wait.token, Waiter)]
        if waiters:
            waiters[-1].wake(error=self._report(circle))
            waiters[-1].abandon()
        return bool(waiters)

    # ------------------------------------------------------------------------------------------------ who waits for whom, now

    @property
    def are_woken(self) -> bool:
        """Whether somebody's wait is over, and they have not gone on yet."""
        return any(isinstance(each, Waiter) and each.done for waits in self._waits.values() for each in waits)

    def waits_of(self, cell: Cell) -> Iterator[Wait[Any]]:
        """What the handler or hook of this actor waits for now; the `token` of a wait for an answer, or for room, is its `Waiter`."""
        return self._waits_of(cell)

    def _find(self, new: Wait[Any]) -> tuple[Wait[Any], ...]:
        return find_circle(new, self._waits_of)

    def _waits_of(self, node: Any) -> Iterator[Wait[Any]]:
        if isinstance(node, Cell):
            yield from self._waits_of_cell(node)
        elif isinstance(node, Task):
            yield from self._waits_in_trio(node)
        else:
            yield from _waits_of_supervisor(node)

    def _waits_of_cell(self, cell: Cell) -> Iterator[Wait[Any]]:
        if cell.state == PARKED and cell.waiter is not None and not cell.waiter.done:
            yield from _waits(cell, cell.waiter)
        elif cell.state == HELD:
            yield from _holds(cell)
        elif cell.state in (WAITING, CLOSED):
            yield from self._waits_in_trio(cell)
            if needs_supervisor(cell):
                yield _needs(cell)

    def _waits_in_trio(self, owner: Any) -> Iterator[Wait[Any]]:
        for each in self._waits.get(owner, ()):
            if isinstance(each, Wait):
                yield each
            elif not (each.done or each.gone):
                yield from _waits(owner, each)

    def _report(self, circle: tuple[Wait[Any], ...]) -> DeadlockError:
        texts = tuple(wait.text for wait in circle)
        self._kernel.events.publish(DeadlockFound(name_of(circle[0].of), texts))
        return DeadlockError(f"this would wait for ever: {' → '.join(texts)}; {WAY_OUT}")


def _is_below(task: Task, ancestor: Task) -> bool:
    each: Task | None = task
    while each is not None and each is not ancestor:
        each = None if each.parent_nursery is None else each.parent_nursery.parent_task
    return each is not None


def _waits(owner: Any, waiter: Waiter) -> list[Wait[Any]]:
    return [Wait(owner, part.awaited, f"{name_of(owner)} {part.description}", waiter) for part in waiter.parts]


def _holds(cell: Cell) -> list[Wait[Any]]:
    text = "{} is held until there is room at {}"
    return [Wait(cell, (mailbox.cell,), text.format(cell.path, mailbox.path), HELD) for mailbox in cell.holds]


def _needs(cell: Cell) -> Wait[Any]:
    return Wait(cell, (cell.supervisor,), f"{cell.path} waits for supervisor {cell.supervisor.path} to start it")


def needs_supervisor(cell: Cell) -> bool:
    """Whether it cannot go on before its supervisor has had a turn: it is not up yet, or has to be started again."""
    if cell in cell.supervisor.engaged or cell.refuses or cell.state != CLOSED:
        return False
    return cell.life is None or not (cell.ending or (cell.failures is not None and cell.failures.is_holding))


def _waits_of_supervisor(supervisor: Supervisor) -> Iterator[Wait[Any]]:
    for unit in supervisor.engaged:
        yield Wait(supervisor, (unit,), f"supervisor {supervisor.path} waits for {unit.path} to start or stop")
    parent = supervisor.parent
    if not supervisor.is_running and parent is not None and supervisor not in parent.engaged:
        yield Wait(supervisor, (parent,), f"supervisor {supervisor.path} waits for supervisor {parent.path} to start it")


def _let_one_go(circle: tuple[Wait[Any], ...]) -> bool:
    """If emitters are held in this circle, the one that was held longest goes on; says whether there was one."""
    held = [wait.of for wait in circle if wait.token is HELD]
    if held:
        release_holds(min(held, key=lambda cell: cell.held_since))
    return bool(held)


def name_of(node: Any) -> str:
    """Who waits, for people."""
    if not isinstance(node, Task):
        return str(node.path)
    cell = node.context.get(acting)
    return f"task {node.name}" if cell is None else f"a task of {cell.path}"


def engages(method: F) -> F:
    """Of a child's `start` or `stop`: meanwhile its supervisor waits for it."""

    @wraps(method)
    async def meanwhile(child: Child, *args: Any) -> Any:
        unit = child.unit
        engaged = unit.supervisor.engaged if isinstance(unit, Cell) else {} if unit.parent is None else unit.parent.engaged
        engaged[unit] = engaged.get(unit, 0) + 1
        try:
            if isinstance(unit, Cell):
                unit.kernel.deadlocks.stopping(unit)
            return await method(child, *args)
        finally:
            engaged[unit] -= 1
            if not engaged[unit]:
                del engaged[unit]

    return cast("F", meanwhile)
