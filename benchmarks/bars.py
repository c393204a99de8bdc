"""The bars: what actorkit has to reach on one core, beside others in the same run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from benchmarks.measuring import Result
from benchmarks.workloads import ASYNC, FULL, KEPT, NORMAL, NOT_KEPT, NOWAIT, PLAIN, TRIO

PYTHON_PEERS = ("asyncio.Queue", "Pykka", "Thespian", "xoscar", "casty", "lapinbeam", "Ray")


@frozen(kw_only=True)
class Bar:
    """One bar.

    Attributes:
        workload, ours: whose figure it is about.
        against: in the same workload, whose figure it is divided by, the best of those that were measured; none: it is taken as it is.
        figure: which of the figures; None: the first.
        least, most: what the quotient, or the figure, must be at least, or at most.
    """

    workload: str
    ours: str
    against: tuple[str, ...] = ()
    figure: str | None = None
    least: float | None = None
    most: float | None = None

    @property
    def wanted(self) -> str:
        """In words: ≥ 13 times trio channel."""
        bound = f"≥ {self.least:,g}" if self.least is not None else f"≤ {self.most:,g}"
        if not self.against:
            return f"{bound} {self.figure}" if self.figure else bound
        return f"{bound} times {self.against[0] if len(self.against) == 1 else 'the best Python peer'}"

    @property
    def work(self) -> str:
        """In words: `one-way: actorkit, plain handler`."""
        return f"{self.workload}: {self.ours}"

    def value(self, results: Iterable[Result]) -> float | None:
        """What was measured; None, if it was not."""
        found = {each.candidate: each for each in results if each.workload == self.workload}
        if self.ours not in found:
            return None
        ours = found[self.ours].median(self.figure)
        if not self.against:
            return ours
        others = [found[name].median(self.figure) for name in self.against if name in found]
        return ours / max(others) if others else None

    def holds(self, value: float) -> bool:
        """Whether that is good enough."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def missed_bars(bars: Iterable[Bar], results: Sequence[Result]) -> list[Bar]:
    """Those that do not hold. What was not measured is not missed."""
    return [bar for bar in bars if (value := bar.value(results)) is not None and not bar.holds(value)]


BARS = (
    Bar(workload="one-way", ours=ASYNC, against=(TRIO,), least=13),
    Bar(workload="one-way", ours=ASYNC, against=("asyncio.Queue",), least=1.2),
    Bar(workload="one-way", ours=ASYNC, against=("Pykka",), least=3),
    Bar(workload="one-way", ours=ASYNC, against=("Erlang gen_server",), least=0.35),
    Bar(workload="one-way", ours=PLAIN, against=(TRIO,), least=18),
    Bar(workload="one-way", ours=PLAIN, against=(NOWAIT,), least=0.8),
    Bar(workload="one-way", ours=PLAIN, against=("Erlang gen_server",), least=0.45),
    Bar(workload="ask", ours=ASYNC, against=(TRIO,), least=5),
    Bar(workload="ask", ours=ASYNC, against=PYTHON_PEERS, least=3),
    Bar(workload="ask", ours=ASYNC, against=("Erlang gen_server",), least=0.6),
    Bar(workload="ask", ours=PLAIN, against=(TRIO,), least=5),
    Bar(workload="ask", ours=PLAIN, against=PYTHON_PEERS, least=3),
    Bar(workload="ask", ours=PLAIN, against=("Erlang gen_server",), least=0.6),
    Bar(workload="ask-from-task", ours=ASYNC, against=(TRIO,), least=1.4),
    Bar(workload="ask-from-task", ours=PLAIN, against=(TRIO,), least=5),
    Bar(workload="waiting", ours=ASYNC, against=(TRIO,), least=0.7),
    Bar(workload="ping-pong", ours=PLAIN, against=(TRIO,), least=6),
    Bar(workload="ping-pong", ours=ASYNC, against=(TRIO,), least=6),
    Bar(workload="ring", ours=PLAIN, against=(TRIO,), least=6),
    Bar(workload="ring", ours=ASYNC, against=(TRIO,), least=6),
    Bar(workload="pipeline", ours=PLAIN, against=(TRIO,), least=12),
    Bar(workload="pipeline", ours=ASYNC, against=(TRIO,), least=12),
    Bar(workload="fan-in", ours=PLAIN, against=(TRIO,), least=13),
    Bar(workload="fan-in", ours=ASYNC, against=(TRIO,), least=13),
    Bar(workload="start-stop", ours="actorkit", figure="ms", most=10),
    Bar(workload="fairness", ours=PLAIN, figure="longest ms", most=3),
    Bar(workload="fairness", ours=ASYNC, figure="longest ms", most=3),
    Bar(workload="health", ours="actorkit", figure="% of a core", most=2),
    Bar(workload="health", ours="actorkit", figure="longest ms", most=3),
    Bar(workload="spawn", ours="one by one", figure="actors/s", least=60_000),
    Bar(workload="idle", ours="actorkit", figure="bytes", most=2_000),
    Bar(workload="restart", ours="actorkit", figure="median µs", most=200),
    Bar(workload="errors", ours="3 %", against=("0 %",), least=0.6),
    Bar(workload="durable", ours=FULL, figure="messages/s", least=30_000),
    Bar(workload="durable", ours=NORMAL, figure="messages/s", least=50_000),
    Bar(workload="durable-chain", ours=FULL, figure="messages/s", least=15_000),
    Bar(workload="checkpoints", ours=KEPT, against=(NOT_KEPT,), least=0.95),
    Bar(workload="recovery", ours="actorkit", figure="s to the first", most=10),
    Bar(workload="million", ours="1,000,000 actors", against=("1,000 actors",), least=0.9),
    Bar(workload="million", ours="1,000,000 actors", figure="MiB in all", most=2560),
    Bar(workload="soak", ours="actorkit", figure="growth in %", most=5),
)
