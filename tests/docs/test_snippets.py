"""Every piece of Python in the documentation runs, and prints what the page says.

The pieces of a page are one program, run in order; one marked "alone" begins a new program. What it prints stands in the
next ```text block; without one, it prints nothing. An exception that the page shows is the last line there, as Python prints
it. "..." in the output stands for anything. One marked "pytest" is run by pytest as a file of its own.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from traceback import format_exception_only
from typing import Any

import pytest

from tests.docs.pages import PAGES, Snippet, name, snippets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_code_on_a_page_does_what_the_page_says(page: Path, tmp_path: Path) -> None:
    program = new_program()

    for snippet in snippets(page):
        if "alone" in snippet.marks:
            program = new_program()
        if "pytest" in snippet.marks:
            shown, error = run_as_tests(snippet, tmp_path), None
        else:
            shown, error = run(snippet, program)

        if not fits(shown, snippet.output):
            assert f"{snippet.place} shows:\n{shown}" == f"{snippet.place} shows:\n{snippet.output}", error


def test_there_is_code_to_run() -> None:
    assert len([snippet for page in PAGES for snippet in snippets(page)]) > 20


def new_program() -> dict[str, Any]:
    """The names of a program that has just begun."""
    return {"__name__": "__main__"}


def run(snippet: Snippet, program: dict[str, Any]) -> tuple[str, Exception | None]:
    """Runs a piece of a program; what it printed, and how it ended."""
    # The blank lines in front make a traceback name the line of the page.
    code = compile("\n" * (snippet.line - 1) + snippet.code, snippet.page, "exec", dont_inherit=True)
    printed = io.StringIO()
    with redirect_stdout(printed):
        try:
            exec(code, program)  # noqa: S102  # our own documentation
        except Exception as error:
            print("".join(format_exception_only(error)), end="")
            return printed.getvalue(), error
    return printed.getvalue(), None


def run_as_tests(snippet: Snippet, folder: Path) -> str:
    """Runs a test file with pytest, set up as the page on testing says; its last line."""
    file = folder / "test_page.py"
    file.write_text(snippet.code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "trio_mode=true", file.name]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return result.stdout if result.returncode else result.stdout.splitlines()[-1]


def fits(shown: str, output: str) -> bool:
    """Whether what was printed is what the page shows; there, "..." stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in output.strip().split("..."))
    return re.fullmatch(pattern, shown.strip(), re.DOTALL) is not None
