"""Ports of different priority: the higher first, equal ones in order of arrival, and nobody starves."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from actorkit import (
    Actor,
    ActorRef,
    CircuitBreaker,
    InPort,
    OverflowStrategy,
    SpecTypeError,
    Throttle,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.policy.priority import MOST_PASSED


class Desk(Actor):
    """Deals with requests of several priorities, once its hands are free, and fails as it is told, once each."""

    def __init__(self, done: list[str], failing: dict[str, type[Exception]] | None = None) -> None:
        self.done = done
        self.failing = {} if failing is None else failing

    @in_port
    async def in_busy(self, seconds: float) -> None:
        await trio.sleep(seconds)

    @in_port(priority=1)
    def in_urgent(self, name: str) -> None:
        self.do(name)

    @in_port
    def in_plain(self, name: str) -> None:
        self.do(name)

    @in_port
    async def in_plain_too(self, name: str) -> None:
        self.do(name)

    @in_port(priority=-1)
    def in_idle(self, name: str) -> None:
        self.do(name)

    def do(self, name: str) -> None:
        if name in self.failing:
            raise self.failing.pop(name)(name)
        self.done.append(name)


PORTS: dict[str, InPort[Desk, str, Any]] = {"u": Desk.in_urgent, "p": Desk.in_plain, "q": Desk.in_plain_too, "i": Desk.in_idle}


async def send_all(desk: ActorRef[Desk], names: str) -> None:
    """While it is busy: `p1 u2` sends "p1" to the plain port, and so on."""
    await desk.send(Desk.in_busy, 1)
    await trio.sleep(0.5)
    for name in names.split():
        await desk.send(PORTS[name[0]], name)


async def test_the_higher_priority_goes_first_and_equal_ones_in_order_of_arrival() -> None:
    done: list[str] = []
    async with open_system(child(Desk, done)) as system:
        await send_all(system.ref(Desk), "i1 p2 q3 u4 p5 u6 q7 i8")
        await system.settle()

        assert done == ["u4", "u6", "p2", "q3", "p5", "q7", "i1", "i8"]
        system.ledger().check()


async def test_after_sixteen_of_a_higher_priority_one_of_the_next_goes_first() -> None:
    done: list[str] = []
    names = [f"u{n}" for n in range(2 * MOST_PASSED + 3)]
    async with open_system(child(Desk, done)) as system:
        await send_all(system.ref(Desk), " ".join(["p1", "p2", *names]))
        await system.settle()

        first, second, rest = names[:MOST_PASSED], names[MOST_PASSED : 2 * MOST_PASSED], names[2 * MOST_PASSED :]
        assert done == [*first, "p1", *second, "p2", *rest]


@pytest.mark.parametrize("error", [TransientError, KeyError])
async def test_what_is_tried_again_comes_before_a_higher_priority(error: type[Exception]) -> None:
    done: list[str] = []
    failing = {"p1": error}
    async with open_system(child(Desk, done, failing)) as system:
        desk = system.ref(Desk)
        await desk.send(Desk.in_plain, "p1")
        await desk.send(Desk.in_plain, "p2")
        await desk.send(Desk.in_urgent, "u3")
        await system.wait()

        assert [name for name in done if name != "u3"] == ["p1", "p2"]
        assert done[:1] == ["u3"]  # it was there before the first try
        system.ledger().check()


async def test_a_retry_is_not_overtaken_by_what_comes_meanwhile() -> None:
    done: list[str] = []
    async with open_system(child(Desk, done, {"p1": TransientError})) as system:
        desk = system.ref(Desk)
        await desk.send(Desk.in_plain, "p1")
        await trio.testing.wait_all_tasks_blocked()
        await desk.send(Desk.in_urgent, "u2")
        await system.wait()

        assert done == ["p1", "u2"]


async def test_what_is_unstashed_comes_before_a_higher_priority() -> None:
    done: list[str] = []

    class Stashes(Actor):
        is_ready = False

        @in_port
        def in_plain(self, name: str) -> None:
            if self.is_ready:
                done.append(name)
            else:
                self.stash()

        @in_port(priority=1)
        def in_urgent(self, name: str) -> None:
            self.is_ready = True
            self.unstash_all()
            done.append(name)

    async with open_system(child(Stashes)) as system:
        ref = system.ref(Stashes)
        for name in ("p1", "p2"):
            await ref.send(Stashes.in_plain, name)
        await system.settle()
        for name in ("u3", "u4"):
            await ref.send(Stashes.in_urgent, name)
        await system.settle()

        assert done == ["u3", "p1", "p2", "u4"]
        system.ledger().check()


async def test_a_port_that_is_resumed_has_the_priority_that_it_had() -> None:
    done: list[str] = []

    class Pauses(Actor):
        async def on_start(self) -> None:
            self.pause(Pauses.in_low)

        @in_port(priority=-1)
        def in_low(self, name: str) -> None:
            done.append(name)

        @in_port
        async def in_plain(self, name: str) -> None:
            done.append(name)
            if name == "resume":
                self.resume(Pauses.in_low)
                await trio.sleep(1)

    async with open_system(child(Pauses)) as system:
        ref = system.ref(Pauses)
        for name in ("l1", "l2"):
            await ref.send(Pauses.in_low, name)
        await system.settle()
        await ref.send(Pauses.in_plain, "resume")
        await trio.sleep(0.5)
        await ref.send(Pauses.in_low, "l3")
        await ref.send(Pauses.in_plain, "p")
        await system.settle()

        assert done == ["resume", "p", "l1", "l2", "l3"]
        system.ledger().check()


async def test_a_full_port_drops_its_oldest_whatever_the_priorities() -> None:
    done: list[str] = []

    class Drops(Actor):
        @in_port
        async def in_busy(self, seconds: float) -> None:
            await trio.sleep(seconds)

        @in_port(capacity=2, overflow=OverflowStrategy.DROP_OLDEST, priority=1)
        def in_urgent(self, name: str) -> None:
            done.append(name)

        @in_port
        def in_plain(self, name: str) -> None:
            done.append(name)

    async with open_system(child(Drops)) as system:
        ref = system.ref(Drops)
        await ref.send(Drops.in_busy, 1)
        await trio.sleep(0.5)
        for number in range(4):
            await ref.send(Drops.in_urgent, f"u{number}")
            await ref.send(Drops.in_plain, f"p{number}")
        await system.settle()

        assert done == ["u2", "u3", "p0", "p1", "p2", "p3"]
        assert system.ledger().dropped == 2
        system.ledger().check()


async def test_a_guard_holds_up_what_is_next_by_priority() -> None:
    done: list[str] = []

    class Guarded(Actor):
        @in_port(priority=1, throttle=Throttle(rate=1))
        def in_urgent(self, name: str) -> None:
            done.append(f"{name} at {trio.current_time() - began:g}")

        @in_port(breaker=CircuitBreaker())
        def in_plain(self, name: str) -> None:
            done.append(f"{name} at {trio.current_time() - began:g}")

    began = trio.current_time()
    async with open_system(child(Guarded)) as system:
        ref = system.ref(Guarded)
        for name in ("p1", "p2"):
            ref.send_nowait(Guarded.in_plain, name)
        for name in ("u1", "u2"):
            ref.send_nowait(Guarded.in_urgent, name)
        await system.settle()

        assert done == ["u1 at 0", "u2 at 1", "p1 at 1", "p2 at 1"]


async def test_a_stopped_actor_s_mail_becomes_dead_letters_from_all_priorities() -> None:
    done: list[str] = []
    async with open_system(supervisor(child(Desk, done).options(shutdown=0), name="top")) as system:
        await send_all(system.ref(Desk), "i1 p2 u3")

        await system.supervisor("root/top").stop_child("desk")
        await system.supervisor("root/top").delete_child("desk")

        assert sorted(str(letter.message) for letter in await system.dead_letters.inspect()) == ["1", "i1", "p2", "u3"]
        system.ledger().check()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("upqi"), max_size=120), st.sets(st.integers(0, 119), max_size=4), st.booleans())
def test_order_within_a_priority_is_kept_and_nobody_starves_whatever_fails(sent: list[str], failing: set[int], restart: bool) -> None:
    done: list[str] = []
    names = [f"{kind}{number}" for number, kind in enumerate(sent)]
    failures: dict[str, type[Exception]] = {
        name: KeyError if restart else TransientError for number, name in enumerate(names) if number in failing
    }

    async def scenario() -> None:
        async with open_system(supervisor(child(Desk, done, failures), max_restarts=10)) as system:
            await send_all(system.ref(Desk), " ".join(names))
            await system.wait()
            system.ledger().check()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))

    levels = ("u", "pq", "i")
    for kinds in levels:
        assert [name for name in done if name[0] in kinds] == [name for name in names if name[0] in kinds]
    for number, kinds in enumerate(levels[1:], start=1):
        passed, waiting = 0, sum(name[0] in kinds for name in names)
        for name in done:
            if name[0] in kinds:
                passed, waiting = 0, waiting - 1
            elif waiting and any(name[0] in higher for higher in levels[:number]):
                passed += 1
            assert passed <= MOST_PASSED + 1


@pytest.mark.parametrize("priority", [1.5, "high", True, None])
def test_a_priority_is_a_whole_number(priority: Any) -> None:
    with pytest.raises(SpecTypeError, match=r"in_port: priority = .*: expected a whole number; a higher one is served first"):
        in_port(priority=priority)
