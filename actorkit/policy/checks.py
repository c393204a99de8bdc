"""Checks the values of specifications and settings, and complains in one sentence that says what was expected.

Each check returns the value it was given, typed, or raises `SpecError` (a value out of range) or
`SpecTypeError` (a value of the wrong type): "child 'billing': max_restarts = -1: expected a whole number, 0 or more".
"""

from __future__ import annotations

import math
import reprlib
from enum import Enum
from typing import TypeVar

from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.restart import AutoShutdown, Restart, Shutdown

Choice = TypeVar("Choice", bound=Enum)
Wanted = TypeVar("Wanted")

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = 80


def complaint(owner: str, field: str, value: object, expected: str) -> str:
    """The sentence every check complains with. The value is cut short, and one whose `repr` fails does no harm."""
    return f"{owner}: {field} = {_shown.repr(value)}: expected {expected}"


def check_type(owner: str, field: str, value: object, of: type[Wanted], expected: str) -> Wanted:
    """An instance of `of`, which `expected` puts into words.

    Raises:
        SpecTypeError: it is anything else.
    """
    if not isinstance(value, of):
        raise SpecTypeError(complaint(owner, field, value, expected))
    return value


def check_choice(owner: str, field: str, value: object, enum: type[Choice]) -> Choice:
    """A member of `enum`.

    Raises:
        SpecTypeError: it is anything else, a member's value included.
    """
    if isinstance(value, enum):
        return value
    raise SpecTypeError(complaint(owner, field, value, one_of(enum)))


def one_of(enum: type[Enum]) -> str:
    """The members of `enum` as a person would list them: "Restart.PERMANENT, Restart.TRANSIENT or Restart.TEMPORARY"."""
    *firsts, last = map(str, enum)
    return f"{', '.join(firsts)} or {last}"


def check_exception_type(owner: str, field: str, value: object, expected: str) -> type[BaseException]:
    """An exception class; `expected` puts into words what may stand there.

    Raises:
        SpecTypeError: it is anything else, an exception itself included.
    """
    return check_subclass(owner, field, value, BaseException, expected)


def check_subclass(owner: str, field: str, value: object, of: type[Wanted], expected: str) -> type[Wanted]:
    """A class, `of` or one below it; `expected` puts into words what may stand there.

    Raises:
        SpecTypeError: it is anything else.
    """
    given = value
    if isinstance(value, type) and issubclass(value, of):
        return value
    raise SpecTypeError(complaint(owner, field, given, expected))


def check_flag(owner: str, field: str, value: object) -> bool:
    """A bool.

    Raises:
        SpecTypeError: it is anything else, 0 and 1 included.
    """
    return check_type(owner, field, value, bool, "True or False")


def check_count(owner: str, field: str, value: object, minimum: int = 0) -> int:
    """A whole number, `minimum` or more.

    Raises:
        SpecTypeError: it is no int; a bool is none.
        SpecError: it is below `minimum`.
    """
    expected = f"a whole number, {minimum} or more"
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecTypeError(complaint(owner, field, value, expected))
    if value < minimum:
        raise SpecError(complaint(owner, field, value, expected))
    return value


def check_seconds(owner: str, field: str, value: object, *, minimum: float = 0.0, positive: bool = False, infinite: bool = False) -> float:
    """Seconds, `minimum` or more; more than 0 when `positive`; `math.inf` only when `infinite`.

    Raises:
        SpecTypeError: it is neither int nor float; a bool is neither.
        SpecError: it is out of range, NaN, or infinite without leave.
    """
    expected = "seconds, more than 0" if positive else f"seconds, {minimum:g} or more"
    if not _is_number(value):
        raise SpecTypeError(complaint(owner, field, value, expected))
    seconds = _as_float(value)
    # NaN fails every comparison, so the range is put as what has to hold.
    if not (seconds > 0 if positive else seconds >= minimum):
        raise SpecError(complaint(owner, field, value, expected))
    if math.isinf(seconds) and not infinite:
        raise SpecError(complaint(owner, field, value, f"{expected}, and finite"))
    return seconds


def check_number(owner: str, field: str, value: object, expected: str, *, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number that is more than 0, `least` or more, and `most` or less; `expected` puts that into words.

    Raises:
        SpecTypeError: it is neither int nor float; a bool is neither.
        SpecError: it is out of range, NaN or infinite.
    """
    if not _is_number(value):
        raise SpecTypeError(complaint(owner, field, value, expected))
    number = _as_float(value)
    if not (0 < number < math.inf and least <= number <= most):
        raise SpecError(complaint(owner, field, value, expected))
    return number


def check_shutdown(owner: str, value: object) -> float | Shutdown:
    """How long a child may take to stop: seconds, 0 or more, or a `Shutdown`.

    Raises:
        SpecTypeError: it is neither a number nor a `Shutdown`.
        SpecError: it is negative, NaN or infinite (`Shutdown.INFINITY` says that).
    """
    if isinstance(value, Shutdown):
        return value
    if _is_number(value) and 0 <= (seconds := _as_float(value)) < math.inf:
        return seconds
    error = SpecError if _is_number(value) else SpecTypeError
    raise error(complaint(owner, "shutdown", value, f"seconds, 0 or more, {one_of(Shutdown)}"))


def check_significant(owner: str, significant: object, restart: Restart, auto_shutdown: AutoShutdown) -> bool:
    """Whether a child is significant: its end may end its supervisor. The rules are those of OTP's `supervisor`.

    Raises:
        SpecTypeError: `significant` is no bool.
        SpecError: the child is significant, and PERMANENT (it would be restarted, so its end means nothing),
            or its supervisor never shuts itself down.
    """
    if not check_flag(owner, "significant", significant):
        return False
    if restart is Restart.PERMANENT:
        expected = f"restart to be {Restart.TRANSIENT} or {Restart.TEMPORARY}, since a permanent child is always restarted"
        raise SpecError(complaint(owner, "significant", significant, expected))
    if auto_shutdown is AutoShutdown.NEVER:
        expected = f"its supervisor's auto_shutdown to be {AutoShutdown.ANY_SIGNIFICANT} or {AutoShutdown.ALL_SIGNIFICANT}"
        raise SpecError(complaint(owner, "significant", significant, expected))
    return True


def _is_number(value: object) -> bool:
    # A bool is an int to Python; here it is a slip of the pen.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_float(value: object) -> float:
    assert isinstance(value, (int, float))
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
