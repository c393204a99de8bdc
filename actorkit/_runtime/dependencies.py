"""Which actors need which: who sends to somebody needs them, and `depends_on` says what no wire shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorkit._runtime.groups import MemberCell
from actorkit._runtime.specs import ChildSpec, Spec
from actorkit.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.supervisor import Supervisor


def node_of(cell: Cell) -> Cell:
    """What stands for this actor among its dependencies: itself, or the group that it is a member of."""
    return cell.group if isinstance(cell, MemberCell) else cell


def needs_of(kernel: Kernel, cell: Cell, looked_up: dict[Any, list[Cell]] | None = None) -> list[Cell]:
    """The actors, or groups, that this one needs. `looked_up` keeps what `depends_on` names, where this is asked of many."""
    found = [mailbox.cell for outlet in cell.outlets.values() for mailbox in outlet.reach()]
    looked_up = {} if looked_up is None else looked_up
    for what in [what for spec in _specs_of(cell) for what in spec.depends_on]:
        if what not in looked_up:
            looked_up[what] = _found(kernel, what)
        found += looked_up[what]
    return [node for node in dict.fromkeys(map(node_of, found)) if node is not cell]


def all_needs(kernel: Kernel) -> dict[Cell, list[Cell]]:
    """The same of all."""
    looked_up: dict[Any, list[Cell]] = {}
    return {cell: needs_of(kernel, cell, looked_up) for cell in kernel.cells.values() if node_of(cell) is cell}


def check_dependencies(kernel: Kernel) -> None:
    """Raises SpecError if something depends on what is not in the tree."""
    for spec in {spec for cell in kernel.cells.values() for spec in _specs_of(cell)}:
        for each in spec.depends_on:
            if not _found(kernel, each):
                raise SpecError(f"{spec.title} depends on {each!r}, which is not in this tree; name a class, a child or a path that is")


def _specs_of(cell: Cell) -> Iterable[Spec]:
    """Its own, and those of all supervisors above: what these depend on, so do all below them."""
    yield cell.spec
    supervisor: Supervisor | None = cell.supervisor
    while supervisor is not None:
        yield supervisor.spec
        supervisor = supervisor.parent


def _found(kernel: Kernel, what: Any) -> list[Cell]:
    found: list[Cell] = []
    for path in named_in(kernel, what):
        cell = kernel.find(path)
        found += _below(kernel, path) if cell is None else [cell]
    return found


def named_in(kernel: Kernel, what: Any) -> list[str]:
    """The paths of what an entry of `depends_on` names: actors, groups, members, or supervisors, which stand for all below them."""
    if isinstance(what, str):
        return [what] if what in kernel.supervisors or kernel.find(what) is not None else []
    if isinstance(what, ChildSpec):
        return [path for path, cell in kernel.cells.items() if cell.spec is what]
    if isinstance(what, Spec):
        return [path for path, each in kernel.supervisors.items() if each.spec is what]
    return [cell.path for cell in kernel.cells.candidates(what)]


def _below(kernel: Kernel, path: str) -> list[Cell]:
    return [cell for each, cell in kernel.cells.items() if each.startswith(f"{path}/") and not isinstance(cell, MemberCell)]
