"""How the block of a system is left: in order, by an exception, by a cancel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import Actor, DeadLetterReason, ExitReason, OutPort, Shutdown, SupervisorSpec, child, in_port, open_system, pool, supervisor
from tests.ticking import Slow, Ticker


async def test_leaving_the_block_ends_sources_then_works_off_the_queue_then_stops_in_reverse_order() -> None:
    lines: list[str] = []
    tree = supervisor(child(Slow, lines, 2.0).options(shutdown=20.0), child(Ticker, lines), wires=[Ticker.out_number >> Slow.in_number])

    async with open_system(tree) as system:
        await trio.sleep(3.5)

    assert lines == [
        *("slow did 0", "source ended", "slow did 1", "slow did 2", "slow did 3"),
        *("source stopped: shutdown", "slow stopped: shutdown"),
    ]
    assert system.ledger().dead_lettered == 0


class Gatherer(Slow):
    """Passes numbers on, by twos; at the end, what is left."""

    out_pair = OutPort(list[int])

    def __init__(self, lines: list[str], takes: float = 1.0, says: float = 0.0) -> None:
        super().__init__(lines, takes)
        self.says = says
        self.kept: list[int] = []

    @in_port
    async def in_one(self, number: int) -> None:
        await self.in_number(number)
        self.kept.append(number)
        if len(self.kept) == 2:
            await self.pass_on()

    async def pass_on(self) -> None:
        """Passes on what it has."""
        kept, self.kept = self.kept, []
        await self.out_pair.send(kept)

    async def on_drained(self) -> None:
        await trio.sleep(self.says)
        self.lines.append(f"{self.name} drained")
        await self.pass_on()


class Summer(Actor):
    """Adds numbers up, and says at the end what came of it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.sum = 0

    @in_port
    async def in_numbers(self, numbers: list[int]) -> None:
        await trio.sleep(1)
        self.sum += sum(numbers)

    async def on_drained(self) -> None:
        self.lines.append(f"summed up: {self.sum}")


class LastTicker(Ticker):
    async def on_drained(self) -> None:
        self.lines.append("source drained")
        await self.out_number.send(100)


def summing(lines: list[str], **options: float) -> SupervisorSpec:
    """A source, one that gathers, one that adds up, in the wrong order."""
    return supervisor(
        child(Summer, lines),
        child(Gatherer, lines, **options),
        child(LastTicker, lines),
        wires=[LastTicker.out_number >> Gatherer.in_one, Gatherer.out_pair >> Summer.in_numbers],
    )


async def test_leaving_the_block_ends_the_streams_from_upstream_down() -> None:
    """What `on_drained` sends is worked off, too, before those further down say their last words."""
    lines: list[str] = []

    async with open_system(summing(lines, takes=0.5)) as system:
        await trio.sleep(2.7)

    assert lines[3:] == [
        *("source ended", "source drained", "gatherer did 100", "gatherer drained", "summed up: 103"),
        *("source stopped: shutdown", "gatherer stopped: shutdown"),
    ]
    assert system.ledger().accepted == system.ledger().processed == 7
    system.ledger().check()


async def test_last_words_are_waited_for_no_longer_than_the_shutdown_time() -> None:
    lines: list[str] = []

    async with open_system(summing(lines, takes=0.5, says=100.0)) as system:
        await trio.sleep(2.7)
        began = trio.current_time()

    assert trio.current_time() - began == 5.0
    assert lines[3:-1] == ["source ended", "source drained", "gatherer did 100", "source stopped: shutdown"]
    assert lines[-1].startswith("gatherer stopped")
    system.ledger().check()


async def test_an_actor_that_is_to_be_killed_says_no_last_words_and_neither_does_one_on_an_exception() -> None:
    lines: list[str] = []

    async with open_system(child(Summer, lines).options(shutdown=Shutdown.KILL)):
        pass
    with pytest.raises(LookupError):
        async with open_system(child(Summer, lines)):
            raise LookupError

    assert lines == []


async def test_members_of_a_pool_and_an_actor_that_drains_by_itself_say_their_last_words_once() -> None:
    lines: list[str] = []

    class Few(Actor):
        out_numbers = OutPort(list[int])

        async def run(self) -> None:
            await self.out_numbers.send([1])

    class Relay(Summer):
        out_numbers = OutPort(list[int])

        async def on_drained(self) -> None:
            await trio.sleep(1)
            await super().on_drained()
            await self.out_numbers.send([self.sum])

    members = pool(Summer, lines, size=2).options(name="members")
    tree = supervisor(child(Few), child(Relay, lines), members, wires=[Few.out_numbers >> Relay.in_numbers])
    async with open_system(tree) as system:
        await system.ref("root/supervisor/members", Summer).send(Summer.in_numbers, [5])
        await trio.sleep(1.5)  # the relay is draining

    assert sorted(lines) == ["summed up: 0", "summed up: 1", "summed up: 5"]


async def test_what_cannot_be_worked_off_in_the_shutdown_time_becomes_dead_letters() -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Slow, lines, 2.0).options(shutdown=5.0))) as system:
        for number in range(4):
            await system.ref(Slow).send(Slow.in_number, number)
        began = trio.current_time()

    assert trio.current_time() - began == 5.0
    assert lines == ["slow did 0", "slow did 1", "slow stopped: killed"]
    assert [(letter.message, letter.reason) for letter in await system.dead_letters.inspect()] == [
        (2, DeadLetterReason.SHUTDOWN),
        (3, DeadLetterReason.SHUTDOWN),
    ]
    system.ledger().check()


async def test_each_actor_has_its_own_shutdown_time() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Slow, lines, 100.0).options(name="stuck", shutdown=1.0),
        child(Slow, lines, 4.0).options(name="patient", shutdown=10.0),
    )

    async with open_system(tree) as system:
        for name in ("stuck", "patient"):
            await system.ref(f"root/supervisor/{name}", Slow).send(Slow.in_number, 1)
        began = trio.current_time()

    assert lines == ["patient did 1", "patient stopped: shutdown", "stuck stopped: killed"]
    assert trio.current_time() - began == 4.0


async def test_an_actor_with_infinite_shutdown_time_is_waited_for() -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Slow, lines, 1e6).options(shutdown=Shutdown.INFINITY))) as system:
        await system.ref(Slow).send(Slow.in_number, 1)

    assert lines == ["slow did 1", "slow stopped: shutdown"]


async def test_an_actor_with_infinite_shutdown_time_ends_when_the_block_is_cancelled() -> None:
    with trio.move_on_after(60) as scope:
        async with open_system(supervisor(child(Slow, [], 1e6).options(shutdown=Shutdown.INFINITY))) as system:
            await system.ref(Slow).send(Slow.in_number, 1)

    assert scope.cancelled_caught
    assert trio.current_time() < 1e6
    assert system.ledger().dead_lettered_by == {DeadLetterReason.SHUTDOWN: 1}


async def test_an_exception_in_the_block_comes_out_as_it_is_and_the_actors_stop_at_once() -> None:
    lines: list[str] = []
    problem = LookupError("where is it?")

    with pytest.raises(LookupError) as caught:
        async with open_system(supervisor(child(Slow, lines))) as system:
            for number in range(3):
                await system.ref(Slow).send(Slow.in_number, number)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            raise problem

    assert caught.value is problem
    assert trio.current_time() == began
    assert lines == ["slow stopped: killed"]
    assert system.ledger().dead_lettered_by == {DeadLetterReason.SHUTDOWN: 3}
    system.ledger().check()


async def test_a_cancel_of_the_block_goes_on_and_the_actors_stop_at_once() -> None:
    after: list[str] = []

    with trio.move_on_after(5) as scope:
        async with open_system(supervisor(child(Slow, [], 100.0))) as system:
            await system.ref(Slow).send(Slow.in_number, 1)
            await trio.sleep(1000)
        after.append("went on")

    assert scope.cancelled_caught
    assert after == []
    assert system.ledger().dead_lettered_by == {DeadLetterReason.SHUTDOWN: 1}


async def test_a_group_raised_in_the_block_is_not_wrapped_again() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(supervisor(child(Slow, []))), trio.open_nursery():
            raise LookupError

    assert [type(each) for each in caught.value.exceptions] == [LookupError]


async def test_an_on_stop_that_hangs_does_not_hold_up_a_cancel() -> None:
    class Hanging(Actor):
        async def on_stop(self, reason: ExitReason) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        async with open_system(supervisor(child(Hanging).options(shutdown=Shutdown.INFINITY))):
            pass

    assert scope.cancelled_caught


async def test_an_on_stop_that_hangs_while_an_actor_stops_the_system_does_not_hold_up_a_cancel() -> None:
    class Hanging(Actor):
        @in_port
        async def in_stop(self, _: None) -> None:
            await self.system.stop()

        async def on_stop(self, reason: ExitReason) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        async with open_system(supervisor(child(Hanging).options(shutdown=Shutdown.INFINITY))) as system:
            await system.ref(Hanging).send(Hanging.in_stop, None)
            await system.wait()

    assert scope.cancelled_caught


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["handler", "run", "on_start", "on_stop"])
async def test_what_is_no_failure_ends_the_system_and_comes_out_as_it_is(where: str, raised: Callable[[], BaseException]) -> None:
    class Interrupted(Actor):
        def __init__(self) -> None:
            self.restarted = False

        async def on_start(self) -> None:
            if where == "on_start" and Interrupted.begun:
                raise raised()
            Interrupted.begun = True

        async def run(self) -> None:
            if where == "run":
                raise raised()

        @in_port
        def in_go(self, _: None) -> None:
            if where == "handler":
                raise raised()
            raise KeyError

        async def on_stop(self, reason: ExitReason) -> None:
            if where == "on_stop":
                raise raised()

        begun = False

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        async with open_system(supervisor(child(Interrupted))) as system:
            await system.ref(Interrupted).send(Interrupted.in_go, None)
            await trio.sleep_forever()

    system.ledger().check()


async def test_a_system_that_is_opened_where_all_is_cancelled_already_ends() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_system(supervisor(child(Ticker, []), name="top")):
            await trio.sleep(1)

    assert scope.cancelled_caught
