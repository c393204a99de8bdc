"""Random programs of handlers: whatever they do, steps don't overlap, order holds, the books balance, everything settles.

ACTORKIT_FUZZ=5000 tries so many programs, each time others. Actors wait only for those after them, so that no program
can wait in a circle.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
import trio.testing
from attrs import field, frozen
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from trio.testing import MockClock

from actorkit import (
    Actor,
    AskFailed,
    CommunicationError,
    ErrorSeverity,
    MailboxFull,
    OutPort,
    PermanentError,
    ResourceError,
    Shutdown,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)

EXAMPLES = int(os.environ.get("ACTORKIT_FUZZ", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

ACTORS = 4
FAILURES: tuple[type[Exception], ...] = (
    ValueError,
    ValidationError,
    PermanentError,
    TransientError,
    CommunicationError,
    ResourceError,
    TimeoutError,
    KeyError,
    BlockingIOError,
)
Program = tuple[tuple[Any, ...], ...]


class Note(PermanentError):
    """A failure of no importance: its message is skipped."""

    def __init__(self, message: str) -> None:
        super().__init__(message, severity=ErrorSeverity.LOW)


def later(index: int) -> st.SearchStrategy[int]:
    return st.integers(index + 1, ACTORS - 1)


def seconds() -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 0.5, 1.0, 3.0])


def programs(index: int, depth: int = 0) -> st.SearchStrategy[Program]:
    """What one message makes the actor with this number do. Time-outs are of the same few lengths as sleeps, so that they meet."""
    steps: list[st.SearchStrategy[tuple[Any, ...]]] = [
        st.tuples(st.just("sleep"), seconds()),
        st.tuples(st.just("clean up"), seconds()),
        st.tuples(st.just("nursery"), seconds()),
        st.tuples(st.just("spawn"), seconds(), st.booleans()),
        st.tuples(st.just("fail"), st.sampled_from([*FAILURES, Note])),
        st.tuples(st.just("fail once"), st.sampled_from(FAILURES)),
        st.just(("stop",)),
    ]
    if index < ACTORS - 1 and depth < 2:

        def to_another(other: int) -> st.SearchStrategy[tuple[Any, ...]]:
            inner = programs(other, depth + 1)
            return st.one_of(
                st.tuples(st.sampled_from(["send", "try", "plain", "emit"]), st.just(other), inner),
                st.tuples(st.just("ask"), st.just(other), inner, st.sampled_from([None, 0.0, 0.5, 3.0])),
                st.tuples(st.just("ask in a scope"), st.just(other), inner, seconds()),
            )

        steps.append(later(index).flatmap(to_another))
        steps.append(later(index).flatmap(to_another))
    return st.lists(st.one_of(steps), max_size=3).map(tuple)


def outside() -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """What a task outside of the actors does."""

    def to(index: int) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.one_of(
            st.tuples(st.sampled_from(["send", "plain", "try"]), st.just(index), programs(index), seconds()),
            st.tuples(st.just("ask"), st.just(index), programs(index), seconds()),
        )

    anyone = st.integers(0, ACTORS - 1)
    return st.lists(
        st.one_of(
            anyone.flatmap(to),
            anyone.flatmap(to),
            st.tuples(st.just("sleep"), seconds()),
            st.tuples(st.just("bounce"), anyone, seconds()),
        ),
        max_size=12,
    )


@frozen(eq=False)
class Job:
    """A message. `sender` and `number` say what order it has to be handled in; `to`: by whom."""

    sender: str
    number: int
    to: int
    program: Program = field(repr=False)


class World:
    """What was sent and what became of it, as seen by those who sent and handled it."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.accepted: list[Job] = []
        self.done: Counter[Job] = Counter()
        self.tries: Counter[Job] = Counter()
        self.first_tries: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.busy: Counter[int] = Counter()
        self.wrong: list[str] = []

    def job(self, sender: str, to: int, program: Program) -> Job:
        self.numbers[sender] += 1
        return Job(sender, self.numbers[sender], to, program)

    def begin(self, index: int, job: Job) -> None:
        self.busy[index] += 1
        if self.busy[index] > 1:
            self.wrong.append(f"two steps of node {index} at once")
        if not self.tries[job]:
            self.first_tries[job.sender, index].append(job.number)
        self.tries[job] += 1

    def end(self, index: int, job: Job, done: bool) -> None:
        self.busy[index] -= 1
        self.done[job] += done


class Node(Actor):
    """Does what its messages say."""

    out_0, out_1, out_2, out_3 = OutPort(Job), OutPort(Job), OutPort(Job), OutPort(Job)

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.spawned = 0

    @in_port(capacity=2)
    async def in_do(self, job: Job) -> int:
        self.world.begin(self.index, job)
        done = False
        try:
            async with AsyncExitStack() as stack:
                for step in job.program:
                    await self.do(job, step, stack)
            done = True
        finally:
            self.world.end(self.index, job, done)
        return job.number

    @in_port(capacity=1)
    def in_plain(self, job: Job) -> int:
        return self.do_plainly(job)

    def do_plainly(self, job: Job) -> int:
        self.world.begin(self.index, job)
        done = False
        try:
            for what, *details in job.program:
                if what == "fail" or (what == "fail once" and self.world.tries[job] == 1):
                    raise details[0]("on purpose")
                if what == "emit":
                    self.emit(details[0], details[1])
            done = True
        finally:
            self.world.end(self.index, job, done)
        return job.number

    def emit(self, other: int, program: Program) -> None:
        job = self.world.job(self.path, other, program)
        (self.out_0, self.out_1, self.out_2, self.out_3)[other].emit(job)
        self.world.accepted.append(job)

    async def do(self, job: Job, step: tuple[Any, ...], stack: AsyncExitStack) -> None:
        match step:
            case ("sleep", time):
                await trio.sleep(time)
            case ("clean up", time):

                async def clean_up() -> None:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(time)

                stack.push_async_callback(clean_up)
            case ("nursery", time):
                nursery = await stack.enter_async_context(trio.open_nursery())
                nursery.start_soon(trio.sleep, time)
            case ("spawn", time, fails):
                self.start_soon(self.in_background, time, fails)
            case ("fail", error):
                raise error("on purpose")
            case ("fail once", error):
                if self.world.tries[job] == 1:
                    raise error("on purpose")
            case ("stop",):
                self.stop()
            case ("emit", other, program):
                self.emit(other, program)
            case (how, other, program, *timeout):
                await self.talk(how, other, self.world.job(self.path, other, program), timeout[0] if timeout else None)
            case _:
                raise AssertionError(step)

    async def talk(self, how: str, other: int, job: Job, timeout: float | None) -> None:
        ref = self.system.ref(f"root/s/node-{other}", Node)
        match how:
            case "send":
                await ref.send(Node.in_do, job)
                self.world.accepted.append(job)
            case "plain":
                await ref.send(Node.in_plain, job)
                self.world.accepted.append(job)
            case "try":
                with suppress(MailboxFull):
                    ref.send_nowait(Node.in_do, job)
                    self.world.accepted.append(job)
            case "ask":
                assert await ref.ask(Node.in_do, job, timeout=timeout) == job.number
            case _:
                with trio.move_on_after(timeout or 0.0):
                    assert await ref.ask(Node.in_plain, job, timeout=None) == job.number

    async def in_background(self, time: float, fails: bool) -> None:
        await trio.sleep(time)
        if fails:
            raise TransientError("in the background")


class PlainNode(Node):
    """The same, but all its handlers are plain: it is driven another way."""

    @in_port(capacity=2)
    def in_do(self, job: Job) -> int:
        return self.do_plainly(job)


OUT_PORTS = (Node.out_0, Node.out_1, Node.out_2, Node.out_3)


async def act(world: World, system: Any, sender: str, steps: list[tuple[Any, ...]]) -> None:
    """One task outside of the actors."""
    for what, *details in steps:
        match what:
            case "sleep":
                await trio.sleep(details[0])
            case "bounce":
                tree = system.supervisor("root/s")
                name = f"node-{details[0]}"
                with suppress(ValueError):  # somebody else was faster
                    await tree.stop_child(name)
                    await trio.sleep(details[1])
                    await tree.restart_child(name)
            case _:
                index, program, time = details
                ref, job = system.ref(f"root/s/node-{index}", Node), world.job(sender, index, program)
                port = Node.in_plain if what == "plain" else Node.in_do
                with trio.move_on_after(time), suppress(AskFailed, MailboxFull, trio.TooSlowError):
                    if what == "ask":
                        assert await ref.ask(port, job, timeout=2.0) == job.number
                    elif what == "try":
                        ref.send_nowait(port, job)
                        world.accepted.append(job)
                    else:
                        await ref.send(port, job)
                        world.accepted.append(job)


async def run_program(plains: list[bool], tasks: list[list[tuple[Any, ...]]]) -> None:
    world = World()
    nodes = [
        child(PlainNode if plain else Node, world, i).options(name=f"node-{i}", shutdown=Shutdown.KILL if i % 2 else 1.0)
        for i, plain in enumerate(plains)
    ]
    wires = [a[OUT_PORTS[j]] >> b[Node.in_do] for i, a in enumerate(nodes) for j, b in enumerate(nodes) if i < j]
    tree = supervisor(*nodes, wires=wires, name="s", max_restarts=100_000)
    async with open_system(tree) as system:
        async with trio.open_nursery() as nursery:
            for number, steps in enumerate(tasks):
                nursery.start_soon(act, world, system, f"task {number}", steps)
        with trio.fail_after(10_000):
            await system.wait()
            await system.settle()
        system.ledger().check()
    ledger = system.ledger()
    ledger.check()
    letters = Counter(letter.message for letter in await system.dead_letters.inspect())
    assert world.wrong == []
    assert (ledger.queued, ledger.in_flight) == (0, 0)
    assert ledger.processed == world.done.total()
    assert max(world.done.values(), default=0) <= 1
    for (sender, index), numbers in world.first_tries.items():
        assert numbers == sorted(numbers), f"{sender} → node {index}"
    for job in world.accepted:
        assert world.done[job] + letters[job] <= 1, job
    lost = [job for job in world.accepted if not world.done[job] + letters[job]]
    assert len(lost) <= ledger.skipped_by.get("log_continue", 0), lost


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of failures on purpose need no log."""
    caplog.set_level(logging.CRITICAL + 1, "actorkit")


@fuzzed
@given(st.lists(st.booleans(), min_size=ACTORS, max_size=ACTORS), st.lists(outside(), min_size=1, max_size=3))
def test_random_programs_keep_order_and_books_and_settle(plains: list[bool], tasks: list[list[tuple[Any, ...]]]) -> None:
    trio.run(run_program, plains, tasks, clock=MockClock(autojump_threshold=0))
