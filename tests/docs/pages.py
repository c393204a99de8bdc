"""Reads the documentation: its pages, their code with the output that they show, their links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
"""The pages whose code is run."""
ALL_PAGES = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]

BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@frozen
class Snippet:
    """A piece of Python on a page.

    Attributes:
        page: where it stands.
        line: the line of the page that its first line is on.
        code: the code.
        marks: what follows "python" on the opening line: "alone" begins a new program, "pytest" is a test file of its own.
        output: the text block that comes next, if one does before the next piece of Python; else empty.
    """

    page: Path
    line: int
    code: str
    marks: tuple[str, ...]
    output: str

    @property
    def place(self) -> str:
        """Where to look when it fails."""
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """`docs/tutorial.md`."""
    return page.relative_to(ROOT).as_posix()


def snippets(page: Path) -> Iterator[Snippet]:
    """The Python on a page, in order."""
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    for block, following in zip_longest(blocks, blocks[1:]):
        language, marks, code = block.groups()
        if language == "python":
            line = text.count("\n", 0, block.start(3)) + 1
            output = following.group(3) if following is not None and following.group(1) == "text" else ""
            yield Snippet(page, line, code, tuple(marks.split()), output)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """The targets of a page's links to other pages and files of the project."""
    return [target for target in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What can follow "#" in a link to this page: its headings, as GitHub spells them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}
