"""What happened: one frozen class per fact, published on the system's event stream.

Each class says at which level it is logged (`level`, the numbers of the `logging` module); its `str` is the log line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from actorkit._runtime.letters import DeadLetter
    from actorkit.messages import ExitReason
    from actorkit.policy.cascade import CascadePhase
    from actorkit.policy.health import HealthStatus
    from actorkit.policy.health_rules import HealthAction
    from actorkit.policy.rules import RecoveryAction
    from actorkit.policy.taxonomy import ErrorContext

DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50


MOST_NAMED: Final = 20
"""Components that a text names; the rest is counted."""


def named(paths: Sequence[str]) -> str:
    """These components, for people: the first ones by name."""
    more = len(paths) - MOST_NAMED
    return f"{', '.join(paths[:MOST_NAMED])}{f' and {more:,} more' if more > 0 else ''}"


@frozen
class Event:
    """Base of all events. `path` names the actor, supervisor or port that it is about."""

    level: ClassVar[int] = DEBUG
    path: str

    @property
    def exception(self) -> BaseException | None:
        """The exception whose traceback belongs to the log line, if any."""
        return None


@frozen
class ActorStarted(Event):
    """An actor is up; `incarnation` counts its lives from 1."""

    incarnation: int

    def __str__(self) -> str:
        return f"{self.path} started (incarnation {self.incarnation})"


@frozen
class ActorStopped(Event):
    """A life of an actor has ended, orderly or not."""

    incarnation: int
    reason: ExitReason

    def __str__(self) -> str:
        return f"{self.path} stopped: {self.reason.value} (incarnation {self.incarnation})"


@frozen
class ActorDrained(Event):
    """An actor's streams have ended, and `on_drained` has run."""

    def __str__(self) -> str:
        return f"{self.path} drained: its streams have ended"


@frozen
class HandlerFailed(Event):
    """A handler, `run`, a hook or a background task raised; `action` is what the recovery policy decided."""

    error: ErrorContext
    action: RecoveryAction
    delay: float = 0.0

    @property
    def exception(self) -> BaseException | None:
        return self.error.exception

    def __str__(self) -> str:
        return f"{self.path} failed, so {self.action.value}: {self.error}"


@frozen
class ChildExited(Event):
    """A supervisor learned that a child ended abnormally, or is to be restarted; `restarts` counts the child's restarts."""

    level: ClassVar[int] = WARNING
    supervisor: str
    reason: ExitReason
    restarts: int
    restarting: bool
    delay: float = 0.0
    error: ErrorContext | None = None

    @property
    def exception(self) -> BaseException | None:
        error = self.error
        if error is None or error.component_name != self.path or error.metadata.get("where") == "start":
            return None  # one failure, one traceback: a supervisor hands on its child's, and a start has `StartFailed`
        return error.exception

    def __str__(self) -> str:
        then = f"restart {self.restarts}" + (f" in {self.delay:g} s" if self.delay else "") if self.restarting else "not restarted"
        why = f": {self.error.summary}" if self.error is not None else ""
        return f"{self.supervisor}: child {self.path} ended ({self.reason.value}), {then}{why}"


@frozen
class ChildQuarantined(Event):
    """A child has used up its restarts and was set aside, with its mailboxes; `Supervisor.release` brings it back."""

    level: ClassVar[int] = ERROR
    supervisor: str
    error: ErrorContext | None = None

    def __str__(self) -> str:
        why = "" if self.error is None else f": {self.error.summary}"
        return f"{self.path} was set aside by {self.supervisor}, its restarts are used up{why}"


@frozen
class StartFailed(Event):
    """A child could not be started: its constructor, `restore` or `on_start` raised, or took too long."""

    level: ClassVar[int] = ERROR
    error: ErrorContext

    @property
    def exception(self) -> BaseException | None:
        return self.error.exception

    def __str__(self) -> str:
        return f"{self.path} could not be started: {self.error.summary}"


@frozen
class SupervisorStarted(Event):
    """A supervisor and all of its children are up."""

    def __str__(self) -> str:
        return f"{self.path} started"


@frozen
class SupervisorStopped(Event):
    """A supervisor has stopped all of its children."""

    reason: ExitReason

    def __str__(self) -> str:
        return f"{self.path} stopped: {self.reason.value}"


@frozen
class SupervisorGaveUp(Event):
    """A supervisor has used up its restarts, or a failure was escalated: it stops, and fails itself."""

    level: ClassVar[int] = ERROR
    why: str
    error: ErrorContext | None = None

    def __str__(self) -> str:
        return f"{self.path} gave up: {self.why}"


@frozen
class MessageDeadLettered(Event):
    """A message was given up and put into the dead letters."""

    letter: DeadLetter

    def __str__(self) -> str:
        return f"{self.path}: message dead-lettered ({self.letter.reason.value})"


@frozen
class DeadLettersEvicted(Event):
    """The dead-letter queue is full: its oldest entries are being removed."""

    level: ClassVar[int] = CRITICAL
    evicted: int
    max_size: int

    def __str__(self) -> str:
        return f"the dead-letter queue is full ({self.max_size}): {self.evicted} of the oldest have been removed"


@frozen
class DeadLettersDiscarded(Event):
    """Somebody removed dead letters; `reason` is theirs."""

    level: ClassVar[int] = INFO
    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.count} dead letters have been discarded: {self.reason}"


@frozen
class DeadLettersNearlyFull(Event):
    """The dead letters have reached 80 % of what the queue keeps."""

    level: ClassVar[int] = CRITICAL
    count: int
    max_size: int

    def __str__(self) -> str:
        return f"{self.count:,} dead letters of {self.max_size:,} that are kept: look at them, and reprocess or discard some"


@frozen
class MessagesDropped(Event):
    """A full port has dropped its oldest messages; published at the 1st, 2nd, 4th, 8th, … one."""

    level: ClassVar[int] = WARNING
    count: int

    def __str__(self) -> str:
        return f"{self.path} was full: {self.count:,} of its oldest messages have been dropped so far"


@frozen
class SpillFailed(Event):
    """A full port could not write to disk, or read from it: its senders wait for room. (A message that can't be encoded: once a class.)"""

    level: ClassVar[int] = CRITICAL
    error: Exception

    def __str__(self) -> str:
        return f"{self.path} can't use its files on disk, so its senders wait for room: {self.error}"


@frozen
class SpillRepaired(Event):
    """The files that an earlier process left behind were damaged, and have been mended; so many messages could not be saved."""

    level: ClassVar[int] = ERROR
    lost: int
    found: str

    def __str__(self) -> str:
        return f"{self.path}: its files on disk were damaged and have been mended, {self.lost:,} messages are lost: {self.found}"


@frozen
class StoreStuck(Event):
    """The store can't be written for now; senders to durable ports wait, what is there is worked off, and it is tried again."""

    level: ClassVar[int] = CRITICAL
    error: Exception

    def __str__(self) -> str:
        return f"{self.path} can't be written for now, so whoever sends to a durable port waits: {self.error}"


@frozen
class StoreRecovered(Event):
    """The store can be written again."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return f"{self.path} can be written again"


@frozen
class StoreUnwritten(Event):
    """The system has ended before its store could be written again: so many changes were not kept, and never reported as kept."""

    level: ClassVar[int] = CRITICAL
    changes: int

    def __str__(self) -> str:
        return f"{self.path} could not be written until the end: {self.changes:,} changes were not kept"


@frozen
class StoreRepaired(Event):
    """The store was found damaged when it was opened, and was set right."""

    level: ClassVar[int] = ERROR
    found: str

    def __str__(self) -> str:
        return f"{self.path} was damaged, and has been set right: {self.found}"


@frozen
class MessagesUnclaimed(Event):
    """The store has so many messages for a port that the tree does not have. They stay there, until a tree has it."""

    level: ClassVar[int] = WARNING
    messages: int

    def __str__(self) -> str:
        return f"{self.path} is not in this tree, and the store has {self.messages:,} messages for it, which stay there"


@frozen
class StateNotKept(Event):
    """An actor's state can't be written to the store; it lasts as long as the system. Reported once for each kind of state."""

    level: ClassVar[int] = ERROR
    error: Exception

    def __str__(self) -> str:
        return f"{self.path} has a state that can't be written to the store, so it lasts as long as the system: {self.error}"


@frozen
class ReminderLost(Event):
    """A reminder can't be delivered. Its entry stays in the store, for a program that can, until its actor replaces or cancels it."""

    level: ClassVar[int] = ERROR
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is not reminded of {self.name!r}: {self.reason}"


@frozen
class CircuitOpened(Event):
    """A port's breaker holds its messages: too many have failed, or somebody said so; then `retry_after` is None."""

    level: ClassVar[int] = WARNING
    retry_after: float | None

    def __str__(self) -> str:
        how_long = "until somebody resets it" if self.retry_after is None else f"{self.retry_after:g} s, then it tries one"
        return f"{self.path}: its breaker is open, so messages wait: {how_long}"


@frozen
class CircuitClosed(Event):
    """A port's breaker lets messages through again."""

    level: ClassVar[int] = INFO

    def __str__(self) -> str:
        return f"{self.path}: its breaker is closed again, what waits is handled"


@frozen
class HandlerBlocks(Event):
    """A handler has held the thread for so long that nobody else had a turn; `stack` says where it is."""

    level: ClassVar[int] = WARNING
    seconds: float
    message: str
    stack: str

    def __str__(self) -> str:
        return (
            f"{self.path} has blocked everybody for {self.seconds:g} s with {self.message}; await in it, or run it with thread=True\n"
            f"{self.stack}"
        )


@frozen
class MessageSkipped(Event):
    """A message was counted as skipped: its failure was logged and passed over, or its asker had gone."""

    reason: str

    def __str__(self) -> str:
        return f"{self.path}: message skipped ({self.reason})"


@frozen
class OutPortUnwired(Event):
    """An out-port without a wire discarded what was sent; reported once per port."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return f"{self.path} has no wire: what is sent there is discarded (and counted)"


@frozen
class TopicUnheard(Event):
    """A topic without subscribers discarded what was published; reported once per topic. `path` is its name."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return f"topic {self.path!r} has no subscriber: what is published there is discarded (and counted)"


@frozen
class CleanupFailed(Event):
    """Code of a life that was already ending raised: `on_stop`, a cancelled handler's cleanup, `snapshot`. It changes nothing else."""

    level: ClassVar[int] = ERROR
    where: str
    error: BaseException

    @property
    def exception(self) -> BaseException | None:
        return self.error

    def __str__(self) -> str:
        return f"{self.path}: {self.where} raised while the actor was ending: {type(self.error).__name__}"


@frozen
class PolicyFailed(Event):
    """A recovery policy raised, or answered what is no answer; the default policy decided instead."""

    level: ClassVar[int] = ERROR
    error: BaseException

    @property
    def exception(self) -> BaseException | None:
        return self.error

    def __str__(self) -> str:
        return f"{self.path}: its recovery policy failed, so the default one decided: {type(self.error).__name__}"


@frozen
class ActorUnresponsive(Event):
    """An actor was cancelled and still does not end: it shields itself, or swallows `Cancelled`. It was left behind, fenced off."""

    level: ClassVar[int] = ERROR
    incarnation: int
    waited: float

    def __str__(self) -> str:
        return f"{self.path} does not end, {self.waited:g} s after it was cancelled (incarnation {self.incarnation}); it was fenced off"


@frozen
class SourceRestarted(Event):
    """A source without `snapshot` was restarted and starts from the beginning."""

    level: ClassVar[int] = WARNING

    def __str__(self) -> str:
        return f"{self.path} has no snapshot(): its run() starts from the beginning; define snapshot and restore to resume"


@frozen
class ShutdownRequested(Event):
    """A signal asked the run to end."""

    level: ClassVar[int] = INFO
    signal: str

    def __str__(self) -> str:
        return f"{self.signal}: shutting down in order (again: at once)"


@frozen
class DeadlockFound(Event):
    """Actors or tasks waited for each other; `circle` says who waits for whom, beginning with the wait that was broken off."""

    level: ClassVar[int] = WARNING
    circle: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path} would have waited for ever: {' → '.join(self.circle)}"


@frozen
class CheckpointTaken(Event):
    """A checkpoint of an actor's state was kept; `size` is in bytes."""

    checkpoint_id: int
    size: int

    def __str__(self) -> str:
        return f"{self.path}: checkpoint {self.checkpoint_id} taken ({self.size:,} bytes)"


@frozen
class CheckpointFailed(Event):
    """A checkpoint could not be taken: `snapshot` raised, or returned what can't be kept. The actor goes on."""

    level: ClassVar[int] = ERROR
    error: BaseException

    @property
    def exception(self) -> BaseException | None:
        return self.error

    def __str__(self) -> str:
        return f"{self.path}: no checkpoint could be taken: {type(self.error).__name__}: {self.error}"


@frozen
class StateRestored(Event):
    """A new life of an actor has taken over a state that was kept: `source` says which, such as "checkpoint 7"."""

    level: ClassVar[int] = INFO
    source: str
    incarnation: int

    def __str__(self) -> str:
        return f"{self.path} restored from {self.source} (incarnation {self.incarnation})"


@frozen
class StateNotRestored(Event):
    """A state that was kept can't be read, or `restore` raised; the one before it is tried next, and at last a fresh start."""

    level: ClassVar[int] = ERROR
    source: str
    error: BaseException

    @property
    def exception(self) -> BaseException | None:
        return self.error

    def __str__(self) -> str:
        return f"{self.path} could not be restored from {self.source}: {type(self.error).__name__}: {self.error}"


@frozen
class RecoveryStep(Event):
    """One step of a recovery that somebody asked for: "paused", "resumed from checkpoint 7", "resumed afresh", "not resumed"."""

    level: ClassVar[int] = INFO
    step: str

    def __str__(self) -> str:
        return f"{self.path} {self.step}"


@frozen
class CutTaken(Event):
    """A consistent cut of the whole system was kept."""

    level: ClassVar[int] = INFO
    cut_id: int
    actors: int
    messages: int

    def __str__(self) -> str:
        return f"{self.path}: cut {self.cut_id} taken, of {self.actors} actors with {self.messages} messages"


@frozen
class CutFailed(Event):
    """A cut could not be taken, as `why` says; nothing was changed, and the cuts before it stay."""

    level: ClassVar[int] = ERROR
    why: str

    def __str__(self) -> str:
        return f"{self.path}: no cut could be taken: {self.why}"


@frozen
class CutRecovered(Event):
    """All actors were put back to a cut; `dropped` messages that were queued before that are gone."""

    level: ClassVar[int] = WARNING
    cut_id: int
    messages: int
    dropped: int

    def __str__(self) -> str:
        return f"{self.path}: put back to cut {self.cut_id}, with {self.messages} messages; {self.dropped} that were queued are gone"


@frozen
class HealthChanged(Event):
    """A component does better, or worse, than it did at the last poll; `reasons` say why."""

    level: ClassVar[int] = INFO
    before: HealthStatus
    after: HealthStatus
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.path} is {self.after.value} (it was {self.before.value}){why}"


@frozen
class HealthCheckFailed(Event):
    """An actor's `health()` has raised; it counts as UNHEALTHY."""

    level: ClassVar[int] = WARNING
    error: Exception

    @property
    def exception(self) -> BaseException:
        return self.error

    def __str__(self) -> str:
        return f"{self.path}: its health() failed: {type(self.error).__name__}: {self.error}"


@frozen
class HealthRuleApplied(Event):
    """An actor has done badly for so long that a `HealthRule` of its recovery policy was due; `action` says what is done."""

    level: ClassVar[int] = WARNING
    action: HealthAction
    status: HealthStatus
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path} is {self.status.value}: {'; '.join(self.reasons)}; its health rules say {self.action.value}"


@frozen
class EmergencyBegan(Event):
    """So much fails that the whole system slows down: the one alert of it.

    `trigger` is "too_many", "spreading" or "operator". `causes` are unhealthy components that need no other unhealthy one,
    `reached` those that need them. `reasons` say of the first unhealthy components why they are. `relapses` counts this one, if
    another has ended but minutes ago.
    """

    level: ClassVar[int] = CRITICAL
    trigger: str
    unhealthy: int
    eligible: int
    relapses: int
    causes: tuple[str, ...]
    reached: tuple[str, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        again = f" (relapse {self.relapses})" if self.relapses else ""
        lines = [
            f"emergency: {_why(self.trigger, self.unhealthy, self.eligible)}{again}; likely cause: {named(self.causes) or 'unknown'}",
            "sources are slowed down, mail for unhealthy components waits, nothing is dropped",
        ]
        if self.reached:
            lines.append(f"those that need the cause: {named(self.reached)}")
        return "\n".join([*lines, *self.reasons])


def _why(trigger: str, unhealthy: int, eligible: int) -> str:
    how_many = f"{unhealthy} of {eligible} components are unhealthy"
    return {"spreading": f"failure spreads, {how_many}", "operator": f"an operator has asked for it, {how_many}"}.get(trigger, how_many)


@frozen
class EmergencyRelapsed(Event):
    """Recovery began too early: the emergency goes on, and has to be calm for so long now."""

    level: ClassVar[int] = ERROR
    trigger: str
    step: int
    unhealthy: int
    eligible: int
    relapses: int
    stabilisation: float

    def __str__(self) -> str:
        why = _why(self.trigger, self.unhealthy, self.eligible)
        return f"emergency again: {why} (relapse {self.relapses}); it has to be calm for {self.stabilisation:g} s before sources speed up"


@frozen
class RecoveryStepped(Event):
    """Sources go on at this share of their own rate; steps count from 0, with which mail that waited is handled again."""

    level: ClassVar[int] = WARNING
    step: int
    rate: float

    def __str__(self) -> str:
        mail = "" if self.step else ", mail that waited is handled"
        return f"recovering: sources at {self.rate:.0%} of their own rate{mail}"


@frozen
class EmergencyEscalated(Event):
    """An emergency, or a step of the recovery, has lasted for so long: a person should look."""

    level: ClassVar[int] = CRITICAL
    phase: CascadePhase
    lasted: float
    unhealthy: int
    eligible: int

    def __str__(self) -> str:
        how_many = f"{self.unhealthy} of {self.eligible} components are unhealthy"
        return f"{self.phase.value} for {self.lasted:.0f} s without getting any further, {how_many}: a person should look"


@frozen
class IncidentReport:
    """An emergency, from its beginning to its end.

    Attributes:
        began_at: UTC.
        outcome: how it ended, for people: "back to normal", "ended by an operator" or "the system was stopped".
        lasted: seconds.
        relapses: how often recovery began too early.
        causes: the likely ones.
        reached: components that need those.
        timeline: what happened, with the seconds since it began; 1,000 entries at most.
        left_out: how many more entries there were, in the middle.
        most_held: messages that waited for unhealthy components, at most.
        lost: messages that were dropped meanwhile, by ports that were declared to do so.
        dead_lettered: messages that were given up meanwhile, and are kept.
    """

    began_at: datetime
    outcome: str
    lasted: float
    relapses: int
    causes: tuple[str, ...]
    reached: tuple[str, ...]
    timeline: tuple[tuple[float, str], ...]
    most_held: int
    lost: int
    dead_lettered: int = 0
    left_out: int = 0

    def __str__(self) -> str:
        began = f"{self.began_at:%Y-%m-%d %H:%M:%S} UTC"
        relapses = "no relapse" if not self.relapses else "1 relapse" if self.relapses == 1 else f"{self.relapses} relapses"
        head = [
            f"began       {began}, lasted {self.lasted:.0f} s, {relapses}",
            f"cause       {named(self.causes) or 'unknown'}",
            f"reached     {named(self.reached) or 'nobody else'}",
            f"messages    {self.most_held:,} held at most, {self.dead_lettered:,} dead-lettered, {self.lost:,} lost",
        ]
        lines = [f"{seconds:8.1f} s  {what}" for seconds, what in self.timeline]
        if self.left_out:
            lines.insert(len(lines) // 2, f"            ... {self.left_out:,} more ...")
        return "\n".join([*head, *lines])


@frozen
class EmergencyEnded(Event):
    """The system is back at its own rate, or has been stopped; `report` has the whole story."""

    level: ClassVar[int] = WARNING
    report: IncidentReport

    def __str__(self) -> str:
        return f"the emergency is over: {self.report.outcome}\n{self.report}"


@frozen
class CascadeWatchFailed(Event):
    """The watch of the cascade manager has a defect: it begins anew, and ends nothing."""

    level: ClassVar[int] = CRITICAL
    error: Exception

    @property
    def exception(self) -> BaseException:
        return self.error

    def __str__(self) -> str:
        return f"the cascade manager's watch failed, and begins anew: {type(self.error).__name__}: {self.error}"
