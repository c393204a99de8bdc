"""What the pages refer to is there: commands of `./dev`, other pages, headings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ALL_PAGES, PAGES, ROOT, anchors, links, name


def commands() -> set[str]:
    """The commands that `./dev` lists."""
    usage = subprocess.run(["sh", ROOT / "dev", "help"], capture_output=True, text=True, check=True, timeout=60).stdout
    return set(re.findall(r"^  (\w+)  ", usage, re.MULTILINE))


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_every_command_that_a_page_mentions_exists(page: Path) -> None:
    mentioned = set(re.findall(r"\./dev ([a-z]\w*)", page.read_text(encoding="utf-8")))

    assert mentioned - commands() == set()


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}, a heading that is not there"


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if link.partition("#")[0].endswith(".md")}
        waiting.extend(targets - reached)

    assert [name(page) for page in PAGES if page not in reached] == []
