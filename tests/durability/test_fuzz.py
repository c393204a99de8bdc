"""Random trees of durable actors, random mishaps, and an end at any write: each message has its effect once.

A run is a row of phases. Each ends in order, by a cancel, or by a kill: then the next one begins with what the store had after one of
the writes. In the end, all that was accepted by an actor, or came to it by a wire, is in its state or among the dead letters.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from attrs import field, frozen, mutable
from hypothesis import HealthCheck, given, settings, strategies as st
from trio.testing import MockClock

from actorkit import (
    Actor,
    ChildSpec,
    MemoryStore,
    OutPort,
    PoolSpec,
    SqliteStore,
    SupervisorSpec,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    pool,
    supervisor,
)
from tests.durability.shop import QUICK, Item, Positioned
from tests.durability.stores import Wrapped

MEMBERS: Final = 2


@mutable
class World:
    """What the actors of one run share: how they fail, and what has failed in this phase."""

    seed: int
    tried: set[tuple[str, str]] = field(factory=set)

    async def meet(self, path: str, name: str) -> None:
        """What happens when this actor handles that item: always the same, but that what fails at first then works."""
        rng = Random(f"{self.seed} {path.partition('-')[0]} {name}")
        mood = rng.random()
        if rng.random() < 0.3:
            await trio.sleep(rng.choice([0.0, 0.001, 0.5]))
        if mood < 0.1:
            raise ValidationError("bad")
        if mood < 0.3 and (path, name) not in self.tried:
            self.tried.add((path, name))
            raise TransientError("a slip") if mood < 0.2 else RuntimeError("a bug")


class Node(Actor):
    """Keeps the names of what it has handled, and sends it on."""

    out_item = OutPort(Item)
    out_tap = OutPort(Item)

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = []

    def snapshot(self) -> list[str]:
        return self.names

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, list)
        self.names = state

    async def take(self, item: Item) -> None:
        """Handles one."""
        await self.out_item.send(item)
        self.out_tap.emit(item)
        await self.world.meet(self.path, item.name)
        self.system.ledger().check()
        self.names.append(item.name)

    @in_port(durable=True)
    async def in_item(self, item: Item) -> None:
        await self.take(item)

    @in_port
    def in_names(self, _: None) -> list[str]:
        return self.names


class Narrow(Node):
    """Has room for one."""

    @in_port(durable=True, capacity=1)
    async def in_item(self, item: Item) -> None:
        await self.take(item)


class Patient(Node):
    """Commits now and then."""

    @in_port(durable=True, capacity=8, commit_every=(3, 0.05))
    async def in_item(self, item: Item) -> None:
        await self.take(item)


class Tap(Actor):
    """Gets copies, in memory."""

    @in_port(capacity=2)
    def in_item(self, item: Item) -> None:
        """Does nothing with it."""


class Source(Positioned):
    """Sends numbers."""

    out_item = OutPort(Item)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        while self.position < self.count:
            await self.out_item.send(Item(f"s{self.position}"))
            self.position += 1


KINDS: Final[dict[str, type[Node]]] = {"node": Node, "narrow": Narrow, "patient": Patient, "pool": Node}


@frozen
class Shape:
    """A tree: the kinds of its actors, who is wired to whom, to whom the source is, and how much it sends."""

    kinds: tuple[str, ...]
    wires: tuple[tuple[int, int], ...]
    source: tuple[int, ...]
    numbers: int

    def tree(self, world: World) -> SupervisorSpec:
        """The tree."""
        specs: list[Any] = []
        for number, kind in enumerate(self.kinds):
            spec: ChildSpec[Any] | PoolSpec[Any] = child(KINDS[kind], world)
            if kind == "pool":
                spec = pool(spec, size=MEMBERS).options(max_restarts=1_000_000, within=1.0)
            specs.append(spec.options(name=f"n{number}"))
        tap, source = child(Tap), child(Source, self.numbers)
        wires = [specs[a][KINDS[self.kinds[a]].out_item] >> specs[b][KINDS[self.kinds[b]].in_item] for a, b in self.wires]
        wires += [source[Source.out_item] >> specs[b][KINDS[self.kinds[b]].in_item] for b in self.source]
        wires += [spec[KINDS[kind].out_tap] >> tap[Tap.in_item] for spec, kind in zip(specs, self.kinds, strict=True)]
        return supervisor(*specs, tap, source, name="top", recovery=QUICK, max_restarts=1_000_000, wires=wires)

    async def states(self, system: System) -> list[Counter[str]]:
        """What each actor has handled."""
        found: list[Counter[str]] = []
        for number, kind in enumerate(self.kinds):
            paths = [f"root/top/n{number}"] if kind != "pool" else [f"root/top/n{number}/n{number}-{each + 1}" for each in range(MEMBERS)]
            found.append(Counter())
            for path in paths:
                found[-1].update(await system.ref(path, Node).ask(Node.in_names, None))
        return found


class Recording(Wrapped):
    """A store in memory that can be taken back to what it was after any write."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self._copies: list[Any] = []

    @property
    def writes(self) -> int:
        """How many there were."""
        return len(self._copies)

    def write(self, changes: Any) -> None:
        super().write(changes)
        spaces = self.store._spaces  # type: ignore[attr-defined]
        self._copies.append({space: dict(entries) for space, entries in spaces.items()})

    def killed_after(self, write: int) -> Recording:
        """What a kill after this write, counted from 1, would have left."""
        left = Recording()
        left.store._spaces = self._copies[write - 1]  # type: ignore[attr-defined]
        left.store._was_clean = False  # type: ignore[attr-defined]
        return left


@mutable
class Books:
    """What was sent from outside: for each item to whom, and after which write its answer came; None: it has none."""

    to: dict[str, int] = field(factory=dict)
    answered: dict[str, int | None] = field(factory=dict)
    withdrawn: set[str] = field(factory=set)
    repeated: set[str] = field(factory=set)

    def forget_answers_after(self, write: int) -> None:
        """These never came."""
        for name, when in self.answered.items():
            if when is not None and when > write:
                self.answered[name] = None

    def settle_answers(self) -> None:
        """The phase is over, and what was answered stays so."""
        self.answered = {name: when if when is None else 0 for name, when in self.answered.items()}


Operation = tuple[str, int, float]


class Phase:
    """One system, from its start to its end."""

    def __init__(self, shape: Shape, store: Any, books: Books) -> None:
        self.shape = shape
        self.store = store
        self.books = books

    @property
    def writes(self) -> int:
        """How many there were; 1 where nobody counts."""
        return getattr(self.store, "writes", 1)

    async def send(self, system: System, name: str, patience: float) -> None:
        """Sends one, and notes the answer."""
        number = self.books.to[name]
        kind = KINDS[self.shape.kinds[number]]
        with trio.move_on_after(patience) as scope:
            await system.ref(f"root/top/n{number}", kind).send(kind.in_item, Item(name), key=name)
            self.books.answered[name] = self.writes
        if scope.cancelled_caught:
            self.books.withdrawn.add(name)

    async def work(self, system: System, operations: list[Operation]) -> None:
        """Does these, and some at the same time."""
        for name, when in list(self.books.answered.items()):
            if when is None and name not in self.books.withdrawn:
                self.books.repeated.add(name)
                await self.send(system, name, 1e9)
        async with trio.open_nursery() as nursery:
            for what, number, seconds in operations:
                target = number % len(self.shape.kinds)
                top = system.supervisor("root/top")
                if what == "send":
                    name = f"x{len(self.books.to)}"
                    self.books.to[name], self.books.answered[name] = target, None
                    nursery.start_soon(self.send, system, name, 1e9 if seconds < 0.5 else seconds - 0.5)
                elif what == "sleep":
                    await trio.sleep(seconds)
                elif self.shape.kinds[target] != "pool" and what == "restart":
                    await top.stop_child(f"n{target}")
                    await trio.sleep(seconds)
                    await top.restart_child(f"n{target}")
                system.ledger().check()

    async def run(self, world: World, operations: list[Operation], seconds: float, *, is_cancelled: bool) -> None:
        """Runs it for so many seconds after the operations, or cancels it so many after its start."""
        world.tried.clear()
        with trio.move_on_after(seconds if is_cancelled else 1e9):
            async with open_system(self.shape.tree(world), store=self.store) as system:
                await self.work(system, operations)
                await trio.sleep(seconds)
            system.ledger().check()

    async def look(self, world: World) -> tuple[list[Counter[str]], list[Counter[str]]]:
        """Runs it to its end; returns what each actor has handled, and the dead letters of each."""
        world.tried.clear()
        async with open_system(self.shape.tree(world), store=self.store) as system:
            await self.work(system, [])
            await system.wait()
            system.ledger().check()
            dead = [Counter[str]() for _ in self.shape.kinds]
            for letter in await system.dead_letters.inspect():
                if letter.port.startswith("root/top/n"):
                    dead[int(letter.port[len("root/top/n")])][letter.message.name] += 1
            return await self.shape.states(system), dead


@frozen
class Course:
    """A phase: what is done, how long it takes, how it ends, and which part of its writes a kill leaves; 1.0: there is none."""

    operations: list[Operation]
    seconds: float
    is_cancelled: bool
    part: float


def check(shape: Shape, books: Books, states: list[Counter[str]], dead: list[Counter[str]]) -> None:
    """All that has come to an actor is in its state, or is a dead letter."""
    for number in range(len(shape.kinds)):
        came = Counter(name for name, to in books.to.items() if to == number and name not in books.withdrawn)
        if number in shape.source:
            came.update(f"s{each}" for each in range(shape.numbers))
        for a, b in shape.wires:
            if b == number:
                came += states[a]
        twice = states[number] + dead[number] - came
        # A key is not remembered of what was refused as its receiver had been stopped: sent again, it may be there beside its dead letter.
        assert not came - states[number] - dead[number], f"n{number}: {states[number]}, dead {dead[number]}, came {came}"
        assert twice <= Counter(books.repeated & set(dead[number])), f"n{number}: {states[number]}, dead {dead[number]}, came {came}"


async def play(shape: Shape, seed: int, courses: list[Course]) -> None:
    """Runs the phases, and checks what is left."""
    world, books, store = World(seed), Books(), Recording()
    for course in courses:
        phase = Phase(shape, store, books)
        before = store.writes
        await phase.run(world, course.operations, course.seconds, is_cancelled=course.is_cancelled)
        write = before + round(course.part * (store.writes - before))
        if 0 < write < store.writes:
            books.forget_answers_after(write)
            store = store.killed_after(write)
        books.settle_answers()
    check(shape, books, *await Phase(shape, store, books).look(world))


async def play_on_disk(shape: Shape, seed: int, courses: list[Course], folder: str) -> None:
    """The same with a file, without kills."""
    world, books, store = World(seed), Books(), SqliteStore(f"{folder}/world.db", synchronous="NORMAL")
    for course in courses:
        await Phase(shape, store, books).run(world, course.operations, course.seconds, is_cancelled=course.is_cancelled)
    check(shape, books, *await Phase(shape, store, books).look(world))


def in_virtual_time(game: Any) -> None:
    """Runs it, for a day at most."""

    async def limited() -> None:
        with trio.fail_after(86_400):
            await game()

    trio.run(limited, clock=MockClock(autojump_threshold=0))


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Trees."""
    kinds = tuple(draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4)))
    pairs = [(a, b) for b in range(len(kinds)) for a in range(b)]
    wires = tuple(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4))) if pairs else ()
    source = tuple(draw(st.lists(st.integers(0, len(kinds) - 1), unique=True, max_size=2)))
    return Shape(kinds, wires, source, draw(st.integers(0, 12)) if source else 0)


SECONDS = st.sampled_from([0.0, 0.001, 0.02, 0.6, 3.0])
OPERATIONS = st.tuples(st.sampled_from(["send", "send", "send", "send", "sleep", "restart"]), st.integers(0, 3), SECONDS)
COURSES = st.builds(Course, st.lists(OPERATIONS, max_size=15), SECONDS, st.booleans(), st.floats(0.0, 1.0))
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(SLOW, max_examples=200)
@given(shape=shapes(), seed=st.integers(0, 10_000), courses=st.lists(COURSES, max_size=4))
def test_whatever_happens_each_message_has_its_effect_once(shape: Shape, seed: int, courses: list[Course]) -> None:
    in_virtual_time(partial(play, shape, seed, courses))


@settings(SLOW, max_examples=15)
@given(shape=shapes(), seed=st.integers(0, 10_000), courses=st.lists(COURSES, max_size=3))
def test_the_same_holds_with_a_file(shape: Shape, seed: int, courses: list[Course]) -> None:
    with TemporaryDirectory() as folder:
        in_virtual_time(partial(play_on_disk, shape, seed, courses, folder))
