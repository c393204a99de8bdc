"""`actorkit graph`: draws who sends to whom in a tree, or prints what is done about failures in it. Nothing is started."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

from actorkit._runtime.cell import Cell
from actorkit._runtime.graph import DependencyGraph, graph_of
from actorkit._runtime.kernel import Kernel
from actorkit.cli.complaints import CommandError
from actorkit.cli.drawing import draw
from actorkit.cli.trees import load_tree, look_at, tree_name
from actorkit.policy.recovery import RecoveryPolicy

FORMATS = ("mermaid", "svg", "json")
ENDINGS = {".svg": "svg", ".json": "json"}

EXAMPLES = """\
examples:
  actorkit graph examples.bank:tree
  actorkit graph examples.bank:tree --output bank.svg
  actorkit graph examples.bank:tree --policy
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to a command line."""
    parser = commands.add_parser(
        "graph",
        help="draw a tree: its supervisors, actors and wires",
        description="Draws a tree: its supervisors, its actors, and who sends to whom. Nothing is started.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tree", type=_tree, nargs="?", metavar="MODULE:TREE", help="a spec, or a function that returns one")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of printing")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--format", choices=FORMATS, help="default: what the ending of FILE says (.svg, .json), else mermaid")
    either.add_argument("--policy", action="store_true", help="the recovery table instead: what is done about which failure")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(asked: argparse.Namespace) -> None:
    """Does what was asked for.

    Raises:
        CommandError: there is no such tree, it is broken, or the file can't be written.
        SystemExit: no tree was given.
    """
    if asked.tree is None and not asked.policy:
        asked.usage_error("the following arguments are required: MODULE:TREE")
    if asked.tree is None:
        text = f"{RecoveryPolicy()}\n"
    else:
        tree = load_tree(*asked.tree)
        text = look_at(tree, policies) if asked.policy else _drawn(look_at(tree, graph_of), asked)
    if asked.output is None:
        sys.stdout.write(text)
    else:
        try:
            asked.output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{asked.output} can't be written: {error.strerror}") from error


def policies(kernel: Kernel) -> str:
    """The recovery tables of a tree, each below the paths that it holds for."""
    held: dict[RecoveryPolicy, list[str]] = {}
    for path, cell in kernel.cells.items():
        held.setdefault(_policy_of(cell), []).append(path)
    if not held:
        return "Nobody is in this tree yet for whom a table could hold.\n"
    tables: list[str] = []
    for policy, paths in held.items():
        whose = "all actors of this tree" if len(held) == 1 else ", ".join(paths)
        title = fill(f"For {whose}{_class_of(policy)}:", 100, break_long_words=False, break_on_hyphens=False)
        tables.append(f"{title}\n\n{policy}\n")
    return "\n".join(tables)


def _policy_of(cell: Cell) -> RecoveryPolicy:
    return cell.spec.recovery or cell.supervisor.recovery


def _class_of(policy: RecoveryPolicy) -> str:
    """A subclass may decide otherwise than its table says."""
    return "" if type(policy) is RecoveryPolicy else f" ({type(policy).__qualname__}, whose own decide() may differ from this table)"


def _drawn(graph: DependencyGraph, asked: argparse.Namespace) -> str:
    kind = asked.format or (ENDINGS.get(asked.output.suffix.lower(), "mermaid") if asked.output is not None else "mermaid")
    if kind == "svg":
        return draw(graph, ":".join(asked.tree))
    if kind == "json":
        data: dict[str, Any] = graph.as_data()
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return graph.mermaid()


def _tree(text: str) -> tuple[str, str]:
    try:
        return tree_name(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected MODULE:TREE, such as examples.bank:tree") from None
