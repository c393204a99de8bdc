"""What all parts of one running system share."""

from __future__ import annotations

from collections import deque
from contextvars import Context, copy_context
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from actorkit._runtime.deadlocks import Deadlocks
from actorkit._runtime.dispatcher import Dispatcher
from actorkit._runtime.durable_mailbox import Durable, DurableMailbox
from actorkit._runtime.erasing import Erasing
from actorkit._runtime.event_stream import EventStream
from actorkit._runtime.journals import STATE, Journal, Kept
from actorkit._runtime.kept_letters import KeptLetters
from actorkit._runtime.ledger import PortCounts, Sums, total
from actorkit._runtime.register import Register
from actorkit._runtime.reminders import Reminders
from actorkit._runtime.spilling import SpillFolder
from actorkit._runtime.suspects import Suspects
from actorkit._runtime.timers import Timers
from actorkit._runtime.topics import Topics, TopicWire
from actorkit._runtime.watchdog import Watchdog
from actorkit._runtime.writer import Writer
from actorkit.events import MessagesUnclaimed, StoreRepaired
from actorkit.policy.recovery import DeadLetterReason
from actorkit.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.checkpoint_store import CheckpointStore
    from actorkit._runtime.child import Child
    from actorkit._runtime.dead_letters import DeadLetterQueue
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort, Wire
    from actorkit._runtime.specs import Spec
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.system import System
    from actorkit.policy.taxonomy import ErrorContext
    from actorkit.storage.store import Store

UNUSED = PortCounts()
ERRORS_KEPT = 1_000
"""How many of the last errors a run's report has."""


class Kernel:
    """The services of one system, the register of its actors, and the count of what is under way."""

    def __init__(
        self, system: System, dead_letters: DeadLetterQueue, store: Store | None, seed: int | None, spill_to: str | Path | None
    ) -> None:
        self.system = system
        self.is_durable = store is not None  # whether what is kept outlives the system
        self.spill_folder = SpillFolder(spill_to)
        self._watchdog = Watchdog(self)
        self.rng = Random(seed)
        self.events = EventStream()
        self.writer = Writer(self, MemoryStore() if store is None else store)
        self.kept = Kept()
        self.erasing = Erasing(self)
        self.suspects = Suspects(self)
        self.steppers: set[type] = set()  # classes that are wired to durable ports
        self.unwritten: dict[str, dict[bytes, tuple[bytes | None]]] = {}  # of keyed actors, by space and key: see key_states.py
        self.checkpoints: CheckpointStore  # made with the system
        self.timers = Timers(self.look)
        self.reminders = Reminders(self)
        self.topics = Topics(self)
        self.dead_letters = dead_letters
        self._kept_letters = KeptLetters(self.writer, self.find_in_port)
        self.deadlocks = Deadlocks(self)
        self.dispatcher = Dispatcher(self.look, self.crash, self.deadlocks)
        self.context: Context = copy_context()
        self.nursery: trio.Nursery  # from `start` on
        self.token: trio.lowlevel.TrioToken
        self.cells = Register()
        self.supervisors: dict[str, Supervisor] = {}
        self.makers: dict[type[Spec], Callable[[Kernel, Any, str, Supervisor], Child]] = {}  # of children that are groups: see pools.py
        self.retries = 0
        self.restarts = 0
        self.restart_delay: Callable[[float], float] = lambda _: 0.0  # what the root makes of all restarts together
        self.errors: deque[ErrorContext] = deque(maxlen=ERRORS_KEPT)
        self._moment = (-1.0, datetime.now(UTC))
        self._retired = Sums()  # of ports that no longer exist
        self._late = 0  # dead letters to those ports
        self.endings: deque[Cell] = deque()  # whose incoming wires have closed, and who have not been told yet
        self._passes_on = False
        self.repeating = 0  # timers of `every`: they keep no run alive
        self.crashed: BaseException | None = None
        self.is_emergency = False  # then nobody's patience with a full port runs out
        self.has_held_work: Callable[[], bool] = lambda: False  # whether mail waits for the end of an emergency
        self.is_closing = False  # the system is being stopped: no source begins any more
        self._under_way = 0  # tasks of actors, exits not dealt with yet
        self._holds = 0
        self._onlookers: list[trio.Event] = []
        dead_letters.attach(self.events, self.find_port)

    def start(self, nursery: trio.Nursery) -> None:
        """Begins to work, in `nursery`."""
        self.nursery = nursery
        self.token = trio.lowlevel.current_trio_token()
        self.dispatcher.start(nursery)
        self.launch(self.timers.run)
        self.launch(self.writer.run)
        self._watchdog.start()

    async def open_store(self) -> None:
        """Opens the store, and takes up what is kept there.

        Raises:
            StorageError: it can't be used.
        """
        opening = await self.writer.open()
        for repair in opening.repairs:
            self.events.publish(StoreRepaired(self.writer.store.title, repair))
        if self.is_durable:
            await self.erasing.go_on()
            await self.kept.read(self.writer)
            await self.dead_letters.open(self._kept_letters, self.kept.claimed)
            self.kept.letters = {letter.id: letter for letter in await self.dead_letters.read(sorted(self.kept.claimed))}
            await self.suspects.read(self.writer)
            for cell in self.cells.values():
                for mailbox in cell.mailboxes.values():
                    if isinstance(mailbox, DurableMailbox):
                        mailbox.recover()
        await self.reminders.load()
        await self.checkpoints.open()

    def report_unclaimed(self) -> None:
        """The tree is up: says for which ports that do not exist there are messages in the store."""
        for address, messages in self.kept.unclaimed.items():
            self.events.publish(MessagesUnclaimed(address, messages))

    @property
    def kept_messages(self) -> int:
        """How many messages wait in durable ports, and stay in the store when the system ends."""
        mailboxes = [mailbox for cell in self.cells.values() for mailbox in cell.mailboxes.values() if mailbox.is_durable]
        return sum(mailbox.counts().queued for mailbox in mailboxes)

    def note_wires(self, wires: Sequence[Wire]) -> None:
        """Who is wired to a durable port, or to a topic that one subscribes to, steps: see stepping.py."""
        topics = {wire.topic for wire in wires if isinstance(wire, TopicWire) and any(port.settings.durable for port in wire.to)}
        for wire in wires:
            if any(port.settings.durable for port in wire.to) or (isinstance(wire, TopicWire) and not wire.to and wire.topic in topics):
                self.steppers.add(wire.out.owner)

    def steps(self, actor: type[Actor]) -> bool:
        """Whether actors of this class step."""
        return actor.actorkit_blueprint.is_durable or any(issubclass(actor, each) for each in self.steppers)

    def stop(self) -> None:
        """Lets go of what is not trio's."""
        self._watchdog.stop()
        self.dead_letters.close(self._kept_letters)
        self.spill_folder.close()

    def now(self) -> float:
        """The present time, in seconds."""
        return trio.current_time()

    def moment(self) -> tuple[float, datetime]:
        """The present time, in seconds and in UTC; read once per slice while actors are at work."""
        dispatcher = self.dispatcher
        now = dispatcher.time() if dispatcher.current is None else dispatcher.now
        if now != self._moment[0]:
            self._moment = (now, datetime.now(UTC))
        return self._moment

    def launch(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Runs a task of the runtime's own, as long as the system lasts. What it raises ends the system, and comes out of that."""
        self.nursery.start_soon(self._guarded, work, args)

    @enable_ki_protection
    async def _guarded(self, work: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        try:
            await work(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:  # kept by whoever ends the system, and raised there: in this nursery it would end in a group
            self.crash(error)

    # The register

    def find(self, path: str) -> Cell | None:
        """The actor with this path; a member of a group, too."""
        above, _, name = path.rpartition("/")
        if path in self.cells or above not in self.supervisors:
            return self.cells.get(path)
        child = self.supervisors[above].children.get(name)
        ref = None if child is None else child.ref
        return None if ref is None else ref.cell

    def remove(self, cell: Cell) -> None:
        """An actor exists no more; its numbers stay in the totals."""
        for mailbox in cell.mailboxes.values():
            self._retired.add(mailbox.numbers(), mailbox.reasons())
        self.topics.forget(cell)
        cell.forget()
        self.cells.remove(cell)

    def erase(self, cell: Cell) -> None:
        """An actor, or a group, is gone for good: nothing of it is found any more, in this process or in the next."""
        ports = [name for name, port in cell.in_ports.items() if port.settings.durable]
        spaces = self.checkpoints.forget_all(cell.path)
        if self.is_durable and (ports or cell.step is not None or f"{STATE} {cell.path}" in self.unwritten):
            spaces += self.kept.forget(cell.path, ports)
            self.unwritten.pop(f"{STATE} {cell.path}", None)
        for journal in self._own_journals(cell):
            journal.end()
        self.erasing.erase(spaces)

    def leave(self, cell: Cell) -> None:
        """An actor, or a group, is removed, but not for good: another one with this path goes on where it has ended."""
        if cell.step is not None:
            self.kept.leave(cell.path, cell.step.kept)
        for journal in self._own_journals(cell):
            self.kept.leave_keys(journal)

    def _own_journals(self, cell: Cell) -> list[Journal]:
        found = [mailbox.journal for mailbox in cell.mailboxes.values() if isinstance(mailbox, Durable)]
        return [each for each in found if each.address.startswith(f"{cell.path}.")]  # a member's are its group's

    def note_arrival(self, cell: Cell) -> None:
        """A message came for an actor that has been stopped; if that exists no more, the totals count it here."""
        if self.cells.get(cell.path) is not cell:
            self._late += 1

    @property
    def retired(self) -> PortCounts:
        """The numbers of ports that no longer exist, together."""
        late = self._late
        by: dict[str, int] = {DeadLetterReason.RECEIVER_STOPPED: late} if late else {}
        return total([self._retired.counts(), PortCounts(accepted=late, dead_lettered=late, dead_lettered_by=by)])

    def find_port(self, path: str) -> Mailbox | None:
        """The mailbox with this path: `"root/flights/parser.in_row"`."""
        actor, _, name = path.rpartition(".")
        cell = self.cells.get(actor)
        return cell.mailbox(name) if cell is not None and name in cell.in_ports else None

    def find_in_port(self, path: str) -> InPort[Any, Any, Any] | None:
        """The declaration of the port with this path."""
        actor, _, name = path.rpartition(".")
        cell = self.cells.get(actor)
        return None if cell is None else cell.in_ports.get(name)

    # What is under way

    def begin(self) -> None:
        """Something begins that a run has to wait for."""
        self._under_way += 1

    def done(self) -> None:
        """It is over."""
        self._under_way -= 1
        self.look()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing can happen any more by itself."""
        if not self.dispatcher.is_quiet or self._under_way or self.timers.count != self.repeating or not self.writer.is_idle:
            return False
        return not self.has_held_work()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is queued or in hand, at actors that could handle it."""
        return self.writer.is_idle and not any(cell.is_busy for cell in self.cells.values())

    def look(self) -> None:
        """Something may have come to rest: whoever waits for that is to look again."""
        for onlooker in self._onlookers:
            onlooker.set()

    async def wait_quiet(self) -> None:
        """Waits until nothing can happen any more by itself."""
        while not self.is_quiet:
            await self.wait_for_a_look()
        await trio.lowlevel.checkpoint_if_cancelled()  # what ended the last thing under way may have ended the system

    async def wait_settled(self) -> None:
        """Waits until nothing is queued or in hand."""
        await trio.lowlevel.checkpoint()
        while not self.is_settled:
            await self.wait_for_a_look()

    async def wait_for_a_look(self) -> None:
        """Waits until something may have come to rest."""
        onlooker = trio.Event()
        self._onlookers.append(onlooker)
        try:
            await onlooker.wait()
        finally:
            self._onlookers.remove(onlooker)

    def next_hold(self) -> int:
        """Numbers holds in the order in which they begin."""
        self._holds += 1
        return self._holds

    # The end

    def pass_on_endings(self) -> None:
        """Those whose incoming wires have closed look whether that ends their streams: one by one, from upstream down.

        What ends there closes wires in turn. So that a chain may be as long as it likes, its actors are not told from within each other.
        """
        if not self._passes_on:
            self._passes_on = True
            try:
                while self.endings:
                    life = self.endings.popleft().life
                    if life is not None:
                        life.check_ending()
            finally:
                self._passes_on = False

    def crash(self, error: BaseException) -> None:
        """The system has to end with this error: a tree gave up, or a handler raised what is no failure (KeyboardInterrupt)."""
        if self.crashed is None:
            self.crashed = error
        self.system.end_now()

    def all_counts(self) -> dict[str, PortCounts]:
        """The numbers of every port, of those too that no message has come to yet."""
        counts: dict[str, PortCounts] = {}
        for cell in self.cells.values():
            for name in cell.in_ports:
                mailbox = cell.mailboxes.get(name)
                counts[f"{cell.path}.{name}"] = UNUSED if mailbox is None else mailbox.counts()
        return counts
