"""Room at full ports: who waits for it, who gets it, and in which order. Each test runs with parking, and without it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorkit import Actor, ActorRef, AskFailed, OutPort, Shutdown, child, in_port, open_system, supervisor
from actorkit._runtime.dispatcher import Dispatcher


@pytest.fixture(autouse=True, params=["parking", "no parking"])
def parking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a handler's wait for a reply or for room may do without a task, as it may where trio lets us see its scopes."""
    if request.param == "no parking":
        monkeypatch.setattr(Dispatcher, "parkable", lambda _: None)


class Slow(Actor):
    """Answers after so many seconds."""

    @in_port(capacity=1)
    async def in_x(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds


async def test_room_is_given_in_order_and_a_killed_or_cancelled_sender_leaves_the_line() -> None:
    seen: list[str] = []
    go = trio.Semaphore(0)

    class Consumer(Actor):
        @in_port(capacity=1)
        async def in_x(self, x: str) -> None:
            await go.acquire()
            seen.append(x)

    class Relay(Actor):
        @in_port
        async def in_x(self, x: str) -> None:
            await self.system.ref(Consumer).send(Consumer.in_x, x)

    relays = [child(Relay).options(name=name, shutdown=Shutdown.KILL) for name in ("a", "b", "c")]
    async with open_system(supervisor(child(Consumer), *relays, name="s")) as system:
        consumer = system.ref(Consumer)
        for x in ("1", "2"):
            await consumer.send(Consumer.in_x, x)
            await trio.sleep(1)
        with trio.move_on_after(1) as cancelled:
            await consumer.send(Consumer.in_x, "cancelled")
        for name in ("a", "c", "b"):
            await system.ref(f"root/s/{name}", Relay).send(Relay.in_x, f"from {name}")
            await trio.sleep(1)
        await system.supervisor("root/s").stop_child("a")

        for _ in range(6):
            go.release()
        await system.settle()

        assert cancelled.cancelled_caught
        assert seen == ["1", "2", "from c", "from b"]
        counts = system.ledger().ports["root/s/consumer.in_x"]
        assert (counts.accepted, counts.processed) == (4, 4)
        system.ledger().check()


async def test_full_ports_keep_the_order_of_each_sender_and_lose_no_wake_up() -> None:
    got: list[tuple[int, int]] = []

    class Last(Actor):
        @in_port(capacity=2)
        async def in_x(self, x: tuple[int, int]) -> None:
            if x[1] % 7 == 0:
                await trio.sleep(0.1)
            got.append(x)

        @in_port(capacity=1)
        async def in_y(self, x: tuple[int, int]) -> None:
            got.append(x)

    class Relay(Actor):
        out_x = OutPort(tuple[int, int])
        out_y = OutPort(tuple[int, int])

        @in_port(capacity=2)
        async def in_x(self, x: tuple[int, int]) -> None:
            await (self.out_x if x[1] % 3 else self.out_y).send(x)

    class Source(Actor):
        out_x = OutPort(tuple[int, int])

        def __init__(self, number: int) -> None:
            self.number = number

        async def run(self) -> None:
            for i in range(100):
                await self.out_x.send((self.number, i))
                if i % 10 == self.number:
                    await trio.sleep(0.05)

    sources = [child(Source, i).options(name=f"source-{i}") for i in range(3)]
    wires = [Relay.out_x >> Last.in_x, Relay.out_y >> Last.in_y, *(source[Source.out_x] >> Relay.in_x for source in sources)]
    async with open_system(supervisor(child(Last), child(Relay), *sources, wires=wires, name="s")) as system:
        await system.wait()

        assert len(got) == 300
        for number in range(3):
            assert [i for sender, i in got if sender == number] == list(range(100))
        system.ledger().check()


async def test_asks_that_wait_at_an_actor_that_is_stopped_fail_at_once() -> None:
    failed: list[float] = []

    async def ask(slow: ActorRef[Slow]) -> None:
        with pytest.raises(AskFailed):
            await slow.ask(Slow.in_x, 100.0, timeout=None)
        failed.append(trio.current_time())

    async with open_system(supervisor(child(Slow).options(shutdown=3.0), name="s")) as system, trio.open_nursery() as nursery:
        await system.ref(Slow).send(Slow.in_x, 100.0)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):  # one is queued, two wait for room
            nursery.start_soon(ask, system.ref(Slow))
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()

        await system.supervisor("root/s").stop_child("slow")
        await trio.sleep(10)

        assert [time - began for time in failed] == [3.0] * 3
        system.ledger().check()
