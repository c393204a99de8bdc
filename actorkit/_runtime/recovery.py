"""What is done when a handler fails: the shell around `policy/recovery.py`, which decides."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from actorkit._runtime.dead_letters import FAILURES_KEPT
from actorkit._runtime.failure_kinds import Kind, count_one
from actorkit._runtime.ledger import EMPTY
from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import Envelope
from actorkit.errors import ActorUnhealthy, PortError
from actorkit.events import CleanupFailed, HandlerFailed, PolicyFailed
from actorkit.messages import ExitReason
from actorkit.policy.classifier import Classification, fingerprint
from actorkit.policy.recovery import DeadLetterReason, RecoveryPolicy
from actorkit.policy.retry_budget import RetryBudget
from actorkit.policy.rules import RecoveryAction
from actorkit.policy.taxonomy import ErrorCategory, ErrorContext, ErrorSeverity
from actorkit.policy.traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.mailbox import Mailbox

T = TypeVar("T")

HISTORY = 100
"""How many of a component's last errors a policy sees."""
POISONS = 1_000
"""How many kinds of poison are remembered per actor."""
# Looked up once: reaching an enum's member costs more than most of what is done about a failure.
RETRY, THROTTLE, BREAK = RecoveryAction.RETRY, RecoveryAction.THROTTLE, RecoveryAction.CIRCUIT_BREAK
QUARANTINE, SKIP, ESCALATE = RecoveryAction.QUARANTINE_MESSAGE, RecoveryAction.LOG_AND_CONTINUE, RecoveryAction.ESCALATE
POISON = DeadLetterReason.POISON
MEDIUM = ErrorSeverity.MEDIUM

RETRIES = (RETRY, THROTTLE, BREAK)
"""The same instance tries again: without a throttle or a breaker, the others are nothing but a retry."""
GIVES_UP = (QUARANTINE, SKIP)
"""The message is not tried again. One that came bare then leaves bare, which spares the making of an envelope."""
WITHOUT_FAILURE = {
    DeadLetterReason.EXPIRED: "it waited there for longer than the port's deadline",
    DeadLetterReason.OVERFLOW: "the port was full",
    DeadLetterReason.OVERFLOW_TIMEOUT: "the port was full for too long",
}
"""Why a message was given up that no handler has failed on; for all other reasons, its actor has ended."""
NOT_CURABLE = (ErrorCategory.VALIDATION, ErrorCategory.POISON_MESSAGE, ErrorCategory.PERMANENT)
"""No restart cures these, so no policy asks how many there were."""
NUMBER = cast("type[float]", Real)  # where a float is expected, an int will do
OURS = RecoveryPolicy()
"""Decides instead of a user's policy that raises."""


class Recovery:
    """The failures of one actor: makes each an `ErrorContext`, asks the policy, and does what it says.

    The failing message stays in hand, in flight, until its fate is decided here or by the supervisor.
    """

    __slots__ = (
        "_address",
        "_alarm",
        "_budget",
        "_cell",
        "_counted",
        "_counted_at",
        "_errors",
        "_history",
        "_is_held",
        "_kinds",
        "_poisons",
        "policy",
    )

    def __init__(self, cell: Cell, policy: RecoveryPolicy) -> None:
        self._cell = cell
        self.policy = policy
        self._address: tuple[Mailbox, str] | None = None  # of the last dead letter: one text for all of a port
        self._alarm: Alarm | None = None
        self._is_held = False  # whether it was closed by `hold_until`
        self._errors = self._counted = 0
        self._counted_at = 0.0
        self._budget: RetryBudget | None = None
        self._history: list[ErrorContext] | None = None
        self._kinds: dict[str, Kind] = {}
        self._poisons: dict[str, None] | None = None

    # The way of a message that failed

    def message_failed(self, error: Exception, life: Incarnation | None) -> None:
        """The handler of the message in hand has raised."""
        cell, port = self._cell, self._cell.port
        if cell.aside is not None:
            cell.aside.unmark()
        if cell.killed or cell.life is not life or port is None:
            cell.kernel.events.publish(CleanupFailed(cell.path, "a cancelled handler", error))
            return
        item = cell.message
        context = self._describe(error, port, item if type(item) is Envelope else None)
        action, history = self._decide(context)
        if type(item) is Envelope or action not in GIVES_UP:
            item = self._note(port, context)
        if cell.gates is not None:
            cell.gates.heard_failure(context, breaks=action is BREAK)
        if action in RETRIES:
            self._retry(port, item, context, action, history)
            return
        self._report(context, action)
        if action is QUARANTINE:
            self._quarantine(port, item, context, history)
        elif action is SKIP:
            self._skip(port, item, context)
        elif action is ESCALATE:
            cell.exit(ExitReason.FAILED, error=context, escalate=True)
        else:
            charged, item.restarted = not item.restarted, True  # restarts while one message is being tried count once
            cell.exit(ExitReason.FAILED, error=context, charged=charged)

    def _note(self, port: Mailbox, context: ErrorContext) -> Envelope:
        """The message in hand, which from now on carries what it has been through."""
        envelope = self.envelope_in_hand(port, context.message_id)
        envelope.attempts += 1
        envelope.failures = (*envelope.failures[-FAILURES_KEPT + 1 :], context)
        if envelope.rows is not None:
            envelope.rows.failed(envelope, context)
        return envelope

    def envelope_in_hand(self, port: Mailbox, name: str | None = None) -> Envelope:
        """The message in hand, with its identity: `name`, or a new one."""
        cell = self._cell
        envelope = cell.message
        if type(envelope) is not Envelope:
            envelope = cell.message = Envelope(cell.kernel.dispatcher, envelope, is_ask=False)
        if envelope.message_id is None:
            envelope.message_id = name or f"{port.path}#{self._new_number(port)}"
        return envelope

    def _new_number(self, port: Mailbox) -> int:
        """What names the message in hand: its number at its port, or a later one, where others were put before it meanwhile."""
        number = port.accepted - port.overflow.spilled - len(port.queue) - self._cell.in_hand_of(port) + 1
        port.named = number = number if number > port.named else port.named + 1
        return number

    def _retry(self, port: Mailbox, envelope: Envelope, context: ErrorContext, action: RecoveryAction, history: list[ErrorContext]) -> None:
        """The message is tried again after a wait: at the head of its port, or, if that is not ordered, beside the others."""
        cell, kernel = self._cell, self._cell.kernel
        if action is THROTTLE:
            cell.gated().slow_down()
        delay = self._delay(context, history)
        if action is RETRY:  # a throttle and a breaker set a pace of their own
            delay = self._put_off(delay)
        kernel.retries += 1
        self._report(context, action, delay)
        context.let_go()
        if not port.settings.ordered:
            cell.port = None
            port.park(envelope, delay)
        elif not cell.closing:  # else it is being stopped: the message stays in hand for whoever comes next
            self.hold_until(kernel.now() + delay)

    def _put_off(self, delay: float) -> float:
        """The wait before a retry, which is longer than `delay` if too much of what the actor does is retries already."""
        now, delivered = self._cell.kernel.now(), self.delivered
        if self._budget is None:
            self._budget, self._counted_at = RetryBudget(), self._cell.began
        # What was delivered since the last count was not counted as it came: some of it may be long ago.
        since = max(now - self._counted_at, self._budget.window)
        self._budget.count_first_try(now, round((delivered - self._counted) * self._budget.window / since))
        self._counted, self._counted_at = delivered, now
        return self._budget.reserve(now, at=now + delay) - now

    @property
    def is_holding(self) -> bool:
        """Whether the actor takes no message only for a while: it goes on by itself."""
        return self._is_held

    def hold_until(self, time: float | None) -> None:
        """The actor takes no message before this time; None: until somebody says `go_on`."""
        self._cell.close()
        self._is_held = True
        if time is not None:
            self._alarm = Alarm(time, self.go_on)
            self._cell.kernel.timers.add(self._alarm)

    def go_on(self) -> None:
        """Whatever it waits for, it waits no more; does nothing if it does not wait."""
        is_held = self._is_held
        self.cancel_retry()
        if is_held:
            self._cell.open()

    def cancel_retry(self) -> None:
        """The retry in hand, if any, is off: the actor is being stopped, or restarted."""
        self._is_held = False
        if self._alarm is not None:
            self._cell.kernel.timers.remove(self._alarm)
            self._alarm = None

    def handled_after_all(self, envelope: Envelope) -> None:
        """A message that had failed before was handled: its failures call for no restart, and it is no dead letter any more."""
        if envelope.letter is not None:
            self._cell.kernel.dead_letters.resolved(envelope.letter)
        for context in self._history or ():
            if context.message_id == envelope.message_id and isinstance(context.metadata, dict):
                context.metadata["recovered"] = True

    @property
    def delivered(self) -> int:
        """How many messages were given to the actor so far, repetitions included."""
        return self._errors + sum(mailbox.processed for mailbox in self._cell.mailboxes.values())

    def _quarantine(self, port: Mailbox, item: Any, context: ErrorContext, history: list[ErrorContext]) -> None:
        reason = self._ask(DeadLetterReason, "reason", context, history)
        self.dead_letter(port, item, reason, context)
        self._cell.port = None
        if reason is POISON and self._ask(bool, "is_poison", context, history):
            if self._poisons is None:
                self._poisons = {}
            self._poisons[context.fingerprint] = None
            if len(self._poisons) > POISONS:
                del self._poisons[next(iter(self._poisons))]
            # It crashed its actor: the instance may be half-changed, so it gets a fresh one, at no charge.
            self._cell.exit(ExitReason.FAILED, error=context, charged=False)
        else:
            context.let_go()

    def _skip(self, port: Mailbox, item: Any, context: ErrorContext) -> None:
        port.skip("log_continue", item)
        self._cell.port = None
        context.let_go()
        if type(item) is Envelope:
            item.fail(f"{port.path} could not answer, its handler failed: {context.summary}", context)
            if item.letter is not None:
                self._cell.kernel.dead_letters.resolved(item.letter)

    def dead_letter(self, port: Mailbox, item: Any, reason: DeadLetterReason, error: ErrorContext | None = None) -> None:
        """Gives a message up: counts it, keeps it as a dead letter, tells its asker. The one way out for a message not handled."""
        port.count_dead_letter(reason)
        envelope = item if type(item) is Envelope else None
        letters = self._cell.kernel.dead_letters
        removes = port.entries_of(item)
        if envelope is None:
            if self._address is None or self._address[0] is not port:
                self._address = (port, port.address)
            letters.put(item, self._address[1], reason, error, int(error is not None), source=port, removes=removes)
        elif envelope.letter is not None:
            letters.put_back(envelope.letter, reason, envelope.failures, envelope.attempts, removes=removes)
        else:
            last = envelope.failures[-1] if envelope.failures else None
            failed = envelope.attempts, envelope.failures[:-1]
            letters.put(envelope.message, port.address, reason, last, *failed, source=port, removes=removes)
        if envelope is not None and envelope.is_ask:
            why = WITHOUT_FAILURE.get(reason, "the actor has ended") if error is None else f"its handler failed: {error.summary}"
            envelope.fail(f"{port.path} will not answer ({reason.value}): {why}", error)

    # Failures without a message

    def port_is_silent(self, port: Mailbox, seconds: float) -> bool:
        """A port has heard nothing for too long. Says whether the actor just goes on."""
        error = trio.TooSlowError(f"{port.path} has heard nothing for {seconds:g} s, its idle_timeout")
        return self._life_failed(self._describe(error, port, None, "idle_timeout"))

    def life_failed(self, where: str, error: Exception) -> bool:
        """`run`, a hook or a background task has raised. Says whether the actor just goes on."""
        return self._life_failed(self._describe(error, None, None, where))

    def _life_failed(self, context: ErrorContext) -> bool:
        action, history = self._decide(context)
        self._report(context, action)
        if action is SKIP:
            return True
        if action is ESCALATE:
            self._cell.exit(ExitReason.FAILED, error=context, escalate=True)
        else:
            self._cell.exit(ExitReason.FAILED, error=context, delay=self._delay(context, history))
        return False

    def actor_is_unwell(self, why: str, *, set_aside: bool) -> None:
        """A rule of the user's about its health wants a fresh instance, or none: see policy/health_rules.py."""
        context = self._describe(ActorUnhealthy(f"{self._cell.path}: {why}"), None, None, "health")
        self._cell.kernel.errors.append(context)
        self._cell.exit(ExitReason.FAILED, error=context, hopeless=set_aside)

    def start_failed(self, error: Exception, where: str) -> tuple[ErrorContext, RecoveryAction, float]:
        """The constructor, `restore` or `on_start` has raised: what happened, what to do, seconds to wait before a new try."""
        context = self._describe(error, None, None, where)
        action, history = self._decide(context)
        self._report(context, action)
        return context, action, self._delay(context, history)

    # What all failures have in common

    def _describe(self, error: Exception, port: Mailbox | None, envelope: Envelope | None, where: str = "") -> ErrorContext:
        cell = self._cell
        now, moment = cell.kernel.moment()
        what = self._ask(Classification, "classify", error)
        trace = trace_of(error)
        code = fingerprint(error, trace=trace)
        seen = count_one(self._kinds, code, now, moment)
        self._errors += 1
        cell.note_failures(int(port is not None and not where))
        is_plain = what.severity is MEDIUM and what.category in NOT_CURABLE and not where and cell.gates is None and self._poisons is None
        message: str | int | None = None if envelope is None else envelope.message_id
        if message is None and port is not None and not where:
            message = self._new_number(port)
        return ErrorContext(
            error_id=self._errors,
            severity=what.severity,
            category=what.category,
            component_name=cell.path,
            port_name=self._port_at_fault(error) if port is None else port.name,
            message_id=message,
            occurrence_count=seen.count,
            first_occurrence=seen.first_occurrence,
            last_occurrence=now,
            first_seen=seen.first_seen,
            last_seen=moment,
            recovery_attempts=0 if envelope is None else envelope.attempts,
            metadata=EMPTY if is_plain else self._metadata(what, code, port, where),
            exception=error,
            fingerprint=code,
            trace=trace,
        )

    def _metadata(self, what: Classification, code: str, port: Mailbox | None, where: str) -> Mapping[str, Any]:
        """What a policy may ask about a failure besides."""
        cell = self._cell
        metadata: dict[str, Any] = {}
        if what.category not in NOT_CURABLE or what.severity is not MEDIUM:
            metadata = {"incarnation": cell.number, "delivered": self.delivered}
        if where:
            metadata["where"] = where
        if port is not None and cell.gates is not None and cell.gates.breaker(port.name) is not None:
            metadata["guarded"] = True
        if self._poisons is not None and code in self._poisons:
            metadata["known_poison"] = True
        return metadata or EMPTY

    def category_of(self, error: Exception) -> ErrorCategory:
        """What kind of failure this exception is."""
        return self._ask(Classification, "classify", error).category

    def _port_at_fault(self, error: Exception) -> str | None:
        """The port that a send without a message in hand failed at: by its name, if it is this actor's."""
        port = error.port if isinstance(error, PortError) else None
        return None if port is None else port.removeprefix(f"{self._cell.path}.")

    def _decide(self, context: ErrorContext) -> tuple[RecoveryAction, list[ErrorContext]]:
        """What to do, and the last failures, this one included."""
        if self._history is None:
            self._history = []
        history = self._history  # itself, since a copy would take as long as the decision
        history.append(context)
        if len(history) > HISTORY:
            del history[0]
        return self._ask(RecoveryAction, "decide", context, history), history

    def _delay(self, context: ErrorContext, history: list[ErrorContext]) -> float:
        return max(0.0, float(self._ask(NUMBER, "delay", context, self._cell.kernel.rng, history)))  # in this order, 0 of NaN as well

    def _ask(self, answer_type: type[T], question: str, *about: Any) -> T:
        """What the policy answers to a question, a method of it.

        Users write policies: when theirs fails, ours answers, so that no message loses its fate.
        """
        try:
            answer = getattr(self.policy, question)(*about)
            if not isinstance(answer, answer_type):
                raise TypeError(f"{type(self.policy).__name__} answered {answer!r}: expected a {answer_type.__name__}")
        except Exception as error:
            self._cell.kernel.events.publish(PolicyFailed(self._cell.path, error))
            return cast("T", getattr(OURS, question)(*about))
        return answer

    def _report(self, context: ErrorContext, action: RecoveryAction, delay: float = 0.0) -> None:
        kernel = self._cell.kernel
        kernel.errors.append(context)
        if kernel.events.hears(HandlerFailed.level):
            kernel.events.publish(HandlerFailed(self._cell.path, context, action, delay))
        if "err_errors" in self._cell.outlets:
            self._cell.outlets["err_errors"].emit(context)
