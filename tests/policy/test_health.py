"""How well components do, by what is known of them."""

from __future__ import annotations

from itertools import product
from time import process_time
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.health import Health, HealthStatus, HealthThresholds, NoAnswer, Vitals, assess, roll_up

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = HealthStatus
THRESHOLDS = HealthThresholds()


def known(**others: Any) -> Vitals:
    return Vitals(**others)


@pytest.mark.parametrize(
    ("vitals", "status", "reason"),
    [
        # Failures
        (known(delivered=20, failed=12), UNHEALTHY, "12 of 20 deliveries failed"),
        (known(delivered=20, failed=10), UNHEALTHY, "10 of 20 deliveries failed"),
        (known(delivered=20, failed=9), DEGRADED, "9 of 20 deliveries failed"),
        (known(delivered=30, failed=3), DEGRADED, "3 of 30 deliveries failed"),
        (known(delivered=31, failed=3), HEALTHY, None),
        (known(delivered=2, failed=2), HEALTHY, None),
        (known(delivered=3, failed=3), UNHEALTHY, "3 of 3 deliveries failed"),
        (known(delivered=0, failed=3), UNHEALTHY, "3 of 3 deliveries failed"),
        # Pace
        (known(blocked_for=14.9), HEALTHY, None),
        (known(blocked_for=15.0), DEGRADED, "a handler has not returned for 15 s"),
        (known(blocked_for=60.0), UNHEALTHY, "a handler has not returned for 60 s"),
        (known(stalled_for=14.9, queued=5), HEALTHY, None),
        (known(stalled_for=15.0, queued=5), DEGRADED, "no message was finished for 15 s, and 5 wait"),
        (known(stalled_for=61.2, queued=5), UNHEALTHY, "no message was finished for 61 s, and 5 wait"),
        (known(stalled_for=61.2, blocked_for=20.0, queued=5), DEGRADED, "a handler has not returned for 20 s"),
        # Mailbox
        (known(queued=95, queued_before=94, capacity=100), DEGRADED, "its mailbox is 95 % full and growing"),
        (known(queued=80, queued_before=79, capacity=100), DEGRADED, "its mailbox is 80 % full and growing"),
        (known(queued=79, queued_before=0, capacity=100), HEALTHY, None),
        (known(queued=94, queued_before=94, capacity=100), HEALTHY, None),
        (known(queued=95, queued_before=99, capacity=100), DEGRADED, "its mailbox is 95 % full"),
        (known(queued=999, queued_before=999, capacity=1000), DEGRADED, "its mailbox is 99 % full"),
        (known(queued=7, queued_before=0, capacity=None), HEALTHY, None),
        (known(queued=0, queued_before=0, capacity=0), HEALTHY, None),
        # Restarts
        (known(restarts=1), DEGRADED, "it was restarted once since the last poll"),
        (known(restarts=2), DEGRADED, "it was restarted 2 times since the last poll"),
        (known(restarts=3), UNHEALTHY, "it was restarted 3 times since the last poll"),
        # Starts
        (known(is_starting=True, down_for=14.9, restarts=2), UNKNOWN, "it is starting"),
        (known(is_starting=True, down_for=15.0), DEGRADED, "it has not come up again for 15 s"),
        (known(is_starting=True, down_for=60.0), UNHEALTHY, "it has not come up again for 60 s"),
        (known(is_starting=True, restarts=3), UNHEALTHY, "it was restarted 3 times since the last poll"),
        (known(is_starting=True, own=UNHEALTHY, failed=9, blocked_for=99), UNKNOWN, "it is starting"),
        (known(is_starting=True, is_set_aside=True, restarts=9), UNKNOWN, "it is set aside"),
        # Breakers
        (known(open_breakers=1), DEGRADED, "a circuit breaker is open"),
        (known(open_breakers=12), DEGRADED, "12 circuit breakers are open"),
        # Its own word
        (known(own=HEALTHY), HEALTHY, None),
        (known(own=UNKNOWN), HEALTHY, None),
        (known(own=DEGRADED), DEGRADED, "its health() says degraded"),
        (known(own=UNHEALTHY), UNHEALTHY, "its health() says unhealthy"),
        (known(own=NoAnswer.LATE), UNHEALTHY, "no answer from health() within 2.5 s"),
        (known(own=NoAnswer.FAILED), UNHEALTHY, "its health() failed"),
        # Nothing to judge by
        (known(is_starting=True), UNKNOWN, "it is starting"),
        (known(is_running=False), UNKNOWN, "it is not running"),
        (known(is_running=False, is_starting=True), UNKNOWN, "it is not running"),
        (known(is_set_aside=True), UNKNOWN, "it is set aside"),
        (known(is_set_aside=True, is_running=False), UNKNOWN, "it is set aside"),
        (known(), HEALTHY, None),
    ],
    ids=str,
)
def test_each_thing_known_is_judged_and_told(vitals: Vitals, status: HealthStatus, reason: str | None) -> None:
    assert assess(vitals, THRESHOLDS) == Health(status, () if reason is None else (reason,))


def test_the_worst_counts_and_is_told_first() -> None:
    vitals = known(delivered=20, failed=4, queued=100, queued_before=90, capacity=100, restarts=3, open_breakers=1, own=DEGRADED)

    assert assess(vitals, THRESHOLDS) == Health(
        UNHEALTHY,
        (
            "it was restarted 3 times since the last poll",
            "its health() says degraded",
            "4 of 20 deliveries failed",
            "its mailbox is 100 % full and growing",
            "a circuit breaker is open",
        ),
    )


_COUNTS = st.integers(0, 200)
_SECONDS = st.floats(0.0, 200.0)
_VITALS = st.builds(
    Vitals,
    is_running=st.sampled_from([True, True, True, False]),
    is_starting=st.sampled_from([False, False, False, True]),
    is_set_aside=st.sampled_from([False, False, False, True]),
    delivered=_COUNTS,
    failed=_COUNTS,
    queued=_COUNTS,
    queued_before=_COUNTS,
    capacity=st.none() | _COUNTS,
    stalled_for=_SECONDS,
    blocked_for=_SECONDS,
    restarts=st.integers(0, 5),
    down_for=_SECONDS,
    open_breakers=st.integers(0, 3),
    own=st.none() | st.sampled_from([*HealthStatus, *NoAnswer]),
)


@given(_VITALS)
def test_who_is_up_is_judged_and_has_reasons_unless_healthy(vitals: Vitals) -> None:
    health = assess(vitals, THRESHOLDS)

    if vitals.is_set_aside or not vitals.is_running:
        assert health.status is UNKNOWN
    elif not vitals.is_starting:
        assert health.status is not UNKNOWN
    assert (health.status is HEALTHY) is (not health.reasons)


@given(_VITALS)
def test_nothing_that_gets_worse_makes_it_better(vitals: Vitals) -> None:
    before = assess(vitals, THRESHOLDS).status

    for worse in (
        evolve(vitals, failed=vitals.failed + 1),
        evolve(vitals, queued=vitals.queued + 1),
        evolve(vitals, stalled_for=vitals.stalled_for + 50 if vitals.blocked_for < THRESHOLDS.slow_after else vitals.stalled_for),
        evolve(vitals, blocked_for=max(60.0, vitals.blocked_for + 50)),
        evolve(vitals, restarts=vitals.restarts + 1),
        evolve(vitals, open_breakers=vitals.open_breakers + 1),
        evolve(vitals, own=UNHEALTHY),
    ):
        assert not before.is_worse_than(assess(worse, THRESHOLDS).status)


def test_other_thresholds_judge_otherwise() -> None:
    others = HealthThresholds(min_failures=1, unhealthy_failures=0.9, degraded_restarts=5, unhealthy_restarts=5, answer_within=0.25)

    assert assess(known(delivered=1, failed=1), others).status is UNHEALTHY
    assert assess(known(delivered=20, failed=12), others).status is DEGRADED
    assert assess(known(restarts=4), others).status is HEALTHY
    assert assess(known(own=NoAnswer.LATE), others).reasons == ("no answer from health() within 0.25 s",)


# The order, and wholes


def test_statuses_get_worse_in_order_and_unknown_has_no_place_in_it() -> None:
    worse = {(one, other) for one, other in product(HealthStatus, repeat=2) if one.is_worse_than(other)}

    assert worse == {(DEGRADED, HEALTHY), (UNHEALTHY, HEALTHY), (UNHEALTHY, DEGRADED)}
    assert [status.value for status in HealthStatus] == ["healthy", "degraded", "unhealthy", "unknown"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], UNKNOWN),
        ([UNKNOWN, UNKNOWN], UNKNOWN),
        ([HEALTHY, UNKNOWN], HEALTHY),
        ([HEALTHY, DEGRADED], DEGRADED),
        ([DEGRADED, DEGRADED], DEGRADED),
        ([UNHEALTHY], UNHEALTHY),
        ([UNHEALTHY, UNKNOWN, HEALTHY], UNHEALTHY),
        ([UNHEALTHY, HEALTHY, HEALTHY, HEALTHY], DEGRADED),
        ([UNHEALTHY] * 3 + [HEALTHY] * 7, DEGRADED),
        ([UNHEALTHY] * 4 + [HEALTHY] * 9, UNHEALTHY),
    ],
)
def test_a_whole_is_unhealthy_if_a_large_part_of_it_is(statuses: list[HealthStatus], expected: HealthStatus) -> None:
    assert roll_up(Health(status) for status in statuses) is expected


# Speed


def test_ten_thousand_are_judged_in_no_time() -> None:
    well = known(delivered=20, queued=3, capacity=100)
    ill = known(delivered=20, failed=12, queued=97, capacity=100, restarts=1)

    begin = process_time()
    roll_up(assess(ill if each % 10 == 0 else well, THRESHOLDS) for each in range(10_000))

    # Some 15 ms; the rest is for machines that are slow or busy.
    assert process_time() - begin < 0.25


# Rules


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"min_failures": 0}, SpecError, "HealthThresholds: min_failures = 0: expected a whole number, 1 or more"),
        ({"min_failures": 1.5}, SpecTypeError, "min_failures = 1.5"),
        ({"degraded_failures": 0.0}, SpecError, "degraded_failures = 0.0: expected a share, more than 0 and at most 1"),
        ({"unhealthy_failures": 1.1}, SpecError, "unhealthy_failures = 1.1"),
        ({"unhealthy_failures": 0.05}, SpecError, "unhealthy_failures = 0.05: expected at least degraded_failures, which is 0.1"),
        ({"slow_after": 0}, SpecError, "slow_after = 0: expected seconds, more than 0"),
        ({"slow_after": "15"}, SpecTypeError, "slow_after = '15'"),
        ({"stuck_after": 5.0}, SpecError, "stuck_after = 5.0: expected at least slow_after, which is 15"),
        ({"filling": 2}, SpecError, "filling = 2"),
        ({"full": 0.5}, SpecError, "full = 0.5: expected at least filling, which is 0.8"),
        ({"degraded_restarts": True}, SpecTypeError, "degraded_restarts = True"),
        ({"degraded_restarts": 4}, SpecError, "unhealthy_restarts = 3: expected at least degraded_restarts, which is 4"),
        ({"unhealthy_restarts": 0}, SpecError, "unhealthy_restarts = 0"),
        ({"answer_within": float("inf")}, SpecError, "answer_within = inf"),
    ],
)
def test_a_wrong_rule_is_named_with_its_value(values: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        HealthThresholds(**values)
    assert type(caught.value) is error
    assert text in str(caught.value)
