"""Where the boxes of a picture stand, and which way its lines go: in layers from left to right, box by box, from the inside out.

Each box is laid out by itself, and is then one shape among others in the box around it. In a box, lines go from layer to
layer. A line that passes a layer, or leaves its box on the way to another, has a *lane* there, which is placed like a shape;
so no line crosses a shape. One that leads back, in a cycle, passes under or over the shapes of each layer from its source's
to its target's. After Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System Structures" (IEEE
Transactions on Systems, Man, and Cybernetics, 1981); positions within a layer by isotonic regression.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from attrs import define, field, frozen

LANE = 10.0
BETWEEN_SHAPES, BESIDE_LANES = 26.0, 8.0
BETWEEN_LAYERS = 64.0
PADDING = 20.0
SWEEPS = 16
"""How often the layers are gone through, there and back; in the last few the order stays."""
SETTLED = 10


@define(eq=False)
class Shape:
    """What is placed: a box with shapes inside, or one without.

    Attributes:
        path: what it stands for.
        width: of a box with shapes inside, the least that it may be.
        height: likewise.
        head: of a box, how much at its top stays free of what is inside.
        is_source: whether a cycle is best begun here.
        ins: how far below its top lines arrive, by port; at `head / 2` unless this says so.
        outs: likewise, where lines leave.
        inside: what is in it, in order.
        x: its left edge, from the left edge of the picture, once it is laid out.
        y: its top, likewise.
    """

    path: str
    width: float
    height: float
    head: float
    is_source: bool = False
    ins: dict[str | None, float] = field(factory=dict[str | None, float])
    outs: dict[str | None, float] = field(factory=dict[str | None, float])
    inside: list[Shape] = field(factory=list["Shape"])
    x: float = 0.0
    y: float = 0.0

    def walk(self) -> Iterator[Shape]:
        """It, and all inside of it."""
        yield self
        for each in self.inside:
            yield from each.walk()

    def move(self, right: float, down: float) -> None:
        """Moves it, with all inside of it."""
        for each in self.walk():
            each.x += right
            each.y += down


@frozen(eq=False)
class Line:
    """What is drawn from one shape to another, port to port."""

    source: Shape
    out_port: str | None
    target: Shape
    in_port: str | None


@frozen
class Stretch:
    """A level part of a line, from `begin` to `end` at the height `y`; curves connect it with the next one.

    `step` is 1 where the line goes right, -1 where it goes left.
    """

    begin: float
    end: float
    y: float
    step: int = 1

    def moved(self, right: float, down: float) -> Stretch:
        """The same elsewhere."""
        return Stretch(self.begin + right, self.end + right, self.y + down, self.step)


Route = list[Stretch]


@define(eq=False)
class Spot:
    """A place in a layer: a shape's, or, without one, a line's lane."""

    shape: Shape | None
    layer: int
    y: float = 0.0
    links: list[tuple[Spot, float, float]] = field(factory=list["tuple[Spot, float, float]"])  # with both ends' distance from their tops

    @property
    def height(self) -> float:
        """How much room it takes."""
        return LANE if self.shape is None else self.shape.height


@define(eq=False)
class Way:
    """One line's way through one box: from a spot to a spot, or, where one is None, from or to somewhere outside."""

    line: Line
    source: Shape | None
    target: Shape | None
    spots: list[Spot] = field(factory=list[Spot])
    goes_back: bool = False

    def ends(self) -> list[Shape]:
        """Its shapes in this box."""
        return [each for each in (self.source, self.target) if each is not None]


def lay_out(top: Shape, lines: Sequence[Line]) -> list[Route]:
    """Places all shapes in `top`, whose size follows, and says which way each line goes.

    A line must not lead from a box to what is inside of it, or back.
    """
    above = {each: shape for shape in top.walk() for each in shape.inside}
    ways: dict[Shape, list[Way]] = {}
    for line in lines:
        source, target = _chain(above, line.source), _chain(above, line.target)
        depth = sum(1 for one, other in zip(source[:-1], target[:-1], strict=False) if one is other)
        ways.setdefault(source[depth - 1], []).append(Way(line, source[depth], target[depth]))
        for box, shape in pairwise(source[depth:]):
            ways.setdefault(box, []).append(Way(line, shape, None))
        for box, shape in pairwise(target[depth:]):
            ways.setdefault(box, []).append(Way(line, None, shape))
    routes = _Box(top, ways).routes
    return [routes[line] for line in lines]


def _chain(above: Mapping[Shape, Shape], shape: Shape) -> list[Shape]:
    """The boxes that it is in, from the outermost, and it itself."""
    chain = [shape]
    while chain[-1] in above:
        chain.append(above[chain[-1]])
    return chain[::-1]


class _Box:
    """One box, laid out with all that is inside."""

    def __init__(self, shape: Shape, ways: Mapping[Shape, list[Way]]) -> None:
        self.shape = shape
        self.routes: dict[Line, Route] = {}  # those of lines that end inside are whole, of the others as far as the edge of the box
        self.arriving: dict[Line, Route] = {}
        self._boxes = {each: _Box(each, ways) for each in shape.inside if each.inside}
        groups = [_Layers(shapes, among, self) for shapes, among in _apart(shape.inside, ways.get(shape, []))]
        self._stack(groups)
        for box in self._boxes.values():
            self.routes |= {line: box.moved(route) for line, route in box.routes.items()}
        for group in groups:
            for way in group.ways:
                self._note(way, group)

    def leaves(self, shape: Shape, line: Line) -> float:
        """How far below its top this line leaves a shape in this box."""
        if line.source is shape:
            return shape.outs.get(line.out_port, shape.head / 2)
        return self._boxes[shape].routes[line][-1].y

    def arrives(self, shape: Shape, line: Line) -> float:
        """How far below its top this line arrives at a shape in this box."""
        if line.target is shape:
            return shape.ins.get(line.in_port, shape.head / 2)
        return self._boxes[shape].arriving[line][0].y

    def _stack(self, groups: list[_Layers]) -> None:
        """Puts what is not connected below each other; what has no line to the outside also side by side, in rows."""
        area = sum((group.width + BETWEEN_LAYERS) * (group.height + BETWEEN_SHAPES) for group in groups)
        room = max([math.sqrt(area) * 1.3, *(group.width for group in groups)]) if groups else 0.0
        left, top, row = PADDING, self.shape.head, 0.0
        right = 0.0
        for group in sorted(groups, key=lambda each: not each.has_outside):
            if left > PADDING and (group.has_outside or left + group.width > room + PADDING):
                left, top, row = PADDING, top + row + BETWEEN_SHAPES, 0.0
            group.move(left, top)
            right = max(right, left + group.width)
            left, row = left + group.width + BETWEEN_SHAPES, max(row, group.height)
            if group.has_outside:
                left = math.inf
        if groups:
            self.shape.width = max(self.shape.width, right + PADDING)
            self.shape.height = max(self.shape.height, top + row + PADDING)

    def _note(self, way: Way, group: _Layers) -> None:
        line = way.line
        route = group.stretches(way)
        if way.source in self._boxes and line.source is not way.source:
            route = [*self.routes[line], *route]
        if way.target in self._boxes and line.target is not way.target:
            box = self._boxes[way.target]
            route += box.moved(box.arriving[line])
        if way.source is None:
            self.arriving[line] = [Stretch(0.0, route[0].begin, route[0].y), *route]
        elif way.target is None:
            self.routes[line] = [*route, Stretch(route[-1].end, self.shape.width, route[-1].y)]
        else:
            self.routes[line] = route

    def moved(self, route: Route) -> Route:
        """A line's way in this box, seen from the box around it, in which it has its place by now."""
        return [each.moved(self.shape.x, self.shape.y) for each in route]


class _Layers:
    """Shapes of one box that lines connect, in layers."""

    def __init__(self, shapes: list[Shape], ways: list[Way], box: _Box) -> None:
        self.ways = ways
        self.has_outside = any(way.source is None or way.target is None for way in ways)
        self._box = box
        self._left = 0.0
        self._top = 0.0
        layer_of = layers(shapes, ways)
        self._spots = {shape: Spot(shape, layer) for shape, layer in layer_of.items()}
        self._layers: list[list[Spot]] = [[] for _ in range(max(layer_of.values()) + 1)]
        for spot in self._spots.values():
            self._layers[spot.layer].append(spot)
        for way in ways:
            self._add_lanes(way)
        for spots in self._layers:
            _set(spots, [0.0] * len(spots))
        self._settle()
        self._columns = list(self._set_columns())
        self.width = self._columns[-1][1] + (BETWEEN_LAYERS / 2 if self._turns()[-1] else 0.0)
        self.height = max(spot.y + spot.height for spots in self._layers for spot in spots)

    def move(self, right: float, down: float) -> None:
        """Puts all shapes, where they are to be, into the box."""
        self._left, self._top = right, down
        for spots, (begin, end) in zip(self._layers, self._columns, strict=True):
            for spot in spots:
                if spot.shape is not None:
                    spot.shape.move(right + (begin + end - spot.shape.width) / 2, down + spot.y)

    def stretches(self, way: Way) -> Route:
        """The line's way from shape to shape."""
        route: Route = []
        for place, spot in enumerate(way.spots):
            begin, end = (self._left + edge for edge in self._columns[spot.layer])
            shape = spot.shape
            if shape is None:
                y = self._top + spot.y + LANE / 2
                route.append(Stretch(end, begin, y, -1) if way.goes_back else Stretch(begin, end, y))
            elif place == 0 and way.source is not None:
                route.append(Stretch(shape.x + shape.width, end, shape.y + self._box.leaves(shape, way.line)))
            else:
                route.append(Stretch(begin, shape.x, shape.y + self._box.arrives(shape, way.line)))
        return route

    def _add_lanes(self, way: Way) -> None:
        first = None if way.source is None else self._spots[way.source]
        last = None if way.target is None else self._spots[way.target]
        begin, end = -1 if first is None else first.layer, len(self._layers) if last is None else last.layer
        way.goes_back = end <= begin
        lanes = [Spot(None, layer) for layer in (range(begin, end - 1, -1) if way.goes_back else range(begin + 1, end))]
        for lane in lanes:
            self._layers[lane.layer].append(lane)
        way.spots = [*([] if first is None else [first]), *lanes, *([] if last is None else [last])]
        for one, other in pairwise(way.spots):
            here = LANE / 2 if one.shape is None else self._box.leaves(one.shape, way.line)
            there = LANE / 2 if other.shape is None else self._box.arrives(other.shape, way.line)
            one.links.append((other, here, there))
            other.links.append((one, there, here))

    def _settle(self) -> None:
        """Moves each spot to where its lines are straight, as far as the others let it."""
        for sweep in range(SWEEPS):
            there = sweep % 2 == 0
            for spots in self._layers if there else self._layers[::-1]:
                wanted = [_wanted(spot, there=None if sweep >= SETTLED else there) for spot in spots]
                if sweep < SETTLED:
                    order = sorted(range(len(spots)), key=lambda place: wanted[place] + spots[place].height / 2)
                    spots[:], wanted = [spots[place] for place in order], [wanted[place] for place in order]
                _set(spots, wanted)
        top = min(spot.y for spots in self._layers for spot in spots)
        for spot in (spot for spots in self._layers for spot in spots):
            spot.y -= top

    def _set_columns(self) -> Iterator[tuple[float, float]]:
        """Where each layer begins and ends: the more lines turn between two, the more room there is."""
        turns = self._turns()
        left = BETWEEN_LAYERS / 2 if turns[0] else 0.0
        for spots, turning in zip(self._layers, turns[1:], strict=True):
            width = max([0.0, *(spot.shape.width for spot in spots if spot.shape is not None)])
            yield left, left + width
            left += width + BETWEEN_LAYERS + min(turning, 10) * 4

    def _turns(self) -> list[int]:
        """How many lines turn before each layer, and after the last."""
        turns = [0] * (len(self._layers) + 1)
        for way in self.ways:
            if way.goes_back:
                turns[way.spots[0].layer + 1] += 1
                turns[way.spots[-1].layer] += 1
        return turns


def layers(shapes: Sequence[Shape], ways: Sequence[Way]) -> dict[Shape, int]:
    """The layer of each shape: right of all those that have a line to it, but for lines that lead back."""
    follows: dict[Shape, list[Shape]] = {shape: [] for shape in shapes}
    has_before: set[Shape] = set()
    for way in ways:
        if way.source is not None and way.target is not None and way.source is not way.target:
            follows[way.source].append(way.target)
            has_before.add(way.target)
    order: list[Shape] = []  # each after all that follow it, but for those that it closes a cycle with
    back: set[tuple[Shape, Shape]] = set()
    state: dict[Shape, bool] = {}  # whether it is done; not there: not yet begun
    for first in sorted(shapes, key=lambda shape: (shape in has_before, not shape.is_source)):
        if first in state:
            continue
        state[first] = False
        under_way = [(first, iter(follows[first]))]
        while under_way:
            shape, rest = under_way[-1]
            following = next(rest, None)
            if following is None:
                state[shape] = True
                order.append(shape)
                under_way.pop()
            elif following not in state:
                state[following] = False
                under_way.append((following, iter(follows[following])))
            elif not state[following]:
                back.add((shape, following))
    found = dict.fromkeys(shapes, 0)
    for shape in reversed(order):
        for following in follows[shape]:
            if (shape, following) not in back:
                found[following] = max(found[following], found[shape] + 1)
    return found


def _apart(shapes: Sequence[Shape], ways: Sequence[Way]) -> list[tuple[list[Shape], list[Way]]]:
    """Groups of shapes that no line connects with each other, and the ways in each."""
    group_of: dict[Shape, list[Shape]] = {shape: [shape] for shape in shapes}
    for way in ways:
        one, other = (group_of[shape] for shape in (way.ends()[0], way.ends()[-1]))
        if one is not other:
            less, more = sorted((one, other), key=len)
            more += less
            group_of |= dict.fromkeys(less, more)
    place = {shape: number for number, shape in enumerate(shapes)}
    groups = {id(group): (sorted(group, key=place.__getitem__), list[Way]()) for group in group_of.values()}
    for way in ways:
        groups[id(group_of[way.ends()[0]])][1].append(way)
    return list(groups.values())


def _wanted(spot: Spot, *, there: bool | None) -> float:
    """Where its lines would be straight: those that come from the left when all layers are gone through from there; None: all."""
    ys = [
        other.y + away - here
        for other, here, away in spot.links
        if there is None or (other.layer < spot.layer) is there or other.layer == spot.layer
    ]
    return sum(ys) / len(ys) if ys else spot.y


def _set(spots: Sequence[Spot], wanted: Sequence[float]) -> None:
    """Puts spots, in this order, as near as can be to where they want to be: the least sum of squares, by pooling adjacent violators."""
    down = 0.0
    shifts: list[float] = []
    pools: list[tuple[float, int]] = []  # the sum of what its spots want, less their shifts, and how many they are
    for place, (spot, y) in enumerate(zip(spots, wanted, strict=True)):
        shifts.append(down)
        pool = (y - down, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            total, count = pools.pop()
            pool = (total + pool[0], count + pool[1])
        pools.append(pool)
        after = spots[place + 1] if place + 1 < len(spots) else spot
        both = spot.shape is not None and after.shape is not None
        down += spot.height + (BETWEEN_SHAPES if both else BESIDE_LANES)
    levels = [total / count for total, count in pools for _ in range(count)]
    for spot, shift, level in zip(spots, shifts, levels, strict=True):
        spot.y = level + shift
