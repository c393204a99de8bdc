"""An actor for tests that does jobs, and fails as they say."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import trio
from attrs import frozen

from actorkit import Actor, RecoveryPolicy, SupervisorSpec, System, TransientError, child, in_port, supervisor


@frozen
class Job:
    """Something to do that fails with these errors, one a try, and then works."""

    name: str
    errors: tuple[Callable[[], Exception], ...] = ()


class Book:
    """What happened to jobs, for the test: (time, job, the life that tried it)."""

    def __init__(self) -> None:
        self.tries: list[tuple[float, str, int]] = []
        self.lives = 0

    def names(self) -> list[str]:
        """The jobs that were tried, in order."""
        return [name for _, name, _ in self.tries]

    def lives_of(self, name: str) -> list[int]:
        """The lives that tried this job."""
        return [life for _, each, life in self.tries if each == name]

    def waits(self) -> list[float]:
        """Seconds between one try and the next."""
        times = [time for time, _, _ in self.tries]
        return [later - earlier for earlier, later in pairwise(times)]


class Laborer(Actor):
    """Does jobs."""

    def __init__(self, book: Book) -> None:
        self.book = book
        book.lives += 1
        self.life = book.lives

    @in_port
    def in_job(self, job: Job) -> str:
        return self.do(job)

    @in_port
    def in_other(self, job: Job) -> str:
        return self.do(job)

    def do(self, job: Job) -> str:
        """Does it, or fails as it says."""
        tries = self.book.names().count(job.name)
        self.book.tries.append((trio.current_time(), job.name, self.life))
        if tries < len(job.errors):
            raise job.errors[tries]()
        return f"{job.name} done"


def tree(book: Book, recovery: RecoveryPolicy | None = None) -> SupervisorSpec:
    """One laborer."""
    return supervisor(child(Laborer, book), name="top", recovery=recovery)


async def do(system: System, *jobs: Job) -> None:
    """Sends jobs, and waits until nothing more happens by itself."""
    for job in jobs:
        await system.ref(Laborer).send(Laborer.in_job, job)
    await system.wait()


def slip() -> Exception:
    """What is tried again by the same instance."""
    return TransientError("a slip")


def bug() -> Exception:
    """What calls for a fresh instance."""
    return KeyError("a bug")
