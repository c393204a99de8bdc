"""What a user gets for a mistake: one sentence that names the actor, the port and the way out, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from actorkit import (
    Actor,
    ActorkitError,
    DeadLetterReason,
    DefinitionError,
    Down,
    OutPort,
    PortDefinitionError,
    Restart,
    SpecError,
    SpecTypeError,
    SupervisionError,
    UnknownActor,
    WiringError,
    child,
    dynamic_supervisor,
    in_port,
    open_system,
    run,
    supervisor,
)


class Greeter(Actor):
    """An actor like any other."""

    out_line = OutPort(str)

    def __init__(self, salute: str = "Hello") -> None:
        self.salute = salute

    @in_port
    async def in_greet(self, name: str) -> None:
        await self.out_line.send(f"{self.salute}, {name}!")


class Printer(Actor):
    """Takes lines."""

    @in_port
    def in_line(self, line: str) -> None: ...


class Started(Actor):
    """Notes that it was started, and stopped."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    async def on_start(self) -> None:
        self.notes.append("started")

    async def on_stop(self, reason: object) -> None:
        self.notes.append("stopped")


def one_sentence(error: BaseException, *parts: str) -> None:
    """Checks that the text of an error is one line, not too long to read, and has all of these parts."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 300
    assert [part for part in parts if part not in text] == []


# ---- the class


def test_a_missing_annotation() -> None:
    with pytest.raises(PortDefinitionError) as caught:

        class Bad(Actor):
            @in_port
            def in_line(self, line) -> None: ...  # type: ignore[no-untyped-def]

    one_sentence(caught.value, "Bad.in_line", "'line'", "no annotation", "add one")


def test_every_mistake_in_a_declaration_is_a_value_error() -> None:
    assert issubclass(PortDefinitionError, ValueError)
    assert issubclass(WiringError, ValueError)
    assert issubclass(SpecError, ValueError)
    assert issubclass(SpecTypeError, TypeError)
    assert issubclass(DefinitionError, ActorkitError)


# ---- the spec


def test_constructor_arguments_that_do_not_fit() -> None:
    anything: Any = child

    for arguments in ({"loud": True}, {"salute": "Hej", "name": "Ada"}):
        with pytest.raises(SpecError) as caught:
            anything(Greeter, **arguments)
        one_sentence(caught.value, "child 'greeter'", "Greeter(salute: 'str' = 'Hello')", "can't be made with these arguments")
    with pytest.raises(SpecError) as caught:
        anything(Printer, "a printer")
    one_sentence(caught.value, "child 'printer'", "too many positional arguments")


@pytest.mark.parametrize("actor", [str, 3, Greeter(), Actor, lambda: Greeter()])
def test_a_child_that_is_no_actor_class(actor: Any) -> None:
    with pytest.raises(SpecTypeError) as caught:
        child(actor)

    one_sentence(caught.value, "child(", "expected a subclass of Actor")


def test_an_unknown_option() -> None:
    spec: Any = child(Greeter)

    with pytest.raises(SpecTypeError) as caught:
        spec.options(nmae="greeter")

    one_sentence(caught.value, "child 'greeter'", "unknown option 'nmae'", "name, restart, shutdown")


@pytest.mark.parametrize("value", ["x", 3, 1, None])
def test_a_flag_that_is_neither_true_nor_false(value: Any) -> None:
    """What counts as true in Python may have been meant otherwise."""

    class Watching(Actor):
        async def on_start(self) -> None:
            self.watch(self.ref, Watching.in_down, restarts=value)

        @in_port
        def in_down(self, down: Down) -> None: ...

    def watching() -> None:
        with pytest.raises(SupervisionError) as failed:
            run(child(Watching))
        assert failed.value.__cause__ is not None
        raise failed.value.__cause__

    attempts: dict[str, Callable[[], object]] = {
        "run: keep": lambda: run(child(Greeter), keep=value),
        "run: handle_signals": lambda: run(child(Greeter), handle_signals=value),
        "OutPort: required": lambda: OutPort(str, required=value),
        "watching: watch: restarts": watching,
    }
    for where, attempt in attempts.items():
        with pytest.raises(SpecTypeError) as caught:
            attempt()
        one_sentence(caught.value, f"{where} = {value!r}", "expected True or False")


@pytest.mark.parametrize("value", ["permanent", None, True, Restart])
def test_a_bad_restart_value(value: Any) -> None:
    with pytest.raises(SpecTypeError) as caught:
        child(Greeter).options(restart=value)

    one_sentence(caught.value, "child 'greeter': restart = ", "expected Restart.PERMANENT, Restart.TRANSIENT or Restart.TEMPORARY")


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({"shutdown": -1}, SpecError, "shutdown = -1: expected seconds, 0 or more, Shutdown.KILL or Shutdown.INFINITY"),
        ({"shutdown": "5 s"}, SpecTypeError, "shutdown = '5 s': expected seconds"),
        ({"start_timeout": 0}, SpecError, "start_timeout = 0: expected seconds, more than 0"),
        ({"significant": "yes"}, SpecTypeError, "significant = 'yes': expected True or False"),
        ({"recovery": "retry"}, SpecTypeError, "recovery = 'retry': expected a RecoveryPolicy"),
        ({"backoff": 3}, SpecTypeError, "backoff = 3: expected ExponentialBackoffRetry(…) or LinearBackoffRetry(…)"),
        ({"max_restarts": 3}, SpecError, "max_restarts and within go together"),
        ({"max_restarts": -1, "within": 5.0}, SpecError, "max_restarts = -1: expected a whole number, 0 or more"),
        ({"name": ""}, SpecError, "name = '': expected a text"),
        ({"name": "a/b"}, SpecError, "name = 'a/b': expected a text without '/' and '.'"),
        ({"name": 3}, SpecTypeError, "name = 3: expected a str"),
    ],
)
def test_a_bad_option(options: Any, kind: type[Exception], expected: str) -> None:
    with pytest.raises(kind) as caught:
        child(Greeter).options(**options)

    one_sentence(caught.value, expected)


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({"strategy": "one_for_one"}, SpecTypeError, "strategy = 'one_for_one': expected Strategy.ONE_FOR_ONE"),
        ({"max_restarts": -1}, SpecError, "max_restarts = -1: expected a whole number, 0 or more"),
        ({"within": 0}, SpecError, "within = 0: expected seconds, more than 0"),
        ({"auto_shutdown": True}, SpecTypeError, "auto_shutdown = True: expected AutoShutdown.NEVER"),
        ({"wires": ["a wire"]}, SpecTypeError, "wires has 'a wire': expected wires"),
        ({"wires": Greeter.out_line >> Printer.in_line}, SpecTypeError, "wires = "),
    ],
)
def test_a_bad_supervisor(options: Any, kind: type[Exception], expected: str) -> None:
    with pytest.raises(kind) as caught:
        supervisor(child(Greeter), child(Printer), name="desk", **options)

    one_sentence(caught.value, "supervisor 'desk'", expected)


@pytest.mark.parametrize("thing", [Greeter, "greeter", [child(Greeter)], None])
def test_a_supervisor_of_something_that_is_no_spec(thing: Any) -> None:
    with pytest.raises(SpecTypeError) as caught:
        supervisor(thing, name="desk")

    one_sentence(caught.value, "supervisor 'desk'", "is not a child: expected child(Class, …) or supervisor(…)")


def test_two_children_of_one_name() -> None:
    with pytest.raises(SpecError) as caught:
        supervisor(child(Greeter), child(Greeter, "Hej"), name="desk")

    one_sentence(caught.value, "supervisor 'desk' has two children named 'greeter'", "give one another name by .options(name=…)")


def test_one_spec_twice_in_a_tree() -> None:
    greeter = child(Greeter)

    with pytest.raises(SpecError) as caught:
        supervisor(supervisor(greeter, name="left"), supervisor(greeter, name="right"), name="desk")

    one_sentence(caught.value, "supervisor 'desk' has the same spec twice, child 'greeter'", "make another with child(…)")


async def test_one_spec_in_two_trees_is_fine() -> None:
    greeter = child(Greeter)

    async with open_system(supervisor(greeter)) as one, open_system(supervisor(greeter)) as other:
        assert one.ref(Greeter) != other.ref(Greeter)


async def test_one_tree_twice_at_once() -> None:
    tree = supervisor(child(Greeter), name="desk")
    async with open_system(tree):
        with pytest.raises(SpecError) as caught:
            async with open_system(tree):
                pass

    one_sentence(caught.value, "supervisor 'desk' is running already", "make another tree")
    async with open_system(tree) as system:  # and again afterwards
        assert system.ref(Greeter).is_alive


# ---- the run


@pytest.mark.parametrize("tree", [Greeter, None, "desk", [child(Greeter)]])
def test_a_tree_that_is_none(tree: Any) -> None:
    with pytest.raises(SpecTypeError) as caught:
        run(tree)

    one_sentence(caught.value, "a tree is made by supervisor(…)")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dead_letters": []}, "the system: dead_letters = []: expected a DeadLetterQueue(…)"),
        ({"seed": "today"}, "the system: seed = 'today': expected a whole number, or None"),
        ({"seed": True}, "the system: seed = True: expected a whole number, or None"),
    ],
)
def test_a_bad_option_of_a_system(options: Any, expected: str) -> None:
    with pytest.raises(SpecTypeError) as caught:
        run(child(Printer), **options)

    one_sentence(caught.value, expected)


async def test_run_inside_a_run() -> None:
    with pytest.raises(ActorkitError) as caught:
        run(supervisor(child(Greeter)))

    one_sentence(caught.value, "run()", "inside a trio program", "async with open_system(tree)")


def test_run_inside_a_handler_is_that_actors_failure() -> None:
    class Nested(Actor):
        async def on_start(self) -> None:
            run(supervisor(child(Greeter)))

    with pytest.raises(SupervisionError) as caught:
        run(supervisor(child(Nested)))

    one_sentence(caught.value, "root/supervisor/nested could not be started: ActorkitError: run() starts trio by itself")


def test_wires_that_do_not_fit_start_nothing() -> None:
    notes: list[str] = []
    wires = [Greeter.out_line >> Printer.in_line]

    with pytest.raises(WiringError) as caught:
        run(supervisor(child(Started, notes), child(Greeter), wires=wires))

    one_sentence(caught.value, "Greeter.out_line(str) >> Printer.in_line(str)", "there is no Printer in this tree", "add child(Printer, …)")
    assert notes == []


def test_an_ill_typed_wire() -> None:
    with pytest.raises(WiringError) as caught:
        Greeter.err_errors >> Printer.in_line  # type: ignore[operator]

    one_sentence(caught.value, "Greeter.err_errors(ErrorContext) >> Printer.in_line(str)", "wire ports of one type")


class Fails(Actor):
    """Cannot be started."""

    def __init__(self, where: str) -> None:
        self.where = where
        if where == "constructor":
            raise OSError("no such printer")

    async def on_start(self) -> None:
        if self.where == "on_start":
            raise OSError("no such printer")
        if self.where == "slow":
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("where", "cause"), [("constructor", "OSError: no such printer"), ("on_start", "OSError: no such printer"), ("slow", "TooSlowError")]
)
async def test_a_child_that_cannot_be_started(where: str, cause: str) -> None:
    notes: list[str] = []

    with pytest.raises(SupervisionError) as caught:
        async with open_system(supervisor(child(Started, notes), child(Fails, where), child(Greeter))):
            raise AssertionError("the block is not entered")

    one_sentence(caught.value, "root/supervisor/fails could not be started", cause)
    assert isinstance(caught.value.__cause__, OSError | trio.TooSlowError)
    assert notes == ["started", "stopped"]


async def test_a_child_that_cannot_be_started_later() -> None:
    async with open_system(dynamic_supervisor()) as system:
        boss = system.supervisor("root/supervisor")

        with pytest.raises(SupervisionError) as caught:
            await boss.start_child(child(Fails, "on_start"))

        one_sentence(caught.value, "root/supervisor/fails-1 could not be started: OSError: no such printer")
        assert boss.which_children() == []


# ---- names of a running tree


async def test_unknown_names_list_those_there_are() -> None:
    async with open_system(supervisor(child(Greeter), child(Printer), name="desk")) as system:
        boss = system.supervisor("root/desk")

        with pytest.raises(UnknownActor) as caught:
            system.ref("root/desk/gretter")
        one_sentence(caught.value, "'root/desk/gretter'", "root/desk/greeter, root/desk/printer")
        for administer in (boss.stop_child, boss.restart_child, boss.delete_child):
            with pytest.raises(UnknownActor) as caught:
                await administer("gretter")
            one_sentence(caught.value, "root/desk has no child 'gretter'", "its children are: greeter, printer")


async def test_a_name_that_is_taken() -> None:
    async with open_system(supervisor(child(Greeter), name="desk")) as system:
        with pytest.raises(SpecError) as caught:
            await system.supervisor("root/desk").start_child(child(Greeter))

        one_sentence(caught.value, "root/desk has a child 'greeter' already", "give this one another name by .options(name=…)")
        assert len(system.supervisor("root/desk").which_children()) == 1


async def test_a_child_that_runs_is_not_started_or_deleted() -> None:
    async with open_system(supervisor(child(Greeter), name="desk")) as system:
        boss = system.supervisor("root/desk")

        for administer in (boss.restart_child, boss.delete_child):
            with pytest.raises(SpecError) as caught:
                await administer("greeter")
            one_sentence(caught.value, "root/desk/greeter is running", "stop_child('greeter')")


async def test_a_message_to_a_stopped_actor_is_kept() -> None:
    async with open_system(supervisor(child(Greeter))) as system:
        await system.supervisor("root/supervisor").stop_child("greeter")

        await system.ref(Greeter).send(Greeter.in_greet, "Ada")

        (letter,) = await system.dead_letters.inspect()
        assert (letter.message, letter.port, letter.reason) == (
            "Ada",
            "root/supervisor/greeter.in_greet",
            DeadLetterReason.RECEIVER_STOPPED,
        )
        system.ledger().check()


async def test_mistakes_in_messages_lose_nothing() -> None:
    async with open_system(supervisor(child(Greeter), child(Printer), wires=[Greeter.out_line >> Printer.in_line])) as system:
        greeter: Any = system.ref(Greeter)

        for port, message in [
            (Greeter.in_greet, 3),
            (Printer.in_line, "Ada"),
            ("in_greet", "Ada"),
            (Greeter.out_line, "Ada"),
            (None, None),
        ]:
            for way in (greeter.send, greeter.send_nowait, greeter.ask):
                with pytest.raises(TypeError) as caught:
                    await way(port, message)
                one_sentence(caught.value, "root/supervisor/greeter", "in_greet")
        await greeter.send(Greeter.in_greet, "Ada")
        await system.settle()

        assert system.ledger().accepted == system.ledger().processed == 2
        system.ledger().check()


async def test_an_actor_of_one_system_is_not_sent_to_by_its_object() -> None:
    with pytest.raises(ActorkitError) as caught:
        await Greeter().in_greet("Ada")

    one_sentence(caught.value, "Greeter.out_line", "not part of a running tree", "child(Greeter, …)")
