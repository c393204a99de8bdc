"""What the command line says when something is wrong with what it was given."""

from __future__ import annotations

import traceback
from pathlib import Path

import actorkit
from actorkit.policy.wording import one_line, text_of

_OURS = Path(actorkit.__file__).parent


class CommandError(Exception):
    """Something is wrong with what was given: the text, one line, says what, and the way out."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))


def told(error: BaseException) -> str:
    """An exception of the user's code, in a line: where it was raised, or where that code called us, and what it says."""
    name, text = type(error).__name__, error.msg if isinstance(error, SyntaxError) else text_of(error)
    what = one_line(name if text == name else f"{name}: {text}")
    place = _place(error)
    return f"{place}: {what}" if place else what


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    theirs = [(file, line) for file, line in frames if not file.startswith("<frozen ") and _OURS not in Path(file).parents]
    return f"{_shown(theirs[-1][0])}:{theirs[-1][1]}" if theirs else ""


def _shown(file: str) -> str:
    """A file as people like to read it: from the working directory, if it is there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
