"""A life of an actor: its hooks in order, and what one life hands to the next."""

from __future__ import annotations

import pytest
import trio

from actorkit import (
    Actor,
    ExitReason,
    OutPort,
    Restart,
    Strategy,
    SupervisionError,
    TransientError,
    ValidationError,
    child,
    in_port,
    open_system,
    supervisor,
)
from actorkit.events import ActorStarted, ActorStopped, CleanupFailed, SourceRestarted, StartFailed
from tests.trees import Fault, Scene, Worker, ref, worker


class Diary(Actor):
    """Writes down what happens to it, in a list that outlives it."""

    def __init__(self, pages: list[str], name: str = "diary") -> None:
        self.pages = pages
        self.title = name
        self.pages.append(f"{self.title} made")

    async def on_start(self) -> None:
        self.pages.append(f"{self.title} started")

    @in_port
    def in_line(self, line: str) -> None:
        if line == "bug":
            raise KeyError(line)
        if line == "stop":
            self.stop()
        self.pages.append(line)

    async def on_stop(self, reason: ExitReason) -> None:
        self.pages.append(f"{self.title} stopped: {reason.value}")


async def test_the_hooks_of_a_life_come_in_order() -> None:
    pages: list[str] = []

    async with open_system(supervisor(child(Diary, pages))) as system:
        await system.ref(Diary).send(Diary.in_line, "hello")

    assert pages == ["diary made", "diary started", "hello", "diary stopped: shutdown"]


async def test_a_child_starts_when_the_one_before_it_has_started_and_stops_in_reverse_order() -> None:
    pages: list[str] = []
    first = child(Diary, pages, "first").options(name="first")
    second = child(Diary, pages, "second").options(name="second")

    async with open_system(supervisor(first, second)):
        pass

    assert pages == [
        *("first made", "first started", "second made", "second started"),
        *("second stopped: shutdown", "first stopped: shutdown"),
    ]


async def test_on_stop_is_told_that_the_actor_failed() -> None:
    pages: list[str] = []

    async with open_system(supervisor(child(Diary, pages))) as system:
        await system.ref(Diary).send(Diary.in_line, "bug")
        await system.settle()
        told = [page for page in pages if page.startswith("diary stopped")]

    assert set(told) == {"diary stopped: failed"}


async def test_on_stop_is_told_that_the_actor_stopped_itself() -> None:
    pages: list[str] = []

    async with open_system(supervisor(child(Diary, pages))) as system:
        await system.ref(Diary).send(Diary.in_line, "stop")
        await system.wait()
        assert pages[-1] == "diary stopped: normal"


async def test_a_restart_makes_a_new_object_from_the_arguments_of_the_spec() -> None:
    class Counter(Actor):
        made: list[Counter] = []  # noqa: RUF012

        def __init__(self, start: int, *, step: int) -> None:
            self.value, self.step = start, step
            Counter.made.append(self)

        @in_port
        def in_add(self, times: int) -> int:
            if times < 0:
                raise ArithmeticError
            self.value += times * self.step
            return self.value

    policy_once = supervisor(child(Counter, 10, step=5))

    async with open_system(policy_once) as system:
        counter = system.ref(Counter)
        before = await counter.ask(Counter.in_add, 1)
        await counter.send(Counter.in_add, -1)
        after = await counter.ask(Counter.in_add, 1)

    assert (before, after) == (15, 15)
    assert len(set(Counter.made)) == len(Counter.made) > 1


async def test_a_constructor_may_use_the_path() -> None:
    class Named(Actor):
        def __init__(self) -> None:
            self.label = f"{self.name} at {self.path}"

        @in_port
        def in_label(self, _: None) -> str:
            return self.label

    async with open_system(supervisor(child(Named).options(name="tower"), name="airport")) as system:
        assert await system.ref(Named).ask(Named.in_label, None) == "tower at root/airport/tower"


async def test_run_starts_when_the_whole_tree_is_up() -> None:
    pages: list[str] = []

    class Source(Actor):
        async def run(self) -> None:
            pages.append("run")

    tree = supervisor(supervisor(child(Source), name="inner"), child(Diary, pages))

    async with open_system(tree):
        await trio.testing.wait_all_tasks_blocked()

    assert pages[:3] == ["diary made", "diary started", "run"]


async def test_run_of_a_restarted_group_starts_when_the_whole_group_is_up() -> None:
    scene = Scene()

    class Source(Actor):
        async def run(self) -> None:
            scene.lines.append("run")
            await trio.sleep_forever()

    tree = supervisor(child(Source), worker(scene, "a"), name="top", strategy=Strategy.ONE_FOR_ALL)

    async with open_system(tree) as system:
        await trio.testing.wait_all_tasks_blocked()
        scene.take()
        await ref(system, "top/a").send(Worker.in_fault, Fault())
        await trio.testing.wait_all_tasks_blocked()

        assert scene.take() == ["stop a", "start a", "run"]


class Counting(Actor):
    """A source that fails once, at 3; it can tell where it was."""

    out_number = OutPort(int)

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.position = 0

    async def run(self) -> None:
        while self.position < 5:
            if self.position == 3 and self.numbers.count(2) == 1 and 3 not in self.numbers:
                self.numbers.append(3)
                raise ConnectionError("lost")
            await trio.sleep(1)
            self.numbers.append(self.position)
            self.position += 1


class Resuming(Counting):
    def snapshot(self) -> int:
        return self.position

    def restore(self, state: object, version: int) -> None:
        assert isinstance(state, int)
        self.position = state


async def test_a_restarted_source_goes_on_where_the_failed_life_was() -> None:
    numbers: list[int] = []

    async with open_system(supervisor(child(Resuming, numbers))) as system:
        warnings = system.events(SourceRestarted)
        await system.wait()

    assert numbers == [0, 1, 2, 3, 3, 4]
    assert [each async for each in warnings] == []


async def test_a_source_without_a_snapshot_starts_from_the_beginning_with_a_warning() -> None:
    numbers: list[int] = []

    async with open_system(supervisor(child(Counting, numbers))) as system:
        warnings = system.events(SourceRestarted)
        await system.wait()

    assert numbers == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert [each.path async for each in warnings] == ["root/supervisor/counting"]


async def test_restore_is_told_the_version_of_the_state() -> None:
    versions: list[int] = []

    class Versioned(Resuming):
        state_version = 7

        def restore(self, state: object, version: int) -> None:
            versions.append(version)
            super().restore(state, version)

    async with open_system(supervisor(child(Versioned, []))) as system:
        await system.wait()

    assert versions == [7]


async def test_a_failing_snapshot_does_no_more_harm_than_to_be_reported() -> None:
    numbers: list[int] = []

    class Forgetful(Counting):
        def snapshot(self) -> int:
            raise OSError("no memory of it")

        def restore(self, state: object, version: int) -> None:
            raise AssertionError("there is nothing to restore")

    async with open_system(supervisor(child(Forgetful, numbers))) as system:
        reports = system.events(CleanupFailed)
        await system.wait()

    assert numbers == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert {each.where async for each in reports} == {"snapshot"}


async def test_a_failing_on_stop_does_no_more_harm_than_to_be_reported() -> None:
    class Sore(Actor):
        async def on_stop(self, reason: ExitReason) -> None:
            raise RuntimeError("not now")

    async with open_system(supervisor(child(Sore))) as system:
        reports = system.events(CleanupFailed)

    assert [(each.path, each.where) async for each in reports] == [("root/supervisor/sore", "on_stop")]


async def test_on_stop_has_the_rest_of_the_shutdown_time() -> None:
    said: list[str] = []

    class Slow(Actor):
        async def on_stop(self, reason: ExitReason) -> None:
            await trio.sleep(3)
            said.append("after 3 s")
            await trio.sleep(3)
            said.append("after 6 s")

    async with open_system(supervisor(child(Slow).options(shutdown=5.0))):
        began = trio.current_time()

    assert said == ["after 3 s"]
    assert trio.current_time() - began == 5.0


async def test_an_actor_that_does_not_stop_in_time_is_killed() -> None:
    class Stuck(Actor):
        @in_port
        async def in_wait(self, _: None) -> None:
            await trio.sleep_forever()

    async with open_system(supervisor(child(Stuck).options(shutdown=2.0))) as system:
        stopped = system.events(ActorStopped)
        await system.ref(Stuck).send(Stuck.in_wait, None)
        await trio.testing.wait_all_tasks_blocked()

    assert [each.reason async for each in stopped] == [ExitReason.KILLED]


async def test_a_start_that_fails_at_once_fails_the_whole_tree() -> None:
    pages: list[str] = []

    class Broken(Actor):
        async def on_start(self) -> None:
            raise ConnectionRefusedError("nobody there")

    with pytest.raises(SupervisionError, match="root/supervisor/broken could not be started: ConnectionRefusedError: nobody") as caught:
        async with open_system(supervisor(child(Diary, pages), child(Broken))):
            pytest.fail("the block began")

    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert pages == ["diary made", "diary started", "diary stopped: shutdown"]


async def test_a_start_that_takes_too_long_has_failed() -> None:
    class Hanging(Actor):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    began = trio.current_time()

    with pytest.raises(SupervisionError) as caught:
        async with open_system(supervisor(child(Hanging).options(start_timeout=2.0))):
            pytest.fail("the block began")

    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert str(caught.value.__cause__) == "on_start took longer than 2 s, its start_timeout"
    assert trio.current_time() - began == 2.0


async def test_a_start_that_fails_during_a_restart_is_tried_again() -> None:
    starts: list[int] = []

    class Flaky(Actor):
        async def on_start(self) -> None:
            starts.append(len(starts))
            if len(starts) == 2:
                raise ValidationError("not yet")

        @in_port
        def in_work(self, job: str) -> str:
            if job == "bug" and len(starts) == 1:
                raise KeyError(job)
            return job

    async with open_system(supervisor(child(Flaky))) as system:
        failed = system.events(StartFailed)
        answer = await system.ref(Flaky).ask(Flaky.in_work, "bug")

    assert answer == "bug"
    assert starts == [0, 1, 2]
    assert len([each async for each in failed]) == 1


async def test_a_permanent_actor_that_stops_itself_is_started_again() -> None:
    pages: list[str] = []

    async with open_system(supervisor(child(Diary, pages).options(restart=Restart.PERMANENT))) as system:
        started = system.events(ActorStarted)
        await system.ref(Diary).send(Diary.in_line, "stop")
        again = await anext(started)

    assert again.incarnation == 2


async def test_an_actor_object_outside_a_tree_says_how_to_get_one_inside() -> None:
    diary = Diary([])

    with pytest.raises(RuntimeError, match=r"Diary\.path: this Diary is not part of a running tree; declare it with child\(Diary, …\)"):
        _ = diary.path


async def test_a_transient_failure_leaves_the_life_as_it_is() -> None:
    class Busy(Actor):
        def __init__(self) -> None:
            self.tries = 0

        @in_port
        def in_work(self, _: None) -> int:
            self.tries += 1
            if self.tries < 3:
                raise TransientError("later")
            return self.tries

    async with open_system(supervisor(child(Busy))) as system:
        assert await system.ref(Busy).ask(Busy.in_work, None, timeout=60) == 3
