"""From a handler's annotation to the classes that `isinstance` can check a message against."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
import typing
from collections import ChainMap
from typing import Any

from actorkit.errors import PortDefinitionError

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

UNIONS = (types.UnionType, vars(typing)["Union"])
"""`X | Y`, and the older spelling."""
CHECKED_ARGUMENTS = {"Annotated", "Literal", "Optional", "Union"}
"""What is written with brackets and is more than its name without them."""
CLASS_STATEMENT_DEPTH = 12
"""How many callers up the class statement may stand (decorators and metaclasses stand between)."""


def message_types(function: Callable[..., Any], owner: type, port: str, *, in_batches: bool = False) -> type | tuple[type, ...]:
    """The classes of message that the handler `function` takes, from the annotation of its parameter.

    Args:
        function: the handler.
        owner: its class.
        port: its name.
        in_batches: whether it takes a list of them.

    Raises:
        PortDefinitionError: the handler has no message parameter, no annotation on it, or one that cannot be checked at run time.
    """
    where = f"{owner.__qualname__}.{port}"
    plain = inspect.unwrap(function)
    parameters = list(inspect.signature(plain).parameters.values())
    extra = [
        each.name for each in parameters[2:] if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(parameters) < 2 or extra or any(each.kind not in (each.POSITIONAL_OR_KEYWORD, each.POSITIONAL_ONLY) for each in parameters[:2]):
        raise PortDefinitionError(f"{where}: a handler takes exactly one message: write def {port}(self, message: ItsType)")
    annotation = parameters[1].annotation
    if annotation is inspect.Parameter.empty:
        raise PortDefinitionError(
            f"{where}: its parameter {parameters[1].name!r} has no annotation, so the port has no message type; add one"
        )
    scope = _scope(plain, owner)
    return runtime_types(_element(annotation, where, port, scope) if in_batches else annotation, where, scope)


def _element(annotation: Any, where: str, port: str, scope: Mapping[str, Any]) -> Any:
    if isinstance(annotation, str | typing.ForwardRef):
        annotation = _evaluate(annotation if isinstance(annotation, str) else annotation.__forward_arg__, where, scope)
    if typing.get_origin(annotation) is not list:
        raise PortDefinitionError(f"{where}: a batch handler takes a list of messages: write def {port}(self, messages: list[ItsType])")
    return typing.get_args(annotation)[0]


def runtime_types(annotation: Any, where: str, scope: Mapping[str, Any] | None = None) -> type | tuple[type, ...]:
    """The classes that stand for `annotation` at run time: one class, or a tuple of them for a union.

    As for a type checker, `float` takes ints too. The arguments of generics (`list[int]`) are not checked.

    Args:
        annotation: a type, or its name as a string.
        where: what an error text begins with.
        scope: the names that strings may use.

    Raises:
        PortDefinitionError: it stands for nothing that `isinstance` could check.
    """
    found = dict.fromkeys(_classes(annotation, where, {} if scope is None else scope))
    return next(iter(found)) if len(found) == 1 else tuple(found)


def _classes(annotation: Any, where: str, scope: Mapping[str, Any]) -> list[type]:
    origin: Any = typing.get_origin(annotation)
    meant: list[Any]
    if annotation is Any:
        return [object]
    if annotation is None:
        return [types.NoneType]
    if isinstance(annotation, type) and origin is None:
        return _class(annotation, where)
    if isinstance(annotation, str | typing.ForwardRef):
        meant = [_evaluate(annotation if isinstance(annotation, str) else annotation.__forward_arg__, where, scope)]
    elif isinstance(annotation, typing.TypeVar):
        meant = list(annotation.__constraints__ or (annotation.__bound__ or object,))
    elif isinstance(annotation, typing.NewType):
        meant = [annotation.__supertype__]
    elif type(annotation).__name__ == "TypeAliasType":  # `type X = …`, from Python 3.12
        meant = [getattr(annotation, "__value__", object)]
    elif origin is typing.Annotated:
        meant = [typing.get_args(annotation)[0]]
    elif origin is typing.Literal:
        meant = [type(value) for value in typing.get_args(annotation)]
    elif origin in UNIONS:
        meant = list(typing.get_args(annotation))
    elif origin is not None:
        meant = [origin]
    else:
        raise PortDefinitionError(f"{where}: {annotation!r} is not a type that a message can be checked against; use a class or a union")
    return [each for one in meant for each in _classes(one, where, scope)]


def _class(annotation: type, where: str) -> list[type]:
    if dict in annotation.__mro__ and hasattr(annotation, "__total__"):
        return [dict]  # a TypedDict
    if getattr(annotation, "_is_protocol", False) and not getattr(annotation, "_is_runtime_protocol", False):
        raise PortDefinitionError(
            f"{where}: protocol {annotation.__name__} can't be checked at run time; decorate it with @runtime_checkable"
        )
    return {float: [float, int], complex: [complex, float, int]}.get(annotation, [annotation])


def _scope(function: Callable[..., Any], owner: type) -> Mapping[str, Any]:
    """What a name in a string annotation of `function` may mean (`from __future__ import annotations` makes strings of all).

    Python itself forgets the local names around a class statement, so they are looked up in the frames that are still there.
    """
    frame: types.FrameType | None = sys._getframe(1)
    around: list[MutableMapping[str, Any]] = []
    while frame is not None and len(around) < CLASS_STATEMENT_DEPTH:
        if not frame.f_globals.get("__name__", "").startswith("actorkit._runtime."):
            around.append(frame.f_locals)
        frame = frame.f_back
    own = {owner.__name__: owner, **{each.__name__: each for each in getattr(owner, "__type_params__", ())}, **vars(owner)}
    outside: list[MutableMapping[str, Any]] = [getattr(function, "__globals__", {}), dict(vars(builtins))]
    # The names of a function that defines the class hide those of its module; those of its callers hide nothing.
    if "<locals>" in owner.__qualname__:
        return ChainMap(own, *around[:1], *outside, *around[1:])
    return ChainMap(own, *outside, *around)


def _evaluate(text: str, where: str, scope: Mapping[str, Any]) -> Any:
    try:
        return eval(text, {}, scope)  # noqa: S307  # the class author's own annotation, as typing.get_type_hints does
    except Exception as error:
        problem = error
    try:
        # What stands in the brackets of a generic is not checked, so it need not be known yet: ActorRef[Later].
        code = compile(_WithoutArguments().visit(ast.parse(text, mode="eval")), where, "eval")
        return eval(code, {}, scope)  # noqa: S307
    except Exception:
        raise PortDefinitionError(
            f"{where}: its annotation {text!r} can't be resolved ({problem}); define or import that type before the class"
            " (not under TYPE_CHECKING alone)"
        ) from None


class _WithoutArguments(ast.NodeTransformer):
    """`ActorRef[Later]` → `ActorRef`."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        name = getattr(node.value, "attr", getattr(node.value, "id", None))
        return self.generic_visit(node) if name in CHECKED_ARGUMENTS else self.visit(node.value)
