"""One run from start to result: follows the events, reports progress, obeys signals."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import trio
from attrs import frozen

from actorkit import DeadLetter, Ledger, LedgerImbalance, RecoveryAction, SqliteStore, Subscription, SupervisorSpec, System, open_system
from actorkit.events import WARNING, ChildExited, CircuitClosed, CircuitOpened, Event, HandlerFailed
from examples.flights.actors import Halt, RowReader
from examples.flights.faults import Faults
from examples.flights.kept import Bookmark
from examples.flights.pipeline import FLIGHTS, READER, ROWS, WAY, tree
from examples.flights.progress import Progress, Stage, View, actor_of, name_of
from examples.flights.records import CarrierDelays

__all__ = ["Job", "Result", "StoppedAtOnce", "fly"]

TRIED_AGAIN = (RecoveryAction.RETRY, RecoveryAction.THROTTLE, RecoveryAction.CIRCUIT_BREAK, RecoveryAction.RESTART_COMPONENT)
"""What a message comes through."""


@frozen
class Job:
    """What to run.

    Attributes:
        folder: where the tables are.
        limit: rows to read at most; None for all.
        seed: for everything that is left to chance.
        faults: whether some are injected.
        store: the file in which what is done is kept, so that the next run goes on if this one is killed; None to keep nothing.
    """

    folder: Path
    limit: int | None = None
    seed: int = 0
    faults: bool = True
    store: Path | None = None


@frozen
class Result:
    """What a run came to.

    Attributes:
        job: what was asked for.
        signal: what ended it early, if something did.
        seconds: how long it took.
        carriers: the figures.
        retries: how often each actor tried a message again, by path.
        throttled: how often each was slowed down.
        circuit_opened: how often each one's breaker opened.
        restarts: how often each was restarted.
        recovered: from how many failures in all.
        dead_letters: the rows that were given up, in order.
        ledger: what became of every message of this process.
        rows: how many were read; with a store, those that earlier processes read among them.
        earlier: how many of them those did.
    """

    job: Job
    signal: signal.Signals | None
    seconds: float
    carriers: tuple[CarrierDelays, ...]
    retries: Mapping[str, int]
    throttled: Mapping[str, int]
    circuit_opened: Mapping[str, int]
    restarts: Mapping[str, int]
    recovered: int
    dead_letters: tuple[DeadLetter, ...]
    ledger: Ledger
    rows: int
    earlier: int = 0

    @property
    def processed(self) -> int:
        """Rows that made it into the statistics."""
        return self.ledger.ports[FLIGHTS].processed if self.job.store is None else self.flights

    @property
    def flights(self) -> int:
        """Flights in the figures."""
        return sum(each.flights for each in self.carriers)

    @property
    def mean_arrival_delay(self) -> float | None:
        """Minutes, over all carriers; None without flights."""
        return sum(each.arrival_delay for each in self.carriers) / self.flights if self.flights else None

    @property
    def imbalance(self) -> str | None:
        """What is wrong with the books: the ledger's own, or rows that are neither in the figures nor dead letters."""
        try:
            self.ledger.check()
        except LedgerImbalance as error:
            return str(error)
        if self.rows == self.processed + len(self.dead_letters) and self.processed == self.flights:
            return None
        return f"{self.rows:,} rows, but {self.flights:,} flights in the figures and {len(self.dead_letters):,} dead letters"


class StoppedAtOnce(Exception):
    """A second signal ended the run where it stood; there are no figures."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(received.name)
        self.signal = received


class _Incidents:
    """Counts what was recovered from, and tells of what a person should know: one calm line each, without tracebacks."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.retries = Counter[str]()
        self.throttled = Counter[str]()
        self.circuit_opened = Counter[str]()
        self.restarts = Counter[str]()
        self.recovered = 0
        self._broken = set[str]()  # actors whose breakers are open
        self._note = note

    async def follow(self, events: Subscription[Event]) -> None:
        """Until the subscription is closed."""
        async for event in events:
            match event:
                case HandlerFailed():
                    self._failed(event)
                case ChildExited(restarting=True, path=path, reason=reason, error=error):
                    self.restarts[path] += 1
                    self._note(f"{name_of(path)} crashed ({reason.value if error is None else error.error_message}) and was restarted")
                case CircuitOpened():
                    actor = actor_of(event.path)
                    self.circuit_opened[actor] += 1
                    if actor not in self._broken:
                        self._broken.add(actor)
                        self._note(f"{name_of(actor)}'s breaker is open: its messages wait until a probe succeeds")
                case CircuitClosed():
                    actor = actor_of(event.path)
                    self._broken.discard(actor)
                    self._note(f"{name_of(actor)}'s breaker is closed again")
                case _ if event.level >= WARNING:
                    self._note(str(event))
                case _:
                    pass

    def _failed(self, event: HandlerFailed) -> None:
        action = event.action
        self.recovered += action in TRIED_AGAIN
        self.retries[event.path] += action is RecoveryAction.RETRY
        if action is RecoveryAction.THROTTLE:
            self.throttled[event.path] += 1
            self._note(f"{name_of(event.path)} is slowed down for a while ({event.error.error_message})")


class _Course:
    """How a run goes."""

    def __init__(self, view: View, total: int, bookmark: Bookmark | None) -> None:
        self.incidents = _Incidents(view.note)
        self.signal: signal.Signals | None = None
        self.at_once = trio.CancelScope()
        self._view = view
        self._total = total
        self._bookmark = bookmark

    async def through(self, flights: SupervisorSpec, seed: int, store: SqliteStore | None) -> tuple[System, list[DeadLetter]]:
        """Runs the tree until nothing can happen any more; returns the system, which has ended, and its dead letters."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with open_system(flights, seed=seed, store=store) as system:
                events = system.events()
                async with trio.open_nursery() as following:
                    following.start_soon(self.incidents.follow, events)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._obey_all, signals, system)
                        nursery.start_soon(self._watch, system)
                        await system.wait()
                        letters = await system.dead_letters.inspect()  # those in the store, too, as long as it is open
                        nursery.cancel_scope.cancel()
                    events.close()
        return system, letters

    async def _obey_all(self, signals: AsyncIterator[int], system: System) -> None:
        async for number in signals:
            self._obey(system, signal.Signals(number))

    def _obey(self, system: System, received: signal.Signals) -> None:
        """The first signal ends the stream at its source; the second ends everything."""
        if self.signal is None:
            self.signal = received
            self._view.note(f"{received.name}: no more rows are read, those under way are finished (once more: stop at once)")
            system.ref(RowReader).send_nowait(RowReader.in_halt, Halt())
        else:
            self.at_once.cancel()

    async def _watch(self, system: System) -> None:
        started = trio.current_time()
        while True:
            await trio.sleep(self._view.period)
            self._view.show(self._progress(system.ledger(), trio.current_time() - started))

    def _progress(self, ledger: Ledger, seconds: float) -> Progress:
        incidents, bookmark = self.incidents, self._bookmark
        rows, earlier = (ledger.ports[ROWS].accepted, 0) if bookmark is None else (bookmark.rows, bookmark.earlier)
        stages = [Stage("reader", rows, 0, 0, incidents.retries[READER], incidents.restarts[READER])]
        for path in WAY:
            counts, actor = ledger.ports[path], actor_of(path)
            waiting = counts.queued + counts.in_flight
            failures = counts.dead_lettered, incidents.retries[actor], incidents.restarts[actor]
            stages.append(Stage(name_of(actor), counts.processed, waiting, *failures))
        return Progress(rows, self._total, seconds, tuple(stages), earlier)


async def fly(job: Job, view: View, *, total: int) -> Result:
    """Runs the tree, and shows in `view` how it goes; `total` is how many rows there are to read.

    SIGINT and SIGTERM end it early, with the figures so far; twice, at once.

    Raises:
        StoppedAtOnce: by a second signal.
        SupervisionError: the tree gave up.
        StorageError: the store can't be used.
    """
    started = trio.current_time()
    carriers: list[CarrierDelays] = []
    faults = Faults(job.seed, rows=total, enabled=job.faults)
    store = None if job.store is None else SqliteStore(job.store)
    bookmark = None if store is None else Bookmark(lambda rows: view.note(f"goes on after {rows:,} rows"))
    flights = tree(job.folder, limit=job.limit, faults=faults, publish=carriers.extend, bookmark=bookmark)
    course = _Course(view, total, bookmark)
    with course.at_once:
        system, letters = await course.through(flights, job.seed, store)
        ledger = system.ledger()
        return Result(
            job=job,
            signal=course.signal,
            seconds=trio.current_time() - started,
            carriers=tuple(carriers),
            retries=+course.incidents.retries,
            throttled=course.incidents.throttled,
            circuit_opened=course.incidents.circuit_opened,
            restarts=course.incidents.restarts,
            recovered=course.incidents.recovered,
            dead_letters=tuple(letters),
            ledger=ledger,
            rows=ledger.ports[ROWS].accepted if bookmark is None else bookmark.rows,
            earlier=0 if bookmark is None else bookmark.earlier,
        )
    raise StoppedAtOnce(course.signal or signal.SIGTERM)
