"""The cells of actors that step: each message, then the commit of some of them (steps.py)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from actorkit._runtime.answers import COROUTINE, check_answer
from actorkit._runtime.cell import Cell
from actorkit._runtime.durable_mailbox import Durable, DurableMailbox
from actorkit._runtime.journals import STATE
from actorkit._runtime.sources import Source
from actorkit._runtime.states import COMMITTING, HELD, IDLE
from actorkit._runtime.steps import Handling, Step
from actorkit._runtime.waits import Envelope, staging
from actorkit.policy.breaker import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.supervisor import Supervisor
    from actorkit.messages import ExitReason
    from actorkit.storage.store import Key


class Stepping(Cell):
    """What makes a cell step."""

    __slots__ = ()

    step: Step

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor, *more: Any) -> None:
        super().__init__(kernel, spec, path, supervisor, *more)
        self.is_plain = False
        self.step = Step(self)  # pyright: ignore[reportIncompatibleVariableOverride] - always there, in these

    @property
    def keeps_state(self) -> bool:
        """Whether its `snapshot` is part of its steps: of an actor with a durable port, or a source."""
        blueprint = self.actor_class.actorkit_blueprint
        return "snapshot" in blueprint.hooks and (blueprint.is_durable or "run" in blueprint.hooks)

    def state_entry(self) -> tuple[str, Key] | None:
        """Where its state is in the store."""
        return f"{STATE} {self.path}", b""

    def promise(self, state: bytes) -> Callable[[], None] | None:
        """This state is about to be written: what to call when it is, if anybody is to hear of that."""
        return None

    def add_mailbox(self, mailbox: Mailbox) -> Mailbox:
        mailbox.runs_here = False  # who asks would run its handler outside of any step
        return super().add_mailbox(mailbox)

    def own_context(self) -> Context:
        context = super().own_context()
        self._stage_in(context, self.life)
        return context

    def _stage_in(self, context: Context, life: Incarnation | None) -> None:
        context.run(staging.set, None if life is None else Handling(self.step, life))

    # Handling

    async def handle(self, limit: int) -> None:
        """As of any cell; but what a message leads to is part of the step, and does not show before that is committed."""
        arrivals, sole, life, step = self.arrivals, self.sole, self.life, self.step
        limit = min(limit, step.limit)
        while arrivals and limit and (self.gates is None or self.gates.admit()) and not self._is_held_by_suspect(sole or arrivals[0]):
            limit -= 1
            port = self.port = sole or arrivals.popleft()
            message = self.message = port.queue.popleft()
            if not port.limit:
                port.make_room()
            if type(message) is Envelope and message.gone:
                port.pass_over(message)
                continue
            began = time.perf_counter()
            step.mine.clear()
            try:
                answer = port.handler(message.message if type(message) is Envelope else message)
                if port.is_async:
                    answer = await answer
                    if self.life is not life:
                        return
                elif type(answer) is COROUTINE:
                    check_answer(answer)
                self._handled(port, answer)
            except Exception as error:
                self._failed(port, error, life)
                if self.life is not life:
                    return
                if self.port is port:
                    self._batch_done()
                    self.stop = True
                    return
            step.note_time(time.perf_counter() - began)
            if self.stop or step.ends_with_suspect:
                break
        self.port = None
        self._batch_done()
        self.stop = True  # settle() is to have a look

    def _handled(self, port: Mailbox, answer: Any) -> None:
        if self.aside is not None and self.aside.marked is not None:
            port.processed += 1  # until it is put aside: see Aside
            self.step.keep_outputs()
            self._survived()
            return
        self.step.add(port, self.message, answer)
        if self.gates is not None:
            self.gates.heard(Outcome.SUCCESS)

    def _failed(self, port: Mailbox, error: Exception, life: Incarnation | None) -> None:
        self.step.mine.clear()
        self._survived()
        self.recovery.message_failed(error, life)
        self.step.careful -= self.step.careful > 0 and self.port is not port

    def _survived(self) -> None:
        message, port = self.message, self.port
        if type(message) is Envelope and message.is_suspect and isinstance(port, Durable):
            self.kernel.suspects.gives_back(port.journal, message)

    def step_failed(self, failure: Exception) -> None:
        self.step.mine.clear()
        super().step_failed(failure)

    def _is_held_by_suspect(self, port: Mailbox) -> bool:
        if not self.kernel.suspects.left or not port.queue or port.is_paused:
            return False
        message = port.queue[0]
        return type(message) is Envelope and message.is_suspect and not self.kernel.suspects.is_claimed(message)

    # From state to state

    def settle(self) -> None:
        step = self.step
        if step.is_committing:
            self.stop, self.state = False, COMMITTING
        elif step.has_work and self._may_commit and step.is_due:
            self.stop, self.state = False, COMMITTING
            try:
                step.commit()
            except Exception as error:  # of snapshot, which is the actor's
                self.state = IDLE
                self.recovery.life_failed("snapshot", error)
        elif not self._waits_for_claim():
            if step.has_work and self._may_commit:
                step.wait_until_due()
            super().settle()

    @property
    def _may_commit(self) -> bool:
        """Whether the state is as it was left by what was handled: not after a failure, or in the midst of a message that was cut short."""
        if self.step.is_doomed or self.kernel.writer.is_broken:
            return False
        return self.life is not None and not (self.killed and self.port is not None)

    def _waits_for_claim(self) -> bool:
        if self.closing or self.holds or self.port is not None or not self.arrivals:
            return False
        port = self.sole or self.arrivals[0]
        if not (isinstance(port, Durable) and self._is_held_by_suspect(port)):
            return False
        self.stop, self.state = False, IDLE
        if not self.step.awaits_claim:
            self.step.awaits_claim = True
            self.kernel.suspects.ask_turn(self, port.journal, port.queue[0])
        return True

    def turn_has_come(self, envelope: Envelope) -> bool:
        """That message is claimed; False: it is not the next any more, or none is taken."""
        self.step.awaits_claim = False
        port = (self.sole or self.arrivals[0]) if self.arrivals else None
        if self.state != IDLE or port is None or not port.queue or port.queue[0] is not envelope:
            self.look_again()
            return False
        self.kernel.dispatcher.make_ready(self)
        return True

    def close(self) -> None:
        if self.state in (IDLE, HELD) and self.step.has_work and self._may_commit:
            self.closing = True
            self.settle()
        else:
            super().close()

    def kill(self) -> None:
        if self.kernel.writer.is_broken:  # what is being committed never will be
            self.step.give_up()
            if self.state == COMMITTING:
                self.state = IDLE
        super().kill()

    def exit(self, reason: ExitReason, **details: Any) -> None:
        self.step.is_doomed |= reason.is_abnormal
        super().exit(reason, **details)

    def live(self, life: Incarnation) -> None:
        self.step.is_doomed = False
        super().live(life)
        if self.context is not None:
            self._stage_in(self.context, life)

    def gather(self) -> None:
        super().gather()
        if not self.step.is_committing:
            for port, item in reversed(self.step.roll_back()):
                port.put_back(item)
            self.kernel.suspects.lets_go(self)

    def released(self) -> None:
        super().released()
        self.step.tell_changed()

    def stage_of(self, life: Incarnation, where: str) -> Source | None:
        """The step that a task of this life is, if it is one."""
        if where == "run" and not self.keeps_state:
            return None
        self.step.source = Source(life, self, self.step, has_position=where == "run")
        return self.step.source

    # What a cell is asked

    @property
    def has_mail(self) -> bool:
        step = self.step
        return step.has_work or step.is_committing or bool(step.sealed or step.loose) or super().has_mail

    @property
    def is_at_work(self) -> bool:
        return super().is_at_work or self.step.has_work or not self._is_settled

    @property
    def is_at_rest(self) -> bool:
        return super().is_at_rest and self._is_settled

    @property
    def _is_settled(self) -> bool:
        return not (self.step.is_committing or self.step.sealed)

    def in_hand_of(self, port: Mailbox) -> int:
        return super().in_hand_of(port) + self.step.count(port)


class StepCell(Stepping):
    """The cell of one actor that steps."""

    __slots__ = ()

    def mailbox(self, name: str) -> Mailbox:
        if name in self.mailboxes or not self.in_ports[name].settings.durable:
            return super().mailbox(name)
        return self.add_mailbox(DurableMailbox(self, self.in_ports[name]))
