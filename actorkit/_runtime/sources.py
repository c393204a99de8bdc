"""What a source sends to durable ports: committed with its position.

A source (`run`) moves its position, its `snapshot`, on after each send. So once the position is seen to have moved on, all that
was sent before is committed with it, in one transaction: then the source, started again, goes on where its outputs end.
The position is looked at when the source sends again, at its end, and now and then meanwhile. `on_drained` is such a step, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorkit._runtime.steps import add, check_alive, wait_for_key
from actorkit._runtime.timers import Alarm
from actorkit._runtime.waits import DONE
from actorkit.events import CleanupFailed
from actorkit.storage.store import Changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorkit._runtime.durable_mailbox import Durable
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.stepping import Stepping
    from actorkit._runtime.steps import Step

AHEAD: Final = 512
"""Messages that a source may have sent that are not committed: so many, but no more than there is room for at the port."""
LOOK_AFTER: Final = 0.005
"""Seconds after a send, when the position is looked at if no other follows; twice as many each time that it has not moved."""
LOOK_EVERY: Final = 1.0
"""Seconds between such looks at most."""


class Source:
    """The stage of one life's `run`, or `on_drained`."""

    def __init__(self, life: Incarnation, cell: Stepping, step: Step, *, has_position: bool) -> None:
        self._life = life
        self._cell = cell
        self._step = step
        self._has_position = has_position  # on_drained has none: all that it sends is one step
        self._seen = step.state() if has_position else None  # the position, when it was looked at last
        self._position: bytes | None = None  # that of what is sealed
        self._alarm: Alarm | None = None
        self._wait = LOOK_AFTER

    # Sending

    def stage(self, mailbox: Durable, message: Any, key: str | None) -> Awaitable[None]:
        """See `Stage`."""
        catching_up = self.slow_down([mailbox])
        dispatcher = mailbox.dispatcher
        if key is not None or catching_up is not None or dispatcher.budget <= 0:
            return self._stage_later(mailbox, message, key, catching_up)
        dispatcher.budget -= 1
        self._add(mailbox, message, None)
        return DONE

    async def _stage_later(self, mailbox: Durable, message: Any, key: str | None, catching_up: Awaitable[None] | None) -> None:
        if catching_up is not None:
            await catching_up
        await wait_for_key(mailbox, key)
        if (breath := mailbox.dispatcher.breathe_now_and_then()) is not None:
            await breath
        self._add(mailbox, message, key)

    def stage_nowait(self, mailbox: Durable, message: Any) -> None:
        """See `Stage`."""
        self._look()
        self._add(mailbox, message, None)

    def _add(self, mailbox: Durable, message: Any, key: str | None) -> None:
        check_alive(self._life, message)
        add(self._step.loose, mailbox, message, key, self._step.sealed)
        self._wait = LOOK_AFTER
        self._look_later()

    def slow_down(self, receivers: list[Mailbox]) -> Awaitable[None] | None:
        """See `Stage`."""
        self._look()
        most = min([AHEAD, *(each.capacity for each in receivers if each.is_durable)])
        return self._catch_up(most) if self._is_ahead(most) else None

    async def _catch_up(self, most: int) -> None:
        while self._is_ahead(most):
            await self._step.change()

    def _is_ahead(self, most: int) -> bool:
        if self._life.ended:
            return False
        return bool(self._cell.holds) or (len(self._step.sealed) >= most and self._step.is_committing)

    # Committing

    def _look(self) -> None:
        """Has what was sent before the position moved on committed with it."""
        cell, step = self._cell, self._step
        if cell.port is not None or step.has_work or not self._has_position:
            return  # where handlers of the same actor are at it, their commit has all of this with it
        position = step.state()
        if position != self._seen:
            self._seal(position)
        self._commit()

    def _seal(self, position: bytes | None) -> None:
        step = self._step
        self._seen = position
        if step.loose:
            step.sealed += step.loose
            self._position = position
            step.loose.clear()

    def _commit(self) -> None:
        step = self._step
        if step.sealed and not (step.is_committing or step.is_doomed):
            outputs, step.sealed = step.sealed, []
            step.write(Changes(drains=False), self._position, outputs, [])

    def committed(self) -> None:
        """Something was: there may be more."""
        self._commit()

    def _look_later(self) -> None:
        if self._alarm is None:
            self._alarm = Alarm(self._cell.kernel.now() + self._wait, self._look_now)
            self._cell.kernel.timers.add(self._alarm)

    def _look_now(self) -> None:
        self._alarm = None
        if self._life.ended:
            return
        try:
            self._look()
        except Exception as error:  # of snapshot, which is the actor's
            self._cell.recovery.life_failed("snapshot", error)
            return
        if self._step.loose:
            self._wait = min(2 * self._wait, LOOK_EVERY)
            self._look_later()

    # The end

    async def finish(self) -> None:
        """The source has returned: commits all that it has sent, and waits for that."""
        step = self._step
        while step.loose or self._step.sealed or step.is_committing:
            if not (self._cell.port is not None or step.has_work):
                self._seal(step.state())
                self._commit()
            if step.loose or self._step.sealed or step.is_committing:
                await step.change()
        self._cancel_alarm()

    def cut_short(self, failed: bool) -> None:
        """The source was cancelled, or has failed: what its position has not moved past has never been sent."""
        self._cancel_alarm()
        if failed:
            self._step.sealed.clear()
        else:
            try:
                self._look()
            except Exception as error:  # of snapshot: nothing more can be committed
                self._cell.kernel.events.publish(CleanupFailed(self._cell.path, "snapshot", error))
        self._step.loose.clear()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._cell.kernel.timers.remove(self._alarm)
            self._alarm = None


async def staged(source: Source, work: Callable[[], Awaitable[Any]]) -> Any:
    """Runs `run` or `on_drained` as a step, or a row of them."""
    try:
        result = await work()
    except BaseException as error:
        source.cut_short(isinstance(error, Exception))
        raise
    await source.finish()
    return result
