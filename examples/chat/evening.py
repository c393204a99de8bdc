"""The tree of the chat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actorkit import SupervisorSpec, child, dynamic_supervisor, supervisor
from examples.chat.actors import Archive, Host
from examples.chat.messages import EVERYTHING, read

SCRIPT = Path(__file__).with_name("evening.txt")
"""What happens on an evening."""


def tree(script: Path = SCRIPT, show: Callable[[str], None] = print) -> SupervisorSpec:
    """The chat as a tree that can run once. Who is in it, the script says.

    Args:
        script: what happens, a step a line.
        show: gets what is to be shown.

    Raises:
        ValueError: a line of the script is no step.
    """
    steps = [read(line) for line in script.read_text(encoding="utf-8").splitlines()]
    return supervisor(
        child(Archive, show),
        dynamic_supervisor(name="members"),
        child(Host, steps, show),
        wires=[EVERYTHING >> Archive.in_line],
        name="chat",
    )
