"""Every category of failure meets every action at every kind of port: what is handled, in what order, and what becomes of the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
import trio
import trio.testing
from attrs import frozen

from actorkit import (
    Actor,
    ActorRef,
    CircuitBreaker,
    CommunicationError,
    DeadLetterReason,
    DependencyError,
    ErrorCategory,
    OverflowStrategy,
    PermanentError,
    PoisonMessageError,
    RecoveryAction,
    RecoveryPolicy,
    ResourceError,
    RetryPolicy,
    Rule,
    SupervisionError,
    System,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)

CAPACITY = 4
MAX_TRIES = 10
ERRORS: dict[ErrorCategory, type[Exception]] = {
    ErrorCategory.TRANSIENT: TransientError,
    ErrorCategory.PERMANENT: PermanentError,
    ErrorCategory.POISON_MESSAGE: PoisonMessageError,
    ErrorCategory.RESOURCE: ResourceError,
    ErrorCategory.TIMEOUT: trio.TooSlowError,
    ErrorCategory.VALIDATION: ValidationError,
    ErrorCategory.COMMUNICATION: CommunicationError,
    ErrorCategory.DEPENDENCY: DependencyError,
}
BLOCK, DROP_OLDEST, DROP_NEWEST, SPILL = OverflowStrategy


@frozen
class Task:
    """Work that fails so many times, and then is done."""

    sender: str
    number: int
    failures: int


class Doer(Actor):
    """Does tasks; looks at the books at every try."""

    error: ClassVar[type[Exception]]

    def __init__(self, tries: list[Task], done: list[Task]) -> None:
        self.tries = tries
        self.done = done

    def do(self, task: Task) -> None:
        """Does it, or fails as it says."""
        self.system.ledger().check()
        if self.tries.count(task) <= task.failures:
            raise self.error(f"try {self.tries.count(task)} of {task.number}")
        self.done.append(task)


def doer(category: ErrorCategory, strategy: OverflowStrategy, breaker: CircuitBreaker | None, *, plain: bool) -> tuple[type[Doer], Any]:
    """A class whose tasks fail in this category, and its port, of this kind and with a handler of this kind."""

    class Plain(Doer):
        error = ERRORS[category]

        @in_port(capacity=CAPACITY, overflow=strategy, breaker=breaker)
        def in_task(self, task: Task) -> None:
            self.tries.append(task)
            self.do(task)

    class Async(Doer):
        error = ERRORS[category]

        @in_port(capacity=CAPACITY, overflow=strategy, breaker=breaker)
        async def in_task(self, task: Task) -> None:
            self.tries.append(task)
            if task.number % 2:
                await trio.sleep(0.001)
            self.do(task)

    return (Plain, Plain.in_task) if plain else (Async, Async.in_task)


def burst(senders: str, first: int, hopeless: int) -> list[Task]:
    """Eight tasks of two senders, of which two fail once and two for ever; whichever half of them a full port takes has one of each."""
    faults = (0, 1, hopeless, 0)
    return [Task(senders[number // 2 % 2], number, faults[number % 4]) for number in range(first, first + 8)]


async def send(ref: ActorRef[Any], port: Any, tasks: list[Task]) -> None:
    """Sends tasks, one after the other."""
    for task in tasks:
        await ref.send(port, task)


def send_all(nursery: trio.Nursery, ref: ActorRef[Any], port: Any, tasks: list[Task], strategy: OverflowStrategy) -> None:
    """Sends tasks: where the port makes senders wait, each sender by itself."""
    if strategy is BLOCK:
        for sender in {task.sender for task in tasks}:
            nursery.start_soon(send, ref, port, [task for task in tasks if task.sender == sender])
    else:
        nursery.start_soon(send, ref, port, tasks)


def kept(strategy: OverflowStrategy, queued: list[Task], more: list[Task]) -> list[Task]:
    """Which of the tasks that come a port keeps that has these queued, and which of these it still has then."""
    together = [*queued, *more]
    if strategy is DROP_NEWEST:
        return together[:CAPACITY]
    return together[-CAPACITY:] if strategy is DROP_OLDEST else together


def tries_of(task: Task, action: RecoveryAction, category: ErrorCategory) -> int:
    """How often it is tried."""
    retries = RetryPolicy().for_category(category).max_retries or 3
    most = {RecoveryAction.QUARANTINE_MESSAGE: 1, RecoveryAction.LOG_AND_CONTINUE: 1, RecoveryAction.RETRY: 1 + retries}
    most[RecoveryAction.THROTTLE] = most[RecoveryAction.RETRY]
    return min(task.failures + 1, most.get(action, MAX_TRIES))


def reason_for(action: RecoveryAction, category: ErrorCategory) -> DeadLetterReason:
    """Why a task is given up."""
    if category is ErrorCategory.POISON_MESSAGE:
        return DeadLetterReason.POISON
    if RetryPolicy().retries(category):
        return DeadLetterReason.RETRIES_EXHAUSTED
    if action is RecoveryAction.RESTART_COMPONENT:
        return DeadLetterReason.POISON
    if action is not RecoveryAction.QUARANTINE_MESSAGE:
        return DeadLetterReason.RETRIES_EXHAUSTED
    return DeadLetterReason.VALIDATION if category is ErrorCategory.VALIDATION else DeadLetterReason.PERMANENT


def by_sender(tasks: list[Task]) -> dict[str, list[int]]:
    """The numbers of each sender's tasks, in order."""
    return {sender: [task.number for task in tasks if task.sender == sender] for sender in "abcd"}


async def check_fates(system: System, taken: list[Task], lost: list[Task], action: RecoveryAction, category: ErrorCategory) -> None:
    """That the books say of each task what became of it; `lost` are those that the port did not take."""
    ledger, letters = system.ledger(), await system.dead_letters.inspect()
    failed = [task for task in taken if tries_of(task, action, category) <= task.failures]

    ledger.check()
    assert (ledger.accepted, ledger.processed) == (len(taken) + len(lost), len(taken) - len(failed))
    assert (ledger.queued, ledger.in_flight, ledger.spilled) == (0, 0, 0)
    given_up = {letter.message: (letter.reason, letter.attempts) for letter in letters if letter.attempts}
    if action is RecoveryAction.LOG_AND_CONTINUE:
        assert (ledger.skipped, given_up) == (len(failed), {})
    else:
        assert given_up == {task: (reason_for(action, category), tries_of(task, action, category)) for task in failed}
        assert all(letter.error is not None and letter.error.category is category for letter in letters if letter.attempts)
    overflown = [letter.message for letter in letters if letter.reason is DeadLetterReason.OVERFLOW]
    assert len(letters) == len(given_up) + len(overflown) == ledger.dead_lettered
    assert len(lost) == ledger.dropped + len(overflown)
    assert overflown in ([], lost)


PLAIN = pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
CATEGORIES = pytest.mark.parametrize("category", ErrorCategory, ids=lambda category: category.name)
STRATEGIES = pytest.mark.parametrize("strategy", OverflowStrategy, ids=lambda strategy: strategy.name)
BREAKER = CircuitBreaker(failure_threshold=5, recovery_timeout=60, half_open_requests=1)


@PLAIN
@CATEGORIES
@STRATEGIES
@pytest.mark.parametrize("action", [each for each in RecoveryAction if each is not RecoveryAction.ESCALATE], ids=lambda action: action.name)
async def test_every_message_meets_its_fate_once_and_in_order(
    action: RecoveryAction, strategy: OverflowStrategy, category: ErrorCategory, plain: bool
) -> None:
    tries: list[Task] = []
    done: list[Task] = []
    guard = BREAKER if action is RecoveryAction.CIRCUIT_BREAK else None
    actor, port = doer(category, strategy, guard, plain=plain)
    policy = RecoveryPolicy(rules=(Rule(action, category=category),))
    tree = supervisor(child(actor, tries, done).options(name="doer"), name="top", recovery=policy, max_restarts=100, within=1.0)

    async with open_system(tree, seed=1) as system, trio.open_nursery() as nursery:
        ref = system.ref("root/top/doer", actor)
        first, second = burst("ab", 0, hopeless=100), burst("cd", 8, hopeless=100)
        send_all(nursery, ref, port, first, strategy)
        await trio.testing.wait_all_tasks_blocked()
        system.ledger().check()
        left = kept(strategy, [], first)
        waiting = [task for task in left if task not in tries]  # behind one that is to be tried again
        send_all(nursery, ref, port, second, strategy)
        await trio.testing.wait_all_tasks_blocked()
        system.ledger().check()
        left = [task for task in left if task not in waiting] + kept(strategy, waiting, second)
        await system.wait()

        handled = [task for task in left if tries_of(task, action, category) > task.failures]
        assert by_sender(done) == by_sender(handled)
        assert Counter(tries) == {task: tries_of(task, action, category) for task in left}
        await check_fates(system, left, [task for task in (*first, *second) if task not in left], action, category)


@PLAIN
@CATEGORIES
@STRATEGIES
async def test_an_escalated_message_waits_for_the_restart_of_its_supervisor(
    strategy: OverflowStrategy, category: ErrorCategory, plain: bool
) -> None:
    tries: list[Task] = []
    done: list[Task] = []
    actor, port = doer(category, strategy, None, plain=plain)
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.ESCALATE, category=category),))
    inner = supervisor(child(actor, tries, done).options(name="doer"), name="inner")

    async with open_system(supervisor(inner, name="top", recovery=policy, max_restarts=100), seed=1) as system:
        tasks = burst("ab", 0, hopeless=1)
        async with trio.open_nursery() as nursery:
            send_all(nursery, system.ref("root/top/inner/doer", actor), port, tasks, strategy)
        await system.wait()

        left = kept(strategy, [], tasks)
        ledger = system.ledger()
        ledger.check()
        assert by_sender(done) == by_sender(left)
        assert Counter(tries) == {task: 1 + task.failures for task in left}
        assert (ledger.accepted, ledger.processed) == (len(tasks), len(left))
        assert ledger.dropped + ledger.dead_lettered == len(tasks) - len(left)
        assert system.supervisor("root/top").which_children()[0].restarts == sum(task.failures for task in left)


@PLAIN
@CATEGORIES
@STRATEGIES
async def test_when_an_escalation_ends_the_tree_all_that_is_left_is_a_dead_letter(
    strategy: OverflowStrategy, category: ErrorCategory, plain: bool
) -> None:
    tries: list[Task] = []
    actor, port = doer(category, strategy, None, plain=plain)
    policy = RecoveryPolicy(rules=(Rule(RecoveryAction.ESCALATE, category=category),))
    tasks = burst("ab", 0, hopeless=100)[: CAPACITY if strategy is BLOCK else None]

    with pytest.raises(SupervisionError) as caught:
        async with open_system(supervisor(child(actor, tries, []).options(name="doer"), recovery=policy), seed=1) as system:
            await send(system.ref("root/supervisor/doer", actor), port, tasks)
            await trio.sleep_forever()

    ledger, letters = system.ledger(), await system.dead_letters.inspect()
    ledger.check()
    assert isinstance(caught.value.__cause__, ERRORS[category])
    assert len(tries) == 2  # the first task, and the one that fails
    assert (ledger.accepted, ledger.processed, ledger.queued, ledger.in_flight, ledger.spilled) == (len(tasks), 1, 0, 0, 0)
    ended = [letter for letter in letters if letter.reason is DeadLetterReason.SHUTDOWN]
    assert [letter.message for letter in ended] == kept(strategy, [], tasks)[1:]
    assert [letter.attempts for letter in ended] == [1] + [0] * (len(ended) - 1)
