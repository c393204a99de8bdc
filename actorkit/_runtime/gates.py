"""What a message has to pass before it is handled: its port's breaker and throttle, the slow-down of its actor, and an emergency's hold.

An actor that has none of these has no gates. Where there are some, it handles its messages one by one, and each is let
through first: `admit` says whether the next one may be handled now. If not, it stays at the head of its port, and the
actor takes no other, so that order holds; when its time has come, the actor opens again. A batch is let through as one:
a breaker hears of it as of one message, a throttle as of so many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from actorkit.events import CircuitClosed, CircuitOpened
from actorkit.policy.breaker import Breaker, CircuitState, Outcome, Token
from actorkit.policy.taxonomy import ErrorCategory
from actorkit.policy.throttle import ThrottleSettings, TokenBucket

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit.policy.taxonomy import ErrorContext

LEAST_RATE = 1.0
"""Messages a second that a slow-down starts from at least."""
LAG = 0.01
"""Seconds by which a timer may be late: what could have been handled meanwhile is let through at once, so the rate holds."""

SHORTEST = 0.1
"""Seconds that an actor's rate so far is measured over at least."""

_AT_FAULT = (
    ErrorCategory.TRANSIENT,
    ErrorCategory.TIMEOUT,
    ErrorCategory.RESOURCE,
    ErrorCategory.COMMUNICATION,
    ErrorCategory.DEPENDENCY,
)
"""Failures that say something about the other side, and so count for a breaker; bad data and bugs don't."""


@define(eq=False)
class Gate:
    """One port's breaker and throttle."""

    breaker: Breaker | None
    throttle: TokenBucket | None


@define(eq=False)
class Hold:
    """What an emergency holds back of one actor, or of all members of a group together: see emergency.py.

    Attributes:
        ports: whose messages wait. They step aside, so that those of other ports pass.
        probes: how many of these may pass all the same, until there are more.
    """

    ports: frozenset[str] = frozenset()
    probes: int = 0


class Gates:
    """The gates of one actor. They outlive its restarts."""

    __slots__ = ("_awaits_probe", "_breaker", "_cell", "_hold", "_of_ports", "_port", "_processed", "_slow", "_token")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._slow: TokenBucket | None = None
        self._hold: Hold | None = None
        self._awaits_probe = False  # whether the actor is closed for want of one
        self._of_ports: dict[str, Gate] = {}
        self._port: Mailbox | None = None  # of the message that was let through
        self._processed = 0
        self._breaker: Breaker | None = None  # that is to hear what becomes of it
        self._token: Token | None = None
        for name, port in cell.in_ports.items():
            breaker, throttle = port.settings.breaker, port.settings.throttle
            if breaker is not None or throttle is not None:
                self._of_ports[name] = Gate(
                    None if breaker is None else Breaker(breaker.settings),
                    None if throttle is None else TokenBucket(throttle.settings),
                )

    def breaker(self, port: str) -> Breaker | None:
        """The breaker that guards this port."""
        gate = self._of_ports.get(port)
        return None if gate is None else gate.breaker

    def admit(self) -> int:
        """How many messages may be handled now: the next one, or none; then the actor is closed until that one may."""
        arrivals, sole = self._cell.arrivals, self._cell.sole
        while arrivals and sole is None and (arrivals[0].is_paused or self.must_wait(arrivals[0])):
            port = arrivals.popleft()
            if port.is_paused:
                port.queue.popleft()  # sets that entry aside
            else:
                self._cell.set_aside().shelve(port)  # the mail of other ports is not held
        if not arrivals:
            self.heard(Outcome.IGNORED)  # as below
            return 0
        return int(self.admit_from(sole or arrivals[0], 1))

    def admit_from(self, port: Mailbox, messages: int) -> bool:
        """Whether the next message of this port, or a batch of so many, may be handled now; if not, the actor is closed until it may."""
        self.heard(Outcome.IGNORED)  # of a message that was cut short
        self._awaits_probe = self.must_wait(port)
        if self._awaits_probe:
            self._wait_until(None)
            return False
        now = self._cell.kernel.now()
        gate = self._of_ports.get(port.name)
        buckets = [bucket for bucket in (self._slow, gate.throttle if gate is not None else None) if bucket is not None]
        closed_for = 0.0 if gate is None or gate.breaker is None else gate.breaker.retry_after(now)
        opens = None if closed_for is None else max([now + closed_for, *(bucket.ready_at(messages) for bucket in buckets)])
        if opens is None or opens > now:
            self._wait_until(opens)
            return False
        self._cell.go_on()
        if self._hold is not None and port.name in self._hold.ports:
            self._hold.probes -= messages
        for bucket in buckets:
            bucket.take(messages, now)
        if gate is not None and gate.breaker is not None:
            self._token, self._breaker = gate.breaker.acquire(now), gate.breaker
        self._port, self._processed = port, port.processed
        return True

    def _wait_until(self, time: float | None) -> None:
        self._cell.stand_still()
        self._cell.recovery.hold_until(time)

    def hold(self, hold: Hold | None) -> None:
        """Messages of the ports that are held wait from now on, but for the probes; None: none does any more."""
        self._hold = hold
        if self._cell.aside is not None:
            self._cell.aside.unshelve()
        if self._awaits_probe:  # and for nothing else, such as a retry
            self._awaits_probe = False
            self._cell.recovery.go_on()
        self._cell.look_again()
        self._tidy()

    def must_wait(self, port: Mailbox) -> bool:
        """Whether the next message of this port is held."""
        hold = self._hold
        return hold is not None and hold.probes <= 0 and port.name in hold.ports

    @property
    def has_shelved(self) -> bool:
        """Whether messages of held ports have stepped aside, so that those of other ports pass."""
        hold, aside = self._hold, self._cell.aside
        return hold is not None and aside is not None and any(each.name in hold.ports and not each.is_paused for each in aside.shelf)

    def step_done(self) -> None:
        """The message that was let through has been dealt with, unless it is to be tried again."""
        if self._port is not None and self._port.processed > self._processed:
            self.heard(Outcome.SUCCESS)
        if self._slow is not None and self._slow.rate >= self._slow.settings.rate:
            self._slow = None  # back at full speed
            self._tidy()

    def _tidy(self) -> None:
        if not (self._of_ports or self._hold or self._slow):
            self._cell.gates = None

    def heard(self, outcome: Outcome) -> None:
        """What has become of the message that was let through last; only the first word counts."""
        port, breaker = self._port, self._breaker
        if self._token is not None and breaker is not None and port is not None:
            before = breaker.state
            breaker.release(self._token, outcome, self._cell.kernel.now())
            if breaker.state is not before:
                tell(port, breaker)
        self._port = self._breaker = self._token = None

    def heard_failure(self, error: ErrorContext, *, breaks: bool) -> None:
        """The message that was let through last has failed; `breaks`: the policy has the breaker deal with that, whatever it is."""
        if error.exception is not None:
            self.heard_error(error.exception, error.category, breaks=breaks)

    def heard_error(self, error: BaseException, category: ErrorCategory, *, breaks: bool = False) -> None:
        """The same for a batch, whose failure is nobody's yet."""
        if self._breaker is not None:
            counts = breaks or category in _AT_FAULT
            self.heard(self._breaker.settings.outcome(error) if counts else Outcome.IGNORED)

    def slow_down(self) -> None:
        """Something has run out: the actor goes on at half its rate so far, and comes back to it as quiet returns."""
        now = self._cell.kernel.now()
        if self._slow is None:
            rate = max(LEAST_RATE, self._cell.recovery.delivered / max(SHORTEST, now - self._cell.began))
            self._slow = TokenBucket(ThrottleSettings(rate=rate, burst=max(1, round(rate * LAG))))
        self._slow.slow_down(now)

    @property
    def rate(self) -> float | None:
        """Messages a second that a slow-down leaves; None when there is none."""
        return None if self._slow is None else self._slow.rate


def tell(port: Mailbox, breaker: Breaker) -> None:
    """Says that the breaker of a port has opened, or closed."""
    events = port.cell.kernel.events
    if breaker.state is CircuitState.CLOSED:
        events.publish(CircuitClosed(port.path))
    else:
        events.publish(CircuitOpened(port.path, breaker.settings.recovery_timeout if breaker.state is CircuitState.OPEN else None))
