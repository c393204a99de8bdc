"""Trees as SVG: well-formed, complete, and nobody covers anybody."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from time import perf_counter
from typing import Any

from actorkit import Actor, ChildSpec, OutPort, Topic, child, dynamic_supervisor, in_port, keyed, pool, supervisor
from actorkit._runtime.graph import graph_of
from actorkit._runtime.system import Tree
from actorkit.cli.drawing import draw
from actorkit.cli.trees import look_at

SVG = "{http://www.w3.org/2000/svg}"
NEWS = Topic("news & <more>", str)


class Reader(Actor):
    out_row = OutPort(int)
    out_news = OutPort(str)

    async def run(self) -> None:
        """Reads nothing."""


class Worker(Actor):
    out_done = OutPort(int)
    out_again = OutPort(int)

    @in_port
    def in_row(self, row: int) -> None: ...


class Keeper(Actor):
    @in_port(durable=True)
    def in_done(self, row: int) -> None: ...

    @in_port
    def in_news(self, text: str) -> None: ...

    @in_port
    def in_anything(self, thing: int | str | bytes | float | complex | list[int]) -> None: ...


def picture(tree: Tree, title: str = "a tree") -> ET.Element:
    return ET.fromstring(draw(look_at(tree, graph_of), title))


def texts(drawn: ET.Element) -> str:
    return "\n".join("".join(each.itertext()) for each in drawn.iter(f"{SVG}text"))


def frames(drawn: ET.Element, kind: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of what is drawn, by path: of groups, with all their sheets."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for group in drawn.iter(f"{SVG}g"):
        rects = [each for each in group.iter(f"{SVG}rect") if each.get("class") == kind]
        if rects:
            sides = [[float(each.get(side, "")) for side in ("x", "y", "width", "height")] for each in rects]
            found[group.get("data-path", "")] = (
                min(x for x, _, _, _ in sides),
                min(y for _, y, _, _ in sides),
                max(x + width for x, _, width, _ in sides),
                max(y + height for _, y, _, height in sides),
            )
    return found


def check_apart(drawn: ET.Element) -> None:
    """No two nodes overlap, each is in the boxes of its supervisors and in no others, and all is on the page."""
    nodes, boxes = frames(drawn, "node"), frames(drawn, "box")
    for (one, (left, top, right, bottom)), (other, (x, y, end, under)) in combinations(nodes.items(), 2):
        assert right <= x or end <= left or bottom <= y or under <= top, (one, other)
    for path, (left, top, right, bottom) in nodes.items():
        for box, (x, y, end, under) in boxes.items():
            if path.startswith(f"{box}/"):
                assert x < left
                assert right < end
                assert y < top
                assert bottom < under
            elif not path.startswith("topic:"):
                assert right <= x or end <= left or bottom <= y or under <= top, (path, box)
    width, height = float(drawn.get("width", "")), float(drawn.get("height", ""))
    for left, top, right, bottom in [*nodes.values(), *boxes.values()]:
        assert left > 0
        assert top > 0
        assert right < width
        assert bottom < height


def everything() -> Tree:
    work = supervisor(pool(Worker, size=3), keyed(child(Worker).options(name="each"), by=lambda row: row), name="work")
    members = [each for each in work.children if isinstance(each, ChildSpec)]
    first, second = members
    keeper: ChildSpec[Any] = child(Keeper).options(depends_on=[work])
    return supervisor(
        keeper,
        work,
        dynamic_supervisor(name="guests"),
        child(Reader),
        wires=[
            Reader.out_row >> first[Worker.in_row],
            first[Worker.out_done] >> second[Worker.in_row],
            second[Worker.out_done] >> Keeper.in_done,
            second[Worker.out_again] >> first[Worker.in_row],
            first[Worker.out_again] >> first[Worker.in_row],
            Reader.out_news >> NEWS,
            NEWS >> Keeper.in_news,
        ],
        name="all",
    )


def test_the_picture_has_all_names_ports_and_types() -> None:
    drawn = picture(everything())

    shown = texts(drawn)
    for name in ("all", "one for one", "work", "worker", "Worker, pool of 3", "each", "one for each key", "keeper", "reader", "guests"):
        assert name in shown
    for port in ("in_row int", "int out_row", "in_done int", "str out_news", "news & <more>", "topic of str", "nobody, as yet"):
        assert port in shown
    assert "in_anything int | str | bytes | float |…" in shown
    check_apart(drawn)


def test_lines_say_what_they_are() -> None:
    drawn = picture(everything())

    lines = {(each.get("class"), "".join(each.itertext())) for each in drawn.iter(f"{SVG}path") if each.get("marker-end")}
    assert ("line wire durable", "root/all/work/each → root/all/keeper\nout_done → in_done (durable): int") in lines
    assert ("line depends", "root/all/keeper → root/all/work\ndepends on") in lines
    assert ("line topic", "topic:news & <more> → root/all/keeper\nin_news: str") in lines
    assert len(lines) == 8


def test_names_are_escaped() -> None:
    odd = child(Keeper).options(name='<script>&"\x07')

    drawn = picture(supervisor(odd, name="<s>"), 'a <title> & "more"')

    assert '<script>&"\ufffd' in texts(drawn)
    assert "<s>" in texts(drawn)
    assert drawn.findtext(f"{SVG}title") == 'a <title> & "more"'
    assert not list(drawn.iter(f"{SVG}script"))


def test_who_sends_stands_left_of_who_receives() -> None:
    nodes = frames(picture(everything()), "node")

    assert nodes["root/all/reader"][2] < nodes["topic:news & <more>"][0]


def test_long_and_wide_names_have_room() -> None:
    long, wide = child(Keeper).options(name="a" * 80), child(Reader).options(name="演員" * 10)

    drawn = picture(supervisor(long, wide, name="s" * 70))

    nodes = frames(drawn, "node")
    assert nodes[f"root/{'s' * 70}/{'a' * 80}"][2] - nodes[f"root/{'s' * 70}/{'a' * 80}"][0] > 80 * 7.8
    assert nodes[f"root/{'s' * 70}/{'演員' * 10}"][2] - nodes[f"root/{'s' * 70}/{'演員' * 10}"][0] > 20 * 13
    check_apart(drawn)


def test_a_tree_without_actors_can_be_drawn() -> None:
    assert "nobody, as yet" in texts(picture(supervisor(name="empty")))


def test_two_hundred_actors_in_a_ring_and_a_fan_can_be_drawn() -> None:
    workers = [child(Worker).options(name=f"w{number}") for number in range(200)]
    groups = [supervisor(*workers[first : first + 10], name=f"g{first}") for first in range(0, 200, 10)]
    ring = [one[Worker.out_done] >> other[Worker.in_row] for one, other in pairwise([*workers, workers[0]])]
    fan = [workers[0][Worker.out_again] >> each[Worker.in_row] for each in workers[::7]]
    began = perf_counter()

    drawn = picture(supervisor(*groups, wires=[*ring, *fan], name="many"))

    assert perf_counter() - began < 30
    assert len(frames(drawn, "node")) == 200
    check_apart(drawn)
