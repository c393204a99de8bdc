"""Random programs of stashing, pausing, failing and restarting: nothing is lost or reordered, and the books balance at every step.

ACTORKIT_FUZZ=5000 tries so many programs, each time others.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import frozen
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from trio.testing import MockClock

from actorkit import Actor, InPort, System, TransientError, ValidationError, child, in_port, open_system, supervisor

EXAMPLES = int(os.environ.get("ACTORKIT_FUZZ", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@frozen(eq=False)
class Job:
    """A message, and what becomes of it."""

    number: int
    fate: str


class Books:
    """What became of the jobs, as the actor saw it."""

    def __init__(self) -> None:
        self.done: list[Job] = []
        self.tries: Counter[Job] = Counter()

    def try_(self, job: Job) -> None:
        self.tries[job] += 1
        match job.fate:
            case "flaky" if self.tries[job] < 3:
                raise TransientError("not yet")
            case "bug once" | "bug after stashing" if self.tries[job] == 1:
                raise KeyError("a bug")
            case "invalid":
                raise ValidationError("invalid")
            case _:
                self.done.append(job)


class Gate(Actor):
    """Stashes while it is shut, as it is at the beginning of each life."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.is_shut = True

    @in_port(capacity=4)
    async def in_slow(self, job: Job) -> None:
        await trio.sleep(0.5)
        self.deal_with(job)

    @in_port(capacity=4)
    async def in_quick(self, job: Job) -> None:
        self.deal_with(job)

    def deal_with(self, job: Job) -> None:
        if self.is_shut:
            self.stash()
            if job.fate == "bug after stashing" and not self.books.tries[job]:
                self.books.try_(job)
        else:
            self.books.try_(job)

    @in_port(priority=1)
    async def in_order(self, order: str) -> None:
        match order:
            case "shut":
                self.is_shut = True
            case "open":
                self.is_shut = False
                self.unstash_all()
            case "unstash":
                self.unstash_all()
            case "open and fail":
                self.is_shut = False
                self.unstash_all()
                raise ValidationError("an order that fails")
            case "pause":
                self.pause(Gate.in_slow)
            case "pause both":
                self.pause(Gate.in_quick)
                self.pause(Gate.in_slow)
            case "resume":
                self.resume(Gate.in_slow)
                self.resume(Gate.in_quick)
            case _:
                raise KeyError("a bug in an order")


async def restart(system: System) -> None:
    top = system.supervisor("root/top")
    await top.stop_child("gate")
    system.ledger().check()
    await top.restart_child("gate")


def order(text: str) -> Callable[[System], Awaitable[None]]:
    return lambda system: system.ref(Gate).send(Gate.in_order, text)


ORDERS = ["shut", "open", "unstash", "open and fail", "pause", "pause both", "resume", "fail"]
FATES = ["fine", "fine", "fine", "flaky", "bug once", "invalid", "bug after stashing"]
JOBS = st.tuples(st.sampled_from(["slow", "quick"]), st.sampled_from(FATES))
STEPS = st.lists(st.one_of(JOBS, JOBS, st.sampled_from(ORDERS), st.sampled_from(["sleep", "settle", "restart"])), max_size=40)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Without the log of all that goes wrong on purpose."""
    caplog.set_level(logging.CRITICAL + 1, "actorkit")


@fuzzed
@given(STEPS)
def test_nothing_that_is_set_aside_is_lost_or_reordered(steps: list[tuple[str, str] | str]) -> None:
    books = Books()
    sent: dict[str, list[Job]] = {"slow": [], "quick": []}
    ports: dict[str, InPort[Gate, Job, None]] = {"slow": Gate.in_slow, "quick": Gate.in_quick}

    async def take(system: System, step: tuple[str, str] | str) -> None:
        if isinstance(step, tuple):
            job = Job(len(sent["slow"]) + len(sent["quick"]), step[1])
            with trio.move_on_after(3) as patience:
                await system.ref(Gate).send(ports[step[0]], job)
            if not patience.cancelled_caught:
                sent[step[0]].append(job)
        elif step == "sleep":
            await trio.sleep(0.7)
        elif step == "settle":
            await system.settle()
        elif step == "restart":
            await restart(system)
        else:
            await order(step)(system)

    async def scenario() -> None:
        async with open_system(supervisor(child(Gate, books).options(shutdown=1), max_restarts=1000, name="top")) as system:
            for step in steps:
                await take(system, step)
                system.ledger().check()
            await system.wait()
            for _ in range(60):  # each bug begins a new life, which is shut
                await order("resume")(system)
                await order("open")(system)
                await system.wait()
                system.ledger().check()
            ledger = system.ledger()

            assert (ledger.queued, ledger.in_flight) == (0, 0)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))

    for jobs in sent.values():
        fine = [job.number for job in jobs if job.fate != "invalid"]
        assert [job.number for job in books.done if job in jobs] == fine
