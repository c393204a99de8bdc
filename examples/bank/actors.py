"""The actors of the bank, and its tree: customers, an account for each that is used, and an auditor."""

from __future__ import annotations

from attrs import frozen

from actorkit import Actor, OutPort, ValidationError, child, in_port, keyed, supervisor
from examples.bank.orders import Deposit, Order, Transfer, morning

AWAKE = 100
"""Accounts that are in memory as actors at a time; of the others only the balance is kept."""


@frozen
class Booking:
    """A change of an account: cents that came, or, below zero, that went."""

    account: str
    amount: int


class Customers(Actor):
    """A source: brings the orders of a morning."""

    out_order = OutPort(Order)

    def __init__(self, orders: int) -> None:
        self.orders = orders

    async def run(self) -> None:
        for order in morning(self.orders):
            await self.out_order.send(order)


class Account(Actor):
    """One account. It never goes below zero."""

    out_booking = OutPort(Booking)
    out_deposit = OutPort(Order)

    def __init__(self) -> None:
        self.balance = 0

    @in_port
    async def in_order(self, order: Order) -> int:
        """Carries an order out, if it can be, and answers with the balance."""
        if order.amount < 0:
            raise ValidationError(f"{order.amount} cents can be neither brought nor taken")
        if isinstance(order, Deposit):
            await self._book(order.account, order.amount)
        elif self.balance >= order.amount:
            await self._book(order.account, -order.amount)
            if isinstance(order, Transfer):
                self.out_deposit.emit(Deposit(order.to, order.amount))
        return self.balance

    async def _book(self, account: str, amount: int) -> None:
        self.balance += amount
        await self.out_booking.send(Booking(account, amount))

    def snapshot(self) -> object:
        return self.balance

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.balance = state


class Auditor(Actor):
    """Keeps books of its own, and tells at the end what the bank has."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}

    @in_port
    def in_booking(self, booking: Booking) -> None:
        """Books a change."""
        self.balances[booking.account] = self.balances.get(booking.account, 0) + booking.amount
        if self.balances[booking.account] < 0:
            raise ArithmeticError(f"account {booking.account} is overdrawn")

    @in_port
    def in_balances(self, _: None) -> dict[str, int]:
        """Tells the balance of each account."""
        return dict(self.balances)

    async def on_drained(self) -> None:
        print(f"{len(self.balances)} accounts hold {sum(self.balances.values()) / 100:,.2f}")


tree = supervisor(
    child(Customers, 10_000),
    keyed(Account, by=lambda order: order.account, max_active=AWAKE),
    child(Auditor),
    wires=[
        Customers.out_order >> Account.in_order,
        Account.out_deposit >> Account.in_order,  # a transfer arrives at another account
        Account.out_booking >> Auditor.in_booking,
    ],
    name="bank",
)
