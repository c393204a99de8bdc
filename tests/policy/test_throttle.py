"""When the next call may be made, so that there are so many a second at most."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.throttle import DEFAULT_FLOOR, INTERVAL, ThrottleSettings, TokenBucket


def bucket(rate: float = 4.0, burst: int = 1, floor: float | None = None) -> TokenBucket:
    return TokenBucket(ThrottleSettings(rate=rate, burst=burst, floor=floor))


def use(throttle: TokenBucket, start: float, seconds: float, *, share: float = 1.0) -> float:
    """Takes tokens one by one as soon as may be, or that much more slowly; returns when it stopped."""
    now = start
    while now < start + seconds:
        now = max(now + (1 / throttle.rate) / share, throttle.ready_at(1))
        assert throttle.try_take(1, now)
    return now


# The bucket


class Model:
    """Counts tokens, in quarters of a second: exact, since all numbers are binary fractions."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.tokens: float = burst
        self.queue: deque[int] = deque()

    def sleep(self, seconds: float) -> None:
        self.tokens = min(self.burst, self.tokens + self.rate * seconds)


_STEPS = st.lists(
    st.tuples(st.sampled_from(["try", "reserve", "reserve", "claim", "claim", "cancel", "sleep", "sleep"]), st.integers(1, 6)), max_size=80
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 6), _STEPS)
def test_it_lets_take_as_a_model_that_counts_tokens(rate: int, burst: int, steps: list[tuple[str, int]]) -> None:
    throttle, model, now = bucket(rate, burst), Model(rate, burst), 0.0

    for step, number in steps:
        n = min(number, burst)
        match step:
            case "try":
                may = not model.queue and model.tokens >= n
                model.tokens -= n if may else 0
                assert throttle.try_take(n, now) is may
            case "reserve":
                model.queue.append(n)
                assert throttle.reserve(n, now) - now == (sum(model.queue) - model.tokens) / rate
            case "claim" if model.queue:
                first = model.queue[0]
                if model.tokens >= first:
                    model.tokens -= model.queue.popleft()
                    throttle.claim(first, now)
                else:
                    with pytest.raises(ValueError, match="not there before"):
                        throttle.claim(first, now)
                    assert throttle.ready_at(first) - now == (first - model.tokens) / rate
            case "cancel" if model.queue:
                place = number % len(model.queue)
                throttle.cancel(model.queue[place])
                del model.queue[place]
            case _:
                now += number / 4
                model.sleep(number / 4)

        assert throttle.tokens(now) == model.tokens
        assert throttle.reserved == sum(model.queue)


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(0.01, 1e6), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=100))
def test_in_any_span_of_time_no_more_are_taken_than_the_burst_and_what_came_in(rate: float, burst: int, pauses: list[float]) -> None:
    throttle, now, taken = bucket(rate, burst), 0.0, list[float]()

    for pause in pauses:
        now += pause
        while throttle.try_take(1, now):
            taken.append(now)

    for first, start in enumerate(taken):
        assert len(taken) - first <= burst + rate * (now - start) * (1 + 1e-9) + 1e-6


def test_a_long_pause_brings_no_more_than_the_burst() -> None:
    throttle = bucket(rate=10.0, burst=3)
    assert throttle.tokens(1e9) == 3
    assert [throttle.try_take(1, 1e9) for _ in range(4)] == [True, True, True, False]


def test_who_is_first_may_take_at_the_very_time_it_was_told() -> None:
    throttle, now = bucket(rate=3.0, burst=2), 0.1
    for _ in range(10_000):
        throttle.reserve(1, now)
        now = max(now, throttle.ready_at(1))
        throttle.claim(1, now)
    assert now == pytest.approx(0.1 + 9_998 / 3)


def test_nobody_overtakes_who_waits_and_those_behind_move_up_when_one_gives_up() -> None:
    throttle = bucket(rate=1.0, burst=2)
    assert throttle.try_take(2, 0.0)
    assert [throttle.reserve(2, 0.0), throttle.reserve(1, 0.0)] == [2.0, 3.0]
    assert not throttle.try_take(1, 1.5)

    throttle.cancel(2)
    assert throttle.ready_at(1) == 1.0
    throttle.claim(1, 1.5)
    assert throttle.reserved == 0


def test_what_was_not_reserved_cannot_be_claimed_or_cancelled() -> None:
    throttle = bucket(burst=5)
    throttle.reserve(1, 0.0)
    with pytest.raises(ValueError, match="1 are reserved"):
        throttle.cancel(2)
    with pytest.raises(ValueError, match="1 are reserved"):
        throttle.claim(2, 0.0)


def test_on_another_runs_clock_it_is_full() -> None:
    throttle = bucket(rate=1.0, burst=2)
    assert throttle.try_take(2, 1e6)
    throttle.slow_down(1e6)
    assert throttle.try_take(2, 0.0)
    assert throttle.rate == 1.0


# The rate


def test_trouble_halves_the_rate_once_a_second_down_to_the_floor() -> None:
    throttle = bucket(rate=8.0, floor=1.5)
    rates: list[float] = []
    for now in (0.0, 0.5, 1.0, 1.9, 2.0, 3.0, 4.0):
        throttle.slow_down(now)
        rates.append(throttle.rate)
    assert rates == [4.0, 4.0, 2.0, 2.0, 1.5, 1.5, 1.5]
    assert bucket(rate=8.0).settings.least == 8.0 * DEFAULT_FLOOR


def test_a_slower_rate_holds_for_what_was_missing_already() -> None:
    throttle = bucket(rate=4.0, burst=4)
    assert throttle.try_take(4, 0.0)
    throttle.slow_down(0.5)
    assert throttle.tokens(0.5) == 2
    assert throttle.tokens(1.5) == 4


def test_in_use_the_rate_comes_back_by_equal_steps_up_to_the_full_one() -> None:
    throttle = bucket(rate=40.0, burst=4)
    throttle.slow_down(0.0)
    now, rates = 0.0, list[float]()
    for _ in range(9):
        now = use(throttle, now, INTERVAL)
        rates.append(throttle.rate)
    assert rates == sorted(rates)
    assert {round(after - before) for before, after in pairwise(rates)} == {0, 4}
    assert rates[-1] == 40.0


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_little_used_the_rate_does_not_grow(share: float) -> None:
    throttle = bucket(rate=40.0)
    throttle.slow_down(0.0)
    use(throttle, 0.0, 100.0, share=share)
    assert throttle.rate == 20.0


def test_idle_the_rate_does_not_grow() -> None:
    throttle = bucket(rate=40.0, burst=10)
    throttle.slow_down(0.0)
    assert throttle.try_take(10, 1e6)
    assert throttle.try_take(1, 2e6)
    assert throttle.rate == 20.0


def test_trouble_begins_the_quiet_time_anew() -> None:
    throttle = bucket(rate=40.0)
    throttle.slow_down(0.0)
    now = use(throttle, 0.0, 0.9)
    throttle.slow_down(now)
    use(throttle, now, 0.9)
    assert throttle.rate == 20.0


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.sampled_from(["take", "trouble"]), st.floats(0, 3)), max_size=100))
def test_the_rate_stays_between_the_floor_and_the_full_one(steps: list[tuple[str, float]]) -> None:
    throttle, now = bucket(rate=10.0, burst=3, floor=2.0), 0.0
    for step, pause in steps:
        now += pause
        if step == "take":
            throttle.try_take(1, now)
        else:
            throttle.slow_down(now)
        assert 2.0 <= throttle.rate <= 10.0
        assert -1e-6 <= throttle.tokens(now) <= 3


# Settings


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"rate": 0}, SpecError, "Throttle: rate = 0: expected calls a second, more than 0"),
        ({"rate": -1.0}, SpecError, "rate = -1.0"),
        ({"rate": float("inf")}, SpecError, "rate = inf"),
        ({"rate": float("nan")}, SpecError, "rate = nan"),
        ({"rate": 5e-324}, SpecError, "rate = 5e-324"),
        ({"rate": "10"}, SpecTypeError, "rate = '10'"),
        ({"rate": 10, "burst": 0}, SpecError, "burst = 0: expected a whole number, 1 or more"),
        ({"rate": 10, "burst": 1.5}, SpecTypeError, "burst = 1.5"),
        ({"rate": 10, "floor": 0}, SpecError, "floor = 0: expected None, or calls a second, more than 0 and at most the rate, which is 10"),
        ({"rate": 10, "floor": 11}, SpecError, "floor = 11"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        ThrottleSettings(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)


@pytest.mark.parametrize(("n", "error"), [(0, SpecError), (4, SpecError), (1.0, SpecTypeError), (True, SpecTypeError)])
def test_no_more_can_be_wanted_at_once_than_the_burst(n: Any, error: type[Exception]) -> None:
    limits = ThrottleSettings(rate=1.0, burst=3)
    assert limits.check_amount(3) == 3
    with pytest.raises(error, match=f"Throttle: n = {n}: expected"):
        limits.check_amount(n)
