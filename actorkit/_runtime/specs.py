"""Declaring a tree: children and supervisors, as values that are checked when they are made."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast, overload

from attrs import evolve, field, fields, frozen

from actorkit._runtime.actor import Actor
from actorkit._runtime.ports import InPort, OutEnd, Wire
from actorkit.errors import SpecError, SpecTypeError, WiringError
from actorkit.policy.checks import check_choice, check_count, check_seconds, check_shutdown, check_significant, complaint
from actorkit.policy.recovery import RecoveryPolicy
from actorkit.policy.restart import AutoShutdown, OnExhausted, Restart, Shutdown, Strategy
from actorkit.policy.retry import ExponentialBackoffRetry, LinearBackoffRetry

A = TypeVar("A", bound=Actor)
A_co = TypeVar("A_co", bound=Actor, covariant=True)
M = TypeVar("M")
R = TypeVar("R")
P = ParamSpec("P")

Backoff = ExponentialBackoffRetry | LinearBackoffRetry


@frozen(eq=False, repr=False, kw_only=True)
class Spec:
    """What children and supervisors have in common. Two specs are the same only if they are one object."""

    name: str
    restart: Restart
    shutdown: float | Shutdown
    significant: bool = False
    recovery: RecoveryPolicy | None = None
    max_restarts: int | None = None
    within: float | None = None
    backoff: Backoff | None = None
    on_exhausted: OnExhausted | None = None  # None: as its supervisor says
    depends_on: tuple[Any, ...] = ()  # actor classes, specs or paths

    @property
    def waits_to_start(self) -> bool:
        """Whether others have to wait while it starts."""
        return True

    @property
    def title(self) -> str:
        """How error texts name it: `child 'billing'`."""
        return f"child {self.name!r}"

    def walk(self) -> list[Spec]:
        """This spec and all below it, from the top."""
        return [self]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _changed(self, options: dict[str, Any], known: Sequence[str]) -> Self:
        for option in options:
            if option not in known:
                raise SpecTypeError(f"{self.title}: unknown option {option!r}: expected one of {', '.join(known)}")
        if isinstance(options.get("depends_on"), list):
            options = options | {"depends_on": tuple(options["depends_on"])}
        return evolve(self, **options)

    def _check(self) -> None:
        check_name(self.title, self.name)
        check_choice(self.title, "restart", self.restart, Restart)
        check_shutdown(self.title, self.shutdown)
        if not isinstance(self.significant, bool):
            raise SpecTypeError(f"{self.title}: significant = {self.significant!r}: expected True or False")
        if self.recovery is not None and not isinstance(self.recovery, RecoveryPolicy):
            raise SpecTypeError(f"{self.title}: recovery = {self.recovery!r}: expected a RecoveryPolicy")
        if self.on_exhausted is not None:
            check_choice(self.title, "on_exhausted", self.on_exhausted, OnExhausted)
        check_dependencies(self.title, self.depends_on)
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise SpecTypeError(f"{self.title}: backoff = {self.backoff!r}: expected ExponentialBackoffRetry(…) or LinearBackoffRetry(…)")


@frozen(eq=False, repr=False, kw_only=True)
class ChildSpec(Spec, Generic[A_co]):
    """One actor of a tree, made by `child`. Index it with a port to name that port in a wire: `printer[Printer.in_line]`."""

    actor: type[A_co]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(factory=dict)
    start_timeout: float = 30.0
    named: bool = False  # by the user, not after the class

    @property
    def waits_to_start(self) -> bool:
        return "on_start" in self.actor.actorkit_blueprint.hooks

    def __attrs_post_init__(self) -> None:
        self._check()
        check_seconds(self.title, "start_timeout", self.start_timeout, positive=True)
        if (self.max_restarts is None) is not (self.within is None):
            raise SpecError(f"{self.title}: max_restarts and within go together: give both for a budget of its own, or neither")
        if self.max_restarts is not None:
            check_count(self.title, "max_restarts", self.max_restarts, 0)
            check_seconds(self.title, "within", self.within, positive=True)

    if TYPE_CHECKING:

        def options(
            self,
            *,
            name: str = ...,
            restart: Restart = ...,
            shutdown: float | Shutdown = ...,
            significant: bool = ...,
            recovery: RecoveryPolicy | None = ...,
            max_restarts: int = ...,
            within: float = ...,
            backoff: Backoff | None = ...,
            on_exhausted: OnExhausted | None = ...,
            depends_on: Sequence[type[Actor] | Spec | str] = ...,
            start_timeout: float = ...,
        ) -> Self:
            """The same child with other options, as a new spec.

            Args:
                name: unique among its siblings; by default the class name in snake_case.
                restart: PERMANENT (always), TRANSIENT (after a failure; the default) or TEMPORARY (never).
                shutdown: seconds that it has to stop; 5.0 by default.
                significant: whether its end counts for its supervisor's `auto_shutdown`.
                recovery: what to do about its failures; by default its supervisor's policy.
                max_restarts: with `within`, a restart budget of its own, apart from its supervisor's.
                within: seconds.
                backoff: how long to wait before restarts; by default not at all.
                on_exhausted: what happens when its restarts are used up; by default what its supervisor says.
                depends_on: what it needs to work, beside those that it is wired to: actor classes, children or supervisors, or paths.
                start_timeout: seconds that `on_start` may take; 30.0 by default.

            Raises:
                SpecError: a value is out of range; SpecTypeError: of the wrong type, or the option does not exist.
            """
            ...
    else:

        def options(self, **options: Any) -> Self:
            changed = self._changed(options, CHILD_OPTIONS)
            return evolve(changed, named=True) if "name" in options else changed

    @overload
    def __getitem__(self, port: OutEnd[A_co, M]) -> OutEnd[A_co, M]: ...
    @overload
    def __getitem__(self, port: InPort[A_co, M, R]) -> InPort[A_co, M, R]: ...
    def __getitem__(self, port: object) -> Any:
        if not isinstance(port, InPort | OutEnd) or not issubclass(self.actor, port.owner):
            raise WiringError(
                f"{self.title} is a {self.actor.__qualname__} and has no port {port}; index it with one of its own class's ports"
            )
        return cast("Any", port).of(self)


@frozen(eq=False, repr=False, kw_only=True)
class SupervisorSpec(Spec):
    """A supervisor and its children, made by `supervisor` or `dynamic_supervisor`."""

    children: tuple[Spec, ...] = ()
    wires: tuple[Wire, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    dynamic: bool = False
    max_children: int | None = None
    when_exhausted: OnExhausted = OnExhausted.ESCALATE  # a child's restarts; `on_exhausted` is about its own

    @property
    def title(self) -> str:
        """How error texts name it: `supervisor 'flights'`."""
        return f"supervisor {self.name!r}"

    def __attrs_post_init__(self) -> None:
        self._check()
        check_choice(self.title, "strategy", self.strategy, Strategy)
        check_choice(self.title, "auto_shutdown", self.auto_shutdown, AutoShutdown)
        check_choice(self.title, "on_exhausted", self.when_exhausted, OnExhausted)
        check_count(self.title, "max_restarts", self.max_restarts, 0)
        check_seconds(self.title, "within", self.within, positive=True)
        if self.max_children is not None:
            check_count(self.title, "max_children", self.max_children, 1)
        for each in self.children:
            if not isinstance(each, Spec):
                raise SpecTypeError(f"{self.title}: {each!r} is not a child: expected child(Class, …) or supervisor(…)")
        seen: set[int] = set()
        for each in self.walk():
            if id(each) in seen:
                raise SpecError(f"{self.title} has the same spec twice, {each.title}: make another with child(…), or with .options(name=…)")
            seen.add(id(each))
        names: set[str] = set()
        for each in self.children:
            if each.name in names:
                raise SpecError(f"{self.title} has two children named {each.name!r}: give one another name by .options(name=…)")
            names.add(each.name)
            check_significant(each.title, each.significant, each.restart, self.auto_shutdown)

    def all_wires(self) -> list[Wire]:
        """The wires declared here and below."""
        return [each for spec in self.walk() if isinstance(spec, SupervisorSpec) for each in spec.wires]

    def walk(self) -> list[Spec]:
        return [self, *(spec for each in self.children for spec in each.walk())]

    if TYPE_CHECKING:

        def options(
            self,
            *,
            name: str = ...,
            restart: Restart = ...,
            shutdown: float | Shutdown = ...,
            significant: bool = ...,
            recovery: RecoveryPolicy | None = ...,
            max_restarts: int = ...,
            within: float = ...,
            backoff: Backoff | None = ...,
            on_exhausted: OnExhausted | None = ...,
            depends_on: Sequence[type[Actor] | Spec | str] = ...,
        ) -> Self:
            """The same supervisor with other options, as a new spec. By default it is PERMANENT, and has all the time it needs to stop.

            Raises:
                SpecError: a value is out of range; SpecTypeError: of the wrong type, or the option does not exist.
            """
            ...
    else:

        def options(self, **options: Any) -> Self:
            return self._changed(options, SUPERVISOR_OPTIONS)


_SHARED = [each.name for each in fields(Spec)]
CHILD_OPTIONS = [*_SHARED, "start_timeout"]
SUPERVISOR_OPTIONS = _SHARED


def child(actor: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> ChildSpec[A]:
    """A child of a supervisor: an actor of this class, made with these arguments, at the start and at every restart.

    Raises:
        SpecError: the constructor does not take these arguments.
        SpecTypeError: `actor` is not a subclass of `Actor`.
    """
    if not (isinstance(actor, type) and issubclass(actor, Actor)) or actor is Actor:
        way_out = f"; write child({type(actor).__qualname__}, …): the tree makes the object" if isinstance(actor, Actor) else ""
        raise SpecTypeError(f"child({actor!r}): expected a subclass of Actor{way_out}")
    name, signature = _known_of(cast("Any", actor))
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise SpecError(f"child {name!r}: {actor.__qualname__}{signature} can't be made with these arguments: {error}") from None
    return ChildSpec(name=name, restart=Restart.TRANSIENT, shutdown=5.0, actor=cast("type[A]", actor), args=args, kwargs=dict(kwargs))


@lru_cache(maxsize=1_024)
def _known_of(actor: type[Actor]) -> tuple[str, inspect.Signature]:
    """The name of this class's children, and how its objects are made; to find that out takes far longer than to make a spec."""
    return snake_case(actor.__name__), inspect.signature(actor).replace(return_annotation=inspect.Signature.empty)


def supervisor(
    *children: ChildSpec[Any] | SupervisorSpec,
    name: str = "supervisor",
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    max_restarts: int = 3,
    within: float = 5.0,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    wires: Sequence[Wire] = (),
    recovery: RecoveryPolicy | None = None,
    on_exhausted: OnExhausted = OnExhausted.ESCALATE,
) -> SupervisorSpec:
    """A supervisor: starts its children in order, restarts them by `strategy`, stops them in reverse order.

    Args:
        name: unique among its siblings.
        strategy: whom to restart when a child fails: it alone, all, or it and those after it.
        max_restarts: how many restarts `within` seconds are fine; one more, and it gives up. 3 in 5 s, after Elixir.
        within: seconds.
        auto_shutdown: whether the end of significant children ends it.
        wires: connections, between any actors of the whole tree.
        recovery: what to do about failures below it; by default its own supervisor's policy.
        on_exhausted: what happens when a child's restarts are used up, unless that child has a word of its own.

    Raises:
        SpecError: a value is out of range, a name is given twice; SpecTypeError: a value of the wrong type.
    """
    return SupervisorSpec(
        name=name,
        restart=Restart.PERMANENT,
        shutdown=Shutdown.INFINITY,
        children=children,
        strategy=strategy,
        max_restarts=max_restarts,
        within=within,
        auto_shutdown=auto_shutdown,
        wires=check_wires(f"supervisor {name!r}", wires),
        recovery=recovery,
        when_exhausted=on_exhausted,
    )


def dynamic_supervisor(
    *,
    name: str = "supervisor",
    max_children: int | None = None,
    max_restarts: int = 3,
    within: float = 5.0,
    recovery: RecoveryPolicy | None = None,
    on_exhausted: OnExhausted = OnExhausted.ESCALATE,
) -> SupervisorSpec:
    """A supervisor that starts empty, for children started while the system runs; ended children are forgotten.

    Args:
        name: unique among its siblings.
        max_children: how many it may have at most; None for any number.
        max_restarts: as in `supervisor`.
        within: seconds.
        recovery: as in `supervisor`.
        on_exhausted: as in `supervisor`.

    Raises:
        SpecError: a value is out of range; SpecTypeError: a value of the wrong type.
    """
    return SupervisorSpec(
        name=name,
        restart=Restart.PERMANENT,
        shutdown=Shutdown.INFINITY,
        dynamic=True,
        max_children=max_children,
        max_restarts=max_restarts,
        within=within,
        recovery=recovery,
        when_exhausted=on_exhausted,
    )


def check_wires(title: str, wires: object) -> tuple[Wire, ...]:
    """The wires in `wires`; raises unless that is a sequence of wires."""
    if isinstance(wires, Wire):
        raise SpecTypeError(f"{title}: wires = {wires}: expected a list of wires: wires=[{wires}]")
    if not isinstance(wires, Iterable):
        raise SpecTypeError(complaint(title, "wires", wires, "a list of wires"))
    given: tuple[Any, ...] = tuple(wires)
    for one in given:
        if not isinstance(one, Wire):
            raise SpecTypeError(f"{title}: wires has {one!r}: expected wires, made by Class.out_x >> Other.in_y")
    return given


def check_dependencies(title: str, dependencies: object) -> None:
    """Raises unless these are actor classes, specs or paths."""
    if not _are_dependencies(dependencies):
        raise SpecTypeError(complaint(title, "depends_on", dependencies, "a list of actor classes, children or paths"))


def _are_dependencies(given: Any) -> bool:
    return isinstance(given, tuple) and all(
        isinstance(each, Spec | str) or (isinstance(each, type) and issubclass(each, Actor)) for each in cast("tuple[object, ...]", given)
    )


def check_name(title: str, name: object) -> None:
    """Raises unless `name` can be a part of a path."""
    if not isinstance(name, str):
        raise SpecTypeError(f"{title}: name = {name!r}: expected a str")
    if not name or not re.fullmatch(r"[^/.\s][^/.]*", name):
        raise SpecError(f"{title}: name = {name!r}: expected a text without '/' and '.', not empty, not starting with a space")


def snake_case(name: str) -> str:
    """`HTTPServer` → `http_server`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
