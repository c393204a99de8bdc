"""When calls that keep failing are no longer made, and when they are tried again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
import trio
from attrs import define
from hypothesis import given, settings, strategies as st

from actorkit import errors
from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy import breaker as module
from actorkit.policy.breaker import SOON, Breaker, BreakerSettings, CircuitState, Outcome, Token

CLOSED, OPEN, HALF_OPEN, ISOLATED = CircuitState
SUCCESS, FAILURE, IGNORED = Outcome


def make(failure_threshold: int = 2, recovery_timeout: float = 10.0, half_open_requests: int = 2, **others: Any) -> Breaker:
    return Breaker(
        BreakerSettings(
            failure_threshold=failure_threshold, recovery_timeout=recovery_timeout, half_open_requests=half_open_requests, **others
        )
    )


def let_through(breaker: Breaker, now: float) -> Token:
    token = breaker.acquire(now)
    assert token is not None
    return token


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.release(let_through(breaker, now), FAILURE, now)


def half_open(now: float = 0.0, **others: Any) -> tuple[Breaker, Token]:
    """A breaker that failed long ago, and the probe that has just begun."""
    breaker = make(**others)
    fail(breaker, now - breaker.settings.recovery_timeout, breaker.settings.failure_threshold)
    return breaker, let_through(breaker, now)


# The table


def written() -> set[tuple[str, str, str]]:
    """State, event and next state of each row of the table in the module's docstring."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (module.__doc__ or "").splitlines() if line.startswith("|")]
    return {(state, event, following) for state, event, _, following in rows[2:]}


def walked(seed: int, steps: int) -> set[tuple[str, str, str]]:
    """State, event and next state of each step of a random walk."""
    rng = Random(seed)
    breaker, now, under_way = make(), 0.0, list[Token]()
    seen: set[tuple[str, str, str]] = set()
    for _ in range(steps):
        before = breaker.state
        match rng.choice(["acquire"] * 6 + ["release"] * 8 + ["sleep"] * 4 + ["isolate", "reset"]):
            case "acquire":
                token = breaker.acquire(now)
                event = "refused" if token is None else "let through"
                under_way += [] if token is None else [token]
            case "release" if under_way:
                token = under_way.pop(rng.randrange(len(under_way)))
                outcome = rng.choice([SUCCESS, FAILURE, FAILURE, IGNORED])
                event = outcome.value if token.generation == breaker.generation else "late result"
                breaker.release(token, outcome, now)
            case "isolate":
                event = "isolate"
                breaker.isolate()
            case "reset":
                event = "reset"
                breaker.reset()
            case _:
                now += rng.choice([0.0, 5.0, 10.0])
                continue
        seen.add((before.name, event, breaker.state.name))
    return seen


def test_the_code_does_what_the_table_says_and_nothing_else() -> None:
    assert walked(seed=1, steps=20_000) == written()


# Against a model


@define(eq=False)
class Call:
    """A call that the model let through."""

    era: int
    began: float
    outcome: Outcome | None = None


class Model:
    """Keeps everything there ever was, and counts anew each time."""

    def __init__(self, limits: BreakerSettings) -> None:
        self.limits, self.state, self.era, self.opened = limits, CLOSED, 0, 0.0
        self.calls: list[Call] = []
        self.results: list[tuple[float, bool]] = []

    def become(self, state: CircuitState) -> None:
        self.state, self.era, self.results = state, self.era + 1, []

    def acquire(self, now: float) -> Call | None:
        limits = self.limits
        if self.state is ISOLATED or (self.state is OPEN and now < self.opened + limits.recovery_timeout):
            return None
        if self.state is OPEN:
            self.become(HALF_OPEN)
        if self.state is HALF_OPEN:
            of_now = [call for call in self.calls if call.era == self.era]
            inside = sum(call.outcome is None and now < call.began + limits.recovery_timeout for call in of_now)
            if inside + sum(call.outcome is SUCCESS for call in of_now) >= limits.half_open_requests:
                return None
        call = Call(self.era, now)
        self.calls.append(call)
        return call

    def release(self, call: Call, outcome: Outcome, now: float) -> None:
        limits = self.limits
        call.outcome = outcome
        if call.era != self.era or outcome is IGNORED:
            return
        if limits.slow_after is not None and now > call.began + limits.slow_after:
            call.outcome = FAILURE
        failed = call.outcome is FAILURE
        if self.state is CLOSED:
            self.results.append((now, failed))
            if self.too_many(now):
                self.become(OPEN)
                self.opened = now
        elif failed and now < call.began + limits.recovery_timeout:
            self.become(OPEN)
            self.opened = now
        elif sum(other.era == self.era and other.outcome is SUCCESS for other in self.calls) >= limits.half_open_requests:
            self.become(CLOSED)

    def too_many(self, now: float) -> bool:
        limits = self.limits
        if limits.failure_rate is None:
            last = self.results[-limits.failure_threshold :]
            return len(last) == limits.failure_threshold and all(failed for _, failed in last)
        part = limits.window / 10
        lately = [failed for time, failed in self.results if math.floor(time / part) > math.floor(now / part) - 10]
        return lately[-1] and len(lately) >= limits.min_calls and sum(lately) >= limits.failure_rate * len(lately)


# Whole numbers, so that no rounding stands between the two.
_LIMITS = st.builds(
    BreakerSettings,
    failure_threshold=st.integers(1, 3),
    recovery_timeout=st.sampled_from([5.0, 20.0]),
    half_open_requests=st.integers(1, 3),
    failure_rate=st.sampled_from([None, 0.5, 1.0]),
    min_calls=st.integers(1, 4),
    window=st.just(10.0),
    slow_after=st.sampled_from([None, 3.0]),
)
_OUTCOMES = [SUCCESS, FAILURE, FAILURE, IGNORED]
_KINDS = ["acquire"] * 6 + ["release"] * 6 + ["sleep"] * 4 + ["isolate", "reset"]
_PAUSES = [1, 2, 5, 20]
_STEPS = st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(0, 11), st.sampled_from(_OUTCOMES)), max_size=80)


def compare(limits: BreakerSettings, steps: Iterable[tuple[str, int, Outcome]]) -> None:
    """Lets the two go the same way, and sees them agree at each step."""
    breaker, model, now = Breaker(limits), Model(limits), 0.0
    under_way: list[tuple[Token, Call]] = []

    for step, number, outcome in steps:
        match step:
            case "acquire":
                may = breaker.retry_after(now) == 0
                token, call = breaker.acquire(now), model.acquire(now)
                assert (token is not None) == (call is not None) == may
                if token is not None and call is not None:
                    under_way.append((token, call))
            case "release" if under_way:
                token, call = under_way.pop(number % len(under_way))
                breaker.release(token, outcome, now)
                model.release(call, outcome, now)
            case "isolate":
                breaker.isolate()
                model.become(ISOLATED)
            case "reset":
                breaker.reset()
                model.become(CLOSED)
            case _:
                now += _PAUSES[number % len(_PAUSES)]

        assert breaker.state is model.state


@settings(deadline=None)  # a busy machine is no failure
@given(_LIMITS, _STEPS)
def test_it_lets_through_and_changes_as_a_model_that_forgets_nothing(
    limits: BreakerSettings, steps: list[tuple[str, int, Outcome]]
) -> None:
    compare(limits, steps)


@pytest.mark.parametrize("seed", range(20))
def test_on_a_long_walk_as_well(seed: int) -> None:
    rng = Random(seed)
    limits = BreakerSettings(
        failure_threshold=rng.randint(1, 3),
        recovery_timeout=5.0,
        half_open_requests=rng.randint(1, 3),
        failure_rate=rng.choice([None, 0.5]),
        min_calls=3,
        window=10.0,
        slow_after=rng.choice([None, 3.0]),
    )

    compare(limits, ((rng.choice(_KINDS), rng.randrange(12), rng.choice(_OUTCOMES)) for _ in range(1_000)))


# Opening


def test_only_failures_in_a_row_open_it() -> None:
    breaker = make(failure_threshold=3)
    fail(breaker, 0.0, 2)
    breaker.release(let_through(breaker, 0.0), SUCCESS, 0.0)
    fail(breaker, 0.0, 2)
    assert breaker.state is CLOSED

    fail(breaker, 0.0)
    assert breaker.state is OPEN


def test_a_rate_opens_it_only_with_enough_calls_lately() -> None:
    breaker = make(failure_rate=0.5, min_calls=4, window=10.0)
    for now in (0.0, 1.0, 2.0):
        fail(breaker, now)
    assert breaker.state is CLOSED

    # By now the three are forgotten.
    for now in (20.0, 21.0, 22.0):
        breaker.release(let_through(breaker, now), SUCCESS, now)
    fail(breaker, 23.0, 2)
    assert breaker.state is CLOSED

    fail(breaker, 23.0)
    assert breaker.state is OPEN


def test_a_slow_call_counts_as_failed() -> None:
    breaker = make(failure_threshold=1, slow_after=2.0)
    quick, slow = let_through(breaker, 0.0), let_through(breaker, 0.0)
    breaker.release(quick, SUCCESS, 2.0)
    assert breaker.state is CLOSED

    breaker.release(slow, SUCCESS, 2.5)
    assert breaker.state is OPEN


def test_an_open_breaker_says_how_long_it_stays_so() -> None:
    breaker = make(failure_threshold=1, recovery_timeout=10.0)
    assert breaker.retry_after(0.0) == 0

    fail(breaker, 5.0)
    assert breaker.retry_after(7.0) == 8.0
    assert breaker.acquire(14.9) is None
    assert breaker.retry_after(15.0) == 0


# Half-open


def test_no_more_probes_are_let_through_than_must_succeed() -> None:
    breaker, first = half_open(half_open_requests=2)
    second = let_through(breaker, 0.0)
    assert breaker.acquire(0.0) is None
    assert breaker.retry_after(0.0) == SOON

    breaker.release(first, SUCCESS, 1.0)
    assert breaker.acquire(1.0) is None

    breaker.release(second, SUCCESS, 1.0)
    assert breaker.state is CLOSED


def test_a_probe_that_fails_opens_it_for_the_whole_timeout_again() -> None:
    breaker, probe = half_open(now=0.0, recovery_timeout=10.0)
    breaker.release(probe, FAILURE, 3.0)
    assert breaker.state is OPEN
    assert breaker.retry_after(3.0) == 10.0


def test_a_probe_that_is_cancelled_gives_its_place_back_at_once() -> None:
    breaker, probe = half_open(half_open_requests=1)
    assert breaker.acquire(0.0) is None

    breaker.release(probe, IGNORED, 0.0)
    assert breaker.state is HALF_OPEN
    breaker.release(let_through(breaker, 0.0), SUCCESS, 0.0)
    assert breaker.state is CLOSED


def test_a_hung_probe_loses_its_place_and_its_failure_is_old_news() -> None:
    breaker, hung = half_open(half_open_requests=1, recovery_timeout=10.0)
    assert breaker.acquire(9.9) is None
    assert breaker.retry_after(9.9) == pytest.approx(0.1)

    let_through(breaker, 12.0)
    breaker.release(hung, FAILURE, 13.0)
    assert breaker.state is HALF_OPEN
    assert breaker.acquire(13.0) is None


def test_calls_slower_than_the_recovery_timeout_can_still_close_it() -> None:
    breaker, first = half_open(half_open_requests=1, recovery_timeout=10.0)
    let_through(breaker, 10.0)
    breaker.release(first, SUCCESS, 15.0)
    assert breaker.state is CLOSED


# Results that come late


@pytest.mark.parametrize("outcome", Outcome)
def test_a_result_from_before_it_opened_changes_nothing(outcome: Outcome) -> None:
    breaker = make(failure_threshold=1, half_open_requests=1)
    late, later = let_through(breaker, 0.0), let_through(breaker, 0.0)
    fail(breaker, 0.0)
    breaker.release(late, outcome, 5.0)
    assert (breaker.state, breaker.retry_after(5.0)) == (OPEN, 5.0)

    let_through(breaker, 10.0)
    breaker.release(later, outcome, 10.0)
    assert breaker.state is HALF_OPEN
    assert breaker.acquire(10.0) is None


@pytest.mark.parametrize("outcome", Outcome)
def test_a_call_under_way_at_a_reset_does_not_count(outcome: Outcome) -> None:
    breaker = make(failure_threshold=2)
    under_way = let_through(breaker, 0.0)
    fail(breaker, 0.0)
    breaker.reset()
    breaker.release(under_way, outcome, 0.0)
    fail(breaker, 0.0)
    assert breaker.state is CLOSED

    fail(breaker, 0.0)
    assert breaker.state is OPEN


def test_nobody_can_tell_how_long_an_isolated_breaker_stays_so() -> None:
    breaker = make()
    breaker.isolate()
    assert breaker.acquire(1e9) is None
    assert breaker.retry_after(1e9) is None

    breaker.reset()
    assert breaker.acquire(1e9) is not None


def test_a_call_is_released_once() -> None:
    breaker = make()
    token = let_through(breaker, 0.0)
    breaker.release(token, SUCCESS, 0.0)
    with pytest.raises(ValueError, match="released once"):
        breaker.release(token, SUCCESS, 0.0)


def test_on_another_runs_clock_it_is_closed_unless_isolated() -> None:
    breaker = make(failure_threshold=1)
    fail(breaker, 1e6)
    assert breaker.acquire(0.0) is not None
    assert breaker.state is CLOSED

    breaker.isolate()
    assert breaker.acquire(-1.0) is None


# What a call came to


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionError(), FAILURE),
        (trio.TooSlowError(), FAILURE),
        (KeyError(), IGNORED),
        (ExceptionGroup("one", [KeyError()]), IGNORED),
        (ExceptionGroup("both", [KeyError(), ConnectionError()]), FAILURE),
        (errors.CircuitOpenError(), IGNORED),
        (errors.BulkheadFull(), IGNORED),
        (KeyboardInterrupt(), IGNORED),
        (GeneratorExit(), IGNORED),
        (BaseExceptionGroup("cancelled", [KeyboardInterrupt(), ConnectionError()]), IGNORED),
    ],
    ids=repr,
)
def test_only_what_says_something_about_the_service_counts(error: BaseException, outcome: Outcome) -> None:
    assert BreakerSettings(ignore=KeyError).outcome(error) is outcome
    assert BreakerSettings(ignore=(LookupError, OverflowError)).outcome(error) is outcome


def test_every_exception_counts_by_default() -> None:
    assert BreakerSettings().outcome(KeyError()) is FAILURE


# Settings


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"failure_threshold": 0}, SpecError, "CircuitBreaker: failure_threshold = 0: expected a whole number, 1 or more"),
        ({"failure_threshold": 1.5}, SpecTypeError, "failure_threshold = 1.5"),
        ({"recovery_timeout": 0}, SpecError, "recovery_timeout = 0: expected seconds, more than 0"),
        ({"recovery_timeout": -1.0}, SpecError, "recovery_timeout = -1.0"),
        ({"recovery_timeout": float("nan")}, SpecError, "recovery_timeout = nan"),
        ({"recovery_timeout": float("inf")}, SpecError, "recovery_timeout = inf: expected seconds, more than 0, and finite"),
        ({"recovery_timeout": "60"}, SpecTypeError, "recovery_timeout = '60'"),
        ({"half_open_requests": True}, SpecTypeError, "half_open_requests = True"),
        ({"failure_rate": 0.0}, SpecError, "failure_rate = 0.0: expected None, or a share of all calls, more than 0 and at most 1"),
        ({"failure_rate": 1.5}, SpecError, "failure_rate = 1.5"),
        ({"min_calls": 0}, SpecError, "min_calls = 0"),
        ({"window": 0.0}, SpecError, "window = 0.0: expected seconds, 0.001 or more"),
        ({"slow_after": 0.0}, SpecError, "slow_after = 0.0"),
        ({"ignore": KeyError()}, SpecTypeError, "ignore = KeyError(): expected an exception class, or a tuple of them"),
        ({"ignore": [KeyError]}, SpecTypeError, "ignore = [<class 'KeyError'>]"),
        ({"ignore": (KeyError, int)}, SpecTypeError, "ignore = <class 'int'>"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        BreakerSettings(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)
