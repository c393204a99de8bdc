"""Slips of the pen are answered with the way out, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from actorkit import Actor, MessageTypeError, PortDefinitionError, SpecTypeError, child, in_port, open_system, supervisor


class Till(Actor):
    @in_port
    def in_order(self, order: str) -> None:
        pass

    @in_port
    def in_total(self, currency: str) -> int:
        return 0


class Bank(Actor):
    @in_port
    def in_order(self, order: str) -> None:
        pass


@pytest.mark.parametrize(
    ("port", "complaint"),
    [
        ("in_order", "root/bar/till is a Till and has no port 'in_order', as a port is named by its class: Till.in_x"),
        (Bank.in_order, "root/bar/till is a Till and has no port Bank.in_order(str)"),
    ],
)
async def test_what_is_no_port_of_the_actor_is_refused_with_those_it_has(port: Any, complaint: str) -> None:
    async with open_system(supervisor(child(Till), name="bar")) as system:
        with pytest.raises(MessageTypeError) as error:
            await system.ref(Till).send(port, "espresso")

    assert str(error.value) == f"{complaint}; its in-ports are: in_order, in_total"


def test_an_actor_object_is_no_child() -> None:
    mistake: Any = Till()

    with pytest.raises(SpecTypeError, match=r"expected a subclass of Actor; write child\(Till, …\): the tree makes the object$"):
        child(mistake)


def test_options_of_a_port_have_names() -> None:
    number: Any = 256

    with pytest.raises(PortDefinitionError, match=r"^in_port\(256\) is given no method; options have names: @in_port\(capacity=…\)$"):
        in_port(number)
