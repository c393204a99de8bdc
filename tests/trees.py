"""A tree for tests: workers that write down how they live, and fail on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio
from attrs import frozen

from actorkit import Actor, ActorRef, ChildSpec, ExitReason, System, child, in_port


class Bug(Exception):
    """A failure that calls for a fresh instance: nothing is known about it."""


class Scene:
    """What workers share with their test: what they did, in order, and what is to go wrong.

    Attributes:
        lines: "start a", "stop a", "did a: message", …
        reasons: why each worker stopped last.
        start_failures: how many of a worker's next starts fail.
        start_takes: seconds that a worker's start takes.
        stop_takes: seconds that a worker's `on_stop` takes.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.reasons: dict[str, ExitReason] = {}
        self.start_failures: Counter[str] = Counter()
        self.start_takes: dict[str, float] = {}
        self.stop_takes: dict[str, float] = {}

    def take(self) -> list[str]:
        """What was written down since the last look."""
        lines, self.lines = self.lines, []
        return lines


class Fault:
    """A message whose handling fails so many times, and then works."""

    def __init__(self, times: int = 1, error: Callable[[], Exception] = Bug) -> None:
        self.times = times
        self.error = error


@frozen
class Finish:
    """A message that makes a worker end itself, normally."""


class Worker(Actor):
    """Writes down how it lives."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def on_start(self) -> None:
        if self.name in self.scene.start_takes:
            await trio.sleep(self.scene.start_takes[self.name])
        if self.scene.start_failures[self.name] > 0:
            self.scene.start_failures[self.name] -= 1
            self.scene.lines.append(f"fail to start {self.name}")
            raise Bug(f"{self.name} does not start")
        self.scene.lines.append(f"start {self.name}")

    async def on_stop(self, reason: ExitReason) -> None:
        if self.name in self.scene.stop_takes:
            await trio.sleep(self.scene.stop_takes[self.name])
        self.scene.reasons[self.name] = reason
        self.scene.lines.append(f"stop {self.name}")

    @in_port
    def in_fault(self, fault: Fault) -> None:
        if fault.times:
            fault.times -= 1
            raise fault.error()

    @in_port
    def in_note(self, text: str) -> None:
        self.scene.lines.append(f"did {self.name}: {text}")

    @in_port
    def in_finish(self, _: Finish) -> None:
        self.stop()

    @in_port
    async def in_sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.scene.lines.append(f"slept {self.name}")


def worker(scene: Scene, name: str) -> ChildSpec[Worker]:
    """A worker with this name."""
    return child(Worker, scene).options(name=name)


def ref(system: System, path: str) -> ActorRef[Worker]:
    """The worker at this path below the root: `"top/a"`."""
    return system.ref(f"root/{path}", Worker)


async def crash(system: System, path: str, times: int = 1) -> None:
    """Makes a worker fail, and waits until nothing more happens by itself. Each call is a message of its own."""
    await ref(system, path).send(Worker.in_fault, Fault(times))
    await system.wait()


async def finish(system: System, path: str) -> None:
    """Makes a worker end itself, normally, and waits until nothing more happens by itself."""
    await ref(system, path).send(Worker.in_finish, Finish())
    await system.wait()


def running(system: System, path: str) -> list[str]:
    """The names of the running children of a supervisor."""
    return [each.name for each in system.supervisor(f"root/{path}").which_children() if each.is_running]
