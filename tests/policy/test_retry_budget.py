"""How many retries a destination bears."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.retry_budget import RetryBudget


def test_the_defaults_are_those_of_the_design() -> None:
    budget = RetryBudget()
    assert (budget.ratio, budget.window, budget.minimum) == (0.2, 10.0, 10)


def test_a_few_retries_are_fine_in_any_case() -> None:
    budget = RetryBudget(minimum=3)
    assert [budget.reserve(5.0) for _ in range(3)] == [5.0, 5.0, 5.0]


def test_a_share_of_the_first_tries_may_be_retried() -> None:
    budget = RetryBudget(0.2, minimum=1)
    for _ in range(50):
        budget.count_first_try(0.0)
    assert budget.allowance(0.0) == 10
    assert [budget.reserve(1.0) for _ in range(10)] == [1.0] * 10
    assert budget.reserve(1.0) == 11.0


def test_a_spent_budget_puts_retries_off_and_forbids_none() -> None:
    budget = RetryBudget(window=10.0, minimum=2)
    assert [budget.reserve(0.0) for _ in range(7)] == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0, 30.0]
    assert budget.reserve(35.0) == 35.0


def test_more_first_tries_make_room_for_new_retries_before_those_put_off() -> None:
    budget = RetryBudget(0.5, window=10.0, minimum=1)
    assert [budget.reserve(0.0), budget.reserve(0.0)] == [0.0, 10.0]
    for _ in range(8):
        budget.count_first_try(1.0)
    assert [budget.reserve(1.0) for _ in range(3)] == [1.0, 1.0, 10.0]


def test_first_tries_are_forgotten() -> None:
    budget = RetryBudget(0.5, window=10.0, minimum=1)
    for _ in range(8):
        budget.count_first_try(0.0)
    assert [budget.allowance(now) for now in (0.0, 8.9, 10.0)] == [4, 4, 1]


def test_a_retry_that_is_not_made_gives_its_room_back() -> None:
    budget = RetryBudget(window=10.0, minimum=1)
    budget.reserve(0.0)
    budget.give_back(budget.reserve(0.0))
    assert budget.reserve(0.0) == 10.0


def test_a_retry_that_is_given_back_too_late_makes_no_difference() -> None:
    budget = RetryBudget(window=10.0, minimum=1)
    at = budget.reserve(0.0)
    assert budget.reserve(50.0) == 50.0
    budget.give_back(at)
    assert budget.reserve(50.0) == 60.0


def test_on_another_runs_clock_nothing_is_spent() -> None:
    budget = RetryBudget(minimum=1)
    budget.count_first_try(1e6)
    budget.reserve(1e6)
    assert budget.reserve(0.0) == 0.0


class Model:
    """Keeps every retry and every first try there ever was."""

    def __init__(self, ratio: float, window: float, minimum: int) -> None:
        self.ratio, self.window, self.minimum = ratio, window, minimum
        self.first_tries: list[float] = []
        self.retries: list[float] = []

    def allowance(self, now: float) -> int:
        part = self.window / 10
        lately = sum(math.floor(time / part) > math.floor(now / part) - 10 for time in self.first_tries)
        return max(self.minimum, int(self.ratio * lately))

    def reserve(self, now: float) -> float:
        """The first time, now or when another retry's window ends, with fewer retries within a window before and after than may be."""
        at = min(
            time
            for time in (now, *(retry + self.window for retry in self.retries))
            if time >= now and sum(time - self.window < retry < time + self.window for retry in self.retries) < self.allowance(now)
        )
        self.retries.append(at)
        return at


_STEPS = st.lists(st.tuples(st.sampled_from(["try", "retry", "retry", "give back", "sleep"]), st.integers(0, 12)), max_size=80)


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 3), _STEPS)
def test_it_puts_retries_off_as_a_model_that_forgets_nothing(ratio: float, minimum: int, steps: list[tuple[str, int]]) -> None:
    budget, model, now = RetryBudget(ratio, window=10.0, minimum=minimum), Model(ratio, 10.0, minimum), 0.0

    for step, number in steps:
        match step:
            case "try":
                for _ in range(number):
                    budget.count_first_try(now)
                    model.first_tries.append(now)
            case "retry":
                at = budget.reserve(now)
                assert at == model.reserve(now)
                assert sum(at - 10.0 < retry <= at for retry in model.retries) <= model.allowance(now)
            case "give back" if ahead := [retry for retry in model.retries if retry >= now]:
                gone = ahead[number % len(ahead)]
                budget.give_back(gone)
                model.retries.remove(gone)
            case _:
                now += number

        assert budget.allowance(now) == model.allowance(now)


def test_a_retry_that_is_to_wait_is_put_down_for_when_it_is_made() -> None:
    budget = RetryBudget(minimum=2)

    assert [budget.reserve(0.0, at=5.0) for _ in range(4)] == [5.0, 5.0, 15.0, 15.0]
    assert budget.reserve(1.0, at=0.5) == 25.0  # in the past: now, where there is no room


def test_retries_that_wait_for_long_put_off_none_that_wait_for_less() -> None:
    budget = RetryBudget(minimum=2)

    assert [budget.reserve(0.0, at=60.0) for _ in range(5)] == [60.0, 60.0, 70.0, 70.0, 80.0]
    assert [budget.reserve(0.0) for _ in range(3)] == [0.0, 0.0, 10.0]


@given(waits=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 60)), max_size=60), minimum=st.integers(1, 5))
def test_however_long_retries_wait_no_window_has_more_than_its_allowance(waits: list[tuple[float, float]], minimum: int) -> None:
    budget = RetryBudget(minimum=minimum)
    now, times = 0.0, list[float]()

    for passed, wait in waits:
        now += passed
        times.append(budget.reserve(now, at=now + wait))

        assert times[-1] >= now + wait
    assert all(sum(start <= time < start + 10.0 for time in times) <= minimum for start in times)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"ratio": 0}, SpecError, "RetryBudget: ratio = 0: expected a share, more than 0 and at most 1"),
        ({"ratio": 1.1}, SpecError, "ratio = 1.1"),
        ({"ratio": "all"}, SpecTypeError, "ratio = 'all'"),
        ({"window": 0}, SpecError, "window = 0: expected seconds, 0.001 or more"),
        ({"minimum": 0}, SpecError, "minimum = 0: expected a whole number, 1 or more"),
        ({"minimum": 2.0}, SpecTypeError, "minimum = 2.0"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        RetryBudget(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)
