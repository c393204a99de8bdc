"""The guards of a call: a circuit breaker, a bulkhead and a throttle. They wait and call; policy/ decides.

They know nothing of actors: they work around any call, in a handler or elsewhere in trio. How they go together, the
outermost first: a deadline for it all, the bulkhead, the retries with their budget, the breaker, the throttle, the
time-out of one attempt, the call.

    breaker, bulkhead, throttle = CircuitBreaker(), Bulkhead(10), Throttle(rate=50, burst=10)
    retry, budget = ExponentialBackoffRetry(), RetryBudget()


    async def attempt(url: str) -> Page:
        async with breaker:
            await throttle.acquire()
            with trio.fail_after(2.0):
                return await fetch(url)


    async def guarded(url: str) -> Page:
        with trio.fail_after(30.0):
            async with bulkhead:
                return await retry.execute(attempt, url, budget=budget)

So a retry keeps its place in the bulkhead; each attempt is one call to the breaker, which hears of a time-out as of a
failure, but not of a cancellation from outside; an attempt that the breaker refuses takes nothing from the throttle.

Who is let in without waiting does not give other tasks a turn, as there is nothing to wait for. A guard can be made
anywhere, but all who use it are in one trio thread. It may go on in another `trio.run`, and then starts afresh.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from copy import copy
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import trio
from trio.lowlevel import Abort, Task, checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from actorkit._runtime.retrying import execute
from actorkit.errors import BulkheadFull, CircuitOpenError
from actorkit.policy.breaker import Breaker, BreakerSettings, CircuitState, Outcome, Token
from actorkit.policy.bulkhead import Admission, BulkheadSettings, Places
from actorkit.policy.checks import check_type
from actorkit.policy.retry import Executable
from actorkit.policy.throttle import ThrottleSettings, TokenBucket

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Executable.executor = execute

KEYS_KEPT: Final = 1_024
"""How many keys a breaker remembers."""

_entered: ContextVar[tuple[tuple[CircuitBreaker, Token], ...]] = ContextVar("actorkit_entered_breakers", default=())
"""The breakers whose `async with` this code is in. Not kept by task: a handler may go on in another one."""


class CircuitBreaker:
    """Refuses calls to what keeps failing, so that it can recover, and tries it again after a while.

        breaker = CircuitBreaker(name="the bank")
        balance = await breaker.call(fetch_balance, account)

    It opens after `failure_threshold` failures in a row, or, with a `failure_rate`, by the share of failures lately. An
    open one refuses every call; after `recovery_timeout` seconds it lets a few through, at once and in total: if all of
    them succeed it closes, if one fails it opens again. One that is cancelled gives its place to another at once; one
    that takes longer than `recovery_timeout` loses it. The result of a call that began before the last change of state
    says nothing about the present one.

    A cancellation is neither success nor failure; nor is what an inner guard refuses (`CallRejected`).

    Args:
        failure_threshold: failures in a row that open it, 1 or more.
        recovery_timeout: seconds from opening to the next try, more than 0.
        half_open_requests: calls that must succeed for it to close, 1 or more.
        failure_rate: opens it when this share of the calls within `window` has failed, more than 0 and at most 1. Then
            `failure_threshold` does not matter.
        min_calls: calls within `window` below which `failure_rate` means nothing.
        window: seconds, 0.001 or more; kept to a tenth.
        slow_after: seconds after which a call counts as failed, even if it returns. None: never.
        ignore: exceptions that are neither success nor failure. A group is one if all that is in it is.
        name: what errors call it.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 60.0,
        half_open_requests: int = 3,
        *,
        failure_rate: float | None = None,
        min_calls: int = 10,
        window: float = 60.0,
        slow_after: float | None = None,
        ignore: type[Exception] | tuple[type[Exception], ...] = (),
        name: str = "circuit breaker",
    ) -> None:
        settings = BreakerSettings(
            failure_threshold=failure_threshold,
            recovery_timeout=recovery_timeout,
            half_open_requests=half_open_requests,
            failure_rate=failure_rate,
            min_calls=min_calls,
            window=window,
            slow_after=slow_after,
            ignore=ignore,
        )
        self.name: str = check_type("CircuitBreaker", "name", name, str, "a text")
        self._breaker = Breaker(settings)
        self._of_keys: OrderedDict[Hashable, CircuitBreaker] = OrderedDict()

    @property
    def settings(self) -> BreakerSettings:
        """What it was made with."""
        return self._breaker.settings

    @property
    def state(self) -> CircuitState:
        """What it does with calls. An open one stays so until the first call after its `recovery_timeout`."""
        return self._breaker.state

    def for_key(self, key: Hashable) -> CircuitBreaker:
        """The breaker of one key, a host or a tenant say: made like this one, and apart from it and from all other keys.

        The 1,024 keys used last are remembered, and any whose breaker is not closed.
        """
        breaker = self._of_keys.get(key)
        if breaker is None:
            breaker = copy(self)
            breaker.name, breaker._breaker, breaker._of_keys = f"{self.name} for {key!r}", Breaker(self.settings), OrderedDict()
            self._of_keys[key] = breaker
            if len(self._of_keys) > KEYS_KEPT:
                oldest = next((each for each, of in self._of_keys.items() if of.state is CircuitState.CLOSED), None)
                if oldest is not None:
                    del self._of_keys[oldest]
        self._of_keys.move_to_end(key)
        return breaker

    async def call(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Calls the async function `fn(*args)`; answers what it returns. Keywords go through `functools.partial`.

        Raises:
            CircuitOpenError: the call was refused. Its `retry_after` says when to try again, or None when a person decides.
            Exception: what `fn` raised, as it was raised.
        """
        token = self._acquire()
        try:
            result = await fn(*args)
        except BaseException as error:
            self._release(token, self._breaker.settings.outcome(error))
            raise
        self._release(token, Outcome.SUCCESS)
        return result

    async def __aenter__(self) -> None:
        _entered.set((*_entered.get(), (self, self._acquire())))

    async def __aexit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        entered = _entered.get()
        for place in reversed(range(len(entered))):
            breaker, token = entered[place]
            if breaker is self:
                _entered.set((*entered[:place], *entered[place + 1 :]))
                self._release(token, Outcome.SUCCESS if error is None else self._breaker.settings.outcome(error))
                return
        raise RuntimeError(f"{self.name}: left in another task than entered; `call` works anywhere")

    def isolate(self) -> None:
        """Refuses all calls until `reset`, whatever calls under way come to."""
        self._breaker.isolate()

    def reset(self) -> None:
        """Lets all calls through again, with nothing remembered: what calls under way come to does not count."""
        self._breaker.reset()

    def _acquire(self) -> Token:
        now = trio.current_time()
        token = self._breaker.acquire(now)
        if token is not None:
            return token
        seconds = self._breaker.retry_after(now)
        when = "until someone resets it" if seconds is None else f"for another {seconds:.3g} s"
        raise CircuitOpenError(f"{self.name} is {self.state.value}: calls are refused {when}", retry_after=seconds)

    def _release(self, token: Token, outcome: Outcome) -> None:
        self._breaker.release(token, outcome, trio.current_time())

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r}, {self.state.value}>"


class Bulkhead:
    """Lets so many calls in at once, so that one slow service cannot take up everything. The others wait, in turn.

        bulkhead = Bulkhead(max_concurrent=10, max_queued=100)
        page = await bulkhead.execute(fetch, url)

    Args:
        max_concurrent: how many are inside at most, 1 or more.
        max_queued: how many wait at most, 0 or more; None: as many as come.
        name: what errors call it.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    def __init__(self, max_concurrent: int = 10, max_queued: int | None = None, *, name: str = "bulkhead") -> None:
        self._places = Places(BulkheadSettings(max_concurrent=max_concurrent, max_queued=max_queued))
        self._waiters: OrderedDict[Task, None] = OrderedDict()
        self.name: str = check_type("Bulkhead", "name", name, str, "a text")

    @property
    def max_concurrent(self) -> int:
        """How many are inside at most."""
        return self._places.settings.max_concurrent

    @property
    def max_queued(self) -> int | None:
        """How many wait at most; None: as many as come."""
        return self._places.settings.max_queued

    @property
    def in_flight(self) -> int:
        """How many are inside."""
        return self._places.in_flight

    @property
    def waiting(self) -> int:
        """How many wait to enter."""
        return self._places.waiting

    @property
    def utilization(self) -> float:
        """How full it is: 0.0 is empty, 1.0 full. Made smaller, it may be more than full for a while."""
        return self._places.utilization

    async def execute(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Calls the async function `fn(*args)` inside; answers what it returns. Keywords go through `functools.partial`.

        Raises:
            BulkheadFull: as many as may wait do so. It was not called.
            Exception: what `fn` raised, as it was raised.
        """
        async with self:
            return await fn(*args)

    async def __aenter__(self) -> None:
        await checkpoint_if_cancelled()
        admission = self._places.arrive()
        if admission is Admission.REFUSED:
            inside, waiting = f"{self.in_flight} of {self.max_concurrent} inside", f"{self.waiting} of {self.max_queued} waiting"
            raise BulkheadFull(f"{self.name} is full: {inside}, {waiting}")
        if admission is Admission.QUEUED:
            task = current_task()
            self._waiters[task] = None

            def give_up(_: object) -> Abort:
                del self._waiters[task]
                self._places.give_up()
                return Abort.SUCCEEDED

            await wait_task_rescheduled(give_up)

    async def __aexit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._let_in(self._places.leave())

    def resize(self, max_concurrent: int) -> None:
        """Lets in so many from now on. Nobody who is inside is sent away: made smaller, it fills up as they leave.

        Raises:
            SpecError: it is below 1.
            SpecTypeError: it is no int.
        """
        self._let_in(self._places.resize(BulkheadSettings(max_concurrent=max_concurrent, max_queued=self.max_queued)))

    def _let_in(self, count: int) -> None:
        for _ in range(count):
            task, _none = self._waiters.popitem(last=False)
            reschedule(task)

    def __repr__(self) -> str:
        return f"<Bulkhead {self.name!r}, {self.in_flight} of {self.max_concurrent} inside, {self.waiting} waiting>"


class Throttle:
    """Lets so many calls through a second, in the order in which they come.

        throttle = Throttle(rate=50, burst=10)
        await throttle.acquire()

    Args:
        rate: calls a second, more than 0.
        burst: how many may go at once after a pause, 1 or more.
        floor: calls a second that `slow_down` leaves, at most the rate. None: a twentieth of the rate.

    Raises:
        SpecError: a value is out of range.
        SpecTypeError: a value is of the wrong type.
    """

    def __init__(self, rate: float, burst: int = 1, *, floor: float | None = None) -> None:
        self._bucket = TokenBucket(ThrottleSettings(rate=rate, burst=burst, floor=floor))
        self._turn = trio.Lock()  # of whoever waits first: only that one needs to look at the clock

    @property
    def settings(self) -> ThrottleSettings:
        """What it was made with."""
        return self._bucket.settings

    @property
    def rate(self) -> float:
        """Calls a second, for the present: less than was asked for after `slow_down`."""
        return self._bucket.rate

    async def acquire(self, n: int = 1) -> None:
        """Waits until `n` calls may be made. Nobody overtakes who waits.

        Raises:
            SpecError: `n` is below 1, or more than the burst: so many may never be made at once.
            SpecTypeError: `n` is no int.
        """
        bucket = self._bucket
        bucket.settings.check_amount(n)
        await checkpoint_if_cancelled()
        now = trio.current_time()
        if bucket.try_take(n, now):
            return
        bucket.reserve(n, now)
        try:
            async with self._turn:
                while (ready_at := bucket.ready_at(n)) > trio.current_time():  # noqa: ASYNC110  # it waits for the clock
                    await trio.sleep_until(ready_at)
                bucket.claim(n, trio.current_time())
        except BaseException:
            bucket.cancel(n)
            raise

    def try_acquire(self, n: int = 1) -> bool:
        """Whether `n` calls may be made now. If so they count as made; if others wait, they may not.

        Raises:
            SpecError: `n` is below 1, or more than the burst.
            SpecTypeError: `n` is no int.
        """
        self._bucket.settings.check_amount(n)
        return self._bucket.try_take(n, trio.current_time())

    def slow_down(self) -> None:
        """Halves the rate, once a second at most: for when the other side says that it is too much.

        While it is used it comes back by itself, by a tenth of the full rate a second.
        """
        self._bucket.slow_down(trio.current_time())

    def __repr__(self) -> str:
        return f"<Throttle {self.rate:g} a second>"
