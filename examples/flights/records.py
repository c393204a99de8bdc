"""What travels through the tree, from a row of text to a carrier's figures."""

from __future__ import annotations

from datetime import date

from attrs import frozen

from actorkit import ValidationError
from examples.flights.data import MISSING, Airport, Plane, Row

__all__ = ["CarrierDelays", "EnrichedFlight", "Flight", "parse"]


@frozen
class Flight:
    """One flight that has arrived. Delays and `air_time` are minutes (negative: early), `distance` is miles."""

    day: date
    carrier: str
    number: int
    tailnum: str | None
    origin: str
    destination: str
    departure_delay: int
    arrival_delay: int
    air_time: int
    distance: int


@frozen
class EnrichedFlight:
    """A flight with its aircraft and airports; None where the tables don't have them, which is nothing unusual."""

    flight: Flight
    aircraft: Plane | None
    origin: Airport | None
    destination: Airport | None


@frozen
class CarrierDelays:
    """One carrier's figures.

    Attributes:
        carrier: its code.
        flights: how many arrived.
        arrival_delay: minutes of all of them together; a whole number, so that no order of adding changes it.
        aircraft_known: how many of them were flown by an aircraft in the registry.
    """

    carrier: str
    flights: int
    arrival_delay: int
    aircraft_known: int

    @property
    def mean_arrival_delay(self) -> float:
        """Minutes."""
        return self.arrival_delay / self.flights


def parse(row: Row) -> Flight:
    """The flight that a row tells of.

    Raises:
        ValidationError: the row has no arrival delay.
        ValueError: a number or a date in it is none.
    """
    if row.arr_delay == MISSING:
        raise ValidationError("never took off" if row.dep_time == MISSING else "took off, no arrival delay")
    return Flight(
        date(int(row.year), int(row.month), int(row.day)),
        row.carrier,
        int(row.flight),
        None if row.tailnum == MISSING else row.tailnum,
        row.origin,
        row.dest,
        int(row.dep_delay),
        int(row.arr_delay),
        int(row.air_time),
        int(row.distance),
    )
