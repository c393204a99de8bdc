"""A year of real flights through a supervised tree of actors."""

from examples.flights.pipeline import tree

__all__ = ["tree"]
