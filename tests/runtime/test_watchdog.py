"""A handler that blocks everybody is named, with its message and where it is. This goes by the real clock."""

from __future__ import annotations

import threading

import pytest
from trio.lowlevel import checkpoint

from actorkit import Actor, child, in_port, open_system
from actorkit.events import HandlerBlocks


class Blocker(Actor):
    """Computes for long, without a break."""

    @in_port
    def in_number(self, number: int) -> None:
        wait_on_and_on(2.0 if number == 7 else 0.0)


def wait_on_and_on(seconds: float) -> None:
    """Blocks the thread: nothing ever sets this event."""
    threading.Event().wait(seconds)


@pytest.mark.timeout(30)
async def test_a_handler_that_blocks_is_reported_with_its_actor_its_message_and_its_place() -> None:
    async with open_system(child(Blocker)) as system:
        blocks = system.events(HandlerBlocks)
        for number in range(10):
            await system.ref(Blocker).send(Blocker.in_number, number)
        await system.settle()
        await checkpoint()

    (event,) = [each async for each in blocks]
    assert event.path == "root/supervisor/blocker.in_number"
    assert event.message == "7"
    assert event.seconds == 1.0
    assert "wait_on_and_on" in event.stack
    assert "root/supervisor/blocker.in_number has blocked everybody for 1 s with 7" in str(event)
