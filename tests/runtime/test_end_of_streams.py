"""The end of streams: who drains when, what closes then, and what becomes of a run that has nothing left to do."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from actorkit import (
    Actor,
    DeadLetterReason,
    OutPort,
    RecoveryAction,
    RecoveryPolicy,
    Restart,
    Rule,
    Strategy,
    child,
    in_port,
    open_system,
    pool,
    supervisor,
)
from actorkit.events import ActorDrained
from tests.pipelines import Doubler, Memory, Numbers, Sink, pipeline
from tests.runs import run_inside


async def test_a_finite_pipeline_ends_by_itself_from_upstream_down() -> None:
    lines: list[str] = []

    report = await run_inside(pipeline(lines))

    assert [line for line in lines if not line.startswith("stage stopped")] == ["0", "2", "4", "stage drained", "-1", "sink drained"]
    assert "stage stopped: normal" in lines
    assert report.outcome == "completed"
    assert report.ledger.processed == report.ledger.accepted == 7


async def test_drained_actors_without_an_unwired_in_port_exit() -> None:
    async with open_system(pipeline([])) as system:
        await system.wait()

        assert [each.is_running for each in system.supervisor("root/supervisor").which_children()] == [False, False, False]


async def test_a_drained_actor_with_an_unwired_in_port_stays_for_those_who_ask() -> None:
    lines: list[str] = []

    async with open_system(pipeline(lines, sink=Memory)) as system:
        await system.wait()

        assert "sink drained" in lines
        assert await system.ref(Memory).ask(Memory.in_how_many, None) == 3


async def test_an_actor_with_neither_run_nor_wired_in_ports_is_passive_and_not_drained_before_the_end() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Doubler, lines).options(name="stage"),
        child(Sink, lines).options(name="sink"),
        wires=[Doubler.out_number >> Sink.in_number],
    )

    async with open_system(tree) as system:
        await system.ref(Doubler).send(Doubler.in_number, 4)
        await system.wait()

        assert lines == ["8"]


async def test_at_the_end_of_a_run_ports_still_open_are_closed_from_upstream_down() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Sink, lines).options(name="sink"),
        child(Doubler, lines).options(name="stage"),
        wires=[Doubler.out_number >> Sink.in_number],
    )

    report = await run_inside(tree)

    assert lines.index("stage drained") < lines.index("-1") < lines.index("sink drained")
    assert report.outcome == "completed"


class Hop(Actor):
    """Sends on what it gets, less one, until nothing is left; its last word goes round as well."""

    out_number = OutPort(int)

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    @in_port
    async def in_number(self, number: int) -> None:
        self.lines.append(f"{self.name} got {number}")
        if number:
            await self.out_number.send(number - 1)

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")
        await self.out_number.send(2)


async def test_a_cycle_ends_as_one_and_what_its_last_words_lead_to_is_handled() -> None:
    lines: list[str] = []
    left, right = child(Hop, lines).options(name="left"), child(Hop, lines).options(name="right")
    wires = [
        left[Hop.out_number] >> right[Hop.in_number],
        right[Hop.out_number] >> left[Hop.in_number],
        Numbers.out_number >> left[Hop.in_number],
    ]

    report = await run_inside(supervisor(child(Numbers), left, right, wires=wires))

    assert lines.count("left drained") == lines.count("right drained") == 1
    assert lines.count("left got 2") == 2  # from the source, and from the right one's last word
    assert lines.count("left got 0") + lines.count("right got 0") == 5
    assert report.ledger.processed == report.ledger.accepted
    assert report.outcome == "completed"


async def test_a_child_that_is_gone_for_good_closes_its_wires() -> None:
    lines: list[str] = []

    class Leaver(Doubler):
        async def handle(self, number: int) -> None:
            if number == 1:
                self.stop()

    async with open_system(pipeline(lines, stage=Leaver)) as system:
        await system.wait()

    assert "sink drained" in lines
    assert "stage drained" not in lines


async def test_a_child_deleted_by_hand_closes_its_wires_but_one_only_stopped_does_not() -> None:
    lines: list[str] = []

    class Endless(Numbers):
        async def run(self) -> None:
            await trio.sleep_forever()

    async with open_system(pipeline(lines, source=Endless)) as system:
        above = system.supervisor("root/supervisor")
        await above.stop_child("endless")
        await system.wait()
        when_stopped = list(lines)
        await above.delete_child("endless")
        await system.wait()

    assert when_stopped == []
    assert "stage drained" in lines
    assert "sink drained" in lines


async def test_a_drained_actor_is_not_started_again_as_a_bystander() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Numbers, 3, lines),
        child(Memory, lines),
        strategy=Strategy.ONE_FOR_ALL,
        wires=[Numbers.out_number >> Memory.in_number],
        recovery=RecoveryPolicy(poison_after=1),
    )

    async with open_system(tree) as system:
        await system.wait()
        await system.ref(Memory).send(Memory.in_bug, "now")
        await system.wait()

        assert system.supervisor("root/supervisor").which_children()[0].incarnation == 1
    assert lines.count("run") == 1


async def test_run_does_not_start_again_when_a_source_fails_after_its_end() -> None:
    lines: list[str] = []

    class Answering(Numbers):
        @in_port
        def in_bug(self, _: None) -> None:
            raise KeyError

    async with open_system(supervisor(child(Answering, 3, lines))) as system:
        await system.wait()
        await system.ref(Answering).send(Answering.in_bug, None)
        await system.wait()

    assert lines == ["run"]


async def test_a_permanent_source_is_started_again_when_its_run_returns() -> None:
    lines: list[str] = []

    class Hourly(Numbers):
        async def run(self) -> None:
            await trio.sleep(3600)
            await super().run()

    tree = supervisor(
        child(Hourly, 1, lines).options(restart=Restart.PERMANENT), child(Sink, lines), wires=[Hourly.out_number >> Sink.in_number]
    )

    async with open_system(tree) as system:
        await trio.sleep(3600 * 3.5)
        assert system.ref(Hourly).is_alive
        assert lines.count("run") == 3
        assert "sink drained" not in lines


async def test_a_run_whose_failure_is_passed_over_has_ended() -> None:
    lines: list[str] = []

    class Failing(Numbers):
        async def run(self) -> None:
            await super().run()
            raise RuntimeError("at the end")

    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, exception=RuntimeError),))
    tree = supervisor(
        child(Failing, 2, lines).options(recovery=policy),
        child(Sink, lines).options(name="sink"),
        wires=[Failing.out_number >> Sink.in_number],
    )

    report = await run_inside(tree)

    assert lines == ["run", "0", "1", "sink drained"]
    assert report.restarts == 0


async def test_a_run_ends_although_messages_are_stuck_and_says_so() -> None:
    class Slow(Sink):
        @in_port
        async def in_number(self, number: int) -> None:
            await trio.sleep(5)

    class Early(Numbers):
        async def run(self) -> None:
            await super().run()
            await trio.sleep(1)
            await self.supervisor.stop_child("sink")

    tree = supervisor(child(Early), child(Slow, []).options(name="sink"), wires=[Early.out_number >> Slow.in_number])

    report = await run_inside(tree)

    assert report.outcome == "completed, but 2 messages could not be handled any more"
    assert report.ledger.dead_lettered_by == {DeadLetterReason.SHUTDOWN: 2}
    assert [letter.message for letter in report.dead_letters] == [1, 2]


async def test_streams_that_meet_drain_when_all_of_them_have_ended() -> None:
    lines: list[str] = []

    class Late(Numbers):
        async def run(self) -> None:
            await trio.sleep(30)
            await super().run()

    tree = supervisor(
        child(Numbers),
        child(Late),
        child(Sink, lines).options(name="sink"),
        wires=[Numbers.out_number >> Sink.in_number, Late.out_number >> Sink.in_number],
    )

    await run_inside(tree)

    assert lines == ["0", "1", "2", "0", "1", "2", "sink drained"]


async def test_the_end_of_a_stream_is_an_event() -> None:
    async with open_system(pipeline([])) as system:
        drained = system.events(ActorDrained)
        await system.wait()

    assert [each.path async for each in drained] == ["root/supervisor/numbers", "root/supervisor/stage", "root/supervisor/sink"]


class Passer(Actor):
    """Passes a countdown on."""

    out_number = OutPort(int)

    @in_port
    def in_number(self, number: int) -> None:
        if number:
            self.out_number.emit(number - 1)


@pytest.mark.parametrize(("length", "is_ring"), [(200, True), (2_000, False), (2_000, True)])
async def test_however_many_are_wired_in_a_row_their_streams_end_from_upstream_down(length: int, is_ring: bool) -> None:
    links = [child(Passer).options(name=f"link-{number}") for number in range(length)]
    around = [*links, links[0]] if is_ring else links
    wires = [one[Passer.out_number] >> other[Passer.in_number] for one, other in pairwise(around)]

    async with open_system(supervisor(*links, wires=wires)) as system:
        drained = system.events(ActorDrained)
        await system.finish_streams()

    assert [each.path async for each in drained] == [f"root/supervisor/link-{number}" for number in range(length)]


async def test_a_row_of_pools_ends_however_long_it_is() -> None:
    row = [pool(Passer, size=2).options(name=f"link-{number}") for number in range(300)]
    tree = supervisor(*row, wires=[one[Passer.out_number] >> other[Passer.in_number] for one, other in pairwise(row)])

    report = await run_inside(tree)

    assert report.outcome == "completed"
