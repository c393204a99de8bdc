"""Actors and tasks that wait for each other are found when their circle closes, and the wait that closes it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    CircuitBreaker,
    DeadlockError,
    ExitReason,
    OutPort,
    Shutdown,
    Strategy,
    SupervisionError,
    System,
    TransientError,
    child,
    in_port,
    open_system,
    run,
    supervisor,
)
from actorkit.events import DeadlockFound

Plan = Callable[["Player"], Awaitable[Any]]


@frozen
class Do:
    """What an actor is to do when it handles this."""

    plan: Plan


class Player(Actor):
    """Does what its messages say."""

    out_go = OutPort(Do)

    def __init__(self, start: Plan | None = None, stop: Plan | None = None) -> None:
        self.start = start
        self.stopping = stop

    async def on_start(self) -> None:
        if self.start is not None:
            await self.start(self)

    async def on_stop(self, reason: ExitReason) -> None:
        if self.stopping is not None:
            await self.stopping(self)

    @in_port
    async def in_do(self, do: Do) -> Any:
        return await do.plan(self)

    @in_port(capacity=1)
    async def in_narrow(self, do: Do) -> Any:
        return await do.plan(self)

    @in_port(ordered=False)
    async def in_beside(self, do: Do) -> Any:
        return await do.plan(self)

    def other(self, name: str) -> ActorRef[Player]:
        """The player of this name beside this one."""
        return self.system.ref(f"root/top/{name}", Player)


async def nothing(_: Player) -> str:
    return "done"


def asks(name: str, plan: Plan = nothing, *, after: float = 0.0, timeout: float | None = None) -> Plan:
    """Asks somebody to do something."""

    async def plan_(me: Player) -> Any:
        await trio.sleep(after)
        return await me.other(name).ask(Player.in_do, Do(plan), timeout=timeout)

    return plan_


def sends(name: str, times: int = 1, *, after: float = 0.0) -> Plan:
    """Sends so many messages to somebody's narrow port, waiting for room."""

    async def plan(me: Player) -> None:
        await trio.sleep(after)
        for _ in range(times):
            await me.other(name).send(Player.in_narrow, Do(nothing))

    return plan


def naps(seconds: float) -> Plan:
    """Takes its time."""

    async def plan(_: Player) -> str:
        await trio.sleep(seconds)
        return "rested"

    return plan


def noting(plan: Plan, notes: list[str]) -> Plan:
    """Does it, and writes down what came of it."""

    async def plan_(me: Player) -> None:
        try:
            notes.append(f"{me.name}: {await plan(me)}")
        except DeadlockError as error:
            notes.append(f"{me.name}: {error}")

    return plan_


def tree(names: str, **plans: Plan) -> Any:
    """Players with these one-letter names, of whom some do something as they start."""
    return supervisor(*(child(Player, plans.get(name)).options(name=name) for name in names), name="top")


def player(system: System, name: str) -> ActorRef[Player]:
    return system.ref(f"root/top/{name}", Player)


async def found(system: System, what: Callable[[], Awaitable[Any]]) -> list[DeadlockFound]:
    """The deadlocks found until nothing more happens by itself."""
    events: list[DeadlockFound] = []

    async def listen() -> None:
        async for event in subscription:
            events.append(event)

    async with trio.open_nursery() as nursery:
        subscription = system.events(DeadlockFound)
        nursery.start_soon(listen)
        await what()
        with trio.move_on_after(10_000):
            await system.settle()
        await wait_all_tasks_blocked()
        subscription.close()
    return events


async def settled_at_once(system: System) -> None:
    began = trio.current_time()
    await system.settle()
    assert trio.current_time() == began
    system.ledger().check()


# ---- circles


async def test_two_actors_that_ask_each_other_are_found_at_once() -> None:
    async with open_system(tree("ab")) as system:
        (event,) = await found(system, lambda: player(system, "a").send(Player.in_do, Do(asks("b", asks("a")))))

        assert trio.current_time() == 0
        assert event.path == "root/top/b"
        assert event.circle == ("root/top/b asks root/top/a.in_do", "root/top/a asks root/top/b.in_do")
        system.ledger().check()


async def test_the_error_has_the_whole_path_and_its_message_is_quarantined_without_a_restart() -> None:
    async with open_system(tree("ab")) as system:
        with pytest.raises(AskFailed):
            await player(system, "a").ask(Player.in_do, Do(asks("b", asks("a"))), timeout=None)
        await settled_at_once(system)

        letters = await system.dead_letters.inspect()
        assert [(letter.port, letter.reason.value) for letter in letters] == [
            ("root/top/b.in_do", "permanent"),
            ("root/top/a.in_do", "permanent"),
        ]
        error = letters[0].error
        assert error is not None
        assert (error.category.value, error.severity.name) == ("permanent", "MEDIUM")
        assert str(error.exception) == (
            "this would wait for ever: root/top/b asks root/top/a.in_do → root/top/a asks root/top/b.in_do;"
            " ask from a background task (self.start_soon), or send a message and be answered by a message"
        )
        assert system.ledger().skipped_by == {"asker_gone": 1}
        assert [each.restarts for each in system.supervisor("root/top").which_children()] == [0, 0]
        assert await player(system, "a").ask(Player.in_do, Do(asks("b"))) == "done"


async def test_a_circle_of_five_with_outsiders_is_found_by_the_last_and_the_others_go_on() -> None:
    notes: list[str] = []
    async with open_system(tree("abcdexy")) as system:
        await player(system, "x").send(Player.in_do, Do(noting(asks("a", after=1), notes)))
        await player(system, "y").send(Player.in_do, Do(noting(asks("c", after=1), notes)))
        plan = asks("b", asks("c", asks("d", asks("e", noting(asks("a", after=2), notes)))))

        (event,) = await found(system, lambda: player(system, "a").send(Player.in_do, Do(plan)))

        assert [text[9] for text in event.circle] == list("eabcd")
        assert [note[0] for note in notes] == ["e", "y", "x"]
        assert trio.current_time() == 2
        assert system.ledger().dead_lettered == 0
        system.ledger().check()


async def test_an_actor_that_waits_for_room_at_one_who_asks_it_is_found() -> None:
    notes: list[str] = []
    async with open_system(tree("ab")) as system:
        await player(system, "b").send(Player.in_do, Do(noting(asks("a", after=1), notes)))
        (event,) = await found(system, lambda: player(system, "a").send(Player.in_do, Do(sends("b", 3))))

        assert event.circle == ("root/top/b asks root/top/a.in_do", "root/top/a waits for room at root/top/b.in_narrow")
        assert trio.current_time() == 1
        assert system.ledger().ports["root/top/b.in_narrow"].processed == 3
        system.ledger().check()


async def test_two_actors_that_wait_for_room_at_each_other_are_found() -> None:
    async with open_system(tree("ab")) as system:
        await player(system, "b").send(Player.in_do, Do(sends("a", 3, after=1)))
        (event,) = await found(system, lambda: player(system, "a").send(Player.in_do, Do(sends("b", 3, after=1))))

        assert event.path in ("root/top/a", "root/top/b")
        assert len(event.circle) == 2
        assert system.ledger().dead_lettered == 1
        system.ledger().check()


async def test_an_ask_with_a_timeout_is_found_before_it() -> None:
    async with open_system(tree("ab")) as system:
        await found(system, lambda: player(system, "a").send(Player.in_do, Do(asks("b", asks("a", timeout=50), timeout=100))))

        assert trio.current_time() == 0


async def test_an_actor_is_stuck_if_one_of_its_asks_at_a_time_is() -> None:
    notes: list[str] = []

    async def three(me: Player) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks("b"), me)
            nursery.start_soon(asks("c", noting(asks("a"), notes)), me)
            nursery.start_soon(asks("d", naps(5)), me)

    async with open_system(tree("abcd")) as system:
        await player(system, "a").ask(Player.in_do, Do(three), timeout=None)

        assert len(notes) == 1
        assert "root/top/c asks root/top/a.in_do → root/top/a asks root/top/c.in_do" in notes[0]


async def test_an_ask_inside_a_scope_of_the_handlers_own_counts_as_the_handlers() -> None:
    notes: list[str] = []

    async def hurried(me: Player) -> None:
        with trio.move_on_after(100):
            await noting(asks("a"), notes)(me)

    async with open_system(tree("ab")) as system:
        await player(system, "a").ask(Player.in_do, Do(asks("b", hurried)), timeout=None)

        assert trio.current_time() == 0
        assert len(notes) == 1


async def test_a_circle_through_a_held_emitter_lets_that_go_on_and_nothing_fails() -> None:
    class Emits(Actor):
        """Emits four at a time to one who asks it for each."""

        out_x = OutPort(int)

        @in_port
        def in_go(self, go: str) -> None:
            for n in range(4):
                self.out_x.emit(n)

        @in_port
        def in_double(self, n: int) -> int:
            return 2 * n

    class Asks(Actor):
        def __init__(self, got: list[int]) -> None:
            self.got = got

        @in_port(capacity=1)
        async def in_x(self, x: int) -> None:
            self.got.append(await self.system.ref(Emits).ask(Emits.in_double, x, timeout=None))

    got: list[int] = []
    async with open_system(supervisor(child(Emits), child(Asks, got), wires=[Emits.out_x >> Asks.in_x])) as system:
        for _ in range(3):
            await system.ref(Emits).send(Emits.in_go, "go")
        await settled_at_once(system)

        assert got == [0, 2, 4, 6] * 3


# ---- start and stop


@pytest.mark.parametrize("later", ["b", "b2"])
def test_on_start_that_asks_an_actor_that_starts_later_fails_at_once(later: str) -> None:
    async def ask_later(me: Player) -> None:
        path = "root/top/b" if later == "b" else "root/top/below/b2"
        await me.system.ref(path, Player).ask(Player.in_do, Do(nothing), timeout=None)

    below = supervisor(child(Player).options(name="b2"), name="below")
    with pytest.raises(SupervisionError) as caught:
        run(supervisor(child(Player, ask_later).options(name="a"), child(Player).options(name="b"), below, name="top"))

    assert isinstance(caught.value.__cause__, DeadlockError)
    assert f"root/top/a asks root/top/{'b' if later == 'b' else 'below/b2'}.in_do" in str(caught.value.__cause__)


async def test_on_start_may_ask_an_actor_that_started_before() -> None:
    notes: list[str] = []
    async with open_system(tree("ab", b=noting(asks("a", naps(1)), notes))):
        assert notes == ["b: rested"]


async def test_on_start_that_asks_one_who_asks_it_back_is_found() -> None:
    notes: list[str] = []
    async with open_system(tree("ab", b=asks("a", noting(asks("b"), notes)))) as system:
        assert "root/top/a asks root/top/b.in_do → root/top/b asks root/top/a.in_do" in notes[0]
        await settled_at_once(system)


@pytest.mark.parametrize("call", ["stop", "start"])
async def test_on_start_that_waits_for_its_own_supervisor_is_found(call: str) -> None:
    notes: list[str] = []

    async def administer(me: Player) -> Any:
        if call == "start":
            return await me.supervisor.start_child(child(Player).options(name="new"))
        return await me.supervisor.stop_child("a")

    async with open_system(tree("ab", b=noting(administer, notes))) as system:
        await system.wait()

        assert len(notes) == 1
        assert "root/top/b waits for supervisor root/top" in notes[0]
        assert "supervisor root/top waits for root/top/b to start or stop" in notes[0]
        names = [(each.name, each.is_running) for each in system.supervisor("root/top").which_children()]
        assert names == [("a", call == "start"), ("b", True)]


@pytest.mark.parametrize("shutdown", [5.0, Shutdown.INFINITY])
async def test_stopping_oneself_by_the_supervisor_is_told_and_done(shutdown: float | Shutdown) -> None:
    notes: list[str] = []

    async def resign(me: Player) -> None:
        await me.supervisor.stop_child("a")

    async with open_system(supervisor(child(Player).options(name="a", shutdown=shutdown), name="top")) as system:
        await player(system, "a").send(Player.in_do, Do(noting(resign, notes)))
        await wait_all_tasks_blocked()

        assert "root/top/a waits for supervisor root/top to stop root/top/a" in notes[0]
        assert not player(system, "a").is_alive
        assert trio.current_time() == 0
        system.ledger().check()


async def test_stopping_one_who_waits_for_the_caller_is_told_and_done() -> None:
    notes: list[str] = []

    async def stop_a(me: Player) -> None:
        await me.supervisor.stop_child("a")

    a = child(Player).options(name="a", shutdown=Shutdown.INFINITY)
    async with open_system(supervisor(a, child(Player).options(name="b"), name="top")) as system:
        await player(system, "a").send(Player.in_do, Do(asks("b", noting(stop_a, notes))))
        await wait_all_tasks_blocked()

        assert "root/top/b waits for supervisor root/top to stop root/top/a → root/top/a asks root/top/b.in_do" in notes[0]
        assert not player(system, "a").is_alive
        system.ledger().check()


async def test_one_who_is_being_stopped_and_asks_the_one_who_waits_for_that_is_told() -> None:
    notes: list[str] = []

    async def stop_a(me: Player) -> None:
        await me.supervisor.stop_child("a")

    async with open_system(tree("ab")) as system:
        await player(system, "a").send(Player.in_do, Do(noting(asks("b", after=1), notes)))
        await player(system, "b").ask(Player.in_do, Do(stop_a), timeout=None)

        assert "root/top/a asks root/top/b.in_do → root/top/b waits for supervisor root/top to stop root/top/a" in notes[0]
        assert trio.current_time() == 1
        system.ledger().check()


async def test_a_new_child_that_asks_who_starts_it_is_told() -> None:
    async def hire(me: Player) -> str:
        try:
            await me.supervisor.start_child(child(Player, asks("a")).options(name="new"))
        except SupervisionError as error:
            return str(error)
        return "hired"

    async with open_system(tree("a")) as system:
        answer = await player(system, "a").ask(Player.in_do, Do(hire), timeout=None)

        assert "root/top/new asks root/top/a.in_do → root/top/a waits for supervisor root/top" in answer


async def test_a_bystander_that_waits_for_the_supervisor_that_stops_it_is_cut_short_and_its_message_redelivered() -> None:
    lives: list[str] = []
    crashes = iter([True])

    async def crash(_: Player) -> None:
        if next(crashes, False):
            raise RuntimeError

    async def hire(me: Player) -> None:
        lives.append("hire")
        await trio.sleep(1)
        await me.supervisor.start_child(child(Player).options(name=f"new-{len(lives)}"))

    slow = child(Player, None, naps(2)).options(name="a")
    top = supervisor(slow, child(Player).options(name="b", shutdown=Shutdown.INFINITY), name="top", strategy=Strategy.ONE_FOR_ALL)
    async with open_system(top) as system:
        await player(system, "b").send(Player.in_do, Do(hire))
        await player(system, "a").send(Player.in_do, Do(crash))
        await system.settle()

        assert lives == ["hire", "hire"]
        assert system.ledger().dead_lettered_by == {}
        system.ledger().check()


# ---- near misses


async def test_a_slow_chain_that_moves_is_none() -> None:
    async with open_system(tree("abcd")) as system:
        events = await found(system, lambda: player(system, "a").send(Player.in_do, Do(asks("b", asks("c", asks("d", naps(1000)))))))

        assert events == []
        assert system.ledger().processed == 4


async def test_one_who_answers_before_it_asks_back_is_none() -> None:
    notes: list[str] = []
    async with open_system(tree("ab")) as system:

        async def both() -> None:
            await player(system, "b").send(Player.in_do, Do(naps(1)))
            await player(system, "a").send(Player.in_do, Do(noting(asks("b"), notes)))
            await wait_all_tasks_blocked()  # now that is queued at b before what asks back
            await player(system, "b").send(Player.in_do, Do(noting(asks("a"), notes)))

        assert await found(system, both) == []
        assert sorted(notes) == ["a: done", "b: done"]


async def test_two_actors_may_ask_each_other_from_background_tasks() -> None:
    notes: list[str] = []

    async def in_background(me: Player) -> None:
        me.start_soon(noting(asks("b" if me.name == "a" else "a", naps(1)), notes), me)

    async with open_system(tree("ab")) as system:

        async def both() -> None:
            for name in "ab":
                await player(system, name).send(Player.in_do, Do(in_background))
            await system.wait()

        assert await found(system, both) == []
        assert sorted(notes) == ["a: rested", "b: rested"]


async def test_a_task_that_a_handler_began_in_a_nursery_from_outside_is_not_the_handler() -> None:
    notes: list[str] = []
    async with open_system(tree("ab")) as system, trio.open_nursery() as outside:

        async def lend(me: Player) -> None:
            outside.start_soon(noting(asks("b", asks("a", naps(1), after=1)), notes), me)

        await player(system, "a").send(Player.in_do, Do(lend))
        await player(system, "a").send(Player.in_do, Do(naps(5)))
        await trio.sleep(20)

        assert notes == ["a: rested"]


@pytest.mark.parametrize("how", ["restarts", "retries", "retries beside others"])
async def test_a_receiver_that_comes_back_by_itself_is_none(how: str) -> None:
    tries: list[int] = []

    async def fails_once(me: Player) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError if how == "restarts" else TransientError
        return await naps(1)(me)

    port = Player.in_beside if how == "retries beside others" else Player.in_do
    notes: list[str] = []

    async def ask_it(me: Player) -> Any:
        return await me.other("b").ask(port, Do(fails_once), timeout=None)

    a, b = (child(Player, None if name == "a" else naps(2)).options(name=name) for name in "ab")
    async with open_system(supervisor(a, b, name="top")) as system:
        events = await found(system, lambda: player(system, "a").send(Player.in_do, Do(noting(ask_it, notes))))

        assert events == []
        assert notes == ["a: rested"]


async def test_a_receiver_held_by_its_breaker_is_none() -> None:
    class Guarded(Actor):
        @in_port(breaker=CircuitBreaker(failure_threshold=1, recovery_timeout=30.0))
        async def in_x(self, x: str) -> str:
            if trio.current_time() < 10:
                raise ConnectionError
            return "well"

    async with open_system(supervisor(child(Guarded), *tree("a").children, name="top")) as system:

        async def ask_it(me: Player) -> str:
            return await me.system.ref(Guarded).ask(Guarded.in_x, "x", timeout=None)

        events = await found(system, lambda: player(system, "a").send(Player.in_do, Do(ask_it)))

        assert events == []
        assert system.ledger().processed == 2


async def test_an_actor_that_crashed_while_its_supervisor_starts_one_who_asks_it_is_found() -> None:
    async def crash(_: Player) -> None:
        raise RuntimeError

    async with open_system(tree("a")) as system:
        with pytest.raises(SupervisionError) as caught:
            await system.supervisor("root/top").start_child(child(Player, asks("a", crash)).options(name="new"))
        await settled_at_once(system)

        assert isinstance(caught.value.__cause__, DeadlockError)
        assert await player(system, "a").ask(Player.in_do, Do(nothing)) == "done"


class Waiting(Actor):
    """Waits for the system that it is part of."""

    def __init__(self, where: str, lines: list[str]) -> None:
        self.where = where
        self.lines = lines

    async def on_start(self) -> None:
        if self.where == "on_start":
            await self.settle()

    async def run(self) -> None:
        if self.where == "run":
            await self.settle()

    async def settle(self) -> None:
        """Until nothing is queued or in flight."""
        await self.system.settle()
        self.lines.append("settled")

    @in_port
    async def in_settle(self, in_nursery: bool) -> None:
        if in_nursery:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.settle)
        await self.settle()

    @in_port
    async def in_wait(self, _: None) -> None:
        await self.system.wait()

    @in_port
    def in_background(self, wait: bool) -> None:
        self.start_soon(self.system.wait if wait else self.settle)


@pytest.mark.parametrize("in_nursery", [False, True])
async def test_a_handler_that_waits_until_nothing_is_in_flight_fails_at_once(in_nursery: bool) -> None:
    lines: list[str] = []
    async with open_system(supervisor(child(Waiting, "", lines), name="top")) as system:
        with pytest.raises(AskFailed, match=r"DeadlockError.*root/top/waiting: system\.settle\(\) would wait for ever.*start_soon"):
            await system.ref(Waiting).ask(Waiting.in_settle, in_nursery)

        assert trio.current_time() == 0
        assert system.ledger().dead_lettered_by == {"permanent": 1}
        assert system.supervisor("root/top").which_children()[0].restarts == 0
        await system.settle()


async def test_an_actor_that_waits_until_nothing_can_happen_any_more_fails_at_once() -> None:
    async with open_system(supervisor(child(Waiting, "", []), name="top")) as system:
        ref = system.ref(Waiting)
        with pytest.raises(AskFailed, match=r"DeadlockError.*root/top/waiting: system\.wait\(\) would wait for ever"):
            await ref.ask(Waiting.in_wait, None)
        await ref.send(Waiting.in_background, True)
        await system.wait()

        assert "system.wait() would wait for ever" in list(system.kernel.errors)[-1].error_message
        assert system.supervisor("root/top").which_children()[0].restarts == 1


@pytest.mark.parametrize("where", ["on_start", "run", "background"])
async def test_outside_of_its_handlers_an_actor_may_wait_until_nothing_is_in_flight(where: str) -> None:
    lines: list[str] = []
    async with open_system(supervisor(child(Waiting, where, lines), name="top")) as system:
        if where == "background":
            await system.ref(Waiting).send(Waiting.in_background, False)
        await system.wait()

        assert lines == ["settled"]
