"""Finds the tree that `MODULE:TREE` names, and makes a system of it that does not run."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from types import ModuleType
from typing import Any, TypeVar

import trio

from actorkit._runtime.kernel import Kernel
from actorkit._runtime.specs import ChildSpec, Spec, SupervisorSpec
from actorkit._runtime.system import System, Tree
from actorkit._runtime.wording import shown
from actorkit.cli.complaints import CommandError, told
from actorkit.errors import ActorkitError
from actorkit.storage.memory import MemoryStore

T = TypeVar("T")

EXPECTED = "a spec, such as supervisor(…) or child(…) makes, or a function that returns one"


def tree_name(text: str) -> tuple[str, str]:
    """The module and the name in `MODULE:TREE`.

    Raises:
        ValueError: it is not of that form.
    """
    module, colon, name = text.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError(text)
    return module, name


def load_tree(module: str, name: str) -> Tree:
    """The tree of this name in this module; what the module prints goes to stderr, so that it is not taken for ours.

    Raises:
        CommandError: there is no such module or name, it is no tree, or the module or function raised.
    """
    with redirect_stdout(sys.stderr):
        given = _named(_import(module), name)
        title = f"{module}:{name}"
        if not isinstance(given, Spec) and callable(given) and not isinstance(given, type):
            given, title = _called(given, title), f"what {title}() returns"
    if not isinstance(given, SupervisorSpec | ChildSpec):
        raise CommandError(f"{title} is {shown(given)}: expected {EXPECTED}")
    return given


def look_at(tree: Tree, look: Callable[[Kernel], T]) -> T:
    """What `look` finds in a system of this tree in which everything is wired, and nothing has been started.

    Raises:
        CommandError: the tree is broken: a wire that does not fit, say.
    """

    async def look_inside() -> T:
        system = System(tree, store=MemoryStore(), cascade=False)  # with a store, durable ports are fine
        try:
            return look(system.kernel)
        finally:
            system.kernel.stop()

    try:
        return trio.run(look_inside)
    except ActorkitError as error:
        raise CommandError(f"this tree is broken: {type(error).__name__}: {error}") from error


def _import(name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(f"there is no module {error.name!r} in {folder}, and none is installed; run this where it is") from error
        raise CommandError(f"{name} could not be imported: {told(error)}") from error
    except Exception as error:
        raise CommandError(f"{name} could not be imported: {told(error)}") from error
    except SystemExit as error:
        raise CommandError(f"{name} could not be imported: it ends the process; put that under if __name__ == '__main__'") from error


def _named(module: ModuleType, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    trees = [each for each, value in vars(module).items() if isinstance(value, Spec)]
    close = get_close_matches(name, vars(module), n=3) or trees
    hint = f"did you mean {' or '.join(close)}?" if close else f"give it a name there that stands for {EXPECTED}"
    raise CommandError(f"module {module.__name__} has no {name!r}; {hint}")


def _called(function: Callable[..., Any], title: str) -> object:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise CommandError(f"{title} is async: a tree is made by a plain function, before anything runs")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # something built in: it says itself what it lacks
        parameters = []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in variable]
    if needed:
        raise CommandError(f"{title} needs arguments: {', '.join(needed)}; give them defaults, or name a function that needs none")
    try:
        return function()
    except Exception as error:
        raise CommandError(f"{title}() failed: {told(error)}") from error
