"""Notices a port that hears nothing for too long (`idle_timeout`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from actorkit._runtime.attentive import AttentiveQueue
    from actorkit._runtime.mailbox import Mailbox


class IdleWatch:
    """Watches one port for one life of its actor. Each silence is reported once, and again when it has lasted as long once more."""

    __slots__ = ("_mailbox", "_queue", "_seconds", "deadline")

    def __init__(self, mailbox: Mailbox, seconds: float, queue: AttentiveQueue) -> None:
        self._mailbox = mailbox
        self._seconds = seconds
        self._queue = queue
        queue.heard_at = trio.current_time()
        self.deadline = 0.0
        self._arm()

    def _arm(self) -> None:
        kernel = self._mailbox.cell.kernel
        self.deadline = self._queue.heard_at + self._seconds
        kernel.timers.add(self)
        kernel.repeating += 1  # it keeps no run alive

    def fire(self) -> None:
        """The port would be silent for too long now, if nothing has come meanwhile."""
        mailbox, queue, now = self._mailbox, self._queue, self.deadline
        mailbox.cell.kernel.repeating -= 1
        is_excused = bool(queue) or mailbox.cell.kernel.is_emergency  # what waits in the port is no silence; nor is a source slowed down
        is_silent = queue.heard_at + self._seconds <= now and not is_excused
        if is_silent or is_excused:
            queue.heard_at = now
        if is_silent and mailbox.is_in_stream and not mailbox.open_wires:
            return  # its streams have ended: nothing more will come
        self._arm()
        if is_silent:
            mailbox.cell.recovery.port_is_silent(mailbox, self._seconds)

    def cancel(self) -> None:
        """The life that it watches for ends."""
        kernel = self._mailbox.cell.kernel
        if kernel.timers.remove(self):
            kernel.repeating -= 1
