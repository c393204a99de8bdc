"""How values and types are written in error texts."""

from __future__ import annotations


def shown(value: object, limit: int = 120) -> str:
    """`value` for an error text: its repr, cut to `limit` characters, even if `__repr__` raises."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def type_names(types: type | tuple[type, ...]) -> str:
    """Types as a reader would write them: `int | str`."""
    return " | ".join("None" if each is type(None) else each.__name__ for each in (types if isinstance(types, tuple) else (types,)))
