"""A message for several receivers: nobody waits for the slow ones but its sender, and a cancelled sender leaves no half of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import Actor, ChildSpec, MailboxFull, OutPort, OverflowStrategy, Shutdown, System, child, in_port, open_system, supervisor


class Counting(Actor):
    """A source: sends numbers, and remembers the next one."""

    out_number = OutPort(int)

    def __init__(self, count: int = 10) -> None:
        self.count = count
        self.position = 0

    async def run(self) -> None:
        while self.position < self.count:
            await self.out_number.send(self.position)
            self.position += 1

    def snapshot(self) -> object:
        return self.position

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.position = state


class Impatient(Actor):
    """Sends on what it gets, but waits no longer than a second for it."""

    out_number = OutPort(int)

    def __init__(self, given_up: list[int]) -> None:
        self.given_up = given_up

    @in_port
    async def in_number(self, number: int) -> None:
        with trio.move_on_after(1) as scope:
            await self.out_number.send(number)
        if scope.cancelled_caught:
            self.given_up.append(number)

    @in_port
    async def in_patient(self, number: str) -> None:
        await self.out_number.send(int(number))


class Gated(Actor):
    """Has room for one number, and takes the next when its gate is open."""

    def __init__(self, gate: trio.Event, seen: list[int]) -> None:
        self.gate = gate
        self.seen = seen

    @in_port(capacity=1)
    async def in_number(self, number: int) -> None:
        await self.gate.wait()
        self.seen.append(number)


class Fast(Actor):
    """Takes whatever comes."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    @in_port
    def in_number(self, number: int) -> None:
        self.seen.append(number)


class Choosy(Actor):
    """Has room for one number, and drops older ones."""

    @in_port(capacity=1, overflow=OverflowStrategy.DROP_OLDEST)
    def in_number(self, number: int) -> None: ...


class Stage:
    """A sender, and two receivers: one behind a gate, one that is fast."""

    def __init__(self, sender: ChildSpec[Any]) -> None:
        self.gate = trio.Event()
        self.slow_saw: list[int] = []
        self.fast_saw: list[int] = []
        out = sender[sender.actor.out_number]
        slow = child(Gated, self.gate, self.slow_saw).options(name="slow")
        fast = child(Fast, self.fast_saw).options(name="fast")
        self.tree = supervisor(slow, fast, sender, wires=[out >> slow[Gated.in_number], out >> Fast.in_number], name="top")


async def restart(system: System, name: str) -> None:
    """Stops a child in the middle of what it does, and starts it again."""
    await system.supervisor("root/top").stop_child(name)
    await system.supervisor("root/top").restart_child(name)


async def test_a_full_receiver_does_not_keep_a_message_from_the_others() -> None:
    stage = Stage(child(Counting).options(name="sender"))
    async with open_system(stage.tree) as system:
        await wait_all_tasks_blocked()

        assert stage.fast_saw == [0, 1, 2]  # one in hand at the slow one, one queued, one at its door: there the sender waits

        stage.gate.set()
        await system.wait()

        assert stage.slow_saw == stage.fast_saw == list(range(10))
        system.ledger().check()


async def test_a_source_stopped_in_the_middle_of_a_broadcast_sends_nothing_twice_and_leaves_nothing_out() -> None:
    stage = Stage(child(Counting).options(name="sender"))
    async with open_system(stage.tree) as system:
        for _ in range(3):
            await wait_all_tasks_blocked()
            await restart(system, "sender")
        await wait_all_tasks_blocked()

        stage.gate.set()
        await system.wait()

        assert stage.slow_saw == stage.fast_saw == list(range(10))
        system.ledger().check()


async def test_a_sender_that_gives_up_before_anybody_has_the_message_has_sent_it_to_nobody() -> None:
    given_up: list[int] = []
    gate, saw, also_saw = trio.Event(), list[int](), list[int]()
    one, other = child(Gated, gate, saw).options(name="one"), child(Gated, gate, also_saw).options(name="other")
    wires = [Impatient.out_number >> one[Gated.in_number], Impatient.out_number >> other[Gated.in_number]]
    async with open_system(supervisor(one, other, child(Impatient, given_up), wires=wires)) as system:
        for number in range(5):
            await system.ref(Impatient).send(Impatient.in_number, number)
        await trio.sleep(10)

        gate.set()
        await system.wait()

        assert given_up == [2, 3, 4]
        assert saw == also_saw == [0, 1]
        assert system.ledger().ports["root/supervisor/one.in_number"].accepted == 2


async def test_a_sender_that_gives_up_again_and_again_leaves_one_message_at_a_door_at_most() -> None:
    given_up: list[int] = []
    stage = Stage(child(Impatient, given_up).options(name="sender"))
    async with open_system(stage.tree) as system:
        for number in range(8):
            await system.ref(Impatient).send(Impatient.in_number, number)
        await trio.sleep(20)

        slow = next(each for each in system.snapshot()["children"][0]["children"] if each["path"].endswith("/slow"))
        assert slow["ports"]["in_number"]["waiting_senders"] == 1

        stage.gate.set()
        await system.wait()

        assert stage.slow_saw == stage.fast_saw == [0, 1, 2]  # the third was out when its sender gave up, so all have it
        assert given_up == [3, 4, 5, 6, 7]
        system.ledger().check()


async def test_who_left_a_message_at_a_door_goes_on_when_it_is_in() -> None:
    given_up: list[int] = []
    stage = Stage(child(Impatient, given_up).options(name="sender"))
    async with open_system(stage.tree) as system:
        for number in range(3):
            await system.ref(Impatient).send(Impatient.in_number, number)
        await trio.sleep(5)
        await system.ref(Impatient).send(Impatient.in_patient, "3")
        await trio.sleep(5)
        assert stage.fast_saw == [0, 1, 2]

        stage.gate.set()
        await system.wait()

        assert stage.slow_saw == stage.fast_saw == [0, 1, 2, 3]


async def test_a_handler_that_is_killed_in_a_broadcast_leaves_it_with_all_receivers() -> None:
    stage = Stage(child(Impatient, []).options(name="sender", shutdown=Shutdown.KILL))
    async with open_system(stage.tree) as system:
        for number in range(3):
            await system.ref(Impatient).send(Impatient.in_patient, str(number))
        await wait_all_tasks_blocked()

        await system.supervisor("root/top").stop_child("sender")
        stage.gate.set()
        await system.settle()

        assert stage.slow_saw == stage.fast_saw == [0, 1, 2]
        system.ledger().check()


async def test_a_copy_at_the_door_of_a_receiver_that_is_stopped_becomes_a_dead_letter_and_its_sender_goes_on() -> None:
    stage = Stage(child(Counting, 3).options(name="sender"))
    async with open_system(stage.tree) as system:
        await wait_all_tasks_blocked()

        with trio.move_on_after(30):
            await system.supervisor("root/top").stop_child("slow")
        await wait_all_tasks_blocked()

        assert stage.fast_saw == [0, 1, 2]
        assert system.ledger().dead_lettered_by == {"receiver_stopped": 1}
        system.ledger().check()


async def test_send_nowait_to_several_passes_where_a_full_port_drops() -> None:
    class Asking(Actor):
        out_number = OutPort(int)

        @in_port
        def in_number(self, number: int) -> str:
            try:
                self.out_number.send_nowait(number)
            except MailboxFull as error:
                return str(error)
            return "sent"

    gate, saw = trio.Event(), list[int]()
    wires = [Asking.out_number >> Choosy.in_number, Asking.out_number >> Gated.in_number]
    async with open_system(supervisor(child(Choosy), child(Gated, gate, saw), child(Asking), wires=wires)) as system:
        answers: list[str] = []
        for number in range(3):
            answers.append(await system.ref(Asking).ask(Asking.in_number, number))
            await wait_all_tasks_blocked()
        gate.set()

        assert answers[:2] == ["sent", "sent"]
        assert "root/supervisor/gated.in_number has no room" in answers[2]
        assert system.ledger().ports["root/supervisor/choosy.in_number"].accepted == 2


@pytest.mark.parametrize("waiting", [0, 2], ids=["nobody waits", "others wait"])
async def test_a_broadcast_takes_its_place_behind_those_who_wait_already(waiting: int) -> None:
    stage = Stage(child(Impatient, []).options(name="sender"))
    async with open_system(stage.tree) as system, trio.open_nursery() as nursery:
        slow = system.ref("root/top/slow", Gated)
        for number in range(2 + waiting):
            nursery.start_soon(slow.send, Gated.in_number, 100 + number)
            await wait_all_tasks_blocked()

        await system.ref(Impatient).send(Impatient.in_patient, "7")
        await wait_all_tasks_blocked()
        assert stage.fast_saw == [7]
        stage.gate.set()
        await system.settle()

        assert stage.slow_saw == [*range(100, 102 + waiting), 7]
