"""The options of in-ports, checked when they are given."""

from __future__ import annotations

from attrs import frozen

from actorkit._runtime.guards import CircuitBreaker, Throttle
from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.checks import check_choice, check_count, check_flag, check_seconds, check_type, complaint
from actorkit.policy.overflow import OverflowStrategy

DEFAULT_CAPACITY = 1024


@frozen(kw_only=True)
class PortSettings:
    """The options of an in-port: see `in_port`."""

    capacity: int = DEFAULT_CAPACITY
    overflow: OverflowStrategy = OverflowStrategy.BLOCK
    block_timeout: float | None = None
    priority: int = 0
    deadline: float | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    ordered: bool = True
    breaker: CircuitBreaker | None = None
    throttle: Throttle | None = None
    durable: bool = False
    commit_every: tuple[int, float] | None = None
    dedupe_window: int = 100_000
    thread: bool = False

    @property
    def batch(self) -> BatchSettings | None:
        """How its messages are put together, if it is a batch port."""
        return None

    @property
    def is_eager(self) -> bool:
        """Whether the port does something before its first message comes."""
        return self.idle_timeout is not None or self.durable or self.overflow is OverflowStrategy.SPILL_TO_DISK

    @property
    def is_attentive(self) -> bool:
        """Whether its queue has to look at each message."""
        return self.idle_timeout is not None or self.deadline is not None

    @property
    def is_guarded(self) -> bool:
        """Whether its messages have to pass something."""
        return self.breaker is not None or self.throttle is not None

    def __attrs_post_init__(self) -> None:
        check_count("in_port", "capacity", self.capacity, 1)
        check_choice("in_port", "overflow", self.overflow, OverflowStrategy)
        for name in ("block_timeout", "deadline", "timeout", "idle_timeout"):
            if getattr(self, name) is not None:
                check_seconds("in_port", name, getattr(self, name), positive=True)
        if self.block_timeout is not None and self.overflow is not OverflowStrategy.BLOCK:
            expected = f"no time for a port that never waits; this one is {self.overflow.name}"
            raise SpecError(complaint("in_port", "block_timeout", self.block_timeout, expected))
        if self.deadline is not None and self.overflow is OverflowStrategy.SPILL_TO_DISK:
            expected = "no deadline for a port that spills: on disk, nobody sees that a message grows old"
            raise SpecError(complaint("in_port", "deadline", self.deadline, expected))
        if isinstance(self.priority, bool) or not isinstance(self.priority, int):
            raise SpecTypeError(complaint("in_port", "priority", self.priority, "a whole number; a higher one is served first"))
        check_flag("in_port", "ordered", self.ordered)
        check_flag("in_port", "thread", self.thread)
        self._check_durability()
        if self.breaker is not None:
            check_type("in_port", "breaker", self.breaker, CircuitBreaker, "a CircuitBreaker(…)")
        if self.throttle is not None:
            check_type("in_port", "throttle", self.throttle, Throttle, "a Throttle(rate=…)")

    def _check_durability(self) -> None:
        check_flag("in_port", "durable", self.durable)
        check_count("in_port", "dedupe_window", self.dedupe_window, 1)
        if self.durable and self.overflow is not OverflowStrategy.BLOCK:
            expected = "BLOCK for a durable port: it keeps what it has accepted, and all it has is on disk already"
            raise SpecError(complaint("in_port", "overflow", self.overflow, expected))
        if self.commit_every is None:
            return
        if not isinstance(self.commit_every, tuple) or len(self.commit_every) != 2:
            raise SpecTypeError(complaint("in_port", "commit_every", self.commit_every, "(messages, seconds)"))
        check_count("in_port", "commit_every: messages", self.commit_every[0], 1)
        check_seconds("in_port", "commit_every: seconds", self.commit_every[1])
        if not self.durable:
            raise SpecError(complaint("in_port", "commit_every", self.commit_every, "none for a port that is not durable"))


@frozen(kw_only=True)
class BatchSettings(PortSettings):
    """The options of a batch port: see `in_batch`."""

    size: int = 100
    wait: float = 0.1

    @property
    def batch(self) -> BatchSettings:
        """These."""
        return self

    @property
    def is_attentive(self) -> bool:
        """It is: a batch waits since its first message came."""
        return True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        check_count("in_batch", "size", self.size, 1)
        check_seconds("in_batch", "wait", self.wait)
        if self.size > self.capacity:
            raise SpecError(complaint("in_batch", "size", self.size, f"at most the capacity, which is {self.capacity}"))
        if self.overflow is OverflowStrategy.DROP_OLDEST:
            raise SpecError(complaint("in_batch", "overflow", self.overflow, "another strategy; the oldest are in a batch already"))
