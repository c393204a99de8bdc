"""Declaring groups: several actors of one class behind one address."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, TypeVarTuple, cast, overload

from attrs import fields_dict, frozen

from actorkit._runtime.actor import Actor
from actorkit._runtime.routing import Route, round_robin
from actorkit._runtime.specs import ChildSpec, child
from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.checks import check_count, check_seconds, complaint

A = TypeVar("A", bound=Actor)
A_co = TypeVar("A_co", bound=Actor, covariant=True)
Ts = TypeVarTuple("Ts")

Size = int | tuple[int, int]


@frozen(eq=False, repr=False, kw_only=True)
class PoolSpec(ChildSpec[A_co], Generic[A_co]):
    """A pool of a tree, made by `pool`. In wires it is one actor of its class; its options are those of its members."""

    size: Size = 4
    route: Route = round_robin

    @property
    def waits_to_start(self) -> bool:
        return True

    @property
    def title(self) -> str:
        """How error texts name it: `pool 'parser'`."""
        return f"pool {self.name!r}"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        limits(self.title, self.size)
        if not isinstance(self.route, Route):
            raise SpecTypeError(complaint(self.title, "route", self.route, "round_robin, least_loaded or by_key(…)"))

    def member(self, number: int) -> ChildSpec[A_co]:
        """One member's own spec."""
        return _member(self, f"{self.name}-{number}")


@frozen(eq=False, repr=False, kw_only=True)
class KeyedSpec(ChildSpec[A_co], Generic[A_co]):
    """Keyed actors of a tree, made by `keyed`. In wires they are one actor of their class; the options are those of each."""

    by: Callable[[Any], Hashable]
    passivate_after: float = 60.0
    max_active: int | None = None

    @property
    def waits_to_start(self) -> bool:
        return True

    @property
    def title(self) -> str:
        """How error texts name it: `keyed 'account'`."""
        return f"keyed {self.name!r}"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not callable(self.by):
            raise SpecTypeError(complaint(self.title, "by", self.by, "a function that tells the key of a message"))
        check_seconds(self.title, "passivate_after", self.passivate_after, positive=True, infinite=True)
        if self.max_active is not None:
            check_count(self.title, "max_active", self.max_active, 1)
        if "run" in self.actor.actorkit_blueprint.hooks:
            raise SpecError(f"{self.title}: {self.actor.__qualname__} has a run(), and nothing would wake it: a keyed actor only handles")

    def member(self) -> ChildSpec[A_co]:
        """The spec of all its actors."""
        return _member(self, self.name)


def _member(spec: ChildSpec[A], name: str) -> ChildSpec[A]:
    return ChildSpec(
        name=name,
        restart=spec.restart,
        shutdown=spec.shutdown,
        recovery=spec.recovery,
        max_restarts=spec.max_restarts,
        within=spec.within,
        backoff=spec.backoff,
        on_exhausted=spec.on_exhausted,
        actor=spec.actor,
        args=spec.args,
        kwargs=spec.kwargs,
        start_timeout=spec.start_timeout,
    )


@overload
def pool(actor: ChildSpec[A], /, *, size: Size = 4, route: Route = round_robin) -> PoolSpec[A]: ...
@overload
def pool(actor: Callable[[*Ts], A], /, *args: *Ts, size: Size = 4, route: Route = round_robin) -> PoolSpec[A]: ...
def pool(actor: Any, /, *args: object, size: Size = 4, route: Route = round_robin) -> PoolSpec[Any]:
    """Several actors of one class behind one address: they share its messages. In wires it is one actor of its class.

    Its members, `worker-1`, `worker-2`, …, are supervised one by one. One whose restarts are used up (3 in 5 s, unless
    `.options(max_restarts=, within=)` says otherwise) is set aside, until it is released; the pool fails when more than
    half of them are.

    Args:
        actor: the class; or, where its constructor takes arguments by keyword, a child: `pool(child(Worker, loud=True))`.
        args: for the constructor.
        size: how many members; or `(least, most)`: then it grows and shrinks between these with the work.
        route: `round_robin`, `least_loaded`, or `by_key(fn)`, which keeps all messages of a key in order, across
            restarts and changes of size.

    Raises:
        SpecError: the constructor does not take these arguments, or `size` is out of range.
        SpecTypeError: a value is of the wrong type.
    """
    return PoolSpec(**_options(actor, args), size=size, route=route)


def _options(actor: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """What a child has, as a group's members have it: each with a restart budget of its own."""
    spec = actor if isinstance(actor, ChildSpec) else child(actor, *args)
    given: dict[str, Any] = {name: getattr(spec, name) for name in fields_dict(ChildSpec)}
    for name, port in spec.actor.actorkit_blueprint.in_ports.items():
        if port.settings.batch is not None:
            raise SpecError(f"{spec.title}: {spec.actor.__qualname__}.{name} is a batch port: members of a group take single messages")
    if given["max_restarts"] is None:
        given |= {"max_restarts": 3, "within": 5.0}
    return given


@overload
def keyed(
    actor: ChildSpec[A], /, *, by: Callable[[Any], Hashable], passivate_after: float = 60.0, max_active: int | None = None
) -> KeyedSpec[A]: ...
@overload
def keyed(
    actor: Callable[[*Ts], A],
    /,
    *args: *Ts,
    by: Callable[[Any], Hashable],
    passivate_after: float = 60.0,
    max_active: int | None = None,
) -> KeyedSpec[A]: ...
def keyed(
    actor: Any,
    /,
    *args: object,
    by: Callable[[Any], Hashable],
    passivate_after: float = 60.0,
    max_active: int | None = None,
) -> KeyedSpec[Any]:
    """One actor for each key, behind one address: made when the first message for its key arrives.

    When it has been idle for a while it is set aside: its `snapshot()` is kept, and the next message for its key brings
    it back, with `restore`. There are never two of a key, and a key's messages are handled in the order sent. Its restarts
    are counted for each key; one whose restarts are used up is set aside, and the others go on.

    Args:
        actor: the class; or a child, where its constructor takes arguments by keyword.
        args: for the constructor.
        by: tells the key of a message. What it raises is raised at the sender, and the message was not accepted.
        passivate_after: seconds without a message; `math.inf` for never.
        max_active: how many actors there may be at once. Then the one used least recently makes room for another;
            while none is idle, messages for other keys wait.

    Raises:
        SpecError: the constructor does not take these arguments, or a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """
    return KeyedSpec(**_options(actor, args), by=by, passivate_after=passivate_after, max_active=max_active)


def limits(title: str, size: object) -> tuple[int, int]:
    """The least and the most members that a size stands for.

    Raises:
        SpecError: it is out of range; SpecTypeError: it is neither a whole number nor two of them.
    """
    if not isinstance(size, tuple):
        number = check_count(title, "size", size, 1)
        return number, number
    both = cast("tuple[object, ...]", size)
    if len(both) != 2:
        raise SpecError(complaint(title, "size", both, "a whole number, or two: (least, most)"))
    least, most = check_count(title, "size", both[0], 1), check_count(title, "size", both[1], 1)
    if least > most:
        raise SpecError(complaint(title, "size", both, "(least, most), the smaller number first"))
    return least, most
