"""The public face: what `from actorkit import …` offers, and that the package says it is typed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

import actorkit


def is_incidental(value: object) -> bool:
    """Whether a name is there only because of how Python imports: a module of the package, `from __future__ import annotations`."""
    return (isinstance(value, ModuleType) and value.__name__.startswith("actorkit.")) or type(value).__module__ == "__future__"


def test_all_is_sorted_without_repeats() -> None:
    assert list(actorkit.__all__) == sorted(set(actorkit.__all__))


def test_all_is_every_public_name_and_no_other() -> None:
    public = {name for name, value in vars(actorkit).items() if not name.startswith("_") and not is_incidental(value)}

    assert set(actorkit.__all__) == public


@pytest.mark.parametrize("name", actorkit.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert hasattr(importlib.import_module("actorkit"), name)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(actorkit.__file__).parent / "py.typed").is_file()
