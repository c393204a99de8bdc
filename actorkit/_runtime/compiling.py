"""What the modules on the way of a message need so that they can be compiled (by mypyc: see docs/compiled.md), and are the same without.

A compiled module is this very source. Two things differ: a compiled function has no Python frame, so a signal's handler cannot run
in the middle of it, and nothing need protect it from Ctrl-C; and classes say whether others that are not compiled derive from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trio.lowlevel import enable_ki_protection

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """Tells mypyc about a class; where it is not at work, nothing."""
        return lambda kind: kind


F = TypeVar("F", bound="Callable[..., Any]")


def protected(function: F) -> F:
    """Keeps Ctrl-C from a function, as trio's `enable_ki_protection`; from one that is compiled it is kept anyway."""
    return enable_ki_protection(function) if hasattr(function, "__code__") else function
