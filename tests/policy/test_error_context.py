"""What is kept of a failure, and how it reads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from attrs import evolve, exceptions
from hypothesis import given, settings, strategies as st

from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.traces import LONGEST_TRACE
from actorkit.policy.wording import LONGEST_LINE, LONGEST_MESSAGE

PERMANENT = ErrorCategory.PERMANENT
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


class Counted(Exception):
    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def __str__(self) -> str:
        self.read += 1
        return "counted"


def raised(exception: BaseException) -> BaseException:
    try:
        raise exception
    except BaseException as caught:
        return caught


def nested(depth: int, inside: Exception) -> Exception:
    for _ in range(depth):
        inside = ExceptionGroup("deeper", [inside])
    return inside


# Severity and category


def test_severities_are_ordered_from_info_to_critical() -> None:
    ranked = [INFO, LOW, MEDIUM, HIGH, CRITICAL]
    for (i, one), (k, other) in itertools.product(enumerate(ranked), repeat=2):
        assert (one < other, one <= other, one > other, one >= other, one == other) == (i < k, i <= k, i > k, i >= k, i == k)
    assert sorted(ErrorSeverity) == ranked


@pytest.mark.parametrize("other", [3, "high", None, ErrorCategory.TRANSIENT])
def test_a_severity_compares_with_nothing_else(other: object) -> None:
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(HIGH, compare)(other) is NotImplemented
    with pytest.raises(TypeError):
        _ = other > HIGH


def test_values_are_lower_case_words() -> None:
    assert [one.value for one in ErrorSeverity] == ["critical", "high", "medium", "low", "info"]
    assert {one.name: one.value for one in ErrorCategory} == {
        "TRANSIENT": "transient",
        "PERMANENT": "permanent",
        "POISON_MESSAGE": "poison",
        "RESOURCE": "resource",
        "TIMEOUT": "timeout",
        "VALIDATION": "validation",
        "COMMUNICATION": "communication",
        "DEPENDENCY": "dependency",
    }
    assert ErrorSeverity("high") is HIGH


# ErrorContext


def test_the_texts_of_an_error_are_made_when_they_are_first_read_and_then_kept() -> None:
    exception = Counted()
    error = context(exception)
    assert exception.read == 0

    assert (error.error_message, error.error_message) == ("counted", "counted")
    assert exception.read == 1
    trace = error.stack_trace
    read = exception.read
    assert error.stack_trace is trace
    assert exception.read == read


def test_a_stack_trace_names_the_line_and_the_cause() -> None:
    try:
        try:
            raise KeyError("speed")
        except KeyError as missing:
            raise ValueError("no speed") from missing
    except ValueError as caught:
        error = context(caught)

    assert "KeyError: 'speed'" in error.stack_trace
    assert error.stack_trace.rstrip().endswith("ValueError: no speed")
    assert __file__ in error.stack_trace


def test_texts_that_are_given_win_even_empty_ones() -> None:
    error = context(ValueError("mine"), error_message="given", stack_trace="")
    assert (error.error_message, error.stack_trace) == ("given", "")


def test_an_error_without_an_exception_has_empty_texts() -> None:
    error = context()
    assert (error.error_message, error.stack_trace) == ("", "")
    assert (error.port_name, error.message_id, error.occurrence_count, error.recovery_attempts) == (None, None, 1, 0)
    assert (error.first_occurrence, error.last_occurrence, dict(error.metadata), error.fingerprint) == (0.0, 0.0, {}, "")


def test_an_exception_without_a_text_is_told_by_its_type() -> None:
    assert context(trio.TooSlowError()).error_message == "TooSlowError"
    assert str(context(trio.TooSlowError())).endswith(": TooSlowError")


def test_a_group_of_one_speaks_with_its_members_voice() -> None:
    error = context(nested(3, ValueError("bad row")))
    assert error.error_message == "bad row"
    assert str(error).endswith("ValueError: bad row")
    assert context(ExceptionGroup("both", [ValueError(), KeyError()])).error_message == "both (2 sub-exceptions)"


def test_an_exception_that_cannot_be_told_is_still_reported() -> None:
    error = context(raised(Unspeakable()))
    assert error.error_message == "Unspeakable (its text could not be made)"
    assert "Unspeakable" in error.stack_trace
    assert "Unspeakable" in str(error)


def test_a_traceback_that_cannot_be_formatted_is_still_reported() -> None:
    text: Any = 5
    error = context(SyntaxError("odd", ("file", 1, 1, text)))
    assert error.stack_trace == "SyntaxError (its traceback could not be made)"


def test_an_exception_nested_beyond_the_recursion_limit_is_still_reported() -> None:
    error = context(nested(20_000, ValueError("deep")))
    assert error.error_message == "deep"
    assert 0 < len(error.stack_trace) <= LONGEST_TRACE


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=20), st.integers(0, 40_000))
def test_texts_are_bounded_and_keep_both_their_ends(piece: str, times: int) -> None:
    text = f"start{piece * times}end"
    error = context(ValueError(text))
    assert len(error.error_message) <= LONGEST_MESSAGE
    assert len(error.stack_trace) <= LONGEST_TRACE
    assert error.error_message.startswith("start")
    assert error.error_message.endswith("end")
    assert ("characters left out" in error.error_message) == (len(text) > LONGEST_MESSAGE)


def test_a_cut_text_says_how_much_is_missing() -> None:
    message = context(ValueError("x" * 10_000)).error_message
    left = message.count("x")
    assert f"{10_000 - left} characters left out" in message.replace("xx", "")


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=1_000), st.text(max_size=20), st.none() | st.text(max_size=20))
def test_an_error_is_one_printable_line(text: str, port: str, message: str | None) -> None:
    line = str(context(ValueError(text), port_name=port, message_id=message))
    assert len(line) <= LONGEST_LINE
    assert line.isprintable()
    assert line.splitlines() == [line]


def test_an_error_reads_as_a_sentence_about_who_what_and_which_message() -> None:
    error = context(KeyError("speed"), port_name="in_row", message_id="m7", recovery_attempts=2)
    assert str(error) == "HIGH PERMANENT at root/parser.in_row, message m7, try 3: KeyError: 'speed'"
    assert str(context(error_message="quiet\n since\x1b[31m noon")) == "HIGH PERMANENT at root/parser: quiet since [31m noon"
    assert repr(context(KeyError("speed"))) == "<ErrorContext e1: HIGH PERMANENT at root/parser: KeyError: 'speed'>"


@pytest.mark.parametrize(
    ("exception", "summary"),
    [
        (KeyError("mocha"), "KeyError: 'mocha'"),
        (LookupError(), "LookupError"),
        (ExceptionGroup("one", [ValueError("no\nnumber")]), "ValueError: no number"),
        (None, ""),
    ],
)
def test_a_summary_names_the_exception_and_its_text_on_one_line(exception: Exception | None, summary: str) -> None:
    assert context(exception).summary == summary


def test_an_error_cannot_be_changed_and_equals_only_itself() -> None:
    error = context(ValueError("x"))
    with pytest.raises(exceptions.FrozenInstanceError):
        setattr(error, "fingerprint", "other")  # noqa: B010 (a type checker refuses it written plainly)
    assert error == error
    assert error != context(error.exception)
    assert len({error, context(error.exception)}) == 2


def test_an_error_can_be_copied_with_changes() -> None:
    assert evolve(context(ValueError("x")), recovery_attempts=4).recovery_attempts == 4


# What was raised, where it could not be kept


def test_the_type_of_what_was_raised_is_known_by_its_name() -> None:
    alone = ExceptionGroup("one", [KeyError("speed")])

    assert [context(each).exception_type for each in (KeyError("speed"), alone)] == ["KeyError", "KeyError"]
    assert context().exception_type == ""


def test_without_the_exception_itself_metadata_say_its_type() -> None:
    error = context(error_message="'speed'", metadata={"exception_type": "KeyError"})

    assert (error.exception_type, error.summary) == ("KeyError", "KeyError: 'speed'")


def test_a_trace_that_is_printed_is_not_kept_and_the_same_as_the_stack_trace() -> None:
    error = context(ValueError("mine"))
    printed = error.print_trace()

    assert error.print_trace() is not printed
    assert error.stack_trace == printed
    assert error.print_trace() is error.stack_trace
    assert (context(stack_trace="given").print_trace(), context().print_trace()) == ("given", "")
