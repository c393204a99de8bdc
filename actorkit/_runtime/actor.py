"""The class that users subclass."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, TypeVarTuple, Unpack, overload

from attrs import frozen

from actorkit._runtime.ports import InPort, OutPort, is_async
from actorkit.errors import ActorNotRunning, PortDefinitionError
from actorkit.policy.checks import check_seconds
from actorkit.policy.health import HealthStatus
from actorkit.policy.taxonomy import ErrorContext

if TYPE_CHECKING:
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.log import ActorLog
    from actorkit._runtime.ref import ActorRef
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.system import System
    from actorkit._runtime.timers import Timer
    from actorkit._runtime.topics import Topic
    from actorkit.messages import Down, ExitReason

M = TypeVar("M")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ASYNC_HOOKS = {"on_start": (), "run": (), "on_drained": (), "on_stop": ("reason",), "health": ()}
PLAIN_HOOKS = {"snapshot": (), "restore": ("state", "version")}


@frozen
class Blueprint:
    """What the runtime knows of an actor class: found out once, when the class is created.

    `hooks` are the names of the life-cycle hooks that the class defines itself. What follows from these is kept beside
    them, so that nothing need be looked for when an actor is made.
    """

    in_ports: dict[str, InPort[Any, Any, Any]]
    out_ports: dict[str, OutPort[Any]]
    hooks: frozenset[str]
    all_plain: bool
    priorities: frozenset[int]
    is_guarded: bool
    has_batches: bool
    eager: tuple[str, ...]
    is_durable: bool
    required: tuple[str, ...]

    @classmethod
    def of(cls, in_ports: dict[str, InPort[Any, Any, Any]], out_ports: dict[str, OutPort[Any]], hooks: frozenset[str]) -> Self:
        """What is known of a class with these ports and hooks."""
        ports, settings = in_ports.values(), [port.settings for port in in_ports.values()]
        return cls(
            in_ports,
            out_ports,
            hooks,
            all_plain=not any(port.is_async for port in ports),
            priorities=frozenset(each.priority for each in settings),
            is_guarded=any(each.is_guarded for each in settings),
            has_batches=any(each.batch is not None for each in settings),
            eager=tuple(name for name, port in in_ports.items() if port.settings.is_eager),
            is_durable=any(each.durable for each in settings),
            required=tuple(name for name, port in out_ports.items() if port.required),
        )


class _FromLife(Generic[T]):
    """An attribute that the runtime provides. An instance attribute of the same name hides it, and does no harm."""

    def __init__(self, read: Callable[[Incarnation], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__
        self._name = "attribute"

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Actor, owner: type) -> T: ...
    def __get__(self, instance: Actor | None, owner: type) -> Any:
        return self if instance is None else self._read(life_of(instance, self._name))


def _ref(life: Incarnation) -> ActorRef[Any]:
    """This actor's own reference: may be sent to others."""
    return life.cell.ref


def _name(life: Incarnation) -> str:
    """This actor's name: `"parser"`."""
    return life.cell.name


def _path(life: Incarnation) -> str:
    """This actor's path: `"root/flights/parser"`."""
    return life.cell.path


def _system(life: Incarnation) -> System:
    """The system that this actor is part of."""
    return life.cell.kernel.system


def _log(life: Incarnation) -> ActorLog:
    """This actor's structured log: `self.log.info("took off", flight=17)`."""
    return life.log


def _supervisor(life: Incarnation) -> Supervisor:
    """This actor's supervisor: to start and stop children beside this one."""
    return life.cell.supervisor


class Actor:
    """Base of all actors: subclass it, declare ports, write handlers, put `child(YourActor, …)` into a tree.

    Handlers are methods decorated with `@in_port`; out-ports are class attributes `out_x = OutPort(type)`. One actor
    handles one message at a time. All hooks are optional; a subclass's `__init__` need not call `super().__init__()`.
    A restart makes a new object from the arguments given to `child`.
    """

    __slots__ = ("__weakref__", "_actorkit_life")

    if TYPE_CHECKING:
        _actorkit_life: Incarnation

    actorkit_blueprint: ClassVar[Blueprint] = Blueprint.of({}, {}, frozenset())
    state_version: ClassVar[int] = 1
    """The version of what `snapshot` returns; raise it when its shape changes."""
    migrations: ClassVar[Mapping[int, Callable[[Any], Any]]] = MappingProxyType({})
    """By version, what makes of a state of that version one of the next: `{1: add_currency}`. Without, `restore` gets the old one."""
    checkpoint_every: ClassVar[float | None] = None
    """Seconds between checkpoints of this actor, taken by themselves when its state has changed; None: only when somebody asks."""

    err_errors = OutPort(ErrorContext)
    """Carries this actor's failures to whoever is wired to it."""

    ref = _FromLife(_ref)
    name = _FromLife(_name)
    path = _FromLife(_path)
    system = _FromLife(_system)
    log = _FromLife(_log)
    supervisor = _FromLife(_supervisor)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.checkpoint_every is not None:
            check_seconds(cls.__qualname__, "checkpoint_every", cls.checkpoint_every, positive=True)
        cls.actorkit_blueprint = _draw(cls)

    async def on_start(self) -> None:
        """Called before the first message. The next child starts when it has returned."""

    async def run(self) -> None:
        """A source's work: produces, then returns. Runs beside the handlers; starts when the whole tree is up."""

    async def on_drained(self) -> None:
        """Called when this actor's streams have ended: `run` has returned, all wired in-ports are closed and empty.

        What it sends still arrives: this actor's own wires close afterwards.
        """

    async def on_stop(self, reason: ExitReason) -> None:
        """Called at the end of each life that was started, after the message in hand.

        It has what is left of the shutdown time; when nothing is left, it runs up to its first real wait.
        """

    async def health(self) -> HealthStatus:
        """How it does, as it sees it itself: asked at every poll of the cascade manager, beside its handlers.

        It has half a poll to answer. An answer that is late, or a failure, counts as UNHEALTHY, and does nothing else.
        """
        return HealthStatus.HEALTHY

    def snapshot(self) -> object:
        """This actor's state (a source's position), taken between messages; plain data. A later life gets it back by `restore`."""
        return None

    def restore(self, state: Any, version: int) -> None:
        """Takes over a `snapshot()` of an earlier life, before `on_start`; `version` is the `state_version` that it was made with."""

    def after(self, delay: float, port: InPort[Self, M, Any], message: M) -> Timer:
        """Sends `message` to this actor's own `port` in `delay` seconds, unless this life ends first.

        Raises:
            ValueError: `delay` is negative.
            MessageTypeError: `port` does not take `message`.
        """
        return life_of(self, "after").after(delay, port, message)

    def every(self, period: float, port: InPort[Self, M, Any], message: M) -> Timer:
        """Sends `message` to this actor's own `port` every `period` seconds, first in `period` seconds, as long as this life lasts.

        Raises:
            ValueError: `period` is not above 0.
            MessageTypeError: `port` does not take `message`.
        """
        return life_of(self, "every").every(period, port, message)

    def remind(self, name: str, seconds: float, port: InPort[Self, M, Any], message: M, *, repeat: bool = False) -> None:
        """Sends `message` to this actor's own `port` in so many seconds, or every so many: also to a later life, in a later process.

        It is kept in the system's store under this actor's path and `name`. A call that changes nothing about a reminder of that
        name lets it run on; any other one replaces it. One that came due while there was no process, or the actor was stopped,
        comes as soon as it is up. A process that is killed when it comes may see it once more.

        Args:
            name: what it is called, among this actor's.
            seconds: from now on; with `repeat`, between one and the next.
            port: one of this actor's own.
            message: has to be such as a store takes.
            repeat: whether it comes again and again; then no run waits for it.

        Raises:
            ValueError: `seconds` is negative, or, with `repeat`, not above 0.
            MessageTypeError: `port` does not take `message`.
            EncodingError: `message`, or a keyed actor's key, can't be written.
            SpecError: this is a member of a pool.
        """
        life = life_of(self, "remind")
        life.cell.kernel.reminders.remind(life, name, seconds, port, message, repeat)

    def cancel_reminder(self, name: str) -> bool:
        """Takes back what `remind` was asked for under this name; says whether it was still to come."""
        life = life_of(self, "cancel_reminder")
        return life.cell.kernel.reminders.cancel(life, name)

    def watch(self, ref: ActorRef[Any], port: InPort[Self, Down, Any], *, restarts: bool = False) -> None:
        """Delivers one `Down(ref, reason)` to this actor's own `port` when that actor ends for good or is stopped.

        If it has ended already, `Down` comes at once. A restart is no `Down`, except with `restarts=True`.

        Raises:
            MessageTypeError: the port is another actor's, or does not take `Down`.
            SpecTypeError: `ref` is no address, or `restarts` no bool.
        """
        life_of(self, "watch").watch(ref, port, restarts)

    def subscribe(self, topic: Topic[M], port: InPort[Self, M, Any]) -> None:
        """From now on, what is published on `topic` arrives at this actor's own `port`, which has its own capacity and overflow strategy.

        A subscription belongs to the actor, not to this life of it: nothing that is published during a restart is missed. It
        ends with `unsubscribe`, or with the actor. To subscribe again changes nothing.

        Raises:
            MessageTypeError: the port is another actor's.
            WiringError: the port does not take the topic's messages, or there is a topic of this name and another type.
        """
        life = life_of(self, "subscribe")
        life.cell.kernel.topics.subscribe(life, topic, port)

    def unsubscribe(self, topic: Topic[M], port: InPort[Self, M, Any]) -> None:
        """Ends a subscription, also one made by a wire; what has arrived already is still handled. Does nothing if there is none.

        Raises:
            MessageTypeError: the port is another actor's.
        """
        life = life_of(self, "unsubscribe")
        life.cell.kernel.topics.unsubscribe(life, topic, port)

    def link(self, ref: ActorRef[Any]) -> None:
        """Fails this actor when that one goes down abnormally: it was given up, or had to be killed.

        The failure is a `DependencyError` of this life; a restart of the other one is none. If it has gone down so already,
        this actor fails at once. It is one-sided, and ends with this life: link again in `on_start`.

        Raises:
            SpecTypeError: `ref` is no address.
        """
        life_of(self, "link").link(ref)

    def stash(self) -> None:
        """Puts the message in hand aside, once its handler returns, until `unstash_all`.

        It counts as queued, but takes up no room; whoever asked goes on waiting. If the handler fails after all, it is as if
        it had not been stashed. When this life ends, all that is stashed goes back to the head of its ports, in order.

        Raises:
            StashError: there is no message in hand (in a hook, `run` or a background task), or it is stashed already.
        """
        life_of(self, "stash").aside.stash()

    def unstash_all(self) -> None:
        """Brings all stashed messages back: they come next, in order, before everything else."""
        life_of(self, "unstash_all").aside.unstash_all()

    def pause(self, port: InPort[Self, Any, Any]) -> None:
        """Takes no message from this actor's own `port` until `resume`; its other ports go on.

        What is sent to it waits there, within its capacity. Neither `run` nor `settle` waits for it. A new life begins
        with all ports resumed.

        Raises:
            MessageTypeError: the port is another actor's.
        """
        life = life_of(self, "pause")
        life.aside.pause(life.own_mailbox(port))

    def resume(self, port: InPort[Self, Any, Any]) -> None:
        """Takes messages from this port again: what has waited comes before what came later; does nothing if it is not paused.

        Raises:
            MessageTypeError: the port is another actor's.
        """
        life = life_of(self, "resume")
        life.aside.resume(life.own_mailbox(port))

    @overload
    def start_soon(self, fn: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts, to: None = None) -> None: ...
    @overload
    def start_soon(self, fn: Callable[[Unpack[Ts]], Awaitable[M]], *args: *Ts, to: InPort[Self, M, Any]) -> None: ...
    def start_soon(self, fn: Callable[..., Awaitable[Any]], *args: object, to: InPort[Any, Any, Any] | None = None) -> None:
        """Runs `fn(*args)` in the background of this life of the actor; its failure is the actor's failure.

        Its result, if `to` is given, arrives at that port of this actor as a message.
        """
        life_of(self, "start_soon").start_soon(fn, args, to)

    def stop(self) -> None:
        """Ends this actor, normally, after the message in hand. (A PERMANENT one is started again.)"""
        life_of(self, "stop").stop_self()


_life_slot: Any = vars(Actor)["_actorkit_life"]


def life_of(actor: Actor, used: str) -> Incarnation:
    """The life that this actor object is part of; `used` is what it is asked for.

    Raises:
        ActorNotRunning: the object was not made by a running tree.
    """
    try:
        life: Incarnation = _life_slot.__get__(actor)  # not the attribute: a `__getattr__` of the user's may answer for that
    except AttributeError:
        name = type(actor).__qualname__
        raise ActorNotRunning(
            f"{name}.{used}: this {name} is not part of a running tree; declare it with child({name}, …) and run the tree"
        ) from None
    return life


def _draw(cls: type[Actor]) -> Blueprint:
    """Collects and checks the ports and hooks of a new actor class."""
    ports: dict[str, InPort[Any, Any, Any] | OutPort[Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            before = ports.get(name)
            if isinstance(value, InPort | OutPort) and (before is None or isinstance(value, type(before))):
                ports[name] = value
            elif before is not None:
                kind, way_out = ("an in-port", "decorate it with @in_port") if isinstance(before, InPort) else ("an out-port", "rename it")
                raise PortDefinitionError(
                    f"{cls.__qualname__}.{name}: {name!r} is {kind} of a base class, and this is {value!r}; {way_out}"
                )
    in_ports: dict[str, InPort[Any, Any, Any]] = {}
    out_ports: dict[str, OutPort[Any]] = {}
    for name, port in ports.items():
        if name in ASYNC_HOOKS or name in PLAIN_HOOKS:
            raise PortDefinitionError(f"{cls.__qualname__}.{name}: {name!r} is the name of a hook, not of a port; rename the port")
        if isinstance(port, InPort):
            in_ports[name] = port.of_class(cls, name)
            setattr(cls, name, in_ports[name])
        else:
            out_ports[name] = port.named(name)
            if out_ports[name] is not port:
                setattr(cls, name, out_ports[name])
    hooks = frozenset(name for name in (*ASYNC_HOOKS, *PLAIN_HOOKS) if _is_own_hook(cls, name))
    return Blueprint.of(in_ports, out_ports, hooks)


def _is_own_hook(cls: type[Actor], name: str) -> bool:
    hook = inspect.getattr_static(cls, name)
    if hook is inspect.getattr_static(Actor, name):
        return False
    arguments = ASYNC_HOOKS.get(name, PLAIN_HOOKS.get(name, ()))
    signature = f"{'async ' if name in ASYNC_HOOKS else ''}def {name}({', '.join(('self', *arguments))})"
    if inspect.isfunction(hook) and is_async(hook) is (name in ASYNC_HOOKS):
        try:
            inspect.signature(hook).bind(None, *arguments)
        except TypeError:
            pass
        else:
            return True
    raise PortDefinitionError(
        f"{cls.__qualname__}.{name}: a life-cycle hook of this name is written `{signature}`; write it so, or rename it"
    )
