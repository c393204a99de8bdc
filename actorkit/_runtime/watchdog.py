"""Notices a handler that blocks everybody: a plain one that computes for long, or an async one that calls what blocks.

It has a thread of its own, since nothing else runs meanwhile, and goes by the real clock.
"""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, Final

from actorkit._runtime.wording import shown
from actorkit.events import HandlerBlocks

if TYPE_CHECKING:
    from types import FrameType

    from actorkit._runtime.kernel import Kernel

BLOCKS_AFTER: Final = 1.0
"""Seconds that a handler may hold the thread before that is reported."""
LOOKS: Final = 4
"""How often it looks within that time."""
LONGEST_STACK: Final = 20
"""Frames that are shown."""


class Watchdog:
    """Looks at what the dispatcher is at, from a thread."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._end = threading.Event()
        self._watched = threading.get_ident()  # trio's thread
        self._thread = threading.Thread(target=self._watch, name="actorkit watchdog", daemon=True)

    def start(self) -> None:
        """Begins to watch the calling thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._end.set()

    def _watch(self) -> None:
        seen: object = None
        looks = 0
        while not self._end.wait(BLOCKS_AFTER / LOOKS):
            now = self._kernel.dispatcher.at
            looks = looks + 1 if now is not None and now == seen else 0
            seen = now
            if looks == LOOKS:
                self._report()

    def _report(self) -> None:
        cell = self._kernel.dispatcher.current
        port = None if cell is None else cell.port
        frame = sys._current_frames().get(self._watched)
        if cell is not None and port is not None and frame is not None:
            self._kernel.events.publish_from_thread(
                HandlerBlocks(port.path, BLOCKS_AFTER, shown(cell.payload), _stack(frame)), self._kernel.token
            )


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)[-LONGEST_STACK:])
