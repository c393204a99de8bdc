"""Addresses: what others hold of an actor. They stay valid across its restarts."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from actorkit._runtime.gates import tell
from actorkit._runtime.ports import InPort
from actorkit._runtime.reply_streams import ReplyStream, Rows
from actorkit._runtime.states import CLOSED
from actorkit._runtime.waits import Envelope, handling
from actorkit.errors import ActorkitError, DeadlockError, MessageTypeError, UnknownActor
from actorkit.policy.checks import check_seconds

if TYPE_CHECKING:
    from actorkit._runtime.actor import Actor
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort
    from actorkit.policy.breaker import Breaker, CircuitState

A_co = TypeVar("A_co", bound="Actor", covariant=True)
M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

ASK_TIMEOUT = 5.0
"""Seconds that an ask waits by default; as in Erlang's gen_server:call."""


class ActorRef(Generic[A_co]):
    """The address of an actor: send to it, ask it, pass it on. Hashable; two are equal if they address the same actor."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    @property
    def path(self) -> str:
        """Where the actor stands in the tree: `"root/flights/parser"`."""
        return self.cell.path

    @property
    def is_alive(self) -> bool:
        """Whether what is sent to it may be handled: it has neither ended nor been stopped. (While it restarts, it is alive.)"""
        return not self.cell.refuses

    def send(self, port: InPort[A_co, M, Any], message: M, *, key: str | None = None) -> Awaitable[None]:
        """Sends `message` to one of the actor's ports; waits while that port is full. Await it.

        To an actor that was stopped or has ended, the message becomes a dead letter. A durable port has it in the store when
        this returns.

        Args:
            port: one of the actor's ports.
            message: the message.
            key: names what is not to arrive twice, `"order-17"`: a durable port that has accepted a message with this key lately
                (see `dedupe_window`) takes no other.

        Raises:
            MessageTypeError: the port is another actor's, or does not take this message; nothing was accepted.
            EncodingError: the port is durable, and the message can't be written to a store; nothing was accepted.
            SpecError: there is a key, and the port is not durable.
        """
        mailbox = self.cell.resolved.get(port) or self.resolve(port)
        return mailbox.send(message) if key is None else mailbox.send_with_key(message, key)

    def send_nowait(self, port: InPort[A_co, M, Any], message: M) -> None:
        """As `send`, but raises instead of waiting.

        Raises:
            MailboxFull: the port has no room; nothing was accepted.
            MessageTypeError: the port is another actor's, or does not take this message; nothing was accepted.
        """
        (self.cell.resolved.get(port) or self.resolve(port)).send_nowait(message)

    def ask(self, port: InPort[A_co, M, R], message: M, *, timeout: float | None = ASK_TIMEOUT) -> Awaitable[R]:
        """Sends a request and waits for its answer: what the handler returns. Await it.

        An ask made while handling another ask ends with that one's deadline at the latest.

        Args:
            port: one of the actor's ports.
            message: the request.
            timeout: seconds; None waits for ever.

        Raises:
            AskFailed: the request was given up, or the actor has ended; `.error` says why, if a failure was behind it.
            trio.TooSlowError: there was no answer in time. A request not yet handled by then never is.
            ValueError: `timeout` is negative (a wrong type: TypeError).
            DeadlockError: the answer would never come: an actor asks itself while it handles a message, or who is asked
                waits, in the end, for the one who asks.
            MessageTypeError: the port is another actor's, or does not take this message; nothing was accepted.
        """
        return ask(self.cell.resolved.get(port) or self.resolve(port), message, timeout)

    def stream(self, port: InPort[A_co, M, AsyncIterator[R]], message: M, *, timeout: float | None = ASK_TIMEOUT) -> ReplyStream[R]:
        """Sends a request whose answer is a stream of rows: `async for row in ref.stream(Cls.in_query, query): …`.

        The handler is an async generator. It is a few rows ahead at most, and is closed when the loop is left early.

        Args:
            port: one of the actor's ports.
            message: the request.
            timeout: seconds to wait for each row; None waits for ever.

        Raises:
            AskFailed: while rows are read: the request was given up, or the actor failed or ended in the middle; `.error` says why, if
                a failure was behind it. The rows that were ready come first.
            trio.TooSlowError: while rows are read: the next one did not come in time.
            DeadlockError: while rows are read: the actor waits, in the end, for the one who reads.
            ValueError: `timeout` is negative (a wrong type: TypeError).
            MessageTypeError: the port is another actor's, does not take this message, or does not stream; nothing was accepted.
        """
        return stream(self.cell.resolved.get(port) or self.resolve(port), message, timeout)

    def port(self, port: InPort[A_co, M, R]) -> PortRef[M, R]:
        """The address of one of its ports.

        Raises:
            MessageTypeError: the port is another actor's.
        """
        return PortRef(self.resolve(port))

    def resolve(self, port: InPort[Any, Any, Any]) -> Mailbox:
        """The mailbox of this actor's port."""
        cell = self.cell
        own = cell.in_ports.get(port.name) if isinstance(port, InPort) else None
        if own is None or (own.function is not port.function and not issubclass(cell.actor_class, port.owner)):
            actor, ports = cell.actor_class.__qualname__, ", ".join(cell.in_ports) or "none"
            given = str(port) if isinstance(port, InPort) else f"{port!r}, as a port is named by its class: {actor}.in_x"
            raise MessageTypeError(f"{cell.path} is a {actor} and has no port {given}; its in-ports are: {ports}")
        mailbox = cell.mailbox(port.name)
        if port.spec is None:  # spec[Class.in_x] makes a new object each time
            cell.resolved = {**cell.resolved, port: mailbox}
        return mailbox

    def __eq__(self, other: object) -> bool:
        return self.cell is other.cell if isinstance(other, ActorRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.cell)

    def __repr__(self) -> str:
        return f"<ActorRef {self.path}>"


class PortRef(Generic[M_contra, R_co]):
    """The address of one port of an actor."""

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    @property
    def path(self) -> str:
        """`"root/flights/parser.in_row"`."""
        return self._mailbox.path

    def send(self, message: M_contra, *, key: str | None = None) -> Awaitable[None]:
        """As `ActorRef.send`."""
        return self._mailbox.send(message) if key is None else self._mailbox.send_with_key(message, key)

    def send_nowait(self, message: M_contra) -> None:
        """As `ActorRef.send_nowait`."""
        self._mailbox.send_nowait(message)

    def ask(self, message: M_contra, *, timeout: float | None = ASK_TIMEOUT) -> Awaitable[R_co]:
        """As `ActorRef.ask`."""
        return ask(self._mailbox, message, timeout)

    def stream(self: PortRef[M, AsyncIterator[R]], message: M, *, timeout: float | None = ASK_TIMEOUT) -> ReplyStream[R]:
        """As `ActorRef.stream`."""
        return stream(self._mailbox, message, timeout)

    def send_from_thread(self, message: M_contra) -> None:
        """Sends from a thread other than trio's: blocks that thread until the message is accepted.

        Raises:
            ActorkitError: the system's run has ended, or this is trio's own thread (use `send` there); nothing was accepted.
            MessageTypeError: the port does not take this message; nothing was accepted.
        """
        mailbox = self._mailbox
        if trio.lowlevel.in_trio_run():
            raise ActorkitError(
                f"{self.path}: send_from_thread can't be called in trio's own thread, which it would block; await send() there"
            )

        async def send() -> None:
            await mailbox.send(message)

        try:
            trio.from_thread.run(send, trio_token=mailbox.cell.kernel.token)
        except trio.RunFinishedError:
            raise ActorkitError(f"{self.path}: the run that this port belongs to has ended; the message was not accepted") from None

    @property
    def breaker(self) -> PortBreaker:
        """The breaker that guards the port: its state, and how to open and close it by hand.

        Raises:
            UnknownActor: the port has none.
        """
        gates = self._mailbox.cell.gates
        breaker = None if gates is None else gates.breaker(self._mailbox.name)
        if breaker is None:
            raise UnknownActor(f"{self.path} has no breaker; declare one: @in_port(breaker=CircuitBreaker(…))")
        return PortBreaker(breaker, self._mailbox)

    def __eq__(self, other: object) -> bool:
        return self._mailbox is other._mailbox if isinstance(other, PortRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._mailbox)

    def __repr__(self) -> str:
        return f"<PortRef {self.path}>"


class PortBreaker:
    """The breaker of one port of one actor, for a person to look at and to work."""

    __slots__ = ("_breaker", "_mailbox")

    def __init__(self, breaker: Breaker, mailbox: Mailbox) -> None:
        self._breaker = breaker
        self._mailbox = mailbox

    @property
    def state(self) -> CircuitState:
        """What it does with messages."""
        return self._breaker.state

    def isolate(self) -> None:
        """Holds all messages until `reset`."""
        self._breaker.isolate()
        tell(self._mailbox, self._breaker)

    def reset(self) -> None:
        """Closes it: what waits is handled."""
        self._breaker.reset()
        tell(self._mailbox, self._breaker)
        self._mailbox.cell.recovery.go_on()


def ask(mailbox: Mailbox, message: Any, timeout: float | None) -> Envelope:
    """Puts a request into `mailbox`; awaiting what it returns yields the answer."""
    if mailbox.streams:
        raise MessageTypeError(f"{mailbox.path} streams its answer, so it can't be asked for one; async for row in ref.stream(…) reads it")
    seconds = timeout if type(timeout) is float and timeout >= 0 else _seconds(mailbox, timeout)
    dispatcher, asker = mailbox.dispatcher, handling.get()
    inherited = math.inf
    if asker is not None and (asker is mailbox.cell or type(asker.message) is Envelope):
        inherited = _inherited_deadline(asker, mailbox)
    envelope = Envelope(dispatcher, message, is_ask=True)
    envelope.port = mailbox
    mailbox.ask(envelope)
    if not envelope.done:  # else it was answered at once
        deadline = min(dispatcher.time() + seconds, inherited)
        if deadline != math.inf:
            envelope.expire_at(deadline)
    return envelope


def stream(mailbox: Mailbox, message: Any, timeout: float | None) -> ReplyStream[Any]:
    """Puts a request for rows into `mailbox`."""
    if not mailbox.streams:
        raise MessageTypeError(f"{mailbox.path} does not stream its answer: ask() for it, or write the handler as an async generator")
    seconds = _seconds(mailbox, timeout)
    asker = handling.get()
    envelope = Envelope(mailbox.dispatcher, message, is_ask=True)
    envelope.port = mailbox
    if asker is not None:
        envelope.deadline = _inherited_deadline(asker, mailbox)
    envelope.rows = rows = Rows(mailbox)
    mailbox.ask(envelope)
    return ReplyStream(rows, envelope, seconds, envelope.deadline)


def _seconds(mailbox: Mailbox, timeout: float | None) -> float:
    if timeout is None:
        return math.inf
    return check_seconds(mailbox.path, "timeout", timeout, infinite=True)


def _inherited_deadline(asker: Cell, mailbox: Mailbox) -> float:
    """The deadline of what the asker is handling; raises if it asks itself."""
    if asker is mailbox.cell:
        raise DeadlockError(
            f"{asker.path} asks itself: {asker.path} → {mailbox.path} → {asker.path} would wait for ever, as it handles one message"
            " at a time, and none while a hook runs; call the method directly, or ask from a background task (self.start_soon)"
        )
    return asker.message.deadline if type(asker.message) is Envelope and asker.state != CLOSED else math.inf  # CLOSED: in a hook
