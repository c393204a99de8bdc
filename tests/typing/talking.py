"""What the type checkers accept and reject of messages and questions to actors. Checked, not run."""

from __future__ import annotations

from typing import Any, assert_type

from actorkit import Actor, ActorRef, PortRef, Supervisor, child, open_system, supervisor
from actorkit.events import ActorStarted, Event
from tests.typing.greeting import Box, Counter, Greet, Greeter, HowMany, Polite, Printer


async def find() -> None:
    async with open_system(supervisor(child(Greeter)), seed=3) as system:
        assert_type(system.ref(Greeter), ActorRef[Greeter])
        assert_type(system.ref("root/supervisor/greeter"), ActorRef[Any])
        assert_type(system.ref("root/supervisor/greeter", Greeter), ActorRef[Greeter])
        assert_type(await system.supervisor("root/supervisor").start_child(child(Printer)), ActorRef[Printer])
        assert_type(await system.supervisor("root/supervisor").start_child(supervisor()), Supervisor)
        system.ref(str)  # type: ignore[type-var]  # pyright: ignore[reportCallIssue, reportArgumentType]
        system.ref(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        async for event in system.events(ActorStarted):
            assert_type(event, ActorStarted)
        async for any_event in system.events():
            assert_type(any_event, Event)


async def send(greeter: ActorRef[Greeter]) -> None:
    assert_type(await greeter.send(Greeter.in_greet, Greet("Ada")), None)
    greeter.send_nowait(Greeter.in_greet, Greet("Ada"))
    await greeter.send(Greeter.in_salute, None)
    await greeter.send(Greeter.in_greet, "Ada")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    greeter.send_nowait(Greeter.in_greet, "Ada")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await greeter.send(Printer.in_line, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    greeter.send_nowait(Printer.in_line, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeter.send(Greeter.out_line, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeter.send("in_greet", Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeter.send(Polite.in_bow, 3.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def ask(greeter: ActorRef[Greeter]) -> None:
    assert_type(await greeter.ask(Greeter.in_how_many, HowMany(), timeout=1.0), int)
    assert_type(await greeter.ask(Greeter.in_names, HowMany(), timeout=None), list[str])
    assert_type(await greeter.ask(Greeter.in_greet, Greet("Ada")), None)
    n: str = await greeter.ask(Greeter.in_how_many, HowMany())  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await greeter.ask(Greeter.in_how_many, Greet("Ada"))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    await greeter.ask(Counter.in_add, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeter.ask(Greeter.in_how_many, HowMany(), timeout="1 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await greeter.ask(Greeter.in_how_many, HowMany(), 1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    print(n)


async def one_port(greeter: ActorRef[Greeter]) -> None:
    port = greeter.port(Greeter.in_how_many)
    assert_type(port, PortRef[HowMany, int])
    assert_type(await port.send(HowMany()), None)
    assert_type(await port.ask(HowMany()), int)
    port.send_nowait(HowMany())
    port.send_from_thread(HowMany())
    await port.send(Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    port.send_from_thread(Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    greeter.port(Printer.in_line)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def base_and_subclass(polite: ActorRef[Polite], box: ActorRef[Box[int]]) -> None:
    await polite.send(Greeter.in_greet, Greet("Ada"))  # a base's port is fine
    assert_type(await polite.ask(Polite.in_how_many, HowMany()), int)
    await box.send(Box[int].in_swap, 3)


def an_address_of_a_special_greeter_is_one_of_a_greeter(polite: ActorRef[Polite]) -> ActorRef[Greeter]:
    return polite


def and_not_the_other_way_round(greeter: ActorRef[Greeter]) -> ActorRef[Polite]:
    return greeter  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def any_actor(actor: ActorRef[Actor]) -> None:
    await actor.send(Greeter.in_greet, Greet("Ada"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
