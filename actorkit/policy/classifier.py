"""Says what kind of failure an exception is."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from attrs import Attribute
from attrs.exceptions import NotCallableError

from actorkit.errors import (
    ActorkitError,
    AskFailed,
    CallRejected,
    CommunicationError,
    DependencyError,
    MailboxFull,
    PermanentError,
    PoisonMessageError,
    PortConnectionError,
    ReportedError,
    ResourceError,
    RetryExhausted,
    SpecTypeError,
    TransientError,
    ValidationError,
)
from actorkit.policy.checks import check_choice, check_exception_type, complaint
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.traces import Trace, trace_of
from actorkit.policy.wording import leaves, text_of

LONGEST_RETRY_AFTER = 3600.0
"""Seconds that an exception can make its message wait at most: an hour."""

_KNOWN_TYPES = 1_000


class Classification(NamedTuple):
    """What kind of failure an exception is, and how bad."""

    category: ErrorCategory
    severity: ErrorSeverity


Verdict = Classification | Callable[[BaseException], Classification]
"""What an exception type says: all there is to say, or how to look at the exception itself."""

Kind = ErrorCategory | tuple[ErrorCategory, ErrorSeverity]
"""What a user's rule says: a category, with its usual severity (HIGH for RESOURCE, else MEDIUM), or both."""

Rules = Mapping[type[BaseException], Kind] | tuple[()]
"""A user's rules; the empty tuple stands for none."""


def _usual(category: ErrorCategory) -> Classification:
    return Classification(category, ErrorSeverity.HIGH if category is ErrorCategory.RESOURCE else ErrorSeverity.MEDIUM)


_EXHAUSTED = _usual(ErrorCategory.RESOURCE)
_BUG = Classification(ErrorCategory.PERMANENT, ErrorSeverity.HIGH)
_INVALID = _usual(ErrorCategory.VALIDATION)
_DISCONNECTED = _usual(ErrorCategory.COMMUNICATION)
_TOO_SLOW = _usual(ErrorCategory.TIMEOUT)

_EXHAUSTED_NUMBERS = (errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE)
_EXHAUSTED_TEXTS = ("out of memory", "too many open files")
# Socket errors that Python has no class of their own for.
_SOCKET_NUMBERS = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EADDRNOTAVAIL, errno.ENOTCONN)


def _as_reported(usual: Classification) -> Verdict:
    def look(exception: BaseException) -> Classification:
        # A user's subclass may not have called our __init__, and then has no severity.
        severity = getattr(exception, "severity", None) if isinstance(exception, ReportedError) else None
        return usual._replace(severity=severity) if isinstance(severity, ErrorSeverity) else usual

    return look


def _as_bug(exception: BaseException) -> Classification:
    text = text_of(exception).lower()
    return _EXHAUSTED if any(phrase in text for phrase in _EXHAUSTED_TEXTS) else _BUG


def _as_os_error(exception: BaseException) -> Classification:
    number = getattr(exception, "errno", None)
    if number in _EXHAUSTED_NUMBERS:
        return _EXHAUSTED
    return _DISCONNECTED if number in _SOCKET_NUMBERS else _as_bug(exception)


def _as_connection_error(exception: BaseException) -> Classification:
    # Connecting is where a process first notices that it has too many files open.
    return _EXHAUSTED if _as_os_error(exception) is _EXHAUSTED else _DISCONNECTED


def _as_type_error(exception: BaseException) -> Classification:
    # attrs' validators pass the field they complain about as the second argument.
    return _INVALID if any(isinstance(argument, Attribute) for argument in exception.args[1:2]) else _as_bug(exception)


def _as_failed_ask(exception: BaseException) -> Classification:
    error = getattr(exception, "error", None)
    category = error.category if isinstance(error, ErrorContext) else ErrorCategory.DEPENDENCY
    return Classification(category, ErrorSeverity.MEDIUM)


_BUILT_IN: Mapping[type[BaseException] | str, Verdict] = {
    # trio may not be imported here, sockets neither: these are known by name. Socket and TLS errors number
    # themselves, so they are not asked for an errno.
    "trio.TooSlowError": _TOO_SLOW,
    "trio.BrokenResourceError": _DISCONNECTED,
    "trio.ClosedResourceError": _DISCONNECTED,
    "socket.gaierror": _DISCONNECTED,
    "socket.herror": _DISCONNECTED,
    "ssl.SSLError": _DISCONNECTED,
    TransientError: _as_reported(_usual(ErrorCategory.TRANSIENT)),
    PermanentError: _as_reported(_usual(ErrorCategory.PERMANENT)),
    PoisonMessageError: _as_reported(_usual(ErrorCategory.POISON_MESSAGE)),
    ResourceError: _as_reported(_usual(ErrorCategory.RESOURCE)),
    ValidationError: _as_reported(_usual(ErrorCategory.VALIDATION)),
    CommunicationError: _as_reported(_usual(ErrorCategory.COMMUNICATION)),
    DependencyError: _as_reported(_usual(ErrorCategory.DEPENDENCY)),
    ReportedError: _as_reported(_usual(ErrorCategory.PERMANENT)),  # DeadlockError as well
    AskFailed: _as_failed_ask,
    MailboxFull: _usual(ErrorCategory.TRANSIENT),
    PortConnectionError: _DISCONNECTED,
    CallRejected: _usual(ErrorCategory.DEPENDENCY),  # CircuitOpenError, BulkheadFull; `retry_after` reads theirs
    TimeoutError: _TOO_SLOW,
    ConnectionError: _as_connection_error,
    MemoryError: _EXHAUSTED,
    OSError: _as_os_error,
    ValueError: _INVALID,
    NotCallableError: _INVALID,
    TypeError: _as_type_error,
    BaseException: _as_bug,
}
"""What each exception type is; the most derived type counts. From the design's section on failures."""

# Which of two equally severe members of a group decides: first what trying again cannot help.
_WORST_FIRST = (
    ErrorCategory.POISON_MESSAGE,
    ErrorCategory.PERMANENT,
    ErrorCategory.VALIDATION,
    ErrorCategory.RESOURCE,
    ErrorCategory.DEPENDENCY,
    ErrorCategory.COMMUNICATION,
    ErrorCategory.TIMEOUT,
    ErrorCategory.TRANSIENT,
)


class Classifier:
    """Says what kind of failure an exception is.

    A user's rules come before the built-in ones; among either, the one for the most derived class wins. An
    exception group is as bad as its worst member, and a `RetryExhausted` as its cause, unless a rule names their class.

        Classifier({QuotaSpent: ErrorCategory.TRANSIENT, DiskSick: (ErrorCategory.RESOURCE, ErrorSeverity.CRITICAL)})

    Args:
        rules: exception types and what they are. A bare category has its usual severity, which an exception of ours
            overrides with its own `severity`.

    Raises:
        SpecTypeError: a rule is not of that form.
    """

    def __init__(self, rules: Rules = ()) -> None:
        self._rules: dict[type[BaseException], Kind] = _checked_rules(rules)
        self._by_type: dict[type[BaseException], Verdict] = {}

    @property
    def rules(self) -> Mapping[type[BaseException], Kind]:
        """The user's rules."""
        return dict(self._rules)

    def classify(self, exception: BaseException) -> Classification:
        """What kind of failure this is. Cheap when the exception's type alone decides: that is remembered."""
        verdict = self._by_type.get(type(exception)) or self._learn(type(exception))
        return verdict if isinstance(verdict, Classification) else verdict(exception)

    def worst(self, exception: BaseException) -> BaseException:
        """The member of a group that decides what the group is; a plain exception itself.

        That is the most severe one; of equals one that trying again cannot help, then the first. A cancellation
        or an interrupt in a group is not a failure, and counts only when there is nothing else.
        """
        members = leaves(exception)
        if len(members) == 1:
            return members[0]
        return max([one for one in members if isinstance(one, Exception)] or members, key=self._badness)

    def __getstate__(self) -> dict[str, object]:
        # What was learnt stays behind: it holds functions, which a copy in another process could not be sent.
        return {**self.__dict__, "_by_type": {}}

    def _badness(self, exception: BaseException) -> tuple[int, int]:
        category, severity = self.classify(exception)
        return severity.rank, -_WORST_FIRST.index(category)

    def _look_inside(self, exception: BaseException) -> Classification:
        worst = self.worst(exception)
        return self.classify(worst) if worst is not exception else _usual(ErrorCategory.DEPENDENCY)

    def _learn(self, of: type[BaseException]) -> Verdict:
        if len(self._by_type) >= _KNOWN_TYPES:
            # Somebody makes exception classes on the fly; remembering them all would never end.
            self._by_type.clear()
        verdict = self._by_type[of] = self._find(of)
        return verdict

    def _find(self, of: type[BaseException]) -> Verdict:
        has_more_inside = issubclass(of, (BaseExceptionGroup, RetryExhausted))
        for base in of.__mro__:
            # A rule for Exception is not meant to hide what is in a group.
            if base in self._rules and (not has_more_inside or issubclass(base, (BaseExceptionGroup, RetryExhausted))):
                kind = self._rules[base]
                return _as_reported(_usual(kind)) if isinstance(kind, ErrorCategory) else Classification(*kind)
        if has_more_inside:
            return self._look_inside
        names: list[type[BaseException] | str] = []
        for base in of.__mro__:
            names += base, f"{base.__module__}.{base.__qualname__}"
        return next(_BUILT_IN[name] for name in names if name in _BUILT_IN)


def _checked_rules(rules: Rules) -> dict[type[BaseException], Kind]:
    expected = "exception types and what they are, such as {KeyError: ErrorCategory.VALIDATION}"
    try:
        checked: dict[type[BaseException], Kind] = dict(rules)
    except (TypeError, ValueError):
        raise SpecTypeError(complaint("Classifier", "rules", rules, expected)) from None
    for of, kind in checked.items():
        name = check_exception_type("Classifier", "rules", of, expected).__name__
        category, severity = kind if isinstance(kind, tuple) and len(kind) == 2 else (kind, ErrorSeverity.MEDIUM)
        check_choice("Classifier", name, category, ErrorCategory)
        check_choice("Classifier", name, severity, ErrorSeverity)
    return checked


_DEFAULT_CLASSIFIER = Classifier()


def fingerprint(exception: BaseException, classifier: Classifier | None = None, trace: Trace | None = None) -> str:
    """The kind of failure: the exception's type and the line that raised it, "KeyError at parser.py:12" with the full path.

    A group's is that of its worst member, which `classifier` (or one without rules) tells. Messages are left out:
    they tend to hold values. Who knows the exception's `trace` may spare the making of it.
    """
    if isinstance(exception, (BaseExceptionGroup, RetryExhausted)):
        exception, trace = (classifier or _DEFAULT_CLASSIFIER).worst(exception), None
    of, trace = type(exception), trace or trace_of(exception)
    return _kind(of.__module__, of.__qualname__, trace.file, trace.line)


@lru_cache(_KNOWN_TYPES)  # one text for all failures of a kind, however many are kept
def _kind(module: str, name: str, file: str, line: int) -> str:
    of = name if module == "builtins" else f"{module}.{name}"
    return f"{of} at {file}:{line}" if file else of


def retry_after(exception: BaseException) -> float | None:
    """The seconds to wait at least before a retry, as an exception of ours says; None when it says nothing usable.

    Of a group's members the most patient one counts. A failed ask takes over what its failure said. Whatever is
    asked for, it is `LONGEST_RETRY_AFTER` at most.
    """
    longest: float | None = None
    for member in leaves(exception):
        cause: BaseException | None = member
        # An ask may have failed because of an ask, but not for ever.
        for _ in range(10):
            if not isinstance(cause, AskFailed) or cause.error is None:
                break
            cause = cause.error.exception
        seconds = getattr(cause, "retry_after", None) if isinstance(cause, ActorkitError) else None
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds >= 0:
            longest = max(longest or 0.0, float(min(seconds, LONGEST_RETRY_AFTER)))
    return longest
