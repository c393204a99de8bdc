"""A pipeline that goes wrong in many ways, all durable: what it does to its messages is known beforehand.

Orders >> Checker >> a pool of Packers >> Shipped        Checker fails now and then, and crashes, and some orders are bad
Orders >> Audit                                          all of them, as they come
somebody outside >> Notes                                with keys, some twice; without an answer, again after the next start
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio.lowlevel
from attrs import frozen

from actorkit import (
    Actor,
    ActorRef,
    ExponentialBackoffRetry,
    OutPort,
    RecoveryPolicy,
    RetryPolicy,
    SupervisorSpec,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    pool,
    supervisor,
)
from actorkit.policy.taxonomy import ErrorCategory
from tests.durability.shop import Positioned

CAPACITY = 16
tried: set[int] = set()
"""Orders that have failed in this process, and need not fail again."""


@frozen
class Order:
    """One thing to be done."""

    number: int


@frozen
class Plan:
    """What is to be done: so many orders and notes, and which of the orders kill the process."""

    orders: int
    notes: int
    killers: tuple[int, ...] = ()

    def is_bad(self, number: int) -> bool:
        """Whether this order can never be handled."""
        return number % 37 == 11

    @property
    def good(self) -> list[int]:
        """The orders that are to have their effect."""
        return [number for number in range(self.orders) if not self.is_bad(number) and number not in self.killers]


class Keeping(Actor):
    """Keeps the numbers of what it has handled, in order."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def snapshot(self) -> list[int]:
        """See `Actor`."""
        return self.numbers

    def restore(self, state: object, version: int) -> None:
        """See `Actor`."""
        assert isinstance(state, list)
        self.numbers = state

    @in_port
    def in_what(self, _: None) -> list[int]:
        return self.numbers


class Orders(Positioned):
    """A source whose position moves on."""

    out_order = OutPort(Order)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def run(self) -> None:
        """See `Actor`."""
        while self.position < self.plan.orders:
            await self.out_order.send(Order(self.position))
            self.position += 1


class Checker(Keeping):
    """Passes orders on; not the bad ones, and some not at the first try."""

    out_order = OutPort(Order)

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    @in_port(durable=True, capacity=CAPACITY)
    async def in_order(self, order: Order) -> None:
        number = order.number
        await self.out_order.send(order)  # is taken back, where this fails
        if number in self.plan.killers:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.plan.is_bad(number):
            raise ValidationError(f"order {number} is bad")
        if number % 13 in (3, 7) and number not in tried:
            tried.add(number)
            raise TransientError("a slip") if number % 13 == 3 else RuntimeError("a bug")
        if number % 5 == 0:
            await trio.lowlevel.checkpoint()
        self.numbers.append(number)


class Packer(Actor):
    """One of several that do the same; it keeps nothing."""

    out_order = OutPort(Order)

    @in_port(durable=True, capacity=CAPACITY)
    async def in_order(self, order: Order) -> None:
        await self.out_order.send(order)


class Shipped(Keeping):
    """The end."""

    @in_port(durable=True, capacity=CAPACITY)
    def in_order(self, order: Order) -> None:
        self.numbers.append(order.number)


class Audit(Keeping):
    """Another end."""

    @in_port(durable=True, capacity=CAPACITY, commit_every=(20, 0.01))
    def in_order(self, order: Order) -> None:
        self.numbers.append(order.number)


class Notes(Keeping):
    """What comes from outside."""

    @in_port(durable=True, capacity=CAPACITY)
    def in_note(self, number: int) -> None:
        self.numbers.append(number)


KEEPERS: dict[str, type[Keeping]] = {"checked": Checker, "shipped": Shipped, "audited": Audit, "noted": Notes}
QUICK = RecoveryPolicy(
    persistent=(1_000_000, 60.0),
    retry=RetryPolicy({ErrorCategory.TRANSIENT: ExponentialBackoffRetry(max_retries=3, base_delay=0.001, max_delay=0.002)}),
)


def pipeline(plan: Plan) -> SupervisorSpec:
    """The whole tree."""
    return supervisor(
        child(Notes),
        child(Shipped),
        child(Audit),
        pool(child(Packer), size=3),
        child(Checker, plan),
        child(Orders, plan),
        name="shop",
        recovery=QUICK,
        max_restarts=1_000_000,
        wires=[
            Orders.out_order >> Checker.in_order,
            Orders.out_order >> Audit.in_order,
            Checker.out_order >> Packer.in_order,
            Packer.out_order >> Shipped.in_order,
        ],
    )


async def states(system: System) -> dict[str, list[int]]:
    """What each keeper has."""
    refs: dict[str, ActorRef[Keeping]] = {name: system.ref(kind) for name, kind in KEEPERS.items()}
    return {name: await ref.ask(Keeping.in_what, None) for name, ref in refs.items()}


class Answers:
    """How many notes were answered: a byte each in a file, where a kill does not get at them."""

    def __init__(self, path: Path) -> None:
        self.count = path.stat().st_size if path.exists() else 0
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def add(self) -> None:
        """One more."""
        os.write(self._file, b".")


async def send_notes(system: System, plan: Plan, answers: Answers) -> None:
    """Sends the notes that there is no answer for, and some of the others once more, all with keys."""
    ref = system.ref(Notes)
    for number in range(max(0, answers.count - 5), plan.notes):
        await ref.send(Notes.in_note, number, key=f"note {number}")
        if number % 10 == 0:
            await ref.send(Notes.in_note, number, key=f"note {number}")
        if number >= answers.count:
            answers.add()
