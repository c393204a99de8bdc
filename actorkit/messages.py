"""What travels beside the user's own messages: exits and notices of them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from actorkit._runtime.ref import ActorRef
    from actorkit.policy.taxonomy import ErrorContext


class ExitReason(Enum):
    """Why one life of an actor or supervisor ended."""

    NORMAL = "normal"
    """Its work was done: `run` returned and its streams ended, or it called `stop()`."""
    SHUTDOWN = "shutdown"
    """Its supervisor, an operator or the end of the system stopped it."""
    FAILED = "failed"
    """It failed, or a supervisor gave up."""
    KILLED = "killed"
    """It did not stop within its shutdown time and was cancelled."""

    @property
    def is_abnormal(self) -> bool:
        """Whether a TRANSIENT child is restarted after it."""
        return self in (ExitReason.FAILED, ExitReason.KILLED)


@frozen
class Exit:
    """One life of an actor or supervisor has ended, or has to: what its supervisor decides on.

    Attributes:
        incarnation: which life it was; an exit of an earlier life than the present one is out of date.
        reason: why.
        error: the failure behind it, if any.
        charged: whether a restart after it counts against the restart budget.
        delay: seconds to wait at least before a restart.
        escalate: whether the supervisor is to fail as well, without a restart.
        drained: whether it ended because its streams did; such an actor is never started again.
        hopeless: whether it is set aside, and not started again: it could neither be restored nor start afresh, or a rule about
            its health says so.
    """

    incarnation: int
    reason: ExitReason
    error: ErrorContext | None = None
    charged: bool = True
    delay: float = 0.0
    escalate: bool = False
    drained: bool = False
    hopeless: bool = False


@frozen
class Down:
    """Tells a watcher that an actor has ended for good, was stopped, or, when asked for, is being restarted.

    Attributes:
        ref: the actor that was watched.
        reason: why it ended.
        error: the failure behind it, if any.
    """

    ref: ActorRef[Any]
    reason: ExitReason
    error: ErrorContext | None = None
