"""Ports and hooks, as a class declares them: what is understood, and what is refused when the class is created."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Generic, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, runtime_checkable

import attrs
import pytest

from actorkit import (
    Actor,
    ActorNotRunning,
    ActorRef,
    Down,
    MessageTypeError,
    OutPort,
    PortDefinitionError,
    child,
    in_port,
    open_system,
    supervisor,
)

T = TypeVar("T")
B = TypeVar("B", bound=int)
OrderId = NewType("OrderId", int)


class Money(TypedDict):
    """A message that is a plain dict."""

    amount: int


@runtime_checkable
class Named(Protocol):
    """A message with a method."""

    def name(self) -> str: ...


class Unchecked(Protocol):
    """A message that isinstance can't check."""

    def name(self) -> str: ...


@attrs.frozen
class Plane:
    """A message."""

    callsign: str

    def name(self) -> str:
        return self.callsign


class Sink(Actor):
    """Takes one message of every kind."""

    @in_port
    def in_float(self, message: float) -> None: ...

    @in_port
    def in_complex(self, message: complex) -> None: ...

    @in_port
    def in_union(self, message: int | str) -> None: ...

    @in_port
    def in_optional(self, message: Optional[Plane]) -> None: ...  # noqa: UP045  # the older spelling is what is tested

    @in_port
    def in_none(self, message: None) -> None: ...

    @in_port
    def in_list(self, message: list[int]) -> None: ...

    @in_port
    def in_sequence(self, message: Sequence[int]) -> None: ...

    @in_port
    def in_callable(self, message: Callable[[int], str]) -> None: ...

    @in_port
    def in_class(self, message: type[Plane]) -> None: ...

    @in_port
    def in_typed_dict(self, message: Money) -> None: ...

    @in_port
    def in_new_type(self, message: OrderId) -> None: ...

    @in_port
    def in_literal(self, message: Literal["on", "off", 1]) -> None: ...

    @in_port
    def in_annotated(self, message: Annotated[int, "feet"]) -> None: ...

    @in_port
    def in_protocol(self, message: Named) -> None: ...

    @in_port
    def in_any(self, message: Any) -> None: ...

    @in_port
    def in_object(self, message: object) -> None: ...

    @in_port
    def in_positional(self, message: int, /) -> None: ...

    @in_port
    def in_with_default(self, message: int, twice: bool = False) -> None: ...

    @in_port
    def in_ref(self, message: ActorRef[Later]) -> None: ...

    @in_port
    def in_own_ref(self, message: ActorRef[Sink] | None) -> None: ...

    @in_port
    def in_quoted(self, message: "Optional[Plane | None]") -> None: ...  # noqa: UP037, UP045  # a string within a string


class Later(Actor):
    """Declared after an actor that names it."""


def takes(port: str, message: object) -> bool:
    """Whether a port of `Sink` takes a message."""
    types = Sink.actorkit_blueprint.in_ports[port].types
    return isinstance(message, types)


@pytest.mark.parametrize(
    ("port", "message", "wrong"),
    [
        ("in_float", 3, "3"),
        ("in_float", 3.0, None),
        ("in_complex", 3.0, "3"),
        ("in_union", "three", 3.0),
        ("in_optional", None, "Ada"),
        ("in_optional", Plane("KLM 17"), "Ada"),
        ("in_none", None, 0),
        ("in_list", [1], (1,)),
        ("in_sequence", (1,), {1}),
        ("in_callable", str, "str"),
        ("in_class", Plane, Plane("KLM 17")),
        ("in_typed_dict", {"amount": 3}, [("amount", 3)]),
        ("in_new_type", OrderId(3), "3"),
        ("in_literal", "on", 2.0),
        ("in_literal", 1, None),
        ("in_annotated", 3000, "3000"),
        ("in_protocol", Plane("KLM 17"), "KLM 17"),
        ("in_positional", 3, "3"),
        ("in_with_default", 3, "3"),
        ("in_own_ref", None, "a path"),
        ("in_quoted", Plane("KLM 17"), "KLM 17"),
    ],
)
async def test_a_port_takes_what_its_annotation_says_and_nothing_else(port: str, message: object, wrong: object) -> None:
    async with open_system(supervisor(child(Sink))) as system:
        sink, in_x = system.ref(Sink), Sink.actorkit_blueprint.in_ports[port]

        await sink.send(in_x, message)
        with pytest.raises(MessageTypeError, match=f"root/supervisor/sink.{port} takes"):
            await sink.send(in_x, wrong)

        assert system.ledger().accepted == 1


@pytest.mark.parametrize("message", [None, 3, "three", Plane("KLM 17")])
@pytest.mark.parametrize("port", ["in_any", "in_object"])
async def test_a_port_of_any_or_object_takes_everything(port: str, message: object) -> None:
    async with open_system(supervisor(child(Sink))) as system:
        await system.ref(Sink).send(Sink.actorkit_blueprint.in_ports[port], message)

        assert system.ledger().accepted == 1


async def test_a_generic_may_name_an_actor_that_is_defined_later() -> None:
    async with open_system(supervisor(child(Sink), child(Later))) as system:
        await system.ref(Sink).send(Sink.in_ref, system.ref(Later))

        assert system.ledger().accepted == 1


async def test_a_generic_actor_takes_what_its_type_variable_may_be() -> None:
    class Box(Actor, Generic[T, B]):
        @in_port
        def in_thing(self, thing: T) -> None: ...

        @in_port
        def in_number(self, number: B) -> None: ...

    async with open_system(supervisor(child(Box))) as system:
        box: Any = system.ref(Box)

        await box.send(Box.in_thing, object())
        await box.send(Box.in_number, True)
        with pytest.raises(MessageTypeError, match="in_number takes int, not str"):
            await box.send(Box.in_number, "3")


async def test_a_class_inside_a_function_may_use_the_types_beside_it() -> None:
    class Plane:
        """Hides the one of the module."""

    class Tower(Actor):
        @in_port
        def in_plane(self, plane: Plane) -> None: ...

    async with open_system(supervisor(child(Tower))) as system:
        tower = system.ref(Tower)

        await tower.send(Tower.in_plane, Plane())
        with pytest.raises(MessageTypeError):
            await tower.send(Tower.in_plane, globals()["Plane"]("KLM 17"))


def test_a_name_that_a_caller_happens_to_have_does_not_hide_the_modules() -> None:
    def declare() -> type[Actor]:
        return MODULE_LEVEL()

    Plane = str  # noqa: F841  # what must not be taken

    assert declare().actorkit_blueprint.in_ports["in_plane"].types is globals()["Plane"]


def MODULE_LEVEL() -> type[Actor]:
    """Declares a class away from the test that calls it."""

    class Tower(Actor):
        @in_port
        def in_plane(self, plane: Plane) -> None: ...

    return Tower


# ---- what is refused when the class is created


def test_a_handler_without_an_annotation_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: its parameter 'name' has no annotation, .* add one"):

        class Greeter(Actor):
            @in_port
            def in_name(self, name) -> None: ...  # type: ignore[no-untyped-def]


def test_a_handler_without_a_message_is_refused() -> None:
    with pytest.raises(
        PortDefinitionError, match=r"Greeter\.in_name: a handler takes exactly one message: write def in_name\(self, message"
    ):

        class Greeter(Actor):
            @in_port  # type: ignore[arg-type]
            def in_name(self) -> None: ...


def test_a_handler_of_two_messages_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: a handler takes exactly one message"):

        class Greeter(Actor):
            @in_port  # type: ignore[arg-type]
            def in_name(self, first: str, last: str) -> None: ...


def test_a_handler_whose_message_can_only_be_named_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: a handler takes exactly one message"):

        class Greeter(Actor):
            @in_port  # type: ignore[arg-type]
            def in_name(self, *, name: str) -> None: ...


@pytest.mark.parametrize("port", [staticmethod, classmethod])
def test_a_handler_that_is_no_plain_method_is_refused(port: Callable[[Any], Any]) -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: @in_port decorates a method, not"):

        class Greeter(Actor):
            in_name = in_port(port(lambda name: None))


@pytest.mark.parametrize("thing", [str, functools.partial(print)])
def test_a_port_of_something_that_is_no_method_is_refused(thing: Any) -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: @in_port decorates a method, not"):

        class Greeter(Actor):
            in_name = in_port(thing)


def test_a_handler_that_yields_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: a handler returns its answer, it doesn't yield"):

        class Greeter(Actor):
            @in_port
            def in_name(self, name: str) -> Any:
                yield name


def test_an_annotation_that_names_nothing_is_refused() -> None:
    with pytest.raises(
        PortDefinitionError, match=r"Greeter\.in_name: its annotation 'Nmae' can't be resolved \(name 'Nmae' is not defined\)"
    ):

        class Greeter(Actor):
            @in_port
            def in_name(self, name: Nmae) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_an_annotation_that_is_no_type_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: 3 is not a type that a message can be checked against; use a class"):

        class Greeter(Actor):
            @in_port
            def in_name(self, name: 3) -> None: ...  # type: ignore[valid-type]


def test_a_protocol_that_cannot_be_checked_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.in_name: protocol Unchecked .*; decorate it with @runtime_checkable"):

        class Greeter(Actor):
            @in_port
            def in_name(self, name: Unchecked) -> None: ...


def test_an_out_port_of_something_that_is_no_type_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"OutPort\(3\): 3 is not a type that a message can be checked against"):

        class Greeter(Actor):
            out_line = OutPort(3)  # type: ignore[var-annotated, arg-type]


@pytest.mark.parametrize(
    ("capacity", "kind"), [(0, ValueError), (-1, ValueError), ("many", TypeError), (1.5, TypeError), (True, TypeError)]
)
def test_a_capacity_is_a_whole_number_from_one(capacity: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"in_port: capacity = {capacity!r}: expected a whole number, 1 or more"):
        in_port(capacity=capacity)


def test_an_unknown_option_of_a_port_is_refused_with_those_there_are() -> None:
    options: dict[str, Any] = {"capcity": 10}

    with pytest.raises(TypeError, match=r"in_port: unknown option 'capcity': expected one of capacity, overflow, block_timeout, "):
        in_port(**options)


# ---- hooks


def wrong_hooks() -> list[dict[str, Any]]:
    """Class bodies with a hook of a wrong shape."""

    def plain(self: Actor) -> None: ...
    async def waits(self: Actor) -> None: ...
    async def takes_too_much(self: Actor, more: int) -> None: ...

    return [
        {"on_start": plain},
        {"run": plain},
        {"run": takes_too_much},
        {"run": 3},
        {"run": property(plain)},
        {"run": OutPort(str)},
        {"on_drained": takes_too_much},
        {"on_stop": waits},
        {"snapshot": waits},
        {"restore": plain},
    ]


@pytest.mark.parametrize("body", wrong_hooks(), ids=lambda body: next(iter(body)))
def test_a_hook_of_a_wrong_shape_is_refused(body: dict[str, Any]) -> None:
    name = next(iter(body))

    with pytest.raises(PortDefinitionError, match=rf"Greeter\.{name}"):
        type("Greeter", (Actor,), body)


def test_a_hook_of_a_wrong_shape_is_told_how_it_is_written() -> None:
    with pytest.raises(
        PortDefinitionError, match=r"Greeter\.on_stop: a life-cycle hook of this name is written `async def on_stop\(self, reason\)`"
    ):

        class Greeter(Actor):
            def on_stop(self) -> None: ...  # type: ignore[override]


def test_a_port_with_the_name_of_a_hook_is_refused() -> None:
    with pytest.raises(PortDefinitionError, match=r"Greeter\.run: 'run' is the name of a hook, not of a port; rename the port"):

        class Greeter(Actor):
            @in_port
            def run(self, name: str) -> None: ...  # type: ignore[override]


async def test_a_hook_may_take_more_than_it_gets_if_that_has_a_default() -> None:
    class Greeter(Actor):
        async def on_start(self, loud: bool = True) -> None:
            self.loud = loud

        @in_port
        def in_loud(self, question: None) -> bool:
            return self.loud

    async with open_system(supervisor(child(Greeter))) as system:
        assert await system.ref(Greeter).ask(Greeter.in_loud, None)


# ---- inheritance


class Base(Actor):
    """An actor with a port to inherit."""

    out_seen = OutPort(str)

    def __init__(self) -> None:
        self.seen: list[object] = []

    @in_port(capacity=7)
    def in_message(self, message: int) -> str:
        self.seen.append(message)
        return "base"

    @in_port
    def in_seen(self, question: None) -> list[object]:
        return self.seen


class Heir(Base):
    """Inherits all, and has a port of its own."""

    @in_port
    def in_more(self, message: str) -> None: ...


class Overrider(Base):
    """Has a wider port in its base's place."""

    @in_port
    def in_message(self, message: int | str) -> str:
        return "overrider, over " + (super().in_message(message) if isinstance(message, int) else "nothing")


async def test_a_port_is_inherited() -> None:
    async with open_system(supervisor(child(Heir))) as system:
        heir = system.ref(Heir)

        assert await heir.ask(Heir.in_message, 3) == "base"
        assert await heir.ask(Base.in_message, 3) == "base"

        assert await heir.ask(Heir.in_seen, None) == [3, 3]


async def test_a_port_is_overridden_and_the_bases_name_means_the_new_one() -> None:
    async with open_system(supervisor(child(Overrider))) as system:
        overrider = system.ref(Overrider)

        assert await overrider.ask(Overrider.in_message, 3) == "overrider, over base"
        assert await overrider.ask(Base.in_message, 3) == "overrider, over base"
        assert await overrider.ask(Overrider.in_message, "three") == "overrider, over nothing"


async def test_an_inherited_port_used_at_the_base_is_the_bases_own() -> None:
    async with open_system(supervisor(child(Base))) as system:
        base = system.ref(Base)

        assert await base.ask(Heir.in_message, 3) == "base"
        with pytest.raises(MessageTypeError, match=r"root/supervisor/base is a Base and has no port Overrider\.in_message"):
            await base.ask(Overrider.in_message, 3)  # type: ignore[arg-type]
        with pytest.raises(MessageTypeError, match=r"has no port Heir\.in_more\(str\); its in-ports are: in_message, in_seen"):
            await base.send(Heir.in_more, "three")  # type: ignore[arg-type]


def test_a_subclass_keeps_the_options_of_an_inherited_port() -> None:
    assert Heir.in_message.settings.capacity == 7
    assert Heir.in_message.owner is Heir


async def test_a_port_of_a_mixin_is_a_port_of_the_actor() -> None:
    class Counting:
        """Not an actor by itself."""

        @in_port
        def in_count(self, number: int) -> int:
            return number + 1

    class Counter(Counting, Actor):
        pass

    async with open_system(supervisor(child(Counter))) as system:
        counter: Any = system.ref(Counter)

        assert await counter.ask(Counter.in_count, 1) == 2
        with pytest.raises(MessageTypeError, match="takes int, not str"):
            await counter.send(Counter.in_count, "1")


async def test_one_handler_under_two_names_is_two_ports() -> None:
    class Counter(Actor):
        @in_port
        def in_count(self, number: int) -> int:
            return number + 1

        in_number = in_count
        out_a = out_b = OutPort(int)

    class Other(Actor):
        in_else = Counter.in_count

    async with open_system(supervisor(child(Counter), child(Other))) as system:
        counter, other = system.ref(Counter), system.ref(Other)

        assert await counter.ask(Counter.in_count, 1) == 2
        assert await counter.ask(Counter.in_number, 1) == 2
        assert await other.ask(Other.in_else, 1) == 2  # type: ignore[arg-type]

        assert sorted(system.ledger().ports) == [
            f"root/supervisor/{port}" for port in ("counter.in_count", "counter.in_number", "other.in_else")
        ]
        assert (Counter.out_a.name, Counter.out_b.name) == ("out_a", "out_b")


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [
        ("in_message", lambda self, message: None, "decorate it with @in_port"),
        ("in_message", None, "decorate it with @in_port"),
        ("in_message", OutPort(int), "decorate it with @in_port"),
        ("out_seen", "seen", "rename it"),
        ("err_errors", [], "rename it"),
    ],
)
def test_a_subclass_cannot_replace_a_port_by_something_else(name: str, value: object, way_out: str) -> None:
    with pytest.raises(PortDefinitionError, match=rf"Sub\.{name}: '{name}' is an .*-port of a base class, and this is .*; {way_out}"):
        type("Sub", (Base,), {name: value})


async def test_an_attrs_class_is_an_actor_like_any_other() -> None:
    class Owned(Actor):
        owner: str

        @in_port
        def in_owner(self, question: None) -> str:
            return self.owner

    @attrs.define
    class Account(Owned):
        owner: str
        balance: int = 0

        @in_port
        def in_pay(self, amount: int) -> int:
            self.balance += amount
            return self.balance

    async with open_system(supervisor(child(Account, "Ada", balance=3))) as system:
        account = system.ref(Account)

        assert await account.ask(Account.in_pay, 4) == 7
        assert await account.ask(Account.in_owner, None) == "Ada"


async def test_a_frozen_attrs_class_can_be_an_actor() -> None:
    @attrs.frozen
    class Greeting(Actor):
        salute: str

        @in_port
        def in_name(self, name: str) -> str:
            return f"{self.salute}, {name}!"

    async with open_system(supervisor(child(Greeting, "Hej"))) as system:
        assert await system.ref(Greeting).ask(Greeting.in_name, "Ada") == "Hej, Ada!"


async def test_a_handler_may_be_wrapped_whichever_side_is_async() -> None:
    def awaited(handler: Callable[[Any, int], int]) -> Callable[[Any, int], Awaitable[int]]:
        @functools.wraps(handler)
        async def wrapper(self: Any, message: int) -> int:
            return handler(self, message)

        return wrapper

    def passed_on(handler: Callable[[Any, int], Awaitable[int]]) -> Callable[[Any, int], Awaitable[int]]:
        @functools.wraps(handler)
        def wrapper(self: Any, message: int) -> Awaitable[int]:
            return handler(self, message)

        return wrapper

    class Doubler(Actor):
        @in_port
        @awaited
        def in_plain(self, number: int) -> int:
            return number * 2

        @in_port
        @passed_on
        async def in_async(self, number: int) -> int:
            return number * 2

    async with open_system(supervisor(child(Doubler))) as system:
        doubler = system.ref(Doubler)

        assert await doubler.ask(Doubler.in_plain, 2) == 4
        assert await doubler.ask(Doubler.in_async, 2) == 4


# ---- attributes of the user's


class Hider(Actor):
    """Has attributes of its own under all of our names."""

    out_line = OutPort(str)

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = self.ref = self.system = self.log = self.supervisor = "mine"  # type: ignore[assignment]
        self.stop = self.after = self.every = self.watch = self.start_soon = "mine"  # type: ignore[assignment,method-assign]
        self.run = self.on_start = self.on_stop = self.on_drained = self.snapshot = self.restore = "mine"  # type: ignore[assignment,method-assign]
        self.state_version = self.actorkit_blueprint = self.err_errors = "mine"  # type: ignore[assignment,misc]
        self.in_name = "mine"  # type: ignore[assignment]

    @in_port
    def in_name(self, question: None) -> object:
        return self.name

    @in_port
    def in_fail(self, message: int) -> None:
        raise RuntimeError("a bug")

    @in_port
    def in_down(self, down: Down) -> None: ...


async def test_an_attribute_of_the_users_hides_ours_and_harms_nothing() -> None:
    async with open_system(supervisor(child(Hider, "Ada"))) as system:
        hider = system.ref(Hider)

        assert await hider.ask(Hider.in_name, None) == "Ada"
        await hider.send(Hider.in_fail, 3)
        await system.settle()
        assert await hider.ask(Hider.in_name, None) == "Ada"

        assert hider.path == "root/supervisor/hider"
        system.ledger().check()


def test_a_method_may_take_one_of_our_names_that_is_no_hook() -> None:
    class Shop(Actor):
        @in_port
        def stop(self, at: str) -> str:  # type: ignore[override]
            return at

        def log(self, text: str) -> str:  # type: ignore[override]
            return text

    assert Shop().stop("noon") == "noon"
    assert Shop().log("noon") == "noon"


# ---- without a runtime


class Greeter(Actor):
    """Greets."""

    out_line = OutPort(str)

    def __init__(self) -> None:
        self.greeted = 0

    @in_port
    async def in_name(self, name: str) -> None:
        self.greeted += 1

    @in_port
    def in_greeted(self, question: None) -> int:
        return self.greeted

    @in_port
    async def in_line(self, line: str) -> None:
        await self.out_line.send(line)


async def test_a_handler_is_a_plain_method_in_a_unit_test() -> None:
    greeter = Greeter()

    await greeter.in_name("Ada")

    assert greeter.in_greeted(None) == 1


async def test_a_unit_test_may_put_a_sender_of_its_own_in_place_of_an_out_port() -> None:
    class Recorder:
        """Stands in for a sender."""

        def __init__(self) -> None:
            self.sent: list[str] = []

        async def send(self, message: str) -> None:
            self.sent.append(message)

    greeter, recorder = Greeter(), Recorder()
    greeter.out_line = recorder  # type: ignore[assignment]

    await greeter.in_line("Hello")

    assert recorder.sent == ["Hello"]


async def test_sending_from_an_actor_outside_a_tree_says_the_way_out() -> None:
    with pytest.raises(
        ActorNotRunning, match=r"Greeter\.out_line: this Greeter is not part of a running tree.*child\(Greeter, …\).*unit test"
    ):
        await Greeter().in_line("Hello")


@pytest.mark.parametrize("name", ["ref", "name", "path", "system", "log", "supervisor"])
def test_what_the_runtime_provides_is_not_there_outside_a_tree(name: str) -> None:
    with pytest.raises(
        ActorNotRunning, match=rf"Greeter\.{name}: this Greeter is not part of a running tree; declare it with child\(Greeter, …\)"
    ):
        getattr(Greeter(), name)


def test_what_an_actor_does_by_itself_does_not_work_outside_a_tree() -> None:
    greeter = Greeter()

    with pytest.raises(ActorNotRunning, match=r"Greeter\.after"):
        greeter.after(1.0, Greeter.in_name, "Ada")
    with pytest.raises(ActorNotRunning, match=r"Greeter\.every"):
        greeter.every(1.0, Greeter.in_name, "Ada")
    with pytest.raises(ActorNotRunning, match=r"Greeter\.stop"):
        greeter.stop()
    with pytest.raises(ActorNotRunning, match=r"Greeter\.start_soon"):
        greeter.start_soon(greeter.in_name, "Ada")


def test_an_actor_with_attributes_on_demand_is_not_part_of_a_tree_either() -> None:
    class Proxy(Actor):
        out_line = OutPort(str)

        def __getattr__(self, name: str) -> str:
            return name

    with pytest.raises(ActorNotRunning, match=r"Proxy\.stop"):
        Proxy().stop()
    with pytest.raises(ActorNotRunning, match=r"Proxy\.out_line"):
        Proxy().out_line.emit("a line")
