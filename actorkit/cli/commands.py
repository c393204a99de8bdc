"""Reads the command line, and leaves the rest to the command's module."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from actorkit.cli import graph
from actorkit.cli.complaints import CommandError

COMMANDS = (graph,)
"""The modules of the commands, as `--help` lists them. Each has `add_to(commands)`, which adds a parser whose `run` is the command."""

FAREWELL = """\
exit codes: 0 done, 1 an error in what was given, 2 wrong usage

MODULE:TREE names a spec, such as supervisor(…), or a function without required arguments that returns one:
examples.bank:tree. Modules are looked for in the working directory first.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, 1 (an error in what was given), or 128 and a signal's number.

    Args:
        arguments: those of the command line; None for this process's.

    Raises:
        SystemExit: the usage is wrong (2), or help was asked for (0).
    """
    asked = parser().parse_args(arguments)
    try:
        asked.run(asked)
        sys.stdout.flush()
    except CommandError as error:
        print(f"actorkit {asked.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    whole = argparse.ArgumentParser(
        prog="actorkit",
        description="Looks at trees of actors.",
        epilog=FAREWELL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for each in COMMANDS:
        each.add_to(commands)
    return whole
