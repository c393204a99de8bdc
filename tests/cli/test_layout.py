"""Where shapes stand and lines go: nothing overlaps, in trees of any form."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from random import Random
from time import perf_counter

import pytest

from actorkit.cli.drawing import path_of
from actorkit.cli.layout import Line, Route, Shape, lay_out


def shape(name: str, *inside: Shape, source: bool = False) -> Shape:
    made = Shape(name, 90.0, 60.0, 36.0, is_source=source, inside=list(inside))
    if not inside:
        made.ins["in"], made.outs["out"] = 40.0, 50.0
    return made


def line(source: Shape, target: Shape) -> Line:
    return Line(source, None if source.inside else "out", target, None if target.inside else "in")


def overlap(one: Shape, other: Shape) -> bool:
    return one.x < other.x + other.width and other.x < one.x + one.width and one.y < other.y + other.height and other.y < one.y + one.height


def check_shapes(top: Shape) -> None:
    """Siblings are apart, and inside of their box, below its head."""
    for box in top.walk():
        for one, other in combinations(box.inside, 2):
            assert not overlap(one, other), (one.path, other.path)
        for each in box.inside:
            assert box.x < each.x
            assert each.x + each.width < box.x + box.width
            assert box.y + box.head <= each.y
            assert each.y + each.height < box.y + box.height


def points(route: Route) -> list[tuple[float, float]]:
    """Many points of a line as it is drawn."""
    found: list[tuple[float, float]] = []
    here = (0.0, 0.0)
    for command, text in re.findall(r"([MHC])([-\d. ]+)", path_of(route)):
        numbers = [float(each) for each in text.split()]
        if command == "M":
            here = (numbers[0], numbers[1])
        elif command == "H":
            found += [(here[0] + (numbers[0] - here[0]) * step / 20, here[1]) for step in range(21)]
            here = (numbers[0], here[1])
        else:
            corners = [here, *zip(numbers[::2], numbers[1::2], strict=True)]
            for step in range(21):
                t = step / 20
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                found.append(
                    (
                        sum(weight * x for weight, (x, _) in zip(weights, corners, strict=True)),
                        sum(weight * y for weight, (_, y) in zip(weights, corners, strict=True)),
                    )
                )
            here = corners[-1]
    return found


def check_lines(top: Shape, lines: list[Line], routes: list[Route]) -> None:
    """Each goes from its port to its port, and crosses nobody."""
    leaves = [each for each in top.walk() if not each.inside]
    for each, route in zip(lines, routes, strict=True):
        source, target = each.source, each.target
        assert (route[0].begin, route[0].y) == pytest.approx((source.x + source.width, source.y + source.outs.get(each.out_port, 18)))
        assert (route[-1].end, route[-1].y) == pytest.approx((target.x, target.y + target.ins.get(each.in_port, 18)))
        for x, y in points(route):
            crossed = [leaf.path for leaf in leaves if leaf.x + 0.5 < x < leaf.x + leaf.width - 0.5 and leaf.y < y < leaf.y + leaf.height]
            assert crossed == [], (source.path, target.path)


def test_who_sends_stands_left_of_who_receives() -> None:
    reader, parser, sink = shape("reader", source=True), shape("parser"), shape("sink")
    top = shape("top", sink, parser, reader)

    lay_out(top, [line(parser, sink), line(reader, parser)])

    assert reader.x < parser.x < sink.x


def test_a_cycle_begins_at_its_source_and_its_line_back_goes_around() -> None:
    fetcher, frontier = shape("fetcher"), shape("frontier", source=True)
    top = shape("top", fetcher, frontier)
    lines = [line(frontier, fetcher), line(fetcher, frontier), line(fetcher, fetcher)]

    routes = lay_out(top, lines)

    assert frontier.x < fetcher.x
    assert any(each.step < 0 for each in routes[1])
    check_shapes(top)
    check_lines(top, lines, routes)


def test_a_line_that_leaves_its_box_goes_around_what_else_is_in_there() -> None:
    parser, enricher, sink = shape("parser"), shape("enricher"), shape("sink")
    top = shape("top", shape("preparation", parser, enricher), sink)
    lines = [line(parser, enricher), line(parser, sink)]

    routes = lay_out(top, lines)

    check_shapes(top)
    check_lines(top, lines, routes)


def test_unconnected_shapes_stand_in_rows() -> None:
    top = shape("top", *(shape(str(number)) for number in range(100)))

    lay_out(top, [])

    check_shapes(top)
    assert 0.3 < top.width / top.height < 4


def test_a_box_without_anything_keeps_its_size() -> None:
    top = shape("top")

    assert lay_out(top, []) == []
    assert (top.width, top.height) == (90.0, 60.0)


def some_tree(rng: Random, size: int) -> tuple[Shape, list[Line]]:
    """Shapes in boxes in boxes, and lines between any of them."""
    shapes = [shape(f"n{number}", source=rng.random() < 0.1) for number in range(size)]
    leaves = list(shapes)
    boxes: list[Shape] = []
    while len(shapes) > 3:
        chosen = [shapes.pop(rng.randrange(len(shapes))) for _ in range(rng.randint(1, min(5, len(shapes) - 1)))]
        boxes.append(shape(f"box{len(boxes)}", *chosen))
        if rng.random() < 0.7:
            shapes.append(boxes[-1])
        else:
            shapes += boxes.pop().inside[:1]
            leaves = [each for each in leaves if any(each in known.walk() for known in shapes)]
    top = shape("top", *shapes)
    lines = [line(rng.choice(leaves), rng.choice(leaves)) for _ in range(round(size * 1.3))]
    present = [box for box in boxes if any(box in known.walk() for known in shapes)]
    for box in present:
        other = rng.choice([*leaves, *present])
        if other not in box.walk() and box not in other.walk():
            lines.append(line(box, other))
    return top, lines


@pytest.mark.parametrize("seed", range(60))
def test_in_no_tree_does_anything_overlap_or_a_line_cross_a_shape(seed: int) -> None:
    rng = Random(seed)
    top, lines = some_tree(rng, rng.choice([2, 5, 12, 30]))

    routes = lay_out(top, lines)

    check_shapes(top)
    check_lines(top, lines, routes)
    for route in routes:
        for one, other in pairwise(route):
            assert one.step == other.step or one.y != other.y


def test_two_hundred_shapes_are_laid_out_in_a_moment() -> None:
    chain = [shape(f"n{number}", source=number == 0) for number in range(200)]
    top = shape("top", *(shape(f"box{first}", *chain[first : first + 20]) for first in range(0, 200, 20)))
    lines = (
        [line(one, other) for one, other in pairwise(chain)] + [line(chain[0], each) for each in chain[1:]] + [line(chain[-1], chain[0])]
    )
    began = perf_counter()

    routes = lay_out(top, lines)

    assert perf_counter() - began < 20
    check_shapes(top)
    assert len(routes) == len(lines)
