"""What holds up the end of a stage: retries, restarts, timers, background tasks; and an on_drained that fails."""

from __future__ import annotations

import trio

from actorkit import RecoveryAction, RecoveryPolicy, Rule, TransientError, child, in_port, open_system, supervisor
from tests.pipelines import Doubler, Numbers, Sink, pipeline
from tests.runs import run_inside


async def test_a_stage_that_retries_its_last_message_drains_after_that() -> None:
    lines: list[str] = []

    class Flaky(Doubler):
        tries = 0

        async def handle(self, number: int) -> None:
            if number == 2 and Flaky.tries < 2:
                Flaky.tries += 1
                raise TransientError("again")

    report = await run_inside(pipeline(lines, stage=Flaky))

    assert report.retries == 2
    assert lines.index("4") < lines.index("-1")
    assert report.ledger.processed == report.ledger.accepted == 7


async def test_a_stage_that_restarts_at_its_last_message_drains_once_it_is_back() -> None:
    lines: list[str] = []

    class Crashing(Doubler):
        crashed = False

        async def handle(self, number: int) -> None:
            if number == 2 and not Crashing.crashed:
                Crashing.crashed = True
                raise KeyError(number)

    report = await run_inside(pipeline(lines, stage=Crashing))

    assert report.restarts == 1
    assert lines.count("stage drained") == 1
    assert lines.index("4") < lines.index("-1") < lines.index("sink drained")


async def test_a_stage_with_a_timer_drains_when_that_has_fired() -> None:
    lines: list[str] = []

    class Later(Doubler):
        async def handle(self, number: int) -> None:
            if number == 1:
                self.after(60, Later.in_number, 50)

    report = await run_inside(pipeline(lines, stage=Later))

    assert lines.index("100") < lines.index("-1")
    assert report.duration == 60


async def test_a_stage_with_a_background_task_drains_when_that_has_ended() -> None:
    lines: list[str] = []

    class Working(Doubler):
        async def handle(self, number: int) -> None:
            if number == 1:
                self.start_soon(self.work, to=Working.in_number)

        async def work(self) -> int:
            await trio.sleep(60)
            return 50

    await run_inside(pipeline(lines, stage=Working))

    assert lines.index("100") < lines.index("-1")


async def test_what_comes_every_so_often_does_not_keep_a_stream_open() -> None:
    lines: list[str] = []

    class Ticking(Doubler):
        async def on_start(self) -> None:
            self.every(10, Ticking.in_tick, None)

        @in_port
        def in_tick(self, _: None) -> None:
            self.lines.append("tick")

    report = await run_inside(pipeline(lines, stage=Ticking))

    assert "sink drained" in lines
    assert report.duration == 0


async def test_an_on_drained_that_fails_restarts_its_actor_and_is_called_again() -> None:
    lines: list[str] = []

    class Clumsy(Sink):
        async def on_drained(self) -> None:
            await super().on_drained()
            if lines.count("sink drained") < 3:
                raise RuntimeError("fell over the last step")

    report = await run_inside(pipeline(lines, sink=Clumsy))

    assert lines.count("sink drained") == 3
    assert report.restarts == 2
    assert report.outcome == "completed"


async def test_an_on_drained_whose_failure_is_passed_over_closes_the_wires_all_the_same() -> None:
    lines: list[str] = []

    class Clumsy(Doubler):
        async def on_drained(self) -> None:
            raise RuntimeError("fell over the last step")

    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.LOG_AND_CONTINUE, exception=RuntimeError),))
    tree = supervisor(
        child(Numbers),
        child(Clumsy, lines).options(recovery=policy),
        child(Sink, lines).options(name="sink"),
        wires=[Numbers.out_number >> Clumsy.in_number, Clumsy.out_number >> Sink.in_number],
    )

    async with open_system(tree) as system:
        await system.wait()

    assert "sink drained" in lines
