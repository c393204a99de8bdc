"""From a handler's annotation to the classes that `isinstance` can check a message against."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import Any

from actorkit.errors import PortDefinitionError

if typing.TYPE_CHECKING:
    from collections.abc import Callable

UNIONS = (types.UnionType, vars(typing)["Union"])
"""`X | Y`, and the older spelling."""
CLASS_STATEMENT_DEPTH = 12
"""How many callers up the class statement may stand (decorators and metaclasses stand between)."""


def message_types(function: Callable[..., Any], owner: type, port: str) -> type | tuple[type, ...]:
    """The classes of message that the handler `function` takes, from the annotation of its parameter.

    Raises:
        PortDefinitionError: the handler has no message parameter, no annotation on it, or one that cannot be checked at run time.
    """
    where = f"{owner.__qualname__}.{port}"
    plain = inspect.unwrap(function)
    parameters = list(inspect.signature(plain).parameters.values())
    extra = [
        each.name for each in parameters[2:] if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if len(parameters) < 2 or extra or any(each.kind is not each.POSITIONAL_OR_KEYWORD for each in parameters[:2]):
        raise PortDefinitionError(f"{where}: a handler takes exactly one message: write def {port}(self, message: ItsType)")
    annotation = parameters[1].annotation
    if annotation is inspect.Parameter.empty:
        raise PortDefinitionError(
            f"{where}: its parameter {parameters[1].name!r} has no annotation, so the port has no message type; add one"
        )
    if isinstance(annotation, str):
        annotation = _evaluate(annotation, plain, owner, where)
    return runtime_types(annotation, where)


def runtime_types(annotation: Any, where: str) -> type | tuple[type, ...]:
    """The classes that stand for `annotation` at run time: one class, or a tuple of them for a union.

    As for a type checker, `float` takes ints too. The arguments of generics (`list[int]`) are not checked.

    Raises:
        PortDefinitionError: it stands for nothing that `isinstance` could check; the text starts with `where`.
    """
    found = dict.fromkeys(_classes(annotation, where))
    return next(iter(found)) if len(found) == 1 else tuple(found)


def _classes(annotation: Any, where: str) -> list[type]:
    origin = typing.get_origin(annotation)
    if annotation is Any or isinstance(annotation, typing.TypeVar):
        constraints = getattr(annotation, "__constraints__", ()) or (getattr(annotation, "__bound__", None) or object,)
        return [each for constraint in constraints for each in _classes(constraint, where)]
    if annotation is None:
        return [types.NoneType]
    if isinstance(annotation, typing.NewType):
        return _classes(annotation.__supertype__, where)
    if origin is typing.Annotated:
        return _classes(annotation.__origin__, where)
    if origin in UNIONS:
        return [each for member in typing.get_args(annotation) for each in _classes(member, where)]
    if origin is typing.Literal:
        return [type(value) for value in typing.get_args(annotation)]
    if isinstance(origin, type):
        return _classes(origin, where)
    if typing.is_typeddict(annotation):
        return [dict]
    if not isinstance(annotation, type):
        raise PortDefinitionError(
            f"{where}: {annotation!r} is not a type that a message can be checked against; annotate with a class or a union"
        )
    if getattr(annotation, "_is_protocol", False) and not getattr(annotation, "_is_runtime_protocol", False):
        raise PortDefinitionError(
            f"{where}: protocol {annotation.__name__} can't be checked at run time; decorate it with @runtime_checkable"
        )
    return {float: [float, int], complex: [complex, float, int]}.get(annotation, [annotation])


def _evaluate(text: str, function: Callable[..., Any], owner: type, where: str) -> Any:
    """Evaluates an annotation that is a string (`from __future__ import annotations`) where the class statement stands."""
    scopes: list[dict[str, Any]] = [dict(vars(owner))]
    frame = sys._getframe(1)
    for _ in range(CLASS_STATEMENT_DEPTH):
        if frame.f_back is None:
            break
        frame = frame.f_back
        scopes.append(dict(frame.f_locals))
    names = getattr(function, "__globals__", {})
    problem: Exception | None = None
    for scope in scopes:
        try:
            return eval(text, names, scope)  # noqa: S307  # the class author's own annotation, as typing.get_type_hints does
        except Exception as error:
            problem = problem or error
    raise PortDefinitionError(
        f"{where}: its annotation {text!r} can't be resolved ({problem}); define or import that type before the class"
    )
