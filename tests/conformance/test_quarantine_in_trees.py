"""Children that are set aside, in trees: groups, nested supervisors, watchers, askers, senders, and who administers them."""

from __future__ import annotations

from typing import ClassVar

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    AskFailed,
    DeadLetterReason,
    Down,
    ExitReason,
    OnExhausted,
    OutPort,
    Restart,
    SpecError,
    Strategy,
    SupervisionError,
    SupervisorSpec,
    System,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ChildQuarantined, SupervisorGaveUp
from tests.runs import run_inside

ASIDE = OnExhausted.QUARANTINE
BUGS = {-1: KeyError, -2: IndexError, -3: ZeroDivisionError}


class Fragile(Actor):
    """Crashes at numbers below zero, while it may; starts, while it may."""

    crashes: ClassVar[bool] = True
    starts: ClassVar[bool] = True

    def __init__(self, seen: list[int] | None = None) -> None:
        self.seen = [] if seen is None else seen

    async def on_start(self) -> None:
        if not Fragile.starts:
            raise KeyError("does not start")

    @in_port(capacity=3)
    async def in_number(self, number: int) -> int:
        if number < 0 and Fragile.crashes:
            raise BUGS[number](number)
        self.seen.append(number)
        return number


class Watcher(Actor):
    """Watches a child, its restarts too."""

    def __init__(self, downs: list[tuple[str, ExitReason]], path: str) -> None:
        self.downs = downs
        self.watched = path

    async def on_start(self) -> None:
        self.watch(self.system.ref(self.watched), Watcher.in_down, restarts=True)

    @in_port
    def in_down(self, down: Down) -> None:
        self.downs.append((down.ref.path, down.reason))


@pytest.fixture(autouse=True)
def crashing() -> None:
    Fragile.crashes = Fragile.starts = True


def tree(seen: list[int], max_restarts: int = 0, strategy: Strategy = Strategy.ONE_FOR_ONE) -> SupervisorSpec:
    """A fragile child, and another."""
    first, second = child(Fragile, seen).options(name="fragile"), child(Fragile).options(name="other")
    return supervisor(first, second, name="tree", max_restarts=max_restarts, within=60, on_exhausted=ASIDE, strategy=strategy)


async def set_aside(system: System, path: str = "root/tree/fragile") -> None:
    """Makes a child crash so that it is set aside."""
    await system.ref(path, Fragile).send(Fragile.in_number, -1)
    await trio.testing.wait_all_tasks_blocked()
    above, _, name = path.rpartition("/")
    assert name in [each.name for each in system.supervisor(above).which_children() if each.is_quarantined]


async def test_an_ask_that_waits_fails_at_once_and_so_does_one_that_comes() -> None:
    seen: list[int] = []

    async with open_system(tree(seen)) as system, trio.open_nursery() as nursery:
        ref = system.ref("root/tree/fragile", Fragile)

        async def ask(number: int) -> None:
            with pytest.raises(AskFailed) as caught:
                await ref.ask(Fragile.in_number, number, timeout=100)
            assert trio.current_time() == 0
            assert caught.value.error is not None

        await ref.send(Fragile.in_number, -1)
        for number in (1, 2):
            nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        assert system.supervisor("root/tree").which_children()[0].is_quarantined
        with pytest.raises(AskFailed, match="quarantined"):
            await ref.ask(Fragile.in_number, 3, timeout=100)
        assert trio.current_time() == 0
        system.ledger().check()

        Fragile.crashes = False
        await system.supervisor("root/tree").release("fragile")
        await system.settle()

        assert seen == [-1]  # nobody waits for the answers to the others any more
        assert system.ledger().skipped_by in ({}, {"asker_gone": 1}, {"asker_gone": 2})


async def test_senders_fill_the_mailbox_and_then_wait_until_it_is_released() -> None:
    seen: list[int] = []

    async with open_system(tree(seen)) as system:
        await set_aside(system)
        ref = system.ref("root/tree/fragile", Fragile)

        async def send_all() -> None:
            for number in range(10):
                await ref.send(Fragile.in_number, number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            await trio.sleep(100)
            assert system.ledger().queued == 3
            system.ledger().check()
            Fragile.crashes = False
            await system.supervisor("root/tree").release("fragile")
        await system.settle()

        assert seen == [-1, *range(10)]


async def test_settle_and_wait_do_not_wait_for_it() -> None:
    async with open_system(tree([])) as system:
        await set_aside(system)
        await system.settle()
        await system.wait()

        assert system.ledger().queued == 1
        assert system.ref("root/tree/fragile").is_alive
        assert await system.ref("root/tree/other", Fragile).ask(Fragile.in_number, 1) == 1


async def test_a_watcher_is_told_once() -> None:
    downs: list[tuple[str, ExitReason]] = []
    watched = supervisor(tree([]), child(Watcher, downs, "root/top/tree/fragile"), name="top")

    async with open_system(watched) as system:
        await set_aside(system, "root/top/tree/fragile")

        assert downs == [("root/top/tree/fragile", ExitReason.FAILED)]


async def test_a_group_goes_on_without_it_and_is_restarted_without_it() -> None:
    async with open_system(tree([], strategy=Strategy.ONE_FOR_ALL)) as system:
        await set_aside(system)
        children = system.supervisor("root/tree").which_children()
        assert [(each.is_running, each.is_quarantined) for each in children] == [(False, True), (True, False)]

        await set_aside(system, "root/tree/other")

        assert system.supervisor("root/tree").count_children().active == 0


@pytest.mark.parametrize("act", ["stop", "delete", "restart"])
async def test_it_can_be_stopped_deleted_and_restarted(act: str) -> None:
    seen: list[int] = []

    async with open_system(tree(seen)) as system:
        above, ref = system.supervisor("root/tree"), system.ref("root/tree/fragile", Fragile)
        await set_aside(system)
        Fragile.crashes = False
        if act == "restart":
            await above.restart_child("fragile")
            await system.settle()
            assert seen == [-1]
            assert not above.which_children()[0].is_quarantined
        elif act == "delete":
            await above.delete_child("fragile")
            (letter,) = await system.dead_letters.inspect()
            assert (letter.message, letter.reason) == (-1, DeadLetterReason.RECEIVER_STOPPED)
        else:
            await above.stop_child("fragile")
            assert not above.which_children()[0].is_quarantined
            assert not ref.is_alive
            await ref.send(Fragile.in_number, 5)
            assert [letter.message for letter in await system.dead_letters.inspect()] == [5]
            await above.restart_child("fragile")
            await system.settle()
            assert seen == [-1]
        system.ledger().check()


async def test_stopping_one_that_is_to_be_released_later_calls_that_off() -> None:
    seen: list[int] = []

    async with open_system(tree(seen)) as system:
        await set_aside(system)
        Fragile.crashes = False
        await system.supervisor("root/tree").release("fragile", after=10)
        await system.supervisor("root/tree").stop_child("fragile")
        await trio.sleep(60)

        assert not system.supervisor("root/tree").which_children()[0].is_running
        assert seen == []


async def test_a_release_that_fails_to_start_leaves_it_aside_and_says_why() -> None:
    seen: list[int] = []

    async with open_system(tree(seen)) as system:
        above, events = system.supervisor("root/tree"), system.events(ChildQuarantined)
        await set_aside(system)
        Fragile.crashes = Fragile.starts = False
        with pytest.raises(SupervisionError, match="root/tree/fragile could not be started: KeyError: 'does not start'"):
            await above.release("fragile")
        assert above.which_children()[0].is_quarantined
        assert system.ledger().queued == 1

        await above.release("fragile", after=5)
        await trio.sleep(6)
        assert above.which_children()[0].is_quarantined
        Fragile.starts = True
        await above.release("fragile")
        await system.settle()

        assert seen == [-1]
    assert len([each async for each in events]) == 3


async def test_after_three_messages_it_is_trusted_again() -> None:
    async with open_system(tree([], max_restarts=1)) as system:
        above, ref = system.supervisor("root/tree"), system.ref("root/tree/fragile", Fragile)
        for number in (-1, -2):  # the first costs a restart, and is poison; the second would cost another
            await ref.send(Fragile.in_number, number)
        await system.wait()
        assert above.which_children()[0].is_quarantined
        Fragile.crashes = False
        await above.release("fragile")
        for number in (1, 2):
            await ref.send(Fragile.in_number, number)
        await system.settle()  # with the second, three
        Fragile.crashes = True
        await trio.sleep(61)
        await ref.send(Fragile.in_number, -3)
        await system.wait()

        assert system.ledger().dead_lettered_by == {"poison": 2}  # restarted, as any other
        assert above.which_children()[0].is_running


async def test_a_supervisor_that_gave_up_is_set_aside_with_all_below_it() -> None:
    seen: list[int] = []
    inner = supervisor(child(Fragile, seen), child(Fragile).options(name="second"), name="inner", max_restarts=0)

    async with open_system(supervisor(inner, name="top", max_restarts=0, on_exhausted=ASIDE)) as system:
        gave_up = system.events(SupervisorGaveUp)
        ref, second = system.ref("root/top/inner/fragile", Fragile), system.ref("root/top/inner/second", Fragile)
        await ref.send(Fragile.in_number, -1)
        await system.wait()
        await second.send(Fragile.in_number, 2)
        await system.settle()
        assert (await anext(gave_up)).path == "root/top/inner"
        (info,) = system.supervisor("root/top").which_children()
        assert (info.is_running, info.is_quarantined) == (False, True)
        assert system.ledger().queued == 2
        with pytest.raises(AskFailed, match="quarantined"):
            await second.ask(Fragile.in_number, 3)

        Fragile.crashes = False
        await system.supervisor("root/top").release("inner")
        await system.settle()

        assert seen == [-1]
        assert system.ledger().processed == 2
        system.ledger().check()


async def test_a_restart_of_its_supervisor_brings_it_back() -> None:
    seen: list[int] = []

    async with open_system(supervisor(tree(seen), name="top")) as system:
        await set_aside(system, "root/top/tree/fragile")
        Fragile.crashes = False
        await system.supervisor("root/top").stop_child("tree")
        await system.supervisor("root/top").restart_child("tree")
        await system.settle()

        assert seen == [-1]
        assert not system.supervisor("root/top/tree").which_children()[0].is_quarantined


async def test_streams_into_it_do_not_hang_a_run() -> None:
    class Source(Actor):
        out_number = OutPort(int)

        async def run(self) -> None:
            for number in (-1, 1, 2):
                await self.out_number.send(number)

    spec = child(Fragile).options(max_restarts=0, within=60, on_exhausted=ASIDE)

    report = await run_inside(supervisor(child(Source), spec, wires=[Source.out_number >> Fragile.in_number]))

    assert report.outcome == "completed, but 3 messages could not be handled any more"
    assert report.ledger.dead_lettered_by == {"shutdown": 3}
    report.ledger.check()


async def test_the_choice_of_a_child_goes_before_that_of_its_supervisor() -> None:
    spec = supervisor(child(Fragile).options(on_exhausted=OnExhausted.ESCALATE), name="tree", max_restarts=0, on_exhausted=ASIDE)

    with pytest.raises(SupervisionError):
        async with open_system(spec) as system:
            await system.ref(Fragile).send(Fragile.in_number, -1)
            await trio.sleep_forever()


async def test_a_temporary_child_is_never_set_aside() -> None:
    spec = supervisor(child(Fragile).options(restart=Restart.TEMPORARY), name="tree", max_restarts=0, on_exhausted=ASIDE)

    async with open_system(spec) as system:
        await system.ref(Fragile).send(Fragile.in_number, -1)
        await system.wait()

        assert system.supervisor("root/tree").which_children() == []


async def test_what_runs_cannot_be_released() -> None:
    async with open_system(tree([])) as system:
        with pytest.raises(SpecError, match="root/tree/other is not quarantined"):
            await system.supervisor("root/tree").release("other", after=3)
        with pytest.raises(SpecError, match="after = -1"):
            await system.supervisor("root/tree").release("other", after=-1)
