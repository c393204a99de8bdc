"""Dead letters that are sent again: claimed meanwhile, gone only when their message has been handled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    DeadLetter,
    DeadLetterQueue,
    DeadLetterReason,
    OverflowStrategy,
    Shutdown,
    SupervisorSpec,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import DeadLettersEvicted, DeadLettersNearlyFull, MessageDeadLettered

PORT = "root/top/gate.in_guest"


class Gate(Actor):
    """Lets guests in, once it is open; each takes a second."""

    opens: ClassVar[bool] = False

    def __init__(self, inside: list[str]) -> None:
        self.inside = inside

    async def let_in(self, guest: str, error: type[Exception] = ValidationError) -> None:
        """Takes its time, or refuses."""
        if not Gate.opens:
            raise error(f"no {guest}")
        await trio.sleep(1)
        self.inside.append(guest)

    @in_port
    async def in_guest(self, guest: str) -> None:
        await self.let_in(guest)

    @in_port
    async def in_patient(self, guest: str) -> None:
        await self.let_in(guest, TransientError)

    @in_port(capacity=2)
    async def in_blocks(self, guest: str) -> None:
        await self.let_in(guest)

    @in_port(capacity=1, overflow=OverflowStrategy.DROP_OLDEST)
    async def in_drops_oldest(self, guest: str) -> None:
        await self.let_in(guest)

    @in_port(capacity=1, overflow=OverflowStrategy.DROP_NEWEST)
    async def in_drops_newest(self, guest: str) -> None:
        await self.let_in(guest)

    @in_port(capacity=1, block_timeout=1.5)
    async def in_gives_up(self, guest: str) -> None:
        await self.let_in(guest)


@pytest.fixture(autouse=True)
def closed() -> None:
    Gate.opens = False


def tree(inside: list[str], shutdown: float | Shutdown = 60.0) -> SupervisorSpec:
    """One gate."""
    return supervisor(child(Gate, inside).options(shutdown=shutdown), name="top")


async def refuse(system: System, *guests: str, port: Any = Gate.in_guest) -> ActorRef[Gate]:
    """Makes dead letters of these guests."""
    ref = system.ref(Gate)
    for guest in guests:
        await ref.send(port, guest)
        await system.settle()
    assert len(system.dead_letters) == len(guests)
    return ref


def is_about(guest: str, letter: DeadLetter) -> bool:
    """Whether it is this guest's letter."""
    return bool(letter.message == guest)


async def messages(letters: DeadLetterQueue, filter: Callable[[DeadLetter], bool] | None = None) -> list[str]:
    """The messages of dead letters."""
    return [letter.message for letter in await letters.inspect(filter)]


async def test_a_letter_stays_until_its_message_has_been_handled() -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system:
        await refuse(system, "Ada", "Bo")
        Gate.opens = True
        assert await system.dead_letters.reprocess() == 2
        await trio.sleep(0.5)
        assert await messages(system.dead_letters) == ["Ada", "Bo"]
        await trio.sleep(1)
        assert await messages(system.dead_letters) == ["Bo"]
        await system.settle()

        assert (inside, len(system.dead_letters)) == (["Ada", "Bo"], 0)
        system.ledger().check()


async def test_a_letter_that_was_sent_again_is_neither_sent_twice_nor_discarded() -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system:
        await refuse(system, "Ada")
        Gate.opens = True
        assert await system.dead_letters.reprocess() == 1
        assert await system.dead_letters.reprocess(force=True) == 0
        assert await system.dead_letters.discard(lambda _: True, "enough") == 0
        await system.settle()

        assert inside == ["Ada"]
        assert len(system.dead_letters) == 0


async def test_a_letter_that_fails_again_is_back_with_its_attempts_raised_and_its_failures_kept() -> None:
    async with open_system(tree([]), seed=1) as system:
        await refuse(system, "Ada", port=Gate.in_patient)
        (before,) = await system.dead_letters.inspect()
        told = system.events(MessageDeadLettered)
        await system.dead_letters.reprocess()
        await system.settle()
        (after,) = await system.dead_letters.inspect()

        assert (before.attempts, before.reprocessings, len(before.failures)) == (4, 0, 4)
        assert (after.attempts, after.reprocessings, len(after.failures)) == (8, 1, 8)
        assert after.failures[:4] == before.failures
        assert (after.id, after.dead_since, after.reason) == (before.id, before.dead_since, DeadLetterReason.RETRIES_EXHAUSTED)
        assert after.error is after.failures[-1]
        assert (await anext(told)).letter is after
        await system.dead_letters.reprocess()
        await system.settle()
        (last,) = await system.dead_letters.inspect()
        assert (last.attempts, len(last.failures)) == (12, 10)
        system.ledger().check()


async def test_after_three_reprocessings_a_letter_is_left_alone_unless_forced() -> None:
    async with open_system(tree([])) as system:
        await refuse(system, "Ada")
        sent: list[int] = []
        for _ in range(4):
            sent.append(await system.dead_letters.reprocess())
            await system.settle()
        sent.append(await system.dead_letters.reprocess(force=True))
        await system.settle()

        (letter,) = await system.dead_letters.inspect()
        assert sent == [1, 1, 1, 0, 1]
        assert (letter.reprocessings, letter.attempts) == (4, 5)
        assert system.ledger().accepted == 5


async def test_the_rate_spaces_what_is_sent() -> None:
    times: list[float] = []

    class Clock(Actor):
        @in_port
        def in_tick(self, number: int) -> None:
            times.append(trio.current_time())

    async with open_system(child(Clock)) as system:
        for number in range(5):
            await system.dead_letters.add(number, "root/supervisor/clock.in_tick", DeadLetterReason.EXPIRED)
        assert await system.dead_letters.reprocess(rate=2, max_messages=4) == 4
        await system.settle()

    assert times == [0, 0.5, 1.0, 1.5]


async def test_two_who_reprocess_at_a_rate_send_no_letter_twice() -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system:
        await refuse(system, *"abcdef")
        Gate.opens = True
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(system.dead_letters.reprocess, rate=0.5))
        await system.settle()

        assert sorted(inside) == list("abcdef")
        assert len(system.dead_letters) == 0


async def test_a_letter_discarded_before_its_turn_is_not_sent() -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system, trio.open_nursery() as nursery:
        await refuse(system, *"abc")
        Gate.opens = True
        nursery.start_soon(partial(system.dead_letters.reprocess, rate=0.1))
        await trio.sleep(5)
        await system.dead_letters.discard(lambda letter: letter.message == "b", "not wanted")
        await trio.sleep(30)

        assert inside == ["a", "c"]


async def test_letters_are_paged() -> None:
    letters = DeadLetterQueue()
    for number in range(10):
        await letters.add(f"guest {number}", PORT, DeadLetterReason.EXPIRED if number % 2 else DeadLetterReason.OVERFLOW)

    def expired(letter: DeadLetter) -> bool:
        return letter.reason is DeadLetterReason.EXPIRED

    pages = [[letter.message for letter in await letters.inspect(expired, offset=offset, limit=2)] for offset in (0, 2, 4, 6)]
    assert pages == [["guest 1", "guest 3"], ["guest 5", "guest 7"], ["guest 9"], []]
    assert len(await letters.inspect(offset=8)) == 2
    assert await letters.inspect(limit=0) == []


async def test_eviction_takes_no_letter_that_was_sent_again() -> None:
    inside: list[str] = []

    async with open_system(tree(inside), dead_letters=DeadLetterQueue(max_size=2)) as system:
        told = system.events(DeadLettersEvicted)
        await refuse(system, "Ada", "Bo")
        Gate.opens = True
        await system.dead_letters.reprocess(lambda letter: letter.message == "Ada")
        await system.dead_letters.add("Cy", PORT, DeadLetterReason.EXPIRED)
        assert await messages(system.dead_letters) == ["Ada", "Cy"]
        await system.settle()

        assert await messages(system.dead_letters) == ["Cy"]
        assert inside == ["Ada"]
    assert [each.evicted async for each in told] == [1]


async def test_the_alert_at_80_percent_comes_once_for_each_crossing() -> None:
    async with open_system(tree([]), dead_letters=DeadLetterQueue(max_size=10)) as system:
        letters, told = system.dead_letters, system.events(DeadLettersNearlyFull)
        for number in range(15):
            await letters.add(number, PORT, DeadLetterReason.EXPIRED)
        await letters.discard(lambda letter: letter.message == 5, "one less")  # 90 %
        await letters.add(16, PORT, DeadLetterReason.EXPIRED)
        await letters.discard(lambda letter: letter.message < 12, "below 70 %")
        for number in range(9):
            await letters.add(number, PORT, DeadLetterReason.EXPIRED)

    assert [(each.count, each.max_size, each.level) async for each in told] == [(8, 10, 50), (8, 10, 50)]


@pytest.mark.parametrize("shutdown", [0.5, Shutdown.KILL])
async def test_letters_that_a_system_could_not_handle_before_its_end_are_letters_still(shutdown: float | Shutdown) -> None:
    letters, inside = DeadLetterQueue(), list[str]()

    async with open_system(tree(inside, shutdown), dead_letters=letters) as first:
        await refuse(first, "Ada", "Bo")
        Gate.opens = True
        assert await letters.reprocess() == 2
        await trio.testing.wait_all_tasks_blocked()

    first.ledger().check()
    assert inside == []
    assert await messages(letters) == ["Ada", "Bo"]
    assert {letter.reason for letter in await letters.inspect()} == {DeadLetterReason.SHUTDOWN}

    async with open_system(tree(inside), dead_letters=letters) as second:
        assert await letters.reprocess() == 2
        await second.settle()
    assert inside == ["Ada", "Bo"]
    assert len(letters) == 0


async def test_letters_of_an_actor_that_is_deleted_are_letters_again() -> None:
    async with open_system(tree([], Shutdown.KILL)) as system:
        await refuse(system, "Ada", "Bo")
        Gate.opens = True
        await system.dead_letters.reprocess()
        await trio.testing.wait_all_tasks_blocked()
        await system.supervisor("root/top").stop_child("gate")
        assert await system.dead_letters.reprocess() == 0  # they wait at the stopped actor
        await system.supervisor("root/top").delete_child("gate")

        assert await messages(system.dead_letters) == ["Ada", "Bo"]
        assert {letter.reason for letter in await system.dead_letters.inspect()} == {DeadLetterReason.RECEIVER_STOPPED}
        system.ledger().check()


async def test_a_letter_whose_sending_is_cancelled_may_be_sent_later() -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system:
        await refuse(system, *"abcdef", port=Gate.in_blocks)
        Gate.opens = True
        with trio.move_on_after(0.5):
            await system.dead_letters.reprocess()
            await trio.sleep_forever()
        await system.settle()
        assert inside == ["a", "b", "c"]

        assert await system.dead_letters.reprocess() == 3
        await system.settle()

        assert inside == list("abcdef")
        system.ledger().check()


@pytest.mark.parametrize(
    ("port", "kept"), [(Gate.in_drops_oldest, ["a", "c"]), (Gate.in_drops_newest, ["a", "b"]), (Gate.in_gives_up, ["a", "b", "c"])]
)
async def test_a_letter_that_finds_no_room_is_a_letter_still(port: Any, kept: list[str]) -> None:
    inside: list[str] = []

    async with open_system(tree(inside)) as system:
        await refuse(system, *"abc", port=port)
        Gate.opens = True
        async with trio.open_nursery() as nursery:
            for guest in "abc":
                nursery.start_soon(system.dead_letters.reprocess, partial(is_about, guest))
                await trio.testing.wait_all_tasks_blocked()
        await system.settle()
        assert inside == kept
        assert await messages(system.dead_letters) == [guest for guest in "abc" if guest not in kept]

        await system.dead_letters.reprocess()
        await system.settle()

        assert sorted(inside) == list("abc")
        assert len(system.dead_letters) == 0
        system.ledger().check()


async def test_a_filter_that_fails_sends_nothing() -> None:
    def broken(letter: DeadLetter) -> bool:
        raise ZeroDivisionError

    async with open_system(tree([])) as system:
        await refuse(system, "Ada")
        with pytest.raises(ZeroDivisionError):
            await system.dead_letters.reprocess(broken)
        with pytest.raises(ZeroDivisionError):
            await system.dead_letters.discard(broken, "")

        assert len(system.dead_letters) == 1
        assert system.ledger().accepted == 1
