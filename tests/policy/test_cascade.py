"""When the whole system slows down, and how it comes back."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy import cascade as module
from actorkit.policy.cascade import (
    ESCALATE_AFTER,
    FORGET_AFTER,
    MOST_DOUBLINGS,
    BeganRecovery,
    Cascade,
    CascadePhase,
    CascadeSettings,
    Change,
    EnteredEmergency,
    Escalated,
    Relapsed,
    Resolved,
    SteppedUp,
    Trigger,
)

NORMAL, EMERGENCY, RECOVERING = CascadePhase
RATES = (0.1, 0.25, 0.5, 0.75, 1.0)

CALM, UNEASY, ALARMING = (1, 10), (3, 10), (4, 10)  # unhealthy, of how many; the last ones of their kind
POLL = 5.0


class System:
    """A cascade that is polled every five seconds, and what it has said."""

    def __init__(self, now: float = 0.0, **others: Any) -> None:
        self.now = now
        self.cascade = Cascade(CascadeSettings(**others), now)
        self.changes: list[tuple[float, Change]] = []

    def poll(self, health: tuple[int, int], times: int = 1, *, spreading: bool = False) -> list[Change]:
        """Polls so often; returns what changed meanwhile."""
        before = len(self.changes)
        for _ in range(times):
            self.now += POLL
            self.changes += [(self.now, change) for change in self.cascade.tick(self.now, *health, spreading=spreading)]
        return [change for _, change in self.changes[before:]]

    def poll_until(self, phase: CascadePhase, health: tuple[int, int]) -> float:
        """Polls until it is in this phase; returns how long that took."""
        begin = self.now
        while self.cascade.phase is not phase:
            self.poll(health)
            assert self.now - begin < 10_000, "it never gets there"
        return self.now - begin


def in_emergency(**others: Any) -> System:
    system = System(**others)
    system.poll(ALARMING)
    return system


def recovering(step: int = 0, **others: Any) -> System:
    system = in_emergency(**others)
    while system.cascade.step != step:
        system.poll(CALM)
    return system


# The table


def written() -> set[tuple[str, ...]]:
    """Phase, event, change and next phase of each row of the table in the module's docstring."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (module.__doc__ or "").splitlines() if line.startswith("|")]
    return {(phase, event, change, following) for phase, event, _, change, following in rows[2:]}


def kind_of(unhealthy: int, eligible: int, *, spreading: bool, fraction: Fraction = Fraction(3, 10)) -> str:
    """What the docstring says of such a poll, in whole numbers."""
    if eligible and Fraction(unhealthy, eligible) <= fraction / 3:
        return "calm"
    return "alarming" if eligible >= 3 and (spreading or Fraction(unhealthy, eligible) > fraction) else "uneasy"


def walked(seed: int, steps: int) -> set[tuple[str, ...]]:
    """Phase, event, change and next phase of each step of a random walk."""
    rng = Random(seed)
    now, cascade = 0.0, Cascade(CascadeSettings(), 0.0)
    mood = [CALM]
    seen: set[tuple[str, ...]] = set()
    for _ in range(steps):
        if rng.random() < 0.01:  # for as long as it takes to be escalated
            mood = rng.choice([[CALM], [UNEASY], [ALARMING], [CALM, UNEASY], [CALM, UNEASY, ALARMING]])
        before = cascade.phase
        match rng.choice(["poll"] * 400 + ["force", "abort"]):
            case "force":
                event, changes = "force", cascade.force(now)
            case "abort":
                event, changes = "abort", cascade.abort(now)
            case _:
                now += rng.choice([5.0, 5.0, 5.0, 30.0])
                health, spreading = rng.choice(mood), rng.random() < 0.02
                event, changes = kind_of(*health, spreading=spreading), cascade.tick(now, *health, spreading=spreading)
        assert len(changes) <= 1
        seen.add((before.name, event, type(changes[0]).__name__ if changes else "", cascade.phase.name))
    return seen


def test_the_code_does_what_the_table_says_and_nothing_else() -> None:
    assert walked(seed=1, steps=100_000) == written()


# Too many


@pytest.mark.parametrize(
    ("unhealthy", "eligible", "phase"),
    [
        (3, 10, NORMAL),
        (4, 10, EMERGENCY),
        (30, 100, NORMAL),
        (31, 100, EMERGENCY),
        (300_000, 1_000_000, NORMAL),
        (300_001, 1_000_000, EMERGENCY),
        (1, 1, NORMAL),
        (2, 2, NORMAL),
        (1, 3, EMERGENCY),
        (0, 0, NORMAL),
        (0, 10, NORMAL),
    ],
)
def test_strictly_more_than_the_fraction_of_at_least_three_is_too_many(unhealthy: int, eligible: int, phase: CascadePhase) -> None:
    system = System()
    system.poll((unhealthy, eligible))

    assert system.cascade.phase is phase


@given(st.integers(1, 1_000), st.integers(0, 2_000), st.integers(0, 2_000), st.booleans())
def test_shares_are_compared_without_rounding(thousandths: int, one: int, other: int, spreading: bool) -> None:
    unhealthy, eligible = sorted((one, other))
    fraction = Fraction(thousandths, 1_000)
    settings = CascadeSettings(unhealthy_fraction=thousandths / 1_000, stabilise=1.0)
    kind = kind_of(unhealthy, eligible, spreading=spreading, fraction=fraction)

    normal, emergency = Cascade(settings, 0.0), Cascade(settings, 0.0)
    emergency.force(0.0)
    for now in (1.0, 2.0):
        normal.tick(now, unhealthy, eligible, spreading=spreading)
        emergency.tick(now, unhealthy, eligible, spreading=spreading)

    # Whether it is alarming shows in the one, whether it is calm in the other.
    assert (normal.phase is not NORMAL) is (kind == "alarming")
    assert (emergency.phase is RECOVERING) is (kind == "calm")


@given(st.integers(3, 30), st.data())
def test_a_share_at_the_fraction_is_never_too_many_whatever_it_is(eligible: int, data: st.DataObject) -> None:
    unhealthy = data.draw(st.integers(1, eligible - 1))
    system = System(unhealthy_fraction=unhealthy / eligible)

    assert system.poll((unhealthy, eligible)) == []
    assert system.poll((unhealthy + 1, eligible)) != []


def test_spreading_begins_an_emergency_before_too_many_are_unhealthy_but_not_while_it_is_calm() -> None:
    system = System()
    assert system.poll(CALM, spreading=True) == []
    assert system.poll((2, 2), spreading=True) == []

    assert system.poll(UNEASY, spreading=True) == [EnteredEmergency(trigger=Trigger.SPREADING, unhealthy=3, eligible=10, relapses=0)]
    assert system.poll(CALM, 6, spreading=True) == []
    assert system.poll(CALM) == [BeganRecovery(rate=0.1)]
    assert system.poll(UNEASY, spreading=True) == [
        Relapsed(trigger=Trigger.SPREADING, unhealthy=3, eligible=10, step=0, relapses=1),
    ]


# The way through


def test_an_emergency_stabilises_and_goes_back_to_the_full_rate_step_by_step() -> None:
    system = System(now=1_000.0)
    rates = [system.cascade.rate]
    system.poll(ALARMING, 3)
    while system.cascade.phase is not NORMAL:
        rates.append(system.cascade.rate)
        system.poll(CALM)

    assert system.changes == [
        (1_005.0, EnteredEmergency(trigger=Trigger.TOO_MANY, unhealthy=4, eligible=10, relapses=0)),
        (1_050.0, BeganRecovery(rate=0.1)),
        (1_080.0, SteppedUp(step=1, rate=0.25)),
        (1_110.0, SteppedUp(step=2, rate=0.5)),
        (1_140.0, SteppedUp(step=3, rate=0.75)),
        (1_170.0, SteppedUp(step=4, rate=1.0)),
        (1_200.0, Resolved(lasted=195.0, relapses=0, aborted=False)),
    ]
    assert list(dict.fromkeys(rates[1:])) == list(RATES)
    assert (rates[0], system.cascade.rate, system.cascade.step) == (1.0, 1.0, None)


def test_the_rate_and_the_step_say_how_the_system_is_run() -> None:
    system = in_emergency(emergency_rate=0.05, steps=(0.2, 1))
    assert (system.cascade.rate, system.cascade.step) == (0.05, None)

    system.poll_until(RECOVERING, CALM)
    assert (system.cascade.rate, system.cascade.step) == (0.2, 0)

    system.poll(CALM, 6)
    assert (system.cascade.rate, system.cascade.step) == (1, 1)


@pytest.mark.parametrize("health", [UNEASY, ALARMING])
def test_a_poll_that_is_not_calm_makes_stabilising_start_anew(health: tuple[int, int]) -> None:
    system = in_emergency()
    system.poll(CALM, 6)
    system.poll(health)

    assert system.poll_until(RECOVERING, CALM) == 35.0


def test_an_uneasy_poll_holds_the_step_and_its_time_starts_anew() -> None:
    system = recovering(step=2)
    system.poll(CALM, 5)
    assert system.poll(UNEASY, 100) == []
    assert system.cascade.step == 2

    assert system.poll(CALM, 6) == []
    assert system.poll(CALM) == [SteppedUp(step=3, rate=0.75)]


def test_a_relapse_goes_back_to_the_emergency_from_any_step() -> None:
    for step in range(len(RATES)):
        system = recovering(step)
        assert system.poll(ALARMING) == [Relapsed(trigger=Trigger.TOO_MANY, unhealthy=4, eligible=10, step=step, relapses=1)]
        assert (system.cascade.phase, system.cascade.rate) == (EMERGENCY, 0.1)


def test_each_relapse_doubles_the_stabilisation_up_to_eightfold() -> None:
    system = in_emergency()
    took = []
    for _ in range(6):
        took.append(system.poll_until(RECOVERING, CALM) - POLL)
        system.poll(ALARMING)

    assert took == [30.0, 60.0, 120.0, 240.0, 240.0, 240.0]
    assert system.cascade.relapses == 6
    assert system.cascade.stabilisation == 30.0 * 2**MOST_DOUBLINGS


def test_a_step_is_not_skipped_however_late_a_poll_comes() -> None:
    cascade = Cascade(CascadeSettings(), 0.0)
    cascade.tick(0.0, *ALARMING)
    cascade.tick(1e4, *CALM)

    steps = []
    for now in range(2, 10):
        cascade.tick(now * 1e4, *CALM)
        steps.append(cascade.step)

    assert steps == [0, 1, 2, 3, 4, None, None, None]


def test_with_nobody_who_counts_nothing_gets_further() -> None:
    system = in_emergency()
    system.poll((0, 0), 100)
    assert system.cascade.phase is EMERGENCY

    system.poll_until(RECOVERING, (0, 1))
    system.poll((0, 0), 100)
    assert system.cascade.step == 0

    # One of two is no relapse, but not well either.
    system.poll((1, 2), 100)
    assert system.cascade.step == 0


# Emergencies in a row


def test_an_emergency_soon_after_the_last_one_is_a_relapse() -> None:
    system = in_emergency()
    system.poll_until(NORMAL, CALM)
    system.poll(CALM, int(FORGET_AFTER / POLL) - 2)

    assert system.poll(ALARMING) == [EnteredEmergency(trigger=Trigger.TOO_MANY, unhealthy=4, eligible=10, relapses=1)]
    assert system.cascade.stabilisation == 60.0


def test_relapses_are_forgotten_after_a_while_in_normal() -> None:
    system = recovering()
    system.poll(ALARMING)
    system.poll_until(NORMAL, CALM)
    system.poll(CALM, int(FORGET_AFTER / POLL) - 1)
    assert system.cascade.relapses == 1

    assert system.poll(ALARMING) == [EnteredEmergency(trigger=Trigger.TOO_MANY, unhealthy=4, eligible=10, relapses=0)]


# Escalation


def test_an_emergency_is_escalated_every_ten_minutes() -> None:
    system = in_emergency()
    changes = system.poll(ALARMING, 300)

    assert changes == [Escalated(phase=EMERGENCY, lasted=lasted, unhealthy=4, eligible=10) for lasted in (600.0, 1_200.0)]
    assert system.poll_until(NORMAL, CALM) == 185.0


def test_so_is_a_step_that_is_held() -> None:
    system = recovering(step=1)
    changes = system.poll(UNEASY, 300)

    assert changes == [Escalated(phase=RECOVERING, lasted=lasted, unhealthy=3, eligible=10) for lasted in (630.0, 1_230.0)]


def test_long_steps_that_go_well_are_not_escalated() -> None:
    system = in_emergency(step_time=2 * ESCALATE_AFTER)
    system.poll_until(NORMAL, CALM)

    assert not any(isinstance(change, Escalated) for _, change in system.changes)


# The operator


def test_an_operator_forces_an_emergency_that_ends_like_any_other() -> None:
    system = System()
    system.poll((1, 12))

    assert system.cascade.force(6.0) == [EnteredEmergency(trigger=Trigger.OPERATOR, unhealthy=1, eligible=12, relapses=0)]
    assert (system.cascade.phase) == (EMERGENCY)
    assert system.poll_until(NORMAL, CALM) == 185.0
    assert system.changes[-1][1] == Resolved(lasted=184.0, relapses=0, aborted=False)


def test_force_in_an_emergency_makes_stabilising_start_anew() -> None:
    system = in_emergency()
    system.poll(CALM, 6)

    assert system.cascade.force(system.now) == []
    assert system.poll_until(RECOVERING, CALM) == 35.0


def test_force_while_recovering_is_a_relapse_as_any() -> None:
    system = recovering(step=3)

    (change,) = system.cascade.force(system.now)
    assert change == Relapsed(trigger=Trigger.OPERATOR, unhealthy=1, eligible=10, step=3, relapses=1)
    assert (system.cascade.phase, system.cascade.relapses, system.cascade.step) == (EMERGENCY, 1, None)

    system.poll_until(NORMAL, CALM)
    assert system.changes[-1][1] == Resolved(lasted=system.now - POLL, relapses=1, aborted=False)  # since it first left NORMAL


def test_force_soon_after_an_emergency_is_a_relapse_and_later_is_none() -> None:
    system = recovering(step=0)
    system.poll_until(NORMAL, CALM)
    system.cascade.force(system.now + FORGET_AFTER - 1)
    assert system.cascade.relapses == 1

    system = recovering(step=0)
    system.poll_until(NORMAL, CALM)
    system.cascade.force(system.now + FORGET_AFTER)
    assert system.cascade.relapses == 0


def test_abort_goes_back_to_the_full_rate_and_remembers_no_relapse() -> None:
    system = recovering(step=1)
    system.poll(ALARMING)

    assert system.cascade.abort(system.now) == [Resolved(lasted=70.0, relapses=1, aborted=True)]
    assert (system.cascade.phase, system.cascade.rate, system.cascade.relapses) == (NORMAL, 1.0, 0)
    assert system.cascade.abort(system.now) == []

    system.poll(UNEASY)
    assert system.poll(ALARMING) == [EnteredEmergency(trigger=Trigger.TOO_MANY, unhealthy=4, eligible=10, relapses=0)]


def test_what_an_operator_ended_does_not_begin_at_the_next_poll_but_when_it_is_new() -> None:
    system = in_emergency()
    system.cascade.abort(system.now)
    assert system.poll(ALARMING, 1_000) == []

    system.poll(UNEASY)
    assert [type(change) for change in system.poll(ALARMING)] == [EnteredEmergency]


def test_an_operator_may_force_what_he_ended() -> None:
    system = in_emergency()
    system.cascade.abort(system.now)
    system.cascade.force(system.now)
    assert system.cascade.phase is EMERGENCY

    system.poll_until(NORMAL, CALM)
    assert [type(change) for change in system.poll(ALARMING)] == [EnteredEmergency]


# Whatever happens

# Chosen around the timers: a hair before, at and after each of them.
_PAUSES = st.sampled_from([0.0, 0.5, 5.0, 29.5, 30.0, 30.5, 59.5, 60.0, 239.5, 240.0, 299.5, 300.0, 599.5, 600.0, 630.0, 5_000.0])
_HEALTH = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda pair: (min(pair), max(pair)))
_STEP = st.tuples(st.just("poll"), _PAUSES, st.sampled_from([CALM, CALM, UNEASY, ALARMING]) | _HEALTH, st.booleans())
_EVENTS = st.lists(
    _STEP | _STEP | _STEP | st.tuples(st.sampled_from(["force", "abort"]), _PAUSES, st.just(CALM), st.just(False)), max_size=60
)
_SETTINGS = st.builds(
    CascadeSettings,
    unhealthy_fraction=st.sampled_from([0.3, 0.3, 0.5, 1.0]),
    emergency_rate=st.sampled_from([0.05, 0.1]),
    stabilise=st.sampled_from([5.0, 30.0]),
    steps=st.sampled_from([RATES, (1.0,), (0.5, 0.9)]),
    step_time=st.sampled_from([5.0, 30.0]),
)


def act(cascade: Cascade, event: str, now: float, health: tuple[int, int], spreading: bool) -> list[Change]:
    match event:
        case "force":
            return cascade.force(now)
        case "abort":
            return cascade.abort(now)
        case _:
            return cascade.tick(now, *health, spreading=spreading)


@settings(deadline=None)  # a busy machine is no failure
@given(_SETTINGS, _EVENTS)
def test_whatever_happens_no_step_is_skipped_and_healthy_for_long_ends_in_normal(
    limits: CascadeSettings, events: list[tuple[str, float, tuple[int, int], bool]]
) -> None:
    now, cascade = 100.0, Cascade(limits, 100.0)
    entered = 100.0

    for event, pause, health, spreading in events:
        now += pause
        phase, step, relapses = cascade.phase, cascade.step, cascade.relapses
        needed = cascade.stabilisation

        changes = act(cascade, event, now, health, spreading)

        # What it says is what it did.
        assert len(changes) <= 1
        assert (cascade.step is not None) is (cascade.phase is RECOVERING)
        match changes:
            case [EnteredEmergency()]:
                assert (phase, cascade.phase, cascade.rate) == (NORMAL, EMERGENCY, limits.emergency_rate)
                assert cascade.relapses in (relapses, relapses + 1, 0)
            case [BeganRecovery(rate=rate)]:
                assert (phase, cascade.phase, cascade.step, cascade.rate) == (EMERGENCY, RECOVERING, 0, rate)
                assert now - entered >= needed
            case [SteppedUp(step=following, rate=rate)]:
                assert step is not None
                assert (following, cascade.step, cascade.rate) == (step + 1, step + 1, rate)
                assert now - entered >= limits.step_time
            case [Relapsed(step=fallen)]:
                assert (phase, fallen, cascade.phase, cascade.relapses) == (RECOVERING, step, EMERGENCY, relapses + 1)
            case [Resolved(aborted=aborted)]:
                assert (cascade.phase, cascade.rate, aborted) == (NORMAL, 1.0, event == "abort")
                assert aborted or (step == len(limits.steps) - 1 and now - entered >= limits.step_time)
            case _:
                assert (cascade.phase, cascade.step) == (phase, step)
        if (cascade.phase, cascade.step) != (phase, step) or event == "force":
            entered = now

    # It is never stuck: this long at most until it is at the full rate, and there it stays.
    longest = limits.stabilise * 2**MOST_DOUBLINGS + len(limits.steps) * limits.step_time + (len(limits.steps) + 2) * limits.poll
    end = now + longest
    while now < end:
        now += limits.poll
        cascade.tick(now, 0, 10)
    assert (cascade.phase, cascade.rate) == (NORMAL, 1.0)
    assert cascade.tick(now + limits.poll, 0, 10) == []


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.sampled_from([UNEASY, ALARMING]), min_size=1, max_size=200))
def test_at_the_border_it_does_not_go_to_and_fro(healths: list[tuple[int, int]]) -> None:
    system = System()

    changes = [change for health in healths for change in system.poll(health)]

    assert [type(change) for change in changes if not isinstance(change, Escalated)] == [EnteredEmergency] * (ALARMING in healths)


def test_a_million_seconds_of_random_health_change_the_phase_no_faster_than_the_timers() -> None:
    rng = Random(1)
    limits = CascadeSettings()
    cascade, now = Cascade(limits, 0.0), 0.0
    entries: list[tuple[float, int]] = []
    resolved = 0
    bad_until = 0.0

    while now < 1_000_000:
        now += limits.poll
        if now > bad_until + 200 and rng.random() < 0.005:
            bad_until = now + rng.expovariate(1 / 120)
        eligible = rng.randint(6, 40)
        worst = 0.6 if now < bad_until else 0.12
        for change in cascade.tick(now, int(rng.random() * worst * eligible), eligible):
            match change:
                case EnteredEmergency() | Relapsed():
                    entries.append((now, change.relapses))
                case Resolved(lasted=lasted):
                    resolved += 1
                    assert lasted >= limits.stabilise + len(limits.steps) * limits.step_time
                case _:
                    pass

    # Each emergency lasts for its stabilisation, before the next can begin.
    for (begin, relapses), (following, _) in pairwise(entries):
        assert following - begin >= limits.stabilise * 2 ** min(relapses, MOST_DOUBLINGS)
    assert len(entries) > 500
    assert resolved > 100


# Settings


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"poll": 0}, SpecError, "CascadeManager: poll = 0: expected seconds, more than 0"),
        ({"poll": "5"}, SpecTypeError, "poll = '5'"),
        ({"unhealthy_fraction": 0.0}, SpecError, "unhealthy_fraction = 0.0: expected a share of all components, more than 0 and at most 1"),
        ({"unhealthy_fraction": 30}, SpecError, "unhealthy_fraction = 30"),
        ({"unhealthy_fraction": True}, SpecTypeError, "unhealthy_fraction = True"),
        ({"emergency_rate": 0}, SpecError, "emergency_rate = 0: expected a share of the full rate, more than 0 and at most 1"),
        ({"emergency_rate": 1.5}, SpecError, "emergency_rate = 1.5"),
        ({"stabilise": -1.0}, SpecError, "stabilise = -1.0"),
        ({"stabilise": float("inf")}, SpecError, "stabilise = inf"),
        ({"step_time": float("nan")}, SpecError, "step_time = nan"),
        ({"steps": ()}, SpecError, "steps = (): expected a tuple of shares of the full rate, which rise, from emergency_rate at least"),
        ({"steps": [0.5, 1.0]}, SpecTypeError, "steps = [0.5, 1.0]: expected a tuple"),
        ({"steps": (0.5, "1")}, SpecTypeError, "steps = '1'"),
        ({"steps": (0.5, 1.5)}, SpecError, "steps = 1.5"),
        ({"steps": (0.5, 0.5)}, SpecError, "steps = (0.5, 0.5)"),
        ({"steps": (0.1, 0.1)}, SpecError, "steps = (0.1, 0.1)"),
        ({"steps": (0.5, 0.25)}, SpecError, "steps = (0.5, 0.25)"),
        ({"steps": (0.05, 1.0)}, SpecError, "steps = 0.05"),
        ({"emergency_rate": 0.2}, SpecError, "steps = 0.1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        CascadeSettings(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)


def test_phases_are_written_in_lower_case() -> None:
    assert [phase.value for phase in CascadePhase] == ["normal", "emergency", "recovering"]
