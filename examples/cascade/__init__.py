"""A shop whose database goes down: what becomes of the orders, with a cascade manager and without. `python -m examples.cascade`."""

from examples.cascade.actors import tree

__all__ = ["tree"]
