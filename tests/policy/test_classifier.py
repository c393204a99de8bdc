"""What kind of failure an exception is."""

from __future__ import annotations

import errno
import json
import pickle
import socket
import ssl
from types import TracebackType
from typing import Any

import pytest
import trio
from attrs import define, field, validators
from hypothesis import given, settings, strategies as st

from actorkit import errors
from actorkit.policy.classifier import LONGEST_RETRY_AFTER, Classification, Classifier, fingerprint, retry_after
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.wording import leaves

TRANSIENT, PERMANENT, POISON = ErrorCategory.TRANSIENT, ErrorCategory.PERMANENT, ErrorCategory.POISON_MESSAGE
RESOURCE, TIMEOUT, VALIDATION = ErrorCategory.RESOURCE, ErrorCategory.TIMEOUT, ErrorCategory.VALIDATION
COMMUNICATION, DEPENDENCY = ErrorCategory.COMMUNICATION, ErrorCategory.DEPENDENCY
CRITICAL, HIGH, MEDIUM, LOW, INFO = ErrorSeverity


def context(
    exception: BaseException | None = None, *, severity: ErrorSeverity = HIGH, category: ErrorCategory = PERMANENT, **others: Any
) -> ErrorContext:
    return ErrorContext(
        error_id="e1",
        severity=severity,
        category=category,
        component_name="root/parser",
        exception=exception,
        **others,
    )


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I won't say")


def raised(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as caught:
        return caught


def nested(depth: int, inside: Exception) -> Exception:
    for _ in range(depth):
        inside = ExceptionGroup("deeper", [inside])
    return inside


def exhausted(cause: Exception) -> Exception:
    error = errors.RetryExhausted("failed 4 times", attempts=4)
    error.__cause__ = cause
    return error


_SAID: list[tuple[Exception, ErrorCategory, ErrorSeverity]] = [
    (errors.TransientError(), TRANSIENT, MEDIUM),
    (errors.PermanentError(), PERMANENT, MEDIUM),
    (errors.PoisonMessageError(), POISON, MEDIUM),
    (errors.ResourceError(), RESOURCE, HIGH),
    (errors.ValidationError(), VALIDATION, MEDIUM),
    (errors.CommunicationError(), COMMUNICATION, MEDIUM),
    (errors.DependencyError(), DEPENDENCY, MEDIUM),
    (errors.DeadlockError(), PERMANENT, MEDIUM),
    (errors.ReportedError(), PERMANENT, MEDIUM),
    (errors.TransientError(severity=CRITICAL), TRANSIENT, CRITICAL),
    (errors.ResourceError(severity=LOW), RESOURCE, LOW),
    (errors.ReportedError(severity=INFO), PERMANENT, INFO),
    (errors.CommunicationError("the server says: too many open files"), COMMUNICATION, MEDIUM),
    (TimeoutError(), TIMEOUT, MEDIUM),
    (trio.TooSlowError(), TIMEOUT, MEDIUM),
    (ConnectionResetError(), COMMUNICATION, MEDIUM),
    (BrokenPipeError(errno.EPIPE, "broken"), COMMUNICATION, MEDIUM),
    (trio.BrokenResourceError(), COMMUNICATION, MEDIUM),
    (trio.ClosedResourceError(), COMMUNICATION, MEDIUM),
    (socket.gaierror(errno.ENOMEM, "numbered otherwise"), COMMUNICATION, MEDIUM),
    (socket.herror(), COMMUNICATION, MEDIUM),
    (ssl.SSLError(), COMMUNICATION, MEDIUM),
    (OSError(errno.EHOSTUNREACH, "no way"), COMMUNICATION, MEDIUM),
    (MemoryError(), RESOURCE, HIGH),
    (OSError(errno.ENOMEM, ""), RESOURCE, HIGH),
    (OSError(errno.ENOSPC, ""), RESOURCE, HIGH),
    (OSError(errno.EMFILE, ""), RESOURCE, HIGH),
    (OSError(errno.ENFILE, ""), RESOURCE, HIGH),
    (ConnectionError(errno.EMFILE, "cannot connect"), RESOURCE, HIGH),
    (ConnectionError("cannot connect: Too many open files"), RESOURCE, HIGH),
    (OSError("Too many open files"), RESOURCE, HIGH),
    (RuntimeError("CUDA Out Of Memory, tried to allocate"), RESOURCE, HIGH),
    (FileNotFoundError(errno.ENOENT, "gone"), PERMANENT, HIGH),
    (OSError([], "a number that is none"), PERMANENT, HIGH),
    (ValueError("out of memory"), VALIDATION, MEDIUM),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), VALIDATION, MEDIUM),
    (json.JSONDecodeError("bad", "{", 0), VALIDATION, MEDIUM),
    (errors.AskFailed("stopped"), DEPENDENCY, MEDIUM),
    (errors.AskFailed("failed", context(severity=CRITICAL, category=RESOURCE)), RESOURCE, MEDIUM),
    (errors.CircuitOpenError("open", retry_after=7.0), DEPENDENCY, MEDIUM),
    (errors.BulkheadFull("full"), DEPENDENCY, MEDIUM),
    (exhausted(TimeoutError()), TIMEOUT, MEDIUM),
    (exhausted(exhausted(ExceptionGroup("both", [TimeoutError(), KeyError("x")]))), PERMANENT, HIGH),
    (errors.RetryExhausted("without a cause"), DEPENDENCY, MEDIUM),
    (KeyError("x"), PERMANENT, HIGH),
    (TypeError("x"), PERMANENT, HIGH),
    (TypeError("x", "not a field"), PERMANENT, HIGH),
    (AssertionError(), PERMANENT, HIGH),
    (Unspeakable(), PERMANENT, HIGH),
]


@pytest.mark.parametrize(("exception", "category", "severity"), _SAID, ids=lambda value: getattr(value, "name", repr(value)))
def test_every_exception_has_a_category_and_a_severity(exception: Exception, category: ErrorCategory, severity: ErrorSeverity) -> None:
    classifier = Classifier()
    for _ in range(2):  # the second time it is remembered
        assert classifier.classify(exception) == (category, severity)


def test_what_attrs_validators_complain_about_is_invalid_data() -> None:
    @define
    class Row:
        speed: float = field(validator=validators.instance_of(float))
        hook: object = field(default=print, validator=validators.is_callable())

    rows: list[tuple[Any, ...]] = [("fast",), (1.0, 3)]
    for arguments in rows:
        with pytest.raises(TypeError) as caught:
            Row(*arguments)
        assert Classifier().classify(caught.value) == (VALIDATION, MEDIUM)


def test_the_most_derived_type_counts() -> None:
    class DatabaseDown(errors.DependencyError, ConnectionError):  # pyright: ignore[reportUnsafeMultipleInheritance]
        pass

    class SlowRow(TimeoutError, ValueError):
        pass

    assert Classifier().classify(DatabaseDown("x")).category is DEPENDENCY
    assert Classifier().classify(SlowRow("x")).category is TIMEOUT


def test_an_exception_that_forgot_our_constructor_is_classified_all_the_same() -> None:
    class Forgetful(errors.TransientError):
        def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall]
            pass

    assert Classifier().classify(Forgetful()) == (TRANSIENT, MEDIUM)
    assert retry_after(Forgetful()) is None


def test_a_users_rules_come_first_and_the_most_derived_class_wins() -> None:
    class Quota(Exception):
        pass

    class DailyQuota(Quota):
        pass

    classifier = Classifier({Quota: TRANSIENT, DailyQuota: (RESOURCE, LOW), ValueError: PERMANENT, OSError: RESOURCE})
    assert classifier.classify(Quota()) == (TRANSIENT, MEDIUM)
    assert classifier.classify(DailyQuota()) == (RESOURCE, LOW)
    assert classifier.classify(UnicodeError()) == (PERMANENT, MEDIUM)
    assert classifier.classify(ConnectionResetError()) == (RESOURCE, HIGH)
    assert classifier.rules[Quota] is TRANSIENT


def test_a_rule_with_a_bare_category_leaves_the_severity_to_our_exceptions() -> None:
    classifier = Classifier({errors.DependencyError: TRANSIENT, errors.PermanentError: (PERMANENT, HIGH)})
    assert classifier.classify(errors.DependencyError(severity=CRITICAL)) == (TRANSIENT, CRITICAL)
    assert classifier.classify(errors.DependencyError()) == (TRANSIENT, MEDIUM)
    assert classifier.classify(errors.PermanentError(severity=LOW)) == (PERMANENT, HIGH)


@pytest.mark.parametrize(
    "rules",
    [
        {"KeyError": TRANSIENT},
        {int: TRANSIENT},
        {KeyError: "transient"},
        {KeyError: (TRANSIENT,)},
        {KeyError: (TRANSIENT, HIGH, HIGH)},
        {KeyError: (TRANSIENT, "high")},
        {KeyError: (HIGH, TRANSIENT)},
        [KeyError],
        "rules",
        7,
    ],
)
def test_a_rule_of_another_form_is_refused(rules: Any) -> None:
    with pytest.raises(errors.SpecTypeError, match=r"^Classifier: "):
        Classifier(rules)


def test_no_rules_can_be_given_in_any_empty_form() -> None:
    assert not Classifier(()).rules
    assert not Classifier({}).rules


def test_a_classifier_remembers_a_bounded_number_of_types() -> None:
    classifier = Classifier()
    for number in range(2_500):
        kind = type(f"Made{number}", (ValueError,), {})
        assert classifier.classify(kind()) == (VALIDATION, MEDIUM)
    remembered: dict[type, object] = vars(classifier)["_by_type"]
    assert len(remembered) <= 1_000


def test_a_classifier_can_be_sent_to_another_process_whatever_it_has_seen() -> None:
    classifier = Classifier({KeyError: TRANSIENT})

    class Local(errors.TransientError):
        pass

    classifier.classify(Local())
    copy = pickle.loads(pickle.dumps(classifier))  # noqa: S301  # our own bytes
    assert copy.classify(KeyError()) == (TRANSIENT, MEDIUM)
    assert copy.classify(TimeoutError()) == (TIMEOUT, MEDIUM)


# Groups


def test_a_group_is_as_bad_as_its_worst_member() -> None:
    group = ExceptionGroup("all", [errors.TransientError(), ExceptionGroup("inner", [ValueError(), KeyError()]), TimeoutError()])
    assert Classifier().classify(group) == (PERMANENT, HIGH)
    assert Classifier({KeyError: (TRANSIENT, LOW)}).classify(group) == (VALIDATION, MEDIUM)


def test_of_equally_severe_members_one_that_trying_again_cannot_help_decides() -> None:
    group = ExceptionGroup("both", [errors.TransientError(), ValueError()])
    assert Classifier().classify(group).category is VALIDATION


def test_a_cancellation_in_a_group_counts_only_when_there_is_nothing_else() -> None:
    assert Classifier().classify(BaseExceptionGroup("mixed", [KeyboardInterrupt(), TimeoutError()])) == (TIMEOUT, MEDIUM)
    assert Classifier().classify(BaseExceptionGroup("stop", [KeyboardInterrupt(), SystemExit()])) == (PERMANENT, HIGH)


def test_a_rule_for_exception_does_not_hide_what_is_in_a_group_but_one_for_groups_does() -> None:
    group = ExceptionGroup("one", [KeyError()])
    assert Classifier({Exception: LOWEST, KeyError: TRANSIENT}).classify(group) == (TRANSIENT, MEDIUM)
    assert Classifier({ExceptionGroup: (DEPENDENCY, LOW)}).classify(group) == (DEPENDENCY, LOW)


LOWEST = (PERMANENT, INFO)


def test_groups_may_be_nested_very_deep() -> None:
    assert Classifier().classify(nested(20_000, KeyError())) == (PERMANENT, HIGH)


_LEAF = st.sampled_from(
    [KeyError("k"), ValueError("v"), TimeoutError(), errors.TransientError(severity=CRITICAL), OSError(errno.ENOSPC, "")]
)
_TREE: st.SearchStrategy[Exception] = st.recursive(
    _LEAF, lambda inner: st.builds(ExceptionGroup, st.just("group"), st.lists(inner, min_size=1, max_size=4)), max_leaves=20
)


def flat(exception: Exception) -> list[Exception]:
    if isinstance(exception, ExceptionGroup):
        return [leaf for one in exception.exceptions for leaf in flat(one)]
    return [exception]


@settings(deadline=None)  # a busy machine is no failure
@given(_TREE)
def test_no_member_of_any_group_is_worse_than_the_group(exception: Exception) -> None:
    classifier = Classifier()
    worst = classifier.worst(exception)
    members = flat(exception)
    said: list[Classification] = [classifier.classify(one) for one in members]

    assert leaves(exception) == members
    assert worst in members
    assert classifier.classify(exception) == classifier.classify(worst)
    assert classifier.classify(exception).severity == max(one.severity for one in said)


# Fingerprints


def fail(text: str) -> None:
    raise KeyError(text)


def caught_from_fail(text: str) -> KeyError:
    try:
        fail(text)
    except KeyError as error:
        return error
    raise AssertionError


def test_a_fingerprint_is_the_type_and_the_line_that_raised() -> None:
    line = fail.__code__.co_firstlineno + 1
    assert fingerprint(caught_from_fail("a")) == f"KeyError at {__file__}:{line}"
    assert fingerprint(caught_from_fail("a")) == fingerprint(caught_from_fail("b"))
    assert fingerprint(raised(KeyError("a"))) != fingerprint(caught_from_fail("a"))


def test_an_exception_that_was_never_raised_has_only_its_type() -> None:
    assert fingerprint(KeyError()) == "KeyError"
    assert fingerprint(errors.TransientError()) == "actorkit.errors.TransientError"


def test_a_groups_fingerprint_is_that_of_its_worst_member() -> None:
    worst = caught_from_fail("a")
    group = raised(ExceptionGroup("both", [ValueError(), worst]))
    assert fingerprint(group) == fingerprint(worst)
    assert fingerprint(group, Classifier({ValueError: (VALIDATION, CRITICAL)})) == "ValueError"


def test_the_fingerprint_of_an_exhausted_retry_is_that_of_its_cause() -> None:
    cause = caught_from_fail("a")
    assert fingerprint(raised(exhausted(cause))) == fingerprint(cause)


def test_a_rule_may_name_the_exhausted_retry_but_one_for_exception_does_not_hide_its_cause() -> None:
    error = exhausted(TimeoutError())
    assert Classifier({Exception: VALIDATION}).classify(error) == (VALIDATION, MEDIUM)
    assert Classifier({Exception: VALIDATION, TimeoutError: TRANSIENT}).classify(error) == (TRANSIENT, MEDIUM)
    assert Classifier({errors.RetryExhausted: RESOURCE}).classify(error) == (RESOURCE, HIGH)


# What a failing service asks for

_SOON: Any = "soon"


@pytest.mark.parametrize(
    ("exception", "seconds"),
    [
        (errors.TransientError(retry_after=2), 2.0),
        (errors.TransientError(), None),
        (errors.TransientError(retry_after=0.0), 0.0),
        (errors.TransientError(retry_after=1e9), LONGEST_RETRY_AFTER),
        (errors.TransientError(retry_after=10**400), LONGEST_RETRY_AFTER),
        (errors.TransientError(retry_after=float("inf")), LONGEST_RETRY_AFTER),
        (errors.TransientError(retry_after=float("nan")), None),
        (errors.TransientError(retry_after=-1.0), None),
        (errors.TransientError(retry_after=True), None),
        (errors.TransientError(retry_after=_SOON), None),
        (ExceptionGroup("all", [errors.TransientError(retry_after=2.0), errors.DependencyError(retry_after=5.0), KeyError()]), 5.0),
        (errors.CircuitOpenError("open", retry_after=7.0), 7.0),
        (errors.CircuitOpenError("isolated"), None),
        (exhausted(errors.CircuitOpenError("open", retry_after=7.0)), 7.0),
        (errors.AskFailed("no"), None),
        (errors.AskFailed("no", context()), None),
        (errors.AskFailed("no", context(errors.DependencyError(retry_after=7.0))), 7.0),
        (errors.AskFailed("no", context(errors.AskFailed("no", context(errors.DependencyError(retry_after=7.0))))), 7.0),
    ],
)
def test_an_exception_of_ours_may_ask_for_a_longer_wait(exception: Exception, seconds: float | None) -> None:
    assert retry_after(exception) == seconds


def test_an_exception_of_somebody_elses_is_not_asked() -> None:
    class Theirs(Exception):
        retry_after = 5.0

    assert retry_after(Theirs()) is None


def test_an_ask_that_failed_because_of_itself_ends() -> None:
    failed = errors.AskFailed("round")
    failed.error = context(failed)
    assert retry_after(failed) is None


def test_no_traceback_is_touched_by_classifying() -> None:
    exception = caught_from_fail("x")
    before: TracebackType | None = exception.__traceback__
    Classifier().classify(exception)
    assert exception.__traceback__ is before
