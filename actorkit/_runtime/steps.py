"""Steps: what an actor does with its messages, committed to the store in one transaction.

An actor steps that has a durable port, or is wired to one. A step is some of its messages, handled one after the other;
when they have been,

    their entries in the journal, its `snapshot`, what it sent to durable ports     are written together,
    `processed` is counted, answers are given, what it sent arrives                 when that is done.

Until then the messages are in flight, and the actor takes no other. What fails takes back what it has sent: of one message, if
that is tried again or quarantined; of all that is not committed, if the actor gets a new life: then its messages come first, in
order, and are committed one by one until past the one that failed.

A source (`run`) stages what it sends likewise. Its `snapshot` is its position, which it moves on after each send. So what it has sent is
committed as soon as the position has moved on: looked at when it sends again, and now and then meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from actorkit._runtime.kept_states import pack_state, unpack_state
from actorkit._runtime.states import COMMITTING
from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import DONE, Envelope
from actorkit._runtime.wording import shown
from actorkit.errors import ActorNotRunning, DecodingError
from actorkit.storage.store import Changes, DamagedEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorkit._runtime.durable_mailbox import Durable
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.sources import Source
    from actorkit._runtime.stepping import Stepping

Output = tuple["Durable", Any, bytes, "str | None"]
"""A message that was sent in a step: where to, itself, as bytes, and its key."""
FULL: Final = 1_000
"""So many of them end a step."""
BATCH: Final = 128
"""Messages of a step, at most, unless the port's `commit_every` says otherwise."""
SLOW: Final = 0.0005
"""Seconds that a message takes, from which on each is a step of its own."""


class Stage(Protocol):
    """Where code that is part of a step leaves what it sends to durable ports."""

    def stage(self, mailbox: Durable, message: Any, key: str | None) -> Awaitable[None]:
        """Sends a message, with the step."""
        ...

    def stage_nowait(self, mailbox: Durable, message: Any) -> None:
        """The same, without a wait."""
        ...

    def slow_down(self, receivers: list[Mailbox]) -> Awaitable[None] | None:
        """What to wait for before more is sent to these without a wait; None: nothing."""
        ...


class Step:
    """What one actor has done that is not committed yet, and how it is committed.

    Attributes:
        handled: messages that were handled, with their ports and answers.
        outputs: what is to arrive with them.
        mine: what the message in hand has sent so far.
        sealed, loose: what a source has sent before, and since, its position was seen to move on: see sources.py.
        source: that, while there is one.
        is_doomed: whether the present life ends by a failure: nothing of it is committed any more.
        is_committing: whether something is being written.
        careful: so many messages are committed one by one.
        awaits_claim: whether its next message is a suspect that is not claimed yet: see suspects.py.
        kept: the last state that was committed, as far as is known here.
    """

    def __init__(self, cell: Stepping) -> None:
        self._cell = cell
        self.handled: list[tuple[Mailbox, Any, Any]] = []
        self.outputs: list[Output] = []
        self.mine: list[Output] = []
        self.sealed: list[Output] = []
        self.loose: list[Output] = []
        self.source: Source | None = None
        self.is_doomed = self.is_committing = False
        self._writing: list[tuple[Mailbox, Any, Any]] = []
        self.careful = 0
        self.awaits_claim = False
        self.kept: bytes | DamagedEntry | None = None
        self._pace = BATCH  # messages in a row: fewer when they take long
        self._is_read = False  # whether it was looked for in the store
        self._began = 0.0  # when the first of the handled messages was
        self._alarm: Alarm | None = None
        self._changed = trio.Event()
        every = [each.settings.commit_every for each in cell.in_ports.values() if each.settings.commit_every is not None]
        self._every = min(every, default=None)

    # ------------------------------------------------------------------------------------------------ messages

    @property
    def limit(self) -> int:
        """How many messages are to be handled in a row."""
        return 1 if self.careful else self._pace

    def note_time(self, seconds: float) -> None:
        """Messages took so long: those that wait, or work, for long are not to hold up the commit of those before them."""
        self._pace = 1 if seconds > SLOW else min(BATCH, 2 * self._pace)

    def add(self, port: Mailbox, item: Any, answer: Any) -> None:
        """A message was handled: it and what it has sent are part of the step."""
        if not self.handled:
            self._began = self._cell.kernel.now()
        self.handled.append((port, item, answer))
        self.keep_outputs()
        self.careful -= self.careful > 0

    def keep_outputs(self) -> None:
        """What the message in hand has sent is part of the step."""
        if self.mine:
            self.outputs += self.mine
            self.mine.clear()

    def count(self, port: Mailbox) -> int:
        """How many of this port's messages are handled and not committed."""
        return sum(each is port for some in (self.handled, self._writing) for each, _, _ in some)

    @property
    def has_work(self) -> bool:
        """Whether there is something to commit."""
        return bool(self.handled or self.outputs)

    @property
    def ends_with_suspect(self) -> bool:
        """Whether the last message may have killed an earlier process: then it is committed at once, so that others may be claimed."""
        item = self.handled[-1][1] if self.handled else None
        return type(item) is Envelope and item.is_suspect

    @property
    def is_due(self) -> bool:
        """Whether it is time to commit that."""
        cell, every = self._cell, self._every
        if every is None or self.careful or self.ends_with_suspect or len(self.outputs) >= FULL:
            return True
        if cell.closing or cell.ending or cell.kernel.is_closing:
            return True
        return len(self.handled) >= every[0] or cell.kernel.now() >= self._began + every[1] or cell.port is not None

    def wait_until_due(self) -> None:
        """Has the cell settled when it is."""
        if self._alarm is None and self._every is not None:
            self._alarm = Alarm(self._began + self._every[1], self._due_now)
            self._cell.kernel.timers.add(self._alarm)

    def _due_now(self) -> None:
        self._alarm = None
        self._cell.look_again()

    # ------------------------------------------------------------------------------------------------ to the store

    def commit(self) -> None:
        """Writes it all; settles the cell when that is done, which may be before this returns.

        Raises:
            Exception: what `snapshot` raised, or that its state can't be kept.
        """
        cell, changes = self._cell, Changes(drains=None if self.outputs else True)  # until this is written, it works nothing off
        state = self.state()
        for port, item, _ in self.handled:
            changes.deletes += port.entries_of(item)
            if type(item) is Envelope and item.letter is not None:
                cell.kernel.dead_letters.resolved(item.letter, changes)
                item.letter = None
        outputs, self.outputs, self.sealed, self.loose = self.outputs + self.sealed + self.loose, [], [], []
        handled, self.handled = self.handled, []
        self._cancel_alarm()
        self.write(changes, state, outputs, handled)

    def write(self, changes: Changes, state: bytes | None, outputs: list[Output], handled: list[tuple[Mailbox, Any, Any]]) -> None:
        """Adds the state and the outputs to the changes, and writes them."""
        entry, told = self._cell.state_entry(), None
        if state is not None and state != self.kept and entry is not None:
            changes.puts.append((*entry, state))
            told = self._cell.promise(state)
        arrivals: list[tuple[Durable, Any, int, str | None]] = []
        for to, message, body, key in outputs:
            if key is None or not to.journal.is_taken(key):  # by somebody else, since it was sent
                arrivals.append((to, message, to.journal.post(changes, body, key), key))
        self.is_committing = True
        self._writing = handled
        if changes:
            self._cell.kernel.writer.submit(changes, lambda: self._written(state, arrivals, told))
        else:  # they have changed nothing that is kept
            self._written(state, arrivals, None)

    def _written(self, state: bytes | None, arrivals: list[tuple[Durable, Any, int, str | None]], told: Callable[[], None] | None) -> None:
        cell = self._cell
        handled, self._writing = self._writing, []
        self.is_committing = False
        if state is not None:
            self.kept = state
        if told is not None:
            told()
        for port, item, answer in handled:
            port.processed += 1
            if type(item) is Envelope:
                if item.is_ask:
                    item.wake(answer)
                if item.attempts:
                    cell.recovery.handled_after_all(item)
                if item.is_suspect:
                    cell.kernel.suspects.survived(item)
        reached: dict[Mailbox, None] = {}
        for to, message, number, key in arrivals:
            if key is not None:
                to.journal.arrived(key)
            reached[to.arrive(message, number)] = None
        for mailbox in reached:
            if len(mailbox.queue) > mailbox.capacity and mailbox.cell is not cell:
                mailbox.hold_back(cell)
        self.tell_changed()
        if self.source is not None:
            self.source.committed()
        if cell.state == COMMITTING:
            cell.settle()
        cell.notice_rest()
        cell.kernel.look()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._cell.kernel.timers.remove(self._alarm)
            self._alarm = None

    # ------------------------------------------------------------------------------------------------ the state

    @property
    def keeps_state(self) -> bool:
        """Whether the actor's `snapshot` is part of its steps."""
        return self._cell.keeps_state

    def state(self) -> bytes | None:
        """The actor's present state; None if it keeps none.

        Raises:
            Exception: what `snapshot` raised, or that its state can't be kept.
        """
        cell, life = self._cell, self._cell.life
        if life is None or not cell.keeps_state:
            return None
        return pack_state(cell.actor_class, life.snapshot_or_raise())

    def begin_with(self, state: bytes | DamagedEntry | None) -> None:
        """This is the last state that was committed."""
        self.kept, self._is_read = state, True

    @property
    def carried(self) -> tuple[object, int] | None:
        """The state that was committed last, for the next life.

        Raises:
            DecodingError: it can't be read.
        """
        if not self._is_read:
            self.begin_with(self._cell.kernel.kept.state(self._cell.path))
        kept = self.kept
        if isinstance(kept, DamagedEntry):
            raise DecodingError(f"{self._cell.path}: its state in the store is damaged: {kept.reason}; restore a backup")
        return None if kept is None else unpack_state(self._cell.actor_class, kept)

    def adopt(self) -> None:
        """The actor was given another state than it had committed: that is committed now.

        Raises:
            Exception: what `snapshot` raised, or that its state can't be kept.
        """
        self.write(Changes(drains=True), self.state(), [], [])

    # ------------------------------------------------------------------------------------------------ from life to life

    def roll_back(self) -> list[tuple[Mailbox, Any]]:
        """A life has ended: what it did and has not committed has never been. Returns its messages, in order."""
        messages = [(port, item) for port, item, _ in self.handled]
        if self.is_doomed:
            self.careful = len(messages) + 1
        for what in (self.handled, self.outputs, self.mine, self.sealed, self.loose):
            what.clear()
        self._cancel_alarm()
        self.tell_changed()
        return messages

    def give_up(self) -> None:
        """The store has failed for good: nothing of this is committed any more."""
        self.handled = self._writing + self.handled
        self._writing = []
        self.sealed.clear()
        self.is_committing, self.is_doomed = False, True

    def tell_changed(self) -> None:
        """Wakes whoever waits for `change`."""
        self._changed.set()

    async def change(self) -> None:
        """Waits until something was committed, or the cell need not wait for room any more."""
        self._changed = trio.Event()
        await self._changed.wait()


class Handling:
    """The stage of the handlers of one life."""

    __slots__ = ("_life", "_step")

    def __init__(self, step: Step, life: Incarnation) -> None:
        self._step = step
        self._life = life

    def stage(self, mailbox: Durable, message: Any, key: str | None) -> Awaitable[None]:
        """See `Stage`."""
        if key is not None and key in mailbox.journal.arriving:
            return self._stage_later(mailbox, message, key)
        self._add(mailbox, message, key)
        return DONE

    async def _stage_later(self, mailbox: Durable, message: Any, key: str) -> None:
        await wait_for_key(mailbox, key)
        self._add(mailbox, message, key)

    def stage_nowait(self, mailbox: Durable, message: Any) -> None:
        """See `Stage`."""
        self._add(mailbox, message, None)

    def slow_down(self, receivers: list[Mailbox]) -> None:
        """See `Stage`: a handler is held up after its step."""

    def _add(self, mailbox: Durable, message: Any, key: str | None) -> None:
        check_alive(self._life, message)
        add(self._step.mine, mailbox, message, key, self._step.outputs)


def check_alive(life: Incarnation, message: object) -> None:
    """Raises `ActorNotRunning` when the life that sends this has ended."""
    if life.ended:
        raise ActorNotRunning(
            f"{life.cell.path}: incarnation {life.number} of this actor has ended, so its late {shown(message)} is refused;"
            " a handler that was cancelled must let trio.Cancelled pass"
        )


def add(outputs: list[Output], mailbox: Durable, message: Any, key: str | None, others: list[Output]) -> None:
    """Adds what was sent to the outputs of a step, unless its key was.

    Raises:
        EncodingError: it can't be written to a store.
    """
    mailbox.check_fence(message)
    body = mailbox.journal.encode(message)
    if key is None or not (mailbox.journal.knows(key) or any(each[0] is mailbox and each[3] == key for each in (*outputs, *others))):
        outputs.append((mailbox, message, body, key))


async def wait_for_key(mailbox: Durable, key: str | None) -> None:
    """Waits until no message with this key is just being written."""
    while key is not None and key in mailbox.journal.arriving:
        await mailbox.journal.arriving[key].over.wait()
