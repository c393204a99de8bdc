"""Pictures of trees in the documentation are what the command line draws now."""

from __future__ import annotations

import pytest

from actorkit.cli import main
from tests.docs.pages import BLOCK, ROOT

PAGE = ROOT / "docs" / "how-to" / "draw-a-tree.md"


def drawn(capsys: pytest.CaptureFixture[str], form: str) -> str:
    assert main(["graph", "examples.bank:tree", "--format", form]) == 0
    return capsys.readouterr().out


def test_the_picture_is_the_one_that_the_command_draws(capsys: pytest.CaptureFixture[str]) -> None:
    # To draw it anew: actorkit graph examples.bank:tree --output docs/how-to/draw-a-tree.svg
    assert PAGE.with_suffix(".svg").read_text(encoding="utf-8") == drawn(capsys, "svg")


def test_the_diagram_is_the_one_that_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [code for language, _, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if language == "mermaid"]

    assert blocks == [drawn(capsys, "mermaid")]
