"""How many messages a second go one way, from a source to a receiver that counts them?

Beside actors, two ways through a trio memory channel of the same capacity: as everybody writes it, and with the calls that
never wait, as fast as trio can. Both also carry the messages of the flights example instead of numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from typing import Any, TypeVar

import trio

from actorkit import Actor, ActorkitError, OutPort, child, in_port, run, supervisor
from examples.flights.records import Flight

CAPACITY = 1024
FLIGHTS = [Flight(date(2013, 1, 1 + n % 28), "UA", n, "N14228", "EWR", "IAH", n % 60 - 20, n % 90 - 30, 227, 1400) for n in range(1000)]


class Source(Actor):
    """Sends numbers."""

    out_number = OutPort(int)

    def __init__(self, count: int) -> None:
        self.count = count

    async def run(self) -> None:
        """Sends them all."""
        out = self.out_number
        for number in range(self.count):
            await out.send(number)


class AsyncSink(Actor):
    """Counts what it gets, by an async handler."""

    received = 0

    @in_port(capacity=CAPACITY)
    async def in_number(self, number: int) -> None:
        """Counts."""
        self.received += 1


class PlainSink(Actor):
    """Counts what it gets, by a plain handler."""

    received = 0

    @in_port(capacity=CAPACITY)
    def in_number(self, number: int) -> None:
        """Counts."""
        self.received += 1


Sink = TypeVar("Sink", AsyncSink, PlainSink)


class Departures(Actor):
    """Sends flights."""

    out_flight = OutPort(Flight)

    def __init__(self, flights: Sequence[Flight], times: int) -> None:
        self.flights = flights
        self.times = times

    async def run(self) -> None:
        """Sends them all, so many times."""
        out = self.out_flight
        for _ in range(self.times):
            for flight in self.flights:
                await out.send(flight)


class AsyncArrivals(Actor):
    """Adds up the delays of flights, in an async handler."""

    delay = 0

    @in_port(capacity=CAPACITY)
    async def in_flight(self, flight: Flight) -> None:
        """Adds."""
        self.delay += flight.arrival_delay


class PlainArrivals(Actor):
    """Adds up the delays of flights, in a plain handler."""

    delay = 0

    @in_port(capacity=CAPACITY)
    def in_flight(self, flight: Flight) -> None:
        """Adds."""
        self.delay += flight.arrival_delay


Arrivals = TypeVar("Arrivals", AsyncArrivals, PlainArrivals)


def actors(sink: type[Sink], count: int) -> float:
    """Messages a second to such an actor, starting and stopping the system included."""
    tree = supervisor(child(sink), child(Source, count), wires=[Source.out_number >> sink.in_number])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count)
    return count / took


def flights(arrivals: type[Arrivals], count: int) -> float:
    """The same with flights."""
    some = FLIGHTS[: min(count, len(FLIGHTS))]
    tree = supervisor(child(arrivals), child(Departures, some, count // len(some)), wires=[Departures.out_flight >> arrivals.in_flight])
    began = time.perf_counter()
    report = run(tree)
    took = time.perf_counter() - began
    expect(report.ledger.processed, count // len(some) * len(some))
    return report.ledger.processed / took


def channel(count: int) -> float:
    """Messages a second through a trio memory channel, starting and stopping trio included."""
    return _timed(_through_channel, range(count))


def channel_nowait(count: int) -> float:
    """The same by the calls that never wait, as long as there is room or something to receive."""
    return _timed(_through_channel_nowait, range(count))


def flights_channel(count: int) -> float:
    """Flights through a trio memory channel."""
    return _timed(_through_channel, _many(count))


def flights_channel_nowait(count: int) -> float:
    """The same by the calls that never wait."""
    return _timed(_through_channel_nowait, _many(count))


def expect(count: int, wanted: int) -> None:
    """Makes sure that as many messages arrived as were to be measured."""
    if count != wanted:
        raise ActorkitError(f"{count:,} of {wanted:,} messages were handled")


def _many(count: int) -> Sequence[Flight]:
    return (FLIGHTS * (count // len(FLIGHTS) + 1))[:count]


def _timed(through: Any, messages: Sequence[Any]) -> float:
    began = time.perf_counter()
    expect(trio.run(through, messages), len(messages))
    return len(messages) / (time.perf_counter() - began)


async def _through_channel(messages: Sequence[Any]) -> int:
    sender, receiver = trio.open_memory_channel[Any](CAPACITY)
    received = 0

    async def send() -> None:
        async with sender:
            for message in messages:
                await sender.send(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for _ in receiver:
            received += 1
    return received


async def _through_channel_nowait(messages: Sequence[Any]) -> int:
    sender, receiver = trio.open_memory_channel[Any](CAPACITY)
    received = 0

    async def send() -> None:
        async with sender:
            put = sender.send_nowait
            for message in messages:
                try:
                    put(message)
                except trio.WouldBlock:
                    await sender.send(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        get = receiver.receive_nowait
        while True:
            try:
                get()
            except trio.WouldBlock:
                try:
                    await receiver.receive()
                except trio.EndOfChannel:
                    break
            except trio.EndOfChannel:
                break
            received += 1
    return received
