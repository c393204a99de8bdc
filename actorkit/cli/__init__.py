"""The command line: `actorkit`, and `python -m actorkit`. Each command is a module of this package."""

from actorkit.cli.commands import main

__all__ = ["main"]
