"""Which kind of cell an actor needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorkit._runtime.batches import BatchCell
from actorkit._runtime.cell import Cell
from actorkit._runtime.stepping import StepCell
from actorkit.errors import SpecError

if TYPE_CHECKING:
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.supervisor import Supervisor


def make_cell(kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor) -> Cell:
    """The cell of one actor, of the kind that its ports need.

    Raises:
        SpecError: it has a durable port, and the system has no store.
    """
    kind = cell_class(kernel, spec, path)
    return kind(kernel, spec, path, supervisor)


def cell_class(kernel: Kernel, spec: ChildSpec[Any], path: str) -> type[Cell]:
    """The same, without making it."""
    check_store(kernel, spec, path)
    if spec.actor.actorkit_blueprint.has_batches:
        return BatchCell
    return StepCell if kernel.steps(spec.actor) else Cell


def check_store(kernel: Kernel, spec: ChildSpec[Any], path: str) -> None:
    """Raises SpecError if it has a durable port, and the system has no store."""
    durable = [name for name, port in spec.actor.actorkit_blueprint.in_ports.items() if port.settings.durable]
    if durable and not kernel.is_durable:
        raise SpecError(f'{path}.{durable[0]} is durable, but the system has no store: give it one, run(tree, store=SqliteStore("app.db"))')
