"""Every exception that actorkit raises.

ActorkitError
├── DefinitionError (ValueError)              something declared wrongly, found before anything runs
│   ├── PortDefinitionError                   a port or hook of an actor class
│   ├── SpecError                             a child, a supervisor, an option
│   │   └── SpecTypeError (TypeError)         …with a value of the wrong type, or an unknown option
│   └── WiringError                           a wire
├── PortError                                 a message could not be sent; never accepted
│   ├── MessageTypeError (TypeError)          its port does not take it
│   ├── MailboxFull                           its port has no room, and `send_nowait` does not wait
│   ├── CommitNeeded                          its port is durable, and can't take it without a wait
│   └── PortConnectionError                   its port is in another process, which can't be reached any more
├── ActorNotRunning (RuntimeError)            an actor object used outside a running tree, or after its end
├── StashError (RuntimeError)                 `stash` without a message in hand, or twice
├── AskFailed                                 the asked actor could not answer
├── CallRejected                              a guard made no call
│   ├── CircuitOpenError                      its circuit breaker is open
│   └── BulkheadFull                          its bulkhead is full
├── RetryExhausted                            a call failed, and is not tried again
├── UnknownActor (LookupError)                a path, name or class that the tree does not have, or has twice
├── SupervisionError                          a child could not be started, or a tree gave up
├── LedgerImbalance (AssertionError)          a port's books don't balance: a defect of the runtime
├── EncodingError (TypeError)                 a message that can't be written to a store, a spill file or a link
├── DecodingError (ValueError)                bytes that can't be read back as a message
│   └── StateVersionError                     a state that a newer version of its actor's class has kept
├── CheckpointError                           a checkpoint, or a cut, can't be taken, or not be recovered from
│   └── NoCheckpointError (LookupError)       there is none, or none with this number
├── StorageError (OSError)                    a store's or spilled port's files are in use, damaged, or not ours
│   └── StoreBlocked                          a store can't be written for now: the disk is full, or the file locked
└── ReportedError                             what a handler may raise to say what happened
    ├── TransientError, PermanentError, PoisonMessageError, ResourceError,
    ├── ValidationError, CommunicationError, DependencyError
    └── DeadlockError                         actors that wait for each other
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from actorkit._runtime.run import RunReport
    from actorkit.messages import Exit
    from actorkit.policy.taxonomy import ErrorContext, ErrorSeverity


class ActorkitError(Exception):
    """Base of all of actorkit's exceptions."""


class DefinitionError(ActorkitError, ValueError):
    """Something was declared wrongly; raised before anything runs."""


class PortDefinitionError(DefinitionError):
    """A port or a hook of an actor class is declared wrongly; raised when the class is created."""


class SpecError(DefinitionError):
    """A child or supervisor specification is wrong: a bad value, a duplicate name, the same spec twice."""


class SpecTypeError(SpecError, TypeError):
    """A specification has a value of the wrong type, or an option that does not exist."""


class WiringError(DefinitionError):
    """A wire has an end that is unknown, ambiguous, or of another type than its other end."""


class PortError(ActorkitError):
    """A message could not be sent, and was not accepted. `port` is the path of the port that could not."""

    port: str | None = None

    def at(self, port: str) -> Self:
        """This error, at that port."""
        self.port = port
        return self


class MessageTypeError(PortError, TypeError):
    """A message is not of the type that its port takes. Raised at the sender; nothing was accepted."""


class CommitNeeded(PortError):
    """A durable port was sent to by `send_nowait` or `emit` outside of a step: only what is written to the store is accepted."""


class PortConnectionError(PortError):
    """A port in another process cannot be reached, and was tried often enough."""


class MailboxFull(PortError):
    """A port has no room, and the sender did not want to wait. Nothing was accepted."""


class ActorNotRunning(ActorkitError, RuntimeError):
    """An actor object is used outside a running tree, or after it has ended."""


class StashError(ActorkitError, RuntimeError):
    """There is no message that an actor could stash: it handles none, or has stashed it already."""


class AskFailed(ActorkitError):
    """The actor that was asked will not answer: the request failed for good, or the actor has ended.

    `error` is the `ErrorContext` of the failure, or None when the actor was stopped.
    """

    def __init__(self, message: str, error: ErrorContext | None = None) -> None:
        super().__init__(message)
        self.error = error


class CallRejected(ActorkitError):
    """A guard refused a call: it was not made.

    Args:
        message: which guard, and why.
        retry_after: seconds to wait at least before another try, or None when nobody can tell.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CircuitOpenError(CallRejected):
    """A circuit breaker refused a call, since too many have failed or a person has isolated it."""


class BulkheadFull(CallRejected):
    """A bulkhead refused a call: as many as may be are inside, and as many as may wait do."""


class RetryExhausted(ActorkitError):
    """A call failed, and is not tried again: it had all its tries, or its time is up.

    Its `__cause__` is the last try's exception, with its own traceback. `attempts` says how often it was tried.
    """

    def __init__(self, message: str = "", *, attempts: int = 0) -> None:
        super().__init__(message)
        self.attempts = attempts

    @property
    def last_error(self) -> BaseException | None:
        """The last try's exception: the `__cause__`."""
        return self.__cause__


class UnknownActor(ActorkitError, LookupError):
    """No actor, supervisor or child has this path, name or class, or more than one has it. Its text lists the candidates."""


class SupervisionError(ActorkitError):
    """A child could not be started, or a supervisor gave up and nobody was left to recover it.

    Its `__cause__` is the exception behind it, with its own traceback. `exit` is how the child that could not be started,
    or the tree, ended, if there was one; `report` is the `RunReport` of the run that it ended, or None.
    """

    def __init__(self, message: str, exit: Exit | None = None) -> None:
        super().__init__(message)
        self.exit = exit
        self.report: RunReport | None = None

    @property
    def error(self) -> ErrorContext | None:
        """The failure behind it, if any."""
        return None if self.exit is None else self.exit.error


class LedgerImbalance(ActorkitError, AssertionError):
    """The books of a port do not balance. This is a defect of the runtime; its text names the port and the numbers."""


class EncodingError(ActorkitError, TypeError):
    """A message cannot be written to a store, a spill file or a link. Its text names the class, the field and the way out."""


class DecodingError(ActorkitError, ValueError):
    """Bytes cannot be read back as a message: damaged, from a newer program, too large, or of a class that is not expected here."""


class StateVersionError(DecodingError):
    """An actor's kept state was made by a newer version of its class: see `state_version`."""


class ActorUnhealthy(ActorkitError):
    """An actor did badly for so long that a `HealthRule` had it restarted, or set aside. Its text says why."""


class CheckpointError(ActorkitError):
    """A checkpoint or a cut can't be taken, or an actor not be recovered from it. Its text names the actor, and the way out."""


class NoCheckpointError(CheckpointError, LookupError):
    """An actor has no checkpoint, or none with this number, or none that it could be restored from."""


class StorageError(ActorkitError, OSError):
    """A store, or the files of a spilled port, cannot be used: somebody else has them open, they are damaged, or not ours."""


class StoreBlocked(StorageError):
    """A store can't be written for now: its disk is full, or somebody locks its file. Whoever writes waits until it can be."""


class ReportedError(ActorkitError):
    """Base of what a handler may raise to say what kind of failure this is; a subclass per category.

    Args:
        message: what happened.
        retry_after: seconds to wait at least before a retry, as the failing service asked for.
        severity: how bad it is; None leaves it to the classifier (MEDIUM; HIGH for `ResourceError`).
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None, severity: ErrorSeverity | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.severity = severity


class TransientError(ReportedError):
    """It is likely to work when tried again."""


class PermanentError(ReportedError):
    """It will not work, however often it is tried."""


class PoisonMessageError(ReportedError):
    """The message itself does harm."""


class ResourceError(ReportedError):
    """Memory, disk, file handles or the like have run out."""


class ValidationError(ReportedError):
    """The message's data is invalid."""


class CommunicationError(ReportedError):
    """A connection failed."""


class DependencyError(ReportedError):
    """A service that this actor needs failed."""


class DeadlockError(ReportedError):
    """Waiting here would never end. Its text has the whole path of who waits for whom."""
