"""`python -m examples.flights`: runs the flights, shows how it goes, and reports."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from actorkit import StorageError, SupervisionError
from examples.flights.data import NYCFLIGHTS13, Airline, DataUnavailable, ensure_data, load_airlines
from examples.flights.progress import LiveView, PlainView, SilentView, View
from examples.flights.report import as_json, draw, plain, tables
from examples.flights.run import Job, Result, StoppedAtOnce, fly

if TYPE_CHECKING:
    from rich.console import Console


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example; returns the exit code: 0, 1 (an error, or rows unaccounted for), or 128 and a signal's number.

    Args:
        arguments: those of the command line; None for this process's.
    """
    asked = _parser().parse_args(arguments)
    try:
        return _run(asked)
    except (DataUnavailable, StorageError, SupervisionError) as error:
        cause = error.__cause__
        print(f"flights: {cause if isinstance(cause, DataUnavailable) else error}", file=sys.stderr)
        return 1
    except StoppedAtOnce as stopped:
        print(f"flights: stopped at once by {stopped.signal.name}", file=sys.stderr)
        return 128 + stopped.signal
    except KeyboardInterrupt:  # before the run, or after
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights",
        description="A year of flights (nycflights13) through a supervised tree of actors, some of which fail on purpose.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--limit", type=_whole("1 or more", 1), metavar="N", help="read N rows at most")
    parser.add_argument("--seed", type=_whole("a whole number"), default=0, metavar="N", help="decides where actors fail (default: 0)")
    parser.add_argument("--no-faults", action="store_true", help="let nothing fail on purpose")
    parser.add_argument("--no-color", action="store_true", help="plain lines instead of the live view; NO_COLOR=1 does the same")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="use the tables in FOLDER instead of fetching them")
    kept = "keep what is done in FILE, made if it is not there: killed at any moment and started again, the run goes on"
    parser.add_argument("--store", type=Path, metavar="FILE", help=kept)
    return parser


def _whole(expected: str, least: int | None = None) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value

    return number


def _run(asked: argparse.Namespace) -> int:
    folder = ensure_data() if asked.data is None else _whole_folder(asked.data)
    airlines = load_airlines(folder)
    rows = _count_rows(folder / "flights.csv")
    job = Job(folder, limit=asked.limit, seed=asked.seed, faults=not asked.no_faults, store=asked.store)
    total = rows if job.limit is None else min(rows, job.limit)
    console = None if asked.json or asked.no_color else _console()
    view: View = SilentView() if asked.json else PlainView(sys.stdout) if console is None else LiveView(console)
    with _calm_log(), view:
        result = trio.run(lambda: fly(job, view, total=total))
    _report(result, airlines, console, json=asked.json)
    if result.signal is not None:
        return 128 + result.signal
    return 0 if result.imbalance is None else 1


def _report(result: Result, airlines: dict[str, Airline], console: Console | None, *, json: bool) -> None:
    if json:
        print(as_json(result, airlines))
    elif console is None:
        print(plain(tables(result, airlines)))
    else:
        draw(tables(result, airlines), console)
    sys.stdout.flush()


def _console() -> Console | None:
    """The terminal, if it is one that a live view can be drawn in."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb"):
        return None
    try:
        from rich.console import Console
    except ImportError:
        print("flights: for a live view, install rich: python -m pip install 'actorkit[demo]'", file=sys.stderr)
        return None
    return Console()


def _whole_folder(folder: Path) -> Path:
    """`folder`, if it has the tables."""
    for table in NYCFLIGHTS13.files:
        if not (folder / table.name).is_file():
            way_out = "name a folder that has all tables, or leave --data out to have them fetched"
            raise DataUnavailable(f"--data {folder}", f"there is no {table.name}", way_out)
    return folder


def _count_rows(path: Path) -> int:
    """Lines below the header, in a few milliseconds."""
    with path.open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return max(0, lines - 1)


@contextmanager
def _calm_log() -> Iterator[None]:
    """Keeps the runtime's log, with a traceback for every restart, off the screen: the view tells of the same in a line."""
    logger = logging.getLogger("actorkit")
    propagates, logger.propagate = logger.propagate, False
    silent = logging.NullHandler()
    logger.addHandler(silent)
    try:
        yield
    finally:
        logger.removeHandler(silent)
        logger.propagate = propagates


if __name__ == "__main__":
    sys.exit(main())
