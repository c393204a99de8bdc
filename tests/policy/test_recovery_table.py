"""What is done about a failed message."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st

from actorkit.errors import TransientError
from actorkit.policy.recovery import DeadLetterReason, RecoveryPolicy
from actorkit.policy.retry import ExponentialBackoffRetry, LinearBackoffRetry, NoRetry, RetryPolicy
from actorkit.policy.rules import MAX_TRIES, RecoveryAction, Rule
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity

TRANSIENT, PERMANENT, POISON = ErrorCategory.TRANSIENT, ErrorCategory.PERMANENT, ErrorCategory.POISON_MESSAGE
RESOURCE, TIMEOUT, VALIDATION = ErrorCategory.RESOURCE, ErrorCategory.TIMEOUT, ErrorCategory.VALIDATION
COMMUNICATION, DEPENDENCY = ErrorCategory.COMMUNICATION, ErrorCategory.DEPENDENCY
CRITICAL, HIGH, MEDIUM, LOW, INFO = ErrorSeverity
RETRY, QUARANTINE = RecoveryAction.RETRY, RecoveryAction.QUARANTINE_MESSAGE
RESTART, SKIP = RecoveryAction.RESTART_COMPONENT, RecoveryAction.LOG_AND_CONTINUE
ESCALATE, THROTTLE, BREAK = RecoveryAction.ESCALATE, RecoveryAction.THROTTLE, RecoveryAction.CIRCUIT_BREAK

_NUMBERS = iter(range(10**9))


def failure(
    category: ErrorCategory = PERMANENT,
    severity: ErrorSeverity = MEDIUM,
    *,
    message: str | None = "m1",
    port: str | None = "in_row",
    tries: int = 0,
    exception: BaseException | None = None,
    component: str = "root/flights/parser",
    **metadata: object,
) -> ErrorContext:
    return ErrorContext(
        error_id=f"e{next(_NUMBERS)}",
        severity=severity,
        category=category,
        component_name=component,
        port_name=port,
        message_id=message,
        recovery_attempts=tries,
        exception=exception,
        metadata=metadata,
    )


def failures(count: int, category: ErrorCategory = PERMANENT, severity: ErrorSeverity = HIGH, **others: Any) -> list[ErrorContext]:
    return [failure(category, severity, **others) for _ in range(count)]


class Unreadable(Sequence[ErrorContext]):
    """A history that nobody may look into."""

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError


def test_values_are_the_words_of_the_contract() -> None:
    assert [one.value for one in RecoveryAction] == [
        "retry",
        "quarantine",
        "throttle",
        "restart",
        "log_continue",
        "circuit_break",
        "escalate",
    ]
    assert all(one.value == one.name.lower() for one in DeadLetterReason)
    assert len(DeadLetterReason) == 12


# The table

_FIRST_FAILURES: dict[ErrorCategory, tuple[RecoveryAction, RecoveryAction]] = {
    # at MEDIUM, at HIGH
    TRANSIENT: (RETRY, RESTART),
    TIMEOUT: (RETRY, RESTART),
    COMMUNICATION: (RETRY, RESTART),
    DEPENDENCY: (RETRY, RESTART),
    RESOURCE: (THROTTLE, THROTTLE),
    PERMANENT: (QUARANTINE, RESTART),
    VALIDATION: (QUARANTINE, RESTART),
    POISON: (QUARANTINE, RESTART),
}


@pytest.mark.parametrize("category", ErrorCategory)
def test_a_first_failure_meets_the_row_of_its_severity_and_category(category: ErrorCategory) -> None:
    policy = RecoveryPolicy()
    at_medium, at_high = _FIRST_FAILURES[category]
    assert policy.decide(failure(category, CRITICAL), []) is ESCALATE
    assert policy.decide(failure(category, HIGH), []) is at_high
    assert policy.decide(failure(category, MEDIUM), []) is at_medium
    assert policy.decide(failure(category, LOW), []) is SKIP
    assert policy.decide(failure(category, INFO), []) is SKIP


@pytest.mark.parametrize("category", ErrorCategory)
@pytest.mark.parametrize("severity", ErrorSeverity)
def test_where_no_message_is_at_fault_only_the_actor_can_be_tried_again(category: ErrorCategory, severity: ErrorSeverity) -> None:
    expected = ESCALATE if severity is CRITICAL else SKIP if severity in (LOW, INFO) else RESTART
    error = failure(category, severity, message=None, known_poison=True)
    assert RecoveryPolicy().decide(error, failures(50, message=None)) is expected
    assert not RecoveryPolicy().is_poison(error, failures(50, message=None))


def test_bad_data_at_its_first_try_is_decided_without_reading_the_history() -> None:
    error = failure(VALIDATION)
    assert RecoveryPolicy().decide(error, Unreadable()) is QUARANTINE
    assert RecoveryPolicy().reason(error, Unreadable()) is DeadLetterReason.VALIDATION


# Poison


def test_a_message_that_crashes_its_actor_for_the_third_time_is_poison() -> None:
    policy = RecoveryPolicy()
    history: list[ErrorContext] = []
    for expected in (RESTART, RESTART, QUARANTINE):
        history.append(failure(severity=HIGH))  # the failure itself may be in the history
        assert policy.decide(history[-1], history) is expected
    assert policy.is_poison(history[-1], history)
    assert policy.reason(history[-1], history) is DeadLetterReason.POISON


def test_how_often_a_message_may_crash_its_actor_can_be_chosen() -> None:
    assert RecoveryPolicy(poison_after=1).decide(failure(severity=HIGH), []) is QUARANTINE
    assert RecoveryPolicy(poison_after=5).decide(failure(severity=HIGH), failures(3)) is RESTART
    assert RecoveryPolicy(poison_after=5).decide(failure(severity=HIGH), failures(4)) is QUARANTINE


def test_other_messages_and_other_ports_do_not_count() -> None:
    history = [*failures(5, message="m2"), *failures(5, port="in_other"), *failures(5, message=None)]
    assert RecoveryPolicy().decide(failure(severity=HIGH), history) is RESTART


def test_failures_that_a_schedule_retries_do_not_make_poison() -> None:
    policy = RecoveryPolicy()
    assert policy.decide(failure(severity=HIGH), failures(4, TRANSIENT, MEDIUM)) is RESTART
    assert policy.decide(failure(severity=HIGH), [*failures(4, TRANSIENT, MEDIUM), *failures(2)]) is QUARANTINE
    assert not policy.is_poison(failure(TRANSIENT, HIGH), failures(5))


def test_a_category_that_is_not_retried_any_more_counts_again() -> None:
    policy = RecoveryPolicy(retry=RetryPolicy({TIMEOUT: NoRetry(), RESOURCE: LinearBackoffRetry(0)}))
    assert policy.decide(failure(TIMEOUT, HIGH), failures(2, TIMEOUT)) is QUARANTINE
    assert policy.is_poison(failure(RESOURCE, HIGH), failures(2, RESOURCE))
    assert policy.decide(failure(RESOURCE, HIGH), []) is RESTART
    assert policy.decide(failure(TIMEOUT), []) is QUARANTINE
    assert policy.reason(failure(TIMEOUT), []) is DeadLetterReason.RETRIES_EXHAUSTED


def test_what_was_poison_before_is_quarantined_at_once_unless_a_schedule_retries_it() -> None:
    policy = RecoveryPolicy()
    known = failure(severity=HIGH, known_poison=True)
    assert policy.decide(known, Unreadable()) is QUARANTINE
    assert policy.is_poison(known, Unreadable())
    assert policy.decide(failure(TRANSIENT, known_poison=True), []) is RETRY
    assert policy.decide(failure(severity=CRITICAL, known_poison=True), []) is ESCALATE
    assert policy.decide(failure(severity=LOW, known_poison=True), []) is SKIP


def test_bad_data_that_crashed_its_actor_before_is_poison() -> None:
    error = failure(VALIDATION, tries=2)
    assert RecoveryPolicy().reason(error, failures(2)) is DeadLetterReason.POISON
    assert RecoveryPolicy().reason(failure(VALIDATION, tries=1), failures(1)) is DeadLetterReason.VALIDATION


# Retries


@pytest.mark.parametrize(("category", "retries"), [(TRANSIENT, 3), (TIMEOUT, 2), (RESOURCE, 5), (COMMUNICATION, 5), (DEPENDENCY, 5)])
def test_a_message_is_retried_as_often_as_its_schedule_says_and_then_given_up(category: ErrorCategory, retries: int) -> None:
    policy = RecoveryPolicy()
    history: list[ErrorContext] = []
    for tries in range(retries):
        error = failure(category, tries=tries)
        assert policy.decide(error, history) is (THROTTLE if category is RESOURCE else RETRY)
        history.append(error)
    last = failure(category, tries=retries)
    assert policy.decide(last, history) is QUARANTINE
    assert policy.reason(last, history) is DeadLetterReason.RETRIES_EXHAUSTED
    assert not policy.is_poison(last, history)


def test_no_message_is_tried_more_than_ten_times() -> None:
    policy = RecoveryPolicy(retry=RetryPolicy({TRANSIENT: ExponentialBackoffRetry(50)}))
    assert policy.decide(failure(TRANSIENT, tries=8), failures(8, TRANSIENT)) is RETRY
    assert policy.decide(failure(TRANSIENT, tries=9), []) is QUARANTINE
    assert policy.decide(failure(TRANSIENT), failures(9, TRANSIENT)) is QUARANTINE
    spent = failure(severity=HIGH, tries=9)
    assert policy.decide(spent, []) is QUARANTINE
    assert policy.reason(spent, []) is DeadLetterReason.RETRIES_EXHAUSTED


# Failures that go on and on


def lasting(count: int, category: ErrorCategory = TRANSIENT, severity: ErrorSeverity = MEDIUM, **others: Any) -> list[ErrorContext]:
    """Failures of as many messages, a second apart; each message was the only one delivered, unless `others` say."""
    return [evolve(failure(category, severity, message=f"m{n}", **others), last_occurrence=float(n)) for n in range(count)]


def test_ten_errors_in_a_minute_that_a_restart_might_cure_restart_the_actor() -> None:
    policy = RecoveryPolicy()
    history = lasting(10)
    assert policy.decide(history[8], history[:9]) is RETRY
    assert policy.decide(history[9], history) is RESTART
    assert policy.decide(history[9], history[:9]) is RESTART  # it need not be in the history yet
    assert RecoveryPolicy(persistent=(2, 60.0)).decide(history[1], history[:2]) is RESTART


def test_a_message_whose_schedule_is_used_up_gets_no_other_try_by_a_restart() -> None:
    policy, before = RecoveryPolicy(), lasting(10)
    of_one = [evolve(failure(TRANSIENT, message="m"), last_occurrence=10.0 + n) for n in range(4)]
    actions = [policy.decide(error, [*before, *of_one[: n + 1]]) for n, error in enumerate(of_one)]
    assert actions == [RESTART, RESTART, RESTART, QUARANTINE]
    assert policy.reason(of_one[-1], [*before, *of_one]) is DeadLetterReason.RETRIES_EXHAUSTED


def test_a_message_that_escalates_is_given_up_after_the_last_try_as_well() -> None:
    history = failures(MAX_TRIES, PERMANENT, CRITICAL)
    assert RecoveryPolicy().decide(history[-2], history[:-1]) is ESCALATE
    assert RecoveryPolicy().decide(history[-1], history) is QUARANTINE
    assert RecoveryPolicy().reason(history[-1], history) is DeadLetterReason.RETRIES_EXHAUSTED


def test_errors_a_long_time_apart_do_not_add_up() -> None:
    history = [evolve(one, last_occurrence=one.last_occurrence * 10) for one in lasting(30)]
    assert RecoveryPolicy().decide(history[-1], history) is RETRY
    assert RecoveryPolicy(persistent=(10, 100.0)).decide(history[-1], history) is RESTART


def test_errors_among_many_successes_do_not_restart() -> None:
    def delivered(each: int) -> list[ErrorContext]:
        return [evolve(one, metadata={"delivered": each * n}) for n, one in enumerate(lasting(10))]

    few, many = delivered(2), delivered(3)
    assert RecoveryPolicy().decide(many[-1], many) is RETRY
    assert RecoveryPolicy().decide(few[-1], few) is RESTART


def test_a_restart_clears_the_count_of_errors() -> None:
    policy = RecoveryPolicy()
    before, after = lasting(9, incarnation=1), lasting(9, incarnation=2)
    assert policy.decide(after[-1], [*before, *after]) is RETRY


def test_bad_data_and_what_succeeded_on_retry_do_not_count() -> None:
    policy = RecoveryPolicy()
    assert policy.decide(lasting(1)[0], [*lasting(50, VALIDATION), *lasting(50, POISON), *lasting(50, recovered=True)]) is RETRY
    assert policy.decide(lasting(50, VALIDATION)[-1], Unreadable()) is QUARANTINE


@pytest.mark.parametrize("wrong", [(0, 60.0), (10, 0.0), (10, -1.0), (10,), 10, "10", (10, math.inf)])
def test_a_policy_refuses_a_senseless_measure_of_persistence(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"RecoveryPolicy: persistent = .*: expected"):
        RecoveryPolicy(persistent=wrong)


# Breakers


def test_where_a_breaker_guards_the_port_a_failed_dependency_waits_for_it() -> None:
    policy = RecoveryPolicy()
    assert policy.decide(failure(DEPENDENCY, guarded=True), []) is BREAK
    assert policy.decide(failure(TRANSIENT, guarded=True), []) is RETRY
    assert policy.decide(failure(DEPENDENCY), []) is RETRY


def test_a_breaker_does_not_keep_a_message_for_ever() -> None:
    policy = RecoveryPolicy()
    assert policy.decide(failure(DEPENDENCY, guarded=True, tries=8), failures(8, DEPENDENCY, MEDIUM)) is BREAK
    assert policy.decide(failure(DEPENDENCY, guarded=True, tries=9), failures(9, DEPENDENCY, MEDIUM)) is QUARANTINE


_ERRORS = st.tuples(st.sampled_from(ErrorCategory), st.sampled_from(ErrorSeverity))
_RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from(RecoveryAction),
        category=st.none() | st.sampled_from(ErrorCategory),
        severity=st.none() | st.sampled_from(ErrorSeverity),
    ),
    max_size=3,
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(_ERRORS, min_size=12, max_size=12), _RULES, st.integers(1, 12), st.booleans())
def test_however_failures_and_rules_mix_a_message_comes_to_its_end(
    mixed: list[tuple[ErrorCategory, ErrorSeverity]], rules: list[Rule], poison_after: int, counted: bool
) -> None:
    policy = RecoveryPolicy(rules=rules, poison_after=poison_after)
    history: list[ErrorContext] = []
    for number, (category, severity) in enumerate(mixed):
        error = failure(category, severity, tries=number if counted else 0)
        history.append(error)
        action = policy.decide(error, history)
        if action is RETRY:
            assert 0 <= policy.delay(error, Random(1), history) <= 60
            assert sum(one.category is category for one in history) <= max(3, policy.retry.for_category(category).max_retries)
        elif action is QUARANTINE:
            assert policy.reason(error, history) in list(DeadLetterReason)[:4]
        if action in (QUARANTINE, SKIP):  # after all others, ESCALATE included, it comes again
            assert number < MAX_TRIES
            return
    raise AssertionError("tried too often")


@settings(deadline=None)  # a busy machine is no failure
@given(_ERRORS, st.lists(_ERRORS, max_size=100), st.none() | st.sampled_from(["m1", "m2"]), _RULES, st.integers(0, 20))
def test_deciding_is_pure_and_never_fails(
    now: tuple[ErrorCategory, ErrorSeverity],
    before: list[tuple[ErrorCategory, ErrorSeverity]],
    message: str | None,
    rules: list[Rule],
    tries: int,
) -> None:
    policy = RecoveryPolicy(rules=rules)
    error = failure(*now, message=message, tries=tries)
    history = [failure(*one, message="m1") for one in before]
    action = policy.decide(error, history)
    assert policy.decide(error, [*history, error]) is action
    assert policy.is_poison(error, history) is policy.is_poison(error, [*history, error])
    assert policy.delay(error, Random(3), history) == policy.delay(error, Random(3), [*history, error])
    if message is None:
        assert action in (ESCALATE, SKIP, RESTART)


# Waits


def test_the_wait_grows_with_the_failures_of_this_message_in_this_category() -> None:
    policy = RecoveryPolicy()
    history = [*failures(3, TRANSIENT), *failures(1, TIMEOUT), *failures(4, TIMEOUT, message="m2")]
    assert policy.delay(failure(TIMEOUT), Random(1), []) == 1.0
    assert policy.delay(failure(TIMEOUT), Random(1), history) == 2.0


def test_the_wait_is_as_long_as_the_exception_asks_for_and_an_hour_at_most() -> None:
    policy = RecoveryPolicy()
    assert policy.delay(failure(TRANSIENT, exception=TransientError(retry_after=20.0)), Random(1), []) == 20.0
    assert policy.delay(failure(TRANSIENT, exception=TransientError(retry_after=1e9)), Random(1), []) == 3600.0
    assert policy.delay(failure(TIMEOUT, exception=TransientError(retry_after=0.5)), Random(1), []) == 1.0


def test_a_retry_that_no_schedule_provides_for_waits_like_a_transient_failure() -> None:
    wait = RecoveryPolicy().delay(failure(PERMANENT), Random(1), failures(2))
    assert wait == ExponentialBackoffRetry(3, 0.1, 5.0).delay(3, Random(1))


def test_where_no_message_is_at_fault_the_wait_grows_with_failures_in_a_row() -> None:
    policy = RecoveryPolicy(retry=RetryPolicy({TIMEOUT: LinearBackoffRetry(4)}))
    lone = failure(TIMEOUT, message=None)
    row = failures(2, TIMEOUT, message=None)
    assert policy.delay(lone, Random(1), []) == 1.0
    assert policy.delay(lone, Random(1), row) == 3.0
    assert policy.delay(lone, Random(1), [*row, lone]) == 3.0
    assert policy.delay(lone, Random(1), [*row, failure(TIMEOUT), *row]) == 3.0
    assert policy.delay(lone, Random(1), [*row, failure(PERMANENT, message=None)]) == 1.0
    assert policy.delay(lone, Random(1), row * 50) == 4.0
    assert policy.delay(failure(PERMANENT, message=None), Random(1), failures(7, message=None)) == 0.0


@pytest.mark.parametrize("answer", [-1.0, math.nan])
def test_a_schedule_of_the_users_cannot_make_a_wait_impossible(answer: float) -> None:
    class Odd:
        max_retries = 3

        def delay(self, retry: int, rng: Random) -> float:
            return answer

    assert RecoveryPolicy(retry=RetryPolicy({TRANSIENT: Odd()})).delay(failure(TRANSIENT), Random(1), []) == 0.0
