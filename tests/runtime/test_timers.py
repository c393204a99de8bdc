"""Messages that come later: `after` and `every`."""

from __future__ import annotations

import pytest
import trio

from actorkit import Actor, MessageTypeError, SpecError, Timer, child, in_port, open_system, supervisor
from actorkit.events import ActorStarted
from tests.runs import run_inside


class Clock(Actor):
    """Notes when messages come. Its port has room for one."""

    def __init__(self, notes: list[tuple[float, str]]) -> None:
        self.notes = notes
        self.timers: dict[str, Timer] = {}

    @in_port(capacity=1)
    def in_note(self, text: str) -> None:
        self.notes.append((trio.current_time(), text))

    @in_port
    def in_after(self, delay: float) -> None:
        self.timers[f"after {delay:g}"] = self.after(delay, Clock.in_note, f"after {delay:g}")

    @in_port
    def in_every(self, period: str) -> None:
        self.timers[f"every {period}"] = self.every(float(period), Clock.in_note, f"every {period}")

    @in_port
    def in_cancel(self, which: str) -> None:
        self.timers[which].cancel()

    @in_port
    def in_bug(self, _: None) -> None:
        if self.timers:
            raise KeyError

    @in_port
    async def in_sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def test_after_delivers_once_after_the_delay() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        began = trio.current_time()
        await system.ref(Clock).send(Clock.in_after, 2.5)
        await system.wait()

    assert notes == [(began + 2.5, "after 2.5")]


async def test_timers_fire_in_the_order_of_their_times() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        for delay in (3.0, 1.0, 2.0, 0.0):
            await system.ref(Clock).send(Clock.in_after, delay)
        await system.wait()

    assert [text for _, text in notes] == ["after 0", "after 1", "after 2", "after 3"]


async def test_every_delivers_again_and_again() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        began = trio.current_time()
        await system.ref(Clock).send(Clock.in_every, "10")
        await trio.sleep(35)

    assert notes == [(began + 10, "every 10"), (began + 20, "every 10"), (began + 30, "every 10")]


@pytest.mark.parametrize("which", ["after 5", "every 5"])
async def test_a_cancelled_timer_delivers_nothing(which: str) -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        clock = system.ref(Clock)
        await clock.send(Clock.in_after, 5.0)
        await clock.send(Clock.in_every, "5")
        await clock.send(Clock.in_cancel, which)
        await clock.send(Clock.in_cancel, which)
        await trio.sleep(6)

    assert [text for _, text in notes] == [text for text in ("after 5", "every 5") if text != which]


async def test_cancelling_a_timer_that_has_fired_does_nothing() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        await system.ref(Clock).send(Clock.in_after, 1.0)
        await system.wait()
        await system.ref(Clock).send(Clock.in_cancel, "after 1")
        await system.wait()

        assert system.ledger().dead_lettered == 0
    assert len(notes) == 1


async def test_timers_end_with_the_incarnation_that_set_them() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        clock = system.ref(Clock)
        restarted = system.events(ActorStarted)
        await clock.send(Clock.in_after, 5.0)
        await clock.send(Clock.in_every, "5")
        await clock.send(Clock.in_bug, None)
        await anext(restarted)
        await trio.sleep(20)

    assert notes == []


async def test_a_timer_is_admitted_above_capacity() -> None:
    notes: list[tuple[float, str]] = []

    async with open_system(supervisor(child(Clock, notes))) as system:
        clock = system.ref(Clock)
        await clock.send(Clock.in_after, 1.0)
        await clock.send(Clock.in_after, 1.5)
        await clock.send(Clock.in_sleep, 10.0)
        await clock.send(Clock.in_note, "full")
        await trio.sleep(5)
        queued = system.ledger().ports["root/supervisor/clock.in_note"].queued
        await system.settle()

    assert queued == 3
    assert [text for _, text in notes] == ["full", "after 1", "after 1.5"]


async def test_a_run_waits_for_after_but_not_for_every() -> None:
    class Both(Clock):
        async def on_start(self) -> None:
            self.after(60, Both.in_note, "after")
            self.every(25, Both.in_note, "every")

    notes: list[tuple[float, str]] = []

    report = await run_inside(supervisor(child(Both, notes)))

    assert [text for _, text in notes] == ["every", "every", "after"]
    assert report.duration == 60


async def test_a_constructor_may_set_a_timer() -> None:
    class Early(Clock):
        def __init__(self, notes: list[tuple[float, str]]) -> None:
            super().__init__(notes)
            self.after(1, Early.in_note, "early")

    notes: list[tuple[float, str]] = []

    await run_inside(supervisor(child(Early, notes)))

    assert [text for _, text in notes] == ["early"]


class Wrong(Actor):
    """Calls what it gets with itself, and says what came of it."""

    @in_port
    def in_note(self, text: str) -> None:
        """Takes texts."""

    @in_port
    def in_try(self, what: str) -> str:
        try:
            if what == "delay":
                self.after(-1, Wrong.in_note, "x")
            elif what == "period":
                self.every(0, Wrong.in_note, "x")
            else:
                self.after(1, Wrong.in_note, 7)  # type: ignore[misc]
        except (SpecError, MessageTypeError) as error:
            return str(error)
        return "nothing"


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("delay", "root/supervisor/wrong: delay = -1"),
        ("period", "root/supervisor/wrong: period = 0"),
        ("message", "root/supervisor/wrong.in_note takes str, not int: 7 was not accepted"),
    ],
)
async def test_a_wrong_timer_is_refused_with_its_reason(what: str, text: str) -> None:
    async with open_system(supervisor(child(Wrong))) as system:
        assert (await system.ref(Wrong).ask(Wrong.in_try, what)).startswith(text)
