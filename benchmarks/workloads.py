"""All workloads. A new one is a function of a count that answers with a figure, or with several by name, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import frozen

from benchmarks import (
    asking,
    checkpoints,
    durable,
    errors,
    fairness,
    fans,
    growth,
    health,
    keyed,
    latency,
    one_way,
    ping_pong,
    pipeline,
    pools,
    restarts,
    ring,
    soak,
    spawning,
    starting,
    waiting,
)
from benchmarks.measuring import Figures

TRIO = "trio channel"
NOWAIT = "trio channel, *_nowait"
PLAIN = "actorkit, plain handler"
ASYNC = "actorkit, async handler"
FULL = "actorkit, FULL"
NORMAL = "actorkit, NORMAL"
KEPT = "checkpoints every second"
NOT_KEPT = "no checkpoints"


@frozen(kw_only=True)
class Workload:
    """One question.

    Attributes:
        name: what the command line and the peers' scripts call it.
        question: one sentence for the table and the documentation.
        measures: our candidates, and those of trio: what each is called, and the function that does `count` of the work once.
        base: the candidate that the others are compared with.
        unit: of a function's figure, if it answers with only one.
        count: of messages, or whatever is counted; if `fits`, only to begin with.
        fits: whether the count is chosen so that a measurement takes as long as is wanted.
        less_is_better: whether a small figure is a good one.
        usual: whether it is measured when nobody asks for it by name.
    """

    name: str
    question: str
    measures: Mapping[str, Callable[[int], float | Figures]]
    base: str
    unit: str = "messages/s"
    count: int = 400_000
    fits: bool = True
    less_is_better: bool = False
    usual: bool = True

    def measure(self, candidate: str, count: int) -> Figures:
        """Does the work once, in this process."""
        figures = self.measures[candidate](count)
        return figures if isinstance(figures, dict) else {self.unit: figures}


WORKLOADS = (
    Workload(
        name="one-way",
        question="A source sends numbers to a receiver that counts them.",
        measures={
            PLAIN: partial(one_way.actors, one_way.PlainSink),
            ASYNC: partial(one_way.actors, one_way.AsyncSink),
            TRIO: one_way.channel,
            NOWAIT: one_way.channel_nowait,
        },
        base=TRIO,
    ),
    Workload(
        name="flights",
        question="The same with the messages of the flights example: frozen attrs objects with ten fields.",
        measures={
            PLAIN: partial(one_way.flights, one_way.PlainArrivals),
            ASYNC: partial(one_way.flights, one_way.AsyncArrivals),
            TRIO: one_way.flights_channel,
            NOWAIT: one_way.flights_channel_nowait,
        },
        base=TRIO,
    ),
    Workload(
        name="ask",
        question="An actor asks another, again and again, with the default timeout; waits for each answer. (Thespian: from outside.)",
        measures={
            PLAIN: partial(asking.between_actors, asking.PlainServer),
            ASYNC: partial(asking.between_actors, asking.AsyncServer),
            TRIO: asking.channels,
        },
        base=TRIO,
        unit="asks/s",
        count=100_000,
    ),
    Workload(
        name="ask-from-task",
        question="A trio task asks an actor that has nothing else to do. A plain handler runs in the task; for an async one it waits.",
        measures={
            PLAIN: partial(asking.from_task, asking.PlainServer),
            ASYNC: partial(asking.from_task, asking.AsyncServer),
            TRIO: asking.channels,
        },
        base=TRIO,
        unit="asks/s",
        count=100_000,
    ),
    Workload(
        name="ping-pong",
        question="Two actors send each other a message: there and back is one.",
        measures={PLAIN: ping_pong.plain_handlers, ASYNC: ping_pong.async_handlers, TRIO: ping_pong.channels},
        base=TRIO,
        unit="round trips/s",
        count=100_000,
    ),
    Workload(
        name="pipeline",
        question="A source sends numbers through five actors in a row.",
        measures={
            PLAIN: partial(pipeline.actors, pipeline.PlainStage, one_way.PlainSink),
            ASYNC: partial(pipeline.actors, pipeline.AsyncStage, one_way.AsyncSink),
            TRIO: pipeline.channels,
        },
        base=TRIO,
        count=100_000,
    ),
    Workload(
        name="fan-in",
        question="Ten sources send numbers to one receiver.",
        measures={
            PLAIN: partial(fans.fan_in, one_way.PlainSink),
            ASYNC: partial(fans.fan_in, one_way.AsyncSink),
            TRIO: fans.fan_in_channel,
        },
        base=TRIO,
    ),
    Workload(
        name="fan-out",
        question="One source sends numbers to ten receivers, each of which gets all; deliveries are counted.",
        measures={
            PLAIN: partial(fans.fan_out, one_way.PlainSink),
            ASYNC: partial(fans.fan_out, one_way.AsyncSink),
            TRIO: fans.fan_out_channels,
        },
        base=TRIO,
        unit="deliveries/s",
    ),
    Workload(
        name="ring",
        question="A token goes round a ring of 1,000 actors.",
        measures={PLAIN: partial(ring.actors, ring.PlainNode), ASYNC: partial(ring.actors, ring.AsyncNode), TRIO: ring.channels},
        base=TRIO,
        unit="hops/s",
        count=200_000,
    ),
    Workload(
        name="pool",
        question="A source sends numbers to a pool of four, which keeps each of 100 keys in order.",
        measures={
            PLAIN: partial(pools.by_keys, one_way.PlainSink),
            ASYNC: partial(pools.by_keys, one_way.AsyncSink),
            TRIO: pools.channels,
        },
        base=TRIO,
        count=200_000,
    ),
    Workload(
        name="waiting",
        question="The receiver really waits in trio at each number.",
        measures={ASYNC: waiting.actors, TRIO: waiting.channel},
        base=TRIO,
        count=50_000,
    ),
    Workload(
        name="durable",
        question="64 tasks send numbers to a durable port; each waits until its number is kept.",
        measures={
            FULL: partial(durable.sends, "FULL"),
            NORMAL: partial(durable.sends, "NORMAL"),
            "sqlite3 alone, 64 a transaction": partial(durable.rows, 64),
            "sqlite3 alone, one a transaction": partial(durable.rows, 1),
        },
        base="sqlite3 alone, 64 a transaction",
        count=20_000,
    ),
    Workload(
        name="durable-chain",
        question="A source sends numbers through an actor to another that counts them, all three durable.",
        measures={FULL: partial(durable.chain, "FULL"), NORMAL: partial(durable.chain, "NORMAL")},
        base=FULL,
        count=20_000,
    ),
    Workload(
        name="checkpoints",
        question="The same as one-way, to an actor with the totals of 1,000 accounts: what do its checkpoints cost, one a second?",
        measures={
            KEPT: partial(checkpoints.one_way, checkpoints.KeptLedger),
            NOT_KEPT: partial(checkpoints.one_way, checkpoints.Ledger),
        },
        base=NOT_KEPT,
        count=10_000_000,
        fits=False,
    ),
    Workload(
        name="keyed",
        question="Each message is for another key: what does it cost if that makes an actor, or puts one aside and makes another?",
        measures={
            "one made": keyed.activation_cost,
            "one put aside, one made": keyed.passivation_cost,
            "one put aside, one back with its state": keyed.return_cost,
        },
        base="one made",
        count=20_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="spawn",
        question="Actors are started while the system runs, supervised, one after the other and by 100 tasks at once.",
        measures={
            "one by one": spawning.one_by_one,
            "one by one, each with its own argument": spawning.one_by_one_each_with_a_spec,
            "one by one, each wired": spawning.one_by_one_wired,
            "100 at once": spawning.at_once,
            "in the tree from the beginning": spawning.in_a_tree,
        },
        base="one by one",
        unit="actors/s",
        count=20_000,
        fits=False,
    ),
    Workload(
        name="idle",
        question="What does an actor take that has nothing to do, of the memory of the process?",
        measures={"actorkit": spawning.idle},
        base="actorkit",
        unit="bytes",
        count=100_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="restart",
        question="From the crash in a handler to the next message handled.",
        measures={"actorkit": restarts.summary},
        base="actorkit",
        count=2_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="errors",
        question="Of a hundred numbers some are bad: they fail, and become dead letters.",
        measures={
            **{f"{percent} %": partial(errors.with_errors, percent) for percent in (0, 3, 50)},
            "0 %, 100,000 dead letters there": partial(errors.with_errors, 0, letters=100_000),
        },
        base="0 %",
        count=400_000,
        fits=False,
    ),
    Workload(
        name="latency",
        question="20,000 messages a second: how long does each wait until it is handled?",
        measures={
            PLAIN: partial(latency.actors, latency.PlainClock),
            ASYNC: partial(latency.actors, latency.AsyncClock),
            TRIO: latency.channel,
        },
        base=TRIO,
        count=20_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="slow-one",
        question="20,000 messages a second to 100 actors, beside one that takes 20 ms for each of its own and has always more to do.",
        measures={
            "no slow one": partial(latency.beside, None),
            "one that waits for 20 ms": partial(latency.beside, latency.Sluggish.in_wait),
            "one that computes for 0.5 ms of 20": partial(latency.beside, latency.Sluggish.in_compute),
        },
        base="no slow one",
        count=20_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="fairness",
        question="Ten sources send to ten receivers as fast as they can: how long has a trio task to wait for its turn?",
        measures={PLAIN: partial(fairness.gaps, one_way.PlainSink), ASYNC: partial(fairness.gaps, one_way.AsyncSink)},
        base=PLAIN,
        count=1_000_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="health",
        question="The health of so many actors is polled each 5 s: what does that cost, and how long has a trio task to wait for its turn?",
        measures={
            "actorkit": partial(health.polls, health.Idle),
            "each asked by health()": partial(health.polls, health.Asked),
            "each asked, three in ten are unhealthy": partial(health.polls, health.Ill),
        },
        base="actorkit",
        count=10_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="start-stop",
        question="A tree of five actors, two supervisors and five wires is started and stopped; the median of 50 times.",
        measures={"actorkit": starting.start_and_stop},
        base="actorkit",
        count=50,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="mailbox",
        question="So many messages are queued, and then handled: what does each cost?",
        measures={f"{depth:,} queued": partial(growth.mailbox, depth) for depth in (1, 10, 1000, 100_000, 1_000_000)},
        base="1,000 queued",
        count=1_000_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="wires",
        question="Each message goes to so many receivers: what does each delivery cost?",
        measures={"1 wire": partial(growth.wires, 1), **{f"{width:,} wires": partial(growth.wires, width) for width in (10, 100, 1000)}},
        base="1 wire",
        unit="ns",
        count=500_000,
        fits=False,
        less_is_better=True,
    ),
    Workload(
        name="actors",
        question="Messages to 1,000 actors in turn, when there are so many in all.",
        measures={f"{idle:,} actors": partial(growth.actors, idle) for idle in (100, 1000, 10_000)},
        base="1,000 actors",
        count=500_000,
        fits=False,
    ),
    Workload(
        name="million",
        question="The same, up to a million actors.",
        measures={f"{idle:,} actors": partial(growth.actors, idle) for idle in (1000, 100_000, 1_000_000)},
        base="1,000 actors",
        count=2_000_000,
        fits=False,
        usual=False,
    ),
    Workload(
        name="recovery",
        question="A system opens a store in which so many messages wait: how long until the first is handled, and until all are?",
        measures={"actorkit": durable.recovery},
        base="actorkit",
        count=1_000_000,
        fits=False,
        less_is_better=True,
        usual=False,
    ),
    Workload(
        name="million-keys",
        question="Messages to so many keys in turn, 10,000 of whose actors are awake: does memory grow, and how long does it take?",
        measures={"without state": keyed.many_keys, "with state": keyed.many_keys_with_state},
        base="without state",
        count=1_000_000,
        fits=False,
        usual=False,
    ),
    Workload(
        name="soak",
        question="A bit of everything for minutes, failures, restarts and keyed actors among it: does memory grow?",
        measures={"actorkit": soak.soak},
        base="actorkit",
        count=600,
        fits=False,
        usual=False,
    ),
)

BY_NAME = {each.name: each for each in WORKLOADS}
