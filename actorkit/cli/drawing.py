"""The graph of a tree as a picture: SVG, drawn by hand, readable in black and white."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from actorkit._runtime.graph import ROOT, DependencyGraph, Edge, EdgeKind, Node, NodeKind, Port, plain_class
from actorkit.cli.layout import Line, Route, Shape, Stretch, lay_out

ROW, HEAD, MARGIN = 18.0, 44.0, 16.0
TITLE, SMALL = 7.9, 6.7
"""How wide a letter is, in the title of a shape and elsewhere: that of a font in which all are alike."""
LONGEST_TYPE = 28
SHEET = 5.0
"""How far the sheets of a group's stack are apart."""
TURN = 26.0
HEAD_LENGTH = 8.0
_EMPTY = "nobody, as yet"

STYLE = """
text { font: 11px ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #26303a }
.title { font-size: 13px; font-weight: 600 }
.quiet { fill: #66717c }
.page { fill: #fbfcfc }
.box { fill: #10405a; fill-opacity: 0.045; stroke: #9aa7b2 }
.node { fill: #ffffff; stroke: #4a5763; stroke-width: 1.2 }
.rule { stroke: #d5dbe0 }
.topic .node { fill: #f1ecf8; stroke: #63499b }
.line { fill: none; stroke: #0b6f6a; stroke-width: 1.5 }
.line.topic { stroke: #63499b }
.line.depends { stroke: #66717c; stroke-dasharray: 2 4 }
.line.durable { stroke-width: 3.2 }
.line:hover { stroke: #c2410c }
.dot { fill: #26303a; stroke: #26303a } .open { fill: #ffffff; stroke: #26303a }
.mark { fill: none; stroke: #26303a; stroke-width: 1.1 } .run { fill: #26303a }
.head { fill: #0b6f6a } .head.topic { fill: #63499b } .head.depends { fill: #66717c }
"""


def draw(graph: DependencyGraph, title: str) -> str:
    """The picture, with the sources on the left and the receivers on the right."""
    shapes: dict[str, Shape] = {}
    page = Shape(ROOT, 0.0, 0.0, MARGIN, inside=[_shape(graph, node, shapes) for node in graph.below(ROOT)])
    for node in graph.nodes.values():
        if node.kind is NodeKind.TOPIC:
            (shapes.get(_home(graph, node.path)) or page).inside.append(_shape(graph, node, shapes))
    edges = [edge for edge in graph.edges if edge.source in shapes and edge.target in shapes]  # nothing goes to the root, or from there
    lines = [Line(shapes[edge.source], edge.out_port, shapes[edge.target], edge.in_port) for edge in edges]
    routes = lay_out(page, lines)
    legend, width = _legend(graph, page.height + 6)
    width, height = max(page.width, width), page.height + (34 if legend else 0)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [f'{opening} role="img">', f"<title>{_text(title)}</title>", f"<style>{STYLE}</style>", *_heads()]
    parts.append(f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>')
    drawn = [(graph.nodes[path], shape) for path, shape in shapes.items()]
    parts += [part for node, shape in drawn if _is_box(node) for part in _box(node, shape)]
    parts += [_line(edge, route) for edge, route in zip(edges, routes, strict=True)]
    parts += [part for node, shape in drawn if not _is_box(node) for part in _node(node, shape)]
    return "\n".join([*parts, *legend, "</svg>", ""])


# ---- what is placed


def _shape(graph: DependencyGraph, node: Node, shapes: dict[str, Shape]) -> Shape:
    """The shape of a node, and of all below it."""
    width, small = len_in(node.name) * TITLE + (16 if node.source else 0), len_in(_second_line(node)) * SMALL
    if _is_box(node):
        shape = shapes[node.path] = Shape(node.path, max(width + small + 40, len_in(_EMPTY) * SMALL + 28), 66.0, 36.0)
        shape.inside = [_shape(graph, each, shapes) for each in graph.below(node.path)]
        return shape
    ports = [_width(port) for port in (*node.in_ports, *node.out_ports)]
    height = HEAD + ROW * len(ports) + (6 if ports else 0)
    stack = 2 * SHEET if _is_group(node) else 0
    shape = Shape(node.path, max(width, small, *ports, 80.0) + 28 + stack, height + stack, HEAD, is_source=node.source)
    for row, port in enumerate(node.in_ports):
        shape.ins[port.name] = stack + HEAD + ROW * (row + 0.5)
    for row, port in enumerate(node.out_ports, len(node.in_ports)):
        shape.outs[port.name] = stack + HEAD + ROW * (row + 0.5)
    shapes[node.path] = shape
    return shape


def _width(port: Port) -> float:
    return len_in(f"{port.name} {_short(port.type)}") * SMALL + (20 if port.durable else 4)


def _home(graph: DependencyGraph, topic: str) -> str:
    """The supervisor that has all who publish to a topic, or subscribe to it, below it."""
    users = {end for edge in graph.edges if topic in (edge.source, edge.target) for end in (edge.source, edge.target) if end != topic}
    above = [path.split("/")[:-1] for path in users] or [[ROOT]]
    common = above[0]
    for each in above[1:]:
        common = common[: sum(1 for one, other in zip(common, each, strict=False) if one == other)]
    return "/".join(common)


def _is_box(node: Node) -> bool:
    return node.kind is NodeKind.SUPERVISOR


def _is_group(node: Node) -> bool:
    return node.kind in (NodeKind.POOL, NodeKind.KEYED)


def _second_line(node: Node) -> str:
    if node.kind is NodeKind.TOPIC:
        return f"topic of {_short(node.detail)}"
    return ", ".join(filter(None, (plain_class(node), node.detail)))


def len_in(text: str) -> int:
    """How many letters wide a text is: those of Chinese, say, count twice."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _short(types: str) -> str:
    return types if len(types) <= LONGEST_TYPE else f"{types[: LONGEST_TYPE - 1]}…"


def _clean(text: str) -> str:
    """A text without what XML can't have."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _text(text: str) -> str:
    return escape(_clean(text))


# ---- what is drawn


def _box(node: Node, shape: Shape) -> Iterator[str]:
    yield f"<g data-path={quoteattr(_clean(node.path))}><title>{_text(node.path)}</title>"
    yield f'<rect class="box" x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" rx="8"/>'
    detail = f'<tspan class="quiet" font-size="11" font-weight="400" dx="10">{_text(node.detail)}</tspan>'
    yield f'<text class="title" x="{shape.x + 14:.1f}" y="{shape.y + 22:.1f}">{_text(node.name)}{detail}</text>'
    if not shape.inside:
        yield f'<text class="quiet" x="{shape.x + 14:.1f}" y="{shape.y + 48:.1f}">{_EMPTY}</text>'
    yield "</g>"


def _node(node: Node, shape: Shape) -> Iterator[str]:
    stack = 2 * SHEET if _is_group(node) else 0.0
    x, y, width, height = shape.x, shape.y + stack, shape.width - stack, shape.height - stack
    yield f'<g class="{node.kind.value}" data-path={quoteattr(_clean(node.path))}><title>{_text(node.path)}</title>'
    rx = 14 if node.kind is NodeKind.TOPIC else 5
    sheets = (2 * SHEET, SHEET, 0.0) if stack else (0.0,)
    for off in sheets:
        yield f'<rect class="node" x="{x + off:.1f}" y="{y - off:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{rx}"/>'
    left = x + 14
    if node.source:
        yield f'<path class="run" d="M{left:.1f} {y + 10:.1f}l9 5.5l-9 5.5z"><title>a source: it has a run()</title></path>'
        left += 16
    yield f'<text class="title" x="{left:.1f}" y="{y + 20:.1f}">{_text(node.name)}</text>'
    yield f'<text class="quiet" x="{x + 14:.1f}" y="{y + 35:.1f}">{_text(_second_line(node))}</text>'
    if node.in_ports or node.out_ports:
        yield f'<line class="rule" x1="{x:.1f}" x2="{x + width:.1f}" y1="{y + HEAD:.1f}" y2="{y + HEAD:.1f}"/>'
    for port in node.in_ports:
        yield from _port(port, x, shape.y + shape.ins[port.name], arrives=True)
    for port in node.out_ports:
        yield from _port(port, x + width, shape.y + shape.outs[port.name], arrives=False)
        if stack and port.wired:  # the line begins at the sheet that is farthest behind
            y = shape.y + shape.outs[port.name]
            yield f'<line class="mark" x1="{x + width:.1f}" x2="{x + width + stack:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield "</g>"


def _port(port: Port, x: float, y: float, *, arrives: bool) -> Iterator[str]:
    text = x + 14 if arrives else x - 14
    if port.durable:
        yield _cylinder(text, y)
        text += 16
    if not (arrives and port.wired):  # there the line's head says it
        yield f'<circle class="{"dot" if port.wired else "open"}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    types = f'<tspan class="quiet">{_text(_short(port.type))}</tspan>'
    if arrives:
        yield f'<text x="{text:.1f}" y="{y + 4:.1f}">{_text(port.name)} {types}</text>'
    else:
        yield f'<text x="{text:.1f}" y="{y + 4:.1f}" text-anchor="end">{types} {_text(port.name)}</text>'


def _cylinder(x: float, y: float) -> str:
    sides = f"M{x:.1f} {y - 3.5:.1f}v7a5 2 0 0 0 10 0v-7"
    title = "<title>durable: what was sent here survives the process</title>"
    return f'<path class="mark" d="{sides}a5 2 0 0 0 -10 0a5 2 0 0 0 10 0">{title}</path>'


def _line(edge: Edge, route: Route) -> str:
    kind = {EdgeKind.WIRE: "wire", EdgeKind.TOPIC: "topic", EdgeKind.DEPENDS_ON: "depends"}[edge.kind]
    durable = " durable" if edge.durable else ""
    said = f"{edge.source} → {edge.target}\n{edge.label}"
    return f'<path class="line {kind}{durable}" marker-end="url(#{kind})" d="{path_of(route)}"><title>{_text(said)}</title></path>'


def path_of(route: Sequence[Stretch]) -> str:
    """A line as SVG writes it: level parts, with curves between them. It ends short of its target, where its head is."""
    parts = [route[0]]
    for each in route[1:]:
        before = parts[-1]
        if each.step == before.step and abs(each.begin - before.end) + abs(each.y - before.y) < 0.01:
            parts[-1] = Stretch(before.begin, each.end, each.y, each.step)
        else:
            parts.append(each)
    last = parts[-1]
    parts[-1] = Stretch(min(last.begin, last.end - HEAD_LENGTH - 1), last.end - HEAD_LENGTH, last.y)
    data = f"M{parts[0].begin:.1f} {parts[0].y:.1f}"
    for one, other in pairwise(parts):
        out, into = one.step, other.step
        room = abs(other.begin - one.end) / 2 if out == into else TURN
        data += f"H{one.end:.1f}"
        data += f"C{one.end + out * room:.1f} {one.y:.1f} {other.begin - into * room:.1f} {other.y:.1f} {other.begin:.1f} {other.y:.1f}"
    return f"{data}H{parts[-1].end:.1f}"


def _heads() -> Iterator[str]:
    yield "<defs>"
    for kind in ("wire", "topic", "depends"):
        yield f'<marker id="{kind}" markerUnits="userSpaceOnUse" markerWidth="9" markerHeight="10" refX="1" refY="5" orient="auto">'
        yield f'<path class="head {kind}" d="M0 0L8.5 5L0 10z"/></marker>'
    yield "</defs>"


def _legend(graph: DependencyGraph, y: float) -> tuple[list[str], float]:
    """What the marks of this picture mean, below it, and how wide that is."""
    nodes, edges = graph.nodes.values(), graph.edges
    ports = [port for node in nodes for port in (*node.in_ports, *node.out_ports)]
    entries = [
        (any(node.source for node in nodes), 10, '<path class="run" d="M0 -5.5l9 5.5l-9 5.5z"/>', "source"),
        (any(edge.kind is EdgeKind.WIRE and not edge.durable for edge in edges), 26, _sample("wire"), "wire"),
        (any(edge.durable for edge in edges), 26, _sample("wire durable"), "to a durable port"),
        (any(port.durable for port in ports), 10, _cylinder(0, 0), "durable port"),
        (any(edge.kind is EdgeKind.TOPIC for edge in edges), 26, _sample("topic"), "over a topic"),
        (any(edge.kind is EdgeKind.DEPENDS_ON for edge in edges), 26, _sample("depends"), "depends on"),
        (any(not port.wired for port in ports), 8, '<circle class="open" cx="4" cy="0" r="3"/>', "port without a wire"),
    ]
    parts: list[str] = []
    x = MARGIN + 4
    for wide, mark, text in (entry[1:] for entry in entries if entry[0]):
        parts.append(f'<g transform="translate({x:.0f},{y:.0f})">{mark}<text class="quiet" x="{wide + 7}" y="4">{text}</text></g>')
        x += wide + 7 + len_in(text) * SMALL + 22
    return parts, x


def _sample(kind: str) -> str:
    return f'<path class="line {kind}" d="M0 0H26"/>'
