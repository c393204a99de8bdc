"""The actors of a system: by path, and by what they are looked for otherwise, so that nobody looks through all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from actorkit._runtime.cell import Cell
    from actorkit._runtime.specs import Spec


class Register(dict[str, "Cell"]):
    """Actors by path. Changed by `add` and `remove` alone."""

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        super().__init__()
        self._by_class: dict[type, dict[Cell, None]] = {}
        self._specs: dict[Spec, int] = {}
        for cell in cells:
            self.add(cell)

    def add(self, cell: Cell) -> None:
        """An actor is made."""
        self[cell.path] = cell
        self._by_class.setdefault(cell.actor_class, {})[cell] = None
        self._specs[cell.spec] = self._specs.get(cell.spec, 0) + 1

    def remove(self, cell: Cell) -> None:
        """It exists no more; does nothing if it is not here."""
        if self.get(cell.path) is cell:
            del self[cell.path]
            of_class = self._by_class[cell.actor_class]
            del of_class[cell]
            if not of_class:
                del self._by_class[cell.actor_class]
            self._specs[cell.spec] -= 1
            if not self._specs[cell.spec]:
                del self._specs[cell.spec]

    def candidates(self, actor_class: type) -> list[Cell]:
        """The actors of exactly this class; if there is none, those of its subclasses."""
        exact = self._by_class.get(actor_class)
        if exact:
            return list(exact)
        return [cell for each, cells in self._by_class.items() if issubclass(each, actor_class) for cell in cells]

    @property
    def classes(self) -> Collection[type]:
        """The classes of which there is an actor."""
        return self._by_class.keys()

    def has(self, spec: Spec) -> bool:
        """Whether there is an actor of this spec."""
        return spec in self._specs

    def of_spec(self, spec: Spec, actor_class: type) -> Cell | None:
        """The first actor of this spec, which is for actors of this class."""
        return next((cell for cell in self._by_class.get(actor_class, ()) if cell.spec is spec), None) if self.has(spec) else None
