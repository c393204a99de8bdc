"""Who may be inside a bulkhead at once, who waits, and who is sent away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.bulkhead import Admission, BulkheadSettings, Places


class Model:
    """Knows everyone by name: who is inside, and who waits in which order."""

    def __init__(self, most: int, queue: int | None) -> None:
        self.most, self.queue = most, queue
        self.inside: list[int] = []
        self.waiting: list[int] = []

    def arrive(self, who: int) -> Admission:
        if len(self.inside) < self.most:
            self.inside.append(who)
            return Admission.ENTERED
        if self.queue is not None and len(self.waiting) >= self.queue:
            return Admission.REFUSED
        self.waiting.append(who)
        return Admission.QUEUED

    def fill_up(self) -> int:
        before = len(self.waiting)
        while self.waiting and len(self.inside) < self.most:
            self.inside.append(self.waiting.pop(0))
        return before - len(self.waiting)


_STEPS = st.lists(st.tuples(st.sampled_from(["arrive", "arrive", "leave", "give up", "resize"]), st.integers(1, 5)), max_size=80)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 4), st.none() | st.integers(0, 3), _STEPS)
def test_it_counts_as_a_model_that_knows_everyone(most: int, queue: int | None, steps: list[tuple[str, int]]) -> None:
    places, model = Places(BulkheadSettings(max_concurrent=most, max_queued=queue)), Model(most, queue)

    for who, (step, number) in enumerate(steps):
        match step:
            case "arrive":
                assert places.arrive() is model.arrive(who)
            case "leave" if model.inside:
                model.inside.pop(number % len(model.inside))
                assert places.leave() == model.fill_up()
            case "give up" if model.waiting:
                model.waiting.pop(number % len(model.waiting))
                places.give_up()
            case "resize":
                model.most = number
                assert places.resize(BulkheadSettings(max_concurrent=number, max_queued=queue)) == model.fill_up()
            case _:
                continue

        assert (places.in_flight, places.waiting) == (len(model.inside), len(model.waiting))
        assert places.utilization == len(model.inside) / model.most
        assert not places.waiting or places.in_flight >= model.most


def test_made_smaller_it_sends_nobody_away_and_fills_up_again_only_below_the_new_limit() -> None:
    places = Places(BulkheadSettings(max_concurrent=3))
    assert [places.arrive() for _ in range(4)] == [Admission.ENTERED] * 3 + [Admission.QUEUED]

    assert places.resize(BulkheadSettings(max_concurrent=1)) == 0
    assert (places.in_flight, places.utilization) == (3, 3.0)
    assert [places.leave(), places.leave(), places.leave()] == [0, 0, 1]


def test_nobody_leaves_who_is_not_inside_and_nobody_gives_up_who_does_not_wait() -> None:
    places = Places(BulkheadSettings())
    with pytest.raises(ValueError, match="nobody is inside"):
        places.leave()
    with pytest.raises(ValueError, match="nobody waits"):
        places.give_up()


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"max_concurrent": 0}, SpecError, "Bulkhead: max_concurrent = 0: expected a whole number, 1 or more"),
        ({"max_concurrent": 2.0}, SpecTypeError, "max_concurrent = 2.0"),
        ({"max_concurrent": True}, SpecTypeError, "max_concurrent = True"),
        ({"max_queued": -1}, SpecError, "max_queued = -1: expected a whole number, 0 or more"),
        ({"max_queued": float("inf")}, SpecTypeError, "max_queued = inf"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        BulkheadSettings(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)
