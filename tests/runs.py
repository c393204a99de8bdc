"""What `run` does, in a trio program that is running already: under the clock of a test."""

from __future__ import annotations

from functools import partial
from typing import Any

from actorkit import ChildSpec, RunReport, Store, SupervisorSpec, System
from actorkit._runtime.run import _run


async def run_inside(
    tree: SupervisorSpec | ChildSpec[Any],
    *,
    seed: int | None = None,
    keep: bool = False,
    store: Store | None = None,
    handle_signals: bool = False,
) -> RunReport:
    """As `run(tree)`, without signals unless the test asks for them."""
    return await _run(partial(System, tree, seed=seed, store=store), keep=keep, handle_signals=handle_signals)
