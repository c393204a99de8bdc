"""Topics: who publishes, who subscribes, what a slow subscriber does to others, and how streams end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen
from hypothesis import given, settings, strategies as st
from trio.testing import wait_all_tasks_blocked

from actorkit import (
    Actor,
    ActorRef,
    AskFailed,
    MailboxFull,
    MessageTypeError,
    OutPort,
    OverflowStrategy,
    SpecError,
    SpecTypeError,
    System,
    Topic,
    WiringError,
    child,
    dynamic_supervisor,
    in_port,
    keyed,
    open_system,
    pool,
    round_robin,
    supervisor,
)
from actorkit.events import TopicUnheard
from tests.runs import run_inside

NEWS = Topic("news", int)
ODDS = Topic("odds", int)


class Paper(Actor):
    """A source: publishes numbers."""

    out_number = OutPort(int)

    def __init__(self, count: int = 3, lines: list[str] | None = None) -> None:
        self.count = count
        self.lines = [] if lines is None else lines

    async def run(self) -> None:
        for number in range(self.count):
            await self.out_number.send(number)

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")
        await self.out_number.send(-1)


class Desk(Actor):
    """Publishes what it is told to."""

    out_number = OutPort(int)

    @in_port
    async def in_publish(self, number: int) -> None:
        await self.out_number.send(number)

    @in_port
    def in_emit(self, number: str) -> None:
        self.out_number.emit(int(number))


class Reader(Actor):
    """Reads what is published, and fails or stops its subscription when asked to."""

    out_number = OutPort(int)

    def __init__(self, seen: list[int], topics: Sequence[Topic[int]] = (), lines: list[str] | None = None) -> None:
        self.seen = seen
        self.topics = topics
        self.lines = [] if lines is None else lines

    async def on_start(self) -> None:
        for topic in self.topics:
            self.subscribe(topic, Reader.in_number)

    @in_port
    async def in_number(self, number: int) -> None:
        self.seen.append(number)
        await self.out_number.send(number)

    @in_port
    def in_join(self, topic: Topic[int]) -> None:
        self.subscribe(topic, Reader.in_number)

    @in_port
    def in_leave(self, topic: tuple[Topic[int]]) -> None:
        self.unsubscribe(topic[0], Reader.in_number)

    @in_port
    def in_fail(self, _: str) -> None:
        raise KeyError("a bug")

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")


class Sink(Actor):
    """Has one port, which is in a stream."""

    def __init__(self, seen: list[int], lines: list[str]) -> None:
        self.seen = seen
        self.lines = lines

    @in_port
    def in_number(self, number: int) -> None:
        self.seen.append(number)

    async def on_drained(self) -> None:
        self.lines.append(f"{self.name} drained")


class Gated(Actor):
    """Has room for one, and takes the next when its gate is open."""

    def __init__(self, gate: trio.Event, seen: list[int]) -> None:
        self.gate = gate
        self.seen = seen

    async def take(self, number: int) -> None:
        await self.gate.wait()
        self.seen.append(number)

    @in_port(capacity=1)
    async def in_block(self, number: int) -> None:
        await self.take(number)

    @in_port(capacity=1, overflow=OverflowStrategy.DROP_OLDEST)
    async def in_newest(self, number: int) -> None:
        await self.take(number)

    @in_port(capacity=1, overflow=OverflowStrategy.DROP_NEWEST)
    async def in_oldest(self, number: int) -> None:
        await self.take(number)


def reader(seen: list[int], *topics: Topic[int], lines: list[str] | None = None) -> Any:
    return child(Reader, seen, topics, lines)


# ---- publishing and subscribing


async def test_what_is_published_goes_to_all_subscribers_wired_or_not() -> None:
    one, two, three = list[int](), list[int](), list[int]()
    a, b = reader(one).options(name="a"), reader(two).options(name="b")
    tree = supervisor(
        a, b, reader(three, NEWS).options(name="c"), child(Desk), wires=[Desk.out_number >> NEWS, NEWS >> a[Reader.in_number]]
    )
    async with open_system(tree) as system:
        await system.ref("root/supervisor/b", Reader).send(Reader.in_join, NEWS)
        await system.settle()

        await system.ref(Desk).send(Desk.in_publish, 1)
        await system.ref(Desk).send(Desk.in_emit, "2")
        await system.settle()
        await system.publish(NEWS, 3)
        system.publish_nowait(NEWS, 4)
        await system.settle()

        assert one == two == three == [1, 2, 3, 4]
        assert system.ledger().ports["root/supervisor/a.in_number"].accepted == 4
        system.ledger().check()


async def test_who_leaves_gets_no_more_and_who_joins_twice_gets_each_message_once() -> None:
    seen: list[int] = []
    async with open_system(reader(seen, NEWS, NEWS)) as system:
        await system.publish(NEWS, 1)
        await system.ref(Reader).send(Reader.in_leave, (NEWS,))
        await system.settle()
        await system.publish(NEWS, 2)
        await system.ref(Reader).send(Reader.in_leave, (NEWS,))
        await system.ref(Reader).send(Reader.in_join, NEWS)
        await system.settle()
        await system.publish(NEWS, 3)
        await system.settle()

        assert seen == [1, 3]


async def test_topics_of_one_name_and_type_are_one_and_each_system_has_its_own() -> None:
    seen, other = list[int](), list[int]()
    async with open_system(reader(seen, Topic("news", int))) as system, open_system(reader(other, NEWS)):
        await system.publish(NEWS, 1)
        await system.settle()

        assert Topic("news", int) == NEWS
        assert Topic("news", str) != NEWS != "news"
        assert hash(NEWS) == hash(Topic("news", int))
        assert (seen, other) == ([1], [])


async def test_a_subscription_outlives_a_restart_and_misses_nothing() -> None:
    seen: list[int] = []
    async with open_system(supervisor(reader(seen), name="top")) as system:
        await system.ref(Reader).send(Reader.in_join, NEWS)
        await system.settle()

        await system.ref(Reader).send(Reader.in_fail, "")
        await system.publish(NEWS, 1)
        await system.wait()

        assert seen == [1]
        assert system.supervisor("root/top").which_children()[0].incarnation > 1


async def test_who_has_ended_is_no_subscriber_and_is_forgotten_with_its_child() -> None:
    seen: list[int] = []
    async with open_system(supervisor(dynamic_supervisor(name="pool"), name="top")) as system:
        pool = system.supervisor("root/top/pool")
        for _ in range(3):
            await pool.start_child(reader(seen, NEWS))
        await system.publish(NEWS, 1)
        await system.settle()

        await pool.stop_child("reader-1")
        await pool.stop_child("reader-2")
        await system.publish(NEWS, 2)
        await system.settle()

        assert seen == [1, 1, 1, 2]
        assert system.snapshot()["topics"] == {"news": {"subscribers": ["root/top/pool/reader-3.in_number"], "discarded": 0}}
        assert system.ledger().dead_lettered == 0
        system.ledger().check()


async def test_a_child_that_does_not_start_leaves_no_subscription_behind() -> None:
    class Broken(Reader):
        async def on_start(self) -> None:
            raise ValueError("no")

    async with open_system(supervisor(child(Desk), dynamic_supervisor(name="pool"), name="top")) as system:
        with pytest.raises(Exception, match="could not be started"):
            wires = [NEWS >> Broken.in_number, Desk.out_number >> NEWS]
            await system.supervisor("root/top/pool").start_child(child(Broken, []), wires=wires)
        await system.ref(Desk).send(Desk.in_publish, 1)
        await system.settle()

        assert system.snapshot()["topics"] == {"news": {"subscribers": [], "discarded": 0}}


async def test_a_topic_without_subscribers_discards_counts_and_says_so_once() -> None:
    async with open_system(supervisor(child(Desk), wires=[Desk.out_number >> NEWS])) as system:
        unheard = system.events(TopicUnheard)
        await system.publish(NEWS, 1)
        system.publish_nowait(NEWS, 2)
        await system.ref(Desk).send(Desk.in_publish, 3)
        await system.settle()
        discarded = system.snapshot()["topics"]["news"]["discarded"]
        accepted = system.ledger().accepted
    said = [str(event) async for event in unheard]

    assert (discarded, accepted) == (3, 1)
    assert said == ["topic 'news' has no subscriber: what is published there is discarded (and counted)"]


async def test_a_topic_can_travel_in_a_message() -> None:
    class Guide(Actor):
        @in_port
        async def in_newcomer(self, ref: ActorRef[Reader]) -> None:
            await ref.send(Reader.in_join, NEWS)

    seen: list[int] = []
    async with open_system(supervisor(child(Guide), reader(seen))) as system:
        await system.ref(Guide).send(Guide.in_newcomer, system.ref(Reader))
        await system.settle()
        await system.publish(NEWS, 1)
        await system.settle()

        assert seen == [1]


# ---- slow subscribers


async def test_a_full_subscriber_follows_its_own_strategy_and_holds_up_only_who_publishes() -> None:
    gate, seen = trio.Event(), list[int]()
    block, newest, oldest = list[int](), list[int](), list[int]()
    slow = [child(Gated, gate, each).options(name=name) for each, name in ((block, "b"), (newest, "n"), (oldest, "o"))]
    wires = [NEWS >> slow[0][Gated.in_block], NEWS >> slow[1][Gated.in_newest], NEWS >> slow[2][Gated.in_oldest]]
    published: list[int] = []

    async def publish(system: System) -> None:
        for number in range(6):
            await system.publish(NEWS, number)
            published.append(number)
            await wait_all_tasks_blocked()

    async with open_system(supervisor(*slow, reader(seen, NEWS), wires=wires)) as system, trio.open_nursery() as nursery:
        nursery.start_soon(publish, system)
        await trio.sleep(1)
        assert (seen, published) == ([0, 1, 2], [0, 1])  # it waits at the door of the one that blocks

        gate.set()
        await trio.sleep(1)
        await system.settle()

        assert seen == block == list(range(6))
        assert newest == [0, 2, 3, 4, 5]
        assert oldest == [0, 1, 3, 4, 5]
        ledger = system.ledger()
        assert (ledger.dropped_by, ledger.dead_lettered_by) == ({"drop_oldest": 1}, {"overflow": 1})
        assert ledger.accepted == 24
        ledger.check()


async def test_publish_nowait_reaches_all_or_nobody() -> None:
    gate, seen, slow = trio.Event(), list[int](), list[int]()
    async with open_system(supervisor(child(Gated, gate, slow), reader(seen, NEWS), wires=[NEWS >> Gated.in_block])) as system:
        for number in range(2):
            system.publish_nowait(NEWS, number)
            await wait_all_tasks_blocked()

        with pytest.raises(MailboxFull, match=r"topic 'news'\(int\): root/supervisor/gated\.in_block has no room: 2 was not accepted"):
            system.publish_nowait(NEWS, 2)
        gate.set()
        await system.settle()

        assert seen == slow == [0, 1]


async def test_who_gives_up_publishing_has_published_to_all_or_to_nobody() -> None:
    gate, seen, slow = trio.Event(), list[int](), list[int]()
    done: list[int] = []
    async with open_system(supervisor(child(Gated, gate, slow), reader(seen, NEWS), wires=[NEWS >> Gated.in_block])) as system:
        for number in range(6):
            with trio.move_on_after(1) as scope:
                await system.publish(NEWS, number)
            if not scope.cancelled_caught:
                done.append(number)
        gate.set()
        await system.settle()

        assert seen == slow == done == [0, 1, 2]
        system.ledger().check()


# ---- the end of streams


async def test_ports_of_a_topic_are_closed_from_upstream_down_at_the_end_of_a_run() -> None:
    lines, seen, last = list[str](), list[int](), list[int]()
    paper, middle, sink = child(Paper, 2, lines), reader(seen, lines=lines), child(Sink, last, lines)
    wires = [Paper.out_number >> NEWS, NEWS >> Reader.in_number, Reader.out_number >> ODDS, ODDS >> Sink.in_number]

    report = await run_inside(supervisor(sink, middle, paper, wires=wires))

    assert lines == ["paper drained", "reader drained", "sink drained"]
    assert seen == last == [0, 1, -1]
    assert report.outcome == "completed"
    report.ledger.check()


async def test_a_subscription_keeps_no_run_alive_and_its_actor_drains_at_the_end() -> None:
    lines, seen, last = list[str](), list[int](), list[int]()
    wires = [Paper.out_number >> NEWS, Reader.out_number >> Sink.in_number]
    tree = supervisor(child(Sink, last, lines), reader(seen, NEWS, lines=lines), child(Paper, 2, lines), wires=wires)

    report = await run_inside(tree)

    assert lines == ["paper drained", "reader drained", "sink drained"]
    assert seen == last == [0, 1, -1]
    assert report.outcome == "completed"


async def test_who_leaves_its_last_topic_has_not_come_to_the_end_of_its_streams() -> None:
    lines, seen, last = list[str](), list[int](), list[int]()
    tree = supervisor(child(Sink, last, lines), reader(seen, NEWS, lines=lines), wires=[Reader.out_number >> Sink.in_number])
    async with open_system(tree) as system:
        await system.ref(Reader).send(Reader.in_leave, (NEWS,))
        await system.wait()
        assert lines == []

        await system.ref(Reader).send(Reader.in_number, 1)
        await system.settle()
        assert last == [1]


# ---- groups


def group_of_sinks(kind: str, seen: list[int], lines: list[str]) -> Any:
    """A pool of two sinks, or one sink for each number."""
    if kind == "pool":
        return pool(Sink, seen, lines, size=2, route=round_robin).options(name="sinks")
    return keyed(Sink, seen, lines, by=str).options(name="sinks")


@pytest.mark.parametrize("kind", ["pool", "keyed"])
async def test_a_group_subscribes_as_one_actor(kind: str) -> None:
    """Beside another, and alone; whoever publishes."""
    seen: list[int] = []
    others: list[int] = []
    lines: list[str] = []
    tree = supervisor(
        child(Desk), group_of_sinks(kind, seen, lines), reader(others, lines=[]), wires=[NEWS >> Sink.in_number, Desk.out_number >> NEWS]
    )
    async with open_system(tree) as system:
        await system.publish(NEWS, 1)
        await system.ref(Reader).send(Reader.in_join, NEWS)
        await system.settle()
        await system.publish(NEWS, 2)
        await system.ref(Desk).send(Desk.in_publish, 3)
        await system.ref(Desk).send(Desk.in_emit, "4")
        system.publish_nowait(NEWS, 5)
        await system.settle()

        assert sorted(seen) == [1, 2, 3, 4, 5]
        assert sorted(others) == [2, 3, 4, 5]
        assert system.snapshot()["topics"]["news"]["subscribers"][0] == "root/supervisor/sinks.in_number"
        system.ledger().check()


@pytest.mark.parametrize("kind", ["pool", "keyed"])
async def test_a_group_publishes_as_one_actor_and_ends_with_its_streams(kind: str) -> None:
    seen: list[int] = []
    lines: list[str] = []
    relay: Any = pool(Reader, [], (), lines, size=2) if kind == "pool" else keyed(Reader, [], (), lines, by=str)
    tree = supervisor(
        child(Sink, seen, lines).options(name="last"),
        relay.options(name="relay"),
        child(Paper, 3, lines),
        wires=[Paper.out_number >> ODDS, ODDS >> Reader.in_number, Reader.out_number >> NEWS, NEWS >> Sink.in_number],
    )
    report = await run_inside(tree)

    assert sorted(seen) == [-1, 0, 1, 2]
    assert lines[0] == "paper drained"
    assert lines[-1] == "last drained"
    report.ledger.check()


async def test_a_full_pool_holds_up_who_publishes_until_any_member_has_room() -> None:
    gates = trio.Event()
    seen: list[int] = []
    tree = supervisor(pool(Gated, gates, seen, size=2, route=round_robin), reader([], NEWS), wires=[NEWS >> Gated.in_block])
    async with open_system(tree) as system, trio.open_nursery() as nursery:
        for number in range(4):
            await system.publish(NEWS, number)
            await wait_all_tasks_blocked()
        nursery.start_soon(system.publish, NEWS, 4)
        await wait_all_tasks_blocked()
        assert system.ledger().ports["root/supervisor/gated.in_block"].accepted == 4
        with pytest.raises(MailboxFull):
            system.publish_nowait(NEWS, 5)

        gates.set()
        await system.settle()
        assert sorted(seen) == [0, 1, 2, 3, 4]


# ---- mistakes


class Texts(Actor):
    out_text = OutPort(str)

    @in_port
    def in_text(self, text: str) -> None: ...

    @in_port
    def in_subscribe(self, topic: Topic[Any]) -> str:
        try:
            self.subscribe(topic, Texts.in_text)
        except WiringError as error:
            return str(error)
        return "subscribed"


class Broad(Actor):
    """Takes and sends a union."""

    out_value = OutPort(int)

    @in_port
    def in_value(self, value: int | str) -> None: ...

    @in_port
    def in_subscribe(self, _: Topic[str]) -> None:
        self.subscribe(Topic("texts", str), Broad.in_value)


class Narrow(Broad):
    """Takes and sends less of it, or other things."""

    out_value = OutPort(str)  # type: ignore[assignment]

    @in_port
    def in_value(self, value: int) -> None: ...  # type: ignore[override]


class Talker(Actor):
    out_text = OutPort(str)


TEXTS = Topic("texts", str)


@pytest.mark.parametrize(
    ("wires", "complaint"),
    [
        ([Talker.out_text >> Broad.in_value], r"root/top/talker\.out_text sends str, but root/top/narrow\.in_value takes int"),
        ([TEXTS >> Broad.in_value], r"topic 'texts'\(str\) sends str, but root/top/narrow\.in_value takes int"),
        ([Broad.out_value >> NEWS], r"root/top/narrow\.out_value sends str, but topic 'news'\(int\) takes int"),
    ],
)
async def test_a_subclass_whose_ports_are_of_other_types_than_the_wire_says_is_refused(wires: list[Any], complaint: str) -> None:
    narrow: list[Any] = [child(Narrow), pool(Narrow), keyed(Narrow, by=str)]
    for spec in narrow:
        with pytest.raises(WiringError, match=complaint):
            async with open_system(supervisor(child(Talker), spec.options(name="narrow"), wires=wires, name="top")):
                pass
    async with open_system(supervisor(child(Talker), child(Broad), wires=wires, name="top")):
        pass


async def test_a_subclass_cannot_subscribe_with_a_port_that_it_has_narrowed() -> None:
    async with open_system(child(Narrow)) as system:
        with pytest.raises(AskFailed, match=r"topic 'texts'\(str\) >> Narrow\.in_value\(int\): the topic is of str, but int is taken"):
            await system.ref(Narrow).ask(Broad.in_subscribe, TEXTS)


def test_ends_of_other_types_are_refused_before_anything_starts() -> None:
    out: Any = Texts.out_text
    port: Any = Texts.in_text
    nothing: Any = 3

    with pytest.raises(WiringError, match=r"Texts\.out_text\(str\) >> topic 'news'\(int\): str is sent, but the topic is of int"):
        out >> NEWS
    with pytest.raises(WiringError, match=r"topic 'news'\(int\) >> Texts\.in_text\(str\): the topic is of int, but str is taken"):
        NEWS >> port
    with pytest.raises(WiringError, match="3 >> topic 'news'"):
        nothing >> NEWS
    with pytest.raises(WiringError, match=r"topic 'news'.* >> 3: a topic is wired to an in-port"):
        NEWS >> nothing
    with pytest.raises(WiringError):
        NEWS >> Topic[Any]("other", object)  # type: ignore[operator]


def test_a_topic_has_a_name_and_a_type() -> None:
    name: Any = 3
    message_type: Any = 3

    with pytest.raises(SpecError, match="Topic: name = ' ': expected a text that is not empty"):
        Topic(" ", int)
    with pytest.raises(SpecTypeError, match="Topic: name = 3: expected a str"):
        Topic(name, int)
    with pytest.raises(ValueError, match=r"Topic\('news', 3\): 3 is not a type"):
        Topic("news", message_type)


async def test_two_topics_of_one_name_and_different_types_are_an_error() -> None:
    other = Topic("news", str)
    wires = [Desk.out_number >> NEWS, other >> Texts.in_text]

    with pytest.raises(WiringError, match=r"topic 'news'\(str\): in this system, topic 'news'\(int\) has that name already"):
        async with open_system(supervisor(child(Desk), child(Texts), wires=wires)):
            pass


@pytest.mark.parametrize("wire", [Desk.out_number >> NEWS, NEWS >> Reader.in_number], ids=str)
async def test_the_same_wire_twice_is_an_error(wire: Any) -> None:
    with pytest.raises(WiringError, match="this wire is there already, so each message would arrive twice"):
        async with open_system(supervisor(child(Desk), reader([]), wires=[wire, wire])):
            pass


async def test_an_end_that_is_not_in_the_tree_is_an_error_that_names_both_ends() -> None:
    with pytest.raises(WiringError, match=r"topic 'news'\(int\) >> Reader\.in_number\(int\): there is no Reader in this tree"):
        async with open_system(supervisor(child(Desk), wires=[NEWS >> Reader.in_number])):
            pass


async def test_a_message_of_another_type_is_refused_before_anybody_has_it() -> None:
    seen: list[int] = []
    text: Any = "three"
    async with open_system(reader(seen, NEWS)) as system:
        for publish in (system.publish, system.publish_nowait):
            with pytest.raises(MessageTypeError, match=r"topic 'news'\(int\) takes int, not str: 'three' was not accepted"):
                publish(NEWS, text)
        with pytest.raises(SpecTypeError, match="'news' is not a topic"):
            await system.publish("news", 3)  # type: ignore[arg-type]

        assert system.ledger().accepted == 0


async def test_a_subscription_of_another_type_is_refused() -> None:
    async with open_system(child(Texts)) as system:
        answer = await system.ref(Texts).ask(Texts.in_subscribe, NEWS)

        assert "topic 'news'(int) >> Texts.in_text(str): the topic is of int, but str is taken" in answer


async def test_a_required_out_port_is_content_with_a_topic() -> None:
    class Careful(Desk):
        out_number = OutPort(int, required=True)

    async with open_system(supervisor(child(Careful), wires=[Careful.out_number >> NEWS])) as system:
        await system.ref(Careful).send(Careful.in_publish, 1)
        await system.settle()

        assert system.snapshot()["topics"]["news"]["discarded"] == 1


# ---- random joins and leaves


@frozen
class Step:
    """What happens next: "join", "leave" and "fail" concern one of the readers, "publish" all that have joined."""

    what: str
    who: int


STEPS = st.lists(st.builds(Step, st.sampled_from(["join", "leave", "fail", "publish", "publish"]), st.integers(0, 3)), max_size=30)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None)
def test_each_reader_gets_exactly_what_was_published_while_it_was_subscribed_in_order(steps: list[Step]) -> None:
    seen: list[list[int]] = [[] for _ in range(4)]
    expected: list[list[int]] = [[] for _ in range(4)]

    async def play() -> None:
        readers = [reader(each).options(name=f"r{number}", max_restarts=1000, within=1.0) for number, each in enumerate(seen)]
        joined: set[int] = set()
        async with open_system(supervisor(*readers, name="top")) as system:
            for number, step in enumerate(steps):
                ref = system.ref(f"root/top/r{step.who}", Reader)
                if step.what == "publish":
                    await system.publish(NEWS, number)
                    for each in joined:
                        expected[each].append(number)
                elif step.what == "fail":
                    await ref.send(Reader.in_fail, "")  # it restarts three times meanwhile, and what is published waits
                elif step.what == "join":
                    await system.settle()
                    await ref.send(Reader.in_join, NEWS)
                    await system.settle()
                    joined.add(step.who)
                else:
                    await system.settle()
                    await ref.send(Reader.in_leave, (NEWS,))
                    await system.settle()
                    joined.discard(step.who)
            await system.settle()
            system.ledger().check()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))

    assert seen == expected
