"""The reference names all that is public, and nothing else, with the parameters that it really has."""

from __future__ import annotations

import inspect
import re
from inspect import Parameter
from typing import Any

import attrs
import pytest
from attrs import frozen

import actorkit
from actorkit import events, in_port
from actorkit._runtime.port_settings import PortSettings
from tests.docs.pages import ROOT

ENTRY = re.compile(r"^( *)- `(\w+)(\(.*?\))?`:", re.MULTILINE)
EVENTS = {name: value for name, value in vars(events).items() if isinstance(value, type) and issubclass(value, events.Event)}
TAKES_THE_OPTIONS_OF = {in_port: PortSettings}
PUBLIC = {**{name: getattr(actorkit, name) for name in actorkit.__all__}, **EVENTS}


@frozen
class Entry:
    """A line of the reference: `name`, or `name(parameters)`; `owner` is the entry above that it is a member of."""

    owner: str | None
    name: str
    parameters: str | None

    def __str__(self) -> str:
        return self.name if self.owner is None else f"{self.owner}.{self.name}"


def read_entries() -> list[Entry]:
    """All entries of the reference."""
    entries: list[Entry] = []
    owner = ""
    for indent, name, parameters in ENTRY.findall((ROOT / "docs" / "reference.md").read_text(encoding="utf-8")):
        entries.append(Entry(owner if indent else None, name, parameters or None))
        owner = owner if indent else name
    return entries


ENTRIES = read_entries()


def documented(parameters: str) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter, as the reference has them; the default `...` stands for any."""
    names = vars(actorkit)
    function: dict[str, Any] = {}
    exec(f"def documented{parameters}: ...", dict(names), function)  # noqa: S102  # our own documentation
    return [(each.name, each.kind, each.default) for each in inspect.signature(function["documented"]).parameters.values()]


def real(value: Any, *, of_class: bool) -> list[tuple[str, Any, Any]]:
    """The same of the real thing."""
    parameters = list(inspect.signature(TAKES_THE_OPTIONS_OF.get(value, value)).parameters.values())
    return [(each.name, each.kind, each.default) for each in parameters[1 if of_class else 0 :]]


def test_every_public_name_has_one_entry_and_nothing_else_has() -> None:
    names = [entry.name for entry in ENTRIES if entry.owner is None]

    assert sorted(PUBLIC.keys() - names) == []
    assert sorted(set(names) - PUBLIC.keys()) == []
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.owner is not None], ids=str)
def test_every_member_exists(entry: Entry) -> None:
    owner = PUBLIC[entry.owner or ""]

    is_field = attrs.has(owner) and entry.name in attrs.fields_dict(owner)
    assert is_field or hasattr(owner, entry.name) or entry.name in owner.__init__.__code__.co_names  # or it is set in the constructor


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.parameters is not None], ids=str)
def test_parameters_are_those_of_the_code(entry: Entry) -> None:
    value = PUBLIC[entry.name] if entry.owner is None else getattr(PUBLIC[entry.owner], entry.name)

    is_static = entry.owner is not None and isinstance(inspect.getattr_static(PUBLIC[entry.owner], entry.name), staticmethod)
    expected = real(value, of_class=entry.owner is not None and not is_static)
    found = [
        (name, kind, default_there if default is ... and default_there is not Parameter.empty else default)
        for (name, kind, default), (_, _, default_there) in zip(documented(entry.parameters or ""), expected, strict=True)
    ]

    assert found == expected
