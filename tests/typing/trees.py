"""What the type checkers accept and reject in a tree: constructor arguments, options, wires. Checked, not run."""

from __future__ import annotations

from typing import assert_type

from actorkit import (
    AutoShutdown,
    ChildSpec,
    ExponentialBackoffRetry,
    InPort,
    KeyedSpec,
    OutEnd,
    PoolSpec,
    RecoveryPolicy,
    Restart,
    RunReport,
    Shutdown,
    Strategy,
    SupervisorSpec,
    Wire,
    by_key,
    child,
    dynamic_supervisor,
    keyed,
    least_loaded,
    pool,
    round_robin,
    run,
    supervisor,
    wire,
)
from tests.typing.greeting import Box, Counter, Greeter, Polite, Printer

# `child` is typed by the constructor.
english = child(Greeter, "Hello", loud=True)
printer = child(Printer)
assert_type(english, ChildSpec[Greeter])
assert_type(printer, ChildSpec[Printer])
assert_type(child(Box, 3), ChildSpec[Box[int]])
any_greeter: ChildSpec[Greeter] = child(Polite)
child(Greeter, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
child(Greeter, loud="very")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
child(Greeter, "Hello", "Hej")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
child(Greeter, volume=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
child(Printer, "a printer")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
child(str)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]

# Options give a new spec of the same kind; an unknown one is an error.
assert_type(english.options(name="english", restart=Restart.TRANSIENT, shutdown=5.0), ChildSpec[Greeter])
assert_type(english.options(shutdown=Shutdown.KILL, significant=True, recovery=RecoveryPolicy(), start_timeout=3.0), ChildSpec[Greeter])
assert_type(english.options(max_restarts=3, within=5.0, backoff=ExponentialBackoffRetry()), ChildSpec[Greeter])
english.options(nmae="english")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
english.options(restart="permanent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
english.options(shutdown="5 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# A wire joins ports of one type; an out-port's type is what it says, no more and no less.
assert_type(Greeter.out_line >> Printer.in_line, Wire)
assert_type(Greeter.out_line >> Printer.in_anything, Wire)
assert_type(Polite.out_line >> Printer.in_line, Wire)
assert_type(Greeter.out_line >> Greeter.in_salute, Wire)
assert_type(Counter.out_count >> Polite.in_bow, Wire)  # what takes a float takes an int
Counter.out_count >> Printer.in_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Greeter.out_line >> Counter.in_add  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Greeter.out_line >> Greeter.in_greet  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Greeter.err_errors >> Printer.in_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Greeter.out_line >> Greeter.out_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Printer.in_line >> Printer.in_line  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
Greeter.out_line >> printer  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]


def an_out_end_is_invariant(end: OutEnd[Counter, int]) -> OutEnd[Counter, float]:
    return end  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def an_in_port_is_contravariant(port: InPort[Printer, object, None]) -> InPort[Printer, str, None]:
    return port


def and_not_covariant(port: InPort[Printer, str, None]) -> InPort[Printer, object, None]:
    return port  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


# A spec indexed with a port of its class is the end at that child.
assert_type(english[Greeter.out_line] >> printer[Printer.in_line], Wire)
assert_type(any_greeter[Greeter.out_line] >> Printer.in_line, Wire)
english[Printer.in_line]  # type: ignore[index]  # pyright: ignore[reportArgumentType, reportCallIssue]
english[Counter.out_count]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
english["out_line"]  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
english[Greeter.out_line] >> child(Counter)[Counter.in_add]  # type: ignore[index]  # pyright: ignore[reportOperatorIssue]

# Several receivers share a wire.
other = child(Printer)
assert_type(wire(Greeter.out_line, [printer[Printer.in_line], other[Printer.in_line]], route=round_robin), Wire)
assert_type(wire(Greeter.out_line, [Printer.in_line, Greeter.in_salute], route=least_loaded), Wire)
wire(Greeter.out_line, [Counter.in_add], route=round_robin)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
wire(Greeter.out_line, [Printer.in_line], route="round_robin")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# A pool is typed by the constructor, too, and is one actor of its class.
greeters = pool(Greeter, "Hello", size=3, route=by_key(len))
assert_type(greeters, PoolSpec[Greeter])
assert_type(pool(Printer, size=(2, 8), route=least_loaded).options(name="printers"), PoolSpec[Printer])
assert_type(pool(child(Greeter, loud=True)), PoolSpec[Greeter])
assert_type(greeters[Greeter.out_line] >> Printer.in_line, Wire)
pool(Greeter, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pool(Printer, "a printer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pool(Printer, size="four")  # type: ignore[call-overload, call-arg]  # pyright: ignore[reportCallIssue, reportArgumentType]
by_key("customer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# So are keyed actors.
by_text = keyed(Greeter, "Hello", by=str, passivate_after=5.0, max_active=100)
assert_type(by_text, KeyedSpec[Greeter])
assert_type(by_text.options(name="greeters"), KeyedSpec[Greeter])
assert_type(keyed(child(Greeter, loud=True), by=str), KeyedSpec[Greeter])
assert_type(by_text[Greeter.out_line] >> Printer.in_line, Wire)
keyed(Greeter, 3, by=str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
keyed(Greeter, "Hello")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
keyed(Printer, by="name")  # type: ignore[call-overload, call-arg]  # pyright: ignore[reportCallIssue, reportArgumentType]

# Trees.
tree = supervisor(
    english.options(name="greeter"),
    supervisor(child(Greeter), name="inner"),
    dynamic_supervisor(name="workers", max_children=3),
    printer,
    pool(Counter),
    keyed(Counter, by=abs).options(name="keyed"),
    wires=[Greeter.out_line >> Printer.in_line],
    strategy=Strategy.ONE_FOR_ONE,
    max_restarts=3,
    within=5.0,
    auto_shutdown=AutoShutdown.NEVER,
    name="greetings",
)
assert_type(tree, SupervisorSpec)
assert_type(tree.options(name="other", restart=Restart.PERMANENT), SupervisorSpec)
supervisor(Greeter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
supervisor(english, strategy="one_for_one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
supervisor(english, wire=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
supervisor(english, wires=[Greeter.out_line])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
dynamic_supervisor(english)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
tree.options(strategy=Strategy.ONE_FOR_ALL)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def run_it() -> None:
    assert_type(run(tree), RunReport)
    assert_type(run(child(Printer), seed=3, keep=False, handle_signals=False), RunReport)
    run(Greeter)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(tree, sead=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
