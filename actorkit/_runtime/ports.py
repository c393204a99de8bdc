"""What an actor class declares: in-ports, out-ports, and the wires between them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import trio
from attrs import fields, frozen
from trio.lowlevel import disable_ki_protection

from actorkit._runtime.annotations import message_types, runtime_types
from actorkit._runtime.guards import CircuitBreaker, Throttle
from actorkit._runtime.port_settings import DEFAULT_CAPACITY, BatchSettings, PortSettings
from actorkit._runtime.reply_streams import stream_rows
from actorkit._runtime.threads import run_in_thread
from actorkit._runtime.wording import type_names
from actorkit.errors import ActorNotRunning, PortDefinitionError, SpecTypeError, WiringError
from actorkit.policy.checks import check_flag, complaint
from actorkit.policy.overflow import OverflowStrategy

if TYPE_CHECKING:
    from actorkit._runtime.actor import Actor
    from actorkit._runtime.outlets import Sender
    from actorkit._runtime.routing import Route
    from actorkit._runtime.specs import ChildSpec

M = TypeVar("M")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741
O_contra = TypeVar("O_contra", contravariant=True)
M_contra = TypeVar("M_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

_NOT_AN_OUT_PORT = "{} >> {}: the left end of a wire is an out-port of an actor class, or of a child: child[Class.out_x]"


class InPort(Generic[O_contra, M_contra, R_co]):
    """A typed mailbox port: whose, of what messages, answering what. Made by `@in_port`.

    On the class it names the port (`ref.send(Greeter.in_greet, …)`); on an instance it is the plain method.

    Attributes:
        name: the method's name.
        owner: the actor class.
        types: the class, or classes, of the messages that it takes.
        settings: its options.
        is_async: whether its handler is `async def`, or runs in a thread.
        is_stream: whether its handler is an async generator, which streams its answer.
        spec: the child that it belongs to, in a wire to one of several actors of a class: `printer[Printer.in_line]`.
    """

    def __init__(self, function: Callable[..., Any], settings: PortSettings) -> None:
        self.function = function
        self.settings = settings
        self.name = getattr(function, "__name__", "in_port")
        self.owner: type = object
        self.types: type | tuple[type, ...] = ()  # not known before the class is
        self.is_stream = inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(inspect.unwrap(function))
        self.is_async = settings.thread or is_async(function) or self.is_stream
        self.spec: ChildSpec[Any] | None = None
        self.__doc__ = getattr(function, "__doc__", None)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Actor, owner: type) -> Callable[[M_contra], Any]: ...
    def __get__(self, instance: Actor | None, owner: type) -> Any:
        return self if instance is None else self.function.__get__(instance, owner)

    def of_class(self, owner: type, name: str) -> InPort[Any, Any, Any]:
        """This port as the port `name` of `owner`, which declares or inherits it.

        Raises:
            PortDefinitionError: it is not a handler, or its annotation is missing or unusable.
        """
        port: InPort[Any, Any, Any] = InPort(self.function, self.settings)
        port.owner, port.name, port.types = owner, name, self.types
        if not port.types:
            port.define()
        return port

    def define(self) -> None:
        """Checks the handler and finds out its message type, now that the class exists."""
        function, where = self.function, f"{self.owner.__qualname__}.{self.name}"
        plain = inspect.unwrap(function)
        if not callable(function) or not hasattr(function, "__get__") or isinstance(function, (staticmethod, classmethod, partial, type)):
            raise PortDefinitionError(
                f"{where}: @in_port decorates a method, not {function!r}; write def {self.name}(self, message: ItsType)"
            )
        if inspect.isgeneratorfunction(plain):
            raise PortDefinitionError(f"{where}: a handler returns its answer, it doesn't yield; use `return`, or `async def` to stream it")
        if self.settings.batch is not None and self.is_stream:
            raise PortDefinitionError(f"{where}: a batch handler answers all at once, it can't stream; write `return`")
        if self.settings.thread and (is_async(function) or self.is_stream):
            raise PortDefinitionError(f"{where}: thread=True is for a plain handler; write it as `def`, or leave thread out")
        if self.settings.timeout is not None and not (is_async(function) or self.is_stream):
            raise PortDefinitionError(f"{where}: timeout is for an async handler, which can be cut short; write it as `async def`")
        if self.settings.durable and self.is_stream:
            raise PortDefinitionError(f"{where}: a durable port can't stream its answer, which is given when all is committed; `return` it")
        self.types = message_types(function, self.owner, self.name, in_batches=self.settings.batch is not None)
        if inspect.isfunction(function):
            disable_ki_protection(function)  # the code around it runs under protection: see dispatcher.py

    def bound_to(self, actor: Actor) -> Callable[[Any], Any]:
        """The handler of this very actor, as the runtime calls it."""
        handler: Callable[[Any], Any] = self.function.__get__(actor, type(actor))
        if self.is_stream:
            handler = partial(stream_rows, handler)
        if self.settings.thread:
            return partial(run_in_thread, handler)
        if self.settings.timeout is not None:
            return partial(_within, self.settings.timeout, handler)
        return handler

    def of(self, spec: ChildSpec[Any]) -> InPort[Any, Any, Any]:
        """The port of one child."""
        port = self.of_class(self.owner, self.name)
        port.spec = spec
        return port

    if not TYPE_CHECKING:  # for type checkers there is no such operation

        def __rshift__(self, to: object) -> None:
            raise WiringError(_NOT_AN_OUT_PORT.format(self, to))

        def __rrshift__(self, out: object) -> None:
            raise WiringError(_NOT_AN_OUT_PORT.format(repr(out), self))

    def __str__(self) -> str:
        return _end_text(self.owner, self.name, self.types, self.spec)

    def __repr__(self) -> str:
        return f"<InPort {self}>"


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await; what it wraps (`functools.wraps`) counts as well."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inspect.unwrap(function))


class _PortDecorator:
    """What `in_port(…)` with options returns."""

    def __init__(self, settings: PortSettings) -> None:
        self._settings = settings

    @overload
    def __call__(self, handler: Callable[[O, M], Awaitable[R]], /) -> InPort[O, M, R]: ...
    @overload
    def __call__(self, handler: Callable[[O, M], R], /) -> InPort[O, M, R]: ...
    def __call__(self, handler: Callable[..., Any], /) -> Any:
        port: InPort[Any, Any, Any] = InPort(handler, self._settings)
        return port


@overload
def in_port(handler: Callable[[O, M], Awaitable[R]], /) -> InPort[O, M, R]: ...
@overload
def in_port(handler: Callable[[O, M], R], /) -> InPort[O, M, R]: ...
@overload
def in_port(
    *,
    capacity: int = ...,
    overflow: OverflowStrategy = ...,
    block_timeout: float | None = ...,
    priority: int = ...,
    deadline: float | None = ...,
    timeout: float | None = ...,
    idle_timeout: float | None = ...,
    ordered: bool = ...,
    breaker: CircuitBreaker | None = ...,
    throttle: Throttle | None = ...,
    durable: bool = ...,
    commit_every: tuple[int, float] | None = ...,
    dedupe_window: int = ...,
    thread: bool = ...,
) -> _PortDecorator: ...
def in_port(handler: Any = None, /, **options: Any) -> Any:
    """Makes a method a typed mailbox port: its parameter's annotation is the type of message, what it returns is the answer.

    The method may be `async def` or plain `def`; an async generator streams its answer (`ref.stream`). An actor handles
    one message at a time. Times are in seconds.

    Args:
        capacity: how many messages may wait; 1,024 by default.
        overflow: what happens to a message that finds no room; by default its sender waits.
        block_timeout: how long a sender waits at most, before its message becomes a dead letter. The clock stands still
            while the actor is restarting, throttled, or held by a breaker, and while the port is paused. By default it waits
            as long as it takes.
        priority: ports with a higher one are served first; 0 by default. A message of a lower priority lets 16 of higher
            ones pass, and is then served. Equal priorities are served in order of arrival.
        deadline: how long a message may wait in the port before it is first handled. One that has waited so long is never
            handled; it becomes a dead letter, EXPIRED, and whoever asked gets `AskFailed`.
        timeout: how long one handling of one message may take. A handler that takes longer is cancelled and fails
            with `trio.TooSlowError`. For async handlers only: Python can end neither a plain function nor a thread.
        idle_timeout: a port that hears nothing for so long fails, as TIMEOUT, without a message.
        ordered: False lets other messages pass one that waits to be tried again.
        breaker: a breaker of this actor's own, made like this one: while it is open, messages wait.
        throttle: a throttle of this actor's own, made like this one: messages are handled at its pace.
        durable: what was sent here survives the process, in the system's store: `send` returns when it is written there. What
            the actor does with it, its `snapshot` and what it sends to other durable ports are committed together.
        commit_every: how many messages are handled, or how many seconds pass, until that is committed: `(100, 0.05)`. By
            default it is committed as soon as no more messages wait, and after 128 at the latest. More is faster, and later.
        dedupe_window: how many keys of `send(…, key=…)` are remembered.
        thread: runs a plain handler in a worker thread. It must not touch the actor's ports or the runtime.

    Raises:
        ValueError: an option is out of range (of a wrong type, or unknown: TypeError).
        PortDefinitionError: it is given what is no method.
    """
    if handler is not None and not (callable(handler) or hasattr(handler, "__get__")):
        raise PortDefinitionError(f"in_port({handler!r}) is given no method; options have names: @in_port(capacity=…)")
    known = [each.name for each in fields(PortSettings)]
    for option in options:
        if option not in known:
            raise SpecTypeError(f"in_port: unknown option {option!r}: expected one of {', '.join(known)}")
    decorator = _PortDecorator(PortSettings(**options))
    return decorator if handler is None else decorator(handler)


class _BatchDecorator:
    """What `in_batch(…)` returns."""

    def __init__(self, settings: BatchSettings) -> None:
        self._settings = settings

    @overload
    def __call__(self, handler: Callable[[O, list[M]], Awaitable[list[R]]], /) -> InPort[O, M, R]: ...
    @overload
    def __call__(self, handler: Callable[[O, list[M]], Awaitable[None]], /) -> InPort[O, M, None]: ...
    @overload
    def __call__(self, handler: Callable[[O, list[M]], list[R]], /) -> InPort[O, M, R]: ...
    @overload
    def __call__(self, handler: Callable[[O, list[M]], None], /) -> InPort[O, M, None]: ...
    def __call__(self, handler: Callable[..., Any], /) -> Any:
        port: InPort[Any, Any, Any] = InPort(handler, self._settings)
        return port


def in_batch(
    *,
    size: int = 100,
    wait: float = 0.1,
    capacity: int = DEFAULT_CAPACITY,
    overflow: OverflowStrategy = OverflowStrategy.BLOCK,
    block_timeout: float | None = None,
    timeout: float | None = None,
    breaker: CircuitBreaker | None = None,
    throttle: Throttle | None = None,
    thread: bool = False,
) -> _BatchDecorator:
    """Makes a method of `list[M]` a port of messages M, which it gets in batches: `@in_batch(size=100, wait=0.1)`.

    It gets up to `size` messages, or fewer `wait` seconds after the first came, at the end of the actor's streams, and when a
    message at another port of the actor is next. Who asks is answered by its place in the list that the handler
    returns, or with None. A batch that fails is split until the message that fails is alone: only that one is retried,
    quarantined or whatever the policy says, and the others are handled, in order.

    Args:
        size: how many messages at most; not more than `capacity`.
        wait: seconds since the first one came.
        capacity: as in `in_port`.
        overflow: as in `in_port`; not DROP_OLDEST.
        block_timeout: as in `in_port`.
        timeout: as in `in_port`, for a batch.
        breaker: as in `in_port`; it hears of a batch, and of each part of one that is split, as of one message.
        throttle: as in `in_port`, its pace in messages: after a batch, the next waits for as long as that many take.
        thread: as in `in_port`.

    Raises:
        ValueError: an option is out of range (of a wrong type: TypeError).
    """
    return _BatchDecorator(
        BatchSettings(
            size=size,
            wait=wait,
            capacity=capacity,
            overflow=overflow,
            block_timeout=block_timeout,
            timeout=timeout,
            breaker=breaker,
            throttle=throttle,
            thread=thread,
        )
    )


class OutPort(Generic[M]):
    """A typed out-port: `out_line = OutPort(str)`. On an instance it is a sender: `await self.out_line.send("…")`.

    Args:
        message_type: the class of the messages (at run time a union will do, too).
        required: whether a tree that leaves it without a wire is refused.
    """

    def __init__(self, message_type: type[M], *, required: bool = False) -> None:
        self.types = runtime_types(message_type, f"OutPort({message_type!r})")
        self.required = check_flag("OutPort", "required", required)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def named(self, name: str) -> OutPort[M]:
        """This port under `name`: itself, or, if it has another name already, one like it."""
        if self.name == name:
            return self
        port = copy(self)
        port.name = name
        return port

    @overload
    def __get__(self, instance: None, owner: type[O]) -> OutEnd[O, M]: ...
    @overload
    def __get__(self, instance: Actor, owner: type) -> Sender[M]: ...
    def __get__(self, instance: Actor | None, owner: type) -> Any:
        if instance is None:
            end: OutEnd[Any, M] = OutEnd(owner, self.name, self.types, None)
            return end
        try:
            life = instance._actorkit_life
            sender = life.senders.get(self.name)
        except AttributeError:
            actor = owner.__qualname__
            raise ActorNotRunning(
                f"{actor}.{self.name}: this {actor} is not part of a running tree, so there is nobody to send to; declare it with"
                f" child({actor}, …) and run the tree, or, in a unit test, set a sender of your own: actor.{self.name} = …"
            ) from None
        return sender or life.sender(self.name)


class Junction:
    """What an out-port can be wired to besides in-ports. It makes the wire itself, by `__rrshift__`."""


@frozen(repr=False, eq=False)
class OutEnd(Generic[O_contra, M]):
    """The sending end of a wire: an out-port of a class, or of one child (`english[Greeter.out_line]`)."""

    owner: type
    name: str
    types: type | tuple[type, ...]
    spec: ChildSpec[Any] | None

    def __rshift__(self, to: InPort[Any, M, Any]) -> Wire:
        if isinstance(to, Junction):
            return NotImplemented
        return Wire(self, (_in_end(self, to),), None)

    def of(self, spec: ChildSpec[Any]) -> OutEnd[Any, Any]:
        """The end at one child."""
        return OutEnd(self.owner, self.name, self.types, spec)

    def __str__(self) -> str:
        return _end_text(self.owner, self.name, self.types, self.spec)

    def __repr__(self) -> str:
        return f"<OutEnd {self}>"


@frozen(eq=False)
class Wire:
    """A connection: from an out-port to an in-port, or to several that share the messages by a route."""

    out: OutEnd[Any, Any]
    to: tuple[InPort[Any, Any, Any], ...]
    route: Route | None

    def __str__(self) -> str:
        return f"{self.out} >> {' | '.join(map(str, self.to))}"


def wire(out: OutEnd[Any, M], to: Sequence[InPort[Any, M, Any]], *, route: Route) -> Wire:
    """A wire whose receivers share the messages instead of each getting all: `wire(out, [a, b], route=round_robin)`.

    Raises:
        WiringError: an end is no port, there is no receiver, or one of another type.
        SpecTypeError: `route` is not a route.
    """
    if not isinstance(out, OutEnd):
        raise WiringError(
            f"wire({out!r}, {to!r}): the left end of a wire is an out-port of an actor class, or of a child: child[Class.out_x]"
        )
    if isinstance(to, InPort):
        raise WiringError(f"wire({out}, {to}): the receivers are a list; for one receiver write {out.name} >> {to.name}, without a route")
    if not to:
        raise WiringError(f"wire({out}, []): there is no receiver; name at least one in-port")
    if not hasattr(route, "picker"):
        raise SpecTypeError(complaint(f"wire({out}, …)", "route", route, "round_robin or least_loaded"))
    return Wire(out, tuple(_in_end(out, each) for each in to), route)


def _in_end(out: OutEnd[Any, Any], to: Any) -> InPort[Any, Any, Any]:
    if not isinstance(to, InPort):
        raise WiringError(f"{out} >> {to!r}: the right end of a wire is an in-port of an actor class, or of a child: child[Class.in_x]")
    if not fits(out.types, to.types):
        raise WiringError(f"{out} >> {to}: {type_names(out.types)} is sent, but {type_names(to.types)} is taken; wire ports of one type")
    return to


def fits(sent: type | tuple[type, ...], taken: type | tuple[type, ...]) -> bool:
    """Whether a port that takes `taken` takes all that one of `sent` sends."""
    every_sent = sent if isinstance(sent, tuple) else (sent,)
    try:
        return all(issubclass(each, taken) for each in every_sent)
    except TypeError:  # a protocol with attributes: only its instances can be checked, and each message is
        return True


def _end_text(owner: type, name: str, types: type | tuple[type, ...], spec: ChildSpec[Any] | None) -> str:
    whose = f"{owner.__qualname__}.{name}({type_names(types)})"
    return whose if spec is None else f"{spec.name}[{whose}]"


async def _within(seconds: float, handler: Callable[[Any], Awaitable[Any]], message: Any) -> Any:
    with trio.move_on_after(seconds):
        return await handler(message)
    raise trio.TooSlowError(f"handling took longer than {seconds:g} s, the port's timeout")
