"""What a person sees while the flights run: a live view in a terminal, else a line a second, else nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from attrs import frozen

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = ["LiveView", "PlainView", "Progress", "SilentView", "Stage", "View", "actor_of", "name_of"]


def name_of(path: str) -> str:
    """The last part of an actor's path."""
    return path.rpartition("/")[2]


def actor_of(port: str) -> str:
    """The path of the actor that has this port."""
    return port.rpartition(".")[0]


@frozen
class Stage:
    """One actor's numbers so far."""

    name: str
    handled: int
    waiting: int
    dead_lettered: int
    retries: int
    restarts: int


@frozen
class Progress:
    """How far a run has come: `rows` of `total`, after `seconds`; `earlier` of them were read before it."""

    rows: int
    total: int
    seconds: float
    stages: tuple[Stage, ...]
    earlier: int = 0

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.rows / self.total if self.total else 1.0

    @property
    def rate(self) -> float:
        """Rows per second, on average."""
        return (self.rows - self.earlier) / self.seconds if self.seconds else 0.0


class View(Protocol):
    """Shows progress; a context manager around a run.

    Attributes:
        period: seconds between two calls of `show`.
    """

    period: float

    def __enter__(self) -> object: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> object: ...

    def show(self, progress: Progress) -> None:
        """This is how far it has come."""

    def note(self, text: str) -> None:
        """This has happened; it stays on the screen."""


class SilentView(nullcontext[None]):
    """Shows nothing."""

    period = 1.0

    def show(self, progress: Progress) -> None: ...
    def note(self, text: str) -> None: ...


class PlainView(nullcontext[None]):
    """Writes lines: for files, pipes, and terminals without colours."""

    period = 1.0

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def show(self, progress: Progress) -> None:
        stages = progress.stages
        dead = sum(each.dead_lettered for each in stages)
        retries, restarts = sum(each.retries for each in stages), sum(each.restarts for each in stages)
        done = f"{progress.rows:,} of {progress.total:,} rows ({progress.fraction:.0%}), {progress.rate:,.0f}/s"
        self.note(f"{done}; dead letters {dead:,}, retries {retries:,}, restarts {restarts:,}")

    def note(self, text: str) -> None:
        with suppress(BrokenPipeError):  # the report will meet it, too
            self._out.write(f"- {text}\n")
            self._out.flush()


class LiveView(AbstractContextManager["LiveView"]):
    """Draws a bar and a table of the stages, ten times a second, and wipes them at the end."""

    period = 0.1

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live: Live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        self._live.update(_drawn(progress), refresh=True)

    def note(self, text: str) -> None:
        self._console.print(f"[yellow]•[/] {text}", highlight=False)


def _drawn(progress: Progress) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    bar = Table.grid(padding=(0, 2), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(justify="right", no_wrap=True)
    done = f"[bold]{progress.rows:,}[/] of {progress.total:,} rows  [cyan]{progress.rate:,.0f}/s[/]"
    bar.add_row(ProgressBar(total=max(progress.total, 1), completed=progress.rows), done)

    stages = Table(box=None, expand=True, header_style="dim", padding=(0, 2, 0, 0))
    stages.add_column("stage")
    for title in ("handled", "waiting", "dead letters", "retries", "restarts"):
        stages.add_column(title, justify="right")
    for each in progress.stages:
        troubles = (each.dead_lettered, "red"), (each.retries, "yellow"), (each.restarts, "yellow")
        marked = [f"[{colour}]{count:,}[/]" if count else "[dim]-[/]" for count, colour in troubles]
        stages.add_row(each.name, f"{each.handled:,}", f"{each.waiting:,}", *marked)
    return Group("", bar, "", stages)
