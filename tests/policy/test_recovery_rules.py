"""A user's rows of the table, and the policy as a whole."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from attrs.exceptions import FrozenAttributeError

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.classifier import Classifier
from actorkit.policy.recovery import TABLE, DeadLetterReason, RecoveryPolicy
from actorkit.policy.retry import LinearBackoffRetry, NoRetry, RetryPolicy
from actorkit.policy.rules import RecoveryAction, Rule
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity

TRANSIENT, PERMANENT, POISON = ErrorCategory.TRANSIENT, ErrorCategory.PERMANENT, ErrorCategory.POISON_MESSAGE
TIMEOUT, VALIDATION = ErrorCategory.TIMEOUT, ErrorCategory.VALIDATION
CRITICAL, HIGH, MEDIUM, LOW, INFO = ErrorSeverity
RETRY, QUARANTINE, THROTTLE = RecoveryAction.RETRY, RecoveryAction.QUARANTINE_MESSAGE, RecoveryAction.THROTTLE
RESTART, SKIP = RecoveryAction.RESTART_COMPONENT, RecoveryAction.LOG_AND_CONTINUE
BREAK, ESCALATE = RecoveryAction.CIRCUIT_BREAK, RecoveryAction.ESCALATE

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


def test_the_first_rule_that_matches_decides_before_the_table() -> None:
    policy = RecoveryPolicy(rules=[Rule(SKIP, category=PERMANENT), Rule(ESCALATE)])
    assert policy.decide(failure(PERMANENT, CRITICAL), []) is SKIP
    assert policy.decide(failure(TRANSIENT, LOW), []) is ESCALATE


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(SKIP), True),
        (Rule(SKIP, category=VALIDATION), True),
        (Rule(SKIP, category=PERMANENT), False),
        (Rule(SKIP, severity=HIGH), True),
        (Rule(SKIP, severity=MEDIUM), False),
        (Rule(SKIP, exception=LookupError), True),
        (Rule(SKIP, exception=(OSError, KeyError)), True),
        (Rule(SKIP, exception=OSError), False),
        (Rule(SKIP, component="root/flights/parser"), True),
        (Rule(SKIP, component="root/*"), True),
        (Rule(SKIP, component="root/*/pars?r"), True),
        (Rule(SKIP, component="parser"), True),
        (Rule(SKIP, component="pars*"), True),
        (Rule(SKIP, component="flights"), False),
        (Rule(SKIP, component="Root/*"), False),
        (Rule(SKIP, category=VALIDATION, severity=HIGH, exception=KeyError, component="*"), True),
        (Rule(SKIP, category=VALIDATION, severity=LOW, exception=KeyError, component="*"), False),
    ],
    ids=str,
)
def test_a_rule_matches_what_it_names(rule: Rule, matches: bool) -> None:
    assert rule.matches(failure(VALIDATION, HIGH, exception=KeyError("x"))) is matches


def test_a_rule_about_an_exception_matches_a_group_only_as_a_whole() -> None:
    rule = Rule(SKIP, exception=LookupError)
    assert not rule.matches(failure())
    assert rule.matches(failure(exception=ExceptionGroup("all", [KeyError(), ExceptionGroup("inner", [IndexError()])])))
    assert not rule.matches(failure(exception=ExceptionGroup("all", [KeyError(), MemoryError()])))
    assert Rule(SKIP, exception=ExceptionGroup).matches(failure(exception=ExceptionGroup("all", [MemoryError()])))


@pytest.mark.parametrize("action", [RETRY, THROTTLE])
def test_a_rule_may_ask_for_retries_where_there_is_no_schedule(action: RecoveryAction) -> None:
    policy = RecoveryPolicy(rules=(Rule(action, exception=KeyError),))
    history: list[ErrorContext] = []
    for tries in range(3):
        error = failure(severity=HIGH, tries=tries, exception=KeyError("x"))
        assert policy.decide(error, history) is action
        history.append(error)
    last = failure(severity=HIGH, tries=3, exception=KeyError("x"))
    assert policy.decide(last, history) is QUARANTINE
    assert policy.reason(last, history) is DeadLetterReason.RETRIES_EXHAUSTED
    # Those retries were asked for, so they crashed nothing.
    assert policy.decide(failure(severity=HIGH), history) is RESTART


@pytest.mark.parametrize("action", [RESTART, BREAK])
def test_a_rule_that_tries_again_without_a_schedule_ends_at_ten_tries(action: RecoveryAction) -> None:
    policy = RecoveryPolicy(rules=(Rule(action),))
    assert policy.decide(failure(TRANSIENT, tries=8), failures(8, TRANSIENT)) is action
    assert policy.decide(failure(TRANSIENT, tries=9), failures(9, TRANSIENT)) is QUARANTINE


def test_a_message_quarantined_by_a_rule_is_no_poison() -> None:
    error = failure(severity=HIGH, exception=KeyError("x"))
    assert not RecoveryPolicy(rules=[Rule(QUARANTINE)]).is_poison(error, failures(5))
    assert RecoveryPolicy(rules=[Rule(QUARANTINE)]).reason(error, failures(5)) is DeadLetterReason.PERMANENT
    assert RecoveryPolicy(rules=[Rule(RESTART)]).is_poison(error, failures(5))


def test_a_message_is_dead_for_the_reason_of_its_category() -> None:
    policy = RecoveryPolicy()
    assert policy.reason(failure(VALIDATION), []) is DeadLetterReason.VALIDATION
    assert policy.reason(failure(PERMANENT), []) is DeadLetterReason.PERMANENT
    assert policy.reason(failure(POISON), []) is DeadLetterReason.POISON
    assert policy.reason(failure(VALIDATION, tries=9), []) is DeadLetterReason.VALIDATION
    assert RecoveryPolicy(retry=RetryPolicy({VALIDATION: LinearBackoffRetry()})).reason(failure(VALIDATION), []) is (
        DeadLetterReason.RETRIES_EXHAUSTED
    )


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"action": "retry"}, SpecTypeError, "Rule: action = 'retry': expected RecoveryAction.RETRY"),
        ({"category": "timeout"}, SpecTypeError, "Rule: category = 'timeout'"),
        ({"severity": "high"}, SpecTypeError, "Rule: severity = 'high'"),
        ({"exception": ()}, SpecError, "Rule: exception = (): expected at least one exception type"),
        ({"exception": KeyError("x")}, SpecTypeError, "Rule: exception = KeyError('x'): expected an exception type"),
        ({"exception": (KeyError, int)}, SpecTypeError, "Rule: exception = <class 'int'>"),
        ({"component": ""}, SpecError, "Rule: component = '': expected a glob"),
        ({"component": 7}, SpecTypeError, "Rule: component = 7"),
    ],
)
def test_a_wrong_rule_is_refused(values: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        Rule(values.pop("action", SKIP), **values)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


# The policy as a whole


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"rules": 7}, SpecTypeError, "RecoveryPolicy: rules = 7: expected Rules"),
        ({"rules": Rule(SKIP)}, SpecTypeError, "RecoveryPolicy: rules = Rule("),
        ({"rules": [SKIP]}, SpecTypeError, "RecoveryPolicy: rules = <RecoveryAction"),
        ({"poison_after": 0}, SpecError, "RecoveryPolicy: poison_after = 0: expected a whole number, 1 or more"),
        ({"poison_after": True}, SpecTypeError, "RecoveryPolicy: poison_after = True"),
        ({"retry": NoRetry()}, SpecTypeError, "RecoveryPolicy: retry = NoRetry(): expected a RetryPolicy"),
        ({"classifier": {}}, SpecTypeError, "RecoveryPolicy: classifier = {}: expected a Classifier"),
    ],
)
def test_a_wrong_policy_is_refused(values: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        RecoveryPolicy(**values)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text)


class Lenient(RecoveryPolicy):
    """A user's: passes over what it has been told to."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        super().__init__(rules=[Rule(ESCALATE, category=VALIDATION)])
        self.kinds = kinds

    def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
        return SKIP if isinstance(error.exception, self.kinds) else super().decide(error, history)


def test_a_policy_can_be_subclassed_and_sent_to_another_process() -> None:
    policy = pickle.loads(pickle.dumps(Lenient(KeyError)))  # noqa: S301  # our own bytes
    assert policy.decide(failure(severity=HIGH, exception=KeyError()), []) is SKIP
    assert policy.decide(failure(VALIDATION), []) is ESCALATE
    assert policy.decide(failure(severity=HIGH), []) is RESTART


def test_a_policy_cannot_be_changed() -> None:
    policy = RecoveryPolicy()
    with pytest.raises(FrozenAttributeError):
        policy.poison_after = 5
    assert isinstance(policy.classifier, Classifier)


def test_a_policy_prints_its_table_as_it_is_read() -> None:
    policy = RecoveryPolicy(rules=[Rule(SKIP, exception=(KeyError, OSError), component="db*"), Rule(ESCALATE)], poison_after=4)
    lines = str(policy).splitlines()

    assert [part.strip() for part in lines[1].split("  ")][:2] == ["1", "exception KeyError or OSError, component db*"]
    assert [part.strip() for part in lines[2].split("  ")][:2] == ["2", "any failure"]
    for line, row in zip(lines[3:], TABLE, strict=False):
        assert row.when.format(poison_after=4, errors=10, seconds=60.0) in line
        assert row.action.name in line
        assert line.endswith(row.then)
    assert "failed so 4 times" in str(policy)
    assert "  TIMEOUT: linear, 2 retries, steps of 1 s" in lines
    assert Rule(SKIP, severity=LOW, category=TIMEOUT).__str__() == "severity LOW, category TIMEOUT"


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
