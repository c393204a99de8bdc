"""Whatever components and operators do, in whatever order: no message is lost, doubled or out of order, and all comes to an end."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from actorkit import (
    CascadeManager,
    CascadePhase,
    HealthStatus,
    MemoryStore,
    OutPort,
    SupervisionError,
    System,
    by_key,
    child,
    in_batch,
    in_port,
    keyed,
    pool,
    supervisor,
)
from actorkit.events import CascadeWatchFailed, EmergencyBegan, EmergencyEnded
from tests.scenarios.plant import Machine, Plant, Source, at_work, machines, until_phase

MESSAGES = 300
FAST = CascadeManager.settings(poll=1.0, stabilise=3.0, step_time=2.0)


class Taker(Machine):
    """Takes numbers at a port of each kind."""

    out_done = OutPort(int)

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if self.path.split("/")[2] in self.plant.ill else HealthStatus.HEALTHY

    def done(self, kind: str, *numbers: int) -> None:
        self.plant.done.setdefault(kind, []).extend(numbers)

    @in_port(capacity=5)
    async def in_plain(self, number: int) -> None:
        if number % 17 == 0:
            await trio.sleep(0.5)
        self.done("plain", number)
        await self.out_done.send(number)

    @in_port(capacity=5, ordered=False)
    async def in_any_order(self, number: int) -> None:
        if number % 17 == 0:
            await trio.sleep(0.5)
        self.done("any_order", number)

    @in_port(capacity=5, block_timeout=30)
    def in_impatient(self, number: int) -> None:
        self.done("impatient", number)

    @in_port(capacity=5)
    def in_pool(self, number: int) -> None:
        self.done("pool", number)

    @in_port(capacity=5)
    def in_keys(self, number: int) -> None:
        self.done("keys", number)

    @in_port(capacity=3)
    def in_last(self, number: int) -> None:
        self.done("last", number)


class Collector(Taker):
    """Takes numbers in batches, too."""

    @in_batch(size=7, wait=0.3, capacity=10)
    def in_batches(self, numbers: list[int]) -> None:
        self.done("batches", *numbers)


class Keeper(Taker):
    """Keeps what it takes."""

    @in_port(capacity=5, durable=True)
    def in_kept(self, number: int) -> None:
        self.done("kept", number)


KINDS: dict[str, Any] = {
    "plain": Taker.in_plain,
    "any_order": Taker.in_any_order,
    "impatient": Taker.in_impatient,
    "batches": Collector.in_batches,
    "pool": Taker.in_pool,
    "keys": Taker.in_keys,
    "kept": Keeper.in_kept,
}
UNORDERED = ("any_order",)
BY_KEY = {"pool": 5, "keys": 11}
TAKERS = ["mixed", "pool", "keys", "keeper", "last"]

_ILL = st.frozensets(st.sampled_from([*TAKERS, "m0", "m1", "m2"]), max_size=8)
_EVENTS = st.tuples(
    st.sampled_from([0.0, 0.05, 0.7, 2.5, 6.0]),
    st.one_of(
        st.tuples(st.just("ill"), _ILL),
        st.tuples(st.sampled_from(["force", "abort", "both"]), st.none()),
        st.tuples(st.just("resize"), st.integers(1, 4)),
        st.tuples(st.just("restart"), st.sampled_from(["mixed", "last", "keeper"])),
    ),
)


def tree_of(plant: Plant) -> Any:
    """A source for each kind of port."""
    mixed, last = child(Collector, plant).options(name="mixed"), child(Taker, plant).options(name="last")
    takers: dict[str, Any] = {
        "pool": pool(Taker, plant, size=2, route=by_key(lambda number: number % 5)).options(name="pool"),
        "keys": keyed(Taker, plant, by=lambda number: number % 11, passivate_after=1.0).options(name="keys"),
        "kept": child(Keeper, plant).options(name="keeper"),
    }
    sources = {kind: child(Source, plant, 40, MESSAGES).options(name=f"to_{kind}") for kind in KINDS}
    wires: list[Any] = [sources[kind][Source.out_number] >> takers.get(kind, mixed)[port] for kind, port in KINDS.items()]
    wires.append(mixed[Collector.out_done] >> last[Taker.in_last])
    return supervisor(mixed, last, *takers.values(), *sources.values(), *machines(plant, 3), wires=wires, name="top", max_restarts=10_000)


async def happen(system: System, plant: Plant, event: str, detail: Any) -> None:
    """One of the things that may happen."""
    match event:
        case "ill":
            plant.ill = set(detail)
        case "force":
            system.cascade.force()
        case "abort":
            system.cascade.abort()
        case "both":
            system.cascade.abort()
            system.cascade.force()
        case "resize":
            await system.supervisor("root/top/pool").resize(detail)
        case _:
            await system.supervisor("root/top").stop_child(detail)
            await system.supervisor("root/top").restart_child(detail)


async def live_through(events: list[tuple[float, tuple[str, Any]]], seed: int) -> Plant:
    """All of it; then everybody is well."""
    plant = Plant()
    async with at_work(tree_of(plant), plant, FAST, store=MemoryStore(), seed=seed) as system:
        for wait, (event, detail) in events:
            await trio.sleep(wait)
            with suppress(SupervisionError):  # it has ended by itself
                await happen(system, plant, event, detail)
        plant.ill = set()
        with trio.fail_after(1_000):
            await until_phase(system, CascadePhase.NORMAL)
            await system.wait()
        await trio.sleep(1)
        ledger = system.ledger()
        assert (ledger.dropped, ledger.queued, ledger.in_flight) == (0, 0, 0)
        assert ledger.dead_lettered_by.keys() <= {"receiver_stopped"}
        plant.sent["dead letters"] = ledger.dead_lettered
    return plant


@settings(max_examples=25, deadline=None)
@given(st.lists(_EVENTS, max_size=25), st.integers(0, 1_000))
def test_nothing_is_lost_or_doubled_and_all_comes_to_an_end(events: list[tuple[float, tuple[str, Any]]], seed: int) -> None:
    plant = trio.run(partial(live_through, events, seed), clock=MockClock(autojump_threshold=0))

    assert plant.of(CascadeWatchFailed) == []
    assert len(plant.of(EmergencyBegan)) == len(plant.of(EmergencyEnded))
    for kind in (*KINDS, "last"):
        done = plant.done.get(kind, [])
        assert max(Counter(done).values(), default=0) <= 1, kind
        if not plant.sent["dead letters"]:  # what came in the instant that an actor was stopped by hand for is one
            assert sorted(done) == list(range(MESSAGES)), kind
        for key in range(BY_KEY.get(kind, 1)) if kind not in UNORDERED else ():
            ours = [number for number in done if number % BY_KEY.get(kind, 1) == key]
            assert kind == "last" or ours == sorted(ours), kind
