"""How often, and after what waits, a failure is tried again."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit import errors
from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.retry import (
    DEFAULT_SCHEDULES,
    LONGEST_LINEAR_DELAY,
    MOST_DRAWS,
    ExponentialBackoffRetry,
    LinearBackoffRetry,
    NoRetry,
    RetryPolicy,
    Schedule,
    wait_before,
)
from actorkit.policy.taxonomy import ErrorCategory


class CountingRandom(Random):
    """Counts how often it is drawn from."""

    drawn = 0

    def random(self) -> float:
        self.drawn += 1
        return super().random()


_SECONDS = st.floats(0, 1e9, allow_nan=False)


@settings(deadline=None)  # a busy machine is no failure
@given(_SECONDS, _SECONDS, st.integers(1, 12_000), st.integers())
def test_an_exponential_wait_stays_within_its_ceiling(one: float, other: float, retry: int, seed: int) -> None:
    base, longest = sorted((one, other))
    full = ExponentialBackoffRetry(3, base, longest)
    plain = ExponentialBackoffRetry(3, base, longest, "none")
    rng = CountingRandom(seed)

    ceiling = plain.delay(retry, rng)
    assert rng.drawn == 0
    assert ceiling == (min(longest, base * 2.0 ** (retry - 1)) if retry < 900 else ceiling)
    assert ceiling <= longest
    assert 0 <= full.delay(retry, rng) <= ceiling
    assert rng.drawn == 1


def test_exponential_waits_double_up_to_the_longest() -> None:
    schedule = ExponentialBackoffRetry(base_delay=0.1, max_delay=1.0, jitter="none")
    assert [schedule.delay(retry, Random(1)) for retry in (1, 2, 3, 4, 5, 10_000, 10**30)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert ExponentialBackoffRetry(base_delay=0, max_delay=0, jitter="none").delay(10_000, Random(1)) == 0.0


def test_a_seeded_run_waits_the_same_again() -> None:
    schedule = ExponentialBackoffRetry()
    first, second = ([schedule.delay(retry, rng) for retry in range(1, 9)] for rng in (Random(7), Random(7)))
    assert first == second


def test_full_jitter_spreads_over_the_whole_range() -> None:
    rng = Random(1)
    waits = [ExponentialBackoffRetry(base_delay=1.0).delay(1, rng) for _ in range(1_000)]
    assert min(waits) < 0.05
    assert max(waits) > 0.95
    assert 0.45 < sum(waits) / len(waits) < 0.55


def test_a_decorrelated_wait_is_drawn_between_the_base_and_three_times_the_one_before() -> None:
    rng = Random(1)
    schedule = ExponentialBackoffRetry(base_delay=1.0, max_delay=100.0, jitter="decorrelated")

    def waits(retry: int) -> list[float]:
        return sorted(schedule.delay(retry, rng) for _ in range(2_000))

    first, second, late = waits(1), waits(2), waits(10_000)
    assert 1.0 <= first[0] < 1.1
    assert 2.9 < first[-1] <= 3.0
    assert second[0] >= 1.0
    assert 6.0 < second[-1] <= 9.0
    assert late[0] >= 1.0
    assert late[-1] == 100.0
    assert sum(first) < sum(second) < sum(late)


def test_decorrelated_jitter_draws_no_more_than_it_needs() -> None:
    schedule = ExponentialBackoffRetry(jitter="decorrelated")
    for retry, drawn in ((1, 1), (3, 3), (10**30, MOST_DRAWS)):
        rng = CountingRandom(1)
        schedule.delay(retry, rng)
        assert rng.drawn == drawn
    assert ExponentialBackoffRetry(base_delay=0, jitter="decorrelated").delay(5, Random(1)) == 0.0


def test_a_wait_is_at_least_what_the_failure_asks_for() -> None:
    schedule = ExponentialBackoffRetry(base_delay=1.0, max_delay=4.0, jitter="none")
    rng = Random(1)
    assert wait_before(schedule, 2, ConnectionError(), rng) == 2.0
    assert wait_before(schedule, 2, errors.TransientError(retry_after=1.0), rng) == 2.0
    assert wait_before(schedule, 2, errors.CircuitOpenError(retry_after=30.0), rng) == 30.0


def test_linear_waits_grow_by_their_step_up_to_an_hour() -> None:
    rng = CountingRandom(1)
    schedule = LinearBackoffRetry(max_retries=2, delay=1.5)
    assert [schedule.delay(retry, rng) for retry in (1, 2, 3, 10_000)] == [1.5, 3.0, 4.5, LONGEST_LINEAR_DELAY]
    assert LinearBackoffRetry(delay=5_000).delay(2, rng) == 5_000.0
    assert LinearBackoffRetry(delay=1e308).delay(10_000, rng) == 1e308
    assert schedule.step == 1.5
    assert rng.drawn == 0


def test_no_retry_means_none_and_no_wait() -> None:
    assert NoRetry().max_retries == 0
    assert NoRetry().delay(1, Random(1)) == 0.0
    assert NoRetry() == NoRetry()


@pytest.mark.parametrize("schedule", [ExponentialBackoffRetry(), LinearBackoffRetry(), NoRetry()])
@pytest.mark.parametrize("retry", [0, -1])
def test_the_first_retry_is_number_one(schedule: Schedule, retry: int) -> None:
    with pytest.raises(ValueError, match=rf"retry = {retry}: expected 1 or more"):
        schedule.delay(retry, Random(1))


def test_the_defaults_are_those_of_the_contract() -> None:
    assert ExponentialBackoffRetry() == ExponentialBackoffRetry(max_retries=3, base_delay=0.1, max_delay=10.0, jitter="full")
    assert LinearBackoffRetry() == LinearBackoffRetry(max_retries=2, delay=1.0)


_WRONG: list[tuple[type[Any], dict[str, object], type[Exception], str]] = [
    (ExponentialBackoffRetry, {"base_delay": -1}, SpecError, "ExponentialBackoffRetry: base_delay = -1: expected seconds, 0 or more"),
    (ExponentialBackoffRetry, {"base_delay": 20.0}, SpecError, "base_delay = 20.0: expected seconds, at most max_delay, which is 10.0"),
    (ExponentialBackoffRetry, {"base_delay": float("nan")}, SpecError, "base_delay = nan"),
    (ExponentialBackoffRetry, {"base_delay": "1"}, SpecTypeError, "base_delay = '1'"),
    (ExponentialBackoffRetry, {"base_delay": True}, SpecTypeError, "base_delay = True"),
    (ExponentialBackoffRetry, {"max_delay": float("inf")}, SpecError, "max_delay = inf: expected seconds, 0 or more, and finite"),
    (ExponentialBackoffRetry, {"max_delay": None}, SpecTypeError, "max_delay = None"),
    (ExponentialBackoffRetry, {"max_retries": -1}, SpecError, "max_retries = -1: expected a whole number, 0 or more"),
    (ExponentialBackoffRetry, {"max_retries": 1.0}, SpecTypeError, "max_retries = 1.0"),
    (ExponentialBackoffRetry, {"max_retries": True}, SpecTypeError, "max_retries = True"),
    (ExponentialBackoffRetry, {"jitter": "half"}, SpecError, "jitter = 'half': expected 'full', 'decorrelated' or 'none'"),
    (ExponentialBackoffRetry, {"jitter": None}, SpecTypeError, "jitter = None: expected 'full', 'decorrelated' or 'none'"),
    (LinearBackoffRetry, {"delay": -0.5}, SpecError, "LinearBackoffRetry: delay = -0.5: expected seconds, 0 or more"),
    (LinearBackoffRetry, {"delay": float("inf")}, SpecError, "delay = inf"),
    (LinearBackoffRetry, {"max_retries": "2"}, SpecTypeError, "max_retries = '2'"),
]


@pytest.mark.parametrize(("of", "values", "error", "text"), _WRONG)
def test_a_wrong_setting_is_named_with_its_value(of: type[Any], values: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        of(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)


# RetryPolicy


def test_the_default_schedules_are_those_of_the_design() -> None:
    policy = RetryPolicy()
    expected: dict[ErrorCategory, Schedule] = {
        ErrorCategory.TRANSIENT: ExponentialBackoffRetry(3, 0.1, 5.0),
        ErrorCategory.TIMEOUT: LinearBackoffRetry(2, 1.0),
        ErrorCategory.RESOURCE: ExponentialBackoffRetry(5, 1.0, 30.0),
        ErrorCategory.COMMUNICATION: ExponentialBackoffRetry(5, 0.1, 5.0),
        ErrorCategory.DEPENDENCY: ExponentialBackoffRetry(5, 1.0, 60.0),
        ErrorCategory.PERMANENT: NoRetry(),
        ErrorCategory.POISON_MESSAGE: NoRetry(),
        ErrorCategory.VALIDATION: NoRetry(),
    }
    assert {category: policy.for_category(category) for category in ErrorCategory} == expected
    assert {category for category in ErrorCategory if policy.retries(category)} == set(DEFAULT_SCHEDULES)


def test_schedules_that_are_given_change_some_and_leave_the_rest() -> None:
    mine: dict[ErrorCategory, Schedule] = {ErrorCategory.TIMEOUT: NoRetry(), ErrorCategory.VALIDATION: LinearBackoffRetry(1)}
    policy = RetryPolicy(mine)
    mine.clear()
    assert policy.for_category(ErrorCategory.TIMEOUT) == NoRetry()
    assert not policy.retries(ErrorCategory.TIMEOUT)
    assert policy.for_category(ErrorCategory.VALIDATION) == LinearBackoffRetry(1)
    assert policy.retries(ErrorCategory.VALIDATION)
    assert policy.for_category(ErrorCategory.TRANSIENT) == DEFAULT_SCHEDULES[ErrorCategory.TRANSIENT]


def test_a_category_is_no_text() -> None:
    category: Any = "transient"

    with pytest.raises(SpecTypeError, match=r"^RetryPolicy: category = 'transient': expected ErrorCategory\.TRANSIENT, "):
        RetryPolicy().for_category(category)


def test_a_schedule_of_ones_own_needs_only_the_two_members() -> None:
    class Once:
        max_retries = 1

        def delay(self, retry: int, rng: Random) -> float:
            return 0.5 * retry

    once = Once()
    assert RetryPolicy({ErrorCategory.PERMANENT: once}).for_category(ErrorCategory.PERMANENT) is once


@pytest.mark.parametrize(
    ("schedules", "text"),
    [
        (7, "RetryPolicy: schedules = 7: expected a mapping of ErrorCategory to schedule"),
        ("abc", "RetryPolicy: schedules = 'abc'"),
        ({"timeout": NoRetry()}, "RetryPolicy: category = 'timeout': expected ErrorCategory.TRANSIENT"),
        ({ErrorCategory.TIMEOUT: NoRetry}, "RetryPolicy: ErrorCategory.TIMEOUT = <class"),
        ({ErrorCategory.TIMEOUT: 3}, "RetryPolicy: ErrorCategory.TIMEOUT = 3: expected a schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(schedules: Any, text: str) -> None:
    with pytest.raises(SpecTypeError) as caught:
        RetryPolicy(schedules)
    assert text in str(caught.value)


def test_policies_are_values() -> None:
    one, same, other = RetryPolicy(), RetryPolicy(), RetryPolicy({ErrorCategory.TIMEOUT: NoRetry()})
    assert one == same != other
    assert hash(one) == hash(same)
    assert pickle.loads(pickle.dumps(other)) == other  # noqa: S301  # our own bytes


def test_schedules_can_be_read_by_a_person() -> None:
    lines = str(RetryPolicy({ErrorCategory.VALIDATION: NoRetry(), ErrorCategory.PERMANENT: ExponentialBackoffRetry(1, jitter="none")}))
    assert lines.splitlines() == [
        "TRANSIENT: exponential, 3 retries, 0.1 s to 5 s, full jitter",
        "TIMEOUT: linear, 2 retries, steps of 1 s",
        "RESOURCE: exponential, 5 retries, 1 s to 30 s, full jitter",
        "COMMUNICATION: exponential, 5 retries, 0.1 s to 5 s, full jitter",
        "DEPENDENCY: exponential, 5 retries, 1 s to 60 s, full jitter",
        "VALIDATION: none",
        "PERMANENT: exponential, 1 retry, 0.1 s to 10 s",
    ]
