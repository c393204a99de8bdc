"""An exception that has lost its frames is printed as it was with them."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest

from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.traces import DEEPEST_KNOWN, LONGEST_TRACE, let_go, printed


class Big:
    """Something that a frame keeps alive."""


def plain() -> None:
    raise ValueError("no number")


def with_cause() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("b") from error


def with_context() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("b")  # noqa: B904 - the context is the point


def with_hidden_context() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("b") from None


def raised(raise_it: Callable[[], None]) -> Exception:
    try:
        raise_it()
    except Exception as error:
        return error
    raise AssertionError


def in_a_group() -> None:
    raise ExceptionGroup("two", [raised(with_cause), ExceptionGroup("one", [raised(plain)])])


def deep(calls: int = DEEPEST_KNOWN + 1) -> None:
    if calls:
        deep(calls - 1)
    else:
        plain()


def with_note() -> None:
    error = ValueError("no number")
    error.add_note("line 7")
    raise error


def in_a_circle() -> None:
    first, second = raised(plain), raised(with_cause)
    first.__context__, second.__context__ = second, first
    raise second


def in_eval() -> None:
    exec(compile("raise ValueError('no number')", "<nowhere>", "exec"), {})  # noqa: S102 - code without a file


WAYS = (plain, with_cause, with_context, with_hidden_context, in_a_group, deep, with_note, in_a_circle, in_eval)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_without_its_frames_an_exception_reads_the_same(way: Callable[[], None]) -> None:
    error = raised(way)
    before = "".join(traceback.format_exception(error))

    traces = let_go(error)

    assert printed(error, traces) == before
    assert before.count("\n") > 2
    assert error.__traceback__ is None


def misspelt() -> None:
    _ = cast("Any", "tea").uper()


@pytest.mark.parametrize("way", [*WAYS, misspelt], ids=lambda way: str(way.__name__))
def test_with_its_frames_an_exception_reads_as_python_prints_it_time_and_again(way: Callable[[], None]) -> None:
    errors = [raised(way), raised(way)]

    for error in errors:
        assert printed(error, {}) == "".join(traceback.format_exception(error))


def test_one_that_was_never_raised_reads_the_same() -> None:
    error = ValueError("no number")

    assert printed(error, let_go(error)) == "ValueError: no number\n"


def test_a_long_way_is_cut() -> None:
    def far(calls: int, text: str) -> None:
        if calls:
            text += "x"
            far(calls - 1, text) if calls % 2 else far(calls - 2, text)
        else:
            raise ValueError("y" * LONGEST_TRACE)

    error = raised(lambda: far(100, ""))

    assert len(printed(error, let_go(error))) <= LONGEST_TRACE


@pytest.mark.parametrize("way", [plain, with_cause, with_context, in_a_group], ids=lambda way: str(way.__name__))
def test_a_context_that_lets_go_keeps_the_text_and_no_frame(way: Callable[[], None]) -> None:
    def handler() -> None:
        big = Big()
        kept.append(weakref.ref(big))
        way()

    kept: list[weakref.ref[Big]] = []
    error = raised(handler)
    context = ErrorContext(
        error_id="e1", severity=ErrorSeverity.MEDIUM, category=ErrorCategory.VALIDATION, component_name="root/a", exception=error
    )
    before = "".join(traceback.format_exception(error))
    assert kept[0]() is not None

    context.let_go()
    context.let_go()

    assert kept[0]() is None
    assert context.stack_trace == before
    assert context.exception is error


def test_an_exception_that_refuses_to_lose_its_traceback_loses_it() -> None:
    class Stubborn(ValueError):
        @property
        def __traceback__(self) -> object:  # type: ignore[override]
            return BaseException.__dict__["__traceback__"].__get__(self)

    def stubborn() -> None:
        raise Stubborn("no number")

    error = raised(stubborn)
    before = "".join(traceback.format_exception(error))

    assert printed(error, let_go(error)) == before
