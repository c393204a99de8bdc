"""House rules that linters cannot see; CONTRIBUTING.md has them in words.

A rule that rings is a question: is there a second idea in that file? If not, name the exception below, with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

PACKAGE = Path(__file__).parent.parent / "actorkit"
LONGEST_FILE = 400
LONGEST_FUNCTION = 60  # a screen; its docstring is not counted
VAGUE_NAMES = {"base", "common", "helper", "helpers", "misc", "util", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef

# ---- exceptions: a name, and why. Files are named as under actorkit/, functions as "file.py:Class.method".

LONG_FILES: dict[str, tuple[int, str]] = {  # with the cap it has instead
    "events.py": (820, "one class for each thing that can happen, and nothing else"),
    "_runtime/cell.py": (520, "one actor, from mail to rest: what a message meets is read in one sitting"),
    "_runtime/mailbox.py": (465, "a port's queue: all the ways into it and out of it, which keep the books balanced together"),
    "_runtime/ports.py": (425, "how ports and topics are declared and wired, from the decorator to the wire"),
}

LONG_FUNCTIONS: dict[str, tuple[int, str]] = {}  # with the cap it has instead

CATCHES_EVERY_EXCEPTION: dict[str, str] = {  # where a failure becomes a value
    "_runtime/annotations.py": "an annotation that can't be evaluated becomes a PortDefinitionError",
    "_runtime/batches.py": "a batch that fails is split, until what fails is one message's failure",
    "_runtime/kept_letters.py": "bytes that are no dead letter are shown as one that says so",
    "_runtime/cascade_manager.py": "a defect of the watch is reported, and ends nothing of what it guards",
    "_runtime/cell.py": "a handler's failure becomes an ErrorContext",
    "_runtime/health_monitor.py": "a health() that fails counts as UNHEALTHY",
    "_runtime/incarnation.py": "a hook's failure becomes an ErrorContext, or an event when its actor is ending anyway",
    "_runtime/wording.py": "an error text shows a message whose repr raises",
    "_runtime/sources.py": "a source's snapshot that fails is the actor's failure, or an event when it is ending anyway",
    "_runtime/stepping.py": "as in cell.py, for actors that step; and a snapshot that fails is the actor's failure",
    "_runtime/recoveries.py": "what a recovery raises is raised where somebody has asked for it",
    "_runtime/recovery.py": "a user's policy that fails is replaced by ours, so that the message keeps its fate",
    "policy/traces.py": "some exceptions Python itself cannot print",
    "policy/wording.py": "an exception whose own text can't be made is told all the same",
    "storage/codec.py": "what is wrong with a value becomes the text of an EncodingError",
}

KEEPS_BASE_EXCEPTION: dict[str, str] = {  # hands it to someone else instead of raising it again
    "_runtime/dispatcher.py": "what trio throws is thrown on into the coroutine that waits",
    "_runtime/kernel.py": "what ends a task of the runtime ends the system, which raises it",
    "_runtime/reply_streams.py": "what ends a wait for the reader is thrown on into the generator",
    "_runtime/system.py": "raised again outside of the nursery, so that no group is wrapped around it",
}

RUNS_TEXT_AS_CODE: dict[str, str] = {
    "_runtime/annotations.py": "the class author's own annotation, as typing.get_type_hints does",
}


# ---- reading the package


@frozen
class Definition:
    """A function or class, by the name that the exceptions above use. `public`: its name, and those of all it stands in, are public."""

    name: str
    node: Function | ast.ClassDef
    owner: ast.AST
    public: bool


@cache
def files() -> dict[str, str]:
    """The text of every file of the package."""
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every file of the package."""
    return {name: ast.parse(text) for name, text in files().items()}


def definitions(file: str, inside: ast.AST, prefix: str = "", *, public: bool = True) -> Iterator[Definition]:
    """Every function and class in a syntax tree. What stands under `if TYPE_CHECKING:`, or is local to a function, is not public."""
    for node in ast.iter_child_nodes(inside):
        if isinstance(node, Function | ast.ClassDef):
            name = f"{prefix}{node.name}"
            seen = public and not node.name.startswith("_")
            yield Definition(f"{file}:{name}", node, inside, seen)
            yield from definitions(file, node, f"{name}.", public=seen and isinstance(node, ast.ClassDef))
        else:
            typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            yield from definitions(file, node, prefix, public=public and not typing_only)


def all_definitions() -> Iterator[Definition]:
    """Every function and class in the package."""
    for file, tree in trees().items():
        yield from definitions(file, tree)


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Every class of the package by its plain name."""
    return {each.node.name: each.node for each in all_definitions() if isinstance(each.node, ast.ClassDef)}


def inherits_docstring(owner: ast.ClassDef, method: str) -> bool:
    """Whether a base class of the package has documented what this method overrides."""
    for base in owner.bases:
        parent = classes().get(last_name(base.value if isinstance(base, ast.Subscript) else base))
        if parent is None:
            continue
        if any(isinstance(node, Function) and node.name == method and ast.get_docstring(node) for node in parent.body):
            return True
        if inherits_docstring(parent, method):
            return True
    return False


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def last_name(node: ast.AST) -> str:
    """`Cancelled` of both `Cancelled` and `trio.Cancelled`."""
    return ast.unparse(node).rpartition(".")[2]


def names(node: ast.expr | None) -> set[str]:
    """The names of the exceptions in an `except`: of one, of a tuple, or of none, if it is bare."""
    if node is None:
        return set()
    return {last_name(each) for each in (node.elts if isinstance(node, ast.Tuple) else [node])}


def raises(statements: list[ast.stmt]) -> bool:
    """Whether a `raise` stands among the statements, or in their branches, but not in a function defined there."""
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise):
            return True
        if not isinstance(node, Function | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return False


def swallowing(what: set[str]) -> Iterator[tuple[str, int]]:
    """File and line of every `except` and `suppress()` of any of these exceptions that does not raise again."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.ExceptHandler() if names(node.type) & what and not raises(node.body):
                    yield file, node.lineno
                case ast.Call() if last_name(node.func) == "suppress" and {last_name(each) for each in node.args} & what:
                    yield file, node.lineno
                case _:
                    pass


def catching_every_exception() -> Iterator[tuple[str, int]]:
    """File and line of everything that swallows any Exception."""
    return swallowing({"Exception"})


def keeping_base_exceptions() -> Iterator[tuple[str, int]]:
    """File and line of everything that swallows what is not for us: a cancellation, an interrupt, an exit."""
    return swallowing({"BaseException", "BaseExceptionGroup", "Cancelled", "GeneratorExit", "KeyboardInterrupt", "SystemExit"})


def running_text_as_code() -> Iterator[tuple[str, int]]:
    """File and line of every `eval()`, `exec()` and import of pickle or marshal."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="eval" | "exec")):
                    yield file, node.lineno
                case ast.Import() if {each.name for each in node.names} & {"marshal", "pickle"}:
                    yield file, node.lineno
                case ast.ImportFrom(module="marshal" | "pickle"):
                    yield file, node.lineno
                case _:
                    pass


# ---- the rules


def test_there_is_a_package_to_look_at() -> None:
    assert (PACKAGE / "__init__.py").is_file()


def test_a_file_has_one_idea_and_400_lines_at_most() -> None:
    lengths = {file: len(text.splitlines()) for file, text in files().items()}

    assert {file: lines for file, lines in lengths.items() if lines > LONG_FILES.get(file, (LONGEST_FILE,))[0]} == {}


def test_a_function_fits_a_screen() -> None:
    lengths = {each.name: length(each.node) for each in all_definitions() if isinstance(each.node, Function)}

    assert {name: lines for name, lines in lengths.items() if lines > LONG_FUNCTIONS.get(name, (LONGEST_FUNCTION,))[0]} == {}


def test_a_module_name_says_what_is_in_it() -> None:
    assert [file for file in files() if VAGUE_NAMES & set(file.removesuffix(".py").split("/"))] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [file for file, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_everything_public_says_what_it_does() -> None:
    def documented_elsewhere(each: Definition) -> bool:
        marks = {last_name(mark) for mark in each.node.decorator_list}
        if marks & {"overload", "override", "setter", "deleter", "default", "validator"}:
            return True
        return isinstance(each.owner, ast.ClassDef) and inherits_docstring(each.owner, each.node.name)

    public = [each for each in all_definitions() if each.public and not documented_elsewhere(each)]

    assert [each.name for each in public if not ast.get_docstring(each.node)] == []


def test_no_except_is_bare() -> None:
    handlers = [(file, node) for file, tree in trees().items() for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]

    assert [f"{file}:{handler.lineno}" for file, handler in handlers if handler.type is None] == []


def test_every_exception_is_caught_only_where_a_failure_becomes_a_value() -> None:
    assert [f"{file}:{line}" for file, line in catching_every_exception() if file not in CATCHES_EVERY_EXCEPTION] == []


def test_nobody_keeps_a_cancellation_or_an_interrupt() -> None:
    assert [f"{file}:{line}" for file, line in keeping_base_exceptions() if file not in KEEPS_BASE_EXCEPTION] == []


def test_nothing_is_left_to_do() -> None:
    assert [file for file, text in files().items() if re.search(r"\b(TODO|FIXME|XXX)\b", text)] == []


def test_no_text_is_run_as_code() -> None:
    assert [f"{file}:{line}" for file, line in running_text_as_code() if file not in RUNS_TEXT_AS_CODE] == []


def test_no_exception_to_a_rule_outlives_its_need() -> None:
    lengths = {each.name: length(each.node) for each in all_definitions() if isinstance(each.node, Function)}
    needed = {
        *(file for file, text in files().items() if len(text.splitlines()) > LONGEST_FILE),
        *(name for name, lines in lengths.items() if lines > LONGEST_FUNCTION),
    }

    assert (LONG_FILES.keys() | LONG_FUNCTIONS.keys()) - needed == set()
    assert CATCHES_EVERY_EXCEPTION.keys() - {file for file, _ in catching_every_exception()} == set()
    assert KEEPS_BASE_EXCEPTION.keys() - {file for file, _ in keeping_base_exceptions()} == set()
    assert RUNS_TEXT_AS_CODE.keys() - {file for file, _ in running_text_as_code()} == set()
