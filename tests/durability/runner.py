"""The process that is killed: runs the pipeline of `pipeline.py` to its end. One parent, which has all imported, forks one after the other.

It reads a line for each: a `Task`. A run says `up`, and at its end `done`, or `stopped`, and its books; the parent then `ended`, and how.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import asdict, frozen

from actorkit import SqliteStore, Store, open_system
from tests.durability import stores
from tests.durability.pipeline import Answers, LettersOnFile, Plan, pipeline, send_notes


@frozen
class Task:
    """One run: what, where, and how.

    Attributes:
        folder: where its files are.
        plan: what is to be done.
        synchronous: "FULL" or "NORMAL".
        stop_after: seconds after which it stops, in order; None: when all is done.
        wrapped: the class in `stores.py` that the store is wrapped in, if any, to break what it promises.
        kills: at which of its writes that class kills the process; 0: never.
    """

    folder: str
    plan: Plan
    synchronous: str = "FULL"
    stop_after: float | None = None
    wrapped: str = ""
    kills: int = 0

    @property
    def store(self) -> Store:
        """Where it keeps what is to survive it."""
        store = SqliteStore(Path(self.folder, "shop.db"), synchronous="NORMAL" if self.synchronous == "NORMAL" else "FULL")
        return getattr(stores, self.wrapped)(store, self.kills) if self.wrapped else store

    def line(self) -> str:
        """As the process reads it."""
        return json.dumps(asdict(self))


def task_of(line: str) -> Task:
    """What a line asks for."""
    values: dict[str, Any] = json.loads(line)
    plan = values.pop("plan")
    return Task(plan=Plan(plan["orders"], plan["notes"], tuple(plan["killers"])), **values)


def say(*words: object) -> None:
    """Tells the test, at once."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def run_pipeline(task: Task) -> None:
    """Runs it."""
    letters, answers = LettersOnFile(Path(task.folder, "letters")), Answers(Path(task.folder, "answers"))
    async with open_system(pipeline(task.plan), store=task.store, dead_letters=letters) as system:
        say("up")
        outcome = "stopped"
        with trio.move_on_after(float("inf") if task.stop_after is None else task.stop_after):
            await send_notes(system, task.plan, answers)
            await system.wait()
            outcome = "done"
        system.ledger().check()
    system.ledger().check()
    say(outcome, system.ledger().queued)


def main() -> None:
    """Forks for each task, one after the other."""
    logging.disable()  # of what the pipeline is told to do wrong
    for line in sys.stdin:
        task = task_of(line)
        process = os.fork()
        if process == 0:
            try:
                trio.run(partial(run_pipeline, task))
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        say("process", process)
        _, status = os.waitpid(process, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
