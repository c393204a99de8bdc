"""`python -m examples.cascade`: the shop's story, and what would have become of it otherwise."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from examples.cascade.picture import LiveView, PlainView, SilentView, clock
from examples.cascade.story import Plot, Result, View, tell

if TYPE_CHECKING:
    from rich.console import Console

PAUSE: Final = 0.05
"""Real seconds for each virtual one, where somebody watches."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example; returns the exit code: 0, 1 (a message is lost, or the books don't balance), or 128 and a signal's number.

    Args:
        arguments: those of the command line; None for this process's.
    """
    asked = _parser().parse_args(arguments)
    try:
        with _calm_log():
            result = _run(asked)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return 128 + signal.SIGINT
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0 if result.imbalance is None and not result.lost else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.cascade",
        description="A shop whose database goes down for three minutes: what the cascade manager does about it. Time is virtual.",
    )
    parser.add_argument("--without", action="store_true", help="the same without the cascade manager")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides what is left to chance (default: 0)")
    parser.add_argument("--fast", action="store_true", help="as fast as it goes, instead of at a pace that can be followed")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    parser.add_argument("--no-color", action="store_true", help="plain lines instead of the live picture; NO_COLOR=1 does the same")
    return parser


def _run(asked: argparse.Namespace) -> Result:
    plot = Plot(with_manager=not asked.without, seed=asked.seed)
    if asked.json:
        result = tell(plot, SilentView())
        print(json.dumps(as_data(result)))
        return result
    is_watched = sys.stdout.isatty() and not asked.fast
    pause = PAUSE if is_watched else 0.0
    console = None if asked.no_color else _console()
    view: View = (
        PlainView(sys.stdout, pause=pause, watched=plot.with_manager)
        if console is None
        else LiveView(console, pause=pause, watched=plot.with_manager)
    )
    with view:
        result = tell(plot, view)
    other = tell(Plot(with_manager=not plot.with_manager, seed=plot.seed), SilentView())
    print(f"\n{table(result, other)}", flush=True)
    return result


@contextmanager
def _calm_log() -> Iterator[None]:
    """Keeps the runtime's log, with a traceback for every restart, off the screen: the view tells of what matters."""
    logger = logging.getLogger("actorkit")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _console() -> Console | None:
    """The terminal, if it is one that a live picture can be drawn in."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb"):
        return None
    try:
        from rich.console import Console
    except ImportError:
        print("cascade: for a live picture, install rich: python -m pip install 'actorkit[demo]'", file=sys.stderr)
        return None
    return Console()


def table(*results: Result) -> str:
    """What became of the orders, a column for each run."""
    columns = [["", *_labels()], *([_title(result), *_figures(result)] for result in results)]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join(
        "  ".join(f"{cell:<{widths[0]}}" if not at else f"{cell:>{widths[at]}}" for at, cell in enumerate(line)) for line in lines
    )


def _title(result: Result) -> str:
    return "with the manager" if result.plot.with_manager else "without it"


def _labels() -> list[str]:
    return [
        "orders made",
        "  handled in full",
        "  with something left undone",
        "messages accepted",
        "  handled",
        "  questions left unanswered",
        "  dead-lettered",
        "  lost",
        "restarts",
        "messages that waited inside, at most",
        "orders that waited outside, at most",
        "last order dealt with at",
        "ledger",
    ]


def _figures(result: Result) -> list[str]:
    numbers = (
        result.made,
        result.completed,
        result.made - result.completed,
        result.accepted,
        result.processed,
        result.skipped,
        result.dead_letters,
        result.lost,
        result.restarts,
        result.most_inside,
        result.most_outside,
    )
    return [*(f"{number:,}" for number in numbers), clock(result.seconds), result.imbalance or "balanced"]


def as_data(result: Result) -> dict[str, object]:
    """The same for programs."""
    incident = result.incident
    return {
        "with_manager": result.plot.with_manager,
        "seed": result.plot.seed,
        "seconds": round(result.seconds, 3),
        "orders": {"made": result.made, "completed": result.completed, "most_outside": result.most_outside},
        "messages": {
            "accepted": result.accepted,
            "processed": result.processed,
            "skipped": result.skipped,
            "dead_lettered": result.dead_letters,
            "lost": result.lost,
            "most_inside": result.most_inside,
        },
        "restarts": result.restarts,
        "balanced": result.imbalance is None,
        "incident": None
        if incident is None
        else {
            "lasted": incident.lasted,
            "relapses": incident.relapses,
            "causes": incident.causes,
            "reached": incident.reached,
            "most_held": incident.most_held,
            "dead_lettered": incident.dead_lettered,
            "lost": incident.lost,
            "timeline": incident.timeline,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
