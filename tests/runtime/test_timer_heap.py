"""The one heap of a system's times: each fires once, at its time, whatever is added and removed meanwhile, and nothing is left."""

from __future__ import annotations

from random import Random

import trio

from actorkit._runtime.timers import SPENT, Alarm, Timers


async def test_thousands_of_times_added_and_mostly_removed_fire_exactly_when_due() -> None:
    timers, rng = Timers(lambda: None), Random(3)
    wanted: dict[Alarm, float] = {}
    fired: dict[Alarm, float] = {}

    def add(delay: float) -> Alarm:
        def fire() -> None:
            fired[alarm] = trio.current_time()
            if rng.random() < 0.3:
                add(rng.choice([0.0, 1.0, 2.5]))

        alarm = Alarm(trio.current_time() + delay, fire)
        timers.add(alarm)
        wanted[alarm] = alarm.deadline
        return alarm

    most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for i in range(4 * SPENT):
            alarm = add(rng.choice([0.0, 0.1, 5 * rng.random(), 5 + i * 1e-6]))
            if rng.random() < 0.9 and alarm not in fired:
                timers.remove(alarm)
                del wanted[alarm]
            most = max(most, len(timers._heap))
            if i % 100 == 0:
                await trio.sleep(rng.random() / 20)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()

    assert fired == wanted
    assert timers.count == 0
    assert most < 2 * SPENT
