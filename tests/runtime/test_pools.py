"""Pools: several actors of one class behind one address; who gets a message, and what others see of them."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio

from actorkit import (
    Actor,
    AskFailed,
    DeadlockError,
    Down,
    MailboxFull,
    MessageTypeError,
    OutPort,
    Route,
    SpecError,
    SpecTypeError,
    WiringError,
    by_key,
    child,
    dynamic_supervisor,
    in_port,
    least_loaded,
    open_system,
    pool,
    round_robin,
    supervisor,
    wire,
)
from tests.pipelines import Doubler, Memory, Numbers, Sink
from tests.runs import run_inside


def tens(number: int) -> int:
    """The key of a number."""
    return number // 10


class Clerk(Actor):
    """Writes down which of them did what, after a while."""

    def __init__(self, done: list[tuple[str, int]], takes: float = 0.0) -> None:
        self.done = done
        self.takes = takes

    @in_port(capacity=4)
    async def in_number(self, number: int) -> str:
        if self.takes:
            await trio.sleep(self.takes)
        self.done.append((self.name, number))
        return self.name


def by_clerk(done: list[tuple[str, int]]) -> dict[str, list[int]]:
    """What each of them did, in order."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for name, number in done:
        found[name].append(number)
    return dict(found)


async def test_a_round_robin_pool_deals_its_messages_out_in_turn() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(pool(Clerk, done, size=3)) as system:
        clerk = system.ref(Clerk)

        for number in range(6):
            await clerk.send(Clerk.in_number, number)
        await system.settle()

    assert by_clerk(done) == {"clerk-1": [0, 3], "clerk-2": [1, 4], "clerk-3": [2, 5]}


async def test_a_least_loaded_pool_gives_a_message_to_whoever_has_least_to_do() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(pool(Clerk, done, 1.0, size=2, route=least_loaded)) as system:
        clerk = system.ref(Clerk)

        for number in range(3):
            await clerk.send(Clerk.in_number, number)
            await trio.sleep(0.4)
        await clerk.send(Clerk.in_number, 3)  # when the first has just begun another, and the second is nearly done
        await trio.sleep(0.3)
        await clerk.send(Clerk.in_number, 4)
        await system.settle()

    assert by_clerk(done) == {"clerk-1": [0, 2, 3], "clerk-2": [1, 4]}


async def test_by_key_all_messages_of_a_key_go_to_one_member_in_order() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(pool(Clerk, done, 0.1, size=4, route=by_key(tens))) as system:
        clerk = system.ref(Clerk)

        async with trio.open_nursery() as nursery:
            for key in range(20):

                async def send(key: int = key) -> None:
                    for number in range(10):
                        await clerk.send(Clerk.in_number, 10 * key + number)

                nursery.start_soon(send)
        await system.settle()

    owners: defaultdict[int, set[str]] = defaultdict(set)
    order: defaultdict[int, list[int]] = defaultdict(list)
    for name, number in done:
        owners[tens(number)].add(name)
        order[tens(number)].append(number)
    assert all(len(names) == 1 for names in owners.values())
    assert all(numbers == sorted(numbers) and len(numbers) == 10 for numbers in order.values())
    assert len({name for names in owners.values() for name in names}) == 4


async def test_a_pool_answers_an_ask_like_one_actor() -> None:
    async with open_system(pool(Clerk, [], size=2)) as system:
        clerk = system.ref(Clerk)

        assert [await clerk.ask(Clerk.in_number, 1) for _ in range(3)] == ["clerk-1", "clerk-2", "clerk-1"]
        assert await clerk.port(Clerk.in_number).ask(1) == "clerk-2"


async def test_a_message_of_the_wrong_type_is_refused_at_the_door() -> None:
    async with open_system(pool(Clerk, [], size=2)) as system:
        with pytest.raises(MessageTypeError, match=r"root/supervisor/clerk\.in_number takes int, not str"):
            await system.ref(Clerk).send(Clerk.in_number, "one")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]

        assert system.ledger().accepted == 0


async def test_a_message_passes_by_members_that_are_full_and_waits_when_all_are() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(pool(Clerk, done, 10.0, size=2)) as system:
        clerk = system.ref(Clerk)
        for number in range(2):
            await clerk.send(Clerk.in_number, number)
        await trio.sleep(1)  # both are at work
        for number in range(8):
            clerk.send_nowait(Clerk.in_number, number)

        with pytest.raises(MailboxFull):
            clerk.send_nowait(Clerk.in_number, 8)
        before = trio.current_time()
        await clerk.send(Clerk.in_number, 9)

        assert trio.current_time() - before == pytest.approx(9)
        system.ledger().check()


async def test_the_ledger_has_one_entry_for_each_port_of_a_pool() -> None:
    async with open_system(pool(Clerk, [], size=3)) as system:
        for number in range(7):
            await system.ref(Clerk).send(Clerk.in_number, number)
        await system.settle()

        ledger = system.ledger()

        assert list(ledger.ports) == ["root/supervisor/clerk.in_number"]
        assert ledger.ports["root/supervisor/clerk.in_number"].processed == ledger.processed == 7


async def test_a_snapshot_shows_a_pool_with_its_members() -> None:
    async with open_system(pool(Clerk, [], size=2)) as system:
        await system.ref(Clerk).ask(Clerk.in_number, 1)

        [shown] = system.snapshot()["children"][0]["children"]

        assert (shown["kind"], shown["path"], shown["status"]) == ("pool", "root/supervisor/clerk", "running")
        assert shown["ports"]["in_number"]["processed"] == 1
        assert [(each["path"], each["status"]) for each in shown["members"]] == [
            ("root/supervisor/clerk/clerk-1", "running"),
            ("root/supervisor/clerk/clerk-2", "running"),
        ]


async def test_a_pool_is_one_child_of_its_supervisor_and_the_supervisor_of_its_members() -> None:
    async with open_system(pool(Clerk, [], size=2).options(name="clerks")) as system:
        [info] = system.supervisor("root/supervisor").which_children()
        members = system.supervisor("root/supervisor/clerks").which_children()

        assert (info.name, info.kind, info.ref) == ("clerks", "pool", system.ref(Clerk))
        assert [each.name for each in members] == ["clerks-1", "clerks-2"]
        assert system.ref("root/supervisor/clerks/clerks-2", Clerk) == members[1].ref
        assert system.ref("root/supervisor/clerks", Clerk) == info.ref


async def test_a_pool_is_one_actor_in_wires() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Numbers, 30),
        pool(Doubler, lines, size=3),
        child(Memory, lines),
        wires=[Numbers.out_number >> Doubler.in_number, Doubler.out_number >> Memory.in_number],
    )
    report = await run_inside(tree)

    assert report.outcome == "completed"
    numbers = sorted(int(line) for line in lines if line.lstrip("-").isdigit())
    assert numbers == [-1, -1, -1, *(2 * number for number in range(30))]
    report.ledger.check()


async def test_the_members_of_a_pool_drain_together() -> None:
    lines: list[str] = []

    class Noting(Doubler):
        async def handle(self, number: int) -> None:
            await trio.sleep(number)
            lines.append(f"{number} handled")

    tree = supervisor(
        child(Numbers, 10),
        pool(Noting, lines, size=3).options(name="doubler"),
        child(Sink, lines),
        wires=[Numbers.out_number >> Noting.in_number, Noting.out_number >> Sink.in_number],
    )
    report = await run_inside(tree)

    drained = [line for line in lines if line.endswith("drained")]
    first = lines.index(drained[0])
    assert sorted(drained) == ["doubler-1 drained", "doubler-2 drained", "doubler-3 drained", "sink drained"]
    assert drained[-1] == "sink drained"
    assert {line for line in lines[:first] if line.endswith("handled")} == {f"{number} handled" for number in range(10)}
    assert {line for line in lines if line.isdigit()} == {str(2 * number) for number in range(10)}
    assert sorted(line for line in lines if "stopped" in line) == [f"doubler-{n} stopped: normal" for n in (1, 2, 3)]
    assert report.ledger.processed == report.ledger.accepted


async def test_a_pool_of_sources_ends_when_all_of_them_have() -> None:
    lines: list[str] = []
    tree = supervisor(pool(Numbers, 3, size=2), child(Sink, lines), wires=[Numbers.out_number >> Sink.in_number])
    report = await run_inside(tree)

    assert sorted(line for line in lines if line.isdigit()) == ["0", "0", "1", "1", "2", "2"]
    assert lines[-1] == "sink drained"
    assert report.outcome == "completed"


async def test_a_drained_pool_with_an_unwired_in_port_stays_for_those_who_ask() -> None:
    lines: list[str] = []
    tree = supervisor(child(Numbers, 4), pool(Memory, lines, size=2), wires=[Numbers.out_number >> Memory.in_number])
    async with open_system(tree) as system:
        await system.wait()

        assert sorted(line for line in lines if line.endswith("drained")) == ["memory-1 drained", "memory-2 drained"]
        assert await system.ref(Memory).ask(Memory.in_how_many, None) == 4


class Pair(Actor):
    """Sends each number to two, or to nobody."""

    out_number = OutPort(int)

    def __init__(self) -> None:
        self.refused = 0

    @in_port
    def in_number(self, number: int) -> None:
        try:
            self.out_number.send_nowait(number)
        except MailboxFull:
            self.refused += 1

    @in_port
    def in_refused(self, _: None) -> int:
        return self.refused


async def test_a_broadcast_to_a_pool_and_another_is_accepted_by_both_or_neither() -> None:
    done: list[tuple[str, int]] = []
    lines: list[str] = []
    tree = supervisor(
        child(Pair),
        pool(Clerk, done, 10.0, size=1, route=by_key(tens)),
        child(Sink, lines),
        wires=[Pair.out_number >> Clerk.in_number, Pair.out_number >> Sink.in_number],
    )
    async with open_system(tree) as system:
        await system.ref(Pair).send(Pair.in_number, 0)
        await trio.sleep(1)
        for number in range(1, 7):
            await system.ref(Pair).send(Pair.in_number, number)
        refused = await system.ref(Pair).ask(Pair.in_refused, None)
        await system.settle()

    assert refused == 2
    assert lines[:-1] == [str(number) for number in range(5)] == [str(number) for _, number in done]
    assert lines[-1] == "sink drained"


async def test_a_wire_can_be_shared_by_key() -> None:
    done: list[tuple[str, int]] = []
    clerks = [child(Clerk, done).options(name=name) for name in ("a", "b", "c")]
    tree = supervisor(
        child(Numbers, 200), *clerks, wires=[wire(Numbers.out_number, [each[Clerk.in_number] for each in clerks], route=by_key(tens))]
    )
    await run_inside(tree)

    owners = {tens(number): name for name, number in done}
    assert set(owners.values()) == {"a", "b", "c"}
    assert all(owners[tens(number)] == name for name, number in done)


class Self(Actor):
    """Asks the pool that it is in."""

    @in_port
    async def in_ask(self, deeper: bool) -> str:
        return f"{self.name} asked {await self.system.ref(Self).ask(Self.in_ask, False)}" if deeper else self.name


async def test_a_member_that_asks_its_pool_is_answered_by_another() -> None:
    async with open_system(pool(Self, size=2, route=least_loaded)) as system:
        assert await system.ref(Self).ask(Self.in_ask, True) == "self-1 asked self-2"


async def test_a_member_that_would_have_to_answer_itself_is_told_at_once() -> None:
    async with open_system(pool(Self, size=2, route=by_key(lambda _: "all"))) as system:
        with pytest.raises(AskFailed) as failed:
            await system.ref(Self).ask(Self.in_ask, True)

    assert failed.value.error is not None
    assert isinstance(failed.value.error.exception, DeadlockError)


class Watcher(Actor):
    def __init__(self, downs: list[str]) -> None:
        self.downs = downs

    async def on_start(self) -> None:
        self.watch(self.system.ref(Clerk), Watcher.in_down)

    @in_port
    def in_down(self, down: Down) -> None:
        self.downs.append(f"{down.ref.path}: {down.reason.value}")


async def test_a_pool_that_is_stopped_keeps_its_mail_and_its_watchers_hear_of_it() -> None:
    done: list[tuple[str, int]] = []
    downs: list[str] = []
    async with open_system(supervisor(pool(Clerk, done, 1.0, size=2), child(Watcher, downs), name="top")) as system:
        clerk, top = system.ref(Clerk), system.supervisor("root/top")
        for number in range(6):
            await clerk.send(Clerk.in_number, number)
        await trio.sleep(0.5)

        await top.stop_child("clerk")
        await clerk.send(Clerk.in_number, 99)
        await system.settle()
        assert (clerk.is_alive, downs, len(done)) == (False, ["root/top/clerk: shutdown"], 2)
        [letter] = await system.dead_letters.inspect()
        assert (letter.port, letter.message) == ("root/top/clerk.in_number", 99)

        await top.restart_child("clerk")
        await system.settle()
        assert sorted(number for _, number in done) == [0, 1, 2, 3, 4, 5]
        assert await system.dead_letters.reprocess() == 1
        await system.settle()
        assert [number for _, number in done][-1] == 99
        system.ledger().check()


async def test_pools_are_started_and_deleted_at_run_time() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(dynamic_supervisor(name="top")) as system:
        top = system.supervisor("root/top")

        clerk = await top.start_child(pool(Clerk, done, size=2))
        await clerk.send(Clerk.in_number, 1)
        await system.settle()
        assert (clerk.path, done) == ("root/top/clerk-1", [("clerk-1", 1)])

        await top.stop_child("clerk-1")
        assert top.which_children() == []
        await clerk.send(Clerk.in_number, 2)
        ledger = system.ledger()
        assert (ledger.accepted, ledger.processed, ledger.dead_lettered) == (2, 1, 1)
        ledger.check()


async def test_a_member_stopped_by_hand_is_passed_by() -> None:
    done: list[tuple[str, int]] = []
    async with open_system(pool(Clerk, done, size=2)) as system:
        members = system.supervisor("root/supervisor/clerk")

        await members.stop_child("clerk-1")
        for number in range(3):
            await system.ref(Clerk).send(Clerk.in_number, number)
        await system.settle()
        assert {name for name, _ in done} == {"clerk-2"}

        await members.restart_child("clerk-1")
        for number in range(2):
            await system.ref(Clerk).send(Clerk.in_number, number)
        await system.settle()
        assert {name for name, _ in done[3:]} == {"clerk-1", "clerk-2"}
        system.ledger().check()


async def test_a_pool_makes_its_members_itself() -> None:
    async with open_system(pool(Clerk, [], size=2)) as system:
        with pytest.raises(SpecError, match="is a pool and makes its members itself"):
            await system.supervisor("root/supervisor/clerk").start_child(child(Clerk, []))


async def test_two_pools_of_a_class_are_told_apart_by_their_specs() -> None:
    lines: list[str] = []
    left, right = pool(Sink, lines, size=1).options(name="left"), pool(Sink, lines, size=1).options(name="right")
    with pytest.raises(WiringError, match=r"root/supervisor/left, root/supervisor/right"):
        async with open_system(supervisor(child(Numbers), left, right, wires=[Numbers.out_number >> Sink.in_number])):
            raise AssertionError("unreachable")

    await run_inside(supervisor(child(Numbers), left, right, wires=[Numbers.out_number >> right[Sink.in_number]]))
    assert "right-1 drained" in lines
    assert lines[:3] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("size", "route", "expected"),
    [
        (0, round_robin, "size = 0: expected a whole number, 1 or more"),
        ((3, 2), round_robin, r"size = \(3, 2\): expected \(least, most\)"),
        ((1, 2, 3), round_robin, r"size = \(1, 2, 3\): expected a whole number, or two"),
    ],
)
def test_a_size_out_of_range_is_refused(size: int, route: Route, expected: str) -> None:
    with pytest.raises(SpecError, match=f"pool 'clerk': {expected}"):
        pool(Clerk, [], size=size, route=route)


def test_a_route_and_a_key_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(SpecTypeError, match=r"pool 'clerk': route = 'by_key': expected round_robin, least_loaded or by_key"):
        pool(Clerk, [], route="by_key")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(SpecTypeError, match=r"by_key: key = 'customer': expected a function"):
        by_key("customer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_key_that_has_no_fixed_place_is_refused_at_the_sender() -> None:
    async with open_system(pool(Clerk, [], route=by_key(lambda number: [number]))) as system:
        with pytest.raises(SpecTypeError, match=r"by_key: \[1\] is no key"):
            await system.ref(Clerk).send(Clerk.in_number, 1)

        assert system.ledger().accepted == 0
