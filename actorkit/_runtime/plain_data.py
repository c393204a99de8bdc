"""A running tree as plain data: what people and pages are shown of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorkit._runtime.groups import GroupCell
from actorkit._runtime.ledger import NUMBERS

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.supervisor import Supervisor


def tree_as_data(kernel: Kernel, supervisor: Supervisor) -> dict[str, Any]:
    """A supervisor, with all that is below it."""
    children: list[dict[str, Any]] = []
    for child in supervisor.children.values():
        below = kernel.supervisors.get(child.path) if child.kind == "supervisor" else None
        if below is not None:
            children.append(tree_as_data(kernel, below) | {"restarts": child.restarts})
        elif child.path in kernel.cells:
            cell = kernel.cells[child.path]
            members = {"members": [actor_as_data(each) for each in cell.keeper.members()]} if isinstance(cell, GroupCell) else {}
            children.append(actor_as_data(cell) | {"kind": child.kind} | members)
    return {
        "path": supervisor.path,
        "kind": "supervisor",
        "strategy": supervisor.spec.strategy.value,
        "status": "running" if supervisor.is_running else "stopped",
        "incarnation": supervisor.number,
        "restarts": 0,
        "children": children,
    }


def actor_as_data(cell: Cell) -> dict[str, Any]:
    """One actor."""
    return {
        "path": cell.path,
        "kind": "actor",
        "class": cell.actor_class.__qualname__,
        "status": cell.status,
        "incarnation": cell.number,
        "restarts": cell.restarts,
        "rate": None if cell.gates is None else cell.gates.rate,  # messages a second, while it is slowed down
        "ports": {mailbox.name: port_as_data(mailbox) for mailbox in cell.mailboxes.values()},
        "wires": {name: [target.path for target in outlet.targets] for name, outlet in cell.outlets.items() if outlet.targets},
        "discarded": {name: outlet.discarded for name, outlet in cell.outlets.items() if outlet.discarded},  # for want of a wire
    }


def port_as_data(mailbox: Mailbox) -> dict[str, Any]:
    """One port of one actor."""
    counts, gates = mailbox.counts(), mailbox.cell.gates
    breaker = None if gates is None else gates.breaker(mailbox.name)
    return {
        "capacity": mailbox.settings.capacity,
        "durable": mailbox.is_durable,
        "wired": mailbox.wired,
        "waiting_senders": len(mailbox.room),
        "breaker": None if breaker is None else breaker.state.value,
        **{name: getattr(counts, name) for name in NUMBERS},
    }
