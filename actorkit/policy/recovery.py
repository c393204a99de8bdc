"""Decides what to do about one failed message: the user's rules first, then a table, read from the top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field, frozen, setters

from actorkit.errors import SpecTypeError
from actorkit.policy.checks import check_count, check_seconds, check_type, complaint
from actorkit.policy.classifier import Classification, Classifier, retry_after
from actorkit.policy.health_rules import HealthRule
from actorkit.policy.retry import DEFAULT_SCHEDULES, ExponentialBackoffRetry, RetryPolicy, Schedule
from actorkit.policy.rules import MAX_TRIES, RecoveryAction, Rule
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity

if TYPE_CHECKING:
    from random import Random

R = TypeVar("R")


class DeadLetterReason(StrEnum):
    """Why a message became a dead letter. A str as well, so the ledger's `dead_lettered_by["poison"]` finds it."""

    VALIDATION = "validation"
    """Its data is invalid."""
    PERMANENT = "permanent"
    """It failed in a way that trying again cannot help."""
    POISON = "poison"
    """It did harm: it crashed its actor again and again."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    """It still failed after all its retries."""
    OVERFLOW = "overflow"
    """Its port was full."""
    OVERFLOW_TIMEOUT = "overflow_timeout"
    """Its port stayed full for as long as the sender was to wait."""
    EXPIRED = "expired"
    """It waited in the mailbox beyond its deadline."""
    RECEIVER_STOPPED = "receiver_stopped"
    """Its receiver was stopped or gone."""
    SHUTDOWN = "shutdown"
    """The tree ended first."""
    UNDECODABLE = "undecodable"
    """What was stored cannot be made a message again."""
    CRASHED_PROCESS = "crashed_process"
    """It was in flight whenever the process died."""
    CORRUPT = "corrupt"
    """What was stored is damaged."""


# Looked up once: reaching an enum's member takes longer than all else a row does.
_CRITICAL, _HIGH, _MEDIUM, _LOW, _INFO = ErrorSeverity
_RETRY, _THROTTLE, _BREAK = RecoveryAction.RETRY, RecoveryAction.THROTTLE, RecoveryAction.CIRCUIT_BREAK
_VALIDATION, _POISON, _RESOURCE = ErrorCategory.VALIDATION, ErrorCategory.POISON_MESSAGE, ErrorCategory.RESOURCE
_RESTART, _QUARANTINE = RecoveryAction.RESTART_COMPONENT, RecoveryAction.QUARANTINE_MESSAGE

_BY_SCHEDULE = (_RETRY, _THROTTLE)
_TRIES_AGAIN = (_RETRY, _THROTTLE, _BREAK, _RESTART, RecoveryAction.ESCALATE)
_DEPENDENCY = ErrorCategory.DEPENDENCY
_BAD_DATA = (_VALIDATION, _POISON, ErrorCategory.PERMANENT)
_WITHOUT_MESSAGE = (RecoveryAction.ESCALATE, RecoveryAction.LOG_AND_CONTINUE)
_CURABLE = tuple(DEFAULT_SCHEDULES)

_ASKED_FOR = ExponentialBackoffRetry(max_retries=3, base_delay=0.1, max_delay=5.0)
"""How a failure is retried whose category has no schedule, when a rule asks for a retry all the same: like TRANSIENT."""


@frozen
class Row:
    """A built-in row of the table: when it matches, what is done, and what becomes of the message.

    Attributes:
        name: one word for it.
        when: the condition in words; `{poison_after}`, `{errors}` and `{seconds}` stand for the policy's numbers.
        action: what is done.
        then: what becomes of the message, in words.
        matches: the condition.
    """

    name: str
    when: str
    action: RecoveryAction
    then: str
    matches: Callable[[RecoveryPolicy, ErrorContext, Sequence[ErrorContext]], bool]


TABLE: tuple[Row, ...] = (
    Row(
        "critical",
        "severity CRITICAL",
        RecoveryAction.ESCALATE,
        "stays in flight; dead letter when the tree ends",
        lambda policy, error, history: error.severity is _CRITICAL,
    ),
    Row(
        "harmless",
        "severity LOW or INFO",
        RecoveryAction.LOG_AND_CONTINUE,
        "passed over",
        lambda policy, error, history: error.severity is _LOW or error.severity is _INFO,
    ),
    Row(
        "poison",
        "no schedule; and the message failed so {poison_after} times, or this was poison before",
        RecoveryAction.QUARANTINE_MESSAGE,
        "dead letter, POISON; the actor gets a fresh instance, uncounted",
        lambda policy, error, history: policy.is_poison(error, history),
    ),
    Row(
        "exhausted",
        "category RESOURCE, with a schedule",
        RecoveryAction.THROTTLE,
        "tried again by its schedule, the actor slowed down; then dead letter, RETRIES_EXHAUSTED",
        lambda policy, error, history: error.category is _RESOURCE and policy.retry.retries(_RESOURCE),
    ),
    Row(
        "persistent",
        "{errors} errors in {seconds:g} s that a restart might cure, and half of what was delivered",
        RecoveryAction.RESTART_COMPONENT,
        "tried again by a fresh instance",
        lambda policy, error, history: policy.is_persistent(error, history),
    ),
    Row(
        "severe",
        "severity HIGH",
        RecoveryAction.RESTART_COMPONENT,
        "tried again by a fresh instance",
        lambda policy, error, history: error.severity is _HIGH,
    ),
    Row(
        "broken",
        "category DEPENDENCY, and a breaker guards the port",
        RecoveryAction.CIRCUIT_BREAK,
        "waits at the head of its port while the breaker is open",
        lambda policy, error, history: error.category is _DEPENDENCY and bool(error.metadata.get("guarded")),
    ),
    Row(
        "curable",
        "any category with a schedule",
        RecoveryAction.RETRY,
        "tried again by its schedule; then dead letter, RETRIES_EXHAUSTED",
        lambda policy, error, history: policy.retry.retries(error.category),
    ),
    Row(
        "hopeless",
        "anything else",
        RecoveryAction.QUARANTINE_MESSAGE,
        "dead letter, with the category as the reason",
        lambda policy, error, history: True,
    ),
)
"""What is done about a failure that no rule of the user's is about; the first row that matches decides.

From the design's section on failures. Every row is bounded by the limits in `RecoveryPolicy.decide`.
"""


def _checked_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return _checked("rules", rules, Rule, "Rules, such as (Rule(RecoveryAction.RETRY, exception=KeyError),)")


def _checked_health_rules(rules: Iterable[HealthRule]) -> tuple[HealthRule, ...]:
    return _checked("health_rules", rules, HealthRule, "HealthRules, such as (HealthRule(HealthAction.RESTART),)")


def _checked(field: str, rules: Iterable[R], kind: type[R], expected: str) -> tuple[R, ...]:
    try:
        given = tuple(rules)
    except TypeError:
        raise SpecTypeError(complaint("RecoveryPolicy", field, rules, expected)) from None
    return tuple(check_type("RecoveryPolicy", field, rule, kind, expected) for rule in given)


# Not slotted and not wholly frozen, since users subclass it: theirs may have attributes, which then survive pickling.
@define(kw_only=True, slots=False, eq=False, on_setattr=setters.frozen)
class RecoveryPolicy:
    """What to do about a failed message. Subclass it and override `decide`, or give it rules.

    Args:
        rules: the user's rows, read before those of `TABLE`; the first that matches decides.
        poison_after: how often a message may crash its actor before it is poison.
        persistent: so many errors that a restart might cure, within so many seconds, make a restart of it.
        retry: which failures are retried, how often, after what waits.
        classifier: what kind of failure an exception is.
        health_rules: what is done about an actor that does badly, although nothing may have failed; the first that is due decides.

    Raises:
        SpecTypeError: a value is of the wrong type.
        SpecError: `poison_after` or a number of `persistent` is out of range.
    """

    rules: tuple[Rule, ...] = field(default=(), converter=_checked_rules)
    poison_after: int = 3
    persistent: tuple[int, float] = (10, 60.0)
    retry: RetryPolicy = field(factory=RetryPolicy)
    classifier: Classifier = field(factory=Classifier)
    health_rules: tuple[HealthRule, ...] = field(default=(), converter=_checked_health_rules)
    # Asked at every failure: the categories that are given up at the first, if nothing else speaks against it.
    _given_up: tuple[ErrorCategory, ...] = field(init=False, repr=False, default=())

    def __attrs_post_init__(self) -> None:
        check_count("RecoveryPolicy", "poison_after", self.poison_after, 1)
        try:
            errors, seconds = self.persistent
        except (TypeError, ValueError):
            expected = "a number of errors and seconds, such as (10, 60.0)"
            raise SpecTypeError(complaint("RecoveryPolicy", "persistent", self.persistent, expected)) from None
        check_count("RecoveryPolicy", "persistent", errors, 1)
        check_seconds("RecoveryPolicy", "persistent", seconds, positive=True)
        check_type("RecoveryPolicy", "retry", self.retry, RetryPolicy, "a RetryPolicy")
        check_type("RecoveryPolicy", "classifier", self.classifier, Classifier, "a Classifier")
        if not self.rules and self.poison_after > 1:
            given_up = tuple(category for category in _BAD_DATA if not self.retry.retries(category))
            object.__setattr__(self, "_given_up", given_up)

    def classify(self, exception: BaseException) -> Classification:
        """What kind of failure this is, as the classifier says."""
        return self.classifier.classify(exception)

    def decide(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
        """What to do about `error`: what the first matching rule or row says, within these limits.

        A message is retried as often as its category's schedule says, and tried `MAX_TRIES` times at most, however often
        it escalates and whatever a schedule says; then it is quarantined. Where no message is at fault, nothing but the
        actor can be tried again: ESCALATE and LOG_AND_CONTINUE stay, all else is RESTART_COMPONENT.

        Args:
            error: the failure.
            history: the failures of the same component so far, oldest first; `error` may be among them. The runtime goes on
                writing in it: copy what is to be kept.
        """
        if self._is_bad_data(error):
            return _QUARANTINE
        action = self._proposed(error, history)
        if not error.has_message:
            return action if action in _WITHOUT_MESSAGE else _RESTART
        return _QUARANTINE if action in _TRIES_AGAIN and self._is_spent(error, history, action) else action

    def delay(self, error: ErrorContext, rng: Random, history: Sequence[ErrorContext]) -> float:
        """Seconds to wait before the next try, once RETRY is decided, or a restart where no message is at fault.

        The category's schedule says, at the number of this message's failures in this category; a message that is
        retried without one waits as for a TRANSIENT failure. Where no message is at fault, the number is that of such
        failures in a row, up to the schedule's last. It is never less than the exception's `retry_after`.

        Args:
            error: the failure.
            rng: drawn from as the schedule does.
            history: as for `decide`.
        """
        if not error.has_message:
            schedule = self.retry.for_category(error.category)
            retry = max(1, min(_in_a_row(error, history), schedule.max_retries))
        else:
            schedule = self._schedule_of(error)
            retry = 1 + sum(one.category is error.category for one in _earlier(error, history))
        # A schedule of the user's may answer anything; comparing in this order makes 0 of NaN as well.
        wait = max(0.0, schedule.delay(retry, rng))
        asked = None if error.exception is None else retry_after(error.exception)
        return wait if asked is None else max(wait, asked)

    def is_poison(self, error: ErrorContext, history: Sequence[ErrorContext]) -> bool:
        """Whether this failure makes its message poison: the actor then gets a fresh instance, uncounted.

        That is, the failure is not retried by a schedule, no rule but one that restarts is about it, and the message
        has failed so `poison_after` times with this one, or `metadata` says that the kind is "known_poison".
        """
        if not error.has_message or error.severity in (_CRITICAL, _LOW, _INFO) or self.retry.retries(error.category):
            return False
        rule = self._rule_about(error)
        if rule is not None and rule.action is not _RESTART:
            return False
        if error.metadata.get("known_poison"):
            return True
        return 1 + sum(not self._is_retried(one) for one in _earlier(error, history)) >= self.poison_after

    def is_persistent(self, error: ErrorContext, history: Sequence[ErrorContext]) -> bool:
        """Whether the actor fails so often that a restart may help, although this failure by itself would be retried.

        The last failure that its message's schedule allows would not: it is left to the next message to bring the restart.

        What counts are failures that a restart might cure (not bad data, nor those whose message then succeeded), of
        the present instance, in the last `persistent[1]` seconds: `persistent[0]` of them, and at least half of what
        was delivered since the first. The runtime's `metadata` say it: "incarnation", "delivered" (so far), "recovered".
        """
        errors, seconds = self.persistent
        if error.category not in _CURABLE and error.severity is not _HIGH:
            return False
        life, since = error.metadata.get("incarnation"), error.last_occurrence - seconds
        recent = [one for one in history if _may_be_cured(one) and one.last_occurrence >= since and one.metadata.get("incarnation") == life]
        if not any(one.error_id == error.error_id for one in recent):
            recent.append(error)
        if len(recent) < errors:
            return False
        delivered: int = error.metadata.get("delivered", 0) - recent[0].metadata.get("delivered", 0) + 1
        return 2 * len(recent) >= delivered and not self._is_spent(error, history, _RETRY)

    def reason(self, error: ErrorContext, history: Sequence[ErrorContext]) -> DeadLetterReason:
        """Why the message of `error`, which is to be quarantined, becomes a dead letter."""
        if error.category is _POISON:
            return DeadLetterReason.POISON
        if self._is_bad_data(error):
            return DeadLetterReason.VALIDATION if error.category is _VALIDATION else DeadLetterReason.PERMANENT
        if self.is_poison(error, history):
            return DeadLetterReason.POISON
        if error.category in _CURABLE or self.retry.retries(error.category):
            return DeadLetterReason.RETRIES_EXHAUSTED
        action = self._proposed(error, history)
        if action in _TRIES_AGAIN and self._is_spent(error, history, action):
            return DeadLetterReason.RETRIES_EXHAUSTED
        return DeadLetterReason.VALIDATION if error.category is _VALIDATION else DeadLetterReason.PERMANENT

    def __str__(self) -> str:
        rows = [(str(rule), rule.action.name, "your rule") for rule in self.rules]
        rows += [
            (
                row.when.format(poison_after=self.poison_after, errors=self.persistent[0], seconds=self.persistent[1]),
                row.action.name,
                row.then,
            )
            for row in TABLE
        ]
        lines = [("", "when", "action", "the message")]
        lines += [(str(number), *row) for number, row in enumerate(rows, 1)]
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        table = ["  ".join([*map(str.ljust, line, widths), line[3]]) for line in lines]
        limit = f"No message is tried more than {MAX_TRIES} times. Where none is at fault, all but ESCALATE and LOG_AND_CONTINUE restarts."
        schedules = ["Schedules:", *(f"  {line}" for line in str(self.retry).splitlines())]
        health = ["Health:", *(f"  {rule}: {rule.action.name}" for rule in self.health_rules)] if self.health_rules else []
        return "\n".join([*table, limit, *schedules, *health])

    def _is_bad_data(self, error: ErrorContext) -> bool:
        # By far the most failures: the last row of the table, found without going through all the others.
        return (
            error.severity is _MEDIUM
            and error.category in self._given_up
            and not (error.recovery_attempts or (error.metadata and error.metadata.get("known_poison")))
            and error.has_message
        )

    def _proposed(self, error: ErrorContext, history: Sequence[ErrorContext]) -> RecoveryAction:
        rule = self._rule_about(error)
        if rule is not None:
            return rule.action
        for row in TABLE:
            if row.matches(self, error, history):
                return row.action
        raise AssertionError("the last row of the table matches everything")

    def _rule_about(self, error: ErrorContext) -> Rule | None:
        for rule in self.rules:
            if rule.matches(error):
                return rule
        return None

    def _is_retried(self, error: ErrorContext) -> bool:
        rule = self._rule_about(error)
        return self.retry.retries(error.category) or (rule is not None and rule.action in _BY_SCHEDULE)

    def _is_spent(self, error: ErrorContext, history: Sequence[ErrorContext], action: RecoveryAction) -> bool:
        earlier = _earlier(error, history)
        if 1 + max(error.recovery_attempts, len(earlier)) >= MAX_TRIES:
            return True
        if action not in _BY_SCHEDULE:
            return False
        return 1 + sum(one.category is error.category for one in earlier) > self._schedule_of(error).max_retries

    def _schedule_of(self, error: ErrorContext) -> Schedule:
        return self.retry.for_category(error.category) if self.retry.retries(error.category) else _ASKED_FOR


def _earlier(error: ErrorContext, history: Sequence[ErrorContext]) -> list[ErrorContext]:
    # Failures of the same message before this one.
    message, port, this = error.message_id, error.port_name, error.error_id
    return [one for one in history if one.message_id == message and one.port_name == port and one.error_id != this]


def _may_be_cured(error: ErrorContext) -> bool:
    return (error.category in _CURABLE or error.severity is _HIGH) and not error.metadata.get("recovered")


def _in_a_row(error: ErrorContext, history: Sequence[ErrorContext]) -> int:
    # Failures without a message, of the same category, with nothing else in between: this one and those just before.
    count = 1
    for one in reversed(history):
        if one.error_id == error.error_id:
            continue
        if one.has_message or one.category is not error.category:
            break
        count += 1
    return count
