"""What a person sees while the shop runs: a live picture in a terminal, else lines, else nothing."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, TextIO

from actorkit import CascadePhase, HealthStatus
from actorkit.events import CRITICAL, ERROR, WARNING

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType
    from rich.live import Live

    from examples.cascade.story import Moment, Part

EVERY: Final = 10
"""Virtual seconds between two lines of the plain view."""

COLOURS: Final = {
    HealthStatus.HEALTHY: "green",
    HealthStatus.DEGRADED: "yellow",
    HealthStatus.UNHEALTHY: "bold red",
    HealthStatus.UNKNOWN: "dim",
    CascadePhase.NORMAL: "green",
    CascadePhase.EMERGENCY: "bold white on red",
    CascadePhase.RECOVERING: "black on yellow",
}


def clock(seconds: float) -> str:
    """`4:05`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


class SilentView(nullcontext[None]):
    """Shows nothing."""

    def show(self, moment: Moment) -> None: ...
    def note(self, time: float, text: str, level: int) -> None: ...


class PlainView(nullcontext[None]):
    """Writes a line for what has happened, and one every ten virtual seconds.

    Args:
        out: where to.
        pause: real seconds that a virtual second takes at least.
        watched: whether anybody judges how components do.
    """

    def __init__(self, out: TextIO, *, pause: float = 0.0, watched: bool = True) -> None:
        super().__init__()
        self._out = out
        self._pause = pause
        self._watched = watched

    def show(self, moment: Moment) -> None:
        if int(moment.time) % EVERY == 0:
            ill = [part.name for part in moment.parts if part.health is HealthStatus.UNHEALTHY]
            phase = f"{moment.phase.value:10} {moment.rate:4.0%}  " if self._watched else ""
            backlog = f"waiting {moment.inside:5,} inside {moment.outside:5,} outside"
            trouble = f"dead letters {moment.dead_letters:5,}, restarts {moment.restarts:5,}"
            unhealthy = f"  unhealthy: {', '.join(ill)}" if ill else ""
            self._write(f"{clock(moment.time):>5}  {phase}orders {moment.made:5,}, {backlog}, {trouble}{unhealthy}")
        time.sleep(self._pause)  # noqa: TID251  # all is to stop here, virtual time too

    def note(self, time: float, text: str, level: int) -> None:
        mark = "!" if level >= WARNING else " "
        for number, line in enumerate(text.splitlines()):
            self._write(f"{clock(time) if number == 0 else '':>5} {mark} {line}")

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the table will meet it, too
            self._out.write(f"{line}\n")
            self._out.flush()


class LiveView(AbstractContextManager["LiveView"]):
    """Draws the shop, once in each virtual second, below what has happened.

    Args:
        console: where.
        pause: real seconds that a virtual second takes at least.
        watched: whether anybody judges how components do.
    """

    def __init__(self, console: Console, *, pause: float = 0.0, watched: bool = True) -> None:
        from rich.live import Live

        self._console = console
        self._pause = pause
        self._watched = watched
        self._live: Live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /) -> None:
        self._live.stop()

    def show(self, moment: Moment) -> None:
        self._live.update(_drawn(moment, watched=self._watched), refresh=True)
        time.sleep(self._pause)  # noqa: TID251  # all is to stop here, virtual time too

    def note(self, time: float, text: str, level: int) -> None:
        from rich.text import Text

        style = (
            "bold red" if level >= CRITICAL else "red" if level >= ERROR else "yellow" if level >= WARNING else "dim" if level else "bold"
        )
        for number, line in enumerate(text.splitlines()):
            self._console.print(Text(f"{clock(time) if number == 0 else '':>5}  {line}", style=style))


def _drawn(moment: Moment, *, watched: bool) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    colour = COLOURS[moment.phase]
    phase = f"[{colour}] {moment.phase.value.upper()} [/]  sources at [bold]{moment.rate:.0%}[/]" if watched else "[dim]nobody watches[/]"
    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    head.add_row(
        f"[bold]{clock(moment.time):>5}[/]  {phase}",
        f"[bold]{moment.made:,}[/] orders, [cyan]{moment.outside:,}[/] wait outside",
    )
    table = Table(box=None, expand=True, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    if watched:
        table.add_column("health")
    for title in ("waiting", "handled", "dead letters", "restarts"):
        table.add_column(title, justify="right")
    for part in moment.parts:
        table.add_row(*_row(part, watched=watched))
    return Group("", head, "", table)


def _row(part: Part, *, watched: bool) -> list[str]:
    health = [f"[{COLOURS[part.health]}]● {part.health.value}[/]"] if watched else []
    troubles = (part.dead_lettered, "red"), (part.restarts, "yellow")
    marked = [f"[{colour}]{count:,}[/]" if count else "[dim]-[/]" for count, colour in troubles]
    return [part.name, *health, f"{part.waiting:,}", f"{part.handled:,}", *marked]
