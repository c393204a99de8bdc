"""One actor in the system: its mailboxes, the message in hand, and the state that it is in.

The cell belongs to the child spec: it stays when the actor inside is restarted (incarnation.py). The dispatcher drives
it, a message at a time; the supervisor closes, restarts and retires it.
"""

from __future__ import annotations

import math
from collections import deque
from contextvars import Context
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import trio

from actorkit._runtime.answers import COROUTINE, check_answer
from actorkit._runtime.arrivals import NO_ARRIVALS, Arrivals
from actorkit._runtime.aside import Aside
from actorkit._runtime.compiling import mypyc_attr
from actorkit._runtime.gates import Gates
from actorkit._runtime.mailbox import Mailbox
from actorkit._runtime.outlets import Outlet
from actorkit._runtime.recovery import Recovery
from actorkit._runtime.ref import ActorRef
from actorkit._runtime.states import CLOSED, HELD, IDLE, PARKED, WAITING
from actorkit._runtime.waits import Envelope, Waiter, acting, handling, payload
from actorkit.messages import Exit, ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from actorkit._runtime.dispatcher import Worker
    from actorkit._runtime.incarnation import Incarnation
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.pace import Pace, Tally
    from actorkit._runtime.ports import InPort
    from actorkit._runtime.sources import Source
    from actorkit._runtime.specs import ChildSpec
    from actorkit._runtime.steps import Step
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.watching import Watcher
    from actorkit.policy.recovery import RecoveryPolicy
    from actorkit.policy.taxonomy import ErrorContext

NONE: Mapping[Any, Any] = MappingProxyType({})
FIRST_BATCH = 8
"""Messages in a row that a new actor handles; the dispatcher doubles that, or cuts it, so that a batch lasts one slice at most."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Cell:
    """One actor: its address, its mailboxes, its message in hand, its present life."""

    __slots__ = (
        "__weakref__", "actor_class", "arrivals", "aside", "batch", "batch_size", "began", "closing", "context", "drained", "ending",
        "failed", "failures", "farewell", "gates", "gone", "held_since", "holds", "in_ports", "is_plain", "kernel", "killed", "life",
        "mailboxes", "meanwhile", "message", "number", "outlets", "pace", "path", "port", "quarantined", "refuses", "resolved",
        "restarts", "resting", "sole", "spec", "stands_still", "state", "status", "step", "stop", "stop_by", "supervisor", "waiter",
        "watchers", "wires_closed", "worker",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, spec: ChildSpec[Any], path: str, supervisor: Supervisor) -> None:
        self.kernel = kernel
        self.spec = spec
        self.path = path
        self.supervisor = supervisor
        self.actor_class = spec.actor
        blueprint = spec.actor.actorkit_blueprint
        self.in_ports = blueprint.in_ports
        # mail; whatever holds something is made when there is something to hold
        self.mailboxes: Mapping[str, Mailbox] = NONE
        self.resolved: Mapping[InPort[Any, Any, Any], Mailbox] = NONE  # the same, by port, once checked: see ActorRef
        self.arrivals: Arrivals = NO_ARRIVALS
        self.sole: Mailbox | None = None  # its only mailbox, if it has but one port: then `arrivals` is that one's queue itself
        self.aside: Aside | None = None  # what it has stashed or paused
        self.outlets: Mapping[str, Outlet] = NONE
        self.pace: Pace | Tally | None = None  # of a source, while the cascade manager slows it down, or counts what it sends
        self.failed = 0  # messages, over all lives
        self.step: Step | None = None  # of an actor that commits what it does to the store: see steps.py
        self.port: Mailbox | None = None  # where the message in hand came from; None: there is none
        self.message: Any = None
        # dispatch: see states.py
        self.state = CLOSED
        self.is_plain = blueprint.all_plain
        self.stop = False  # settle() is to have a look after the message in hand
        self.meanwhile: Callable[[], None] | None = None  # what waits for a time between two messages: see boundaries.py
        self.closing = self.killed = self.ending = False
        self.context: Context | None = None
        self.batch: Coroutine[Any, Any, None] | None = None
        self.batch_size = FIRST_BATCH
        self.waiter: Waiter | None = None
        self.worker: Worker | None = None
        self.holds: tuple[Mailbox, ...] = ()
        self.held_since = 0
        self.resting: trio.Event | None = None
        self.began = kernel.dispatcher.time()
        self.stands_still = True  # whether it takes no message at no fault of the senders, so that their clocks stand still
        # life
        self.failures: Recovery | None = None  # see `recovery`
        self.life: Incarnation | None = None
        self.number = 0  # of the present or last incarnation
        self.restarts = 0
        self.stop_by = math.inf  # when its shutdown time ends, if the end of the system found it at work
        self.status = "new"  # for people: new, starting, running, restarting, stopping, stopped, quarantined, ended
        self.refuses = self.gone = self.drained = self.wires_closed = False
        self.watchers: dict[Watcher, bool] | None = None  # where Down is to go; whether for restarts too
        self.quarantined = False  # set aside until somebody releases it
        self.gates: Gates | None = Gates(self) if blueprint.is_guarded else None
        self.farewell: tuple[ExitReason, ErrorContext | None] | None = None  # how it ended, for those who watch it only then

    @property
    def name(self) -> str:
        """Its spec's, or one with a number."""
        return self.path.rpartition("/")[2]

    @property
    def ref(self) -> ActorRef[Any]:
        """Its address."""
        return ActorRef(self)

    @property
    def recovery(self) -> Recovery:
        """What is done about its failures, made when there is one."""
        if self.failures is None:
            self.failures = Recovery(self, self.policy)
        return self.failures

    @property
    def policy(self) -> RecoveryPolicy:
        """Decides what is done about its failures."""
        return self.spec.recovery or self.supervisor.recovery

    # ------------------------------------------------------------------------------------------------ mail

    def mailbox(self, name: str) -> Mailbox:
        """The mailbox of one of its in-ports, made when first needed."""
        return self.mailboxes.get(name) or self.add_mailbox(Mailbox(self, self.in_ports[name]))

    def add_mailbox(self, mailbox: Mailbox) -> Mailbox:
        """A mailbox has been made: from now on messages may come."""
        self.mailboxes = {**self.mailboxes, mailbox.name: mailbox}
        if self.life is not None:
            mailbox.handler = self.in_ports[mailbox.name].bound_to(self.life.actor)
        return mailbox

    def outlet(self, name: str) -> Outlet:
        """What one of its out-ports leads to."""
        return self.outlets.get(name) or self.add_outlet(Outlet(self, self.actor_class.actorkit_blueprint.out_ports[name]))

    def add_outlet(self, outlet: Outlet) -> Outlet:
        """One of its out-ports is wired, or used."""
        self.outlets = {**self.outlets, outlet.name: outlet}
        return outlet

    def spread(self) -> None:
        """From now on there is an entry in `arrivals` for each message, although there is but one port: it is paused."""
        if self.sole is not None:
            self.arrivals, self.sole = deque([self.sole] * len(self.sole.queue)), None
            self.stop = True  # who is at it takes no more of them as before

    def make_eager_mailboxes(self) -> None:
        """Makes those that do something before their first message comes.

        Raises:
            OSError: what a port keeps on disk can't be used.
        """
        for name in self.actor_class.actorkit_blueprint.eager:
            self.mailbox(name)

    def live(self, life: Incarnation) -> None:
        """A new life begins: its handlers get the messages from now on."""
        self.life = life
        for name, mailbox in self.mailboxes.items():
            mailbox.handler = self.in_ports[name].bound_to(life.actor)

    # ------------------------------------------------------------------------------------------------ handling, driven by the dispatcher

    async def handle(self, limit: int) -> None:
        """Handles up to `limit` messages, one after the other: one coroutine for them all, so that each costs a plain await.

        Ends early when `stop` is set: after a real wait in trio, a failure, a kill; then `settle` decides how it goes on.
        """
        arrivals, sole, life = self.arrivals, self.sole, self.life
        if self.gates is not None:
            limit = self.gates.admit()
        while arrivals and limit:
            limit -= 1
            port = self.port = sole or arrivals.popleft()
            message = self.message = port.queue.popleft()
            if not port.limit:
                port.make_room()
            try:
                if type(message) is not Envelope:
                    answer = port.handler(message)
                    if port.is_async:
                        await answer
                        if self.life is not life:
                            return  # fenced off while it waited: the message in hand is another life's
                    elif answer is not None and type(answer) is COROUTINE:
                        check_answer(answer)
                elif message.gone:
                    port.pass_over(message)
                    continue
                else:
                    answer = port.handler(message.message)
                    if port.is_async:
                        answer = await answer
                        if self.life is not life:
                            return
                    elif type(answer) is COROUTINE:
                        check_answer(answer)
                    if self.aside is None or self.aside.marked is None:
                        message.wake(answer)
                        if message.attempts or message.letter is not None:
                            self.recovery.handled_after_all(message)
                port.processed += 1
            except Exception as error:  # here the failure path begins; trio.Cancelled passes
                self.recovery.message_failed(error, life)
                if self.life is not life:
                    return
                if self.in_hand_of(port):  # until its fate is decided
                    self._batch_done()
                    return
            if self.stop:
                break
        self.port = None
        self._batch_done()

    def handle_plain(self, limit: int) -> None:
        """The same for an actor whose handlers are all plain functions, without a coroutine."""
        arrivals, sole, life = self.arrivals, self.sole, self.life
        if self.gates is not None:
            limit = self.gates.admit()
        while arrivals and limit:
            limit -= 1
            port = self.port = sole or arrivals.popleft()
            message = self.message = port.queue.popleft()
            if not port.limit:
                port.make_room()
            try:
                if type(message) is not Envelope:
                    answer = port.handler(message)
                    if answer is not None and type(answer) is COROUTINE:
                        check_answer(answer)
                elif message.gone:
                    port.pass_over(message)
                    continue
                else:
                    answer = port.handler(message.message)
                    if type(answer) is COROUTINE:
                        check_answer(answer)
                    if self.aside is None or self.aside.marked is None:
                        message.wake(answer)
                        if message.attempts or message.letter is not None:
                            self.recovery.handled_after_all(message)
                port.processed += 1
            except Exception as error:
                self.recovery.message_failed(error, life)
                if self.in_hand_of(port):
                    self._batch_done()
                    return
            if self.stop:
                break
        self.port = None
        self._batch_done()

    def step_failed(self, failure: Exception) -> None:
        """The step in hand has ended by a failure that came out of it, past `handle`."""
        self.recovery.message_failed(failure, self.life)

    def _batch_done(self) -> None:
        if self.port is None:
            self.message = None
            if self.aside is not None:
                self.aside.step_done()
        if self.gates is not None:
            self.gates.step_done()

    def forget(self) -> None:
        """It exists no more: what leads back to it is let go, so that it need not wait for the garbage collector."""
        self.mailboxes, self.resolved, self.context = NONE, NONE, None

    def in_hand_of(self, port: Mailbox) -> int:
        """How many messages of this port are in hand."""
        return int(self.port is port)

    @property
    def payload(self) -> Any:
        """The message in hand, bare."""
        return payload(self.message)

    def own_context(self) -> Context:
        """The contextvars that its handlers run with: a copy of the system's, kept from message to message."""
        if self.context is None:
            self.context = self.kernel.context.copy()
            self.context.run(acting.set, self)
            self.context.run(handling.set, self)
        return self.context

    # ------------------------------------------------------------------------------------------------ from state to state

    def settle(self) -> None:
        """Decides the next state, after a step in which, or before which, something asked for a look."""
        if self.meanwhile is not None:
            self.meanwhile()
        self.stop = False
        if self.closing:
            self.closing = self.killed = False
            self.state = CLOSED
            self.notice_rest()
        elif self.holds:
            self.state, self.stop = HELD, True
            self.kernel.deadlocks.held(self)
        else:
            self.state = IDLE
            if self.arrivals:
                self.kernel.dispatcher.make_ready(self)
            elif self.ending and self.life is not None:
                self.life.check_drained()

    def open(self) -> None:
        """Lets it handle messages (again); a message that was in hand comes first."""
        self.put_back()
        self.closing = self.killed = False
        self.settle()

    def put_back(self) -> None:
        """A message that is still in hand goes back to the head of its queue."""
        if self.port is not None:
            port, message, self.port, self.message = self.port, self.message, None, None
            port.put_back(message)

    def gather(self) -> None:
        """Its life has ended: what was in hand, waited to be tried again, or was set aside, goes back to the head of its queue."""
        if self.aside is not None:
            self.aside.resume_all()
        for mailbox in self.mailboxes.values():
            for envelope in reversed(list(mailbox.parked)):
                mailbox.unpark(envelope)
        self.put_back()
        if self.aside is not None:
            self.aside.unstash_all()

    def look_again(self) -> None:
        """Messages have come back, or have gone: if it was idle, that may have changed."""
        if self.state == IDLE:
            self.settle()

    def stage_of(self, life: Incarnation, where: str) -> Source | None:
        """The step that `run` or `on_drained` of this life is; None: what it sends to durable ports is committed by itself."""
        return None

    def set_aside(self) -> Aside:
        """Where it sets messages aside."""
        if self.aside is None:
            self.aside = Aside(self)
        return self.aside

    def close(self) -> None:
        """It is to take no message after the one in hand."""
        if self.state in (IDLE, HELD):
            self.state = CLOSED
            self.notice_rest()
        elif self.state != CLOSED:
            self.closing = self.stop = True

    def kill(self) -> None:
        """Ends the step in hand, wherever it is, and closes. Honoured in every state, once."""
        self.close()
        if self.killed or self.state == CLOSED:
            return
        self.killed = True
        if self.state == WAITING and self.worker is not None:
            self.worker.scope.cancel()
        elif self.state == PARKED and self.waiter is not None:
            self.waiter.abandon()
            self.waiter = None
            self.kernel.dispatcher.make_ready(self)
        # READY: met when the role comes to it. RUNNING: met at its next await, or when the message is done.

    def fence(self) -> None:
        """Leaves a step behind that does not end, although it was cancelled. Whatever it does from now on counts no more."""
        if self.worker is not None:
            self.kernel.dispatcher.fence(self.worker)
        self.life = self.worker = self.batch = None
        self.stop = self.closing = self.killed = False
        self.state = CLOSED

    def wake(self, waiter: Waiter) -> None:
        """What its parked coroutine waits for has come."""
        if self.state == PARKED and self.waiter is waiter:
            self.waiter = None
            self.kernel.dispatcher.make_ready(self)

    def released(self) -> None:
        """No port that it emitted into holds it any more."""
        if self.state == HELD:
            self.settle()

    # ------------------------------------------------------------------------------------------------ going slower, or not at all

    def stand_still(self) -> None:
        """It takes no message for a while, at no fault of the senders: see `block_timeout`."""
        if not self.stands_still:
            self.stands_still = True
            for mailbox in self.mailboxes.values():
                mailbox.overflow.stand_still(mailbox)

    def go_on(self) -> None:
        """It does again."""
        if self.stands_still:
            self.stands_still = False
            for mailbox in self.mailboxes.values():
                mailbox.overflow.go_on(mailbox)

    def gated(self) -> Gates:
        """Its gates, made if it has none."""
        if self.gates is None:
            self.gates, self.stop = Gates(self), True  # the rest of this batch has to pass them as well
        return self.gates

    # ------------------------------------------------------------------------------------------------ rest, and the end

    @property
    def has_mail(self) -> bool:
        """Whether a message is queued, in hand, or waits to be tried again; what is set aside does not count."""
        if self.port is not None or self.arrivals or (self.gates is not None and self.gates.has_shelved):
            return True
        for mailbox in self.mailboxes.values():  # noqa: SIM110  # asked of every actor, over and over; `any` takes five times as long
            if mailbox.parked:
                return True
        return False

    @property
    def is_busy(self) -> bool:
        """Whether it has a message that may still be handled."""
        return not self.refuses and not self.quarantined and self.has_mail

    @property
    def is_at_work(self) -> bool:
        """Whether a step is under way, or about to begin: it does not close at once."""
        return self.state not in (IDLE, HELD, CLOSED)

    @property
    def is_at_rest(self) -> bool:
        """Whether no step and no background task of the present life is under way."""
        return self.state == CLOSED and (self.life is None or not self.life.tasks)

    def notice_rest(self) -> None:
        """Tells whoever waits that it may be at rest now."""
        if self.resting is not None and self.is_at_rest:
            self.resting.set()

    async def wait_at_rest(self, until: float) -> bool:
        """Waits until it is at rest, until this time at most; says whether it is."""
        if self.is_at_rest:
            return True
        with trio.move_on_at(until):
            while not self.is_at_rest:
                self.resting = trio.Event()
                await self.resting.wait()
        self.resting = None
        return self.is_at_rest

    def worked_off(self, life: Incarnation) -> None:
        """All that its streams have brought is dealt with."""
        life.drain()

    def exit(self, reason: ExitReason, **details: Any) -> None:
        """This life has to end: closes, and leaves the rest to the supervisor."""
        self.cancel_retry()
        self.close()
        self.supervisor.on_exit(self, Exit(self.number, reason, **details))
        self.kernel.deadlocks.exiting(self)

    def note_failures(self, messages: int) -> None:
        """So many more messages have failed."""
        self.failed += messages

    def cancel_retry(self) -> None:
        """A message that waits to be tried again waits no more: the actor is being stopped, or restarted."""
        if self.failures is not None:
            self.failures.cancel_retry()

    def refuse(self) -> None:
        """It has been stopped: what is sent to it from now on becomes dead letters. What is queued stays."""
        self.refuses = True
        for mailbox in self.mailboxes.values():
            mailbox.refuse()
        self.kernel.look()

    def accept(self) -> None:
        """It is (to be) started again after all."""
        if self.refuses:
            self.refuses = self.gone = False
            for mailbox in self.mailboxes.values():
                mailbox.make_room()
        if self.wires_closed and not self.drained:
            self.wires_closed = False
            for outlet in self.outlets.values():
                for mailbox in outlet.targets:
                    mailbox.open_wires += 1

    def close_wires(self) -> None:
        """Nothing more will come from it: a receiver all of whose wires are closed may drain."""
        if not self.wires_closed:
            self.wires_closed = True
            for outlet in self.outlets.values():
                for mailbox in outlet.targets:
                    mailbox.open_wires -= 1
                    if not mailbox.open_wires:
                        self.kernel.endings.append(mailbox.cell)
            self.kernel.pass_on_endings()

    @property
    def ready_to_drain(self) -> bool:
        """Whether it has wired in-ports, and all of them are closed."""
        wired = [mailbox for mailbox in self.mailboxes.values() if mailbox.is_in_stream]
        return all(not mailbox.open_wires for mailbox in wired)

    @property
    def in_streams(self) -> bool:
        """Whether it is part of a stream: it has a `run`, or a wired in-port."""
        if "run" in self.actor_class.actorkit_blueprint.hooks:
            return True
        for mailbox in self.mailboxes.values():  # noqa: SIM110  # as above
            if mailbox.is_in_stream:
                return True
        return False
