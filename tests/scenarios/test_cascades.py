"""Emergencies: when one begins, what it does to sources and to mail, and how the system comes back, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    ActorkitError,
    AskFailed,
    CascadeManager,
    CascadePhase,
    ChildSpec,
    Down,
    HealthStatus,
    MailboxFull,
    MemoryStore,
    System,
    child,
    in_port,
    keyed,
    open_system,
    pool,
    round_robin,
    supervisor,
    wire,
)
from actorkit.events import (
    CascadeWatchFailed,
    ChildExited,
    ChildQuarantined,
    EmergencyBegan,
    EmergencyEnded,
    EmergencyEscalated,
    EmergencyRelapsed,
    HealthChanged,
    RecoveryStepped,
    SupervisorGaveUp,
)
from tests.scenarios.plant import SETTINGS, Machine, Plant, Rates, Source, at_work, machines, plant_tree, until_phase, until_step

NORMAL, EMERGENCY, RECOVERING = CascadePhase.NORMAL, CascadePhase.EMERGENCY, CascadePhase.RECOVERING


def names(count: int) -> set[str]:
    """The first machines."""
    return {f"m{number}" for number in range(count)}


async def test_three_of_ten_are_no_emergency_and_four_are() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant) as system:
        plant.ill = names(3)
        await trio.sleep(300)
        phase_of_three = system.cascade.phase
        plant.ill = names(4)
        await trio.sleep(5.1)

        assert phase_of_three is NORMAL
        assert system.cascade.phase is EMERGENCY
        assert system.cascade.rate == 0.1
        assert len(plant.of(EmergencyBegan)) == 1


async def test_with_fewer_than_three_components_there_is_never_one() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 2), plant) as system:
        plant.ill = names(2)
        await trio.sleep(300)

        assert system.cascade.phase is NORMAL
        assert {each.status for each in system.health().components.values()} == {HealthStatus.UNHEALTHY}


async def test_an_emergency_names_what_all_that_failed_needs() -> None:
    plant = Plant()
    base = child(Machine, plant).options(name="base")
    needy = [child(Machine, plant).options(name=f"m{number}", depends_on=(base,)) for number in range(4)]
    far = child(Machine, plant).options(name="far", depends_on=(needy[0],))
    tree = supervisor(base, *needy, far, *machines(plant, 3, "other"), name="top")

    async with at_work(tree, plant):
        plant.ill = {"base"}
        await trio.sleep(10)
        plant.ill |= names(4)
        await trio.sleep(20)

        (began,) = plant.of(EmergencyBegan)
        assert began.causes == ("root/top/base",)
        assert len(began.reached) == 5
        assert set(began.reached) == {f"root/top/m{number}" for number in range(4)} | {"root/top/far"}


async def test_failure_that_spreads_is_an_emergency_before_there_are_many() -> None:
    plant = Plant()
    base = child(Machine, plant).options(name="base")
    needy = [child(Machine, plant).options(name=f"m{number}", depends_on=(base,)) for number in range(2)]
    tree = supervisor(base, *needy, *machines(plant, 17, "other"), name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"base"}
        await trio.sleep(10)
        plant.ill |= names(2)
        await trio.sleep(5)

        assert system.cascade.phase is EMERGENCY
        assert [each.trigger for each in plant.of(EmergencyBegan)] == ["spreading"]


async def test_recovery_goes_through_all_steps_in_their_time() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant) as system:
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)
        plant.ill = set()
        await until_phase(system, NORMAL)

        assert [each.rate for each in plant.of(RecoveryStepped)] == [0.1, 0.25, 0.5, 0.75, 1.0]
        assert [later - earlier for earlier, later in pairwise(plant.times_of(RecoveryStepped))] == pytest.approx([30] * 4)
        (report,) = [each.report for each in plant.of(EmergencyEnded)]
        assert report.lasted == pytest.approx(185)
        assert report.relapses == report.lost == 0
        assert "back to normal" in str(report)


def fan_in(plant: Plant) -> list[Any]:
    """Two sources of different rates send into one port."""
    sink = child(Machine, plant).options(name="sink")
    fast, slow = (child(Source, plant, rate).options(name=name) for name, rate in (("fast", 80), ("slow", 20)))
    wires = [fast[Source.out_number] >> sink[Machine.in_number], slow[Source.out_number] >> sink[Machine.in_number]]
    return [supervisor(fast, slow, sink, *machines(plant, 7), wires=wires, name="top"), {"fast": 80, "slow": 20}]


def fan_out(plant: Plant) -> list[Any]:
    """One source sends to three ports, by two wires."""
    sinks = [child(Machine, plant).options(name=f"sink{number}") for number in range(3)]
    source = child(Source, plant, 60).options(name="source")
    wires = [
        source[Source.out_number] >> sinks[0][Machine.in_number],
        wire(source[Source.out_number], [each[Machine.in_number] for each in sinks[1:]], route=round_robin),
    ]
    return [supervisor(source, *sinks, *machines(plant, 7), wires=wires, name="top"), {"source": 60}]


def pool_source(plant: Plant) -> list[Any]:
    """A pool of three sources."""
    sink = child(Machine, plant).options(name="sink")
    sources = pool(Source, plant, 50.0, size=3).options(name="sources")
    wires = [sources[Source.out_number] >> sink[Machine.in_number]]
    return [
        supervisor(sources, sink, *machines(plant, 8), wires=wires, name="top"),
        dict.fromkeys(("sources-1", "sources-2", "sources-3"), 50),
    ]


def two_ports(plant: Plant) -> list[Any]:
    """A source, whose receiver also gets what a machine passes on."""
    sink = child(Machine, plant).options(name="sink")
    middle = child(Machine, plant).options(name="middle")
    source = child(Source, plant, 40).options(name="source")
    wires = [
        source[Source.out_number] >> middle[Machine.in_number],
        source[Source.out_number] >> sink[Machine.in_number],
        middle[Machine.out_number] >> sink[Machine.in_number],
    ]
    return [supervisor(source, middle, sink, *machines(plant, 7), wires=wires, name="top"), {"source": 40}]


@pytest.mark.parametrize("make", [fan_in, fan_out, pool_source, two_ports])
async def test_sources_really_go_at_the_share_of_their_rate_that_is_said(make: Any) -> None:
    plant = Plant()
    tree, own = make(plant)
    found: list[dict[str, float]] = []

    async with at_work(tree, plant) as system:
        rates = Rates(plant)
        await trio.sleep(60)
        plant.ill = names(5)
        await until_phase(system, EMERGENCY)
        found.append(await rates.over(20))
        plant.ill = set()
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            await until_step(system, share)
            found.append(await rates.over(25))
        await until_phase(system, NORMAL)
        found.append(await rates.over(20))

    for share, measured in zip((0.1, 0.1, 0.25, 0.5, 0.75, 1.0, 1.0), found, strict=True):
        for name, rate in own.items():
            assert measured[name] == pytest.approx(share * rate, rel=0.15), (share, name)


async def test_the_first_poll_knows_the_rates_of_sources_already() -> None:
    plant = Plant()
    plant.ill = names(5)
    tree, own = fan_out(plant)

    async with at_work(tree, plant) as system:
        await until_phase(system, EMERGENCY)
        measured = await Rates(plant).over(20)

        assert measured["source"] == pytest.approx(0.1 * own["source"], rel=0.15)


@pytest.mark.parametrize("step", range(5))
async def test_who_falls_ill_again_on_a_step_has_to_be_well_for_twice_as_long(step: int) -> None:
    plant = Plant()
    share = SETTINGS.steps[step]

    async with at_work(plant_tree(plant, 10), plant) as system:
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)
        plant.ill = set()
        await until_step(system, share)
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)
        plant.ill = set()
        began = trio.current_time()
        over = await until_phase(system, RECOVERING)

        (relapse,) = plant.of(EmergencyRelapsed)
        assert (relapse.step, relapse.relapses, relapse.stabilisation) == (step, 1, 60)
        assert over - began == pytest.approx(65, abs=1)
        await until_phase(system, NORMAL)
        assert len(plant.of(EmergencyBegan)) == len(plant.of(EmergencyEnded)) == 1


async def test_stabilisation_doubles_up_to_eight_times() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant) as system:
        for _ in range(6):
            plant.ill = names(4)
            await until_phase(system, EMERGENCY)
            plant.ill = set()
            await until_phase(system, RECOVERING)
        await until_phase(system, NORMAL)

        assert [each.stabilisation for each in plant.of(EmergencyRelapsed)] == [60, 120, 240, 240, 240]
        assert plant.of(EmergencyEnded)[0].report.relapses == 5


async def test_a_long_emergency_is_escalated() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant) as system:
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)
        await trio.sleep(1_300)

        assert len(plant.of(EmergencyEscalated)) == 2


class Hasty(Source):
    """Takes no notice of back-pressure."""

    async def run(self) -> None:
        for number in range(self.most):
            if number % 2:
                self.out_number.emit(number)
                self.plant.sent[self.name] += 1
            else:
                with suppress(MailboxFull):
                    self.out_number.send_nowait(number)
                    self.plant.sent[self.name] += 1
            await trio.sleep(1 / self.rate)


async def test_a_source_that_ignores_back_pressure_does_no_harm() -> None:
    plant = Plant()
    sink, hasty = child(Machine, plant).options(name="m0"), child(Hasty, plant, 100).options(name="hasty")
    tree = supervisor(hasty, sink, *machines(plant, 9, "n"), wires=[hasty[Hasty.out_number] >> sink[Machine.in_number]], name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"m0", "n1", "n2", "n3"}
        await until_phase(system, EMERGENCY)
        await trio.sleep(100)
        plant.ill = set()
        await until_phase(system, NORMAL)
        await trio.sleep(1)
    assert len(plant.done["m0"]) == plant.sent["hasty"]
    assert plant.done["m0"] == sorted(plant.done["m0"])


@pytest.mark.parametrize("options", [{}, {"store": MemoryStore}])
async def test_held_mail_is_handled_afterwards_in_order_and_nothing_is_lost(options: dict[str, Any]) -> None:
    plant = Plant()
    sink: ChildSpec[Any] = child(Kept if options else Machine, plant).options(name="m0")
    source = child(Source, plant, 100, most=3_000).options(name="source")
    port: Any = Kept.in_number if options else Machine.in_number
    tree = supervisor(source, sink, *machines(plant, 9, "n"), wires=[source[Source.out_number] >> sink[port]], name="top")

    async with at_work(tree, plant, **{name: make() for name, make in options.items()}) as system:
        await trio.sleep(20)
        plant.ill = {"m0", "n1", "n2", "n3"}
        await until_phase(system, EMERGENCY)
        before = len(plant.done["m0"])
        await trio.sleep(50)
        probed = len(plant.done["m0"]) - before
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()

        assert 27 <= probed <= 33  # three a poll
        assert plant.done["m0"] == list(range(3_000))
        assert plant.of(EmergencyEnded)[0].report.most_held > 100


class Kept(Actor):
    """Handles numbers that are kept."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if self.name in self.plant.ill else HealthStatus.HEALTHY

    @in_port(durable=True)
    def in_number(self, number: int) -> None:
        self.plant.done.setdefault(self.name, []).append(number)


class Narrow(Machine):
    """Has little room, and little patience."""

    @in_port(capacity=2, block_timeout=3)
    async def in_narrow(self, number: int) -> None:
        self.plant.done.setdefault(self.name, []).append(number)
        if self.name in self.plant.ill:
            await trio.sleep(2)


async def test_nobodys_patience_runs_out_in_an_emergency() -> None:
    plant = Plant()
    narrow = [child(Narrow, plant).options(name=f"m{number}") for number in range(2)]
    sources = [child(Source, plant, 2, most=400).options(name=f"s{number}") for number in range(2)]
    wires = [source[Source.out_number] >> each[Narrow.in_narrow] for source, each in zip(sources, narrow, strict=True)]
    tree = supervisor(*narrow, *sources, *machines(plant, 6, "n"), wires=wires, name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"m0", "n0", "n1", "n2"}
        await until_phase(system, EMERGENCY)
        for _ in range(30):  # far more than there is room for, from outside: it waits
            await system.ref("root/top/m0", Narrow).send(Narrow.in_narrow, -1)
        await trio.sleep(200)
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()

        assert [number for number in plant.done["m0"] if number >= 0] == list(range(400))
        assert system.ledger().dead_lettered == 0


async def test_what_comes_by_address_to_a_held_actor_passes() -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="m0"), child(Source, plant, 100).options(name="source")
    tree = supervisor(source, sink, *machines(plant, 9, "n"), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"m0", "n1", "n2", "n3"}
        await until_phase(system, EMERGENCY)
        await trio.sleep(60)
        answers = [await system.ref("root/top/m0", Machine).ask(Machine.in_question, number, timeout=1) for number in range(20)]

        assert answers == list(range(1, 21))
        assert system.ledger().queued > 10


class Member(Machine):
    """One of several, of which all are ill if the group is."""

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if "members" in self.plant.ill else HealthStatus.HEALTHY

    @in_port
    def in_key(self, number: int) -> None:
        self.plant.done.setdefault("members", []).append(number)
        if "keyed" in self.plant.ill:
            raise KeyError(number)


@pytest.mark.parametrize("kind", ["pool", "keyed"])
async def test_groups_are_held_and_let_go_as_one(kind: str) -> None:
    plant = Plant()
    spec: Any = pool(Member, plant, size=3) if kind == "pool" else keyed(Member, plant, by=lambda number: number % 7, passivate_after=3)
    source = child(Source, plant, 50, most=4_000).options(name="source")
    group = spec.options(name="group")
    port = Machine.in_number
    tree = supervisor(source, group, *machines(plant, 4), wires=[source[Source.out_number] >> group[port]], name="top")

    async with at_work(tree, plant) as system:
        await trio.sleep(20)
        plant.ill = {"members", *names(3)}
        await until_phase(system, EMERGENCY)
        await trio.sleep(60)
        plant.ill = set()
        await until_phase(system, NORMAL)
        await system.wait()

        assert system.ledger().processed >= 4_000
        done = [number for name, numbers in plant.done.items() for number in numbers]
        assert sorted(done) == list(range(4_000))


@pytest.mark.parametrize("how", ["leave", "stop"])
async def test_a_stop_in_an_emergency_works_everything_off_at_full_speed(how: str) -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="m0"), child(Source, plant, 100).options(name="source")
    tree = supervisor(source, sink, *machines(plant, 9, "n"), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"m0", "n1", "n2", "n3"}
        await until_phase(system, EMERGENCY)
        await trio.sleep(100)
        held = system.ledger().queued
        began = trio.current_time()
        if how == "stop":
            await system.stop()

    assert held > 50
    assert trio.current_time() - began < 1
    assert system.ledger().queued == system.ledger().dead_lettered == 0
    assert plant.done["m0"] == list(range(plant.sent["source"]))


async def test_a_run_waits_for_what_an_emergency_holds() -> None:
    plant = Plant()
    sink, source = child(Machine, plant).options(name="m0"), child(Source, plant, 100, most=1_000).options(name="source")
    tree = supervisor(source, sink, *machines(plant, 9, "n"), wires=[source[Source.out_number] >> sink[Machine.in_number]], name="top")

    async with at_work(tree, plant) as system:
        plant.ill = {"m0", "n1", "n2", "n3"}
        await system.wait()

        assert system.cascade.phase is EMERGENCY
        assert len(plant.done["m0"]) == 1_000


@pytest.mark.parametrize("moment", [0.0, 3.0, 5.0, 7.0, 38.0, 70.0, 130.0])
async def test_an_operator_may_force_and_abort_at_any_moment(moment: float) -> None:
    plant = Plant()
    tree, own = fan_in(plant)

    async with at_work(tree, plant) as system:
        await trio.sleep(moment)
        system.cascade.force()
        phase = system.cascade.phase
        await trio.sleep(moment)
        system.cascade.force()
        await trio.sleep(moment)
        system.cascade.abort()
        system.cascade.abort()
        after = system.cascade.phase
        rates = await Rates(plant).over(30)

        assert (phase, after) == (EMERGENCY, NORMAL)
        assert {name: round(rate) for name, rate in rates.items()} == pytest.approx(own, rel=0.1)


async def test_what_an_operator_ended_begins_again_only_after_a_better_poll() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant) as system:
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)
        system.cascade.abort()
        await trio.sleep(60)
        overruled = system.cascade.phase
        plant.ill = set()
        await trio.sleep(10)
        plant.ill = names(4)
        await trio.sleep(10)

        assert (overruled, system.cascade.phase) == (NORMAL, EMERGENCY)


async def test_without_a_cascade_manager_nothing_is_polled_and_nothing_forced() -> None:
    plant = Plant()

    async with at_work(plant_tree(plant, 10), plant, cascade=False) as system:
        plant.ill = names(10)
        await trio.sleep(100)

        with pytest.raises(ActorkitError, match="cascade=False"):
            system.cascade.force()
        assert system.health().status is HealthStatus.UNKNOWN
        assert plant.of(HealthChanged) == plant.of(EmergencyBegan) == []


class Defect(Exception):
    """A mistake in the watch."""


def failing(times: int) -> Iterator[None]:
    """Raises so many times."""
    for _ in range(times):
        yield None


async def test_a_defect_of_the_watch_is_reported_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    left = failing(4)

    async with at_work(plant_tree(plant, 10), plant) as system:
        look = system.cascade.monitor.look

        async def broken() -> Any:
            if next(left, "over") is None:
                raise Defect
            return await look()

        monkeypatch.setattr(system.cascade.monitor, "look", broken)
        plant.ill = names(4)
        await until_phase(system, EMERGENCY)

        assert [type(each.error) for each in plant.of(CascadeWatchFailed)] == [Defect] * 4
        assert trio.current_time() < 15


@pytest.mark.parametrize("what", ["likely_causes", "blast_radius"])
async def test_an_emergency_is_in_force_although_what_is_told_about_it_fails(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    tree, own = fan_in(plant)

    def broken(*_: object) -> Any:
        raise Defect

    async with at_work(tree, plant) as system:
        await trio.sleep(60)
        monkeypatch.setattr(f"actorkit._runtime.cascade_manager.{what}", broken)
        plant.ill = names(5)
        await until_phase(system, EMERGENCY)
        slow = await Rates(plant).over(10)
        plant.ill = set()
        await until_phase(system, NORMAL)
        fast = await Rates(plant).over(10)

        assert slow["fast"] == pytest.approx(8, rel=0.2)
        assert fast["fast"] == pytest.approx(own["fast"], rel=0.1)


async def test_while_the_watch_is_down_sources_are_let_go_after_one_stabilisation_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plant = Plant()
    tree, own = fan_in(plant)

    async with at_work(tree, plant) as system:
        await trio.sleep(60)
        plant.ill = names(5)
        await until_phase(system, EMERGENCY)
        look = system.cascade.monitor.look

        async def broken() -> Any:
            raise Defect

        monkeypatch.setattr(system.cascade.monitor, "look", broken)
        before = await Rates(plant).over(30)
        await trio.sleep(6)
        after = await Rates(plant).over(100)
        monkeypatch.setattr(system.cascade.monitor, "look", look)
        await trio.sleep(60)
        again = await Rates(plant).over(20)
        plant.ill = set()
        await until_phase(system, NORMAL)
        last = await Rates(plant).over(20)

        assert before["fast"] == pytest.approx(8, rel=0.2)
        assert after["fast"] == pytest.approx(80, rel=0.1)
        assert again["fast"] == pytest.approx(8, rel=0.2)
        assert last["fast"] == pytest.approx(own["fast"], rel=0.1)


async def test_asks_and_notices_of_ends_come_through_in_an_emergency() -> None:
    plant = Plant()
    seen: list[str] = []
    watcher = child(Watcher, plant, seen).options(name="m0")
    source = child(Source, plant, 50).options(name="source")
    mortal: ChildSpec[Any] = child(Machine, plant).options(name="mortal")
    tree = supervisor(
        watcher, mortal, source, *machines(plant, 8, "n"), wires=[source[Source.out_number] >> watcher[Machine.in_number]], name="top"
    )

    async with at_work(tree, plant) as system:
        await trio.sleep(1)
        plant.ill = {"m0", "n0", "n1", "n2"}
        await until_phase(system, EMERGENCY)
        await trio.sleep(50)
        await system.supervisor("root/top").stop_child("mortal")
        await trio.sleep(0.5)

        assert seen == ["root/top/mortal"]
        with pytest.raises(AskFailed):
            await system.ref("root/top/mortal", Machine).ask(Machine.in_question, 1)


class Watcher(Machine):
    """Watches another."""

    def __init__(self, plant: Plant, seen: list[str]) -> None:
        super().__init__(plant)
        self.seen = seen

    async def on_start(self) -> None:
        self.watch(self.system.ref("root/top/mortal"), Watcher.in_down)

    @in_port
    def in_down(self, down: Down) -> None:
        self.seen.append(down.ref.path)


async def test_those_that_keep_crashing_recover_in_order_of_their_dependencies() -> None:
    plant = Plant()
    base = child(Crashing, plant).options(name="base", max_restarts=1_000, within=1.0)
    needy = [child(Crashing, plant).options(name=f"m{number}", depends_on=(base,), max_restarts=1_000, within=1.0) for number in range(3)]
    tree = supervisor(*needy, base, *machines(plant, 4, "n"), name="top", max_restarts=100_000, within=1.0)

    async with at_work(tree, plant) as system, trio.open_nursery() as nursery:

        async def crash(name: str) -> None:
            while name in plant.ill:
                await system.ref(f"root/top/{name}", Crashing).send(Crashing.in_crash, 0)
                await trio.sleep(1)

        plant.ill = {"base", *names(3)}
        for name in plant.ill:
            nursery.start_soon(crash, name)
        await until_phase(system, EMERGENCY)
        plant.ill = set()
        await until_phase(system, NORMAL)

        timeline = [what for _, what in plant.of(EmergencyEnded)[0].report.timeline]
        assert any(what.startswith("restarts in order") for what in timeline)


class Crashing(Machine):
    """Crashes when it is told to."""

    async def health(self) -> HealthStatus:
        return HealthStatus.HEALTHY

    @in_port
    def in_crash(self, number: int) -> None:
        raise RuntimeError(number)


def crashing(plant: Plant, name: str, **options: Any) -> ChildSpec[Crashing]:
    """One that crashes when it is told to, and may do so often."""
    return child(Crashing, plant).options(name=name, **options)


async def crash(system: System, paths: list[str]) -> None:
    """All of these crash, now."""
    for path in paths:
        system.ref(path, Crashing).send_nowait(Crashing.in_crash, 0)


async def test_three_hundred_that_crash_at_once_restart_at_a_bounded_pace_and_none_is_refused() -> None:
    plant = Plant()
    options = {"max_restarts": 100, "within": 100.0, "backoff": None}
    groups = [supervisor(*(crashing(plant, f"c{number}", **options) for number in range(30)), name=f"g{group}") for group in range(10)]
    paths = [f"root/top/g{group}/c{number}" for group in range(10) for number in range(30)]

    async with at_work(supervisor(*groups, name="top"), plant) as system:
        for _ in range(5):
            await crash(system, paths)
            await trio.sleep(0.01)
        await trio.sleep(120)

        restarts = sorted(time + each.delay for time, each in plant.all_of(ChildExited) if each.restarting)
        assert len(restarts) > 900
        assert all(
            last - first >= (len(restarts[:number]) - 900) / 15 - 0.1
            for number, (first, last) in enumerate(zip(restarts[:1] * len(restarts), restarts, strict=True))
        )
        assert plant.of(SupervisorGaveUp) == plant.of(ChildQuarantined) == []
        assert all(system.ref(path).is_alive for path in paths)


async def test_a_storm_makes_no_budget_tighter() -> None:
    plant = Plant()
    lively = crashing(plant, "lively", max_restarts=200, within=1.0)

    async with at_work(supervisor(lively, name="top"), plant) as system:
        for _ in range(60):
            await crash(system, ["root/top/lively"])
            await trio.sleep(0.01)

        delays = [each.delay for each in plant.of(ChildExited)]
        assert len(delays) > 60
        assert all(system.kernel.restart_delay(trio.current_time()) == 0 for _ in range(30))


async def test_settings_are_kept() -> None:
    plant = Plant()
    settings = CascadeManager.settings(poll=1, stabilise=2, step_time=1, steps=(0.5, 1.0), emergency_rate=0.5)

    async with open_system(plant_tree(plant, 3), cascade=settings) as system:
        plant.ill = names(2)
        await until_phase(system, EMERGENCY)
        rate = system.cascade.rate
        plant.ill = set()
        began = trio.current_time()
        await until_phase(system, NORMAL)

        assert rate == 0.5
        assert trio.current_time() - began == pytest.approx(5, abs=1.2)
