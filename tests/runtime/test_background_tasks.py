"""Background tasks of an actor: `start_soon`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    CommunicationError,
    ErrorSeverity,
    ExitReason,
    MessageTypeError,
    OutPort,
    PermanentError,
    Restart,
    SupervisionError,
    SupervisorSpec,
    TransientError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ChildExited
from tests.runs import run_inside


class Task:
    """A job for a background task, as a message."""

    def __init__(self, job: Callable[[], Awaitable[object]]) -> None:
        self.job = job


class Sum:
    """A job that ends with a number."""

    def __init__(self, job: Callable[[], Awaitable[int]]) -> None:
        self.job = job


class Employer(Actor):
    """Runs jobs in the background, and keeps the results."""

    def __init__(self, results: list[int]) -> None:
        self.results = results

    @in_port
    def in_task(self, task: Task) -> None:
        self.start_soon(task.job)

    @in_port
    def in_sum(self, task: Sum) -> None:
        self.start_soon(task.job, to=Employer.in_result)

    @in_port(capacity=1)
    def in_result(self, result: int) -> None:
        self.results.append(result)

    @in_port
    def in_finish(self, _: None) -> None:
        self.stop()


def tree(results: list[int], restart: Restart = Restart.TRANSIENT) -> SupervisorSpec:
    """One employer."""
    return supervisor(child(Employer, results).options(restart=restart))


async def forever(begun: list[str]) -> None:
    """Never ends, and says when it is cancelled."""
    begun.append("begun")
    try:
        await trio.sleep_forever()
    finally:
        begun.append("cancelled")


async def test_a_result_arrives_as_a_message() -> None:
    results: list[int] = []

    async def work() -> int:
        await trio.sleep(3)
        return 42

    async with open_system(tree(results)) as system:
        await system.ref(Employer).send(Employer.in_sum, Sum(work))
        await system.wait()

        assert system.ledger().ports["root/supervisor/employer.in_result"].processed == 1
    assert results == [42]


async def test_the_actor_goes_on_handling_messages_meanwhile() -> None:
    results: list[int] = []

    async with open_system(tree(results)) as system:
        await system.ref(Employer).send(Employer.in_task, Task(trio.sleep_forever))
        await system.ref(Employer).send(Employer.in_result, 1)
        await system.settle()

        assert results == [1]


async def test_results_are_admitted_above_capacity() -> None:
    results: list[int] = []

    async def one() -> int:
        return 1

    class Several(Employer):
        @in_port
        async def in_several(self, count: int) -> None:
            for _ in range(count):
                self.start_soon(one, to=Employer.in_result)
            await trio.sleep(1)
            assert self.results == []

    async with open_system(supervisor(child(Several, results))) as system:
        await system.ref(Several).send(Several.in_several, 5)
        await system.wait()

    assert results == [1] * 5


async def test_a_failure_is_the_actor_s_failure() -> None:
    async def fail() -> None:
        raise PermanentError("no use")

    async with open_system(tree([])) as system:
        exits = system.events(ChildExited)
        await system.ref(Employer).send(Employer.in_task, Task(fail))
        await system.wait()

    (one,) = [each async for each in exits]
    assert one.restarting
    assert one.error is not None
    assert isinstance(one.error.exception, PermanentError)
    assert "fail" in one.error.metadata["where"]


async def test_a_result_of_the_wrong_type_is_a_failure() -> None:
    async def work() -> int:
        return "forty-two"  # type: ignore[return-value]

    results: list[int] = []

    async with open_system(tree(results)) as system:
        exits = system.events(ChildExited)
        await system.ref(Employer).send(Employer.in_sum, Sum(work))
        await system.wait()

    (one,) = [each async for each in exits]
    assert one.error is not None
    assert isinstance(one.error.exception, MessageTypeError)
    assert results == []


async def test_a_task_is_cancelled_when_its_actor_stops() -> None:
    lines: list[str] = []

    async with open_system(tree([])) as system:
        await system.ref(Employer).send(Employer.in_task, Task(lambda: forever(lines)))
        await wait_all_tasks_blocked()
        await system.ref(Employer).send(Employer.in_finish, None)
        await system.wait()

        assert lines == ["begun", "cancelled"]


async def test_a_task_is_cancelled_when_its_actor_is_restarted() -> None:
    lines: list[str] = []

    async def fail() -> None:
        raise KeyError

    async with open_system(tree([])) as system:
        await system.ref(Employer).send(Employer.in_task, Task(lambda: forever(lines)))
        await wait_all_tasks_blocked()
        await system.ref(Employer).send(Employer.in_task, Task(fail))
        await system.wait()

        assert lines == ["begun", "cancelled"]


async def test_a_task_begun_in_on_stop_ends_with_the_life() -> None:
    lines: list[str] = []

    class Late(Employer):
        async def on_stop(self, reason: ExitReason) -> None:
            self.start_soon(forever, lines)
            await trio.sleep(1)

    async with open_system(supervisor(child(Late, []))) as system:
        await system.ref(Late).send(Late.in_finish, None)
        await system.wait()

        assert lines == ["begun", "cancelled"]


async def test_a_run_waits_for_background_tasks() -> None:
    class Once(Employer):
        async def on_start(self) -> None:
            self.start_soon(trio.sleep, 90)

    report = await run_inside(supervisor(child(Once, [])))

    assert report.duration == 90


async def test_a_failure_that_time_may_cure_restarts_after_a_wait() -> None:
    tries: list[float] = []

    class Connected(Employer):
        async def on_start(self) -> None:
            self.start_soon(self.connect)

        async def connect(self) -> None:
            tries.append(trio.current_time())
            if len(tries) == 1:
                raise CommunicationError("line dead", retry_after=7)

    report = await run_inside(supervisor(child(Connected, [])))

    assert tries[1] - tries[0] == 7
    assert report.restarts == 1


async def test_a_harmless_failure_leaves_the_actor_as_it_is() -> None:
    async def fail() -> None:
        raise TransientError("never mind", severity=ErrorSeverity.LOW)

    async with open_system(tree([])) as system:
        await system.ref(Employer).send(Employer.in_task, Task(fail))
        await system.wait()

        assert [each.incarnation for each in system.supervisor("root/supervisor").which_children()] == [1]


async def test_a_critical_failure_escalates() -> None:
    class Doomed(Actor):
        async def on_start(self) -> None:
            self.start_soon(self.fail)

        async def fail(self) -> None:
            raise TransientError("all is lost", severity=ErrorSeverity.CRITICAL)

    with pytest.raises(SupervisionError) as caught:
        await run_inside(supervisor(child(Doomed)))

    assert isinstance(caught.value.__cause__, TransientError)
    assert caught.value.report is not None
    assert caught.value.report.restarts == 0


async def test_a_plain_function_is_a_failure_that_says_so() -> None:
    class Confused(Actor):
        out_x = OutPort(int)

        async def on_start(self) -> None:
            self.start_soon(len, "abc")  # type: ignore[arg-type]

    with pytest.raises(SupervisionError) as caught:
        await run_inside(supervisor(child(Confused)))

    assert isinstance(caught.value.__cause__, TypeError)
