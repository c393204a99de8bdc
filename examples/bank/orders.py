"""What customers want of the bank: a morning's orders, the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from attrs import frozen

ACCOUNTS = 2_000


@frozen
class Order:
    """What is to happen to an account; amounts are in cents."""

    account: str
    amount: int


@frozen
class Deposit(Order):
    """Somebody brings money."""


@frozen
class Withdrawal(Order):
    """Somebody wants money."""


@frozen
class Transfer(Order):
    """Somebody wants money to go to another account."""

    to: str


def morning(orders: int, seed: int = 7) -> Iterator[Order]:
    """So many orders. Some accounts are used much more than others, and now and then an amount is nonsense."""
    rng = Random(seed)
    for _ in range(orders):
        account, other = (f"a{int(rng.paretovariate(0.6)) % ACCOUNTS:04}" for _ in range(2))
        amount = -1 if rng.random() < 0.002 else rng.randrange(1, 50_000)
        kind = rng.random()
        if kind < 0.5:
            yield Deposit(account, amount)
        elif kind < 0.8 or account == other:
            yield Withdrawal(account, amount)
        else:
            yield Transfer(account, amount, other)
