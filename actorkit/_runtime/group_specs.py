"""Declaring groups: several actors of one class behind one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, TypeVarTuple, cast, overload

from attrs import fields_dict, frozen

from actorkit._runtime.actor import Actor
from actorkit._runtime.routing import Route, round_robin
from actorkit._runtime.specs import ChildSpec, child
from actorkit.errors import SpecError, SpecTypeError
from actorkit.policy.checks import check_count, complaint

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
        return ChildSpec(
            name=f"{self.name}-{number}",
            restart=self.restart,
            shutdown=self.shutdown,
            recovery=self.recovery,
            max_restarts=self.max_restarts,
            within=self.within,
            backoff=self.backoff,
            on_exhausted=self.on_exhausted,
            actor=self.actor,
            args=self.args,
            kwargs=self.kwargs,
            start_timeout=self.start_timeout,
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
    spec = actor if isinstance(actor, ChildSpec) else child(actor, *args)
    given: dict[str, Any] = {name: getattr(spec, name) for name in fields_dict(ChildSpec)}
    if given["max_restarts"] is None:
        given |= {"max_restarts": 3, "within": 5.0}
    return PoolSpec(**given, size=size, route=route)


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
