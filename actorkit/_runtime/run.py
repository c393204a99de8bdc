"""`run(tree)`: the whole life of a system in one call, with a report at the end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from actorkit._runtime.dead_letters import DeadLetter, DeadLetterQueue
from actorkit._runtime.ledger import Ledger
from actorkit._runtime.system import System, Tree, open_system
from actorkit.errors import ActorkitError, SupervisionError
from actorkit.events import ShutdownRequested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actorkit.policy.taxonomy import ErrorContext


@frozen
class RunReport:
    """What a run did; `str(report)` is a table for people.

    Attributes:
        ledger: what became of every message.
        restarts: how often actors and supervisors were restarted.
        retries: how often a message was tried again by the same actor.
        dead_letters: the messages that were given up, oldest first.
        errors: the last failures (1,000 at most), oldest first.
        duration: seconds.
        outcome: how it ended: `"completed"`, `"interrupted by SIGINT"`, …
    """

    ledger: Ledger
    restarts: int
    retries: int
    dead_letters: tuple[DeadLetter, ...]
    errors: tuple[ErrorContext, ...]
    duration: float
    outcome: str

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
    dead_letters: DeadLetterQueue | None = None,
    seed: int | None = None,
    keep: bool = False,
    handle_signals: bool = True,
) -> RunReport:
    """Runs a tree until nothing can happen any more, and reports.

    That is when every source's `run` has returned, nothing is queued, in flight, or waiting to be retried or restarted,
    and no timer or background task is left (`every` does not count). Ports that are still open are then closed from
    upstream down, `on_drained` runs, and the actors stop in order.

    Args:
        tree: a supervisor (a single child gets one of its own).
        dead_letters: where messages go that are given up; by default a new `DeadLetterQueue()`.
        seed: for all of the system's chance (jitter), so that a run can be repeated.
        keep: whether to go on until a signal comes, or the tree ends itself.
        handle_signals: whether SIGINT and SIGTERM end the run: the first in order, the second at once. (In the main thread.)

    Raises:
        WiringError: a wire does not fit; nothing was started.
        SupervisionError: a child could not be started, or the tree gave up. `.report` is the report, `__cause__` the exception behind it.
        ActorkitError: called inside a running trio program.
    """
    if trio.lowlevel.in_trio_run():
        raise ActorkitError(
            "run() starts trio by itself and can't be called inside a trio program; there, use: async with open_system(tree)"
        )
    return trio.run(_run, tree, DeadLetterQueue() if dead_letters is None else dead_letters, seed, keep, handle_signals)


class _Course:
    """How a run goes."""

    def __init__(self) -> None:
        self.outcome = "completed"
        self.system: System | None = None

    async def watch_signals(self, system: System, orderly: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        """The first signal ends the run in order, the second at once."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            await self._obey(system, orderly, signals)

    async def _obey(self, system: System, orderly: trio.CancelScope, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            name = signal.Signals(number).name
            if not orderly.cancel_called:
                self.outcome = f"interrupted by {name}"
                system.kernel.events.publish(ShutdownRequested("root", name))
                orderly.cancel()
            else:
                self.outcome = f"cancelled by {name}"
                system.end_now()


async def _run(tree: Tree, dead_letters: DeadLetterQueue, seed: int | None, keep: bool, handle_signals: bool) -> RunReport:
    started = trio.current_time()
    course = _Course()
    signals = handle_signals and threading.current_thread() is threading.main_thread()
    try:
        async with open_system(tree, dead_letters=dead_letters, seed=seed) as system, trio.open_nursery() as nursery:
            course.system = system
            orderly = trio.CancelScope()
            if signals:
                await nursery.start(course.watch_signals, system, orderly)
            with orderly:
                if keep:
                    await system.wait_top_ended()
                await system.wait()
                await system.finish_streams()
            stuck = system.ledger()
            if stuck.queued + stuck.in_flight and course.outcome == "completed":
                course.outcome = f"completed, but {stuck.queued + stuck.in_flight:,} messages could not be handled any more"
            await system.stop()
            nursery.cancel_scope.cancel()
    except SupervisionError as error:
        if course.system is not None:
            course.outcome = f"failed: {error}"
            error.report = await _report(course, trio.current_time() - started)
        raise
    return await _report(course, trio.current_time() - started)


async def _report(course: _Course, duration: float) -> RunReport:
    system = course.system
    if system is None:
        raise AssertionError("a run without a system has raised before this")
    return RunReport(
        ledger=system.ledger(),
        restarts=system.kernel.restarts,
        retries=system.kernel.retries,
        dead_letters=tuple(await system.dead_letters.inspect()),
        errors=tuple(system.kernel.errors),
        duration=duration,
        outcome=course.outcome,
    )
