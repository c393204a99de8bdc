"""A running tree: open it, talk to it, look at it, stop it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import trio
from attrs import evolve
from trio.lowlevel import enable_ki_protection

from actorkit._runtime.cascade_manager import CascadeManager
from actorkit._runtime.cell import Cell
from actorkit._runtime.checkpoint_store import CheckpointStore
from actorkit._runtime.checkpoints import CheckpointRecoveryManager
from actorkit._runtime.dead_letters import DeadLetterQueue
from actorkit._runtime.dependencies import check_dependencies
from actorkit._runtime.group_specs import KeyedSpec, PoolSpec
from actorkit._runtime.kernel import Kernel
from actorkit._runtime.keyed import make_keyed
from actorkit._runtime.ledger import NUMBERS, REASONS, Ledger, total
from actorkit._runtime.plain_data import tree_as_data
from actorkit._runtime.pools import make_pool
from actorkit._runtime.specs import ChildSpec, SupervisorSpec, supervisor
from actorkit._runtime.streams import finish_streams, say_last_words
from actorkit._runtime.waits import acting
from actorkit._runtime.wiring import check_required, connect
from actorkit.errors import DeadlockError, SpecError, SpecTypeError, UnknownActor
from actorkit.events import Event
from actorkit.messages import ExitReason
from actorkit.policy.cascade import CascadeSettings
from actorkit.policy.checks import check_subclass, check_type, complaint
from actorkit.policy.recovery import DeadLetterReason
from actorkit.policy.restart import grace
from actorkit.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable
    from pathlib import Path

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.event_stream import Subscription
    from actorkit._runtime.health_monitor import SystemHealth
    from actorkit._runtime.ref import ActorRef
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.topics import Topic

M = TypeVar("M")
A = TypeVar("A", bound="Actor")
E = TypeVar("E", bound=Event)

Tree = SupervisorSpec | ChildSpec[Any]

_running: set[Tree] = set()  # the trees that run in this process


@asynccontextmanager
async def open_system(
    tree: Tree,
    *,
    store: Store | None = None,
    dead_letters: DeadLetterQueue | None = None,
    cascade: CascadeSettings | Literal[False] | None = None,
    seed: int | None = None,
    spill_to: str | Path | None = None,
) -> AsyncGenerator[System]:
    """Runs a tree for as long as the block lasts: `async with open_system(tree) as system: …`.

    Leaving the block stops the tree in order: sources first, then what is queued is worked off within the shutdown
    times, `on_drained` included, then actors stop in reverse order; what is left becomes dead letters. On an exception or a
    cancel the actors stop at once.

    Args:
        tree: a supervisor (a single child gets one of its own).
        store: where what is to survive the process is kept, such as `SqliteStore("app.db")`: what durable ports have accepted,
            states, dead letters, checkpoints and reminders. Without one, ports can't be durable, and the rest is kept in memory.
        dead_letters: where messages go that are given up; by default a new `DeadLetterQueue()`.
        cascade: when the whole system slows down and how it comes back, `CascadeManager.settings(…)`; False: never.
        seed: for all of the system's chance (jitter), so that a run can be repeated.
        spill_to: the folder for what SPILL_TO_DISK ports write. What a process that was killed left there is read back
            by the next one. By default it is a temporary one, and goes with the system.

    Raises:
        WiringError: a wire does not fit; nothing was started.
        SpecError: this tree is running already, or has a durable port and no store.
        StorageError: the store can't be used: somebody else has it open, say. It was not changed.
        SupervisionError: a child could not be started, or the tree gave up; `__cause__` is the exception behind it.
    """
    system = System(tree, DeadLetterQueue() if dead_letters is None else dead_letters, store, cascade, seed, spill_to)
    async with system.running():
        yield system


class System:
    """A running tree. Made by `open_system`; inside an actor it is `self.system`."""

    def __init__(
        self,
        tree: Tree,
        dead_letters: DeadLetterQueue,
        store: Store | None,
        cascade: CascadeSettings | Literal[False] | None,
        seed: int | None,
        spill_to: str | Path | None,
    ) -> None:
        check_type("the system", "dead_letters", dead_letters, DeadLetterQueue, "a DeadLetterQueue(…)")
        check_store(store)
        if isinstance(seed, bool) or not isinstance(seed, int | None):  # True is a slip of the pen for "seeded", and means 1 to Python
            raise SpecTypeError(complaint("the system", "seed", seed, "a whole number, or None"))
        self._given = tree
        if isinstance(tree, ChildSpec):
            tree = supervisor(tree)
        if not isinstance(tree, SupervisorSpec):
            raise SpecTypeError(f"a tree is made by supervisor(…), and this is {tree!r}")
        self.kernel = Kernel(self, dead_letters, store, seed, spill_to)
        self.kernel.makers.update({PoolSpec: make_pool, KeyedSpec: make_keyed})
        self.kernel.checkpoints = CheckpointStore(self.kernel)
        self.checkpoints = CheckpointRecoveryManager(self.kernel)
        self.dead_letters = dead_letters
        self.kernel.note_wires(tree.all_wires())
        root = evolve(supervisor(name="root"), children=(tree,))
        self.cascade = CascadeManager(self.kernel, root, check_cascade(cascade))
        self.body = trio.CancelScope()  # the block that the user runs the system with
        self._leave = trio.Event()
        self._one_stop = trio.Lock()
        self._asked_stop = trio.CancelScope()  # of a stop that an actor asked for
        self._stopped = False
        self._top_ended = trio.Event()
        connect(self.kernel.cells, tree.all_wires())
        check_required(self.kernel.cells.values())
        check_dependencies(self.kernel)

    # ------------------------------------------------------------------------------------------------ actors

    @overload
    def ref(self, actor: type[A]) -> ActorRef[A]: ...
    @overload
    def ref(self, actor: str, actor_class: type[A]) -> ActorRef[A]: ...
    @overload
    def ref(self, actor: str) -> ActorRef[Any]: ...
    def ref(self, actor: Any, actor_class: Any = None) -> ActorRef[Any]:
        """The address of an actor: by its class, if there is one of that class, or by its path.

        Args:
            actor: the class, or the path: `"root/flights/parser"`.
            actor_class: with a path, its class, for a typed address.

        Raises:
            UnknownActor: there is none, or more than one; the text lists the candidates.
        """
        cells = self.kernel.cells
        if isinstance(actor, str):
            cell = self.kernel.find(actor)
            if cell is None:
                raise UnknownActor(f"there is no actor {actor!r}; {_suggest(actor, cells)}")
            if actor_class is not None:
                check_subclass("system.ref", "actor_class", actor_class, object, "an actor class")
                if not issubclass(cell.actor_class, actor_class):
                    raise UnknownActor(f"{actor} is a {cell.actor_class.__qualname__}, not a {actor_class.__qualname__}")
            return cell.ref
        if not isinstance(actor, type):
            raise SpecTypeError(complaint("system.ref", "actor", actor, "an actor class, or a path such as 'root/flights/parser'"))
        found = cells.candidates(actor)
        if len(found) != 1:
            how_many = "no" if not found else "more than one"
            listed = ", ".join(cell.path for cell in found[:20]) if found else _suggest("", cells)
            raise UnknownActor(
                f"there is {how_many} {actor.__qualname__} in this system: {listed}" + ("; name one by its path" if found else "")
            )
        return found[0].ref

    def supervisor(self, path: str) -> Supervisor:
        """The supervisor with this path, to administer its children.

        Raises:
            UnknownActor: there is none; the text lists those there are.
        """
        supervisors = self.kernel.supervisors
        if path not in supervisors:
            raise UnknownActor(f"there is no supervisor {path!r}; {_suggest(path, supervisors)}")
        return supervisors[path]

    # ------------------------------------------------------------------------------------------------ topics

    def publish(self, topic: Topic[M], message: M) -> Awaitable[None]:
        """Sends `message` to all subscribers of `topic`; waits while one of them has no room. Await it.

        Those that have room get it at once: a slow one holds up only who publishes, and only if its port blocks when full.
        Without subscribers the message is discarded, counted, and reported once per topic. If the wait is cancelled, all
        subscribers get the message or none does; in the first case, this returns as if it had not been cancelled.

        Raises:
            MessageTypeError: `message` is not of the topic's type.
            WiringError: there is a topic of this name and another type.
        """
        return self.kernel.topics.channel(topic).publish(message)

    def publish_nowait(self, topic: Topic[M], message: M) -> None:
        """As `publish`, but raises instead of waiting.

        Raises:
            MailboxFull: a subscriber has no room; nobody got the message.
            MessageTypeError: `message` is not of the topic's type.
            WiringError: there is a topic of this name and another type.
        """
        self.kernel.topics.channel(topic).publish_nowait(message)

    # ------------------------------------------------------------------------------------------------ what is known

    def ledger(self) -> Ledger:
        """What became of every message so far: see `Ledger`."""
        ports = self.kernel.all_counts()
        sums = total([self.kernel.retired, *ports.values()])
        return Ledger(**{name: getattr(sums, name) for name in (*NUMBERS, *REASONS)}, ports=ports)

    @overload
    def events(self) -> Subscription[Event]: ...
    @overload
    def events(self, *types: type[E]) -> Subscription[E]: ...
    def events(self, *types: Any) -> Subscription[Any]:
        """An async iterator over what happens from now on: events of these types, or all. It ends with the system.

        Raises:
            SpecTypeError: one of `types` is no class of events.
        """
        for each in types:
            check_subclass("system.events", "types", each, Event, "classes from actorkit.events, such as HandlerFailed")
        return self.kernel.events.subscribe(types)

    def health(self) -> SystemHealth:
        """How the system and each of its components did at the last poll: see `SystemHealth`."""
        return self.cascade.health()

    def snapshot(self) -> dict[str, Any]:
        """The whole tree, as it is now, as plain data."""
        return tree_as_data(self.kernel, self.cascade) | {"topics": self.kernel.topics.snapshot()}

    # ------------------------------------------------------------------------------------------------ waiting, and the end

    async def settle(self) -> None:
        """Waits until nothing is queued or in flight; messages that are stashed, at paused ports, or at stopped actors, don't count.

        Raises:
            DeadlockError: called in a handler, whose own message is in flight as long as that waits.
        """
        cell = self.kernel.deadlocks.waiting_one()
        if isinstance(cell, Cell) and cell.port is not None:
            raise DeadlockError(
                f"{cell.path}: system.settle() would wait for ever, as the message in hand is in flight until its handler ends;"
                " wait in a background task (self.start_soon), or outside of the actors"
            )
        await self.kernel.wait_settled()

    async def wait(self) -> None:
        """Waits until nothing can happen any more by itself: no source runs, nothing is queued, in flight, or due.

        Raises:
            DeadlockError: called in an actor, which as long as it waits is not at its end.
        """
        cell = acting.get()
        if cell is not None:
            raise DeadlockError(
                f"{cell.path}: system.wait() would wait for ever, as this actor is at work as long as it waits; wait outside of the actors"
            )
        await self.kernel.wait_quiet()

    async def wait_top_ended(self) -> None:
        """Waits until the tree has ended by itself."""
        await self._top_ended.wait()

    async def stop(self) -> None:
        """Stops the tree in order, as leaving the block does. Called by an actor, it asks for that and returns at once."""
        if acting.get() is not None:
            self.kernel.begin()
            self.kernel.launch(self._stop_for_actor)
        else:
            await self._stop_in_order()

    async def _stop_for_actor(self) -> None:
        try:
            with self._asked_stop:
                await self._stop_in_order()
        finally:
            self.kernel.done()

    async def finish_streams(self) -> None:
        """Ends all streams that have not ended by themselves, from upstream down, and waits until all is quiet."""
        await finish_streams(self.kernel)

    # ------------------------------------------------------------------------------------------------ how open_system runs it

    @asynccontextmanager
    @enable_ki_protection
    async def running(self) -> AsyncGenerator[None]:
        """Runs the tree for as long as the block lasts: see `open_system`."""
        if self._given in _running:
            raise SpecError(f"{self._given.title} is running already: wait for that run to end, or make another tree")
        _running.add(self._given)
        error: BaseException | None = KeyboardInterrupt()  # what else would cancel it before it is up?
        try:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope(shield=True):  # were all this cancelled already, trio would wait for the host to end, in vain
                    await nursery.start(self._host)
                try:
                    with self.body:
                        await self.kernel.open_store()
                        await self.cascade.start()
                        self.cascade.start_sources()
                        self.kernel.report_unclaimed()
                        self.kernel.reminders.begin()
                        error = None
                        yield
                        await self._stop_in_order()
                except BaseException as caught:  # raised again below, outside of the nursery, so that it is not wrapped in a group
                    error = caught
                nursery.cancel_scope.shield = True
                await self._close()
        finally:
            _running.discard(self._given)
            self.kernel.stop()
        error = error if self.kernel.crashed is None else self.kernel.crashed
        if error is not None:
            raise error

    @enable_ki_protection
    async def _host(self, task_status: trio.TaskStatus[None]) -> None:
        """Where everything runs: behind a shield, so that whatever happens outside, handlers end by an orderly cancel."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                self.kernel.start(nursery)
                task_status.started()
                await self._leave.wait()
                nursery.cancel_scope.cancel()

    async def _close(self) -> None:
        """Ends what is still there, at once, and the system."""
        self.kernel.is_closing = True
        self._asked_stop.cancel()
        try:
            if not self._stopped:
                await self.cascade.stop(ExitReason.SHUTDOWN, -math.inf)
                await self._is_over()
        finally:  # Ctrl-C may have ended that wait; the host is shielded, and would never be left
            self._leave.set()

    def end_now(self) -> None:
        """Ends the user's block by a cancel, and the system with it."""
        self.body.cancel()

    def top_ended(self) -> None:
        """The top tree has ended by itself, and not because of a failure."""
        self._top_ended.set()

    async def _stop_in_order(self) -> None:
        async with self._one_stop:
            if self._stopped:
                return
            self.kernel.is_closing = True
            self.cascade.let_go()
            for cell in self.kernel.cells.values():
                if cell.life is not None:
                    cell.life.stop_source()
                cell.look_again()  # a batch waits no longer to be filled
            began = trio.current_time()
            await self._work_off(began)
            await say_last_words(
                self.kernel,
                lambda cell: began + grace(cell.spec.shutdown) > trio.current_time(),
                lambda: self._work_off(began),
            )
            await self.cascade.stop(ExitReason.SHUTDOWN, math.inf)
            await self._is_over()

    async def _work_off(self, began: float) -> None:
        """Waits until what is queued is handled, and what sources and `on_drained` still do is done.

        It began to wait for that at `began`, and does for no actor longer than its shutdown time. Who then is not done has used it up.
        """
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            at_work = [each for each in self.kernel.cells.values() if each.is_busy or (each.life is not None and each.life.is_winding_up)]
            busy = [(began + grace(cell.spec.shutdown), cell) for cell in at_work]
            ends = [end for end, _ in busy if end > now]
            if not ends:
                break
            with trio.move_on_at(min(ends)):
                await self.kernel.wait_for_a_look()
        for end, cell in busy:
            cell.stop_by = end

    async def _is_over(self) -> None:
        """Nothing runs any more."""
        self.cascade.retire_all(DeadLetterReason.SHUTDOWN)
        self._stopped = True
        await self.kernel.writer.close()
        self.kernel.events.close()
        self._top_ended.set()
        self.kernel.look()


def check_cascade(cascade: object) -> CascadeSettings | None:
    """The settings of the cascade manager; None: it does not watch. Raises SpecTypeError if this is neither."""
    if cascade is None:
        return CascadeSettings()
    expected = "CascadeManager.settings(…), None for the default, or False"
    return None if cascade is False else check_type("the system", "cascade", cascade, CascadeSettings, expected)


def check_store(store: object) -> None:
    """Raises SpecTypeError if this is no store."""
    missing = [name for name in vars(Store) if not name.startswith("_") and not hasattr(store, name)]
    if store is not None and missing:
        raise SpecTypeError(complaint("the system", "store", store, 'a store, such as SqliteStore("app.db"), or None'))


def _suggest(wanted: str, known: Iterable[str]) -> str:
    """The names there are, those like `wanted` first."""
    names = sorted(known)
    close = get_close_matches(wanted, names, n=3, cutoff=0.4) if wanted else []
    listed = [*close, *(name for name in names if name not in close)][:20]
    return f"there are: {', '.join(listed)}{', …' if len(names) > len(listed) else ''}" if names else "there is none"
