"""The dependency graph of a tree: who needs whom, as data and as Mermaid, of systems that run and of those that don't."""

from __future__ import annotations

import json

from actorkit import Actor, MemoryStore, OutPort, Topic, child, dynamic_supervisor, in_port, keyed, open_system, pool, supervisor
from actorkit._runtime.graph import DependencyGraph, Edge, EdgeKind, NodeKind, graph_of
from actorkit._runtime.system import System, Tree


class Reader(Actor):
    out_row = OutPort(int)
    out_alarm = OutPort(str)

    async def run(self) -> None:
        """Reads nothing."""


class Worker(Actor):
    out_done = OutPort(int)

    @in_port
    def in_row(self, row: int) -> None: ...


class Keeper(Actor):
    @in_port(durable=True)
    def in_done(self, row: int) -> None: ...

    @in_port
    def in_alarm(self, text: str) -> None: ...


ALARMS = Topic("alarms", str)


async def graph(tree: Tree) -> DependencyGraph:
    """The graph of a tree that is not started."""
    system = System(tree, store=MemoryStore(), cascade=False)
    try:
        return graph_of(system.kernel)
    finally:
        system.kernel.stop()


def chain() -> Tree:
    return supervisor(
        child(Reader),
        supervisor(pool(Worker, size=(2, 4)), name="work"),
        child(Keeper),
        wires=[Reader.out_row >> Worker.in_row, Worker.out_done >> Keeper.in_done, Reader.out_alarm >> ALARMS, ALARMS >> Keeper.in_alarm],
        name="s",
    )


async def test_every_supervisor_actor_group_and_topic_is_a_node() -> None:
    found = await graph(chain())

    assert {path: (node.kind, node.class_name, node.parent) for path, node in found.nodes.items()} == {
        "root": (NodeKind.SUPERVISOR, None, None),
        "root/s": (NodeKind.SUPERVISOR, None, "root"),
        "root/s/reader": (NodeKind.ACTOR, "Reader", "root/s"),
        "root/s/work": (NodeKind.SUPERVISOR, None, "root/s"),
        "root/s/work/worker": (NodeKind.POOL, "Worker", "root/s/work"),
        "root/s/keeper": (NodeKind.ACTOR, "Keeper", "root/s"),
        "topic:alarms": (NodeKind.TOPIC, None, None),
    }
    assert found.nodes["root/s/work/worker"].detail == "pool of 2 to 4"
    assert found.nodes["root/s/reader"].source
    assert [(port.name, port.type, port.wired, port.durable) for port in found.nodes["root/s/keeper"].in_ports] == [
        ("in_done", "int", True, True),
        ("in_alarm", "str", True, False),
    ]


async def test_wires_and_topics_are_edges_with_ports_and_types() -> None:
    found = await graph(chain())

    assert set(found.edges) == {
        Edge(kind=EdgeKind.WIRE, source="root/s/reader", target="root/s/work/worker", out_port="out_row", in_port="in_row", type="int"),
        Edge(
            kind=EdgeKind.WIRE,
            source="root/s/work/worker",
            target="root/s/keeper",
            out_port="out_done",
            in_port="in_done",
            type="int",
            durable=True,
        ),
        Edge(kind=EdgeKind.TOPIC, source="root/s/reader", target="topic:alarms", out_port="out_alarm", type="str"),
        Edge(kind=EdgeKind.TOPIC, source="topic:alarms", target="root/s/keeper", in_port="in_alarm", type="str"),
    }
    assert found.needs == {
        "root/s/reader": ("root/s/work/worker", "root/s/keeper"),
        "root/s/work/worker": ("root/s/keeper",),
        "root/s/keeper": (),
    }


async def test_what_depends_on_a_supervisor_points_at_it_and_needs_all_below() -> None:
    work = supervisor(child(Worker), child(Worker).options(name="other"), name="work")

    found = await graph(supervisor(child(Keeper).options(depends_on=[work]), work, name="s"))

    assert [(edge.kind, edge.source, edge.target, edge.label) for edge in found.edges] == [
        (EdgeKind.DEPENDS_ON, "root/s/keeper", "root/s/work", "depends on")
    ]
    assert found.needs["root/s/keeper"] == ("root/s/work/worker", "root/s/work/other")


async def test_no_edge_leads_from_a_supervisor_to_what_is_inside_or_back() -> None:
    inner = supervisor(child(Worker).options(depends_on=["root/s"]), name="inner").options(depends_on=[Worker])

    found = await graph(supervisor(inner, child(Keeper), name="s"))

    assert [(edge.source, edge.target) for edge in found.edges] == [("root/s/inner/worker", "root/s/keeper")]


async def test_mermaid_has_boxes_nodes_and_arrows() -> None:
    text = (await graph(chain())).mermaid()

    assert text == (
        "flowchart LR\n"
        '    subgraph n1["s: one for one"]\n'
        '        n2(["reader<br/>Reader"])\n'
        '        subgraph n3["work: one for one"]\n'
        '            n4[["worker<br/>Worker<br/>pool of 2 to 4"]]\n'
        "        end\n"
        '        n5["keeper<br/>Keeper<br/>durable: in_done"]\n'
        "    end\n"
        '    n6{{"topic alarms<br/>str"}}\n'
        '    n2 -->|"out_row → in_row: int"| n4\n'
        '    n2 -->|"out_alarm: str"| n6\n'
        '    n4 ==>|"out_done → in_done (durable): int"| n5\n'
        '    n6 -->|"in_alarm: str"| n5\n'
    )


async def test_mermaid_draws_depends_on_dotted_and_escapes_names() -> None:
    odd = child(Worker).options(name='a "b" <c> #35; `d`', depends_on=[Keeper])

    text = (await graph(supervisor(odd, child(Keeper), dynamic_supervisor(name="end"), name="s"))).mermaid()

    assert '-.->|"depends on"|' in text
    assert 'n2["a #34;b#34; #60;c#62; #35;35; #96;d#96;<br/>Worker"]' in text
    assert 'n4["end<br/>dynamic supervisor"]' in text
    assert all(line.count('"') % 2 == 0 for line in text.splitlines())


async def test_a_running_tree_has_the_children_that_came_meanwhile() -> None:
    async with open_system(supervisor(keyed(Worker, by=lambda row: row), dynamic_supervisor(name="more"), name="s")) as system:
        await system.ref(Worker).send(Worker.in_row, 1)
        await system.supervisor("root/s/more").start_child(child(Reader), wires=[Reader.out_row >> Worker.in_row])

        found = graph_of(system.kernel)

    assert found.needs == {"root/s/worker": (), "root/s/more/reader-1": ("root/s/worker",)}
    assert found.nodes["root/s/worker"].kind is NodeKind.KEYED


async def test_data_is_plain() -> None:
    data = (await graph(chain())).as_data()

    assert json.loads(json.dumps(data)) == data
    assert data["nodes"][2]["class"] == "Reader"
    assert data["edges"][0]["kind"] == "wire"
    assert data["needs"]["root/s/keeper"] == []


async def test_a_graph_tells_whom_a_failure_reaches_its_likely_causes_and_the_order_of_recovery() -> None:
    class Store(Actor):
        @in_port
        def in_row(self, row: str) -> None:
            """Nothing."""

    class Service(Actor):
        out_row = OutPort(str)

        @in_port
        def in_order(self, order: str) -> None:
            """Nothing."""

    class Front(Actor):
        out_order = OutPort(str)

    wires = [Front.out_order >> Service.in_order, Service.out_row >> Store.in_row]
    found = await graph(supervisor(child(Store), child(Service), child(Front), wires=wires, name="shop"))
    store, service, front = (f"root/shop/{name}" for name in ("store", "service", "front"))

    assert found.blast_radius(store) == (service, front)
    assert found.likely_causes([front, store, service]) == [(store,)]
    assert found.recovery_order([front, service, store]) == [(store,), (service,), (front,)]
