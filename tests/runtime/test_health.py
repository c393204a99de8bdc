"""How actors are judged at a poll, by what they do and by what they say; and what users' rules do about it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    ActorUnhealthy,
    CascadeManager,
    CircuitBreaker,
    CommunicationError,
    ErrorCategory,
    ExponentialBackoffRetry,
    HealthAction,
    HealthRule,
    HealthStatus,
    OnExhausted,
    PermanentError,
    RecoveryPolicy,
    RetryPolicy,
    System,
    Throttle,
    child,
    in_port,
    keyed,
    open_system,
    pool,
    round_robin,
    supervisor,
)
from actorkit.events import ChildExited, ChildQuarantined, HealthChanged, HealthCheckFailed, HealthRuleApplied

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = HealthStatus
THROTTLE, RESTART, SET_ASIDE = HealthAction

PATH = "root/ward/patient"
HASTY = CascadeManager.settings(poll=1.0)


class Ward:
    """What patients share with their test.

    Attributes:
        says: what `health()` answers: a status, an exception that it raises, or seconds that it takes.
        asked: how often it was asked.
        lives: how many instances there were.
        done: what was handled.
    """

    def __init__(self) -> None:
        self.says: HealthStatus | Exception | float = HEALTHY
        self.asked = 0
        self.lives = 0
        self.done: list[object] = []


class Patient(Actor):
    """Does what it is told, and says how it is."""

    def __init__(self, ward: Ward) -> None:
        self.ward = ward
        ward.lives += 1

    async def health(self) -> HealthStatus:
        self.ward.asked += 1
        says = self.ward.says
        if isinstance(says, Exception):
            raise says
        if isinstance(says, HealthStatus):
            return says
        await trio.sleep(says)
        return HEALTHY

    @in_port(capacity=10)
    async def in_work(self, what: float | Exception) -> None:
        await self._work(what)

    @in_port(ordered=False)
    async def in_any_order(self, what: float | Exception) -> None:
        await self._work(what)

    @in_port(breaker=CircuitBreaker(failure_threshold=3))
    async def in_guarded(self, what: float | Exception) -> None:
        await self._work(what)

    @in_port(throttle=Throttle(rate=0.01))
    async def in_slow(self, what: float | Exception) -> None:
        await self._work(what)

    @in_port
    async def in_hang(self, _: None) -> None:
        if self.ward.lives == 1:
            await trio.sleep_forever()
        self.ward.done.append("hung")

    @in_port
    def in_crash(self, life: int) -> None:
        if self.ward.lives == life:
            raise ZeroDivisionError("a bug")

    async def _work(self, what: float | Exception) -> None:
        if isinstance(what, Exception):
            raise what
        await trio.sleep(what)
        self.ward.done.append(what)


def ward_of(ward: Ward, **options: Any) -> Any:
    """A tree of one patient."""
    return supervisor(child(Patient, ward).options(**options), name="ward", max_restarts=100)


async def health_at(system: System, time: float, path: str = PATH) -> tuple[HealthStatus, tuple[str, ...]]:
    """How it is just after the poll at this time."""
    await trio.sleep_until(time + 0.01)
    health = system.health().components[path]
    return health.status, health.reasons


# ---- what it does


async def test_before_the_first_poll_nothing_is_known() -> None:
    async with open_system(ward_of(Ward())) as system:
        assert await health_at(system, 0) == (UNKNOWN, ("it was not looked at yet",))
        assert system.health().status is UNKNOWN
        assert await health_at(system, 5) == (HEALTHY, ())


@pytest.mark.parametrize(
    ("good", "bad", "status"),
    [(0, 3, UNHEALTHY), (3, 3, UNHEALTHY), (4, 3, DEGRADED), (27, 3, DEGRADED), (28, 3, HEALTHY), (0, 2, HEALTHY)],
)
async def test_failures_count_as_a_share_of_what_was_delivered(good: int, bad: int, status: HealthStatus) -> None:
    async with open_system(ward_of(Ward())) as system:
        patient = system.ref(Patient)
        for what in [0.0] * good + [PermanentError("no")] * bad:
            await patient.send(Patient.in_work, what)
        found, reasons = await health_at(system, 5)
        assert found is status
        assert reasons == (() if status is HEALTHY else (f"{bad} of {good + bad} deliveries failed",))
        assert await health_at(system, 10) == (HEALTHY, ())  # what was before the last poll does not count


PATIENT = RetryPolicy({ErrorCategory.COMMUNICATION: ExponentialBackoffRetry(max_retries=9, base_delay=10.0, max_delay=10.0, jitter="none")})


async def test_who_tries_one_message_again_and_again_is_ill_after_three_failures_without_a_success_between() -> None:
    # It fails but once in ten polls, so no two polls see more than one.
    async with open_system(ward_of(Ward(), recovery=RecoveryPolicy(retry=PATIENT)), cascade=HASTY) as system:
        patient = system.ref(Patient)
        await patient.send(Patient.in_work, CommunicationError("down"))
        await patient.send(Patient.in_work, 0.0)
        assert await health_at(system, 12) == (HEALTHY, ())
        assert await health_at(system, 21) == (UNHEALTHY, ("3 of 3 deliveries failed",))
        assert await health_at(system, 55) == (UNHEALTHY, ("6 of 6 deliveries failed",))
        await system.settle()
        assert await health_at(system, 95) == (HEALTHY, ())


async def test_failures_with_successes_or_idle_times_between_are_no_row() -> None:
    async with open_system(ward_of(Ward()), cascade=HASTY) as system:
        patient = system.ref(Patient)
        for second in range(30):
            await trio.sleep_until(second + 0.5)
            await patient.send(Patient.in_work, PermanentError("no"))
            if second < 15:
                await patient.send(Patient.in_work, 0.0)
            assert await health_at(system, second + 1) == (HEALTHY, ())


async def test_a_handler_that_does_not_return() -> None:
    async with open_system(ward_of(Ward())) as system:
        await system.ref(Patient).send(Patient.in_work, 82.0)
        assert await health_at(system, 10) == (HEALTHY, ())
        assert await health_at(system, 20) == (DEGRADED, ("a handler has not returned for 15 s",))
        assert await health_at(system, 65) == (UNHEALTHY, ("a handler has not returned for 60 s",))
        assert await health_at(system, 85) == (HEALTHY, ())


async def test_mail_that_waits_while_nothing_is_finished() -> None:
    async with open_system(ward_of(Ward())) as system:
        for _ in range(40):
            await system.ref(Patient).send(Patient.in_any_order, 82.0)
        status, reasons = await health_at(system, 20)
        assert status is DEGRADED
        assert "15 s" in reasons[0]
        status, _ = await health_at(system, 65)
        assert status is UNHEALTHY


async def test_what_waits_on_purpose_is_not_held_against_an_actor() -> None:
    async with open_system(ward_of(Ward())) as system:
        for _ in range(3):
            await system.ref(Patient).send(Patient.in_slow, 0.0)  # one in 100 s
        for time in range(5, 150, 5):
            assert await health_at(system, time) == (HEALTHY, ())


async def test_a_mailbox_that_is_full() -> None:
    class Small(Actor):
        @in_port(capacity=10)
        async def in_number(self, number: int) -> None:
            await trio.sleep(1.2)

    async with open_system(supervisor(child(Small), name="ward")) as system:
        small = system.ref(Small)
        async with trio.open_nursery() as nursery:

            async def feed() -> None:
                for number in range(100):
                    await small.send(Small.in_number, number)

            nursery.start_soon(feed)
            assert await health_at(system, 5, "root/ward/small") == (DEGRADED, ("its mailbox is 100 % full and growing",))
            assert await health_at(system, 30, "root/ward/small") == (DEGRADED, ("its mailbox is 100 % full",))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("crashes", "status", "times"), [(1, DEGRADED, "once"), (2, DEGRADED, "2 times"), (3, UNHEALTHY, "3 times")])
async def test_restarts(crashes: int, status: HealthStatus, times: str) -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        for _ in range(crashes):
            await system.ref(Patient).send(Patient.in_crash, ward.lives)
            await system.settle()
        for _ in range(40):
            await system.ref(Patient).send(Patient.in_any_order, 0.0)
        assert await health_at(system, 5) == (status, (f"it was restarted {times} since the last poll",))
        assert await health_at(system, 10) == (HEALTHY, ())


async def test_an_open_breaker() -> None:
    never = RecoveryPolicy(retry=RetryPolicy({ErrorCategory.COMMUNICATION: ExponentialBackoffRetry(max_retries=0)}))
    async with open_system(ward_of(Ward(), recovery=never)) as system:
        for _ in range(3):
            await system.ref(Patient).send(Patient.in_guarded, CommunicationError("down"))
        _, reasons = await health_at(system, 5)
        assert reasons == ("3 of 3 deliveries failed", "a circuit breaker is open")
        assert await health_at(system, 10) == (DEGRADED, ("a circuit breaker is open",))


# ---- what it says


@pytest.mark.parametrize("says", [DEGRADED, UNHEALTHY])
async def test_its_own_word_counts(says: HealthStatus) -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        ward.says = says
        assert await health_at(system, 5) == (says, (f"its health() says {says.value}",))
        ward.says = HEALTHY
        assert await health_at(system, 10) == (HEALTHY, ())
        assert ward.asked == 2


async def test_a_health_that_raises_counts_as_unhealthy_and_does_nothing_else() -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        events = system.events(HealthCheckFailed)
        ward.says = OSError("no such device")
        assert await health_at(system, 5) == (UNHEALTHY, ("its health() failed",))
        assert ward.lives == 1
        assert str(await anext(events)) == f"{PATH}: its health() failed: OSError: no such device"


async def test_a_health_that_answers_with_something_else_fails_too() -> None:
    class Wrong(Patient):
        async def health(self) -> Any:
            return "fine"

    async with open_system(supervisor(child(Wrong, Ward()).options(name="patient"), name="ward")) as system:
        events = system.events(HealthCheckFailed)
        assert await health_at(system, 5) == (UNHEALTHY, ("its health() failed",))
        assert "health(): answer = 'fine': expected a HealthStatus" in str(await anext(events))


async def test_a_health_that_does_not_return_holds_up_nobody() -> None:
    slow, well = Ward(), Ward()
    tree = supervisor(child(Patient, slow), child(Patient, well).options(name="other"), name="ward")
    async with open_system(tree) as system:
        slow.says = 1_000.0
        assert await health_at(system, 5, "root/ward/other") == (UNKNOWN, ("it was not looked at yet",))  # half a poll to answer in
        assert await health_at(system, 7.5, "root/ward/other") == (HEALTHY, ())
        assert await health_at(system, 7.5) == (UNHEALTHY, ("no answer from health() within 2.5 s",))
        await trio.sleep_until(100.1)
        assert well.asked == 20
        assert await health_at(system, 102.5) == (UNHEALTHY, ("no answer from health() within 2.5 s",))


@pytest.mark.parametrize("slow", [0, 1, 30, 300])
async def test_all_are_asked_side_by_side_however_many_take_their_time(slow: int) -> None:
    wards = [Ward() for _ in range(300)]
    for ward in wards[::7][:slow] if slow < 300 else wards:
        ward.says = 2.0
    tree = supervisor(*(child(Patient, ward).options(name=f"p{number}") for number, ward in enumerate(wards)), name="ward")
    async with open_system(tree) as system:
        await trio.sleep_until(5 + 2.01)
        health = system.health()
        assert {each.status for each in health.components.values()} == {HEALTHY}
        assert [ward.asked for ward in wards] == [1] * 300


async def test_an_actor_is_asked_also_while_a_handler_of_it_waits() -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        await system.ref(Patient).send(Patient.in_work, 12.0)
        ward.says = DEGRADED
        assert await health_at(system, 10) == (DEGRADED, ("its health() says degraded",))


# ---- who is judged


async def test_what_is_stopped_set_aside_or_starting_is_not_judged() -> None:
    class Slow(Patient):
        async def on_start(self) -> None:
            if self.ward.lives > 1:
                await trio.sleep(7)

    ward = Ward()
    async with open_system(supervisor(child(Slow, ward).options(name="patient"), name="ward")) as system:
        ward.says = UNHEALTHY
        assert (await health_at(system, 5))[0] is UNHEALTHY
        boss = system.supervisor("root/ward")
        await boss.stop_child("patient")
        assert await health_at(system, 10) == (UNKNOWN, ("it is not running",))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(boss.restart_child, "patient")
            assert await health_at(system, 15) == (UNKNOWN, ("it is starting",))
        assert (await health_at(system, 20))[0] is UNHEALTHY


async def test_a_pool_is_ill_if_more_than_half_of_its_members_are() -> None:
    wards: list[Ward] = []

    class Member(Actor):
        def __init__(self) -> None:
            self.ward = Ward()
            wards.append(self.ward)

        async def health(self) -> HealthStatus:
            assert isinstance(self.ward.says, HealthStatus)
            return self.ward.says

        @in_port
        def in_number(self, number: int) -> None: ...

    tree = supervisor(pool(Member, size=4, route=round_robin).options(name="patient"), name="ward")
    async with open_system(tree) as system:
        wards[0].says = wards[1].says = UNHEALTHY
        assert await health_at(system, 5) == (DEGRADED, ("its health() says degraded",))
        wards[2].says = UNHEALTHY
        assert await health_at(system, 10) == (UNHEALTHY, ("its health() says unhealthy",))


async def test_keyed_actors_are_judged_together_and_not_asked() -> None:
    ward = Ward()
    tree = supervisor(keyed(Patient, ward, by=str).options(name="patient"), name="ward", max_restarts=100)
    async with open_system(tree) as system:
        ward.says = UNHEALTHY
        for number in range(3):
            await system.ref(PATH, Patient).send(Patient.in_work, float(number))
        assert await health_at(system, 5) == (HEALTHY, ())
        for _ in range(3):
            await system.ref(PATH, Patient).send(Patient.in_work, PermanentError("no"))
        assert await health_at(system, 10) == (UNHEALTHY, ("3 of 3 deliveries failed",))
        assert ward.asked == 0


async def test_a_subtree_is_as_ill_as_its_parts() -> None:
    wards = [Ward() for _ in range(4)]
    sick = supervisor(*(child(Patient, ward).options(name=f"p{number}") for number, ward in enumerate(wards)), name="sick")
    tree = supervisor(sick, child(Patient, Ward()).options(name="porter"), name="ward")
    async with open_system(tree) as system:
        wards[0].says = UNHEALTHY
        await trio.sleep_until(5.1)
        assert system.health().below("root/ward/sick") is DEGRADED
        wards[1].says = UNHEALTHY
        await trio.sleep_until(10.1)
        health = system.health()
        assert health.below("root/ward/sick") is UNHEALTHY
        assert health.below("root/ward/porter") is HEALTHY
        assert health.below("root/ward/nobody") is UNKNOWN
        assert health.status is UNHEALTHY


async def test_each_change_is_an_event() -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        events = system.events(HealthChanged)
        await trio.sleep_until(5.1)
        for ward.says in (DEGRADED, UNHEALTHY, UNHEALTHY, HEALTHY):
            await trio.sleep(5)
    assert [(event.path, event.before, event.after) async for event in events] == [
        (PATH, UNKNOWN, HEALTHY),
        (PATH, HEALTHY, DEGRADED),
        (PATH, DEGRADED, UNHEALTHY),
        (PATH, UNHEALTHY, HEALTHY),
    ]


# ---- rules


def ruled(*rules: HealthRule) -> RecoveryPolicy:
    return RecoveryPolicy(health_rules=rules)


async def test_without_a_rule_nobody_is_touched() -> None:
    ward = Ward()
    async with open_system(ward_of(ward)) as system:
        ward.says = UNHEALTHY
        await trio.sleep(500)
        assert ward.lives == 1
        assert system.supervisor("root/ward").which_children()[0].restarts == 0


async def test_a_rule_restarts_one_that_is_unhealthy_for_three_polls() -> None:
    ward = Ward()
    async with open_system(ward_of(ward, recovery=ruled(HealthRule(RESTART)))) as system:
        applied, exits = system.events(HealthRuleApplied), system.events(ChildExited)
        ward.says = UNHEALTHY
        await trio.sleep_until(15 - 0.01)
        assert ward.lives == 1
        await trio.sleep_until(15.01)
        assert ward.lives == 2
        assert str(await anext(applied)) == f"{PATH} is unhealthy: its health() says unhealthy; its health rules say restart"
        exit = await anext(exits)
        assert isinstance(exit.exception, ActorUnhealthy)
        assert str(exit.exception) == f"{PATH}: its health() says unhealthy"
        ward.says = HEALTHY
        await trio.sleep(500)
        assert ward.lives == 2


async def test_a_restart_by_a_rule_cuts_a_handler_short_and_loses_no_message() -> None:
    ward = Ward()
    async with open_system(ward_of(ward, recovery=ruled(HealthRule(RESTART, polls=1)))) as system:
        patient = system.ref(Patient)
        await patient.send(Patient.in_hang, None)
        for number in range(5):
            await patient.send(Patient.in_work, float(number))
        await trio.sleep_until(65)
        assert ward.lives == 1
        await trio.sleep_until(71)  # the handler had its shutdown time to end
        assert ward.lives == 2
        await system.settle()
        assert ward.done == ["hung", 0.0, 1.0, 2.0, 3.0, 4.0]
        system.ledger().check()


async def test_restarts_by_a_rule_count_against_the_budget() -> None:
    ward = Ward()
    tree = supervisor(
        child(Patient, ward).options(recovery=ruled(HealthRule(RESTART, polls=1)), on_exhausted=OnExhausted.QUARANTINE),
        name="ward",
        max_restarts=2,
        within=60.0,
    )
    async with open_system(tree) as system:
        ward.says = UNHEALTHY
        assert await health_at(system, 20) == (UNKNOWN, ("it is set aside",))
        assert ward.lives == 3


async def test_a_rule_about_degraded_does_not_restart_for_the_restart_that_it_made() -> None:
    ward = Ward()
    async with open_system(ward_of(ward, recovery=ruled(HealthRule(RESTART, DEGRADED, polls=1)))) as system:
        ward.says = DEGRADED
        await trio.sleep_until(5.01)
        ward.says = HEALTHY
        await trio.sleep_until(500)
        assert ward.lives == 2
        assert (await health_at(system, 505))[0] is HEALTHY


async def test_a_rule_sets_one_aside_and_its_mail_waits_for_its_release() -> None:
    ward = Ward()
    async with open_system(ward_of(ward, recovery=ruled(HealthRule(SET_ASIDE, polls=2)))) as system:
        quarantined = system.events(ChildQuarantined)
        ward.says = UNHEALTHY
        await trio.sleep_until(10.01)
        assert (await anext(quarantined)).path == PATH
        await system.ref(Patient).send(Patient.in_work, 0.0)
        assert await health_at(system, 50) == (UNKNOWN, ("it is set aside",))
        assert system.ledger().queued == 1

        ward.says = HEALTHY
        await system.supervisor("root/ward").release("patient")
        assert await health_at(system, 55) == (HEALTHY, ())
        assert ward.done == [0.0]


async def test_a_rule_throttles_one_that_is_degraded_until_it_is_well() -> None:
    ward = Ward()

    async def rate(system: System) -> float:
        before = len(ward.done)
        await trio.sleep(5)
        return (len(ward.done) - before) / 5

    async with (
        open_system(ward_of(ward, recovery=ruled(HealthRule(THROTTLE, DEGRADED, polls=1)))) as system,
        trio.open_nursery() as nursery,
    ):

        async def feed() -> None:
            while True:
                await system.ref(Patient).send(Patient.in_work, 0.0)
                await trio.sleep(0.05)

        nursery.start_soon(feed)
        assert await rate(system) == pytest.approx(20, rel=0.1)
        ward.says = DEGRADED
        await trio.sleep_until(40.1)
        assert await rate(system) < 15
        ward.says = HEALTHY
        await trio.sleep(40)
        assert await rate(system) == pytest.approx(20, rel=0.1)
        nursery.cancel_scope.cancel()


async def test_rules_of_a_pool_are_about_all_of_it() -> None:
    ward = Ward()
    tree = supervisor(
        pool(Patient, ward, size=3).options(name="patient", recovery=ruled(HealthRule(RESTART, polls=1))), name="ward", max_restarts=100
    )
    async with open_system(tree) as system:
        ward.says = UNHEALTHY
        await trio.sleep_until(5.01)
        assert ward.lives == 6
        ward.says = HEALTHY
        await system.ref(PATH, Patient).send(Patient.in_work, 0.0)
        await system.settle()
        assert ward.done == [0.0]
        assert system.supervisor("root/ward").which_children()[0].restarts == 1


async def test_a_pool_is_set_aside_as_one() -> None:
    ward = Ward()
    tree = supervisor(pool(Patient, ward, size=3).options(name="patient", recovery=ruled(HealthRule(SET_ASIDE, polls=1))), name="ward")
    async with open_system(tree) as system:
        ward.says = UNHEALTHY
        assert await health_at(system, 10) == (UNKNOWN, ("it is set aside",))
        await system.ref(PATH, Patient).send(Patient.in_work, 0.0)
        ward.says = HEALTHY
        await system.supervisor("root/ward").release("patient")
        await system.settle()
        assert ward.done == [0.0]
