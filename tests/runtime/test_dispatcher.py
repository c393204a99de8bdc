"""How actors share few tasks: what must hold whatever handlers do. Each test runs with parking, and without it."""

from __future__ import annotations

import contextvars
from contextlib import AbstractAsyncContextManager
from itertools import pairwise

import pytest
import trio
import trio.testing

from actorkit import Actor, ActorRef, Shutdown, System, child, in_port, open_system, supervisor
from actorkit._runtime.dispatcher import Dispatcher
from actorkit.events import CleanupFailed

PLACE: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


@pytest.fixture(autouse=True, params=["parking", "no parking"])
def parking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a handler's wait for a reply or for room may do without a task, as it may where trio lets us see its scopes."""
    if request.param == "no parking":
        monkeypatch.setattr(Dispatcher, "parkable", lambda _: None)
    return bool(request.param == "parking")


class Echo(Actor):
    @in_port
    async def in_x(self, x: str) -> str:
        return x


class Slow(Actor):
    """Answers after so many seconds."""

    @in_port(capacity=1)
    async def in_x(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds


class Worker(Actor):
    """Does what its message says, and notes when it begins and ends, across all its lives."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    @in_port
    async def in_do(self, what: str) -> str:
        self.notes.append(f"begin {what}")
        slow, echo = self.system.ref(Slow), self.system.ref(Echo)
        try:
            match what.split()[0]:
                case "sleep":
                    await trio.sleep(10)
                case "ask":
                    await slow.ask(Slow.in_x, 10.0, timeout=None)
                case "send":
                    for _ in range(3):
                        await slow.send(Slow.in_x, 10.0)
                case "fail":
                    await trio.sleep(1)
                    raise ValueError("on purpose")
                case _:
                    async with trio.Lock():
                        await echo.ask(Echo.in_x, "inside")
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.notes.append(f"end {what}")
        return what


def open_workers(notes: list[str]) -> AbstractAsyncContextManager[System]:
    worker = child(Worker, notes).options(shutdown=Shutdown.KILL)
    return open_system(supervisor(worker, child(Slow), child(Echo), name="s"))


async def bounce(system: System, name: str = "worker") -> None:
    """Kills a child and starts it again."""
    tree = system.supervisor("root/s")
    await tree.stop_child(name)
    await tree.restart_child(name)


def overlapping(notes: list[str]) -> list[str]:
    """Steps that began before the one before had ended."""
    return [now for before, now in pairwise(notes) if before.startswith("begin") and now.startswith("begin")]


# ---- one step at a time; kills


@pytest.mark.parametrize("what", ["sleep", "ask", "send"])
async def test_a_killed_handler_cleans_up_and_its_message_is_handled_first_by_the_next_life(what: str) -> None:
    notes: list[str] = []
    async with open_workers(notes) as system:
        worker = system.ref(Worker)
        await worker.send(Worker.in_do, what)
        await worker.send(Worker.in_do, "next")
        await trio.sleep(2)

        await bounce(system)
        await system.settle()

        assert notes == [f"begin {what}", f"end {what}"] * 2 + ["begin next", "end next"]
        counts = system.ledger().ports["root/s/worker.in_do"]
        assert (counts.accepted, counts.processed, counts.queued, counts.in_flight) == (2, 2, 0, 0)
        system.ledger().check()


async def test_an_idle_actor_and_one_that_is_only_ready_can_be_killed() -> None:
    notes: list[str] = []
    async with open_workers(notes) as system:
        await bounce(system)
        system.ref(Worker).send_nowait(Worker.in_do, "first")

        await bounce(system)
        await system.settle()

        # It may have begun before the supervisor got its turn; then it was cut short, and handled again.
        assert notes in (["begin first", "end first"], ["begin first", "end first"] * 2)
        assert system.ledger().ports["root/s/worker.in_do"].processed == 1
        system.ledger().check()


async def test_an_actor_never_handles_two_messages_at_once_however_often_it_is_killed() -> None:
    notes: list[str] = []
    async with open_workers(notes) as system:
        worker = system.ref(Worker)
        for i in range(40):
            await worker.send(Worker.in_do, f"{('sleep', 'ask', 'lock', 'fail')[i % 4]} {i}")

        for _ in range(25):
            await trio.sleep(2.5)
            await bounce(system)
        await system.settle()

        assert overlapping(notes) == []
        system.ledger().check()


@pytest.mark.parametrize("kill_first", [True, False])
async def test_a_reply_and_a_kill_in_the_same_instant_run_no_two_steps(kill_first: bool) -> None:
    notes: list[str] = []
    async with open_workers(notes) as system, trio.open_nursery() as nursery:
        for i in range(2):
            await system.ref(Worker).send(Worker.in_do, f"ask {i}")

        async def kill_as_the_reply_comes() -> None:
            await trio.sleep(10)
            await bounce(system)

        nursery.start_soon(kill_as_the_reply_comes)
        if kill_first:
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(11.5)
        await system.settle()

        assert overlapping(notes) == []
        assert notes[-1] == "end ask 1"
        system.ledger().check()


async def test_a_late_reply_to_a_killed_actor_does_not_answer_its_next_question() -> None:
    answers: list[float] = []
    lives: list[int] = []

    class Other(Slow):
        pass

    class Asker(Actor):
        def __init__(self) -> None:
            lives.append(1)

        @in_port
        async def in_ask(self, x: str) -> None:
            if len(lives) == 1:
                answers.append(await self.system.ref("root/s/other", Other).ask(Other.in_x, 5.0, timeout=None))
            else:
                answers.append(await self.system.ref("root/s/slow", Slow).ask(Slow.in_x, 50.0, timeout=None))

    async with open_system(supervisor(child(Asker).options(shutdown=Shutdown.KILL), child(Other), child(Slow), name="s")) as system:
        await system.ref(Asker).send(Asker.in_ask, "x")
        await trio.sleep(1)

        await bounce(system, "asker")
        await system.settle()

        assert answers == [50.0]


async def test_what_the_cleanup_of_a_killed_handler_raises_is_an_event_and_harms_nobody() -> None:
    class Untidy(Actor):
        @in_port
        async def in_x(self, x: str) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail_at_the_end)
                await trio.sleep_forever()

        async def fail_at_the_end(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup failed")

    async with open_system(supervisor(child(Untidy).options(shutdown=Shutdown.KILL), child(Echo), name="s")) as system:
        events = system.events(CleanupFailed)
        await system.ref(Untidy).send(Untidy.in_x, "x")
        await trio.sleep(1)

        await system.supervisor("root/s").stop_child("untidy")

        assert (await anext(events)).path == "root/s/untidy"
        assert await system.ref(Echo).ask(Echo.in_x, "still there") == "still there"
        system.ledger().check()


@pytest.mark.parametrize("end", ["returns", "fails"])
async def test_a_step_that_was_left_behind_takes_no_message_of_the_next_life(end: str) -> None:
    notes: list[str] = []

    class Stubborn(Actor):
        def __init__(self) -> None:
            notes.append("new life")

        @in_port
        async def in_x(self, x: str) -> None:
            notes.append(f"begin {x}")
            if notes.count("new life") == 1:
                with trio.CancelScope(shield=True):
                    await trio.sleep(100)
                notes.append("the old step ends at last")
                if end == "fails":
                    raise ValueError("too late")
                return
            await trio.sleep(60)
            notes.append(f"end {x}")

    async with open_system(supervisor(child(Stubborn).options(shutdown=Shutdown.KILL), name="s")) as system:
        for x in "abc":
            await system.ref(Stubborn).send(Stubborn.in_x, x)
        await trio.sleep(1)

        await bounce(system, "stubborn")
        await system.settle()

        handled = [note for note in notes if note != "the old step ends at last"]
        assert handled == ["new life", "begin a", "new life", "begin a", "end a", "begin b", "end b", "begin c", "end c"]
        assert "the old step ends at last" in notes
        system.ledger().check()


async def test_a_cleanup_error_of_a_step_that_was_left_behind_does_not_end_the_system() -> None:
    class Stubborn(Actor):
        @in_port
        async def in_x(self, x: str) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(100)
                finally:
                    raise ValueError("too late")

    async with open_system(supervisor(child(Stubborn).options(shutdown=Shutdown.KILL), child(Echo), name="s")) as system:
        await system.ref(Stubborn).send(Stubborn.in_x, "x")
        await trio.sleep(1)
        await system.supervisor("root/s").stop_child("stubborn")

        await trio.sleep(200)

        assert await system.ref(Echo).ask(Echo.in_x, "still there") == "still there"


# ---- waiting


async def test_a_handler_may_use_timeouts_and_nurseries_around_asks() -> None:
    got: list[object] = []

    class Asker(Actor):
        @in_port
        async def in_go(self, x: str) -> None:
            slow, echo = self.system.ref(Slow), self.system.ref(Echo)
            with trio.move_on_after(1) as scope:
                await slow.ask(Slow.in_x, 5.0)
            got.append(scope.cancelled_caught)
            got.append(await echo.ask(Echo.in_x, "plain"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
                got.append(await echo.ask(Echo.in_x, "in a nursery"))
            with pytest.raises(trio.TooSlowError):
                await slow.ask(Slow.in_x, 50.0, timeout=1)
            got.append(await echo.ask(Echo.in_x, "after"))

    async with open_system(supervisor(child(Asker), child(Slow), child(Echo), name="s")) as system:
        await system.ref(Asker).send(Asker.in_go, "x")
        await system.settle()

        assert got == [True, "plain", "in a nursery", "after"]
        system.ledger().check()


async def test_a_lock_may_be_held_around_an_ask() -> None:
    got: list[str] = []
    lock = trio.Lock()

    class Asker(Actor):
        @in_port
        async def in_ask(self, x: str) -> None:
            async with lock:
                got.append(await self.system.ref(Echo).ask(Echo.in_x, x))

    askers = [child(Asker).options(name=f"asker-{i}") for i in range(3)]
    async with open_system(supervisor(*askers, child(Echo), name="s")) as system:
        for i in range(30):
            await system.ref(f"root/s/asker-{i % 3}", Asker).send(Asker.in_ask, str(i))
        await system.settle()

        assert sorted(got, key=int) == [str(i) for i in range(30)]
        assert system.ledger().dead_lettered == 0


async def test_context_variables_survive_a_wait_and_belong_to_one_actor() -> None:
    seen: dict[str, list[str]] = {"one": [], "two": []}

    class Setter(Actor):
        @in_port
        async def in_x(self, x: str) -> None:
            seen[self.name].append(PLACE.get())
            PLACE.set(self.name)
            await self.system.ref(Echo).ask(Echo.in_x, x)
            seen[self.name].append(PLACE.get())
            await trio.sleep(1)
            seen[self.name].append(PLACE.get())

    PLACE.set("outside")
    async with open_system(
        supervisor(child(Setter).options(name="one"), child(Setter).options(name="two"), child(Echo), name="s")
    ) as system:
        for name in seen:
            await system.ref(f"root/s/{name}", Setter).send(Setter.in_x, "x")
        await system.settle()

        assert seen == {"one": ["outside", "one", "one"], "two": ["outside", "two", "two"]}


async def test_a_handler_that_fails_after_it_waited_fails_like_any_other() -> None:
    notes: list[str] = []
    async with open_workers(notes) as system:
        for what in ("fail", "next"):
            await system.ref(Worker).send(Worker.in_do, what)
        await system.settle()

        assert notes == ["begin fail", "end fail", "begin next", "end next"]
        assert system.ledger().dead_lettered_by == {"validation": 1}


async def test_an_outer_cancel_ends_waiting_handlers_by_trios_own_cancelled() -> None:
    ends: list[str] = []

    class Waiting(Actor):
        @in_port
        async def in_wait(self, what: str) -> None:
            slow: ActorRef[Slow] = self.system.ref(Slow)
            try:
                await (trio.sleep_forever() if what == "trio" else slow.ask(Slow.in_x, 1000.0, timeout=None))
            except BaseException as error:
                ends.append(type(error).__name__)
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                ends.append("cleaned up")
                raise

    kept: list[System] = []
    with trio.move_on_after(5):
        async with open_system(
            supervisor(child(Waiting).options(name="a"), child(Waiting).options(name="b"), child(Slow), name="s")
        ) as system:
            kept.append(system)
            await system.ref("root/s/a", Waiting).send(Waiting.in_wait, "trio")
            await system.ref("root/s/b", Waiting).send(Waiting.in_wait, "ask")
            await trio.sleep_forever()

    assert sorted(ends) == ["Cancelled", "Cancelled", "cleaned up", "cleaned up"]
    ledger = kept[0].ledger()
    assert (ledger.accepted, ledger.dead_lettered, ledger.skipped, ledger.queued, ledger.in_flight) == (3, 3, 0, 0, 0)
    ledger.check()
