"""Keyed actors: one for each key, made on demand, put aside when idle, back with their state; never two of a key."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest
import trio
import trio.testing
from attrs import frozen
from hypothesis import given, settings, strategies as st

from actorkit import (
    Actor,
    ExitReason,
    MailboxFull,
    OutPort,
    PermanentError,
    SpecError,
    SpecTypeError,
    TransientError,
    child,
    in_port,
    keyed,
    open_system,
    supervisor,
)
from actorkit.events import ActorStarted, ChildQuarantined, SupervisorGaveUp
from tests.pipelines import Sink
from tests.runs import run_inside


@frozen
class Deposit:
    account: str
    amount: int


def account(deposit: Deposit) -> str:
    """The key of a deposit."""
    return deposit.account


class Scene:
    """What the actors share with their test: how often each was made, who is at work, and what fails."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.made: Counter[str] = Counter()
        self.at_work: set[str] = set()
        self.most_alive = 0
        self.alive: set[str] = set()
        self.errors: dict[int, type[Exception]] = {}
        self.done: defaultdict[str, list[int]] = defaultdict(list)


class Account(Actor):
    """Adds up deposits."""

    state_version = 2

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.balance = 0
        scene.made[self.name] += 1

    @in_port(capacity=20)
    async def in_deposit(self, deposit: Deposit) -> int:
        assert deposit.account not in self.scene.at_work
        self.scene.at_work.add(deposit.account)
        try:
            await trio.sleep(self.scene.takes)
        finally:
            self.scene.at_work.discard(deposit.account)
        error = self.scene.errors.get(deposit.amount)
        self.balance += deposit.amount
        if error is not None:
            raise error(deposit.amount)
        self.scene.done[deposit.account].append(deposit.amount)
        return self.balance

    @in_port
    def in_close(self, deposit: Deposit) -> None:
        self.stop()

    def snapshot(self) -> object:
        return self.balance

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        assert version == 2
        self.balance = state


class Careful(Account):
    """Takes its time to begin and to end."""

    async def on_start(self) -> None:
        assert self.name not in self.scene.alive
        await trio.sleep(0.01)
        self.scene.alive.add(self.name)
        self.scene.most_alive = max(self.scene.most_alive, len(self.scene.alive))

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(0.01)
        self.scene.alive.discard(self.name)


async def test_there_is_one_actor_for_each_key() -> None:
    scene = Scene()
    async with open_system(keyed(Account, scene, by=account)) as system:
        ref = system.ref(Account)

        for name, amount in (("ada", 1), ("bob", 10), ("ada", 2), ("bob", 20)):
            await ref.send(Account.in_deposit, Deposit(name, amount))
        assert await ref.ask(Account.in_deposit, Deposit("ada", 0)) == 3
        assert await ref.ask(Account.in_deposit, Deposit("bob", 0)) == 30

        assert scene.made == {"ada": 1, "bob": 1}
        assert [each.name for each in system.supervisor("root/supervisor/account").which_children()] == ["ada", "bob"]


@pytest.mark.parametrize("actor", [Account, Careful])
async def test_an_idle_actor_is_put_aside_and_comes_back_with_its_state(actor: type[Account]) -> None:
    scene = Scene()
    async with open_system(keyed(actor, scene, by=account, passivate_after=60.0)) as system:
        ref, group = system.ref(actor), system.supervisor(f"root/supervisor/{actor.__name__.lower()}")
        await ref.ask(Account.in_deposit, Deposit("ada", 7))
        await trio.sleep(50)
        await ref.ask(Account.in_deposit, Deposit("bob", 1))
        await trio.sleep(15)
        assert [each.name for each in group.which_children()] == ["bob"]

        assert await ref.ask(Account.in_deposit, Deposit("ada", 1)) == 8

        assert scene.made == {"ada": 2, "bob": 1}
        address = f"root/supervisor/{actor.__name__.lower()}."
        assert [port for port in system.ledger().ports if not port.startswith(address)] == []  # members have no entries of their own
        system.ledger().check()


async def test_an_actor_with_something_still_to_come_is_not_put_aside() -> None:
    lines: list[str] = []

    class Reminder(Actor):
        @in_port
        def in_text(self, text: str) -> None:
            self.after(100, Reminder.in_later, text)

        @in_port
        def in_later(self, text: str) -> None:
            lines.append(text)

    async with open_system(keyed(Reminder, by=str, passivate_after=1.0)) as system:
        await system.ref(Reminder).send(Reminder.in_text, "tea")
        await trio.sleep(50)
        assert len(system.supervisor("root/supervisor/reminder").which_children()) == 1

        await trio.sleep(60)
        assert lines == ["tea"]
        assert system.supervisor("root/supervisor/reminder").which_children() == []


@pytest.mark.parametrize("actor", [Account, Careful])
async def test_no_more_than_max_active_are_awake_and_the_one_used_least_recently_goes_first(actor: type[Account]) -> None:
    scene = Scene()
    async with open_system(keyed(actor, scene, by=account, max_active=2)) as system:
        ref, group = system.ref(actor), system.supervisor(f"root/supervisor/{actor.__name__.lower()}")
        for name in ("ada", "bob", "ada", "cay"):
            await ref.ask(Account.in_deposit, Deposit(name, 1))
            assert len(group.which_children()) <= 2
        assert [each.name for each in group.which_children()] == ["ada", "cay"]

        for number in range(100):
            await ref.ask(Account.in_deposit, Deposit(f"{number % 7}", 1))
        assert [await ref.ask(Account.in_deposit, Deposit(f"{number}", 0)) for number in range(7)] == [15, 15, 14, 14, 14, 14, 14]
        assert scene.most_alive <= 2


@pytest.mark.parametrize("actor", [Account, Careful])
async def test_while_all_are_at_work_messages_for_other_keys_wait(actor: type[Account]) -> None:
    scene = Scene(1.0)
    async with open_system(keyed(actor, scene, by=account, max_active=3)) as system:
        ref = system.ref(actor)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ref.send, Account.in_deposit, Deposit(f"{number % 50}", number))
            await trio.sleep(0.5)
            assert len(scene.at_work) <= 3
            with pytest.raises(MailboxFull):
                for number in range(100):
                    ref.send_nowait(Account.in_deposit, Deposit(f"new {number}", 1))
        await system.settle()

        assert all(scene.done[f"{number}"] == [number, number + 50] for number in range(50))
        assert scene.most_alive <= 3
        system.ledger().check()


async def test_a_crash_takes_an_actor_back_to_its_last_message() -> None:
    scene = Scene()
    scene.errors = {13: KeyError, 100: PermanentError}
    async with open_system(keyed(Account, scene, by=account)) as system:
        ref = system.ref(Account)
        for amount in (1, 2, 13, 4):
            await ref.send(Account.in_deposit, Deposit("ada", amount))

        assert await ref.ask(Account.in_deposit, Deposit("ada", 0)) == 7
        assert [letter.message for letter in await system.dead_letters.inspect()] == [Deposit("ada", 13)]


async def test_a_key_that_keeps_failing_is_set_aside_and_the_others_go_on() -> None:
    scene = Scene()
    scene.errors = {13: KeyError}
    async with open_system(keyed(Account, scene, by=account, max_active=2).options(max_restarts=0, within=60)) as system:
        ref, group, events = system.ref(Account), system.supervisor("root/supervisor/account"), system.events(ChildQuarantined)
        for name, amount in (("ada", 1), ("ada", 13), ("bob", 2), ("ada", 3), ("cay", 3), ("dan", 4)):
            await ref.send(Account.in_deposit, Deposit(name, amount))
        assert (await anext(events)).path == "root/supervisor/account/ada"
        await system.settle()
        assert {name: sum(amounts) for name, amounts in scene.done.items()} == {"ada": 1, "bob": 2, "cay": 3, "dan": 4}

        scene.errors.clear()
        await group.release("ada")
        assert await ref.ask(Account.in_deposit, Deposit("ada", 0)) == 17
        system.ledger().check()


async def test_the_group_fails_when_more_than_half_of_those_awake_are_set_aside() -> None:
    scene = Scene()
    scene.errors = {13: KeyError}
    tree = supervisor(keyed(Account, scene, by=account).options(max_restarts=0, within=60), name="top")
    async with open_system(tree) as system:
        events = system.events(SupervisorGaveUp)
        for number in range(3):
            await system.ref(Account).send(Account.in_deposit, Deposit(f"{number}", 13))
        assert (await anext(events)).path == "root/top/account"
        scene.errors.clear()
        await system.wait()

        assert [await system.ref(Account).ask(Account.in_deposit, Deposit(f"{number}", 0)) for number in range(3)] == [13, 13, 13]
        system.ledger().check()


async def test_one_that_stops_itself_is_forgotten_and_what_follows_makes_a_new_one() -> None:
    scene = Scene()
    async with open_system(keyed(Account, scene, by=account)) as system:
        ref = system.ref(Account)
        await ref.send(Account.in_deposit, Deposit("ada", 5))
        await ref.send(Account.in_close, Deposit("ada", 0))

        assert await ref.ask(Account.in_deposit, Deposit("ada", 1)) == 1
        assert scene.made == {"ada": 2}
        assert [each.name for each in system.supervisor("root/supervisor/account").which_children()] == ["ada"]
        system.ledger().check()


async def test_one_made_after_another_stopped_itself_is_restarted_like_any_other() -> None:
    scene = Scene()
    async with open_system(keyed(Account, scene, by=account)) as system:
        ref = system.ref(Account)
        await ref.send(Account.in_close, Deposit("ada", 0))
        for amount in (1, 13, 2):
            await ref.send(Account.in_deposit, Deposit("ada", amount))
        scene.errors = {13: KeyError}
        await system.settle()

        assert await ref.ask(Account.in_deposit, Deposit("ada", 0)) == 3


async def test_an_address_that_an_actor_gave_away_is_good_after_it_was_put_aside() -> None:
    scene = Scene()
    async with open_system(keyed(Account, scene, by=account, passivate_after=1.0)) as system:
        await system.ref(Account).ask(Account.in_deposit, Deposit("ada", 5))
        own = system.ref("root/supervisor/account/ada", Account)
        await trio.sleep(10)

        await own.send(Account.in_deposit, Deposit("ada", 1))
        assert await own.ask(Account.in_deposit, Deposit("ada", 1)) == 7
        system.ledger().check()


async def test_passive_actors_and_the_watch_over_idle_ones_keep_no_run_alive() -> None:
    async with open_system(keyed(Account, Scene(), by=account, passivate_after=5.0)) as system:
        await system.ref(Account).ask(Account.in_deposit, Deposit("ada", 5))
        before = trio.current_time()

        await system.wait()

        assert trio.current_time() == before


class Deposits(Actor):
    """A source."""

    out_deposit = OutPort(Deposit)

    async def run(self) -> None:
        for number in range(60):
            await self.out_deposit.send(Deposit(f"{number % 6}", number))


class Reporter(Actor):
    """Sends on what it has seen, at the end of the stream."""

    out_number = OutPort(int)

    def __init__(self) -> None:
        self.total = 0

    @in_port
    def in_deposit(self, deposit: Deposit) -> None:
        self.total += deposit.amount

    async def on_drained(self) -> None:
        await self.out_number.send(self.total)


async def test_keyed_actors_are_one_actor_in_a_stream_and_drain_together() -> None:
    lines: list[str] = []
    tree = supervisor(
        child(Deposits),
        keyed(Reporter, by=account, passivate_after=math.inf),
        child(Sink, lines),
        wires=[Deposits.out_deposit >> Reporter.in_deposit, Reporter.out_number >> Sink.in_number],
    )
    report = await run_inside(tree)

    assert sorted(lines) == sorted([*(str(sum(range(number, 60, 6))) for number in range(6)), "sink drained"])
    assert lines[-1] == "sink drained"
    assert report.outcome == "completed"
    report.ledger.check()


async def test_a_stream_that_brings_nothing_ends_too() -> None:
    class Nothing(Deposits):
        async def run(self) -> None:
            return

    lines: list[str] = []
    tree = supervisor(
        child(Nothing),
        keyed(Reporter, by=account),
        child(Sink, lines),
        wires=[Nothing.out_deposit >> Reporter.in_deposit, Reporter.out_number >> Sink.in_number],
    )
    report = await run_inside(tree)

    assert (lines, report.outcome) == (["sink drained"], "completed")


async def test_a_key_function_that_fails_fails_the_sender() -> None:
    async with open_system(keyed(Account, Scene(), by=lambda deposit: deposit.owner)) as system:
        with pytest.raises(AttributeError):
            await system.ref(Account).send(Account.in_deposit, Deposit("ada", 1))

        assert system.ledger().accepted == 0


async def test_each_key_is_started_once_per_awakening() -> None:
    async with open_system(keyed(Account, Scene(), by=account)) as system:
        events = system.events(ActorStarted)
        for number in range(100):
            await system.ref(Account).send(Account.in_deposit, Deposit(f"{number % 5}", 1))
        await system.settle()

        assert sorted([(await anext(events)).path for _ in range(5)]) == [f"root/supervisor/account/{number}" for number in range(5)]


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(SpecError, match="keyed 'account': passivate_after = 0"):
        keyed(Account, Scene(), by=account, passivate_after=0)
    with pytest.raises(SpecError, match="keyed 'account': max_active = 0"):
        keyed(Account, Scene(), by=account, max_active=0)
    with pytest.raises(SpecTypeError, match="keyed 'account': by = 'account'"):
        keyed(Account, Scene(), by="account")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(SpecError, match=r"keyed 'deposits': Deposits has a run\(\)"):
        keyed(Deposits, by=account)


@given(
    steps=st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 9), st.sampled_from([0.0, 0.0, 0.05, 2.0])), max_size=60),
    max_active=st.sampled_from([None, 1, 2, 4]),
    takes=st.sampled_from([0.0, 0.1]),
    fails=st.sampled_from([{}, {7: KeyError}, {7: TransientError}, {8: PermanentError, 7: KeyError}]),
    actor=st.sampled_from([Account, Careful]),
)
@settings(deadline=None, max_examples=150)
def test_no_message_of_a_key_is_lost_reordered_or_handled_by_two(
    steps: list[tuple[str, int, float]], max_active: int | None, takes: float, fails: dict[int, type[Exception]], actor: type[Account]
) -> None:
    scene = Scene(takes)
    scene.errors = fails

    async def go() -> None:
        tree = keyed(actor, scene, by=account, passivate_after=1.0, max_active=max_active).options(max_restarts=1000, within=1.0)
        async with open_system(tree) as system:
            for name, amount, pause in steps:
                await system.ref(actor).send(Account.in_deposit, Deposit(name, amount))
                await trio.sleep(pause)
            await system.settle()
            ledger = system.ledger()
            ledger.check()
            assert ledger.accepted == len(steps) == ledger.processed + ledger.dead_lettered

    trio.run(go, clock=trio.testing.MockClock(autojump_threshold=0))

    expected: defaultdict[str, list[int]] = defaultdict(list)
    for name, amount, _ in steps:
        if amount not in fails:
            expected[name].append(amount)
    assert {name: amounts for name, amounts in scene.done.items() if amounts} == expected


class Numbers(Actor):
    """Sends a hundred deposits, and ends."""

    out_deposit = OutPort(Deposit)

    async def run(self) -> None:
        for number in range(100):
            await self.out_deposit.send(Deposit(str(number % 10), 1))


async def test_keys_that_wait_for_a_place_get_one_at_the_end_of_the_streams() -> None:
    scene = Scene()
    accounts = keyed(Account, scene, by=account, max_active=2)
    tree = supervisor(child(Numbers), accounts, wires=[Numbers.out_deposit >> accounts[Account.in_deposit]], name="bank")

    report = await run_inside(tree)

    assert (report.outcome, report.ledger.processed) == ("completed", 100)
