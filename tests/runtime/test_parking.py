"""What lets a handler wait for a reply without a task: the one look at something private of trio's."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from actorkit import Actor, child, in_port, open_system, supervisor


class Answers(Actor):
    """Answers all questions at once, when told so."""

    def __init__(self) -> None:
        self.told = trio.Event()

    @in_port
    async def in_question(self, number: int) -> int:
        await self.told.wait()
        return number

    def tell(self) -> None:
        self.told.set()


class Asks(Actor):
    @in_port
    async def in_go(self, answers: trio.Event) -> int:
        return await self.system.ref(Answers).ask(Answers.in_question, 1, timeout=None)


def status() -> Any:
    return trio.lowlevel.current_task()._cancel_status  # what the dispatcher looks at


async def test_trio_has_a_cancel_status_that_tells_whether_a_scope_or_nursery_was_entered() -> None:
    before = status()

    with trio.CancelScope():
        in_scope = status()
        await trio.lowlevel.checkpoint()
    async with trio.open_nursery():
        in_nursery = status()

    assert before is not None
    assert all(inside is not before for inside in (in_scope, in_nursery))
    assert status() is before


async def test_many_handlers_that_wait_for_a_reply_need_no_task_each() -> None:
    askers = [child(Asks).options(name=f"asks-{i}") for i in range(200)]
    async with open_system(supervisor(*askers, child(Answers), name="s")) as system:
        before = trio.lowlevel.current_statistics().tasks_living
        for i in range(200):
            system.ref(f"root/s/asks-{i}", Asks).send_nowait(Asks.in_go, trio.Event())
        await trio.testing.wait_all_tasks_blocked()

        added = trio.lowlevel.current_statistics().tasks_living - before

        assert system.ledger().ports["root/s/answers.in_question"].accepted == 200
        assert added <= 2  # the one that stays with Answers, and one for the rest
