"""Kills the pipeline again and again while it works, until it is done, and says what is wrong then."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import trio
from attrs import evolve, field, frozen
from trio.testing import MockClock

from actorkit import MemoryStore, SqliteStore, Store, open_system
from tests.durability.pipeline import Notes, Plan, pipeline, states, tried
from tests.durability.runner import Task

PROJECT = Path(__file__).parents[2]
LONGEST = 60.0
"""Seconds that one run may take."""


class Runs:
    """The process that runs pipelines, one after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._unread = b""

    def run(self, task: Task, kill_after: float | None = None) -> tuple[str, ...]:
        """Runs one, killed so many seconds after it is up; says how it ended: `("killed",)`, or `("done", …)`.

        Raises:
            AssertionError: it ended otherwise, or not at all.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(task.line().encode() + b"\n")
        self._process.stdin.flush()
        process, kill_at = 0, float("inf")
        outcome: tuple[str, ...] = ("killed",)
        give_up = time.monotonic() + LONGEST
        while True:
            words = self._next_line(min(kill_at, give_up))
            if words is None:
                assert kill_at < give_up, f"{task} has not ended after {LONGEST:g} s"
                os.kill(process, signal.SIGKILL)
                kill_at = float("inf")
            elif words[0] == "process":
                process = int(words[1])
            elif words[0] == "up" and kill_after is not None:
                kill_at = time.monotonic() + kill_after
            elif words[0] in ("done", "stopped"):
                outcome = words
            elif words[0] == "ended":
                assert words[1] == "-9" or (words[1] == "0" and outcome[0] != "killed"), f"{task} has ended with {words[1]}"
                return outcome

    def _next_line(self, until: float) -> tuple[str, ...] | None:
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            if not select.select([out], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            read = os.read(out, 65_536)
            assert read, "the process that runs pipelines has ended"
            self._unread += read
        line, self._unread = self._unread.split(b"\n", 1)
        return tuple(line.decode().split())


@contextmanager
def runs() -> Iterator[Runs]:
    """Somebody who runs pipelines."""
    command = [sys.executable, "-m", "tests.durability.runner"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Runs(process)
        finally:
            process.kill()


@frozen
class Verdict:
    """What is wrong with what a pipeline has left: by keeper, the numbers."""

    lost: dict[str, list[int]] = field(factory=dict)
    doubled: dict[str, list[int]] = field(factory=dict)
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.others)


async def _read_states(plan: Plan, store: Store) -> dict[str, list[int]]:
    async with open_system(pipeline(plan), store=store) as system:
        await system.wait()
        return await states(system)


def undisturbed(plan: Plan) -> dict[str, list[int]]:
    """The states that the plan leads to when nobody kills anything."""
    clock = MockClock(autojump_threshold=0)

    async def work() -> dict[str, list[int]]:
        async with open_system(pipeline(plan), store=store) as system:
            ref = system.ref(Notes)
            for number in range(plan.notes):
                await ref.send(Notes.in_note, number)
            await system.wait()
            return await states(system)

    store = MemoryStore()
    tried.clear()
    return trio.run(work, clock=clock)


def judge(task: Task) -> Verdict:
    """What is wrong with what is in the store, and with the dead letters, now that all is done."""
    plan, letters = task.plan, Path(task.folder, "letters")
    found = trio.run(_read_states, plan, SqliteStore(Path(task.folder, "shop.db")))
    expected = undisturbed(evolve(plan, killers=()))
    for killer in plan.killers:
        for name in ("checked", "shipped"):
            expected[name].remove(killer)
    lost = {name: sorted((Counter(expected[name]) - Counter(found[name])).elements()) for name in expected}
    doubled = {name: sorted((Counter(found[name]) - Counter(expected[name])).elements()) for name in expected}
    others = [f"{name} is not in order" for name in ("checked", "audited", "noted") if found[name] != sorted(found[name])]
    dead = {tuple(line.split()) for line in letters.read_text().splitlines()}
    bad = {(str(number), "validation", "root/shop/checker.in_order") for number in range(plan.orders) if plan.is_bad(number)}
    bad |= {(str(number), "crashed_process", "root/shop/checker.in_order") for number in plan.killers}
    if dead != bad:
        others.append(f"dead letters that should be none: {sorted(dead - bad)}; that are missing: {sorted(bad - dead)}")
    return Verdict(_some(lost), _some(doubled), tuple(others))


def _some(numbers: dict[str, list[int]]) -> dict[str, list[int]]:
    return {name: each for name, each in numbers.items() if each}


def no_news(text: str) -> None:
    """Says nothing."""


class Campaign:
    """Pipelines that are killed, until there were so many kills.

    Attributes:
        killed: how often one was killed before it was done.
        stopped: how often one was stopped in order before that.
        done: how many came to their end, and were found right.
    """

    def __init__(self, folder: Path, seed: int, *, orders: int = 500, notes: int = 250, longest: float = 0.25) -> None:
        self.killed = self.stopped = self.done = 0
        self._folder = folder
        self._rng = Random(seed)
        self._plan = Plan(orders, notes)
        self._longest = longest

    def run(self, kills: int, tell: Callable[[str], None] = no_news) -> None:
        """Runs, and kills.

        Raises:
            AssertionError: a pipeline has lost something, doubled something, or is wrong otherwise.
        """
        with runs() as processes:
            while self.killed < kills:
                folder = self._folder / str(self.done)
                folder.mkdir()
                normal = bool(self.done % 2)  # which is faster, and so has more to do
                plan = evolve(self._plan, orders=self._plan.orders * (1 + 2 * normal), notes=self._plan.notes * (1 + 2 * normal))
                task = Task(str(folder), plan, "NORMAL" if normal else "FULL")
                before = self.killed
                self._run_one(processes, task, kills)
                verdict = judge(task)
                assert not verdict, f"pipeline {self.done} of {folder}, {task.synchronous}: {verdict}"
                self.done += 1
                tell(f"pipeline {self.done}, {task.synchronous}: {self.killed - before} kills; {self.killed} in all, {self.stopped} stops")

    def _run_one(self, processes: Runs, task: Task, kills: int) -> None:
        outcome: tuple[str, ...] = ("",)
        while outcome[0] != "done":
            delay = self._longest * self._rng.random() ** 2
            if self.killed >= kills:
                outcome = processes.run(task)
            elif self._rng.random() < 0.1:
                outcome = processes.run(evolve(task, stop_after=delay))
                self.stopped += outcome[0] == "stopped"
            else:
                outcome = processes.run(task, delay)
                self.killed += outcome[0] == "killed"
