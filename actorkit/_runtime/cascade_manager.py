"""The root of every tree: the supervisor that is left when all others have given up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from actorkit._runtime.supervisor import Supervisor
from actorkit.errors import SupervisionError

if TYPE_CHECKING:
    from actorkit._runtime.child import Child
    from actorkit.messages import Exit


class CascadeManager(Supervisor):
    """The root supervisor. It does not restart the tree below: when that gives up, the run ends with the cause."""

    async def child_exited(self, child: Child, exit: Exit) -> None:
        """The top tree has ended by itself, or given up."""
        if not child.is_running or exit.incarnation != child.number:
            return
        await child.stop(exit.reason, math.inf)
        if exit.reason.is_abnormal:
            cause = None if exit.error is None else exit.error.exception
            what = "" if exit.error is None else f": {exit.error.component_name}: {exit.error.summary}"
            error = SupervisionError(f"{child.path} gave up, and nobody is left to recover it{what}", exit)
            error.__cause__ = cause
            self.kernel.crash(error)
        else:
            await self._ended(child, exit)
            self.kernel.system.top_ended()
