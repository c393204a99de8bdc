"""Wires: which ends they may have, where messages then go, and what happens at an out-port that has none."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import pytest
import trio
import trio.testing

from actorkit import (
    Actor,
    ActorRef,
    ErrorContext,
    OutPort,
    Route,
    SpecTypeError,
    System,
    WiringError,
    child,
    dynamic_supervisor,
    in_port,
    least_loaded,
    open_system,
    round_robin,
    run,
    supervisor,
    wire,
)
from actorkit.events import OutPortUnwired


class Greeter(Actor):
    """Says what it is told to, on its out-port."""

    out_line = OutPort(str)

    @in_port
    async def in_say(self, line: str) -> None:
        await self.out_line.send(line)

    @in_port
    def in_emit(self, line: str) -> None:
        self.out_line.emit(line)


class Printer(Actor):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @in_port
    def in_line(self, line: str) -> None:
        self.lines.append(line)

    @in_port
    def in_other(self, line: str) -> None:
        self.lines.append(f"other {line}")

    @in_port
    def in_lines(self, question: None) -> list[str]:
        return self.lines


class Counter(Actor):
    """Its ports are of another type."""

    out_count = OutPort(int)

    @in_port
    def in_count(self, count: int) -> None: ...


async def say(system: System, *lines: str) -> None:
    """Has the greeter say something, and waits until that has arrived."""
    for line in lines:
        await system.ref(Greeter).send(Greeter.in_say, line)
    await system.settle()


async def lines_of(system: System, path: str = "root/supervisor/printer") -> list[str]:
    """What a printer has got."""
    return await system.ref(path, Printer).ask(Printer.in_lines, None)


# ---- where messages go


async def test_a_message_goes_along_the_wire() -> None:
    async with open_system(supervisor(child(Greeter), child(Printer), wires=[Greeter.out_line >> Printer.in_line])) as system:
        await say(system, "one", "two")

        assert await lines_of(system) == ["one", "two"]


async def test_several_wires_from_one_port_broadcast() -> None:
    english, danish = child(Printer).options(name="english"), child(Printer).options(name="danish")
    wires = [Greeter.out_line >> english[Printer.in_line], Greeter.out_line >> danish[Printer.in_other]]
    async with open_system(supervisor(child(Greeter), english, danish, wires=wires)) as system:
        await say(system, "one")

        assert await lines_of(system, "root/supervisor/english") == ["one"]
        assert await lines_of(system, "root/supervisor/danish") == ["other one"]
        assert system.ledger().accepted == 1 + 2 + 2  # it was told once, both got it, both were asked


async def test_one_port_may_lead_to_two_ports_of_one_actor() -> None:
    wires = [Greeter.out_line >> Printer.in_line, Greeter.out_line >> Printer.in_other]
    async with open_system(supervisor(child(Greeter), child(Printer), wires=wires)) as system:
        await say(system, "one")

        assert await lines_of(system) == ["one", "other one"]


async def test_several_wires_may_lead_to_one_port() -> None:
    english, danish = child(Greeter).options(name="english"), child(Greeter).options(name="danish")
    wires = [english[Greeter.out_line] >> Printer.in_line, danish[Greeter.out_line] >> Printer.in_line]
    async with open_system(supervisor(english, danish, child(Printer), wires=wires)) as system:
        for name in ("english", "danish"):
            await system.ref(f"root/supervisor/{name}", Greeter).send(Greeter.in_say, name)
        await system.settle()

        assert await lines_of(system) == ["english", "danish"]


async def test_an_actor_may_be_wired_to_itself() -> None:
    class Echo(Actor):
        out_less = OutPort(int)

        def __init__(self) -> None:
            self.seen: list[int] = []

        @in_port(capacity=1)
        async def in_number(self, number: int) -> None:
            self.seen.append(number)
            for less in range(number):
                await self.out_less.send(less)

        @in_port
        def in_seen(self, question: None) -> list[int]:
            return self.seen

    async with open_system(supervisor(child(Echo), wires=[Echo.out_less >> Echo.in_number])) as system:
        await system.ref(Echo).send(Echo.in_number, 3)
        await system.settle()

        assert await system.ref(Echo).ask(Echo.in_seen, None) == [3, 0, 1, 2, 0, 0, 1, 0]


async def test_round_robin_gives_each_receiver_its_turn() -> None:
    printers = [child(Printer).options(name=name) for name in ("a", "b", "c")]
    wires = [wire(Greeter.out_line, [each[Printer.in_line] for each in printers], route=round_robin)]
    async with open_system(supervisor(child(Greeter), *printers, wires=wires)) as system:
        await say(system, *"12345")

        assert [await lines_of(system, f"root/supervisor/{name}") for name in "abc"] == [["1", "4"], ["2", "5"], ["3"]]


async def test_two_round_robin_wires_count_their_turns_apart() -> None:
    english, danish = child(Greeter).options(name="english"), child(Greeter).options(name="danish")
    printers = [child(Printer).options(name=name) for name in ("a", "b")]
    ends = [each[Printer.in_line] for each in printers]
    wires = [wire(greeter[Greeter.out_line], ends, route=round_robin) for greeter in (english, danish)]
    async with open_system(supervisor(english, danish, *printers, wires=wires)) as system:
        for name in ("english", "danish"):
            await system.ref(f"root/supervisor/{name}", Greeter).send(Greeter.in_say, name)
        await system.settle()

        assert await lines_of(system, "root/supervisor/a") == ["english", "danish"]


async def test_least_loaded_chooses_the_shortest_queue() -> None:
    gate = trio.Event()

    class Worker(Actor):
        @in_port
        async def in_job(self, job: str) -> None:
            await gate.wait()

    class Source(Actor):
        out_job = OutPort(str)

        @in_port
        async def in_jobs(self, jobs: int) -> None:
            for number in range(jobs):
                await self.out_job.send(str(number))

    workers = [child(Worker).options(name=name) for name in ("busy", "idle")]
    wires = [wire(Source.out_job, [each[Worker.in_job] for each in workers], route=least_loaded)]
    async with open_system(supervisor(child(Source), *workers, wires=wires)) as system:
        for _ in range(3):
            await system.ref("root/supervisor/busy", Worker).send(Worker.in_job, "before")
        await trio.testing.wait_all_tasks_blocked()

        await system.ref(Source).send(Source.in_jobs, 4)
        await trio.testing.wait_all_tasks_blocked()

        ports = system.ledger().ports
        assert ports["root/supervisor/idle.in_job"].accepted == 3  # until both have three; of equals, the first named
        assert ports["root/supervisor/busy.in_job"].accepted == 3 + 1
        gate.set()


async def test_a_shared_wire_and_a_plain_one_from_the_same_port_both_get_their_messages() -> None:
    a, b, all_of_it = (child(Printer).options(name=name) for name in ("a", "b", "all"))
    wires = [
        wire(Greeter.out_line, [a[Printer.in_line], b[Printer.in_line]], route=round_robin),
        Greeter.out_line >> all_of_it[Printer.in_line],
    ]
    async with open_system(supervisor(child(Greeter), a, b, all_of_it, wires=wires)) as system:
        await say(system, "1", "2")

        assert [await lines_of(system, f"root/supervisor/{name}") for name in ("a", "b", "all")] == [["1"], ["2"], ["1", "2"]]


async def test_a_wire_of_a_nested_supervisor_may_join_any_two_actors_of_the_tree() -> None:
    inner = supervisor(child(Printer), wires=[Greeter.out_line >> Printer.in_line], name="inner")
    async with open_system(supervisor(supervisor(child(Greeter), name="left"), inner)) as system:
        await say(system, "one")

        assert await lines_of(system, "root/supervisor/inner/printer") == ["one"]


async def test_a_wire_survives_a_restart_of_both_ends() -> None:
    class Fragile(Greeter):
        @in_port
        def in_crash(self, message: int) -> None:
            raise RuntimeError("a bug")

    async with open_system(
        supervisor(child(Fragile), child(Printer), wires=[Fragile.out_line >> Printer.in_line], max_restarts=10)
    ) as system:
        await system.ref(Fragile).send(Fragile.in_crash, 1)
        await system.ref(Fragile).send(Fragile.in_say, "after")
        await system.settle()
        await system.supervisor("root/supervisor").stop_child("printer")
        await system.supervisor("root/supervisor").restart_child("printer")
        await system.ref(Fragile).send(Fragile.in_say, "later")
        await system.settle()

        assert await lines_of(system) == ["later"]
        assert len(system.dead_letters) == 1  # the message that crashed the greeter


async def test_failures_go_out_by_the_error_port() -> None:
    class Fragile(Actor):
        @in_port
        def in_crash(self, message: int) -> None:
            raise ValueError("a bug")

    class Monitor(Actor):
        def __init__(self) -> None:
            self.errors: list[ErrorContext] = []

        @in_port
        def in_error(self, error: ErrorContext) -> None:
            self.errors.append(error)

        @in_port
        def in_errors(self, question: None) -> list[ErrorContext]:
            return self.errors

    async with open_system(supervisor(child(Fragile), child(Monitor), wires=[Fragile.err_errors >> Monitor.in_error])) as system:
        await system.ref(Fragile).send(Fragile.in_crash, 1)
        await system.settle()

        errors = await system.ref(Monitor).ask(Monitor.in_errors, None)
        assert [(each.component_name, each.port_name, str(each.exception)) for each in errors] == [
            ("root/supervisor/fragile", "in_crash", "a bug")
        ]


# ---- subclasses


class Loud(Greeter):
    """A greeter of a special kind."""


async def test_a_base_class_names_the_only_actor_of_a_subclass() -> None:
    async with open_system(supervisor(child(Loud), child(Printer), wires=[Greeter.out_line >> Printer.in_line])) as system:
        await say(system, "one")

        assert await lines_of(system) == ["one"]


async def test_a_class_names_its_own_actor_rather_than_one_of_a_subclass() -> None:
    async with open_system(supervisor(child(Loud), child(Greeter), child(Printer), wires=[Greeter.out_line >> Printer.in_line])) as system:
        await system.ref(Loud).send(Loud.in_say, "loud")
        await say(system, "plain")

        assert await lines_of(system) == ["plain"]


async def test_a_subclass_is_wired_by_its_own_name() -> None:
    async with open_system(supervisor(child(Loud), child(Greeter), child(Printer), wires=[Loud.out_line >> Printer.in_line])) as system:
        await system.ref(Loud).send(Loud.in_say, "loud")
        await say(system, "plain")

        assert await lines_of(system) == ["loud"]


def test_a_subclass_is_not_named_by_a_sibling() -> None:
    class Quiet(Greeter):
        pass

    with pytest.raises(WiringError, match=r"there is no .*Quiet in this tree"):
        run(supervisor(child(Loud), child(Printer), wires=[Quiet.out_line >> Printer.in_line]))


# ---- what is refused before anything starts


class Started(Actor):
    """Must not be started."""

    async def on_start(self) -> None:
        raise AssertionError("something started")


def test_an_ambiguous_end_is_refused_and_lists_who_it_could_be() -> None:
    english, danish = child(Greeter).options(name="english"), child(Greeter).options(name="danish")
    tree = supervisor(child(Started), english, danish, child(Printer), wires=[Greeter.out_line >> Printer.in_line])

    with pytest.raises(WiringError) as caught:
        run(tree)

    assert str(caught.value) == (
        "Greeter.out_line(str) >> Printer.in_line(str): Greeter.out_line(str) could be any of root/supervisor/english,"
        " root/supervisor/danish; name one by its spec: spec[Greeter.out_line]"
    )


def test_an_end_that_is_not_in_the_tree_is_refused() -> None:
    tree = supervisor(child(Started), child(Greeter), wires=[Greeter.out_line >> Printer.in_line])

    with pytest.raises(WiringError) as caught:
        run(tree)

    assert str(caught.value) == ("Greeter.out_line(str) >> Printer.in_line(str): there is no Printer in this tree; add child(Printer, …)")


def test_a_spec_that_is_not_in_the_tree_is_refused() -> None:
    stray = child(Printer)
    tree = supervisor(child(Started), child(Greeter), wires=[Greeter.out_line >> stray[Printer.in_line]])

    with pytest.raises(
        WiringError, match=r"Greeter\.out_line\(str\) >> printer\[Printer\.in_line\(str\)\]: child 'printer' is not in this tree"
    ):
        run(tree)


def test_a_spec_with_other_options_is_another_spec() -> None:
    printer = child(Printer)
    tree = supervisor(child(Started), child(Greeter), printer.options(name="other"), wires=[Greeter.out_line >> printer[Printer.in_line]])

    with pytest.raises(WiringError, match=r"child 'printer' is not in this tree .*options.* makes a new spec: index that one"):
        run(tree)


def test_the_same_wire_twice_is_refused() -> None:
    tree = supervisor(child(Started), child(Greeter), child(Printer), wires=[Greeter.out_line >> Printer.in_line] * 2)

    with pytest.raises(WiringError, match=r"root/supervisor/greeter\.out_line and root/supervisor/printer\.in_line are wired twice"):
        run(tree)


def test_the_same_receiver_twice_in_a_shared_wire_is_refused() -> None:
    tree = supervisor(child(Greeter), child(Printer), wires=[wire(Greeter.out_line, [Printer.in_line] * 2, route=round_robin)])

    with pytest.raises(WiringError, match="are wired twice"):
        run(tree)


def test_an_out_port_that_requires_a_wire_is_refused_without_one() -> None:
    class Source(Actor):
        out_line = OutPort(str, required=True)

    with pytest.raises(WiringError) as caught:
        run(supervisor(child(Started), child(Source)))

    assert str(caught.value) == "root/supervisor/source.out_line requires a wire and has none; add " + (
        f"{Source.__qualname__}.out_line >> … to wires=[…]"
    )


async def test_an_out_port_that_requires_a_wire_is_fine_with_one() -> None:
    class Source(Greeter):
        out_line = OutPort(str, required=True)

    async with open_system(supervisor(child(Source), child(Printer), wires=[Source.out_line >> Printer.in_line])) as system:
        await say(system, "one")

        assert await lines_of(system) == ["one"]


def test_an_ill_typed_wire_is_refused_where_it_is_written() -> None:
    with pytest.raises(WiringError) as caught:
        Counter.out_count >> Printer.in_line  # type: ignore[operator]

    assert str(caught.value) == "Counter.out_count(int) >> Printer.in_line(str): int is sent, but str is taken; wire ports of one type"


def test_an_ill_typed_receiver_of_a_shared_wire_is_refused_where_it_is_written() -> None:
    with pytest.raises(WiringError, match=r"Greeter\.out_line\(str\) >> Counter\.in_count\(int\): str is sent, but int is taken"):
        wire(Greeter.out_line, [Printer.in_line, Counter.in_count], route=round_robin)  # type: ignore[list-item]


def test_an_end_of_a_child_is_named_with_it() -> None:
    with pytest.raises(WiringError, match=r"tally\[Counter\.out_count\(int\)\] >> desk\[Printer\.in_line\(str\)\]: int is sent"):
        child(Counter).options(name="tally")[Counter.out_count] >> child(Printer).options(name="desk")[Printer.in_line]  # type: ignore[index]


@pytest.mark.parametrize("end", [Printer, Greeter.out_line, child(Printer), "in_line", None])
def test_a_wire_ends_at_an_in_port(end: Any) -> None:
    with pytest.raises(WiringError, match=r"Greeter\.out_line\(str\) >> .*: the right end of a wire is an in-port"):
        Greeter.out_line >> end


@pytest.mark.parametrize("end", [Printer, Printer.in_line, child(Greeter), "out_line", None])
def test_a_wire_begins_at_an_out_port(end: Any) -> None:
    with pytest.raises(WiringError, match=r">> Printer\.in_line\(str\): the left end of a wire is an out-port"):
        end >> Printer.in_line
    with pytest.raises(WiringError, match="the left end of a wire is an out-port"):
        wire(end, [Printer.in_line], route=round_robin)


def test_a_shared_wire_needs_receivers_and_a_route() -> None:
    shared: Any = wire

    with pytest.raises(WiringError, match="there is no receiver; name at least one in-port"):
        shared(Greeter.out_line, [], route=round_robin)
    with pytest.raises(WiringError, match="the receivers are a list; for one receiver write out_line >> in_line"):
        shared(Greeter.out_line, Printer.in_line, route=round_robin)
    with pytest.raises(
        SpecTypeError, match=r"wire\(Greeter\.out_line\(str\), …\): route = 'round_robin': expected round_robin or least_loaded"
    ):
        shared(Greeter.out_line, [Printer.in_line], route="round_robin")


def test_a_spec_has_only_ports_of_its_class() -> None:
    printer: Any = child(Printer)

    with pytest.raises(
        WiringError, match=r"child 'printer' is a Printer and has no port Greeter\.out_line\(str\); index it with one of its own"
    ):
        printer[Greeter.out_line]
    with pytest.raises(WiringError, match="child 'printer' is a Printer and has no port in_line"):
        printer["in_line"]


@pytest.mark.parametrize(
    ("wires", "complaint"),
    [
        ([Greeter.out_line], r"wires has <OutEnd Greeter\.out_line\(str\)>: expected wires, made by"),
        (Greeter.out_line >> Printer.in_line, r"wires = Greeter\.out_line\(str\) >> Printer\.in_line\(str\): expected a list of wires"),
        (None, "wires = None: expected a list of wires"),
    ],
)
async def test_wires_are_a_list_of_wires(wires: Any, complaint: str) -> None:
    with pytest.raises(SpecTypeError, match=f"^supervisor 'desk': {complaint}"):
        supervisor(child(Greeter), wires=wires, name="desk")

    async with open_system(supervisor(name="desk")) as system:
        desk = system.supervisor("root/desk")
        with pytest.raises(SpecTypeError, match=f"^root/desk: {complaint}"):
            await desk.start_child(child(Greeter), wires)


def test_routes_say_their_name() -> None:
    routes: list[Route] = [round_robin, least_loaded]

    assert [repr(each) for each in routes] == ["round_robin", "least_loaded"]


# ---- types that are wider or narrower


class Wide(Actor):
    """Takes more than is sent."""

    def __init__(self) -> None:
        self.got: list[object] = []

    @in_port
    def in_union(self, message: str | int) -> None:
        self.got.append(message)

    @in_port
    def in_float(self, message: float) -> None:
        self.got.append(message)

    @in_port
    def in_got(self, question: None) -> list[object]:
        return self.got


async def test_a_receiver_may_take_more_than_is_sent() -> None:
    async with open_system(supervisor(child(Greeter), child(Wide), wires=[Greeter.out_line >> Wide.in_union])) as system:
        await say(system, "one")
        await system.ref(Greeter).send(Greeter.in_emit, "two")
        await system.settle()

        assert await system.ref(Wide).ask(Wide.in_got, None) == ["one", "two"]


def test_what_sends_ints_may_be_wired_to_what_takes_floats_and_not_the_other_way_round() -> None:
    class Measure(Actor):
        out_float = OutPort(float)

    assert str(Counter.out_count >> Wide.in_float) == "Counter.out_count(int) >> Wide.in_float(float | int)"
    with pytest.raises(WiringError, match=r"float \| int is sent, but int is taken"):
        Measure.out_float >> Counter.in_count  # type: ignore[operator]


async def test_a_protocol_with_attributes_is_checked_message_by_message() -> None:
    @runtime_checkable
    class Named(Protocol):
        name: str

    class Plane:
        name = "KLM 17"

    class Source(Actor):
        out_plane = OutPort(Plane)

        @in_port
        async def in_go(self, go: None) -> None:
            await self.out_plane.send(Plane())

    class Tower(Actor):
        @in_port
        def in_named(self, named: Named) -> None: ...

    async with open_system(supervisor(child(Source), child(Tower), wires=[Source.out_plane >> Tower.in_named])) as system:
        await system.ref(Source).send(Source.in_go, None)
        await system.settle()

        assert system.ledger().ports["root/supervisor/tower.in_named"].processed == 1


# ---- no wire


async def test_without_a_wire_messages_are_discarded_counted_and_reported_once() -> None:
    async with open_system(supervisor(child(Greeter))) as system:
        events = system.events(OutPortUnwired)

        await say(system, "one", "two")
        await system.ref(Greeter).send(Greeter.in_emit, "three")
        await system.settle()
        events.close()

        assert [event.path async for event in events] == ["root/supervisor/greeter.out_line"]
        assert system.snapshot()["children"][0]["children"][0]["discarded"] == {"out_line": 3}
        assert system.ledger().accepted == system.ledger().processed == 3  # what was said to the greeter itself


# ---- children that are started later


async def test_a_child_started_later_brings_its_wires() -> None:
    async with open_system(supervisor(child(Greeter), dynamic_supervisor(name="printers"))) as system:
        printers = system.supervisor("root/supervisor/printers")

        for _ in range(2):
            printer = child(Printer)
            await printers.start_child(printer, wires=[Greeter.out_line >> printer[Printer.in_line]])
        await say(system, "one")

        for name in ("printer-1", "printer-2"):
            assert await lines_of(system, f"root/supervisor/printers/{name}") == ["one"]


async def test_a_class_in_a_wire_of_a_new_child_means_the_new_child() -> None:
    async with open_system(supervisor(child(Printer), dynamic_supervisor(name="greeters"))) as system:
        greeters = system.supervisor("root/supervisor/greeters")
        spec = child(Greeter)

        refs: list[ActorRef[Greeter]] = [await greeters.start_child(spec, wires=[Greeter.out_line >> Printer.in_line]) for _ in range(2)]
        for number, ref in enumerate(refs):
            await ref.send(Greeter.in_say, str(number))
        await system.settle()

        assert await lines_of(system) == ["0", "1"]


async def test_a_child_whose_wire_does_not_fit_is_not_started() -> None:
    async with open_system(supervisor(child(Greeter), child(Printer), dynamic_supervisor(name="printers"))) as system:
        printers = system.supervisor("root/supervisor/printers")

        with pytest.raises(WiringError, match="there is no Counter in this tree"):
            await printers.start_child(child(Started), wires=[Greeter.out_line >> Printer.in_line, Counter.out_count >> Counter.in_count])
        await say(system, "one")

        assert printers.which_children() == []
        assert await lines_of(system) == []


async def test_a_child_started_later_needs_its_required_wires_too() -> None:
    class Source(Actor):
        out_line = OutPort(str, required=True)

    async with open_system(supervisor(child(Printer), dynamic_supervisor(name="sources"))) as system:
        sources = system.supervisor("root/supervisor/sources")

        with pytest.raises(WiringError, match=r"root/supervisor/sources/source-1\.out_line requires a wire and has none"):
            await sources.start_child(child(Source))

        assert sources.which_children() == []
        assert (await sources.start_child(child(Source), wires=[Source.out_line >> Printer.in_line])).is_alive
