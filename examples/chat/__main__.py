"""`python -m examples.chat`: an evening in a chat, and what became of every message."""

from __future__ import annotations

from actorkit import run
from examples.chat import tree

if __name__ == "__main__":
    print(run(tree()))
