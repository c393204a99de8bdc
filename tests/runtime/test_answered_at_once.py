"""A plain handler of an idle actor answers at once, in the turn of whoever asks."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from itertools import accumulate

import pytest
import trio
import trio.testing

from actorkit import Actor, AskFailed, OutPort, System, TransientError, ValidationError, child, in_port, open_system, supervisor

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


class Server(Actor):
    """Answers, by a plain handler beside an async one."""

    out_note = OutPort(str)

    def __init__(self, done: list[str]) -> None:
        self.done = done
        self.failed = False

    @in_port
    def in_name(self, name: str) -> str:
        self.done.append(f"{name}, {whose.get()}")
        whose.set("the server's")
        if name == "flaky" and not self.failed:
            self.failed = True
            raise TransientError("once")
        if name == "bad":
            raise ValidationError("no name")
        if name == "bug" and len(self.done) < 3:
            raise KeyError("twice")
        self.out_note.emit(name)
        return name.upper()

    @in_port
    async def in_slow(self, seconds: float) -> None:
        await trio.sleep(seconds)


class Asker(Actor):
    """Asks on behalf of others, and hears what the server notes."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    @in_port
    async def in_ask(self, name: str) -> str:
        whose.set("the asker's")
        answer = await self.system.ref(Server).ask(Server.in_name, name)
        self.done.append(f"answered {answer}, {whose.get()}")
        return answer

    @in_port
    def in_note(self, name: str) -> None:
        self.done.append(f"noted {name}")


class Chain(Actor):
    """Asks in a plain handler, without waiting for the answer; some have a next one to do the same."""

    def __init__(self, place: int, done: list[str]) -> None:
        self.place = place
        self.done = done

    @in_port
    def in_go(self, last: int) -> int:
        self.done.append(f"begin {self.place}")
        if self.place < last:
            _ = self.system.ref(f"root/supervisor/chain-{self.place + 1}", Chain).ask(Chain.in_go, last)
        self.done.append(f"end {self.place}")
        return self.place


def pair(done: list[str]) -> AbstractAsyncContextManager[System]:
    tree = supervisor(child(Server, done), child(Asker, done), wires=[Server.out_note >> Asker.in_note])
    return open_system(tree)


async def test_an_actor_gets_its_answer_and_each_keeps_its_own_context() -> None:
    done: list[str] = []
    async with pair(done) as system:
        assert await system.ref(Asker).ask(Asker.in_ask, "ada") == "ADA"
        assert await system.ref(Asker).ask(Asker.in_ask, "bo") == "BO"
        await system.settle()

    assert done == [
        "ada, nobody's",
        "answered ADA, the asker's",
        "noted ada",
        "bo, the server's",
        "answered BO, the asker's",
        "noted bo",
    ]
    assert system.ledger().processed == 6
    system.ledger().check()


async def test_a_failure_is_recovered_from_while_the_asker_waits(autojump_clock: trio.testing.MockClock) -> None:
    done: list[str] = []
    async with pair(done) as system:
        assert await system.ref(Asker).ask(Asker.in_ask, "flaky") == "FLAKY"
        assert system.ledger().in_flight == 0
        with pytest.raises(AskFailed) as failed:
            await system.ref(Asker).ask(Asker.in_ask, "bad")

    assert failed.value.error is not None
    assert system.ledger().dead_lettered == 2  # the question, and the question of who asked it
    system.ledger().check()


async def test_a_restart_answers_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    done: list[str] = []
    async with pair(done) as system:
        assert await system.ref(Asker).ask(Asker.in_ask, "bug") == "BUG"

        assert [each.restarts for each in system.supervisor("root/supervisor").which_children()] == [2, 0]
    assert [each.partition(",")[0] for each in done] == ["bug", "bug", "bug", "answered BUG", "noted bug"]
    system.ledger().check()


async def test_whoever_is_busy_answers_when_it_is_done(autojump_clock: trio.testing.MockClock) -> None:
    done: list[str] = []
    async with pair(done) as system:
        await system.ref(Server).send(Server.in_slow, 3.0)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()

        assert await system.ref(Asker).ask(Asker.in_ask, "ada") == "ADA"
        assert trio.current_time() - began == 3.0


async def test_at_most_one_answer_is_given_inside_another() -> None:
    done: list[str] = []
    chains = [child(Chain, number, done).options(name=f"chain-{number}") for number in range(40)]
    async with open_system(supervisor(*chains)) as system:
        assert await system.ref("root/supervisor/chain-0", Chain).ask(Chain.in_go, 39) == 0
        await system.settle()

    steps = [1 if each.startswith("begin") else -1 for each in done]
    assert sorted(done) == sorted(f"{what} {number}" for what in ("begin", "end") for number in range(40))
    assert max(accumulate(steps)) <= 2
    system.ledger().check()
