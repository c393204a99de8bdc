"""The actors of a shop, and its tree: three services book each order in one database, and what they hand on needs no database."""

from __future__ import annotations

from random import Random

import trio
from attrs import frozen

from actorkit import Actor, HealthStatus, OutPort, RecoveryAction, RecoveryPolicy, Rule, SupervisorSpec, child, in_port, supervisor

ORDERS = 4_000
PER_SECOND = 10
"""Orders that customers want to give."""


@frozen
class Order:
    """What a customer wants; `total` is in cents."""

    number: int
    total: int


@frozen
class Outage:
    """When the database does not answer; in seconds since it was started."""

    begins: float = 60.0
    lasts: float = 180.0

    @property
    def ends(self) -> float:
        """When it answers again."""
        return self.begins + self.lasts


class Customers(Actor):
    """A source: so many orders a second. Who can't get in waits outside."""

    out_order = OutPort(Order)

    def __init__(self, orders: int, seed: int) -> None:
        self.orders = orders
        self.rng = Random(seed)

    async def run(self) -> None:
        began = trio.current_time()
        for number in range(self.orders):
            await trio.sleep_until(began + number / PER_SECOND)
            await self.out_order.send(Order(number, self.rng.randrange(500, 20_000)))


class Desk(Actor):
    """Hands each order to all who have to do with it."""

    out_order = OutPort(Order)

    @in_port
    async def in_order(self, order: Order) -> None:
        await self.out_order.send(order)


class Database(Actor):
    """Answers queries, but for an outage."""

    def __init__(self, outage: Outage) -> None:
        self.outage = outage
        self.began = trio.current_time()

    @in_port
    async def in_query(self, query: str) -> int:
        if self.is_down():
            raise ConnectionError("the database does not answer")
        await trio.sleep(0.002)
        return len(query)

    def is_down(self) -> bool:
        return self.outage.begins <= trio.current_time() - self.began < self.outage.ends

    async def health(self) -> HealthStatus:
        return HealthStatus.UNHEALTHY if self.is_down() else HealthStatus.HEALTHY


class Service(Actor):
    """Cannot do without the database."""

    async def book(self, what: str) -> None:
        """Has the database write something down."""
        await self.system.ref(Database).ask(Database.in_query, what)


class Stock(Service):
    """Takes the goods from the shelf."""

    out_parcel = OutPort(Order)

    @in_port(ordered=False)
    async def in_order(self, order: Order) -> None:
        await self.book(f"order {order.number}: goods taken")
        await self.out_parcel.send(order)


class Payments(Service):
    """Charges the customer."""

    out_receipt = OutPort(Order)

    @in_port(ordered=False)
    async def in_order(self, order: Order) -> None:
        await self.book(f"order {order.number}: {order.total} cents charged")
        await self.out_receipt.send(order)


class Invoices(Service):
    """Writes the invoice."""

    @in_port(ordered=False)
    async def in_order(self, order: Order) -> None:
        await self.book(f"order {order.number}: invoice over {order.total} cents written")


class Parcels(Actor):
    """Sends the goods."""

    @in_port
    async def in_parcel(self, order: Order) -> None:
        await trio.sleep(0.005)


class Mailer(Actor):
    """Sends the receipt by mail."""

    @in_port
    async def in_receipt(self, order: Order) -> None:
        await trio.sleep(0.005)


def shop(orders: int = ORDERS, outage: Outage = Outage(), seed: int = 0) -> SupervisorSpec:
    """A shop that gets so many orders, and whose database has this outage."""
    leave_it_to_who_asked = RecoveryPolicy(rules=[Rule(RecoveryAction.LOG_AND_CONTINUE, exception=ConnectionError)])
    return supervisor(
        child(Database, outage).options(recovery=leave_it_to_who_asked),
        child(Parcels),
        child(Mailer),
        child(Stock).options(depends_on=[Database]),
        child(Payments).options(depends_on=[Database]),
        child(Invoices).options(depends_on=[Database]),
        child(Desk),
        child(Customers, orders, seed),
        wires=[
            Customers.out_order >> Desk.in_order,
            Desk.out_order >> Stock.in_order,
            Desk.out_order >> Payments.in_order,
            Desk.out_order >> Invoices.in_order,
            Stock.out_parcel >> Parcels.in_parcel,
            Payments.out_receipt >> Mailer.in_receipt,
        ],
        name="shop",
        max_restarts=100_000,  # the shop is not to close, whatever happens to its services
        within=60.0,
    )


tree = shop()
