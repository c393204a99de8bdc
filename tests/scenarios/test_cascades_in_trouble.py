"""Emergencies at bad moments: at the start, at the end, with retries, and whatever else comes at random."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    CascadeManager,
    CascadePhase,
    CommunicationError,
    ErrorCategory,
    ExponentialBackoffRetry,
    RecoveryPolicy,
    RetryPolicy,
    SupervisorSpec,
    System,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import EmergencyBegan, EmergencyEnded, IncidentReport
from tests.runs import run_inside
from tests.scenarios.plant import Machine, Plant, Source, at_work, machines, until_phase

NORMAL, EMERGENCY, RECOVERING = CascadePhase.NORMAL, CascadePhase.EMERGENCY, CascadePhase.RECOVERING
ILL = {"m0", "n1", "n2", "n3"}


def line(plant: Plant, rate: float = 100, most: int = 10**9) -> SupervisorSpec:
    """A source, a machine that it sends to, and nine more that do nothing."""
    sink, source = child(Machine, plant).options(name="m0"), child(Source, plant, rate, most).options(name="source")
    return supervisor(source, sink, *machines(plant, 9, "n"), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")


# ---- one that is down for long, and those that try again and again


class Service(Actor):
    """Can do nothing while the outage lasts."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    @in_port(capacity=10_000)
    async def in_number(self, number: int) -> None:
        if "database" in self.plant.ill:
            raise CommunicationError("the database does not answer")
        self.plant.done.setdefault(self.name, []).append(number)


@pytest.mark.parametrize("poll", [1.0, 5.0])
@pytest.mark.parametrize("rate", [1.0, 100.0])
async def test_those_that_try_one_message_again_and_again_are_found_out(rate: float, poll: float) -> None:
    plant = Plant()
    patient = RetryPolicy({ErrorCategory.COMMUNICATION: ExponentialBackoffRetry(max_retries=9, base_delay=2.0, max_delay=20.0)})
    services = [child(Service, plant).options(name=f"s{number}", recovery=RecoveryPolicy(retry=patient)) for number in range(4)]
    source = child(Source, plant, rate).options(name="source")
    wires = [source[Source.out_number] >> each[Service.in_number] for each in services]
    tree = supervisor(source, *services, *machines(plant, 5), wires=wires, name="top", max_restarts=1_000)

    async with at_work(tree, plant, CascadeManager.settings(poll=poll)) as system:
        await trio.sleep(20)
        plant.ill = {"database"}
        began = trio.current_time()
        assert await until_phase(system, EMERGENCY) - began < 45  # three tries, some of them 10 s apart
        plant.ill = set()
        await until_phase(system, NORMAL)
        assert system.ledger().dead_lettered == 0
    for each in services:
        assert plant.done[each.name] == list(range(plant.sent["source"]))


# ---- the beginning and the end


async def test_an_emergency_while_the_tree_starts() -> None:
    class Slow(Machine):
        async def on_start(self) -> None:
            self.plant.done["starting"] = []
            await trio.sleep(20)

    plant = Plant()
    slow = child(Slow, plant).options(name="slow")
    source = child(Source, plant, 10, 100).options(name="source")
    tree = supervisor(*machines(plant, 4), slow, source, wires=[source[Source.out_number] >> slow[Slow.in_number]], name="top")
    plant.ill = {"m0", "m1", "m2", "m3", "slow"}

    async with at_work(tree, plant, CascadeManager.settings(poll=1.0)) as system:
        await until_phase(system, EMERGENCY)
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()
        assert plant.done["slow"] == list(range(100))
    assert len(plant.of(EmergencyBegan)) == len(plant.of(EmergencyEnded)) == 1


async def reports_of(tree: SupervisorSpec, plant: Plant, end: Callable[[System], Any]) -> list[IncidentReport]:
    """Runs it until there is an emergency, and then ends it so."""
    with trio.CancelScope() as scope:
        async with open_system(tree) as system:
            ended = system.events(EmergencyEnded)
            plant.ill = set(ILL)
            await until_phase(system, EMERGENCY)
            await trio.sleep(100)
            if (result := end(system)) is not None:
                await result
            elif end is cancel:
                scope.cancel()
    system.ledger().check()
    return [event.report async for event in ended]


def leave(system: System) -> None:
    """Leaves the block."""


def cancel(system: System) -> None:
    """Cancels it."""


@pytest.mark.parametrize("end", [leave, cancel, System.stop])
async def test_a_system_that_ends_in_an_emergency_reports_it(end: Callable[[System], Any]) -> None:
    plant = Plant()

    (report,) = await reports_of(line(plant), plant, end)

    assert report.outcome == "the system was stopped"
    assert report.lasted == pytest.approx(100, abs=1)
    assert report.timeline[-1][1] == "the system was stopped"
    assert report.most_held > 50
    assert report.lost == 0
    if end is not cancel:
        assert report.dead_lettered == 0


async def test_a_report_is_made_once_however_it_ends() -> None:
    plant = Plant()
    async with at_work(line(plant), plant) as system:
        system.cascade.force()
        system.cascade.force()
        system.cascade.abort()
        await trio.sleep(1)
        await system.stop()
        await trio.sleep(1)
    assert [each.report.outcome for each in plant.of(EmergencyEnded)] == ["ended by an operator"]


class Operator(Actor):
    """Sends a signal in the middle of an emergency."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def run(self) -> None:
        self.plant.ill = set(ILL)
        await until_phase(self.system, EMERGENCY)
        await trio.sleep(100)
        signal.raise_signal(signal.SIGTERM)


async def test_a_signal_in_an_emergency_has_all_worked_off() -> None:
    plant = Plant()

    report = await run_inside(supervisor(line(plant), child(Operator, plant), name="all"), handle_signals=True)

    assert report.outcome == "interrupted by SIGTERM"
    assert report.ledger.queued == report.ledger.dead_lettered == 0
    assert plant.done["m0"] == list(range(plant.sent["source"]))
    assert report.duration == pytest.approx(105, abs=1)
