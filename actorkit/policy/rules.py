"""What can be done about a failure, and a user's word on when."""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase

from attrs import field, frozen

from actorkit.errors import SpecError
from actorkit.policy.checks import check_choice, check_exception_type, check_type, complaint
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.wording import leaves

MAX_TRIES = 10
"""How often a message is tried at most, the first time included, however its failures mix."""


class RecoveryAction(Enum):
    """What is done about a failure."""

    RETRY = "retry"
    """The same instance tries the message again, after a wait."""
    QUARANTINE_MESSAGE = "quarantine"
    """The message becomes a dead letter."""
    THROTTLE = "throttle"
    """The message is tried again, and the actor slowed down."""
    RESTART_COMPONENT = "restart"
    """The actor gets a fresh instance, which tries the message again."""
    LOG_AND_CONTINUE = "log_continue"
    """The message is passed over."""
    CIRCUIT_BREAK = "circuit_break"
    """The port's breaker opens; the message waits at its head."""
    ESCALATE = "escalate"
    """The supervisor fails as well."""


@frozen
class Rule:
    """A user's row of the table: failures that match all that is given meet `action`.

    Args:
        action: what is done. RETRY and THROTTLE go by the category's schedule, or by that of TRANSIENT failures
            when it has none; no action tries a message more than `MAX_TRIES` times.
        category: of exactly this category.
        severity: of exactly this severity.
        exception: an exception of this type, or of one of these. A group matches when it does itself, or when
            all its members do.
        component: a glob over the failing actor's path. One without "/" matches its name as well.

    Raises:
        SpecTypeError: a value is of the wrong type.
        SpecError: `exception` or `component` is empty.
    """

    action: RecoveryAction
    category: ErrorCategory | None = field(default=None, kw_only=True)
    severity: ErrorSeverity | None = field(default=None, kw_only=True)
    exception: type[BaseException] | tuple[type[BaseException], ...] | None = field(default=None, kw_only=True)
    component: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_choice("Rule", "action", self.action, RecoveryAction)
        if self.category is not None:
            check_choice("Rule", "category", self.category, ErrorCategory)
        if self.severity is not None:
            check_choice("Rule", "severity", self.severity, ErrorSeverity)
        if self.exception == ():
            raise SpecError(complaint("Rule", "exception", self.exception, "at least one exception type"))
        for one in self._exceptions():
            check_exception_type("Rule", "exception", one, "an exception type, or a tuple of them")
        check_component("Rule", self.component)

    def matches(self, error: ErrorContext) -> bool:
        """Whether the rule is about this failure."""
        return (
            (self.category is None or self.category is error.category)
            and (self.severity is None or self.severity is error.severity)
            and (self.exception is None or self._is_about(error.exception))
            and is_at(error.component_name, self.component)
        )

    def _is_about(self, exception: BaseException | None) -> bool:
        types = self._exceptions()
        if exception is None or isinstance(exception, types):
            return exception is not None
        # Trio wraps even a lone failure of a nursery; but a rule about one member must not swallow another.
        return isinstance(exception, BaseExceptionGroup) and all(isinstance(leaf, types) for leaf in leaves(exception))

    def _exceptions(self) -> tuple[type[BaseException], ...]:
        if self.exception is None:
            return ()
        return self.exception if isinstance(self.exception, tuple) else (self.exception,)

    def __str__(self) -> str:
        given = {
            "severity": self.severity and self.severity.name,
            "category": self.category and self.category.name,
            "exception": " or ".join(one.__name__ for one in self._exceptions()),
            "component": self.component,
        }
        return ", ".join(f"{name} {value}" for name, value in given.items() if value) or "any failure"


def check_component(owner: str, component: object) -> None:
    """A glob that says which actors a rule is about, or None.

    Raises:
        SpecTypeError: it is anything else.
        SpecError: it is empty.
    """
    expected = "a glob such as 'root/flights/*'"
    if component is not None:
        check_type(owner, "component", component, str, expected)
    if component == "":
        raise SpecError(complaint(owner, "component", component, expected))


def is_at(path: str, component: str | None) -> bool:
    """Whether this glob is about the actor at this path. One without "/" is about names as well; None, about all."""
    if component is None or fnmatchcase(path, component):
        return True
    return "/" not in component and fnmatchcase(path.rpartition("/")[2], component)
