"""A running system: what can be asked of it, what it tells, and how it is stopped."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    DeadLetterReason,
    Ledger,
    LedgerImbalance,
    PortCounts,
    SpecError,
    SupervisionError,
    SupervisorSpec,
    TransientError,
    UnknownActor,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ActorStarted, ActorStopped, ChildExited, Event, SupervisorStarted
from tests.runs import run_inside
from tests.ticking import Slow, Ticker
from tests.trees import Fault, Scene, Worker, crash, ref, worker


async def test_a_tree_that_gives_up_cancels_the_block_and_raises_its_cause() -> None:
    scene = Scene()

    with pytest.raises(SupervisionError, match="root/top gave up, and nobody is left to recover it: root/top/w: Bug") as caught:
        async with open_system(supervisor(worker(scene, "w"), name="top", max_restarts=0)) as system:
            await ref(system, "top/w").send(Worker.in_fault, Fault(9))
            await trio.sleep_forever()

    assert type(caught.value.__cause__).__name__ == "Bug"


async def test_one_tree_cannot_run_twice_at_once() -> None:
    tree = supervisor(worker(Scene(), "w"), name="top")

    async with open_system(tree):
        with pytest.raises(SpecError, match="supervisor 'top' is running already: wait for that run to end, or make another tree"):
            async with open_system(tree):
                pytest.fail("the block began")


async def test_a_tree_may_run_again_when_its_run_is_over() -> None:
    tree = supervisor(worker(Scene(), "w"), name="top")

    for _ in range(2):
        async with open_system(tree) as system:
            assert ref(system, "top/w").is_alive


async def test_a_single_child_is_a_tree() -> None:
    lines: list[str] = []

    async with open_system(child(Slow, lines)) as system:
        await system.ref("root/supervisor/slow", Slow).send(Slow.in_number, 1)

    assert lines == ["slow did 1", "slow stopped: shutdown"]


async def test_settle_waits_until_nothing_is_queued_or_in_hand() -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Slow, lines))) as system:
        for number in range(3):
            await system.ref(Slow).send(Slow.in_number, number)
        await system.settle()

        assert lines == ["slow did 0", "slow did 1", "slow did 2"]
        assert (system.ledger().queued, system.ledger().in_flight) == (0, 0)


async def test_settle_waits_for_a_retry() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await ref(system, "top/w").send(Worker.in_fault, Fault(2, lambda: TransientError("later")))
        await system.settle()

        assert system.ledger().processed == 1


async def test_settle_does_not_wait_for_what_is_queued_at_a_stopped_actor() -> None:
    async with open_system(supervisor(child(Slow, [], 2.0))) as system:
        for number in range(3):
            await system.ref(Slow).send(Slow.in_number, number)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.settle)
            await wait_all_tasks_blocked()
            await system.supervisor("root/supervisor").stop_child("slow")

        assert system.ledger().queued == 2


async def test_wait_ends_when_nothing_can_happen_any_more() -> None:
    lines: list[str] = []

    class Once(Slow):
        async def on_start(self) -> None:
            self.after(30, Once.in_number, 1)

    async with open_system(supervisor(child(Once, lines))) as system:
        began = trio.current_time()
        await system.wait()

        assert trio.current_time() - began == 31


async def test_stop_from_outside_stops_the_tree_in_order() -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Slow, lines))) as system:
        await system.ref(Slow).send(Slow.in_number, 1)
        await system.stop()
        assert lines == ["slow did 1", "slow stopped: shutdown"]

        await system.ref(Slow).send(Slow.in_number, 2)
        await system.stop()

    assert lines == ["slow did 1", "slow stopped: shutdown"]
    assert system.ledger().dead_lettered_by == {DeadLetterReason.RECEIVER_STOPPED: 1}


class Ender(Slow):
    """Stops the whole system at a word."""

    @in_port
    async def in_end(self, _: None) -> None:
        await self.system.stop()
        self.lines.append("asked for the end")


async def test_stop_from_inside_an_actor_stops_the_tree_in_order() -> None:
    lines: list[str] = []

    async with open_system(supervisor(child(Ender, lines))) as system:
        await system.ref(Ender).send(Ender.in_end, None)
        await system.ref(Ender).send(Ender.in_number, 1)
        await system.wait()
        assert lines == ["asked for the end", "ender did 1", "ender stopped: shutdown"]


async def test_stop_from_inside_an_actor_ends_a_run_that_would_be_kept() -> None:
    class Countdown(Ender):
        async def on_start(self) -> None:
            self.after(30, Countdown.in_end, None)

    report = await run_inside(supervisor(child(Countdown, [])), keep=True)

    assert report.outcome == "completed"
    assert report.duration == 30


async def test_no_source_begins_while_the_system_is_being_stopped() -> None:
    lines: list[str] = []

    class Failing(Ticker):
        @in_port
        async def in_fault(self, fault: Fault) -> None:
            await trio.sleep(2)
            if fault.times:
                fault.times -= 1
                raise fault.error()

    async with open_system(supervisor(child(Failing, lines))) as system:
        await system.ref(Failing).send(Failing.in_fault, Fault())
        await wait_all_tasks_blocked()

    assert lines.count("source ended") == 1
    assert system.ledger().processed == 1


async def test_events_of_the_wanted_types_come_in_order_until_the_system_ends() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        events = system.events(ChildExited, ActorStarted, ActorStopped)
        await crash(system, "top/w")

    assert [type(each).__name__ async for each in events] == ["ActorStopped", "ChildExited", "ActorStarted", "ActorStopped"]


async def test_events_without_a_type_are_all_events() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        events = system.events()
        await crash(system, "top/w")

    seen = [each async for each in events]
    assert all(isinstance(each, Event) for each in seen)
    assert {"HandlerFailed", "ChildExited", "SupervisorStopped"} <= {type(each).__name__ for each in seen}


async def test_events_end_when_the_system_has_been_stopped_within_its_block() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        early = system.events(SupervisorStarted)
        await system.stop()
        late = system.events()

        assert [each async for each in early] == []
        assert [each async for each in late] == []


async def test_a_subscription_can_be_closed() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        events = system.events(ActorStarted)
        events.close()
        await crash(system, "top/w")

        assert [each async for each in events] == []


async def test_a_subscriber_that_lags_too_far_behind_loses_the_oldest_and_knows() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        await system.supervisor("root/top").stop_child("w")
        events = system.events()
        for number in range(10_003):
            ref(system, "top/w").send_nowait(Worker.in_note, str(number))

        assert (await anext(events)).letter.message == "3"  # type: ignore[attr-defined]
        assert events.missed == 3


async def test_a_snapshot_is_plain_data() -> None:
    lines: list[str] = []
    tree = supervisor(child(Slow, lines), child(Ticker, lines), wires=[Ticker.out_number >> Slow.in_number], name="top")

    async with open_system(tree) as system:
        await wait_all_tasks_blocked()
        snapshot = json.loads(json.dumps(system.snapshot()))

    (top,) = snapshot["children"]
    slow, ticker = top["children"]
    assert (top["path"], top["kind"], top["status"]) == ("root/top", "supervisor", "running")
    assert (slow["path"], slow["kind"], slow["incarnation"], slow["status"]) == ("root/top/slow", "actor", 1, "running")
    assert slow["ports"]["in_number"]["in_flight"] == 1
    assert ticker["wires"] == {"out_number": ["root/top/slow.in_number"]}


async def test_supervisors_are_found_by_their_path() -> None:
    async with open_system(supervisor(supervisor(worker(Scene(), "w"), name="inner"), name="top")) as system:
        assert [each.name for each in system.supervisor("root/top/inner").which_children()] == ["w"]
        with pytest.raises(UnknownActor, match="there is no supervisor 'root/top/iner'; there are: root/top/inner, "):
            system.supervisor("root/top/iner")


def empty() -> SupervisorSpec:
    """A tree without anything in it."""
    return supervisor(name="empty")


async def test_an_empty_tree_runs() -> None:
    report = await run_inside(empty())

    assert report.outcome == "completed"


@pytest.mark.parametrize(
    "counts",
    [
        PortCounts(accepted=1),
        PortCounts(accepted=1, skipped=1),
        PortCounts(accepted=1, dropped=1),
        PortCounts(accepted=1, dead_lettered=1, dead_lettered_by={"poison": 2}),
    ],
)
def test_books_that_do_not_balance_or_lack_a_reason_are_refused_with_the_port(counts: PortCounts) -> None:
    ledger = Ledger(ports={"root/bar/till.in_order": counts})

    with pytest.raises(LedgerImbalance, match=r"^root/bar/till\.in_order: "):
        ledger.check()


async def test_the_ledger_has_every_port_of_every_actor_from_the_beginning() -> None:
    async with open_system(supervisor(worker(Scene(), "w"), name="top")) as system:
        ports = system.ledger().ports

        assert ports.keys() == {f"root/top/w.in_{name}" for name in ("fault", "note", "finish", "sleep")}
        assert list(ports.values()) == [PortCounts()] * 4
