"""Random trees under random administration: the books balance after every step, and at the end each message has one fate.

A program is data: a tree, and steps to take with it, all in one run under the virtual clock.
ACTORKIT_FUZZ=5000 tries so many programs, each time others.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from attrs import frozen
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from trio.testing import MockClock

from actorkit import (
    Actor,
    AskFailed,
    ErrorSeverity,
    MailboxFull,
    OutPort,
    PermanentError,
    ResourceError,
    Restart,
    Shutdown,
    Strategy,
    SupervisionError,
    Supervisor,
    System,
    TransientError,
    ValidationError,
    child,
    dynamic_supervisor,
    in_port,
    open_system,
    supervisor,
)

EXAMPLES = int(os.environ.get("ACTORKIT_FUZZ", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 150,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@frozen(eq=False)
class Job:
    """A message, and what becomes of it."""

    fate: str


class Books:
    """What became of every message, as seen from outside of the runtime."""

    def __init__(self) -> None:
        self.accepted: list[Job] = []
        self.done: Counter[Job] = Counter()
        self.tries: Counter[Job] = Counter()


def fail(books: Books, job: Job) -> None:
    books.tries[job] += 1
    match job.fate:
        case "invalid":
            raise ValidationError("invalid")
        case "flaky" if books.tries[job] < 3:
            raise TransientError("not yet")
        case "hopeless":
            raise TransientError("never")
        case "bug":
            raise KeyError("bug")
        case "bug once" if books.tries[job] == 1:
            raise KeyError("bug")
        case "greedy" if books.tries[job] < 3:
            raise ResourceError("too much")
        case "trifle":
            raise PermanentError("a trifle", severity=ErrorSeverity.LOW)
        case "disaster":
            raise PermanentError("a disaster", severity=ErrorSeverity.CRITICAL)
        case _:
            pass


class Waits(Actor):
    """Handles messages in its own time, and passes some on. Only the out-ports of `a-0`, `a-1`, … have a wire."""

    out_x = OutPort(Job)

    def __init__(self, books: Books, starts: list[int]) -> None:
        self.books = books
        starts[0] += 1
        if starts[0] in starts[1:]:
            raise KeyError("does not start this time")

    @in_port(capacity=2)
    async def in_x(self, job: Job) -> str:
        if job.fate in ("slow", "bug once"):
            await trio.sleep(2)
        if job.fate == "stubborn":
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
        fail(self.books, job)
        if job.fate == "passed on":
            other = Job("fine")
            await self.out_x.send(other)
            if self.name.startswith("a-"):
                self.books.accepted.append(other)
        if job.fate == "stop":
            self.stop()
        if job.fate == "background":
            self.start_soon(self.fail_soon)
        self.books.done[job] += 1
        return job.fate

    @in_port(capacity=1)
    def in_y(self, job: Job) -> str:
        fail(self.books, job)
        self.books.done[job] += 1
        return job.fate

    async def fail_soon(self) -> None:
        await trio.sleep(1)
        raise KeyError("in the background")


class Plain(Actor):
    """All its handlers are plain functions; it emits."""

    out_x = OutPort(Job)

    def __init__(self, books: Books, starts: list[int]) -> None:
        self.books = books

    @in_port(capacity=2)
    def in_x(self, job: Job) -> str:
        fail(self.books, job)
        if job.fate in ("passed on", "slow"):
            for _ in range(3):
                other = Job("slow")
                self.out_x.emit(other)
                if self.name.startswith("a-"):
                    self.books.accepted.append(other)
        self.books.done[job] += 1
        return job.fate


FATES = (
    "fine", "fine", "fine", "slow", "slow", "stubborn", "invalid", "flaky", "hopeless", "bug", "bug once", "greedy", "trifle", "passed on",
    "stop", "background",
)  # fmt: skip

shutdowns = st.sampled_from([0.0, 1.0, Shutdown.KILL, Shutdown.INFINITY])
fates = st.one_of(st.sampled_from(FATES), st.sampled_from(FATES), st.sampled_from([*FATES, "disaster"]))
spans = st.sampled_from([0.0, 0.1, 1.0, 2.0, 5.0])
leaves = st.tuples(
    st.sampled_from([Waits, Waits, Plain]),
    shutdowns,
    st.sampled_from([*Restart, Restart.PERMANENT]),
    st.lists(st.integers(2, 5), max_size=2),
)
which = st.integers(0, 30)
steps = st.one_of(
    st.tuples(st.just("send"), which, fates, spans),
    st.tuples(st.just("send"), which, fates, spans),
    st.tuples(st.just("send now"), which, fates),
    st.tuples(st.just("fill"), which, fates),
    st.tuples(st.just("ask"), which, fates, spans),
    st.tuples(st.just("sleep"), spans),
    st.tuples(st.just("sleep"), spans),
    st.tuples(st.sampled_from(["stop", "restart", "delete", "bounce"]), which),
    st.tuples(st.just("start"), which, leaves),
)


@frozen
class Program:
    """A tree, by its inner supervisors' strategies and leaves, and steps to take."""

    strategies: tuple[Strategy, Strategy]
    max_restarts: int
    outer: list[Any]
    inner: list[Any]
    dynamic: bool
    steps: list[tuple[Any, ...]]
    ends_by_cancel: bool


programs = st.builds(
    Program,
    strategies=st.tuples(st.sampled_from(Strategy), st.sampled_from(Strategy)),
    max_restarts=st.sampled_from([1, 1000, 1000]),
    outer=st.lists(leaves, min_size=1, max_size=3),
    inner=st.lists(leaves, min_size=1, max_size=3),
    dynamic=st.booleans(),
    steps=st.lists(steps, max_size=30),
    ends_by_cancel=st.booleans(),
)


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A tree's snapshot, node by node."""
    yield node
    for below in node.get("children", []):
        yield from walk(below)


class Machine:
    """Takes the steps, several at a time where they wait."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.books = Books()
        self.system: System
        self.specs = [self.leaf(f"a-{i}", each) for i, each in enumerate(program.outer)]
        self.inner = [self.leaf(f"b-{i}", each) for i, each in enumerate(program.inner)]

    def leaf(self, name: str, leaf: Any) -> Any:
        actor, shutdown, restart, bad_starts = leaf
        return child(actor, self.books, [0, *bad_starts]).options(name=name, shutdown=shutdown, restart=restart)

    def tree(self) -> Any:
        program = self.program
        first, second = program.strategies
        inner = supervisor(*self.inner, name="inner", strategy=second, max_restarts=program.max_restarts)
        dynamic = [dynamic_supervisor(name="dynamic", max_restarts=program.max_restarts)] if program.dynamic else []
        outer = [(spec, leaf[0]) for spec, leaf in zip(self.specs, program.outer, strict=True)]
        targets = [(spec, leaf[0]) for spec, leaf in zip(self.inner, program.inner, strict=True)]
        wires = [
            spec[actor.out_x] >> targets[i % len(targets)][0][targets[i % len(targets)][1].in_x] for i, (spec, actor) in enumerate(outer)
        ]
        return supervisor(*self.specs, inner, *dynamic, name="s", strategy=first, max_restarts=program.max_restarts, wires=wires)

    async def run(self) -> None:
        with suppress(SupervisionError):
            async with open_system(self.tree()) as self.system:
                async with trio.open_nursery() as nursery:
                    for step in self.program.steps:
                        nursery.start_soon(self.take, step)
                        await trio.sleep(0.1 if step[0] == "sleep" and not step[1] else 0)
                        if step[0] == "sleep":
                            await trio.sleep(step[1])
                        self.system.ledger().check()
                    if self.program.ends_by_cancel:
                        nursery.cancel_scope.cancel()
                if not self.program.ends_by_cancel:
                    with trio.fail_after(100_000):
                        await self.system.settle()
                self.system.ledger().check()
        await self.check_identity()

    def refs(self) -> list[Any]:
        return [self.system.ref(each["path"]) for each in walk(self.system.snapshot()) if each["kind"] == "actor"]

    def supervisors(self) -> list[Supervisor]:
        return [self.system.supervisor(each["path"]) for each in walk(self.system.snapshot()) if each["kind"] == "supervisor"][1:]

    async def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("send" | "send now" | "fill" | "ask" as how, which, fate, *span):
                if refs := self.refs():
                    await self.send(how, refs[which % len(refs)], fate, *span)
            case ("sleep", _):
                pass
            case (how, which, *leaf):
                if supervisors := self.supervisors():
                    with suppress(ValueError, LookupError, SupervisionError):
                        await self.administer(how, supervisors[which % len(supervisors)], which, *leaf)
            case _:
                raise AssertionError(step)
        self.system.ledger().check()

    async def send(self, how: str, ref: Any, fate: str, span: float = 0.0) -> None:
        port = ref.cell.actor_class.in_x
        with suppress(MailboxFull, AskFailed, trio.TooSlowError):
            if how == "ask":
                await ref.ask(port, Job(fate), timeout=span)
            elif how == "send":
                with trio.move_on_after(span):
                    job = Job(fate)
                    await ref.send(port, job)
                    self.books.accepted.append(job)
            else:
                for _ in range(3 if how == "fill" else 1):
                    job = Job(fate)
                    ref.send_nowait(port, job)
                    self.books.accepted.append(job)

    async def administer(self, how: str, tree: Supervisor, which: int, leaf: Any = None) -> None:
        names = [each.name for each in tree.which_children()]
        name = names[which % len(names)] if names else "nobody"
        match how:
            case "stop":
                await tree.stop_child(name)
            case "restart":
                await tree.restart_child(name)
            case "delete":
                await tree.delete_child(name)
            case "bounce":
                await tree.stop_child(name)
                await tree.restart_child(name)
            case _:
                await tree.start_child(self.leaf(f"new-{which % 3}", leaf))

    async def check_identity(self) -> None:
        ledger, books = self.system.ledger(), self.books
        ledger.check()
        letters = Counter(letter.message for letter in await self.system.dead_letters.inspect())
        assert (ledger.queued, ledger.in_flight) == (0, 0)
        assert ledger.processed == books.done.total()
        assert ledger.dead_lettered == letters.total()
        fates = {job: books.done[job] + letters[job] for job in [*books.done, *letters]}
        assert max(fates.values(), default=0) <= 1, fates
        lost = [job for job in books.accepted if job not in fates]
        assert len(lost) <= ledger.skipped_by.get("log_continue", 0), lost
        assert all(job.fate == "trifle" for job in lost)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of failures on purpose need no log."""
    caplog.set_level(logging.CRITICAL + 1, "actorkit")


@fuzzed
@given(programs)
def test_every_message_has_one_fate_in_random_trees_under_random_administration(program: Program) -> None:
    trio.run(Machine(program).run, clock=MockClock(autojump_threshold=0))
