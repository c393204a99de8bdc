"""Sending: what waits, what is refused, in what order things arrive, and what becomes of messages nobody takes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ActorkitError,
    ActorNotRunning,
    DeadLetterReason,
    MailboxFull,
    MessageTypeError,
    OutPort,
    PortRef,
    System,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)


class Slow(Actor):
    """Handles a message only when its gate is open; remembers all of them."""

    def __init__(self, gate: trio.Event, seen: list[object]) -> None:
        self.gate = gate
        self.seen = seen

    @in_port(capacity=2)
    async def in_job(self, job: int) -> None:
        await self.gate.wait()
        self.seen.append(job)

    @in_port
    async def in_note(self, note: str) -> None:
        await self.gate.wait()
        self.seen.append(note)


class Sender(Actor):
    """Sends numbers the way it is told to."""

    out_job = OutPort(int)

    def __init__(self, sent: list[object]) -> None:
        self.sent = sent

    @in_port
    async def in_send(self, count: int) -> None:
        for number in range(count):
            await self.out_job.send(number)
            self.sent.append(number)

    @in_port
    def in_emit(self, count: int) -> None:
        for number in range(count):
            self.out_job.emit(number)
        self.sent.append(f"{count} emitted")

    @in_port
    def in_try(self, count: int) -> None:
        try:
            for number in range(count):
                self.out_job.send_nowait(number)
        except MailboxFull as full:
            self.sent.append(str(full))

    @in_port
    def in_wrong(self, message: Any) -> None:
        self.out_job.emit(message)


class Pair:
    """A sender wired to a slow receiver, what they have sent and seen, and the gate between."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.seen: list[object] = []
        self.sent: list[object] = []
        self.tree = supervisor(child(Sender, self.sent), child(Slow, self.gate, self.seen), wires=[Sender.out_job >> Slow.in_job])


def job(system: System) -> tuple[int, int, int]:
    """Accepted, queued and in flight at the slow actor's port."""
    counts = system.ledger().ports["root/supervisor/slow.in_job"]
    return counts.accepted, counts.queued, counts.in_flight


# ---- from outside


async def test_send_waits_while_the_port_is_full() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system, trio.open_nursery() as nursery:
        slow = system.ref(Slow)
        await slow.send(Slow.in_job, 0)
        await wait_all_tasks_blocked()  # one is in hand
        await slow.send(Slow.in_job, 1)
        await slow.send(Slow.in_job, 2)
        done = trio.Event()

        async def send_one_more() -> None:
            await slow.send(Slow.in_job, 3)
            done.set()

        nursery.start_soon(send_one_more)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        assert job(system) == (3, 2, 1)  # what waits for room is not accepted yet

        pair.gate.set()
        await done.wait()
        await system.settle()
        assert pair.seen == [0, 1, 2, 3]


async def test_senders_that_wait_are_served_in_order() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system, trio.open_nursery() as nursery:
        slow = system.ref(Slow)
        for number in range(6):
            nursery.start_soon(slow.port(Slow.in_job).send, number)
            await wait_all_tasks_blocked()

        pair.gate.set()
        await system.settle()

        assert pair.seen == list(range(6))


async def test_a_sender_that_is_cancelled_while_it_waits_sent_nothing() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)
        for number in range(3):
            await slow.send(Slow.in_job, number)
            await wait_all_tasks_blocked()

        with trio.move_on_after(1) as scope:
            await slow.send(Slow.in_job, 3)

        assert scope.cancelled_caught
        assert job(system) == (3, 2, 1)
        pair.gate.set()
        await system.settle()
        assert pair.seen == [0, 1, 2]


async def test_send_nowait_on_a_full_port_accepts_nothing() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)
        slow.send_nowait(Slow.in_job, 0)
        await wait_all_tasks_blocked()
        slow.send_nowait(Slow.in_job, 1)
        slow.send_nowait(Slow.in_job, 2)

        with pytest.raises(MailboxFull) as caught:
            slow.send_nowait(Slow.in_job, 3)

        assert str(caught.value) == ("root/supervisor/slow.in_job is full (2 queued): 3 was not accepted; await send() to wait for room")
        assert job(system) == (3, 2, 1)
        pair.gate.set()


async def test_ports_of_one_actor_fill_apart() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)
        for number in range(3):
            await slow.send(Slow.in_job, number)
            await wait_all_tasks_blocked()

        slow.send_nowait(Slow.in_note, "there is room here")
        pair.gate.set()
        await system.settle()

        assert pair.seen == [0, 1, 2, "there is room here"]


# ---- from an actor


async def test_an_actor_that_sends_waits_while_the_port_is_full() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        await system.ref(Sender).send(Sender.in_send, 6)
        await wait_all_tasks_blocked()
        assert pair.sent == [0, 1, 2]  # one in hand, two queued

        pair.gate.set()
        await system.settle()

        assert pair.sent == pair.seen == list(range(6))


async def test_emit_never_waits_and_holds_the_emitter_until_there_is_room() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        sender = system.ref(Sender)
        await sender.send(Sender.in_emit, 6)
        await sender.send(Sender.in_emit, 1)
        await wait_all_tasks_blocked()
        assert pair.sent == ["6 emitted"]  # and the second message is not taken yet
        assert job(system)[0] == 6
        assert system.ledger().ports["root/supervisor/sender.in_emit"].queued == 1

        pair.gate.set()
        await system.settle()

        assert pair.sent == ["6 emitted", "1 emitted"]
        assert pair.seen == [0, 1, 2, 3, 4, 5, 0]


async def test_while_an_emitter_is_held_others_wait_behind_what_it_sent() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system, trio.open_nursery() as nursery:
        await system.ref(Sender).send(Sender.in_emit, 6)
        await wait_all_tasks_blocked()

        nursery.start_soon(system.ref(Slow).port(Slow.in_job).send, 99)
        await wait_all_tasks_blocked()
        assert job(system)[0] == 6

        pair.gate.set()
        await system.settle()
        assert pair.seen == [0, 1, 2, 3, 4, 5, 99]


async def test_send_nowait_to_several_receivers_gives_to_all_or_to_none() -> None:
    gate, seen = trio.Event(), list[object]()
    full, free = child(Slow, gate, seen).options(name="full"), child(Slow, gate, seen).options(name="free")
    wires = [Sender.out_job >> free[Slow.in_job], Sender.out_job >> full[Slow.in_job]]
    sent: list[object] = []
    async with open_system(supervisor(child(Sender, sent), full, free, wires=wires)) as system:
        for number in range(3):
            await system.ref("root/supervisor/full", Slow).send(Slow.in_job, number)
            await wait_all_tasks_blocked()

        await system.ref(Sender).send(Sender.in_try, 1)
        await wait_all_tasks_blocked()

        assert sent == [
            "root/supervisor/sender.out_job: root/supervisor/full.in_job has no room: 0 was not accepted; await send() to wait for room"
        ]
        assert system.ledger().ports["root/supervisor/free.in_job"].accepted == 0
        assert system.ledger().ports["root/supervisor/full.in_job"].accepted == 3
        gate.set()


async def test_a_broadcast_waits_for_every_receiver() -> None:
    gate, open_gate, seen, other = trio.Event(), trio.Event(), list[object](), list[object]()
    open_gate.set()
    slow, fast = child(Slow, gate, seen).options(name="slow"), child(Slow, open_gate, other).options(name="fast")
    wires = [Sender.out_job >> slow[Slow.in_job], Sender.out_job >> fast[Slow.in_job]]
    sent: list[object] = []
    async with open_system(supervisor(child(Sender, sent), slow, fast, wires=wires)) as system:
        await system.ref(Sender).send(Sender.in_send, 6)
        await wait_all_tasks_blocked()
        assert len(sent) == 3

        gate.set()
        await system.settle()

        assert seen == other == sent == list(range(6))


# ---- types


async def test_a_wrong_message_is_refused_at_the_sender_and_not_accepted() -> None:
    pair = Pair()
    pair.gate.set()
    async with open_system(pair.tree) as system:
        slow: Any = system.ref(Slow)
        ways = [slow.send, slow.send_nowait, slow.ask]

        for send in ways:
            with pytest.raises(MessageTypeError) as caught:
                await send(Slow.in_job, "three")
            assert str(caught.value) == (
                "root/supervisor/slow.in_job takes int, not str: 'three' was not accepted;"
                " send what the port takes, or widen the annotation of its handler"
            )

        assert system.ledger().accepted == 0


async def test_a_message_whose_repr_fails_is_named_all_the_same() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    pair = Pair()
    async with open_system(pair.tree) as system:
        slow: Any = system.ref(Slow)

        with pytest.raises(MessageTypeError, match="not Odd: <Odd whose repr raised RuntimeError> was not accepted"):
            await slow.send(Slow.in_job, Odd())


@pytest.mark.parametrize("wired", [True, False])
async def test_a_wrong_message_on_an_out_port_fails_the_sending_handler(wired: bool) -> None:
    pair = Pair()
    pair.gate.set()
    tree = pair.tree if wired else supervisor(child(Sender, pair.sent), child(Slow, pair.gate, pair.seen))
    async with open_system(tree) as system:
        await system.ref(Sender).send(Sender.in_wrong, "three")
        await system.settle()

        (letter,) = await system.dead_letters.inspect()
        assert letter.port == "root/supervisor/sender.in_wrong"
        assert letter.error is not None
        assert str(letter.error.exception) == (
            "root/supervisor/slow.in_job takes int, not str: 'three' was not accepted; send what the port takes, or widen the annotation"
            " of its handler"
            if wired
            else "root/supervisor/sender.out_job sends int, not str: 'three' was not accepted; send what the out-port was declared for"
        )
        assert pair.seen == []


# ---- order


class Flaky(Actor):
    """Fails now and then, in the way a message says; remembers what it did in a list that outlives it."""

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen
        self.tries: dict[int, int] = {}

    def work(self, number: int) -> None:
        self.tries[number] = self.tries.get(number, 0) + 1
        if number % 10 == 3 and self.tries[number] < 3:
            raise TransientError("try again")
        if number % 10 == 7 and ("crash", number) not in self.seen:
            self.seen.append(("crash", number))
            raise RuntimeError("a bug")
        self.seen.append(number)

    @in_port
    def in_a(self, number: int) -> None:
        self.work(number)

    @in_port
    async def in_b(self, number: int) -> None:
        await trio.sleep(0.1)
        self.work(number)


class Source(Actor):
    """Sends to two ports of one actor in turn."""

    out_a = OutPort(int)
    out_b = OutPort(int)

    async def run(self) -> None:
        for number in range(50):
            await (self.out_a if number % 2 else self.out_b).send(number)


async def test_what_one_sender_sends_arrives_in_order_across_ports_retries_and_restarts() -> None:
    seen: list[object] = []
    wires = [Source.out_a >> Flaky.in_a, Source.out_b >> Flaky.in_b]
    async with open_system(supervisor(child(Source), child(Flaky, seen), wires=wires, max_restarts=100)) as system:
        await system.wait()

        assert [each for each in seen if isinstance(each, int)] == list(range(50))
        assert len(seen) == 50 + 5
        assert system.ledger().processed == 50


async def test_what_one_task_sends_arrives_in_order_across_ports_retries_and_restarts() -> None:
    seen: list[object] = []
    async with open_system(supervisor(child(Flaky, seen), max_restarts=100)) as system:
        flaky = system.ref(Flaky)
        for number in range(50):
            await flaky.send(Flaky.in_b if number % 3 else Flaky.in_a, number)
        await system.settle()

        assert [each for each in seen if isinstance(each, int)] == list(range(50))


# ---- to oneself


class Selfish(Actor):
    """Sends itself far more than its port can hold, in every way there is."""

    out_job = OutPort(int)

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    async def on_start(self) -> None:
        for number in range(3):
            await self.ref.send(Selfish.in_job, number)

    async def run(self) -> None:
        for number in range(3, 6):
            await self.ref.send(Selfish.in_job, number)

    @in_port
    async def in_go(self, go: None) -> None:
        for number in range(6, 9):
            await self.out_job.send(number)
            self.out_job.send_nowait(number)
            self.out_job.emit(number)
            await self.ref.send(Selfish.in_job, number)
            self.ref.send_nowait(Selfish.in_job, number)
            self.after(0, Selfish.in_job, number)
            self.start_soon(self.answer, number, to=Selfish.in_job)

    async def answer(self, number: int) -> int:
        return number

    @in_port(capacity=1)
    async def in_job(self, job: int) -> None:
        self.seen.append(job)


async def test_what_an_actor_sends_itself_is_always_admitted() -> None:
    seen: list[int] = []
    async with open_system(supervisor(child(Selfish, seen), wires=[Selfish.out_job >> Selfish.in_job])) as system:
        await system.ref(Selfish).send(Selfish.in_go, None)
        await system.wait()

        assert sorted(seen) == [0, 1, 2, 3, 4, 5] + [6] * 7 + [7] * 7 + [8] * 7
        assert system.ledger().dead_lettered == 0


# ---- nobody there


async def test_a_message_to_an_actor_that_was_stopped_becomes_a_dead_letter() -> None:
    pair = Pair()
    pair.gate.set()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)
        await system.supervisor("root/supervisor").stop_child("slow")

        await slow.send(Slow.in_job, 1)
        slow.send_nowait(Slow.in_job, 2)
        await system.ref(Sender).send(Sender.in_send, 1)
        await system.ref(Sender).send(Sender.in_emit, 1)
        await system.ref(Sender).send(Sender.in_try, 1)
        await system.settle()

        letters = await system.dead_letters.inspect()
        assert [(each.message, each.port, each.reason) for each in letters] == [
            (message, "root/supervisor/slow.in_job", DeadLetterReason.RECEIVER_STOPPED) for message in (1, 2, 0, 0, 0)
        ]
        assert pair.sent == [0, "1 emitted"]  # it is never the sender's failure
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 5}
        system.ledger().check()


async def test_a_message_to_an_actor_that_was_deleted_becomes_a_dead_letter() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)
        await system.supervisor("root/supervisor").stop_child("slow")
        await system.supervisor("root/supervisor").delete_child("slow")

        await slow.send(Slow.in_job, 1)

        assert [each.reason for each in await system.dead_letters.inspect()] == [DeadLetterReason.RECEIVER_STOPPED]
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 1}
        system.ledger().check()


async def test_a_message_sent_after_the_end_of_the_system_becomes_a_dead_letter() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        slow = system.ref(Slow)

    await slow.send(Slow.in_job, 1)

    assert [each.message for each in await system.dead_letters.inspect()] == [1]
    assert system.ledger().dead_lettered == 1


async def test_a_sender_that_waits_when_its_receiver_is_stopped_goes_on() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        await system.ref(Sender).send(Sender.in_send, 4)
        await wait_all_tasks_blocked()

        await system.supervisor("root/supervisor").stop_child("slow")
        await system.settle()

        assert pair.sent == [0, 1, 2, 3]
        assert [each.message for each in await system.dead_letters.inspect()] == [3]  # what was queued is kept
        assert job(system) == (4, 3, 0)


async def test_while_an_actor_restarts_messages_wait_for_it() -> None:
    class Fragile(Actor):
        def __init__(self, lives: list[int], gate: trio.Event) -> None:
            self.lives = lives
            self.gate = gate

        async def on_start(self) -> None:
            self.lives.append(1)
            if len(self.lives) == 2:
                await self.gate.wait()

        @in_port(capacity=2)
        def in_number(self, number: int) -> None:
            if len(self.lives) == 1:
                raise RuntimeError("a bug")

    lives, gate = list[int](), trio.Event()
    async with open_system(supervisor(child(Fragile, lives, gate))) as system:
        fragile = system.ref(Fragile)
        await fragile.send(Fragile.in_number, 0)
        await wait_all_tasks_blocked()

        await fragile.send(Fragile.in_number, 1)
        assert fragile.is_alive
        assert system.ledger().queued == 2

        gate.set()
        await system.settle()
        assert system.ledger().processed == 2
        assert len(system.dead_letters) == 0


async def test_a_sender_of_a_life_that_has_ended_is_refused() -> None:
    class Leaky(Actor):
        out_line = OutPort(str)

        def __init__(self, lives: list[Leaky]) -> None:
            lives.append(self)

    lives: list[Leaky] = []
    async with open_system(supervisor(child(Leaky, lives))) as system:
        kept = lives[0].out_line
        await system.supervisor("root/supervisor").stop_child("leaky")
        await system.supervisor("root/supervisor").restart_child("leaky")

        for send in (kept.emit, kept.send_nowait, kept.send, lives[0].out_line.emit):
            with pytest.raises(ActorNotRunning, match=r"root/supervisor/leaky\.out_line: incarnation 1 of this actor has ended"):
                send("late")
        lives[1].out_line.emit("in time")


# ---- from threads


async def test_other_threads_send_and_wait_for_room() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system, trio.open_nursery() as nursery:
        port = system.ref(Slow).port(Slow.in_job)

        def send_all() -> None:
            for number in range(8):
                port.send_from_thread(number)

        nursery.start_soon(trio.to_thread.run_sync, send_all)
        while job(system)[0] < 3:
            await trio.lowlevel.checkpoint()
        assert job(system)[0] == 3
        pair.gate.set()
        while len(pair.seen) < 8:
            await trio.lowlevel.checkpoint()

        assert pair.seen == list(range(8))


async def test_a_thread_gets_the_error_of_a_wrong_message() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        port: Any = system.ref(Slow).port(Slow.in_job)

        with pytest.raises(MessageTypeError, match="takes int, not str"):
            await trio.to_thread.run_sync(port.send_from_thread, "three")

        assert system.ledger().accepted == 0


async def test_trios_own_thread_is_told_to_use_send() -> None:
    pair = Pair()
    async with open_system(pair.tree) as system:
        port = system.ref(Slow).port(Slow.in_job)

        with pytest.raises(ActorkitError, match=r"root/supervisor/slow\.in_job: send_from_thread.* trio's own thread.* await send\(\)"):
            port.send_from_thread(1)

        assert system.ledger().accepted == 0


def test_a_thread_that_sends_when_the_run_has_ended_is_told() -> None:
    ports: list[PortRef[int, None]] = []

    async def main() -> None:
        async with open_system(Pair().tree) as system:
            ports.append(system.ref(Slow).port(Slow.in_job))

    trio.run(main)

    with pytest.raises(ActorkitError, match=r"root/supervisor/slow\.in_job: the run .* has ended; the message was not accepted"):
        ports[0].send_from_thread(1)
