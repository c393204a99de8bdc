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
    HealthStatus,
    MemoryStore,
    OnExhausted,
    RecoveryAction,
    RecoveryPolicy,
    RetryPolicy,
    Rule,
    SupervisorSpec,
    System,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import EmergencyBegan, EmergencyEnded, EmergencyRelapsed, IncidentReport, RecoveryStep
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


class Slow(Machine):
    """Takes a second for each number."""

    @in_port(capacity=100)
    async def in_slow(self, number: int) -> None:
        await trio.sleep(1)
        self.plant.done.setdefault("slow", []).append(number)


async def test_no_emergency_begins_while_the_system_is_being_stopped() -> None:
    plant = Plant()
    tree = supervisor(child(Slow, plant).options(shutdown=100.0), *machines(plant, 5), name="top")
    async with at_work(tree, plant) as system, trio.open_nursery() as nursery:
        for number in range(40):
            await system.ref(Slow).send(Slow.in_slow, number)
        plant.ill = {"m0", "m1", "m2", "m3"}
        nursery.start_soon(system.stop)
        await trio.sleep(20)
        system.cascade.force()
        assert system.cascade.phase is NORMAL
    assert plant.of(EmergencyBegan) == []
    assert plant.done["slow"] == list(range(40))
    assert trio.current_time() == pytest.approx(40, abs=1)


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


# ---- those that crash


OFTEN: dict[str, Any] = {"max_restarts": 1_000, "within": 1.0}


class Crashing(Machine):
    """Crashes, and cannot start, when it is told to."""

    async def on_start(self) -> None:
        if "starts" in self.plant.ill:
            raise ConnectionError("the database is down")

    @in_port
    def in_crash(self, number: int) -> None:
        self.start_soon(self.fail)

    @in_port
    def in_bad(self, number: int) -> None:
        raise RuntimeError(number)

    async def fail(self) -> None:
        raise RuntimeError(trio.current_time())


class Counter(Actor):
    """Counts, for good: its count and its messages are committed together."""

    def __init__(self) -> None:
        self.count = 0

    def snapshot(self) -> int:
        return self.count

    def restore(self, state: int, version: int) -> None:
        self.count = state

    @in_port(durable=True)
    def in_add(self, number: int) -> None:
        self.count += number

    @in_port
    def in_crash(self, number: int) -> None:
        self.start_soon(self.fail)

    @in_port
    def in_count(self, _: None) -> int:
        return self.count

    async def fail(self) -> None:
        raise RuntimeError(trio.current_time())


class Positioned(Source):
    """A source that knows how far it is."""

    def __init__(self, plant: Plant, rate: float) -> None:
        super().__init__(plant, rate)
        self.position = 0

    def snapshot(self) -> int:
        return self.position

    def restore(self, state: int, version: int) -> None:
        self.position = state

    async def run(self) -> None:
        while True:
            await self.out_number.send(self.position)
            self.position += 1
            await trio.sleep(1 / self.rate)

    @in_port
    def in_crash(self, number: int) -> None:
        self.start_soon(self.fail)

    async def fail(self) -> None:
        raise RuntimeError(trio.current_time())


async def test_the_restart_in_order_that_an_emergency_begins_with_keeps_all_that_any_restart_keeps() -> None:
    plant = Plant()
    counter, source = child(Counter).options(**OFTEN), child(Positioned, plant, 20).options(name="source", **OFTEN)
    wires = [source[Positioned.out_number] >> (sink := child(Machine, plant).options(name="sink"))[Machine.in_number]]
    tree = supervisor(counter, source, sink, *machines(plant, 4), wires=wires, name="top", **OFTEN)

    async with at_work(tree, plant, store=MemoryStore()) as system:
        for _ in range(100):
            await system.ref(Counter).send(Counter.in_add, 1)
        await trio.sleep(5.5)
        while system.cascade.phase is NORMAL:
            await system.ref(Counter).send(Counter.in_crash, 0)
            await system.ref(Positioned).send(Positioned.in_crash, 0)
            await trio.sleep(1)
            plant.ill = {"m0", "m1"}
        await trio.sleep(20)
        assert [each.path for each in plant.of(RecoveryStep) if each.step == "resumed"] == ["root/top/counter", "root/top/source"]
        assert await system.ref(Counter).ask(Counter.in_count, None) == 100
        assert plant.done["sink"] == list(range(len(plant.done["sink"])))


@pytest.mark.parametrize("how", ["stopped", "deleted", "set aside"])
async def test_who_is_not_to_run_is_not_restarted_by_an_emergency(how: str) -> None:
    plant = Plant()
    own = {"max_restarts": 4, "within": 60.0, "on_exhausted": OnExhausted.QUARANTINE} if how == "set aside" else OFTEN
    crashing = [child(Crashing, plant).options(name="c0", **own), child(Crashing, plant).options(name="c1", **OFTEN)]
    async with at_work(supervisor(*crashing, *machines(plant, 9), name="top", **OFTEN), plant) as system:
        boss = system.supervisor("root/top")
        await trio.sleep(6)
        for number in range(4):
            for path in ("root/top/c0", "root/top/c1"):
                await system.ref(path, Crashing).send(Crashing.in_crash, number)
            await trio.sleep(0.9)
        await trio.sleep_until(10.1)
        if how == "set aside":
            await system.ref("root/top/c0", Crashing).send(Crashing.in_crash, 5)
            await trio.sleep(0.1)
        else:
            await boss.stop_child("c0")
        if how == "deleted":
            await boss.delete_child("c0")
        system.cascade.force()
        await trio.sleep(1)
        children = {each.name: each for each in boss.which_children()}
        assert [each.path for each in plant.of(RecoveryStep)] == ["root/top/c1", "root/top/c1"]
        assert children["c1"].is_running
        assert "c0" not in children or not children["c0"].is_running


async def test_those_that_crash_at_each_start_are_unhealthy_and_hold_the_emergency_up() -> None:
    plant = Plant()
    crashing = [child(Crashing, plant).options(name=f"c{number}", **OFTEN) for number in range(6)]
    tree = supervisor(*crashing, *machines(plant, 4), name="top", max_restarts=100_000, within=1.0)

    async with at_work(tree, plant) as system:
        await trio.sleep(10)
        plant.ill = {"starts"}
        for each in crashing:
            await system.ref(f"root/top/{each.name}", Crashing).send(Crashing.in_crash, 1)
        await until_phase(system, EMERGENCY, within=20)
        await trio.sleep(120)
        assert system.cascade.phase is EMERGENCY
        assert {system.health().components[f"root/top/{each.name}"].status for each in crashing} == {HealthStatus.UNHEALTHY}
        plant.ill = set()
        await until_phase(system, NORMAL, within=400)


async def test_one_that_waits_long_for_its_restart_does_not_count_as_well() -> None:
    plant = Plant()
    slow = ExponentialBackoffRetry(max_retries=9, base_delay=200.0, max_delay=200.0, jitter="none")
    tree = supervisor(child(Crashing, plant).options(name="c0", backoff=slow), *machines(plant, 4), name="top")
    async with at_work(tree, plant) as system:
        await trio.sleep(1)
        await system.ref("root/top/c0", Crashing).send(Crashing.in_crash, 1)
        found = {}
        for time in (5.1, 30.1, 90.1, 210.1):
            await trio.sleep_until(time)
            found[time] = system.health().components["root/top/c0"]
        statuses = [each.status for each in found.values()]
        assert statuses == [HealthStatus.UNKNOWN, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY, HealthStatus.HEALTHY]
        assert found[90.1].reasons == ("it has not come up again for 85 s",)


# ---- operators, and what is reported


async def test_an_operator_may_force_it_while_the_tree_starts() -> None:
    class Forcing(Machine):
        async def on_start(self) -> None:
            self.system.cascade.force()

    plant = Plant()
    sink, source = child(Machine, plant).options(name="sink"), child(Source, plant, 10).options(name="source")
    wires = [source[Source.out_number] >> sink[Machine.in_number]]
    tree = supervisor(*machines(plant, 4), child(Forcing, plant), sink, source, wires=wires, name="top")

    async with at_work(tree, plant) as system:
        assert system.cascade.phase is EMERGENCY
        await trio.sleep(10)
        before = plant.sent["source"]
        await trio.sleep(20)
        assert plant.sent["source"] - before == pytest.approx(20, abs=2)
        await until_phase(system, NORMAL)
        (ended,) = plant.of(EmergencyEnded)
        assert ended.report.outcome == "back to normal"


async def test_one_alert_and_one_report_although_an_operator_forces_it_again() -> None:
    plant = Plant()
    async with at_work(line(plant), plant) as system:
        system.cascade.force()
        await until_phase(system, RECOVERING)
        system.cascade.force()
        await until_phase(system, NORMAL)
    assert len(plant.of(EmergencyBegan)) == 1
    (again,) = plant.of(EmergencyRelapsed)
    assert str(again).startswith("emergency again: an operator has asked for it, 0 of 11 components are unhealthy (relapse 1)")
    assert [each.report.relapses for each in plant.of(EmergencyEnded)] == [1]


async def test_the_report_counts_what_became_of_messages_also_of_those_that_have_gone() -> None:
    plant = Plant()
    crashing = child(Crashing, plant).options(name="c0", recovery=RecoveryPolicy(rules=[Rule(RecoveryAction.QUARANTINE_MESSAGE)]))
    async with at_work(supervisor(crashing, *machines(plant, 5), name="top"), plant) as system:
        for number in range(5):
            await system.ref("root/top/c0", Crashing).send(Crashing.in_bad, number)
        await trio.sleep(7)
        system.cascade.force()
        await system.ref("root/top/c0", Crashing).send(Crashing.in_bad, 6)
        await system.settle()
        await system.supervisor("root/top").stop_child("c0")
        await system.supervisor("root/top").delete_child("c0")
        await until_phase(system, NORMAL)
        assert plant.of(EmergencyEnded)[0].report.dead_lettered == 1


async def test_the_report_of_a_long_incident_keeps_its_first_and_its_last_entries() -> None:
    plant = Plant()
    async with at_work(supervisor(*machines(plant, 10), name="top"), plant) as system:
        system.cascade.force()
        for number in range(1_200):
            plant.ill = {"m0", "m1", "m2"} if number % 2 else set()
            await trio.sleep(5)
        plant.ill = set()
        await until_phase(system, NORMAL)
        (report,) = [each.report for each in plant.of(EmergencyEnded)]
        assert len(report.timeline) == 1_000
        assert report.left_out > 100
        assert report.timeline[0][1].startswith("emergency: an operator has asked for it")
        assert report.timeline[-1][1] == "back to normal"
        assert f"... {report.left_out} more ..." in str(report)


async def test_what_people_read_of_very_many_components_is_short() -> None:
    plant = Plant()
    crowd = machines(plant, 100)
    hub = child(Machine, plant).options(name="hub")
    wires = [each[Machine.out_number] >> hub[Machine.in_number] for each in crowd]
    async with at_work(supervisor(hub, *crowd, wires=wires, name="top"), plant) as system:
        plant.ill = {f"m{number}" for number in range(50)}
        await until_phase(system, EMERGENCY)
        system.cascade.abort()
        await trio.sleep(1)
        (began,), (ended,) = plant.of(EmergencyBegan), plant.of(EmergencyEnded)
        assert len(began.causes) == len(ended.report.causes) == 50
        assert "root/top/m19 and 30 more" in str(began)
        assert "root/top/m19 and 30 more" in str(ended)
        assert max(map(len, str(ended).splitlines())) < 400
