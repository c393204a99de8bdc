"""Durable ports, as their users see them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    DeadLetterReason,
    EncodingError,
    MemoryStore,
    OutPort,
    SpecError,
    SupervisionError,
    SupervisorSpec,
    Topic,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    pool,
    supervisor,
)
from actorkit.errors import CommitNeeded
from actorkit.storage.store import Changes
from tests.durability.shop import QUICK, Item, Keeper, Script, Sink, Tight, killed, messages, names, send


def slip() -> Exception:
    return TransientError("a slip")


def bug() -> Exception:
    return RuntimeError("a bug")


def bad() -> Exception:
    return ValidationError("bad")


def chain(script: Script | None = None, end: Script | None = None) -> SupervisorSpec:
    """A keeper that sends on to a sink."""
    return supervisor(child(Keeper, script), child(Sink, end), name="top", wires=[Keeper.out_item >> Sink.in_item], recovery=QUICK)


# ---- sending


async def test_what_was_sent_is_in_the_store_when_send_returns() -> None:
    store, script = MemoryStore(), Script(gate=trio.Event())
    async with open_system(child(Keeper, script), store=store) as system:
        for count in range(1, 4):
            await send(system, str(count))
            assert messages(store) == {"root/supervisor/keeper.in_item": count}
        assert script.gate is not None
        script.gate.set()
        await system.wait()
        assert messages(store) == {}


async def test_what_is_left_at_the_end_stays_in_the_store_for_the_next_run_in_order() -> None:
    store = MemoryStore()
    async with open_system(child(Keeper, Script(waits={"b": 100.0})).options(shutdown=1.0), store=store) as system:
        await send(system, "a")
        await system.settle()
        await send(system, "b", "c", "d")
    assert system.ledger().dead_lettered == 0
    assert system.ledger().queued == 3
    system.ledger().check()

    async with open_system(child(Keeper), store=store) as system:
        await system.wait()
        assert await names(system) == ["a", "b", "c", "d"]
        assert system.ledger().accepted == 3 + 1


async def test_a_sender_waits_while_the_port_is_full_and_one_that_is_cancelled_has_sent_nothing() -> None:
    store, script = MemoryStore(), Script(gate=trio.Event())
    async with open_system(child(Tight, script), store=store) as system:
        ref = system.ref(Tight)
        await ref.send(Tight.in_tight, Item("a"))
        await wait_all_tasks_blocked()
        await ref.send(Tight.in_tight, Item("b"))
        with trio.move_on_after(5) as scope:
            await ref.send(Tight.in_tight, Item("c"))
        assert scope.cancelled_caught
        assert messages(store) == {"root/supervisor/tight.in_tight": 2}
        assert script.gate is not None
        script.gate.set()
        await system.wait()

        assert await names(system, Tight) == ["a", "b"]
        system.ledger().check()


async def test_what_cannot_wait_for_the_store_is_refused_outside_of_a_step_and_staged_inside() -> None:
    class Emitter(Actor):
        out_item = OutPort(Item)

        async def on_start(self) -> None:
            with pytest.raises(CommitNeeded):
                self.out_item.emit(Item("too early"))

        @in_port
        def in_go(self, _: None) -> None:
            self.out_item.emit(Item("emitted"))
            self.out_item.send_nowait(Item("sent"))

    tree = supervisor(child(Emitter), child(Sink), name="top", wires=[Emitter.out_item >> Sink.in_item])
    async with open_system(tree, store=MemoryStore()) as system:
        with pytest.raises(CommitNeeded, match="durable"):
            system.ref(Sink).send_nowait(Sink.in_item, Item("no"))
        await system.ref(Emitter).send(Emitter.in_go, None)
        await system.wait()

        assert await names(system, Sink) == ["emitted", "sent"]


@frozen
class Odd:
    """A message with something that can't be written."""

    what: object


async def test_a_message_that_cannot_be_written_is_refused_at_its_sender() -> None:
    class Taker(Keeper):
        @in_port(durable=True)
        def in_odd(self, odd: Odd) -> None: ...

    async with open_system(child(Taker), store=MemoryStore()) as system:
        with pytest.raises(EncodingError):
            await system.ref(Taker).send(Taker.in_odd, Odd(object()))
        assert system.ledger().accepted == 0


async def test_a_durable_port_needs_a_store() -> None:
    with pytest.raises(SpecError, match="the system has no store"):
        async with open_system(child(Keeper)):
            pass


# ---- steps


async def test_an_answer_comes_after_the_commit_and_so_does_processed() -> None:
    class Slow(Keeper):
        @in_port(durable=True, commit_every=(100, 2.0))
        def in_slow(self, item: Item) -> str:
            self.names.append(item.name)
            return item.name

    store = MemoryStore()
    async with open_system(child(Slow), store=store) as system:
        ref = system.ref(Slow)
        await ref.send(Slow.in_slow, Item("a"))
        await wait_all_tasks_blocked()
        counts = system.ledger().ports["root/supervisor/slow.in_slow"]
        assert (counts.processed, counts.in_flight) == (0, 1)
        began = trio.current_time()
        assert await ref.ask(Slow.in_slow, Item("b")) == "b"
        assert trio.current_time() - began == pytest.approx(2.0)
        left = killed(store)
        assert system.ledger().ports["root/supervisor/slow.in_slow"].processed == 2

    async with open_system(child(Slow), store=left) as system:
        assert await names(system, Slow) == ["a", "b"]


@pytest.mark.parametrize(("error", "dead"), [(slip, []), (bad, ["b"]), (bug, [])])
async def test_of_a_message_that_fails_nothing_was_sent(error: Callable[[], Exception], dead: list[str]) -> None:
    script = Script(errors={"b": [error]})
    async with open_system(chain(script), store=MemoryStore()) as system:
        await send(system, "a", "b", "c")
        await system.wait()

        expected = [name for name in "abc" if name not in dead]
        assert await names(system, Keeper) == await names(system, Sink) == expected
        assert [letter.message.name for letter in await system.dead_letters.inspect()] == dead
        system.ledger().check()


async def test_a_restart_takes_back_what_is_not_committed_and_goes_on_one_by_one_past_the_failing_one() -> None:
    store, script = MemoryStore(), Script(errors={"c": [bug]}, gate=trio.Event())
    async with open_system(chain(script), store=store) as system:
        await send(system, *"abcde")
        assert script.gate is not None
        script.gate.set()
        await system.wait()

        assert script.seen[-3:] == ["c", "d", "e"]
        assert await names(system, Keeper) == await names(system, Sink) == list("abcde")
        assert system.ledger().ports["root/top/keeper.in_item"].processed == 5


async def test_a_store_without_a_commit_has_neither_the_state_nor_the_outputs() -> None:
    store, script = MemoryStore(), Script(waits={"a": 100.0})
    async with open_system(chain(script), store=store) as system:
        await send(system, "a")
        await wait_all_tasks_blocked()
        left = killed(store)

    async with open_system(chain(), store=left) as system:
        assert messages(left).get("root/top/sink.in_item") is None
        await system.wait()
        assert await names(system, Keeper) == await names(system, Sink) == ["a"]


async def test_on_drained_is_a_step() -> None:
    class Last(Keeper):
        async def on_drained(self) -> None:
            await self.out_item.send(Item("last"))
            await self.out_item.send(Item("words"))

    class Once(Actor):
        out_item = OutPort(Item)

        async def run(self) -> None:
            await self.out_item.send(Item("a"))

    tree = supervisor(
        child(Once), child(Last), child(Sink), name="top", wires=[Once.out_item >> Last.in_item, Last.out_item >> Sink.in_item]
    )
    async with open_system(tree, store=MemoryStore()) as system:
        await system.wait()
        assert await names(system, Sink) == ["a", "last", "words"]


# ---- who takes them


async def test_a_broadcast_reaches_durable_and_other_receivers_alike() -> None:
    class Plain(Keeper):
        @in_port
        def in_plain(self, item: Item) -> None:
            self.names.append(item.name)

    script = Script()
    first, plain, sink = child(Keeper, script).options(name="first"), child(Plain), child(Sink)
    wires = [first[Keeper.out_item] >> sink[Sink.in_item], first[Keeper.out_item] >> plain[Plain.in_plain]]
    async with open_system(supervisor(first, plain, sink, name="top", wires=wires), store=MemoryStore()) as system:
        for name in "abc":
            await system.ref("root/top/first", Keeper).send(Keeper.in_item, Item(name))
        await system.wait()

        assert await names(system, Sink) == await names(system, Plain) == ["a", "b", "c"]


async def test_a_topic_reaches_durable_subscribers() -> None:
    news: Topic[Item] = Topic("news", Item)
    a, b = child(Keeper).options(name="a"), child(Keeper).options(name="b")
    tree = supervisor(a, b, name="top", wires=[news >> a[Keeper.in_item], news >> b[Keeper.in_item]])
    store = MemoryStore()
    async with open_system(tree, store=store) as system:
        for name in "xyz":
            await system.publish(news, Item(name))
        await system.wait()

        assert await names(system, "root/top/a") == await names(system, "root/top/b") == ["x", "y", "z"]


async def test_a_pool_shares_one_journal_whatever_its_size() -> None:
    store, script = MemoryStore(), Script(gate=trio.Event())
    async with open_system(supervisor(pool(child(Keeper, script), size=3), name="top"), store=store) as system:
        for number in range(7):
            await system.ref(Keeper).send(Keeper.in_item, Item(str(number)))
        left = killed(store)
        assert messages(left) == {"root/top/keeper.in_item": 7}
        assert script.gate is not None
        script.gate.set()

    again = Script()
    async with open_system(supervisor(pool(child(Keeper, again), size=1), name="top"), store=left) as system:
        await system.wait()
        assert sorted(again.seen) == [str(number) for number in range(7)]
        assert messages(left) == {}


async def test_a_port_that_no_tree_has_keeps_its_messages_for_one_that_has() -> None:
    store = MemoryStore()
    async with open_system(child(Keeper, Script(gate=trio.Event())).options(shutdown=0.0), store=store) as system:
        await send(system, "a", "b")
    async with open_system(child(Sink), store=store) as system:
        await system.wait()

    async with open_system(child(Keeper), store=store) as system:
        await system.wait()
        assert await names(system) == ["a", "b"]


# ---- setting messages aside


async def test_a_stashed_message_stays_in_the_store_until_it_is_handled() -> None:
    class Stasher(Keeper):
        @in_port(durable=True)
        def in_any(self, item: Item) -> None:
            if item.name == "open":
                self.unstash_all()
            elif "open" not in self.names:
                self.stash()
                return
            self.names.append(item.name)

    store = MemoryStore()
    async with open_system(child(Stasher), store=store) as system:
        for name in "ab":
            await system.ref(Stasher).send(Stasher.in_any, Item(name))
        await system.settle()
        assert messages(store) == {"root/supervisor/stasher.in_any": 2}
        left = killed(store)

    async with open_system(child(Stasher), store=left) as system:
        await system.ref(Stasher).send(Stasher.in_any, Item("open"))
        await system.wait()
        assert await names(system, Stasher) == ["open", "a", "b"]
        assert messages(left) == {}
        system.ledger().check()


async def test_priorities_deadlines_and_unordered_ports_are_as_at_any_port() -> None:
    class Various(Keeper):
        @in_port(durable=True, priority=5)
        async def in_first(self, item: Item) -> None:
            self.names.append(item.name)

        @in_port(durable=True, deadline=1.0)
        async def in_soon(self, item: Item) -> None:
            self.names.append(item.name)

        @in_port(durable=True, ordered=False)
        async def in_any(self, item: Item) -> None:
            await self.script.play(item.name)
            self.names.append(item.name)

    store = MemoryStore()
    script = Script(waits={"slow": 10.0}, errors={"later": [slip]})
    async with open_system(supervisor(child(Various, script), name="top", recovery=QUICK), store=store) as system:
        ref = system.ref(Various)
        await ref.send(Various.in_any, Item("slow"))
        await wait_all_tasks_blocked()
        await ref.send(Various.in_soon, Item("expires"))
        await ref.send(Various.in_any, Item("later"))
        await ref.send(Various.in_any, Item("sooner"))
        await ref.send(Various.in_first, Item("first"))
        await system.wait()

        assert await names(system, Various) == ["slow", "first", "sooner", "later"]
        assert [letter.reason for letter in await system.dead_letters.inspect()] == [DeadLetterReason.EXPIRED]
        assert messages(store) == {}
        system.ledger().check()


# ---- what is in the store


async def altered(change: Callable[[bytes], bytes]) -> MemoryStore:
    """A store with three messages, the second of which is other bytes."""
    store = MemoryStore()
    async with open_system(child(Keeper, Script(gate=trio.Event())).options(shutdown=0.0), store=store) as system:
        await send(system, "a", "b", "c")
    store.open()
    space = "message root/supervisor/keeper.in_item"
    _, (number, body), _ = store.scan(space)
    assert isinstance(body, bytes)
    store.write([Changes([(space, number, change(body))])])
    store.close(clean=True)
    return store


@pytest.mark.parametrize("change", [lambda body: body[:1] + b"\xff\xff\xff", lambda body: body[:-1], lambda _: b"", lambda _: b"\x09"])
async def test_what_cannot_be_read_is_a_dead_letter_and_the_others_are_handled(change: Callable[[bytes], bytes]) -> None:
    store = await altered(change)

    async with open_system(child(Keeper), store=store) as system:
        await system.wait()

        assert await names(system) == ["a", "c"]
        assert [letter.reason for letter in await system.dead_letters.inspect()] == [DeadLetterReason.UNDECODABLE]
        system.ledger().check()
    assert messages(store) == {}


async def test_a_state_of_a_newer_version_ends_the_run_and_is_left_as_it_is() -> None:
    class Newer(Keeper):
        state_version = 2

    store = MemoryStore()
    async with open_system(child(Newer).options(name="keeper"), store=store) as system:
        await system.ref(Newer).send(Newer.in_item, Item("a"))
        await system.wait()

    with pytest.raises(SupervisionError, match="newer program"):
        async with open_system(child(Keeper), store=store):
            pass

    async with open_system(child(Newer).options(name="keeper"), store=store) as system:
        assert await names(system, Newer) == ["a"]
