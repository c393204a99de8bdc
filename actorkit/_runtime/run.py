"""`run(tree)`: the whole life of a system in one call, with a report at the end."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio
from attrs import field, frozen

from actorkit._runtime.dead_letters import DeadLetterQueue
from actorkit._runtime.ledger import Ledger
from actorkit._runtime.letters import DeadLetter, DeadLetters
from actorkit._runtime.system import System, Tree
from actorkit.errors import ActorkitError, SupervisionError
from actorkit.events import ShutdownRequested
from actorkit.policy.checks import check_flag

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from actorkit.policy.cascade import CascadeSettings
    from actorkit.policy.taxonomy import ErrorContext
    from actorkit.storage.store import Store


@frozen
class RunReport:
    """What a run did; `str(report)` is a table for people.

    Attributes:
        ledger: what became of every message.
        restarts: how often actors and supervisors were restarted.
        retries: how often a message was tried again by the same actor.
        dead_letters: the messages that were given up, oldest first: those in the queue at the end; with a store, as many of
            them as its `max_size` lets into memory, and none of an earlier run.
        errors: the last failures (1,000 at most), oldest first.
        duration: seconds.
        outcome: how it ended: `"completed"`, `"interrupted by SIGINT"`, …
    """

    ledger: Ledger
    restarts: int
    retries: int
    _dead_letters: DeadLetters = field(alias="dead_letters")
    errors: tuple[ErrorContext, ...]
    duration: float
    outcome: str

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The messages that were given up, oldest first."""
        return self._dead_letters.all()

    def __str__(self) -> str:
        ledger = self.ledger
        by = ", ".join(f"{reason} {count:,}" for reason, count in sorted(ledger.dead_lettered_by.items()))
        rows = [
            ("outcome", self.outcome),
            ("duration", f"{self.duration:.2f} s"),
            ("restarts", f"{self.restarts:,}"),
            ("retries", f"{self.retries:,}"),
            ("accepted", f"{ledger.accepted:,}"),
            ("processed", f"{ledger.processed:,}"),
            ("skipped", f"{ledger.skipped:,}"),
            ("dead letters", f"{ledger.dead_lettered:,}" + (f" ({by})" if by else "")),
            ("dropped", f"{ledger.dropped:,}"),
            ("ledger", "balanced" if not ledger.balance else f"OFF BY {ledger.balance}"),
        ]
        ports = [(path, counts) for path, counts in ledger.ports.items() if counts.accepted]
        width = max(len(path) for path, _ in ports) if ports else 0
        lines = [f"{name:<14}{value}" for name, value in rows]
        lines += ["", f"{'port':<{width}}  {'accepted':>12}{'processed':>12}{'skipped':>10}{'dead':>10}{'left':>8}"] if ports else []
        for path, each in ports:
            left = each.queued + each.in_flight
            numbers = f"{each.accepted:>12,}{each.processed:>12,}{each.skipped:>10,}{each.dead_lettered:>10,}{left:>8,}"
            lines.append(f"{path:<{width}}  {numbers}")
        return "\n".join(lines)


def run(
    tree: Tree,
    *,
    store: Store | None = None,
    dead_letters: DeadLetterQueue | None = None,
    cascade: CascadeSettings | Literal[False] | None = None,
    seed: int | None = None,
    spill_to: str | Path | None = None,
    keep: bool = False,
    handle_signals: bool = True,
) -> RunReport:
    """Runs a tree until nothing can happen any more, and reports.

    That is when every source's `run` has returned, nothing is queued, in flight, or waiting to be retried or restarted,
    and no timer or background task is left (`every` does not count). Ports that are still open are then closed from
    upstream down, `on_drained` runs, and the actors stop in order.

    Args:
        tree: a supervisor (a single child gets one of its own).
        store: where what is to survive the process is kept: see `open_system`.
        dead_letters: where messages go that are given up; by default a new `DeadLetterQueue()`.
        cascade: when the whole system slows down and how it comes back: see `open_system`.
        seed: for all of the system's chance (jitter), so that a run can be repeated.
        spill_to: the folder for SPILL_TO_DISK ports: see `open_system`.
        keep: whether to go on until a signal comes, or the tree ends itself.
        handle_signals: whether SIGINT and SIGTERM end the run: the first in order, the second at once. (In the main thread.)

    Raises:
        WiringError: a wire does not fit; nothing was started.
        SpecTypeError: an option is of the wrong type; nothing was started.
        StorageError: the store can't be used; nothing was started.
        SupervisionError: a child could not be started, or the tree gave up. `.report` is the report, `__cause__` the exception behind it.
        ActorkitError: called inside a running trio program.
    """
    if trio.lowlevel.in_trio_run():
        raise ActorkitError(
            "run() starts trio by itself and can't be called inside a trio program; there, use: async with open_system(tree)"
        )
    check_flag("run", "keep", keep)
    check_flag("run", "handle_signals", handle_signals)
    make = partial(System, tree, store=store, dead_letters=dead_letters, cascade=cascade, seed=seed, spill_to=spill_to)
    return trio.run(partial(_run, make, keep=keep, handle_signals=handle_signals))


class _Course:
    """How a run goes: to its end, or until signals come."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._began = trio.current_time()
        self._until_signal = trio.CancelScope()
        self._signal: str | None = None
        self.outcome = "completed"
        self.is_cancelled = False

    async def take(self, keep: bool) -> None:
        """Runs the system until nothing can happen any more, or a signal comes, and stops it in order."""
        system = self._system
        async with system.running():
            with self._until_signal:
                if keep:
                    await system.wait_top_ended()
                await system.wait()
                await system.finish_streams()
            left = system.ledger().queued + system.ledger().spilled + system.ledger().in_flight
            if left and self._signal is None:
                kept = system.kernel.kept_messages
                fate = "could not be handled any more" if not kept else f"were not handled, and {kept:,} of them stay in the store"
                self.outcome = f"completed, but {left:,} messages {fate}"

    @contextmanager
    def signals(self) -> Generator[None]:
        """Meanwhile, the first SIGINT or SIGTERM ends the run in order, the second at once."""
        token = trio.lowlevel.current_trio_token()

        def received(number: int, _: object) -> None:
            name = signal.Signals(number).name
            if self._signal is None:
                self._signal, self.outcome = name, f"interrupted by {name}"
                token.run_sync_soon(self._end_in_order)
            else:
                self.is_cancelled, self.outcome = True, f"cancelled by {name}"
                token.run_sync_soon(self._system.end_now)
                if not trio.lowlevel.currently_ki_protected():
                    raise KeyboardInterrupt  # user code is at work, and may never give trio its turn

        before = {number: signal.signal(number, received) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _end_in_order(self) -> None:
        self._system.kernel.events.publish(ShutdownRequested("root", self._signal or ""))
        self._until_signal.cancel()

    async def report(self) -> RunReport:
        """What the run did."""
        kernel = self._system.kernel
        return RunReport(
            ledger=self._system.ledger(),
            restarts=kernel.restarts,
            retries=kernel.retries,
            dead_letters=kernel.dead_letters.now(),
            errors=tuple(kernel.errors),
            duration=trio.current_time() - self._began,
            outcome=self.outcome,
        )


async def _run(make: Callable[[], System], *, keep: bool, handle_signals: bool) -> RunReport:
    course = _Course(make())
    signals = handle_signals and threading.current_thread() is threading.main_thread()
    try:
        with course.signals() if signals else nullcontext():
            await course.take(keep)
    except SupervisionError as error:
        course.outcome = f"failed: {error}"
        error.report = await course.report()
        raise
    except KeyboardInterrupt:
        if not course.is_cancelled:
            raise
    return await course.report()
