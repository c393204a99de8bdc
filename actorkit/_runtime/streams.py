"""The end of a system: streams that have not ended by themselves (cycles, actors that others send to by address) are ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel


async def finish_streams(kernel: Kernel) -> None:
    """Ends what is still open, from upstream down: `on_drained` runs, wires close, until all is quiet.

    Each round ends the actors that no other open actor comes before, or that are in a cycle with all that do. They
    exit only when all of the round is quiet: what the last words of one in a cycle lead to is still handled by the others.
    """
    ended: set[Incarnation] = set()
    while True:
        await kernel.wait_quiet()
        lives = [cell.life for cell in _most_upstream([cell for cell in kernel.cells.values() if _is_open(cell, ended)]) if cell.life]
        if not lives:
            return
        for life in lives:
            ended.add(life)
            if not life.cell.is_busy:
                life.tell_drained(lambda _: None)
        await kernel.wait_quiet()
        for life in lives:
            if life.cell.life is not life or life.cell.drained:
                continue
            if life.cell.is_busy:
                life.cell.close_wires()  # what it has in hand is stuck: nothing more will come of it
            else:
                life.end_streams()


async def say_last_words(kernel: Kernel, has_time: Callable[[Cell], bool], work_off: Callable[[], Awaitable[None]]) -> None:
    """The system is being stopped, and all that came is worked off: `on_drained` runs, from upstream down, where it has not yet.

    What it leads to is worked off before those further down have their turn. No wires close and nobody exits: the actors are
    stopped in order afterwards.
    """
    told: set[Incarnation] = set()
    while cells := _most_upstream([cell for cell in kernel.cells.values() if _has_last_words(cell, told)]):
        for cell in cells:
            if cell.life is not None:
                told.add(cell.life)
                if has_time(cell) and not cell.is_busy:
                    cell.life.tell_drained(lambda _: None)
        await work_off()


def _has_last_words(cell: Cell, told: set[Incarnation]) -> bool:
    return cell.life is not None and "on_drained" in cell.life.hooks and _is_open(cell, told)


def _is_open(cell: Cell, ended: set[Incarnation]) -> bool:
    return cell.life is not None and not cell.drained and cell.life not in ended


def _most_upstream(cells: list[Cell]) -> list[Cell]:
    """Those of `cells` that can be reached only from cells that they reach themselves."""
    # Of the starts, which none before them reaches, the last is reached by no other; nor is one that those after it don't reach either.
    found: set[Cell] = set()
    starts = [cell for cell in cells if _downstream(cell, found)]
    found.clear()
    most: set[Cell] = set()
    for cell in reversed(starts):
        most |= _cycle_of(cell, _downstream(cell, found))
    return [cell for cell in cells if cell in most]


def _downstream(cell: Cell, found: set[Cell]) -> dict[Cell, list[Cell]]:
    """What messages from `cell` can reach over wires, and itself, each with who of them sends to it; without, and added to, `found`."""
    if cell in found:
        return {}
    found.add(cell)
    senders: dict[Cell, list[Cell]] = {cell: []}
    pending = [cell]
    while pending:
        sender = pending.pop()
        for outlet in sender.outlets.values():
            for mailbox in outlet.reach():
                receiver = mailbox.cell
                if receiver not in found:
                    found.add(receiver)
                    senders[receiver] = []
                    pending.append(receiver)
                if receiver in senders:
                    senders[receiver].append(sender)
    return senders


def _cycle_of(cell: Cell, senders: dict[Cell, list[Cell]]) -> set[Cell]:
    """Those of `senders` that reach `cell`."""
    cycle: set[Cell] = set()
    pending = [cell] if senders else []
    while pending:
        each = pending.pop()
        if each not in cycle:
            cycle.add(each)
            pending.extend(senders[each])
    return cycle
