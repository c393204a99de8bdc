"""Where an exception came from, without the frames that it came through.

A traceback keeps every local variable of its frames alive: the actor that failed, its connections, its secrets. What is
kept of a failure for long (a dead letter may be kept for days) is therefore only what code the exception passed.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from types import CodeType
from typing import NamedTuple

from actorkit.policy.wording import cut

LONGEST_TRACE = 16_000
"""Characters that are kept of a traceback."""
KNOWN_TRACES = 1_000
"""Traces that are shared by all exceptions that took the same way."""
DEEPEST_KNOWN = 50
"""Calls in a trace that is shared, at most: a deeper one is seldom seen twice."""


class Step(NamedTuple):
    """One call that an exception passed: its code, and the place of the instruction in it."""

    code: CodeType
    instruction: int

    @property
    def summary(self) -> traceback.FrameSummary:
        """The call as Python's own tracebacks have it."""
        line, end_line, column, end_column = next(islice(self.code.co_positions(), self.instruction // 2, None))
        file, name = self.code.co_filename, self.code.co_name
        return traceback.FrameSummary(file, line, name, lookup_line=False, end_lineno=end_line, colno=column, end_colno=end_column)


class Trace(NamedTuple):
    """The way of one exception."""

    steps: tuple[Step, ...]
    """The calls that it passed, the outermost first."""
    file: str
    """Where it was raised; "" if that is not known."""
    line: int


NOWHERE = Trace((), "", 0)
_known: dict[tuple[int, ...], Trace] = {}
_texts: dict[int, tuple[Trace, str]] = {}
_LOOKS_INTO_FRAMES = (AttributeError, ImportError, NameError, SyntaxError)
"""Of these, Python prints more than the way: what else may have been meant."""


def trace_of(exception: BaseException) -> Trace:
    """The way of an exception so far. Costs less than half a microsecond for one that has taken a way seen before."""
    way: list[int] = []
    step = exception.__traceback__
    while step is not None:
        way += id(step.tb_frame.f_code), step.tb_lasti
        step = step.tb_next
    key = tuple(way)
    return _known.get(key) or _learn(key, exception)


def _learn(key: tuple[int, ...], exception: BaseException) -> Trace:
    steps: list[Step] = []
    last = step = exception.__traceback__
    while step is not None:
        steps.append(Step(step.tb_frame.f_code, step.tb_lasti))
        last, step = step, step.tb_next
    trace = NOWHERE if last is None else Trace(tuple(steps), last.tb_frame.f_code.co_filename, last.tb_lineno)
    if len(steps) <= DEEPEST_KNOWN:
        if len(_known) >= KNOWN_TRACES:
            _known.clear()
        _known[key] = trace  # it holds the code, whose id therefore is nobody else's
    return trace


def let_go(exception: BaseException) -> Mapping[int, Trace]:
    """Takes the frames off an exception, its causes and its members, and says which way each of them took, by `id`."""
    traces: dict[int, Trace] = {}
    left = [exception]
    while left:
        one = left.pop()
        if id(one) not in traces:
            traces[id(one)] = trace_of(one)
            BaseException.with_traceback(one, None)  # whatever a user's class makes of the attribute
            left += inside(one)
    return traces


def inside(exception: BaseException) -> list[BaseException]:
    """The causes and the members of an exception."""
    found = [one for one in (exception.__cause__, exception.__context__) if one is not None]
    return found if not isinstance(exception, BaseExceptionGroup) else [*found, *exception.exceptions]


def _steps_printed(trace: Trace) -> str:
    """What stands above the exception itself; known, where one was printed that took the same way."""
    known = _texts.get(id(trace))
    if known is not None and known[0] is trace:
        return known[1]
    stack = traceback.StackSummary.from_list([step.summary for step in trace.steps])
    text = "".join(["Traceback (most recent call last):\n", *stack.format()])
    if len(_texts) >= KNOWN_TRACES:
        _texts.clear()
    _texts[id(trace)] = trace, text
    return text


def printed(exception: BaseException, traces: Mapping[int, Trace]) -> str:
    """An exception with its causes, as Python prints it, at most `LONGEST_TRACE` characters.

    Args:
        exception: the exception.
        traces: the ways of those that have no traceback any more.
    """
    # Some exceptions Python itself cannot print, such as a SyntaxError whose text is no string.
    with suppress(Exception):
        trace = trace_of(exception) if exception.__traceback__ is not None else traces.get(id(exception), NOWHERE)
        if trace.steps and not inside(exception) and not isinstance(exception, _LOOKS_INTO_FRAMES):
            told = traceback.TracebackException(type(exception), exception, None)
            return cut("".join([_steps_printed(trace), *told.format_exception_only()]), LONGEST_TRACE)
        told = traceback.TracebackException.from_exception(exception)
        left = [(told, exception)]
        while left:
            this, one = left.pop()
            if one.__traceback__ is None:
                this.stack.extend(step.summary for step in traces.get(id(one), NOWHERE).steps)
            if this.__cause__ is not None and one.__cause__ is not None:
                left.append((this.__cause__, one.__cause__))
            if this.__context__ is not None and one.__context__ is not None:
                left.append((this.__context__, one.__context__))
            if this.exceptions is not None and isinstance(one, BaseExceptionGroup):
                left.extend(zip(this.exceptions, one.exceptions, strict=False))
        return cut("".join(told.format()), LONGEST_TRACE)
    return f"{type(exception).__name__} (its traceback could not be made)"
