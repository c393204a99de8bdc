"""A bank: one actor for each account, of which few are awake at a time. `python -m examples.bank`."""

from examples.bank.actors import tree

__all__ = ["tree"]
