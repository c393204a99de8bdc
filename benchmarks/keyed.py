"""What does an actor for each key cost: to make, to put aside, and to have a million of?"""

from __future__ import annotations

import argparse
import logging
import time

import trio
from attrs import frozen

from actorkit import Actor, ActorRef, in_port, keyed, open_system
from benchmarks.resident import resident_bytes

TITLE = "Keyed actors"
SHORT = 20_000
"""Keys in the runs that tell what one costs."""


@frozen
class Deposit:
    """Money for an account."""

    account: int
    amount: int


class Counter(Actor):
    """Counts; forgets when it is put aside."""

    def __init__(self) -> None:
        self.total = 0

    @in_port
    def in_deposit(self, deposit: Deposit) -> None:
        """Counts."""
        self.total += deposit.amount


class Account(Counter):
    """Counts, and keeps what it has counted."""

    def snapshot(self) -> object:
        """What it has counted."""
        return self.total

    def restore(self, state: object, version: int) -> None:
        """Goes on from there."""
        assert isinstance(state, int)
        self.total = state


@frozen
class Run:
    """A run over many keys: messages a second, seconds, and the process's resident bytes at the start and after each quarter."""

    rate: float
    seconds: float
    resident: list[int]


async def _send(ref: ActorRef[Counter], keys: range) -> None:
    for key in keys:
        await ref.send(Counter.in_deposit, Deposit(key, 1))


def over_keys(keys: int, max_active: int | None, actor: type[Counter] = Counter, rounds: int = 1) -> Run:
    """One message to each of so many keys, one after the other, so many times; handled to the end."""

    async def measure() -> Run:
        quarter = keys // 4
        async with open_system(keyed(actor, by=lambda deposit: deposit.account, max_active=max_active)) as system:
            ref = system.ref(actor)
            await _send(ref, range(-1, 0))
            await system.settle()
            resident = [resident_bytes()]
            began = time.perf_counter()
            for _ in range(rounds):
                for first in (0, quarter, 2 * quarter, 3 * quarter):
                    await _send(ref, range(first, keys if first == 3 * quarter else first + quarter))
                    await system.settle()
                    resident.append(resident_bytes())
            took = time.perf_counter() - began
            if system.ledger().processed != keys * rounds + 1:
                raise AssertionError(f"{system.ledger().processed} of {keys * rounds + 1} messages were handled")
        return Run(keys * rounds / took, took, resident)

    return trio.run(measure)


def activation(keys: int, actor: type[Counter] = Counter) -> float:
    """Seconds for a message that makes its actor; nobody is put aside."""
    return over_keys(keys, None, actor).seconds / keys


def passivation(keys: int, actor: type[Counter] = Counter) -> float:
    """Seconds for a message that puts one actor aside and makes another."""
    return over_keys(keys, max(1, keys // 100), actor).seconds / keys


def return_from_sleep(keys: int) -> float:
    """The same, where each actor comes back with its state."""
    run = over_keys(keys, max(1, keys // 100), Account, rounds=2)
    return run.seconds / (2 * keys)


def activation_cost(keys: int) -> dict[str, float]:
    """Microseconds for a message that makes its actor."""
    return {"µs": 1e6 * activation(keys)}


def passivation_cost(keys: int) -> dict[str, float]:
    """Microseconds for a message that puts one actor aside and makes another."""
    return {"µs": 1e6 * passivation(keys)}


def return_cost(keys: int) -> dict[str, float]:
    """The same, where each actor comes back with its state."""
    return {"µs": 1e6 * return_from_sleep(keys)}


def many_keys(keys: int, actor: type[Counter] = Counter) -> dict[str, float]:
    """Messages a second to so many keys, and how the process's memory goes."""
    run = over_keys(keys, 10_000, actor)
    _, quarter, *_, end = run.resident
    return {"messages/s": run.rate, "MiB after a quarter": quarter / 2**20, "MiB at the end": end / 2**20}


def many_keys_with_state(keys: int) -> dict[str, float]:
    """The same with a state to keep for each key."""
    return many_keys(keys, Account)


def main() -> None:
    """Measures once, and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keyed", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="keys in the long run (default: 100000)")
    parser.add_argument("--max-active", type=int, default=10_000, help="how many of them are awake (default: 10000)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)

    print(TITLE)
    for what, measure in (("made", activation), ("one put aside, one made", passivation)):
        for actor in (Counter, Account):
            print(f"  {what + ', ' + actor.__name__:34}{1e6 * measure(SHORT, actor):8.1f} µs a message")
    print(f"  {'put aside and back, Account':34}{1e6 * return_from_sleep(SHORT):8.1f} µs a message")
    for actor in (Counter, Account):
        run = over_keys(options.keys, options.max_active, actor)
        sizes = ", ".join(f"{size / 2**20:.0f}" for size in run.resident)
        print(f"{options.keys:,} keys of {actor.__name__}: {run.seconds:.1f} s, {run.rate:,.0f} messages/s; MB resident: {sizes}")


if __name__ == "__main__":
    main()
