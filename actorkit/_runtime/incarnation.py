"""One life of an actor: the object, its senders, tasks, timers and watches. All of them end with it."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from actorkit._runtime.attentive import AttentiveQueue
from actorkit._runtime.cancellation import failure_in
from actorkit._runtime.idle import IdleWatch
from actorkit._runtime.log import ActorLog
from actorkit._runtime.outlets import Sender
from actorkit._runtime.ports import fits
from actorkit._runtime.ref import ActorRef
from actorkit._runtime.restoring import call, make_actor
from actorkit._runtime.sources import staged
from actorkit._runtime.states import CLOSED, IDLE
from actorkit._runtime.timers import Timer, set_timer
from actorkit._runtime.waits import Acting, acting, staging
from actorkit._runtime.watching import Link, Watcher, begin_watching, unwatch
from actorkit._runtime.wording import type_names
from actorkit.errors import ActorNotRunning, MessageTypeError
from actorkit.events import ActorDrained, ActorUnresponsive, CleanupFailed, SourceRestarted
from actorkit.messages import Down, ExitReason
from actorkit.policy.checks import check_flag, check_seconds, check_type
from actorkit.policy.health import HealthStatus
from actorkit.policy.restart import Restart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actorkit._runtime.actor import Actor
    from actorkit._runtime.aside import Aside
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.mailbox import Mailbox
    from actorkit._runtime.ports import InPort
    from actorkit._runtime.restoring import KeptState

FENCE_AFTER = 5.0
"""Seconds that what was cancelled may go on cleaning up before it is left behind."""


T = TypeVar("T")

# What runs users' functions is protected from Ctrl-C (a scope that it left open would break trio). The functions
# themselves are not, so that one that never returns can be interrupted.


@disable_ki_protection
async def _await(fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    return await fn(*args)


NONE: Mapping[Any, Any] = MappingProxyType({})


class Incarnation:
    """One life of an actor, from its construction to `on_stop`."""

    __slots__ = (
        "_last_words", "_last_words_said", "actor", "cell", "constructed", "ended", "hooks", "number", "restoring", "run_is_over",
        "run_scope", "senders", "silences", "started", "tasks", "timers", "told_drained", "watching",
    )  # fmt: skip

    def __init__(self, cell: Cell, number: int) -> None:
        self.cell = cell
        self.number = number
        self.hooks = cell.actor_class.actorkit_blueprint.hooks
        # whatever holds something is made when there is something to hold
        self.senders: Mapping[str, Sender[Any]] = NONE
        self.tasks: set[trio.CancelScope] | None = None
        self.timers: dict[Timer, None] | None = None
        self.watching: list[tuple[Cell, Watcher]] | None = None
        self.silences: tuple[IdleWatch, ...] = ()
        self.run_is_over = "run" not in self.hooks or cell.drained
        self.run_scope: trio.CancelScope | None = None
        self.constructed = self.restoring = self.started = self.ended = False
        self.told_drained: trio.CancelScope | None = None  # the task of on_drained, once that has been called
        self._last_words: trio.CancelScope | None = None  # on_stop, once it has been called
        self._last_words_said: trio.Event | None = None
        self.actor: Actor

    @property
    def log(self) -> ActorLog:
        """Its log."""
        return ActorLog(self.cell.path, self.number)

    def sender(self, name: str) -> Sender[Any]:
        """The sender for one of its out-ports, made when first used."""
        sender: Sender[Any] = Sender(self.cell.outlet(name), self)
        self.senders = {**self.senders, name: sender}
        if self.ended:
            sender.close()
        return sender

    # ------------------------------------------------------------------------------------------------ begin

    async def start(self, states: Sequence[KeptState] = ()) -> None:
        """Constructs the actor, gives it the first of these states that will do, and runs `on_start`.

        Raises:
            Exception: whatever the constructor or `on_start` raised; `trio.TooSlowError` after `start_timeout`.
        """
        spec = self.cell.spec
        with Acting(self.cell):
            if states:
                await make_actor(self, states)
            else:
                self.construct()
            if "on_start" in self.hooks:
                with trio.move_on_after(spec.start_timeout) as limit:
                    await _await(type(self.actor).on_start, self.actor)
                if limit.cancelled_caught:
                    raise trio.TooSlowError(f"on_start took longer than {spec.start_timeout:g} s, its start_timeout")
        self.started = True

    def construct(self) -> None:
        """Makes the actor object: as `actor_class(…)`, but so that the constructor may use self.path and the like already."""
        spec, actor_class = self.cell.spec, self.cell.actor_class
        self.actor = actor_class.__new__(actor_class, *spec.args, **spec.kwargs)
        object.__setattr__(self.actor, "_actorkit_life", self)  # also where the class is frozen
        call(actor_class.__init__, self.actor, *spec.args, **spec.kwargs)
        self.constructed = True

    def start_source(self) -> None:
        """Starts `run`, if the actor has one and it has not begun: now that the whole tree, or the restarted group, is up."""
        if not self.run_is_over and not self.ended and self.run_scope is None and not self.cell.kernel.is_closing:
            if self.number > 1 and "snapshot" not in self.hooks:
                self.cell.kernel.events.publish(SourceRestarted(self.cell.path))
            self.run_scope = self.spawn("run", type(self.actor).run, (self.actor,), self._run_returned, anyway=True)

    def stop_source(self) -> None:
        """Cancels `run`: the system is being stopped."""
        if self.run_scope is not None:
            self.run_scope.cancel()

    def _run_returned(self, _: object = None) -> None:
        self.run_is_over = True
        if self.cell.spec.restart is Restart.PERMANENT:
            self.cell.exit(ExitReason.NORMAL)
        else:
            self.check_ending()

    # ------------------------------------------------------------------------------------------------ tasks

    def spawn(
        self, where: str, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], then: Callable[[Any], None], *, anyway: bool = False
    ) -> trio.CancelScope:
        """Runs `fn(*args)` in a task of this life, and hands its result to `then`; its failure is the actor's failure.

        `anyway`: goes on with `then` also after a failure that the recovery policy passes over.
        """
        kernel = self.cell.kernel
        kernel.begin()
        scope = trio.CancelScope()
        if self.tasks is None:
            self.tasks = set()
        self.tasks.add(scope)
        context = kernel.context.copy()
        context.run(acting.set, self.cell)
        work: Callable[[], Awaitable[Any]] = partial(fn, *args)
        source = self.cell.stage_of(self, where) if where in ("run", "on_drained") else None
        if source is not None:
            context.run(staging.set, source)
            work = partial(staged, source, work)
        context.run(kernel.nursery.start_soon, self._task, scope, where, work, then, anyway)
        return scope

    @enable_ki_protection
    async def _task(
        self, scope: trio.CancelScope, where: str, work: Callable[[], Awaitable[Any]], then: Callable[[Any], None], anyway: bool
    ) -> None:
        cell = self.cell
        try:
            with scope:
                result = await _await(work)
                if not self.ended and not scope.cancel_called:
                    then(result)
        except BaseException as raised:  # kept by whoever ends the system, and raised there
            error = failure_in(raised, scope, cell.kernel.nursery.cancel_scope) or raised
            if isinstance(error, trio.Cancelled):
                raise
            elif not isinstance(error, Exception):
                cell.kernel.crash(error)
            elif self.ended or scope.cancel_called:
                cell.kernel.events.publish(CleanupFailed(cell.path, where, error))
            elif cell.recovery.life_failed(where, error) and anyway:
                then(None)
        finally:
            if self.tasks is not None and scope in self.tasks:
                self.tasks.remove(scope)
                cell.notice_rest()
                self.check_drained()
                cell.kernel.done()

    def start_soon(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], to: InPort[Any, Any, Any] | None) -> None:
        """A background task for the user: see `Actor.start_soon`."""
        mailbox = None if to is None else self.own_mailbox(to)
        self.spawn(getattr(fn, "__qualname__", "background task"), fn, args, lambda result: self._deliver(mailbox, result))

    def _deliver(self, mailbox: Mailbox | None, result: Any) -> None:
        if mailbox is not None:
            if not isinstance(result, mailbox.types):
                raise mailbox.wrong_type(result)
            mailbox.admit(result)

    # ------------------------------------------------------------------------------------------------ timers and watches

    def after(self, delay: float, port: InPort[Any, Any, Any], message: Any) -> Timer:
        """See `Actor.after`."""
        check_seconds(self.cell.path, "delay", delay)
        return set_timer(self, delay, None, self.own_mailbox(port), message)

    def every(self, period: float, port: InPort[Any, Any, Any], message: Any) -> Timer:
        """See `Actor.every`."""
        check_seconds(self.cell.path, "period", period, positive=True)
        return set_timer(self, period, period, self.own_mailbox(port), message)

    def watch(self, ref: ActorRef[Any], port: InPort[Any, Any, Any], restarts: bool) -> None:
        """See `Actor.watch`."""
        check_flag(f"{self.cell.path}: watch", "restarts", restarts)
        mailbox = self.own_mailbox(port)
        if not fits(Down, mailbox.types):
            raise MessageTypeError(
                f"{mailbox.path} takes {type_names(mailbox.types)}, not Down: watch with a port whose handler takes Down"
            )
        begin_watching(self, "watch", ref, mailbox, restarts=restarts)

    def link(self, ref: ActorRef[Any]) -> None:
        """See `Actor.link`."""
        begin_watching(self, "link", ref, Link(self), restarts=False)

    @property
    def aside(self) -> Aside:
        """What this life sets messages aside with.

        Raises:
            ActorNotRunning: it has ended.
        """
        if self.ended:
            raise ActorNotRunning(f"{self.cell.path}: incarnation {self.number} of this actor has ended, and sets no more messages aside")
        return self.cell.set_aside()

    def own_mailbox(self, port: InPort[Any, Any, Any]) -> Mailbox:
        """The mailbox of one of this actor's ports."""
        return self.cell.ref.resolve(port)

    def stop_self(self) -> None:
        """See `Actor.stop`."""
        if not self.ended:
            self.cell.exit(ExitReason.NORMAL)

    def watch_silence(self) -> None:
        """From now on its ports with an `idle_timeout` are watched."""
        for mailbox in self.cell.mailboxes.values():
            if mailbox.settings.idle_timeout is not None and isinstance(mailbox.queue, AttentiveQueue):
                self.silences = (*self.silences, IdleWatch(mailbox, mailbox.settings.idle_timeout, mailbox.queue))

    # ------------------------------------------------------------------------------------------------ the end of its streams

    def check_ending(self) -> None:
        """`run` has returned, or a wire was closed: is this the end of its streams?"""
        cell = self.cell
        if self.run_is_over and cell.in_streams and cell.ready_to_drain and not cell.ending and not cell.drained:
            cell.ending = True
            cell.look_again()

    def check_drained(self) -> None:
        """Once nothing is queued, in hand or under way any more, runs `on_drained`; then its own wires close."""
        if self.is_worked_off:
            self.cell.worked_off(self)

    @property
    def is_worked_off(self) -> bool:
        """Whether its streams have ended, and nothing is queued, in hand or under way any more."""
        cell = self.cell
        if not cell.ending or cell.state != IDLE or cell.has_mail or (cell.aside is not None and not cell.aside.is_empty):
            return False
        if cell.kernel.reminders.holds(cell.path):
            return False
        return not self.tasks and all(timer.period is not None for timer in self.timers or ())

    def drain(self) -> None:
        """Says the last words of its streams, and ends them."""
        self.cell.close()
        self.tell_drained(self.end_streams)

    def tell_drained(self, then: Callable[[Any], None]) -> None:
        """Runs `on_drained`, if there is one and it has not been called yet, and goes on with `then`."""
        if "on_drained" in self.hooks and self.told_drained is None:
            self.told_drained = self.spawn("on_drained", self._on_drained, (), then, anyway=True)
        else:
            then(None)

    @property
    def is_winding_up(self) -> bool:
        """Whether its `run`, or its `on_drained`, has begun and not ended."""
        return self.tasks is not None and (self.run_scope in self.tasks or self.told_drained in self.tasks)

    async def _on_drained(self) -> None:
        stage = staging.get()
        with Acting(self.cell):
            staging.set(stage)
            await type(self.actor).on_drained(self.actor)

    def end_streams(self, _: object = None) -> None:
        """Its streams are over: its own wires close; it exits, or stays for those who have its address."""
        cell = self.cell
        cell.ending, cell.drained = False, True
        cell.kernel.events.publish(ActorDrained(cell.path))
        cell.close_wires()
        if any(name not in cell.mailboxes or not cell.mailboxes[name].is_in_stream for name in cell.in_ports):
            if cell.state == CLOSED:
                cell.open()
        else:
            cell.exit(ExitReason.NORMAL, drained=True)

    # ------------------------------------------------------------------------------------------------ end

    def cancel_tasks(self) -> None:
        """Cancels `run`, a hook in progress and background tasks."""
        for scope in list(self.tasks or ()):
            scope.cancel()

    def abandon_tasks(self) -> None:
        """Leaves tasks behind that do not end, although they were cancelled."""
        while self.tasks:
            self.tasks.pop()
            self.cell.kernel.done()

    def carry(self) -> tuple[object, int] | None:
        """What a source hands on to its next life."""
        return self.snapshot() if "run" in self.hooks else None

    async def ask_health(self) -> HealthStatus:
        """What the actor's `health` says.

        Raises:
            Exception: what that raised.
        """
        with Acting(self.cell):
            answer = await _await(type(self.actor).health, self.actor)
        return check_type(f"{self.cell.path}: health()", "answer", answer, HealthStatus, "a HealthStatus")

    def snapshot_or_raise(self) -> object:
        """Its state, as `snapshot` returns it."""
        return call(type(self.actor).snapshot, self.actor)

    def snapshot(self) -> tuple[object, int] | None:
        """Its state, with the version of that; None if it has none, or can't tell."""
        if "snapshot" in self.hooks and self.started:
            try:
                return call(type(self.actor).snapshot, self.actor), type(self.actor).state_version
            except Exception as error:
                self.cell.kernel.events.publish(CleanupFailed(self.cell.path, "snapshot", error))
        return None

    async def finish(self, reason: ExitReason, until: float) -> None:
        """Ends it: runs `on_stop`, until this time at most, then nothing of it is left.

        May be called again when its caller was cancelled: an `on_stop` under way then has what is left of the shorter time.
        """
        if self.started and "on_stop" in self.hooks:
            until = max(until, trio.current_time())
            if self._last_words is None or self._last_words_said is None:
                self._last_words, self._last_words_said = trio.CancelScope(deadline=until), trio.Event()
                with Acting(self.cell):
                    self.cell.kernel.launch(self._say_last_words, self._last_words, self._last_words_said, reason)
            self._last_words.deadline = min(self._last_words.deadline, until)
            with trio.move_on_at(self._last_words.deadline + FENCE_AFTER) as patience:
                await self._last_words_said.wait()
            if patience.cancelled_caught:
                self.cell.kernel.events.publish(ActorUnresponsive(self.cell.path, self.number, FENCE_AFTER))
        self.ended = True
        self.cancel_tasks()  # that on_stop may have begun
        for timer in list(self.timers or ()):
            timer.cancel()
        for silence in self.silences:
            silence.cancel()
        for sender in self.senders.values():
            sender.close()
        for target, watcher in self.watching or ():
            unwatch(target, watcher)
        if self.constructed and not self.tasks:
            del self.actor  # which leads back here: it need not wait for the garbage collector

    async def _say_last_words(self, scope: trio.CancelScope, said: trio.Event, reason: ExitReason) -> None:
        try:
            with scope:
                await _await(type(self.actor).on_stop, self.actor, reason)
        except Exception as error:
            self.cell.kernel.events.publish(CleanupFailed(self.cell.path, "on_stop", error))
        finally:
            said.set()
