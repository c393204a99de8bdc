"""Batches at the gates: breakers and throttles of batch ports, and actors that have been slowed down."""

from __future__ import annotations

import trio

from actorkit import Actor, CircuitBreaker, CircuitState, DependencyError, ResourceError, Throttle, child, in_batch, in_port, open_system
from actorkit.events import CircuitClosed, CircuitOpened


class Archive(Actor):
    """Writes rows somewhere that fails until a moment."""

    def __init__(self, times: list[tuple[float, list[int]]], down_until: float = 0.0, full: int = 0) -> None:
        self.times = times
        self.down_until = down_until
        self.full = full

    @in_batch(size=4, wait=0.5, throttle=Throttle(rate=2))
    async def in_paced(self, rows: list[int]) -> None:
        self.times.append((trio.current_time(), rows))

    @in_batch(size=4, wait=0.5, breaker=CircuitBreaker(failure_threshold=2, recovery_timeout=60, half_open_requests=1))
    async def in_guarded(self, rows: list[int]) -> None:
        self.times.append((trio.current_time(), rows))
        if any(row < 0 for row in rows):
            raise ValueError(rows)
        if trio.current_time() < self.down_until:
            raise DependencyError("it is down")

    @in_batch(size=4, wait=0.5)
    async def in_plain(self, rows: list[int]) -> None:
        self.times.append((trio.current_time(), rows))
        if 7 in rows and self.full:
            self.full -= 1
            raise ResourceError("no space left")

    @in_port
    def in_other(self, row: int) -> None:
        self.times.append((trio.current_time(), [row]))


async def test_a_throttle_counts_the_messages_of_a_batch() -> None:
    times: list[tuple[float, list[int]]] = []

    async with open_system(child(Archive, times)) as system:
        ref = system.ref(Archive)
        for row in range(10):
            await ref.send(Archive.in_paced, row)
        await ref.send(Archive.in_other, 10)
        await system.settle()

    assert times == [(0, [0, 1, 2, 3]), (2, [4, 5, 6, 7]), (4, [8, 9]), (4, [10])]
    system.ledger().check()


async def test_a_breaker_hears_of_each_part_of_a_batch_that_fails_and_the_rest_waits_in_flight() -> None:
    times: list[tuple[float, list[int]]] = []

    async with open_system(child(Archive, times, down_until=100.0)) as system:
        events = system.events(CircuitOpened, CircuitClosed)
        ref = system.ref(Archive)

        def state() -> CircuitState:
            breaker = ref.port(Archive.in_guarded).breaker
            assert breaker is not None
            return breaker.state

        for row in range(5):
            await ref.send(Archive.in_guarded, row)
        await ref.send(Archive.in_other, 5)
        await anext(events)
        await trio.sleep(1)

        assert times == [(0, [0, 1, 2, 3]), (0, [0, 1])]
        assert state() is CircuitState.OPEN
        assert (system.ledger().in_flight, system.ledger().queued) == (4, 2)

        await system.settle()
        assert times[2:4] == [(60, [0]), (120, [0])]  # probes
        assert [rows for _, rows in times[4:]] == [[1], [2, 3], [4], [5]]
        assert [type(event) for event in (await anext(events), await anext(events))] == [CircuitOpened, CircuitClosed]
        system.ledger().check()


async def test_bad_data_in_a_batch_says_nothing_to_a_breaker() -> None:
    times: list[tuple[float, list[int]]] = []

    async with open_system(child(Archive, times)) as system:
        ref = system.ref(Archive)
        for row in (-1, -2, -3, -4, 5, 6, 7, 8):
            await ref.send(Archive.in_guarded, row)
        await system.settle()

        breaker = ref.port(Archive.in_guarded).breaker
        assert breaker is not None
        assert breaker.state is CircuitState.CLOSED
        assert times[-1][1] == [5, 6, 7, 8]
        assert system.ledger().dead_lettered == 4
        system.ledger().check()


async def test_an_actor_that_was_slowed_down_handles_batches_at_its_rate() -> None:
    times: list[tuple[float, list[int]]] = []

    async with open_system(child(Archive, times, full=3), seed=1) as system:
        ref = system.ref(Archive)
        for row in range(40):
            await ref.send(Archive.in_plain, row)
        await system.settle()

        handled = [(time, rows) for time, rows in times if rows[0] >= 8]
        assert [row for _, rows in handled for row in rows] == list(range(8, 40))
        lasted = handled[-1][0] - handled[0][0]
        assert lasted > 0.1, "later batches were not slowed down"
        system.ledger().check()
