"""The end of a run: streams that cannot end by themselves (cycles, actors that others send to by address) are ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel


async def finish_streams(kernel: Kernel) -> None:
    """Closes ports that are still open, from upstream down: `on_drained` runs, wires close, until all is quiet.

    Each round ends the actors that have no open actor before them that they are not before of, too: a cycle goes as one.
    """
    while True:
        await kernel.wait_quiet()
        still_open = [cell for cell in kernel.cells.values() if cell.life is not None and not cell.drained]
        if not still_open:
            return
        for cell in _most_upstream(still_open):
            for mailbox in cell.mailboxes.values():
                mailbox.open_wires = 0
            if cell.life is not None and not cell.drained:
                cell.ending = True
                cell.life.check_drained()
                cell.drained = True  # also where a message is stuck: nothing more will come of it


def _most_upstream(cells: list[Cell]) -> list[Cell]:
    """Those of `cells` that can be reached only from cells that they reach themselves."""
    reached = {cell: _downstream(cell) for cell in cells}
    before: dict[Cell, list[Cell]] = {cell: [] for cell in cells}
    for cell, others in reached.items():
        for other in others:
            if other in before:
                before[other].append(cell)
    return [cell for cell in cells if all(upstream in reached[cell] for upstream in before[cell])]


def _downstream(cell: Cell) -> set[Cell]:
    """All cells that messages from `cell` can reach over wires."""
    found: set[Cell] = set()
    pending = [cell]
    while pending:
        for outlet in pending.pop().outlets.values():
            for mailbox in outlet.targets:
                if mailbox.cell not in found:
                    found.add(mailbox.cell)
                    pending.append(mailbox.cell)
    return found
