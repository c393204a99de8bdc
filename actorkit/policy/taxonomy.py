"""The kinds of failures, and what is known about one failure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from attrs import field, frozen

from actorkit.policy.traces import NOWHERE, Trace, let_go, printed
from actorkit.policy.wording import one_line, only_member, text_of

if TYPE_CHECKING:
    from datetime import datetime

_set = object.__setattr__
_LET_GO = BaseException.with_traceback


class ErrorSeverity(Enum):
    """How bad a failure is; ordered, INFO < LOW < MEDIUM < HIGH < CRITICAL."""

    CRITICAL = "critical"
    """The tree cannot go on."""
    HIGH = "high"
    """The actor may be broken and gets a fresh instance."""
    MEDIUM = "medium"
    """One message failed; the actor is fine."""
    LOW = "low"
    """The message can be passed over."""
    INFO = "info"
    """Merely worth a note."""

    def __init__(self, _value: str) -> None:
        # Members are written down from the worst, so a later one ranks below all before it.
        self.rank: int = -len(type(self).__members__)

    def __lt__(self, other: object) -> bool:
        return self.rank < other.rank if isinstance(other, ErrorSeverity) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.rank <= other.rank if isinstance(other, ErrorSeverity) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.rank > other.rank if isinstance(other, ErrorSeverity) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.rank >= other.rank if isinstance(other, ErrorSeverity) else NotImplemented


class ErrorCategory(Enum):
    """What kind of failure it is, and so what may help."""

    TRANSIENT = "transient"
    """It is likely to work when tried again."""
    PERMANENT = "permanent"
    """It will not work, however often it is tried."""
    POISON_MESSAGE = "poison"
    """The message itself does harm."""
    RESOURCE = "resource"
    """Memory, disk, file handles or the like have run out."""
    TIMEOUT = "timeout"
    """It took too long."""
    VALIDATION = "validation"
    """The message's data is invalid."""
    COMMUNICATION = "communication"
    """A connection failed."""
    DEPENDENCY = "dependency"
    """A service that the actor needs failed."""


@frozen(eq=False, kw_only=True)
class ErrorContext:
    """One failure: what went wrong, where, at which message, and how often before.

    Making one costs a microsecond or two; the texts are made from `exception` when they are first read. Once everybody
    has been told about a failure that its actor survives, `exception` has no traceback any more: it would keep the local
    variables of all its frames alive. `stack_trace` is the same before and after. Two contexts are equal only if they
    are the same object.

    Attributes:
        error_id: names this failure.
        severity: how bad it is.
        category: what kind of failure it is.
        component_name: the path of the actor that failed.
        port_name: the port whose message failed, or None.
        message_id: the message that failed, or None when no message is at fault.
        occurrence_count: how often this failure has been seen, this time included.
        first_occurrence: seconds on the runtime's clock.
        last_occurrence: seconds on the runtime's clock.
        first_seen: the same in UTC, for records.
        last_seen: the same in UTC, for records.
        recovery_attempts: how often the message had been tried before this time.
        metadata: whatever else is known. The runtime sets "known_poison" when this kind of failure has made a
            message poison before, and "exception_type" where `exception` could not be kept: in what comes from a store.
        exception: what was raised, or None.
        fingerprint: the kind of failure, see `fingerprint`.
    """

    _error_id: str | int = field(alias="error_id")
    severity: ErrorSeverity
    category: ErrorCategory
    component_name: str
    port_name: str | None = None
    _message_id: str | int | None = field(default=None, alias="message_id")
    _error_message: str | None = field(default=None, alias="error_message")
    _stack_trace: str | None = field(default=None, alias="stack_trace")
    occurrence_count: int = 1
    first_occurrence: float = 0.0
    last_occurrence: float = 0.0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    recovery_attempts: int = 0
    metadata: Mapping[str, Any] = field(factory=dict[str, Any])
    exception: BaseException | None = None
    fingerprint: str = ""
    _trace: Trace | Mapping[int, Trace] = field(default=NOWHERE, alias="trace")

    @property
    def error_id(self) -> str:
        """Names this failure: what it was given, or the number of it with the component's name."""
        if isinstance(self._error_id, int):
            _set(self, "_error_id", f"{self.component_name}!{self._error_id}")
        return str(self._error_id)

    @property
    def has_message(self) -> bool:
        """Whether a message is at fault."""
        return self._message_id is not None

    @property
    def message_id(self) -> str | None:
        """Names the message that failed: what it was given, or the number of it with its port's path; None when none is at fault."""
        if isinstance(self._message_id, int):
            _set(self, "_message_id", f"{self.component_name}.{self.port_name}#{self._message_id}")
        return cast("str | None", self._message_id)

    @property
    def error_message(self) -> str:
        """The text given, or else that of the exception: its type's name if it has none, cut to `LONGEST_MESSAGE`."""
        if self._error_message is None:
            _set(self, "_error_message", "" if self.exception is None else text_of(self.exception))
        return self._error_message or ""

    @property
    def stack_trace(self) -> str:
        """The text given, or else the exception's traceback with its causes, cut at a length of 16,000."""
        if self._stack_trace is None:
            _set(self, "_stack_trace", self.print_trace())
        return self._stack_trace or ""

    def print_trace(self) -> str:
        """As `stack_trace`, but does not keep the text if it has to be made: for who needs it once."""
        if self._stack_trace is not None:
            return self._stack_trace
        return "" if self.exception is None else printed(self.exception, self._traces(self.exception))

    def _traces(self, exception: BaseException) -> Mapping[int, Trace]:
        return {id(exception): self._trace} if isinstance(self._trace, Trace) else self._trace

    def let_go(self) -> None:
        """Takes the frames off `exception`, its causes and its members: see the class."""
        exception = self.exception
        if exception is None or exception.__traceback__ is None:
            return
        is_alone = exception.__context__ is None and exception.__cause__ is None and not isinstance(exception, BaseExceptionGroup)
        if is_alone and self._trace is not NOWHERE:
            _LET_GO(exception, None)  # whatever a user's class makes of the attribute
        else:
            _set(self, "_trace", let_go(exception))

    @property
    def exception_type(self) -> str:
        """The name of the type of what was raised; "" if nothing was. A group of one has its member's."""
        if self.exception is not None:
            return type(only_member(self.exception)).__name__
        return str(self.metadata.get("exception_type", ""))

    @property
    def summary(self) -> str:
        """What was raised, on one line: `KeyError: 'mocha'`."""
        return one_line(self._named_message())

    def _named_message(self) -> str:
        name = self.exception_type
        return self.error_message if name in ("", self.error_message) else f"{name}: {self.error_message}"

    def __str__(self) -> str:
        place = self.component_name if self.port_name is None else f"{self.component_name}.{self.port_name}"
        message = "" if self.message_id is None else f", message {self.message_id}, try {self.recovery_attempts + 1}"
        return one_line(f"{self.severity.name} {self.category.name} at {place}{message}: {self._named_message()}")

    def __repr__(self) -> str:
        return f"<ErrorContext {self.error_id}: {self}>"
