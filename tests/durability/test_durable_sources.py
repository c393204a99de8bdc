"""Sources that send to durable ports: committed with their position, held up by those who are slower."""

from __future__ import annotations

import pytest
import trio

from actorkit import MemoryStore, OutPort, SupervisorSpec, child, in_port, open_system, supervisor
from tests.durability.shop import Item, Positioned, Script, Sink, Tight, killed, messages, names


class Numbers(Positioned):
    """A source whose position moves on after each send."""

    out_item = OutPort(Item)

    def __init__(self, count: int, rest: float = 0.0) -> None:
        self.count = count
        self.rest = rest

    async def run(self) -> None:
        while self.position < self.count:
            await self.out_item.send(Item(str(self.position)))
            self.position += 1
            if self.rest:
                await trio.sleep(self.rest)


class Pairs(Numbers):
    """Sends two for each position."""

    out_other = OutPort(Item)

    async def run(self) -> None:
        while self.position < self.count:
            await self.out_item.send(Item(f"a{self.position}"))
            await self.out_other.send(Item(f"b{self.position}"))
            self.position += 1
            await trio.sleep(self.rest)


def fan(count: int, script: Script, receivers: int) -> SupervisorSpec:
    """A source, and so many slow receivers that get all it sends."""
    ends = [child(Tight, script).options(name=f"end-{number}") for number in range(receivers)]
    wires = [Numbers.out_item >> end[Tight.in_tight] for end in ends]
    return supervisor(child(Numbers, count), *ends, name="top", wires=wires)


@pytest.mark.parametrize("receivers", [1, 2, 3])
async def test_a_source_is_held_up_by_its_slowest_receiver(receivers: int) -> None:
    store, script = MemoryStore(), Script(waits={str(number): 1.0 for number in range(30)})
    async with open_system(fan(30, script, receivers), store=store) as system:
        await trio.sleep(10.5)

        assert all(count <= 3 for count in messages(store).values())  # one in hand, one queued, one above the capacity
        await system.wait()
        assert await names(system, "root/top/end-0") == [str(number) for number in range(30)]


async def test_a_source_started_again_goes_on_where_its_committed_outputs_end() -> None:
    store = MemoryStore()
    lefts: list[MemoryStore] = []
    tree = [supervisor(child(Numbers, 20, 1.0), child(Sink), name="top", wires=[Numbers.out_item >> Sink.in_item]) for _ in range(4)]
    async with open_system(tree[0], store=store) as system:
        for seconds in (0.5, 7.0, 5.0):
            await trio.sleep(seconds)
            lefts.append(killed(store))
        await system.wait()

    for left, again in zip(lefts, tree[1:], strict=True):
        async with open_system(again, store=left) as system:
            await system.wait()
            assert await names(system, Sink) == [str(number) for number in range(20)]


async def test_what_a_slow_source_sends_is_there_within_a_second() -> None:
    tree = supervisor(child(Numbers, 2, 100.0), child(Sink), name="top", wires=[Numbers.out_item >> Sink.in_item])
    async with open_system(tree, store=MemoryStore()) as system:
        await trio.sleep(1.0)
        assert await names(system, Sink) == ["0"]
        await trio.sleep(100.0)
        assert await names(system, Sink) == ["0", "1"]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.5, 3.0, 4.2])
async def test_two_outputs_of_one_position_are_committed_together(seconds: float) -> None:
    def tree() -> SupervisorSpec:
        one, other = child(Sink).options(name="one"), child(Sink).options(name="other")
        wires = [Pairs.out_item >> one[Sink.in_item], Pairs.out_other >> other[Sink.in_item]]
        return supervisor(child(Pairs, 5, 1.0), one, other, name="top", wires=wires)

    store = MemoryStore()
    async with open_system(tree(), store=store) as system:
        await trio.sleep(seconds)
        left = killed(store)

    async with open_system(tree(), store=left) as system:
        await system.wait()
        assert await names(system, "root/top/one") == [f"a{number}" for number in range(5)]
        assert await names(system, "root/top/other") == [f"b{number}" for number in range(5)]


async def test_an_end_in_order_commits_what_the_source_has_sent_and_the_next_run_goes_on() -> None:
    store = MemoryStore()
    for run in range(4):
        tree = supervisor(child(Numbers, 8, 1.0), child(Sink), name="top", wires=[Numbers.out_item >> Sink.in_item])
        async with open_system(tree, store=store) as system:
            await trio.sleep(1.5)
            system.ledger().check()
            found = await names(system, Sink)
        assert found == [str(number) for number in range(2 * (run + 1))]


async def test_a_source_that_fails_sends_nothing_twice() -> None:
    class Failing(Numbers):
        async def run(self) -> None:
            while self.position < self.count:
                await self.out_item.send(Item(str(self.position)))
                if self.position % 3 == 1 and self.position not in failed:
                    failed.append(self.position)
                    raise RuntimeError("a bug")
                self.position += 1

    failed: list[int] = []
    tree = supervisor(child(Failing, 9), child(Sink), name="top", wires=[Failing.out_item >> Sink.in_item])
    async with open_system(tree, store=MemoryStore()) as system:
        await system.wait()

        assert failed == [1, 4, 7]
        assert await names(system, Sink) == [str(number) for number in range(9)]


class Both(Numbers):
    """Handles messages as well, between the two that it sends for a position."""

    def __init__(self, count: int, keyed: bool) -> None:
        super().__init__(count, 1.0)
        self.keyed = keyed

    @in_port(durable=True)
    def in_item(self, item: Item) -> None:
        """Is committed, with what was sent before."""

    async def run(self) -> None:
        while self.position < self.count:
            await self._send("a", "one")
            await trio.sleep(self.rest)
            await self._send("b", "other")
            self.position += 1

    async def _send(self, letter: str, to: str) -> None:
        name = f"{letter}{self.position}"
        await self.system.ref(f"root/top/{to}", Sink).send(Sink.in_item, Item(name), key=name if self.keyed else None)


@pytest.mark.parametrize("keyed", [True, False])
async def test_a_source_with_durable_ports_needs_keys_for_several_messages_of_one_position(keyed: bool) -> None:
    def tree() -> SupervisorSpec:
        one, other = child(Sink).options(name="one"), child(Sink).options(name="other")
        return supervisor(one, other, child(Both, 3, keyed), name="top")

    store = MemoryStore()
    async with open_system(tree(), store=store) as system:
        await trio.sleep(1.5)
        await system.ref(Both).send(Both.in_item, Item("x"))
        await trio.sleep(0.1)
        left = killed(store)

    async with open_system(tree(), store=left) as system:
        await system.wait()
        assert await names(system, "root/top/one") == (["a0", "a1", "a2"] if keyed else ["a0", "a1", "a1", "a2"])
        assert await names(system, "root/top/other") == ["b0", "b1", "b2"]
