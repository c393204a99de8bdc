"""Who needs whom in a tree, as plain data, and as a diagram in Mermaid: supervisors, actors, topics, and what connects them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from actorkit._runtime.dependencies import all_needs, named_in, node_of
from actorkit._runtime.group_specs import KeyedSpec, PoolSpec, limits
from actorkit._runtime.groups import MemberCell
from actorkit._runtime.wording import type_names
from actorkit.policy.checkpoint import recovery_order
from actorkit.policy.dependencies import blast_radius, likely_causes

if TYPE_CHECKING:
    from actorkit._runtime.cell import Cell
    from actorkit._runtime.kernel import Kernel
    from actorkit._runtime.ports import InPort, OutPort
    from actorkit._runtime.supervisor import Supervisor
    from actorkit._runtime.topics import Topic

ROOT = "root"
"""The path of the supervisor that stands above every tree; pictures leave it out."""


class NodeKind(StrEnum):
    """What a node stands for."""

    SUPERVISOR = "supervisor"
    ACTOR = "actor"
    POOL = "pool"
    KEYED = "keyed"
    TOPIC = "topic"


class EdgeKind(StrEnum):
    """Why two nodes are connected."""

    WIRE = "wire"
    """Messages go from an out-port to an in-port."""
    TOPIC = "topic"
    """Messages go to a topic, or from one."""
    DEPENDS_ON = "depends_on"
    """No messages: it was declared."""


@frozen
class Port:
    """One port of an actor.

    Attributes:
        name: the port's.
        type: its messages: `int | str`.
        wired: whether a wire or a topic leads there.
        durable: whether what is sent to it survives the process.
    """

    name: str
    type: str
    wired: bool
    durable: bool = False


@frozen(kw_only=True)
class Node:
    """A supervisor, an actor, a group of actors, or a topic.

    Attributes:
        path: its path; of a topic, "topic:" and its name.
        name: the path's last part.
        kind: what it is.
        parent: the path of its supervisor; of the root, and of topics, None.
        class_name: the actor class; of supervisors and topics, None.
        detail: in a few words, a supervisor's strategy, a group's size, a topic's type.
        source: whether it has a `run` of its own.
        in_ports: where it takes messages, in the order of the class.
        out_ports: where it sends from; `err_errors` is left out unless it is wired.
    """

    path: str
    name: str
    kind: NodeKind
    parent: str | None = None
    class_name: str | None = None
    detail: str = ""
    source: bool = False
    in_ports: tuple[Port, ...] = ()
    out_ports: tuple[Port, ...] = ()


@frozen(kw_only=True)
class Edge:
    """A connection: `source` sends to `target`, or depends on it.

    Attributes:
        kind: which of these.
        source: the path of the node that needs the other.
        target: the path of the node that is needed.
        out_port: the port at the source; None where that is a topic, or no message goes.
        in_port: the port at the target; None likewise.
        type: the messages; None where none go.
        durable: whether the in-port is durable.
    """

    kind: EdgeKind
    source: str
    target: str
    out_port: str | None = None
    in_port: str | None = None
    type: str | None = None
    durable: bool = False

    @property
    def label(self) -> str:
        """For people: `out_row → in_row: Row`."""
        if self.kind is EdgeKind.DEPENDS_ON:
            return "depends on"
        ports = " → ".join(filter(None, (self.out_port, self.in_port)))
        return f"{ports}{' (durable)' if self.durable else ''}: {self.type}"


@frozen
class DependencyGraph:
    """The tree of a system, and who needs whom in it. Who sends to somebody needs them, and so does who says so by `depends_on`.

    Attributes:
        nodes: by path, each supervisor before what is below it; topics come last.
        edges: what connects them.
        needs: for each actor and group, the paths of the actors and groups that it needs: over wires and topics, and by what it or a
            supervisor above it depends on.
    """

    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    needs: dict[str, tuple[str, ...]]

    def below(self, path: str) -> list[Node]:
        """The children of a supervisor, in order."""
        return [node for node in self.nodes.values() if node.parent == path]

    def blast_radius(self, path: str) -> tuple[str, ...]:
        """All actors and groups that need this one, directly or by way of others: the nearest first."""
        return tuple(blast_radius([path], self.needs))

    def likely_causes(self, unhealthy: Iterable[str]) -> list[tuple[str, ...]]:
        """Those of these paths that need no other of them. A circle is one cause."""
        return likely_causes(unhealthy, self.needs)

    def recovery_order(self, failed: Iterable[str]) -> list[tuple[str, ...]]:
        """In which order these recover: each after those that it needs; those that need each other together."""
        return recovery_order(failed, lambda path: self.needs.get(path, ()))

    def as_data(self) -> dict[str, Any]:
        """The same as dicts and lists."""
        nodes, edges = [_plain(each) for each in self.nodes.values()], [_plain(each) for each in self.edges]
        for node in nodes:
            node["class"] = node.pop("class_name")
        return {"nodes": nodes, "edges": edges, "needs": {path: list(needed) for path, needed in self.needs.items()}}

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart: supervisors are boxes, durable wires are thick, `depends_on` is dotted."""
        ids = {path: f"n{number}" for number, path in enumerate(self.nodes)}
        lines = ["flowchart LR", *self._mermaid_below(ROOT, ids, "    ")]
        lines += [f"    {_shape(node, ids[path])}" for path, node in self.nodes.items() if node.kind is NodeKind.TOPIC]
        for edge in self.edges:
            arrow = "-.->" if edge.kind is EdgeKind.DEPENDS_ON else "==>" if edge.durable else "-->"
            lines.append(f'    {ids[edge.source]} {arrow}|"{_escaped(edge.label)}"| {ids[edge.target]}')
        return "\n".join([*lines, ""])

    def _mermaid_below(self, path: str, ids: dict[str, str], indent: str) -> Iterator[str]:
        for node in self.below(path):
            below = list(self._mermaid_below(node.path, ids, f"{indent}    "))
            if below:  # an empty subgraph is an error to some versions of Mermaid
                yield f'{indent}subgraph {ids[node.path]}["{_escaped(f"{node.name}: {node.detail}")}"]'
                yield from below
                yield f"{indent}end"
            else:
                yield indent + _shape(node, ids[node.path])


def graph_of(kernel: Kernel) -> DependencyGraph:
    """The graph of a system, as it is now; the system need not run."""
    channels = kernel.topics.channels.values()
    found = [*_nodes_below(kernel, kernel.supervisors[ROOT], None), *(_topic(each.topic) for each in channels)]
    nodes = {node.path: node for node in found}
    cells = [kernel.cells[path] for path in nodes if path in kernel.cells]
    edges = [edge for cell in cells for edge in _sends(cell)]
    for channel in channels:
        for mailbox in channel.subscribers:
            node, types = node_of(mailbox.cell), type_names(channel.topic.types)
            edges.append(_to_port(EdgeKind.TOPIC, _topic(channel.topic).path, node, None, mailbox.name, types))
    edges += _declared(kernel)
    needs = {
        cell.path: tuple(needed.path for needed in needed_by_it) for cell, needed_by_it in all_needs(kernel).items() if cell.path in nodes
    }
    return DependencyGraph(nodes, tuple(dict.fromkeys(edges)), needs)


def _plain(part: Node | Edge) -> dict[str, Any]:
    return asdict(part, value_serializer=lambda _, __, value: _plain_value(value))


def _plain_value(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else [*value] if isinstance(value, tuple) else value


def _nodes_below(kernel: Kernel, supervisor: Supervisor, parent: str | None) -> Iterator[Node]:
    spec = supervisor.spec
    detail = "dynamic supervisor" if spec.dynamic else spec.strategy.value.replace("_", " ")
    yield Node(path=supervisor.path, name=supervisor.path.rpartition("/")[2], kind=NodeKind.SUPERVISOR, parent=parent, detail=detail)
    for child in supervisor.children.values():
        if child.path in kernel.cells:
            yield _actor(kernel.cells[child.path], supervisor.path)
        elif child.path in kernel.supervisors:
            yield from _nodes_below(kernel, kernel.supervisors[child.path], supervisor.path)


def _actor(cell: Cell, parent: str) -> Node:
    blueprint, spec = cell.actor_class.actorkit_blueprint, cell.spec
    outs = [port for port in blueprint.out_ports.values() if port.name != "err_errors" or _is_wired(cell, port)]
    if isinstance(spec, PoolSpec):
        least, most = limits(spec.title, spec.size)
        kind, detail = NodeKind.POOL, f"pool of {least}" if least == most else f"pool of {least} to {most}"
    elif isinstance(spec, KeyedSpec):
        kind, detail = NodeKind.KEYED, "one for each key"
    else:
        kind, detail = NodeKind.ACTOR, ""
    return Node(
        path=cell.path,
        name=cell.name,
        kind=kind,
        parent=parent,
        class_name=cell.actor_class.__qualname__,
        detail=detail,
        source="run" in blueprint.hooks,
        in_ports=tuple(_in_port(cell, each) for each in blueprint.in_ports.values()),
        out_ports=tuple(Port(each.name, type_names(each.types), _is_wired(cell, each)) for each in outs),
    )


def _in_port(cell: Cell, port: InPort[Any, Any, Any]) -> Port:
    mailbox = cell.mailboxes.get(port.name)
    wired = mailbox is not None and (mailbox.wired or mailbox.subscriptions > 0)
    return Port(port.name, type_names(port.types), wired, port.settings.durable)


def _is_wired(cell: Cell, port: OutPort[Any]) -> bool:
    return port.name in cell.outlets and cell.outlets[port.name].is_wired


def _topic(topic: Topic[Any]) -> Node:
    return Node(path=f"topic:{topic.name}", name=topic.name, kind=NodeKind.TOPIC, detail=type_names(topic.types))


def _sends(cell: Cell) -> Iterator[Edge]:
    for name, outlet in cell.outlets.items():
        types = type_names(outlet.types)
        for mailbox in outlet.targets:
            yield _to_port(EdgeKind.WIRE, cell.path, node_of(mailbox.cell), name, mailbox.name, types)
        for channel in outlet.channels:
            yield Edge(kind=EdgeKind.TOPIC, source=cell.path, target=_topic(channel.topic).path, out_port=name, type=types)


def _to_port(kind: EdgeKind, source: str, target: Cell, out_port: str | None, in_port: str, types: str) -> Edge:
    durable = target.in_ports[in_port].settings.durable
    return Edge(kind=kind, source=source, target=target.path, out_port=out_port, in_port=in_port, type=types, durable=durable)


def _declared(kernel: Kernel) -> Iterator[Edge]:
    """What `depends_on` says: between supervisors where it does, but from actor to actor where one end is inside the other."""
    specs = {path: each.spec for path, each in kernel.supervisors.items() if path not in kernel.cells} | {
        path: cell.spec for path, cell in kernel.cells.items()
    }
    for path, spec in specs.items():
        for named in [named for each in spec.depends_on for named in named_in(kernel, each)]:
            cell = kernel.find(named)
            target = named if cell is None else node_of(cell).path
            sources = _actors_in(kernel, path) if target.startswith(f"{path}/") else [path]
            targets = _actors_in(kernel, target) if path.startswith(f"{target}/") else [target]
            for source in sources:
                yield from (Edge(kind=EdgeKind.DEPENDS_ON, source=source, target=each) for each in targets if each != source)


def _actors_in(kernel: Kernel, path: str) -> list[str]:
    return [each for each, cell in kernel.cells.items() if each.startswith(f"{path}/") and not isinstance(cell, MemberCell)]


# ---- Mermaid


def plain_class(node: Node) -> str:
    """The name of a node's class as people know it: without the function that it was made in."""
    return (node.class_name or "").rpartition("<locals>.")[2]


def _shape(node: Node, id: str) -> str:
    durable = ", ".join(port.name for port in node.in_ports if port.durable)
    lines = [node.name, plain_class(node), node.detail, f"durable: {durable}" if durable else ""]
    text = "<br/>".join(_escaped(line) for line in lines if line)
    match node.kind:
        case NodeKind.TOPIC:
            return f'{id}{{{{"topic {text}"}}}}'
        case NodeKind.POOL | NodeKind.KEYED:
            return f'{id}[["{text}"]]'
        case NodeKind.ACTOR if node.source:
            return f'{id}(["{text}"])'
        case _:
            return f'{id}["{text}"]'


def _escaped(text: str) -> str:
    """Text between quotes, where Mermaid knows `#35;` and reads HTML."""
    return "".join(f"#{ord(each)};" if each in '#"&<>`\\' else " " if each.isspace() else each for each in text)
